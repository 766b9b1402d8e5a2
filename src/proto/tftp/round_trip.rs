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
/// After this many packets in a row that had to be repeated, the path is taken to be slow: at 30 % loss
/// in each direction half of all packets are repeated, and this many in a row once in 250.
const LATE: u32 = 8;
/// How long answers may wait in the queue of the path; RFC 8289 §4.2 has 5 ms too.
const QUEUE: Duration = Duration::from_millis(5);
/// The shortest timeout of a server (RFC 2349): an answer after it may be the server's own repetition.
const SERVER_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout of the first request; RFC 6298 §2.1 has 1 s, for paths longer than those of booting.
const FIRST: Duration = Duration::from_millis(500);

/// The smoothed round-trip time and the retransmission timeout that follows from it.
#[derive(Debug)]
pub(super) struct RoundTrip {
    smoothed: Option<(Duration, Duration)>,
    /// When the packet was sent whose answer is timed; none after a repetition, since the answer
    /// could be to either (Karn's algorithm, RFC 6298 §3).
    sent_at: Option<Instant>,
    repetitions: u32,
    /// When the last packet was sent for the first time.
    first_sent_at: Instant,
    /// How many packets in a row had to be repeated.
    late: u32,
    /// The shortest round trip, which waited in no queue, and how many were timed.
    least: Duration,
    timed: u16,
    /// The shortest timeout on this path.
    shortest: Duration,
}

impl RoundTrip {
    pub(super) const fn new() -> Self {
        Self {
            smoothed: None,
            sent_at: None,
            repetitions: 0,
            first_sent_at: Instant::ZERO,
            late: 0,
            least: Duration::MAX,
            timed: 0,
            shortest: FIRST_SHORTEST,
        }
    }

    /// Records that a packet was sent for the first time.
    pub(super) const fn sent(&mut self, now: Instant) {
        self.sent_at = Some(now);
        self.first_sent_at = now;
    }

    /// Records that it was sent again after a timeout.
    pub(super) const fn repeated(&mut self) {
        self.sent_at = None;
        self.repetitions = self.repetitions.saturating_add(1);
    }

    /// Records that a packet was sent again too early, since both copies were answered.
    pub(super) fn was_too_early(&mut self) {
        self.shortest = (self.shortest * 2).min(LONGEST_SHORTEST);
    }

    /// Returns how often the last packet was repeated.
    pub(super) const fn repetitions(&self) -> u32 {
        self.repetitions
    }

    /// Returns how many packets may be sent at once: at first as many as answers were timed, and none
    /// where the answers wait in a queue, since the rate is the limit there.
    pub(super) fn burst(&self) -> u16 {
        let (mean, _) = self.smoothed.unwrap_or_default();
        let is_queued = mean > self.least.saturating_mul(2).saturating_add(QUEUE);
        if is_queued { 0 } else { self.timed }
    }

    /// Records an answer that advanced the transfer.
    ///
    /// By Karn's algorithm a path whose round trip is longer than the timeout is never timed, since each
    /// packet is repeated. Where that goes on, the answers are taken to be those to the first packets.
    pub(super) fn answered(&mut self, now: Instant) {
        if self.repetitions == 0 {
            self.late = 0;
        } else {
            self.shortest = (self.shortest * 7 / 8).max(SHORTEST);
            self.late += 1;
            let is_timed = self.late > LATE && now < self.first_sent_at + SERVER_TIMEOUT;
            self.sent_at = is_timed.then_some(self.first_sent_at);
        }
        self.repetitions = 0;
        let Some(sent_at) = self.sent_at.take() else {
            return;
        };
        // RFC 6298 §2.2 and §2.3, with its 1/8 for the mean and 1/4 for the variation.
        let sample = now.since(sent_at);
        self.least = self.least.min(sample);
        self.timed = self.timed.saturating_add(1);
        self.smoothed = Some(match self.smoothed {
            None => (sample, sample / 2),
            Some((mean, variation)) => (
                mean * 7 / 8 + sample / 8,
                variation * 3 / 4 + mean.abs_diff(sample) / 4,
            ),
        });
    }

    /// Returns the time to wait before sending again: doubled by every repetition before the first
    /// answer, and by every second one after it, since single losses are no sign of overload.
    pub(super) fn timeout(&self) -> Duration {
        let (first, doublings, longest) = match self.smoothed {
            None => (FIRST, self.repetitions, LONGEST_REQUEST),
            Some((mean, variation)) => {
                // RFC 6298 §2.3: K = 4.
                let first = (mean + variation * 4).max(self.shortest);
                (first, self.repetitions / 2, LONGEST.max(first))
            }
        };
        // 2¹² times 0.5 ms are above the longest already, and 2³² would overflow.
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
            round_trip.sent(now);
            now += Duration::from_millis(40);
            round_trip.answered(now);
        }
        let settled = round_trip.timeout().as_millis();
        assert!((40..60).contains(&settled), "{settled}");
        round_trip.sent(now);
        round_trip.repeated();
        round_trip.repeated();
        assert_eq!(round_trip.timeout().as_millis() / settled, 2);
        now += Duration::from_secs(3);
        round_trip.answered(now);
        assert_eq!(round_trip.timeout().as_millis(), settled, "Karn's rule");
    }

    #[test]
    fn a_path_on_which_it_was_too_short_has_a_longer_shortest_timeout_for_a_while() {
        let mut round_trip = RoundTrip::new();
        round_trip.sent(Instant::ZERO);
        round_trip.answered(Instant::ZERO);
        round_trip.was_too_early();
        assert_eq!(round_trip.timeout(), FIRST_SHORTEST * 2);
        (0..9).for_each(|_| round_trip.was_too_early());
        assert_eq!(round_trip.timeout(), LONGEST_SHORTEST);
        for _ in 0..40 {
            round_trip.repeated();
            round_trip.answered(Instant::ZERO);
        }
        assert_eq!(round_trip.timeout(), SHORTEST);
    }

    #[test]
    fn the_timeout_stays_within_its_bounds() {
        let mut round_trip = RoundTrip::new();
        round_trip.sent(Instant::ZERO);
        round_trip.answered(Instant::ZERO);
        assert_eq!(round_trip.timeout(), FIRST_SHORTEST);
        for _ in 0..100 {
            round_trip.repeated();
        }
        assert_eq!(round_trip.timeout(), LONGEST);
    }
}
