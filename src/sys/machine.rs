//! The machine as a whole: file systems, name, restart, power.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::reboot::RebootMode;
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::SyscallError;

/// Mounts one of the kernel's own file systems; one that is mounted there already is no error.
///
/// # Errors
/// `mount`: ENODEV when the kernel does not have it, ENOENT without the directory, EPERM.
pub fn mount(kind: &str, target: &str, options: &str) -> Result<(), SyscallError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    match nix::mount::mount(Some(kind), target, Some(kind), flags, Some(options)) {
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(errno) => Err(SyscallError::new("mount", errno)),
    }
}

/// Makes the console the standard input, output and error of this process.
///
/// # Errors
/// `open`: ENOENT without /dev, ENODEV when the kernel was given no console.
pub fn open_console() -> Result<(), SyscallError> {
    let console = nix::fcntl::open("/dev/console", OFlag::O_RDWR, Mode::empty())
        .map_err(|errno| SyscallError::new("open(/dev/console)", errno))?;
    for result in [
        dup2_stdin(&console),
        dup2_stdout(&console),
        dup2_stderr(&console),
    ] {
        result.map_err(|errno| SyscallError::new("dup2", errno))?;
    }
    Ok(())
}

/// Sets the machine's name; up to 64 octets.
///
/// # Errors
/// `sethostname`: EINVAL when it is too long, EPERM.
pub fn set_host_name(name: &str) -> Result<(), SyscallError> {
    nix::unistd::sethostname(name).map_err(|errno| SyscallError::new("sethostname", errno))
}

/// Returns the octets of memory that can be had without swapping; none when the kernel does not
/// say.
pub fn available_memory() -> Option<u64> {
    memory("MemAvailable:")
}

/// Returns how much memory the kernel has in all, in octets.
pub fn total_memory() -> Option<u64> {
    memory("MemTotal:")
}

fn memory(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Restarts the machine at once, after everything has been written to disk.
///
/// # Errors
/// `reboot`: EPERM.
pub fn restart() -> Result<Infallible, SyscallError> {
    end(RebootMode::RB_AUTOBOOT, "reboot(RESTART)")
}

/// Switches the machine off at once, after everything has been written to disk.
///
/// # Errors
/// `reboot`: EPERM.
pub fn power_off() -> Result<Infallible, SyscallError> {
    end(RebootMode::RB_POWER_OFF, "reboot(POWER_OFF)")
}

fn end(mode: RebootMode, call: &'static str) -> Result<Infallible, SyscallError> {
    nix::unistd::sync();
    nix::sys::reboot::reboot(mode).map_err(|errno| SyscallError::new(call, errno))
}
