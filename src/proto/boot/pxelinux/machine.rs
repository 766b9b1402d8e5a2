//! The pxelinux machine: searches the configuration, reads it with its includes, shows the menu or the
//! prompt, and boots a label.

use crate::prelude::*;
use alloc::collections::VecDeque;

use super::super::context::{Context, Turn};
use super::super::loaders::{Candidate, Search, Searched, kernel_refusal};
use super::super::plan::{BootPlan, Place, PlanError, Purpose};
use super::super::step::{Answer, FetchResult, Step};
use super::boot::boot;
use super::config::{Config, Text};
use super::menus::EntryTarget;
use super::modules::BootTarget;
use super::reader::{ConfigReader, FolderPrefix, NamedFile, ReadPurpose, search_list};
use super::words::{display_text, join, split_word};
use crate::text::url::Url;

/// Limit of menus and prompts that are shown: without it two menus without entries to boot
/// could refer to each other for ever when nobody is there.
const MAX_QUESTIONS: usize = 1000;
/// What a menu or label that is looked through counts as, in bytes of text.
const LOOK_COST: usize = 4;
/// Limit of labels that refer to each other by `ifcpu64.c32`.
const MAX_LABELS: usize = 16;

/// The interpreter of pxelinux, from the search of its configuration to the kernel.
#[derive(Debug)]
pub(crate) struct PxelinuxMachine {
    prefix: FolderPrefix,
    /// The main configuration, for which `~` stands.
    main: Url,
    pub(super) config: Config,
    reader: ConfigReader,
    pub(super) phase: State,
    questions: usize,
    /// Set once somebody has typed at the prompt.
    pub(super) is_attended: bool,
    /// Set once a DEFAULT that cannot be booted led to the prompt.
    pub(super) has_refused_default: bool,
    /// Set while the command of ONERROR is booted, which does not lead to itself.
    pub(super) is_on_error: bool,
}

/// The answer that the machine waits for.
#[derive(Debug)]
pub(super) enum State {
    /// Trying one name after the other.
    Searching(Search),
    /// Reading it, with its includes.
    Reading,
    /// Showing what there is to say before the choice.
    Saying(VecDeque<String>),
    /// Waiting for a choice from the menu of this number, with the target of each entry.
    Choosing(usize, Vec<EntryTarget>),
    /// Waiting for a line at the prompt.
    Prompting,
    /// Fetching the file of a function key, and waiting for a key where it is shown over the menu of
    /// this number.
    Helping { menu: Option<usize>, key: Help },
    /// Fetching the kernel, of a line that was typed or that may be in another folder.
    Trying(Box<OptionalKernel>),
}

/// The steps that show the file of a function key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Help {
    Fetching,
    Shown,
    Waiting,
}

/// A kernel that is fetched before the plan is made, since there is another way if it is missing.
#[derive(Debug)]
pub(super) struct OptionalKernel {
    plan: BootPlan,
    /// The name that was typed.
    typed: Option<String>,
    /// The label, its arguments, and the edited ones, for another folder.
    again: Option<(FolderPrefix, usize, String, Option<String>)>,
    /// The command line, for ONERROR.
    line: Text,
}

impl PxelinuxMachine {
    /// Begins with the search beside `boot_file`.
    pub(crate) fn search(boot_file: &Url, context: &Context) -> Result<Self, PlanError> {
        let prefix = FolderPrefix::new(boot_file, &context.facts);
        let place = Place::whole(boot_file);
        let names: Result<_, PlanError> = search_list(&context.facts)
            .into_iter()
            .map(|(name, machine)| {
                let url = prefix.resolve(&name, &place)?;
                Ok(Candidate { url, machine })
            })
            .collect();
        let search = Search::new(names?, "pxelinux.cfg/default");
        Ok(Self::in_phase(prefix, boot_file, State::Searching(search)))
    }

    /// Begins with a configuration that has been fetched.
    pub(crate) fn of_file(
        url: &Url,
        text: &[u8],
        context: &mut Context,
    ) -> Result<Self, PlanError> {
        let prefix = FolderPrefix::of_file(url, &context.facts);
        let mut machine = Self::in_phase(prefix, url, State::Reading);
        machine.reader.open(url, text, context)?;
        Ok(machine)
    }

    fn in_phase(prefix: FolderPrefix, main: &Url, phase: State) -> Self {
        Self {
            prefix,
            main: main.clone(),
            config: Config::new(),
            phase,
            reader: ConfigReader::default(),
            questions: 0,
            is_attended: false,
            has_refused_default: false,
            is_on_error: false,
        }
    }

    /// Handles the answer to the last step.
    pub(crate) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        match &mut self.phase {
            State::Searching(search) => match search.next(answer, context)? {
                Searched::Asks(turn) => Ok(turn),
                Searched::Found(url, text) => {
                    self.reader.open(&url, &text, context)?;
                    self.main = url;
                    self.phase = State::Reading;
                    self.read(Answer::Begin, context)
                }
            },
            State::Reading => self.read(answer, context),
            State::Saying(_) => self.say(context),
            State::Choosing(number, choices) => {
                let (number, choices) = (*number, core::mem::take(choices));
                if let Answer::Help(key) = answer {
                    return self.help(key, Some(number), context);
                }
                self.chosen(&choices, answer, context)
            }
            State::Prompting => match answer {
                Answer::Text(text) => {
                    self.is_attended = true;
                    self.typed(text.trim(), context)
                }
                Answer::Cancelled => {
                    self.is_attended = true;
                    self.prompt(context)
                }
                Answer::Help(key) => self.help(key, None, context),
                Answer::Begin
                | Answer::File { .. }
                | Answer::Missing
                | Answer::Failed(_)
                | Answer::Chosen { .. }
                | Answer::Pressed
                | Answer::TimedOut
                | Answer::Done => self.unanswered(context),
            },
            State::Helping { menu, key } => {
                let (menu, key) = (*menu, *key);
                self.helped(menu, key, answer, context)
            }
            State::Trying(attempt) => {
                let plan = attempt.plan.clone();
                let (typed, again) = (attempt.typed.take(), attempt.again.take());
                let line = attempt.line.clone();
                let url = plan.kernel.url.clone();
                let why = match answer.into_fetched() {
                    FetchResult::File(head) => match kernel_refusal(&url, &head) {
                        Some(why) if typed.is_some() => {
                            return self.refuse(format!("{url} {why}"), context);
                        }
                        _ => return Ok(Turn::Done(Box::new(plan))),
                    },
                    FetchResult::Missing => {
                        if let Some((prefix, number, arguments, edited)) = again {
                            let what = format!("{url} not found; trying the folder above");
                            context.note(&Place::whole(&self.main), what);
                            self.prefix = prefix;
                            let edited = edited.as_deref();
                            let turn = self.boot(number, arguments, edited, context)?;
                            return Ok(self.tried(turn, typed));
                        } else if let Some((number, arguments)) = self.on_error(&line, context) {
                            let turn = self.boot(number, arguments, None, context)?;
                            return Ok(self.tried(turn, typed));
                        }
                        match typed {
                            Some(_) => String::new(),
                            None => "the server has no such file".to_owned(),
                        }
                    }
                    FetchResult::Failed(why) => why,
                };
                match typed {
                    Some(name) => self.refuse(no_kernel(&name, &why), context),
                    None => Err(PlanError::at(&Place::whole(&url), why)),
                }
            }
        }
    }

    /// Fetches the kernel of a line that was typed at once, so that a slip leads back to the prompt
    /// and does not end the boot.
    pub(super) fn tried(&mut self, turn: Turn, typed: Option<String>) -> Turn {
        match (turn, typed) {
            (Turn::Done(plan), Some(name)) => {
                let line = Text {
                    value: name.clone(),
                    place: Place::whole(&self.main),
                };
                let turn = self.attempt(*plan, None, line);
                self.tried(turn, Some(name))
            }
            (turn, Some(name)) => {
                if let State::Trying(attempt) = &mut self.phase {
                    attempt.typed = Some(name);
                }
                turn
            }
            (turn, None) => turn,
        }
    }

    fn attempt(
        &mut self,
        plan: BootPlan,
        again: Option<(FolderPrefix, usize, String, Option<String>)>,
        line: Text,
    ) -> Turn {
        let url = plan.kernel.url.clone();
        let attempt = OptionalKernel {
            plan,
            typed: None,
            again,
            line,
        };
        self.phase = State::Trying(Box::new(attempt));
        let purpose = Purpose::Kernel;
        Turn::Ask(Step::Fetch { url, purpose })
    }

    /// Fetches the file of a function key, which is shown over the menu of this number or the prompt.
    fn help(
        &mut self,
        key: u8,
        menu: Option<usize>,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        self.is_attended = true;
        let file = self.config.help_files.get(&key);
        let url = file.map(|file| self.prefix.resolve(split_word(&file.value).0, &file.place));
        match url.transpose()? {
            Some(url) => {
                let key = Help::Fetching;
                self.phase = State::Helping { menu, key };
                Ok(Turn::configuration(url))
            }
            None => self.ask_again(menu, context),
        }
    }

    fn helped(
        &mut self,
        menu: Option<usize>,
        key: Help,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        let mut next = |key| self.phase = State::Helping { menu, key };
        match key {
            Help::Fetching => {
                next(Help::Shown);
                let text = match answer.into_fetched() {
                    FetchResult::File(file) => display_text(&file),
                    FetchResult::Missing => "the server has no such file".to_owned(),
                    FetchResult::Failed(why) => why,
                };
                Ok(Turn::Ask(Step::Say(text)))
            }
            // The menu would be drawn over it.
            Help::Shown if menu.is_some() => {
                next(Help::Waiting);
                Ok(Turn::Ask(Step::Prompt {
                    text: "Press a key for the menu".to_owned(),
                    key: None,
                    timeout: None,
                }))
            }
            Help::Shown | Help::Waiting => self.ask_again(menu, context),
        }
    }

    fn ask_again(&mut self, menu: Option<usize>, context: &mut Context) -> Result<Turn, PlanError> {
        match menu {
            Some(number) => self.show(number, context),
            None => self.prompt(context),
        }
    }

    /// Reads on; shows what there is to show once everything is read.
    fn read(&mut self, answer: Answer, context: &mut Context) -> Result<Turn, PlanError> {
        let (config, prefix) = (&mut self.config, &self.prefix);
        if let Some(turn) = self.reader.next(answer, config, prefix, context)? {
            return Ok(turn);
        }
        let says = core::mem::take(&mut self.config.says);
        self.phase = State::Saying(says.into());
        for (place, what) in core::mem::take(&mut self.config.warnings) {
            context.note(&place, what);
        }
        if let Some((place, mut words)) = self.config.without_effect.take() {
            words.sort_unstable();
            context.note(&place, format!("without effect here: {}", words.join(", ")));
        }
        self.say(context)
    }

    pub(super) fn say(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        if let State::Saying(says) = &mut self.phase
            && let Some(text) = says.pop_front()
        {
            return Ok(Turn::Ask(Step::Say(text)));
        }
        self.decide(context)
    }

    /// Boots the default, or shows the menu where the configuration wants one.
    fn decide(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        // Where DEFAULT names the menu, PROMPT comes first (com32/elflink/ldlinux/ldlinux.c).
        if self.config.has_prompt && !self.config.is_ui && self.config.ui.is_none() {
            return self.prompt(context);
        }
        self.boot_default(context)
    }

    pub(super) fn show(&mut self, number: usize, context: &mut Context) -> Result<Turn, PlanError> {
        self.count_question(context)?;
        let place = Place::whole(&context.facts.boot_file);
        // To make a menu all menus and labels are looked through.
        let looked_through = self.config.menus.len() + self.config.labels.len();
        context.budget.read(&place, LOOK_COST * looked_through)?;
        let (mut menu, choices) = self.config.menu(number, self.questions == 1, &place)?;
        menu.help_keys = self.help_keys();
        if self.is_attended {
            menu.timeout = None;
        }
        self.phase = State::Choosing(number, choices);
        Ok(Turn::Ask(Step::Menu(menu)))
    }

    /// Returns the function keys that show a file, a bit for each from bit 1 on.
    pub(super) fn help_keys(&self) -> u16 {
        let files = self.config.help_files.iter();
        files.fold(0, |bits, (key, _)| bits | 1 << key)
    }

    pub(super) fn count_question(&mut self, context: &Context) -> Result<(), PlanError> {
        self.questions += 1;
        self.is_on_error = false;
        if self.questions > MAX_QUESTIONS {
            let place = Place::whole(&context.facts.boot_file);
            let what = format!("more than {MAX_QUESTIONS} menus and prompts were shown");
            return Err(PlanError::at(&place, what));
        }
        Ok(())
    }

    fn chosen(
        &mut self,
        choices: &[EntryTarget],
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        let place = Place::whole(&context.facts.boot_file);
        let Answer::Chosen {
            entry,
            command_line,
            ..
        } = answer
        else {
            let what = if answer == Answer::Cancelled {
                "the menu was left by a key, without a choice"
            } else {
                "nothing was chosen from the menu, which has no default"
            };
            return Err(PlanError::at(&place, what));
        };
        match choices.get(entry) {
            Some(choice) => self.follow(choice.clone(), command_line.as_deref(), context),
            None => Err(PlanError::at(&place, "the menu has no such entry")),
        }
    }

    fn follow(
        &mut self,
        choice: EntryTarget,
        edited: Option<&str>,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        let place = Place::whole(&context.facts.boot_file);
        match choice {
            EntryTarget::Menu(number) => self.show(number, context),
            EntryTarget::Label(label) => self.boot(label.number, label.arguments, edited, context),
            EntryTarget::Quit => {
                let what = "the menu was left without booting";
                Err(PlanError::at(&place, what).local_boot())
            }
            EntryTarget::None => Err(PlanError::at(&place, "this entry boots nothing")),
        }
    }

    pub(super) fn boot(
        &mut self,
        mut number: usize,
        mut arguments: String,
        edited: Option<&str>,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        for _ in 0..MAX_LABELS {
            let Some(label) = self.config.labels.get(number) else {
                break;
            };
            let name = &label.name;
            context.note(&name.place, format!("selected label {}", name.value));
            let (config, prefix) = (&self.config, &self.prefix);
            match boot(config, label, &arguments, edited, prefix, context)? {
                BootTarget::Plan(plan) => {
                    let other = self.fallback_for(&plan, &name.place);
                    let has_other_way = self.config.on_error.is_some() && !self.is_on_error;
                    if other.is_none() && !has_other_way {
                        return Ok(Turn::Done(plan));
                    }
                    let line = Text {
                        value: join([&name.value, edited.unwrap_or(&arguments)]),
                        place: name.place.clone(),
                    };
                    let edited = edited.map(str::to_owned);
                    let again = other.map(|prefix| (prefix, number, arguments, edited));
                    return Ok(self.attempt(*plan, again, line));
                }
                BootTarget::Chain(url) => return Ok(Turn::Chain(url)),
                BootTarget::Config(files, directory) => {
                    return self.begin_anew(&files, directory.as_deref(), false, context);
                }
                BootTarget::Menu(files) if files.is_empty() => {
                    // Its own label would lead back to the menu for ever when nobody is there.
                    self.config.remove_from_menus(number);
                    self.config.has_menu = true;
                    return self.show(self.config.start, context);
                }
                BootTarget::Menu(files) => return self.begin_anew(&files, None, true, context),
                BootTarget::Command(next) => {
                    let text = Text {
                        value: next.clone(),
                        place: name.place.clone(),
                    };
                    let place = name.place.clone();
                    let command = self.command(&text);
                    (number, arguments) =
                        command.ok_or_else(|| PlanError::new(&place, &next, "no such label"))?;
                }
            }
        }
        let place = Place::whole(&context.facts.boot_file);
        let what = format!("more than {MAX_LABELS} labels refer to each other");
        Err(PlanError::at(&place, what))
    }

    /// Returns the prefix under which the kernel of a plan may be instead, if that is another file.
    fn fallback_for(&self, plan: &BootPlan, place: &Place) -> Option<FolderPrefix> {
        let (image, _) = split_word(&plan.command_line);
        let name = image.strip_prefix("BOOT_IMAGE=")?;
        let prefix = self.prefix.fallback()?;
        let other = prefix.resolve(name, place).ok()?;
        (other != plan.kernel.url).then_some(prefix)
    }

    /// Reads other files in place of this configuration; its labels are gone.
    fn begin_anew(
        &mut self,
        files: &[Text],
        directory: Option<&str>,
        is_menu: bool,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        let purpose = match files {
            [_] => ReadPurpose::Config,
            _ => ReadPurpose::Include,
        };
        let mut requests = Vec::new();
        for file in files {
            requests.push(if file.value == "~" {
                NamedFile::of_url(&self.main, &file.place)
            } else {
                NamedFile::new(&file.value, &file.place, purpose, &self.prefix)?
            });
        }
        if let [request] = requests.as_slice() {
            self.main = request.url.clone();
        }
        if let Some(directory) = directory {
            self.prefix = self.prefix.within(directory);
        }
        self.config = Config::new();
        (self.config.has_menu, self.config.is_ui) = (is_menu, is_menu);
        self.phase = State::Reading;
        self.reader.read_later(requests);
        self.read(Answer::Begin, context)
    }
}

/// Returns the message of pxelinux for a line that cannot be booted.
pub(super) fn no_kernel(name: &str, why: &str) -> String {
    join(["Could not find kernel image:", name, why])
}
