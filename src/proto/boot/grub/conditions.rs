//! Commands whose success a configuration asks for, and those that set what it asks for next.

use crate::prelude::*;
use alloc::borrow::Cow;
use core::time::Duration;

use super::super::context::Context;
use super::super::error::{Place, PlanError};
use super::super::facts::Architecture;
use super::super::plan::Purpose;
use super::super::step::{Answer, Fetched, Step};
use super::commands::{PendingStatement, Shell, StatementEffect};
use super::regexp::Regexp;
use super::test::{self, Obstacle};

/// SMBIOS texts by the type of their structure, their offset in it (DMTF DSP0134 §7), and their name
/// in `/sys/class/dmi/id`.
const SMBIOS: [(i64, i64, &str); 16] = [
    (0, 4, "bios_vendor"),
    (0, 5, "bios_version"),
    (1, 4, "sys_vendor"),
    (1, 5, "product_name"),
    (1, 6, "product_version"),
    (1, 7, "product_serial"),
    (1, 8, "product_uuid"),
    (1, 25, "product_sku"),
    (1, 26, "product_family"),
    (2, 4, "board_vendor"),
    (2, 5, "board_name"),
    (2, 6, "board_version"),
    (2, 7, "board_serial"),
    (2, 8, "board_asset_tag"),
    (3, 8, "chassis_asset_tag"),
    (3, 5, "chassis_type"),
];

/// How an environment block begins.
const ENVIRONMENT: &str = "# GRUB Environment Block\n";

/// An option: its long name, its short one, and whether it has a value.
type GrubOption = (&'static str, &'static str, bool);

impl Shell {
    /// `test` and `[`.
    pub(super) fn test(
        &self,
        words: &[String],
        place: &Place,
        context: &mut Context,
    ) -> Result<StatementEffect, PlanError> {
        let words = match words.split_last() {
            Some((end, words)) if end == "]" => words,
            _ => words,
        };
        let size = |name: &str| match self.resolve(name, place) {
            Ok(url) => self.sizes.get(&url.to_string()).copied(),
            // It is on a disk, or has no name.
            Err(_) => Some(0),
        };
        match test::judge(words, &size) {
            Ok(judgement) => {
                if judgement.asks_directory {
                    let text = "-d, -e, -f, -nt and -ot find no file: the network has no lists of \
                                files; -s asks for one";
                    context.note(place, text);
                }
                Ok(StatementEffect::Status(judgement.holds))
            }
            Err(Obstacle::Size(name)) => {
                let url = self.resolve(&name, place)?;
                let purpose = Purpose::BootFile;
                let step = Step::Fetch {
                    url: url.clone(),
                    purpose,
                };
                Ok(StatementEffect::Ask(step, PendingStatement::Size(url)))
            }
            Err(Obstacle::Depth) => Err(PlanError::new(place, "(", "nests too deep")),
        }
    }

    /// Commands that set variables or succeed by what they find.
    pub(super) fn condition(
        &mut self,
        command: &str,
        words: &[String],
        place: &Place,
        context: &mut Context,
    ) -> Result<StatementEffect, PlanError> {
        let known: &[GrubOption] = match command {
            "regexp" => &[("set", "s", true)],
            "sleep" => &[("verbose", "v", false), ("interruptible", "i", false)],
            "read" => &[("silent", "s", false)],
            "load_env" => &[("file", "f", true), ("skip-sig", "s", false)],
            "verify_detached" => &[("skip-sig", "s", false)],
            "cpuid" => &[("long-mode", "l", false), ("pae", "p", false)],
            "smbios" => &[
                ("type", "t", true),
                ("get-string", "s", true),
                ("get-uuid", "u", true),
                ("set", "", true),
            ],
            _ => &[],
        };
        let Some((options, words)) = parse_options(words, known) else {
            return Ok(StatementEffect::fails("fails: an option is not known here"));
        };
        let option = |name: &str| {
            let mut options = options.iter().rev();
            options
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        };
        match (command, words.as_slice()) {
            ("regexp", [expression, text]) => {
                let variables = options.iter().map(|(_, value)| *value);
                self.regexp(expression, text, variables, place, context)
            }
            ("sleep", [seconds]) => {
                let seconds = u64::try_from(test::number(seconds)).unwrap_or(0);
                let step = Step::Sleep(Duration::from_secs(seconds));
                Ok(if seconds == 0 {
                    StatementEffect::Status(true)
                } else {
                    StatementEffect::Ask(step, PendingStatement::Nothing)
                })
            }
            ("read", names) => {
                let name = names.first().map(|name| (*name).to_owned());
                let step = Step::Input {
                    text: name.clone().unwrap_or_default(),
                    default: String::new(),
                    is_secret: option("silent").is_some(),
                    timeout: None,
                };
                Ok(StatementEffect::Ask(step, PendingStatement::Variable(name)))
            }
            ("load_env", names) => {
                let prefix = self.variable("prefix").unwrap_or_default();
                let file = option("file").map_or(format!("{prefix}/grubenv"), str::to_owned);
                let names = names.iter().map(|name| (*name).to_owned()).collect();
                let step = Step::Fetch {
                    url: self.resolve(&file, place)?,
                    purpose: Purpose::Configuration,
                };
                Ok(StatementEffect::Ask(
                    step,
                    PendingStatement::Environment(names),
                ))
            }
            ("verify_detached", [file, signature]) => {
                let step = Step::Verify {
                    url: self.resolve(file, place)?,
                    signature: Box::new(self.resolve(signature, place)?),
                };
                Ok(StatementEffect::Ask(step, PendingStatement::Signature))
            }
            ("verify_detached", [_, _, _]) => Ok(StatementEffect::fails(
                "fails: the keys that count are those of this machine, not one in a file",
            )),
            ("increment" | "decrement", [name]) => {
                let Some(value) = self.variable(name) else {
                    return Ok(StatementEffect::fails("fails: there is no such variable"));
                };
                let by = if command == "increment" { 1 } else { -1 };
                let value = test::number(value).saturating_add(by);
                self.assign(name, &value.to_string(), place)?;
                Ok(StatementEffect::Status(true))
            }
            ("cpuid", []) => {
                let facts = &context.facts;
                let has_pae = || facts.cpu_flags.iter().any(|flag| flag == "pae");
                let is_pae = option("pae").is_some();
                let is_64_bit = facts.architecture == Architecture::X86_64;
                Ok(StatementEffect::Status(is_64_bit || is_pae && has_pae()))
            }
            ("smbios", []) => {
                let number = |name| option(name).map(test::number);
                let offset = number("get-string").or(number("get-uuid"));
                let wanted = number("type").zip(offset);
                let file = SMBIOS
                    .iter()
                    .find(|(kind, at, _)| Some((*kind, *at)) == wanted);
                match file.and_then(|(_, _, name)| context.facts.smbios(name)) {
                    None => Ok(StatementEffect::fails(
                        "fails: the machine does not say that",
                    )),
                    Some(text) => match option("set") {
                        Some(variable) => {
                            self.assign(variable, text, place)?;
                            Ok(StatementEffect::Status(true))
                        }
                        None => Ok(StatementEffect::Ask(
                            Step::Say(text.to_owned()),
                            PendingStatement::Nothing,
                        )),
                    },
                }
            }
            ("authenticate", _) if self.variable("superusers").is_none() => {
                Ok(StatementEffect::Status(true))
            }
            ("authenticate", _) => Ok(StatementEffect::fails(
                "fails: passwords are not asked for here",
            )),
            _ => Ok(StatementEffect::fails(
                "fails: it has a word too many or too few",
            )),
        }
    }

    fn regexp<'a>(
        &mut self,
        expression: &str,
        text: &str,
        variables: impl Iterator<Item = &'a str>,
        place: &Place,
        context: &mut Context,
    ) -> Result<StatementEffect, PlanError> {
        let regexp = match Regexp::new(expression) {
            Ok(regexp) => regexp,
            Err(what) => {
                return Ok(StatementEffect::Fails(
                    format!("fails: the expression {what}").into(),
                ));
            }
        };
        // The time it takes is counted as text of that length.
        context.budget.produce(regexp.cost(text.len()));
        context.budget.check()?;
        let Some(groups) = regexp.find(text) else {
            return Ok(StatementEffect::Status(false));
        };
        for variable in variables {
            let (number, name) = match variable.split_once(':') {
                Some((number, name)) => (number.parse().ok(), name),
                None => (Some(1), variable),
            };
            let Some(number) = number else {
                return Ok(StatementEffect::fails(
                    "fails: --set takes a number, a colon and a name",
                ));
            };
            match groups.get::<usize>(number).copied().flatten() {
                Some((start, end)) => {
                    self.assign(name, text.get(start..end).unwrap_or_default(), place)?;
                }
                None => self.unset(name),
            }
        }
        Ok(StatementEffect::Status(true))
    }

    /// Takes the answer to what a command asked, except about a file's length; returns why the
    /// command has failed, if it has.
    pub(super) fn answered(
        &mut self,
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
                    self.assign(&name, &text, place)?;
                }
                Ok(None)
            }
            PendingStatement::Signature => {
                if answer == Answer::Done {
                    return Ok(None);
                }
                let Fetched::Failed(why) = answer.into_fetched() else {
                    return Ok(Some("fails: the signature was not checked".into()));
                };
                Ok(Some(format!("fails: {why}").into()))
            }
            PendingStatement::Environment(names) => {
                let text = match answer.into_fetched() {
                    Fetched::File(text) => text,
                    Fetched::Missing => return Ok(Some("fails: file not found".into())),
                    Fetched::Failed(why) => return Ok(Some(format!("fails: {why}").into())),
                };
                context.budget.read(place, text.len())?;
                let text = String::from_utf8_lossy(&text);
                let Some(lines) = text.strip_prefix(ENVIRONMENT) else {
                    return Ok(Some("fails: it is no environment block".into()));
                };
                for (name, value) in variables(lines) {
                    if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
                        self.assign(name, &value, place)?;
                    }
                }
                Ok(None)
            }
            PendingStatement::Size(url) => {
                let mut len = 0;
                if let Answer::File { len: found, .. } = answer {
                    len = found;
                } else if let Fetched::Failed(why) = answer.into_fetched() {
                    context.note(place, format!("{url} counts as missing: {why}"));
                }
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                self.sizes.entry(url.to_string()).or_insert(len);
                Ok(None)
            }
        }
    }
}

/// Returns the variables of an environment block; a backslash takes the next character as it is.
fn variables(lines: &str) -> impl Iterator<Item = (&str, String)> {
    let lines = lines.split('\n').filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let mut value = value.chars();
        let mut plain = String::new();
        while let Some(letter) = value.next() {
            plain.extend(if letter == '\\' {
                value.next()
            } else {
                Some(letter)
            });
        }
        Some((name, plain))
    })
}

/// The options of a command with their values, and its other words.
type Parsed<'a> = (Vec<(&'static str, &'a str)>, Vec<&'a str>);

/// Takes the options off the words, before which other words may stand; none when one is not known
/// or its value is missing.
fn parse_options<'a>(words: &'a [String], known: &[GrubOption]) -> Option<Parsed<'a>> {
    let (mut options, mut rest) = (Vec::new(), Vec::new());
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word == "--" {
            rest.extend(words.by_ref());
        } else if let Some(long) = word.strip_prefix("--") {
            let (long, value) = match long.split_once('=') {
                Some((long, value)) => (long, Some(value)),
                None => (long, None),
            };
            let (name, _, has_value) = known.iter().find(|(name, ..)| *name == long)?;
            let value = match value {
                Some(value) => value,
                None if *has_value => words.next()?,
                None => "",
            };
            options.push((*name, value));
        } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
            let (name, _, has_value) = known.iter().find(|(_, letter, _)| *letter == short)?;
            let value = if *has_value { words.next()? } else { "" };
            options.push((*name, value));
        } else {
            rest.push(word);
        }
    }
    Some((options, rest))
}
