//! The prompt of pxelinux: what is booted when a line is typed, and when none is; and what follows where it
//! cannot be booted.

use alloc::collections::VecDeque;

use super::super::context::{Context, Turn};
use super::super::plan::{Place, PlanError};
use super::super::step::Step;
use super::config::Text;
use super::machine::{PxelinuxMachine, State, no_kernel};
use super::words::{join, split_word};
use crate::prelude::*;
use crate::text::safe::Quoted;

impl PxelinuxMachine {
    /// Asks for a label at the `boot:` prompt.
    pub(super) fn prompt(&mut self, context: &Context) -> Result<Turn, PlanError> {
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
            help_keys: self.help_keys(),
            // TIMEOUT ends with the first key, also at a second prompt.
            timeout: self.config.timeout.filter(|_| !self.is_attended),
            total_timeout: self.config.total_timeout,
        }))
    }

    /// Boots ONTIMEOUT, or the default, when nobody types.
    pub(super) fn unanswered(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
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
    pub(super) fn typed(&mut self, line: &str, context: &mut Context) -> Result<Turn, PlanError> {
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
            place,
        };
        let command = self.command(&text);
        let command = command.or_else(|| self.on_error(&text, context));
        let Some((number, arguments)) = command else {
            return self.refuse(no_kernel(name, ""), context);
        };
        match self.boot(number, arguments, None, context) {
            Ok(turn) => Ok(self.tried(turn, Some(name.to_owned()))),
            Err(error) if error.outcome.is_none() => self.refuse(error.to_string(), context),
            error => error,
        }
    }

    /// Returns the label of a command line and the arguments after it; a word that is no label is the
    /// name of a kernel, unless IMPLICIT is 0.
    pub(super) fn command(&mut self, text: &Text) -> Option<(usize, String)> {
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

    /// Returns the command of ONERROR, with the line behind it that cannot be booted
    /// (doc/syslinux.txt).
    pub(super) fn on_error(
        &mut self,
        line: &Text,
        context: &mut Context,
    ) -> Option<(usize, String)> {
        let command = self.config.on_error.clone().filter(|_| !self.is_on_error)?;
        let what = format!(
            "{} cannot be booted; ONERROR: {command}",
            Quoted(&line.value)
        );
        context.note(&line.place, what);
        self.is_on_error = true;
        self.command(&Text {
            value: join([&command, &line.value]),
            place: line.place.clone(),
        })
    }

    /// Says that the default cannot be booted, and shows the prompt: with nobody at it that is the
    /// end.
    fn refuse_default(&mut self, text: &Text, context: &mut Context) -> Result<Turn, PlanError> {
        if let Some((number, arguments)) = self.on_error(text, context) {
            return self.boot(number, arguments, None, context);
        }
        let (name, _) = split_word(&text.value);
        if self.has_refused_default && !self.is_attended {
            let labels = self.config.labels.iter();
            let labels: Vec<_> = labels.map(|label| label.name.value.as_str()).collect();
            let labels = labels.join(", ");
            let what = format!("is no label, and with IMPLICIT 0 no kernel; labels: {labels}");
            return Err(PlanError::new(&text.place, name, what));
        }
        self.has_refused_default = true;
        (self.config.has_prompt, self.config.is_ui, self.config.ui) = (true, false, None);
        self.refuse(no_kernel(name, ""), context)
    }

    /// Says why a line cannot be booted, and asks again.
    pub(super) fn refuse(&mut self, why: String, context: &mut Context) -> Result<Turn, PlanError> {
        self.phase = State::Saying(VecDeque::from([why]));
        self.say(context)
    }

    pub(super) fn boot_default(&mut self, context: &mut Context) -> Result<Turn, PlanError> {
        if self.config.has_menu && self.config.ui.is_none() {
            let start = match self.config.default_label() {
                Some((label, _)) => self.config.menu_of(label.number),
                None => self.config.start,
            };
            return self.show(start, context);
        }
        // A word that is no label is the name of a kernel or module (doc/syslinux.txt, IMPLICIT).
        let command = self
            .config
            .ui
            .clone()
            .or_else(|| self.config.default.clone());
        let command = command.filter(|command| self.config.named(command).is_none());
        if let Some(command) = &command
            && let Some((number, arguments)) = self.command(command)
        {
            return self.boot(number, arguments, None, context);
        }
        match self.config.default_label() {
            Some((label, place)) => {
                context.note(&place, "is the default");
                self.boot(label.number, label.arguments, None, context)
            }
            None => match command {
                Some(command) => self.refuse_default(&command, context),
                None => self.show(self.config.start, context),
            },
        }
    }
}
