//! `blscfg`: boot loader entries as entries of the menu (`grub-core/commands/blscfg.c` of Fedora).
//!
//! GRUB lists the directory; here a web server must: by an index, or by a file that names the
//! entries. A single entry is read without a list, from any server.

use super::super::bls::{foreign, keys, with_values};
use super::super::context::Context;
use super::super::plan::{Place, PlanError, Purpose};
use super::super::step::{Answer, FetchResult, Step};
use super::entries::{GrubEntry, hotkey};
use super::lists::{EXTENSION, EntryReader, MenuEntries, names, stem};
use super::parse::parse;
use super::shell::{Call, PendingStatement, Shell, StatementEffect, StatementResult};
use crate::prelude::*;
use crate::text::url::{Scheme, Url};

/// Limit of entries that are read; a machine has a few.
const MAX_ENTRIES: usize = 32;
/// Begins with the list of a directory, or with a single file.
pub(super) fn start(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let word = call.words.first().copied();
    let (selection, path) = match word {
        None => (MenuEntries::All, None),
        Some(path) if path.starts_with('(') => (MenuEntries::All, Some(path)),
        Some("default") => (MenuEntries::Default, None),
        Some("non-default") => (MenuEntries::Others, None),
        Some(id) => (MenuEntries::Id(id.to_owned()), None),
    };
    let path = path
        .or(shell.variables.value("blsdir"))
        .unwrap_or("/loader/entries");
    let is_file = path.ends_with(EXTENSION);
    let list = (!is_file).then(|| path.trim_end_matches('/').to_owned());
    let name = match &list {
        Some(list) => format!("{list}/"),
        None => path.to_owned(),
    };
    let url = shell.variables.resolve(&name, call.place)?;
    if !is_file && url.scheme() == Scheme::Tftp {
        let what = "a TFTP server does not list its files: name an entry, as in blscfg \
                    (tftp)/loader/entries/NAME.conf, serve them over HTTP, or write menuentry";
        shell.blame = Some(call.error(what));
        return Ok(StatementEffect::fails(what));
    }
    let step = Step::Fetch {
        url: url.clone(),
        purpose: Purpose::Configuration,
    };
    let reader = EntryReader {
        selection,
        list,
        waiting: vec![url],
        read: Vec::new(),
    };
    Ok(StatementEffect::Ask(
        step,
        PendingStatement::Entries(Box::new(reader)),
    ))
}

/// Handles the answer for the file that was asked for; returns the next one.
///
/// # Errors
/// The server failed, or the plan has read too much.
pub(super) fn next(
    reader: &mut EntryReader,
    answer: Answer,
    shell: &mut Shell,
    place: &Place,
    context: &mut Context,
) -> Result<Option<Url>, PlanError> {
    let Some(url) = reader.waiting.pop() else {
        return Ok(None);
    };
    let text = match answer.into_fetched() {
        FetchResult::File(text) => text,
        FetchResult::Missing => {
            context.note(place, format!("{url} not found"));
            let what = format!("the server does not list entries at {url}");
            shell.blame = Some(PlanError::new(place, "blscfg", what));
            Vec::new()
        }
        FetchResult::Failed(why) => return Err(PlanError::new(place, &url.to_string(), why)),
    };
    context.budget.read(place, text.len())?;
    let text = String::from_utf8_lossy(&text).into_owned();
    match reader.list.take() {
        Some(list) => {
            let names = names(&text);
            if names.len() > MAX_ENTRIES {
                let text = format!("{url} lists {} entries; the newest are read", names.len());
                context.note(place, text);
            }
            // Reversed: they are taken from the end.
            for name in names.iter().take(MAX_ENTRIES).rev() {
                reader
                    .waiting
                    .push(shell.variables.resolve(&format!("{list}/{name}"), place)?);
            }
        }
        None => reader.read.push((url, text)),
    }
    Ok(reader.waiting.last().cloned())
}

/// Returns the entries for the menu, the newest first.
///
/// # Errors
/// A line of an entry that GRUB could not read either.
pub(super) fn entries(
    reader: &EntryReader,
    shell: &Shell,
    context: &mut Context,
) -> Result<Vec<GrubEntry>, PlanError> {
    let default = shell.variables.value("default").unwrap_or_default();
    let mut entries = Vec::new();
    for (number, (url, text)) in reader.read.iter().enumerate() {
        let Some(entry) = entry(url, text, shell, context)? else {
            continue;
        };
        let id = entry.id();
        let is_default = default == id || default == entry.title || default.parse() == Ok(number);
        let is_selected = match &reader.selection {
            MenuEntries::All => true,
            MenuEntries::Default => is_default,
            MenuEntries::Others => !is_default,
            MenuEntries::Id(wanted) => wanted == id,
        };
        if is_selected {
            entries.push(entry);
        }
    }
    Ok(entries)
}
/// Returns the entry in a file; none when it has no kernel, or is for another architecture.
fn entry(
    url: &Url,
    text: &str,
    shell: &Shell,
    context: &mut Context,
) -> Result<Option<GrubEntry>, PlanError> {
    let place = Place::whole(url);
    let value = |name: &str| {
        let mut keys = keys(text).filter(|(_, key, _)| *key == name);
        keys.next().map(|(_, _, value)| value)
    };
    let all = |name: &str| {
        let values = keys(text).filter(|(_, key, _)| *key == name);
        values
            .map(|(_, _, value)| value)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let Some(kernel) = value("linux") else {
        context.note(&place, "has no kernel and is passed over");
        return Ok(None);
    };
    if let Some(name) = value("architecture")
        && let Some(why) = foreign(name, context.facts.architecture)
    {
        context.note(&place, format!("is passed over: {name} {why}"));
        return Ok(None);
    }
    let value_of = |name: &str| shell.variables.value(name).map(str::to_owned);
    let mut filled = |text: &str| with_values(text, &value_of, &place, context);
    let options = match all("options") {
        options if options.is_empty() => value_of("default_kernelopts").unwrap_or_default(),
        options => options,
    };
    let options = filled(&options);
    let initrds = filled(&all("initrd"));
    let users = filled(value("grub_users").unwrap_or_default());
    let tree = filled(value("devicetree").unwrap_or_default());
    // GRUB writes a script of it, too (create_entry).
    let mut body = format!("linux {kernel} {options}\n");
    for (command, files) in [("initrd", initrds), ("devicetree", tree)] {
        if !files.trim().is_empty() {
            body += &format!("{command} {files}\n");
        }
    }
    let id = stem(url.file_name()).to_owned();
    let title = value("title").unwrap_or(kernel).to_owned();
    Ok(Some(GrubEntry {
        id: Some(id),
        key: value("grub_hotkey").and_then(hotkey),
        is_unrestricted: users.trim().is_empty(),
        is_submenu: false,
        arguments: vec![title.clone()],
        title,
        body: parse(body.as_bytes(), &place)?,
        place,
    }))
}
