//! A file on its way into its store, from whichever server gives it.
//!
//! DeliveryKind one server has begun another ends only where the whole is judged by a hash or a signature. If
//! it does not stand that, nobody knows whose part was wrong, and each has to give it whole.

use std::io;

use super::download::{Attempt, Download};
use super::failure::{Failure, other, unverified};
use super::fetcher::Fetcher;
use super::progress::{Board, Style};
use super::rotation::{AttemptEnd, NextServer};
use super::sink::{Sink, Store};
use super::{http, tftp};
use crate::account;
use wireboot_proto::text::url::{Scheme, Sha256, Url};
use wireboot_proto::time::LeastRate;

pub(super) struct Delivery<'a> {
    fetcher: &'a Fetcher,
    what: DeliveryKind,
    max_len: u64,
    download: Download<'a>,
    /// How many bytes of it were here when that was enough to be called progress.
    most_received: u64,
    /// Whether one server may go on where another broke off, as far as is known.
    may_mix: bool,
}

/// Checks the whole file against a signature, after a turn that brought it.
type Verify<'v> = &'v mut dyn FnMut(&NextServer) -> Result<(), Failure>;

/// DeliveryKind is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeliveryKind {
    File,
    /// Nobody lists or signs signatures, nor is shown how they come.
    Signature,
}

impl<'a> Delivery<'a> {
    /// Begins with nothing of a file of `max_len` bytes at most.
    pub(super) fn begin(
        fetcher: &'a Fetcher,
        what: DeliveryKind,
        max_len: u64,
        store: &'a dyn Store,
    ) -> Self {
        let progress = match what {
            DeliveryKind::File => fetcher.board.begin(),
            DeliveryKind::Signature => Board::new(Style::Silent).begin(),
        };
        Self {
            fetcher,
            what,
            max_len,
            download: Download::new(Sink::new(store, progress)),
            most_received: 0,
            may_mix: true,
        }
    }

    /// Has one of the servers give what is missing.
    ///
    /// # Errors
    /// Why the file is not there and whole, and how the turn ended by that.
    pub(super) fn run(
        &mut self,
        url: &Url,
        turn: &NextServer,
        verify: Verify<'_>,
    ) -> Result<(), (AttemptEnd, Failure)> {
        account::note(format!("{url}: asked for"));
        let result = self.attempt(url, turn, verify);
        let what = if result.is_ok() { "whole" } else { "failed" };
        account::note(format!("{url}: {what}"));
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
            max_len: self.max_len,
            patience: turn.patience,
            stall_timeout: self.fetcher.stall_timeout,
            may_mix: self.mixes(url),
        };
        attempt.allow(url)?;
        let pin = self.pin(url)?;
        if pin.is_some() {
            self.download.sink().hash().map_err(other)?;
        }
        self.download.sink().set_source(url);
        match url.scheme() {
            Scheme::Tftp => {
                // Always from the beginning.
                self.download.restart().map_err(other)?;
                tftp::get(&attempt, self.download.sink())?;
            }
            Scheme::Http | Scheme::Https => http::get(&attempt, &mut self.download)?,
        }
        let found = self.download.sink().complete().map_err(other)?;
        if let Some(expected) = pin
            && found != pin
        {
            let found = found.map_or_else(|| "unknown".to_owned(), |found| found.to_string());
            let why = format!("its SHA-256 is {found} and should be {expected}");
            return Err(Failure::Verification(why));
        }
        if self.needs_signature() {
            verify(turn)?;
        }
        self.download.sink().finish();
        Ok(())
    }

    /// Returns how a turn ended with this failure.
    ///
    /// # Errors
    /// DeliveryKind came cannot be taken away again.
    fn ending(&mut self, url: &Url, failure: &Failure) -> io::Result<AttemptEnd> {
        let received = self.download.received();
        // A little more each time would be another way to hold a fetch for ever.
        let is_new = received >= self.most_received.saturating_add(LeastRate::BYTES);
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
            Failure::Missing(_) | Failure::Other(_) => AttemptEnd::Hopeless,
        })
    }

    /// Returns the hash that the file must have; what the URL itself asks for counts.
    fn pin(&self, url: &Url) -> Result<Option<Sha256>, Failure> {
        match (url.sha256(), self.what, &self.fetcher.sums) {
            (Some(pin), _, _) => Ok(Some(pin)),
            (None, DeliveryKind::File, Some(sums)) => {
                let name = url.plain_file_name();
                let sum = sums.of(&name).map_err(|fault| unverified(&fault))?;
                Ok(Some(sum))
            }
            (None, DeliveryKind::File, None) | (None, DeliveryKind::Signature, _) => Ok(None),
        }
    }

    /// Whether the server of `url` may go on behind what is from another.
    fn mixes(&self, url: &Url) -> bool {
        let is_judged = self.needs_signature() || matches!(self.pin(url), Ok(Some(_)));
        self.may_mix && is_judged
    }

    fn needs_signature(&self) -> bool {
        let Fetcher { keys, sums, .. } = self.fetcher;
        self.what == DeliveryKind::File && !keys.is_empty() && sums.is_none()
    }
}
