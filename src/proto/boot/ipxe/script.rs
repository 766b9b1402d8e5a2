//! Scripts: lines, commands, and expansion of settings.

use crate::prelude::*;

/// The longest word that expansion may make, in bytes.
const MAX_WORD_LEN: usize = 65_536;
/// How many empty commands are looked over for one that is not; behind more there may be one.
const MAX_EMPTY: usize = 16;
/// Limit of settings nested in the values of settings.
const MAX_NESTING: usize = 100;

/// A line, joined with those that its backslashes continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScriptLine {
    /// Its number, counted from 1; of the first when joined.
    pub(super) number: usize,
    /// The label in front of it.
    pub(super) label: Option<String>,
    /// Its words after the label.
    pub(super) words: Vec<String>,
}

/// Splits a script into its lines.
pub(super) fn lines(text: &[u8]) -> Vec<ScriptLine> {
    let text = String::from_utf8_lossy(text);
    let mut lines = Vec::new();
    let mut joined = String::new();
    let mut first = 1;
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(line) = line.strip_suffix('\\') {
            joined.push_str(line);
            continue;
        }
        joined.push_str(line);
        let mut words = joined.split_whitespace().map(str::to_owned).peekable();
        let label = words.next_if(|word| word.starts_with(':'));
        lines.push(ScriptLine {
            number: first,
            label: label.map(|label| label.replacen(':', "", 1)),
            words: words.collect(),
        });
        joined.clear();
        first = number + 1;
    }
    lines
}

/// The operator between two commands of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// The end of the line.
    End,
    /// `&&`: the next runs if the last one succeeded.
    And,
    /// `||`: the next runs if the last one failed.
    Or,
    /// `;`: the next runs.
    Then,
}

/// Returns the words of the next command, and what follows it.
pub(super) fn command(words: &[String]) -> (&[String], Operator) {
    for (at, word) in words.iter().enumerate() {
        if let Some(operator) = operator(word) {
            return (words.get(..at).unwrap_or_default(), operator);
        }
    }
    (words, Operator::End)
}

fn operator(word: &str) -> Option<Operator> {
    match word {
        "&&" => Some(Operator::And),
        "||" => Some(Operator::Or),
        ";" => Some(Operator::Then),
        _ if word.starts_with('#') => Some(Operator::End),
        _ => None,
    }
}

/// Returns whether a command is a condition, by the operator behind it and the words behind that:
/// whether one that does anything runs by its result.
pub(super) fn is_condition(mut behind: Operator, rest: &[String]) -> bool {
    for word in rest.iter().take(MAX_EMPTY) {
        match (behind, operator(word)) {
            (Operator::And | Operator::Or, None) => return true,
            // An empty command behind && leaves the result as it is.
            (Operator::And, Some(next)) => behind = next,
            // One behind || succeeds, or is passed over for a success.
            (Operator::Or, Some(_)) | (Operator::Then | Operator::End, _) => return false,
        }
    }
    matches!(behind, Operator::And | Operator::Or) && rest.len() > MAX_EMPTY
}

/// Replaces every `${…}` in `word`, the innermost first, by the value of its name; the value is
/// expanded again.
///
/// Every text is read once, a value before what follows it, and a brace closes the last open `${`.
/// iPXE's `expand_settings` starts again after each setting, with the same result in a time that
/// grows with the square of the length.
///
/// # Errors
/// A word that grows without end, or an error of `value`.
pub(super) fn expand(
    word: &str,
    mut value: impl FnMut(&str) -> Result<Option<String>, &'static str>,
) -> Result<String, &'static str> {
    // In one pass: searching the word anew after each setting took minutes for a script of 1 MiB.
    let mut expanded = String::with_capacity(word.len());
    // Where in it the open settings begin.
    let mut opened = Vec::new();
    // The texts left to read, the next on top, each with its position.
    let mut texts = vec![(word.to_owned(), 0)];
    while let Some((text, at)) = texts.last_mut() {
        let rest = text.get(*at..).unwrap_or_default();
        let len = rest.find(['{', '}']).map_or(rest.len(), |len| len.max(1));
        let piece = rest.get(..len).unwrap_or_default();
        *at += len;
        let start = opened.pop_if(|_| piece == "}");
        let Some(start) = start else {
            if piece == "{" && expanded.ends_with('$') {
                opened.push(expanded.len() - 1);
            }
            expanded.push_str(piece);
            if len == 0 {
                texts.pop();
            }
            continue;
        };
        let value = value(expanded.get(start + 2..).unwrap_or_default())?;
        expanded.truncate(start);
        let value = value.unwrap_or_default();
        if expanded.len() + value.len() > MAX_WORD_LEN {
            return Err("expands to more than 65536 bytes");
        }
        if texts.len() > MAX_NESTING {
            return Err("its settings refer to themselves");
        }
        texts.push((value, 0));
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_joined_by_backslashes_and_split_at_white_space() {
        let lines = lines(b"#!ipxe\r\n  :a\techo x \\\r\n  y\n\necho");
        let texts: Vec<_> = lines
            .iter()
            .map(|line| (line.number, line.label.as_deref(), line.words.join("|")))
            .collect();
        assert_eq!(
            texts,
            [
                (1, None, "#!ipxe".to_owned()),
                (2, Some("a"), "echo|x|y".to_owned()),
                (4, None, String::new()),
                (5, None, "echo".to_owned()),
            ]
        );
    }

    #[test]
    fn settings_expand_from_the_inside() {
        let value = |name: &str| {
            let value = match name {
                "i" => "1",
                "net1/mac" => "52:54",
                "nested" => "${i}",
                "loop" => "${loop}",
                "grow" => "${grow}${grow}",
                "name" => "{i}",
                "end" => "i}",
                _ => return Ok(None),
            };
            Ok(Some(value.to_owned()))
        };
        for (word, expected) in [
            ("a${i}b", "a1b"),
            ("${net${i}/mac}", "52:54"),
            ("${nested}", "1"),
            ("${none}", ""),
            ("${open", "${open"),
            ("}${i}", "}1"),
            ("$${name}${i}", "11"),
            ("${${end}${i}", "11"),
            ("${a${i}", "${a1"),
            ("$i", "$i"),
        ] {
            assert_eq!(expand(word, value).unwrap(), expected, "{word}");
        }
        assert!(expand("${loop}", value).is_err());
        assert!(expand("${grow}", value).is_err());
    }

    proptest! {
        #[test]
        fn words_expand_as_if_read_anew_after_each_setting(
            word in "[a$\\{}]{0,40}",
            values in prop::collection::vec("[ab$\\{}]{0,6}", 3),
        ) {
            let value = |name: &str| match name {
                "" => values.first().cloned(),
                "a" => values.get(1).cloned(),
                "aa" => values.get(2).cloned(),
                _ => None,
            };
            let expanded = expand(&word, |name| Ok(value(name)));
            match expanded_anew(&word, value) {
                Some(expected) => prop_assert_eq!(expanded, Ok(expected)),
                None => prop_assert!(expanded.is_err()),
            }
        }
    }

    /// Expands as iPXE does; none when it does not end.
    fn expanded_anew(word: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut word = word.to_owned();
        for _ in 0..5_000 {
            let setting = word.find("${").and_then(|opened| {
                let end = opened + word[opened..].find('}')?;
                Some((word[..end].rfind("${")?, end))
            });
            let Some((start, end)) = setting else {
                return Some(word);
            };
            let value = value(&word[start + 2..end]).unwrap_or_default();
            word.replace_range(start..=end, &value);
        }
        None
    }
}
