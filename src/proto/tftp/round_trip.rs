//! How long to wait for an answer: RFC 6298, with bounds that suit a LAN.

use core::time::Duration;

use crate::time::Instant;

/// What a busy server takes now and then, and no shorter timeout until losses show that it pays.
const FIRST_SHORTEST: Duration = Duration::from_millis(3);
/// A few times what an answer and the scheduling of two programs take.
const SHORTEST: Duration = Duration::from_micros(500);
/// Where even that was too short, several times.
const LONGEST_SHORTEST: Duration = Duration::from_millis(48);
const LONGEST: Duration = Duration::from_millis(250);
const LONGEST_REQUEST: Duration = Duration::from_secs(4);
const FIRST: Duration = Duration::from_millis(500);

/// The smoothed round-trip time and the retransmission timeout that follows from it.
#[derive(Debug)]
pub(super) struct RoundTrip {
    smoothed: Option<(Duration, Duration)>,
    /// When the packet went out whose answer is being timed; none after a repetition, since
    /// the answer could be to either (Karn's rule).
    sent_at: Option<Instant>,
    repetitions: u32,
    /// No timeout is shorter, on this path.
    shortest: Duration,
}

impl RoundTrip {
    pub(super) const fn new() -> Self {
        Self {
            smoothed: None,
            sent_at: None,
            repetitions: 0,
            shortest: FIRST_SHORTEST,
        }
    }

    /// Notes that a packet went out for the first time.
    pub(super) const fn sent(&mut self, now: Instant) {
        self.sent_at = Some(now);
    }

    /// Notes that it went out again, after the time was up.
    pub(super) const fn repeated(&mut self) {
        self.sent_at = None;
        self.repetitions = self.repetitions.saturating_add(1);
    }

    /// Notes that a packet went out again too early: it and the one before were both answered. A
    /// busy server is slower now and then than ever before.
    pub(super) fn was_too_early(&mut self) {
        self.shortest = (self.shortest * 2).min(LONGEST_SHORTEST);
    }

    /// Returns how often the last packet went out again.
    pub(super) const fn repetitions(&self) -> u32 {
        self.repetitions
    }

    /// Notes an answer that brought the transfer on.
    pub(super) fn answered(&mut self, now: Instant) {
        if self.repetitions > 0 {
            self.shortest = (self.shortest * 7 / 8).max(SHORTEST);
        }
        self.repetitions = 0;
        let Some(sent_at) = self.sent_at.take() else {
            return;
        };
        let sample = now.since(sent_at);
        self.smoothed = Some(match self.smoothed {
            None => (sample, sample / 2),
            Some((mean, variation)) => (
                mean * 7 / 8 + sample / 8,
                variation * 3 / 4 + mean.abs_diff(sample) / 4,
            ),
        });
    }

    /// Returns the time to wait before sending again: doubled by every repetition, and by every
    /// second one when the path is known, since there is a loss to be expected now and then.
    pub(super) fn timeout(&self) -> Duration {
        let (first, doublings, longest) = match self.smoothed {
            None => (FIRST, self.repetitions, LONGEST_REQUEST),
            Some((mean, variation)) => {
                let first = (mean + variation * 4).max(self.shortest);
                (first, self.repetitions / 2, LONGEST.max(first))
            }
        };
        (first * (1 << doublings.min(12))).min(longest)
    }

    /// Returns the time after which an answer is not to be expected any more, of several packets one
    /// of which will be answered.
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
