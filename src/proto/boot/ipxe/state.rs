//! The state that commands share – settings, images, menus, and parameters of requests –, and their results.

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::super::plan::{BootPlan, Outcome};
use super::super::step::{Entry, Menu, Step};
use super::arguments::CommandFault;
use super::format::Type;
use super::images::{ImageId, ScriptImages};
use super::settings::ScriptSettings;
use crate::text::url::{Form, Url};

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

/// Limit of lines in all menus together.
const MAX_ITEMS: usize = 10_000;
/// Limit of menus at a time.
const MAX_FORMS: usize = 256;

/// A line of a menu or form.
#[derive(Debug, Clone)]
pub(super) struct FormItem {
    /// The value that choosing it sets; none for a separator.
    pub(super) name: Option<String>,
    pub(super) text: String,
    pub(super) key: Option<char>,
    pub(super) is_default: bool,
    pub(super) is_secret: bool,
}

/// A menu or form.
#[derive(Debug, Clone)]
pub(super) struct MenuForm {
    /// Empty for the unnamed one.
    name: String,
    title: String,
    pub(super) items: Vec<FormItem>,
}

/// All menus and forms of a run.
#[derive(Debug, Default)]
pub(super) struct Menus(Vec<MenuForm>);

impl Menus {
    /// Begins a menu or form, in place of one with the same name.
    ///
    /// # Errors
    /// Too many of them.
    pub(super) fn begin(&mut self, name: &str, title: String) -> Result<(), CommandFault> {
        self.remove(name);
        if self.0.len() >= MAX_FORMS {
            let what = format!("there are more than {MAX_FORMS} menus");
            return Err(CommandFault::new(name, what));
        }
        self.0.push(MenuForm {
            name: name.to_owned(),
            title,
            items: Vec::new(),
        });
        Ok(())
    }

    /// Removes a menu or form.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|form| form.name != name);
    }

    /// Puts a line at the end of a menu or form.
    ///
    /// # Errors
    /// No such menu, or too many lines.
    pub(super) fn add(&mut self, name: &str, item: FormItem) -> Result<(), CommandFault> {
        if self.0.iter().map(|form| form.items.len()).sum::<usize>() >= MAX_ITEMS {
            let what = format!("the menus have more than {MAX_ITEMS} lines");
            return Err(CommandFault::new(&item.text, what));
        }
        self.find(name)?.items.push(item);
        Ok(())
    }

    /// Returns the menu or form of this name.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn find(&mut self, name: &str) -> Result<&mut MenuForm, CommandFault> {
        let form = self.0.iter_mut().find(|form| form.name == name);
        form.ok_or_else(|| CommandFault::new(name, "no such menu"))
    }
}

impl MenuForm {
    /// Returns the menu to be shown, with the bar on `default` or on the item marked so.
    ///
    /// # Errors
    /// A menu without a line that could be chosen.
    pub(super) fn menu(
        &self,
        default: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Menu, CommandFault> {
        let entries = self.items.iter().map(|item| Entry {
            text: item.text.clone(),
            is_choice: item.name.is_some(),
            key: item.key,
            ..Entry::default()
        });
        let named = |item: &FormItem| item.name.is_some() && item.name.as_deref() == default;
        let position = |wanted: &dyn Fn(&FormItem) -> bool| self.items.iter().position(wanted);
        let selected = position(&named)
            .or_else(|| position(&|item| item.is_default && item.name.is_some()))
            .or_else(|| position(&|item| item.name.is_some()));
        if selected.is_none() {
            return Err(CommandFault::new(
                &self.title,
                "the menu has no entry to choose",
            ));
        }
        Ok(Menu {
            title: Some(self.title.clone()).filter(|title| !title.is_empty()),
            entries: entries.collect(),
            selected,
            timeout,
            ..Menu::default()
        })
    }
}

/// Limit of parameters in all lists together, since a script can add them in a loop.
const MAX_PARAMETERS: usize = 1_000;

/// A list of parameters.
#[derive(Debug, Default)]
pub(super) struct ParameterList {
    /// Empty for the unnamed one.
    name: String,
    method: String,
    /// Names and values of the form.
    fields: Vec<(String, String)>,
    /// Names and values of the headers.
    headers: Vec<(String, String)>,
}

/// All lists of a run.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<ParameterList>);

impl Parameters {
    /// Takes the list of this name, which serves one request (`parse_uri` of iPXE claims it).
    pub(super) fn take(&mut self, name: &str) -> Option<ParameterList> {
        let at = self.0.iter().position(|list| list.name == name);
        at.map(|at| self.0.swap_remove(at))
    }

    /// Begins a list, in place of one with the same name.
    pub(super) fn begin(&mut self, name: &str, method: &str) -> Result<(), CommandFault> {
        self.take(name);
        if self.0.len() >= MAX_PARAMETERS {
            return Err(too_many());
        }
        self.0.push(ParameterList {
            name: name.to_owned(),
            method: method.to_owned(),
            ..ParameterList::default()
        });
        Ok(())
    }

    /// Adds a field of the form or a header to the list of this name.
    pub(super) fn add(
        &mut self,
        list: &str,
        is_header: bool,
        parameter: (String, String),
    ) -> Result<(), CommandFault> {
        let lists = self.0.iter();
        let sizes = lists.map(|list| list.fields.len() + list.headers.len());
        if sizes.sum::<usize>() >= MAX_PARAMETERS {
            return Err(too_many());
        }
        let found = self.0.iter_mut().find(|known| known.name == list);
        let found = found.ok_or_else(|| CommandFault::new(list, "no such list of parameters"))?;
        let list = if is_header {
            &mut found.headers
        } else {
            &mut found.fields
        };
        list.push(parameter);
        Ok(())
    }
}

impl ParameterList {
    /// Returns the request of the list: as iPXE, a POST where it has fields and no method.
    ///
    /// # Errors
    /// A method or header that is not valid.
    pub(super) fn form(self) -> Result<Form, CommandFault> {
        let value = |value: &str| Type::UriString.format(value.as_bytes());
        let fields = self.fields.iter();
        let fields = fields.map(|(name, text)| format!("{}={}", value(name), value(text)));
        let body = fields.collect::<Vec<_>>().join("&");
        let method = match self.method.as_str() {
            "" if body.is_empty() => "GET",
            "" => "POST",
            method => method,
        };
        let form = Form::new(method, &self.headers, body);
        form.map_err(|word| CommandFault::new(&word, "is no valid method or header of a request"))
    }
}

fn too_many() -> CommandFault {
    CommandFault::of_command(format!("more than {MAX_PARAMETERS} parameters"))
}
