//! The arguments of a command: its options (`--timeout 5000`, `--timeout=5000`, `-t 5000`, `-t5000`, and
//! `-ar` for `-a -r`), up to the first word that is none, then its words; and why a command failed.

use core::time::Duration;

use super::super::context::Context;
use super::super::plan::Place;
use super::format::parse_integer;
use crate::prelude::*;

/// The failure of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandFault {
    /// The word at fault; the command itself when none.
    pub(super) word: Option<String>,
    pub(super) what: String,
}

impl CommandFault {
    pub(super) fn new(word: &str, what: impl Into<String>) -> Self {
        Self {
            word: Some(word.to_owned()).filter(|word| !word.is_empty()),
            ..Self::of_command(what)
        }
    }

    /// Returns the failure of a command for which no single word is at fault.
    pub(super) fn of_command(what: impl Into<String>) -> Self {
        Self {
            word: None,
            what: what.into(),
        }
    }
}

/// An option that a command knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommandOption {
    long: &'static str,
    short: char,
    has_value: bool,
}

impl CommandOption {
    /// Returns its value: that in the same word, or the next word.
    fn value<'a>(
        &self,
        word: &str,
        value: Option<&'a str>,
        words: &mut &'a [String],
    ) -> Result<&'a str, CommandFault> {
        if !self.has_value {
            return Ok("");
        }
        if let Some(value) = value {
            return Ok(value);
        }
        let [next, rest @ ..] = *words else {
            let what = "the value of the option is missing";
            return Err(CommandFault::new(word, what));
        };
        *words = rest;
        Ok(next)
    }
}

/// Returns an option without value.
pub(super) const fn flag(long: &'static str, short: char) -> CommandOption {
    CommandOption {
        long,
        short,
        has_value: false,
    }
}

/// Returns an option with a value.
pub(super) const fn valued(long: &'static str, short: char) -> CommandOption {
    CommandOption {
        long,
        short,
        has_value: true,
    }
}

/// The options and words of a command, with its file and line.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    /// The name by which the command was called.
    pub(super) command: &'a str,
    /// The line of the script.
    pub(super) place: &'a Place,
    /// Facts, budget and notes of the plan.
    pub(super) context: &'a mut Context,
    options: Vec<(&'static str, &'a str)>,
    /// The words after the options.
    pub(super) words: &'a [String],
}

impl<'a> Arguments<'a> {
    /// Returns the words of a command that has no options.
    pub(super) const fn without_options(
        command: &'a str,
        words: &'a [String],
        place: &'a Place,
        context: &'a mut Context,
    ) -> Self {
        Self {
            command,
            place,
            context,
            options: Vec::new(),
            words,
        }
    }

    /// Separates the options of a command from its words.
    ///
    /// # Errors
    /// An option that is not among `known`, or one without its value.
    pub(super) fn parse(
        command: &'a str,
        mut words: &'a [String],
        known: &[CommandOption],
        place: &'a Place,
        context: &'a mut Context,
    ) -> Result<Self, CommandFault> {
        let mut options = Vec::new();
        while let [word, rest @ ..] = words {
            if word == "--" {
                words = rest;
                break;
            }
            if word == "-" || !word.starts_with('-') {
                break;
            }
            words = rest;
            let unknown = || CommandFault::new(word, "not an option of this command");
            if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                let option = known.iter().find(|known| known.long == name);
                let is_fit = |option: &&CommandOption| option.has_value || value.is_none();
                let option = option.filter(is_fit).ok_or_else(unknown)?;
                options.push((option.long, option.value(word, value, &mut words)?));
                continue;
            }
            // Several may stand together; the first that has a value takes the rest (getopt of iPXE).
            let mut letters = word.get(1..).unwrap_or_default().chars();
            while let Some(letter) = letters.next() {
                let option = known.iter().find(|known| known.short == letter);
                let option = option.ok_or_else(unknown)?;
                let rest = letters.as_str();
                let value = Some(rest).filter(|rest| !rest.is_empty());
                options.push((option.long, option.value(word, value, &mut words)?));
                if option.has_value {
                    break;
                }
            }
        }
        Ok(Self {
            command,
            place,
            context,
            options,
            words,
        })
    }

    /// Returns whether the option was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// Returns the value of the option; the last one counts.
    pub(super) fn value(&self, long: &str) -> Option<&'a str> {
        let mut options = self.options.iter().rev();
        let value = options.find(|(name, _)| *name == long);
        value.map(|(_, value)| *value)
    }

    /// Returns `--timeout` in milliseconds; 0 means none.
    ///
    /// # Errors
    /// A value that is no number, or a negative one.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, CommandFault> {
        let Some(value) = self.value("timeout") else {
            return Ok(None);
        };
        let number = number(value)
            .ok()
            .and_then(|number| u64::try_from(number).ok());
        match number {
            Some(milliseconds) => {
                // In iPXE a timeout of 0 is none.
                let timeout = Some(milliseconds).filter(|timeout| *timeout > 0);
                Ok(timeout.map(Duration::from_millis))
            }
            None => Err(CommandFault::new(value, "--timeout needs a number")),
        }
    }

    /// Returns `--key`, the character itself or its code; none for the function keys.
    ///
    /// # Errors
    /// Several characters that are no number.
    pub(super) fn key(&self) -> Result<Option<char>, CommandFault> {
        let Some(text) = self.value("key") else {
            return Ok(None);
        };
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(key), None) => Ok(Some(key)),
            _ => {
                let code = u32::try_from(number(text)?).ok().filter(|code| *code > 0);
                // Keys without a character have codes from 0x100 on (iPXE's <ipxe/keys.h>).
                Ok(code.filter(|code| *code < 0x80).and_then(char::from_u32))
            }
        }
    }

    /// Returns a word by its number, which is below the least count of the command's row.
    pub(super) fn word(&self, at: usize) -> &'a str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// Returns the words from this number on, with a space between.
    pub(super) fn text(&self, at: usize) -> String {
        self.words.get(at..).unwrap_or_default().join(" ")
    }
}

/// Parses a number; an empty word is 0, as for strtoul() in `parse_integer` of iPXE.
///
/// # Errors
/// The word is not a number.
pub(super) fn number(word: &str) -> Result<i64, CommandFault> {
    if word.is_empty() {
        return Ok(0);
    }
    parse_integer(word).ok_or_else(|| CommandFault::new(word, "is not a number"))
}
