//! Entries of the menu: which is the default, and who may choose which.

use core::time::Duration;

use super::super::context::Context;
use super::super::plan::{Place, PlanError};
use super::super::step::{Entry, Menu};
use super::parse::Block;
use super::shell::Shell;
use crate::prelude::*;
use crate::text::safe::Quoted;

/// A line of the menu.
#[derive(Debug, Clone)]
pub(super) struct GrubEntry {
    pub(super) title: String,
    pub(super) id: Option<String>,
    pub(super) key: Option<char>,
    /// Whether anybody may boot it, even where `superusers` is set.
    pub(super) is_unrestricted: bool,
    pub(super) is_submenu: bool,
    /// The arguments of its body; the first is the title.
    pub(super) arguments: Vec<String>,
    /// The file and line of its body.
    pub(super) place: Place,
    pub(super) body: Block,
}

impl GrubEntry {
    /// Parses the words of `menuentry` or `submenu`; none without a title, which is noted.
    pub(super) fn parse(
        words: Vec<String>,
        body: Block,
        place: &Place,
        context: &mut Context,
    ) -> Option<Self> {
        let is_submenu = words.first().is_some_and(|word| word == "submenu");
        let mut words = words.into_iter().skip(1);
        let (mut arguments, mut id, mut key) = (Vec::new(), None, None);
        let (mut is_unrestricted, mut has_users) = (false, false);
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            match name.as_str() {
                "--id" => id = value.or_else(|| words.next()),
                "--hotkey" => key = value.or_else(|| words.next()),
                // A class is for themes.
                "--class" => drop(value.or_else(|| words.next())),
                // Users are asked about only where superusers are set, whatever else is said.
                "--users" => {
                    has_users = true;
                    drop(value.or_else(|| words.next()));
                }
                "--unrestricted" => is_unrestricted = true,
                "--" => arguments.extend(words.by_ref()),
                _ if word.starts_with("--") => {
                    context.note(
                        place,
                        format!("unknown option {} of an entry", Quoted(&word)),
                    );
                }
                _ => arguments.push(word),
            }
        }
        let Some(title) = arguments.first().cloned() else {
            context.note(place, "a menu entry without a title is left out");
            return None;
        };
        Some(Self {
            title,
            id,
            key: key.and_then(|key| hotkey(&key)),
            // grub_cmd_menuentry() looks at --unrestricted only without --users.
            is_unrestricted: is_unrestricted && !has_users,
            is_submenu,
            arguments,
            place: place.clone(),
            body,
        })
    }

    /// Returns the name of it in `default` and `chosen`.
    pub(super) fn id(&self) -> &str {
        self.id.as_ref().unwrap_or(&self.title)
    }

    /// Returns why nobody may choose it, where GRUB asks for a password before it runs it
    /// (`grub_auth_check_authentication`): where nobody is a superuser, everybody may run all.
    pub(super) fn refusal(&self, shell: &Shell) -> Option<PlanError> {
        let what = "needs a password in GRUB (superusers is set), which is not supported; \
                    --unrestricted lets everybody boot the entry";
        let is_restricted = !self.is_unrestricted && shell.variables.value("superusers").is_some();
        is_restricted.then(|| PlanError::new(&self.place, &self.title, what))
    }

    fn shown(&self, shell: &Shell) -> Entry {
        Entry {
            text: self.title.clone(),
            is_choice: self.refusal(shell).is_none(),
            key: self.key,
            ..Entry::default()
        }
    }
}

/// Returns the key of `--hotkey`. Names of keys, such as f1, are of keys that not every terminal has.
pub(super) fn hotkey(name: &str) -> Option<char> {
    let mut letters = name.chars();
    letters.next().filter(|_| letters.next().is_none())
}

/// Returns the menu of these entries.
///
/// # Errors
/// None of them can be chosen.
pub(super) fn menu(entries: &[GrubEntry], shell: &Shell) -> Result<Menu, PlanError> {
    let default = default_entry(entries, shell);
    // Nobody is let into another entry than the default only because of a password.
    let refusal = default.and_then(|item| item.refusal(shell));
    let selected = default.filter(|_| refusal.is_none());
    let is_selected = |item: &GrubEntry| selected.is_some_and(|other| core::ptr::eq(other, item));
    let timeout = shell.variables.value("timeout").unwrap_or_default();
    // After the time GRUB would ask for the password of the default entry; here nothing would start,
    // and the menu waits for a choice.
    let timeout = timeout.parse::<i64>().ok().filter(|_| refusal.is_none());
    let menu = Menu {
        title: None,
        entries: entries.iter().map(|item| item.shown(shell)).collect(),
        selected: entries.iter().position(is_selected),
        timeout: timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs),
        is_hidden: shell.variables.value("timeout_style") == Some("hidden") && refusal.is_none(),
        ..Menu::default()
    };
    match refusal {
        Some(refusal) if !menu.entries.iter().any(|entry| entry.is_choice) => Err(refusal),
        _ => Ok(menu),
    }
}

/// Returns the entry that `default` names by number, title or id; the first when it names none.
pub(super) fn default_entry<'a>(entries: &'a [GrubEntry], shell: &Shell) -> Option<&'a GrubEntry> {
    let (name, _) = default_path(shell);
    // As get_entry_number() of grub-core/normal/menu.c: a number first, then a title or an id.
    let number = name.parse::<usize>().ok();
    number
        .and_then(|number| entries.get(number))
        .or_else(|| entries.get(position(entries, &name)?))
        .or(entries.first())
}

/// Returns the number of the entry with this title or id.
pub(super) fn position(entries: &[GrubEntry], name: &str) -> Option<usize> {
    let is_named = |item: &GrubEntry| item.title == name || item.id() == name;
    entries.iter().position(is_named)
}

/// Returns the entry in `default`, and the rest of it for the submenu that the entry is; `>>` is a
/// `>` of the name (`menuentry_eq`).
pub(super) fn default_path(shell: &Shell) -> (String, String) {
    let mut rest = shell.variables.value("default").unwrap_or_default();
    let mut name = String::new();
    while let Some((start, after)) = rest.split_once('>') {
        name.push_str(start);
        let Some(quoted) = after.strip_prefix('>') else {
            return (name, after.to_owned());
        };
        name.push('>');
        rest = quoted;
    }
    (name + rest, String::new())
}
