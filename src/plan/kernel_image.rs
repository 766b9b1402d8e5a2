//! What a file is, by its first octets.

use super::uki::Uki;

/// A kind of file that a boot can begin with or lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Linux kernel that kexec takes as it is: bzImage, or an arm64 or RISC-V Image.
    Linux,
    /// A unified kernel image ([`super::uki::Uki`]).
    Uki,
    /// A kernel that unpacks itself ([`super::uki::Zboot`]).
    Zboot,
    /// Another EFI program.
    Efi,
    /// A program for PC firmware of the pxelinux family.
    Pxelinux,
    /// Another program without text, such as a PXE network bootstrap program.
    Program,
    /// GRUB, whichever firmware it was made for.
    Grub,
    /// A script for iPXE.
    IpxeScript,
    /// Another text.
    Text,
}

impl Kind {
    /// Returns whether kexec can start the file, or what is in it.
    pub const fn is_kernel(self) -> bool {
        matches!(self, Self::Linux | Self::Uki | Self::Zboot)
    }

    /// Returns whether the file is a program for the firmware.
    pub const fn is_firmware_program(self) -> bool {
        matches!(
            self,
            Self::Efi | Self::Pxelinux | Self::Grub | Self::Program
        )
    }
}

/// Offset and value of the magic number of the x86 boot protocol (Documentation/arch/x86/boot.rst
/// of Linux).
const X86_MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// The same of an arm64 Image (Documentation/arch/arm64/booting.rst).
const ARM64_MAGIC: (usize, &[u8]) = (56, b"ARMd");
/// The same of a RISC-V Image (Documentation/arch/riscv/boot-image-header.rst).
const RISCV_MAGIC: (usize, &[u8]) = (56, b"RSC\x05");

/// Returns what the file is that begins with `head`.
pub fn classify(head: &[u8]) -> Kind {
    let has = |(at, magic): (usize, &[u8])| head.get(at..at + magic.len()) == Some(magic);
    if head.starts_with(b"#!ipxe") || head.starts_with(b"#!gpxe") {
        Kind::IpxeScript
    } else if has(X86_MAGIC) || has(ARM64_MAGIC) || has(RISCV_MAGIC) {
        Kind::Linux
    } else if is_text(head) {
        Kind::Text
    } else if head.starts_with(b"MZ\0\0zimg") {
        Kind::Zboot
    } else if matches!(Uki::decode(head, u64::MAX), Ok(Some(_))) {
        Kind::Uki
    } else if head.windows(11).any(|octets| octets == b"GNU GRUB  v") {
        Kind::Grub
    } else if head.windows(8).any(|octets| octets == b"PXELINUX") {
        Kind::Pxelinux
    } else if head.starts_with(b"MZ") {
        Kind::Efi
    } else {
        Kind::Program
    }
}

/// Returns how many octets the command line of a bzImage may have, where its header tells (boot
/// protocol 2.06).
pub fn command_line_limit(head: &[u8]) -> Option<usize> {
    let octets = |at: usize| head.get(at..).and_then(|rest| rest.first_chunk::<4>());
    if classify(head) != Kind::Linux || octets(0x202)? != b"HdrS" {
        return None;
    }
    let [low, high, ..] = octets(0x206)?;
    let limit = u32::from_le_bytes(*octets(0x238)?);
    let is_told = u16::from_le_bytes([*low, *high]) >= 0x206;
    usize::try_from(limit).ok().filter(|_| is_told)
}

/// Returns whether the octets are text in UTF-8 or Latin-1: without any control character that
/// text does not have.
fn is_text(head: &[u8]) -> bool {
    head.iter()
        .all(|octet| *octet >= 0x20 && *octet != 0x7f || matches!(octet, 0x07..=0x0d | 0x1b))
}
