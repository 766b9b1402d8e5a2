//! Landlock (Linux 5.13): a process without any path, whatever descriptors of folders it may get.

#![allow(
    unsafe_code,
    reason = "the C library has no wrapper for the calls of Landlock"
)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::error::SyscallError;

/// The call's numbers, the same on all processors; the libc crate lacks some of them for musl.
const CREATE_RULESET: libc::c_long = 444;
const RESTRICT_SELF: libc::c_long = 446;
/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: libc::c_uint = 1;

/// The rights that each version handles (`LANDLOCK_ACCESS_FS_*`): the first has 13, the second the change
/// of folders, the third truncation, the fifth ioctl on devices.
const RIGHTS: [(libc::c_long, u64); 4] = [(5, 16), (3, 15), (2, 14), (1, 13)];

/// Forbids to open, make, rename and remove anything by its path. What is open stays usable.
///
/// # Errors
/// ENOSYS and EOPNOTSUPP: this kernel does not have it, or it is not switched on.
pub(super) fn no_path() -> Result<(), SyscallError> {
    let failed = |errno| SyscallError::new("landlock_create_ruleset", errno);
    // SAFETY: with this flag the call takes no structure.
    let version = unsafe { libc::syscall(CREATE_RULESET, 0_usize, 0_usize, VERSION) };
    let version = Errno::result(version).map_err(failed)?;
    let rights = RIGHTS.iter().find(|(since, _)| version >= *since);
    let handled: u64 = rights.map_or(0, |(_, count)| (1 << count) - 1);
    let len = size_of_val(&handled);
    // SAFETY: the structure of the first version is this one number, which lives through the call.
    let ruleset = unsafe { libc::syscall(CREATE_RULESET, &raw const handled, len, 0) };
    let ruleset = Errno::result(ruleset).map_err(failed)?;
    let ruleset = i32::try_from(ruleset).map_err(|_| failed(Errno::EBADF))?;
    // SAFETY: the kernel has just opened it, for this caller alone.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    // SAFETY: it takes numbers alone.
    let result = unsafe { libc::syscall(RESTRICT_SELF, ruleset.as_raw_fd(), 0) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SyscallError::new("landlock_restrict_self", errno))
}
