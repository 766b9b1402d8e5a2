//! What has come of a transfer, and what that says about the path.

use std::net::SocketAddr;
use std::time::Duration;

use super::blocks::Blocks;
use super::{Extents, Terms};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) server: SocketAddr,
    pub(super) terms: Terms,
    pub(super) announced_len: Option<u64>,
    pub(super) blocks: Blocks,
    /// So many blocks behind the last that came have been acknowledged in vain, to get on.
    pub(super) passed_over: u16,
    /// Blocks since the last acknowledgment.
    pub(super) in_window: u16,
    /// The furthest block behind the gap that this round of the server has shown.
    pub(super) ahead: Option<u16>,
    pub(super) acknowledged_at: Instant,
    /// An acknowledgment went out twice, and it is not yet known that both were heard.
    pub(super) is_repeated: bool,
    /// Acknowledgments sent, by which the loss is judged.
    pub(super) rounds: u32,
    started_at: Instant,
    /// When a block came that was due.
    advanced_at: Instant,
    /// How long was waited for blocks beyond their time, and for how many.
    waited: Duration,
    late: u32,
}

/// So many late blocks tell how many more are to be expected.
const LATE_ENOUGH: u32 = 3;
/// After so many rounds it is judged whether the window suits the path.
const ROUNDS_TO_JUDGE: u32 = 32;
/// Fewer octets than this are received again for a better window, where the length is unknown.
const CHEAP_TO_REPEAT: u64 = 4 << 20;

impl Receipt {
    pub(super) fn new(server: SocketAddr, terms: Terms, len: Option<u64>, now: Instant) -> Self {
        Self {
            server,
            terms,
            // Some servers send the 0 of the request back.
            announced_len: len.filter(|len| *len > 0),
            blocks: Blocks::new(terms.window),
            passed_over: 0,
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

    /// Returns where in the file the next block begins.
    pub(super) fn position(&self) -> u64 {
        self.blocks.count() * u64::from(self.terms.block_len)
    }

    /// Returns how many blocks are left of a window that has begun to come, and of the file; or 1.
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

    /// Takes the block that was due; `was_late` when it had to be asked for again.
    pub(super) fn advance(&mut self, was_late: bool, now: Instant) {
        self.blocks.advance(1);
        if was_late {
            self.waited += now.since(self.advanced_at);
            self.late += 1;
        }
        self.advanced_at = now;
        self.passed_over = 0;
        self.ahead = None;
        self.in_window += 1;
    }

    /// Returns whether the next `ahead` blocks may be passed over: another pass over the file costs
    /// less than the waiting for lost blocks, and the last block is none of them, since the
    /// transfer ends with it.
    pub(super) fn may_pass_over(&self, ahead: u16, received: &Extents, now: Instant) -> bool {
        let (position, block_len) = (self.position(), u64::from(self.terms.block_len));
        let Some(len) = self.announced_len else {
            return false;
        };
        if self.terms.window > 1
            || position + u64::from(ahead) * block_len > len
            || !self.blocks.knows_numbers_of_next(ahead)
        {
            return false;
        }
        let has_it = received.contains(position..position + block_len);
        let waited = self.waited + now.since(self.advanced_at);
        let took = now.since(self.started_at).saturating_sub(waited);
        // Whether waiting has taken longer than another pass over the file would, or will have by the
        // end if it goes on so.
        let costs_more = || {
            let passed = waited.as_nanos().saturating_mul(position.into());
            let has_cost = passed > took.as_nanos().saturating_mul(len.into());
            has_cost || self.late >= LATE_ENOUGH && waited > took
        };
        has_it || position > 0 && costs_more()
    }

    /// Returns whether a smaller window would do better: less than a quarter of each is of use, and
    /// what has come is little.
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
