//! Every console at once: what process 1 and its children write appears on each that is active, and whatever
//! is typed at one of them is read.
//!
//! /dev/console is the last of them alone. So where there are several, standard input and output become a
//! pseudo-terminal, and a thread passes on what is written to it and what is typed.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::sys::{self, SyscallError, machine, pseudo_terminal};

/// The names of the consoles that messages of the kernel go to.
const ACTIVE: &str = "/sys/class/tty/console/active";
/// How long a console that takes nothing is waited for, such as a serial one under flow control.
const PATIENCE: Duration = Duration::from_secs(1);

/// The consoles, as long as they are joined.
#[derive(Debug)]
pub(super) struct Consoles {
    /// Each with its settings before.
    before: Vec<(Arc<File>, Termios)>,
    has_ended: Arc<AtomicBool>,
}

impl Consoles {
    /// Joins the active consoles, if there are several.
    ///
    /// # Errors
    /// A call for the pseudo-terminal: then there is /dev/console alone.
    pub(super) fn join() -> Result<Option<Self>, SyscallError> {
        let consoles: Vec<_> = active().collect();
        if consoles.len() < 2 {
            return Ok(None);
        }
        let failed = |call| move |errno| SyscallError::new(call, errno);
        // It may be there; if it cannot be made, the mount says so.
        let _ = fs::create_dir("/dev/pts");
        machine::mount("devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666")?;
        let (master, slave) = pseudo_terminal::pair()?;
        let has_ended = Arc::new(AtomicBool::new(false));
        let mut before = Vec::new();
        let mut relays = Vec::new();
        for (console, settings) in consoles {
            let mut raw = settings.clone();
            // The pseudo-terminal has the line discipline.
            cfmakeraw(&mut raw);
            tcsetattr(&console, SetArg::TCSADRAIN, &raw).map_err(failed("tcsetattr"))?;
            let console = Arc::new(console);
            relays.push(Relay {
                console: Arc::clone(&console),
                is_stuck: false,
                is_read: true,
            });
            before.push((console, settings));
        }
        machine::use_terminal(&slave)?;
        let (master, ended) = (File::from(master), Arc::clone(&has_ended));
        thread::spawn(move || pass_on(&master, &mut relays, &ended));
        Ok(Some(Self { before, has_ended }))
    }

    /// Makes /dev/console the standard input and output again, for a program that becomes process 1.
    pub(super) fn part(self) {
        // Relaxed: nothing else is handed over by it.
        self.has_ended.store(true, Ordering::Relaxed);
        for (console, settings) in &self.before {
            // One that has hung up has no settings any more.
            let _ = tcsetattr(console, SetArg::TCSADRAIN, settings);
        }
        if let Err(error) = machine::open_console() {
            log::warn!("{}", error.chain());
        }
    }
}

/// Returns the active consoles that are terminals, each with its settings.
fn active() -> impl Iterator<Item = (File, Termios)> {
    let names = fs::read_to_string(ACTIVE).unwrap_or_default();
    let names: Vec<_> = names.split_whitespace().map(str::to_owned).collect();
    names.into_iter().filter_map(|name| {
        let mut options = File::options();
        options.read(true).write(true);
        // Without these a serial line waits for its carrier, and becomes the controlling terminal.
        options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
        let console = options.open(format!("/dev/{name}")).ok()?;
        let settings = tcgetattr(&console).ok()?;
        Some((console, settings))
    })
}

/// A console that is passed on to and from.
struct Relay {
    console: Arc<File>,
    /// It took nothing for a while, and is not waited for until it does.
    is_stuck: bool,
    is_read: bool,
}

impl Relay {
    fn write(&mut self, mut bytes: &[u8]) {
        let patience = if self.is_stuck {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let deadline = sys::now() + patience;
        while !bytes.is_empty() {
            match (&*self.console).write(bytes) {
                Ok(len @ 1..) => bytes = bytes.get(len..).unwrap_or_default(),
                Ok(0) | Err(_) if sys::now() >= deadline => break,
                Ok(_) | Err(_) => {
                    let mut polled = [PollFd::new(self.console.as_fd(), PollFlags::POLLOUT)];
                    if sys::wait_for(&mut polled, Some(deadline)).is_err() {
                        break;
                    }
                }
            }
        }
        self.is_stuck = !bytes.is_empty();
    }
}

/// Passes on what is written to the pseudo-terminal and what is typed at the consoles, until `has_ended`.
fn pass_on(mut master: &File, relays: &mut [Relay], has_ended: &AtomicBool) {
    let mut bytes = [0; 4096];
    loop {
        let mut sources = vec![master.as_fd()];
        let read = relays.iter().filter(|relay| relay.is_read);
        sources.extend(read.map(|relay| relay.console.as_fd()));
        let readable = sys::wait_readable(&sources, None);
        let (Ok(readable), false) = (readable, has_ended.load(Ordering::Relaxed)) else {
            return;
        };
        let [is_written, typed @ ..] = &readable[..] else {
            return;
        };
        if *is_written && let Ok(len) = master.read(&mut bytes) {
            let bytes = bytes.get(..len).unwrap_or_default();
            relays.iter_mut().for_each(|relay| relay.write(bytes));
        }
        let read = relays.iter_mut().filter(|relay| relay.is_read);
        for (relay, _) in read.zip(typed).filter(|(_, is_typed)| **is_typed) {
            match (&*relay.console).read(&mut bytes) {
                Ok(len @ 1..) => {
                    let _ = master.write_all(bytes.get(..len).unwrap_or_default());
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // It has hung up, and would be readable for ever.
                Ok(_) | Err(_) => relay.is_read = false,
            }
        }
    }
}
