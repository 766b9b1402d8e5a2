//! The commands about settings: set them, show them, compare them.

use crate::prelude::*;
use alloc::collections::VecDeque;

use super::super::context::Context;
use super::super::step::Step;
use super::commands::{Fault, Pending, State, milliseconds, number, say};
use super::machine::Effect;
use super::options::{Arguments, flag, valued};

impl State {
    /// `set NAME TEXT…`
    pub(super) fn set_command(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let mut arguments = Arguments::parse(words, &[])?;
        let name = arguments.word(SETTING)?;
        self.set(name, &arguments.rest.join(" "))?;
        Ok(Effect::Done)
    }

    /// `clear NAME`
    pub(super) fn clear(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let mut arguments = Arguments::parse(words, &[])?;
        self.settings.clear(arguments.word(SETTING)?);
        Ok(Effect::Done)
    }

    /// `inc NAME [NUMBER]`
    pub(super) fn increase(
        &mut self,
        words: &[String],
        context: &Context,
    ) -> Result<Effect, Fault> {
        let mut arguments = Arguments::parse(words, &[])?;
        let name = arguments.word(SETTING)?;
        let increment = arguments.rest.first().map_or(Ok(1), |word| number(word))?;
        let result = self.settings.increase(name, increment, &context.facts);
        result.map_err(|what| Fault::new(name, what))?;
        Ok(Effect::Done)
    }

    /// `read [--timeout MS] NAME`
    pub(super) fn read(&mut self, words: &[String], context: &Context) -> Result<Effect, Fault> {
        let mut arguments = Arguments::parse(words, &[valued("timeout", 't')])?;
        let setting = arguments.word(SETTING)?.to_owned();
        let text = self.settings.text(&setting, &context.facts);
        let step = Step::Input {
            text: setting.clone(),
            default: text.unwrap_or_default(),
            is_secret: false,
            timeout: milliseconds(&arguments)?,
        };
        let fields = VecDeque::new();
        Ok(Effect::Ask(step, Pending::Input { setting, fields }))
    }

    /// `show [--quiet] NAME`
    pub(super) fn show(&mut self, words: &[String], context: &Context) -> Result<Effect, Fault> {
        let mut arguments = Arguments::parse(words, &[flag("quiet", 'q')])?;
        let name = arguments.word(SETTING)?;
        let value = self.settings.text(name, &context.facts);
        let value = value.ok_or_else(|| Fault::new(name, "is not set"))?;
        Ok(say(match arguments.has("quiet") {
            true => value,
            false => format!("{name} = {value}"),
        }))
    }
}

/// `isset TEXT`
pub(super) fn is_set(words: &[String]) -> Result<Effect, Fault> {
    let mut arguments = Arguments::parse(words, &[])?;
    let text = arguments.word(SETTING)?;
    arguments.end()?;
    match text.is_empty() {
        true => Err(Fault::new("isset", "is empty")),
        false => Ok(Effect::Done),
    }
}

/// `iseq TEXT TEXT`
pub(super) fn is_equal(words: &[String]) -> Result<Effect, Fault> {
    let mut arguments = Arguments::parse(words, &[])?;
    let text = arguments.word(SETTING)?;
    let other = arguments.word("the text to compare with")?;
    arguments.end()?;
    match text == other {
        true => Ok(Effect::Done),
        false => Err(Fault::new(text, format!("is not \"{other}\""))),
    }
}

/// What is missing where there is no first word.
const SETTING: &str = "the setting";
