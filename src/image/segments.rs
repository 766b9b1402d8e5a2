//! The way into the next kernel of those arm64 kernels that do not read files for kexec: which
//! memory is to be filled with what, and a few instructions that begin it.
//!
//! What is done here, the running kernel does in `kexec_file_load` where it has that.

use crate::error::{Cause, Error, Reason};
use crate::sys::kexec::{self, Segment};
use crate::sys::mapped::Mapped;
use crate::sys::memfd::SealedFile;
use crate::sys::{self, SyscallError, firmware, machine};
use wireboot_proto::format::fdt::{DeviceTree, MAX_LEN};
use wireboot_proto::format::kernel_image::Arm64Image;

use super::device_tree::{self, Seeds};
use super::placement::{Memory, MemoryLayout};

/// Sets x0 to the address of the device tree, x1 to x3 to 0, and goes to the kernel (booting.rst
/// §5); translation and caches are off by then. The two addresses follow.
const FIRST_CODE: [u32; 6] = [
    0x5800_00d1, // ldr x17, .+24
    0x5800_00e0, // ldr x0, .+28
    0xaa1f_03e1, // mov x1, xzr
    0xaa1f_03e2, // mov x2, xzr
    0xaa1f_03e3, // mov x3, xzr
    0xd61f_0220, // br x17
];

/// Where the device tree stands behind the first code, in bytes.
// A device tree begins at a multiple of eight bytes (booting.rst §2).
const TREE_AT: usize = 64;

/// An image laid out for this machine's memory.
#[derive(Debug)]
pub(super) struct Segments {
    placement: MemoryLayout,
    kernel: Mapped,
    initrd: Option<Mapped>,
    /// The first code, and the device tree.
    head: Vec<u8>,
}

impl Segments {
    /// Lays an image out.
    ///
    /// # Errors
    /// [`Reason::Kexec`] when it is not for such a machine, does not fit into its memory, or the
    /// machine does not tell about that.
    pub(super) fn of(
        kernel: &SealedFile,
        initrd: Option<&SealedFile>,
        device_tree: Option<&SealedFile>,
        command_line: &str,
    ) -> Result<Self, Error> {
        let map = |file| {
            let mapped = Mapped::new(file);
            mapped.map_err(|source| cannot("a fetched file cannot be read", source))
        };
        let kernel = map(kernel)?;
        let initrd = initrd.map(map).transpose()?;
        let own_tree = device_tree.map(map).transpose()?;

        let memory =
            machine::memory_map().map_err(|source| cannot("/proc/iomem cannot be read", source))?;
        let running = firmware::device_tree()
            .map_err(|source| cannot("/sys/firmware/fdt cannot be read", source))?;
        let initrd_len = initrd.as_ref().map(|octets| octets.len() as u64);
        let placement = place(&memory, &kernel, initrd_len)?;
        log::debug!("{placement:x?}");
        let parameters = BootParameters {
            command_line,
            running: &running,
            own_tree: own_tree.as_deref(),
            seeds: seeds(),
        };
        Ok(Self {
            head: head(&placement, &parameters)?,
            placement,
            kernel,
            initrd,
        })
    }

    /// Hands it to the kernel.
    pub(super) fn load(&self) -> Result<(), SyscallError> {
        let MemoryLayout {
            kernel,
            device_tree,
            initrd,
        } = &self.placement;
        let segment = |octets, at: &std::ops::Range<u64>| Segment {
            octets,
            at: at.clone(),
        };
        let mut segments = vec![
            segment(&self.kernel, kernel),
            segment(&self.head, device_tree),
        ];
        if let (Some(octets), Some(at)) = (&self.initrd, initrd) {
            segments.push(segment(octets, at));
        }
        // arm64 puts a device tree into x0 only for files that it has loaded itself
        // (kimage->arch.dtb_mem).
        kexec::load_segments(device_tree.start, &segments)
    }
}

/// The command line and device tree for the next kernel.
struct BootParameters<'a> {
    command_line: &'a str,
    /// The device tree that this kernel was given.
    running: &'a [u8],
    /// One in its stead.
    own_tree: Option<&'a [u8]>,
    seeds: Option<Seeds>,
}

fn place(iomem: &str, kernel: &[u8], initrd_len: Option<u64>) -> Result<MemoryLayout, Error> {
    let header = Arm64Image::decode(kernel)
        .map_err(|error| cannot("the kernel's header is damaged", error))?
        .ok_or_else(|| impossible("what was fetched is no kernel for arm64"))?;
    let memory = Memory::parse(iomem);
    if memory.is_empty() {
        return Err(impossible(
            "/proc/iomem tells of no memory; it does so to root, outside of containers",
        ));
    }
    MemoryLayout::of(memory, header, kernel.len() as u64, initrd_len)
        .map_err(|error| impossible(&error.to_string()))
}

/// Makes the first code and the device tree behind it.
fn head(placement: &MemoryLayout, parameters: &BootParameters<'_>) -> Result<Vec<u8>, Error> {
    let damaged = "the machine's device tree (/sys/firmware/fdt) is damaged";
    let running = DeviceTree::decode(parameters.running).map_err(|error| cannot(damaged, error))?;
    let mut tree = match parameters.own_tree {
        None => running,
        Some(octets) => {
            let unfit = "the device tree that the configuration names does not do";
            let mut tree = DeviceTree::decode(octets).map_err(|error| cannot(unfit, error))?;
            device_tree::complete(&mut tree, &running).map_err(|error| cannot(unfit, error))?;
            tree
        }
    };
    device_tree::hand_over(
        &mut tree,
        parameters.command_line,
        placement.initrd.as_ref(),
        parameters.seeds.as_ref(),
    );
    let start = placement.device_tree.start;
    let mut head = FIRST_CODE.map(u32::to_le_bytes).concat();
    for address in [placement.kernel.start, start + TREE_AT as u64] {
        head.extend(address.to_le_bytes());
    }
    head.resize(TREE_AT, 0);
    let tree = tree.encode();
    let too_long = || impossible("the device tree is longer than 2 MiB with the command line");
    head.extend(tree.ok_or_else(too_long)?);
    if head.len() > MAX_LEN {
        return Err(too_long());
    }
    Ok(head)
}

/// Returns random bytes once the kernel has some.
fn seeds() -> Option<Seeds> {
    let mut seeds = Seeds {
        kaslr: [0; 8],
        rng: [0; 64],
    };
    let filled = sys::random(&mut seeds.kaslr).and_then(|()| sys::random(&mut seeds.rng));
    match filled {
        Ok(()) => Some(seeds),
        Err(error) => {
            log::debug!("the next kernel gets no random seeds: {error}");
            None
        }
    }
}

fn impossible(advice: &str) -> Error {
    Box::new(Reason::Kexec {
        advice: advice.to_owned(),
        source: None,
    })
}

fn cannot(advice: &str, source: impl Into<Cause>) -> Error {
    Box::new(Reason::Kexec {
        advice: advice.to_owned(),
        source: Some(source.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IOMEM: &str = "40000000-7fffffff : System RAM\n";

    #[test]
    fn the_first_code_leads_to_the_kernel_with_the_device_tree() {
        let placement = place(IOMEM, &kernel(), Some(5)).unwrap();
        let head = head(&placement, &parameters(&tree())).unwrap();
        let tree_address = placement.device_tree.start + TREE_AT as u64;
        // Each load takes what stands as far behind itself as it says, in words.
        for (at, expected) in [(0, placement.kernel.start), (4, tree_address)] {
            let code = u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
            let address = at + ((code >> 5 & 0x7_ffff) * 4) as usize;
            let address = head[address..address + 8].try_into().unwrap();
            assert_eq!(u64::from_le_bytes(address), expected);
        }
        let tree = DeviceTree::decode(&head[TREE_AT..]).unwrap();
        let chosen = tree.root.node(b"chosen").unwrap();
        assert_eq!(chosen.property(b"bootargs"), Some(&b"quiet\0"[..]));
        let initrd = placement.initrd.unwrap().start.to_be_bytes();
        assert_eq!(chosen.property(b"linux,initrd-start"), Some(&initrd[..]));
    }

    #[test]
    fn a_tree_from_a_file_goes_before_that_of_the_machine() {
        let placement = place(IOMEM, &kernel(), None).unwrap();
        let running = tree();
        let mut file = DeviceTree::decode(&running).unwrap();
        file.root.set(b"model", &b"board\0"[..]);
        let file = file.encode().unwrap();
        let parameters = BootParameters {
            own_tree: Some(&file),
            ..parameters(&running)
        };
        let head = head(&placement, &parameters).unwrap();
        let tree = DeviceTree::decode(&head[TREE_AT..]).unwrap();
        assert_eq!(tree.root.property(b"model"), Some(&b"board\0"[..]));
    }

    #[test]
    fn what_cannot_be_started_is_refused_with_the_reason() {
        let placement = place(IOMEM, &kernel(), None).unwrap();
        let (good, bad) = (tree(), b"\xd0\x0d\xfe\xed".to_vec());
        let file = BootParameters {
            own_tree: Some(b"<html>"),
            ..parameters(&good)
        };
        for (result, part) in [
            (place(IOMEM, b"MZ", None).map(drop), "for arm64"),
            (place("", &kernel(), None).map(drop), "/proc/iomem"),
            (place(IOMEM, &kernel(), Some(1 << 40)).map(drop), "initrd"),
            (
                head(&placement, &parameters(&bad)).map(drop),
                "/sys/firmware/fdt",
            ),
            (head(&placement, &file).map(drop), "invalid magic"),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.exit_code(), 9);
            assert!(error.chain().contains(part), "{}", error.chain());
        }
    }

    fn parameters(running: &[u8]) -> BootParameters<'_> {
        BootParameters {
            command_line: "quiet",
            running,
            own_tree: None,
            seeds: None,
        }
    }

    fn tree() -> Vec<u8> {
        let tree = DeviceTree {
            reservations: Vec::new(),
            boot_cpuid_phys: 0,
            root: Default::default(),
        };
        tree.encode().unwrap()
    }

    fn kernel() -> Vec<u8> {
        let mut kernel = vec![0; 64];
        kernel[16..24].copy_from_slice(&0x200_0000_u64.to_le_bytes());
        kernel[56..60].copy_from_slice(b"ARMd");
        kernel
    }
}
