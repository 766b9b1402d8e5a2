//! The pxelinux machine: searches the configuration, reads it with its includes, shows the menu or the
//! prompt, and boots a label.

use crate::prelude::*;
use alloc::collections::VecDeque;

use super::super::context::{Context, Turn};
use super::super::error::{Place, PlanError};
use super::super::loaders::{Candidate, Search, Searched};
use super::super::plan::{BootPlan, Purpose};
use super::super::step::{Answer, Fetched, Step};
use super::boot::{BootTarget, boot, join};
use super::config::{Config, Flow, Text, split_word};
use super::menus::EntryTarget;
use super::paths::{Prefix, search_list};
use crate::text::url::Url;

/// Limit of files read by INCLUDE and CONFIG; CONFIG can loop.
const MAX_FILES: usize = 64;
/// Limit of nested INCLUDEs; a file can include itself.
const MAX_DEPTH: usize = 16;
/// Limit of menus and prompts that are shown: without it two menus without entries to boot
/// could refer to each other for ever when nobody is there.
const MAX_QUESTIONS: usize = 1000;
/// Limit of labels that refer to each other by `ifcpu64.c32`.
const MAX_LABELS: usize = 16;

/// The interpreter of pxelinux, from the search of its configuration to the kernel.
#[derive(Debug)]
pub(crate) struct PxelinuxMachine {
    prefix: Prefix,
    config: Config,
    phase: State,
    files_read: usize,
    questions: usize,
    /// Set once somebody has typed at the prompt.
    is_attended: bool,
}

#[derive(Debug)]
enum State {
    /// Trying one name after the other.
    Searching(Search),
    /// Reading: the innermost file is the last; `fetching` is on its way.
    Reading {
        sources: Vec<SourceFile>,
        fetching: Option<(Url, Place)>,
    },
    /// Showing what there is to say before the choice.
    Saying(VecDeque<String>),
    /// Waiting for a choice from a menu, with the target of each entry.
    Choosing(Vec<EntryTarget>),
    /// Waiting for a line at the prompt.
    Prompting,
    /// Fetching the kernel of a line that was typed, by this name.
    Trying { plan: Box<BootPlan>, name: String },
}

/// A file that is being read.
#[derive(Debug)]
struct SourceFile {
    place: Place,
    lines: alloc::vec::IntoIter<String>,
}

impl PxelinuxMachine {
    /// Begins with the search beside `boot_file`.
    pub(crate) fn search(boot_file: &Url, context: &Context) -> Result<Self, PlanError> {
        let prefix = Prefix::new(boot_file, &context.facts);
        let place = Place::whole(boot_file);
        let names: Result<_, PlanError> = search_list(&context.facts)
            .into_iter()
            .map(|(name, machine)| {
                let url = prefix.resolve(&name, &place)?;
                Ok(Candidate { url, machine })
            })
            .collect();
        let search = Search::new(names?, "pxelinux.cfg/default");
        Ok(Self::in_phase(prefix, State::Searching(search)))
    }

    /// Begins with a configuration that has been fetched.
    pub(crate) fn of_file(
        url: &Url,
        text: &[u8],
        context: &mut Context,
    ) -> Result<Self, PlanError> {
        let phase = State::Reading {
            sources: vec![SourceFile::new(url, text, context)?],
            fetching: None,
        };
        Ok(Self::in_phase(Prefix::of_file(url, &context.facts), phase))
    }

    fn in_phase(prefix: Prefix, phase: State) -> Self {
        Self {
            prefix,
            config: Config::new(),
            phase,
            files_read: 0,
            questions: 0,
            is_attended: false,
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
                    self.open(&url, &text, context)?;
                    self.read(context)
                }
            },
            State::Reading { fetching, .. } => match fetching.take() {
                Some((url, from)) => self.included(&url, &from, answer, context),
                None => self.read(context),
            },
            State::Saying(_) => self.say(context),
            State::Choosing(choices) => {
                let choices = core::mem::take(choices);
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
                Answer::Begin
                | Answer::File { .. }
                | Answer::Missing
                | Answer::Failed(_)
                | Answer::Chosen { .. }
                | Answer::Pressed
                | Answer::TimedOut
                | Answer::Done => self.unanswered(context),
            },
            State::Trying { plan, name } => {
                let name = core::mem::take(name);
                match answer.into_fetched() {
                    Fetched::File(_) => Ok(Turn::Done(plan.clone())),
                    Fetched::Missing => self.refuse(no_kernel(&name, ""), context),
                    Fetched::Failed(why) => self.refuse(no_kernel(&name, &why), context),
                }
            }
        }
    }

    /// Makes `url` the only file that is read.
    fn open(&mut self, url: &Url, text: &[u8], context: &mut Context) -> Result<(), PlanError> {
        self.count_file(&Place::whole(url))?;
        self.phase = State::Reading {
            sources: vec![SourceFile::new(url, text, context)?],
            fetching: None,
        };
        Ok(())
    }

    fn count_file(&mut self, place: &Place) -> Result<(), PlanError> {
        self.files_read += 1;
        if self.files_read > MAX_FILES {
            let what = format!("more than {MAX_FILES} configuration files; do they loop?");
            Err(PlanError::at(place, what))
        } else {
            Ok(())
        }
    }

    fn included(
        &mut self,
        url: &Url,
        from: &Place,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        self.count_file(from)?;
        let name = url.to_string();
        match (answer.into_fetched(), &mut self.phase) {
            (Fetched::File(head), State::Reading { sources, .. }) => {
                if sources.len() >= MAX_DEPTH {
                    let what = format!("INCLUDE nests deeper than {MAX_DEPTH} files");
                    return Err(PlanError::new(from, &name, what));
                }
                context.note(from, format!("includes {url}"));
                sources.push(SourceFile::new(url, &head, context)?);
            }
            (Fetched::File(_), _) => {}
            (Fetched::Missing, State::Reading { sources, .. }) if sources.is_empty() => {
                return Err(PlanError::new(from, &name, "the server has no such file"));
            }
            (Fetched::Missing, _) => {
                // pxelinux continues without it, and real trees include files that may be missing.
                context.note(from, format!("{url} not found, skipped"));
            }
            (Fetched::Failed(why), _) => return Err(PlanError::new(from, &name, why)),
        }
        self.read(context)
    }

    fn read(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        while let State::Reading { sources, fetching } = &mut self.phase {
            let Some(source) = sources.last_mut() else {
                let mut says = VecDeque::from(core::mem::take(&mut self.config.says));
                says.extend(self.config.faults.iter().map(ToString::to_string));
                self.phase = State::Saying(says);
                break;
            };
            let Some(line) = source.lines.next() else {
                sources.pop();
                continue;
            };
            source.place.advance();
            if let Flow::Include(name) = self.config.line(&line, &source.place) {
                let url = self.prefix.resolve(&name, &source.place)?;
                *fetching = Some((url.clone(), source.place.clone()));
                return Ok(Turn::configuration(url));
            }
        }
        self.say(context)
    }

    fn say(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        if let State::Saying(says) = &mut self.phase
            && let Some(text) = says.pop_front()
        {
            return Ok(Turn::Ask(Step::Say(text)));
        }
        self.decide(context)
    }

    /// Boots the default, or shows the menu where the configuration wants one.
    fn decide(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        if self.config.has_menu {
            let start = match self.config.default_label() {
                Some((label, _)) => self.config.menu_of(label.number),
                None => self.config.start,
            };
            return self.show(start, context);
        } else if self.config.has_prompt {
            return self.prompt(context);
        }
        self.boot_default(context)
    }

    /// Asks for a label at the `boot:` prompt.
    fn prompt(&mut self, context: &Context) -> Result<Turn, PlanError> {
        self.count_question(context)?;
        self.config.remove_implicit();
        self.phase = State::Prompting;
        let mut labels = String::new();
        for label in self
            .config
            .labels
            .iter()
            .filter(|_| !self.config.hides_labels)
        {
            labels.push_str(&label.name.value);
            labels.push(' ');
        }
        Ok(Turn::Ask(Step::CommandLine {
            labels,
            // TIMEOUT ends with the first key, also at a second prompt.
            timeout: self.config.timeout.filter(|_| !self.is_attended),
            total_timeout: self.config.total_timeout,
        }))
    }

    /// Boots ONTIMEOUT, or the default, when nobody types.
    fn unanswered(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        let has_timeout = self.config.timeout.or(self.config.total_timeout).is_some();
        match self.config.on_timeout.clone().filter(|_| has_timeout) {
            Some(text) => {
                let command = self.command(&text);
                let (number, arguments) = command
                    .ok_or_else(|| PlanError::new(&text.place, &text.value, "no such label"))?;
                self.boot(number, arguments, None, context)
            }
            None => self.boot_default(context),
        }
    }

    /// Boots what was typed at the prompt; shows the prompt again when it cannot be booted.
    fn typed(&mut self, line: &str, context: &mut Context) -> Result<Turn, PlanError> {
        if line.is_empty() {
            return self.boot_default(context);
        }
        let place = Place::whole(&context.facts.boot_file);
        let (name, arguments) = split_word(line);
        let is_fixed = self.config.is_fixed && !arguments.is_empty();
        if is_fixed {
            let what = "ALLOWOPTIONS is 0: the words after the label are ignored";
            context.note(&place, what);
        }
        let text = Text {
            value: if is_fixed { name } else { line }.to_owned(),
            place: place.clone(),
        };
        // doc/syslinux.txt: the line that failed is put behind the command of ONERROR.
        let on_error = self.config.on_error.as_ref().map(|command| Text {
            value: join([command, line]),
            place,
        });
        let command = self.command(&text);
        let command = command.or_else(|| self.command(&on_error?));
        let Some((number, arguments)) = command else {
            return self.refuse(no_kernel(name, ""), context);
        };
        match self.boot(number, arguments, None, context) {
            Ok(Turn::Done(plan)) => {
                let url = plan.kernel.url.clone();
                let name = name.to_owned();
                // Fetched at once, so that a slip leads back to the prompt and does not end the
                // boot.
                self.phase = State::Trying { plan, name };
                let purpose = Purpose::Kernel;
                Ok(Turn::Ask(Step::Fetch { url, purpose }))
            }
            Err(error) if error.outcome.is_none() => self.refuse(error.to_string(), context),
            turn => turn,
        }
    }

    /// Returns the label of a command line and the arguments after it; a word that is no label is the
    /// name of a kernel, unless IMPLICIT is 0.
    fn command(&mut self, text: &Text) -> Option<(usize, String)> {
        if let Some(label) = self.config.named(text) {
            return Some((label.number, label.arguments));
        } else if self.config.only_labels {
            return None;
        }
        let (name, arguments) = split_word(&text.value);
        let name = Text {
            value: name.to_owned(),
            place: text.place.clone(),
        };
        Some((self.config.add_implicit(name), arguments.to_owned()))
    }

    /// Says why a line cannot be booted, and asks again.
    fn refuse(&mut self, why: String, context: &mut Context) -> Result<Turn, PlanError> {
        self.phase = State::Saying(VecDeque::from([why]));
        self.say(context)
    }

    fn boot_default(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        if let Some(default) = self.config.default.clone()
            && !self.config.only_labels
            && self.config.named(&default).is_none()
        {
            // A word that is no label is the name of a kernel (doc/syslinux.txt, IMPLICIT).
            let (name, arguments) = split_word(&default.value);
            let name = Text {
                value: name.to_owned(),
                place: default.place.clone(),
            };
            let number = self.config.add_implicit(name);
            return self.boot(number, arguments.to_owned(), None, context);
        }
        match self.config.default_label() {
            Some((label, place)) => {
                context.note(&place, "is the default");
                self.boot(label.number, label.arguments, None, context)
            }
            None => self.show(self.config.start, context),
        }
    }

    fn show(&mut self, number: usize, context: &mut Context) -> Result<Turn, PlanError> {
        self.count_question(context)?;
        let place = Place::whole(&context.facts.boot_file);
        let (menu, choices) = self.config.menu(number, self.questions == 1, &place)?;
        self.phase = State::Choosing(choices);
        Ok(Turn::Ask(Step::Menu(menu)))
    }

    fn count_question(&mut self, context: &Context) -> Result<(), PlanError> {
        self.questions += 1;
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
        } = answer
        else {
            return Err(PlanError::at(
                &place,
                "nothing was chosen from the menu, which has no default",
            ));
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

    fn boot(
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
                BootTarget::Plan(plan) => return Ok(Turn::Done(plan)),
                BootTarget::Chain(url) => return Ok(Turn::Chain(url)),
                BootTarget::Config(url, directory) => {
                    let from = name.place.clone();
                    if let Some(directory) = directory {
                        self.prefix = self.prefix.within(&directory);
                    }
                    // CONFIG begins anew: labels of the configuration that names it are gone.
                    self.config = Config::new();
                    self.phase = State::Reading {
                        sources: Vec::new(),
                        fetching: Some((url.clone(), from)),
                    };
                    return Ok(Turn::configuration(url));
                }
                BootTarget::Label(next) => {
                    let text = Text {
                        value: next.clone(),
                        place: name.place.clone(),
                    };
                    match self.config.named(&text) {
                        Some(label) => {
                            arguments = join([&label.arguments, &arguments]);
                            number = label.number;
                        }
                        None => {
                            return Err(PlanError::new(&name.place, &next, "no such label"));
                        }
                    }
                }
            }
        }
        let place = Place::whole(&context.facts.boot_file);
        let what = format!("more than {MAX_LABELS} labels refer to each other");
        Err(PlanError::at(&place, what))
    }
}

/// Returns the message of pxelinux for a line that cannot be booted.
fn no_kernel(name: &str, why: &str) -> String {
    join(["Could not find kernel image:", name, why])
}

impl SourceFile {
    fn new(url: &Url, text: &[u8], context: &mut Context) -> Result<Self, PlanError> {
        let place = Place::whole(url);
        context.budget.read(&place, text.len())?;
        // Editors of Windows put a byte order mark in front.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = String::from_utf8_lossy(text);
        let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        Ok(Self {
            place,
            lines: lines.into_iter(),
        })
    }
}
