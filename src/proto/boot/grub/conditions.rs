//! Commands that conditions use: `test`, `regexp` and others that succeed or set variables.

use alloc::borrow::Cow;
use core::time::Duration;

use super::super::context::Context;
use super::super::plan::{Place, PlanError, Purpose};
use super::super::step::{Answer, FetchResult, Step};
use super::regexp::Regexp;
use super::shell::{Call, PendingStatement, Shell, StatementEffect, StatementResult};
use super::test::{Unjudged, judge, number};
use crate::prelude::*;

/// The first line of an environment block (`GRUB_ENVBLK_SIGNATURE`).
// grub_envblk_open() refuses a file without it.
const ENVIRONMENT: &str = "# GRUB Environment Block\n";

pub(super) fn test(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let words = match call.words.split_last() {
        Some((&"]", words)) => words,
        _ => &call.words,
    };
    if words.iter().any(|word| word.contains("$(")) {
        return Ok(StatementEffect::Unknown(
            "cannot judge $(…), which GRUB does not run",
        ));
    }
    let size = |name: &str| match shell.variables.resolve(name, call.place) {
        Ok(url) => shell.sizes.get(&url.to_string()).copied(),
        // It is on a disk, or has no name.
        Err(_) => Some(0),
    };
    match judge(words, &size) {
        Ok(judgement) => {
            if judgement.asks_directory {
                let text = "-d, -e, -f, -nt and -ot find no file: the network has no lists of \
                            files; -s asks for one";
                call.context.note(call.place, text);
            }
            Ok(StatementEffect::Status(judgement.holds))
        }
        Err(Unjudged::Size(name)) => {
            let url = shell.variables.resolve(&name, call.place)?;
            let step = Step::Fetch {
                url: url.clone(),
                purpose: Purpose::BootFile,
            };
            Ok(StatementEffect::Ask(step, PendingStatement::Size(url)))
        }
        Err(Unjudged::Depth) => Err(PlanError::new(call.place, "(", "nests too deep")),
    }
}

pub(super) fn sleep(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let seconds = u64::try_from(number(call.word(0))).unwrap_or(0);
    let step = Step::Sleep(Duration::from_secs(seconds));
    Ok(if seconds == 0 {
        StatementEffect::Status(true)
    } else {
        StatementEffect::Ask(step, PendingStatement::Nothing)
    })
}

pub(super) fn read(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let name = call.words.first().map(|name| (*name).to_owned());
    let step = Step::Input {
        text: name.clone().unwrap_or_default(),
        default: String::new(),
        is_secret: call.option("silent").is_some(),
        timeout: None,
    };
    Ok(StatementEffect::Ask(step, PendingStatement::Variable(name)))
}

pub(super) fn load_env(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let prefix = shell.variables.value("prefix").unwrap_or_default();
    let file = call.option("file");
    let file = file.map_or(format!("{prefix}/grubenv"), str::to_owned);
    let names = call.words.iter().map(|name| (*name).to_owned()).collect();
    let Ok(url) = shell.variables.resolve(&file, call.place) else {
        return Ok(StatementEffect::fails(
            "fails: the file is on no device of the network",
        ));
    };
    let step = Step::Fetch {
        url,
        purpose: Purpose::Configuration,
    };
    Ok(StatementEffect::Ask(
        step,
        PendingStatement::Environment(names),
    ))
}

pub(super) fn verify(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let [file, signature] = call.words.as_slice() else {
        return Ok(StatementEffect::fails(
            "fails: the keys that count are those of this machine, not one in a file",
        ));
    };
    let step = Step::Verify {
        url: shell.variables.resolve(file, call.place)?,
        signature: Box::new(shell.variables.resolve(signature, call.place)?),
    };
    Ok(StatementEffect::Ask(step, PendingStatement::Signature))
}

/// Adds 1 to a variable, or subtracts it.
pub(super) fn count(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let name = call.word(0);
    let Some(value) = shell.variables.value(name) else {
        return Ok(StatementEffect::fails("fails: there is no such variable"));
    };
    if !value.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return Ok(StatementEffect::fails("fails: the variable is no number"));
    }
    let by = if call.name == "increment" { 1 } else { -1 };
    let value = number(value).saturating_add(by);
    shell
        .variables
        .assign(name, &value.to_string(), call.place)?;
    Ok(StatementEffect::Status(true))
}

pub(super) fn authenticate(shell: &mut Shell, _: &mut Call<'_>) -> StatementResult {
    // Without superusers GRUB asks nobody, whatever --users says.
    Ok(if shell.variables.value("superusers").is_none() {
        StatementEffect::Status(true)
    } else {
        StatementEffect::fails("fails: passwords are not supported")
    })
}

pub(super) fn regexp(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let (expression, text) = (call.word(0), call.word(1));
    if text.contains("$(") {
        return Ok(StatementEffect::Unknown(
            "cannot judge $(…), which GRUB does not run",
        ));
    }
    let regexp = match Regexp::new(expression) {
        Ok(regexp) => regexp,
        Err(what) => {
            return Ok(StatementEffect::Fails(
                format!("fails: the expression {what}").into(),
            ));
        }
    };
    // The steps of the search are counted as text, to bound the time.
    call.context.budget.produce(regexp.cost(text.len()));
    call.context.budget.check()?;
    let Some(groups) = regexp.find(text) else {
        return Ok(StatementEffect::Status(false));
    };
    for (_, variable) in &call.options {
        let (group, name) = match variable.split_once(':') {
            Some((group, name)) => (group.parse().ok(), name),
            None => (Some(1), *variable),
        };
        let Some(group) = group else {
            return Ok(StatementEffect::fails("fails: --set needs NUMBER:NAME"));
        };
        match groups.get::<usize>(group).copied().flatten() {
            Some((start, end)) => {
                shell.variables.assign(
                    name,
                    text.get(start..end).unwrap_or_default(),
                    call.place,
                )?;
            }
            None => shell.variables.unset(name),
        }
    }
    Ok(StatementEffect::Status(true))
}

/// Handles the answer to a command's step; returns why the command has failed, if it has.
pub(super) fn answered(
    shell: &mut Shell,
    pending: PendingStatement,
    answer: Answer,
    place: &Place,
    context: &mut Context,
) -> Result<Option<Cow<'static, str>>, PlanError> {
    match pending {
        PendingStatement::Nothing => Ok(None),
        PendingStatement::Variable(name) => {
            let Answer::Text(text) = answer else {
                return Ok(Some("fails: nothing was entered".into()));
            };
            if let Some(name) = name {
                shell.variables.assign(&name, &text, place)?;
            }
            Ok(None)
        }
        PendingStatement::Signature => {
            if answer == Answer::Done {
                return Ok(None);
            }
            let FetchResult::Failed(why) = answer.into_fetched() else {
                return Ok(Some("fails: the signature was not checked".into()));
            };
            Ok(Some(format!("fails: {why}").into()))
        }
        PendingStatement::Environment(names) => {
            let text = match answer.into_fetched() {
                FetchResult::File(text) => text,
                FetchResult::Missing => return Ok(Some("fails: file not found".into())),
                FetchResult::Failed(why) => return Ok(Some(format!("fails: {why}").into())),
            };
            context.budget.read(place, text.len())?;
            let text = String::from_utf8_lossy(&text);
            let Some(lines) = text.strip_prefix(ENVIRONMENT) else {
                return Ok(Some("fails: not an environment block".into()));
            };
            for (name, value) in variables(lines) {
                if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
                    shell.variables.assign(name, &value, place)?;
                }
            }
            Ok(None)
        }
        // The machine reads entries itself.
        PendingStatement::Entries(_) => Ok(None),
        PendingStatement::Size(url) => {
            let mut len = 0;
            if let Answer::File { len: found, .. } = answer {
                len = found;
            } else if let FetchResult::Failed(why) = answer.into_fetched() {
                context.note(place, format!("{url} counts as missing: {why}"));
            }
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            shell.sizes.insert(url.to_string(), len);
            Ok(None)
        }
    }
}

/// Returns the variables of an environment block; a backslash quotes the next character.
fn variables(lines: &str) -> impl Iterator<Item = (&str, String)> {
    let lines = lines.split('\n').filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let mut value = value.chars();
        let mut plain = String::new();
        while let Some(letter) = value.next() {
            // grub-editenv writes a backslash in front of a backslash and of a line end.
            plain.extend(if letter == '\\' {
                value.next()
            } else {
                Some(letter)
            });
        }
        Some((name, plain))
    })
}
