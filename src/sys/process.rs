//! Child processes: forks of this one.

#![allow(
    unsafe_code,
    reason = "what runs between fork and exec must be safe there, which only its author can say"
)]

use std::fmt;
use std::fs::metadata;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::clock::now;
use super::error::SyscallError;
use super::heap;
use super::memfd::Memfd;
use super::messages;

/// All processes that this one may signal.
// kill(2): on Linux -1 leaves out process 1 and the caller.
const ALL_OTHERS: Pid = Pid::from_raw(-1);

/// A copy of this process that runs a function of it; dropping it kills it.
#[derive(Debug)]
pub struct Fork {
    /// None once it has been reaped.
    pid: Option<Pid>,
}

/// End of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal.
    Killed(Signal),
    /// Nobody knows: it was reaped elsewhere.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "it ended with exit code {code}"),
            // Signals are what the sandbox enforces its limits with.
            Self::Killed(Signal::SIGSYS) => {
                f.write_str("the kernel killed it for a forbidden system call (SIGSYS)")
            }
            Self::Killed(Signal::SIGXCPU) => f.write_str("it used up its processor time (SIGXCPU)"),
            Self::Killed(Signal::SIGXFSZ) => f.write_str("it wrote too long a file (SIGXFSZ)"),
            Self::Killed(Signal::SIGKILL) => {
                f.write_str("it was killed (SIGKILL), by the kernel if memory was short")
            }
            Self::Killed(signal) => write!(f, "it was ended by {signal}"),
            Self::Unknown => f.write_str("it ended"),
        }
    }
}

impl Fork {
    /// Runs `act` in a copy of this process, which has no other thread, only the standard descriptors
    /// and those in `kept`, and ends with the exit code that `act` returns.
    ///
    /// Other threads may go on meanwhile: `act` may use standard output and error, and whatever else has
    /// no lock that another thread could hold at this moment.
    ///
    /// # Errors
    /// `fork`: EAGAIN and ENOMEM.
    pub fn run(kept: Vec<RawFd>, act: impl FnOnce() -> u8) -> Result<Self, SyscallError> {
        let mut act = Some(act);
        // One copy of the code for all that is done so.
        Self::run_once(kept, &mut || act.take().map_or(PANICKED, |act| act()))
    }

    fn run_once(kept: Vec<RawFd>, act: &mut dyn FnMut() -> u8) -> Result<Self, SyscallError> {
        let (mut output, _error) = (io::stdout().lock(), io::stderr().lock());
        // Or both would write what is in the buffer.
        let _ = output.flush();
        // SAFETY: of what other threads may have in hand, the copy uses no part: the C library sees to
        // its own allocator, this program's is left as it is, and the locks of the standard streams are
        // this thread's, which may take them again.
        match unsafe { nix::unistd::fork() } {
            Ok(ForkResult::Parent { child }) => Ok(Self { pid: Some(child) }),
            Ok(ForkResult::Child) => {
                heap::abandon();
                messages::leave_kernel_log();
                close_all_but(kept);
                // Nothing may return into the frames below, which belong to the parent.
                let code = catch_unwind(AssertUnwindSafe(act)).unwrap_or(PANICKED);
                // SAFETY: it takes a number, and ends this process without its destructors.
                unsafe { libc::_exit(code.into()) }
            }
            Err(errno) => Err(SyscallError::new("fork", errno)),
        }
    }

    /// Its id.
    pub fn id(&self) -> Option<i32> {
        self.pid.map(Pid::as_raw)
    }

    /// Leaves it to [`reap`]; returns its id.
    pub fn release(mut self) -> Option<u32> {
        self.pid.take().map(|pid| pid.as_raw().unsigned_abs())
    }

    /// Waits for its end; none if it is running after `limit`.
    pub fn wait_within(&mut self, limit: Duration) -> Option<End> {
        let deadline = now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            // waitpid(2) has no timeout; the pauses are short compared with the run time of scripts.
            let end = self.try_wait();
            if end.is_some() || now() >= deadline {
                return end;
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> End {
        self.reap(WaitPidFlag::empty()).unwrap_or(End::Unknown)
    }

    /// Returns how it has ended; none if it is running.
    fn try_wait(&mut self) -> Option<End> {
        self.reap(WaitPidFlag::WNOHANG)
    }

    fn reap(&mut self, flags: WaitPidFlag) -> Option<End> {
        let Some(pid) = self.pid else {
            return Some(End::Unknown);
        };
        let end = loop {
            break match waitpid(pid, Some(flags)) {
                Err(Errno::EINTR) => continue,
                Ok(WaitStatus::StillAlive) => return None,
                Ok(WaitStatus::Exited(_, code)) => End::Exited(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => End::Killed(signal),
                Ok(_) | Err(_) => End::Unknown,
            };
        };
        self.pid = None;
        Some(end)
    }

    /// Kills its process group, unless it has been reaped, and waits until it is gone.
    pub fn kill_group(&mut self) {
        if let Some(leader) = self.pid {
            // ESRCH if it has just ended by itself.
            let _ = killpg(leader, Signal::SIGKILL);
            self.wait();
        }
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid {
            let _ = kill(pid, Signal::SIGKILL);
            self.wait();
        }
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until this process has one thread, for a second at most; returns whether it has.
pub fn await_one_thread() -> bool {
    // 20 times as long as the kernel takes to close a packet socket, which is what threads are for.
    let deadline = now() + Duration::from_secs(1);
    loop {
        // A folder has two links, and one more for each folder in it.
        let is_alone = metadata("/proc/self/task").is_ok_and(|tasks| tasks.nlink() == 3);
        if is_alone || now() >= deadline {
            return is_alone;
        }
        sleep(Duration::from_millis(2));
    }
}

/// Lets SIGPIPE end this process again, which Rust's runtime ignores: what is ignored is so for the next
/// program too (execve(2)).
pub fn restore_sigpipe() {
    // SAFETY: the default action runs no code of this process.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// Puts an empty file in the place of standard input and output.
pub fn close_terminal() {
    if let Ok(empty) = Memfd::create("nothing") {
        let _ = nix::unistd::dup2_stdin(empty.file());
        let _ = nix::unistd::dup2_stdout(empty.file());
    }
}

/// Ends a forked process, without the destructors and exit handlers of its parent.
pub fn leave() -> ! {
    // SAFETY: it takes a number, and ends this process.
    unsafe { libc::_exit(0) }
}

/// The exit code of Rust's own panics.
const PANICKED: u8 = 101;

/// Closes all descriptors but the standard ones and `kept`: what a copied process is not meant to have.
fn close_all_but(mut kept: Vec<RawFd>) {
    // In rising order, so that what is between two of them is closed at once.
    kept.sort_unstable();
    let mut first = libc::STDERR_FILENO + 1;
    for last in kept.into_iter().chain([RawFd::MAX]) {
        if first < last {
            close_range(first, last - 1);
        }
        first = first.max(last.saturating_add(1));
    }
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: their owners are frames of the parent, which do not run in this process.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return;
    }
    // Before Linux 5.9: one by one, up to the limit.
    let limit = nix::unistd::sysconf(nix::unistd::SysconfVar::OPEN_MAX);
    let limit = limit
        .ok()
        .flatten()
        .and_then(|limit| RawFd::try_from(limit).ok());
    // 1024 is the limit that Linux gives a process at first (INR_OPEN_CUR).
    for descriptor in first..=last.min(limit.unwrap_or(1024)) {
        // SAFETY: as above.
        let _ = unsafe { libc::close(descriptor) };
    }
}

/// The state of the children.
#[derive(Debug, PartialEq, Eq)]
pub enum Children {
    /// One has ended and was reaped.
    Ended {
        /// Its id.
        pid: u32,
        /// Its exit status as text.
        end: String,
    },
    /// All of them are running.
    Running,
    /// There are none.
    None,
}

/// Reaps a child that has ended, if there is one; does not wait.
pub fn reap() -> Children {
    loop {
        // ECHILD is the only possible error.
        let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) else {
            return Children::None;
        };
        let Some(pid) = status.pid() else {
            return Children::Running;
        };
        let end = if let WaitStatus::Exited(_, code) = status {
            format!("exit code {code}")
        } else if let WaitStatus::Signaled(_, signal, _) = status {
            format!("ended by {signal}")
        } else {
            continue;
        };
        let pid = pid.as_raw().unsigned_abs();
        return Children::Ended { pid, end };
    }
}

/// Sends SIGTERM to all other processes. No error if there are none.
pub fn terminate_all() {
    let _ = kill(ALL_OTHERS, Signal::SIGTERM);
}

/// Sends SIGKILL to all other processes.
pub fn kill_all() {
    let _ = kill(ALL_OTHERS, Signal::SIGKILL);
}
