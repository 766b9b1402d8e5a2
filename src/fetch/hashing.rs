//! The SHA-256 of a file, computed beside the transfer by a thread of its own, which reads back what
//! has been written: one processor receives while another hashes, which by itself takes about as long.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256 as Hasher};

use wireboot_proto::text::url::Sha256;

/// Octets read back at a time.
const BUFFER_LEN: usize = 128 << 10;

/// A hash under way; dropped, it is given up.
pub(super) struct Hashing {
    shared: Arc<Shared>,
    /// Taken when it is waited for.
    handle: Option<JoinHandle<io::Result<Sha256>>>,
}

#[derive(Default)]
struct Shared {
    /// So many octets from the start of the file on are written, and will not change.
    written: AtomicU64,
    /// No more will be.
    ended: AtomicBool,
}

impl Hashing {
    /// Begins to hash a file of which nothing is written yet.
    pub(super) fn start(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let shared = Arc::new(Shared::default());
        let handle = thread::Builder::new().spawn({
            let shared = Arc::clone(&shared);
            move || hash(&file, &shared)
        })?;
        Ok(Self {
            shared,
            handle: Some(handle),
        })
    }

    /// Takes notice that so many octets from the start of the file on are written.
    pub(super) fn advance(&self, written: u64) {
        self.shared.written.store(written, Ordering::Release);
        self.wake();
    }

    /// Waits for the hash of the first `len` octets, which is all there are.
    pub(super) fn finish(mut self, len: u64) -> io::Result<Sha256> {
        self.advance(len);
        self.end();
        let ended = self.handle.take().map(JoinHandle::join);
        match ended {
            Some(Ok(hash)) => hash,
            Some(Err(_)) | None => Err(io::Error::other("the hash was not computed")),
        }
    }

    fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Some(handle) = &self.handle {
            handle.thread().unpark();
        }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.end();
    }
}

fn hash(file: &File, shared: &Shared) -> io::Result<Sha256> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER_LEN];
    let mut hashed = 0;
    loop {
        // Looked at first, since it is set last.
        let ended = shared.ended.load(Ordering::Acquire);
        let written = shared.written.load(Ordering::Acquire);
        let left = written.saturating_sub(hashed);
        let len = usize::try_from(left).map_or(BUFFER_LEN, |left| left.min(BUFFER_LEN));
        match buffer.get_mut(..len) {
            Some(octets) if len > 0 => {
                file.read_exact_at(octets, hashed)?;
                hasher.update(octets);
                hashed += len as u64;
            }
            _ if ended => return Ok(Sha256(hasher.finalize().into())),
            _ => thread::park(),
        }
    }
}
