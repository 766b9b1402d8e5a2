//! The console: menus, prompts and input lines of a plan. Without a terminal, or with `--unattended`,
//! they get default answers.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::terminal::Terminal;
use crate::sys::{self, SyscallError};
use wireboot_proto::boot::Answer;
use wireboot_proto::boot::menu::{Key, LineEditor, Menu, MenuSession, decode, is_unfinished};
use wireboot_proto::text::safe::Safe;
use wireboot_proto::time::{Instant, earliest};

/// Lines that every terminal has; a serial one does not report its size.
const HEIGHT: usize = 24;
/// Moves to the upper left corner and clears below (ECMA-48 CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";
/// Clears the last line (ECMA-48 EL).
const CLEAR_LINE: &str = "\r\x1b[K";

/// How long the rest of a key's sequence may take: at 1200 bits per second six bytes need 50 ms.
// The first byte of an arrow key alone is Escape, which leaves the menu.
const KEY_TIME: Duration = Duration::from_millis(100);

/// The console, and whether a user is at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// A user, if there is a terminal.
    Attended,
    /// No user.
    Unattended,
}

impl Console {
    /// Returns the console for the setting `--unattended`.
    pub const fn new(unattended: bool) -> Self {
        if unattended {
            Self::Unattended
        } else {
            Self::Attended
        }
    }

    /// Shows a menu and returns the choice.
    ///
    /// # Errors
    /// The terminal has hung up.
    pub fn menu(self, menu: Menu) -> Result<Answer, SyscallError> {
        // With a timeout of zero the menu is not shown.
        let is_question = menu.timeout != Some(Duration::ZERO);
        let Some(terminal) = self.terminal(is_question)? else {
            return Ok(menu.unattended());
        };
        let mut session = MenuSession::new(menu, sys::now());
        let answer = loop {
            let now = sys::now();
            if let Some(answer) = session.handle_timeout(now) {
                break answer;
            }
            let lines = session.lines(now, HEIGHT).join("\n");
            terminal.show(&format!("{CLEAR}{lines}"));
            // Once a second, for the countdown.
            let tick = session
                .poll_timeout()
                .map(|at| at.min(now + Duration::from_secs(1)));
            let keys = keys(&terminal, tick)?;
            if let Some(answer) = keys.into_iter().find_map(|key| session.handle_key(key)) {
                break answer;
            }
        };
        terminal.show(CLEAR);
        Ok(answer)
    }

    /// Waits for a key; `Pressed` if it is `key`, or any key without one.
    ///
    /// # Errors
    /// The terminal has hung up.
    pub fn prompt(
        self,
        text: &str,
        key: Option<char>,
        timeout: Option<Duration>,
    ) -> Result<Answer, SyscallError> {
        let Some(terminal) = self.terminal(true)? else {
            return Ok(Answer::TimedOut);
        };
        terminal.show(&Safe::line(text).to_string());
        let deadline = timeout.map(|timeout| sys::now() + timeout);
        let pressed = keys(&terminal, deadline)?;
        terminal.show(CLEAR_LINE);
        Ok(match (pressed.first(), key) {
            (None, _) => Answer::TimedOut,
            (Some(_), None) => Answer::Pressed,
            (Some(pressed), Some(key)) if *pressed == Key::Char(key) => Answer::Pressed,
            (Some(_), Some(_)) => Answer::Cancelled,
        })
    }

    /// Asks for a line of text.
    ///
    /// # Errors
    /// The terminal has hung up.
    pub fn input(
        self,
        text: &str,
        default: &str,
        is_secret: bool,
        timeout: Option<Duration>,
    ) -> Result<Answer, SyscallError> {
        let Some(terminal) = self.terminal(true)? else {
            return Ok(Answer::TimedOut);
        };
        let now = sys::now();
        LineQuestion {
            label: text,
            is_secret,
            choices: "",
            help_keys: 0,
            answer_at: timeout.map(|timeout| now + timeout),
            end_at: None,
        }
        .ask(&terminal, LineEditor::new(default))
    }

    /// Asks at the `boot:` prompt; Tab lists `labels`.
    ///
    /// # Errors
    /// The terminal has hung up.
    pub fn command_line(
        self,
        labels: &str,
        help_keys: u16,
        timeout: Option<Duration>,
        total_timeout: Option<Duration>,
    ) -> Result<Answer, SyscallError> {
        let Some(terminal) = self.terminal(true)? else {
            return Ok(Answer::TimedOut);
        };
        let now = sys::now();
        LineQuestion {
            label: "boot",
            is_secret: false,
            choices: labels,
            help_keys,
            answer_at: timeout.map(|timeout| now + timeout),
            end_at: total_timeout.map(|timeout| now + timeout),
        }
        .ask(&terminal, LineEditor::default())
    }

    /// Shows lines of a configuration.
    pub fn say(self, text: &str) {
        for line in text.lines() {
            eprintln!("{}", Safe::line(line));
        }
    }

    /// Waits.
    ///
    /// # Errors
    /// `poll` fails.
    pub fn sleep(self, time: Duration) -> Result<Answer, SyscallError> {
        let end = sys::now() + time;
        while sys::now() < end {
            sys::wait_readable(&[], Some(end))?;
        }
        Ok(Answer::Done)
    }

    fn terminal(self, is_question: bool) -> Result<Option<Terminal>, SyscallError> {
        match self {
            Self::Attended if is_question => Terminal::open(),
            Self::Attended | Self::Unattended => Ok(None),
        }
    }
}

/// A question that a line of text answers.
struct LineQuestion<'a> {
    label: &'a str,
    /// Whether the text is hidden.
    is_secret: bool,
    /// The list that Tab shows.
    choices: &'a str,
    /// The function keys that answer it.
    help_keys: u16,
    /// When it ends unless a key is pressed.
    /// When it times out unless a key is pressed.
    answer_at: Option<Instant>,
    /// When it times out in any case.
    end_at: Option<Instant>,
}

impl LineQuestion<'_> {
    fn ask(mut self, terminal: &Terminal, mut line: LineEditor) -> Result<Answer, SyscallError> {
        let answer = 'typing: loop {
            let entered = if self.is_secret {
                String::new()
            } else {
                line.shown()
            };
            let label = Safe::line(self.label);
            terminal.show(&format!("{CLEAR_LINE}{label}: {entered}"));
            let deadline = earliest(&[self.answer_at, self.end_at]);
            let keys = keys(terminal, deadline)?;
            if keys.is_empty() && deadline.is_some_and(|at| sys::now() >= at) {
                break Answer::TimedOut;
            }
            for key in keys {
                self.answer_at = None;
                if key == Key::Enter {
                    break 'typing Answer::Text(line.text());
                } else if key == Key::Escape {
                    break 'typing Answer::Cancelled;
                } else if let Key::Function(number) = key
                    && self.help_keys & 1 << (number % 16) != 0
                {
                    break 'typing Answer::Help(number);
                } else if key == Key::Tab && !self.choices.is_empty() {
                    terminal.show(&format!("\n{}\n", Safe::line(self.choices)));
                }
                line.handle_key(key);
            }
        };
        terminal.show("\n");
        Ok(answer)
    }
}

/// Waits for keys until the deadline.
fn keys(terminal: &Terminal, deadline: Option<Instant>) -> Result<Vec<Key>, SyscallError> {
    let mut typed = [0; 256];
    let mut len = 0;
    let mut deadline = deadline;
    loop {
        let readable = sys::wait_readable(&[terminal.as_fd()], deadline)?;
        // Bytes of one key may come one by one.
        let more = terminal.read(typed.get_mut(len..).unwrap_or_default())?;
        len += more;
        // Readable without data: the terminal has hung up.
        if more == 0 && len < typed.len() && readable.contains(&true) {
            return Err(SyscallError::new("read(terminal)", Errno::EIO));
        }
        let typed = typed.get(..len).unwrap_or_default();
        if more == 0 || !is_unfinished(typed) {
            return Ok(decode(typed));
        }
        deadline = Some(sys::now() + KEY_TIME);
    }
}
