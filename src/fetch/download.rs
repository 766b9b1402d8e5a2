//! A file on its way, over one connection or several, from one server after the other.

mod spans;

use std::io;
use std::time::Duration;

use super::access::ServerAccess;
use super::connection::IdleConnections;
use super::failure::Failure;
use super::sink::Sink;
pub(super) use spans::SpanId;
use spans::Spans;
use wireboot_proto::http::{BodyStart, Resume};
use wireboot_proto::text::url::Url;
use wireboot_proto::time::Instant;
use wireboot_proto::trust::policy::Policy;

/// How one server is asked for a file.
pub(super) struct Attempt<'a> {
    pub(super) access: &'a ServerAccess,
    pub(super) idle: &'a IdleConnections,
    pub(super) policy: &'a Policy,
    pub(super) url: &'a Url,
    /// The most bytes that the file may have.
    pub(super) max_len: u64,
    /// How long the server may be silent this time.
    pub(super) patience: Duration,
    /// How long a server may be silent when there is no other.
    pub(super) stall_timeout: Duration,
    /// Whether this server may go on behind what came from others.
    pub(super) may_mix: bool,
}

impl Attempt<'_> {
    /// Makes sure that the policy allows this address.
    pub(super) fn allow(&self, url: &Url) -> Result<(), Failure> {
        match self.policy.refusal(url) {
            Some(why) => Err(Failure::Verification(why)),
            None => Ok(()),
        }
    }
}

pub(super) struct Download<'s> {
    sink: Sink<'s>,
    spans: Spans,
    /// Of the whole file, bytes.
    len: Option<u64>,
    /// None where what has come cannot be gone on with.
    source: Option<ResumeSource>,
    /// Nobody is to fetch anything any more.
    is_over: bool,
}

/// Where what has come is from.
struct ResumeSource {
    url: Url,
    /// By what the server there makes sure that it is the same file that goes on.
    validator: Option<String>,
    /// Whether no server vouches that all of it is of one file.
    is_mixed: bool,
}

impl<'s> Download<'s> {
    pub(super) fn new(sink: Sink<'s>) -> Self {
        Self {
            sink,
            spans: Spans::new(),
            len: None,
            source: None,
            is_over: false,
        }
    }

    /// Forgets all that has come.
    ///
    /// # Errors
    /// It cannot be taken away again.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.spans.forget();
        (self.len, self.source) = (None, None);
        match self.sink.len() {
            0 => Ok(()),
            _ => self.sink.restart(),
        }
    }

    /// Returns where bytes go that are not from HTTP.
    pub(super) const fn sink(&mut self) -> &mut Sink<'s> {
        &mut self.sink
    }

    /// Whether the server that gave what has come knows that again.
    pub(super) fn is_resumable(&self) -> bool {
        let mut source = self.source.iter();
        source.any(|source| source.validator.is_some())
    }

    /// Whether parts of it may be of different files.
    pub(super) fn is_mixed(&self) -> bool {
        self.source.iter().any(|source| source.is_mixed)
    }

    /// Bytes that have come.
    pub(super) const fn received(&self) -> u64 {
        self.sink.len()
    }

    /// Has connections begin.
    ///
    /// # Errors
    /// What came from elsewhere cannot be taken away again.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.is_over = false;
        match self.source {
            Some(_) => Ok(()),
            None => self.restart(),
        }
    }

    /// Takes a span that is to be fetched; none when there is none at the moment.
    pub(super) fn claim(&mut self) -> Option<SpanId> {
        if self.is_over {
            None
        } else {
            self.spans.claim()
        }
    }

    /// Returns what to ask for at `url` so that `span` goes on: behind what that server knows again,
    /// or behind whatever has come where it `may_mix`. None when only the whole file can be had.
    pub(super) fn resume(&self, span: SpanId, url: &Url, may_mix: bool) -> Option<Resume> {
        let len = self.spans.next(span).filter(|next| *next > 0)?;
        let source = self.source.as_ref()?;
        let validator = source.validator.clone().filter(|_| source.url == *url);
        (validator.is_some() || may_mix).then_some(Resume { len, validator })
    }

    /// Takes notice of an answer from `url` for `span`, which was asked for as `resume` says. One for
    /// the whole file has all come again; a connection that has joined others may not do so. Returns
    /// false when the answer is of no use, since it is of another file.
    ///
    /// # Errors
    /// There is no room for the file.
    pub(super) fn start(
        &mut self,
        span: SpanId,
        start: BodyStart,
        url: &Url,
        joined: bool,
    ) -> io::Result<bool> {
        let goes_on = start.from > 0 && self.spans.next(span) == Some(start.from);
        let source = self.source.as_ref();
        if joined {
            let validator = source.and_then(|source| source.validator.as_ref());
            let is_same = start.len == self.len && start.validator.as_ref() == validator;
            return Ok(goes_on && is_same);
        }
        let mut is_mixed = false;
        let mut validator = start.validator;
        if goes_on {
            if self.len.is_some() && start.len != self.len {
                return Ok(false);
            }
            let own = source.filter(|source| source.url == *url);
            let known_by = own.and_then(|source| source.validator.clone());
            is_mixed = self.is_mixed() || known_by.is_none();
            validator = validator.or(known_by);
        } else if self.sink.len() > 0 {
            self.sink.restart()?;
            self.spans.restart(span);
        }
        self.sink.expect(start.len)?;
        if let Some(len) = start.len {
            self.spans.set_len(len);
        }
        self.len = start.len;
        self.source = Some(ResumeSource {
            url: url.clone(),
            validator,
            is_mixed,
        });
        Ok(true)
    }

    /// Takes the next bytes of `span`, and leaves what is beyond it.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn write(&mut self, span: SpanId, bytes: &[u8]) -> io::Result<()> {
        let Some(at) = self.spans.next(span) else {
            return Ok(());
        };
        let len = self.spans.advance(span, bytes.len());
        self.sink.write_at(at, bytes.get(..len).unwrap_or_default())
    }

    /// Returns whether more is wanted of `span`.
    pub(super) fn wants(&self, span: SpanId) -> bool {
        !self.is_over && self.spans.next(span).is_some()
    }

    /// Takes notice that the server has sent the file to its end.
    pub(super) fn finish(&mut self, span: SpanId) {
        self.spans.finish(span);
    }

    /// Leaves what is missing of `span` to others.
    pub(super) fn release(&mut self, span: SpanId) {
        self.spans.release(span);
    }

    /// Has all connections end.
    pub(super) const fn abandon(&mut self) {
        self.is_over = true;
    }

    /// Bytes that are still to come, where that is known and they may be asked for in parts.
    pub(super) fn divisible(&self) -> Option<u64> {
        self.spans.left().filter(|_| self.is_resumable())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.spans.left() == Some(0)
    }

    /// Shows how far it has got.
    pub(super) fn show(&mut self, now: Instant) {
        self.sink.show(now);
    }
}
