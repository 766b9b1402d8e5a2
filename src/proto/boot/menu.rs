//! A menu as a value: what is shown, and what happens when nobody answers.

pub mod keys;
pub mod session;

use crate::prelude::*;
use core::time::Duration;

/// A choice between entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Menu {
    /// The line above.
    pub title: Option<String>,
    /// What is shown, from the top.
    pub entries: Vec<Entry>,
    /// The entry the bar is on at first.
    pub selected: Option<usize>,
    /// After this long without a key the menu answers itself.
    pub timeout: Option<Duration>,
    /// After this long it answers itself, whatever keys are pressed.
    pub total_timeout: Option<Duration>,
    /// What is started then, when it is not the selected entry.
    pub on_timeout: Option<usize>,
    /// Shown only when a key is pressed within the timeout.
    pub is_hidden: bool,
}

/// A line of a menu.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// What is shown.
    pub text: String,
    /// Whether it can be chosen; the others separate and explain.
    pub is_choice: bool,
    /// The key that chooses it.
    pub key: Option<char>,
    /// The command line, where it may be edited.
    pub command_line: Option<String>,
    /// More about the entry, shown while the bar is on it.
    pub help: Option<String>,
}

impl Entry {
    /// Returns how much text it has, in bytes, and something for the entry itself: an empty one
    /// takes time too, each time its menu is shown.
    pub(super) fn text_len(&self) -> usize {
        let optional = [&self.command_line, &self.help];
        let optional = optional.into_iter().flatten().map(String::len);
        16 + self.text.len() + optional.sum::<usize>()
    }
}
