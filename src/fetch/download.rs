//! A file being downloaded, over one connection or several, from one server after the other.
//!
//! What is missing of it is in spans, each fetched by one connection. One that joins gets the upper half of
//! the largest span, whose owner then stops where that begins: so the speed of each connection need not be
//! known in advance.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::access::ServerAccess;
use super::connection::IdleConnections;
use super::failure::Failure;
use super::sink::Sink;
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
            // RFC 9110 §15.3.7.3: parts of another version are none of this file, though a server without
            // If-Range sends them. An entity tag says nothing about a date.
            let is_tag = |validator: &String| validator.starts_with('"');
            if let (Some(before), Some(now)) = (&known_by, &validator)
                && is_tag(before) == is_tag(now)
                && before != now
            {
                return Ok(false);
            }
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

/// The smallest half of a span, in bytes: 17 ms at a gigabit, so that the round trips of a new
/// connection pay.
const SMALLEST: u64 = 2 << 20;

/// Identifies a connection's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanId(u32);

/// The missing spans in file order, none empty.
#[derive(Debug, PartialEq, Eq)]
struct Spans {
    spans: Vec<Span>,
    last_id: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Span {
    id: SpanId,
    /// The next octet to come.
    next: u64,
    /// Position behind the last byte; `u64::MAX` while the length of the file is unknown.
    end: u64,
    is_taken: bool,
}

impl Span {
    const fn left(&self) -> u64 {
        self.end - self.next
    }
}

impl Spans {
    /// Begins with a file of unknown length.
    fn new() -> Self {
        let whole = Span {
            id: SpanId(0),
            next: 0,
            end: u64::MAX,
            is_taken: false,
        };
        Self {
            spans: vec![whole],
            last_id: 0,
        }
    }

    /// Claims a free span, or half of the largest; none when all are too small to halve.
    fn claim(&mut self) -> Option<SpanId> {
        if let Some(free) = self.spans.iter_mut().find(|span| !span.is_taken) {
            free.is_taken = true;
            return Some(free.id);
        }
        let known = self.spans.iter().enumerate();
        let known = known.filter(|(_, span)| span.end < u64::MAX);
        let (place, _) = known.max_by_key(|(_, span)| span.left())?;
        let largest = self.spans.get_mut(place)?;
        if largest.left() < 2 * SMALLEST {
            return None;
        }
        let middle = largest.next + largest.left() / 2;
        let end = std::mem::replace(&mut largest.end, middle);
        self.last_id += 1;
        let id = SpanId(self.last_id);
        let upper = Span {
            id,
            next: middle,
            end,
            is_taken: true,
        };
        self.spans.insert(place + 1, upper);
        Some(id)
    }

    /// Returns the position of the next missing byte of a span; none when it is complete or no
    /// longer exists.
    fn next(&self, id: SpanId) -> Option<u64> {
        let span = self.spans.iter().find(|span| span.id == id)?;
        Some(span.next)
    }

    /// Returns where a span ends; none while that is unknown, or when it is complete.
    fn end(&self, id: SpanId) -> Option<u64> {
        let span = self.spans.iter().find(|span| span.id == id)?;
        (span.end < u64::MAX).then_some(span.end)
    }

    /// Sets the length of the file.
    fn set_len(&mut self, len: u64) {
        if let Some(last) = self.spans.last_mut()
            && last.end == u64::MAX
        {
            // More may have been received than is announced now.
            last.end = len.max(last.next);
        }
        self.spans.retain(|span| span.left() > 0);
    }

    /// Records `len` received bytes for a span; returns how many of them lie within it.
    fn advance(&mut self, id: SpanId, len: usize) -> usize {
        let Some(place) = self.spans.iter().position(|span| span.id == id) else {
            return 0;
        };
        let Some(span) = self.spans.get_mut(place) else {
            return 0;
        };
        let len = usize::try_from(span.left()).map_or(len, |left| left.min(len));
        span.next += len as u64;
        if span.left() == 0 {
            self.spans.remove(place);
        }
        len
    }

    /// Records that a span of unknown length has ended.
    fn finish(&mut self, id: SpanId) {
        self.spans
            .retain(|span| span.id != id || span.end < u64::MAX);
    }

    /// Frees a span. It is merged into the one before where they touch, since that one's owner can
    /// continue.
    fn release(&mut self, id: SpanId) {
        let Some(place) = self.spans.iter().position(|span| span.id == id) else {
            return;
        };
        let (before, rest) = self.spans.split_at_mut(place);
        let Some(span) = rest.first_mut() else {
            return;
        };
        span.is_taken = false;
        if let Some(before) = before.last_mut()
            && before.end == span.next
        {
            before.end = span.end;
            self.spans.remove(place);
        }
    }

    /// Restarts the file as this one span; all other spans are gone.
    fn restart(&mut self, id: SpanId) {
        self.spans = vec![Span {
            id,
            next: 0,
            end: u64::MAX,
            is_taken: true,
        }];
    }

    /// Restarts the file as one free span.
    fn forget(&mut self) {
        // A new one, since connections that are not over yet still write under the old.
        self.last_id += 1;
        self.restart(SpanId(self.last_id));
        self.release(SpanId(self.last_id));
    }

    /// Returns how many bytes are missing, where that is known.
    fn left(&self) -> Option<u64> {
        let known = self.spans.iter().all(|span| span.end < u64::MAX);
        known.then(|| self.spans.iter().map(Span::left).sum())
    }
}

/// Lets connections fetch a file piece by piece, as `data` says: what they write has to be each byte of
/// the file once.
#[cfg(fuzzing)]
pub fn fuzz(mut data: &[u8]) {
    let mut next = || {
        let first = data.split_off_first().copied();
        first.map(u64::from)
    };
    let len = next().unwrap_or(0) << 19 | next().unwrap_or(0);
    let (mut spans, mut is_known) = (Spans::new(), false);
    // Who fetches, and what of the file has been written.
    let (mut owners, mut written) = (Vec::<SpanId>::new(), Vec::<(u64, u64)>::new());
    let mut write = |spans: &mut Spans, owner: SpanId, len: u64| {
        if let Some(at) = spans.next(owner) {
            let len = spans.advance(owner, usize::try_from(len).unwrap_or(usize::MAX));
            written.push((at, len as u64));
        }
    };
    while let (Some(action), Some(argument)) = (next(), next()) {
        let which = usize::try_from(argument).unwrap_or(0) % owners.len().max(1);
        match (action % 6, owners.get(which).copied()) {
            (0, _) => owners.extend(spans.claim()),
            (1, _) if !is_known => {
                spans.set_len(len);
                is_known = true;
            }
            // A server sends no more than the file has, once that is known.
            (2 | 3, Some(owner)) if is_known => write(&mut spans, owner, action << 12 | argument),
            (4, Some(owner)) => {
                spans.release(owner);
                owners.remove(which);
            }
            _ => {}
        }
    }
    if !is_known {
        spans.set_len(len);
    }
    owners.drain(..).for_each(|owner| spans.release(owner));
    for _ in 0..10_000 {
        let Some(owner) = spans.claim() else { break };
        write(&mut spans, owner, u64::MAX);
    }
    assert_eq!((spans.left(), spans.claim()), (Some(0), None));
    written.retain(|(_, len)| *len > 0);
    written.sort_unstable();
    let end = written.iter().fold(0, |at, (start, len)| {
        assert_eq!(*start, at);
        at + len
    });
    assert_eq!(end, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const MIB_LEN: usize = 1 << 20;

    #[test]
    fn every_octet_is_fetched_once_by_however_many() {
        let mut spans = Spans::new();
        let first = spans.claim().unwrap();
        assert_eq!((spans.claim(), spans.left()), (None, None));
        assert_eq!(spans.advance(first, MIB_LEN), MIB_LEN);
        spans.set_len(33 * MIB);
        let second = spans.claim().unwrap();
        assert_eq!(spans.next(second), Some(17 * MIB));
        let third = spans.claim().unwrap();
        assert_eq!(spans.next(third), Some(25 * MIB));
        assert_eq!(spans.left(), Some(32 * MIB));
        assert_eq!(spans.advance(first, 20 * MIB_LEN), 16 * MIB_LEN);
        assert_eq!((spans.next(first), spans.advance(first, 1)), (None, 0));
        assert_eq!(spans.left(), Some(16 * MIB));
        let fourth = spans.claim().unwrap();
        assert!([21 * MIB, 29 * MIB].contains(&spans.next(fourth).unwrap()));
        for id in [second, third, fourth] {
            while spans.advance(id, MIB_LEN) > 0 {}
        }
        assert_eq!((spans.left(), spans.claim()), (Some(0), None));
    }

    #[test]
    fn a_piece_given_back_becomes_part_of_the_one_before_or_is_the_next_to_be_taken() {
        let mut spans = Spans::new();
        let first = spans.claim().unwrap();
        spans.set_len(16 * MIB);
        let second = spans.claim().unwrap();
        spans.release(second);
        assert_eq!(spans.advance(first, 9 * MIB_LEN), 9 * MIB_LEN);
        let third = spans.claim().unwrap();
        let from = spans.next(third).unwrap();
        assert_eq!(spans.advance(third, 1), 1);
        spans.release(third);
        while spans.advance(first, MIB_LEN) > 0 {}
        assert_eq!(spans.claim(), Some(third));
        assert_eq!(spans.next(third), Some(from + 1));
    }

    #[test]
    fn small_pieces_and_those_of_unknown_length_are_not_halved() {
        let mut spans = Spans::new();
        let first = spans.claim().unwrap();
        assert_eq!(spans.claim(), None);
        spans.finish(first);
        assert_eq!(spans.left(), Some(0));
        let mut spans = Spans::new();
        spans.claim().unwrap();
        spans.set_len(2 * SMALLEST - 1);
        assert_eq!(spans.claim(), None);
    }

    #[test]
    fn a_file_that_begins_anew_is_one_piece_again() {
        let mut spans = Spans::new();
        let first = spans.claim().unwrap();
        spans.set_len(16 * MIB);
        let second = spans.claim().unwrap();
        spans.restart(first);
        assert_eq!(spans.next(first), Some(0));
        assert_eq!((spans.next(second), spans.advance(second, 7)), (None, 0));
        spans.release(second);
        spans.set_len(0);
        assert_eq!(spans.left(), Some(0));
    }
}
