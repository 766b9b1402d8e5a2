//! Fetches files over the kernel's own sockets, into sealed memory files or onto a disk.

#![forbid(unsafe_code)]

mod connection;
mod http;
mod progress;
mod sink;
mod staged;
mod tftp;
#[cfg(feature = "tls")]
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::plan::Purpose;
use crate::plan::url::{Scheme, Url};
use crate::sys::memfd::{Memfd, SealedFile};

pub use progress::{Board, Style};
use sink::{Sink, Store};
use staged::Staged;

/// How files are fetched.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// The interface that all traffic goes through; any when none.
    pub interface: Option<String>,
    /// The largest packet that the path is known to carry, octets.
    pub path_mtu: u16,
    /// The certificates of those whose word on an https server counts, in PEM; the system's list
    /// when none.
    pub ca: Option<PathBuf>,
    /// A transfer that has brought nothing for so long has failed.
    pub stall_timeout: Duration,
    /// Where progress is shown.
    pub board: Board,
}

/// How long a server may be silent, where nobody says otherwise.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a file did not come.
enum Failure {
    /// The server says that it has no such file.
    Missing(Cause),
    /// It came whole and is another; why.
    Verification(String),
    /// Anything else.
    Other(Cause),
}

impl Fetcher {
    /// Returns the file, or none when the server does not have it.
    ///
    /// # Errors
    /// [`Error::Fetch`] when it cannot be had whole or is longer than `max_len` octets;
    /// [`Error::Verification`] when it does not have the hash that its address asks for.
    pub fn get(&self, url: &Url, max_len: u64) -> Result<Option<SealedFile>, Error> {
        match self.to_memory(url, max_len) {
            Ok(file) => Ok(Some(file)),
            Err(Failure::Missing(why)) => {
                log::debug!("{url}: {why}");
                Ok(None)
            }
            Err(failure) => Err(self.failed(url, failure)),
        }
    }

    /// Stores the file under the name `target`, where it appears only when it is whole and
    /// verified.
    ///
    /// # Errors
    /// As [`Fetcher::get`], and when the server does not have it or `target` cannot be written;
    /// nothing is left behind then.
    pub fn save(&self, url: &Url, max_len: u64, target: &Path) -> Result<(), Error> {
        let cannot = |error: io::Error| {
            let why = format!("cannot write {}: {error}", target.display());
            Failure::Other(why.into())
        };
        let save = || {
            let file = Staged::create(target).map_err(cannot)?;
            self.to_store(url, max_len, &file)?;
            file.publish().map_err(cannot)
        };
        save().map_err(|failure| self.failed(url, failure))
    }

    /// Returns a file that must be there.
    ///
    /// # Errors
    /// As [`Fetcher::get`], and when the server does not have it.
    pub fn need(&self, url: &Url, purpose: Purpose) -> Result<SealedFile, Error> {
        self.get(url, purpose.max_len())?
            .ok_or_else(|| Error::Fetch {
                url: url.to_string(),
                source: "the server has no such file".into(),
            })
    }

    fn failed(&self, url: &Url, failure: Failure) -> Error {
        let error = failure.about(url);
        self.board.failed(&url.to_string(), &error.chain());
        error
    }

    fn to_memory(&self, url: &Url, max_len: u64) -> Result<SealedFile, Failure> {
        let file = Memfd::create(url.file_name()).map_err(other)?;
        self.to_store(url, max_len, &file)?;
        file.seal().map_err(other)
    }

    fn to_store(&self, url: &Url, max_len: u64, store: &dyn Store) -> Result<(), Failure> {
        let progress = self.board.begin(&url.to_string());
        let mut sink = Sink::new(store, progress, url.sha256().is_some());
        match url.scheme() {
            Scheme::Tftp => {
                let servers = resolve(url).map_err(Failure::Other)?;
                let server = servers.first().ok_or_else(|| no_address(url))?;
                tftp::get(self, url, *server, max_len, &mut sink)?;
            }
            Scheme::Http | Scheme::Https => http::get(self, url, max_len, &mut sink)?,
        }
        match (url.sha256(), sink.finish().map_err(other)?) {
            (Some(expected), Some(found)) if expected != found => Err(Failure::Verification(
                format!("its SHA-256 is {found} and should be {expected}"),
            )),
            _ => Ok(()),
        }
    }
}

impl Failure {
    fn about(self, url: &Url) -> Error {
        match self {
            Self::Verification(why) => Error::Verification {
                what: url.to_string(),
                why,
            },
            Self::Missing(source) | Self::Other(source) => Error::Fetch {
                url: url.to_string(),
                source,
            },
        }
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Other(error.into())
}

/// Returns the server's addresses; the C library's resolver looks names up.
fn resolve(url: &Url) -> Result<Vec<SocketAddr>, Cause> {
    let (host, port) = (url.host(), url.port());
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    Ok((host, port).to_socket_addrs()?.collect())
}

fn no_address(url: &Url) -> Failure {
    Failure::Other(format!("{} has no address", url.host()).into())
}
