//! Menus on a terminal: decodes keys, handles them, returns the answer and the lines to show.

use crate::prelude::*;
use core::fmt::Display;

use super::step::Answer;
pub use super::step::{Entry, Menu};
use crate::text::safe::Safe;
use crate::time::{Instant, earliest};

/// A menu that is shown on a terminal.
#[derive(Debug)]
pub struct MenuSession {
    menu: Menu,
    bar: Option<usize>,
    answer_at: Option<Instant>,
    end_at: Option<Instant>,
    is_hidden: bool,
    line: Option<LineEditor>,
}

impl MenuSession {
    /// Begins; the countdown runs from `now`.
    pub fn new(menu: Menu, now: Instant) -> Self {
        let first = menu.entries.iter().position(|entry| entry.is_choice);
        Self {
            bar: menu.selected.or(first),
            answer_at: menu.timeout.map(|timeout| now + timeout),
            end_at: menu.total_timeout.map(|timeout| now + timeout),
            is_hidden: menu.is_hidden && menu.timeout.is_some(),
            line: None,
            menu,
        }
    }

    /// Handles a key; any key ends the countdown, and the first one shows a hidden menu.
    pub fn handle_key(&mut self, key: Key) -> Option<Answer> {
        // A key ends the countdown, as in the menus of iPXE, GRUB and pxelinux; TOTALTIMEOUT goes
        // on.
        self.answer_at = None;
        if core::mem::take(&mut self.is_hidden) {
            return None;
        }
        if let Some(line) = &mut self.line {
            if key == Key::Enter {
                return self.bar.map(|entry| Answer::Chosen {
                    entry,
                    command_line: Some(line.text()),
                    is_by_user: true,
                });
            }
            if key == Key::Escape {
                self.line = None;
            } else {
                line.handle_key(key);
            }
            return None;
        }
        match key {
            Key::Up => self.move_bar(false),
            Key::Down => self.move_bar(true),
            Key::Home => {
                let first = self.choices().next();
                self.bar = first;
            }
            Key::End => {
                let last = self.choices().next_back();
                self.bar = last;
            }
            Key::Enter => return self.choose(self.bar?),
            Key::Escape => return Some(Answer::Cancelled),
            // Tab edits in menus of pxelinux, e in those of GRUB.
            Key::Tab => self.edit(),
            Key::Char(letter) => return self.handle_char(letter),
            Key::Function(number) if self.menu.help_keys & 1 << (number % 16) != 0 => {
                return Some(Answer::Help(number));
            }
            Key::Left
            | Key::Right
            | Key::Backspace
            | Key::Delete
            | Key::Clear
            | Key::Function(_) => {}
        }
        None
    }

    /// Returns when [`MenuSession::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(&[self.answer_at, self.end_at])
    }

    /// Returns the unattended answer when the countdown is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Answer> {
        let is_over = self.poll_timeout().is_some_and(|at| now >= at);
        is_over.then(|| self.menu.unattended())
    }

    /// Returns the lines to show, the bar in reverse video, with as many entries as fit into
    /// `height` lines.
    pub fn lines(&self, now: Instant, height: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.is_hidden {
            lines.extend(self.menu.title.iter().map(shown));
            lines.push(String::new());
            let room = height.saturating_sub(lines.len() + 4).max(1);
            let bar = self.bar.unwrap_or(0);
            let top = (bar + 1)
                .saturating_sub(room / 2 + 1)
                .min(self.menu.entries.len().saturating_sub(room));
            let entries = (0..).zip(&self.menu.entries).skip(top).take(room);
            lines.extend(entries.map(|(number, entry)| self.line_of(number, entry)));
            lines.push(String::new());
        }
        if let Some(line) = &self.line {
            lines.push(format!("> {}", line.shown()));
        } else if let Some(at) = self.answer_at {
            let seconds = at.since(now).as_millis().div_ceil(1000);
            lines.push(format!(
                "starts in {seconds} s; any key stops the countdown"
            ));
        } else if let Some(help) = self.entry().and_then(|entry| entry.help.as_ref()) {
            lines.extend(help.lines().map(shown));
        } else {
            let line = self.entry().and_then(|entry| entry.command_line.as_ref());
            let edits = line.map_or("", |_| "Tab edits the command line, ");
            lines.push(format!("Enter starts, {edits}Escape leaves"));
        }
        lines
    }

    fn line_of(&self, number: usize, entry: &Entry) -> String {
        let text = Safe::line(&entry.text);
        if !entry.is_choice {
            return format!("    {text}");
        }
        let digit = (1..=9).zip(self.choices()).find(|(_, at)| *at == number);
        let digit = digit.map_or(" ".to_owned(), |(digit, _)| digit.to_string());
        if self.bar == Some(number) {
            format!("\x1b[7m  {digit} {text}  \x1b[0m")
        } else {
            format!("  {digit} {text}")
        }
    }

    fn entry(&self) -> Option<&Entry> {
        self.menu.entries.get(self.bar?)
    }

    fn choices(&self) -> impl DoubleEndedIterator<Item = usize> {
        let entries = self.menu.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| entry.is_choice)
            .map(|(number, _)| number)
    }

    fn move_bar(&mut self, is_down: bool) {
        let bar = self.bar.unwrap_or(0);
        let next = if is_down {
            self.choices().find(|number| *number > bar)
        } else {
            self.choices().rev().find(|number| *number < bar)
        };
        self.bar = next.or(self.bar);
    }

    fn choose(&self, entry: usize) -> Option<Answer> {
        let is_choice = (self.menu.entries.get(entry)).is_some_and(|entry| entry.is_choice);
        is_choice.then_some(Answer::Chosen {
            entry,
            command_line: None,
            is_by_user: true,
        })
    }

    fn edit(&mut self) {
        let command_line = self.entry().and_then(|entry| entry.command_line.clone());
        self.line = command_line.map(|text| LineEditor::new(&text));
    }

    /// The key of an entry starts it, or moves the bar to it; a digit moves the bar, so that a slip starts
    /// nothing.
    fn handle_char(&mut self, letter: char) -> Option<Answer> {
        let letter = letter.to_ascii_lowercase();
        let keyed = (self.menu.entries.iter()).position(|entry| {
            entry
                .key
                .is_some_and(|key| key.to_ascii_lowercase() == letter)
        });
        if let Some(number) = keyed {
            let entry = self
                .menu
                .entries
                .get(number)
                .filter(|entry| entry.is_choice);
            if entry.is_some_and(|entry| entry.key_moves_bar) {
                self.bar = Some(number);
                return None;
            }
            return self.choose(number);
        }
        let digit = letter.to_digit(10).and_then(|digit| digit.checked_sub(1));
        let chosen = digit.and_then(|digit| self.choices().nth(usize::try_from(digit).ok()?));
        match (letter, chosen) {
            (_, Some(number)) => self.bar = Some(number),
            ('e', None) => self.edit(),
            (_, None) => {}
        }
        None
    }
}

/// A line of text that is being edited.
#[derive(Debug, Default)]
pub struct LineEditor {
    letters: Vec<char>,
    cursor: usize,
}

impl LineEditor {
    /// The longest line, in characters; twice the longest command line of Linux on a PC.
    pub const MAX_LEN: usize = 4096;

    /// Begins with `text` and the cursor at its end.
    pub fn new(text: &str) -> Self {
        let letters: Vec<char> = text.chars().collect();
        Self {
            cursor: letters.len(),
            letters,
        }
    }

    /// Handles a key that moves the cursor or edits; other keys do nothing.
    pub fn handle_key(&mut self, key: Key) {
        match key {
            Key::Char(letter) if self.letters.len() < Self::MAX_LEN => {
                self.letters.insert(self.cursor, letter);
                self.cursor += 1;
            }
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.letters.remove(self.cursor);
            }
            Key::Delete if self.cursor < self.letters.len() => {
                self.letters.remove(self.cursor);
            }
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(self.letters.len()),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.letters.len(),
            Key::Clear => {
                self.letters.clear();
                self.cursor = 0;
            }
            Key::Char(_)
            | Key::Backspace
            | Key::Delete
            | Key::Up
            | Key::Down
            | Key::Enter
            | Key::Escape
            | Key::Tab
            | Key::Function(_) => {}
        }
    }

    /// Returns the text.
    pub fn text(&self) -> String {
        self.letters.iter().collect()
    }

    /// Returns the text with the cursor in reverse video.
    pub fn shown(&self) -> String {
        let (before, after) = self.letters.split_at(self.cursor.min(self.letters.len()));
        let before: String = before.iter().collect();
        let mut after = after.iter();
        let under = after.next().copied().unwrap_or(' ');
        let after: String = after.collect();
        let [before, under, after] = [before, under.to_string(), after].map(Safe::line);
        format!("{before}\x1b[7m{under}\x1b[0m{after}")
    }
}

fn shown(text: impl Display) -> String {
    Safe::line(text).to_string()
}

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
    use std::time::Duration;

    const START: Instant = Instant::from_millis(1_000);

    #[test]
    fn arrows_pass_over_what_cannot_be_chosen() {
        let mut session = MenuSession::new(menu(None), START);
        assert_eq!(session.handle_key(Key::Down), None);
        assert_eq!(session.handle_key(Key::Down), None);
        assert_eq!(session.handle_key(Key::Enter), chosen(2));
        session.handle_key(Key::Up);
        assert_eq!(session.handle_key(Key::Enter), chosen(0));
        session.handle_key(Key::Char('2'));
        assert_eq!(session.handle_key(Key::Enter), chosen(2));
        assert_eq!(session.handle_key(Key::Char('R')), chosen(2));
        assert_eq!(session.handle_key(Key::Escape), Some(Answer::Cancelled));
    }

    #[test]
    fn the_countdown_takes_the_default_and_any_key_stops_it() {
        let mut session = MenuSession::new(menu(Some(5)), START);
        let end = START + Duration::from_secs(5);
        assert_eq!(session.poll_timeout(), Some(end));
        assert_eq!(session.handle_timeout(Instant::from_millis(5_999)), None);
        assert_eq!(session.handle_timeout(end), on_timeout(0));
        let mut session = MenuSession::new(menu(Some(5)), START);
        session.handle_key(Key::Left);
        assert_eq!(session.poll_timeout(), None);
        assert_eq!(session.handle_timeout(end), None);
    }

    #[test]
    fn no_key_stops_the_total_timeout() {
        let mut whole = menu(Some(5));
        whole.total_timeout = Some(Duration::from_secs(60));
        whole.on_timeout = Some(2);
        let mut session = MenuSession::new(whole, START);
        session.handle_key(Key::Down);
        let end = START + Duration::from_secs(60);
        assert_eq!(session.poll_timeout(), Some(end));
        assert_eq!(session.handle_timeout(end), on_timeout(2));
    }

    #[test]
    fn an_edited_command_line_comes_with_the_choice() {
        let mut session = MenuSession::new(menu(None), START);
        session.handle_key(Key::Tab);
        for key in [Key::Backspace, Key::Char('x'), Key::Home, Key::Delete] {
            assert_eq!(session.handle_key(key), None);
        }
        assert!(session.lines(START, 24).last().unwrap().contains("iex"));
        let answer = session.handle_key(Key::Enter).unwrap();
        let command_line = Some("uiex".to_owned());
        assert_eq!(
            answer,
            Answer::Chosen {
                entry: 0,
                command_line,
                is_by_user: true,
            }
        );
    }

    #[test]
    fn a_key_may_only_move_the_bar_and_function_keys_ask_for_help() {
        let mut whole = menu(Some(5));
        whole.entries[2].key_moves_bar = true;
        whole.help_keys = 1 << 2;
        let mut session = MenuSession::new(whole, START);
        assert_eq!(session.handle_key(Key::Char('r')), None);
        let lines = session.lines(START, 24);
        let bar = lines.iter().find(|line| line.contains("\x1b[7m"));
        assert!(bar.unwrap().contains("Rescue"), "{lines:?}");
        assert_eq!(session.handle_key(Key::Function(1)), None);
        assert_eq!(session.handle_key(Key::Function(2)), Some(Answer::Help(2)));
        assert_eq!(session.handle_key(Key::Enter), chosen(2));
        let mut line = LineEditor::new("quiet splash");
        line.handle_key(Key::Left);
        line.handle_key(Key::Clear);
        line.handle_key(Key::Char('x'));
        assert_eq!(line.text(), "x");
    }

    #[test]
    fn only_where_there_is_a_command_line_the_menu_says_that_tab_edits_it() {
        let mut menu = menu(None);
        menu.entries[2].command_line = None;
        let mut session = MenuSession::new(menu, START);
        let last = |session: &MenuSession| session.lines(START, 24).pop().unwrap();
        let edits = "Enter starts, Tab edits the command line, Escape leaves";
        assert_eq!(last(&session), edits);
        session.handle_key(Key::Down);
        assert_eq!(last(&session), "Enter starts, Escape leaves");
        session.handle_key(Key::Tab);
        assert_eq!(last(&session), "Enter starts, Escape leaves");
    }

    #[test]
    fn a_hidden_menu_shows_with_the_first_key() {
        let mut hidden = menu(Some(5));
        hidden.is_hidden = true;
        let mut session = MenuSession::new(hidden, START);
        assert_eq!(session.lines(START, 24).len(), 1);
        assert_eq!(session.handle_key(Key::Enter), None);
        assert!(session.lines(START, 24).len() > 4);
    }

    #[test]
    fn texts_of_the_network_cannot_steer_the_terminal() {
        let mut menu = menu(None);
        menu.entries[0].text = "a\x1b[2Jb".to_owned();
        menu.title = Some("\x1b]0;x\x07".to_owned());
        let lines = MenuSession::new(menu, START).lines(START, 24);
        assert_eq!(lines[0], "\\u{1b}]0;x\\u{7}");
        assert!(lines.iter().all(|line| !line.contains("\x1b[2J")));
    }

    #[test]
    fn a_long_menu_shows_the_part_around_the_bar() {
        let mut menu = menu(None);
        menu.entries = (0..100)
            .map(|number| Entry {
                text: format!("entry {number}"),
                is_choice: true,
                ..Entry::default()
            })
            .collect();
        menu.selected = Some(50);
        let lines = MenuSession::new(menu, START).lines(START, 24);
        assert!(lines.len() <= 24);
        assert!(lines.iter().any(|line| line.contains("entry 50")));
    }

    fn menu(timeout_seconds: Option<u64>) -> Menu {
        let entry = |text: &str, key| Entry {
            text: text.to_owned(),
            is_choice: true,
            key,
            command_line: Some("quiet".to_owned()),
            ..Entry::default()
        };
        Menu {
            title: Some("Boot".to_owned()),
            entries: vec![
                entry("Install", Some('i')),
                Entry::default(),
                entry("Rescue", Some('r')),
            ],
            selected: Some(0),
            timeout: timeout_seconds.map(Duration::from_secs),
            ..Menu::default()
        }
    }

    fn chosen(entry: usize) -> Option<Answer> {
        answer(entry, true)
    }

    fn on_timeout(entry: usize) -> Option<Answer> {
        answer(entry, false)
    }

    fn answer(entry: usize, is_by_user: bool) -> Option<Answer> {
        Some(Answer::Chosen {
            entry,
            command_line: None,
            is_by_user,
        })
    }

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
