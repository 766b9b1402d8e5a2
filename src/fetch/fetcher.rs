//! The settings of all fetches, and the attempts at one address after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::access::ServerAccess;
use super::connection::IdleConnections;
use super::failure::{Failure, FetchRefusal};
#[cfg(feature = "iso")]
use super::iso_cache::ImageCache;
use super::progress::{Board, Style};
use super::rotation::{AttemptEnd, Mirrors, NextServer, ROUNDS, ServerRotation};
use crate::config::SandboxConfig;
use crate::error::{Error, Reason};
use crate::sys;
use crate::timeline::Timeline;
use crate::worker::{Peer, Worker};
#[cfg(feature = "root")]
use wireboot_proto::text::json::Json;
use wireboot_proto::text::url::Url;
use wireboot_proto::time::{Seconds, SpeedLimit};
use wireboot_proto::trust::policy::Policy;
use wireboot_proto::trust::signature::Keys;
use wireboot_proto::trust::sums::Sums;
use wireboot_proto::worker::Room;

/// Fetches files from servers and their mirrors.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// How servers are reached.
    pub access: ServerAccess,
    /// Each file must be signed with one of these keys; signatures are not checked when there are
    /// none.
    pub keys: Keys,
    /// Where files may come from.
    pub policy: Policy,
    /// Mirrors, for files that are fetched into memory.
    pub mirrors: Mirrors,
    /// The hashes that files must have; any when none.
    pub sums: Option<Sums>,
    /// Whether long files are hashed beside the transfer, for whoever asks for their hashes later.
    pub hashes: bool,
    /// How long a server may be silent before the transfer fails.
    pub stall_timeout: Duration,
    /// The speed below which a server is given up.
    pub speed: SpeedLimit,
    /// Rounds of attempts without progress before giving up.
    pub rounds: u32,
    /// What memory must have room for besides a file.
    pub room: Room,
    /// Where progress is shown.
    pub board: Board,
    /// The process that transfers files.
    pub transport: Executor,
    /// Idle connections for reuse.
    pub idle: IdleConnections,
    /// The images that files have been read from.
    #[cfg(feature = "iso")]
    pub images: ImageCache,
    /// The credentials for registries, in the format of `docker login`.
    #[cfg(feature = "root")]
    pub registries: Option<Arc<Json>>,
    /// Where the begin and end of each transfer are noted.
    pub timeline: Timeline,
}

impl Default for Fetcher {
    /// Any interface, no signature or hash required, no progress shown.
    fn default() -> Self {
        Self {
            access: ServerAccess::default(),
            keys: Keys::default(),
            policy: Policy::default(),
            mirrors: Mirrors::default(),
            sums: None,
            hashes: false,
            stall_timeout: STALL_TIMEOUT,
            speed: SpeedLimit::default(),
            rounds: ROUNDS,
            room: Room::default(),
            board: Board::new(Style::Silent),
            transport: Executor::Own,
            idle: IdleConnections::default(),
            #[cfg(feature = "iso")]
            images: ImageCache::default(),
            #[cfg(feature = "root")]
            registries: None,
            timeline: Timeline::default(),
        }
    }
}

/// Who transfers files.
#[derive(Debug, Clone, Default)]
pub enum Executor {
    /// This process.
    #[default]
    Own,
    /// Workers, each with one file at a time.
    Workers(Workers),
    /// The parent of this process, which judges them too.
    Parent(Arc<Peer>),
}

/// Workers that fetch files, as many as there are files at a time.
#[derive(Debug, Clone)]
pub struct Workers {
    pub(super) config: SandboxConfig,
    /// Those that wait for a file.
    idle: Arc<Mutex<Vec<IdleWorker>>>,
    /// The one that reads images, while it waits for another file of one.
    #[cfg(feature = "iso")]
    pub(super) reader: Arc<Mutex<Option<Worker>>>,
}

/// A worker, and addresses of the servers that it has spoken with.
type IdleWorker = (Vec<Url>, Worker);

/// The most workers that wait: boots have files from two or three servers.
const MAX_IDLE: usize = 8;

impl Workers {
    /// Returns none yet.
    pub(super) fn new(config: SandboxConfig) -> Self {
        Self {
            config,
            idle: Arc::default(),
            #[cfg(feature = "iso")]
            reader: Arc::default(),
        }
    }

    /// Adds a worker that waits, and has spoken with the servers of `addresses` alone.
    pub(super) fn put(&self, addresses: &[Url], worker: Worker) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MAX_IDLE {
            // The one that has waited longest.
            idle.remove(0);
        }
        idle.push((addresses.to_vec(), worker));
    }

    /// Takes out one that waits and has spoken with the same servers as it is to: one that has taken a
    /// worker over gets no hold of the files of another.
    pub(super) fn take(&self, addresses: &[Url]) -> Option<Worker> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().rposition(|(of, _)| {
            of.len() == addresses.len() && of.iter().all(|url| has_server_of(addresses, url))
        })?;
        Some(idle.remove(at).1)
    }
}

fn has_server_of(addresses: &[Url], url: &Url) -> bool {
    let server = |url: &Url| (url.scheme(), url.port());
    let is_same = |other: &Url| server(other) == server(url) && other.host() == url.host();
    addresses.iter().any(is_same)
}

/// The default limit for a silent server, three times the 5 s after which BSD's tftp repeats a
/// packet.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes one attempt at an address.
type Ask<'a> = &'a mut dyn FnMut(&Url, &NextServer) -> Result<(), (AttemptEnd, Failure)>;

impl Fetcher {
    /// Returns who transfers files; always this process without the feature `sandbox`, so that its
    /// binary is without the code of workers.
    pub(super) const fn transport(&self) -> &Executor {
        if cfg!(feature = "sandbox") {
            &self.transport
        } else {
            &Executor::Own
        }
    }

    /// Returns a fetcher that gives up a server which is silent for `limit`, after one attempt.
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            stall_timeout: self.stall_timeout.min(limit),
            rounds: 1,
            ..self.clone()
        }
    }

    /// Returns a fetcher of files for which memory must have this room too.
    pub fn with_room(&self, room: Room) -> Self {
        Self {
            room,
            ..self.clone()
        }
    }

    /// Makes attempts at one address after the other until one succeeds or all are given up;
    /// returns the index of the one that succeeded.
    ///
    /// # Errors
    /// The last failure, with the last ones at other addresses, and the server it is about.
    pub(super) fn first_of(&self, addresses: &[Url], ask: Ask<'_>) -> Result<usize, FetchRefusal> {
        let mut turns = ServerRotation::new(addresses.len(), self.stall_timeout, sys::seed());
        turns.rounds = self.rounds;
        let mut next = turns.first();
        // Of each address, what was wrong the last time.
        let mut failures: Vec<(usize, String)> = Vec::new();
        while let Some(turn) = next
            && let Some(url) = addresses.get(turn.server)
        {
            std::thread::sleep(turn.pause);
            self.access.await_address();
            let Err((ending, failure)) = ask(url, &turn) else {
                return Ok(turn.server);
            };
            // With what it asks for, it is no worse than the others (`with_access`).
            #[cfg(feature = "root")]
            if matches!(failure, Failure::Challenge(_)) {
                return Err((Some(turn.server), failure));
            }
            next = turns.after(ending);
            failures.retain(|(server, _)| *server != turn.server);
            let Some(next) = &next else {
                let others: String = failures.iter().map(|(_, error)| error.as_str()).collect();
                return Err((Some(turn.server), failure.beside(&others)));
            };
            let error = failure.about(url).chain();
            failures.push((turn.server, format!("; {error}")));
            if next.server == turn.server {
                log::warn!("{error}; asking again in {:.1} s", Seconds(next.pause))
            } else {
                log::warn!("{error}; trying the next mirror")
            }
        }
        Err((None, Failure::Other("no address is given".into())))
    }

    /// Reports that none of `addresses` has delivered the file; returns the error about it.
    pub(super) fn failed(&self, addresses: &[Url], (server, failure): FetchRefusal) -> Error {
        // Without one it is about the file's own.
        let url = addresses.get(server.unwrap_or_default());
        let Some(url) = url else {
            return Box::new(Reason::Usage("no address given".to_owned()));
        };
        let error = failure.about(url);
        self.board.failed(&url.to_string(), &error.chain());
        error
    }
}

#[cfg(feature = "sandbox")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::WorkerRole;

    #[test]
    fn a_worker_that_has_spoken_with_one_server_has_no_hold_of_the_files_of_another() {
        let workers = Workers::new(SandboxConfig::default());
        let role = WorkerRole::OF_TESTS;
        let urls = |urls: &[&str]| -> Vec<Url> {
            let urls = urls.iter().map(|url| url.parse().unwrap());
            urls.collect()
        };
        let put = |addresses: &[&str]| {
            let worker = Worker::start(&workers.config, role, |peer| drop(peer.receive()));
            workers.put(&urls(addresses), worker.unwrap());
        };
        let take = |addresses: &[&str]| workers.take(&urls(addresses)).is_some();
        let (own, mirror) = ("http://192.0.2.1/a", "https://192.0.2.2/a");
        put(&[own, mirror]);
        for others in [
            &[own][..],
            &["http://192.0.2.1:8080/a", mirror],
            &["https://192.0.2.1/a", mirror],
            &[own, mirror, "http://192.0.2.3/a"],
            &[],
        ] {
            assert!(!take(others), "{others:?}");
        }
        // Mirrors take turns.
        assert!(take(&[mirror, "http://user@192.0.2.1:80/b"]));
        let other = |host: usize| format!("http://192.0.2.{host}/");
        for host in 0..=MAX_IDLE {
            put(&[&other(host)]);
        }
        assert!(!take(&[&other(0)]));
        assert!(take(&[&other(1)]));
    }
}
