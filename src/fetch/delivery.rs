//! The delivery of a file into its store, from whichever server has it.
//!
//! One server continues what another has begun only where the complete file is checked by a hash or
//! a signature. If that check fails, it is not known whose part was wrong, and from then on each
//! server has to send the complete file.

use std::io;
use std::ops::Range;

use super::download::{Attempt, Download};
use super::failure::{Failure, other, unverified};
use super::fetcher::Fetcher;
use super::progress::{Board, Style};
use super::rotation::{AttemptEnd, NextServer};
use super::sink::{Sink, Store};
use super::{http, tftp};
use crate::sys::hashing::Hashing;
use wireboot_proto::text::url::{Scheme, Sha256, Url};

/// How much an attempt must add to be more than fruitless: what the least speed is by default, in
/// the time for which it is measured.
const PROGRESS_LEN: u64 = 15 << 10;

pub(super) struct Delivery<'a> {
    fetcher: &'a Fetcher,
    what: DeliveryKind,
    max_len: u64,
    /// The bytes of the file that are wanted; all when none.
    window: Option<Range<u64>>,
    download: Download<'a>,
    /// Bytes received when an attempt last counted as progress.
    most_received: u64,
    /// Whether one server may continue where another broke off, unless the file is not checked.
    may_mix: bool,
    /// The hash of the complete file, where somebody wants one.
    hashing: Option<Hashing>,
}

/// Checks the complete file against its signature, after a successful transfer.
type Verify<'v> = &'v mut dyn FnMut(&NextServer) -> Result<(), Failure>;

/// The kind of file that is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeliveryKind {
    File,
    /// What is read of an image to find a file in it; no progress display.
    #[cfg_attr(
        not(feature = "iso"),
        allow(dead_code, reason = "only images are read by parts")
    )]
    Directory,
    /// Signatures are neither listed nor signed, and have no progress display.
    Signature,
}

impl<'a> Delivery<'a> {
    /// Prepares the delivery of a file of `max_len` bytes at most.
    pub(super) fn begin(
        fetcher: &'a Fetcher,
        what: DeliveryKind,
        max_len: u64,
        store: &'a dyn Store,
    ) -> Self {
        let progress = match what {
            DeliveryKind::File => fetcher.board.begin(),
            DeliveryKind::Directory | DeliveryKind::Signature => Board::new(Style::Silent).begin(),
        };
        let mut sink = Sink::new(store, progress);
        if fetcher.hashes && what == DeliveryKind::File {
            sink.hash_if_long();
        }
        Self {
            fetcher,
            what,
            max_len,
            window: None,
            download: Download::new(sink),
            most_received: 0,
            may_mix: true,
            hashing: None,
        }
    }

    /// Returns the hash of the file, once that has been fetched.
    pub(super) fn into_hashing(self) -> Option<Hashing> {
        self.hashing
    }

    /// Returns the delivery of these bytes of the file alone, for the file inside of an image that they
    /// are.
    #[cfg_attr(
        not(feature = "iso"),
        allow(dead_code, reason = "only images are read by parts")
    )]
    pub(super) fn within(self, window: Range<u64>) -> Self {
        Self {
            window: Some(window),
            ..self
        }
    }

    /// Returns where the file came from, and by what the server there tells it from another.
    #[cfg_attr(
        not(feature = "iso"),
        allow(dead_code, reason = "only images are read by parts")
    )]
    pub(super) fn validator(&self) -> Option<(Url, String)> {
        self.download.validator()
    }

    /// Fetches what is missing from one of the servers.
    ///
    /// # Errors
    /// The failure, and what it means for the next attempt.
    pub(super) fn run(
        &mut self,
        url: &Url,
        turn: &NextServer,
        verify: Verify<'_>,
    ) -> Result<(), (AttemptEnd, Failure)> {
        let timeline = &self.fetcher.timeline;
        timeline.note(format!("{url}: asked for"));
        let result = self.attempt(url, turn, verify);
        let what = if result.is_ok() { "whole" } else { "failed" };
        timeline.note(format!("{url}: {what}"));
        result.map_err(|failure| match self.ending(url, &failure) {
            Ok(ending) => (ending, failure),
            Err(error) => (AttemptEnd::Hopeless, other(error)),
        })
    }

    fn attempt(&mut self, url: &Url, turn: &NextServer, verify: Verify<'_>) -> Result<(), Failure> {
        let attempt = Attempt {
            access: &self.fetcher.access,
            idle: &self.fetcher.idle,
            policy: &self.fetcher.policy,
            url,
            window: self.window.clone(),
            max_len: self.max_len,
            patience: turn.patience,
            stall_timeout: self.fetcher.stall_timeout,
            speed: self.fetcher.speed,
            may_mix: self.mixes(url),
        };
        attempt.allow(url)?;
        if self.window.is_none() && url.path_in_image().is_some() {
            let why = "this build does not read ISO images (feature iso)";
            return Err(Failure::Other(why.into()));
        }
        let pin = self.pin(url)?;
        if pin.is_some() {
            self.download.sink().hash().map_err(other)?;
        }
        self.download.sink().set_source(url);
        match url.scheme() {
            Scheme::Tftp if self.window.is_some() => {
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
        if let Some(expected) = pin {
            let found = self.hashing.as_mut().map(Hashing::finish);
            let found = found.transpose().map_err(other)?;
            let found = found.map(|found| found.sha256);
            if found != pin {
                let found = found.map_or_else(|| "unknown".to_owned(), |found| found.to_string());
                let why = format!("its SHA-256 is {found}, expected {expected}");
                return Err(Failure::Verification(why));
            }
        }
        if self.needs_signature() {
            verify(turn)?;
        }
        self.download.sink().finish();
        Ok(())
    }

    /// Returns what this failure means for the next attempt.
    ///
    /// # Errors
    /// The file cannot be truncated.
    fn ending(&mut self, url: &Url, failure: &Failure) -> io::Result<AttemptEnd> {
        let received = self.download.received();
        // If any byte counted as progress, a server could hold up a fetch for ever.
        let is_new = received >= self.most_received.saturating_add(PROGRESS_LEN);
        if is_new {
            self.most_received = received;
        }
        Ok(match failure {
            Failure::Passing(_) if !is_new => AttemptEnd::Fruitless,
            Failure::Passing(_) => {
                if self.download.is_resumable() && !self.mixes(url) {
                    AttemptEnd::Own
                } else {
                    AttemptEnd::Shared
                }
            }
            Failure::Verification(_) => {
                let is_mixed = self.download.is_mixed();
                self.may_mix &= !is_mixed;
                self.download.restart()?;
                if is_mixed {
                    AttemptEnd::Own
                } else {
                    AttemptEnd::Hopeless
                }
            }
            Failure::Missing(_) | Failure::NoParts(_) | Failure::Other(_) => AttemptEnd::Hopeless,
        })
    }

    /// Returns the hash that the file must have; one in the URL takes precedence over the list of
    /// hashes.
    fn pin(&self, url: &Url) -> Result<Option<Sha256>, Failure> {
        // Lists and signatures are about images, not about the files in them.
        let sums = self.fetcher.sums.as_ref().filter(|_| self.window.is_none());
        match (url.sha256(), self.what, sums) {
            (Some(pin), _, _) => Ok(Some(pin)),
            (None, DeliveryKind::File, Some(sums)) => {
                let name = url.plain_file_name();
                let sum = sums.of(&name).map_err(|fault| unverified(&fault))?;
                Ok(Some(sum))
            }
            (None, DeliveryKind::File, None)
            | (None, DeliveryKind::Directory | DeliveryKind::Signature, _) => Ok(None),
        }
    }

    /// Returns whether the server of `url` may continue what another has begun.
    fn mixes(&self, url: &Url) -> bool {
        let is_judged = self.needs_signature() || matches!(self.pin(url), Ok(Some(_)));
        self.may_mix && is_judged
    }

    fn needs_signature(&self) -> bool {
        let Fetcher { keys, sums, .. } = self.fetcher;
        let is_file = self.what == DeliveryKind::File && self.window.is_none();
        is_file && !keys.is_empty() && sums.is_none()
    }
}
