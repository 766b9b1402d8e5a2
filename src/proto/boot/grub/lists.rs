//! Lists of boot loader entries: names in an index, and the order of their versions.

use core::cmp::Ordering;

use crate::prelude::*;
use crate::text::url::{Url, percent_decoded};

/// The end of an entry's name.
pub(super) const EXTENSION: &str = ".conf";

/// Entries that are being read.
#[derive(Debug)]
pub(super) struct EntryReader {
    pub(super) selection: MenuEntries,
    /// The directory, until its list has been read.
    pub(super) list: Option<String>,
    /// Files to read, the next last.
    pub(super) waiting: Vec<Url>,
    pub(super) read: Vec<(Url, String)>,
}

/// Which entries go into the menu.
#[derive(Debug)]
pub(super) enum MenuEntries {
    All,
    Default,
    Others,
    Id(String),
}

/// Returns the names of entries in a list, the newest first: an index in HTML or JSON, or a text.
pub(super) fn names(list: &str) -> Vec<String> {
    let words = list.split(|c: char| c.is_whitespace() || "\"'<>,".contains(c));
    let names = words.filter(|word| word.ends_with(EXTENSION)).map(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        String::from_utf8_lossy(&percent_decoded(name)).into_owned()
    });
    let is_name = |name: &String| !name.starts_with('.') && !name.contains('/');
    let mut names: Vec<_> = names.filter(is_name).collect();
    names.sort_by(|a, b| compare(stem(b), stem(a)).then_with(|| b.cmp(a)));
    // An index in HTML has each name twice, as link and as text.
    names.dedup();
    names
}

/// Returns a name without its end, which is the id of the entry.
pub(super) fn stem(name: &str) -> &str {
    name.strip_suffix(EXTENSION).unwrap_or(name)
}

/// Compares two names of the form NAME-VERSION-RELEASE (`bls_cmp`).
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |name: &str| {
        let mut parts = name.rsplitn(3, '-').map(str::to_owned).collect::<Vec<_>>();
        parts.reverse();
        parts
    };
    let (a, b) = (parts(a), parts(b));
    let pairs = a.iter().zip(&b).map(|(a, b)| compare_versions(a, b));
    let order = pairs.fold(Ordering::Equal, Ordering::then);
    order.then(a.len().cmp(&b.len()))
}

/// Compares two versions as RPM does: by their runs of digits and letters.
fn compare_versions(mut a: &str, mut b: &str) -> Ordering {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '~' || c == '+';
    loop {
        a = a.trim_start_matches(|c| !is_part(c));
        b = b.trim_start_matches(|c| !is_part(c));
        // A tilde comes before everything, the end included; a plus before all but the end.
        for (sign, at_end) in [('~', Ordering::Greater), ('+', Ordering::Less)] {
            match (a.strip_prefix(sign), b.strip_prefix(sign)) {
                (Some(_), None) if b.is_empty() => return at_end.reverse(),
                (None, Some(_)) if a.is_empty() => return at_end,
                (Some(_), None) => return Ordering::Less,
                (None, Some(_)) => return Ordering::Greater,
                (Some(next), Some(other)) => (a, b) = (next, other),
                (None, None) => {}
            }
        }
        let Some(first) = a.chars().next().filter(|_| !b.is_empty()) else {
            return a.len().cmp(&b.len());
        };
        let is_number = first.is_ascii_digit();
        let is_run = |c: char| {
            if is_number {
                c.is_ascii_digit()
            } else {
                c.is_ascii_alphabetic()
            }
        };
        let run = |text: &str| text.find(|c| !is_run(c)).unwrap_or(text.len());
        let (one, rest) = a.split_at(run(a));
        let (other, other_rest) = b.split_at(run(b));
        if one.is_empty() || other.is_empty() {
            // Numbers are newer than letters; signs that follow each other are compared above.
            return if is_number {
                Ordering::Greater
            } else {
                Ordering::Less
            };
        }
        let digits = |run: &str| run.trim_start_matches('0').len();
        let by_len = digits(one).cmp(&digits(other));
        let order = by_len.then_with(|| {
            one.trim_start_matches('0')
                .cmp(other.trim_start_matches('0'))
        });
        let order = if is_number { order } else { one.cmp(other) };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest, other_rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_list_and_the_newest_comes_first() {
        let html = "<a href=\"../\">../</a>\n<a href='e-5.9-1.conf'>e-5.9-1.conf</a> 1K\n\
            <A HREF=\"/loader/entries/e-5.10-1.conf\">e-5.10-1.c..&gt;</A> <a href=\"n.txt\">n</a>";
        assert_eq!(names(html), ["e-5.10-1.conf", "e-5.9-1.conf"]);
        let json = r#"[{"name":"a%2Bb.conf","type":"file"},{"name":".x.conf"}]"#;
        assert_eq!(names(json), ["a+b.conf"]);
        assert_eq!(
            names("x-1-1.conf\nx-1-2.conf\n"),
            ["x-1-2.conf", "x-1-1.conf"]
        );
        assert!(names("").is_empty());
    }

    #[test]
    fn versions_are_compared_as_rpm_does() {
        for (newer, older) in [
            ("5.10", "5.9"),
            ("1.0", "1.0~rc1"),
            ("1.0+1", "1.0"),
            ("1.0.1", "1.0+1"),
            ("1.0a", "1.0"),
            ("2", "b"),
            ("010", "9"),
            ("b", "a"),
            ("1.1", "1"),
        ] {
            assert_eq!(compare_versions(newer, older), Ordering::Greater, "{newer}");
            assert_eq!(compare_versions(older, newer), Ordering::Less, "{newer}");
        }
        assert_eq!(compare_versions("1.01", "1-1"), Ordering::Equal);
        assert_eq!(compare("a-1-2", "a-1-10"), Ordering::Less);
        assert_eq!(compare("rescue-0-1", "a-9-9"), Ordering::Greater);
    }
}
