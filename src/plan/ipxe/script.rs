//! A script as lines and words.

/// The longest word that expansion may make, in octets.
const MAX_WORD_LEN: usize = 65_536;
/// How many settings may be expanded in one word.
const MAX_EXPANSIONS: usize = 1_000;

/// A line, joined with those that its backslashes continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, counted from 1; of the first when joined.
    pub(super) number: usize,
    /// The label that stands before it.
    pub(super) label: Option<String>,
    /// Its words after the label.
    pub(super) words: Vec<String>,
}

/// Splits a script into its lines.
pub(super) fn lines(text: &[u8]) -> Vec<Line> {
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
        lines.push(Line {
            number: first,
            label: label.map(|label| label.replacen(':', "", 1)),
            words: words.collect(),
        });
        joined.clear();
        first = number + 1;
    }
    lines
}

/// What stands between two commands of a line.
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
    let operator = |word: &String| match word.as_str() {
        "&&" => Some(Operator::And),
        "||" => Some(Operator::Or),
        ";" => Some(Operator::Then),
        _ if word.starts_with('#') => Some(Operator::End),
        _ => None,
    };
    for (at, word) in words.iter().enumerate() {
        if let Some(operator) = operator(word) {
            return (words.get(..at).unwrap_or_default(), operator);
        }
    }
    (words, Operator::End)
}

/// Replaces every `${…}` in `word`, the innermost first, by what `value` says of its name; what
/// comes in is expanded again.
///
/// # Errors
/// A word that grows without end.
pub(super) fn expand(
    word: &str,
    mut value: impl FnMut(&str) -> Option<String>,
) -> Result<String, &'static str> {
    let mut word = word.to_owned();
    for _ in 0..MAX_EXPANSIONS {
        let Some((start, end)) = first_setting(&word) else {
            return Ok(word);
        };
        let name = word.get(start + 2..end).unwrap_or_default();
        let value = value(name).unwrap_or_default();
        if word.len() + value.len() > MAX_WORD_LEN {
            return Err("the settings in it make it longer than 65536 octets");
        }
        word.replace_range(start..=end, &value);
    }
    Err("its settings lead back to themselves")
}

/// Returns where the first setting that holds no other begins and ends.
fn first_setting(word: &str) -> Option<(usize, usize)> {
    let opened = word.find("${")?;
    let end = opened + word.get(opened..)?.find('}')?;
    let start = word.get(..end)?.rfind("${")?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
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
        let value = |name: &str| match name {
            "i" => Some("1".to_owned()),
            "net1/mac" => Some("52:54".to_owned()),
            "nested" => Some("${i}".to_owned()),
            "loop" => Some("${loop}".to_owned()),
            "grow" => Some("${grow}${grow}".to_owned()),
            _ => None,
        };
        for (word, expected) in [
            ("a${i}b", "a1b"),
            ("${net${i}/mac}", "52:54"),
            ("${nested}", "1"),
            ("${none}", ""),
            ("${open", "${open"),
            ("}${i}", "}1"),
            ("$i", "$i"),
        ] {
            assert_eq!(expand(word, value).unwrap(), expected, "{word}");
        }
        assert!(expand("${loop}", value).is_err());
        assert!(expand("${grow}", value).is_err());
    }
}
