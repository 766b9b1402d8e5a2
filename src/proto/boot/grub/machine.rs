//! The GRUB machine: runs files, shows their menu, and runs the chosen entry.

use crate::prelude::*;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::super::context::{Context, Turn};
use super::super::loaders::{Candidate, Search, Searched, names_of};
use super::super::plan::{Place, PlanError};
use super::super::step::{Answer, FetchResult, Step};
use super::conditions::answered;
use super::entries::{GrubEntry, default_entry, menu};
use super::fallback::{self, Fallbacks, PlanCheck};
use super::parse::{Block, StatementKind, Word, parse};
use super::shell::{PendingStatement, Shell, StatementEffect};
use super::stack::{BlockEnd, BlockStack, Ended};
use super::{blscfg, commands};
use crate::text::url::Url;

/// Limit of files that a run reads; `source` can loop.
const MAX_FILES: usize = 64;

/// The interpreter of GRUB configurations, up to a kernel.
#[derive(Debug)]
pub(crate) struct GrubMachine {
    stack: BlockStack,
    functions: BTreeMap<Arc<str>, (Arc<Url>, Block)>,
    phase: State,
    files: usize,
    fallbacks: Fallbacks,
    /// The plan whose files are being asked for, because of `fallback`.
    check: Option<PlanCheck>,
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
        machine.enter(url, text, BlockEnd::EndFile, &Place::whole(url), context)?;
        Ok(machine)
    }

    fn in_phase(shell: Shell, phase: State) -> Self {
        Self {
            stack: BlockStack::new(shell),
            functions: BTreeMap::new(),
            phase,
            files: 0,
            fallbacks: Fallbacks::default(),
            check: None,
        }
    }

    /// Handles the answer to the last step.
    pub(crate) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        let mut turn = match self.check.take() {
            Some(check) => match check.answered(answer) {
                Ok(check) => return Ok(self.checked(check)),
                Err(error) => Err(error),
            },
            None => self.advance(answer, context),
        };
        while let Err(error) = turn {
            self.phase = State::Running;
            let item = self.fallbacks.next(error, &mut self.stack, context)?;
            turn = fallback::start(&mut self.stack, item, context).and_then(|()| self.run(context));
        }
        match turn? {
            Turn::Done(plan) if self.fallbacks.is_asked(&self.stack) => {
                Ok(self.checked(PlanCheck::new(plan)))
            }
            turn @ (Turn::Ask(_) | Turn::Chain(_) | Turn::Done(_)) => Ok(turn),
        }
    }

    fn checked(&mut self, check: PlanCheck) -> Turn {
        let (turn, check) = check.turn();
        self.check = check;
        turn
    }

    fn advance(&mut self, answer: Answer, context: &mut Context) -> Result<Turn, PlanError> {
        match core::mem::replace(&mut self.phase, State::Running) {
            State::Searching(mut search) => match search.next(answer, context)? {
                Searched::Asks(turn) => {
                    self.phase = State::Searching(search);
                    Ok(turn)
                }
                Searched::Found(url, text) => {
                    self.stack.shell = Shell::new(&url, &context.facts);
                    self.enter(&url, &text, BlockEnd::EndFile, &Place::whole(&url), context)?;
                    self.run(context)
                }
            },
            State::Running => self.run(context),
            State::Fetching { url, from, is_new } => {
                let name = url.to_string();
                match answer.into_fetched() {
                    FetchResult::File(text) => {
                        context.note(&from, format!("reads {url}"));
                        let mut then = BlockEnd::EndFile;
                        if is_new {
                            // configfile begins a new menu; source adds to the one there is.
                            self.stack.open_context(context)?;
                            then = BlockEnd::EndContext;
                        }
                        self.enter(&url, &text, then, &from, context)?;
                    }
                    FetchResult::Missing => {
                        context.note(&from, format!("{name} not found"));
                        self.stack.status(false);
                    }
                    FetchResult::Failed(why) => return Err(PlanError::new(&from, &name, why)),
                }
                self.run(context)
            }
            State::Choosing => self.chosen(answer, context),
            State::Asking(PendingStatement::Entries(mut reader), place) => {
                let url =
                    blscfg::next(&mut reader, answer, &mut self.stack.shell, &place, context)?;
                if let Some(url) = url {
                    let pending = PendingStatement::Entries(reader);
                    self.phase = State::Asking(pending, place);
                    return Ok(Turn::configuration(url));
                }
                let entries = blscfg::entries(&reader, &self.stack.shell, context)?;
                self.stack.status(!entries.is_empty());
                self.stack.entries.extend(entries);
                self.run(context)
            }
            State::Asking(pending, place) => {
                let is_size = matches!(pending, PendingStatement::Size(_));
                let failure = answered(&mut self.stack.shell, pending, answer, &place, context)?;
                if is_size {
                    if let Some(frame) = self.stack.frames.last_mut() {
                        // The command can be judged now.
                        frame.next = frame.next.saturating_sub(1);
                    }
                    return self.run(context);
                }
                if let Some(why) = &failure {
                    context.note(&place, why.as_ref());
                }
                self.stack.status(failure.is_none());
                self.run(context)
            }
        }
    }

    /// Begins with a file, requested at `from`.
    fn enter(
        &mut self,
        url: &Url,
        text: &[u8],
        then: BlockEnd,
        from: &Place,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        context.budget.read(from, text.len())?;
        self.files += 1;
        if self.files > MAX_FILES {
            let what = format!("more than {MAX_FILES} files");
            return Err(PlanError::new(from, &url.to_string(), what));
        }
        let block = parse(text, &Place::whole(url))?;
        self.stack.shell.variables.set_file(url);
        self.stack.push(Arc::new(url.clone()), block, then, from)
    }

    fn run(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        loop {
            let Some(frame) = self.stack.frames.last_mut() else {
                let place = Place::whole(&context.facts.boot_file);
                return self.finished(false, &place);
            };
            let Some(statement) = frame.block.get(frame.next).cloned() else {
                match self.stack.ended(context)? {
                    Ended::Continues => continue,
                    Ended::Menu => {
                        // GRUB returns to this menu, whatever fails in it.
                        self.fallbacks.forget();
                        return self.menu();
                    }
                    Ended::Entry(place) => return self.finished(true, &place),
                }
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
            } => self.stack.decide(branches, 0, otherwise, place)?,
            StatementKind::Not(block) => {
                self.stack
                    .push(place.file.clone(), block, BlockEnd::Invert, place)?
            }
            StatementKind::For { name, words, body } => {
                let words = self
                    .stack
                    .shell
                    .variables
                    .expand(&words, &mut context.budget)?
                    .into_iter();
                self.stack.status(true);
                let then = BlockEnd::NextWord { name, words };
                self.stack
                    .next_round(place.file.clone(), body, then, place, context)?;
            }
            StatementKind::Loop(parts) => {
                self.stack.status(true);
                let condition = parts.condition.clone();
                let then = BlockEnd::LoopCondition(parts);
                self.stack
                    .push(place.file.clone(), condition, then, place)?;
            }
            StatementKind::Unreadable(name) => self.stack.unreadable(&name, place, context)?,
            StatementKind::Entry { words, body } => {
                let words = self
                    .stack
                    .shell
                    .variables
                    .expand(&words, &mut context.budget)?;
                let entry = GrubEntry::parse(words, body, place, context);
                self.stack.status(entry.is_some());
                self.stack.entries.extend(entry);
            }
            StatementKind::Function { name, body } => {
                self.functions.insert(name, (place.file.clone(), body));
                self.stack.status(true);
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
        if let Some((url, purpose)) = self.stack.unchecked_file(words, place, context) {
            self.phase = State::Asking(PendingStatement::Size(url.clone()), place.clone());
            return Ok(Some(Turn::Ask(Step::Fetch { url, purpose })));
        }
        let words = self
            .stack
            .shell
            .variables
            .expand(words, &mut context.budget)?;
        self.stack.shell.is_condition = self.stack.is_condition();
        match commands::run(&mut self.stack.shell, &words, place, context)? {
            StatementEffect::Status(status) => self.stack.status(status),
            StatementEffect::Fails(why) => {
                let name = words.first().map(String::as_str).unwrap_or_default();
                context.note(place, format!("{name} {why}"));
                self.stack.status(false);
            }
            StatementEffect::Unknown(why) => {
                let name = words.first().map(String::as_str).unwrap_or_default();
                self.stack.unknown(name, why, place, context);
            }
            StatementEffect::Ask(step, pending) => {
                self.phase = State::Asking(pending, place.clone());
                return Ok(Some(Turn::Ask(step)));
            }
            StatementEffect::Run(text) => {
                let block = parse(text.as_bytes(), place)?;
                self.stack
                    .push(place.file.clone(), block, BlockEnd::Nothing, place)?;
            }
            StatementEffect::Return(status) => {
                if self.stack.shell.variables.scopes.is_empty() {
                    context.note(place, "return fails: there is no function to leave");
                    self.stack.status(false);
                    return Ok(None);
                }
                if let Some(status) = status {
                    self.stack.status(status);
                }
                self.stack.leave_call();
            }
            StatementEffect::Break { loops, continues } => {
                self.stack.status(true);
                self.stack.leave_loops(loops, continues);
            }
            StatementEffect::Boot => {
                if let Some(plan) = self.stack.shell.plan()? {
                    return Ok(Some(Turn::Done(Box::new(plan))));
                }
                context.note(place, "boot fails: no kernel has been loaded");
                self.stack.status(false);
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
            StatementEffect::Call(name) => {
                if let Some((file, body)) = self.functions.get(name.as_str()).cloned() {
                    self.stack.push(file, body, BlockEnd::EndFunction, place)?;
                    self.stack
                        .shell
                        .variables
                        .scopes
                        .push(words.get(1..).unwrap_or_default().to_vec());
                } else if let Some(known) = commands::usual_function(&name) {
                    if self.stack.shell.is_condition {
                        self.stack
                            .unknown(&name, commands::NO_EFFECT, place, context);
                        return Ok(None);
                    }
                    if self.stack.shell.is_first(known) {
                        context.note(place, format!("{name} {}", commands::NO_EFFECT));
                    }
                    self.stack.status(true);
                } else {
                    // GRUB continues, and real files rely on it.
                    let what = "is not a supported command";
                    let error = PlanError::new(place, &name, what);
                    self.stack.unknown(&name, what, place, context);
                    self.stack.shell.blame = Some(error);
                }
            }
        }
        Ok(None)
    }

    /// Everything has run: a kernel is loaded, or there is a menu to show.
    fn finished(&mut self, is_entry: bool, place: &Place) -> Result<Turn, PlanError> {
        if let Some(plan) = self.stack.shell.plan()? {
            return Ok(Turn::Done(Box::new(plan)));
        }
        if self.stack.entries.is_empty() {
            if let Some(blame) = self.stack.shell.blame.take() {
                return Err(blame);
            }
            let what = if is_entry { "entry" } else { "configuration" };
            let what = format!("the {what} neither loads a kernel nor has a menu");
            return Err(PlanError::at(place, what));
        }
        self.menu()
    }

    fn menu(&mut self) -> Result<Turn, PlanError> {
        let menu = menu(&self.stack.entries, &self.stack.shell)?;
        self.phase = State::Choosing;
        Ok(Turn::Ask(Step::Menu(menu)))
    }

    fn chosen(&mut self, answer: Answer, context: &mut Context) -> Result<Turn, PlanError> {
        let place = Place::whole(&context.facts.boot_file);
        let Answer::Chosen {
            entry, is_by_user, ..
        } = answer
        else {
            let refusal = default_entry(&self.stack.entries, &self.stack.shell)
                .and_then(|item| item.refusal(&self.stack.shell));
            if answer == Answer::TimedOut {
                // Nobody is there to give the password for the default entry, which thus fails.
                self.fallbacks.begin(&mut self.stack);
            } else {
                self.fallbacks.forget();
            }
            let what = "nothing was chosen from the menu";
            return Err(refusal.unwrap_or_else(|| PlanError::at(&place, what)));
        };
        let Some(item) = self.stack.entries.get(entry).cloned() else {
            return Err(PlanError::at(&place, "the menu has no such entry"));
        };
        if let Some(refusal) = item.refusal(&self.stack.shell) {
            return Err(refusal);
        }
        if is_by_user {
            self.fallbacks.forget();
        } else {
            self.fallbacks.begin(&mut self.stack);
        }
        fallback::start(&mut self.stack, item, context)?;
        self.run(context)
    }
}
