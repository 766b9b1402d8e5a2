//! A deadline as something to wait for, on the clock that goes on while the machine is suspended:
//! `poll` alone would sleep on for as long as the machine did.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::SyscallError;
use wireboot_proto::time::Instant;

/// Is readable from its deadline on.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// Makes an alarm without a deadline.
    ///
    /// # Errors
    /// The call that failed.
    pub fn open() -> Result<Self, SyscallError> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)
            .map(Self)
            .map_err(|errno| SyscallError::new("timerfd_create", errno))
    }

    /// Sets the deadline, of [`super::now`]'s clock, in place of the one before.
    ///
    /// # Errors
    /// The call that failed.
    pub fn set(&self, deadline: Option<Instant>) -> Result<(), SyscallError> {
        let set = match deadline {
            // Zero would be no deadline.
            Some(deadline) => self.0.set(
                Expiration::OneShot(TimeSpec::from_duration(
                    deadline.since(Instant::ZERO).max(Duration::from_nanos(1)),
                )),
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

#[cfg(test)]
mod tests {
    use super::super::{now, wait_readable};
    use super::*;

    #[test]
    fn an_alarm_rings_at_its_deadline_and_not_before() {
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
