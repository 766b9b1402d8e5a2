//! What a command of GRUB has to work on: its words, with its options apart (`grub-core/lib/arg.c`), the
//! variables and the files loaded so far; and what comes of it.

use crate::prelude::*;
use alloc::borrow::Cow;

use super::super::context::Context;
use super::super::facts::Facts;
use super::super::plan::{BootPlan, Place, PlanError, PlanPart, Purpose};
use super::super::step::Step;
use super::lists::EntryReader;
use super::variables::Variables;
use crate::sorted::SortedMap;
use crate::text::url::Url;

const NOT_LINUX: &str = "is a multiboot kernel (Xen, for example), which cannot be started; load the \
                         kernel of Linux with linux and initrd";

/// The effect of a command, or why the plan ends.
pub(super) type StatementResult = Result<StatementEffect, PlanError>;

/// The effect of a command.
#[derive(Debug)]
pub(super) enum StatementEffect {
    /// It succeeded or failed.
    Status(bool),
    /// It failed, for this reason, which becomes a note.
    Fails(Cow<'static, str>),
    /// Nobody can say whether it would succeed: it fails as a condition, for this reason, which
    /// becomes a note, and what is the opposite of it ends the plan.
    Unknown(&'static str),
    /// Another file runs; with `is_new` a new menu of its own.
    Source { url: Url, is_new: bool },
    /// This text runs.
    Run(String),
    /// A function may have this name.
    Call(String),
    /// A step of the driver, and how to continue with its answer.
    Ask(Step, PendingStatement),
    /// The end of the innermost function or entry, with this status if it has one.
    Return(Option<bool>),
    /// The end of this number of loops, or of the round of the last of them.
    Break { loops: usize, continues: bool },
    /// The loaded kernel is started.
    Boot,
}

impl StatementEffect {
    pub(super) const fn fails(why: &'static str) -> Self {
        Self::Fails(Cow::Borrowed(why))
    }
}

/// A command that waits for the answer to a step.
#[derive(Debug)]
pub(super) enum PendingStatement {
    /// It succeeds.
    Nothing,
    /// The text is assigned to this variable.
    Variable(Option<String>),
    /// The variables of an environment block are set, if they are among these or these are none.
    Environment(Vec<String>),
    /// The length of this file is known then, and the command runs again.
    Size(Url),
    /// It succeeds if the signature is good.
    Signature,
    /// Boot loader entries are being read, and go into the menu.
    Entries(Box<EntryReader>),
}

/// Variables, and the files loaded so far.
#[derive(Debug, Default)]
pub(super) struct Shell {
    pub(super) variables: Variables,
    kernel: Option<(Url, String)>,
    initrds: Vec<PlanPart>,
    device_tree: Option<PlanPart>,
    /// The multiboot kernel that was loaded in place of one for Linux, and its line.
    multiboot: Option<(Place, String)>,
    /// Lengths of files that conditions need, by URL; 0 for missing files.
    pub(super) sizes: SortedMap<String, usize>,
    /// Whether the status of the command under way decides what runs next.
    pub(super) is_condition: bool,
    /// What the command under way has loaded without asking for it.
    pub(super) loading: Vec<(Url, Purpose)>,
    /// Why there may be no menu.
    pub(super) blame: Option<PlanError>,
    /// Commands without effect that have been noted.
    noted: Vec<&'static str>,
}

impl Shell {
    /// Begins with the variables that GRUB sets for the network.
    pub(super) fn new(file: &Url, facts: &Facts) -> Self {
        Self {
            variables: Variables::new(file, facts),
            ..Self::default()
        }
    }

    /// Returns whether it is the first time that this command without effect is to be noted.
    pub(super) fn is_first(&mut self, command: &'static str) -> bool {
        let is_first = !self.noted.contains(&command);
        if is_first {
            self.noted.push(command);
        }
        is_first
    }

    /// Where the status decides what runs next, returns how a command that loads `url` continues: it
    /// asks for the file, or fails without it. Elsewhere files are fetched once the plan is known.
    pub(super) fn missing(&mut self, url: &Url, purpose: Purpose) -> Option<StatementEffect> {
        if !self.is_condition {
            self.loading.push((url.clone(), purpose));
            return None;
        }
        match self.sizes.get(&url.to_string()) {
            None => {
                let step = Step::Fetch {
                    url: url.clone(),
                    purpose,
                };
                let pending = PendingStatement::Size(url.clone());
                Some(StatementEffect::Ask(step, pending))
            }
            Some(0) => Some(StatementEffect::Fails(format!("{url} not found").into())),
            Some(_) => None,
        }
    }

    /// Loads a kernel; initrds of one before are dropped, as GRUB does (`grub_cmd_linux`).
    pub(super) fn load_kernel(&mut self, url: Url, command_line: String) {
        self.unload();
        self.kernel = Some((url, command_line));
    }

    /// Drops what was loaded, the initrds with the kernel (`grub_loader_unset`).
    pub(super) fn unload(&mut self) {
        self.kernel = None;
        self.multiboot = None;
        self.initrds.clear();
    }

    /// Remembers a multiboot kernel, and the line that loads it.
    pub(super) fn load_multiboot(&mut self, place: &Place, file: &str) {
        self.unload();
        self.multiboot = Some((place.clone(), file.to_owned()));
    }

    /// Returns whether there is a kernel that initrds can be loaded for.
    pub(super) const fn has_kernel(&self) -> bool {
        self.kernel.is_some()
    }

    /// Loads initrds in place of those before, as GRUB does (`grub_cmd_initrd`).
    pub(super) fn load_initrds(&mut self, initrds: Vec<PlanPart>) {
        self.initrds = initrds;
    }

    /// Loads a device tree in place of the one before.
    pub(super) fn load_device_tree(&mut self, url: Url) {
        self.device_tree = Some(url.into());
    }

    /// Drops files of this purpose, one of which was not there.
    pub(super) fn forget(&mut self, purpose: Purpose) {
        if purpose == Purpose::Initrd {
            self.initrds.clear();
        } else if purpose == Purpose::DeviceTree {
            self.device_tree = None;
        } else {
            self.unload();
        }
    }

    /// Returns the plan of the loaded files; none without a kernel.
    ///
    /// # Errors
    /// What was loaded is no kernel of Linux.
    pub(super) fn plan(&self) -> Result<Option<BootPlan>, PlanError> {
        if let Some((place, file)) = &self.multiboot {
            return Err(PlanError::new(place, file, NOT_LINUX));
        }
        let Some((kernel, command_line)) = self.kernel.clone() else {
            return Ok(None);
        };
        Ok(Some(BootPlan {
            initrds: self.initrds.clone(),
            device_tree: self.device_tree.clone(),
            ..BootPlan::of_kernel(kernel.into(), command_line)
        }))
    }
}

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
