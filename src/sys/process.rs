//! The processes below this one.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

use super::SyscallError;

/// Waits for any child to end; returns its id and how it ended, in words.
///
/// # Errors
/// `wait`: ECHILD when there is none.
pub fn reap() -> Result<(u32, String), SyscallError> {
    loop {
        let status = match wait() {
            Err(Errno::EINTR) => continue,
            status => status.map_err(|errno| SyscallError::new("wait", errno))?,
        };
        let end = if let WaitStatus::Exited(_, code) = status {
            format!("exit code {code}")
        } else if let WaitStatus::Signaled(_, signal, _) = status {
            format!("ended by {signal}")
        } else {
            continue;
        };
        if let Some(pid) = status.pid() {
            return Ok((pid.as_raw().unsigned_abs(), end));
        }
    }
}

/// Kills the process group that the child `leader`, not yet waited for, is the first of. Nothing is
/// left to do when it has ended.
pub fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}
