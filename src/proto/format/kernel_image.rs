//! Recognizes the format of a file by its first bytes.

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
    let protocol = head.get(0x206..).and_then(|rest| rest.first_chunk());
    let flags = head.get(0x236).copied().unwrap_or_default();
    protocol.is_some_and(|protocol| u16::from_le_bytes(*protocol) >= 0x20c) && flags & 1 != 0
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
            return Err(DecodeError::invalid("text_offset", text_offset));
        }
        // Kernels before 3.17 have 0 here, and their `text_offset` may be wrong (booting.rst).
        if image_size == 0 {
            return Err(DecodeError::invalid("image_size", image_size));
        }
        Ok(Some(Self {
            text_offset,
            image_size,
        }))
    }
}

/// Returns the maximum length of the command line, in bytes: of a bzImage, if its header has it (boot
/// protocol 2.06), and of an arm64 Image, which truncates longer ones.
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
        assert_eq!(error, DecodeError::invalid("image_size", 0_u64));
        head[8] = 1;
        assert!(Arm64Image::decode(&head).is_err());
    }
}
