//! Fetches files and judges them: only what has the hash and the signature that are asked for is
//! returned. The servers are not trusted with that, nor is the worker that a file comes from.
//!
//! A file in memory is sealed first and judged then. If the check of a file fails that is made of the
//! parts of several servers, it is not known whose part was wrong, and from then on one server has to
//! send the complete file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::delivery::{Hashes, Obtained};
use super::failure::{Failure, FetchRefusal, other, unverified};
use super::fetcher::{Executor, Fetcher};
#[cfg(feature = "iso")]
use super::iso;
use super::progress::Progress;
use super::remote;
use crate::error::Error;
use crate::sys::hashing::{Hashing, hash_now};
use crate::sys::memfd::{Memfd, SealedFile};
use wireboot_proto::text::url::{Sha256, Url};
use wireboot_proto::trust::signature::{Keys, MAX_SIGNATURE_LEN, Signature};
use wireboot_proto::worker::{Job, JobKind};

/// A file in memory that was judged.
pub(super) struct Judged {
    pub(super) obtained: Obtained,
    /// None when the server says that it does not have it.
    pub(super) file: Option<SealedFile>,
}

/// Fetches what a job is about; returns the file to read it back from too, if there is one.
type Take<'t> = &'t mut dyn FnMut(
    &Job,
    &mut Progress,
    Hashes,
) -> Result<(Obtained, Option<File>), FetchRefusal>;

/// Checks a file that came from the address with this index.
type FileCheck<'c> = &'c mut dyn FnMut(&mut Obtained, &File) -> Result<(), Failure>;

impl Fetcher {
    /// Returns the job of fetching the file that is at all of these addresses.
    pub(super) fn job(&self, addresses: Vec<Url>, kind: JobKind, max_len: u64) -> Job {
        Job {
            addresses,
            kind,
            max_len,
            window: None,
            may_lack: false,
            may_mix: false,
            stall_timeout: self.stall_timeout,
            rounds: self.rounds,
            room: self.room,
            folder: String::new(),
        }
    }

    /// Fetches a file into memory, sealed and judged.
    ///
    /// # Errors
    /// The last failure.
    pub(super) fn memory(&self, job: Job) -> Result<Judged, FetchRefusal> {
        #[cfg(feature = "root")]
        return self.with_access(job, |job| self.memory_at_once(job));
        #[cfg(not(feature = "root"))]
        self.memory_at_once(job)
    }

    /// As [`Fetcher::memory`], without asking for what a registry wants first.
    pub(super) fn memory_at_once(&self, job: Job) -> Result<Judged, FetchRefusal> {
        let asked = job.clone();
        self.memory_by(job, &mut |obtained, file| {
            self.check(&asked, obtained, file)
        })
    }

    /// As [`Fetcher::memory`], judged by `check`.
    fn memory_by(&self, job: Job, check: FileCheck<'_>) -> Result<Judged, FetchRefusal> {
        let failed = |error| (None, other(error));
        let mut sealed = None;
        let mut take = |job: &Job, progress: &mut Progress, hashes| {
            let (mut obtained, file) = match self.transport() {
                Executor::Parent(peer) => remote::judged(peer, job)?,
                Executor::Own | Executor::Workers(_) => {
                    let name = job.addresses.first().map_or("", Url::file_name);
                    let file = Memfd::create(name).map_err(failed)?;
                    let obtained = self.obtain(job, &file, progress, hashes)?;
                    (obtained, Some(file.seal().map_err(failed)?))
                }
            };
            let Some(file) = file.filter(|_| obtained.is_there) else {
                // There is none, or there ought to be one.
                return Ok((obtained, None));
            };
            let content = file.file().try_clone();
            let content = content.map_err(|error| (None, other(error)))?;
            obtained.len = file.size().map_err(failed)?;
            sealed = Some(file);
            Ok((obtained, Some(content)))
        };
        let mut obtained = self.judged(job, &mut take, check)?;
        let file = sealed.filter(|_| obtained.is_there);
        if let Some(file) = &file {
            file.set_hashing(obtained.hashing.take());
        }
        Ok(Judged { obtained, file })
    }

    /// Fetches a file from one address after the other until one is found good.
    ///
    /// # Errors
    /// Why the last file was refused, with the last failure of the other addresses; that alone where
    /// none was refused.
    pub(super) fn judged(
        &self,
        mut job: Job,
        take: Take<'_>,
        check: FileCheck<'_>,
    ) -> Result<Obtained, FetchRefusal> {
        let all = std::mem::take(&mut job.addresses);
        let mut left = Vec::new();
        let mut last = None;
        let mut refused: Option<(usize, String)> = None;
        for (index, url) in all.iter().enumerate() {
            match self.admit(url, &job) {
                Ok(()) => left.push(index),
                Err(failure) => last = Some((Some(index), failure)),
            }
        }
        let needs_signature = self.needs_signature(&job);
        let urls = left.iter().filter_map(|at| all.get(*at));
        let pinned = urls.filter(|url| matches!(self.pin(url, &job), Ok(Some(_))));
        let pinned = pinned.count();
        job.may_mix = needs_signature || pinned == left.len();
        let hashes = match job.kind {
            _ if pinned > 0 => Hashes::All,
            JobKind::File if self.hashes && job.window.is_none() => Hashes::Long,
            JobKind::File | JobKind::Directory | JobKind::Signature => Hashes::None,
        };
        let mut progress = match job.kind {
            JobKind::File => self.board.begin(),
            JobKind::Directory | JobKind::Signature => Progress::silent(),
        };
        while !left.is_empty() {
            let addresses = left.iter().filter_map(|at| all.get(*at));
            job.addresses = addresses.cloned().collect();
            let global = |at: usize| left.get(at).copied();
            let taken = take(&job, &mut progress, hashes);
            let (mut obtained, file) = match taken {
                Ok(taken) => taken,
                Err((at, failure)) => {
                    let at = at.and_then(global);
                    #[cfg(feature = "root")]
                    if matches!(failure, Failure::Challenge(_)) {
                        return Err((at, failure));
                    }
                    let (Some((server, why)), Some(url)) = (refused, at.and_then(|at| all.get(at)))
                    else {
                        return Err((at, failure));
                    };
                    let why = format!("{why}; {}", failure.about(url).chain());
                    return Err((Some(server), Failure::Verification(why)));
                }
            };
            let place = obtained.server;
            obtained.server = global(place).unwrap_or_default();
            if !obtained.is_there {
                return Ok(obtained);
            }
            let checked = match &file {
                Some(file) => check(&mut obtained, file),
                None => Err(Failure::Other(
                    "a file is missing beside its message".into(),
                )),
            };
            let Err(failure) = checked else {
                progress.finish(obtained.len);
                return Ok(obtained);
            };
            let server = obtained.server;
            let Some(url) = all.get(server) else { break };
            let is_over = !(obtained.is_mixed && job.may_mix);
            if is_over {
                left.remove(place.min(left.len().saturating_sub(1)));
            }
            job.may_mix &= is_over;
            if left.is_empty() {
                return Err((Some(server), failure));
            }
            let again = if is_over {
                "trying the next mirror"
            } else {
                "asking again for the whole file"
            };
            if let Failure::Verification(why) = &failure {
                refused = Some((server, why.clone()));
            }
            log::warn!("{}; {again}", failure.about(url).chain());
        }
        let none = || (None, Failure::Other("no address is given".into()));
        Err(last.unwrap_or_else(none))
    }

    /// Checks, before it is asked for, that a file may come from this address.
    fn admit(&self, url: &Url, job: &Job) -> Result<(), Failure> {
        if let Some(why) = self.policy.refusal(url) {
            return Err(Failure::Verification(why));
        }
        if job.window.is_some() && !self.keys.is_empty() && self.sums.is_none() {
            let why = "only whole files are signed";
            return Err(Failure::Verification(why.to_owned()));
        }
        self.pin(url, job).map(drop)
    }

    /// Checks a file that came from one of the addresses of `job`.
    pub(super) fn check(
        &self,
        job: &Job,
        obtained: &mut Obtained,
        file: &File,
    ) -> Result<(), Failure> {
        let Some(url) = job.addresses.get(obtained.server) else {
            return Err(Failure::Other("no address is given".into()));
        };
        Failure::check_len(obtained.len, job.max_len)?;
        if matches!(self.transport(), Executor::Parent(_)) {
            return Ok(());
        }
        if let Some(expected) = self.pin(url, job)? {
            let found = match &mut obtained.hashing {
                Some(hashing) => Hashing::finish(hashing),
                None => hash_now(file),
            };
            let found = found.map_err(other)?.sha256;
            if found != expected {
                return Err(Failure::mismatch(&found, &expected));
            }
        }
        if self.needs_signature(job) {
            self.verify_beside(&job.addresses, obtained.server, file)?;
        }
        Ok(())
    }

    /// Returns the hash that the file must have; one in the URL takes precedence over the list of
    /// hashes.
    fn pin(&self, url: &Url, job: &Job) -> Result<Option<Sha256>, Failure> {
        // Lists and signatures are about images, not about the files in them.
        let sums = self.sums.as_ref().filter(|_| job.window.is_none());
        match (url.sha256(), job.kind, sums) {
            (Some(pin), _, _) => Ok(Some(pin)),
            (None, JobKind::File, Some(sums)) => {
                let name = url.plain_file_name();
                let sum = sums.of(&name).map_err(|fault| unverified(&fault))?;
                Ok(Some(sum))
            }
            (None, JobKind::File, None) | (None, JobKind::Directory | JobKind::Signature, _) => {
                Ok(None)
            }
        }
    }

    /// Returns whether the file must be a certain one, by its hash or its signature.
    pub(super) fn is_checked(&self, job: &Job) -> bool {
        let is_pinned = |url| !matches!(self.pin(url, job), Ok(None));
        self.needs_signature(job) || job.addresses.iter().any(is_pinned)
    }

    fn needs_signature(&self, job: &Job) -> bool {
        let is_file = job.kind == JobKind::File && job.window.is_none();
        is_file && !self.keys.is_empty() && self.sums.is_none()
    }
}

impl Fetcher {
    /// Checks a file that has been fetched against the signature at `signature`, with these keys.
    ///
    /// # Errors
    /// `Reason::Verification` when the file is not what was signed or there is no signature;
    /// `Reason::Fetch` when the signature cannot be fetched.
    pub fn verify(
        &self,
        url: &Url,
        file: &SealedFile,
        signature: &Url,
        keys: &Keys,
    ) -> Result<(), Error> {
        self.verify_signature(url, &self.mirrors.addresses(signature), file.file(), keys)
            .map_err(|failure| failure.about(url))?;
        // Files are to come from the image that was verified, not from what the server has by then.
        #[cfg(feature = "iso")]
        if url.names_iso() {
            iso::keep(self, url, file)?;
        }
        Ok(())
    }

    /// Checks a file that came from one of these addresses against the signature beside any of them;
    /// the one beside this very file is tried first.
    ///
    /// # Errors
    /// The failure of the last signature.
    fn verify_beside(&self, addresses: &[Url], server: usize, file: &File) -> Result<(), Failure> {
        let Some(signed) = addresses.get(server) else {
            return Err(Failure::Other("no address is given".into()));
        };
        let signatures: Result<Vec<_>, _> = addresses.iter().map(signature_of).collect();
        let mut signatures = signatures?;
        signatures.swap(0, server);
        self.verify_signature(signed, &signatures, file, &self.keys)
    }

    /// Looks for a valid signature of a file at these addresses, one after the other.
    ///
    /// # Errors
    /// The failure of the last signature.
    fn verify_signature(
        &self,
        signed: &Url,
        signatures: &[Url],
        file: &File,
        keys: &Keys,
    ) -> Result<(), Failure> {
        let job = self.job(signatures.to_vec(), JobKind::Signature, MAX_SIGNATURE_LEN);
        let check = &mut |_: &mut Obtained, signature: &File| {
            check_signature(signed, signature, file, keys)
        };
        match self.memory_by(job, check) {
            Ok(_) => Ok(()),
            // Or a server could switch the check off by having no signature.
            Err((server, Failure::Missing(why))) => {
                let url = signatures.get(server.unwrap_or_default());
                let url = url.map(Url::to_string).unwrap_or_default();
                let why = format!("there is no signature {url}: {why}");
                Err(Failure::Verification(why))
            }
            // All further attempts have been made already.
            Err((_, Failure::Passing(why))) => Err(Failure::Other(why)),
            Err((_, failure)) => Err(failure),
        }
    }
}

/// Checks a file against a signature of it.
fn check_signature(
    signed: &Url,
    signature: &File,
    file: &File,
    keys: &Keys,
) -> Result<(), Failure> {
    let mut content = Vec::new();
    read_all(signature, MAX_SIGNATURE_LEN, &mut |bytes| {
        content.extend_from_slice(bytes);
    })?;
    let wrong = |fault| unverified(&fault);
    let signature = Signature::decode(&content).map_err(wrong)?;
    let mut check = keys.check(&signature).map_err(wrong)?;
    read_all(file, u64::MAX, &mut |bytes| check.update(bytes))?;
    let signer = check.finish(&signed.plain_file_name()).map_err(wrong)?;
    log::info!("{signed}: signature OK ({signer})");
    Ok(())
}

/// Reads a file from its beginning, up to `max_len` bytes.
fn read_all(mut file: &File, max_len: u64, take: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
    file.seek(SeekFrom::Start(0)).map_err(other)?;
    let mut file = file.take(max_len);
    let mut bytes = vec![0; 128 << 10];
    loop {
        match file.read(&mut bytes).map_err(other)? {
            0 => return Ok(()),
            len => take(bytes.get(..len).unwrap_or_default()),
        }
    }
}

/// Returns the default address of a file's signature, beside the file, as minisign names it.
fn signature_of(url: &Url) -> Result<Url, Failure> {
    let name = format!("{}.minisig", url.file_name());
    url.beside(&name).map_err(other)
}
