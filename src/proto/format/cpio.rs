//! Headers of cpio archives in the format `newc` (Documentation/driver-api/early-userspace of Linux), for
//! files that a plan adds to the initramfs.
//!
//! Archives are concatenated by the kernel's rules: each begins at a multiple of four bytes, and zeros
//! between them are skipped.

use crate::boot::Placement;
use crate::prelude::*;

/// The name of the last member of an archive.
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// Returns an archive of one file up to its content: the headers of its directories, as far as
/// requested, and of the file; `len` is the length of the file in bytes, which the format limits to
/// 32 bits.
pub fn before_file(placement: &Placement, len: u32) -> Vec<u8> {
    let path = placement.path.trim_matches('/');
    let mut bytes = Vec::new();
    let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    let wanted = placement.make_directories.unwrap_or(slashes.len());
    let skipped = slashes.len().saturating_sub(wanted);
    // The kernel creates no parent directories (init/initramfs.c).
    for at in slashes.into_iter().skip(skipped) {
        let directory = path.get(..at).unwrap_or_default();
        push_header(&mut bytes, directory, DIRECTORY | 0o755, 0);
    }
    let mode = FILE | u32::from(placement.mode & 0o7777);
    push_header(&mut bytes, path, mode, len);
    bytes
}

/// Returns the rest of an archive after a file of `len` bytes: padding and the trailer.
pub fn after_file(len: u32) -> Vec<u8> {
    let mut bytes = vec![0; padding(u64::from(len))];
    push_header(&mut bytes, TRAILER, 0, 0);
    bytes
}

/// Returns the number of padding zeros after `len` bytes, 0 to 3.
pub fn padding(len: u64) -> usize {
    match len % 4 {
        0 => 0,
        1 => 3,
        2 => 2,
        _ => 1,
    }
}

fn push_header(bytes: &mut Vec<u8>, name: &str, mode: u32, len: u32) {
    let name_len = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    // c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, four of device numbers,
    // c_namesize, c_check.
    // With c_nlink 1 the kernel looks for no hard links by c_ino (maybe_link).
    let fields = [0, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
    let start = bytes.len();
    // newc without checksums: 070702 needs the checksum before the file has been read.
    bytes.extend(b"070701");
    for field in fields {
        bytes.extend(format!("{field:08x}").bytes());
    }
    bytes.extend(name.bytes());
    bytes.push(0);
    let header_len = (bytes.len() - start) as u64;
    bytes.resize(bytes.len() + padding(header_len), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placed_file_becomes_an_archive_that_cpio_knows() {
        let placement = Placement {
            path: "/etc/boot/x.conf".to_owned(),
            mode: 0o600,
            make_directories: None,
        };
        let mut archive = before_file(&placement, 5);
        archive.extend(b"hello");
        archive.extend(after_file(5));
        assert_eq!(archive.len() % 4, 0);
        let names: Vec<_> = members(&archive).collect();
        assert_eq!(
            names,
            [
                ("etc".to_owned(), 0o040_755, 0),
                ("etc/boot".to_owned(), 0o040_755, 0),
                ("etc/boot/x.conf".to_owned(), 0o100_600, 5),
                (TRAILER.to_owned(), 0, 0),
            ]
        );
    }

    #[test]
    fn only_the_directories_asked_for_are_made() {
        let mut placement = Placement {
            path: "a/b/c/file".to_owned(),
            mode: 0o644,
            make_directories: Some(1),
        };
        let names = |placement: &Placement| -> Vec<String> {
            let archive = before_file(placement, 0);
            members(&archive).map(|(name, _, _)| name).collect()
        };
        assert_eq!(names(&placement), ["a/b/c", "a/b/c/file"]);
        placement.make_directories = Some(0);
        assert_eq!(names(&placement), ["a/b/c/file"]);
        placement.make_directories = Some(9);
        assert_eq!(names(&placement).len(), 4);
    }

    /// Reads name, mode and length of each member.
    fn members(mut archive: &[u8]) -> impl Iterator<Item = (String, u32, u32)> {
        std::iter::from_fn(move || {
            let field = |number: usize| {
                let digits = archive.get(6 + 8 * number..14 + 8 * number)?;
                u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
            };
            let (mode, len, name_len) = (field(1)?, field(6)?, field(11)? as usize);
            let name = String::from_utf8(archive[110..110 + name_len - 1].to_vec()).unwrap();
            let header_len = 110 + name_len;
            let data_at = header_len + padding(header_len as u64);
            let end = data_at + len as usize + padding(u64::from(len));
            archive = &archive[end.min(archive.len())..];
            Some((name, mode, len))
        })
    }
}
