//! Errors of a configuration, with file and line.

use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroUsize;
use core::ops::Deref;

use super::plan::Outcome;
use crate::prelude::*;
use crate::text::safe::{Quoted, Safe};
use crate::text::url::{Url, without_credentials};

/// The longest word that is shown, in characters; addresses are shorter.
const MAX_WORD_LEN: usize = 400;

/// A line of a file, or the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Url>,
    /// The line, counted from 1; none for the file as a whole.
    pub line: Option<NonZeroUsize>,
}

impl Place {
    /// Returns the place that is a file as a whole.
    pub fn whole(file: &Url) -> Self {
        Self {
            file: Arc::new(file.clone()),
            line: None,
        }
    }

    /// Returns a line of a file, counted from 1.
    pub(super) const fn of_line(file: Arc<Url>, line: usize) -> Self {
        let line = NonZeroUsize::new(line);
        Self { file, line }
    }

    /// Returns a line of the same file, counted from 1.
    pub(super) fn at(&self, line: usize) -> Self {
        Self::of_line(self.file.clone(), line)
    }

    /// Moves to the next line, from the whole file to the first.
    pub(super) fn advance(&mut self) {
        let line = self.line.map_or(0, NonZeroUsize::get);
        self.line = NonZeroUsize::new(line.saturating_add(1));
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Safe::name(&self.file))?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// The reason for having no plan. In a box, since most of what an interpreter does may return it, and a
/// value of eleven words would be copied at each step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.place, self.without_place())]
pub struct PlanError(Box<PlanFault>);

/// The place, the word at fault, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFault {
    /// The file and line.
    pub place: Place,
    /// The word at fault, without credentials; none when it is no single word.
    pub word: Option<String>,
    /// What is wrong, and what to try.
    pub what: String,
    /// What the configuration says to do instead, if nothing is wrong at all.
    pub outcome: Option<Outcome>,
}

impl PlanError {
    /// Returns the error for `word` at `place`; an empty word is not shown.
    pub fn new(place: &Place, word: &str, what: impl Into<String>) -> Self {
        let word = Some(word).filter(|word| !word.is_empty());
        let mut error = Self::at(place, what);
        error.0.word = word.map(|word| without_credentials(shortened(word)));
        error
    }

    /// Returns the error at `place` for which no single word is at fault.
    pub fn at(place: &Place, what: impl Into<String>) -> Self {
        Self(Box::new(PlanFault {
            place: place.clone(),
            word: None,
            what: what.into(),
            outcome: None,
        }))
    }

    /// Returns the error with another text of what is wrong.
    #[cfg(feature = "grub")]
    pub(super) fn with_what(mut self, what: String) -> Self {
        self.0.what = what;
        self
    }

    /// Returns the error, marked as what the configuration says to do.
    pub(super) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }

    /// Returns the error, marked as the wish to boot from a local disk.
    pub(super) fn local_boot(self) -> Self {
        self.with_outcome(Outcome::LocalBoot)
    }

    /// Returns the text without the place.
    pub(super) fn without_place(&self) -> String {
        match &self.word {
            Some(word) => format!("{}: {}", Safe::name(Quoted(word)), self.what),
            None => self.what.clone(),
        }
    }
}

impl Deref for PlanError {
    type Target = PlanFault;

    fn deref(&self) -> &PlanFault {
        &self.0
    }
}

/// Returns a word as it is shown: its length depends on the server.
fn shortened(word: &str) -> &str {
    let end = word.char_indices().nth(MAX_WORD_LEN);
    end.and_then(|(end, _)| word.get(..end)).unwrap_or(word)
}
