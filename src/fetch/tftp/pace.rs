//! How long to sleep while a window comes.

use std::time::Duration;

/// A shorter nap would be over before it is begun.
const SHORTEST: Duration = Duration::from_micros(20);
/// No timer of a transfer is shorter.
const LONGEST: Duration = Duration::from_millis(1);

/// Learns how far apart the packets of a window are.
///
/// Where the kernel sleeps much longer than it is asked to, naps become shorter until there are none.
#[derive(Debug)]
pub(super) struct Pace {
    per_packet: Duration,
    /// Nothing came during the last nap; the next packet is waited for.
    has_stopped: bool,
}

impl Default for Pace {
    /// Begins with more than a gigabit carries.
    fn default() -> Self {
        Self {
            per_packet: Duration::from_micros(4),
            has_stopped: false,
        }
    }
}

impl Pace {
    /// Returns for how long to sleep when `due` packets are under way; none when few would come.
    pub(super) fn nap(&self, due: usize) -> Option<Duration> {
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        let nap = self.per_packet.saturating_mul(due).min(LONGEST);
        let is_worth_it = nap >= SHORTEST && self.per_packet <= LONGEST / 4;
        (due > 1 && is_worth_it && !self.has_stopped).then_some(nap)
    }

    /// Notes that after sleeping for so long `come` of the packets that were due had come.
    pub(super) fn learn(&mut self, slept: Duration, due: usize, come: usize) {
        let is_all = come >= due;
        let come = u32::try_from(come).unwrap_or(u32::MAX);
        self.per_packet = match slept.checked_div(come) {
            None => (self.per_packet * 2).min(LONGEST),
            // They may have been there long before.
            Some(most) if is_all => self.per_packet.min(most) * 7 / 8,
            Some(apart) => apart,
        };
        self.has_stopped = come == 0;
    }

    /// Notes that a packet has come that was waited for; a sender that was slow may be fast again.
    pub(super) fn goes_on(&mut self) {
        self.has_stopped = false;
        self.per_packet = self.per_packet * 15 / 16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives windows of `window` packets, `apart` from each other, with a kernel that sleeps
    /// `longer` than it is asked to; returns how often it slept or waited in the last window and how
    /// late the end of that was noticed.
    fn last_window(window: usize, apart: Duration, longer: Duration) -> (usize, Duration) {
        let mut pace = Pace::default();
        let mut last = (0, Duration::ZERO);
        for _ in 0..100 {
            let (mut come, mut now, mut calls) = (1, Duration::ZERO, 1);
            while come < window {
                calls += 1;
                let due = window - come;
                let sent = |now: Duration| {
                    let sent = usize::try_from(now.as_nanos() / apart.as_nanos()).unwrap();
                    window.min(1 + sent)
                };
                match pace.nap(due) {
                    Some(nap) => {
                        let slept = nap + longer;
                        now += slept;
                        let new = sent(now) - come;
                        pace.learn(slept, due, new);
                        come += new;
                    }
                    None => {
                        now = now.max(apart * u32::try_from(come).unwrap());
                        come = sent(now);
                        pace.goes_on();
                    }
                }
            }
            let end = apart * u32::try_from(window - 1).unwrap();
            last = (calls, now - end);
        }
        last
    }

    #[test]
    fn few_naps_end_about_when_a_window_does() {
        for (apart, longer) in [(4, 0), (4, 60), (12, 60), (120, 60), (1200, 60)] {
            let [apart, longer] = [apart, longer].map(Duration::from_micros);
            for window in [64, 256] {
                let (calls, late) = last_window(window, apart, longer);
                let whole = apart * u32::try_from(window).unwrap();
                assert!(late <= whole / 4 + longer, "{apart:?} {window}: {late:?}");
                let expected = 16 + usize::try_from(whole.as_millis()).unwrap() * 2;
                // Where packets are further apart than a nap is long, few naps are in vain.
                let most = expected.min(window * 9 / 8);
                assert!(calls <= most, "{apart:?} {window}: {calls}");
            }
        }
    }

    #[test]
    fn a_sender_that_was_held_up_is_slept_for_again() {
        let mut pace = Pace::default();
        (0..20).for_each(|_| pace.learn(LONGEST, 255, 0));
        pace.goes_on();
        assert_eq!(pace.nap(255), None);
        (0..30).for_each(|_| pace.goes_on());
        assert_eq!(pace.nap(255), Some(LONGEST));
        pace.learn(LONGEST, 255, 255);
        assert!(pace.nap(255).unwrap() < LONGEST);
    }

    #[test]
    fn a_kernel_that_sleeps_in_ticks_is_not_asked_to() {
        let (apart, tick) = (Duration::from_micros(4), Duration::from_millis(4));
        let (_, late) = last_window(64, apart, tick);
        assert_eq!(late, Duration::ZERO);
    }
}
