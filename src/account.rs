//! Where the time of a boot went, step by step.

#![forbid(unsafe_code)]

use std::fmt;

use crate::sys;
use crate::time::Instant;

/// The steps done so far, each with the time it took.
#[derive(Debug)]
pub struct Account {
    last: Instant,
    steps: Vec<(&'static str, u64)>,
}

impl Account {
    /// Begins to count.
    pub fn begin() -> Self {
        Self {
            last: sys::now(),
            steps: Vec::new(),
        }
    }

    /// Notes that a step has ended now.
    pub fn done(&mut self, step: &'static str) {
        let now = sys::now();
        let took = now.as_millis() - self.last.as_millis().min(now.as_millis());
        self.steps.push((step, took));
        self.last = now;
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.steps.iter().map(|(_, millis)| millis).sum();
        for (step, millis) in &self.steps {
            write!(f, "{step} {millis} ms, ")?;
        }
        write!(f, "together {total} ms")
    }
}
