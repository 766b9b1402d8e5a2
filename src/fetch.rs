//! Fetches files over the kernel's own sockets, into sealed memory files or onto a disk.

#![forbid(unsafe_code)]

mod address;
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "only certificates need the time")
)]
mod clock;
mod connection;
mod delivery;
mod hashing;
mod http;
mod mirrors;
mod names;
mod progress;
mod proxy;
mod signed;
mod sink;
mod staged;
mod tftp;
#[cfg(feature = "tls")]
mod tls;
mod turns;

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::config::{Config, FetchConfig};
use crate::error::{Cause, Error};
use crate::sys::file::{self, Target};
use crate::sys::memfd::{Memfd, SealedFile};
use crate::sys::{self, SyscallError};
use crate::timeline::Timeline;
use crate::trust::Trust;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::option::code;
use wireboot_proto::text::url::Url;
use wireboot_proto::time::Seconds;
use wireboot_proto::trust::policy::Policy;
use wireboot_proto::trust::signature::{Fault, Keys, Sums};

pub use clock::Clock;
use delivery::{Delivery, What};
pub use http::Idle;
pub use mirrors::Mirrors;
use names::resolve;
pub use progress::{Board, Style};
use sink::Store;
use staged::Staged;
use turns::{Ending, Turn, Turns};

/// How files are fetched.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "certificates and their clock are for https alone")
)]
pub struct Fetcher {
    /// The interface that all traffic goes through; any when none.
    pub interface: Option<String>,
    /// How long the interface may be without an address, where somebody renews the lease and would
    /// get another one; zero where nobody does.
    pub address_timeout: Duration,
    /// The largest packet that the path carries, octets; what the route to the server says when none.
    pub path_mtu: Option<u16>,
    /// The certificates of those whose word on an https server counts, in PEM; the system's list
    /// when none.
    pub ca: Option<PathBuf>,
    /// The certificate that this machine shows to https servers, with its key, in PEM.
    pub client_certificate: Option<PathBuf>,
    /// The clock by which certificates are judged.
    pub clock: Clock,
    /// The keys one of which must have signed each file; any file is taken when there are none.
    pub keys: Keys,
    /// Where files may come from.
    pub policy: Policy,
    /// Servers that are asked in place of one that does not give a file into memory.
    pub mirrors: Mirrors,
    /// The hashes that files must have; any when none.
    pub sums: Option<Sums>,
    /// A transfer that has brought nothing for so long has failed.
    pub stall_timeout: Duration,
    /// Where progress is shown.
    pub board: Board,
    /// Connections that may be used again.
    pub idle: Idle,
    /// Where the begin and end of each transfer are noted.
    pub timeline: Timeline,
}

impl Default for Fetcher {
    /// Any interface, packets as its routes say, nobody in particular to trust, no progress.
    fn default() -> Self {
        Self {
            interface: None,
            address_timeout: Duration::ZERO,
            path_mtu: None,
            ca: None,
            client_certificate: None,
            clock: Clock::default(),
            keys: Keys::default(),
            policy: Policy::default(),
            mirrors: Mirrors::default(),
            sums: None,
            stall_timeout: STALL_TIMEOUT,
            board: Board::new(Style::Silent),
            idle: Idle::default(),
            timeline: Timeline::default(),
        }
    }
}

/// Reads the files that are needed for https, and the addresses of mirrors, to see whether they are
/// of use.
///
/// # Errors
/// [`Error::Usage`] for what cannot be read or used.
pub fn check(config: &FetchConfig) -> Result<(), Error> {
    Mirrors::of(&config.mirrors)?;
    for (path, what) in [
        (&config.ca, "the authorities"),
        (&config.certificate, "the certificate and key"),
    ] {
        if let Some(path) = path {
            let read = std::fs::read(path);
            read.map_err(|error| Error::Usage(format!("cannot read {what} in {path}: {error}")))?;
        }
    }
    #[cfg(feature = "tls")]
    tls::check(config.ca.as_deref(), config.certificate.as_deref())?;
    Ok(())
}

/// How long a server may be silent, where nobody says otherwise.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a file did not come.
enum Failure {
    /// The server says that it has no such file.
    Missing(Cause),
    /// It came whole and is another; why.
    Verification(String),
    /// Nothing came, or not all, and it may the next time.
    Passing(Cause),
    /// Anything else.
    Other(Cause),
}

/// Asks at an address for what is wanted, when its turn has come.
type Ask<'a> = &'a mut dyn FnMut(&Url, &Turn) -> Result<(), (Ending, Failure)>;

impl Fetcher {
    /// Returns how files are fetched over `interface` with this lease.
    ///
    /// # Errors
    /// [`Error::Usage`] when a mirror is no URL.
    pub fn new(
        config: &Config,
        interface: &str,
        lease: &Lease,
        trust: &Trust,
        timeline: &Timeline,
    ) -> Result<Self, Error> {
        let time_servers = lease.options.addresses(code::NTP_SERVERS);
        Ok(Self {
            interface: Some(interface.to_owned()),
            address_timeout: config.dhcp.timeout,
            ca: config.fetch.ca.as_ref().map(PathBuf::from),
            client_certificate: config.fetch.certificate.as_ref().map(PathBuf::from),
            clock: Clock::of(time_servers.into_iter().map(IpAddr::from).collect()),
            keys: trust.demanded(),
            policy: trust.policy.clone(),
            mirrors: Mirrors::of(&config.fetch.mirrors)?,
            board: Board::new(Style::for_people(config.output.quiet)),
            timeline: timeline.clone(),
            ..Self::default()
        })
    }

    /// Returns the file, or none when the server does not have it, whose word counts: mirrors are
    /// asked only when it has nothing to say.
    ///
    /// # Errors
    /// [`Error::Fetch`] when it cannot be had whole or is longer than `max_len` octets;
    /// [`Error::Verification`] when it does not have the hash that its address asks for.
    pub fn get(&self, url: &Url, max_len: u64) -> Result<Option<SealedFile>, Error> {
        self.to_memory(url, max_len, true)
    }

    /// Returns a file that must be there.
    ///
    /// # Errors
    /// As [`Fetcher::get`], and when neither the server nor a mirror has it.
    pub fn need(&self, url: &Url, max_len: u64) -> Result<SealedFile, Error> {
        let file = self.to_memory(url, max_len, false)?;
        file.ok_or_else(|| Failure::Missing("the server has no such file".into()).about(url))
    }

    fn to_memory(
        &self,
        url: &Url,
        max_len: u64,
        may_lack: bool,
    ) -> Result<Option<SealedFile>, Error> {
        let failed = |error| other(error).about(url);
        let file = Memfd::create(url.file_name()).map_err(failed)?;
        let came = self.deliver(&self.mirrors.addresses(url), max_len, &file, may_lack)?;
        came.then(|| file.seal().map_err(failed)).transpose()
    }

    /// Stores the file under the name `target`, where it appears only when it is whole and
    /// verified. A device or a FIFO, and whatever a symbolic link leads to, is written into then.
    ///
    /// # Errors
    /// As [`Fetcher::get`], and when the server does not have it or `target` cannot be written;
    /// nothing is left behind then.
    pub fn save(&self, url: &Url, max_len: u64, target: &Path) -> Result<(), Error> {
        self.save_from(std::slice::from_ref(url), max_len, target)
    }

    /// Stores one file that is at all of these addresses under the name `target`: the first that
    /// gives it whole and verified counts.
    ///
    /// # Errors
    /// As [`Fetcher::save`]; it is the last address that failed.
    pub fn save_from(&self, mirrors: &[Url], max_len: u64, target: &Path) -> Result<(), Error> {
        let cannot = |error: io::Error| {
            let why = format!("cannot write {}: {error}", target.display());
            self.failed(mirrors.first(), Failure::Other(why.into()))
        };
        match Target::find(target).map_err(cannot)? {
            Target::Name { path, before } => {
                let file = Staged::create(path, before.as_ref()).map_err(cannot)?;
                self.deliver(mirrors, max_len, &file, false)?;
                file.publish().map_err(cannot)
            }
            // What has been written into it cannot be taken back, so it is verified before.
            Target::Open(target) => {
                let system = |error: SyscallError| cannot(io::Error::other(error));
                let file = Memfd::create("output").map_err(system)?;
                self.deliver(mirrors, max_len, &file, false)?;
                let file = file.seal().map_err(system)?;
                let mut content = file.reader(0..u64::MAX).map_err(system)?;
                file::pour(&mut content, &target).map_err(cannot)
            }
        }
    }

    /// Brings the file that is at all of these addresses into `store`; returns false when it
    /// `may_lack` and a server says that it does not have it.
    fn deliver(
        &self,
        addresses: &[Url],
        max_len: u64,
        store: &dyn Store,
        may_lack: bool,
    ) -> Result<bool, Error> {
        let mut delivery = Delivery::begin(self, What::File, max_len, addresses, store);
        let mut is_there = true;
        let taken = self.first_of(addresses, &mut |url, turn| match delivery.take(url, turn) {
            Err((_, Failure::Missing(why))) if may_lack => {
                log::debug!("{url}: {why}");
                is_there = false;
                Ok(())
            }
            taken => taken,
        });
        match taken {
            Ok(server) => {
                self.mirrors.prefer(server);
                Ok(is_there)
            }
            Err((url, failure)) => Err(self.failed(url, failure)),
        }
    }

    /// Asks one address after the other, until one gives what is wanted or it is time to give up;
    /// returns which of them did.
    ///
    /// # Errors
    /// The last failure, and the address it is about.
    fn first_of<'u>(
        &self,
        addresses: &'u [Url],
        ask: Ask<'_>,
    ) -> Result<usize, (Option<&'u Url>, Failure)> {
        let mut turns = Turns::new(addresses.len(), self.stall_timeout, sys::seed());
        let mut next = turns.first();
        while let Some(turn) = next
            && let Some(url) = addresses.get(turn.server)
        {
            std::thread::sleep(turn.pause);
            self.await_address();
            let Err((ending, failure)) = ask(url, &turn) else {
                return Ok(turn.server);
            };
            next = turns.after(ending);
            let Some(next) = &next else {
                return Err((Some(url), failure));
            };
            let error = failure.about(url).chain();
            match next.server == turn.server {
                true => log::warn!("{error}; asking again in {:.1} s", Seconds(next.pause)),
                false => log::warn!("{error}; trying the next mirror"),
            }
        }
        Err((None, Failure::Other("no address is given".into())))
    }

    fn failed(&self, url: Option<&Url>, failure: Failure) -> Error {
        let Some(url) = url else {
            return Error::Usage("no address given".to_owned());
        };
        let error = failure.about(url);
        self.board.failed(&url.to_string(), &error.chain());
        error
    }

    /// Makes sure that the policy allows this address.
    fn allow(&self, url: &Url) -> Result<(), Failure> {
        match self.policy.refusal(url) {
            Some(why) => Err(Failure::Verification(why)),
            None => Ok(()),
        }
    }
}

/// Lets all packets of a socket go through one interface.
fn bind_to(socket: &impl AsFd, interface: Option<&str>) -> Result<(), SyscallError> {
    let Some(interface) = interface else {
        return Ok(());
    };
    setsockopt(socket, sockopt::BindToDevice, &interface.into())
        .map_err(|errno| SyscallError::new("setsockopt(SO_BINDTODEVICE)", errno))
}

impl Failure {
    fn about(self, url: &Url) -> Error {
        match self {
            Self::Verification(why) => Error::Verification {
                what: url.to_string(),
                why,
            },
            Self::Missing(source) | Self::Passing(source) | Self::Other(source) => Error::Fetch {
                url: url.to_string(),
                source,
            },
        }
    }
}

/// Returns the text of a transfer's failure, which is all that is left of it.
fn text_of(failure: &dyn std::fmt::Display) -> Cause {
    failure.to_string().into()
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Other(error.into())
}

fn passing(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Passing(error.into())
}

/// Names what broke while it was under way; a wait that ended without anything is EAGAIN by the
/// kernel.
fn broken(error: io::Error, what: &str) -> Failure {
    let why = if is_timeout(&error) {
        format!("{what} failed: no answer")
    } else if error.kind() == ErrorKind::UnexpectedEof {
        format!("{what} failed: the connection was closed")
    } else {
        format!("{what} failed: {error}")
    };
    Failure::Passing(why.into())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn unverified(fault: &Fault) -> Failure {
    Failure::Verification(fault.to_string())
}

fn no_address(url: &Url) -> Failure {
    Failure::Passing(format!("{} has no address", url.host()).into())
}
