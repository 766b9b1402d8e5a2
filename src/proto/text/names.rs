//! Names: those from the network, which are checked before use, and those of enumerations in settings
//! and files.

use crate::prelude::*;

use core::fmt;

/// Returns whether `text` is a host or domain name (RFC 1123 §2.1; underscores and a final dot
/// are seen in practice) or an address.
pub fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    // RFC 1035 §2.3.4 has 255 bytes, of which the lengths of the first and last label take two.
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Returns whether `text` can be a path or URL: not empty, and without control characters.
pub fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Reads a text of a server, up to a NUL that pads it; none if it is empty or has control characters.
pub fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    let text = trimmed(core::str::from_utf8(text).ok()?);
    is_path(text).then(|| text.to_owned())
}

/// Returns `text` without the blanks, line ends and quotes that configurations of servers leave around it.
pub fn trimmed(text: &str) -> &str {
    let mut text = text.trim();
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote);
        if let Some(inner) = inner.and_then(|text| text.strip_suffix(quote)) {
            text = inner.trim();
        }
    }
    text
}

/// Returns the words of a list of names, which blanks or commas separate.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = trimmed(text).split(|c: char| c.is_whitespace() || c == ',');
    words.filter(|word| !word.is_empty())
}

/// Returns whether `text` stays one literal within a shell's single or double quotes: no control
/// characters, no quotes, and nothing that a shell expands between double quotes.
pub fn is_shell_safe(text: &str) -> bool {
    let is_special = |c| matches!(c, '$' | '`' | '\\' | '"' | '\'');
    !text.chars().any(|c| c.is_control() || is_special(c))
}

/// The error for a text that is none of an enumeration's names, which it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchName(pub &'static [&'static str]);

impl fmt::Display for NoSuchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {}", self.0.join(", "))
    }
}

/// Implements `FromStr` and `Display` for an enumeration from one list of names.
#[macro_export]
macro_rules! named {
    ($type:ident: $($name:literal => $value:ident),*) => {
        impl $type {
            /// The names of all values, in the order of the list.
            pub const NAMES: &'static [&'static str] = &[$($name),*];
        }

        impl ::core::str::FromStr for $type {
            type Err = $crate::text::names::NoSuchName;

            fn from_str(text: &str) -> Result<Self, $crate::text::names::NoSuchName> {
                match text {
                    $($name => Ok(Self::$value),)*
                    _ => Err($crate::text::names::NoSuchName(Self::NAMES)),
                }
            }
        }

        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(match self {
                    $(Self::$value => $name,)*
                })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_inner_hyphens() {
        for good in [
            "host",
            "a.b.example",
            "node_1",
            "192.0.2.1",
            "example.com.",
            &"a".repeat(63),
        ] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a;b",
            "ä.example",
            &"a".repeat(64),
            &"a.".repeat(130),
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    #[test]
    fn nothing_shell_safe_ends_quotes_or_is_expanded_in_them() {
        for good in ["", "http://192.0.2.1/a?b=c&d=e;f", "ä (1) *"] {
            assert!(is_shell_safe(good), "{good}");
        }
        for bad in ["$(reboot)", "`reboot`", "a\"b", "it's", "a\\", "a\nb", "\0"] {
            assert!(!is_shell_safe(bad), "{bad}");
        }
    }

    #[test]
    fn what_configurations_leave_around_a_text_is_not_part_of_it() {
        for text in [
            "a b",
            "a b\r\n",
            " a b\t",
            "\"a b\"\n",
            "'a b' ",
            "\" a b \"",
        ] {
            assert_eq!(trimmed(text), "a b", "{text:?}");
            assert!(words(text).eq(["a", "b"]), "{text:?}");
        }
        assert_eq!(trimmed("\"a"), "\"a");
        assert_eq!(trimmed("\""), "\"");
        assert!(words(" a,b, c\n").eq(["a", "b", "c"]));
    }

    #[test]
    fn paths_have_no_control_characters() {
        assert!(is_path("http://192.0.2.1/boot file?x=1"));
        assert!(!is_path(""));
        assert!(!is_path("a\x1b[2J"));
    }
}
