//! The commands about menus and forms: build them, and ask.

use super::super::context::Context;
use super::super::step::Step;
use super::commands::{Fault, Pending, State, ask_fields, key, milliseconds};
use super::machine::Effect;
use super::menus::Item;
use super::options::{Arguments, flag, valued};
use crate::prelude::*;

impl State {
    /// `menu [--name NAME] [--delete] TITLE…`, and `form`, which is the same.
    pub(super) fn begin_menu(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let known = [valued("name", 'n'), flag("delete", 'd')];
        let arguments = Arguments::parse(words, &known)?;
        let name = arguments.value("name").unwrap_or_default();
        if arguments.has("delete") {
            self.menus.remove(name);
        } else {
            self.menus.begin(name, arguments.rest.join(" "))?;
        }
        Ok(Effect::Done)
    }

    /// `item [--menu NAME] [--key KEY] [--default] [--secret] [--gap] [NAME] TEXT…`
    pub(super) fn add_item(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let known = [
            valued("menu", 'm'),
            valued("form", 'f'),
            valued("key", 'k'),
            flag("default", 'd'),
            flag("secret", 's'),
            flag("gap", 'g'),
        ];
        let arguments = Arguments::parse(words, &known)?;
        let (name, text) = match arguments.rest {
            rest if arguments.has("gap") => (None, rest),
            [name, text @ ..] => (Some(name), text),
            [] => (None, [].as_slice()),
        };
        let item = Item {
            name: name.filter(|name| !name.is_empty()).cloned(),
            text: text.join(" "),
            key: arguments.value("key").map(key).transpose()?.flatten(),
            is_default: arguments.has("default"),
            is_secret: arguments.has("secret"),
        };
        let menu = arguments.value("menu").or(arguments.value("form"));
        self.menus.add(menu.unwrap_or_default(), item)?;
        Ok(Effect::Done)
    }

    /// `choose [--menu NAME] [--default NAME] [--timeout MS] [--keep] SETTING`
    pub(super) fn choose(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let known = [
            valued("menu", 'm'),
            valued("default", 'd'),
            valued("timeout", 't'),
            valued("retimeout", 'r'),
            flag("keep", 'k'),
        ];
        let mut arguments = Arguments::parse(words, &known)?;
        let setting = arguments.word("the setting")?.to_owned();
        arguments.end()?;
        let name = arguments.value("menu").unwrap_or_default();
        let form = self.menus.find(name)?;
        let menu = form.menu(arguments.value("default"), milliseconds(&arguments)?)?;
        let names = form.items.iter().map(|item| item.name.clone()).collect();
        if !arguments.has("keep") {
            self.menus.remove(name);
        }
        let pending = Pending::Choice { setting, names };
        Ok(Effect::Ask(Step::Menu(menu), pending))
    }

    /// `present [--form NAME] [--keep]`
    pub(super) fn present(
        &mut self,
        words: &[String],
        context: &mut Context,
    ) -> Result<Effect, Fault> {
        let arguments = Arguments::parse(words, &[valued("form", 'f'), flag("keep", 'k')])?;
        let name = arguments.value("form").unwrap_or_default();
        let items = &self.menus.find(name)?.items;
        // Fields are asked for one by one, so that no step shows what they cost together.
        context
            .budget
            .produce(items.iter().map(|item| 16 + item.text.len()).sum());
        let fields = items.clone().into();
        if !arguments.has("keep") {
            self.menus.remove(name);
        }
        Ok(ask_fields(fields))
    }
}

/// Asks for a name and a password.
pub(super) fn login() -> Effect {
    let field = |name: &str| Item {
        name: Some(name.to_owned()),
        text: name.to_owned(),
        key: None,
        is_default: false,
        is_secret: name == "password",
    };
    ask_fields(["username", "password"].map(field).into())
}
