//! The received part of a transfer, and what it shows about losses on the path.

use crate::prelude::*;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use super::blocks::{Blocks, MOST_AHEAD};
use super::terms::Terms;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Reception {
    pub(super) server: SocketAddr,
    pub(super) terms: Terms,
    pub(super) announced_len: Option<u64>,
    pub(super) blocks: Blocks,
    /// Blocks behind the last received one that were acknowledged ahead of receiving them.
    pub(super) passed_over: u16,
    /// The most that this has been since the last block, as an acknowledgment may have been lost.
    farthest: u16,
    /// Blocks behind the last received one to acknowledge at once.
    pub(super) burst: Range<u16>,
    /// Blocks to acknowledge one by one, until one is answered.
    pub(super) sweep: Range<u16>,
    /// Whether the server has been ahead once, without windows.
    pub(super) was_ahead: bool,
    /// Blocks since the last acknowledgment.
    pub(super) in_window: u16,
    /// The last block received behind a gap, in this window.
    pub(super) ahead: Option<u16>,
    pub(super) acknowledged_at: Instant,
    /// Whether the last acknowledgment was sent twice, and not both were answered yet.
    pub(super) is_repeated: bool,
    /// Acknowledgments sent, for estimating the loss.
    pub(super) rounds: u32,
    started_at: Instant,
    /// When the last expected block was received.
    advanced_at: Instant,
    /// Time spent waiting for late blocks, and their number.
    waited: Duration,
    late: u32,
}

/// After this number of late blocks their share is taken as typical; one or two may be chance.
// On a path that loses one packet in ten, judging later cost half a minute before the first skip.
const LATE_ENOUGH: u32 = 3;
/// Windows received before their loss is judged.
const ROUNDS_TO_JUDGE: u32 = 32;
/// Less than this may be fetched again for a better window, where the length is unknown: a quarter
/// of a typical kernel.
const CHEAP_TO_REPEAT: u64 = 4 << 20;

impl Reception {
    pub(super) fn new(server: SocketAddr, terms: Terms, len: Option<u64>, now: Instant) -> Self {
        Self {
            server,
            terms,
            // Some servers return the 0 of the request.
            announced_len: len.filter(|len| *len > 0),
            blocks: Blocks::new(terms.window),
            passed_over: 0,
            farthest: 0,
            burst: 0..0,
            sweep: 0..0,
            was_ahead: false,
            in_window: 0,
            ahead: None,
            acknowledged_at: now,
            is_repeated: false,
            rounds: 0,
            started_at: now,
            advanced_at: now,
            waited: Duration::ZERO,
            late: 0,
        }
    }

    /// Returns the position of the next block in the file.
    pub(super) fn position(&self) -> u64 {
        self.blocks.count() * u64::from(self.terms.block_len)
    }

    /// Returns how many blocks are left of a window that has begun, and of the file; or 1.
    pub(super) fn rest_of_window(&self) -> u16 {
        let block_len = u64::from(self.terms.block_len);
        let rest_of_file = match self.announced_len {
            // A file that ends with a whole block has an empty one behind it.
            Some(len) => len.saturating_sub(self.position()) / block_len + 1,
            None => u64::MAX,
        };
        let rest = match self.in_window {
            0 => 1,
            come => self.terms.window.saturating_sub(come).max(1),
        };
        u16::try_from(rest_of_file).map_or(rest, |blocks| rest.min(blocks))
    }

    /// Records a block, with `skipped` missing blocks before it; `was_late` when the acknowledgment
    /// before it had to be repeated.
    pub(super) fn advance(&mut self, skipped: u16, was_late: bool, now: Instant) {
        self.blocks.advance(skipped + 1);
        self.was_ahead |= skipped > 0;
        if was_late {
            // Most servers without windows repeat a lost block by their own timer, after 1 to 2 s.
            self.waited += now.since(self.advanced_at);
            self.late += 1;
        }
        self.advanced_at = now;
        self.passed_over = self.passed_over.saturating_sub(skipped + 1);
        self.farthest = self.farthest.saturating_sub(skipped + 1);
        (self.burst, self.sweep) = (0..0, 0..0);
        self.ahead = None;
        self.in_window += 1;
    }

    /// Acknowledges in a burst the next blocks that earlier requests have received: a server
    /// without windows handles one acknowledgment after the other, and its blocks need not be
    /// waited for. At most `most`, which fills no queue of the path.
    pub(super) fn hurry(&mut self, received: &ByteRanges, most: u16) {
        let known = self.known_ahead(received).min(most).max(self.passed_over);
        // With this and shorter waits, 64 MiB at 10 % loss take 41 s from tftpd-hpa, not over 140
        // s.
        self.burst = self.passed_over + 1..known + 1;
        self.passed_over = known;
    }

    /// Returns the next block number of the burst.
    pub(super) fn next_of_burst(&mut self) -> Option<u16> {
        let ahead = self.burst.next()?;
        Some(self.blocks.acknowledged(ahead))
    }

    /// Starts a sweep to find the server's block after `round` unanswered acknowledgments: it
    /// accepts only that of the block it has sent.
    pub(super) fn search(&mut self, round: u32, received: &ByteRanges, now: Instant) {
        self.farthest = self.farthest.max(self.passed_over);
        self.passed_over = 0;
        let known = self.known_ahead(received);
        let may_go_on = self.farthest < known || self.may_pass_over(self.farthest + 1, now);
        let reach = self.farthest + u16::from(may_go_on);
        self.sweep = 1..reach.min(u16::try_from(round).unwrap_or(u16::MAX)) + 1;
    }

    /// Returns the next step of the sweep, as the number of blocks that it skips.
    pub(super) fn next_of_sweep(&mut self) -> Option<u16> {
        self.passed_over = self.sweep.next()?;
        Some(self.passed_over)
    }

    /// Returns how many of the next blocks were received before and may be acknowledged unseen; not
    /// the last block, which ends the transfer.
    fn known_ahead(&self, received: &ByteRanges) -> u16 {
        let Some(len) = self.announced_len.filter(|_| self.terms.window == 1) else {
            return 0;
        };
        let position = self.position();
        let known = received
            .reach_from(position)
            .min(len)
            .saturating_sub(position);
        let blocks = known / u64::from(self.terms.block_len);
        let most = u16::try_from(blocks).unwrap_or(u16::MAX);
        // Half, so that a lost answer still leaves the server within what counts as ahead.
        self.blocks.known_numbers(most.min(MOST_AHEAD / 2))
    }

    /// Returns whether to skip the next `ahead` blocks: another pass over the file takes less time
    /// than waiting for lost blocks. The last block, which ends the transfer, is never skipped.
    fn may_pass_over(&self, ahead: u16, now: Instant) -> bool {
        let (position, block_len) = (self.position(), u64::from(self.terms.block_len));
        let Some(len) = self.announced_len else {
            return false;
        };
        if self.terms.window > 1
            || ahead > MOST_AHEAD / 2
            // Nothing has been received yet, so what another pass would cost is unknown.
            || position == 0
            || position + u64::from(ahead) * block_len > len
            // Behind block 65535 a number is a guess until the server has shown how it goes on.
            || self.blocks.known_numbers(ahead) < ahead
        {
            return false;
        }
        let waited = self.waited + now.since(self.advanced_at);
        let took = now.since(self.started_at).saturating_sub(waited);
        // Waiting has taken longer than another pass over the file would, or will have by the end
        // at this rate.
        let passed = waited.as_nanos().saturating_mul(position.into());
        let has_cost = passed > took.as_nanos().saturating_mul(len.into());
        // Before, 64 MiB with one packet in a hundred lost took a quarter of an hour.
        has_cost || self.late >= LATE_ENOUGH && waited > took
    }

    /// Returns whether a smaller window would be faster: less than a quarter of each window arrives
    /// in order, and little has been received yet.
    pub(super) fn is_lossy(&self) -> bool {
        let useful = self.blocks.count() / u64::from(self.rounds.max(1));
        let cheap = match self.announced_len {
            Some(len) => self.position() < len / 4,
            None => self.position() < CHEAP_TO_REPEAT,
        };
        self.rounds >= ROUNDS_TO_JUDGE
            && self.terms.window > 1
            && useful < u64::from(self.terms.window) / 4
            && cheap
    }
}

/// A set of bytes of a file, as ranges that neither touch nor overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ByteRanges(Vec<Range<u64>>);

impl ByteRanges {
    /// Adds a range.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // Merges the ranges that it touches; mostly that is the last one.
        let first = self.0.partition_point(|known| known.end < start);
        let behind = self.0.partition_point(|known| known.start <= end);
        for touched in self.0.drain(first..behind) {
            (start, end) = (start.min(touched.start), end.max(touched.end));
        }
        self.0.insert(first, start..end);
    }

    /// Returns whether all of `range` is in the set.
    pub fn contains(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.reach_from(range.start) >= range.end
    }

    /// Returns the end of the range that contains `start`; `start` itself when there is none.
    pub fn reach_from(&self, start: u64) -> u64 {
        let behind = self.0.partition_point(|known| known.start <= start);
        let before = self.0.get(..behind).and_then(<[_]>::last);
        before.map_or(start, |known| start.max(known.end))
    }

    /// Returns how many bytes are in the set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|known| known.end - known.start).sum()
    }

    /// Returns the end of the last range.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |known| known.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one_and_holes_stay() {
        let mut extents = ByteRanges::default();
        extents.insert(0..10);
        extents.insert(20..30);
        extents.insert(40..50);
        extents.insert(7..7);
        assert_eq!((extents.count(), extents.end()), (30, 50));
        assert!(extents.contains(20..30) && extents.contains(15..15));
        assert_eq!(
            [5, 10, 15, 20].map(|start| extents.reach_from(start)),
            [10, 10, 15, 30]
        );
        for missing in [9..11, 10..20, 19..20, 25..45, 50..51] {
            assert!(!extents.contains(missing.clone()), "{missing:?}");
        }
        extents.insert(30..40);
        assert!(extents.contains(20..50));
        extents.insert(5..60);
        let mut whole = ByteRanges::default();
        whole.insert(0..60);
        assert_eq!(extents, whole);
    }
}
