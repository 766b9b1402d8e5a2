//! The missing parts of a file, as spans that are each fetched by one connection.
//!
//! A connection that joins gets the upper half of the largest span, whose owner then stops where
//! that begins: so the speed of each connection need not be known in advance.

/// The smallest half of a span, in bytes: 17 ms at a gigabit, so that the round trips of a new
/// connection pay.
const SMALLEST: u64 = 2 << 20;

/// Identifies a connection's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId(u32);

/// The missing spans in file order, none empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spans {
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
    pub(super) fn new() -> Self {
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
    pub(super) fn claim(&mut self) -> Option<SpanId> {
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
    pub(super) fn next(&self, id: SpanId) -> Option<u64> {
        let span = self.spans.iter().find(|span| span.id == id)?;
        Some(span.next)
    }

    /// Returns where a span ends; none while that is unknown, or when it is complete.
    pub(super) fn end(&self, id: SpanId) -> Option<u64> {
        let span = self.spans.iter().find(|span| span.id == id)?;
        (span.end < u64::MAX).then_some(span.end)
    }

    /// Sets the length of the file.
    pub(super) fn set_len(&mut self, len: u64) {
        if let Some(last) = self.spans.last_mut()
            && last.end == u64::MAX
        {
            // More may have been received than is announced now.
            last.end = len.max(last.next);
        }
        self.spans.retain(|span| span.left() > 0);
    }

    /// Records `len` received bytes for a span; returns how many of them lie within it.
    pub(super) fn advance(&mut self, id: SpanId, len: usize) -> usize {
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
    pub(super) fn finish(&mut self, id: SpanId) {
        self.spans
            .retain(|span| span.id != id || span.end < u64::MAX);
    }

    /// Frees a span. It is merged into the one before where they touch, since that one's owner can
    /// continue.
    pub(super) fn release(&mut self, id: SpanId) {
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
    pub(super) fn restart(&mut self, id: SpanId) {
        self.spans = vec![Span {
            id,
            next: 0,
            end: u64::MAX,
            is_taken: true,
        }];
    }

    /// Restarts the file as one free span.
    pub(super) fn forget(&mut self) {
        // A new one, since connections that are not over yet still write under the old.
        self.last_id += 1;
        self.restart(SpanId(self.last_id));
        self.release(SpanId(self.last_id));
    }

    /// Returns how many bytes are missing, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
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
