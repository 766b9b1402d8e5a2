//! What the first process owes to all others: whoever loses its parent becomes its child, and a child
//! that has ended stays until it is reaped; and it alone ends the machine in good order.

use std::os::fd::AsFd;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::sys::machine::{self, PowerAction};
use crate::sys::process::{self, Children};
use crate::sys::signal::{Order, Signals};
use crate::sys::{self, SyscallError};
use wireboot_proto::time::Instant;

/// How long others may take to end before they are killed.
const TIME_TO_END: Duration = Duration::from_secs(1);
/// How often children are looked after where nothing tells of their end.
const UNTOLD: Duration = Duration::from_millis(200);

/// The first process, as it looks after the others.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// None on a kernel that has no descriptors for signals.
    signals: Option<Signals<Order>>,
}

impl Supervisor {
    /// Begins to receive signals, that of Ctrl-Alt-Del among them; to be called before any thread is
    /// started.
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

    /// Runs a program to its end; returns how that was, in words.
    ///
    /// # Errors
    /// How the machine is to end, if that is said in the meantime; the program still runs then.
    pub(super) fn run(&self, command: &mut Command) -> Result<String, PowerAction> {
        let child = match process::spawn(command) {
            Ok(child) => child.id(),
            Err(error) => return Ok(format!("no process for it: {error}")),
        };
        loop {
            match process::reap() {
                Children::Ended { pid, end } if pid == child => return Ok(end),
                Children::Ended { .. } => {}
                Children::Running => self.wait(None)?,
                Children::None => return Ok("it is gone".to_owned()),
            }
        }
    }

    /// Waits for `time`.
    ///
    /// # Errors
    /// How the machine is to end, if that is said in the meantime.
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

    /// Ends the machine, once all others have ended or had their time to; returns only to say why the
    /// kernel does not do it.
    pub(super) fn end(&self, how: PowerAction) -> SyscallError {
        log::info!("{how}");
        process::ask_all_to_end();
        let until = sys::now() + TIME_TO_END;
        while sys::now() < until {
            match process::reap() {
                Children::Ended { .. } => {}
                // Whatever else it is told, it is ending.
                Children::Running => drop(self.wait(Some(until))),
                Children::None => break,
            }
        }
        process::kill_all();
        match machine::end(how) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Waits until a child ends, or until `until`.
    fn wait(&self, until: Option<Instant>) -> Result<(), PowerAction> {
        let Some(signals) = &self.signals else {
            sleep(UNTOLD);
            return Ok(());
        };
        let order = sys::wait_readable(&[signals.as_fd()], until).and_then(|_| signals.take());
        match order {
            Ok(Some(Order::End(end))) => {
                log::info!("there is a signal to end");
                Err(end)
            }
            Ok(Some(Order::Reap) | None) => Ok(()),
            Err(error) => {
                log::warn!("{}", error.chain());
                sleep(UNTOLD);
                Ok(())
            }
        }
    }
}
