//! Where the time of a boot went: moments, and the steps between them.
//!
//! It is a plain value that others report to; the moments of what came over the wire are those of
//! the kernel's own timestamps. All times count from the kernel's start, so that they can be laid
//! beside its log.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::sys;
use crate::time::Instant;

/// Where the account of the last boot stands, for programs.
pub const JSON: &str = "/run/wireboot/account.json";
/// Where the account of the last boot stands, for people.
pub const TEXT: &str = "/run/wireboot/account.txt";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    what: String,
    /// Microseconds since the kernel's start.
    at_us: u64,
}

impl Moment {
    /// Notes what happened, and when, counted from the kernel's start.
    pub fn new(what: impl Into<String>, at: Duration) -> Self {
        Self {
            what: what.into(),
            at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// What happened.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// The steps done so far, each with the time it took, and the moments.
#[derive(Debug, Serialize)]
pub struct Account {
    #[serde(skip)]
    last: Instant,
    steps: Vec<Step>,
    moments: Vec<Moment>,
}

#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    took_ms: u64,
}

impl Account {
    /// Begins to count.
    pub fn begin() -> Self {
        Self {
            last: sys::now(),
            steps: Vec::new(),
            moments: vec![Moment::new("wireboot begins", sys::up_time())],
        }
    }

    /// Notes that a step has ended now.
    pub fn done(&mut self, step: &'static str) {
        let now = sys::now();
        let took_ms = now.as_millis() - self.last.as_millis().min(now.as_millis());
        self.steps.push(Step { step, took_ms });
        self.last = now;
    }

    /// Notes that something happens now.
    pub fn note(&mut self, what: impl Into<String>) {
        self.moments.push(Moment::new(what, sys::up_time()));
    }

    /// Takes what others have noted.
    pub fn extend(&mut self, moments: impl IntoIterator<Item = Moment>) {
        self.moments.extend(moments);
    }

    /// Returns it for programs.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Returns it for people: a line for each moment, with the time since the kernel's start and
    /// since the moment before, and one with the steps.
    pub fn text(&self) -> String {
        let mut moments: Vec<_> = self.moments.iter().collect();
        moments.sort_by_key(|moment| moment.at_us);
        let mut text = String::new();
        let mut before = moments.first().map_or(0, |moment| moment.at_us);
        for Moment { what, at_us } in moments {
            let (at, since) = (seconds(*at_us), seconds(at_us.saturating_sub(before)));
            text.push_str(&format!("{at:>11} s  +{since}  {what}\n"));
            before = *at_us;
        }
        text + &format!("{self}\n")
    }
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.steps.iter().map(|step| step.took_ms).sum();
        for Step { step, took_ms } in &self.steps {
            write!(f, "{step} {took_ms} ms, ")?;
        }
        write!(f, "together {total} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_their_order_and_with_what_lies_between() {
        let moment = |what, at_us| Moment::new(what, Duration::from_micros(at_us));
        let account = Account {
            last: Instant::ZERO,
            steps: vec![
                Step {
                    step: "lease",
                    took_ms: 13,
                },
                Step {
                    step: "plan",
                    took_ms: 4,
                },
            ],
            moments: vec![
                moment("wireboot begins", 6_120_000),
                moment("ACK", 6_133_002),
                moment("OFFER", 6_131_001),
            ],
        };
        assert_eq!(
            account.text(),
            "   6.120000 s  +0.000000  wireboot begins\n   6.131001 s  +0.011001  OFFER\n   \
             6.133002 s  +0.002001  ACK\nlease 13 ms, plan 4 ms, together 17 ms\n"
        );
        assert_eq!(
            account.json(),
            "{\"steps\":[{\"step\":\"lease\",\"took_ms\":13},{\"step\":\"plan\",\"took_ms\":4}],\
             \"moments\":[{\"what\":\"wireboot begins\",\"at_us\":6120000},\
             {\"what\":\"ACK\",\"at_us\":6133002},{\"what\":\"OFFER\",\"at_us\":6131001}]}\n"
        );
    }
}
