//! The error of a system call.

#![forbid(unsafe_code)]

use std::io;

use nix::errno::Errno;

/// A system call that failed, by name.
#[derive(Debug, thiserror::Error)]
#[error("{call} failed")]
pub struct SyscallError {
    /// The call, with the option or message it was for: `setsockopt(PACKET_VERSION)`.
    pub call: &'static str,
    /// The kernel's error.
    pub source: io::Error,
}

impl SyscallError {
    /// Creates the error of a call that returned `errno`.
    pub fn new(call: &'static str, errno: Errno) -> Self {
        Self {
            call,
            source: errno.into(),
        }
    }

    /// Returns whether this is the kernel's error number.
    pub fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno as i32)
    }

    /// Returns the text with its cause, in one line.
    pub fn chain(&self) -> String {
        format!("{self}: {}", self.source)
    }

    /// Creates the error of the call that just failed, from `errno`.
    pub fn last(call: &'static str) -> Self {
        Self {
            call,
            source: io::Error::last_os_error(),
        }
    }
}
