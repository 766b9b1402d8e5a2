//! Signals as something to wait for, in place of something that interrupts.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::SyscallError;

/// What a person or a supervisor wants of a program that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGINT or SIGTERM.
    End,
    /// SIGUSR2.
    User2,
}

const NUMBERS: [(Number, Signal); 4] = [
    (Number::SIGHUP, Signal::Hangup),
    (Number::SIGINT, Signal::End),
    (Number::SIGTERM, Signal::End),
    (Number::SIGUSR2, Signal::User2),
];

/// Receives the signals named in [`Signal`], which no longer end the process then.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Begins to receive; to be called before any thread is started, since each has a mask of its
    /// own.
    ///
    /// # Errors
    /// The call that failed.
    pub fn open() -> Result<Self, SyscallError> {
        let mut mask = SigSet::empty();
        for (number, _) in NUMBERS {
            mask.add(number);
        }
        mask.thread_block()
            .map_err(|errno| SyscallError::new("pthread_sigmask", errno))?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(Self)
            .map_err(|errno| SyscallError::new("signalfd", errno))
    }

    /// Takes the next signal; none when there is none now.
    ///
    /// # Errors
    /// What `read` says.
    pub fn take(&self) -> Result<Option<Signal>, SyscallError> {
        let info = self.0.read_signal();
        let info = info.map_err(|errno| SyscallError::new("read(signalfd)", errno))?;
        Ok(info.and_then(|info| {
            let is_it =
                |known: &&(Number, Signal)| u32::try_from(known.0 as i32) == Ok(info.ssi_signo);
            NUMBERS.iter().find(is_it).map(|known| known.1)
        }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
