//! A program at a terminal: a pty, and what a person sees on its screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, openpty};

/// A program at a terminal; ends with the test.
pub struct Terminal {
    pub child: Child,
    /// The person's end.
    person: File,
    /// The program's end.
    near: Option<File>,
    shown: String,
    /// All that was written so far.
    written: String,
}

impl Terminal {
    /// Starts a program; the command is dropped, which holds an end of the terminal.
    pub fn start(mut command: Command) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let near = File::from(slave);
        let own = || near.try_clone().unwrap();
        let child = command.stdin(own()).stdout(own()).stderr(own()).spawn();
        Self {
            child: child.expect("the program is there"),
            person: File::from(master),
            near: Some(near),
            shown: String::new(),
            written: String::new(),
        }
    }

    /// Waits until these have been shown, in this order.
    pub fn shows(&mut self, expected: &[&str]) {
        for text in expected {
            while !self.shown.contains(text) {
                let awaited = format!("\"{text}\" in {:?}", self.shown);
                let more = self.read(&awaited);
                let more = more.unwrap();
                self.written.push_str(&more);
                self.shown.push_str(&more);
            }
            let at = self.shown.find(text).unwrap();
            self.shown.replace_range(..at + text.len(), "");
        }
    }

    /// Returns all that was written up to what was last waited for, and a little more maybe.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Returns the program's end, while the program is not watched to its end.
    pub fn near(&self) -> &File {
        self.near.as_ref().unwrap()
    }

    /// Hands over all that is written until the program ends, as it is written; returns its exit code.
    pub fn watch(mut self, mut see: impl FnMut(&str)) -> Option<i32> {
        self.near = None;
        while let Ok(text) = self.read("the end") {
            see(&text);
        }
        self.child.wait().unwrap().code()
    }

    /// Returns what is written next, within half a minute; an error when nobody can write any more.
    fn read(&mut self, awaited: &str) -> std::io::Result<String> {
        let mut ready = [PollFd::new(self.person.as_fd(), PollFlags::POLLIN)];
        let count = poll(&mut ready, PollTimeout::from(30_000_u16)).unwrap();
        assert_eq!(count, 1, "never: {awaited}");
        let mut octets = [0; 4096];
        let len = self.person.read(&mut octets)?;
        Ok(String::from_utf8_lossy(octets.get(..len).unwrap()).into_owned())
    }

    pub fn types(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a screen shows: rows that are written, erased and gone back to, and never broken or scrolled.
#[derive(Default)]
pub struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// The beginning of an escape sequence.
    escape: String,
}

impl Screen {
    pub fn feed(&mut self, text: &str) {
        for letter in text.chars() {
            self.rows
                .resize(self.rows.len().max(self.row + 1), Vec::new());
            match letter {
                _ if !self.escape.is_empty() || letter == '\x1b' => {
                    self.escape.push(letter);
                    if self.escape.len() > 2 && letter.is_ascii_alphabetic() {
                        self.control();
                        self.escape.clear();
                    }
                }
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                _ => {
                    let row = &mut self.rows[self.row];
                    row.resize(row.len().max(self.column + 1), ' ');
                    row[self.column] = letter;
                    self.column += 1;
                }
            }
        }
    }

    fn control(&mut self) {
        match self.escape.as_str() {
            "\x1b[J" => {
                self.rows[self.row].truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            "\x1b[K" => self.rows[self.row].truncate(self.column),
            // Whether lines are broken.
            "\x1b[?7l" | "\x1b[?7h" => {}
            colour if colour.ends_with('m') => {}
            up if up.ends_with('A') => self.row -= up[2..up.len() - 1].parse::<usize>().unwrap(),
            other => panic!("unknown: {other:?}"),
        }
    }

    pub fn rows(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.iter().collect()).collect()
    }
}
