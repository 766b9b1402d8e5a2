//! Options of commands: `--timeout 5000`, `--timeout=5000`, `-t 5000`, `-t5000`, up to the first
//! word that is none.

use super::commands::Fault;
use super::format::parse_integer;
use crate::prelude::*;

/// An option that a command knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    long: &'static str,
    short: char,
    has_value: bool,
}

/// An option without value.
pub(super) const fn flag(long: &'static str, short: char) -> Known {
    Known {
        long,
        short,
        has_value: false,
    }
}

/// An option with a value.
pub(super) const fn valued(long: &'static str, short: char) -> Known {
    Known {
        long,
        short,
        has_value: true,
    }
}

/// What stands behind the name of a command.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    found: Vec<(&'static str, String)>,
    /// The words behind the options.
    pub(super) rest: &'a [String],
}

impl<'a> Arguments<'a> {
    /// Takes the options off `words`.
    ///
    /// # Errors
    /// An option that is not among `known`, or one without its value.
    pub(super) fn parse(mut words: &'a [String], known: &[Known]) -> Result<Self, Fault> {
        let mut found = Vec::new();
        while let [word, rest @ ..] = words {
            if word == "--" {
                words = rest;
                break;
            }
            if word == "-" || !word.starts_with('-') {
                break;
            }
            words = rest;
            let (option, mut value) = find(word, known)
                .ok_or_else(|| Fault::new(word, "not an option of this command"))?;
            if option.has_value && value.is_none() {
                let [next, rest @ ..] = words else {
                    return Err(Fault::new(word, "the value of the option is missing"));
                };
                value = Some(next.as_str());
                words = rest;
            }
            found.push((option.long, value.unwrap_or_default().to_owned()));
        }
        Ok(Self { found, rest: words })
    }

    /// Returns whether the option was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// Returns the value of the option; the last one counts.
    pub(super) fn value(&self, long: &str) -> Option<&str> {
        let mut found = self.found.iter().rev();
        let value = found.find(|(name, _)| *name == long);
        value.map(|(_, value)| value.as_str())
    }

    /// Returns the value of the option as a number that is not negative.
    ///
    /// # Errors
    /// A value that is none.
    pub(super) fn number(&self, long: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = self.value(long) else {
            return Ok(None);
        };
        let number = parse_integer(value).and_then(|number| u64::try_from(number).ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(Fault::new(value, format!("--{long} takes a number"))),
        }
    }

    /// Returns the next word of the rest.
    ///
    /// # Errors
    /// No word is left; `what` is missing then.
    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, Fault> {
        match self.rest {
            [word, rest @ ..] => {
                self.rest = rest;
                Ok(word)
            }
            [] => Err(Fault::new("", format!("{what} is missing"))),
        }
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// A word that is left.
    pub(super) fn end(&self) -> Result<(), Fault> {
        match self.rest.first() {
            Some(word) => Err(Fault::new(word, "one word too many")),
            None => Ok(()),
        }
    }
}

fn find<'a>(word: &'a str, known: &[Known]) -> Option<(Known, Option<&'a str>)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let option = known.iter().find(|known| known.long == name)?;
        return (option.has_value || value.is_none()).then_some((*option, value));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let short = letters.next()?;
    let option = known.iter().find(|known| known.short == short)?;
    match (option.has_value, letters.as_str()) {
        (_, "") => Some((*option, None)),
        (true, value) => Some((*option, Some(value))),
        (false, _) => None,
    }
}
