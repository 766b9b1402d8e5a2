//! Block devices over files in memory (loop(4)).

#![allow(
    unsafe_code,
    reason = "the calls of loop devices take structures, and have no wrapper"
)]

use std::fs::File;
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::error::SyscallError;

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` (include/uapi/linux/loop.h); the second one is there since
/// Linux 5.8.
const GET_FREE: u32 = 0x4c82;
const CONFIGURE: u32 = 0x4c0a;

// LO_FLAGS_READ_ONLY and LO_FLAGS_AUTOCLEAR (linux/loop.h).
const READ_ONLY: u32 = 1;
/// The device is free again when nobody has it open or mounted.
const AUTOCLEAR: u32 = 4;

/// Devices that another process was faster to take, before this gives up.
const ATTEMPTS: u32 = 16;

/// `struct loop_config`, with its `struct loop_info64`.
#[repr(C)]
#[derive(Debug)]
struct Config {
    file: u32,
    block_size: u32,
    device: [u64; 3],
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [u8; 128],
    key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Config>() == 304, "as the kernel has it");

/// A block device over a part of a file, which is free again once it is neither held nor mounted.
#[derive(Debug)]
pub struct LoopDevice {
    /// Held for as long as this is.
    _device: File,
    path: String,
}

impl LoopDevice {
    /// Makes a device, for reading only, of these bytes of `file`, which the kernel holds as long as it
    /// needs it.
    ///
    /// # Errors
    /// `open(/dev/loop-control)`: ENOENT without the driver; `ioctl(LOOP_CONFIGURE)`: EINVAL before
    /// Linux 5.8.
    pub fn over(file: BorrowedFd<'_>, part: Range<u64>) -> Result<Self, SyscallError> {
        const CALL: &str = "ioctl(LOOP_CONFIGURE)";
        let failed = |call| move |source| SyscallError::of(call, source);
        let control = File::open("/dev/loop-control");
        let control = control.map_err(failed("open(/dev/loop-control)"))?;
        let config = Config {
            file: file.as_raw_fd().unsigned_abs(),
            block_size: 0,
            device: [0; 3],
            offset: part.start,
            size_limit: part.end.saturating_sub(part.start),
            number: 0,
            encryption: [0; 2],
            flags: READ_ONLY | AUTOCLEAR,
            names: [0; 128],
            key: [0; 32],
            init: [0; 2],
            reserved: [0; 8],
        };
        let mut last = Errno::EBUSY;
        for _ in 0..ATTEMPTS {
            // SAFETY: it takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), request(GET_FREE)) };
            if number < 0 {
                return Err(SyscallError::last("ioctl(LOOP_CTL_GET_FREE)"));
            }
            let path = format!("/dev/loop{number}");
            let device = File::open(&path).map_err(failed("open(/dev/loopN)"))?;
            // SAFETY: the pointer is to a structure of the kernel's layout, which it only reads.
            let result =
                unsafe { libc::ioctl(device.as_raw_fd(), request(CONFIGURE), &raw const config) };
            if result == 0 {
                return Ok(Self {
                    _device: device,
                    path,
                });
            }
            last = Errno::last();
            if last != Errno::EBUSY {
                break;
            }
        }
        Err(SyscallError::new(CALL, last))
    }

    /// The path of the device.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Returns a request of ioctl(2) as the C library takes it: musl has another type than glibc.
#[cfg(target_env = "musl")]
pub(super) const fn request(number: u32) -> libc::c_int {
    number.cast_signed()
}

#[cfg(not(target_env = "musl"))]
pub(super) fn request(number: u32) -> libc::c_ulong {
    number.into()
}
