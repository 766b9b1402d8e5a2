//! What commands work on, and what they lead to.

use alloc::collections::VecDeque;

use super::super::plan::BootPlan;
use super::super::step::Step;
use super::arguments::CommandFault;
use super::images::Images;
use super::menus::{FormItem, Menus};
use super::settings::ScriptSettings;
use crate::prelude::*;
use crate::text::url::Url;

/// What commands work on.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: ScriptSettings,
    pub(super) images: Images,
    pub(super) menus: Menus,
    /// What `param` has collected for a request.
    pub(super) parameters: Vec<(String, String)>,
}

impl State {
    /// Sets a setting.
    ///
    /// # Errors
    /// A text that is not of the setting's type, or too many settings.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), CommandFault> {
        let result = self.settings.set(name, text);
        result.map_err(|what| CommandFault::new(name, what))
    }
}

/// What a command leads to.
#[derive(Debug)]
pub(super) enum CommandEffect {
    /// It is done.
    Done,
    /// It has to ask first.
    Ask(Step, PendingCommand),
    /// Another line is next.
    Goto(String),
    /// The script ends with this code.
    Exit(i64),
    /// Another script runs, in place of this one with `in_place`.
    Run {
        file: Url,
        text: Vec<u8>,
        in_place: bool,
    },
    /// Another boot file takes over.
    Chain(Url),
    /// The plan is ready.
    Plan(Box<BootPlan>),
}

impl CommandEffect {
    /// Shows a text.
    pub(super) const fn say(text: String) -> Self {
        Self::Ask(Step::Say(text), PendingCommand::Nothing)
    }
}

/// What a command waits for, and what it does then.
#[derive(Debug)]
pub(super) enum PendingCommand {
    /// Nothing to do.
    Nothing,
    /// A key that decides between success and failure.
    Prompt,
    /// A text that becomes a setting, and the fields of the form behind it.
    Input {
        setting: String,
        fields: VecDeque<FormItem>,
    },
    /// A choice that becomes a setting.
    Choice {
        setting: String,
        names: Vec<Option<String>>,
    },
    /// A file that becomes an image.
    Image {
        name: String,
        url: Url,
        arguments: String,
        then: ImageUse,
    },
    /// Whether the image of this name has been signed.
    Signature { name: String, signature: Box<Url> },
}

/// What is done with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageUse {
    /// It is kept.
    Keep,
    /// It is the one that `boot` starts.
    Select,
    /// It is started, in place of the script when `in_place`.
    Start { in_place: bool },
    /// This signature of it is checked.
    Verify(Box<Url>),
}
