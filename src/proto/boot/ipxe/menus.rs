//! Menus and forms under construction.

use crate::prelude::*;
use core::time::Duration;

use super::super::menu::{Entry, Menu};
use super::arguments::Fault;

/// How many lines menus may have in all.
const MAX_ITEMS: usize = 10_000;
/// How many menus there may be at a time.
const MAX_FORMS: usize = 256;

/// A line of a menu or form.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// What choosing it sets; none for a line that only separates.
    pub(super) name: Option<String>,
    pub(super) text: String,
    pub(super) key: Option<char>,
    pub(super) is_default: bool,
    pub(super) is_secret: bool,
}

/// A menu or form.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// Empty for the one that has none.
    name: String,
    title: String,
    pub(super) items: Vec<Item>,
}

/// All menus and forms of a run.
#[derive(Debug, Default)]
pub(super) struct Menus(Vec<Form>);

impl Menus {
    /// Begins a menu or form anew.
    ///
    /// # Errors
    /// Too many of them.
    pub(super) fn begin(&mut self, name: &str, title: String) -> Result<(), Fault> {
        self.remove(name);
        if self.0.len() >= MAX_FORMS {
            let what = format!("there are more than {MAX_FORMS} menus");
            return Err(Fault::new(name, what));
        }
        self.0.push(Form {
            name: name.to_owned(),
            title,
            items: Vec::new(),
        });
        Ok(())
    }

    /// Forgets a menu or form.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|form| form.name != name);
    }

    /// Puts a line at the end of a menu or form.
    ///
    /// # Errors
    /// No such menu, or too many lines.
    pub(super) fn add(&mut self, name: &str, item: Item) -> Result<(), Fault> {
        if self.0.iter().map(|form| form.items.len()).sum::<usize>() >= MAX_ITEMS {
            let what = format!("the menus have more than {MAX_ITEMS} lines");
            return Err(Fault::new(&item.text, what));
        }
        self.find(name)?.items.push(item);
        Ok(())
    }

    /// Returns the menu or form of this name.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn find(&mut self, name: &str) -> Result<&mut Form, Fault> {
        let form = self.0.iter_mut().find(|form| form.name == name);
        form.ok_or_else(|| Fault::new(name, "no menu was begun"))
    }
}

impl Form {
    /// Returns the menu to be shown, with the bar on `default` or on the item marked so.
    ///
    /// # Errors
    /// A menu without a line that could be chosen.
    pub(super) fn menu(
        &self,
        default: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Menu, Fault> {
        let entries = self.items.iter().map(|item| Entry {
            text: item.text.clone(),
            is_choice: item.name.is_some(),
            key: item.key,
            command_line: None,
            help: None,
        });
        let named = |item: &Item| item.name.is_some() && item.name.as_deref() == default;
        let position = |wanted: &dyn Fn(&Item) -> bool| self.items.iter().position(wanted);
        let selected = position(&named)
            .or_else(|| position(&|item| item.is_default && item.name.is_some()))
            .or_else(|| position(&|item| item.name.is_some()));
        if selected.is_none() {
            return Err(Fault::new(&self.title, "the menu has nothing to choose"));
        }
        Ok(Menu {
            title: Some(self.title.clone()).filter(|title| !title.is_empty()),
            entries: entries.collect(),
            selected,
            timeout,
            ..Menu::default()
        })
    }
}
