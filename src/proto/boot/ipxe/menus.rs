//! Menus and forms that a script is building.

use crate::prelude::*;
use core::time::Duration;

use super::super::step::{Entry, Menu};
use super::arguments::CommandFault;

/// Limit of lines in all menus together.
const MAX_ITEMS: usize = 10_000;
/// Limit of menus at a time.
const MAX_FORMS: usize = 256;

/// A line of a menu or form.
#[derive(Debug, Clone)]
pub(super) struct FormItem {
    /// The value that choosing it sets; none for a separator.
    pub(super) name: Option<String>,
    pub(super) text: String,
    pub(super) key: Option<char>,
    pub(super) is_default: bool,
    pub(super) is_secret: bool,
}

/// A menu or form.
#[derive(Debug, Clone)]
pub(super) struct MenuForm {
    /// Empty for the unnamed one.
    name: String,
    title: String,
    pub(super) items: Vec<FormItem>,
}

/// All menus and forms of a run.
#[derive(Debug, Default)]
pub(super) struct Menus(Vec<MenuForm>);

impl Menus {
    /// Begins a menu or form, in place of one with the same name.
    ///
    /// # Errors
    /// Too many of them.
    pub(super) fn begin(&mut self, name: &str, title: String) -> Result<(), CommandFault> {
        self.remove(name);
        if self.0.len() >= MAX_FORMS {
            let what = format!("there are more than {MAX_FORMS} menus");
            return Err(CommandFault::new(name, what));
        }
        self.0.push(MenuForm {
            name: name.to_owned(),
            title,
            items: Vec::new(),
        });
        Ok(())
    }

    /// Removes a menu or form.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|form| form.name != name);
    }

    /// Puts a line at the end of a menu or form.
    ///
    /// # Errors
    /// No such menu, or too many lines.
    pub(super) fn add(&mut self, name: &str, item: FormItem) -> Result<(), CommandFault> {
        if self.0.iter().map(|form| form.items.len()).sum::<usize>() >= MAX_ITEMS {
            let what = format!("the menus have more than {MAX_ITEMS} lines");
            return Err(CommandFault::new(&item.text, what));
        }
        self.find(name)?.items.push(item);
        Ok(())
    }

    /// Returns the menu or form of this name.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn find(&mut self, name: &str) -> Result<&mut MenuForm, CommandFault> {
        let form = self.0.iter_mut().find(|form| form.name == name);
        form.ok_or_else(|| CommandFault::new(name, "no such menu"))
    }
}

impl MenuForm {
    /// Returns the menu to be shown, with the bar on `default` or on the item marked so.
    ///
    /// # Errors
    /// A menu without a line that could be chosen.
    pub(super) fn menu(
        &self,
        default: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Menu, CommandFault> {
        let entries = self.items.iter().map(|item| Entry {
            text: item.text.clone(),
            is_choice: item.name.is_some(),
            key: item.key,
            ..Entry::default()
        });
        let named = |item: &FormItem| item.name.is_some() && item.name.as_deref() == default;
        let position = |wanted: &dyn Fn(&FormItem) -> bool| self.items.iter().position(wanted);
        let selected = position(&named)
            .or_else(|| position(&|item| item.is_default && item.name.is_some()))
            .or_else(|| position(&|item| item.name.is_some()));
        if selected.is_none() {
            return Err(CommandFault::new(
                &self.title,
                "the menu has no entry to choose",
            ));
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
