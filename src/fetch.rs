//! Fetches files over the kernel's own sockets, into sealed memory files or onto a disk.

#![forbid(unsafe_code)]

mod access;
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "only certificates need the time")
)]
mod clock;
mod connection;
mod delivery;
mod download;
mod failure;
mod fetcher;
mod http;
#[cfg(feature = "iso")]
mod iso;
#[cfg(feature = "iso")]
mod iso_cache;
#[cfg(feature = "iso")]
mod iso_worker;
mod judge;
mod names;
#[cfg(feature = "root")]
mod oci;
#[cfg(feature = "report")]
mod post;
mod progress;
mod proxy;
mod query;
mod remote;
mod rotation;
mod serve;
mod sink;
mod staged;
mod tftp;
#[cfg(feature = "tls")]
mod tls;

#[cfg(fuzzing)]
pub use download::fuzz as fuzz_spans;
#[cfg(fuzzing)]
pub use rotation::fuzz as fuzz_rotation;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, Reason};
use crate::measure;
use crate::sys::SyscallError;
use crate::sys::file::{self, Target};
use crate::sys::memfd::SealedFile;
use crate::timeline::Timeline;
use crate::trust::Trust;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::option::code;
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::{Job, JobKind};

pub use access::ServerAccess;
pub use clock::Clock;
use failure::{Failure, FetchRefusal, other};
#[cfg(feature = "iso")]
use fetcher::Executor;
pub use fetcher::{Fetcher, STALL_TIMEOUT};
pub use names::Names;
#[cfg(feature = "report")]
pub use post::begin_reports;
use progress::Progress;
pub use progress::{Board, Style};
pub use rotation::Mirrors;
use staged::Staged;

/// Checks the files that https needs and the addresses of mirrors, before anything is fetched.
///
/// # Errors
/// [`Reason::Usage`] when a file cannot be read or used, or a mirror is no URL.
pub fn check(config: &Config) -> Result<(), Error> {
    #[cfg(feature = "report")]
    post::address(&config.output)?;
    let config = &config.fetch;
    Mirrors::of(&config.mirrors)?;
    for (path, what) in [
        (&config.ca, "the authorities"),
        (&config.certificate, "the certificate and key"),
    ] {
        if let Some(path) = path {
            let read = std::fs::read(path);
            read.map_err(|error| {
                Box::new(Reason::Usage(format!(
                    "cannot read {what} in {path}: {error}"
                )))
            })?;
        }
    }
    #[cfg(feature = "tls")]
    tls::check(config.ca.as_deref(), config.certificate.as_deref())?;
    Ok(())
}

fn not_written(target: &Path, source: io::Error) -> Error {
    let target = target.display().to_string();
    Box::new(Reason::Output { target, source })
}

fn system(source: SyscallError) -> Error {
    let doing = "cannot hold the file in memory".to_owned();
    Box::new(Reason::System { doing, source })
}

impl Fetcher {
    /// Returns a fetcher that works over `interface` with this lease.
    ///
    /// # Errors
    /// [`Reason::Usage`] when a mirror is no URL.
    pub fn new(
        config: &Config,
        interface: &str,
        lease: &Lease,
        trust: &Trust,
        timeline: &Timeline,
    ) -> Result<Self, Error> {
        let time_servers = lease.options.addresses(code::NTP_SERVERS);
        let time_servers = time_servers.into_iter().map(IpAddr::from);
        let time_servers = time_servers.chain({
            let lease = lease.ipv6.as_ref();
            let servers = lease.map_or(&[][..], |lease| &lease.time_servers);
            servers.iter().copied().map(IpAddr::from)
        });
        let mut fetcher = Self {
            access: ServerAccess {
                interface: Some(interface.to_owned()),
                names: Arc::new(Names::read(Some(lease), Some(interface))),
                address_timeout: if lease.address.is_unspecified() {
                    // Only an address of IPv4 is waited for.
                    Duration::ZERO
                } else {
                    config.dhcp.timeout
                },
                ca: config.fetch.ca.as_ref().map(PathBuf::from),
                client_certificate: config.fetch.certificate.as_ref().map(PathBuf::from),
                pins: trust.policy.pins.clone(),
                clock: Clock::by_policy(time_servers.collect(), &trust.policy),
                ..ServerAccess::default()
            },
            keys: trust.required_keys(),
            policy: trust.policy.clone(),
            mirrors: Mirrors::of(&config.fetch.mirrors)?.and_servers_of(lease),
            speed: config.fetch.speed,
            hashes: measure::is_wanted(config, trust.policy.must_be_signed),
            #[cfg(feature = "root")]
            registries: oci::registries()?,
            board: Board::new(Style::for_people(config.output.quiet)),
            timeline: timeline.clone(),
            ..Self::default()
        };
        fetcher.use_workers(&config.trust.sandbox);
        Ok(fetcher)
    }

    /// Returns the file, or none when the server says that it does not have it. Mirrors are asked
    /// only when the server gives neither answer.
    ///
    /// # Errors
    /// [`Reason::Fetch`] when it cannot be fetched completely or is longer than `max_len` bytes;
    /// [`Reason::Verification`] when it does not have the hash that its address asks for.
    pub fn get(&self, url: &Url, max_len: u64) -> Result<Option<SealedFile>, Error> {
        self.to_memory(url, max_len, true)
    }

    /// Returns a file that must exist.
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
        #[cfg(feature = "iso")]
        if let Some(image) = url.image() {
            return match self.transport() {
                Executor::Workers(workers) => {
                    iso_worker::file(self, workers, &image, url, max_len, may_lack)
                }
                Executor::Own | Executor::Parent(_) => {
                    iso::file(self, &image, url, max_len, may_lack)
                }
            };
        }
        let mut job = self.job(self.mirrors.addresses(url), JobKind::File, max_len);
        job.may_lack = may_lack;
        let addresses = job.addresses.clone();
        let judged = self.memory(job);
        let judged = judged.map_err(|refusal| self.failed(&addresses, refusal))?;
        self.mirrors.prefer(judged.obtained.server);
        Ok(judged.file)
    }

    /// Stores the file under the name `target`, where it appears only once it is complete and
    /// verified. A device, a FIFO or the target of a symbolic link is written to at that point.
    ///
    /// # Errors
    /// As [`Fetcher::get`], and when the server does not have it or `target` cannot be written; no
    /// part of the file remains then.
    pub fn save(&self, url: &Url, max_len: u64, target: &Path) -> Result<(), Error> {
        self.save_from(std::slice::from_ref(url), max_len, target)
    }

    /// Stores one file that is at all of these addresses under the name `target`, from the first
    /// address that delivers it complete and verified.
    ///
    /// # Errors
    /// As [`Fetcher::save`], about the last address that failed.
    pub fn save_from(&self, mirrors: &[Url], max_len: u64, target: &Path) -> Result<(), Error> {
        let cannot = |error: io::Error| {
            let why = format!("cannot write {}: {error}", target.display());
            self.failed(mirrors, (None, Failure::Other(why.into())))
        };
        match Target::find(target).map_err(cannot)? {
            Target::Name { path, before } => {
                let file = Staged::create(path, before.as_ref()).map_err(cannot)?;
                #[cfg(feature = "iso")]
                if let [url] = mirrors
                    && url.image().is_some()
                {
                    let content = self.need(url, max_len)?;
                    let copied = file.fill(&content);
                    copied.map_err(cannot)?;
                    return file.publish().map_err(cannot);
                }
                let job = self.job(mirrors.to_vec(), JobKind::File, max_len);
                self.store(job, &file)
                    .map_err(|refusal| self.failed(mirrors, refusal))?;
                file.publish().map_err(cannot)
            }
            // What is written to a device or FIFO cannot be undone, so the file is verified first.
            Target::Open(output) => {
                let file = self.whole(mirrors, max_len)?;
                let mut content = file.reader(0..u64::MAX).map_err(system)?;
                file::pour(&mut content, &output).map_err(|error| not_written(target, error))
            }
            Target::Inherited(output) => self.write_out(mirrors, max_len, target, &mut &output),
        }
    }

    /// Writes one file that is at all of these addresses to `output`, named `target` in messages,
    /// once it is complete and verified.
    ///
    /// # Errors
    /// As [`Fetcher::save_from`], and [`Reason::Output`].
    pub fn write_out(
        &self,
        mirrors: &[Url],
        max_len: u64,
        target: &Path,
        output: &mut dyn Write,
    ) -> Result<(), Error> {
        let file = self.whole(mirrors, max_len)?;
        let mut content = file.reader(0..u64::MAX).map_err(system)?;
        let written = file::copy(&mut content, output).and_then(|_| output.flush());
        written.map_err(|error| not_written(target, error))
    }

    /// Fetches a file into memory, since nothing tells how much a FIFO's reader has acted on
    /// already.
    fn whole(&self, mirrors: &[Url], max_len: u64) -> Result<SealedFile, Error> {
        #[cfg(feature = "iso")]
        if let [url] = mirrors
            && url.image().is_some()
        {
            return self.need(url, max_len);
        }
        let job = self.job(mirrors.to_vec(), JobKind::File, max_len);
        let judged = self.memory(job);
        let judged = judged.map_err(|refusal| self.failed(mirrors, refusal))?;
        judged
            .file
            .ok_or_else(|| system(SyscallError::new("fetch", nix::errno::Errno::ENOENT)))
    }

    /// Fetches a file into one on a disk, where it is judged.
    fn store(&self, mut job: Job, file: &Staged) -> Result<(), FetchRefusal> {
        job.folder = file.folder().display().to_string();
        let asked = job.clone();
        let failed = |error: io::Error| (None, other(error));
        let mut take = |job: &Job, progress: &mut Progress, hashes| {
            file.file().set_len(0).map_err(failed)?;
            let mut obtained = self.obtain(job, file, progress, hashes)?;
            let content = file.file().try_clone().map_err(failed)?;
            obtained.len = content.metadata().map_err(failed)?.len();
            Ok((obtained, Some(content)))
        };
        self.judged(job, &mut take, &mut |obtained, content| {
            self.check(&asked, obtained, content)
        })
        .map(drop)
    }
}
