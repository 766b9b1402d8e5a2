//! Words of configurations: those without effect here, and the parts of a line.

use crate::prelude::*;

/// Directives that change how a menu looks, sounds or is operated, or the firmware's devices, and
/// nothing here. `src/manual/boot-files.md` lists them, too.
pub(super) const WITHOUT_EFFECT: &[&str] = &[
    "autoboot",
    "background",
    "cmdlinerow",
    "console",
    "endrow",
    "font",
    "gfxboot",
    "helpmsgendrow",
    "helpmsgrow",
    "kaslrseed",
    "kbdmap",
    "noescape",
    "nohalt",
    "path",
    "pxeretry",
    "sendcookies",
    "serial",
];

/// The same behind MENU.
pub(super) const WITHOUT_EFFECT_IN_MENU: &[&str] = &[
    "allowedit",
    "allowsubmenu",
    "autoboot",
    "autosort",
    "background",
    "clear",
    "cmdlinerow",
    "color",
    "colour",
    "endrow",
    "expand",
    "help",
    "helpmsgendrow",
    "helpmsgrow",
    "hiddenkey",
    "hiddenrow",
    "hshift",
    "indent",
    "margin",
    "msgcolor",
    "msgcolour",
    "noclear",
    "nosave",
    "notabmsg",
    "passprompt",
    "passwordmargin",
    "passwordrow",
    "resolution",
    "rows",
    "save",
    "scrollbar",
    "shiftkey",
    "tabmsg",
    "tabmsgrow",
    "timeoutrow",
    "vshift",
    "width",
];

/// Splits off the first word; the rest has no space around it.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

/// Joins the parts that are not empty with one space.
pub(super) fn join<const N: usize>(parts: [&str; N]) -> String {
    let mut joined = String::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(part);
    }
    joined
}

/// Returns the name of a module without its folder and ending, in lower case.
pub(super) fn module_name(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or_default();
    let file = file.to_ascii_lowercase();
    file.strip_suffix(".c32").unwrap_or(&file).to_owned()
}

/// Returns whether `name` is a module that shows the menu of the configuration.
pub(super) fn is_menu_module(name: &str) -> bool {
    matches!(module_name(name).as_str(), "menu" | "vesamenu" | "gfxmenu") || is_gfxboot(name)
}

/// Returns whether `name` is the menu module whose argument is no configuration, but its pictures.
pub(super) fn is_gfxboot(name: &str) -> bool {
    module_name(name) == "gfxboot"
}

/// Returns the number of a function key that a directive names, 1 to 12; F0 is an older name of F10
/// (doc/syslinux.txt).
pub(super) fn function_key(keyword: &str) -> Option<u8> {
    let digits = keyword.strip_prefix('f')?;
    let number = digits.parse().ok().filter(|number| *number <= 12)?;
    Some(if number == 0 { 10 } else { number })
}

/// Returns the number at the beginning of a text, as `atoi` does; none without a digit.
pub(super) fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    text.get(..end.unwrap_or(text.len()))?.parse().ok()
}

/// Returns whether a flag is set: a number other than 0.
pub(super) fn is_set(text: &str) -> bool {
    leading_number(text.strip_prefix('-').unwrap_or(text)).is_some_and(|number| number != 0)
}

/// Reads a number as `strtoul` does, which knows hexadecimal and octal ones.
pub(super) fn parse_bits(text: &str) -> Option<u32> {
    let text = text.to_ascii_lowercase();
    match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        (None, _) => text.parse().ok(),
    }
}

/// Returns the text of a file for DISPLAY and the function keys, without its control codes
/// (doc/syslinux.txt, DISPLAY FILE FORMAT).
pub(super) fn display_text(file: &[u8]) -> String {
    let text = String::from_utf8_lossy(file);
    let mut letters = text.chars();
    let mut shown = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            // The end, as in DOS.
            '\x1a' => break,
            // A colour has two digits; a picture's name ends with its line.
            '\x0f' => drop(letters.by_ref().take(2).count()),
            '\x18' => drop(letters.by_ref().find(|letter| *letter == '\n')),
            '\n' | '\t' => shown.push(letter),
            _ if letter.is_control() => {}
            _ => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_the_words_without_effect() {
        let manual = include_str!("../../../manual/boot-files.md");
        let (_, section) = manual.split_once("## pxelinux").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let listed = |beginning: &str| {
            let line = section.lines().find(|line| line.starts_with(beginning));
            let words = line.unwrap().split('`').skip(1).step_by(2);
            words.collect::<Vec<_>>()
        };
        assert_eq!(listed("Without effect:"), WITHOUT_EFFECT);
        assert_eq!(
            listed("Without effect behind `MENU`:")[1..],
            *WITHOUT_EFFECT_IN_MENU
        );
    }

    #[test]
    fn numbers_are_read_as_the_loader_reads_them() {
        for (text, bits) in [
            ("3", Some(3)),
            ("0x1F", Some(31)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("x", None),
        ] {
            assert_eq!(parse_bits(text), bits, "{text}");
        }
        assert_eq!(leading_number("50 # five seconds"), Some(50));
        assert_eq!(leading_number("soon"), None);
        assert_eq!(
            ["1", "-1", "0", "", "no"].map(is_set),
            [true, true, false, false, false]
        );
        let keys = ["f1", "f12", "f0", "f13", "font"].map(function_key);
        assert_eq!(keys, [Some(1), Some(12), Some(10), None, None]);
    }

    #[test]
    fn a_file_to_display_is_shown_without_its_control_codes() {
        let file = b"\x0c\x0f1eWelcome\x0f07\r\n\x18splash.lss\nEnter\x11 a label\n\x1arest";
        assert_eq!(display_text(file), "Welcome\nEnter a label\n");
    }
}
