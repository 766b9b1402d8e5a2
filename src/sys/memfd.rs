//! Memory files that are sealed once they are complete: they cannot change any more.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::SyscallError;
use super::hashing::{Hashed, Hashing, hash_now};
use super::machine::{self, MemoryGuard};

/// Not executable. Since Linux 6.3, which otherwise logs a warning.
const MFD_NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(0x8);

/// The seals of a complete file.
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

/// A file in memory that is being written.
#[derive(Debug)]
pub struct Memfd {
    file: File,
    guard: MemoryGuard,
    /// Present where the file is hashed while it is written.
    hashing: Option<Hashing>,
    /// Bytes written by `Write`.
    written: u64,
}

impl Memfd {
    /// Creates an empty file; `name` shows in `/proc/self/fd` only.
    ///
    /// # Errors
    /// `memfd_create`: too many open files, or no memory.
    pub fn create(name: &str) -> Result<Self, SyscallError> {
        Self::create_within(name, machine::available_memory)
    }

    /// Creates an empty file that grows only while `available` returns enough memory.
    ///
    /// # Errors
    /// As [`Memfd::create`].
    pub fn create_within(name: &str, available: fn() -> Option<u64>) -> Result<Self, SyscallError> {
        // The kernel's limit is 249 bytes (`MFD_NAME_MAX_LEN`).
        let printable = name.bytes().filter(|octet| *octet != 0).take(200);
        let name = CString::new(printable.collect::<Vec<_>>()).unwrap_or_default();
        // Without ALLOW_SEALING a file begins with F_SEAL_SEAL and takes no other seal
        // (memfd_create(2)).
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = match memfd_create(name.as_c_str(), flags | MFD_NOEXEC_SEAL) {
            // memfd_create refuses flags that it does not know.
            Err(Errno::EINVAL) => memfd_create(name.as_c_str(), flags),
            file => file,
        };
        let file = file.map_err(|errno| SyscallError::new("memfd_create", errno))?;
        Ok(Self {
            file: file.into(),
            guard: MemoryGuard::new(available),
            hashing: None,
            written: 0,
        })
    }

    /// Hashes what is written from now on, by `Write` only, beside the writing.
    pub fn hash_writes(&mut self) {
        // Without a thread it is hashed in the end.
        self.hashing = Hashing::start(&self.file).ok();
    }

    /// Returns the limit to check before the file grows otherwise than by `Write`.
    pub const fn guard(&self) -> &MemoryGuard {
        &self.guard
    }

    /// Returns the file, for truncation, writes at an offset and reads.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Seals the file: its content can no longer change through any descriptor.
    ///
    /// # Errors
    /// `fcntl(F_ADD_SEALS)`: EBUSY while the file is mapped for writing.
    pub fn seal(mut self) -> Result<SealedFile, SyscallError> {
        let hashing = self.hashing.take();
        if let Some(hashing) = &hashing {
            hashing.end(self.written);
        }
        self.seal_hashed(hashing)
    }

    /// As [`Memfd::seal`], with the hash of the file under way.
    ///
    /// # Errors
    /// As [`Memfd::seal`].
    pub fn seal_hashed(self, hashing: Option<Hashing>) -> Result<SealedFile, SyscallError> {
        fcntl(&self.file, FcntlArg::F_ADD_SEALS(SEALS))
            .map_err(|errno| SyscallError::new("fcntl(F_ADD_SEALS)", errno))?;
        Ok(SealedFile {
            file: self.file,
            hashing: RefCell::new(hashing),
        })
    }
}

impl Write for Memfd {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.guard.grow(&self.file, octets.len())?;
        let len = self.file.write(octets)?;
        self.written += len as u64;
        if let Some(hashing) = &self.hashing {
            hashing.advance(self.written);
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Identity of an open file: its device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

/// A complete, sealed memory file: the verified content is the content that is started.
#[derive(Debug)]
pub struct SealedFile {
    file: File,
    /// Present where it was begun before the file was complete.
    hashing: RefCell<Option<Hashing>>,
}

impl SealedFile {
    /// Returns the file, to read from.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Returns the same file again; all readers of both share one place in it.
    #[cfg(feature = "iso")]
    pub fn try_clone(&self) -> Result<Self, SyscallError> {
        let call = "fcntl(F_DUPFD_CLOEXEC)";
        let file = self.file.try_clone();
        let file = file.map_err(|source| SyscallError::of(call, source))?;
        Ok(Self {
            file,
            hashing: RefCell::new(None),
        })
    }

    /// Returns its size, in bytes.
    pub fn size(&self) -> Result<u64, SyscallError> {
        let call = "fstat(memfd)";
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|source| SyscallError::of(call, source))?;
        Ok(metadata.len())
    }

    /// Returns by which it is known again, as long as it exists.
    ///
    /// # Errors
    /// `fstat`, as no file in memory fails.
    pub fn identity(&self) -> Result<FileIdentity, SyscallError> {
        let metadata = self
            .file
            .metadata()
            .map_err(|source| SyscallError::of("fstat(memfd)", source))?;
        Ok(FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Returns its hash under way, which continues without the file.
    pub fn take_hashing(&self) -> Option<Hashing> {
        self.hashing.borrow_mut().take()
    }

    /// Takes over the hash of this very file.
    pub fn set_hashing(&self, hashing: Option<Hashing>) {
        *self.hashing.borrow_mut() = hashing;
    }

    /// Begins to hash it beside whatever is done next; without a thread that is done when it is asked
    /// for.
    pub fn hash_beside(&self) {
        if !self.is_hashed()
            && let (Ok(hashing), Ok(len)) = (Hashing::start(&self.file), self.size())
        {
            hashing.end(len);
            self.set_hashing(Some(hashing));
        }
    }

    /// Returns whether its hash is known, or will be soon.
    pub fn is_hashed(&self) -> bool {
        self.hashing.borrow().is_some()
    }

    /// Returns its hash, if need be after the time that computing it takes.
    ///
    /// # Errors
    /// The file cannot be read back.
    pub fn hash(&self) -> Result<Hashed, SyscallError> {
        let hashed = match &mut *self.hashing.borrow_mut() {
            Some(hashing) => hashing.finish(),
            None => hash_now(&self.file),
        };
        let call = "read(memfd)";
        hashed.map_err(|source| SyscallError::of(call, source))
    }

    /// Returns what reads these bytes, or those of them that there are. All readers of a file share
    /// one place in it: one at a time.
    pub fn reader(&self, range: Range<u64>) -> Result<Take<&File>, SyscallError> {
        let call = "lseek(memfd)";
        let mut file = &self.file;
        file.seek(SeekFrom::Start(range.start))
            .map_err(|source| SyscallError::of(call, source))?;
        Ok(file.take(range.end.saturating_sub(range.start)))
    }

    /// Returns these bytes, up to the end of the file.
    pub fn octets(&self, range: Range<u64>) -> Result<Vec<u8>, SyscallError> {
        let call = "read(memfd)";
        let mut octets = Vec::new();
        self.reader(range)?
            .read_to_end(&mut octets)
            .map_err(|source| SyscallError::of(call, source))?;
        Ok(octets)
    }
}

impl TryFrom<OwnedFd> for SealedFile {
    type Error = SyscallError;

    /// Takes a file that another process has made, if it is one in memory that nobody can change.
    fn try_from(file: OwnedFd) -> Result<Self, SyscallError> {
        const CALL: &str = "fcntl(F_GET_SEALS)";
        let failed = |errno| SyscallError::new(CALL, errno);
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map_err(failed)?;
        if SealFlag::from_bits_retain(seals).contains(SEALS) {
            Ok(Self {
                file: file.into(),
                hashing: RefCell::new(None),
            })
        } else {
            Err(failed(Errno::EPERM))
        }
    }
}

impl AsFd for SealedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_sealed_file_keeps_its_content_whatever_is_tried() {
        let mut memfd = Memfd::create("kernel\0http://192.0.2.1/").unwrap();
        memfd.write_all(b"content").unwrap();
        let sealed = memfd.seal().unwrap();
        assert!(sealed.file().write_at(b"C", 0).is_err());
        assert!(sealed.file().write_at(b"!", 7).is_err());
        assert!(sealed.file().set_len(3).is_err());
        assert!(sealed.file().set_len(30).is_err());
        assert_eq!(sealed.size().unwrap(), 7);
        assert_eq!(sealed.octets(0..u64::MAX).unwrap(), b"content");
        assert_eq!(sealed.octets(3..5).unwrap(), b"te");
        assert_eq!(sealed.octets(7..9).unwrap(), b"");
    }

    #[test]
    fn a_file_of_another_process_is_taken_only_with_all_seals() {
        let received = |file: &File| SealedFile::try_from(OwnedFd::from(file.try_clone().unwrap()));
        let mut memfd = Memfd::create("test").unwrap();
        memfd.write_all(b"content").unwrap();
        assert!(received(memfd.file()).is_err());
        let most = SEALS.difference(SealFlag::F_SEAL_WRITE);
        fcntl(
            memfd.file(),
            FcntlArg::F_ADD_SEALS(most.difference(SealFlag::F_SEAL_SEAL)),
        )
        .unwrap();
        assert!(received(memfd.file()).is_err());
        let sealed = memfd.seal().unwrap();
        let received = received(sealed.file()).unwrap();
        assert_eq!(received.octets(0..u64::MAX).unwrap(), b"content");
        // No memory file at all.
        assert!(
            SealedFile::try_from(OwnedFd::from(File::open("/proc/self/exe").unwrap())).is_err()
        );
    }
}
