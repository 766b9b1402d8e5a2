//! Words and quotes as the kernel reads them (`lib/cmdline.c`, `next_arg`).

/// Splits a command line into words.
///
/// A double quote switches quoting on and off anywhere; blanks inside of quotes do not end the
/// word. The quotes around a whole word, or around a whole value behind `=`, are taken off; others
/// stay. There are no escapes.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in text.chars() {
        quoted ^= character == '"';
        if character.is_ascii_whitespace() && !quoted {
            words.extend(unquote(&std::mem::take(&mut word)));
        } else {
            word.push(character);
        }
    }
    words.extend(unquote(&word));
    words
}

fn unquote(word: &str) -> Option<String> {
    if word.is_empty() {
        return None;
    }
    let bare = |text: &str| {
        let text = text.strip_prefix('"')?;
        Some(text.strip_suffix('"').unwrap_or(text).to_owned())
    };
    if let Some(whole) = bare(word) {
        return Some(whole);
    }
    Some(match word.split_once('=') {
        Some((key, value)) => match bare(value) {
            Some(value) => format!("{key}={value}"),
            None => word.to_owned(),
        },
        None => word.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_read_as_the_kernel_reads_them() {
        for (text, expected) in [
            ("", &[][..]),
            (" a  b\tc\n", &["a", "b", "c"]),
            ("x=\"a b\" c", &["x=a b", "c"]),
            ("\"x=a b\" c", &["x=a b", "c"]),
            ("x=a\" \"b", &["x=a\" \"b"]),
            ("x=\"never closed here", &["x=never closed here"]),
            ("\"\"", &[""]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }
}
