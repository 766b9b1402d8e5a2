//! The processes below this one.

#![allow(
    unsafe_code,
    reason = "what runs between fork and exec must be safe there, which only its author can say"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Every process that may be signalled but this one.
// kill(2): on Linux -1 leaves out process 1 and the caller.
const ALL_OTHERS: Pid = Pid::from_raw(-1);

/// Starts a program that no signal is kept from, whichever this thread receives as
/// [`super::signal::Signals`] does: a mask is inherited.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let unblock = || SigSet::empty().thread_set_mask().map_err(io::Error::from);
    // SAFETY: it makes one system call with a value of its own, and neither allocates nor locks.
    let command = unsafe { command.pre_exec(unblock) };
    command.spawn()
}

/// What a look at the children has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Children {
    /// One has ended, and is no more.
    Ended {
        /// Its id.
        pid: u32,
        /// How it ended, in words.
        end: String,
    },
    /// All of them run.
    Running,
    /// There are none.
    None,
}

/// Takes leave of a child that has ended, whichever; does not wait.
pub fn reap() -> Children {
    loop {
        // ECHILD is the one error that can be.
        let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) else {
            return Children::None;
        };
        let Some(pid) = status.pid() else {
            return Children::Running;
        };
        let end = if let WaitStatus::Exited(_, code) = status {
            format!("exit code {code}")
        } else if let WaitStatus::Signaled(_, signal, _) = status {
            format!("ended by {signal}")
        } else {
            continue;
        };
        let pid = pid.as_raw().unsigned_abs();
        return Children::Ended { pid, end };
    }
}

/// Kills the process group that the child `leader`, not yet waited for, is the first of. Nothing is
/// left to do when it has ended.
pub fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// Asks every other process of the machine to end. That there is none is no error.
pub fn ask_all_to_end() {
    let _ = kill(ALL_OTHERS, Signal::SIGTERM);
}

/// Ends every other process of the machine.
pub fn kill_all() {
    let _ = kill(ALL_OTHERS, Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::super::signal::Signals;
    use super::*;

    #[test]
    fn what_is_started_is_not_kept_from_its_signals() {
        let child = std::thread::spawn(|| {
            let _signals = Signals::open().unwrap();
            let mut command = Command::new("grep");
            command.args(["SigBlk", "/proc/self/status"]);
            spawn(command.stdout(Stdio::piped())).unwrap()
        });
        let output = child.join().unwrap().wait_with_output().unwrap();
        let blocked = String::from_utf8(output.stdout).unwrap();
        assert_eq!(blocked, "SigBlk:\t0000000000000000\n");
    }
}
