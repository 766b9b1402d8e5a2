//! The machine: scripts within scripts, command by command.

use std::sync::Arc;

use super::super::error::{Error, Place};
use super::super::planner::{Context, Turn};
use super::super::url::Url;
use super::super::{Answer, BootPlan, Step};
use super::commands::{Fault, Pending, State};
use super::script::{Line, Operator, command, expand, lines};

/// How many commands a run may take; a script that waits five seconds before each retry gets
/// through some hours with it.
const MAX_COMMANDS: usize = 10_000;
/// How deep scripts may nest by `chain`.
const MAX_DEPTH: usize = 16;

/// iPXE, from a script to what it boots.
#[derive(Debug)]
pub(in super::super) struct Machine {
    state: State,
    /// The scripts under way; each but the last waits for the one after it.
    scripts: Vec<Script>,
    pending: Option<Pending>,
    commands: usize,
}

/// A script under way.
#[derive(Debug)]
struct Script {
    file: Arc<Url>,
    lines: Vec<Line>,
    next: usize,
    /// The number of the line under way.
    number: usize,
    /// What is left of it; none between lines.
    words: Option<Vec<String>>,
    /// What follows the command under way.
    operator: Operator,
    last: Result<(), Error>,
}

/// What a command leads to.
#[derive(Debug)]
pub(super) enum Effect {
    /// It is done.
    Done,
    /// It has to ask first.
    Ask(Step, Pending),
    /// Another line is next.
    Goto(String),
    /// The script ends with this code.
    Exit(i64),
    /// Another script runs, in place of this one when so told.
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

impl Machine {
    /// Begins with a script that has been fetched.
    pub(in super::super) fn new(url: &Url, text: &[u8]) -> Self {
        let mut state = State::default();
        state.settings.current = url.to_string();
        Self {
            state,
            scripts: vec![Script::new(url, text)],
            pending: None,
            commands: 0,
        }
    }

    /// Takes the answer to the step before.
    pub(in super::super) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, Error> {
        let mut effect = match self.pending.take() {
            Some(pending) => {
                let place = self.place(context);
                self.state.resume(pending, answer, &place, context)
            }
            None => self.command(context)?,
        };
        loop {
            match effect {
                Ok(Effect::Ask(step, pending)) => {
                    self.pending = Some(pending);
                    return Ok(Turn::Ask(step));
                }
                Ok(Effect::Plan(plan)) => return Ok(Turn::Done(plan)),
                Ok(Effect::Chain(url)) => return Ok(Turn::Chain(url)),
                Ok(Effect::Done) => self.finished(Ok(()), context)?,
                Ok(Effect::Goto(label)) => self.goto(&label, context)?,
                Ok(Effect::Exit(code)) => {
                    let result = match code {
                        0 => Ok(()),
                        _ => Err(self.error(Fault::new("exit", "ends with a failure"), context)),
                    };
                    self.ended(result, context)?;
                }
                Ok(Effect::Run {
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
    fn command(&mut self, context: &mut Context) -> Result<Result<Effect, Fault>, Error> {
        loop {
            let Some(script) = self.scripts.last_mut() else {
                return Err(without_boot(context));
            };
            let Some(words) = &mut script.words else {
                match script.lines.get(script.next) {
                    Some(line) => {
                        script.next += 1;
                        script.number = line.number;
                        script.words = Some(line.words.clone());
                        script.operator = Operator::Then;
                    }
                    None => self.ended(Ok(()), context)?,
                }
                continue;
            };
            let runs = match script.operator {
                Operator::And => script.last.is_ok(),
                Operator::Or => script.last.is_err(),
                Operator::Then | Operator::End => true,
            };
            let (now, operator) = command(words);
            let now = now.to_vec();
            let rest = words.get(now.len() + 1..).unwrap_or_default().to_vec();
            *words = rest;
            script.operator = operator;
            if !runs {
                let last = script.last.clone();
                self.finished(last, context)?;
                continue;
            }
            self.commands += 1;
            if self.commands > MAX_COMMANDS {
                let what = format!("more than {MAX_COMMANDS} commands were run; do they loop?");
                let command = now.first().map_or("", String::as_str);
                return Err(self.error(Fault::new(command, what), context));
            }
            let mut expanded = Vec::with_capacity(now.len());
            for word in &now {
                let value = |name: &str| self.state.settings.text(name, &context.facts);
                match expand(word, value) {
                    Ok(word) => expanded.push(word),
                    Err(what) => return Ok(Err(Fault::new(word, what))),
                }
            }
            let place = self.place(context);
            let effect = self.state.run(&expanded, &place, context);
            return Ok(
                effect.map_err(|fault| match (fault.word.as_str(), expanded.first()) {
                    ("", Some(command)) => Fault {
                        word: command.clone(),
                        ..fault
                    },
                    _ => fault,
                }),
            );
        }
    }

    /// Takes what came of the command under way; a failure at the end of its line ends its script.
    fn finished(&mut self, result: Result<(), Error>, context: &mut Context) -> Result<(), Error> {
        let Some(script) = self.scripts.last_mut() else {
            return Err(without_boot(context));
        };
        match (script.operator, result) {
            (Operator::End, Err(error)) => self.ended(Err(error), context),
            (Operator::End, Ok(())) => {
                script.words = None;
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

    /// Takes the end of the innermost script, which is the end of the command that began it.
    fn ended(&mut self, result: Result<(), Error>, context: &mut Context) -> Result<(), Error> {
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

    fn goto(&mut self, label: &str, context: &mut Context) -> Result<(), Error> {
        let fault = Fault::new(label, "the script has no such label");
        let error = self.error(fault, context);
        let Some(script) = self.scripts.last_mut() else {
            return Err(error);
        };
        let is_wanted = |line: &Line| line.label.as_deref() == Some(label);
        match script.lines.iter().position(is_wanted) {
            Some(at) => {
                script.next = at;
                script.words = None;
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
    ) -> Result<(), Error> {
        if in_place {
            self.scripts.pop();
        } else if self.scripts.len() >= MAX_DEPTH {
            let what = format!("scripts chain deeper than {MAX_DEPTH}");
            return Err(self.error(Fault::new(&file.to_string(), what), context));
        }
        self.state.settings.current = file.to_string();
        self.scripts.push(Script::new(file, text));
        Ok(())
    }

    fn error(&self, fault: Fault, context: &Context) -> Error {
        Error {
            is_local_boot: fault.is_local_boot,
            ..Error::new(&self.place(context), &fault.word, fault.what)
        }
    }

    fn place(&self, context: &Context) -> Place {
        match self.scripts.last() {
            Some(script) => Place {
                file: script.file.clone(),
                line: script.number,
            },
            None => Place::whole(&context.facts.boot_file),
        }
    }
}

impl Script {
    fn new(url: &Url, text: &[u8]) -> Self {
        Self {
            file: Arc::new(url.clone()),
            lines: lines(text),
            next: 0,
            number: 0,
            words: None,
            operator: Operator::End,
            last: Ok(()),
        }
    }
}

fn without_boot(context: &Context) -> Error {
    let place = Place::whole(&context.facts.boot_file);
    let what = "the script ended without booting anything";
    Error::local_boot(&place, "", what)
}
