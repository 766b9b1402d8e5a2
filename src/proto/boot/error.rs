//! Why there is no plan, with the place.

use crate::prelude::*;
use alloc::sync::Arc;
use core::fmt;

use crate::text::safe::Safe;
use crate::text::url::Url;

/// The longest word that is shown, in characters; addresses are shorter.
const MAX_WORD_LEN: usize = 400;

/// A line of a file; line 0 is the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Url>,
    /// The line, counted from 1.
    pub line: usize,
}

impl Place {
    /// Returns the place that is a file as a whole.
    pub fn whole(file: &Url) -> Self {
        Self {
            file: Arc::new(file.clone()),
            line: 0,
        }
    }

    /// Returns a line of the same file.
    pub(super) fn at(&self, line: usize) -> Self {
        let file = self.file.clone();
        Self { file, line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Safe::name(&self.file))?;
        match self.line {
            0 => Ok(()),
            line => write!(f, ":{line}"),
        }
    }
}

/// Why there is no plan: the place, the word at fault, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}{what}", quoted(word))]
pub struct Error {
    /// Where.
    pub place: Place,
    /// The word at fault; empty when it is no single word. Holds no credentials.
    pub word: String,
    /// What is wrong, and what to try.
    pub what: String,
    /// Whether nothing is wrong at all: the configuration says to boot from a local disk.
    pub is_local_boot: bool,
}

impl Error {
    /// Returns the error for `word` at `place`.
    pub fn new(place: &Place, word: &str, what: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            word: crate::text::url::without_credentials(shortened(word)),
            what: what.into(),
            is_local_boot: false,
        }
    }

    /// Returns what is wrong, for where the place stands beside it.
    pub(super) fn without_place(&self) -> String {
        format!("{}{}", quoted(&self.word), self.what)
    }

    /// Returns the end of a configuration that boots from a local disk, or nothing.
    pub(super) fn local_boot(place: &Place, word: &str, what: &str) -> Self {
        Self {
            is_local_boot: true,
            ..Self::new(place, word, what)
        }
    }
}

/// Returns what is shown of a word: a server decides how long it is.
fn shortened(word: &str) -> &str {
    let end = word.char_indices().nth(MAX_WORD_LEN);
    end.and_then(|(end, _)| word.get(..end)).unwrap_or(word)
}

fn quoted(word: &str) -> String {
    match word {
        "" => String::new(),
        _ => format!("{}: ", Safe::name(format_args!("{word:?}"))),
    }
}
