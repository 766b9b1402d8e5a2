//! The retransmission of one message until it is answered (RFC 8415 §15).

use core::time::Duration;

use crate::packet::dhcpv6::MessageType;
use crate::time::{Instant, Random};

/// The random part of a delay, in percent of it (RFC 8415 §15).
const JITTER_PERCENT: u32 = 10;

/// How long somebody waits for an answer, who waits for the machine.
const ATTENDED_TIME: Duration = Duration::from_secs(60);

/// How a message is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first delay (IRT).
    pub first: Duration,
    /// The longest delay (MRT).
    pub longest: Duration,
    /// The longest delay in the first minute, which may be shorter.
    pub longest_at_first: Duration,
}

impl Pace {
    /// The pace of what a boot waits for: that of RFC 8415 §7.6 and RFC 7559 §2 once nobody waits any more.
    pub const BOOTING: Self = Self {
        first: Duration::from_millis(500),
        longest: Duration::from_secs(3600),
        longest_at_first: Duration::from_secs(16),
    };

    /// Returns a pace by which delays are doubled from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            longest_at_first: longest,
        }
    }

    /// Returns the delay after a message that is sent `elapsed` after the first one, and whose predecessor was
    /// followed by `before`.
    pub fn delay(
        self,
        before: Option<Duration>,
        elapsed: Duration,
        random: &mut Random,
    ) -> Duration {
        let first = self.first;
        let Some(before) = before else {
            // The first delay of SOLICIT is never shortened (RFC 8415 §18.2.1), and no other needs to be.
            return random.between(first, first + first / 100 * JITTER_PERCENT);
        };
        let longest = if elapsed < ATTENDED_TIME {
            self.longest_at_first
        } else {
            self.longest
        };
        let doubled = before + random.jitter(before, JITTER_PERCENT);
        if doubled > longest {
            random.jitter(longest, JITTER_PERCENT)
        } else {
            doubled
        }
    }
}

/// A message that is repeated.
#[derive(Debug)]
pub struct Exchange {
    /// Its type.
    pub kind: MessageType,
    /// Its number, the same for all repetitions (RFC 8415 §16.1).
    pub transaction: [u8; 3],
    /// When it was sent first.
    began_at: Option<Instant>,
    /// How often it was sent.
    pub sent: u32,
    pub(super) next_at: Instant,
    delay: Option<Duration>,
    pub(super) pace: Pace,
}

impl Exchange {
    /// Begins an exchange, whose first message is due at once.
    pub fn begin(kind: MessageType, pace: Pace, now: Instant, random: &mut Random) -> Self {
        let [a, b, c, ..] = random.next_u64().to_be_bytes();
        Self {
            kind,
            transaction: [a, b, c],
            began_at: None,
            sent: 0,
            next_at: now,
            delay: None,
            pace,
        }
    }

    /// Counts a message that is sent now, and sets when the next is due. Returns hundredths of a second
    /// since the first, for option 8 (RFC 8415 §21.9).
    pub fn handle_sent(&mut self, now: Instant, random: &mut Random) -> u16 {
        let began_at = *self.began_at.get_or_insert(now);
        self.sent += 1;
        let elapsed = now.since(began_at);
        let delay = self.pace.delay(self.delay, elapsed, random);
        self.delay = Some(delay);
        self.next_at = now + delay;
        let hundredths = elapsed.as_millis() / 10;
        // RFC 8415 §21.9: 0xffff stands for everything longer.
        u16::try_from(hundredths).unwrap_or(u16::MAX)
    }
}
