//! Gives up the privileges of a process that is to parse what the network sends.
//!
//! [`confine`] takes all of it at once: another user, no capabilities, no way to new privileges, no
//! core and no tracing, limits, no files (Landlock) and few system calls (seccomp). Whatever this
//! kernel, or who started the program, does not allow is returned by name, and the rest holds.

mod calls;
mod landlock;
mod privileges;
mod seccomp;

use std::time::Duration;

use super::error::SyscallError;

pub use privileges::CAP_NET_BIND_SERVICE;
pub use privileges::{CAP_FILES, CAP_NET_ADMIN, CAP_NET_RAW, CAP_OWNERS};
pub use seccomp::{Calls, OnViolation};

/// Privileges that a process keeps.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// The user and group it becomes, where it is privileged.
    pub user: u32,
    /// The capabilities it keeps, as bits.
    pub capabilities: u64,
    /// The system calls it needs.
    pub calls: Calls,
    /// What happens at any other system call.
    pub on_violation: OnViolation,
    /// Whether it is killed when the thread that has forked it ends.
    pub ends_with_thread: bool,
    /// Processor time after which it is killed; none is without limit.
    pub processor_time: Option<Duration>,
    /// The longest file it may write, in bytes.
    pub file_len: u64,
}

/// Gives up everything that `profile` does not name, for ever; returns what could not be given up,
/// and why. To be called while the process has one thread.
pub fn confine(profile: &Profile) -> Vec<SyscallError> {
    let mut missing = privileges::give_up(
        Some(profile.user),
        profile.capabilities,
        profile.ends_with_thread,
        profile.processor_time,
        profile.file_len,
    );
    // One that makes files has a root of its own.
    if profile.calls != Calls::Files {
        missing.extend(landlock::no_path().err());
    }
    // Last, since the calls of the others are not among those allowed.
    missing.extend(seccomp::filter(profile.calls, profile.on_violation).err());
    missing
}

/// Keeps these capabilities alone and stays the user that it is; returns what could not be given up. To be
/// called while the process has one thread.
pub fn keep_only(capabilities: u64) -> Vec<SyscallError> {
    privileges::give_up(None, capabilities, false, None, u64::MAX)
}

/// Gives up what no command needs, for ever: new privileges by programs that would be executed, core
/// files and tracing, files longer than `file_len` bytes, and more than a few thousand descriptors.
/// Returns what could not be given up, and why. To be called before another thread is started.
pub fn harden(file_len: u64) -> Vec<SyscallError> {
    privileges::harden(file_len)
}

/// Makes `folder` the root of this process, for ever once it has no `CAP_SYS_CHROOT`.
///
/// # Errors
/// `chdir` and `chroot`.
pub fn enter(folder: &str) -> Result<(), SyscallError> {
    let failed = |call| move |errno| SyscallError::new(call, errno);
    nix::unistd::chdir(folder).map_err(failed("chdir"))?;
    nix::unistd::chroot(".").map_err(failed("chroot"))
}

#[cfg(test)]
mod tests;
