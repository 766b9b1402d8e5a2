//! The machine as a whole: file systems, name, random numbers, restart, power.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::reboot::RebootMode;
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, dup2_stderr, dup2_stdin, dup2_stdout, sysconf};

use super::control_group;
use super::error::SyscallError;
use wireboot_proto::worker::Room;

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
    // The kernel does it before /init only if the archive has that node (console_on_rootfs).
    let console = nix::fcntl::open("/dev/console", OFlag::O_RDWR, Mode::empty())
        .map_err(|errno| SyscallError::new("open(/dev/console)", errno))?;
    use_terminal(&console)
}

/// Makes a terminal the standard input, output and error of this process.
///
/// # Errors
/// `dup2`: EMFILE.
pub fn use_terminal(terminal: &OwnedFd) -> Result<(), SyscallError> {
    for result in [
        dup2_stdin(terminal),
        dup2_stdout(terminal),
        dup2_stderr(terminal),
    ] {
        result.map_err(|errno| SyscallError::new("dup2", errno))?;
    }
    Ok(())
}

/// Sets the machine's name; up to 64 bytes.
///
/// # Errors
/// `sethostname`: EINVAL when it is too long, EPERM.
pub fn set_host_name(name: &str) -> Result<(), SyscallError> {
    nix::unistd::sethostname(name).map_err(|errno| SyscallError::new("sethostname", errno))
}

/// Returns the machine's name; empty if the kernel does not say.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname();
    let name = name.ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_default()
}

/// Returns 64 random bits, from the kernel's generator even before it is fully seeded: good for
/// jitter and transaction numbers, not for keys.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // getrandom with GRND_INSECURE: plain getrandom held the first DISCOVER back by 1 to 4 s in an
    // emulator.
    RandomState::new().hash_one(0)
}

/// Fills `buf` with random bytes, good for keys too.
///
/// # Errors
/// EAGAIN until the kernel's generator is fully seeded, and ENOENT without `/dev`.
pub fn random(buf: &mut [u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    // Without it the read waits for the kernel's seeding, which takes seconds on a machine just
    // started.
    let generator = options.read(true).custom_flags(libc::O_NONBLOCK);
    generator.open("/dev/random")?.read_exact(buf)
}

/// Returns the memory available without swapping, in bytes, in the machine and in the control groups of
/// this process; none if the kernel does not report it.
pub fn available_memory() -> Option<u64> {
    let of_machine = memory("MemAvailable:");
    if cfg!(feature = "sandbox") {
        of_machine
            .into_iter()
            .chain(control_group::available())
            .min()
    } else {
        of_machine
    }
}

/// A limit for files that grow in memory, so that some memory stays free: without any the kernel's
/// OOM killer ends processes, in an initramfs process 1, which is a kernel panic.
#[derive(Debug)]
pub struct MemoryGuard {
    available: fn() -> Option<u64>,
    /// Bytes written since available memory was read.
    unseen: AtomicU64,
}

impl MemoryGuard {
    /// Reading /proc/meminfo takes some 20 µs, a hundredth of the time that writing a step takes.
    const STEP: u64 = 4 << 20;
    /// Memory that stays free: one step for each of the files that are fetched at a time.
    const RESERVE: u64 = 16 << 20;

    /// Creates a limit; `available` returns the available memory, as [`available_memory`] does.
    pub const fn new(available: fn() -> Option<u64>) -> Self {
        Self {
            available,
            unseen: AtomicU64::new(0),
        }
    }

    /// Checks that `file` may grow to `len` bytes, with `room` for what is made of it; small files always
    /// may.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] with both figures.
    pub fn reserve(&self, file: &File, len: u64, room: Room) -> io::Result<()> {
        let all = room.with(len);
        let missing = all.saturating_sub(allocated(file)?);
        match (self.available)() {
            Some(available)
                if available.saturating_sub(Self::RESERVE) < missing.saturating_sub(Self::STEP) =>
            {
                let needed = format!("it needs {}", mib(all));
                if room.copies == 0 {
                    return Err(out_of_memory(&needed, available, ""));
                }
                let needed = format!("with the copies that are made of it, {needed}");
                Err(out_of_memory(&needed, available, ROOT_ADVICE))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that `file` may grow by `len` more bytes, if its final length is unknown.
    ///
    /// # Errors
    /// As [`MemoryGuard::reserve`].
    pub fn grow(&self, file: &File, len: usize) -> io::Result<()> {
        // Relaxed: where two threads race both read the memory, which costs 20 µs.
        let unseen = self.unseen.fetch_add(len as u64, Ordering::Relaxed);
        if unseen.saturating_add(len as u64) < Self::STEP {
            return Ok(());
        }
        self.unseen.store(0, Ordering::Relaxed);
        match (self.available)() {
            Some(available) if available < Self::RESERVE => {
                let needed = format!("it needs more than {}", mib(allocated(file)?));
                Err(out_of_memory(&needed, available, ""))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What takes less memory.
const ROOT_ADVICE: &str = "; a system takes less as a root that is mounted (wireboot.root=) and not packed than as an initrd";

fn out_of_memory(needed: &str, available: u64, advice: &str) -> io::Error {
    let (available, kept) = (mib(available), mib(MemoryGuard::RESERVE));
    let why = format!("{needed} of memory; {available} available, and {kept} stay free{advice}");
    io::Error::new(io::ErrorKind::OutOfMemory, why)
}

fn mib(len: u64) -> String {
    format!("{} MiB", len.div_ceil(1 << 20))
}

/// Returns the storage that `file` occupies, in bytes; a file may be written in parts.
pub fn allocated(file: &File) -> io::Result<u64> {
    // st_blocks counts 512 bytes, whatever the file system's block size (stat(2)).
    Ok(file.metadata()?.blocks() * 512)
}

/// Returns the map of physical memory, in the form of `/proc/iomem`.
///
/// # Errors
/// ENOENT without `/proc`.
pub fn memory_map() -> std::io::Result<String> {
    std::fs::read_to_string("/proc/iomem")
}

/// Returns the number of processors online; 1 if the kernel does not say.
pub fn processors() -> usize {
    // Not available_parallelism of the standard library, which reads limits of control groups too.
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN);
    let online = online.ok().flatten().unwrap_or(1);
    usize::try_from(online).unwrap_or(1)
}

/// Returns the total memory, in bytes.
pub fn total_memory() -> Option<u64> {
    memory("MemTotal:")
}

/// The kernel's report on memory, for a process that is to read it without opening it.
static MEMORY_REPORT: OnceLock<Option<File>> = OnceLock::new();

/// Opens the kernel's reports on memory, for this process and those forked from it, and returns their
/// descriptors.
pub fn open_memory_reports() -> Vec<RawFd> {
    let of_machine = memory_report().map(File::as_raw_fd);
    of_machine
        .into_iter()
        .chain(control_group::descriptors())
        .collect()
}

/// None without `/proc`.
fn memory_report() -> Option<&'static File> {
    let open = || File::open("/proc/meminfo").ok();
    MEMORY_REPORT.get_or_init(open).as_ref()
}

/// Returns the first two numbers of the kernel's version.
pub fn kernel_release() -> (u32, u32) {
    let name = nix::sys::utsname::uname();
    let release = name.as_ref().ok().and_then(|name| name.release().to_str());
    let mut numbers = release
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    // What is not known counts as the oldest.
    (next().unwrap_or(0), next().unwrap_or(0))
}

fn memory(field: &str) -> Option<u64> {
    // All that is used stands at its beginning, and each read from there is a new report.
    let mut report = [0; 512];
    let file = memory_report()?;
    let len = file.read_at(&mut report, 0).ok()?;
    let text = std::str::from_utf8(report.get(..len)?).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    // Its unit kB is 1024 bytes (proc_meminfo(5)).
    Some(kib << 10)
}

/// The final action of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAction {
    /// Reboot.
    Restart,
    /// Power off.
    PowerOff,
    /// Halt, with the power on.
    Halt,
}

impl fmt::Display for PowerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => "the machine restarts",
            Self::PowerOff => "the machine is switched off",
            Self::Halt => "the machine is halted",
        })
    }
}

/// Reboots, powers off or halts at once, after a sync of all disks.
///
/// # Errors
/// `reboot`: EPERM.
pub fn end(how: PowerAction) -> Result<Infallible, SyscallError> {
    let (mode, call) = match how {
        PowerAction::Restart => (RebootMode::RB_AUTOBOOT, "reboot(RESTART)"),
        PowerAction::PowerOff => (RebootMode::RB_POWER_OFF, "reboot(POWER_OFF)"),
        PowerAction::Halt => (RebootMode::RB_HALT_SYSTEM, "reboot(HALT)"),
    };
    // reboot(2) itself syncs nothing.
    nix::unistd::sync();
    nix::sys::reboot::reboot(mode).map_err(|errno| SyscallError::new(call, errno))
}

/// Makes the kernel send SIGINT to process 1 for Ctrl-Alt-Del, in place of an immediate reboot.
///
/// # Errors
/// `reboot`: EPERM.
pub fn claim_ctrl_alt_del() -> Result<(), SyscallError> {
    nix::sys::reboot::set_cad_enabled(false)
        .map_err(|errno| SyscallError::new("reboot(CAD_OFF)", errno))
}

/// Lets the kernel reboot at once for Ctrl-Alt-Del, as it does by default.
///
/// # Errors
/// `reboot`: EPERM.
#[cfg(feature = "root")]
pub fn release_ctrl_alt_del() -> Result<(), SyscallError> {
    nix::sys::reboot::set_cad_enabled(true)
        .map_err(|errno| SyscallError::new("reboot(CAD_ON)", errno))
}

#[cfg(test)]
mod tests {
    use super::super::memfd::Memfd;
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_grows_as_long_as_memory_is_left() {
        let mut memfd = Memfd::create("test").unwrap();
        memfd.write_all(&[7; 3 << 20]).unwrap();
        let file = memfd.file();
        let [none, little, some, unknown] = [
            || Some(0),
            || Some((16 << 20) - 1),
            || Some(100 << 20),
            || None,
        ]
        .map(MemoryGuard::new);
        for guard in [&none, &little] {
            guard.grow(file, 4 << 19).unwrap();
            let error = guard.grow(file, 4 << 19).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            let text = error.to_string();
            assert!(text.contains("needs more than 3 MiB of memory; "), "{text}");
            guard.grow(file, 1).unwrap();
        }
        for guard in [&some, &unknown] {
            (0..9).for_each(|_| guard.grow(file, 4 << 20).unwrap());
        }
        // 3 MiB are there, 4 are let pass and 16 stay free.
        some.reserve(file, (100 - 16 + 4 + 3) << 20, Room::default())
            .unwrap();
        let error = some
            .reserve(file, 92 << 20, Room::default())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "it needs 92 MiB of memory; 100 MiB available, and 16 MiB stay free"
        );
        let room = |copies, beside| Room { copies, beside };
        some.reserve(file, 30 << 20, room(2, 0)).unwrap();
        for (len, room) in [
            (31, room(2, 0)),
            (20, room(2, 50 << 20)),
            (1, room(1, u64::MAX)),
        ] {
            let error = some.reserve(file, len << 20, room).unwrap_err().to_string();
            assert!(error.starts_with("with the copies that"), "{error}");
            assert!(error.contains("; 100 MiB available"), "{error}");
        }
        none.reserve(file, 7 << 20, Room::default()).unwrap();
        unknown.reserve(file, u64::MAX, Room::default()).unwrap();
    }
}
