//! Kernel sockets of IPv6 on one interface: ICMPv6 for neighbour discovery, and the client's port of DHCPv6.
//!
//! The kernel answers neighbours, joins groups and computes checksums; frames of our own would have to.

#![forbid(unsafe_code)]

use std::io::IoSliceMut;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6MulticastHops, Ipv6RecvHopLimit};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6,
    bind, recvmsg, sendto, setsockopt, socket,
};
use nix::{setsockopt_impl, sockopt_impl};

use super::error::SyscallError;
use super::udp::bind_to;
use wireboot_proto::packet::icmpv6::{
    HOP_LIMIT, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, ROUTER_ADVERTISEMENT,
};

/// All routers on the link (RFC 4291 §2.7.1).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

sockopt_impl!(
    /// The types of ICMPv6 that are not received, a bit each (RFC 3542 §3.2).
    Icmp6Filter,
    SetOnly,
    libc::IPPROTO_ICMPV6,
    ICMPV6_FILTER,
    [u32; 8]
);
sockopt_impl!(
    /// A message that came in fragments has the size of the largest.
    Ipv6RecvFragSize,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_RECVFRAGSIZE,
    bool
);
// linux/icmpv6.h.
const ICMPV6_FILTER: libc::c_int = 1;

/// A socket for router advertisements, and for what neighbours say about addresses.
#[derive(Debug)]
pub struct NeighborSocket {
    fd: OwnedFd,
    index: u32,
}

/// A message received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborInput {
    /// Bytes in the buffer.
    pub len: usize,
    /// Its source.
    pub source: Ipv6Addr,
    /// Its hop limit.
    pub hop_limit: u8,
    /// It came in fragments, which no host takes (RFC 6980 §5).
    pub is_fragmented: bool,
}

impl NeighborSocket {
    /// Opens a socket on an interface.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW, EAFNOSUPPORT in a kernel without IPv6.
    pub fn open(interface: &str, index: u32) -> Result<Self, SyscallError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(
            AddressFamily::Inet6,
            SockType::Raw,
            flags,
            SockProtocol::IcmpV6,
        )
        .map_err(|errno| SyscallError::new("socket(AF_INET6, IPPROTO_ICMPV6)", errno))?;
        // RFC 3542 §3.2: a bit that is set blocks its type.
        let mut blocked = [u32::MAX; 8];
        for kind in [
            ROUTER_ADVERTISEMENT,
            NEIGHBOR_SOLICITATION,
            NEIGHBOR_ADVERTISEMENT,
        ] {
            if let Some(word) = blocked.get_mut(usize::from(kind / 32)) {
                *word &= !(1 << (kind % 32));
            }
        }
        setsockopt(&fd, Icmp6Filter, &blocked)
            .and_then(|()| setsockopt(&fd, Ipv6RecvHopLimit, &true))
            .and_then(|()| setsockopt(&fd, Ipv6MulticastHops, &HOP_LIMIT.into()))
            .map_err(|errno| SyscallError::new("setsockopt(IPPROTO_ICMPV6)", errno))?;
        // From Linux 4.13 on.
        let _ = setsockopt(&fd, Ipv6RecvFragSize, &true);
        bind_to(&fd, Some(interface))?;
        Ok(Self { fd, index })
    }

    /// Sends a message to all routers; the kernel adds its checksum.
    ///
    /// # Errors
    /// EADDRNOTAVAIL without an address to send from.
    pub fn send_to_routers(&self, message: &[u8]) -> Result<(), SyscallError> {
        let to = SockaddrIn6::from(SocketAddrV6::new(ALL_ROUTERS, 0, 0, self.index));
        sendto(self.fd.as_raw_fd(), message, &to, MsgFlags::empty())
            .map(drop)
            .map_err(|errno| SyscallError::new("sendto(IPPROTO_ICMPV6)", errno))
    }

    /// Reads the next message, whose checksum the kernel has verified; none when there is none yet.
    ///
    /// # Errors
    /// The call that failed.
    pub fn receive(&self, buf: &mut [u8]) -> Result<Option<NeighborInput>, SyscallError> {
        let mut control = nix::cmsg_space!(libc::c_int, libc::c_int);
        let mut parts = [IoSliceMut::new(buf)];
        let received = match recvmsg::<SockaddrIn6>(
            self.fd.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => return Ok(None),
            Err(errno) => return Err(SyscallError::new("recvmsg(IPPROTO_ICMPV6)", errno)),
        };
        let (mut hop_limit, mut is_fragmented) = (0, false);
        // The only messages that were asked for, in this order.
        if let Ok(mut messages) = received.cmsgs()
            && let Some(ControlMessageOwned::Ipv6HopLimit(limit)) = messages.next()
        {
            // 0 is not 255, so that the message is ignored.
            hop_limit = u8::try_from(limit).unwrap_or(0);
            is_fragmented = messages.next().is_some();
        }
        let mut source = Ipv6Addr::UNSPECIFIED;
        if let Some(address) = &received.address {
            source = Ipv6Addr::from(address.as_ref().sin6_addr.s6_addr);
        }
        Ok(Some(NeighborInput {
            len: received.bytes,
            source,
            hop_limit,
            is_fragmented,
        }))
    }
}

impl AsFd for NeighborSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A UDP socket on a link-local address, which does not block.
///
/// # Errors
/// EADDRINUSE when another program has the port, EADDRNOTAVAIL when the address is not set or is still
/// being probed.
pub fn link_local_socket(
    address: Ipv6Addr,
    port: u16,
    index: u32,
) -> Result<UdpSocket, SyscallError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let at = SockaddrIn6::from(SocketAddrV6::new(address, port, 0, index));
    socket(AddressFamily::Inet6, SockType::Datagram, flags, None)
        .and_then(|socket| bind(socket.as_raw_fd(), &at).map(|()| socket.into()))
        .map_err(|errno| SyscallError::new("bind(AF_INET6)", errno))
}
