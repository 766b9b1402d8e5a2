//! Block numbers of 16 bits, for files with more blocks than that.
//!
//! RFC 1350 ends at block 65535. Servers go on with 0 (RFC 7440 errata and most servers) or with 1;
//! the first numbers after 65535 show which of the two. Within a window a 1 may also mean that
//! block 0 was lost, and only some numbers are proof then (see [`Blocks::place`]).

/// The position of a block relative to those received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockPosition {
    /// The next block.
    Next,
    /// Inside the window, with blocks missing before it; how many.
    Ahead(u16),
    /// The last received block, again.
    Last,
    /// Older, or outside the window.
    Elsewhere,
}

/// The block number after 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RollOver {
    ToZero,
    ToOne,
}

/// Counts the blocks received in order.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Blocks received, which is the number of the last one without roll-over.
    count: u64,
    window: u16,
    roll_over: Option<RollOver>,
    /// How often a 1 was seen where 0 or 1 was due.
    ones: u8,
}

/// How many blocks a server without windows may be ahead: twice the longest burst of
/// acknowledgments.
pub(super) const MOST_AHEAD: u16 = 64;
/// At 30 % loss, 8 windows in a row lose the same block once in 15,000 cases.
const CONVINCING_ONES: u8 = 8;

impl Blocks {
    pub(super) const fn new(window: u16) -> Self {
        Self {
            count: 0,
            window,
            roll_over: None,
            ones: 0,
        }
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Advances by this number of blocks.
    pub(super) fn advance(&mut self, by: u16) {
        self.count += u64::from(by);
    }

    /// Returns the block number that acknowledges all received blocks and `ahead` more.
    pub(super) fn acknowledged(&self, ahead: u16) -> u16 {
        self.on_wire(self.count + u64::from(ahead))
    }

    /// Returns how many of the next blocks, up to `most`, have numbers that are known before they
    /// are received.
    pub(super) fn known_numbers(&self, most: u16) -> u16 {
        match (self.roll_over, u16::try_from(self.count)) {
            (None, Ok(count)) => most.min(u16::MAX - count),
            (None, Err(_)) | (Some(RollOver::ToZero | RollOver::ToOne), _) => most,
        }
    }

    /// Returns the position of the block numbered `number`; `may_be_ahead` when the server may have
    /// received more than one acknowledgment since the last block.
    ///
    /// When the roll-over is next and its kind unknown, 0 proves one kind. All of the next window
    /// lies behind 65535 then, so its last number is the window size only if it goes on with 1.
    /// Without windows a 1 is proof by itself; but a server that sends a block for every
    /// acknowledgment may have sent it after a lost 0, and then it does not arrive twice.
    pub(super) fn place(&mut self, number: u16, may_be_ahead: bool) -> BlockPosition {
        if self.count == 65_535 && self.roll_over.is_none() {
            match number {
                0 => self.roll_over = Some(RollOver::ToZero),
                1 => {
                    self.ones += 1;
                    let enough = match (self.window, may_be_ahead) {
                        (1, false) => 1,
                        (1, true) => 2,
                        _ => CONVINCING_ONES,
                    };
                    if self.ones >= enough {
                        self.roll_over = Some(RollOver::ToOne);
                    } else if self.window == 1 {
                        return BlockPosition::Elsewhere;
                    }
                }
                2..MOST_AHEAD if self.window == 1 => self.roll_over = Some(RollOver::ToZero),
                _ if number == self.window => self.roll_over = Some(RollOver::ToOne),
                _ => {}
            }
        }
        let due = self.on_wire(self.count + 1);
        let distance = match self.roll_over {
            Some(RollOver::ToOne) if number == 0 => return BlockPosition::Elsewhere,
            // Counting from 1 leaves out 0, so the distance over the end is one less than modulo
            // 65536.
            Some(RollOver::ToOne) if number < due => number + (u16::MAX - due),
            _ => number.wrapping_sub(due),
        };
        let reach = match self.window {
            1 => MOST_AHEAD,
            window => window,
        };
        match distance {
            0 => BlockPosition::Next,
            // Before the first block, 0 acknowledges the options and is no block.
            _ if self.count > 0 && number == self.acknowledged(0) => BlockPosition::Last,
            _ if distance < reach => BlockPosition::Ahead(distance),
            _ => BlockPosition::Elsewhere,
        }
    }

    fn on_wire(&self, count: u64) -> u16 {
        let number = match self.roll_over {
            Some(RollOver::ToOne) if count > 0 => (count - 1) % 65_535 + 1,
            _ => count % 65_536,
        };
        // Both arms are below 65,536.
        u16::try_from(number).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(count: u64, window: u16) -> Blocks {
        let mut blocks = Blocks::new(window);
        blocks.count = count;
        blocks
    }

    #[test]
    fn without_windows_the_number_after_65535_tells_the_roll_over() {
        for first in [0, 1] {
            let mut blocks = at(65_534, 1);
            for number in [65_535, first, first + 1] {
                assert_eq!(blocks.place(number, false), BlockPosition::Next, "{first}");
                blocks.advance(1);
                assert_eq!(blocks.acknowledged(0), number);
            }
        }
    }

    #[test]
    fn after_a_repetition_a_one_means_that_zero_was_lost_until_it_comes_again() {
        let mut blocks = at(65_535, 1);
        assert_eq!(blocks.place(1, true), BlockPosition::Elsewhere);
        assert_eq!(blocks.place(1, true), BlockPosition::Next);
        let mut blocks = at(65_535, 1);
        assert_eq!(blocks.place(1, true), BlockPosition::Elsewhere);
        assert_eq!(blocks.place(2, true), BlockPosition::Ahead(2));
        blocks.advance(3);
        assert_eq!(blocks.acknowledged(0), 2);
    }

    #[test]
    fn in_a_window_a_one_means_that_zero_was_lost_until_the_window_proves_otherwise() {
        let mut blocks = at(65_535, 4);
        assert_eq!(blocks.place(1, false), BlockPosition::Ahead(1));
        assert_eq!(blocks.place(3, false), BlockPosition::Ahead(3));
        assert_eq!(blocks.place(0, false), BlockPosition::Next);
        blocks.advance(1);
        assert_eq!(blocks.place(1, false), BlockPosition::Next);

        let mut blocks = at(65_535, 4);
        assert_eq!(blocks.place(1, false), BlockPosition::Ahead(1));
        assert_eq!(blocks.place(4, false), BlockPosition::Ahead(3));
        assert_eq!(blocks.place(1, false), BlockPosition::Next);
        blocks.advance(1);
        assert_eq!(blocks.acknowledged(0), 1);
        assert_eq!(blocks.place(0, false), BlockPosition::Elsewhere);
    }

    #[test]
    fn the_end_of_a_file_right_behind_a_roll_over_to_one_is_reached() {
        let mut blocks = at(65_535, 16);
        let rounds = (1..20).find(|_| blocks.place(1, false) == BlockPosition::Next);
        assert_eq!(rounds, Some(usize::from(CONVINCING_ONES)));
    }

    #[test]
    fn both_kinds_go_round_many_times() {
        for (kind, period) in [(RollOver::ToZero, 65_536), (RollOver::ToOne, 65_535)] {
            let mut blocks = at(65_535, 8);
            blocks.roll_over = Some(kind);
            for _ in 0..3 * period {
                let due = blocks.on_wire(blocks.count + 1);
                let last = blocks.acknowledged(0);
                let ahead = blocks.on_wire(blocks.count + 4);
                assert_eq!(blocks.place(last, false), BlockPosition::Last);
                assert_eq!(
                    blocks.place(ahead, false),
                    BlockPosition::Ahead(3),
                    "{kind:?} {due}"
                );
                assert_eq!(blocks.place(due, false), BlockPosition::Next);
                blocks.advance(1);
            }
        }
    }
}
