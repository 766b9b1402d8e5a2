//! The menus of a configuration, and the targets of their entries.

use crate::prelude::*;

use super::super::plan::{Place, PlanError};
use super::super::step::{Entry, Menu};
use super::boot::own_options;
use super::config::{BootLabel, Config, LeadsTo, MenuLine, Submenu, Text};
use super::words::split_word;
use crate::sorted::SortedMap;

/// A label with the arguments after its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) number: usize,
    pub(super) arguments: String,
}

impl Named {
    /// The label of this number with its own arguments alone.
    const fn label(number: usize) -> Self {
        let arguments = String::new();
        Self { number, arguments }
    }
}

/// The target of a menu entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryTarget {
    None,
    Label(Named),
    Menu(usize),
    Quit,
}

impl Config {
    /// Returns the label that DEFAULT or MENU DEFAULT names.
    pub(super) fn default_label(&self) -> Option<(Named, Place)> {
        if let Some(default) = &self.default
            && let Some(named) = self.named(default)
        {
            return Some((named, default.place.clone()));
        }
        let menu = self.menus.get(self.start)?;
        let number = match (menu.default, self.default.is_some()) {
            (Some(MenuLine::Label(number)), _) => number,
            (Some(_), _) | (None, true) => return None,
            // SYSLINUX falls back to a label of this name.
            (None, false) => self.label_named("linux")?,
        };
        let label = self.labels.get(number)?;
        Some((Named::label(number), label.name.place.clone()))
    }

    /// Returns the label that a text names by its first word, or as a whole: U-Boot takes all of the
    /// line for the name.
    pub(super) fn named(&self, text: &Text) -> Option<Named> {
        let is_whole = |label: &BootLabel| label.name.value == text.value;
        if let Some(number) = self.labels.iter().position(is_whole) {
            return Some(Named::label(number));
        }
        let (name, arguments) = split_word(&text.value);
        Some(Named {
            number: self.label_named(name)?,
            arguments: arguments.to_owned(),
        })
    }

    pub(super) fn menu_of(&self, label: usize) -> usize {
        let mut menus = self.menus.iter();
        menus
            .position(|menu| menu.items.contains(&MenuLine::Label(label)))
            .unwrap_or(self.start)
    }

    /// Returns the menu of this number and the target of each of its entries.
    ///
    /// # Errors
    /// No such menu, or nothing in it that could be chosen.
    pub(super) fn menu(
        &self,
        number: usize,
        is_first: bool,
        place: &Place,
    ) -> Result<(Menu, Vec<EntryTarget>), PlanError> {
        let Some(submenu) = self.menus.get(number) else {
            return Err(PlanError::at(place, "there is no such menu"));
        };
        let mut menu = Menu {
            title: submenu.title.clone(),
            timeout: self.timeout,
            total_timeout: self.total_timeout,
            is_hidden: self.is_hidden && is_first,
            ..Menu::default()
        };
        let default = self.default_label().map(|(named, _)| named);
        let on_timeout = (self.on_timeout.as_ref()).and_then(|text| self.named(text));
        // DEFAULT applies to the menu that has its label, MENU DEFAULT to the others.
        let line =
            |named: &Option<Named>| named.as_ref().map(|named| MenuLine::Label(named.number));
        let selected = line(&default)
            .filter(|line| submenu.items.contains(line))
            .or(submenu.default);
        let last = line(&on_timeout);
        let parent = EntryTarget::Menu(submenu.parent.unwrap_or(0));
        // The first menu with a tag is used.
        let tags = self.menus.iter().enumerate().rev();
        let tags = tags
            .map(|(number, menu)| (menu.tag.clone(), number))
            .collect();
        let mut choices = Vec::new();
        for item in &submenu.items {
            let (mut entry, mut choice) = self.entry(*item, &parent, &tags);
            entry.key_moves_bar = !self.is_immediate(*item, submenu);
            let is_bootable = matches!(choice, EntryTarget::Label(_) | EntryTarget::Menu(_));
            let is = |line| is_bootable && Some(*item) == line;
            let (is_selected, is_last) = (is(selected), is(last));
            let is_hidden = matches!(item, MenuLine::Label(label)
                if self.labels.get(*label).is_some_and(|label| label.is_hidden));
            if is_hidden && !is_selected && !is_last {
                continue;
            }
            if is_selected {
                menu.selected = Some(choices.len());
            }
            if is_last {
                menu.on_timeout = Some(choices.len());
            }
            // DEFAULT and ONTIMEOUT may carry arguments of their own.
            for named in [&default, &on_timeout].into_iter().flatten() {
                if let EntryTarget::Label(label) = &mut choice
                    && label.number == named.number
                    && !named.arguments.is_empty()
                {
                    label.arguments.clone_from(&named.arguments);
                }
            }
            menu.entries.push(entry);
            choices.push(choice);
        }
        let mut choosable = (0..)
            .zip(&menu.entries)
            .filter(|(_, entry)| entry.is_choice);
        let (first, second) = (choosable.next(), choosable.next());
        if menu.selected.is_none()
            && let Some((first, _)) = first
            && (self.has_menu || second.is_none())
        {
            menu.selected = Some(first);
        }
        if first.is_none() && menu.selected.is_none() {
            let is_locked = |item: &MenuLine| match *item {
                MenuLine::Label(number) => self.labels.get(number).is_some_and(|it| it.is_locked),
                MenuLine::Submenu(number) => self.menus.get(number).is_some_and(|it| it.is_locked),
                MenuLine::Separator => false,
            };
            let mut what = "the configuration has no label that could be booted".to_owned();
            if submenu.items.iter().any(is_locked) {
                what.push_str(", but one that needs a password, which is not supported");
            }
            return Err(PlanError::at(place, what));
        }
        Ok((menu, choices))
    }

    /// Returns whether the key of an entry starts it (MENU IMMEDIATE).
    fn is_immediate(&self, item: MenuLine, submenu: &Submenu) -> bool {
        let own = match item {
            MenuLine::Label(number) => self.labels.get(number).and_then(|label| label.is_immediate),
            MenuLine::Separator | MenuLine::Submenu(_) => None,
        };
        own.unwrap_or(submenu.is_immediate)
    }

    /// Returns an entry and its target, in a menu with this parent; `tags` has the number of each menu
    /// with a tag.
    fn entry(
        &self,
        item: MenuLine,
        parent: &EntryTarget,
        tags: &SortedMap<String, usize>,
    ) -> (Entry, EntryTarget) {
        let nothing = (Entry::default(), EntryTarget::None);
        match item {
            MenuLine::Separator => nothing,
            MenuLine::Submenu(number) => match self.menus.get(number) {
                Some(menu) => {
                    let label = menu.label.as_ref().or(menu.title.as_ref());
                    let text = label.unwrap_or(&menu.tag);
                    let mut entry = choice_entry(text);
                    lock(&mut entry, menu.is_locked);
                    (entry, EntryTarget::Menu(number))
                }
                None => nothing,
            },
            MenuLine::Label(number) => match self.labels.get(number) {
                Some(label) => {
                    let text = label.menu_label.as_ref().unwrap_or(&label.name.value);
                    let mut entry = choice_entry(text);
                    entry.help.clone_from(&label.help);
                    entry.is_choice = !label.is_disabled;
                    lock(&mut entry, label.is_locked);
                    if label.leads_to.is_none() && !self.is_fixed {
                        entry.command_line = Some(own_options(self, label).to_owned());
                    }
                    let choice = match &label.leads_to {
                        _ if label.is_disabled => EntryTarget::None,
                        None => EntryTarget::Label(Named::label(number)),
                        Some(LeadsTo::Parent) => parent.clone(),
                        Some(LeadsTo::Tagged(tag)) => {
                            let number = tags.get(tag).copied();
                            number.map_or(EntryTarget::None, EntryTarget::Menu)
                        }
                        Some(LeadsTo::Quit) => EntryTarget::Quit,
                    };
                    (entry, choice)
                }
                None => nothing,
            },
        }
    }
}

/// Keeps a person from choosing an entry with a password, since passwords are not supported; the
/// countdown still starts it, as in com32/menu/menumain.c.
fn lock(entry: &mut Entry, is_locked: bool) {
    if is_locked {
        entry.is_choice = false;
        entry.command_line = None;
        entry
            .text
            .push_str(" (needs a password, which is not supported)");
    }
}

fn choice_entry(text: &str) -> Entry {
    // ^ marks the next letter as the key of the entry.
    let key = text
        .split_once('^')
        .and_then(|(_, rest)| rest.chars().next());
    Entry {
        text: text.replacen('^', "", 1),
        is_choice: true,
        key: key.map(|key| key.to_ascii_lowercase()),
        ..Entry::default()
    }
}
