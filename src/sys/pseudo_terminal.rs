//! A pseudo-terminal (pty(7)). The C library's `openpty` makes the name of the slave by `snprintf`, whose
//! code takes 9 KiB.

#![allow(unsafe_code, reason = "the calls about its slave have no wrapper")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::error::SyscallError;

/// Opens the two ends: the master, which programs it is a terminal for do not inherit, and the slave.
///
/// # Errors
/// `open(/dev/pts/ptmx)`: ENOENT where no devpts is mounted there; `ioctl(TIOCGPTPEER)`: EINVAL before
/// Linux 4.13.
pub fn pair() -> Result<(OwnedFd, OwnedFd), SyscallError> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master = open("/dev/pts/ptmx", flags | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| SyscallError::new("open(/dev/pts/ptmx)", errno))?;
    let is_locked: libc::c_int = 0;
    // SAFETY: the call reads an int, and the descriptor is open.
    let unlocked =
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const is_locked) };
    if unlocked < 0 {
        return Err(SyscallError::last("ioctl(TIOCSPTLCK)"));
    }
    // SAFETY: the call takes a number, and the descriptor is open.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) };
    if slave < 0 {
        return Err(SyscallError::last("ioctl(TIOCGPTPEER)"));
    }
    // SAFETY: the kernel has just opened it for this process, and nothing else has it.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    Ok((master, slave))
}
