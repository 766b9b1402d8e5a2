//! Commands that set settings, from the script or from what a person enters, and parameters of
//! requests: `set`, `read`, `param`, menus and forms.

use alloc::collections::VecDeque;

use super::super::context::Context;
use super::super::facts::Facts;
use super::super::plan::Place;
use super::super::step::{Answer, Step};
use super::arguments::{Arguments, CommandFault, number};
use super::state::{CommandEffect, CommandResult, FormItem, PendingCommand, State};
use crate::prelude::*;

pub(super) fn set(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    state.set(call.word(0), &call.text(1))?;
    Ok(CommandEffect::Done)
}

pub(super) fn params(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let name = call.value("name").unwrap_or_default();
    if call.has("delete") {
        state.parameters.take(name);
    } else {
        let method = call.value("method").unwrap_or_default();
        state.parameters.begin(name, method)?;
    }
    Ok(CommandEffect::Done)
}

pub(super) fn param(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let list = call.value("params").unwrap_or_default();
    let parameter = (call.word(0).to_owned(), call.text(1));
    state.parameters.add(list, call.has("header"), parameter)?;
    Ok(CommandEffect::Done)
}

pub(super) fn clear(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    state.settings.clear(call.word(0));
    Ok(CommandEffect::Done)
}

pub(super) fn increase(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let name = call.word(0);
    let increment = call.words.get(1).map_or(Ok(1), |word| number(word))?;
    let result = state
        .settings
        .increase(name, increment, &call.context.facts);
    result.map_err(|what| CommandFault::new(name, what))?;
    Ok(CommandEffect::Done)
}

pub(super) fn show(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let name = call.word(0);
    let value = state.settings.text(name, &call.context.facts);
    let value = value.ok_or_else(|| CommandFault::new(name, "is not set"))?;
    Ok(CommandEffect::say(if call.has("quiet") {
        value
    } else {
        format!("{name} = {value}")
    }))
}

/// Succeeds when the text, in which a setting has been expanded, is not empty.
pub(super) fn is_set(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    if call.word(0).is_empty() {
        return Err(CommandFault::of_command("is empty"));
    }
    Ok(CommandEffect::Done)
}

pub(super) fn is_equal(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let (text, other) = (call.word(0), call.word(1));
    if text == other {
        Ok(CommandEffect::Done)
    } else {
        Err(CommandFault::new(text, format!("is not \"{other}\"")))
    }
}

pub(super) fn read(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let setting = call.word(0).to_owned();
    let text = state.settings.text(&setting, &call.context.facts);
    let step = Step::Input {
        text: setting.clone(),
        // iPXE lets the value that is there be edited.
        default: text.unwrap_or_default(),
        is_secret: false,
        timeout: call.timeout()?,
    };
    let fields = VecDeque::new();
    Ok(CommandEffect::Ask(
        step,
        PendingCommand::Input { setting, fields },
    ))
}

/// Waits for a key.
pub(super) fn prompt(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let step = Step::Prompt {
        text: call.text(0),
        key: call.key()?,
        timeout: call.timeout()?,
    };
    Ok(CommandEffect::Ask(step, PendingCommand::Prompt))
}

/// Begins a menu or form, which are the same until one of them is shown.
pub(super) fn begin_menu(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let name = call.value("name").unwrap_or_default();
    if call.has("delete") {
        state.menus.remove(name);
    } else {
        state.menus.begin(name, call.text(0))?;
    }
    Ok(CommandEffect::Done)
}

pub(super) fn add_item(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let (name, text) = match call.words {
        words if call.has("gap") => (None, words),
        [name, text @ ..] => (Some(name), text),
        [] => (None, [].as_slice()),
    };
    let item = FormItem {
        name: name.filter(|name| !name.is_empty()).cloned(),
        text: text.join(" "),
        key: call.key()?,
        is_default: call.has("default"),
        is_secret: call.has("secret"),
    };
    let menu = call.value("menu").or(call.value("form"));
    state.menus.add(menu.unwrap_or_default(), item)?;
    Ok(CommandEffect::Done)
}

pub(super) fn choose(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let setting = call.word(0).to_owned();
    let name = call.value("menu").unwrap_or_default();
    let form = state.menus.find(name)?;
    let menu = form.menu(call.value("default"), call.timeout()?)?;
    let names = form.items.iter().map(|item| item.name.clone()).collect();
    // iPXE drops a menu that was shown unless --keep is given.
    if !call.has("keep") {
        state.menus.remove(name);
    }
    let pending = PendingCommand::Choice { setting, names };
    Ok(CommandEffect::Ask(Step::Menu(menu), pending))
}

pub(super) fn present(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let name = call.value("form").unwrap_or_default();
    let items = &state.menus.find(name)?.items;
    // Each field is a step of its own, so their total length is counted here.
    call.context
        .budget
        .produce(items.iter().map(|item| 16 + item.text.len()).sum());
    let fields = items.clone().into();
    if !call.has("keep") {
        state.menus.remove(name);
    }
    Ok(ask_fields(fields))
}

/// Asks for a name and a password.
pub(super) fn login(_: &mut State, _: &mut Arguments<'_>) -> CommandResult {
    let field = |name: &str| FormItem {
        name: Some(name.to_owned()),
        text: name.to_owned(),
        key: None,
        is_default: false,
        is_secret: name == "password",
    };
    // The names under which iPXE's login stores them.
    Ok(ask_fields(["username", "password"].map(field).into()))
}

/// Asks for the fields of a form, one after the other.
fn ask_fields(mut fields: VecDeque<FormItem>) -> CommandEffect {
    while let Some(field) = fields.pop_front() {
        if let Some(setting) = field.name {
            let step = Step::Input {
                text: field.text,
                default: String::new(),
                is_secret: field.is_secret,
                timeout: None,
            };
            return CommandEffect::Ask(step, PendingCommand::Input { setting, fields });
        }
    }
    CommandEffect::Done
}

/// Sets a setting to the text that was entered, and asks for the next field.
pub(super) fn entered(
    state: &mut State,
    setting: &str,
    fields: VecDeque<FormItem>,
    answer: Answer,
    facts: &Facts,
) -> CommandResult {
    if let Answer::Text(text) = answer {
        state.set(setting, &text)?;
    } else if answer != Answer::TimedOut || state.settings.text(setting, facts).is_none() {
        // With nobody there, the value that was to be edited stays.
        return Err(CommandFault::new(setting, "no text was entered"));
    }
    Ok(ask_fields(fields))
}

/// Sets a setting to the name of the menu's line that was chosen.
pub(super) fn chosen(
    state: &mut State,
    setting: &str,
    names: &[Option<String>],
    answer: &Answer,
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    let Answer::Chosen { entry, .. } = answer else {
        return Err(CommandFault::new(
            setting,
            "nothing was chosen from the menu",
        ));
    };
    let Some(Some(name)) = names.get(*entry) else {
        return Err(CommandFault::new(
            setting,
            "this line of the menu is no choice",
        ));
    };
    context.note(place, format!("{setting} is {name}, from the menu"));
    state.set(setting, name)?;
    Ok(CommandEffect::Done)
}
