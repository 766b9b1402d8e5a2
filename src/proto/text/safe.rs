//! Text from the network as a person may be shown it.
//!
//! A terminal obeys control characters (ECMA-48: C0, DEL, and C1, which xterm and the Linux console
//! take in UTF-8 too), a line break in a name makes a line of its own in a log, and the bidirectional
//! controls of Unicode (UAX #9 §2) show a text in another order than it is used in. All of them are
//! shown as escapes, and a text without end is cut off. Whatever goes to a terminal or into the log
//! goes through [`Safe`]; what is passed to a program is not changed.

use crate::prelude::*;
use core::fmt::{self, Display, Formatter, Write};

/// The longest line, in characters: twice the longest command line of Linux on a PC.
const LINE_LEN: usize = 4096;
/// The longest name within a line, so that the text after it is still seen.
const NAME_LEN: usize = 512;

/// A text that is shown without anything that a terminal would obey, and not longer than its limit.
#[derive(Debug, Clone, Copy)]
pub struct Safe<T> {
    text: T,
    max_len: usize,
}

impl<T> Safe<T> {
    /// Returns a whole line as it may be shown.
    pub const fn line(text: T) -> Self {
        let max_len = LINE_LEN;
        Self { text, max_len }
    }

    /// Returns a name, an address or another part of a line as it may be shown.
    pub const fn name(text: T) -> Self {
        let max_len = NAME_LEN;
        Self { text, max_len }
    }
}

impl<T: Display> Display for Safe<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(&self.text, self.max_len, f)
    }
}

/// A text in quotation marks, as `Debug` shows one; the binary is smaller without that.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            if c.is_control() || matches!(c, '"' | '\\') {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        f.write_char('"')
    }
}

/// One function for all types of text, since the program is to be small.
fn escape(text: &dyn Display, max_len: usize, f: &mut Formatter<'_>) -> fmt::Result {
    let mut escaper = Escaper {
        to: f,
        left: max_len,
        omitted: 0,
    };
    write!(escaper, "{text}")?;
    match escaper.omitted {
        0 => Ok(()),
        omitted => write!(f, "… ({omitted} more characters)"),
    }
}

/// Returns bytes as text that may be shown, without the NULs that may pad it; what is not UTF-8
/// becomes a replacement character.
pub fn text_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    Safe::line(text.trim_end_matches('\0')).to_string()
}

/// Returns lines of text in which what a terminal would obey is escaped as in JSON (RFC 8259 §7), so that JSON
/// stays what it is: there only control characters below 0x20 must be escaped.
pub fn printed(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || !is_obeyed(c) {
            escaped.push(c);
        } else {
            // All of them are in the first plane; no write to a String fails.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        }
    }
    escaped
}

struct Escaper<'a, 'b> {
    to: &'a mut Formatter<'b>,
    /// How many characters may still be shown.
    left: usize,
    omitted: usize,
}

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.left == 0 {
                self.omitted += 1;
                continue;
            }
            self.left -= 1;
            match c {
                // As wide as a terminal makes it, or not; but nothing else.
                '\t' => self.to.write_char(' ')?,
                '\n' => self.to.write_str("\\n")?,
                _ if is_obeyed(c) => write!(self.to, "\\u{{{:x}}}", u32::from(c))?,
                _ => self.to.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Returns whether a terminal obeys the character, or shows others differently for it.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        // Directions of writing (UAX #9), and the separators of lines and paragraphs.
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whatever_steers_a_terminal_is_shown_as_an_escape() {
        for (text, expected) in [
            ("a ü 漢 \\ \"b\"", "a ü 漢 \\ \"b\""),
            ("\x1b[2J\x1b]0;x\x07", "\\u{1b}[2J\\u{1b}]0;x\\u{7}"),
            ("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}"),
            ("a\nwireboot: b\r", "a\\nwireboot: b\\u{d}"),
            ("a\tb", "a b"),
            ("\u{202e}gnp.exe\u{2066}", "\\u{202e}gnp.exe\\u{2066}"),
            ("\u{200f}\u{2028}", "\\u{200f}\\u{2028}"),
        ] {
            assert_eq!(Safe::line(text).to_string(), expected);
            assert_eq!(Safe::name(expected).to_string(), expected);
        }
        assert_eq!(text_of(b"a\xff\x1b\0\0"), "a\u{fffd}\\u{1b}");
    }

    #[test]
    fn what_is_printed_stays_json_and_steers_no_terminal() {
        let value = "\u{9b}2J\u{7f}\u{202e}ü\t\x1b\n";
        let json = serde_json::to_string_pretty(&[value]).unwrap();
        let text = printed(&json);
        assert_eq!(text, "[\n  \"\\u009b2J\\u007f\\u202eü\\t\\u001b\\n\"\n]");
        assert_eq!(serde_json::from_str::<[String; 1]>(&text).unwrap(), [value]);
    }

    #[test]
    fn a_text_without_end_is_cut_off_and_says_so() {
        let text = "ü".repeat(100_000);
        let shown = Safe::line(&text).to_string();
        assert!(shown.ends_with("ü… (95904 more characters)"), "{shown}");
        assert_eq!(Safe::name(&text[..1024]).to_string(), text[..1024]);
        let shown = Safe::name(format_args!("{text}{text}")).to_string();
        assert!(shown.ends_with("ü… (199488 more characters)"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_shown_is_a_control_character(text: String) {
            prop_assert!(!Safe::line(&text).to_string().contains(is_obeyed));
        }
    }
}
