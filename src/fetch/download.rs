//! A file being downloaded, over one connection or several, from one server after the other.

mod spans;

#[cfg(fuzzing)]
pub use spans::fuzz;

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::access::ServerAccess;
use super::connection::IdleConnections;
use super::failure::Failure;
use super::sink::Sink;
pub(super) use spans::SpanId;
use spans::Spans;
use wireboot_proto::http::{BodyStart, Resume};
use wireboot_proto::text::url::Url;
use wireboot_proto::time::{Instant, SpeedLimit};
use wireboot_proto::trust::policy::Policy;

/// One attempt to fetch a file from one server.
pub(super) struct Attempt<'a> {
    pub(super) access: &'a ServerAccess,
    pub(super) idle: &'a IdleConnections,
    pub(super) policy: &'a Policy,
    pub(super) url: &'a Url,
    /// The bytes of the file that are wanted; all when none.
    pub(super) window: Option<Range<u64>>,
    /// The longest that the file may be, in bytes.
    pub(super) max_len: u64,
    /// How long the server may be silent this time.
    pub(super) patience: Duration,
    /// The speed below which the server is given up.
    pub(super) speed: SpeedLimit,
    /// How long a server may be silent when there is no other.
    pub(super) stall_timeout: Duration,
    /// Whether this server may continue a file that another server began.
    pub(super) may_mix: bool,
}

impl Attempt<'_> {
    /// Checks that the policy allows this address.
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
    /// Length of the whole file, in bytes.
    len: Option<u64>,
    /// None while what is received cannot be continued.
    source: Option<ResumeSource>,
    /// All connections are to stop.
    is_over: bool,
}

/// The server that sent what has been received.
struct ResumeSource {
    url: Url,
    /// Entity tag or date with which the server checks that it continues the same file.
    validator: Option<String>,
    /// Whether parts may be of different files, since no server has checked.
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

    /// Discards everything received.
    ///
    /// # Errors
    /// The file cannot be truncated.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.spans.forget();
        (self.len, self.source) = (None, None);
        match self.sink.len() {
            0 => Ok(()),
            _ => self.sink.restart(),
        }
    }

    /// Returns the sink, for bytes that are not received by HTTP.
    pub(super) const fn sink(&mut self) -> &mut Sink<'s> {
        &mut self.sink
    }

    /// Returns whether the server can check that it continues the same file.
    pub(super) fn is_resumable(&self) -> bool {
        let mut source = self.source.iter();
        source.any(|source| source.validator.is_some())
    }

    /// Returns where the file came from, after redirections, and by what the server there tells it from
    /// another at the same address.
    #[cfg_attr(
        not(feature = "iso"),
        allow(dead_code, reason = "only images are read by parts")
    )]
    pub(super) fn validator(&self) -> Option<(Url, String)> {
        let source = self.source.as_ref()?;
        Some((source.url.clone(), source.validator.clone()?))
    }

    /// Returns whether parts may be of different files.
    pub(super) fn is_mixed(&self) -> bool {
        self.source.iter().any(|source| source.is_mixed)
    }

    /// Returns how many bytes have been received.
    pub(super) const fn received(&self) -> u64 {
        self.sink.len()
    }

    /// Lets connections begin.
    ///
    /// # Errors
    /// The file cannot be truncated.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.is_over = false;
        match self.source {
            Some(_) => Ok(()),
            None => self.restart(),
        }
    }

    /// Claims a span to fetch, and returns where it ends if that is before the end of the file; none when there
    /// is none at the moment.
    pub(super) fn claim(&mut self) -> Option<(SpanId, Option<u64>)> {
        if self.is_over {
            return None;
        }
        let span = self.spans.claim()?;
        let end = self.spans.end(span).filter(|end| Some(*end) != self.len);
        Some((span, end))
    }

    /// Returns the range request for `url` that continues `span`, up to `end` if that is given: where that
    /// server can check that the file is the same, or where it `may_mix`. None when only the whole file can
    /// be requested.
    pub(super) fn resume(
        &self,
        (span, end): (SpanId, Option<u64>),
        url: &Url,
        may_mix: bool,
    ) -> Option<Resume> {
        let len = self.spans.next(span).filter(|next| *next > 0)?;
        let source = self.source.as_ref()?;
        // An entity tag means something to its own server only (RFC 9110 §8.8.3).
        let validator = source.validator.clone().filter(|_| source.url == *url);
        (validator.is_some() || may_mix).then_some(Resume {
            len,
            end,
            validator,
        })
    }

    /// Handles the head of an answer from `url` for `span`, which was requested as `resume` says.
    /// An answer with the whole file restarts the download, unless the connection has `joined`
    /// others. Returns false when the answer is about another file.
    ///
    /// # Errors
    /// There is not enough memory or disk space for the file.
    pub(super) fn start(
        &mut self,
        span: SpanId,
        mut start: BodyStart,
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
            // Of a part that is requested up to its end the server may not know the length of the whole.
            start.len = start.len.or(self.len);
            if self.len.is_some() && start.len != self.len {
                return Ok(false);
            }
            let own = source.filter(|source| source.url == *url);
            let known_by = own.and_then(|source| source.validator.clone());
            is_mixed = self.is_mixed() || known_by.is_none();
            validator = validator.or(known_by);
        } else if self.sink.len() > 0 {
            // 200 where 206 was asked for: another file by now, or no ranges here (RFC 9110
            // §13.1.5).
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

    /// Writes the next bytes of `span`, and ignores bytes beyond its end.
    ///
    /// # Errors
    /// The bytes cannot be written.
    pub(super) fn write(&mut self, span: SpanId, bytes: &[u8]) -> io::Result<()> {
        let Some(at) = self.spans.next(span) else {
            return Ok(());
        };
        let len = self.spans.advance(span, bytes.len());
        self.sink.write_at(at, bytes.get(..len).unwrap_or_default())
    }

    /// Returns whether bytes of `span` are still missing in front of `end`, or of its own end.
    pub(super) fn lacks(&self, span: SpanId, end: Option<u64>) -> bool {
        let next = self.spans.next(span).filter(|_| !self.is_over);
        next.is_some_and(|next| end.is_none_or(|end| next < end))
    }

    /// Returns whether bytes of `span` are still missing.
    pub(super) fn wants(&self, span: SpanId) -> bool {
        self.lacks(span, None)
    }

    /// Notes that the server has sent the file to its end.
    pub(super) fn finish(&mut self, span: SpanId) {
        self.spans.finish(span);
    }

    /// Returns the rest of `span`, for other connections.
    pub(super) fn release(&mut self, span: SpanId) {
        self.spans.release(span);
    }

    /// Stops all connections.
    pub(super) const fn abandon(&mut self) {
        self.is_over = true;
    }

    /// Returns how many bytes are missing, where that is known and they can be requested in parts.
    pub(super) fn divisible(&self) -> Option<u64> {
        self.spans.left().filter(|_| self.is_resumable())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.spans.left() == Some(0)
    }

    /// Updates the progress display.
    pub(super) fn show(&mut self, now: Instant) {
        self.sink.show(now);
    }
}
