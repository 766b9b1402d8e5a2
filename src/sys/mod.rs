//! The kernel, one file per interface: the only I/O, and the only unsafe code, each file of
//! which says why it needs it.

pub mod clock;
pub mod drivers;
pub mod file;
pub mod filter;
pub mod firmware;
pub mod hashing;
pub mod kexec;
pub mod machine;
pub mod mapped;
pub mod memfd;
pub mod netlink;
pub mod packet;
pub mod process;
pub mod resolver;
pub mod ring;
pub mod signal;
pub mod terminal;
pub mod udp;

use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;

pub use clock::{now, since_1970, up_time, up_time_at};
use wireboot_proto::time::Instant;

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

/// Returns 64 random bits, from the kernel's generator even before it is fully seeded: good for
/// jitter and transaction numbers, not for keys.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // getrandom with GRND_INSECURE: plain getrandom held the first DISCOVER back by 1 to 4 s in an
    // emulator.
    RandomState::new().hash_one(0)
}

/// Fills `octets` with random ones, good for keys too.
///
/// # Errors
/// EAGAIN until the kernel's generator is fully seeded, and ENOENT without `/dev`.
pub fn random(octets: &mut [u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    // Without it the read waits for the kernel's seeding, which takes seconds on a machine just
    // started.
    let generator = options.read(true).custom_flags(libc::O_NONBLOCK);
    generator.open("/dev/random")?.read_exact(octets)
}

/// Waits until one of `sources` is readable or `deadline` has passed; returns which are readable.
///
/// At return without a readable source the deadline has passed, a twentieth of a millisecond ago.
/// A signal ends the wait early with nothing readable.
pub fn wait_readable(
    sources: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> Result<Vec<bool>, SyscallError> {
    let timeout = deadline.map(|deadline| TimeSpec::from_duration(deadline.since(now())));
    let mut polled: Vec<_> = sources
        .iter()
        .map(|source| PollFd::new(*source, PollFlags::POLLIN))
        .collect();
    // poll(2) counts milliseconds, and answers on a LAN take some 50 µs.
    match nix::poll::ppoll(&mut polled, timeout, None) {
        Ok(_) | Err(Errno::EINTR) => Ok(polled
            .iter()
            .map(|polled| polled.any().unwrap_or(false))
            .collect()),
        Err(errno) => Err(SyscallError::new("ppoll", errno)),
    }
}
