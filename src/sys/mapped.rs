//! A sealed file as one slice, without a copy of it.

#![allow(unsafe_code, reason = "maps a file and lends it as a slice")]

use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::error::SyscallError;
use super::memfd::SealedFile;

/// The content of a file; unmapped when dropped.
#[derive(Debug)]
pub struct Mapped {
    /// INVARIANT: `base` is the beginning of `len` readable bytes that this value owns and nobody
    /// changes; none is mapped when `len` is 0.
    base: NonNull<u8>,
    len: usize,
}

impl Mapped {
    /// Maps a file, which is sealed: neither its content nor its length change any more.
    ///
    /// # Errors
    /// `mmap`: no address space left for it.
    pub fn new(file: &SealedFile) -> Result<Self, SyscallError> {
        let failed = |errno| SyscallError::new("mmap(memfd)", errno);
        let len = usize::try_from(file.size()?).map_err(|_| failed(Errno::ENOMEM))?;
        let base = match NonZeroUsize::new(len) {
            // mmap(2) refuses a length of 0 with EINVAL.
            None => NonNull::dangling(),
            Some(len) => {
                // Before Linux 6.7 F_SEAL_WRITE forbids MAP_SHARED even for reading (EPERM).
                let flags = MapFlags::MAP_PRIVATE;
                // SAFETY: a new mapping at an address of the kernel's choice; it aliases nothing.
                unsafe { mmap(None, len, ProtFlags::PROT_READ, flags, file, 0) }
                    .map_err(failed)?
                    .cast()
            }
        };
        Ok(Self { base, len })
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariant; the borrow ends before the memory is unmapped.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: mapped in `new` with this length, and every borrow of it has ended. Failure
            // would leave the memory mapped, which is harmless.
            let _ = unsafe { munmap(self.base.cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sys::memfd::Memfd;

    #[test]
    fn a_mapped_file_has_the_content_of_the_file() {
        for content in [Vec::new(), vec![7], vec![9; 10_000]] {
            let mut file = Memfd::create("test").unwrap();
            file.write_all(&content).unwrap();
            let mapped = Mapped::new(&file.seal().unwrap()).unwrap();
            assert_eq!(*mapped, content);
        }
    }
}
