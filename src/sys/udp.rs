//! The kernel's own UDP on one interface, for messages between addresses that are configured.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::{BindToDevice, Broadcast, RcvBuf, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, bind, sendmsg,
    setsockopt, socket,
};

use super::SyscallError;

/// A port that is taken, so that the kernel answers nobody that it were unreachable, and that
/// messages are sent from. What arrives is not read here: a packet socket hears it too.
#[derive(Debug)]
pub struct UdpPort(OwnedFd);

impl UdpPort {
    /// Takes `port` on the interface named `interface`; other programs may share it.
    ///
    /// # Errors
    /// The call that failed: EADDRINUSE when a program that shares with nobody has the port.
    pub fn open(interface: &str, port: u16) -> Result<Self, SyscallError> {
        let (flags, kind) = (
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockType::Datagram,
        );
        let socket = socket(AddressFamily::Inet, kind, flags, None)
            .map_err(|errno| SyscallError::new("socket(AF_INET)", errno))?;
        setsockopt(&socket, ReuseAddr, &true)
            .and_then(|()| setsockopt(&socket, Broadcast, &true))
            .and_then(|()| setsockopt(&socket, RcvBuf, &0))
            .and_then(|()| setsockopt(&socket, BindToDevice, &OsString::from(interface)))
            .map_err(|errno| SyscallError::new("setsockopt(AF_INET)", errno))?;
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        bind(socket.as_raw_fd(), &any)
            .map_err(|errno| SyscallError::new("bind(AF_INET)", errno))?;
        Ok(Self(socket))
    }

    /// Sends `payload` from `source`, an address of this machine.
    ///
    /// # Errors
    /// What the kernel says: ENETUNREACH, EINVAL when `source` is not ours.
    pub fn send(
        &self,
        source: Ipv4Addr,
        destination: SocketAddrV4,
        payload: &[u8],
    ) -> Result<(), SyscallError> {
        let source = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(source.octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        sendmsg(
            self.0.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[ControlMessage::Ipv4PacketInfo(&source)],
            MsgFlags::empty(),
            Some(&SockaddrIn::from(destination)),
        )
        .map(drop)
        .map_err(|errno| SyscallError::new("sendmsg(AF_INET)", errno))
    }
}
