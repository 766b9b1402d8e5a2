//! Where the octets of a file go: into memory, sealed once all have come.

use std::io::{self, Write};

use super::progress::Progress;
use crate::sys::SyscallError;
use crate::sys::memfd::{Memfd, SealedFile};

pub(super) struct Sink {
    file: Memfd,
    len: u64,
    progress: Progress,
}

impl Sink {
    pub(super) fn new(name: &str, progress: Progress) -> Result<Self, SyscallError> {
        Ok(Self {
            file: Memfd::create(name)?,
            len: 0,
            progress,
        })
    }

    /// Takes the next octets.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)?;
        self.len += octets.len() as u64;
        self.progress.advance(self.len);
        Ok(())
    }

    /// How many octets have come.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Takes notice of the whole length.
    pub(super) const fn expect(&mut self, len: Option<u64>) {
        self.progress.expect(len);
    }

    /// Seals the file.
    pub(super) fn finish(mut self) -> Result<SealedFile, SyscallError> {
        self.progress.finish(self.len);
        self.file.seal()
    }
}
