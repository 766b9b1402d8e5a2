//! What one plan may cost: one budget for all its files, whichever language they are in.
//!
//! A server decides what a configuration says, so that its length, its loops and the text that its
//! variables make must all end. Limits of each language alone would multiply: by the files that
//! chain, by the commands of each, by the variables in a command.

use super::error::{Error, Place};
use crate::prelude::*;

/// How many commands, statements and conditions a plan may run. A script that waits five seconds
/// before each try gets through days with it; a menu of 1 MiB has some 20,000 lines.
const MAX_STEPS: usize = 100_000;
/// How much text a plan may read, make of variables and show, in bytes. Real plans stay below
/// 1 MiB, the longest single file that is read.
const MAX_TEXT_LEN: usize = 16 << 20;

/// What has been used so far, and by what last.
#[derive(Debug)]
pub(super) struct Budget {
    place: Place,
    steps: usize,
    text_len: usize,
}

impl Budget {
    /// Begins with nothing used.
    pub(super) const fn new(place: Place) -> Self {
        Self {
            place,
            steps: 0,
            text_len: 0,
        }
    }

    /// Counts a step, which is taken at `place`.
    ///
    /// # Errors
    /// The budget is used up.
    pub(super) fn step(&mut self, place: &Place) -> Result<(), Error> {
        self.place.clone_from(place);
        self.steps += 1;
        self.check()
    }

    /// Counts text that is read at `place`.
    ///
    /// # Errors
    /// The budget is used up.
    pub(super) fn read(&mut self, place: &Place, len: usize) -> Result<(), Error> {
        self.place.clone_from(place);
        self.produce(len);
        self.check()
    }

    /// Counts text that the step under way makes; returns whether there is room for more.
    pub(super) const fn produce(&mut self, len: usize) -> bool {
        self.text_len = self.text_len.saturating_add(len);
        self.text_len <= MAX_TEXT_LEN
    }

    /// Makes sure that nothing is used up.
    ///
    /// # Errors
    /// What is, with the place of the step under way.
    pub(super) fn check(&self) -> Result<(), Error> {
        let what = if self.steps > MAX_STEPS {
            format!("the plan took more than {MAX_STEPS} steps; does it loop?")
        } else if self.text_len > MAX_TEXT_LEN {
            let limit = MAX_TEXT_LEN >> 20;
            format!("the plan produced more than {limit} MiB of text; does it loop?")
        } else {
            return Ok(());
        };
        Err(Error::new(&self.place, "", what))
    }
}
