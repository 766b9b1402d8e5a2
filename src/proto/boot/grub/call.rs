//! A command's words, with its options apart (`grub-core/lib/arg.c`).

use super::super::context::Context;
use super::super::plan::{Place, PlanError};
use crate::prelude::*;

/// An option: its long name, its short one, and whether it has a value.
pub(super) type GrubOption = (&'static str, &'static str, bool);

/// A command with its options and words, and its file and line.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) place: &'a Place,
    /// Facts, budget and notes of the plan.
    pub(super) context: &'a mut Context,
    pub(super) options: Vec<(&'static str, &'a str)>,
    pub(super) words: Vec<&'a str>,
}

impl<'a> Call<'a> {
    /// Separates options from words, in any order; none when an option is unknown or its value is
    /// missing. Without a list of known options all are words.
    pub(super) fn parse(
        name: &'a str,
        words: &'a [String],
        known: Option<&[GrubOption]>,
        place: &'a Place,
        context: &'a mut Context,
    ) -> Option<Self> {
        let (mut options, mut rest) = (Vec::new(), Vec::new());
        let mut words = words.iter().map(String::as_str);
        let Some(known) = known else {
            return Some(Self {
                name,
                place,
                context,
                options,
                words: words.collect(),
            });
        };
        while let Some(word) = words.next() {
            if word == "--" {
                rest.extend(words.by_ref());
            } else if let Some(long) = word.strip_prefix("--") {
                let (long, value) = match long.split_once('=') {
                    Some((long, value)) => (long, Some(value)),
                    None => (long, None),
                };
                let (name, _, has_value) = known.iter().find(|(name, ..)| *name == long)?;
                let value = match value {
                    Some(value) => value,
                    None if *has_value => words.next()?,
                    None => "",
                };
                options.push((*name, value));
            } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
                let (name, _, has_value) = known.iter().find(|(_, letter, _)| *letter == short)?;
                let value = if *has_value { words.next()? } else { "" };
                options.push((*name, value));
            } else {
                // As grub_arg_parse() has it, options may stand behind words.
                rest.push(word);
            }
        }
        Some(Self {
            name,
            place,
            context,
            options,
            words: rest,
        })
    }

    /// Returns the value of an option; the last one counts.
    pub(super) fn option(&self, name: &str) -> Option<&'a str> {
        let mut options = self.options.iter().rev();
        let option = options.find(|(known, _)| *known == name);
        option.map(|(_, value)| *value)
    }

    /// Returns a word by its number, which is below the least count of the command's row.
    pub(super) fn word(&self, at: usize) -> &'a str {
        self.words.get(at).copied().unwrap_or_default()
    }

    /// Returns the error of a command that ends the plan.
    pub(super) fn error(&self, what: &str) -> PlanError {
        PlanError::new(self.place, self.name, what)
    }
}
