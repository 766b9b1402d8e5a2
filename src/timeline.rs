//! The timeline of a boot: its moments, and how long each step took.
//!
//! Received packets have the kernel's timestamps. All times are since the kernel's start, as in its
//! log.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::sys;
use crate::sys::file;
use wireboot_proto::text::safe::Safe;
use wireboot_proto::time::Instant;

/// File of the timeline of the last lease or boot: lines for people, and behind them one in JSON, for
/// programs. One file, since each takes half a dozen system calls at the end of a lease.
pub const FILE: &str = "/run/wireboot/account.txt";

/// Environment variable with the moments before this process, a line each, as process 1 gives them
/// to the boot.
pub const BEFORE: &str = "WIREBOOT_MOMENTS";

/// Returns whether process 1 has started this process as the boot: it gives it its moments, and nobody else
/// has any.
pub fn is_of_first_process() -> bool {
    std::env::var_os(BEFORE).is_some()
}

/// The steps of a boot, in their order.
const STEPS: [&str; 6] = ["lease", "boot server", "plan", "fetch", "load", "measure"];

/// How the moments of a file end, behind its address.
pub const REQUESTED: &str = ": requested";
/// See [`REQUESTED`].
pub const COMPLETE: &str = ": complete";
/// See [`REQUESTED`].
pub const FAILED: &str = ": failed";
/// The first moment of a command, from which its steps are counted.
pub const BEGUN: &str = "wireboot begins";

/// An event and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    what: String,
    /// Microseconds since the kernel's start.
    // Not milliseconds, since a reply on a LAN takes some 50 µs.
    at_us: u64,
}

impl Moment {
    /// Creates an event; `at` is the time since the kernel's start.
    pub fn new(what: impl Into<String>, at: Duration) -> Self {
        Self {
            what: what.into(),
            at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// Reads a line of [`Timeline::lines`].
    fn parse(line: &str) -> Option<Self> {
        let (at_us, what) = line.split_once(' ')?;
        Some(Self {
            what: what.to_owned(),
            at_us: at_us.parse().ok()?,
        })
    }

    /// The event.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// A handle of the timeline; clones write to the same timeline.
#[derive(Debug, Clone, Default)]
pub struct Timeline(Arc<Mutex<Moments>>);

impl Timeline {
    /// Begins a timeline now, behind the moments of process 1.
    pub fn begin() -> Self {
        let timeline = Self::default();
        let before = std::env::var(BEFORE).unwrap_or_default();
        timeline.extend(before.lines().filter_map(Moment::parse));
        timeline.with(|all| all.last = sys::now());
        timeline.note(BEGUN);
        timeline
    }

    /// Records the end of a step.
    pub fn done(&self, step: &'static str) {
        self.with(|all| all.done(step, sys::now()));
    }

    /// Records that the step under way has failed, and why.
    pub fn broken_off(&self, why: String) {
        self.with(|all| {
            let done = all.steps.last().map(|last| last.step);
            let mut steps = STEPS
                .iter()
                .skip_while(|step| done.is_some_and(|done| done != **step));
            if let Some(step) = steps.nth(done.iter().len()) {
                all.done(step, sys::now());
            }
        });
        self.note(why);
    }

    /// Records an event.
    pub fn note(&self, what: impl Into<String>) {
        self.extend([Moment::new(what, sys::up_time())]);
    }

    /// Adds earlier events.
    pub fn extend(&self, moments: impl IntoIterator<Item = Moment>) {
        self.with(|all| all.moments.extend(moments));
    }

    /// Takes all moments out, each as its time and event.
    pub fn clear(&self) -> Vec<(Duration, String)> {
        let moments = self.with(|all| std::mem::take(&mut all.moments));
        let pair = |moment: Moment| (Duration::from_micros(moment.at_us), moment.what);
        moments.into_iter().map(pair).collect()
    }

    /// Returns the moments for [`BEFORE`].
    pub fn lines(&self) -> String {
        let line = |Moment { what, at_us }: &Moment| format!("{at_us} {}\n", Safe::line(what));
        self.with(|all| all.moments.iter().map(line).collect())
    }

    /// Returns how long each step took, in one line.
    pub fn summary(&self) -> String {
        self.with(|all| all.to_string())
    }

    /// Returns the timeline as JSON.
    #[cfg(feature = "report")]
    pub fn json(&self) -> String {
        self.with(|all| all.json())
    }

    /// Writes the file that `wireboot account` reads. A failure is only logged: no boot depends on it.
    pub fn save(&self) {
        let text = self.with(|all| all.text() + &all.json());
        if let Err(error) = file::replace_own(Path::new(FILE), text.as_bytes()) {
            log::debug!("{FILE} is not written: {error}");
        }
    }

    /// Reads the file that [`Timeline::save`] has written: its lines for people, and its JSON.
    ///
    /// # Errors
    /// The file system's error; InvalidData for something else.
    pub fn read() -> io::Result<(String, String)> {
        let text = fs::read_to_string(FILE)?;
        let (people, programs) = text.rsplit_once("\n{").ok_or(io::ErrorKind::InvalidData)?;
        Ok((format!("{people}\n"), format!("{{{programs}")))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Moments) -> T) -> T {
        // No thread leaves half a moment, so that a poisoned lock is no fault.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The steps done so far, each with the time it took, and the moments.
#[derive(Debug, Default, Serialize)]
struct Moments {
    #[serde(skip)]
    last: Instant,
    steps: Vec<StepTime>,
    moments: Vec<Moment>,
}

#[derive(Debug, Serialize)]
struct StepTime {
    step: &'static str,
    took_ms: u64,
}

impl Moments {
    fn done(&mut self, step: &'static str, now: Instant) {
        let took_ms = now.as_millis() - self.last.as_millis().min(now.as_millis());
        self.steps.push(StepTime { step, took_ms });
        self.last = now;
    }

    /// Returns the timeline as JSON.
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Returns a line for each moment, with the time since the kernel's start and since the moment
    /// before, and one with the steps.
    fn text(&self) -> String {
        let mut moments: Vec<_> = self.moments.iter().collect();
        // Those of a lease are added after it was granted, with earlier timestamps.
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

impl fmt::Display for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for StepTime { step, took_ms } in &self.steps {
            write!(f, "{step} {took_ms} ms, ")?;
        }
        let times = || self.moments.iter().map(|moment| moment.at_us);
        let last = times().max().unwrap_or_default();
        let last = last.max(self.last.as_millis() * 1_000);
        let total = last.saturating_sub(times().min().unwrap_or(last)) / 1_000;
        write!(f, "total {total} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moments_of_process_1_are_read_as_they_were_written() {
        let timeline = Timeline::default();
        let moments = [Moment::new("module virtio_net", Duration::from_micros(7))];
        timeline.extend(moments.clone());
        let read: Vec<_> = timeline.lines().lines().map(Moment::parse).collect();
        assert_eq!(read, moments.map(Some));
        assert_eq!(["", "7", "x y"].map(Moment::parse), [None, None, None]);
    }

    #[test]
    fn a_step_that_fails_has_its_time_and_is_named_after_those_before() {
        let timeline = Timeline::begin();
        timeline.broken_off("no lease".to_owned());
        let summary = timeline.summary();
        assert!(summary.starts_with("lease "), "{summary}");
        let timeline = Timeline::begin();
        timeline.done("lease");
        timeline.done("boot server");
        timeline.broken_off("nothing to boot".to_owned());
        let summary = timeline.summary();
        let names: Vec<_> = summary
            .split(", ")
            .filter_map(|step| step.rsplit(' ').nth(2))
            .collect();
        assert_eq!(names, ["lease", "server", "plan", "total"], "{summary}");
        assert_eq!(timeline.with(|all| all.moments.len()), 2);
    }

    #[test]
    fn moments_are_listed_in_their_order_each_with_the_time_since_the_one_before() {
        let moment = |what, at_us| Moment::new(what, Duration::from_micros(at_us));
        let moments = Moments {
            last: Instant::ZERO,
            steps: vec![
                StepTime {
                    step: "lease",
                    took_ms: 13,
                },
                StepTime {
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
            moments.text(),
            "   6.120000 s  +0.000000  wireboot begins\n   6.131001 s  +0.011001  OFFER\n   \
             6.133002 s  +0.002001  ACK\nlease 13 ms, plan 4 ms, total 13 ms\n"
        );
        assert_eq!(
            moments.json(),
            "{\"steps\":[{\"step\":\"lease\",\"took_ms\":13},{\"step\":\"plan\",\"took_ms\":4}],\
             \"moments\":[{\"what\":\"wireboot begins\",\"at_us\":6120000},\
             {\"what\":\"ACK\",\"at_us\":6133002},{\"what\":\"OFFER\",\"at_us\":6131001}]}\n"
        );
    }
}
