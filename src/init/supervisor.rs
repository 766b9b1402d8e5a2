//! The duties of process 1: it reaps its children, orphans among them, and shuts the machine down.

use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use crate::sys::exec::Program;
use crate::sys::machine::{self, PowerAction};
use crate::sys::process::{self, Children};
use crate::sys::signal::{Order, Signals};
use crate::sys::{self, SyscallError};
use wireboot_proto::time::Instant;

/// Time between SIGTERM and SIGKILL for all other processes.
// As busybox's init waits between the two signals.
const TIME_TO_END: Duration = Duration::from_secs(1);
/// Interval of polling for children where there is no signalfd.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Process 1 as the parent of all others.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// None on a kernel without signalfd.
    signals: Option<Signals<Order>>,
}

impl Supervisor {
    /// Begins to receive signals, that of Ctrl-Alt-Del among them. Must be called before any thread is
    /// started, since each has a signal mask of its own.
    pub(super) fn begin() -> Self {
        let signals = Signals::of_first_process();
        let claimed = machine::claim_ctrl_alt_del();
        let errors = [signals.as_ref().err(), claimed.as_ref().err()];
        for error in errors.into_iter().flatten() {
            log::warn!("{}", error.chain());
        }
        Self {
            signals: signals.ok(),
        }
    }

    /// Runs a program until it exits; returns its exit status as text.
    ///
    /// # Errors
    /// How the machine ends, if a signal requests that; the program is still running then.
    pub(super) fn run(&self, program: &Program) -> Result<String, PowerAction> {
        let child = match program.start() {
            Ok(child) => child.release(),
            Err(error) => return Ok(error.chain()),
        };
        loop {
            match process::reap() {
                Children::Ended { pid, end } if Some(pid) == child => return Ok(end),
                // One SIGCHLD may be for several children (signal(7)): all are reaped before the
                // next wait.
                Children::Ended { .. } => {}
                Children::Running => self.wait(None)?,
                Children::None => return Ok("exit status unknown".to_owned()),
            }
        }
    }

    /// Waits for `time`.
    ///
    /// # Errors
    /// How the machine ends, if a signal requests that.
    pub(super) fn pause(&self, time: Duration) -> Result<(), PowerAction> {
        let until = sys::now() + time;
        while sys::now() < until {
            match process::reap() {
                Children::Ended { .. } => {}
                Children::Running | Children::None => self.wait(Some(until))?,
            }
        }
        Ok(())
    }

    /// Ends the machine after all other processes have exited or a timeout; returns only if the kernel
    /// refuses, with its error.
    pub(super) fn end(&self, how: PowerAction) -> SyscallError {
        log::info!("{how}");
        process::terminate_all();
        let until = sys::now() + TIME_TO_END;
        while sys::now() < until {
            match process::reap() {
                Children::Ended { .. } => {}
                // A second signal changes nothing.
                Children::Running => drop(self.wait(Some(until))),
                Children::None => break,
            }
        }
        // A process that ignores SIGTERM would write during the last sync.
        process::kill_all();
        match machine::end(how) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Waits until a child ends, or until `until`.
    fn wait(&self, until: Option<Instant>) -> Result<(), PowerAction> {
        let Some(signals) = &self.signals else {
            // Without the descriptor of signals there is only time to wait for.
            sleep(POLL_INTERVAL);
            return Ok(());
        };
        let order = sys::wait_readable(&[signals.as_fd()], until).and_then(|_| signals.take());
        match order {
            Ok(Some(Order::End(end))) => {
                log::info!("received a signal to end the machine");
                Err(end)
            }
            Ok(Some(Order::Reap) | None) => Ok(()),
            Err(error) => {
                log::warn!("{}", error.chain());
                // Or the same error would be logged without a pause.
                sleep(POLL_INTERVAL);
                Ok(())
            }
        }
    }
}
