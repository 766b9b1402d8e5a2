//! Standard input and output: keys of a terminal one by one instead of lines, and printed text.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Stdin, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

use super::error::SyscallError;
use wireboot_proto::text::safe;

/// The settings to restore while a [`Terminal`] is open, also for another thread that ends the process,
/// which drops nothing.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input and output in raw mode; the settings are restored when it is dropped.
#[derive(Debug)]
pub struct Terminal {
    input: Stdin,
}

impl Terminal {
    /// Opens the terminal; none if standard input is no terminal.
    ///
    /// # Errors
    /// `tcgetattr` or `tcsetattr`: the terminal has hung up.
    pub fn open() -> Result<Option<Self>, SyscallError> {
        let input = std::io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&input).map_err(|errno| SyscallError::new("tcgetattr", errno))?;
        let mut raw = before.clone();
        // Without ISIG, so that Ctrl-C is a key; the translation of line ends stays.
        raw.local_flags -=
            LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN;
        for (index, value) in [
            // With both 0 a read returns at once; the wait is in poll, with a deadline
            // (termios(3)).
            (SpecialCharacterIndices::VMIN, 0),
            (SpecialCharacterIndices::VTIME, 0),
        ] {
            if let Some(character) = raw.control_chars.get_mut(index as usize) {
                *character = value;
            }
        }
        // The first ones are those of the user; later ones may be raw already.
        before_open().get_or_insert(before);
        // Not TCSAFLUSH, which discards typed keys.
        tcsetattr(&input, SetArg::TCSADRAIN, &raw)
            .map_err(|errno| SyscallError::new("tcsetattr", errno))?;
        Ok(Some(Self { input }))
    }

    /// Stores the settings of the terminal, if there is one, for [`Terminal::restore`] after another
    /// process has opened it.
    pub fn remember() {
        let input = std::io::stdin();
        if input.is_terminal()
            && let Ok(before) = tcgetattr(&input)
        {
            before_open().get_or_insert(before);
        }
    }

    /// Restores the settings that an open terminal had before, if there is one.
    pub fn restore() {
        if let Some(before) = before_open().take() {
            // A terminal that has hung up has nothing to restore.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &before);
        }
    }

    /// Reads typed bytes, if there are any.
    ///
    /// # Errors
    /// `read`: EIO when the terminal has hung up.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, SyscallError> {
        match nix::unistd::read(&self.input, bytes) {
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(0),
            result => result.map_err(|errno| SyscallError::new("read(terminal)", errno)),
        }
    }

    /// Shows a text; errors are ignored.
    pub fn show(&self, text: &str) {
        let mut output = std::io::stdout();
        let _ = output.write_all(text.as_bytes());
        let _ = output.flush();
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        Self::restore();
    }
}

/// Prints lines to standard output, as [`safe::printed`] has them; [`unprinted`] has the error.
pub fn print(text: &str) {
    // print! panics on an error.
    let mut output = std::io::stdout();
    let printed = output.write_all(safe::printed(text).as_bytes());
    if let Err(error) = printed.and_then(|()| output.flush()) {
        UNPRINTED.store(error.raw_os_error().unwrap_or_default(), Ordering::Relaxed);
    }
}

/// Returns why not all could be printed. A reader that has closed the pipe, or a terminal that is gone, is
/// no error.
pub fn unprinted() -> Option<io::Error> {
    let code = UNPRINTED.load(Ordering::Relaxed);
    let is_none = [0, Errno::EPIPE as i32, Errno::EIO as i32].contains(&code);
    (!is_none).then(|| io::Error::from_raw_os_error(code))
}

/// The number of the last error, or 0.
static UNPRINTED: AtomicI32 = AtomicI32::new(0);

fn before_open() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}
