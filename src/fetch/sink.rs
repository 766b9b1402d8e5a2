//! The destination of a file's bytes: memory that is sealed, or a disk file that is named, once the
//! file is complete.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::progress::Progress;
use super::staged::{Staged, check_space};
use crate::sys::hashing::Hashing;
use crate::sys::machine::MemoryGuard;
use crate::sys::memfd::Memfd;
use wireboot_proto::text::url::Url;
use wireboot_proto::time::Instant;
use wireboot_proto::worker::Room;

/// Bytes collected for one write(2): some ninety full packets of an Ethernet.
const BUFFER_LEN: usize = 128 << 10;

/// A file that is shorter is hashed in less time than a thread for it takes to start, some 0.1 ms.
const HASHED_BESIDE: u64 = 256 << 10;

/// A file in memory or on a disk that is being written.
pub(super) trait Store: Sync {
    /// Returns the file, for writing at any position, truncating and reading back.
    fn file(&self) -> &File;

    /// Returns the guard that is asked before the file grows, where it is in memory.
    fn guard(&self) -> Option<&MemoryGuard>;

    /// Returns the folder that the file is to be in, where that has a size of its own.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Checks that there is space for `len` bytes in all, where that is known, and in memory for what is
    /// made of them.
    fn reserve(&self, len: u64, room: Room) -> io::Result<()> {
        if let Some(folder) = self.folder() {
            check_space(self.file(), folder, len)?;
        }
        self.guard()
            .map_or(Ok(()), |guard| guard.reserve(self.file(), len, room))
    }
}

impl Store for Memfd {
    fn file(&self) -> &File {
        self.file()
    }

    fn guard(&self) -> Option<&MemoryGuard> {
        Some(self.guard())
    }
}

impl Store for Staged {
    fn file(&self) -> &File {
        self.file()
    }

    fn guard(&self) -> Option<&MemoryGuard> {
        self.guard()
    }

    fn folder(&self) -> Option<&Path> {
        Some(self.folder())
    }
}

pub(super) struct Sink<'a> {
    store: &'a dyn Store,
    /// Bytes not yet written, and their position.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Bytes received.
    received: u64,
    progress: &'a mut Progress,
    /// Bytes written from the start without a gap.
    in_order: u64,
    hashing: Option<Hashing>,
    /// Whether a long file is hashed although it need not have a certain hash.
    hashes: bool,
    room: Room,
}

impl<'a> Sink<'a> {
    pub(super) fn new(store: &'a dyn Store, progress: &'a mut Progress) -> Self {
        Self {
            store,
            buffer: Vec::with_capacity(BUFFER_LEN),
            buffer_at: 0,
            received: 0,
            progress,
            in_order: 0,
            hashing: None,
            hashes: false,
            room: Room::default(),
        }
    }

    /// Says what else memory must have room for.
    pub(super) const fn with_room(mut self, room: Room) -> Self {
        self.room = room;
        self
    }

    /// Hashes the file beside the transfer, for whoever asks later, if it is long.
    pub(super) const fn hash_if_long(&mut self) {
        self.hashes = true;
    }

    /// Starts computing the hash, of what is already written too.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn hash(&mut self) -> io::Result<()> {
        if self.hashing.is_none() {
            let hashing = Hashing::start(self.store.file())?;
            hashing.advance(self.in_order);
            self.hashing = Some(hashing);
        }
        Ok(())
    }

    /// Writes bytes that begin `at` bytes into the file.
    pub(super) fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let follows = at == self.buffer_at + self.buffer.len() as u64;
        if !follows || self.buffer.len() + bytes.len() > BUFFER_LEN {
            self.flush()?;
            self.buffer_at = at;
        }
        match bytes.len() {
            BUFFER_LEN.. => {
                write_out(self.store, bytes, at)?;
                self.buffer_at = at + bytes.len() as u64;
                self.note_written(at, bytes.len());
            }
            _ => self.buffer.extend_from_slice(bytes),
        }
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Updates the progress display when it is due.
    pub(super) fn show(&mut self, now: Instant) {
        self.progress.advance(self.received, now);
    }

    /// Discards everything received.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.store.file().set_len(0)?;
        self.buffer.clear();
        (self.buffer_at, self.received, self.in_order) = (0, 0, 0);
        match self.hashing.take() {
            Some(_) if !self.hashes => self.hash(),
            Some(_) | None => Ok(()),
        }
    }

    /// Sets the address that the progress display names.
    pub(super) fn set_source(&mut self, url: &Url) {
        self.progress.rename(url);
    }

    /// Returns how many bytes have been received.
    pub(super) const fn len(&self) -> u64 {
        self.received
    }

    /// Notes the announced length of the file.
    ///
    /// # Errors
    /// There is not enough memory or disk space.
    pub(super) fn expect(&mut self, len: Option<u64>) -> io::Result<()> {
        self.progress.expect(len);
        len.map_or(Ok(()), |len| self.store.reserve(len, self.room))
    }

    /// Writes the rest of the buffer; returns the hash of the file under way, where one is computed.
    pub(super) fn complete(&mut self) -> io::Result<Option<Hashing>> {
        self.flush()?;
        let hashing = self.hashing.take();
        if let Some(hashing) = &hashing {
            hashing.end(self.received);
        }
        Ok(hashing)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            write_out(self.store, &self.buffer, self.buffer_at)?;
            self.note_written(self.buffer_at, self.buffer.len());
            self.buffer_at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Bytes behind a gap are hashed at the end.
    fn note_written(&mut self, at: u64, len: usize) {
        if at == self.in_order {
            self.in_order += len as u64;
            if self.hashes && self.in_order >= HASHED_BESIDE {
                // Without a thread it is hashed in the end.
                let _ = self.hash();
            }
            if let Some(hashing) = &self.hashing {
                hashing.advance(self.in_order);
            }
        }
    }
}

fn write_out(store: &dyn Store, bytes: &[u8], at: u64) -> io::Result<()> {
    if let Some(guard) = store.guard() {
        guard.grow(store.file(), bytes.len())?;
    }
    // pwrite(2) moves no file offset, which the clone that is hashed shares with this descriptor.
    store.file().write_all_at(bytes, at)
}

#[cfg(test)]
mod tests {
    use sha2::Digest;
    use wireboot_proto::text::url::Sha256;

    use super::*;

    #[test]
    fn a_long_file_is_hashed_beside_the_transfer_and_a_short_one_is_not() {
        let content = vec![7; 1 << 20];
        for (len, is_hashed) in [(1 << 10, false), (1 << 20, true)] {
            let content = &content[..len];
            let store = Memfd::create("test").unwrap();
            let mut progress = Progress::silent();
            let mut sink = Sink::new(&store, &mut progress);
            sink.hash_if_long();
            sink.write_at(0, b"something else").unwrap();
            sink.restart().unwrap();
            sink.write_at(0, content).unwrap();
            let hashing = sink.complete().unwrap();
            assert_eq!(hashing.is_some(), is_hashed);
            let sealed = store.seal_hashed(hashing).unwrap();
            let expected = Sha256(sha2::Sha256::digest(content).into());
            assert_eq!(sealed.is_hashed(), is_hashed);
            assert_eq!(sealed.hash().unwrap().sha256, expected);
        }
    }

    #[test]
    fn pieces_out_of_turn_make_the_same_file_and_hash() {
        let content: Vec<u8> = (0..1_000_000_u32)
            .flat_map(|at| (at / 7).to_le_bytes())
            .take(1_000_000)
            .collect();
        let expected = Sha256(sha2::Sha256::digest(&content).into());
        let pieces = [0..10, 300_000..1_000_000, 10..100_000, 100_000..300_000];
        let store = Memfd::create("test").unwrap();
        let mut progress = Progress::silent();
        let mut sink = Sink::new(&store, &mut progress);
        sink.hash().unwrap();
        sink.write_at(0, b"something else").unwrap();
        sink.restart().unwrap();
        for piece in pieces {
            sink.write_at(piece.start as u64, &content[piece]).unwrap();
        }
        let mut hashing = sink.complete().unwrap().unwrap();
        assert_eq!(hashing.finish().unwrap().sha256, expected);
        let mut written = vec![0; content.len()];
        store.file().read_exact_at(&mut written, 0).unwrap();
        assert!(written == content);
    }

    #[test]
    fn a_file_larger_than_the_memory_is_refused_beforehand() {
        let store = Memfd::create("test").unwrap();
        let error = store
            .reserve(u64::MAX, Room::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("MiB of memory; "), "{error}");
        store.reserve(1, Room::default()).unwrap();
    }

    #[test]
    fn a_file_of_unknown_length_is_stopped_where_memory_ends() {
        let store = Memfd::create_within("test", || Some(15 << 20)).unwrap();
        let mut progress = Progress::silent();
        let mut sink = Sink::new(&store, &mut progress);
        sink.expect(None).unwrap();
        let mut pieces = (0..100).map(|number| sink.write_at(number << 20, &[7; 1 << 20]));
        let stopped = pieces.find_map(Result::err).unwrap();
        let text = stopped.to_string();
        assert!(
            text.ends_with("of memory; 15 MiB available, and 16 MiB stay free"),
            "{text}"
        );
        assert!(sink.len() <= 4 << 20);
    }
}
