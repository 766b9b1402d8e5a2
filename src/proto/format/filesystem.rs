//! Recognizes what a fetched root image is, by its magic numbers.
//!
//! Only what mounting needs is read: the kernel checks the rest of a superblock.

use super::archive::is_archive;
use super::kernel_image::GZIP_MAGIC;
use super::uki::Packing;
use crate::prelude::*;

/// Bytes from the beginning of an image by which it is recognized: up to the end of btrfs's label.
pub const HEAD_LEN: usize = 0x1_0000 + 0x22b;

/// A file system that a root image may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// fs/squashfs/squashfs_fs.h of Linux.
    Squashfs,
    /// fs/erofs/erofs_fs.h.
    Erofs,
    /// ext2 and ext3 too, which the same driver mounts; fs/ext4/ext4.h.
    Ext4,
    /// fs/xfs/libxfs/xfs_format.h.
    Xfs,
    /// include/uapi/linux/btrfs_tree.h.
    Btrfs,
}

/// File systems by the offset and value of their magic numbers.
const FILE_SYSTEMS: [(FileSystem, usize, &[u8]); 5] = [
    (FileSystem::Squashfs, 0, b"hsqs"),
    (FileSystem::Xfs, 0, b"XFSB"),
    (FileSystem::Erofs, 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    (FileSystem::Ext4, 1024 + 0x38, &[0x53, 0xef]),
    (FileSystem::Btrfs, 0x1_0040, b"_BHRfS_M"),
];

/// What else is offered as an image, for messages.
const OTHERS: [(&str, usize, &[u8]); 6] = [
    (
        "an ISO image; name the file system in it, as in live.iso#/live/filesystem.squashfs",
        0x8001,
        b"CD001",
    ),
    (
        "a disk image of QEMU (qcow2); convert it to raw",
        0,
        b"QFI\xfb",
    ),
    (
        "a cpio archive of another format than newc (cpio -H newc)",
        0,
        b"07070",
    ),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    // The label is in the second of four sectors by default (lib/label/label.h of LVM2).
    ("a volume of LVM", 512 + 24, b"LVM2 001"),
    ("a program, such as a kernel", 0, b"MZ"),
];

/// Kind of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A file system.
    FileSystem(FileSystem),
    /// Something that is packed.
    Packed(Packing),
    /// An archive of files, tar or cpio.
    Archive,
    /// Neither: a disk with partitions perhaps, or what the text says.
    Other(Option<&'static str>),
}

impl Content {
    /// Recognizes an image by its first [`HEAD_LEN`] bytes, or all that it has.
    pub fn recognize(head: &[u8]) -> Self {
        let has = |at: usize, magic: &[u8]| {
            let found = head.get(at..).and_then(|rest| rest.get(..magic.len()));
            found == Some(magic)
        };
        if has(0, GZIP_MAGIC) {
            return Self::Packed(Packing::Gzip);
        }
        // A frame of RFC 8878 §3.1.1, or of §3.1.2, with which pzstd begins.
        let is_skippable = head.first().is_some_and(|byte| byte & 0xf0 == 0x50);
        if has(0, &[0x28, 0xb5, 0x2f, 0xfd]) || (is_skippable && has(1, &[0x2a, 0x4d, 0x18])) {
            return Self::Packed(Packing::Zstd);
        }
        // The .xz file format 1.2.1, §2.1.1.1.
        if has(0, b"\xfd7zXZ\0") {
            return Self::Packed(Packing::Xz);
        }
        if is_archive(head) {
            return Self::Archive;
        }
        let known = FILE_SYSTEMS.iter().find(|(_, at, magic)| has(*at, magic));
        if let Some((file_system, ..)) = known {
            return Self::FileSystem(*file_system);
        }
        let other = OTHERS.iter().find(|(_, at, magic)| has(*at, magic));
        Self::Other(other.map(|(what, ..)| *what))
    }
}

impl FileSystem {
    /// Returns its name, as mount(2) has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Returns the length that its superblock in `head` says, in bytes, where it is of use to find a
    /// file that was cut off.
    pub fn len(self, head: &[u8]) -> Option<u64> {
        let number = |at: usize, len: usize| {
            let bytes = head.get(at..at + len)?;
            let digits = bytes.iter().rev();
            Some(digits.fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
        };
        match self {
            // bytes_used
            Self::Squashfs => number(40, 8),
            Self::Erofs => {
                // blkszbits and blocks_lo
                let bits = u32::try_from(number(1024 + 12, 1)?).ok()?;
                number(1024 + 36, 4)?.checked_shl(bits.min(63))
            }
            Self::Ext4 => {
                // s_log_block_size, s_blocks_count_lo, and its upper half with INCOMPAT_64BIT.
                let bits = u32::try_from(number(1024 + 24, 4)?).ok()?;
                let upper = match number(1024 + 96, 4)? & 0x80 {
                    0 => 0,
                    _ => number(1024 + 0x150, 4)?,
                };
                let blocks = upper << 32 | number(1024 + 4, 4)?;
                blocks.checked_mul(1024u64.checked_shl(bits.min(20))?)
            }
            Self::Xfs | Self::Btrfs => None,
        }
    }

    /// Returns its identifier; none for one that is never written to.
    pub fn uuid(self, head: &[u8]) -> Option<&[u8]> {
        let at = match self {
            Self::Ext4 => 1024 + 104,
            Self::Xfs => 32,
            Self::Btrfs => 0x1_0020,
            Self::Squashfs | Self::Erofs => return None,
        };
        head.get(at..at + 16)
    }

    /// Returns its label; none for one that is never written to.
    pub fn label(self, head: &[u8]) -> Option<String> {
        let (at, len) = match self {
            // s_volume_name, sb_fname, and label of struct btrfs_super_block.
            Self::Ext4 => (1024 + 120, 16),
            Self::Xfs => (108, 12),
            Self::Btrfs => (0x1_0000 + 0x12b, 256),
            Self::Squashfs | Self::Erofs => return None,
        };
        let field = head.get(at..at + len)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
        let text = core::str::from_utf8(field.get(..end)?).ok()?;
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_recognized_by_their_magic_numbers_wherever_they_end() {
        for (file_system, at, magic) in FILE_SYSTEMS {
            let mut head = vec![0; HEAD_LEN];
            head[at..at + magic.len()].copy_from_slice(magic);
            let found = Content::recognize(&head);
            assert_eq!(found, Content::FileSystem(file_system));
            head.truncate(at + magic.len() - 1);
            assert_eq!(Content::recognize(&head), Content::Other(None));
        }
        let packed = [
            (&b"\x1f\x8b\x08rest"[..], Packing::Gzip),
            (b"\x28\xb5\x2f\xfdrest", Packing::Zstd),
            (b"\xfd7zXZ\0rest", Packing::Xz),
            (b"\x50\x2a\x4d\x18\x04\0\0\0", Packing::Zstd),
            (b"\x5f\x2a\x4d\x18rest", Packing::Zstd),
        ];
        for (head, packing) in packed {
            assert_eq!(Content::recognize(head), Content::Packed(packing));
        }
        let Content::Other(Some(what)) = Content::recognize(b"QFI\xfb\0") else {
            panic!("it is a disk image of QEMU");
        };
        assert!(what.contains("convert it"), "{what}");
    }

    #[test]
    fn a_superblock_says_how_long_its_file_system_is() {
        let mut head = vec![0; HEAD_LEN];
        assert_eq!(FileSystem::Squashfs.len(&head), Some(0));
        head[40..44].copy_from_slice(&5000u32.to_le_bytes());
        assert_eq!(FileSystem::Squashfs.len(&head), Some(5000));
        // Blocks of 4 KiB.
        head[1024 + 24] = 2;
        head[1024 + 4] = 7;
        assert_eq!(FileSystem::Ext4.len(&head), Some(7 * 4096));
        head[1024 + 0x150] = 1;
        assert_eq!(FileSystem::Ext4.len(&head), Some(7 * 4096));
        head[1024 + 96] = 0x80;
        let long = (1 << 32 | 7) * 4096;
        assert_eq!(FileSystem::Ext4.len(&head), Some(long));
        head[1024 + 12] = 12;
        head[1024 + 36] = 3;
        assert_eq!(FileSystem::Erofs.len(&head), Some(3 * 4096));
        assert_eq!(FileSystem::Erofs.len(&head[..1050]), None);
    }

    #[test]
    fn the_label_of_a_disk_ends_at_its_zero() {
        let mut head = vec![0; HEAD_LEN];
        head[1024 + 120..1024 + 124].copy_from_slice(b"data");
        assert_eq!(FileSystem::Ext4.label(&head).as_deref(), Some("data"));
        assert_eq!(FileSystem::Btrfs.label(&head), None);
        head[1024 + 120] = 0xff;
        assert_eq!(FileSystem::Ext4.label(&head), None);
        assert_eq!(FileSystem::Squashfs.label(&head), None);
    }
}
