//! Menus: the entries, the selected one, and the timeouts.

pub mod keys;
pub mod session;

use crate::prelude::*;
use core::time::Duration;

/// A choice between entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Menu {
    /// The line above.
    pub title: Option<String>,
    /// The lines, from the top.
    pub entries: Vec<Entry>,
    /// The entry the bar is on at first.
    pub selected: Option<usize>,
    /// Time without a key after which the menu answers itself.
    pub timeout: Option<Duration>,
    /// Time after which it answers itself in any case.
    pub total_timeout: Option<Duration>,
    /// The entry that is started then, if not the selected one.
    pub on_timeout: Option<usize>,
    /// Shown only when a key is pressed within the timeout.
    pub is_hidden: bool,
    /// The function keys that answer the menu with [`Answer::Help`](super::Answer::Help): bit 1 is
    /// F1.
    pub help_keys: u16,
}

/// A line of a menu.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The text.
    pub text: String,
    /// Whether it can be chosen; the others separate and explain.
    pub is_choice: bool,
    /// The key that chooses it.
    pub key: Option<char>,
    /// Whether that key only moves the bar to it.
    pub key_moves_bar: bool,
    /// The command line, where it may be edited.
    pub command_line: Option<String>,
    /// More about the entry, shown while the bar is on it.
    pub help: Option<String>,
}

impl Entry {
    /// Returns the length of its texts in bytes, plus 16: showing an empty entry costs time too.
    pub(super) fn text_len(&self) -> usize {
        let optional = [&self.command_line, &self.help];
        let optional = optional.into_iter().flatten().map(String::len);
        16 + self.text.len() + optional.sum::<usize>()
    }
}
