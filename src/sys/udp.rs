//! Kernel UDP sockets on one interface, for messages between configured addresses, the path MTU, and the
//! begin of connections by TCP.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{BindToDevice, Broadcast, IpMtu, RcvBuf, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind,
    connect, getsockopt, sendmsg, setsockopt, socket,
};
use nix::{getsockopt_impl, sockopt_impl};

use super::error::SyscallError;

/// Binds a socket, of UDP or TCP, to one interface, if one is given (SO_BINDTODEVICE).
///
/// # Errors
/// ENODEV: there is no such interface.
pub fn bind_to(socket: &impl AsFd, interface: Option<&str>) -> Result<(), SyscallError> {
    let Some(interface) = interface else {
        return Ok(());
    };
    setsockopt(socket, BindToDevice, &interface.into())
        .map_err(|errno| SyscallError::new("setsockopt(SO_BINDTODEVICE)", errno))
}

/// Starts a connection by TCP, without waiting; the socket does not block.
///
/// # Errors
/// `connect`: ENETUNREACH and the like.
pub fn dial(interface: Option<&str>, address: SocketAddr) -> Result<OwnedFd, SyscallError> {
    let failed = |call| move |errno| SyscallError::new(call, errno);
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd =
        socket(family, SockType::Stream, flags, None).map_err(failed("socket"))?;
    bind_to(&socket, interface)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        // After EINTR the attempt goes on in the background as well (connect(2)).
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(socket),
        Err(errno) => Err(SyscallError::new("connect", errno)),
    }
}

/// A bound UDP port: the source of sent messages, and the reason why the kernel does not answer
/// received ones with ICMP port unreachable. Nothing is read here: a packet socket receives the same.
#[derive(Debug)]
pub struct UdpPort(OwnedFd);

impl UdpPort {
    /// Binds `port` on the interface named `interface`; other programs may share it.
    ///
    /// # Errors
    /// EADDRINUSE when a program without SO_REUSEADDR has bound the port.
    pub fn open(interface: &str, port: u16) -> Result<Self, SyscallError> {
        let (flags, kind) = (
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockType::Datagram,
        );
        let socket = socket(AddressFamily::Inet, kind, flags, None)
            .map_err(|errno| SyscallError::new("socket(AF_INET)", errno))?;
        // A UDP port is shared only if all of its sockets set this (socket(7)).
        setsockopt(&socket, ReuseAddr, &true)
            // REBINDING broadcasts (RFC 2131 §4.4.5), which is EACCES without this (socket(7)).
            .and_then(|()| setsockopt(&socket, Broadcast, &true))
            // Raised to SOCK_MIN_RCVBUF by the kernel; unread datagrams are dropped early.
            .and_then(|()| setsockopt(&socket, RcvBuf, &0))
            // With two interfaces on one network the routing table may choose the other one.
            .and_then(|()| setsockopt(&socket, BindToDevice, &OsString::from(interface)))
            .map_err(|errno| SyscallError::new("setsockopt(AF_INET)", errno))?;
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        bind(socket.as_raw_fd(), &any)
            .map_err(|errno| SyscallError::new("bind(AF_INET)", errno))?;
        Ok(Self(socket))
    }

    /// Leaves the interface for the one that has this name now.
    ///
    /// # Errors
    /// ENODEV: there is no such interface. EPERM without CAP_NET_RAW.
    pub fn rebind(&self, interface: &str) -> Result<(), SyscallError> {
        bind_to(&self.0, Some(interface))
    }

    /// Sends `payload` from `source`, an address of this machine.
    ///
    /// # Errors
    /// ENETUNREACH without a route, EINVAL when `source` is no address of this machine.
    pub fn send(
        &self,
        source: Ipv4Addr,
        destination: SocketAddrV4,
        payload: &[u8],
    ) -> Result<(), SyscallError> {
        let source = libc::in_pktinfo {
            // 0 leaves the interface to SO_BINDTODEVICE.
            ipi_ifindex: 0,
            // When sending, this field is the source, and ipi_addr is ignored (ip(7)).
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

sockopt_impl!(
    /// The largest packet that the route of a connected socket carries, as `IpMtu` is for IPv4.
    Ipv6Mtu,
    GetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU,
    libc::c_int
);

/// Returns the path MTU of a socket connected to `peer`, in bytes: that of interface, route and routers,
/// up to the largest IPv4 packet.
///
/// # Errors
/// The call that failed: ENOTCONN when it is not connected.
pub fn path_mtu(socket: &impl AsFd, peer: &SocketAddr) -> Result<u16, SyscallError> {
    let mtu = match peer {
        SocketAddr::V4(_) => getsockopt(socket, IpMtu),
        SocketAddr::V6(_) => getsockopt(socket, Ipv6Mtu),
    };
    let bytes = mtu.map_err(|errno| SyscallError::new("getsockopt(IP_MTU)", errno))?;
    // The loopback interface has 65,536, one more than a packet can be long.
    Ok(u16::try_from(bytes).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, UdpSocket};

    use super::*;

    #[test]
    fn the_kernel_knows_how_wide_the_way_to_oneself_is() {
        let loopback = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap();
        let expected = loopback.trim().parse::<u32>().unwrap().min(u16::MAX.into());
        let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for address in addresses.map(|address| SocketAddr::new(address, 69)) {
            // Not every machine has IPv6.
            let Ok(socket) = UdpSocket::bind((address.ip(), 0)) else {
                assert!(address.is_ipv6());
                continue;
            };
            assert!(
                path_mtu(&socket, &address)
                    .unwrap_err()
                    .is(nix::errno::Errno::ENOTCONN)
            );
            socket.connect(address).unwrap();
            assert_eq!(u32::from(path_mtu(&socket, &address).unwrap()), expected);
        }
    }
}
