//! Uevents of new devices, as udev receives them, and loading of kernel modules.

#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module, init_module};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};

use super::error::SyscallError;

/// The multicast group of the kernel; udev's is another.
const KERNEL_GROUP: u32 = 1;
/// The kernel's buffer for a uevent (UEVENT_BUFFER_SIZE).
const RECEIVE_LEN: usize = 8 * 1024;

/// A socket that receives uevents of new devices, in the initial network namespace.
#[derive(Debug)]
pub struct UeventSocket(OwnedFd);

/// A uevent that matters for loading modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// A device was added; holds its MODALIAS, which `modules.alias` matches.
    Device(String),
    /// The socket's buffer overflowed: all devices must be enumerated again.
    Lost,
}

impl UeventSocket {
    /// Subscribes to uevents.
    ///
    /// # Errors
    /// The call that failed; EPROTONOSUPPORT on a kernel without hotplugging.
    pub fn open() -> Result<Self, SyscallError> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkKObjectUEvent,
        )
        .map_err(|errno| SyscallError::new("socket(NETLINK_KOBJECT_UEVENT)", errno))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))
            .map_err(|errno| SyscallError::new("bind(NETLINK_KOBJECT_UEVENT)", errno))?;
        Ok(Self(socket))
    }

    /// Waits for the next device.
    pub fn next_device(&self) -> Result<DeviceEvent, SyscallError> {
        let mut buf = [0; RECEIVE_LEN];
        loop {
            match recvfrom::<NetlinkAddr>(self.0.as_raw_fd(), &mut buf) {
                // Port 0 is the kernel; a process must not choose the modules to load.
                Ok((len, Some(sender))) if sender.pid() == 0 => {
                    if let Some(modalias) = buf.get(..len).and_then(added_modalias) {
                        return Ok(DeviceEvent::Device(modalias.to_owned()));
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Ok(DeviceEvent::Lost),
                Err(errno) => {
                    return Err(SyscallError::new("recvfrom(NETLINK_KOBJECT_UEVENT)", errno));
                }
            }
        }
    }
}

/// Parses `add@/devices/…`, `ACTION=add`, …, each ended by a zero byte; returns MODALIAS.
fn added_modalias(announcement: &[u8]) -> Option<&str> {
    let mut variables = announcement.split(|byte| *byte == 0);
    if !variables.next()?.starts_with(b"add@") {
        return None;
    }
    let modalias = variables.find_map(|variable| variable.strip_prefix(b"MODALIAS="))?;
    std::str::from_utf8(modalias).ok()
}

/// The kernel decompresses the file, in the format that it was built for: gzip, xz or zstd (since
/// Linux 5.17).
const MODULE_INIT_COMPRESSED_FILE: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// Loads a module from its file; one that is loaded already is no error.
///
/// # Errors
/// ENOEXEC for another kernel's module, ENODEV when it finds no device, EKEYREJECTED for an unsigned
/// one under lockdown.
pub fn load(file: &File) -> Result<(), SyscallError> {
    let result = finit_module(file, c"", ModuleInitFlags::empty());
    unless_there("finit_module", result)
}

/// Loads a compressed module, as [`load`], if the kernel can decompress it.
///
/// # Errors
/// Those of [`load`], and those of [`cannot_unpack`].
pub fn load_packed(file: &File) -> Result<(), SyscallError> {
    let result = finit_module(file, c"", MODULE_INIT_COMPRESSED_FILE);
    unless_there("finit_module(COMPRESSED_FILE)", result)
}

/// Returns whether an error of [`load_packed`] may mean that the kernel cannot decompress the file.
pub fn cannot_unpack(error: &SyscallError) -> bool {
    // EOPNOTSUPP without CONFIG_MODULE_DECOMPRESS; EINVAL before Linux 5.17, which does not know the
    // flag, or for another compression than it was built for.
    let codes = [Errno::EOPNOTSUPP, Errno::EINVAL];
    codes
        .iter()
        .any(|code| error.source.raw_os_error() == Some(*code as i32))
}

/// Loads a module from memory, as [`load`].
///
/// # Errors
/// Those of [`load`].
pub fn load_bytes(bytes: &[u8]) -> Result<(), SyscallError> {
    unless_there("init_module", init_module(bytes, c""))
}

fn unless_there(call: &'static str, result: Result<(), Errno>) -> Result<(), SyscallError> {
    match result {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(SyscallError::new(call, errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_device_that_is_added_and_says_what_it_is_counts() {
        let card = b"add@/devices/pci0000:00/0000:00:04.0\0ACTION=add\0SUBSYSTEM=pci\0\
            MODALIAS=pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00\0SEQNUM=1\0";
        assert_eq!(
            added_modalias(card),
            Some("pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00")
        );
        assert_eq!(added_modalias(b"remove@/x\0MODALIAS=pci:x\0"), None);
        assert_eq!(added_modalias(b"add@/x\0ACTION=add\0"), None);
        assert_eq!(added_modalias(b"add@/x\0MODALIAS=\xff\0"), None);
        assert_eq!(added_modalias(b""), None);
        for len in 0..card.len() {
            let _ = added_modalias(&card[..len]);
        }
    }
}
