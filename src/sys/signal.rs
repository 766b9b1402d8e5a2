//! Signals received through a signalfd, in place of handlers.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::error::SyscallError;
use super::machine::PowerAction;

/// A signal to a process that keeps a lease or captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGINT, such as by Ctrl-C.
    Interrupt,
    /// SIGQUIT, such as by Ctrl-\.
    Quit,
    /// SIGTERM.
    End,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl Signal {
    /// Returns what a shell says of a process that the signal has ended: 128 and its number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Quit => 131,
            Self::User1 => 138,
            Self::User2 => 140,
            Self::End => 143,
        }
    }
}

/// Blocks all signals that can be blocked in this thread and those that it starts.
pub fn block_all() {
    // Of a set of all signals nothing is invalid.
    let _ = SigSet::all().thread_block();
}

// Of a process that keeps a lease or captures.
const NUMBERS: &[(Number, Signal)] = &[
    (Number::SIGHUP, Signal::Hangup),
    (Number::SIGINT, Signal::Interrupt),
    (Number::SIGQUIT, Signal::Quit),
    (Number::SIGTERM, Signal::End),
    (Number::SIGUSR1, Signal::User1),
    (Number::SIGUSR2, Signal::User2),
];

/// Signals of a boot, which has nothing to renew or to release at once. SIGHUP comes when its terminal
/// is closed.
const OF_BOOT: &[(Number, Signal)] = &[
    (Number::SIGHUP, Signal::Hangup),
    (Number::SIGINT, Signal::Interrupt),
    (Number::SIGQUIT, Signal::Quit),
    (Number::SIGTERM, Signal::End),
];

/// A request to the first process, sent as a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One or more children have ended.
    Reap,
    /// A request to end the machine.
    End(PowerAction),
}

/// The kernel sends SIGINT for Ctrl-Alt-Del; busybox `reboot`, `halt` and `poweroff` send SIGTERM,
/// SIGUSR1 and SIGUSR2; a UPS daemon sends SIGPWR when power fails.
const ORDERS: &[(Number, Order)] = &[
    (Number::SIGCHLD, Order::Reap),
    (Number::SIGINT, Order::End(PowerAction::Restart)),
    (Number::SIGTERM, Order::End(PowerAction::Restart)),
    (Number::SIGUSR1, Order::End(PowerAction::Halt)),
    (Number::SIGUSR2, Order::End(PowerAction::PowerOff)),
    (Number::SIGPWR, Order::End(PowerAction::PowerOff)),
];

/// A receiver of signals, which then no longer end the process.
#[derive(Debug)]
pub struct Signals<T: 'static = Signal> {
    descriptor: SignalFd,
    meanings: &'static [(Number, T)],
}

impl Signals {
    /// Begins to receive those of [`Signal`]; to be called before any thread is started, since each has
    /// its own mask.
    pub fn open() -> Result<Self, SyscallError> {
        Self::receive(NUMBERS)
    }

    /// As [`Signals::open`] for a boot: all of them end it, but SIGUSR1 and SIGUSR2, which do nothing.
    pub fn of_boot() -> Result<Self, SyscallError> {
        Self::receive(OF_BOOT)
    }
}

impl Signals<Order> {
    /// Begins to receive the signals of the first process; before any thread, as [`Signals::open`].
    pub fn of_first_process() -> Result<Self, SyscallError> {
        Self::receive(ORDERS)
    }
}

impl<T: Copy> Signals<T> {
    fn receive(meanings: &'static [(Number, T)]) -> Result<Self, SyscallError> {
        let mut mask = SigSet::empty();
        // They would end the process where they mean nothing (signal(7)).
        mask.add(Number::SIGUSR1);
        mask.add(Number::SIGUSR2);
        for (number, _) in meanings {
            mask.add(*number);
        }
        // A signalfd receives only blocked signals (signalfd(2)).
        mask.thread_block()
            .map_err(|errno| SyscallError::new("pthread_sigmask", errno))?;
        let descriptor =
            SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
                .map_err(|errno| SyscallError::new("signalfd", errno))?;
        Ok(Self {
            descriptor,
            meanings,
        })
    }

    /// Reads the next signal; none when none is pending, or one without a meaning.
    pub fn take(&self) -> Result<Option<T>, SyscallError> {
        let info = self.descriptor.read_signal();
        let info = info.map_err(|errno| SyscallError::new("read(signalfd)", errno))?;
        Ok(info.and_then(|info| {
            let is_it = |known: &&(Number, T)| u32::try_from(known.0 as i32) == Ok(info.ssi_signo);
            self.meanings.iter().find(is_it).map(|known| known.1)
        }))
    }
}

impl<T> AsFd for Signals<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
