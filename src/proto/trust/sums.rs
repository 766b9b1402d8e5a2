//! Lists of hashes, as `sha256sum` writes them.

use crate::prelude::*;
use crate::text::safe::Quoted;
use core::str::FromStr;

use crate::text::url::Sha256;

/// The longest list of hashes, in bytes: some 10,000 files.
pub const MAX_SUMS_LEN: u64 = 1 << 20;

/// The reason why a list of hashes cannot be used for a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SumsError {
    /// A line in no format of `sha256sum`.
    #[error("line {0} of the list of hashes is not a SHA-256 and a name")]
    Line(usize),
    /// No line names the file, or two disagree about it.
    #[error("the list of hashes does not contain {}", Quoted(.0))]
    Unlisted(String),
}

/// File names with their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums(Vec<(String, Sha256)>);

impl Sums {
    /// Returns the hash of the file `name`; names in the list may have directories before them.
    ///
    /// # Errors
    /// [`SumsError::Unlisted`], also when two lines disagree about it.
    pub fn of(&self, name: &str) -> Result<Sha256, SumsError> {
        let unlisted = || SumsError::Unlisted(name.to_owned());
        let last = |path: &str| path.rsplit('/').next() == Some(name);
        let mut found = self.0.iter().filter(|(path, _)| last(path));
        let (_, sum) = found.next().ok_or_else(unlisted)?;
        // A name twice with two hashes decides nothing.
        if found.all(|(_, other)| other == sum) && !name.is_empty() {
            Ok(*sum)
        } else {
            Err(unlisted())
        }
    }
}

impl FromStr for Sums {
    type Err = SumsError;

    /// Reads lines of a hash, a blank, a blank or `*`, and a name; or as `sha256sum --tag` writes
    /// them.
    fn from_str(text: &str) -> Result<Self, SumsError> {
        let lines = text.lines().map(str::trim_end).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|(index, line)| parse_line(line).ok_or(SumsError::Line(index + 1)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse_line(line: &str) -> Option<(String, Sha256)> {
    // The other form is of BSD's sha256 and of sha256sum --tag.
    let (name, digits) = match line.strip_prefix("SHA256 (") {
        Some(rest) => rest.rsplit_once(") = ")?,
        None => {
            let (digits, name) = line.split_once(' ')?;
            // sha256sum writes * in front of a file that was read as binary.
            let name = name.strip_prefix([' ', '*']).unwrap_or(name);
            (name, digits)
        }
    };
    (!name.is_empty()).then_some(())?;
    Some((name.to_owned(), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

    #[test]
    fn lists_of_hashes_are_read_as_sha256sum_writes_them() {
        let text = format!(
            "# by hand\n{SUM}  vmlinuz\n{SUM} *./boot/initrd.img\n\nSHA256 (a (1).img) = {SUM}\n"
        );
        let sums: Sums = text.parse().unwrap();
        for name in ["vmlinuz", "initrd.img", "a (1).img"] {
            assert_eq!(sums.of(name), Ok(SUM.parse().unwrap()), "{name}");
        }
        for name in ["", "initrd", "boot/initrd.img", "mg"] {
            assert_eq!(sums.of(name), Err(SumsError::Unlisted(name.to_owned())));
        }
        let twice = format!("{SUM}  a/f\n{}  b/f\n", SUM.replace('e', "f"));
        assert!(twice.parse::<Sums>().unwrap().of("f").is_err());
        for wrong in [
            "x  f",
            SUM,
            &format!("{SUM}  "),
            &format!("SHA256 (f) {SUM}"),
        ] {
            assert_eq!(
                format!("{SUM}  f\n{wrong}").parse::<Sums>(),
                Err(SumsError::Line(2))
            );
        }
    }
}
