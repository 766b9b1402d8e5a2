//! When a message is sent, and sent again.

use core::time::Duration;

use crate::time::{Backoff, Instant, Random};

// RFC 2131 §4.1 recommends 4 s at first and 64 s at most; here a machine waits for the answer.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(16);
/// How often a delay is used before it doubles.
const EACH_DELAY: u32 = 3;
/// RENEWING and REBINDING wait half of the remaining time, but never less (RFC 2131 §4.4.5).
const SHORTEST_EXTENSION: Duration = Duration::from_secs(60);
/// What keeps leases of a few seconds from making a flood.
const SHORTEST: Duration = Duration::from_secs(1);

/// A message that is due now, and again later until it is answered.
#[derive(Debug, Clone)]
pub(super) struct Resend {
    backoff: Backoff,
    next_at: Instant,
    sent_at: Instant,
    sent: u32,
    is_due: bool,
}

impl Resend {
    /// A message that is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            is_due: true,
            ..Self::later(now)
        }
    }

    /// A message that is due at `next_at`.
    pub(super) const fn later(next_at: Instant) -> Self {
        Self {
            backoff: Backoff::new(FIRST, LONGEST),
            next_at,
            sent_at: next_at,
            sent: 0,
            is_due: false,
        }
    }

    /// Makes the message due when its time is reached.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.is_due |= now >= self.next_at;
    }

    /// Takes the message for sending; the next time is a backoff away.
    pub(super) fn take(&mut self, now: Instant, random: &mut Random) -> bool {
        if !self.is_due {
            return false;
        }
        // Where a third of all packets are lost in both directions, one exchange in sixty would take
        // longer than half a minute if each delay doubled.
        let delay = if self.sent % EACH_DELAY == EACH_DELAY - 1 {
            self.backoff.next_delay(random)
        } else {
            self.backoff.delay(random)
        };
        self.taken(now, delay);
        true
    }

    /// Takes the message for sending; the next time is after half of what remains until `end_at`,
    /// or a minute when that is more (RFC 2131 §4.4.5) and still leaves a second try.
    pub(super) fn take_halving(&mut self, now: Instant, end_at: Option<Instant>) -> bool {
        if !self.is_due {
            return false;
        }
        // A lease of two minutes has 45 s from T1 to T2, less than the minute of the RFC.
        let delay = match end_at.map(|end_at| end_at.since(now)) {
            Some(remaining) => (remaining / 2).max(SHORTEST_EXTENSION.min(remaining / 3)),
            None => SHORTEST_EXTENSION,
        };
        self.taken(now, delay.max(SHORTEST));
        true
    }

    fn taken(&mut self, now: Instant, delay: Duration) {
        self.is_due = false;
        self.sent = self.sent.saturating_add(1);
        self.sent_at = now;
        self.next_at = now + delay;
    }

    /// Returns whether it is due and has not been sent yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.is_due && self.sent == 0
    }

    /// How often it has been sent.
    pub(super) const fn sent(&self) -> u32 {
        self.sent
    }

    /// Returns whether the answers may not pass here as unicasts to an address that nobody has yet, through
    /// a switch or an access point: after two messages without one.
    pub(super) const fn lacks_answer(&self) -> bool {
        self.sent >= 2
    }

    /// Returns whether the last of `most` messages has been waited for in vain.
    pub(super) fn is_spent(&self, now: Instant, most: u32) -> bool {
        now >= self.next_at && self.sent >= most
    }

    /// When it was sent last, or became due for the first time.
    pub(super) const fn sent_at(&self) -> Instant {
        self.sent_at
    }

    /// Leaves the turn to others. When these are answered, the short interval holds again after it.
    pub(super) const fn postpone(&mut self, next_at: Instant, are_answered: bool) {
        if are_answered {
            self.backoff.reset();
        }
        self.next_at = next_at;
    }

    pub(super) const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Makes it due at once and goes back to the short interval: the link has changed.
    pub(super) const fn restart(&mut self, now: Instant) {
        self.backoff.reset();
        self.next_at = now;
        self.is_due = true;
    }
}
