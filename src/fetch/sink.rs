//! Where the octets of a file go: into memory, sealed once all have come.

use std::io::{self, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256 as Hasher};

use super::progress::Progress;
use crate::plan::url::{Sha256, Url};
use crate::sys::SyscallError;
use crate::sys::memfd::{Memfd, SealedFile};

pub(super) struct Sink {
    file: Memfd,
    len: u64,
    progress: Progress,
    /// Computed only for a file that must have a known hash.
    hasher: Option<Hasher>,
}

impl Sink {
    pub(super) fn new(url: &Url, progress: Progress) -> Result<Self, SyscallError> {
        Ok(Self {
            file: Memfd::create(url.file_name())?,
            len: 0,
            progress,
            hasher: url.sha256().map(|_| Hasher::new()),
        })
    }

    /// Takes the next octets.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(octets);
        }
        self.len += octets.len() as u64;
        self.progress.advance(self.len);
        Ok(())
    }

    /// Forgets all that has come.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.file.file().set_len(0)?;
        self.file.file().seek(SeekFrom::Start(0))?;
        self.len = 0;
        self.hasher = self.hasher.is_some().then(Hasher::new);
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

    /// Seals the file and returns it with the hash of its content, where one is due.
    pub(super) fn finish(mut self) -> Result<(SealedFile, Option<Sha256>), SyscallError> {
        self.progress.finish(self.len);
        let hash = self.hasher.map(|hasher| Sha256(hasher.finalize().into()));
        Ok((self.file.seal()?, hash))
    }
}
