//! Keys, decoded from the bytes of a terminal.

use crate::prelude::*;

/// A key that a menu knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// One character to the left.
    Left,
    /// One character to the right.
    Right,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// Deletes the character before the cursor.
    Backspace,
    /// Deletes the character under the cursor.
    Delete,
    /// Accepts the selection.
    Enter,
    /// Leaves.
    Escape,
    /// Edits.
    Tab,
    /// Deletes the line.
    Clear,
    /// F1 to F12, by number.
    Function(u8),
    /// A character.
    Char(char),
}

/// Returns the keys in what a terminal sent at once; unknown keys are omitted.
///
/// A lone escape at the end is the Escape key: terminals send their sequences in one piece.
pub fn decode(octets: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let text = String::from_utf8_lossy(octets);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let key = match letter {
            // Escape begins CSI ([), or SS3 (O) while cursor keys are in application mode.
            '\x1b' => match letters.next_if(|next| matches!(next, '[' | 'O')) {
                None => Some(Key::Escape),
                Some(_) => {
                    let mut sequence = String::new();
                    for next in letters.by_ref() {
                        sequence.push(next);
                        if next.is_ascii_alphabetic() || next == '~' {
                            break;
                        }
                    }
                    of_sequence(&sequence)
                }
            },
            '\r' | '\n' => Some(Key::Enter),
            '\t' => Some(Key::Tab),
            // Terminals send one or the other for the same key.
            '\x08' | '\x7f' => Some(Key::Backspace),
            '\x01' => Some(Key::Home),
            '\x05' => Some(Key::End),
            '\x10' => Some(Key::Up),
            '\x0e' => Some(Key::Down),
            // Ctrl-U.
            '\x15' => Some(Key::Clear),
            // Ctrl-C: raw mode hands it over as it is.
            '\x03' => Some(Key::Escape),
            _ if letter.is_control() || letter == char::REPLACEMENT_CHARACTER => None,
            _ => Some(Key::Char(letter)),
        };
        keys.extend(key);
    }
    keys
}

/// Returns whether the bytes end within the sequence of a key: a lone Escape, or an arrow key that
/// has not been received completely.
pub fn is_unfinished(octets: &[u8]) -> bool {
    // On a slow line the first byte of an arrow came alone, counted as Escape, and left the menu.
    let escape = octets.iter().rposition(|octet| *octet == 0x1b);
    let sequence = escape.and_then(|at| octets.get(at + 1..));
    sequence.is_some_and(|sequence| match sequence {
        [] => true,
        [b'[' | b'O', rest @ ..] => !rest
            .iter()
            .any(|octet| octet.is_ascii_alphabetic() || *octet == b'~'),
        [_, ..] => false,
    })
}

/// The sequences of ECMA-48 terminals, as the Linux console and serial terminals send them.
fn of_sequence(sequence: &str) -> Option<Key> {
    Some(match sequence {
        "A" => Key::Up,
        "B" => Key::Down,
        "C" => Key::Right,
        "D" => Key::Left,
        // xterm sends H, the Linux console 1~, rxvt 7~; End likewise.
        "H" | "1~" | "7~" => Key::Home,
        "F" | "4~" | "8~" => Key::End,
        "3~" => Key::Delete,
        _ => {
            return FUNCTION_KEYS.iter().find_map(|(sequences, number)| {
                let mut sequences = sequences.split(' ');
                let is_known = sequences.any(|known| known == sequence);
                is_known.then_some(Key::Function(*number))
            });
        }
    })
}

/// Function keys, as xterm, the Linux console and rxvt send the first, and all of them the others.
const FUNCTION_KEYS: [(&str, u8); 12] = [
    ("P [A 11~", 1),
    ("Q [B 12~", 2),
    ("R [C 13~", 3),
    ("S [D 14~", 4),
    ("15~ [E", 5),
    ("17~", 6),
    ("18~", 7),
    ("19~", 8),
    ("20~", 9),
    ("21~", 10),
    ("23~", 11),
    ("24~", 12),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_and_characters_become_keys() {
        assert_eq!(
            decode(b"\x1b[A\x1bOB\x1b[3~\x1b[25~x\xc3\xbc\r\x7f\t\x15\x1b"),
            [
                Key::Up,
                Key::Down,
                Key::Delete,
                Key::Char('x'),
                Key::Char('ü'),
                Key::Enter,
                Key::Backspace,
                Key::Tab,
                Key::Clear,
                Key::Escape,
            ]
        );
        assert_eq!(decode(b"\x1b[\xff\x1b["), []);
        let keys = decode(b"\x1bOP\x1b[[B\x1b[13~\x1b[15~\x1b[24~");
        assert_eq!(keys, [1, 2, 3, 5, 12].map(Key::Function));
    }

    #[test]
    fn an_incomplete_key_is_unfinished() {
        for octets in [&b"\x1b"[..], b"x\x1b", b"\x1b[", b"\x1bO", b"\x1b[A\x1b[1"] {
            assert!(is_unfinished(octets), "{octets:?}");
        }
        for octets in [&b""[..], b"x", b"\x1b[A", b"\x1bOB", b"\x1b[3~", b"\x1bx"] {
            assert!(!is_unfinished(octets), "{octets:?}");
        }
    }
}
