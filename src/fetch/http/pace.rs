//! Whether one connection more would bring a file sooner: it is tried, and measured.

use std::time::Duration;

use wireboot_proto::time::Instant;

/// Connections beside the first.
const MOST: u32 = 3;
/// How long a rate is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// What comes within that is not worth another connection.
const SOON: Duration = Duration::from_secs(3);

/// Judges by what has come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the measurement began, and what had come then, octets.
    began: Option<(Instant, u64)>,
    /// Octets a second before the last connection joined.
    rate: u64,
    joined: u32,
    /// The last one was no gain, or there are enough.
    is_settled: bool,
}

impl Pace {
    /// Returns whether another connection is to join now, `received` octets having come and `left`
    /// still to come.
    pub(super) fn wants_more(&mut self, received: u64, left: u64, now: Instant) -> bool {
        let (since, before) = *self.began.get_or_insert((now, received));
        let time = now.since(since);
        if self.is_settled || time < WINDOW {
            return false;
        }
        self.began = Some((now, received));
        let rate = per_second(received.saturating_sub(before), time);
        // A quarter more is a gain; less may be chance.
        if self.joined > 0 && rate <= self.rate + self.rate / 4 {
            self.is_settled = true;
            return false;
        }
        if left < rate.saturating_mul(SOON.as_secs()) {
            return false;
        }
        self.rate = rate;
        self.joined += 1;
        self.is_settled = self.joined == MOST;
        true
    }
}

fn per_second(octets: u64, time: Duration) -> u64 {
    let milliseconds = time.as_millis().max(1);
    u64::try_from(u128::from(octets) * 1000 / milliseconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many connections join while a file of `len` octets comes, at the rate that so many
    /// connections have, octets a second.
    fn joined(len: u64, rate: impl Fn(u64) -> u64) -> u64 {
        let mut pace = Pace::default();
        let (mut connections, mut received) = (1, 0);
        for tick in 0.. {
            if received >= len {
                break;
            }
            received += rate(connections) / 100;
            let now = Instant::from_millis(tick * 10);
            let left = len.saturating_sub(received);
            connections += u64::from(pace.wants_more(received, left, now));
        }
        connections - 1
    }

    #[test]
    fn connections_join_while_each_brings_more_and_no_more_than_three() {
        let each_has_its_own = |connections| connections * 1_000_000;
        assert_eq!(joined(100_000_000, each_has_its_own), 3);
        let two_fill_the_line = |connections: u64| connections.min(2) * 1_000_000;
        assert_eq!(joined(100_000_000, two_fill_the_line), 2);
        let one_fills_it = |_| 1_000_000;
        assert_eq!(joined(100_000_000, one_fills_it), 1);
    }

    #[test]
    fn what_comes_soon_is_left_to_one_connection() {
        assert_eq!(joined(3_900_000, |_| 1_000_000), 0);
    }

    #[test]
    fn a_silent_server_is_asked_for_more_once() {
        let mut pace = Pace::default();
        let asked = (0..60).filter(|second| {
            let now = Instant::from_millis(second * 1000);
            pace.wants_more(1, 1 << 30, now)
        });
        assert_eq!(asked.count(), 1);
    }
}
