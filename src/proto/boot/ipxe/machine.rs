//! The iPXE machine: runs scripts and the scripts they chain to, command by command.

use crate::prelude::*;
use alloc::sync::Arc;

use super::super::context::{Context, Turn};
use super::super::plan::{Place, PlanError};
use super::super::step::Answer;
use super::arguments::CommandFault;
use super::commands;
use super::script::{Operator, ScriptLine, command, is_condition, lines};
use super::state::{CommandEffect, PendingCommand, State};
use crate::sorted::SortedMap;
use crate::text::url::Url;

/// Limit of scripts nested by `chain`; a script can chain to itself.
const MAX_DEPTH: usize = 16;

/// The interpreter of iPXE scripts, up to what they boot.
#[derive(Debug)]
pub(crate) struct IpxeMachine {
    state: State,
    /// The scripts under way; each but the last waits for the one after it.
    scripts: Vec<Script>,
    pending: Option<PendingCommand>,
}

/// A script under way.
#[derive(Debug)]
struct Script {
    file: Arc<Url>,
    lines: Vec<ScriptLine>,
    /// The line of each label.
    labels: SortedMap<String, usize>,
    next: usize,
    /// The number of the line under way.
    number: usize,
    /// Which line is under way, and which of its words is next; none between lines.
    at: Option<(usize, usize)>,
    /// What follows the command under way.
    operator: Operator,
    last: Result<(), PlanError>,
}

impl IpxeMachine {
    /// Begins with a script that has been fetched.
    pub(crate) fn new(url: &Url, text: &[u8], context: &mut Context) -> Result<Self, PlanError> {
        let mut state = State::default();
        state.settings.current = url.to_string();
        Ok(Self {
            state,
            scripts: vec![Script::new(url, text, context)?],
            pending: None,
        })
    }

    /// Handles the answer to the last step.
    pub(crate) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        let mut effect = match self.pending.take() {
            Some(pending) => {
                let place = self.place(context);
                commands::resume(&mut self.state, pending, answer, &place, context)
            }
            None => self.command(context)?,
        };
        loop {
            match effect {
                Ok(CommandEffect::Ask(step, pending)) => {
                    self.pending = Some(pending);
                    return Ok(Turn::Ask(step));
                }
                Ok(CommandEffect::Instead(outcome)) => {
                    let place = self.place(context);
                    let error = PlanError::at(&place, outcome.to_string());
                    return Err(error.with_outcome(outcome));
                }
                Ok(CommandEffect::Plan(plan)) => return Ok(Turn::Done(plan)),
                Ok(CommandEffect::Chain(url)) => return Ok(Turn::Chain(url)),
                Ok(CommandEffect::Done) => self.finished(Ok(()), context)?,
                Ok(CommandEffect::Goto(label)) => self.goto(&label, context)?,
                Ok(CommandEffect::Exit(code)) => {
                    let result = match code {
                        0 => Ok(()),
                        _ => Err(self.error(
                            CommandFault::new("exit", "ends the script with a failure"),
                            context,
                        )),
                    };
                    self.ended(result, context)?;
                }
                Ok(CommandEffect::Run {
                    file,
                    text,
                    in_place,
                }) => self.run(&file, &text, in_place, context)?,
                Err(fault) => {
                    let error = self.error(fault, context);
                    self.finished(Err(error), context)?;
                }
            }
            effect = self.command(context)?;
        }
    }

    /// Runs the next command that is to be run.
    fn command(
        &mut self,
        context: &mut Context,
    ) -> Result<Result<CommandEffect, CommandFault>, PlanError> {
        loop {
            let Some(script) = self.scripts.last_mut() else {
                return Err(without_boot(context));
            };
            let Some((line, word)) = script.at else {
                match script.lines.get(script.next) {
                    Some(line) => {
                        script.number = line.number;
                        script.at = Some((script.next, 0));
                        script.next += 1;
                        script.operator = Operator::Then;
                    }
                    None => self.ended(Ok(()), context)?,
                }
                continue;
            };
            // As core/exec.c of iPXE: a part that is passed over leaves the result of the one
            // before it.
            let runs = match script.operator {
                Operator::And => script.last.is_ok(),
                Operator::Or => script.last.is_err(),
                Operator::Then | Operator::End => true,
            };
            let words = script
                .lines
                .get(line)
                .and_then(|line| line.words.get(word..));
            let words = words.unwrap_or_default();
            let (now, operator) = command(words);
            let rest = words.get(now.len() + 1..).unwrap_or_default();
            self.state.is_condition = is_condition(operator, rest);
            script.at = Some((line, word + now.len() + 1));
            script.operator = operator;
            let place = Place::of_line(script.file.clone(), script.number);
            context.budget.step(&place)?;
            context
                .budget
                .read(&place, now.iter().map(String::len).sum())?;
            if !runs {
                let last = script.last.clone();
                self.finished(last, context)?;
                continue;
            }
            let mut expanded = Vec::with_capacity(now.len());
            self.state.settings.uses_lease = false;
            for word in now {
                let Context { facts, budget, .. } = context;
                let result = self.state.settings.expand(word, facts, budget);
                budget.check()?;
                match result {
                    Ok(word) => expanded.push(word),
                    Err(what) => return Ok(Err(CommandFault::new(word, what))),
                }
            }
            let effect = commands::run(&mut self.state, &expanded, &place, context);
            return Ok(effect.map_err(|fault| CommandFault {
                word: fault.word.or_else(|| expanded.first().cloned()),
                ..fault
            }));
        }
    }

    /// Records the result of a command; a failure at the end of a line ends the script.
    fn finished(
        &mut self,
        result: Result<(), PlanError>,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        let Some(script) = self.scripts.last_mut() else {
            return Err(without_boot(context));
        };
        match (script.operator, result) {
            // A failure ends the script (terminate_on_exit_or_failure() in image/script.c of iPXE).
            (Operator::End, Err(error)) => self.ended(Err(error), context),
            (Operator::End, Ok(())) => {
                script.at = None;
                script.last = Ok(());
                Ok(())
            }
            (Operator::And | Operator::Or | Operator::Then, result) => {
                if let Err(error) = &result
                    && script.last != result
                {
                    context.note(&error.place, error.without_place());
                    self.state.settings.last_error.clone_from(&error.what);
                }
                script.last = result;
                Ok(())
            }
        }
    }

    /// Ends the innermost script, and with it the command that started it.
    fn ended(
        &mut self,
        result: Result<(), PlanError>,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        self.scripts.pop();
        match (self.scripts.last(), result) {
            (Some(script), result) => {
                self.state.settings.current = script.file.to_string();
                self.finished(result, context)
            }
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(without_boot(context)),
        }
    }

    fn goto(&mut self, label: &str, context: &mut Context) -> Result<(), PlanError> {
        let fault = CommandFault::new(label, "no such label in the script");
        let error = self.error(fault, context);
        let Some(script) = self.scripts.last_mut() else {
            return Err(error);
        };
        match script.labels.get(label) {
            Some(at) => {
                script.next = *at;
                script.at = None;
                script.last = Ok(());
                Ok(())
            }
            None => self.finished(Err(error), context),
        }
    }

    fn run(
        &mut self,
        file: &Url,
        text: &[u8],
        in_place: bool,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        // Depth does not bound scripts that replace themselves; the budget of the plan does.
        if in_place {
            self.scripts.pop();
        } else if self.scripts.len() >= MAX_DEPTH {
            let what = format!("scripts chain deeper than {MAX_DEPTH}");
            return Err(self.error(CommandFault::new(&file.to_string(), what), context));
        }
        // ${cwuri} and relative names refer to the script that runs.
        self.state.settings.current = file.to_string();
        self.scripts.push(Script::new(file, text, context)?);
        Ok(())
    }

    fn error(&self, fault: CommandFault, context: &Context) -> PlanError {
        PlanError::new(
            &self.place(context),
            fault.word.as_deref().unwrap_or_default(),
            fault.what,
        )
    }

    fn place(&self, context: &Context) -> Place {
        match self.scripts.last() {
            Some(script) => Place::of_line(script.file.clone(), script.number),
            None => Place::whole(&context.facts.boot_file),
        }
    }
}

impl Script {
    fn new(url: &Url, text: &[u8], context: &mut Context) -> Result<Self, PlanError> {
        let place = Place::whole(url);
        context.budget.read(&place, text.len())?;
        let lines = lines(text);
        let labels = lines.iter().enumerate();
        // iPXE jumps to the first of several.
        let labels = labels
            .rev()
            .filter_map(|(at, line)| Some((line.label.clone()?, at)));
        let labels = labels.collect();
        Ok(Self {
            file: place.file,
            lines,
            labels,
            next: 0,
            number: 0,
            at: None,
            operator: Operator::End,
            last: Ok(()),
        })
    }
}

fn without_boot(context: &Context) -> PlanError {
    let place = Place::whole(&context.facts.boot_file);
    let what = "the script ended without booting anything";
    PlanError::at(&place, what).local_boot()
}
