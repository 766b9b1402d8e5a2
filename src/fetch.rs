//! Fetches files over the kernel's own sockets, into sealed memory files or onto a disk.

#![forbid(unsafe_code)]

#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "only certificates need the time")
)]
mod clock;
mod connection;
mod hashing;
mod http;
mod mirrors;
mod progress;
mod proxy;
mod sink;
mod staged;
mod tftp;
#[cfg(feature = "tls")]
mod tls;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::account;
use crate::config::Config;
use crate::dhcp::lease::Lease;
use crate::error::{Cause, Error};
use crate::plan::Purpose;
use crate::plan::policy::Policy;
use crate::plan::url::{Scheme, Sha256, Url};
use crate::sys::SyscallError;
use crate::sys::memfd::{Memfd, SealedFile};
use crate::trust::Trust;
use crate::verify::{self, Fault, Keys, Signature, Sums};
use crate::wire::option::code;

pub use clock::Clock;
pub use http::Idle;
pub use mirrors::Mirrors;
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
}

impl Default for Fetcher {
    /// Any interface, packets as on Ethernet, nobody in particular to trust, no progress.
    fn default() -> Self {
        Self {
            interface: None,
            path_mtu: 1500,
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
        }
    }
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
    /// Returns how files are fetched over `interface` with this lease.
    ///
    /// # Errors
    /// [`Error::Usage`] when a mirror is no URL.
    pub fn new(
        config: &Config,
        interface: &str,
        lease: &Lease,
        trust: &Trust,
    ) -> Result<Self, Error> {
        let time_servers = lease.options.addresses(code::NTP_SERVERS);
        Ok(Self {
            interface: Some(interface.to_owned()),
            path_mtu: lease.mtu_octets.unwrap_or(1500),
            ca: config.ca.as_ref().map(PathBuf::from),
            client_certificate: config.certificate.as_ref().map(PathBuf::from),
            clock: Clock::of(time_servers.into_iter().map(IpAddr::from).collect()),
            keys: trust.demanded(),
            policy: trust.policy.clone(),
            mirrors: Mirrors::of(&config.mirrors)?,
            board: Board::new(Style::for_people(config.quiet)),
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
        self.first_of(&self.mirrors.addresses(url), |url| {
            match self.to_memory(url, max_len) {
                Ok(file) => Ok(Some(file)),
                Err(Failure::Missing(why)) => {
                    log::debug!("{url}: {why}");
                    Ok(None)
                }
                Err(failure) => Err(self.failed(url, failure)),
            }
        })
    }

    /// Stores the file under the name `target`, where it appears only when it is whole and
    /// verified.
    ///
    /// # Errors
    /// As [`Fetcher::get`], and when the server does not have it or `target` cannot be written;
    /// nothing is left behind then.
    pub fn save(&self, url: &Url, max_len: u64, target: &Path) -> Result<(), Error> {
        self.save_from(std::slice::from_ref(url), max_len, target)
    }

    /// Stores one file that is at all of these addresses under the name `target`: the first that has
    /// it whole and verified counts.
    ///
    /// # Errors
    /// As [`Fetcher::save`]; it is the last address that failed.
    pub fn save_from(&self, mirrors: &[Url], max_len: u64, target: &Path) -> Result<(), Error> {
        let cannot = |error: io::Error| {
            let why = format!("cannot write {}: {error}", target.display());
            Failure::Other(why.into())
        };
        self.first_of(mirrors, |url| {
            let save = || {
                let file = Staged::create(target).map_err(cannot)?;
                self.to_store(url, max_len, &file)?;
                file.publish().map_err(cannot)
            };
            save().map_err(|failure| self.failed(url, failure))
        })
    }

    /// Returns a file that must be there.
    ///
    /// # Errors
    /// As [`Fetcher::get`], and when neither the server nor a mirror has it.
    pub fn need(&self, url: &Url, purpose: Purpose) -> Result<SealedFile, Error> {
        self.first_of(&self.mirrors.addresses(url), |url| {
            self.to_memory(url, purpose.max_len())
                .map_err(|failure| self.failed(url, failure))
        })
    }

    /// Returns what the first of the addresses gives that gives anything.
    fn first_of<T>(
        &self,
        addresses: &[Url],
        fetch: impl Fn(&Url) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut rest = addresses.iter();
        loop {
            let Some(url) = rest.next() else {
                return Err(Error::Usage("no address given".to_owned()));
            };
            match fetch(url) {
                Err(error) if rest.len() > 0 => {
                    log::warn!("{}; trying the next mirror", error.chain());
                }
                Err(error) => return Err(error),
                Ok(got) => {
                    self.mirrors.prefer(addresses.len() - 1 - rest.len());
                    return Ok(got);
                }
            }
        }
    }

    fn failed(&self, url: &Url, failure: Failure) -> Error {
        let error = failure.about(url);
        self.board.failed(&url.to_string(), &error.chain());
        error
    }

    fn to_memory(&self, url: &Url, max_len: u64) -> Result<SealedFile, Failure> {
        account::note(format!("{url}: asked for"));
        let file = Memfd::create(url.file_name()).map_err(other)?;
        self.to_store(url, max_len, &file)
            .inspect_err(|_| account::note(format!("{url}: failed")))?;
        account::note(format!("{url}: whole"));
        file.seal().map_err(other)
    }

    fn to_store(&self, url: &Url, max_len: u64, store: &dyn Store) -> Result<(), Failure> {
        self.allow(url)?;
        let pin = self.pin(url)?;
        let progress = self.board.begin(&url.to_string());
        let mut sink = Sink::new(store, progress, pin.is_some()).map_err(other)?;
        match url.scheme() {
            Scheme::Tftp => tftp::get(self, url, max_len, &mut sink)?,
            Scheme::Http | Scheme::Https => http::get(self, url, max_len, &mut sink)?,
        }
        match (pin, sink.finish().map_err(other)?) {
            (Some(expected), Some(found)) if expected != found => {
                return Err(Failure::Verification(format!(
                    "its SHA-256 is {found} and should be {expected}"
                )));
            }
            _ => {}
        }
        match self.keys.is_empty() || self.sums.is_some() {
            true => Ok(()),
            false => self.check_signature(&signature_of(url)?, store.file(), &self.keys),
        }
    }

    /// Makes sure that the policy allows this address.
    fn allow(&self, url: &Url) -> Result<(), Failure> {
        match self.policy.refusal(url) {
            Some(why) => Err(Failure::Verification(why)),
            None => Ok(()),
        }
    }

    /// Returns the hash that the file must have; what the URL itself asks for counts.
    fn pin(&self, url: &Url) -> Result<Option<Sha256>, Failure> {
        match (url.sha256(), &self.sums) {
            (Some(pin), _) => Ok(Some(pin)),
            (None, Some(sums)) => {
                let name = url.plain_file_name();
                let sum = sums.of(&name).map_err(|fault| unverified(&fault))?;
                Ok(Some(sum))
            }
            (None, None) => Ok(None),
        }
    }

    /// Checks a file that has been fetched against the signature at `signature`, with these keys.
    ///
    /// # Errors
    /// [`Error::Verification`] when the file is not what was signed or there is no signature;
    /// [`Error::Fetch`] when that cannot be told.
    pub fn verify(
        &self,
        url: &Url,
        file: &SealedFile,
        signature: &Url,
        keys: &Keys,
    ) -> Result<(), Error> {
        self.first_of(&self.mirrors.addresses(signature), |signature| {
            self.check_signature(signature, file.file(), keys)
                .map_err(|failure| failure.about(url))
        })
    }

    fn check_signature(&self, url: &Url, mut file: &File, keys: &Keys) -> Result<(), Failure> {
        // Nobody signs signatures.
        let plain = Self {
            keys: Keys::default(),
            sums: None,
            board: Board::new(Style::Silent),
            ..self.clone()
        };
        let text = match plain.to_memory(url, verify::MAX_SIGNATURE_LEN) {
            Err(Failure::Missing(why)) => {
                let why = format!("there is no signature {url}: {why}");
                return Err(Failure::Verification(why));
            }
            signature => text_of(&signature?)?,
        };
        let signature = text.parse::<Signature>();
        let signature = signature.map_err(|fault| unverified(&fault))?;
        let mut check = keys.check(&signature).map_err(|fault| unverified(&fault))?;
        file.seek(SeekFrom::Start(0)).map_err(other)?;
        let mut octets = vec![0; 128 << 10];
        loop {
            match file.read(&mut octets).map_err(other)? {
                0 => break,
                len => check.update(octets.get(..len).unwrap_or_default()),
            }
        }
        let comment = check.finish().map_err(|fault| unverified(&fault))?;
        log::info!("{url}: is a good signature: {comment}");
        Ok(())
    }
}

/// Returns where the signature of a file is, when nothing else is said: beside it.
fn signature_of(url: &Url) -> Result<Url, Failure> {
    let name = format!("{}.minisig", url.file_name());
    url.beside(&name).map_err(other)
}

/// Returns the content of a small file.
///
/// # Errors
/// It is not UTF-8, or cannot be read back.
fn text_of(file: &SealedFile) -> Result<String, Failure> {
    let mut text = String::new();
    let mut file = file.file();
    file.seek(SeekFrom::Start(0)).map_err(other)?;
    file.read_to_string(&mut text).map_err(other)?;
    Ok(text)
}

fn unverified(fault: &Fault) -> Failure {
    Failure::Verification(fault.to_string())
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
