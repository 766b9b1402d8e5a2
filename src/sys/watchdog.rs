//! The watchdog of the machine, which resets it unless it is fed (Documentation/watchdog/watchdog-api.rst).

#![allow(unsafe_code, reason = "the call that sets its time has no wrapper")]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::clock;

// /dev/watchdog is the same one by its old name.
const DEVICE: &str = "/dev/watchdog0";
/// What stops the device when it is closed ("magic close").
const STOP: &[u8] = b"V";

nix::ioctl_readwrite!(
    /// `WDIOC_SETTIMEOUT` of include/uapi/linux/watchdog.h.
    set_timeout, b'W', 6, libc::c_int);

/// A handle of the watchdog; clones are of the same. Off until [`Watchdog::begin`].
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Off,
    /// The device is not there yet: its driver may come late.
    Awaited,
    On(File),
}

impl Watchdog {
    /// Feeds the watchdog from now on, for as long as no wait of this process lasts longer than `time`,
    /// after which it resets the machine: at the latest twice the time after the last one has begun.
    pub fn begin(&self, time: Duration) {
        clock::beat_every(time / 3);
        *self.state() = State::Awaited;
        let handle = self.clone();
        thread::spawn(move || {
            while handle.feed(time) {
                // A device that is not there yet is looked for more often.
                thread::sleep((time / 3).min(Duration::from_secs(5)));
            }
        });
    }

    /// Returns whether it is to be fed again.
    fn feed(&self, time: Duration) -> bool {
        let mut state = self.state();
        match &mut *state {
            State::Off => return false,
            State::Awaited => {
                let Ok(device) = File::options().write(true).open(DEVICE) else {
                    return true;
                };
                let mut seconds = i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
                // SAFETY: the call reads and writes an int, and the descriptor is open.
                let set = unsafe { set_timeout(device.as_raw_fd(), &raw mut seconds) };
                match set {
                    Ok(_) => log::info!(
                        "{DEVICE} resets this machine after {seconds} s without progress"
                    ),
                    Err(errno) => log::warn!("{DEVICE} keeps its own time: {}", errno.desc()),
                }
                *state = State::On(device);
            }
            State::On(device) => {
                if clock::since_beat() < time {
                    // Any byte feeds it but the one that stops it.
                    let _ = device.write_all(&[0]);
                } else {
                    log::error!(
                        "no progress for {} s: {DEVICE} is not fed any longer",
                        time.as_secs()
                    );
                }
            }
        }
        true
    }

    /// Stops the watchdog.
    pub fn end(&self) {
        match std::mem::take(&mut *self.state()) {
            State::Off => {}
            State::Awaited => log::warn!("there was no {DEVICE}: is its driver in the initramfs?"),
            State::On(mut device) => {
                if let Err(error) = device.write_all(STOP) {
                    log::warn!("{DEVICE} is not stopped: {error}");
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
