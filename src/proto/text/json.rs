//! A reader of JSON (RFC 8259): bounded in depth and, for documents of a server, in values; of numbers it
//! has only whole ones, as counts and times are.

use crate::prelude::*;

/// Arrays and objects within each other: manifests have four.
const MAX_DEPTH: u32 = 16;
/// Values of a document: an image has 127 layers at most.
const MAX_VALUES: u32 = 20_000;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// A whole number that is not negative.
    Number(u64),
    /// Another number, `true`, `false` or `null`.
    Other,
    /// A text.
    Text(String),
    /// Values.
    Array(Vec<Self>),
    /// Values with their names, in their order.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads a document of a server; none for one that is damaged, too deep or too long.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_within(text, MAX_VALUES)
    }

    /// Reads a document of at most `max_values` values.
    pub fn parse_within(text: &str, max_values: u32) -> Option<Self> {
        let mut parser = Parser {
            rest: text.trim_start_matches('\u{feff}'),
            values: max_values,
        };
        let value = parser.value(0)?;
        parser.blanks();
        parser.rest.is_empty().then_some(value)
    }

    /// Returns the value with this name, of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let found = members.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value)
    }

    /// Returns the text with this name, of an object.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// Returns the number with this name, of an object.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Other | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// Returns the values with this name, of an object; none of them unless it is an array.
    pub fn array(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Self::Array(values)) => values,
            _ => &[],
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// How many more values there may be.
    values: u32,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// Takes a character, behind blanks.
    fn take(&mut self, c: char) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: u32) -> Option<Json> {
        self.values = self.values.checked_sub(1)?;
        if depth > MAX_DEPTH {
            return None;
        }
        self.blanks();
        if self.rest.starts_with('"') {
            return self.string().map(Json::Text);
        }
        for (open, close) in [('[', ']'), ('{', '}')] {
            if !self.take(open) {
                continue;
            }
            let (mut values, mut members) = (Vec::new(), Vec::new());
            if !self.take(close) {
                loop {
                    if open == '{' {
                        self.blanks();
                        let name = self.string()?;
                        self.take(':').then_some(())?;
                        members.push((name, self.value(depth + 1)?));
                    } else {
                        values.push(self.value(depth + 1)?);
                    }
                    if self.take(close) {
                        break;
                    }
                    self.take(',').then_some(())?;
                }
            }
            return Some(if open == '{' {
                Json::Object(members)
            } else {
                Json::Array(values)
            });
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if let Ok(number) = word.parse() {
            return Some(Json::Number(number));
        }
        let is_number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        (is_number || matches!(word, "true" | "false" | "null")).then_some(Json::Other)
    }

    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(match chars.next()? {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => {
                        let digits = chars.as_str().get(..4)?;
                        chars = chars.as_str().get(4..)?.chars();
                        let code = u32::from_str_radix(digits, 16).ok()?;
                        // Halves of a character beyond the first plane stand in no name here.
                        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    c @ ('"' | '\\' | '/') => c,
                    _ => return None,
                }),
                c if c < ' ' => return None,
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_and_damaged_ones_are_not() {
        let text = " { \"a\" : [1, -2.5e3, true, null, \"x\\u0041\\n\\\"/\"], \"b\": {\"c\":\"d\"}, \"e\": [] } ";
        let json = Json::parse(text).unwrap();
        assert_eq!(json.array("a").len(), 5);
        assert_eq!(
            json.array("a")[..3],
            [Json::Number(1), Json::Other, Json::Other]
        );
        assert_eq!(json.array("a")[4], Json::Text("xA\n\"/".to_owned()));
        assert_eq!(json.get("b").unwrap().text("c"), Some("d"));
        assert_eq!(
            (json.text("a"), json.array("b"), json.array("e")),
            (None, &[][..], &[][..])
        );
        for len in 1..text.len() - 1 {
            assert_eq!(Json::parse(&text[..len]), None, "{len}");
        }
        for wrong in [
            "{a:1}",
            "[1,]",
            "[1 2]",
            "{\"a\" 1}",
            "\"\\x\"",
            "\"\n\"",
            "[tru]",
            "1 2",
            "\"\\u12\"",
            "\"\\u00é9\"",
        ] {
            assert_eq!(Json::parse(wrong), None, "{wrong}");
        }
        assert!(Json::parse(&format!("{}{}", "[".repeat(17), "]".repeat(17))).is_some());
        assert_eq!(Json::parse(&"[".repeat(1 << 20)), None);
        assert_eq!(Json::parse(&format!("[{}1]", "1,".repeat(20_000))), None);
    }
}
