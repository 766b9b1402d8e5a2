//! dm-verity: a file system whose every block has the hash that follows from `roothash=`.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::remote::await_device;
use crate::error::{Error, Reason};
use crate::sys::SyscallError;
use crate::sys::device_mapper::MappedDevice;
use crate::sys::loop_device::LoopDevice;
use crate::sys::memfd::SealedFile;
use wireboot_proto::format::verity::Superblock;

/// Where a superblock begins behind a file system: veritysetup's default length of blocks.
pub(super) const ALIGNMENT: u64 = 4096;

/// Bytes that are read at a time.
const CHUNK_LEN: usize = 1 << 20;

/// What a file system is on.
#[derive(Debug)]
pub(super) enum Volume {
    /// A file in memory that cannot change.
    Memory(SealedFile),
    /// A device, with its path.
    Device(File, String),
}

impl Volume {
    pub(super) const fn file(&self) -> &File {
        match self {
            Self::Memory(file) => file.file(),
            Self::Device(file, _) => file,
        }
    }
}

/// A tree of hashes.
#[derive(Debug)]
pub(super) struct HashTree {
    /// The file that it is in; that of the file system when none.
    pub file: Option<SealedFile>,
    /// The bytes of it, from the superblock.
    pub part: Range<u64>,
    /// How it was made.
    pub superblock: Superblock,
    /// The hash of all, in hexadecimal digits.
    pub root_hash: String,
}

/// Returns a device that has the bytes `part` of a volume, each checked when it is read; those that are in
/// memory are all read now, so that damage ends the boot and not the system.
///
/// # Errors
/// [`Reason::Verification`] for a wrong hash, [`Reason::Root`] when the kernel has no dm-verity.
pub(super) fn verified(
    name: &str,
    volume: &Volume,
    part: &Range<u64>,
    tree: &HashTree,
) -> Result<MappedDevice, Error> {
    let mismatch = |why: &str| {
        Box::new(Reason::Verification {
            what: name.to_owned(),
            why: why.to_owned(),
        })
    };
    let len = tree.superblock.data_len();
    let len = len.filter(|len| *len <= part.end.saturating_sub(part.start));
    let len = len.ok_or_else(|| mismatch("it is shorter than its tree of hashes says"))?;
    let failed = |source| {
        Box::new(Reason::Root {
            what: format!("{name} by dm-verity"),
            source,
        })
    };
    let data =
        LoopDevice::over(volume.file().as_fd(), part.start..part.start + len).map_err(failed)?;
    let file = tree.file.as_ref().map_or(volume.file(), SealedFile::file);
    let hashes = LoopDevice::over(file.as_fd(), tree.part.clone()).map_err(failed)?;
    let parameters = tree
        .superblock
        .target(data.path(), hashes.path(), &tree.root_hash);
    let device =
        MappedDevice::create("wireboot-root", "verity", len, &parameters).map_err(failed)?;
    let opened = await_device(device.path());
    let opened = opened.map_err(|source| failed(SyscallError::of("open", source)))?;
    if matches!(volume, Volume::Memory(_)) {
        check(&opened).map_err(|error| {
            mismatch(&format!(
                "a block of it has another hash than that of roothash= ({error})"
            ))
        })?;
        log::info!("{name}: all of it has the hash of roothash=");
    }
    Ok(device)
}

/// Reads all of a device.
fn check(mut device: &File) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_LEN];
    let mut at = 0;
    loop {
        let len = device.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        let len = i64::try_from(len).unwrap_or_default();
        // Or there would be another copy in memory until that is short.
        let _ = posix_fadvise(device, at, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        at += len;
    }
}
