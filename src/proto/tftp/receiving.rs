//! The blocks that come, and what is acknowledged of them.

use super::blocks::Place;
use super::{Config, Discard, Due, Event, Failure, Get, Piece, State};
use crate::packet::tftp::ErrorCode;
use crate::time::Instant;

impl Get {
    pub(super) fn handle_data<'d>(
        &mut self,
        block: u16,
        data: &'d [u8],
        now: Instant,
    ) -> Result<Piece<'d>, Discard> {
        let State::Receiving(receipt) = &mut self.state else {
            return Err(Discard::Unexpected);
        };
        if data.len() > usize::from(receipt.terms.block_len) {
            return Err(Discard::Oversize);
        }
        let is_repeating = self.round_trip.repetitions() > 0;
        let may_be_ahead = is_repeating || receipt.was_ahead;
        let skipped = match receipt.blocks.place(block, may_be_ahead) {
            Place::Next => 0,
            // The server took an acknowledgment that was sent ahead of the block, or takes any.
            Place::Ahead(distance) if receipt.terms.window == 1 => distance,
            Place::Ahead(distance) => {
                let is_new_round = receipt.ahead.is_none_or(|seen| distance <= seen);
                receipt.ahead = Some(distance);
                self.retransmit_at = now + self.round_trip.timeout();
                if is_new_round && receipt.is_lossy() {
                    let server = receipt.server;
                    let farewell = (ErrorCode::NOT_DEFINED, "asking again for a smaller window");
                    self.end(server, Failure::Lossy, Some(farewell));
                } else if is_new_round {
                    self.acknowledge_gap(now);
                }
                return Err(Discard::Gap);
            }
            Place::Last => return Err(self.handle_duplicate(now)),
            Place::Elsewhere => {
                self.note_second_answer();
                return Err(Discard::Duplicate);
            }
        };
        let at = receipt.position() + u64::from(skipped) * u64::from(receipt.terms.block_len);
        receipt.advance(skipped, is_repeating, now);
        let end = at + data.len() as u64;
        let is_last = data.len() < usize::from(receipt.terms.block_len);
        let window_is_full = receipt.in_window >= receipt.terms.window;
        let server = receipt.server;
        let announced = receipt.announced_len;

        self.round_trip.answered(now);
        self.heard(now);
        self.rate.count(data.len(), now);
        self.retransmit_at = now + self.round_trip.timeout();
        if let Err((failure, farewell)) = self.config.check_len(announced, end, is_last) {
            self.end(server, failure, Some(farewell));
            return Ok(Piece::NONE);
        }
        let is_new = !self.config.received.contains(at..end);
        self.config.received.insert(at..end);
        if is_last {
            self.acknowledge(now);
            self.state = State::Ended { server };
            let missing = end - self.config.received.count();
            self.events.push(match missing {
                0 => Event::Done,
                _ => Event::Failed(Failure::Holes { missing }),
            });
        } else if window_is_full {
            self.go_on(now);
        }
        match is_new {
            true => Ok(Piece { at, octets: data }),
            false => Ok(Piece::NONE),
        }
    }

    /// Acknowledges the window that has come, and what need not come again.
    fn go_on(&mut self, now: Instant) {
        let State::Receiving(receipt) = &mut self.state else {
            return;
        };
        let was_acknowledged = receipt.passed_over > 0;
        receipt.hurry(&self.config.received);
        if !was_acknowledged {
            self.round_trip.sent(now);
            self.acknowledge(now);
        }
    }

    /// Says again what has come, in case the server did not hear it; and acknowledges more than that
    /// thereafter, in case it did and what it sent thereupon was lost.
    pub(super) fn repeat_acknowledgment(&mut self, now: Instant) {
        let State::Receiving(receipt) = &mut self.state else {
            return;
        };
        if let Some(ahead) = receipt.next_of_sweep() {
            self.due = Some(Due::Acknowledgment(receipt.blocks.acknowledged(ahead)));
        } else {
            self.round_trip.repeated();
            receipt.search(self.round_trip.repetitions(), &self.config.received, now);
            receipt.is_repeated = true;
            self.acknowledge(now);
        }
        if let State::Receiving(receipt) = &self.state {
            let wait = match receipt.sweep.is_empty() {
                true => self.round_trip.timeout(),
                false => self.round_trip.pace(),
            };
            self.retransmit_at = now + wait;
        }
    }

    /// Repeats the acknowledgment if the last one is so old that it must have been lost.
    pub(super) fn handle_duplicate(&mut self, now: Instant) -> Discard {
        self.note_second_answer();
        if let State::Receiving(receipt) = &self.state
            && now >= receipt.acknowledged_at + self.round_trip.timeout()
        {
            self.acknowledge(now);
        }
        Discard::Duplicate
    }

    /// Waits longer from now on if the last acknowledgment went out twice and both were heard.
    fn note_second_answer(&mut self) {
        if let State::Receiving(receipt) = &mut self.state
            && core::mem::take(&mut receipt.is_repeated)
        {
            self.round_trip.was_too_early();
        }
    }

    /// Acknowledges all that has come, which begins a new window.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        let State::Receiving(receipt) = &mut self.state else {
            return;
        };
        receipt.ahead = None;
        self.acknowledge_gap(now);
    }

    fn acknowledge_gap(&mut self, now: Instant) {
        let State::Receiving(receipt) = &mut self.state else {
            return;
        };
        receipt.in_window = 0;
        receipt.rounds += 1;
        receipt.acknowledged_at = now;
        self.due = Some(Due::Acknowledgment(receipt.blocks.acknowledged(0)));
        self.retransmit_at = now + self.round_trip.timeout();
    }
}

impl Config {
    /// Checks the length that a file has by a block that ends at `end`.
    fn check_len(
        &self,
        announced: Option<u64>,
        end: u64,
        is_last: bool,
    ) -> Result<(), (Failure, (ErrorCode, &'static str))> {
        if end > self.max_len {
            let limit = self.max_len;
            let farewell = (ErrorCode::DISK_FULL, "file too large");
            return Err((Failure::TooLarge { limit }, farewell));
        }
        if let Some(announced) = announced
            && (end > announced || is_last && announced != end)
        {
            let received = end;
            let farewell = (ErrorCode::NOT_DEFINED, "not the announced length");
            let failure = Failure::WrongLen {
                announced,
                received,
            };
            return Err((failure, farewell));
        }
        let before = self.received.end();
        if is_last && end < before {
            let farewell = (ErrorCode::NOT_DEFINED, "file changed");
            return Err((Failure::Changed { before, now: end }, farewell));
        }
        Ok(())
    }
}
