//! The retransmission timeout of RFC 6298, with bounds that suit a LAN.

use core::time::Duration;

use crate::time::Instant;

/// The shortest timeout at first, as busy servers now and then take this long; losses lower it.
// Asked again after 0.5 ms, atftpd sends each window twice and slows down to a tenth for the file.
const FIRST_SHORTEST: Duration = Duration::from_millis(3);
/// The shortest timeout after losses, a few times what an answer and scheduling take.
// An answer on a LAN takes about 50 µs. RFC 6298 §2.4 would have 1 s.
const SHORTEST: Duration = Duration::from_micros(500);
/// The limit to which the shortest timeout grows when it was too short.
// A window that a busy server sends twice costs more the larger it is.
const LONGEST_SHORTEST: Duration = Duration::from_millis(48);
/// The longest timeout once the path is known: servers that repeat after 1 s are asked four times.
const LONGEST: Duration = Duration::from_millis(250);
/// The longest timeout of the request: without any answer it is sent six times in 15 s.
const LONGEST_REQUEST: Duration = Duration::from_secs(4);
/// How long blocks may wait in the queue of the path; RFC 8289 §4.2 has 5 ms too.
const QUEUE: Duration = Duration::from_millis(5);
/// The shortest timeout of a server (RFC 2349).
const SERVER_TIMEOUT: Duration = Duration::from_secs(1);
/// After this many packets in a row that were repeated, the timeout is taken to be too short; at 30 %
/// loss half of all packets are repeated.
const LATE: u32 = 8;
/// The timeout of the first request; RFC 6298 §2.1 has 1 s, for paths longer than those of booting.
const FIRST: Duration = Duration::from_millis(500);

/// The smoothed round-trip time and the retransmission timeout that follows from it.
#[derive(Debug)]
pub(super) struct RoundTrip {
    smoothed: Option<(Duration, Duration)>,
    /// The shortest round trip so far, which no queue of ours has lengthened.
    least: Duration,
    /// The block that answers the timed packet, and when that was sent; none after a repetition,
    /// since the answer could be to either (Karn's algorithm, RFC 6298 §3).
    timed: Option<(u64, Instant)>,
    repetitions: u32,
    /// When the last packet was sent for the first time.
    sent_at: Instant,
    /// When it or a repetition was sent.
    last_sent_at: Instant,
    /// How many packets in a row were repeated.
    late: u32,
    /// The shortest timeout until a round trip is timed, after an answer to a repeated packet.
    held: Duration,
    /// The shortest timeout on this path.
    shortest: Duration,
}

impl RoundTrip {
    pub(super) const fn new() -> Self {
        Self {
            smoothed: None,
            least: Duration::MAX,
            timed: None,
            repetitions: 0,
            sent_at: Instant::ZERO,
            last_sent_at: Instant::ZERO,
            late: 0,
            held: Duration::ZERO,
            shortest: FIRST_SHORTEST,
        }
    }

    /// Records that a packet was sent for the first time, which `block` answers; 0 for the options.
    /// One packet is timed at once.
    pub(super) fn sent(&mut self, block: u64, now: Instant) {
        self.timed.get_or_insert((block, now));
        (self.sent_at, self.last_sent_at) = (now, now);
    }

    /// Records that it was sent again after a timeout.
    pub(super) const fn repeated(&mut self, now: Instant) {
        self.timed = None;
        self.last_sent_at = now;
        self.repetitions = self.repetitions.saturating_add(1);
    }

    /// Records that another packet was sent in its place.
    pub(super) const fn replaced(&mut self, now: Instant) {
        self.last_sent_at = now;
    }

    /// Records that a packet was sent again too early, since both copies were answered.
    pub(super) fn was_too_early(&mut self) {
        self.shortest = (self.shortest * 2).min(LONGEST_SHORTEST);
    }

    /// Returns how often the last packet was repeated.
    pub(super) const fn repetitions(&self) -> u32 {
        self.repetitions
    }

    /// Records an answer that advanced the transfer to `block`; returns the round-trip time if that
    /// was timed.
    ///
    /// After an answer to a repeated packet the timeout stays longer until then (RFC 6298 §5.7):
    /// where a block takes longer than it, each one would be repeated and none timed.
    pub(super) fn answered(&mut self, block: u64, now: Instant) -> Option<Duration> {
        if self.repetitions == 0 {
            self.late = 0;
        } else {
            self.shortest = (self.shortest * 7 / 8).max(SHORTEST);
            self.late += 1;
            self.held = Duration::ZERO;
            if self.is_slow(now) {
                // It need not be longer than the answer took: the round trip is no longer.
                self.held = now.since(self.sent_at) * 3 / 2;
                self.late = 0;
            }
        }
        self.repetitions = 0;
        let (_, sent_at) = self.timed.take_if(|(answer, _)| *answer <= block)?;
        self.held = Duration::ZERO;
        // RFC 6298 §2.2 and §2.3, with its 1/8 for the mean and 1/4 for the variation.
        let sample = now.since(sent_at);
        // It may be the server's own repetition.
        if self.smoothed.is_some() && sample >= SERVER_TIMEOUT {
            return None;
        }
        self.least = self.least.min(sample);
        self.smoothed = Some(match self.smoothed {
            None => (sample, sample / 2),
            Some((mean, variation)) => (
                mean * 7 / 8 + sample / 8,
                variation * 3 / 4 + mean.abs_diff(sample) / 4,
            ),
        });
        Some(sample)
    }

    /// Returns whether the answer to a repeated packet shows that the path is slower than it was. If
    /// it came a usual time after the last repetition, the first packet or its answer was lost;
    /// unless that happens all the time. Neither is known if the server repeats by its own timer.
    fn is_slow(&self, now: Instant) -> bool {
        let (mean, variation) = self.smoothed.unwrap_or_default();
        now.since(self.sent_at) < SERVER_TIMEOUT
            && (self.late > LATE || now.since(self.last_sent_at) > mean * 2 + variation * 4)
    }

    /// Returns whether a round trip of this time has waited in a queue that we filled.
    pub(super) fn is_queued(&self, sample: Duration) -> bool {
        sample > self.least * 2 + QUEUE
    }

    /// Returns the time to wait before sending again: doubled by every repetition before the first
    /// answer, and by every second one after it, since single losses are no sign of overload.
    pub(super) fn timeout(&self) -> Duration {
        let (first, doublings, longest) = match self.smoothed {
            None => (FIRST.max(self.held), self.repetitions, LONGEST_REQUEST),
            Some((mean, variation)) => {
                // RFC 6298 §2.3: K = 4.
                let first = (mean + variation * 4).max(self.shortest);
                let first = first.max(self.held);
                let longest = LONGEST.max(first);
                (first, self.repetitions / 2, longest)
            }
        };
        (first * (1 << doublings.min(12))).min(longest)
    }

    /// Returns the time between the packets of a sweep, one of which will be answered.
    pub(super) fn pace(&self) -> Duration {
        let usual = self.smoothed.unwrap_or((FIRST, Duration::ZERO));
        (usual.0 + usual.1 * 4)
            .max(self.shortest / 2)
            .min(self.timeout())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_answers_and_doubles_with_every_second_repetition() {
        let mut round_trip = RoundTrip::new();
        assert_eq!(round_trip.timeout(), FIRST);
        let mut now = Instant::ZERO;
        for _ in 0..50 {
            round_trip.sent(1, now);
            now += Duration::from_millis(40);
            round_trip.answered(1, now);
        }
        let settled = round_trip.timeout().as_millis();
        assert!((40..60).contains(&settled), "{settled}");
        round_trip.sent(1, now);
        round_trip.repeated(Instant::ZERO);
        round_trip.repeated(Instant::ZERO);
        assert_eq!(round_trip.timeout().as_millis() / settled, 2);
        now += Duration::from_secs(3);
        round_trip.answered(1, now);
        assert_eq!(round_trip.timeout().as_millis(), settled, "Karn's rule");
    }

    #[test]
    fn a_path_on_which_it_was_too_short_has_a_longer_shortest_timeout_for_a_while() {
        let mut round_trip = RoundTrip::new();
        round_trip.sent(1, Instant::ZERO);
        round_trip.answered(1, Instant::ZERO);
        round_trip.was_too_early();
        assert_eq!(round_trip.timeout(), FIRST_SHORTEST * 2);
        (0..9).for_each(|_| round_trip.was_too_early());
        assert_eq!(round_trip.timeout(), LONGEST_SHORTEST);
        for _ in 0..40 {
            round_trip.repeated(Instant::ZERO);
            round_trip.answered(1, Instant::ZERO);
        }
        assert_eq!(round_trip.timeout(), SHORTEST);
    }

    #[test]
    fn the_timeout_stays_within_its_bounds() {
        let mut round_trip = RoundTrip::new();
        round_trip.sent(1, Instant::ZERO);
        round_trip.answered(1, Instant::ZERO);
        assert_eq!(round_trip.timeout(), FIRST_SHORTEST);
        for _ in 0..100 {
            round_trip.repeated(Instant::ZERO);
        }
        assert_eq!(round_trip.timeout(), LONGEST);
    }
}
