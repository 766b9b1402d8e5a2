//! A file on its way into its store, from whichever server gives it.
//!
//! What one server has begun another ends only where the whole is judged by a hash or a signature. If
//! it does not stand that, nobody knows whose part was wrong, and each has to give it whole.

use std::io;
use std::time::Duration;

use super::http::Download;
use super::progress::{Board, Style};
use super::sink::{Sink, Store};
use super::turns::{Ending, Turn};
use super::{Failure, Fetcher, http, other, signed, tftp, unverified};
use wireboot_proto::text::url::{Scheme, Sha256, Url};
use wireboot_proto::time::LeastRate;

pub(super) struct Delivery<'a> {
    fetcher: &'a Fetcher,
    what: What,
    max_len: u64,
    /// Where the file is, the servers in the order of their turns.
    addresses: &'a [Url],
    store: &'a dyn Store,
    download: Download<'a>,
    /// How many octets of it were here when that was enough to be called progress.
    most: u64,
    /// Whether one server may go on where another broke off, as far as is known.
    may_mix: bool,
}

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    File,
    /// Nobody lists or signs signatures, nor is shown how they come.
    Signature,
}

/// How one server is asked for a file.
pub(super) struct Visit<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) url: &'a Url,
    /// The most octets that the file may have.
    pub(super) max_len: u64,
    /// How long the server may be silent.
    pub(super) patience: Duration,
    /// Whether this server may go on behind what came from others.
    pub(super) may_mix: bool,
}

impl<'a> Delivery<'a> {
    /// Begins with nothing of what is at all of these addresses and has `max_len` octets at most.
    pub(super) fn begin(
        fetcher: &'a Fetcher,
        what: What,
        max_len: u64,
        addresses: &'a [Url],
        store: &'a dyn Store,
    ) -> Self {
        let progress = match what {
            What::File => fetcher.board.begin(),
            What::Signature => Board::new(Style::Silent).begin(),
        };
        Self {
            fetcher,
            what,
            max_len,
            addresses,
            store,
            download: Download::new(Sink::new(store, progress)),
            most: 0,
            may_mix: true,
        }
    }

    /// Has one of the servers give what is missing.
    ///
    /// # Errors
    /// Why the file is not there and whole, and how the turn ended by that.
    pub(super) fn take(&mut self, url: &Url, turn: &Turn) -> Result<(), (Ending, Failure)> {
        let timeline = &self.fetcher.timeline;
        timeline.note(format!("{url}: asked for"));
        let came = self.visit(url, turn);
        let what = if came.is_ok() { "whole" } else { "failed" };
        timeline.note(format!("{url}: {what}"));
        came.map_err(|failure| match self.ending(url, &failure) {
            Ok(ending) => (ending, failure),
            Err(error) => (Ending::Hopeless, other(error)),
        })
    }

    fn visit(&mut self, url: &Url, turn: &Turn) -> Result<(), Failure> {
        let fetcher = self.fetcher;
        fetcher.allow(url)?;
        let pin = self.pin(url)?;
        if pin.is_some() {
            self.download.sink().hash().map_err(other)?;
        }
        let visit = Visit {
            fetcher,
            url,
            max_len: self.max_len,
            patience: turn.patience,
            may_mix: self.mixes(url),
        };
        self.download.sink().is_from(url);
        match url.scheme() {
            Scheme::Tftp => {
                // Always from the beginning.
                self.download.restart().map_err(other)?;
                tftp::get(&visit, self.download.sink())?;
            }
            Scheme::Http | Scheme::Https => http::get(&visit, &mut self.download)?,
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
            let mut signatures = Vec::new();
            for url in self.addresses {
                signatures.push(signed::signature_of(url)?);
            }
            // The one beside this very file comes first.
            signatures.swap(0, turn.server);
            fetcher.is_signed(&signatures, self.store.file(), &fetcher.keys)?;
        }
        self.download.sink().finish();
        Ok(())
    }

    /// Returns how a turn ended with this failure.
    ///
    /// # Errors
    /// What came cannot be taken away again.
    fn ending(&mut self, url: &Url, failure: &Failure) -> io::Result<Ending> {
        let received = self.download.received();
        // A little more each time would be another way to hold a fetch for ever.
        let is_new = received >= self.most.saturating_add(LeastRate::BYTES);
        if is_new {
            self.most = received;
        }
        Ok(match failure {
            Failure::Passing(_) if !is_new => Ending::Fruitless,
            Failure::Passing(_) => match self.download.is_known_again() && !self.mixes(url) {
                true => Ending::Own,
                false => Ending::Shared,
            },
            Failure::Verification(_) => {
                let is_mixed = self.download.is_mixed();
                self.may_mix &= !is_mixed;
                self.download.restart()?;
                match is_mixed {
                    true => Ending::Own,
                    false => Ending::Hopeless,
                }
            }
            Failure::Missing(_) | Failure::Other(_) => Ending::Hopeless,
        })
    }

    /// Returns the hash that the file must have; what the URL itself asks for counts.
    fn pin(&self, url: &Url) -> Result<Option<Sha256>, Failure> {
        match (url.sha256(), self.what, &self.fetcher.sums) {
            (Some(pin), _, _) => Ok(Some(pin)),
            (None, What::File, Some(sums)) => {
                let name = url.plain_file_name();
                let sum = sums.of(&name).map_err(|fault| unverified(&fault))?;
                Ok(Some(sum))
            }
            (None, What::File, None) | (None, What::Signature, _) => Ok(None),
        }
    }

    /// Whether the server of `url` may go on behind what is from another.
    fn mixes(&self, url: &Url) -> bool {
        let is_judged = self.needs_signature() || matches!(self.pin(url), Ok(Some(_)));
        self.may_mix && is_judged
    }

    fn needs_signature(&self) -> bool {
        let Fetcher { keys, sums, .. } = self.fetcher;
        self.what == What::File && !keys.is_empty() && sums.is_none()
    }
}
