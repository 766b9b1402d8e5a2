//! Where the time of a boot went: moments, and the steps between them.
//!
//! There is one in a process, as there is one log. The moments of what came over the wire are those
//! of the kernel's own timestamps. All times count from the kernel's start, so that they can be laid
//! beside its log.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::sys;
use crate::sys::file::{self, EVERYBODY};
use wireboot_proto::text::safe::Safe;
use wireboot_proto::time::Instant;

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

static ACCOUNT: Mutex<Account> = Mutex::new(Account::new());

/// Begins to count, anew if there was a boot before.
pub fn begin() {
    with(|account| {
        *account = Account::new();
        account.last = sys::now();
    });
    note("wireboot begins");
}

/// Notes that a step has ended now.
pub fn done(step: &'static str) {
    with(|account| account.done(step, sys::now()));
}

/// Notes that something happens now.
pub fn note(what: impl Into<String>) {
    extend([Moment::new(what, sys::up_time())]);
}

/// Takes moments that are over.
pub fn extend(moments: impl IntoIterator<Item = Moment>) {
    with(|account| account.moments.extend(moments));
}

/// Tells how long each step took, in a line.
pub fn summary() -> String {
    with(|account| account.to_string())
}

/// Puts the account where `wireboot account` finds it; one that cannot be put there is missed by
/// nobody.
pub fn save() {
    let (json, text) = with(|account| (account.json(), account.text()));
    for (path, text) in [(JSON, json), (TEXT, text)] {
        if let Err(error) = file::replace(Path::new(path), text.as_bytes(), EVERYBODY) {
            log::debug!("{path} is not written: {error}");
        }
    }
}

/// Notes how it ended and puts the account where it is found. Returns `result`.
///
/// # Errors
/// As `result`.
pub fn save_after<T: fmt::Display>(result: Result<T, Error>) -> Result<T, Error> {
    match &result {
        Ok(step) => note(format!("stopped after {step}")),
        Err(error) => note(error.chain()),
    }
    save();
    result
}

fn with<T>(take: impl FnOnce(&mut Account) -> T) -> T {
    // Moments are whole whatever happened to another thread.
    take(&mut ACCOUNT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The steps done so far, each with the time it took, and the moments.
#[derive(Debug, Serialize)]
struct Account {
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
    const fn new() -> Self {
        Self {
            last: Instant::ZERO,
            steps: Vec::new(),
            moments: Vec::new(),
        }
    }

    fn done(&mut self, step: &'static str, now: Instant) {
        let took_ms = now.as_millis() - self.last.as_millis().min(now.as_millis());
        self.steps.push(Step { step, took_ms });
        self.last = now;
    }

    /// Returns it for programs.
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Returns it for people: a line for each moment, with the time since the kernel's start and
    /// since the moment before, and one with the steps.
    fn text(&self) -> String {
        let mut moments: Vec<_> = self.moments.iter().collect();
        moments.sort_by_key(|moment| moment.at_us);
        let mut text = String::new();
        let mut before = moments.first().map_or(0, |moment| moment.at_us);
        for Moment { what, at_us } in moments {
            let (at, since) = (seconds(*at_us), seconds(at_us.saturating_sub(before)));
            text.push_str(&format!("{at:>11} s  +{since}  {}\n", Safe::line(what)));
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
