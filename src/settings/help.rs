//! Help for a terminal, from the rows.

use std::fmt::Write;

use super::commands::{About, COMMANDS, Command};
use super::defs::{SETTINGS, Setting, Takes};
use wireboot_proto::packet::option::known;

/// The column of the text beside a name, and the width of the narrowest console.
const INDENT: usize = 24;
const WIDTH: usize = 80;

/// The meanings of the exit codes, from 0.
pub(super) const EXIT_CODES: [&str; 14] = [
    "done",
    "usage",
    "no interface or carrier",
    "no offer in time",
    "refused, or address in conflict",
    "configuration refused by the kernel",
    "nothing bootable",
    "fetch failed",
    "verification failed",
    "kexec refused",
    "no failure: a local disk is to be booted",
    "no failure: the machine is to restart",
    "no failure: the machine is to be switched off",
    "output cannot be written",
];

/// Returns the help on a command.
pub fn command(command: Command) -> String {
    let mut text = String::new();
    for about in COMMANDS.iter().filter(|about| about.command == command) {
        for (line, usage) in about.usage.iter().enumerate() {
            let start = if line == 0 { "usage:" } else { "      " };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{start} wireboot {} {usage}", about.name);
        }
        for paragraph in about.text {
            text.push('\n');
            wrap(&mut text, 0, paragraph);
        }
        text.push('\n');
        for setting in SETTINGS.iter().filter(|row| row.is_flag_of(command)) {
            let short = match setting.short {
                Some(letter) => format!("-{letter}, "),
                None => "    ".to_owned(),
            };
            item(
                &mut text,
                &format!("{short}{}", setting.usage()),
                &described(setting),
            );
        }
        for paragraph in about.closing {
            text.push('\n');
            wrap(&mut text, 0, paragraph);
        }
    }
    text
}

/// Returns the help on the program.
pub fn program() -> String {
    let mut text = "usage: wireboot COMMAND [FLAG]…\n\n".to_owned();
    for About { name, purpose, .. } in &COMMANDS {
        let _ = writeln!(text, "  {name:<10}{purpose}");
    }
    text.push_str("\nRun as process 1 it boots by the kernel command line.\n\n");
    // A list of its own is longer than the 24 lines of a console.
    let mut codes = "Exit codes:".to_owned();
    for (code, meaning) in EXIT_CODES.iter().enumerate() {
        let mark = if code == 0 { "" } else { ";" };
        let _ = write!(codes, "{mark} {code} {meaning}");
    }
    wrap(&mut text, 0, &codes);
    text
}

/// Returns the help on the words of the kernel's command line.
#[cfg(feature = "manual")]
pub fn words() -> String {
    let mut text = String::new();
    for foreign in super::defs::FOREIGN {
        item(&mut text, &foreign.words.join(", "), foreign.help);
    }
    for setting in SETTINGS.iter().filter(|row| row.is_word()) {
        item(&mut text, &word_usage(setting), &described_word(setting));
    }
    text
}

/// Returns the numbers and names of DHCP options.
pub fn options() -> String {
    let codes = (1..=254).filter(|code| known::is_known(*code));
    codes
        .map(|code| format!("{code:>5}  {}\n", known::name(code)))
        .collect()
}

/// Returns a word with its value.
#[cfg(feature = "manual")]
pub(super) fn word_usage(setting: &Setting) -> String {
    match setting.takes {
        Takes::Nothing => format!("wireboot.{}", setting.name),
        Takes::Value(what) => format!("wireboot.{}={what}", setting.name),
        Takes::OneOf(_, names) => format!("wireboot.{}={}", setting.name, names.join("|")),
    }
}

/// Returns the description of a setting, with the values that it accepts and its default.
pub(super) fn described(setting: &Setting) -> String {
    let names = match setting.takes {
        Takes::OneOf(_, names) => format!(": {}", names.join(", ")),
        Takes::Nothing | Takes::Value(_) => String::new(),
    };
    format!("{}{names}{}", setting.help, default(setting))
}

/// Returns the description of a word; its usage has the values that it accepts.
#[cfg(feature = "manual")]
pub(super) fn described_word(setting: &Setting) -> String {
    format!("{}{}", setting.help, default(setting))
}

fn default(setting: &Setting) -> String {
    match setting.default {
        "" => String::new(),
        default => format!(" ({default})"),
    }
}

/// Adds a name and its description.
fn item(to: &mut String, name: &str, about: &str) {
    let _ = write!(to, "  {name}");
    let end = 2 + name.chars().count();
    if end + 2 > INDENT {
        to.push('\n');
        wrap(to, INDENT, about);
    } else {
        wrap_from(to, end, INDENT, about);
    }
}

fn wrap(to: &mut String, indent: usize, text: &str) {
    wrap_from(to, 0, indent, text);
}

/// Adds a text in lines that begin at the column `indent`; the first one is in column `at`.
fn wrap_from(to: &mut String, at: usize, indent: usize, text: &str) {
    let mut column = at;
    let mut is_start = true;
    for word in text.split(' ') {
        let len = word.chars().count();
        if !is_start && column + 1 + len > WIDTH {
            to.push('\n');
            (column, is_start) = (0, true);
        }
        let gap = if is_start {
            indent - column.min(indent)
        } else {
            1
        };
        let _ = write!(to, "{:gap$}{word}", "");
        column += gap + len;
        is_start = false;
    }
    to.push('\n');
}
