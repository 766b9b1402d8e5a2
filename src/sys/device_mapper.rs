//! Devices of the device mapper (include/uapi/linux/dm-ioctl.h): one of dm-verity, which checks what is
//! read.

#![allow(
    unsafe_code,
    reason = "the calls of the device mapper take a buffer, and have no wrapper"
)]

use std::fs::File;
use std::os::fd::AsRawFd;

use super::error::SyscallError;
use super::loop_device::request;

/// `struct dm_ioctl`, and `struct dm_target_spec` behind it.
const HEADER_LEN: usize = 312;
const TARGET_LEN: usize = 40;
const NAME_AT: usize = 48;
const NAME_LEN: usize = 128;

/// `DM_DEV_CREATE_CMD` and the others, with those flags that they take.
const CREATE: u32 = 3;
const REMOVE: u32 = 4;
const RESUME: u32 = 6;
const LOAD: u32 = 9;
const READ_ONLY: u32 = 1;
/// It goes when nobody has it open or mounted.
const DEFERRED_REMOVE: u32 = 1 << 17;

/// A device, which goes when it is neither held nor mounted.
#[derive(Debug)]
pub struct MappedDevice {
    control: File,
    name: &'static str,
    path: String,
}

impl MappedDevice {
    /// Makes a device of `len` bytes, for reading only, by the target `kind` with these parameters.
    ///
    /// # Errors
    /// `open`: ENOENT without the driver; `ioctl`: EINVAL for a target that the kernel lacks or parameters
    /// that it refuses.
    pub fn create(
        name: &'static str,
        kind: &str,
        len: u64,
        parameters: &str,
    ) -> Result<Self, SyscallError> {
        let control = File::open("/dev/mapper/control")
            .map_err(|source| SyscallError::of("open(/dev/mapper/control)", source))?;
        let created = call(&control, CREATE, "ioctl(DM_DEV_CREATE)", name, 0, &[])?;
        let number = created.get(40..).and_then(|bytes| bytes.first_chunk());
        let number = u64::from_ne_bytes(number.copied().unwrap_or_default());
        // The minor number of huge_encode_dev.
        let minor = number & 0xff | number >> 12 & 0xf_ff00;
        let device = Self {
            control,
            name,
            path: format!("/dev/dm-{minor}"),
        };
        let mut target = vec![0; TARGET_LEN];
        let put = |target: &mut Vec<u8>, at: usize, bytes: &[u8]| {
            for (to, from) in target.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        // struct dm_target_spec: sector_start 8, length 8, status 4, next 4, target_type 16.
        put(&mut target, 8, &(len / 512).to_ne_bytes());
        // The rest is zeros up to its end.
        put(
            &mut target,
            24,
            kind.as_bytes()
                .get(..kind.len().min(15))
                .unwrap_or_default(),
        );
        target.extend(parameters.bytes());
        target.resize((target.len() + 1).next_multiple_of(8), 0);
        call(
            &device.control,
            LOAD,
            "ioctl(DM_TABLE_LOAD)",
            name,
            READ_ONLY,
            &target,
        )?;
        call(
            &device.control,
            RESUME,
            "ioctl(DM_DEV_SUSPEND)",
            name,
            READ_ONLY,
            &[],
        )?;
        Ok(device)
    }

    /// The path of the device.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for MappedDevice {
    fn drop(&mut self) {
        // Nobody can be told any more.
        let _ = call(
            &self.control,
            REMOVE,
            "ioctl(DM_DEV_REMOVE)",
            self.name,
            DEFERRED_REMOVE,
            &[],
        );
    }
}

/// Makes a call with `data` behind the header, and returns what the kernel has written.
fn call(
    control: &File,
    number: u32,
    what: &'static str,
    name: &str,
    flags: u32,
    data: &[u8],
) -> Result<Vec<u8>, SyscallError> {
    let len = HEADER_LEN + data.len();
    let len_field = u32::try_from(len).unwrap_or_default();
    // version, data_size, data_start, target_count, open_count and flags.
    let fields = [
        4,
        0,
        0,
        len_field,
        312,
        u32::from(!data.is_empty()),
        0,
        flags,
    ];
    let mut buffer: Vec<u8> = fields
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect();
    buffer.resize(NAME_AT, 0);
    buffer.extend(name.bytes().take(NAME_LEN - 1));
    buffer.resize(HEADER_LEN, 0);
    buffer.extend(data);
    // _IOWR(0xfd, number, struct dm_ioctl)
    let request = request(0xc138_fd00 | number);
    // SAFETY: the kernel reads and writes as many bytes as the header says, which is the buffer's length;
    // of an answer that is longer it writes none (DM_BUFFER_FULL_FLAG).
    let result = unsafe { libc::ioctl(control.as_raw_fd(), request, buffer.as_mut_ptr()) };
    if result < 0 {
        return Err(SyscallError::last(what));
    }
    Ok(buffer)
}
