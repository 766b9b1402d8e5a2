//! The flattened device tree, which describes the hardware to a kernel (Devicetree Specification 0.4
//! §5).
//!
//! [`DeviceTree::decode`] parses a blob, [`DeviceTree::encode`] writes one, without gaps. Versions
//! before 17, from before 2007, are not supported.
//!
//! ```text
//! +--------+--------------+------------------+---------+
//! | header | reservations | structure: nodes | strings |
//! |        | (address,    | and properties,  | (names  |
//! |        |  length)…    | nested           |  of     |
//! |        |              |                  |  these) |
//! +--------+--------------+------------------+---------+
//! ```

use crate::prelude::*;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::reader::{DecodeError, DecodeFault, Reader};

/// The longest blob that an arm64 kernel accepts, in bytes (Documentation/arch/arm64/booting.rst).
pub const MAX_LEN: usize = 2 << 20;

// Of the header (§5.2), and of the structure (§5.4.1).
const FDT_MAGIC: u32 = 0xd00d_feed;
const VERSION: u32 = 17;
// As dtc: version 17 only adds a length to the header of 16.
const LAST_COMP_VERSION: u32 = 16;
const HEADER_LEN: usize = 40;
const FDT_BEGIN_NODE: u32 = 1;
const FDT_END_NODE: u32 = 2;
const FDT_PROP: u32 = 3;
const FDT_NOP: u32 = 4;
const FDT_END: u32 = 9;
/// The limit of nesting, as in the kernel.
// FDT_MAX_DEPTH in drivers/of/fdt.c of the kernel.
const MAX_DEPTH: usize = 64;
/// The longest name of a node or property, in bytes; the specification allows 31, and existing trees
/// have up to twice as many. Names may share bytes, so that without a limit a short blob could expand
/// to gigabytes.
const MAX_NAME_LEN: usize = 255;

/// A device tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTree<'a> {
    /// Reserved memory: addresses and lengths in bytes.
    pub reservations: Vec<(u64, u64)>,
    /// The number of the boot processor.
    pub boot_cpuid_phys: u32,
    /// The root node.
    pub root: Node<'a>,
}

/// A node of the tree: a device, a bus, or a group such as `chosen`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node<'a> {
    /// Its name, with `@` and an address if it has one; empty for the root.
    pub name: &'a [u8],
    properties: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    nodes: Vec<Self>,
}

impl<'a> DeviceTree<'a> {
    /// Decodes a blob; bytes after its `totalsize` are ignored.
    ///
    /// # Errors
    /// [`DecodeError`] for a truncated part, an offset outside the blob, or an invalid token.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut header = Reader::new(bytes);
        let magic = header.u32("magic")?;
        if magic != FDT_MAGIC {
            return Err(crate::reader::invalid("magic", magic));
        }
        let total_size = header.u32("totalsize")?;
        let blob = Reader::new(bytes).take(total_size as usize, "totalsize")?;
        let structure_at = header.u32("off_dt_struct")?;
        let strings_at = header.u32("off_dt_strings")?;
        let reservations_at = header.u32("off_mem_rsvmap")?;
        let version = header.u32("version")?;
        let last_comp_version = header.u32("last_comp_version")?;
        if version < VERSION || last_comp_version > VERSION {
            return Err(crate::reader::invalid("version", version));
        }
        let boot_cpuid_phys = header.u32("boot_cpuid_phys")?;
        let strings_len = header.u32("size_dt_strings")?;
        let structure_len = header.u32("size_dt_struct")?;

        let mut structure = from(blob, structure_at, "off_dt_struct")?;
        let structure = structure.take(structure_len as usize, "size_dt_struct")?;
        let mut strings = from(blob, strings_at, "off_dt_strings")?;
        let strings = strings.take(strings_len as usize, "size_dt_strings")?;
        Ok(Self {
            reservations: reservations(from(blob, reservations_at, "off_mem_rsvmap")?)?,
            boot_cpuid_phys,
            root: nodes(Reader::new(structure), strings)?,
        })
    }

    /// Encodes a blob; none if it would be longer than [`MAX_LEN`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut reservations = Vec::new();
        // A pair of zeros ends the list, so none is written before.
        for (address, len) in self.reservations.iter().filter(|pair| **pair != (0, 0)) {
            reservations.extend(address.to_be_bytes());
            reservations.extend(len.to_be_bytes());
        }
        reservations.extend([0; 16]);
        let mut structure = Structure::default();
        structure.node(&self.root);
        structure.word(FDT_END);
        // The header of 40 bytes and pairs of 16 align reservations to 8 bytes and the structure to 4 (§5.6).
        let structure_at = HEADER_LEN + reservations.len();
        let strings_at = structure_at + structure.bytes.len();
        let len = strings_at + structure.strings.len();
        if len > MAX_LEN {
            return None;
        }
        let mut blob = Vec::with_capacity(len);
        for field in [
            FDT_MAGIC,
            word(len),
            word(structure_at),
            word(strings_at),
            word(HEADER_LEN),
            VERSION,
            LAST_COMP_VERSION,
            self.boot_cpuid_phys,
            word(structure.strings.len()),
            word(structure.bytes.len()),
        ] {
            blob.extend(field.to_be_bytes());
        }
        blob.append(&mut reservations);
        blob.append(&mut structure.bytes);
        blob.append(&mut structure.strings);
        Some(blob)
    }
}

impl<'a> Node<'a> {
    /// Returns the value of a property.
    pub fn property(&self, name: &[u8]) -> Option<&[u8]> {
        let mut properties = self.properties.iter();
        let (_, value) = properties.find(|(known, _)| *known == name)?;
        Some(value)
    }

    /// Returns all properties with their values.
    pub fn properties(&self) -> impl Iterator<Item = (&'a [u8], &Cow<'a, [u8]>)> {
        self.properties.iter().map(|(name, value)| (*name, value))
    }

    /// Sets a property.
    pub fn set(&mut self, name: &'a [u8], value: impl Into<Cow<'a, [u8]>>) {
        self.remove(name);
        self.properties.push((name, value.into()));
    }

    /// Removes a property.
    pub fn remove(&mut self, name: &[u8]) {
        self.properties.retain(|(known, _)| *known != name);
    }

    /// Returns the child node of this name, if there is one.
    pub fn node(&self, name: &[u8]) -> Option<&Self> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Removes and returns the child node of this name, or an empty one.
    pub fn take(&mut self, name: &'a [u8]) -> Self {
        match self.nodes.iter().position(|node| node.name == name) {
            Some(at) => self.nodes.remove(at),
            None => Self {
                name,
                ..Self::default()
            },
        }
    }

    /// Adds a child node.
    pub fn put(&mut self, node: Self) {
        self.nodes.push(node);
    }

    /// Returns the child nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter()
    }

    /// Removes the child nodes that `keep` rejects.
    pub fn retain(&mut self, keep: impl FnMut(&Self) -> bool) {
        self.nodes.retain(keep);
    }
}

/// Returns a reader of the bytes from `at` on.
fn from<'a>(blob: &'a [u8], at: u32, field: &'static str) -> Result<Reader<'a>, DecodeError> {
    let mut reader = Reader::new(blob);
    reader.take(at as usize, field)?;
    Ok(reader)
}

fn reservations(mut reader: Reader<'_>) -> Result<Vec<(u64, u64)>, DecodeError> {
    let mut all = Vec::new();
    loop {
        let address = reader.array("reserved address").map(u64::from_be_bytes)?;
        let len = reader.array("reserved size").map(u64::from_be_bytes)?;
        if (address, len) == (0, 0) {
            return Ok(all);
        }
        all.push((address, len));
    }
}

/// Decodes the structure block, up to the end of the root.
fn nodes<'a>(mut reader: Reader<'a>, strings: &'a [u8]) -> Result<Node<'a>, DecodeError> {
    // Open nodes, the root first.
    let mut open: Vec<Node<'a>> = Vec::new();
    loop {
        let token = reader.u32("token")?;
        let depth = open.len();
        match (token, open.last_mut()) {
            (FDT_NOP, _) => {}
            (FDT_BEGIN_NODE, _) if depth < MAX_DEPTH => {
                let name = text(reader.rest(), "node name")?;
                padded(&mut reader, name.len() + 1, "node name")?;
                open.push(Node {
                    name,
                    ..Node::default()
                });
            }
            (FDT_PROP, Some(node)) => {
                let len = reader.u32("property length")?;
                let name_at = reader.u32("property name")?;
                let name = strings.get(name_at as usize..).unwrap_or_default();
                let name = text(name, "property name")?;
                let value = padded(&mut reader, len as usize, "property")?;
                node.properties.push((name, value.into()));
            }
            (FDT_END_NODE, Some(_)) => {
                let ended = open.pop().unwrap_or_default();
                match open.last_mut() {
                    Some(node) => node.nodes.push(ended),
                    None => return Ok(ended),
                }
            }
            _ => return Err(crate::reader::invalid("token", token)),
        }
    }
}

/// Returns the bytes before the first zero.
fn text<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a [u8], DecodeError> {
    let bytes = bytes.get(..=MAX_NAME_LEN).unwrap_or(bytes);
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    match (parts.next(), parts.next()) {
        (Some(text), Some(_)) => Ok(text),
        _ => Err(Box::new(DecodeFault::Truncated {
            field,
            needed: bytes.len() + 1,
            left: bytes.len(),
        })),
    }
}

/// Reads `len` bytes and the padding to a multiple of four.
fn padded<'a>(
    reader: &mut Reader<'a>,
    len: usize,
    field: &'static str,
) -> Result<&'a [u8], DecodeError> {
    let taken = reader.take(len, field)?;
    reader.take(len.next_multiple_of(4) - len, field)?;
    Ok(taken)
}

/// A writer of the structure block and its strings.
#[derive(Default)]
struct Structure<'a> {
    bytes: Vec<u8>,
    strings: Vec<u8>,
    /// Offset of each string.
    known: BTreeMap<&'a [u8], u32>,
}

impl<'a> Structure<'a> {
    fn node(&mut self, node: &Node<'a>) {
        self.word(FDT_BEGIN_NODE);
        self.bytes.extend(node.name);
        self.bytes.push(0);
        self.pad();
        for (name, value) in &node.properties {
            self.word(FDT_PROP);
            self.word(word(value.len()));
            let at = self.string(name);
            self.word(at);
            self.bytes.extend(value.iter());
            self.pad();
        }
        for inner in &node.nodes {
            self.node(inner);
        }
        self.word(FDT_END_NODE);
    }

    fn string(&mut self, name: &'a [u8]) -> u32 {
        *self.known.entry(name).or_insert_with(|| {
            let at = word(self.strings.len());
            self.strings.extend(name);
            self.strings.push(0);
            at
        })
    }

    fn word(&mut self, word: u32) {
        self.bytes.extend(word.to_be_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Returns a length as a field; one that does not fit makes the blob longer than [`MAX_LEN`].
fn word(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tree with every kind of token, as written by hand.
    const BLOB: &[&[u8]] = &[
        &[0xd0, 0x0d, 0xfe, 0xed],                               // magic
        &[0, 0, 0, 0xa3],                                        // totalsize
        &[0, 0, 0, 0x48],                                        // off_dt_struct
        &[0, 0, 0, 0x98],                                        // off_dt_strings
        &[0, 0, 0, 0x28],                                        // off_mem_rsvmap
        &[0, 0, 0, 17],                                          // version
        &[0, 0, 0, 16],                                          // last_comp_version
        &[0, 0, 0, 3],                                           // boot_cpuid_phys
        &[0, 0, 0, 11],                                          // size_dt_strings
        &[0, 0, 0, 0x50],                                        // size_dt_struct
        &[0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0], // a reservation
        &[0; 16],                                                // the end of reservations
        &[0, 0, 0, 1, 0, 0, 0, 0],                               // FDT_BEGIN_NODE: the root
        &[
            0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, b'v', b'i', b'r', b't', 0, 0, 0, 0,
        ], // FDT_PROP
        &[0, 0, 0, 1, b'c', b'h', b'o', b's', b'e', b'n', 0, 0], // FDT_BEGIN_NODE
        &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 6],                   // FDT_PROP without a value
        &[0, 0, 0, 2],                                           // FDT_END_NODE
        &[0, 0, 0, 1, b'c', b'p', b'u', 0],                      // FDT_BEGIN_NODE
        &[0, 0, 0, 2],                                           // FDT_END_NODE
        &[0, 0, 0, 2],                                           // FDT_END_NODE
        &[0, 0, 0, 4],                                           // FDT_NOP
        &[0, 0, 0, 9],                                           // FDT_END
        b"model\0seed\0",                                        // strings
    ];

    fn tree() -> DeviceTree<'static> {
        let mut root = Node::default();
        root.set(b"model", &b"virt\0"[..]);
        let mut chosen = root.take(b"chosen");
        chosen.set(b"seed", &b""[..]);
        let cpu = root.take(b"cpu");
        root.put(chosen);
        root.put(cpu);
        DeviceTree {
            reservations: vec![(0x8000_0000, 0x1000)],
            boot_cpuid_phys: 3,
            root,
        }
    }

    #[test]
    fn a_blob_is_read_and_written_as_the_specification_draws_it() {
        let blob = BLOB.concat();
        let decoded = DeviceTree::decode(&blob).unwrap();
        assert_eq!(decoded, tree());
        assert_eq!(decoded.root.property(b"model"), Some(&b"virt\0"[..]));
        let written = tree().encode().unwrap();
        // The same but for the FDT_NOP, which says nothing.
        assert_eq!(written.len(), blob.len() - 4);
        assert_eq!(DeviceTree::decode(&written).unwrap(), tree());
        assert_eq!(written[0x28..0x90], blob[0x28..0x90]);
    }

    #[test]
    fn no_part_of_a_blob_is_taken_for_one() {
        let blob = BLOB.concat();
        for len in 0..blob.len() {
            let error = DeviceTree::decode(&blob[..len]).unwrap_err();
            assert!(matches!(*error, DecodeFault::Truncated { .. }), "{len}");
        }
        // Neither when the header claims to be complete.
        for len in (40..blob.len()).rev() {
            let mut cut = blob[..len].to_vec();
            cut[4..8].copy_from_slice(&word(len).to_be_bytes());
            assert!(DeviceTree::decode(&cut).is_err(), "{len}");
        }
    }

    #[test]
    fn whatever_octet_is_damaged_reading_ends_well() {
        let blob = BLOB.concat();
        for at in 0..blob.len() {
            for byte in [0, 1, 2, 4, 0x7f, 0xff] {
                let mut damaged = blob.clone();
                damaged[at] = byte;
                if let Ok(tree) = DeviceTree::decode(&damaged) {
                    let written = tree.encode().unwrap();
                    assert_eq!(DeviceTree::decode(&written).as_ref(), Ok(&tree));
                }
            }
        }
    }

    #[test]
    fn nodes_nested_deeper_than_the_kernel_reads_are_refused() {
        let nested = |depth: usize| {
            let mut structure: Vec<u8> = [0, 0, 0, 1, 0, 0, 0, 0].repeat(depth);
            structure.extend([0, 0, 0, 2].repeat(depth));
            let mut blob = BLOB[..12].concat();
            blob.extend(&structure);
            for (at, value) in [(4, blob.len()), (12, 0), (32, 0), (36, structure.len())] {
                blob[at..at + 4].copy_from_slice(&word(value).to_be_bytes());
            }
            DeviceTree::decode(&blob).map(|_| ())
        };
        assert_eq!(nested(64), Ok(()));
        assert_eq!(nested(65), Err(crate::reader::invalid("token", 1_u32)));
    }

    #[test]
    fn a_name_without_an_end_is_refused() {
        let named = |len: usize| {
            let mut tree = tree();
            let name = vec![b'x'; len];
            tree.root.set(&name, &b""[..]);
            DeviceTree::decode(&tree.encode().unwrap()).map(|_| ())
        };
        assert_eq!(named(255), Ok(()));
        assert!(named(256).is_err());
    }

    #[test]
    fn a_property_is_replaced_and_removed() {
        let mut tree = tree();
        let mut chosen = tree.root.take(b"chosen");
        chosen.set(b"seed", vec![1, 2]);
        chosen.set(b"bootargs", &b"quiet\0"[..]);
        assert_eq!(chosen.property(b"seed"), Some(&[1, 2][..]));
        assert_eq!(chosen.properties().count(), 2);
        chosen.remove(b"seed");
        assert_eq!(chosen.property(b"seed"), None);
        assert!(tree.root.node(b"gone").is_none());
    }

    #[test]
    fn a_tree_that_is_too_long_for_a_kernel_is_not_written() {
        let mut tree = tree();
        tree.root.set(b"ballast", vec![0; MAX_LEN - 0x100]);
        assert!(tree.encode().is_some());
        tree.root.set(b"ballast", vec![0; MAX_LEN]);
        assert_eq!(tree.encode(), None);
    }
}
