//! Child processes.

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

/// All processes that this one may signal.
// kill(2): on Linux -1 leaves out process 1 and the caller.
const ALL_OTHERS: Pid = Pid::from_raw(-1);

/// Starts a program with an empty signal mask: otherwise it inherits that of this thread, which blocks
/// the signals of [`super::signal::Signals`].
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let unblock = || SigSet::empty().thread_set_mask().map_err(io::Error::from);
    // SAFETY: it makes one system call with a value of its own, and neither allocates nor locks.
    let command = unsafe { command.pre_exec(unblock) };
    command.spawn()
}

/// The state of the children.
#[derive(Debug, PartialEq, Eq)]
pub enum Children {
    /// One has ended and was reaped.
    Ended {
        /// Its id.
        pid: u32,
        /// Its exit status as text.
        end: String,
    },
    /// All of them are running.
    Running,
    /// There are none.
    None,
}

/// Reaps a child that has ended, if there is one; does not wait.
pub fn reap() -> Children {
    loop {
        // ECHILD is the only possible error.
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

/// Kills the process group of the child `leader`, which has not been reaped. No error if it has ended.
pub fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// Sends SIGTERM to all other processes. No error if there are none.
pub fn terminate_all() {
    let _ = kill(ALL_OTHERS, Signal::SIGTERM);
}

/// Sends SIGKILL to all other processes.
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
