//! Descriptors that this process was started with, by the paths that the kernel has for them or by
//! their numbers.

#![allow(
    unsafe_code,
    reason = "a descriptor that a user names by its number has no owner in this program"
)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

/// Returns the number of columns of the terminal that standard output is; that of COLUMNS where it is
/// none; none if neither says.
#[cfg(any(feature = "discover", feature = "hand"))]
pub fn columns() -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel writes one winsize, which lives until the call returns.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    // A serial line does not know its size, which is 0 then.
    if result == 0 && size.ws_col > 0 {
        return Some(size.ws_col.into());
    }
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Returns the descriptor that `path` names, such as `/dev/stdout` or `/dev/fd/3`; none where it
/// names something else.
///
/// It is duplicated, so it writes where the one who opened it is, at the end where that is how it
/// was opened. To open the path would begin a file anew (proc_pid_fd(5)), or fail for a socket.
///
/// # Errors
/// EBADF when there is no such descriptor.
pub fn of_path(path: &Path) -> io::Result<Option<File>> {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.parse::<u16>().ok());
    let Some((number, directory)) = number.zip(path.parent()) else {
        return Ok(None);
    };
    let process = format!("/proc/{}", std::process::id());
    let is_own = fs::canonicalize(directory)
        .is_ok_and(|directory| directory.starts_with(process) && directory.ends_with("fd"));
    if !is_own {
        return Ok(None);
    }
    // SAFETY: the call takes numbers only, and fails for one that is no descriptor.
    let copy = unsafe { libc::fcntl(number.into(), libc::F_DUPFD_CLOEXEC, 3) };
    let copy = Errno::result(copy)?;
    // SAFETY: the kernel has just returned it, so nobody else has it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    Ok(Some(copy.into()))
}
