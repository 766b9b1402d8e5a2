//! The machine's clocks, a timer that includes suspension, and waiting for descriptors with a deadline.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::error::SyscallError;
use wireboot_proto::time::{Instant, Timestamp, earliest};

/// Reads CLOCK_BOOTTIME, which goes on while the machine is suspended.
pub fn now() -> Instant {
    Instant::ZERO + up_time()
}

/// Returns the time since the kernel's start, suspension included.
pub fn up_time() -> Duration {
    clock(nix::time::ClockId::CLOCK_BOOTTIME)
}

/// Returns the time since the kernel's start at `timestamp`, which is in the near past; without a
/// timestamp, until now.
pub fn up_time_at(timestamp: Timestamp) -> Duration {
    if timestamp == Timestamp::default() {
        return up_time();
    }
    // Timestamps of frames are of the wall clock; the timeline counts from the kernel's start.
    let now = Timestamp::from(since_1970());
    // The wall clock may have been set back since.
    let ago = now.as_nanos().saturating_sub(timestamp.as_nanos());
    up_time().saturating_sub(Duration::from_nanos(ago))
}

/// Reads the wall clock, which may be set at any time.
pub fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // A clock that was never set may stand before 1970.
    now.unwrap_or_default()
}

fn clock(id: nix::time::ClockId) -> Duration {
    // Linux has all of them since 2.6.39, so that this does not fail.
    nix::time::clock_gettime(id).map_or(Duration::ZERO, Duration::from)
}

/// A timer that is readable from its deadline on.
///
/// A timeout of `poll` counts CLOCK_MONOTONIC, which stops while the machine is suspended;
/// this one counts CLOCK_BOOTTIME.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// Creates an alarm without a deadline.
    ///
    /// # Errors
    /// `timerfd_create`: EMFILE, or a kernel without timerfd.
    pub fn open() -> Result<Self, SyscallError> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        // Timers support this clock since Linux 3.15 (timerfd_create(2)).
        TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)
            .map(Self)
            .map_err(|errno| SyscallError::new("timerfd_create", errno))
    }

    /// Sets the deadline, on the clock of [`now`], in place of the previous one.
    pub fn set(&self, deadline: Option<Instant>) -> Result<(), SyscallError> {
        let set = match deadline {
            // Zero would disarm the timer (timerfd_settime(2)).
            Some(deadline) => self.0.set(
                Expiration::OneShot(TimeSpec::from_duration(
                    deadline.since(Instant::ZERO).max(Duration::from_nanos(1)),
                )),
                // A relative one would be late by the time since the clock was read.
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            ),
            None => self.0.unset(),
        };
        set.map_err(|errno| SyscallError::new("timerfd_settime", errno))
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of `sources` is readable or `deadline` has passed; returns which are readable.
///
/// If none is readable, the deadline has passed, some 50 µs ago, or a signal has interrupted the wait.
pub fn wait_readable(
    sources: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> Result<Vec<bool>, SyscallError> {
    let mut polled: Vec<_> = sources
        .iter()
        .map(|source| PollFd::new(*source, PollFlags::POLLIN))
        .collect();
    wait_for(&mut polled, deadline)?;
    // `any` is none for bits that nix does not know.
    let ready = polled.iter();
    Ok(ready.map(|polled| polled.any().unwrap_or(false)).collect())
}

/// Waits until something of `polled` is ready or `deadline` has passed, as [`wait_readable`].
pub fn wait_for(polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), SyscallError> {
    loop {
        let beat_at = beat();
        let until = earliest(&[deadline, beat_at]);
        let timeout = until.map(|until| TimeSpec::from_duration(until.since(now())));
        // ppoll, since the timeout of poll(2) is in milliseconds, and replies on a LAN take some 50 µs.
        match nix::poll::ppoll(polled, timeout, None) {
            // Only a beat was due.
            Ok(0) if until != deadline => {}
            Ok(_) | Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(SyscallError::new("ppoll", errno)),
        }
    }
}

/// Milliseconds between two beats of a wait; 0: nobody listens to them.
static BEAT_INTERVAL: AtomicU64 = AtomicU64::new(0);
/// When a wait was last begun or went on, in milliseconds of [`now`].
static LAST_BEAT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether the waits of this thread do not count.
    static IS_BESIDE: Cell<bool> = const { Cell::new(false) };
}

/// Lets waits note at least this often that they go on, for [`since_beat`].
#[cfg(feature = "attended")]
pub fn beat_every(interval: Duration) {
    // Relaxed, as all of these: each number stands for itself and guards no other memory.
    LAST_BEAT.store(now().as_millis(), Ordering::Relaxed);
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    BEAT_INTERVAL.store(interval.max(1), Ordering::Relaxed);
}

/// Leaves the waits of this thread out, which last as long as the process.
pub fn wait_beside() {
    IS_BESIDE.set(true);
}

/// Returns the time since a wait was begun or went on.
#[cfg(feature = "attended")]
pub fn since_beat() -> Duration {
    now().since(Instant::from_millis(LAST_BEAT.load(Ordering::Relaxed)))
}

/// Notes that a wait goes on; returns when it must be noted again.
fn beat() -> Option<Instant> {
    let interval = BEAT_INTERVAL.load(Ordering::Relaxed);
    if interval == 0 || IS_BESIDE.get() {
        return None;
    }
    let now = now();
    LAST_BEAT.store(now.as_millis(), Ordering::Relaxed);
    Some(now + Duration::from_millis(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_readable_at_its_deadline_and_not_before() {
        let alarm = Alarm::open().unwrap();
        let soon = now() + Duration::from_millis(20);
        alarm.set(Some(soon)).unwrap();
        let far = now() + Duration::from_secs(30);
        assert_eq!(wait_readable(&[alarm.as_fd()], Some(far)).unwrap(), [true]);
        assert!(now() >= soon);
        for silent in [None, Some(far), Some(Instant::from_millis(u64::MAX))] {
            alarm.set(silent).unwrap();
            let now = now();
            assert_eq!(wait_readable(&[alarm.as_fd()], Some(now)).unwrap(), [false]);
        }
    }
}
