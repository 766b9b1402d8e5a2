//! Where the octets of a file go: into memory, sealed once all have come, or onto a disk, named
//! once all have come.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256 as Hasher};

use super::progress::Progress;
use super::staged::Staged;
use crate::plan::url::{Sha256, Url};
use crate::sys::memfd::Memfd;

/// A file that is being written.
pub(super) trait Store: Write {
    /// Returns the file, to cut it.
    fn file(&self) -> &File;

    /// Makes sure that there is room for `len` octets, where that can be told.
    fn reserve(&self, len: u64) -> io::Result<()>;
}

impl Store for Memfd {
    fn file(&self) -> &File {
        self.file()
    }

    fn reserve(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Store for Staged {
    fn file(&self) -> &File {
        self.file()
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.reserve(len)
    }
}

pub(super) struct Sink<'a> {
    store: &'a mut dyn Store,
    len: u64,
    progress: Progress,
    /// Computed only for a file that must have a known hash.
    hasher: Option<Hasher>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(url: &Url, store: &'a mut dyn Store, progress: Progress) -> Self {
        Self {
            store,
            len: 0,
            progress,
            hasher: url.sha256().map(|_| Hasher::new()),
        }
    }

    /// Takes the next octets.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.store.write_all(octets)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(octets);
        }
        self.len += octets.len() as u64;
        self.progress.advance(self.len);
        Ok(())
    }

    /// Forgets all that has come.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        let mut file = self.store.file();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        self.len = 0;
        self.hasher = self.hasher.is_some().then(Hasher::new);
        Ok(())
    }

    /// How many octets have come.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Takes notice of the whole length.
    ///
    /// # Errors
    /// There is no room for so much.
    pub(super) fn expect(&mut self, len: Option<u64>) -> io::Result<()> {
        self.progress.expect(len);
        len.map_or(Ok(()), |len| self.store.reserve(len))
    }

    /// Ends the file; returns the hash of its content, where one is due.
    pub(super) fn finish(mut self) -> Option<Sha256> {
        self.progress.finish(self.len);
        self.hasher.map(|hasher| Sha256(hasher.finalize().into()))
    }
}
