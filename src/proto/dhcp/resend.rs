//! When a message is sent, and sent again: by a machine alone, and by one of many that are switched on
//! together.

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

/// Difference between DISCOVERs and REQUESTs that shows contention: this many were not answered, or sent
/// before the counts began.
// In the simulation, 10,000 clients of a server for 1,000 a second take 1.04 times the least time.
const CONTENTION: u32 = 4;
// Twice a second, so that a client sleeps through the broadcasts of others.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Minimum of the random time, in multiples of the wait so far. A late client counts few DISCOVERs, since
/// the others are silent while they wait.
const LEAST_SHARES: u64 = 16;
/// Reduction of the wait if every DISCOVER is answered, in percent.
const HASTE_PERCENT: u64 = 20;
/// Maximum extension of the wait, in milliseconds.
const LONGEST_WAIT: u64 = 120_000;

/// Broadcast requests of other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// DISCOVERs.
    pub discovers: u32,
    /// REQUESTs.
    pub requests: u32,
}

/// The backoff of one client among many that are switched on together, and a server that cannot answer all
/// of them at once.
///
/// Requests are broadcast, so that a client can count those of others, without being woken for them. A
/// client with an OFFER sends a REQUEST next: the rate of REQUESTs is the server's throughput, and the
/// ratio of DISCOVERs to REQUESTs its overload. Both hold on a segment with only a part of all machines,
/// and for servers of any speed.
///
/// A client without an answer, while others have none either, waits for a random time within that in
/// which all can be served at the observed rate. Meanwhile it reads the counts twice a second, and
/// extends its wait by the ratio of DISCOVERs to REQUESTs, or shortens it if there is no overload. A
/// client alone on its segment repeats at its usual interval.
#[derive(Debug, Clone)]
pub(super) struct Contention {
    observed_at: Instant,
    /// None while the client does not wait.
    slot_at: Option<Instant>,
}

impl Contention {
    /// Starts as the only client.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            observed_at: now,
            slot_at: None,
        }
    }

    /// Resets the wait: the segment may be another one.
    pub(super) const fn reset(&mut self) {
        self.slot_at = None;
    }

    /// Restarts the counts, while there is nothing to repeat.
    pub(super) const fn observe(&mut self, now: Instant) {
        self.observed_at = now;
    }

    /// Returns how long an unanswered message that is due has to wait before the next look at `counts`; none
    /// to send it.
    pub(super) fn wait(
        &mut self,
        counts: RequestCounts,
        now: Instant,
        random: &mut Random,
    ) -> Option<Duration> {
        let elapsed = millis(now.since(self.observed_at));
        self.observe(now);
        let wait = match self.slot_at.take() {
            None if counts.discovers.abs_diff(counts.requests) < CONTENTION => return None,
            // Without the wait, 10,000 machines repeated half a second later, and a tenth was
            // answered.
            None => {
                random.next_u64()
                    % counts
                        .shares()
                        .saturating_mul(elapsed)
                        .clamp(1, LONGEST_WAIT)
            }
            Some(slot_at) if now >= slot_at => return None,
            Some(slot_at) => counts.adapt(millis(slot_at.since(now)), random),
        };
        // At least 1 ms: the next timeout must be later than now.
        let wait = Duration::from_millis(wait.max(1));
        self.slot_at = Some(now + wait);
        // Machines that began together would look, and send, in step without the jitter.
        Some(wait.min(random.jitter(LOOK_INTERVAL, 20)))
    }
}

impl RequestCounts {
    /// Returns the time to serve all machines, in multiples of the observed time.
    fn shares(self) -> u64 {
        let (discovers, requests) = (u64::from(self.discovers), u64::from(self.requests));
        // Few requests say little, and matter little.
        let least = LEAST_SHARES.min((discovers + requests) / 2);
        (discovers / (requests + 1)).max(least)
    }

    /// Scales the rest of a wait, in milliseconds, by a half to two.
    fn adapt(self, wait: u64, random: &mut Random) -> u64 {
        let (discovers, requests) = (u64::from(self.discovers), u64::from(self.requests));
        let adapted = wait * (2 * discovers + 1) / (2 * requests + 1);
        if discovers == 0 {
            wait / 2
        } else if discovers <= requests {
            adapted.clamp(wait / 2, wait * (100 - HASTE_PERCENT) / 100)
        } else if adapted <= LONGEST_WAIT {
            adapted.min(wait * 2)
        } else {
            // A hard limit would make all clients send at the same time.
            random.next_u64() % LONGEST_WAIT
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::ZERO;

    fn heard(discovers: u32, requests: u32) -> RequestCounts {
        RequestCounts {
            discovers,
            requests,
        }
    }

    /// Returns the wait of a client that has heard this in its first half second.
    fn wait_after(heard: RequestCounts, seed: u64) -> (Contention, Option<Duration>) {
        let mut contention = Contention::new(START);
        let wait = contention.wait(heard, Instant::from_millis(500), &mut Random::new(seed));
        (contention, wait)
    }

    #[test]
    fn who_is_alone_or_among_those_that_are_answered_does_not_wait() {
        for (discovers, requests) in [(0, 0), (3, 0), (0, 3), (1_000, 1_000)] {
            assert_eq!(wait_after(heard(discovers, requests), 1).1, None);
        }
    }

    #[test]
    fn turns_are_spread_over_the_time_in_which_all_are_served() {
        let mut turns: Vec<u64> = (0..1_000)
            .map(|seed| {
                let (contention, wait) = wait_after(heard(10_000, 249), seed);
                assert!(wait.unwrap() <= Duration::from_millis(600));
                contention.slot_at.unwrap().as_millis() - 500
            })
            .collect();
        turns.sort_unstable();
        // 250 of 10,000 were served in half a second, so all will be in 20.
        assert!((19_000..20_000).contains(&turns[999]), "{}", turns[999]);
        assert!((9_000..11_000).contains(&turns[500]), "{}", turns[500]);
    }

    #[test]
    fn a_turn_is_put_off_and_brought_forward_and_comes_at_last() {
        let mut random = Random::new(1);
        assert_eq!(heard(200, 100).adapt(1_000, &mut random), 1_995);
        assert_eq!(heard(900, 100).adapt(1_000, &mut random), 2_000);
        assert_eq!(heard(100, 100).adapt(1_000, &mut random), 800);
        assert_eq!(heard(100, 150).adapt(1_000, &mut random), 667);
        assert_eq!(heard(0, 0).adapt(1_000, &mut random), 500);
        assert!(heard(900, 1).adapt(LONGEST_WAIT, &mut random) < LONGEST_WAIT);
        let (mut contention, mut wait) = wait_after(heard(u32::MAX, 0), 1);
        let mut now = Instant::from_millis(500);
        for _ in 0..60 {
            let Some(time) = wait else { return };
            now += time;
            wait = contention.wait(heard(0, 0), now, &mut random);
        }
        panic!("its turn never comes");
    }
}
