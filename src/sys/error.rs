//! The error of a system call.

#![forbid(unsafe_code)]

use std::io;
use std::ops::Deref;

use nix::errno::Errno;

/// A system call that failed, by name.
// In a box, as `crate::error::Error`: most calls do not fail.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SyscallError(Box<FailedCall>);

/// A call, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} failed{said}")]
pub struct FailedCall {
    /// The call, with the option or message it was for: `setsockopt(PACKET_VERSION)`.
    pub call: &'static str,
    /// What the kernel says of it beside the error number, in parentheses; or empty.
    said: String,
    /// The kernel's error.
    pub source: io::Error,
}

impl Deref for SyscallError {
    type Target = FailedCall;

    fn deref(&self) -> &FailedCall {
        &self.0
    }
}

impl SyscallError {
    /// Creates the error of a call that failed with `source`.
    pub fn of(call: &'static str, source: io::Error) -> Self {
        let said = String::new();
        Self(Box::new(FailedCall { call, said, source }))
    }

    /// Creates the error of a call of which the kernel says `text` beside the error number.
    pub fn explained(call: &'static str, source: io::Error, text: &str) -> Self {
        let said = format!(" ({text})");
        Self(Box::new(FailedCall { call, said, source }))
    }

    /// Creates the error of a call that returned `errno`.
    pub fn new(call: &'static str, errno: Errno) -> Self {
        Self::of(call, errno.into())
    }

    /// Returns the kernel's error.
    pub fn into_source(self) -> io::Error {
        self.0.source
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
        Self::of(call, io::Error::last_os_error())
    }
}
