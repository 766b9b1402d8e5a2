//! The state that commands share, and their results.

use alloc::collections::VecDeque;

use super::super::plan::BootPlan;
use super::super::step::Step;
use super::arguments::CommandFault;
use super::images::Images;
use super::menus::{FormItem, Menus};
use super::settings::ScriptSettings;
use crate::prelude::*;
use crate::text::url::Url;

/// Settings, images and menus of a run.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: ScriptSettings,
    pub(super) images: Images,
    pub(super) menus: Menus,
    /// The parameters for a request, from `param`.
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

/// The effect of a command, or why it failed.
pub(super) type CommandResult = Result<CommandEffect, CommandFault>;

/// The effect of a command that has not failed.
#[derive(Debug)]
pub(super) enum CommandEffect {
    /// Success.
    Done,
    /// A step of the driver, and how to continue with its answer.
    Ask(Step, PendingCommand),
    /// A jump to a label.
    Goto(String),
    /// The end of the script, with this code.
    Exit(i64),
    /// Another script runs, in place of this one with `in_place`.
    Run {
        file: Url,
        text: Vec<u8>,
        in_place: bool,
    },
    /// Another boot file.
    Chain(Url),
    /// A plan.
    Plan(Box<BootPlan>),
}

impl CommandEffect {
    /// Shows a text.
    pub(super) const fn say(text: String) -> Self {
        Self::Ask(Step::Say(text), PendingCommand::Nothing)
    }
}

/// A command that waits for the answer to a step.
#[derive(Debug)]
pub(super) enum PendingCommand {
    /// It succeeds with any answer.
    Nothing,
    /// A key; the command fails without it.
    Prompt,
    /// A text for a setting, and the remaining fields of the form.
    Input {
        setting: String,
        fields: VecDeque<FormItem>,
    },
    /// A choice for a setting.
    Choice {
        setting: String,
        names: Vec<Option<String>>,
    },
    /// The file of an image.
    Image {
        name: String,
        url: Url,
        arguments: String,
        then: ImageUse,
    },
    /// The check of an image's signature.
    Signature { name: String, signature: Box<Url> },
}

/// The use of an image once it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageUse {
    /// Nothing; it is an initrd unless it is started later.
    Keep,
    /// It is the one that `boot` starts.
    Select,
    /// It is started, in place of the script when `in_place`.
    Start { in_place: bool },
    /// This signature of it is checked.
    Verify(Box<Url>),
}
