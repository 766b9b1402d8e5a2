//! The state that commands share, and their results.

use alloc::collections::VecDeque;

use super::super::plan::{BootPlan, Outcome};
use super::super::step::Step;
use super::arguments::CommandFault;
use super::images::{ImageId, ScriptImages};
use super::menus::{FormItem, Menus};
use super::parameters::Parameters;
use super::settings::ScriptSettings;
use crate::prelude::*;
use crate::text::url::Url;

/// Settings, images and menus of a run.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: ScriptSettings,
    pub(super) images: ScriptImages,
    pub(super) menus: Menus,
    pub(super) parameters: Parameters,
    /// Whether the result of the command under way decides what runs after it in its line.
    pub(super) is_condition: bool,
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

    /// Sets a setting to the bytes of a file.
    ///
    /// # Errors
    /// An unknown type, or too many settings.
    pub(super) fn set_content(&mut self, name: &str, octets: Vec<u8>) -> Result<(), CommandFault> {
        let result = self.settings.set_octets(name, octets);
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
    /// What is to be done instead of a boot.
    Instead(Outcome),
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
    /// The limit for this fetch.
    Limit(Box<(Step, Self)>),
    /// The answer to a query, for a setting if it is a text.
    Reply { setting: Option<String> },
    /// A choice for a setting.
    Choice {
        setting: String,
        names: Vec<Option<String>>,
    },
    /// The file of an image.
    Image {
        name: String,
        url: Box<Url>,
        arguments: String,
        then: ImageUse,
    },
    /// The root directory of the ISO image that is to be started.
    #[cfg(feature = "iso")]
    Iso(Box<Url>),
    /// The check of an image's signature.
    Signature { id: ImageId, signature: Box<Url> },
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
    /// A setting becomes its content.
    Set { setting: String, is_kept: bool },
    /// It is the device tree of the kernel.
    DeviceTree,
    /// It is unpacked under this name, or its own without the suffix.
    Extract { name: Option<String> },
    /// Its sum would be shown, and then those of these.
    Digest { others: Vec<String> },
}
