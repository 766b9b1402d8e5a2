//! What all languages share: the facts, the notes that say where a decision came
//! from, and one budget for all files of a plan, whichever language they are in.
//!
//! A server decides what a configuration says, so its length, its loops and the text of its
//! variables must be limited. Limits of each language alone would multiply: by chained files, by their
//! commands, by the variables in a command.

use core::fmt;

use super::facts::Facts;
use super::plan::{BootPlan, Place, PlanError, Purpose};
use super::step::Step;
use crate::prelude::*;
use crate::text::safe::Safe;
use crate::text::url::Url;

/// Limits of the notes and of their length in characters, since their number depends on the server.
// A script that chains to itself made hundreds of megabytes of notes under the fuzzer.
const MAX_NOTES: usize = 2_000;
const MAX_NOTE_LEN: usize = 1_000;

/// Limit of the files that are refused by name; beyond it all are.
const MAX_REFUSED: usize = 256;

/// Limit of commands, statements and conditions that a plan runs. A script that waits five seconds
/// before each try gets through days with it; a menu of 1 MiB has some 20,000 lines.
// Limits for each file let a script of 1 MiB keep the processor busy for minutes.
const MAX_STEPS: usize = 100_000;
/// Limit of the text that a plan reads, expands and shows, in bytes. Real plans stay below
/// 1 MiB, the longest single file that is read.
const MAX_TEXT_LEN: usize = 16 << 20;

/// Why a file is refused.
pub(super) const REFUSED: &str = "its signature is bad: imgverify has failed for it";

/// A decision of the planner, with the line it follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file and line.
    pub place: Place,
    /// The decision.
    pub text: String,
    /// Whether it is for `-v` only.
    pub is_detail: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, Safe::line(&self.text))
    }
}

/// Facts, budget and notes of a plan.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) facts: Facts,
    pub(super) budget: Budget,
    notes: Vec<Note>,
    /// The files whose signatures a script has checked, and not found good.
    // They are not remembered by the images of a script: it can fetch them again, under other names, and
    // lead to a configuration that names them.
    refused: Vec<Url>,
}

impl Context {
    /// Begins with the whole budget and no notes.
    pub(super) const fn new(facts: Facts, budget: Budget) -> Self {
        Self {
            facts,
            budget,
            notes: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Returns the decisions so far, in order.
    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Adds a note on a decision; beyond the limit it is dropped.
    pub(super) fn note(&mut self, place: &Place, text: impl Into<String>) {
        self.add_note(place, text.into(), false);
    }

    /// Adds a note for `-v` only.
    pub(super) fn note_detail(&mut self, place: &Place, text: impl Into<String>) {
        self.add_note(place, text.into(), true);
    }

    /// Refuses the file of this address from now on, until it is accepted.
    pub(super) fn refuse(&mut self, url: &Url) {
        if !self.is_refused(url) {
            self.refused.push(url.clone());
        }
    }

    /// Takes back the refusal of a file, whose signature is good.
    pub(super) fn accept(&mut self, url: &Url) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.retain(|refused| !refused.is_of(url));
        }
    }

    /// Returns whether the file, or the image that it is in, is refused.
    pub(super) fn is_refused(&self, url: &Url) -> bool {
        self.refused.len() >= MAX_REFUSED || self.refused.iter().any(|refused| url.is_of(refused))
    }

    /// Makes sure that a file may be started, or loaded with a kernel.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn check_refusal(&self, url: &Url) -> Result<(), PlanError> {
        if self.is_refused(url) {
            return Err(PlanError::at(&Place::whole(url), REFUSED));
        }
        Ok(())
    }

    fn add_note(&mut self, place: &Place, text: String, is_detail: bool) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(Note {
                place: place.clone(),
                text: text.chars().take(MAX_NOTE_LEN).collect(),
                is_detail,
            });
        }
    }
}

/// The next turn of a language's interpreter.
#[derive(Debug)]
pub(super) enum Turn {
    /// A step of the driver.
    Ask(Step),
    /// Another boot file.
    Chain(Url),
    /// The plan is ready.
    Done(Box<BootPlan>),
}

impl Turn {
    /// Asks for a file that is read as text.
    pub(super) const fn configuration(url: Url) -> Self {
        let purpose = Purpose::Configuration;
        Self::Ask(Step::Fetch { url, purpose })
    }
}

/// Steps and text used so far, and the place of the last step.
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

    /// Counts a step at `place`.
    ///
    /// # Errors
    /// The budget is used up.
    pub(super) fn step(&mut self, place: &Place) -> Result<(), PlanError> {
        self.place.clone_from(place);
        self.steps += 1;
        self.check()
    }

    /// Counts text that is read at `place`.
    ///
    /// # Errors
    /// The budget is used up.
    pub(super) fn read(&mut self, place: &Place, len: usize) -> Result<(), PlanError> {
        self.place.clone_from(place);
        self.produce(len);
        self.check()
    }

    /// Counts text that the current step produces; returns whether the budget allows it.
    pub(super) const fn produce(&mut self, len: usize) -> bool {
        self.text_len = self.text_len.saturating_add(len);
        self.text_len <= MAX_TEXT_LEN
    }

    /// Checks that the budget is not used up.
    ///
    /// # Errors
    /// It is, with the place of the current step.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let what = if self.steps > MAX_STEPS {
            format!("the plan needs more than {MAX_STEPS} steps; does it loop?")
        } else if self.text_len > MAX_TEXT_LEN {
            let limit = MAX_TEXT_LEN >> 20;
            format!("the plan produced more than {limit} MiB of text; does it loop?")
        } else {
            return Ok(());
        };
        Err(PlanError::at(&self.place, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusing(list: &[&str]) -> Context {
        let url: Url = "http://h/a".parse().unwrap();
        let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        let budget = Budget::new(Place::whole(&url));
        let facts = Facts::new(url, Default::default(), address, server);
        let mut context = Context::new(facts, budget);
        for url in list {
            context.refuse(&url.parse().unwrap());
        }
        context
    }

    #[test]
    fn a_file_is_refused_however_its_address_is_written_and_with_what_is_in_it() {
        let mut context = refusing(&["http://h/x.iso", "http://h/y.iso#/a"]);
        for (url, is_refused) in [
            ("http://u:p@H:80/x.iso", true),
            ("http://h/x.iso#/a", true),
            ("http://h/x.iso?1", false),
            ("http://h/X.iso", false),
            ("http://h:81/x.iso", false),
            ("https://h/x.iso", false),
            ("http://h/y.iso#/a", true),
            ("http://h/y.iso#/b", false),
            ("http://h/y.iso", false),
        ] {
            assert_eq!(
                context.is_refused(&url.parse().unwrap()),
                is_refused,
                "{url}"
            );
        }
        // One good file makes no good image.
        context.accept(&"http://h/x.iso#/a".parse().unwrap());
        assert!(context.is_refused(&"http://h/x.iso".parse().unwrap()));
        context.accept(&"http://h/x.iso".parse().unwrap());
        assert!(!context.is_refused(&"http://h/x.iso#/a".parse().unwrap()));
    }

    #[test]
    fn everything_is_refused_where_the_list_is_full() {
        let many: Vec<_> = (0..=MAX_REFUSED).map(|n| format!("http://h/{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut context = refusing(&many);
        context.accept(&"http://h/0".parse().unwrap());
        assert!(context.is_refused(&"http://h/other".parse().unwrap()));
    }
}
