//! The delivery of a file into its store, from whichever server has it.
//!
//! One server continues what another has begun only where the job says so, since the complete file is
//! checked then.

use std::io;

use super::download::{Attempt, Download};
use super::failure::{Failure, FetchRefusal, other};
use super::fetcher::Fetcher;
use super::progress::Progress;
use super::rotation::{AttemptEnd, NextServer};
use super::sink::{Sink, Store};
use super::{http, tftp};
use crate::sys::hashing::Hashing;
use crate::timeline::{COMPLETE, FAILED, REQUESTED};
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::worker::Job;

/// How much an attempt must add to be more than fruitless: what the least speed is by default, in
/// the time for which it is measured.
const PROGRESS_LEN: u64 = 15 << 10;

struct Delivery<'a> {
    fetcher: &'a Fetcher,
    job: &'a Job,
    download: Download<'a>,
    /// Bytes received when an attempt last counted as progress.
    most_received: u64,
    /// The hash of the complete file, where somebody wants one.
    hashing: Option<Hashing>,
}

/// Which files are hashed while they are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashes {
    /// All: they must have a certain hash.
    All,
    /// Those that are long, for whoever asks for their hashes later.
    Long,
    None,
}

/// A file that is in its store, and not verified.
pub(super) struct Obtained {
    /// The index of the server that delivered it, or said that it does not have it.
    pub(super) server: usize,
    /// Whether there is such a file.
    pub(super) is_there: bool,
    /// Whether parts may be of different files.
    pub(super) is_mixed: bool,
    /// Where it came from, and by what the server there tells it from another.
    pub(super) validator: Option<(Url, String)>,
    /// Its length, in bytes, once it has been read back.
    pub(super) len: u64,
    /// Its hash, where one was computed on the way.
    pub(super) hashing: Option<Hashing>,
}

impl<'a> Delivery<'a> {
    /// Prepares the delivery of a file into `store`.
    ///
    /// # Errors
    /// No thread for hashing can be started.
    fn begin(
        fetcher: &'a Fetcher,
        job: &'a Job,
        store: &'a dyn Store,
        progress: &'a mut Progress,
        hashes: Hashes,
    ) -> io::Result<Self> {
        let mut sink = Sink::new(store, progress).with_room(job.room);
        match hashes {
            Hashes::All => sink.hash()?,
            Hashes::Long => sink.hash_if_long(),
            Hashes::None => {}
        }
        Ok(Self {
            fetcher,
            job,
            download: Download::new(sink),
            most_received: 0,
            hashing: None,
        })
    }

    /// Returns the hash of the file, once that has been fetched.
    fn into_hashing(self) -> Option<Hashing> {
        self.hashing
    }

    /// Returns where the file came from, and by what the server there tells it from another.
    fn validator(&self) -> Option<(Url, String)> {
        self.download.validator()
    }

    /// Returns whether parts may be of different files.
    fn is_mixed(&self) -> bool {
        self.download.is_mixed()
    }

    /// Fetches what is missing from one of the servers.
    ///
    /// # Errors
    /// The failure, and what it means for the next attempt.
    fn run(&mut self, url: &Url, turn: &NextServer) -> Result<(), (AttemptEnd, Failure)> {
        let timeline = &self.fetcher.timeline;
        timeline.note(format!("{url}{REQUESTED}"));
        let result = self.attempt(url, turn);
        let what = if result.is_ok() { COMPLETE } else { FAILED };
        timeline.note(format!("{url}{what}"));
        result.map_err(|failure| (self.ending(&failure), failure))
    }

    fn attempt(&mut self, url: &Url, turn: &NextServer) -> Result<(), Failure> {
        let attempt = Attempt {
            access: &self.fetcher.access,
            idle: &self.fetcher.idle,
            policy: &self.fetcher.policy,
            url,
            window: self.job.window.clone(),
            max_len: self.job.max_len,
            patience: turn.patience,
            stall_timeout: self.fetcher.stall_timeout,
            speed: self.fetcher.speed,
            may_mix: self.job.may_mix,
        };
        attempt.allow(url)?;
        if self.job.window.is_none() && url.path_in_image().is_some() {
            let why = "this build does not read ISO images (feature iso)";
            return Err(Failure::Other(why.into()));
        }
        self.download.sink().set_source(url);
        match url.scheme() {
            Scheme::Tftp if self.job.window.is_some() => {
                return Err(Failure::NoParts("TFTP has no parts of files".into()));
            }
            Scheme::Tftp => {
                // TFTP has no way to ask for a part of a file.
                self.download.restart().map_err(other)?;
                tftp::get(&attempt, self.download.sink())?;
            }
            Scheme::Http | Scheme::Https => http::get(&attempt, &mut self.download)?,
        }
        self.hashing = self.download.sink().complete().map_err(other)?;
        Ok(())
    }

    /// Returns what this failure means for the next attempt.
    fn ending(&mut self, failure: &Failure) -> AttemptEnd {
        let received = self.download.received();
        // If any byte counted as progress, a server could hold up a fetch for ever.
        let is_new = received >= self.most_received.saturating_add(PROGRESS_LEN);
        if is_new {
            self.most_received = received;
        }
        match failure {
            Failure::Passing(_) if !is_new => AttemptEnd::Fruitless,
            Failure::Passing(_) => {
                if self.download.is_resumable() && !self.job.may_mix {
                    AttemptEnd::Own
                } else {
                    AttemptEnd::Shared
                }
            }
            #[cfg(feature = "root")]
            Failure::Challenge(_) => AttemptEnd::Hopeless,
            Failure::Missing(_)
            | Failure::NoParts(_)
            | Failure::Verification(_)
            | Failure::Other(_) => AttemptEnd::Hopeless,
        }
    }
}

impl Fetcher {
    /// Makes attempts until a server has delivered the file into `store`, in this process.
    ///
    /// # Errors
    /// The last failure.
    pub(super) fn obtain_here(
        &self,
        job: &Job,
        store: &dyn Store,
        progress: &mut Progress,
        hashes: Hashes,
    ) -> Result<Obtained, FetchRefusal> {
        let begun = Delivery::begin(self, job, store, progress, hashes);
        let mut delivery = begun.map_err(|error| (None, other(error)))?;
        let mut is_there = true;
        let mut no_parts = None;
        let taken = self.first_of(
            &job.addresses,
            &mut |url, turn| match delivery.run(url, turn) {
                Err((_, Failure::Missing(why))) if job.may_lack => {
                    log::debug!("{url}: {why}");
                    is_there = false;
                    Ok(())
                }
                Err((end, Failure::NoParts(why))) => {
                    no_parts = Some(why.to_string());
                    Err((end, Failure::NoParts(why)))
                }
                taken => taken,
            },
        );
        let server = taken.map_err(|(at, failure)| match no_parts {
            // The image can be had whole, wherever else a part could not.
            Some(why) => (at, Failure::NoParts(why.into())),
            None => (at, failure),
        })?;
        Ok(Obtained {
            server,
            is_there,
            is_mixed: delivery.is_mixed(),
            validator: delivery.validator(),
            len: 0,
            hashing: delivery.into_hashing(),
        })
    }
}
