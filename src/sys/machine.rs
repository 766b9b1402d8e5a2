//! The machine as a whole: file systems, name, restart, power.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt;

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

/// Returns what is where in the machine's physical memory, in the form of `/proc/iomem`.
///
/// # Errors
/// ENOENT without `/proc`.
pub fn memory_map() -> std::io::Result<String> {
    std::fs::read_to_string("/proc/iomem")
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

/// How a machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It starts anew.
    Restart,
    /// It is switched off.
    PowerOff,
    /// It stands still, with the current on.
    Halt,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => "the machine restarts",
            Self::PowerOff => "the machine is switched off",
            Self::Halt => "the machine is halted",
        })
    }
}

/// Ends the machine at once, after everything has been written to disk.
///
/// # Errors
/// `reboot`: EPERM.
pub fn end(how: End) -> Result<Infallible, SyscallError> {
    let (mode, call) = match how {
        End::Restart => (RebootMode::RB_AUTOBOOT, "reboot(RESTART)"),
        End::PowerOff => (RebootMode::RB_POWER_OFF, "reboot(POWER_OFF)"),
        End::Halt => (RebootMode::RB_HALT_SYSTEM, "reboot(HALT)"),
    };
    nix::unistd::sync();
    nix::sys::reboot::reboot(mode).map_err(|errno| SyscallError::new(call, errno))
}

/// Has the kernel send SIGINT to process 1 for Ctrl-Alt-Del, in place of a restart without warning.
///
/// # Errors
/// `reboot`: EPERM.
pub fn claim_ctrl_alt_del() -> Result<(), SyscallError> {
    nix::sys::reboot::set_cad_enabled(false)
        .map_err(|errno| SyscallError::new("reboot(CAD_OFF)", errno))
}
