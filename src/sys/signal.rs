//! Signals as something to wait for, in place of something that interrupts.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::error::SyscallError;
use super::machine::PowerAction;

/// A signal to a program that keeps a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGINT or SIGTERM.
    End,
    /// SIGUSR2.
    User2,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hangup => "SIGHUP",
            Self::End => "SIGINT or SIGTERM",
            Self::User2 => "SIGUSR2",
        })
    }
}

const NUMBERS: &[(Number, Signal)] = &[
    (Number::SIGHUP, Signal::Hangup),
    (Number::SIGINT, Signal::End),
    (Number::SIGTERM, Signal::End),
    (Number::SIGUSR2, Signal::User2),
];

/// A request to the first process, sent as a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A child has ended, or more than one.
    Reap,
    /// The machine is to end.
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

/// Receives signals, each as what it means here; none of them ends the process any longer.
#[derive(Debug)]
pub struct Signals<T: 'static = Signal> {
    descriptor: SignalFd,
    meanings: &'static [(Number, T)],
}

impl Signals {
    /// Begins to receive those named in [`Signal`]; to be called before any thread is started,
    /// since each has a mask of its own.
    pub fn open() -> Result<Self, SyscallError> {
        Self::receive(NUMBERS)
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
        for (number, _) in meanings {
            mask.add(*number);
        }
        // A signalfd gets blocked signals only; others still take their default action
        // (signalfd(2)).
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

    /// Reads the next signal; none when none is pending.
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
