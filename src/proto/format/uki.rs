//! Kernels within EFI programs: unified kernel images (UAPI specification 5) and EFI zboot.
//!
//! Only the section table is read, from the first bytes of the file; the driver takes the parts
//! out of the file by their ranges, each of which lies within the file. Left out: device trees of
//! which one is to be chosen by the hardware (`.dtbauto`, `.hwids`), and signatures, which nobody
//! checks once kexec starts the kernel.

use crate::prelude::*;
use alloc::boxed::Box;
use core::ops::Range;

use crate::reader::{DecodeError, DecodeFault};

/// The parts of a unified kernel image, as ranges of its file in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uki {
    /// The kernel.
    pub linux: Range<u64>,
    /// Initrds in the order in which they are loaded: microcode, then the other.
    pub initrds: Vec<Range<u64>>,
    /// The command line, in UTF-8.
    pub command_line: Option<Range<u64>>,
    /// A device tree.
    pub device_tree: Option<Range<u64>>,
    /// Whether it has device trees of which the hardware chooses one (`.dtbauto`).
    pub has_automatic_trees: bool,
}

/// The compression of the kernel in a zboot image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz file format 1.2.1 (tukaani.org).
    Xz,
}

/// A self-decompressing kernel for EFI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zboot {
    /// The range of the compressed kernel in the file, in bytes.
    pub payload: Range<u64>,
    /// Its compression.
    pub packing: Packing,
}

/// Offset of the address of the PE header, and the header's signature.
const PE_POINTER: usize = 0x3c;
const PE_SIGNATURE: &[u8] = b"PE\0\0";
const COFF_LEN: usize = 20;
const SECTION_LEN: usize = 40;
/// Maximum number of sections; images have about a dozen.
// The PE specification: the loader of Windows accepts no more than 96.
const MAX_SECTIONS: u16 = 96;

impl Uki {
    /// Reads the section table of a file of `len` bytes that begins with `head`; none when it has
    /// no kernel in it. The sections of the profile replace those of the same name that stand before
    /// all profiles; a file without profiles is its profile 0.
    ///
    /// # Errors
    /// A table that is cut off, a section that lies outside of the file, or no such profile.
    pub fn decode(head: &[u8], len: u64, profile: usize) -> Result<Option<Self>, DecodeError> {
        let mut base = Sections::default();
        let mut own = Sections::default();
        // The profile that the sections belong to, counted from 1.
        let mut current = 0;
        for section in sections(head)? {
            let (name, range) = section?;
            if name == b".profile" {
                current += 1;
            } else if current == 0 {
                base.add(name, range, len)?;
            } else if current == profile + 1 {
                own.add(name, range, len)?;
            }
        }
        if current.max(1) <= profile {
            return Err(crate::reader::invalid("profile", profile as u64));
        }
        let [
            linux,
            initrd,
            command_line,
            microcode,
            device_tree,
            automatic,
        ] = core::array::from_fn(|number| {
            let own = own.0.get_mut(number).and_then(Option::take);
            own.or_else(|| base.0.get_mut(number).and_then(Option::take))
        });
        Ok(linux.map(|linux| Self {
            linux,
            // The kernel finds early microcode only in front of the other initrds.
            initrds: microcode.into_iter().chain(initrd).collect(),
            command_line,
            device_tree,
            has_automatic_trees: automatic.is_some(),
        }))
    }
}

/// The sections of a UKI that are used, in the order of [`SECTIONS`]; of several of one name the
/// first.
#[derive(Default)]
struct Sections([Option<Range<u64>>; SECTIONS.len()]);

const SECTIONS: [&[u8]; 6] = [
    b".linux",
    b".initrd",
    b".cmdline",
    b".ucode",
    b".dtb",
    b".dtbauto",
];

impl Sections {
    fn add(&mut self, name: &[u8], range: Range<u64>, len: u64) -> Result<(), DecodeError> {
        let slots = SECTIONS.iter().zip(&mut self.0);
        for (_, slot) in slots.filter(|(known, slot)| **known == name && slot.is_none()) {
            *slot = Some(within(range.clone(), len)?);
        }
        Ok(())
    }
}

impl Zboot {
    /// Reads the header of a zboot image (`drivers/firmware/efi/libstub/zboot-header.S` of Linux)
    /// of `len` bytes; none when the file is none.
    ///
    /// # Errors
    /// A truncated header, a payload outside the file, or an unknown compression.
    pub fn decode(head: &[u8], len: u64) -> Result<Option<Self>, DecodeError> {
        if head.get(4..8) != Some(b"zimg") {
            return Ok(None);
        }
        // Offsets of drivers/firmware/efi/libstub/zboot-header.S.
        let start = u64::from(u32_at(head, 8, "zboot payload offset")?);
        let payload_len = u64::from(u32_at(head, 12, "zboot payload size")?);
        let name: [u8; 4] = array_at(head, 24, "zboot compression type")?;
        let packing = match &name {
            b"gzip" => Packing::Gzip,
            b"zstd" => Packing::Zstd,
            // Of "xzkern".
            b"xzke" => Packing::Xz,
            _ => {
                let value = u32::from_be_bytes(name);
                return Err(crate::reader::invalid("zboot compression type", value));
            }
        };
        Ok(Some(Self {
            payload: within(start..start + payload_len, len)?,
            packing,
        }))
    }
}

type Section<'a> = Result<(&'a [u8], Range<u64>), DecodeError>;

/// Returns name and range of each section (PE/COFF §3 and §4).
fn sections(head: &[u8]) -> Result<impl Iterator<Item = Section<'_>>, DecodeError> {
    let pe = u32_at(head, PE_POINTER, "e_lfanew")? as usize;
    let signature: [u8; 4] = array_at(head, pe, "PE signature")?;
    if signature != PE_SIGNATURE {
        let value = u32::from_be_bytes(signature);
        return Err(crate::reader::invalid("PE signature", value));
    }
    let coff = pe + PE_SIGNATURE.len();
    let count = u16_at(head, coff + 2, "NumberOfSections")?;
    if count > MAX_SECTIONS {
        return Err(crate::reader::invalid("NumberOfSections", count));
    }
    let optional_len = usize::from(u16_at(head, coff + 16, "SizeOfOptionalHeader")?);
    let table = coff + COFF_LEN + optional_len;
    Ok((0..usize::from(count)).map(move |number| section(head, table + number * SECTION_LEN)))
}

fn section(head: &[u8], at: usize) -> Section<'_> {
    let header: [u8; SECTION_LEN] = array_at(head, at, "section header")?;
    let name = head.get(at..at + 8).unwrap_or_default();
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(8);
    let virtual_len = u32_at(&header, 8, "VirtualSize")?;
    let raw_len = u32_at(&header, 16, "SizeOfRawData")?;
    let start = u64::from(u32_at(&header, 20, "PointerToRawData")?);
    // The raw size is rounded up to the alignment of the file, the virtual one is exact.
    let len = u64::from(raw_len.min(virtual_len));
    Ok((name.get(..end).unwrap_or(name), start..start + len))
}

fn within(range: Range<u64>, len: u64) -> Result<Range<u64>, DecodeError> {
    if range.end > len {
        let field = "end of a section in the file";
        return Err(crate::reader::invalid(field, range.end));
    }
    Ok(range)
}

fn u16_at(head: &[u8], at: usize, field: &'static str) -> Result<u16, DecodeError> {
    array_at(head, at, field).map(u16::from_le_bytes)
}

fn u32_at(head: &[u8], at: usize, field: &'static str) -> Result<u32, DecodeError> {
    array_at(head, at, field).map(u32::from_le_bytes)
}

fn array_at<const N: usize>(
    head: &[u8],
    at: usize,
    field: &'static str,
) -> Result<[u8; N], DecodeError> {
    let bytes = head.get(at..).and_then(|rest| rest.first_chunk::<N>());
    bytes.copied().ok_or_else(|| {
        Box::new(DecodeFault::Truncated {
            field,
            needed: at.saturating_add(N),
            left: head.len(),
        })
    })
}

/// Files for tests.
#[cfg(any(test, feature = "fixtures"))]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]
pub mod fixture {
    use super::{PE_POINTER, PE_SIGNATURE};
    use crate::prelude::*;

    /// Builds a whole PE file of sections with their content.
    pub fn file(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut at = 0x400;
        let mut table = Vec::new();
        for (name, content) in sections {
            let len = u32::try_from(content.len()).unwrap();
            table.push((*name, at, len, len.next_multiple_of(0x200)));
            at += len.next_multiple_of(0x200);
        }
        let mut image = pe(&table);
        for ((_, start, ..), (_, content)) in table.iter().zip(sections) {
            image.resize(*start as usize, 0);
            image.extend(*content);
        }
        image
    }

    /// Builds a PE file of sections: name, start in the file, virtual and raw size.
    pub fn pe(sections: &[(&str, u32, u32, u32)]) -> Vec<u8> {
        let mut image = vec![0; 0x80];
        image[..2].copy_from_slice(b"MZ");
        image[PE_POINTER] = 0x80;
        image.extend(PE_SIGNATURE);
        image.extend([0x64, 0x86]);
        image.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
        image.extend([0; 12]);
        image.extend(16_u16.to_le_bytes());
        image.extend([0; 2 + 16]);
        for (name, start, virtual_len, raw_len) in sections {
            let mut field = name.as_bytes().to_vec();
            field.resize(8, 0);
            image.extend(field);
            for value in [*virtual_len, 0, *raw_len, *start] {
                image.extend(value.to_le_bytes());
            }
            image.extend([0; 16]);
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::pe;
    use super::*;

    #[test]
    fn the_parts_of_a_uki_are_found_by_their_sections() {
        let image = pe(&[
            (".text", 0x400, 5, 0x200),
            (".cmdline", 0x600, 9, 0x200),
            (".initrd", 0x800, 0x1f0, 0x200),
            (".ucode", 0xc00, 0x100, 0x200),
            (".linux", 0xa00, 0x123, 0x200),
            (".linux", 0x400, 1, 0x200),
        ]);
        let uki = Uki::decode(&image, 0x1000, 0).unwrap().unwrap();
        assert_eq!(uki.linux, 0xa00..0xb23);
        assert_eq!(uki.initrds, [0xc00..0xd00, 0x800..0x9f0]);
        assert_eq!(uki.command_line, Some(0x600..0x609));
        assert_eq!(uki.device_tree, None);
        assert_eq!(Uki::decode(&pe(&[(".text", 0, 1, 1)]), 10, 0), Ok(None));
    }

    #[test]
    fn a_profile_has_its_own_sections_over_those_before_all_profiles() {
        let image = pe(&[
            (".linux", 0x400, 1, 0x200),
            (".cmdline", 0x600, 2, 0x200),
            (".initrd", 0x800, 3, 0x200),
            (".profile", 0xa00, 4, 0x200),
            (".profile", 0xc00, 5, 0x200),
            (".cmdline", 0xe00, 6, 0x200),
            (".ucode", 0x1000, 7, 0x200),
            (".profile", 0x1200, 8, 0x200),
            (".cmdline", 0x1400, 9, 0x200),
            (".initrd", 0x1600, 10, 0x200),
            (".dtbauto", 0x1800, 11, 0x200),
        ]);
        let of = |profile| Uki::decode(&image, 0x2000, profile);
        let [base, second, third] = [0, 1, 2].map(|profile| of(profile).unwrap().unwrap());
        assert_eq!(base.command_line, Some(0x600..0x602));
        assert_eq!(base.initrds, vec![0x800..0x803; 1]);
        assert_eq!(second.command_line, Some(0xe00..0xe06));
        assert_eq!(second.initrds, [0x1000..0x1007, 0x800..0x803]);
        assert_eq!(third.command_line, Some(0x1400..0x1409));
        assert_eq!(third.initrds, vec![0x1600..0x160a; 1]);
        assert_eq!(
            [&base, &second, &third].map(|uki| uki.linux.start),
            [0x400; 3]
        );
        let automatic = [&base, &second, &third].map(|uki| uki.has_automatic_trees);
        assert_eq!(automatic, [false, false, true]);
        assert_eq!(of(3), Err(crate::reader::invalid("profile", 3_u64)));
        // A first profile with sections of its own, and a file without profiles.
        let image = pe(&[
            (".cmdline", 0x400, 1, 0x200),
            (".linux", 0x600, 1, 0x200),
            (".profile", 0x800, 1, 0x200),
            (".cmdline", 0xa00, 1, 0x200),
        ]);
        let uki = Uki::decode(&image, 0x1000, 0).unwrap().unwrap();
        assert_eq!(uki.command_line, Some(0xa00..0xa01));
        let image = pe(&[(".linux", 0x600, 1, 0x200)]);
        assert!(Uki::decode(&image, 0x1000, 1).is_err());
    }

    #[test]
    fn a_section_outside_of_the_file_is_refused() {
        let image = pe(&[(".linux", 0xa00, 0x123, 0x200)]);
        let error = Uki::decode(&image, 0xb22, 0).unwrap_err();
        assert!(matches!(*error, DecodeFault::Invalid { value: 0xb23, .. }));
        let image = pe(&[(".linux", u32::MAX, u32::MAX, u32::MAX)]);
        assert!(Uki::decode(&image, u64::from(u32::MAX), 0).is_err());
    }

    #[test]
    fn no_prefix_of_an_image_is_taken_for_one() {
        let image = pe(&[(".linux", 0x400, 5, 0x200)]);
        let end = image.len();
        for len in 0..end {
            let result = Uki::decode(&image[..len], 0x1000, 0);
            assert!(
                matches!(&result, Err(error) if matches!(**error, DecodeFault::Truncated { .. })),
                "{len}"
            );
        }
    }

    #[test]
    fn a_zboot_image_says_where_its_kernel_is() {
        let mut image = vec![0; 64];
        image[..8].copy_from_slice(b"MZ\0\0zimg");
        image[8..12].copy_from_slice(&0x1000_u32.to_le_bytes());
        image[12..16].copy_from_slice(&0x234_u32.to_le_bytes());
        image[24..30].copy_from_slice(b"zstd22");
        let zboot = Zboot::decode(&image, 0x2000).unwrap().unwrap();
        assert_eq!(zboot.payload, 0x1000..0x1234);
        assert_eq!(zboot.packing, Packing::Zstd);
        assert!(Zboot::decode(&image, 0x1233).is_err());
        image[24..28].copy_from_slice(b"lzma");
        assert!(Zboot::decode(&image, 0x2000).is_err());
        assert_eq!(Zboot::decode(b"MZ", 2), Ok(None));
    }
}
