//! The device tree for the next kernel (Documentation/devicetree/usage-model.rst, and
//! the binding of `/chosen`); pure.

use std::ops::Range;

use wireboot_proto::format::fdt::{DeviceTree, Node};

// Names of dt-schema's chosen.yaml and reserved-memory.yaml.
const CHOSEN: &[u8] = b"chosen";
const RESERVED: &[u8] = b"reserved-memory";
const INITRD_START: &[u8] = b"linux,initrd-start";
const INITRD_END: &[u8] = b"linux,initrd-end";
/// Properties by which the EFI stub reports the firmware's tables; the next kernel does not run the stub.
const OF_EFI: &[u8] = b"linux,uefi-";
/// How the root tells the form of addresses and lengths.
const CELLS: [&[u8]; 2] = [b"#address-cells", b"#size-cells"];

/// Random bytes for the next kernel: it places itself by the first, and its generator of random
/// numbers begins with the others.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    /// For the place in memory.
    pub kaslr: [u8; 8],
    /// For the generator.
    pub rng: [u8; 64],
}

/// Sets the command line, the place of the initrd, and random bytes for the next kernel; what this
/// kernel got instead is removed.
pub fn hand_over<'a>(
    tree: &mut DeviceTree<'a>,
    command_line: &str,
    initrd: Option<&Range<u64>>,
    seeds: Option<&Seeds>,
) {
    let mut chosen = tree.root.take(CHOSEN);
    if let (Some(start), Some(end)) = (
        address(chosen.property(INITRD_START)),
        address(chosen.property(INITRD_END)),
    ) {
        // This kernel's own initrd is reserved there, and its memory is free for the next one.
        tree.reservations
            .retain(|(address, len)| (*address, address.wrapping_add(*len)) != (start, end));
    }
    for name in [
        INITRD_START,
        INITRD_END,
        b"kaslr-seed",
        b"rng-seed",
        // Those of a kernel that looks at the crash of the one before it.
        b"linux,elfcorehdr",
        b"linux,usable-memory-range",
    ] {
        chosen.remove(name);
    }
    chosen.set(b"bootargs", [command_line.as_bytes(), b"\0"].concat());
    if let Some(initrd) = initrd {
        chosen.set(INITRD_START, initrd.start.to_be_bytes().to_vec());
        chosen.set(INITRD_END, initrd.end.to_be_bytes().to_vec());
    }
    if let Some(seeds) = seeds {
        chosen.set(b"kaslr-seed", seeds.kaslr.to_vec());
        chosen.set(b"rng-seed", seeds.rng.to_vec());
    }
    // As of_kexec_alloc_and_setup_fdt sets it.
    chosen.set(b"linux,booted-from-kexec", Vec::new());
    tree.root.put(chosen);
}

/// Copies what only this machine's firmware knows, from the tree of the running kernel, into
/// a tree from a file: which memory there is and what of it is reserved.
///
/// # Errors
/// [`OtherCells`] when the trees write addresses in different forms.
pub fn complete<'a>(tree: &mut DeviceTree<'a>, running: &DeviceTree<'a>) -> Result<(), OtherCells> {
    tree.boot_cpuid_phys = running.boot_cpuid_phys;
    tree.reservations.extend(&running.reservations);
    let reserved = running.root.node(RESERVED);
    let has_memory = running.root.nodes().any(is_memory);
    let is_other = |name: &&[u8]| tree.root.property(name) != running.root.property(name);
    if (has_memory || reserved.is_some()) && CELLS.iter().any(is_other) {
        return Err(OtherCells);
    }
    // Firmware that has a map of the memory elsewhere leaves no nodes of it.
    if has_memory {
        tree.root.retain(|node| !is_memory(node));
        for node in running.root.nodes().filter(|node| is_memory(node)) {
            tree.root.put(node.clone());
        }
    }
    if let Some(reserved) = reserved {
        let mut own = tree.root.take(RESERVED);
        for (name, value) in reserved.properties() {
            own.set(name, value.clone());
        }
        for node in reserved.nodes() {
            if own.node(node.name).is_none() {
                let mut node = node.clone();
                // Numbers that are the file's own to give.
                node.remove(b"phandle");
                own.put(node);
            }
        }
        tree.root.put(own);
    }
    if let Some(of_running) = running.root.node(CHOSEN) {
        let mut chosen = tree.root.take(CHOSEN);
        let of_efi = |(name, _): &(&[u8], _)| name.starts_with(OF_EFI);
        for (name, value) in of_running.properties().filter(of_efi) {
            chosen.set(name, value.clone());
        }
        tree.root.put(chosen);
    }
    Ok(())
}

/// A device tree writes addresses in another form than that of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its #address-cells and #size-cells are not those of the machine's own device tree")]
pub struct OtherCells;

fn is_memory(node: &Node<'_>) -> bool {
    // By this property and not by the name, as the Devicetree Specification (§3.4) has it.
    node.property(b"device_type") == Some(b"memory\0")
}

/// Reads an address of one or two cells.
fn address(value: Option<&[u8]>) -> Option<u64> {
    let value = value?;
    match value.len() {
        4 => value
            .try_into()
            .ok()
            .map(|cell| u32::from_be_bytes(cell).into()),
        8 => value.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: Seeds = Seeds {
        kaslr: [7; 8],
        rng: [9; 64],
    };

    #[test]
    fn the_next_kernel_gets_its_own_command_line_initrd_and_seeds() {
        let mut tree = running();
        hand_over(&mut tree, "quiet", Some(&(0x1000..0x2000)), Some(&SEEDS));
        let chosen = tree.root.node(CHOSEN).unwrap();
        for (name, value) in [
            (&b"bootargs"[..], &b"quiet\0"[..]),
            (INITRD_START, &0x1000_u64.to_be_bytes()),
            (INITRD_END, &0x2000_u64.to_be_bytes()),
            (b"kaslr-seed", &[7; 8]),
            (b"rng-seed", &[9; 64]),
            (b"linux,booted-from-kexec", b""),
            (b"linux,uefi-system-table", &[1; 8]),
            (b"stdout-path", b"/pl011\0"),
        ] {
            assert_eq!(chosen.property(name), Some(value));
        }
        assert_eq!(chosen.properties().count(), 8);
        // The old initrd's memory is free again.
        assert_eq!(tree.reservations, [(0x9000, 0x1000)]);
        assert!(tree.encode().is_some());
    }

    #[test]
    fn nothing_that_this_kernel_got_goes_on_when_there_is_nothing_instead() {
        let mut tree = running();
        hand_over(&mut tree, "", None, None);
        let chosen = tree.root.node(CHOSEN).unwrap();
        assert_eq!(chosen.property(b"bootargs"), Some(&b"\0"[..]));
        for name in [INITRD_START, INITRD_END, b"kaslr-seed", b"linux,elfcorehdr"] {
            assert_eq!(chosen.property(name), None);
        }
    }

    #[test]
    fn a_tree_without_chosen_gets_one() {
        let mut tree = DeviceTree {
            root: Node::default(),
            ..running()
        };
        hand_over(&mut tree, "a", None, None);
        let chosen = tree.root.node(CHOSEN).unwrap();
        assert_eq!(chosen.property(b"bootargs"), Some(&b"a\0"[..]));
    }

    #[test]
    fn a_tree_from_a_file_gets_the_memory_that_the_machine_has() {
        let mut tree = from_file(2);
        complete(&mut tree, &running()).unwrap();
        let memory: Vec<_> = tree.root.nodes().filter(|node| is_memory(node)).collect();
        assert_eq!(memory.len(), 1);
        assert_eq!(memory[0].property(b"reg"), Some(&[4; 16][..]));
        let chosen = tree.root.node(CHOSEN).unwrap();
        let table = chosen.property(b"linux,uefi-system-table");
        assert_eq!(table, Some(&[1; 8][..]));
        assert_eq!(chosen.property(b"stdout-path"), Some(&b"/serial\0"[..]));
        assert_eq!(tree.reservations.len(), 3);
        let reserved = tree.root.node(RESERVED).unwrap();
        assert_eq!(reserved.property(b"ranges"), Some(&b""[..]));
        let firmware = reserved.node(b"firmware@0").unwrap();
        assert_eq!(firmware.properties().count(), 1);
        assert_eq!(complete(&mut from_file(1), &running()), Err(OtherCells));
    }

    /// A tree as a kernel got it from EFI firmware, and the loader before it.
    fn running() -> DeviceTree<'static> {
        let mut chosen = Node::default().take(CHOSEN);
        for (name, value) in [
            (&b"bootargs"[..], b"old\0".to_vec()),
            (INITRD_START, vec![0, 0, 0x40, 0]),
            (INITRD_END, vec![0, 0, 0x60, 0]),
            (b"kaslr-seed", vec![0; 8]),
            (b"linux,elfcorehdr", vec![0; 16]),
            (b"linux,uefi-system-table", vec![1; 8]),
            (b"stdout-path", b"/pl011\0".to_vec()),
        ] {
            chosen.set(name, value);
        }
        let mut reserved = Node::default().take(RESERVED);
        reserved.set(b"ranges", &b""[..]);
        let mut firmware = Node::default().take(b"firmware@0");
        firmware.set(b"reg", vec![5; 16]);
        firmware.set(b"phandle", vec![0, 0, 0, 1]);
        reserved.put(firmware);
        let mut root = root(2, 4);
        root.put(chosen);
        root.put(reserved);
        DeviceTree {
            reservations: vec![(0x4000, 0x2000), (0x9000, 0x1000)],
            boot_cpuid_phys: 0,
            root,
        }
    }

    fn from_file(cells: u8) -> DeviceTree<'static> {
        let mut root = root(cells, 0);
        let mut chosen = root.take(CHOSEN);
        chosen.set(b"stdout-path", &b"/serial\0"[..]);
        root.put(chosen);
        DeviceTree {
            reservations: vec![(0xf000, 0x1000)],
            boot_cpuid_phys: 0,
            root,
        }
    }

    /// A tree with memory, whose place consists of these bytes.
    fn root(cells: u8, place: u8) -> Node<'static> {
        let mut memory = Node::default().take(b"memory@0");
        memory.set(b"device_type", &b"memory\0"[..]);
        memory.set(b"reg", vec![place; 16]);
        let mut root = Node::default();
        for name in CELLS {
            root.set(name, vec![0, 0, 0, cells]);
        }
        root.put(memory);
        root
    }
}
