//! Recognizes the format of a file by its first bytes.

use core::ops::Range;

use super::uki::Uki;
use crate::reader::{DecodeError, Reader};

/// The format of a boot file or of a file that it loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelFormat {
    /// A Linux kernel that kexec can load: bzImage, or an arm64 or RISC-V Image.
    Linux,
    /// The header of a bzImage, and no 64-bit kernel: a 32-bit one, or a program that loaders take for
    /// a kernel, such as memdisk, wimboot and iPXE.
    OldBzImage,
    /// A unified kernel image ([`super::uki::Uki`]).
    Uki,
    /// A self-decompressing kernel ([`super::uki::Zboot`]).
    Zboot,
    /// Another EFI program.
    Efi,
    /// A program for PC firmware of the pxelinux family.
    Pxelinux,
    /// Another program without text, such as a PXE network bootstrap program.
    Program,
    /// GRUB, for any firmware.
    Grub,
    /// A script for iPXE.
    IpxeScript,
    /// Any other text.
    Text,
}

impl KernelFormat {
    /// Returns whether kexec can start the file, or a kernel in it.
    pub const fn is_kernel(self) -> bool {
        matches!(self, Self::Linux | Self::Uki | Self::Zboot)
    }

    /// Returns whether the file is a program for the firmware.
    pub const fn is_firmware_program(self) -> bool {
        matches!(
            self,
            Self::OldBzImage | Self::Efi | Self::Pxelinux | Self::Grub | Self::Program
        )
    }
}

/// The beginning of a file packed by gzip (RFC 1952 §2.3.1).
pub const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 8];

/// Offset and value of the magic number of the x86 boot protocol (Documentation/arch/x86/boot.rst
/// of Linux).
const X86_MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// The same of an arm64 Image (Documentation/arch/arm64/booting.rst).
const ARM64_MAGIC: (usize, &[u8]) = (56, b"ARMd");
/// The same of a RISC-V Image (Documentation/arch/riscv/boot-image-header.rst).
const RISCV_MAGIC: (usize, &[u8]) = (56, b"RSC\x05");

/// Including the zero at the end (arch/arm64/include/uapi/asm/setup.h).
// The header of an Image does not have it, unlike that of x86.
const ARM64_COMMAND_LINE_SIZE: usize = 2048;

fn has(head: &[u8], (at, magic): (usize, &[u8])) -> bool {
    head.get(at..at + magic.len()) == Some(magic)
}

/// Returns the format of a file that begins with `head`.
pub fn classify(head: &[u8]) -> KernelFormat {
    let has = |magic| has(head, magic);
    // gPXE is the predecessor of iPXE, which runs its scripts too.
    if head.starts_with(b"#!ipxe") || head.starts_with(b"#!gpxe") {
        KernelFormat::IpxeScript
    } else if has(X86_MAGIC) {
        if has_64_bit_entry(head) {
            KernelFormat::Linux
        } else {
            KernelFormat::OldBzImage
        }
    } else if has(ARM64_MAGIC) || has(RISCV_MAGIC) {
        KernelFormat::Linux
    } else if is_text(head) {
        KernelFormat::Text
    } else if head.starts_with(b"MZ\0\0zimg") {
        KernelFormat::Zboot
    } else if matches!(Uki::decode(head, u64::MAX, 0), Ok(Some(_))) {
        KernelFormat::Uki
    // The headline of its menu (grub-core/normal/main.c), with two spaces.
    } else if head.windows(11).any(|bytes| bytes == b"GNU GRUB  v") {
        KernelFormat::Grub
    } else if head.windows(8).any(|bytes| bytes == b"PXELINUX") {
        KernelFormat::Pxelinux
    } else if head.starts_with(b"MZ") {
        KernelFormat::Efi
    } else {
        KernelFormat::Program
    }
}

/// Returns whether a bzImage has what kexec_file_load demands (`bzImage64_probe` of Linux): boot
/// protocol 2.12 and XLF_KERNEL_64.
fn has_64_bit_entry(head: &[u8]) -> bool {
    load_flags(head).is_some_and(|flags| flags & 1 != 0)
}

/// Returns whether the file is a bzImage of Linux 3.8 or later without a 64-bit entry. Programs that
/// loaders take for a kernel are of an older boot protocol.
pub fn is_32_bit_kernel(head: &[u8]) -> bool {
    has(head, X86_MAGIC) && load_flags(head).is_some_and(|flags| flags & 1 == 0)
}

/// Returns the lower `xloadflags` of a bzImage, which exist since boot protocol 2.12.
fn load_flags(head: &[u8]) -> Option<u8> {
    let protocol = u16::from_le_bytes(*head.get(0x206..)?.first_chunk()?);
    let flags = head.get(0x236).copied();
    flags.filter(|_| protocol >= 0x20c)
}

/// Returns the version that a bzImage tells of itself, such as "MEMDISK 6.04"; none when it has none.
pub fn version_text(head: &[u8]) -> Option<&str> {
    // `kernel_version` is relative to the end of the first sector.
    let at = u16::from_le_bytes(*head.get(0x20e..)?.first_chunk()?);
    let text = head.get(0x200 + usize::from(at)..).filter(|_| at != 0)?;
    let text = text.split(|octet| *octet == 0).next()?;
    core::str::from_utf8(text)
        .ok()
        .filter(|text| !text.is_empty() && text.len() <= 80)
}

/// Placement requirements of an arm64 Image (Documentation/arch/arm64/booting.rst, §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm64Image {
    /// Offset from a multiple of 2 MiB, in bytes, less than 2 MiB.
    pub text_offset: u64,
    /// Size in memory, in bytes: larger than the file, since it includes `.bss`.
    pub image_size: u64,
}

impl Arm64Image {
    /// Decodes the header; none if the file is no arm64 Image.
    ///
    /// # Errors
    /// Images of Linux before 3.17, which lack their size, and invalid offsets.
    pub fn decode(head: &[u8]) -> Result<Option<Self>, DecodeError> {
        if !has(head, ARM64_MAGIC) {
            return Ok(None);
        }
        let mut reader = Reader::new(head);
        reader.take(8, "code0")?;
        let mut field = |name| reader.array(name).map(u64::from_le_bytes);
        let text_offset = field("text_offset")?;
        let image_size = field("image_size")?;
        if text_offset % 4096 != 0 || text_offset >= 2 << 20 {
            return Err(crate::reader::invalid("text_offset", text_offset));
        }
        // Kernels before 3.17 have 0 here, and their `text_offset` may be wrong (booting.rst).
        if image_size == 0 {
            return Err(crate::reader::invalid("image_size", image_size));
        }
        Ok(Some(Self {
            text_offset,
            image_size,
        }))
    }
}

/// Requirements of a bzImage for 64-bit x86 to whoever starts it at its 64-bit entry
/// (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BzImage {
    /// The part of the file that belongs into `boot_params`, at the same offset as in the file.
    pub setup_header: Range<usize>,
    /// Where the protected-mode part begins in the file, in bytes: what follows is loaded.
    pub code_at: usize,
    /// Memory that the kernel needs from its beginning until it has read the map of it, in bytes.
    pub init_size: u64,
    /// The address that it begins at is a multiple of this, a power of two.
    pub alignment: u64,
    /// Whether kernel, initrd and parameters may lie above 4 GiB.
    pub is_loaded_anywhere: bool,
}

/// Offset of the setup header in the file and in `boot_params`.
const SETUP_HEADER: usize = 0x1f1;
/// The first boot protocol with `xloadflags`.
const PROTOCOL_2_12: u16 = 0x20c;
/// `xloadflags`: has the 64-bit entry, may be above 4 GiB, starts with five levels of page tables.
const XLF_KERNEL_64: u16 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
const XLF_5LEVEL: u16 = 1 << 5;
/// `loadflags`: the protected-mode part is loaded at 1 MiB or above.
const LOADED_HIGH: u8 = 1;

impl BzImage {
    /// The 64-bit entry, in bytes behind the beginning of the protected-mode part.
    pub const ENTRY: u64 = 0x200;

    /// Reads the header; none when the kernel is for another processor, or cannot be started where
    /// a 64-bit kernel ends, whatever its page tables are like.
    pub fn decode(head: &[u8]) -> Option<Self> {
        fn field<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
            head.get(at..)?.first_chunk().copied()
        }
        let [setup_sectors] = field(head, SETUP_HEADER)?;
        // The header ends as many bytes behind 0x202 (boot.rst).
        let [header_len] = field(head, 0x201)?;
        let protocol = u16::from_le_bytes(field(head, 0x206)?);
        let [load_flags] = field(head, 0x211)?;
        let alignment = u64::from(u32::from_le_bytes(field(head, 0x230)?));
        let [relocatable] = field(head, 0x234)?;
        let flags = u16::from_le_bytes(field(head, 0x236)?);
        let init_size = u64::from(u32::from_le_bytes(field(head, 0x260)?));
        let wanted = XLF_KERNEL_64 | XLF_5LEVEL;
        let is_fit = has(head, X86_MAGIC)
            && protocol >= PROTOCOL_2_12
            && load_flags & LOADED_HIGH != 0
            && relocatable != 0
            && flags & wanted == wanted
            && alignment.is_power_of_two();
        // 0 means 4, for images of long ago (boot.rst, `setup_sects`).
        let sectors = if setup_sectors == 0 { 4 } else { setup_sectors };
        is_fit.then(|| Self {
            setup_header: SETUP_HEADER..0x202 + usize::from(header_len),
            code_at: (usize::from(sectors) + 1) * 512,
            init_size,
            alignment,
            is_loaded_anywhere: flags & XLF_CAN_BE_LOADED_ABOVE_4G != 0,
        })
    }
}

/// Returns how many bytes the command line may have: of a bzImage, where its header tells (boot
/// protocol 2.06), and of an arm64 Image, which cuts off what is longer.
pub fn command_line_limit(head: &[u8]) -> Option<usize> {
    if has(head, ARM64_MAGIC) {
        return Some(ARM64_COMMAND_LINE_SIZE - 1);
    }
    let protocol = u16::from_le_bytes(*head.get(0x206..)?.first_chunk()?);
    let limit = u32::from_le_bytes(*head.get(0x238..)?.first_chunk()?);
    // `cmdline_size` exists since boot protocol 2.06.
    let is_told = has(head, X86_MAGIC) && protocol >= 0x206;
    usize::try_from(limit).ok().filter(|_| is_told)
}

/// Returns whether the bytes are text in UTF-8 or Latin-1, without control characters other than
/// those of text.
fn is_text(head: &[u8]) -> bool {
    head.iter()
        // Those control characters that file(1) counts as text, and all bytes of UTF-8.
        .all(|byte| *byte >= 0x20 && *byte != 0x7f || matches!(byte, 0x07..=0x0d | 0x1b))
}

/// Files for tests.
#[cfg(any(test, feature = "fixtures"))]
pub mod fixture {
    use crate::prelude::*;

    /// Returns the header of a 64-bit bzImage whose command line may have 2047 bytes.
    pub fn bz_image() -> Vec<u8> {
        bz_image_of(0x20f, 3, "6.12.0")
    }

    /// Returns the header of a bzImage of this boot protocol with these `xloadflags`, which says that
    /// it is `version`.
    pub fn bz_image_of(protocol: u16, flags: u8, version: &str) -> Vec<u8> {
        let mut kernel = vec![0; 0x300];
        let mut put = |at: usize, octets: &[u8]| {
            kernel.splice(at..at + octets.len(), octets.iter().copied());
        };
        put(0x1fe, b"\x55\xaa\xeb\x66HdrS");
        put(0x206, &protocol.to_le_bytes());
        put(0x20e, &0x100_u16.to_le_bytes());
        put(0x236, &[flags]);
        put(0x238, &2047_u32.to_le_bytes());
        kernel.extend(version.as_bytes());
        kernel.resize(0x400, 0);
        kernel
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{bz_image, bz_image_of};
    use super::*;

    #[test]
    fn only_a_bz_image_with_a_64_bit_entry_is_a_kernel() {
        assert_eq!(classify(&bz_image()), KernelFormat::Linux);
        for (protocol, flags, version) in [
            (0x203, 0, "MEMDISK 6.04"),
            (0x206, 3, "wimboot v2.8"),
            (0x20c, 2, "6.1.0-686"),
        ] {
            let head = bz_image_of(protocol, flags, version);
            assert_eq!(classify(&head), KernelFormat::OldBzImage, "{version}");
            assert!(classify(&head).is_firmware_program());
            assert_eq!(version_text(&head), Some(version));
        }
        // wimboot is an EFI program, too.
        let mut head = bz_image_of(0x206, 0, "");
        head[..2].copy_from_slice(b"MZ");
        assert_eq!(classify(&head), KernelFormat::OldBzImage);
        assert_eq!(version_text(&head), None);
        assert_eq!(version_text(&head[..0x280]), None);
        assert_eq!(classify(&bz_image()[..0x236]), KernelFormat::OldBzImage);
    }

    #[test]
    fn a_bzimage_says_what_its_64_bit_entry_needs() {
        let mut head = vec![0; 0x270];
        head[0x1f1] = 39;
        head[0x201] = 0x6a;
        head[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        head[0x211] = 1;
        head[0x230..0x237].copy_from_slice(&[0, 0, 0x20, 0, 1, 21, 0x3f]);
        head[0x260..0x264].copy_from_slice(&0x312_d000_u32.to_le_bytes());
        let image = BzImage {
            setup_header: 0x1f1..0x26c,
            code_at: 40 * 512,
            init_size: 0x312_d000,
            alignment: 0x20_0000,
            is_loaded_anywhere: true,
        };
        assert_eq!(BzImage::decode(&head), Some(image));
        for (at, value) in [
            (0x202, b'h'), // another magic number
            (0x207, 1),    // protocol 1.15
            (0x211, 0),    // a zImage
            (0x230, 1),    // no power of two
            (0x234, 0),    // not relocatable
            (0x236, 0x1f), // four levels of page tables only
            (0x236, 0x3e), // a 32-bit kernel
        ] {
            let mut other = head.clone();
            other[at] = value;
            assert_eq!(BzImage::decode(&other), None, "{at:#x}");
        }
        head[0x1f1] = 0;
        assert_eq!(BzImage::decode(&head).unwrap().code_at, 5 * 512);
        for len in 0..0x264 {
            assert_eq!(BzImage::decode(&head[..len]), None);
        }
    }

    #[test]
    fn an_arm64_image_says_where_it_may_lie() {
        let mut head = vec![0; 64];
        head[8..16].copy_from_slice(&0x8_0000_u64.to_le_bytes());
        head[16..24].copy_from_slice(&0x1a1_0000_u64.to_le_bytes());
        assert_eq!(Arm64Image::decode(&head), Ok(None));
        head[56..60].copy_from_slice(b"ARMd");
        let image = Arm64Image {
            text_offset: 0x8_0000,
            image_size: 0x1a1_0000,
        };
        assert_eq!(Arm64Image::decode(&head), Ok(Some(image)));
        assert_eq!(command_line_limit(&head), Some(2047));
        head[16..24].fill(0);
        let error = Arm64Image::decode(&head).unwrap_err();
        assert_eq!(error, crate::reader::invalid("image_size", 0_u64));
        head[8] = 1;
        assert!(Arm64Image::decode(&head).is_err());
    }
}
