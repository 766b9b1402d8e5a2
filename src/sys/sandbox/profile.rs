//! What a process keeps.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::seccomp::{Calls, OnViolation};

/// What a process may still do.
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
