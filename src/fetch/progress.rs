//! Tells a person how a fetch goes: a bar on a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use crate::plan::url::Url;
use crate::sys;
use crate::time::Instant;

/// How often the bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is written where lines stay: a serial console is slow to print.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
const BAR_WIDTH: u64 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    Silent,
}

pub(super) struct Progress {
    name: String,
    style: Style,
    expected: Option<u64>,
    began_at: Instant,
    shown_at: Instant,
}

impl Progress {
    pub(super) fn begin(url: &Url, quiet: bool) -> Self {
        let now = sys::now();
        Self {
            name: url.to_string(),
            style: match (quiet, stderr().is_terminal()) {
                (true, _) => Style::Silent,
                (false, true) if !is_console() => Style::Bar,
                (false, _) => Style::Lines,
            },
            expected: None,
            began_at: now,
            shown_at: now,
        }
    }

    pub(super) const fn expect(&mut self, len: Option<u64>) {
        if len.is_some() {
            self.expected = len;
        }
    }

    /// Shows that `len` octets have come, when the time for it has.
    pub(super) fn advance(&mut self, len: u64) {
        let interval = match self.style {
            Style::Bar => BAR_INTERVAL,
            Style::Lines => LINE_INTERVAL,
            Style::Silent => return,
        };
        let now = sys::now();
        if now.since(self.shown_at) < interval {
            return;
        }
        self.shown_at = now;
        let text = under_way(&self.name, len, self.expected, now.since(self.began_at));
        if self.style == Style::Bar {
            // A terminal that has gone is no reason to stop fetching.
            let _ = write!(stderr(), "\r{text}\x1b[K");
        } else {
            log::info!("{text}");
        }
    }

    /// Tells of the end.
    pub(super) fn finish(&mut self, len: u64) {
        if self.style == Style::Bar {
            let _ = write!(stderr(), "\r\x1b[K");
        }
        if self.style != Style::Silent {
            let time = sys::now().since(self.began_at);
            log::info!("{}", done(&self.name, len, time));
        }
    }
}

/// The first process's terminal is the console, where every line stays.
fn is_console() -> bool {
    std::process::id() == 1 || std::os::unix::process::parent_id() == 1
}

fn under_way(name: &str, len: u64, expected: Option<u64>, time: Duration) -> String {
    let rate = rate(len, time);
    let Some(expected) = expected.filter(|expected| *expected > 0) else {
        return format!("{name}: {}, {rate}", size(len));
    };
    let part = len.min(expected);
    let filled = usize::try_from(part.saturating_mul(BAR_WIDTH) / expected).unwrap_or(0);
    let bar: String = (0..usize::try_from(BAR_WIDTH).unwrap_or(0))
        .map(|at| if at < filled { '#' } else { '.' })
        .collect();
    let left = time.as_secs_f64() * (expected - part) as f64 / part.max(1) as f64;
    let percent = part.saturating_mul(100) / expected;
    format!(
        "{name}: [{bar}] {percent:3} % of {}, {rate}, {left:.0} s left",
        size(expected)
    )
}

fn done(name: &str, len: u64, time: Duration) -> String {
    format!(
        "{name}: {} in {:.2} s, {}",
        size(len),
        time.as_secs_f64(),
        rate(len, time)
    )
}

fn rate(len: u64, time: Duration) -> String {
    // The clock counts milliseconds; less than one is none.
    let seconds = time.as_secs_f64().max(0.001);
    format!("{:.1} MiB/s", len as f64 / seconds / f64::from(1 << 20))
}

fn size(len: u64) -> String {
    match len {
        0..10_000 => format!("{len} octets"),
        10_000..10_000_000 => format!("{} KiB", len >> 10),
        _ => format!("{} MiB", len >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_under_way_shows_its_part_its_rate_and_the_time_left() {
        let text = under_way("f", 1 << 20, Some(4 << 20), Duration::from_secs(2));
        let expected = "f: [######..................]  25 % of 4096 KiB, 0.5 MiB/s, 6 s left";
        assert_eq!(text, expected);
        let text = under_way("f", 9_999, None, Duration::ZERO);
        assert_eq!(text, "f: 9999 octets, 9.5 MiB/s");
        let longer_than_said = under_way("f", 20, Some(10), Duration::from_secs(1));
        assert!(longer_than_said.contains("100 % of 10 octets"));
    }

    #[test]
    fn a_finished_fetch_shows_its_size_and_rate() {
        let text = done("f", 16 << 20, Duration::from_millis(1_500));
        assert_eq!(text, "f: 16 MiB in 1.50 s, 10.7 MiB/s");
    }
}
