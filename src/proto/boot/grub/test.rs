//! Conditions of `test` and `[`, judged as GRUB does (`grub-core/commands/test.c`): from left to
//! right, without an order among `-a` and `-o`, and a word that is no operator holds when it is not
//! empty.

use crate::prelude::*;

/// Limit of nested parentheses, as in GRUB.
const MAX_DEPTH: usize = 100;

/// Result of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) holds: bool,
    /// Whether it asks whether a file is there: GRUB looks into the list of its directory, and the
    /// network has no such lists (`grub_net_fs_dir`), so that no file is.
    pub(super) asks_directory: bool,
}

/// The reason why a condition cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unjudged {
    /// The size of this file is not known yet.
    Size(String),
    /// Parentheses nest too deep.
    Depth,
}

/// The state of a condition between two parentheses.
struct Level {
    any: bool,
    all: bool,
    is_inverted: bool,
}

impl Level {
    const NEW: Self = Self {
        any: false,
        all: true,
        is_inverted: false,
    };

    const fn holds(&self) -> bool {
        self.any || self.all
    }

    const fn add(&mut self, holds: bool) {
        self.all = self.all && holds != self.is_inverted;
        self.is_inverted = false;
    }
}

/// Judges the words behind `test`; `size_of` returns the length of a file in bytes, 0 when it is not
/// there, and none when it is not known.
pub(super) fn judge(
    words: &[&str],
    size_of: &dyn Fn(&str) -> Option<usize>,
) -> Result<Judgement, Unjudged> {
    let mut rest = words;
    let mut asks_directory = false;
    let mut level = Level::NEW;
    let mut around = Vec::new();
    loop {
        if let [a, operator, b, after @ ..] = rest
            && let Some(holds) = compare(a, operator, b)
        {
            asks_directory |= is_about_time(operator);
            level.add(holds);
            rest = after;
            continue;
        }
        if let [operator, word, after @ ..] = rest {
            let holds = match *operator {
                // grub_net_fs_dir() lists nothing, so GRUB finds no file over the network either.
                "-d" | "-e" | "-f" => {
                    asks_directory = true;
                    Some(false)
                }
                "-s" => {
                    let size = size_of(word).ok_or_else(|| Unjudged::Size((*word).to_owned()))?;
                    Some(size > 0)
                }
                "-n" => Some(!word.is_empty()),
                "-z" => Some(word.is_empty()),
                _ => None,
            };
            if let Some(holds) = holds {
                level.add(holds);
                rest = after;
                continue;
            }
        }
        let word = match rest {
            [word, after @ ..] => {
                rest = after;
                Some(*word)
            }
            [] => None,
        };
        match word {
            Some("(") if around.len() >= MAX_DEPTH => return Err(Unjudged::Depth),
            Some("(") => around.push(core::mem::replace(&mut level, Level::NEW)),
            // GRUB ignores everything after a parenthesis that was not opened.
            Some(")") | None => match around.pop() {
                Some(outer) => {
                    let inner = core::mem::replace(&mut level, outer);
                    level.add(inner.holds());
                }
                None => {
                    return Ok(Judgement {
                        holds: level.holds(),
                        asks_directory,
                    });
                }
            },
            // Counted and not nested: a file of 1 MiB with only these overflowed the stack.
            Some("!") => level.is_inverted = !level.is_inverted,
            Some("-a") => {}
            Some("-o") => {
                level.any |= level.all;
                level.all = true;
            }
            Some(word) => level.add(!word.is_empty()),
        }
    }
}

fn compare(a: &str, operator: &str, b: &str) -> Option<bool> {
    Some(match operator {
        "=" | "==" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        ">=" => a >= b,
        "-eq" => number(a) == number(b),
        "-ne" => number(a) != number(b),
        "-lt" => number(a) < number(b),
        "-le" => number(a) <= number(b),
        "-gt" => number(a) > number(b),
        "-ge" => number(a) >= number(b),
        "-pgt" | "-plt" => {
            let (a, b) = without_common_prefix(a, b);
            let (a, b) = (number(a), number(b));
            if operator == "-pgt" { a > b } else { a < b }
        }
        // Neither file is there.
        _ if is_about_time(operator) => false,
        _ => return None,
    })
}

/// Returns whether an operator compares when two files were changed; a number of seconds may follow.
fn is_about_time(operator: &str) -> bool {
    // GRUB compares three letters, as seconds of tolerance may stand behind them (-nt5).
    operator.starts_with("-nt") || operator.starts_with("-ot")
}

/// Returns the number that a word begins with, 0 when there is none (`grub_strtoul`).
pub(super) fn number(word: &str) -> i64 {
    let (is_negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let digits = digits.trim_start();
    let (digits, radix) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix));
    let digits = digits
        .get(..end.unwrap_or(digits.len()))
        .unwrap_or_default();
    let number = digits.chars().filter_map(|c| c.to_digit(radix));
    let number = number.fold(0_i64, |number, digit| {
        number
            // grub_strtol() ends at the largest number as well.
            .saturating_mul(i64::from(radix))
            .saturating_add(i64::from(digit))
    });
    if is_negative { -number } else { number }
}

/// Cuts off what two words have in common, up to the number in which they differ.
fn without_common_prefix<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let prefix = a.as_bytes().get(..common).unwrap_or_default();
    let digits = prefix
        .iter()
        .rev()
        .take_while(|c| c.is_ascii_digit())
        .count();
    let cut = common - digits;
    (a.get(cut..).unwrap_or(a), b.get(cut..).unwrap_or(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_in_grub() {
        for (words, holds) in [
            ("", true),
            ("x", true),
            ("a = a", true),
            ("a == b", false),
            ("a != b", true),
            ("a < b", true),
            ("a >= b", false),
            // A variable that is not set has left its word out.
            ("= 1", true),
            ("! x", false),
            ("! ! x", true),
            ("! a = b", true),
            ("x -a -z x", false),
            ("-z x -o x", true),
            ("x -o x -a -z x", true),
            ("( x -a -z x ) -o x", true),
            ("! ( x -a -z x )", true),
            ("! ( x", false),
            ("x ) -a -z x", true),
            ("-n x", true),
            ("-n", true),
            ("10 -gt 9", true),
            ("-3 -lt 2", true),
            ("0x10 -eq 16", true),
            ("010 -eq 8", true),
            ("12abc -eq 12", true),
            ("9 -ge 10", false),
            ("linux-5.9 -plt linux-5.10", true),
            ("linux-5.9 -pgt linux-5.10", false),
            ("-f /there", false),
            ("-d /", false),
            ("-s /there", true),
            ("-s /empty", false),
            ("! -s /empty", true),
            ("a -nt5 b", false),
            ("a -frob b", true),
        ] {
            let words: Vec<_> = words.split_whitespace().collect();
            let size = |name: &str| Some(usize::from(name == "/there"));
            assert_eq!(judge(&words, &size).unwrap().holds, holds, "{words:?}");
        }
        let words = ["-s", "/f"];
        assert_eq!(
            judge(&words, &|_| None),
            Err(Unjudged::Size("/f".to_owned()))
        );
    }

    #[test]
    fn a_condition_may_be_negated_without_end_and_nested_so_far() {
        for (negations, holds) in [(0, true), (1, false), (400_000, true)] {
            let mut words = vec!["!"; negations];
            words.push("x");
            assert_eq!(
                judge(&words, &|_| None).unwrap().holds,
                holds,
                "{negations}"
            );
        }
        let words = vec!["("; 400_000];
        assert_eq!(judge(&words, &|_| None), Err(Unjudged::Depth));
    }
}
