//! The GRUB machine: runs files, shows their menu, and runs the chosen entry.

use crate::prelude::*;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;

use super::super::context::{Context, Turn};
use super::super::error::{Place, PlanError};
use super::super::loaders::{Candidate, Search, Searched, names_of};
use super::super::menu::{Entry, Menu};
use super::super::step::{Answer, Fetched, Step};
use super::commands::{self, USUAL_FUNCTIONS};
use super::conditions::answered;
use super::parse::{Block, StatementKind, Word, parse};
use super::shell::{PendingStatement, Shell, StatementEffect};
use crate::text::url::Url;

/// Limit of files that a run reads; `source` can loop.
const MAX_FILES: usize = 64;
/// Limit of nested files and functions.
const MAX_DEPTH: usize = 32;

/// The interpreter of GRUB configurations, up to a kernel.
#[derive(Debug)]
pub(crate) struct GrubMachine {
    shell: Shell,
    functions: BTreeMap<Arc<str>, (Arc<Url>, Block)>,
    /// Blocks under way, the innermost last.
    frames: Vec<BlockFrame>,
    entries: Vec<GrubEntry>,
    phase: State,
    /// Whether an entry has been chosen.
    is_in_entry: bool,
    files: usize,
}

#[derive(Debug)]
enum State {
    /// Trying one name after the other.
    Searching(Search),
    Running,
    /// Waiting for this file.
    Fetching {
        url: Url,
        from: Place,
        is_new: bool,
    },
    Choosing,
    /// A command waits for an answer.
    Asking(PendingStatement, Place),
}

#[derive(Debug)]
struct BlockFrame {
    file: Arc<Url>,
    block: Block,
    next: usize,
    then: BlockEnd,
}

/// The action at the end of a block.
#[derive(Debug)]
enum BlockEnd {
    /// The statement behind it.
    Nothing,
    /// The same, with a status of success: `source` has it from any file that is there.
    EndFile,
    /// The statement behind the call of the function.
    EndFunction,
    /// The opposite of its status.
    Invert,
    /// It was this of the conditions: the block behind it, the next one, or the block behind `else`.
    Decide {
        branches: Arc<Vec<(Block, Block)>>,
        at: usize,
        otherwise: Block,
    },
}

/// A line of the menu.
#[derive(Debug, Clone)]
struct GrubEntry {
    title: String,
    id: Option<String>,
    key: Option<char>,
    /// Whether anybody may boot it, even where `superusers` is set.
    is_unrestricted: bool,
    /// The file and line of its body.
    place: Place,
    body: Block,
}

impl GrubMachine {
    /// Begins with a search for `grub.cfg` beside `boot_file`, as GRUB searches it.
    pub(crate) fn search(boot_file: &Url, context: &Context) -> Result<Self, PlanError> {
        let facts = &context.facts;
        let mut names = Vec::new();
        for directory in ["grub/", "", "/grub/"] {
            // The order of GRUB's grub-core/net/net.c: MAC, the address with ever fewer digits,
            // grub.cfg.
            for machine in names_of(facts).map(Some).chain([None]) {
                let name = match &machine {
                    Some(machine) => format!("{directory}grub.cfg-{}", machine.name),
                    None => format!("{directory}grub.cfg"),
                };
                let url = boot_file.join(&name);
                let place = Place::whole(boot_file);
                let url = url.map_err(|error| PlanError::new(&place, &name, error.what))?;
                names.push(Candidate { url, machine });
            }
        }
        let search = Search::new(names, "grub.cfg");
        let shell = Shell::new(boot_file, facts);
        Ok(Self::in_phase(shell, State::Searching(search)))
    }

    /// Begins with a configuration that has been fetched.
    pub(crate) fn of_file(
        url: &Url,
        text: &[u8],
        context: &mut Context,
    ) -> Result<Self, PlanError> {
        let shell = Shell::new(url, &context.facts);
        let mut machine = Self::in_phase(shell, State::Running);
        machine.enter(url, text, &Place::whole(url), context)?;
        Ok(machine)
    }

    fn in_phase(shell: Shell, phase: State) -> Self {
        Self {
            shell,
            functions: BTreeMap::new(),
            frames: Vec::new(),
            entries: Vec::new(),
            phase,
            is_in_entry: false,
            files: 0,
        }
    }

    /// Handles the answer to the last step.
    pub(crate) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        match core::mem::replace(&mut self.phase, State::Running) {
            State::Searching(mut search) => match search.next(answer, context)? {
                Searched::Asks(turn) => {
                    self.phase = State::Searching(search);
                    Ok(turn)
                }
                Searched::Found(url, text) => {
                    self.shell = Shell::new(&url, &context.facts);
                    self.enter(&url, &text, &Place::whole(&url), context)?;
                    self.run(context)
                }
            },
            State::Running => self.run(context),
            State::Fetching { url, from, is_new } => {
                let name = url.to_string();
                match answer.into_fetched() {
                    Fetched::File(text) => {
                        context.note(&from, format!("reads {url}"));
                        if is_new {
                            self.frames.clear();
                            // configfile begins a new menu; source adds to the one there is.
                            self.entries.clear();
                        }
                        self.enter(&url, &text, &from, context)?;
                    }
                    Fetched::Missing => {
                        context.note(&from, format!("{name} not found"));
                        self.status(false);
                    }
                    Fetched::Failed(why) => return Err(PlanError::new(&from, &name, why)),
                }
                self.run(context)
            }
            State::Choosing => self.chosen(answer, context),
            State::Asking(pending, place) => {
                let is_size = matches!(pending, PendingStatement::Size(_));
                let failure = answered(&mut self.shell, pending, answer, &place, context)?;
                if is_size && let Some(frame) = self.frames.last_mut() {
                    // The command can be judged now.
                    frame.next = frame.next.saturating_sub(1);
                }
                if let Some(why) = &failure {
                    context.note(&place, why.as_ref());
                }
                self.status(failure.is_none());
                self.run(context)
            }
        }
    }

    /// Begins with a file, requested at `from`.
    fn enter(
        &mut self,
        url: &Url,
        text: &[u8],
        from: &Place,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        context.budget.read(from, text.len())?;
        self.files += 1;
        if self.files > MAX_FILES || self.frames.len() >= MAX_DEPTH {
            let what = format!("more than {MAX_FILES} files, or {MAX_DEPTH} within each other");
            return Err(PlanError::new(from, &url.to_string(), what));
        }
        let block = parse(text, &Place::whole(url))?;
        self.frames.push(BlockFrame {
            file: Arc::new(url.clone()),
            block,
            next: 0,
            then: BlockEnd::EndFile,
        });
        Ok(())
    }

    fn run(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        loop {
            let Some(frame) = self.frames.last_mut() else {
                return self.finished(context);
            };
            let Some(statement) = frame.block.get(frame.next).cloned() else {
                self.ended()?;
                continue;
            };
            frame.next += 1;
            let place = Place::of_line(frame.file.clone(), statement.line);
            if let Some(turn) = self.statement(statement.what, &place, context)? {
                return Ok(turn);
            }
        }
    }

    fn statement(
        &mut self,
        what: StatementKind,
        place: &Place,
        context: &mut Context,
    ) -> Result<Option<Turn>, PlanError> {
        context.budget.step(place)?;
        match what {
            StatementKind::Command(words) => return self.command(&words, place, context),
            StatementKind::If {
                branches,
                otherwise,
            } => self.decide(branches, 0, otherwise, place)?,
            StatementKind::Not(block) => {
                self.push(place.file.clone(), block, BlockEnd::Invert, place)?
            }
            StatementKind::Entry { words, body } => {
                self.add_entry(&words, body, place, context)?;
                self.status(true);
            }
            StatementKind::Function { name, body } => {
                self.functions.insert(name, (place.file.clone(), body));
                self.status(true);
            }
        }
        Ok(None)
    }

    fn command(
        &mut self,
        words: &[Word],
        place: &Place,
        context: &mut Context,
    ) -> Result<Option<Turn>, PlanError> {
        let words = self.shell.expand(words, &mut context.budget)?;
        let decides =
            |frame: &BlockFrame| matches!(frame.then, BlockEnd::Decide { .. } | BlockEnd::Invert);
        self.shell.is_condition = self.frames.iter().any(decides);
        match commands::run(&mut self.shell, &words, place, context)? {
            StatementEffect::Status(status) => self.status(status),
            StatementEffect::Fails(why) => {
                context.note(place, why.as_ref());
                self.status(false);
            }
            StatementEffect::Ask(step, pending) => {
                self.phase = State::Asking(pending, place.clone());
                return Ok(Some(Turn::Ask(step)));
            }
            StatementEffect::Run(text) => {
                let block = parse(text.as_bytes(), place)?;
                self.push(place.file.clone(), block, BlockEnd::Nothing, place)?;
            }
            StatementEffect::Return(status) => {
                let is_call =
                    |then: &BlockEnd| matches!(then, BlockEnd::EndFile | BlockEnd::EndFunction);
                while self.frames.pop().is_some_and(|frame| !is_call(&frame.then)) {}
                if let Some(status) = status {
                    self.status(status);
                }
            }
            StatementEffect::Boot => {
                return match self.shell.plan() {
                    Some(plan) => Ok(Some(Turn::Done(Box::new(plan)))),
                    None => Err(PlanError::new(place, "boot", "no kernel has been loaded")),
                };
            }
            StatementEffect::Source { url, is_new } => {
                context.note(place, format!("asks for {url}"));
                self.phase = State::Fetching {
                    url: url.clone(),
                    from: place.clone(),
                    is_new,
                };
                return Ok(Some(Turn::configuration(url)));
            }
            StatementEffect::Call(name) => match self.functions.get(name.as_str()).cloned() {
                Some((file, body)) => self.push(file, body, BlockEnd::EndFunction, place)?,
                None if USUAL_FUNCTIONS.contains(&name.as_str()) => self.status(true),
                None => {
                    let error = PlanError::new(place, &name, "is not a supported command");
                    let is = |wanted: fn(&BlockEnd) -> bool| {
                        self.frames.iter().any(|frame| wanted(&frame.then))
                    };
                    // An unknown command is neither true nor, after a !, false.
                    let is_inverted = is(|then| matches!(then, BlockEnd::Invert));
                    let is_condition = is(|then| matches!(then, BlockEnd::Decide { .. }));
                    if is_inverted || self.is_in_entry && !is_condition {
                        return Err(error);
                    }
                    // Outside entries GRUB continues, and real files rely on it.
                    self.status(false);
                    return Ok(Some(Turn::Ask(Step::Say(error.to_string()))));
                }
            },
        }
        Ok(None)
    }

    /// Goes on behind the innermost block.
    fn ended(&mut self) -> Result<(), PlanError> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let holds = self.shell.variable("?") == Some("0");
        match frame.then {
            BlockEnd::Nothing | BlockEnd::EndFunction => {}
            BlockEnd::EndFile => self.status(true),
            BlockEnd::Invert => self.status(!holds),
            BlockEnd::Decide {
                branches,
                at,
                otherwise,
            } => {
                // A condition has a statement at least, as the parser makes sure of.
                let line = frame.block.first().map_or(1, |statement| statement.line);
                let place = Place::of_line(frame.file.clone(), line);
                match branches.get(at) {
                    Some((_, body)) if holds => {
                        self.push(frame.file, body.clone(), BlockEnd::Nothing, &place)?;
                    }
                    _ => self.decide(branches, at + 1, otherwise, &place)?,
                }
            }
        }
        Ok(())
    }

    /// Runs the condition of this number, or the block of `else` after the last.
    fn decide(
        &mut self,
        branches: Arc<Vec<(Block, Block)>>,
        at: usize,
        otherwise: Block,
        place: &Place,
    ) -> Result<(), PlanError> {
        let Some((condition, _)) = branches.get(at) else {
            // An `if` that does nothing has succeeded.
            self.status(true);
            return self.push(place.file.clone(), otherwise, BlockEnd::Nothing, place);
        };
        let condition = condition.clone();
        let then = BlockEnd::Decide {
            branches,
            at,
            otherwise,
        };
        self.push(place.file.clone(), condition, then, place)
    }

    fn add_entry(
        &mut self,
        words: &[Word],
        body: Block,
        place: &Place,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        let mut words = self.shell.expand(words, &mut context.budget)?.into_iter();
        let (mut title, mut id, mut key) = (None, None, None);
        let mut is_unrestricted = false;
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            match name.as_str() {
                "--id" => id = value.or_else(|| words.next()),
                "--hotkey" => key = value.or_else(|| words.next()),
                // A class is for themes; users are asked about only where superusers are set.
                "--class" | "--users" => drop(value.or_else(|| words.next())),
                "--unrestricted" => is_unrestricted = true,
                _ if title.is_none() && !word.starts_with("--") => title = Some(word),
                _ => {}
            }
        }
        let Some(title) = title else {
            return Err(PlanError::new(place, "menuentry", "the title is missing"));
        };
        self.entries.push(GrubEntry {
            title,
            id,
            key: key.and_then(|key| key.chars().next()),
            is_unrestricted,
            place: place.clone(),
            body,
        });
        Ok(())
    }

    fn push(
        &mut self,
        file: Arc<Url>,
        block: Block,
        then: BlockEnd,
        place: &Place,
    ) -> Result<(), PlanError> {
        if self.frames.len() >= MAX_DEPTH {
            let what = format!("files and functions nest deeper than {MAX_DEPTH}");
            return Err(PlanError::at(place, what));
        }
        self.frames.push(BlockFrame {
            file,
            block,
            next: 0,
            then,
        });
        Ok(())
    }

    fn status(&mut self, status: bool) {
        self.shell.set("?", if status { "0" } else { "1" });
    }

    /// Everything has run: a kernel is loaded, or there is a menu to show.
    fn finished(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        if let Some(plan) = self.shell.plan() {
            return Ok(Turn::Done(Box::new(plan)));
        }
        let selected = self.default_entry();
        let default = selected.and_then(|number| self.entries.get(number));
        let timeout = self.shell.variable("timeout").unwrap_or_default();
        let timeout = timeout.parse::<i64>().ok();
        let menu = Menu {
            title: None,
            entries: self.entries.iter().map(|item| self.entry(item)).collect(),
            // Nobody is let into another entry than the default only because of a password.
            selected: default
                .filter(|item| !self.is_restricted(item))
                .and(selected),
            timeout: timeout
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            is_hidden: self.shell.variable("timeout_style") == Some("hidden"),
            ..Menu::default()
        };
        if menu.entries.is_empty() {
            let place = Place::whole(&context.facts.boot_file);
            let what = "the configuration neither loads a kernel nor has a menu";
            return Err(PlanError::at(&place, what));
        }
        if let Some(item) = default
            && !menu.entries.iter().any(|entry| entry.is_choice)
        {
            return Err(restricted(item));
        }
        self.phase = State::Choosing;
        Ok(Turn::Ask(Step::Menu(menu)))
    }

    /// Returns whether GRUB asks for a password before it runs this entry
    /// (`grub_auth_check_authentication`): where nobody is a superuser, everybody may run all.
    fn is_restricted(&self, item: &GrubEntry) -> bool {
        !item.is_unrestricted && self.shell.variable("superusers").is_some()
    }

    fn entry(&self, item: &GrubEntry) -> Entry {
        Entry {
            text: item.title.clone(),
            is_choice: !self.is_restricted(item),
            key: item.key,
            ..Entry::default()
        }
    }

    /// Returns the entry that `default` names by number, title or id; `a>b` means b in a.
    fn default_entry(&self) -> Option<usize> {
        let default = self.shell.variable("default").unwrap_or_default();
        let name = default.split('>').next().unwrap_or_default();
        // As get_entry_number() of grub-core/normal/menu.c: a number first, then a title or an id.
        let number = name.parse::<usize>().ok();
        let number = number.filter(|number| *number < self.entries.len());
        let named = |item: &GrubEntry| item.title == name || item.id.as_deref() == Some(name);
        number
            .or_else(|| self.entries.iter().position(named))
            .or((!self.entries.is_empty()).then_some(0))
    }

    fn chosen(&mut self, answer: Answer, context: &mut Context) -> Result<Turn, PlanError> {
        let place = Place::whole(&context.facts.boot_file);
        let Answer::Chosen { entry, .. } = answer else {
            let default = self
                .default_entry()
                .and_then(|number| self.entries.get(number));
            return Err(match default {
                Some(item) if self.is_restricted(item) => restricted(item),
                _ => PlanError::at(&place, "nothing was chosen from the menu"),
            });
        };
        let Some(item) = self.entries.get(entry).cloned() else {
            return Err(PlanError::at(&place, "the menu has no such entry"));
        };
        if self.is_restricted(&item) {
            return Err(restricted(&item));
        }
        context.note(&item.place, format!("selected entry {:?}", item.title));
        // In a submenu the rest of `default` counts.
        let default = self.shell.variable("default").unwrap_or_default();
        let rest = default
            .split_once('>')
            .map_or("", |(_, rest)| rest)
            .to_owned();
        self.shell.set("default", &rest);
        // GRUB sets it, and savedefault of grub-mkconfig stores it.
        self.shell.set("chosen", &item.title);
        self.entries.clear();
        self.is_in_entry = true;
        let file = item.place.file.clone();
        self.push(file, item.body, BlockEnd::EndFunction, &item.place)?;
        self.run(context)
    }
}

/// Returns the refusal of an entry for which GRUB would ask a password.
fn restricted(item: &GrubEntry) -> PlanError {
    let what = "needs a password in GRUB (superusers is set), which is not supported; \
                --unrestricted lets everybody boot the entry";
    PlanError::new(&item.place, &item.title, what)
}
