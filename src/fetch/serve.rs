//! The other end of [`super::remote`]: the worker that fetches files, and the parent that judges them for
//! a worker that asks.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::delivery::Hashes;
use super::failure::{Failure, other};
use super::fetcher::{Executor, Fetcher, Workers};
use super::progress::{Board, Progress, Style};
use super::query;
use super::remote;
use super::sink::Store;
use super::staged::guard_of;
#[cfg(feature = "tls")]
use super::tls;
use crate::config::SandboxConfig;
use crate::error::Error;
use crate::sys::machine::MemoryGuard;
use crate::sys::memfd::SealedFile;
use crate::sys::sandbox::Calls;
use crate::worker::{Peer, Worker, WorkerRole};
use wireboot_proto::text::url::Url;
use wireboot_proto::trust::signature::Keys;
use wireboot_proto::worker::{Job, JobKind, Message};

/// The worker that fetches files. An hour of processor time is several TiB over HTTP.
const ROLE: WorkerRole = WorkerRole {
    name: "fetching files",
    calls: Calls::Network,
    root: None,
    has_terminal: false,
    processor_time: Some(Duration::from_secs(3600)),
    file_len: u64::MAX,
};

impl Fetcher {
    /// Leaves all transfers to workers from now on, unless the sandbox is off.
    pub fn use_workers(&mut self, config: &SandboxConfig) {
        if config.has_workers() {
            self.transport = Executor::Workers(Workers::new(*config));
        } else if cfg!(feature = "sandbox") {
            log::warn!(
                "the sandbox is off (--sandbox off): what the network sends is parsed with all \
                 privileges of this process"
            );
        }
    }

    /// Returns a worker that waits for a file at these addresses, or a new one.
    pub(super) fn worker(&self, workers: &Workers, addresses: &[Url]) -> Result<Worker, Error> {
        match workers.take(addresses) {
            Some(worker) => Ok(worker),
            None => {
                #[cfg(feature = "tls")]
                tls::store_files(&self.access);
                Worker::start(&workers.config, ROLE, |peer| self.in_fork().work(peer))
            }
        }
    }

    /// Returns the fetcher in a forked process: other threads may have had in hand what it shares with
    /// them, so that it gets its own.
    fn in_fork(&self) -> Self {
        Self {
            access: self.access.clone(),
            keys: self.keys.clone(),
            policy: self.policy.clone(),
            mirrors: self.mirrors.clone(),
            sums: self.sums.clone(),
            hashes: false,
            stall_timeout: self.stall_timeout,
            speed: self.speed,
            rounds: self.rounds,
            board: Board::new(self.board.style()),
            ..Self::default()
        }
    }

    /// Fetches what the parent asks for, until it ends.
    fn work(mut self, peer: Peer) {
        let peer = Arc::new(peer);
        // The parent judges.
        (self.keys, self.sums) = (Keys::default(), None);
        self.access.parent = Some(Arc::clone(&peer));
        let style = self.board.style();
        loop {
            let (message, files) = peer.receive();
            self.timeline.clear();
            let answer = if let Message::Fetch(job) = message {
                self.fetch(&job, files, &peer, style)
            } else if let Message::Query(query) = message {
                query::as_message(self.answer_here(query, files.into_iter().next()))
            } else {
                // The parent sends nothing else.
                return;
            };
            for (at, what) in self.timeline.clear() {
                peer.tell(&Message::Moment { at, what }, &[]);
            }
            peer.tell(&answer, &[]);
        }
    }

    fn fetch(&mut self, job: &Job, files: Vec<OwnedFd>, peer: &Arc<Peer>, style: Style) -> Message {
        let store = files
            .into_iter()
            .next()
            .map(|file| OpenedFile::new(file, &job.folder));
        let store = match store {
            Some(Ok(store)) => store,
            Some(Err(error)) => return remote::fault((None, other(error))),
            None => return remote::fault((None, Failure::Other("no file to write to".into()))),
        };
        let mut progress = match job.kind {
            JobKind::File => Progress::for_parent(Arc::clone(peer), style),
            JobKind::Directory | JobKind::Signature => Progress::silent(),
        };
        (self.stall_timeout, self.rounds) = (job.stall_timeout, job.rounds);
        let obtained = self.obtain_here(job, &store, &mut progress, Hashes::None);
        obtained.map_or_else(remote::fault, |obtained| remote::fetched(&obtained))
    }

    /// Does what a worker asks for that follows a plan; none for anything that it may not ask for.
    pub fn serve(&self, message: Message) -> Option<(Message, Option<SealedFile>)> {
        if let Message::Fetch(mut job) = message {
            job.folder = String::new();
            Some(match self.memory(*job) {
                Ok(judged) => (remote::fetched(&judged.obtained), judged.file),
                Err(refusal) => (remote::fault(refusal), None),
            })
        } else if let Message::Query(query) = message {
            Some((query::as_message(self.answer(query)), None))
        } else {
            None
        }
    }

    /// Returns the fetcher of a worker that is this process, which asks its parent for all files.
    pub fn of_parent(&self, peer: Arc<Peer>) -> Self {
        Self {
            transport: Executor::Parent(peer),
            board: Board::new(Style::Silent),
            ..self.in_fork()
        }
    }
}

/// A file that the parent has opened, to be written.
struct OpenedFile {
    file: File,
    guard: Option<MemoryGuard>,
    folder: PathBuf,
}

impl OpenedFile {
    fn new(file: OwnedFd, folder: &str) -> io::Result<Self> {
        let file = File::from(file);
        Ok(Self {
            guard: guard_of(&file)?,
            file,
            folder: folder.into(),
        })
    }
}

impl Store for OpenedFile {
    fn file(&self) -> &File {
        &self.file
    }

    fn guard(&self) -> Option<&MemoryGuard> {
        self.guard.as_ref()
    }

    fn folder(&self) -> Option<&Path> {
        (!self.folder.as_os_str().is_empty()).then_some(&self.folder)
    }
}
