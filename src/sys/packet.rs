//! AF_PACKET sockets: raw frames, filtered by the kernel before they wake us.
//!
//! A socket is opened with protocol 0, which receives nothing; then the filter is attached, and
//! only then is it bound. A frame that arrived between socket and filter would be read
//! unfiltered otherwise. At the end the filter is locked, so that nobody who inherits the
//! socket can widen it; it may be replaced once before that.
//!
//! A filter is a hint and no promise: everything that is read is checked again.

#![allow(
    unsafe_code,
    reason = "nix has neither the packet options nor a way to make a link-layer address"
)]

mod metadata;

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, getsockopt,
    recvmsg, send, setsockopt, socket, sockopt,
};

use super::SyscallError;
use super::filter::FilterProgram;
pub use metadata::{Metadata, PacketType};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::time::Timestamp;

/// All protocols (`ETH_P_ALL`), also those that a bridge or another handler takes away later.
pub const ETH_P_ALL: u16 = 0x0003;

/// The socket type, which decides who handles the Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// `SOCK_RAW`: frames begin with the Ethernet header.
    Raw,
    /// `SOCK_DGRAM`: the kernel removes the header of received frames and writes that of frames
    /// sent with [`PacketSocket::send_to`].
    ///
    /// The boot path uses raw sockets only. This is for other users of this library.
    Datagram,
}

/// A frame received into a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes in the buffer; fewer than `original_len` when the buffer was too small.
    pub len: usize,
    /// The kernel's metadata.
    pub metadata: Metadata,
}

/// The kernel's counters of a socket since they were last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Frames that passed the filter, dropped ones included.
    pub packets: u64,
    /// Frames that passed the filter and were dropped by the kernel: the buffer was full.
    pub drops: u64,
    /// Times that a V3 ring was full and the kernel stopped filling it.
    pub freezes: u64,
}

impl std::ops::AddAssign for Statistics {
    fn add_assign(&mut self, more: Self) {
        self.packets += more.packets;
        self.drops += more.drops;
        self.freezes += more.freezes;
    }
}

/// The configuration of a packet socket.
#[derive(Debug, Clone)]
pub struct SocketConfig<'a> {
    /// Index of the interface.
    pub interface: u32,
    /// Which frames are received.
    pub program: &'a FilterProgram,
    /// What a frame begins with.
    pub kind: SocketType,
    /// EtherType that is received, or [`ETH_P_ALL`]; 0 receives nothing (for sending only).
    pub protocol: u16,
    /// Frames sent by this machine are left out.
    pub ignore_outgoing: bool,
    /// Frames for other stations are received while the socket is open.
    pub promiscuous: bool,
    /// The filter cannot be changed later (SO_LOCK_FILTER).
    pub locked: bool,
    /// Groups that are received while the socket is open.
    pub groups: &'a [MacAddress],
    /// Frames in a ring have the time at which the driver handed them over, and not that at which they
    /// were put into the ring, a microsecond or so later.
    pub stamps_early: bool,
}

impl<'a> SocketConfig<'a> {
    /// Receives what passes `program`, of all protocols, but not what this machine sends.
    pub const fn new(interface: u32, program: &'a FilterProgram) -> Self {
        Self {
            interface,
            program,
            kind: SocketType::Raw,
            protocol: ETH_P_ALL,
            ignore_outgoing: true,
            promiscuous: false,
            locked: true,
            groups: &[],
            stamps_early: true,
        }
    }

    /// Opens the socket.
    ///
    /// # Errors
    /// The call that the kernel refused; `socket` with EPERM without CAP_NET_RAW.
    pub fn open(&self) -> Result<PacketSocket, SyscallError> {
        let fd = self.begin()?;
        read_metadata(&fd)?;
        self.finish(fd)
    }

    /// Opens the socket with its filter; no frame can arrive before [`SocketConfig::finish`].
    pub(super) fn begin(&self) -> Result<OwnedFd, SyscallError> {
        let kind = match self.kind {
            SocketType::Raw => SockType::Raw,
            SocketType::Datagram => SockType::Datagram,
        };
        // Scripts and shells would inherit a raw socket otherwise, without having CAP_NET_RAW
        // themselves.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Packet, kind, flags, None)
            .map_err(|errno| SyscallError::new("socket(AF_PACKET)", errno))?;
        attach(&fd, self.program)?;
        if self.ignore_outgoing {
            // Linux 4.20; on an older kernel our own frames come back and are discarded.
            let on: libc::c_int = 1;
            match set_packet_option(&fd, libc::PACKET_IGNORE_OUTGOING, &on) {
                Ok(()) | Err(Errno::ENOPROTOOPT) => {}
                Err(errno) => {
                    return Err(SyscallError::new(
                        "setsockopt(PACKET_IGNORE_OUTGOING)",
                        errno,
                    ));
                }
            }
        }
        Ok(fd)
    }

    /// Begins to receive.
    // A ring is set up before: packet_set_ring unhooks a bound socket while it works, and frames would
    // be lost.
    pub(super) fn finish(&self, fd: OwnedFd) -> Result<PacketSocket, SyscallError> {
        bind(&fd, self.interface, self.protocol)?;
        // Binding to an interface that is down leaves ENETDOWN behind for the next call. The
        // socket works once the interface is up.
        let _ = getsockopt(&fd, sockopt::SocketError);
        if self.promiscuous {
            // Not IFF_PROMISC, which outlives a crash: a membership ends with its socket
            // (packet(7)).
            join(&fd, self.interface, libc::PACKET_MR_PROMISC, None)?;
        }
        for group in self.groups {
            // Without it the card's own filter drops groups before any packet socket sees them.
            join(&fd, self.interface, libc::PACKET_MR_MULTICAST, Some(*group))?;
        }
        // Last, since every later SO_ATTACH_FILTER fails with EPERM (SOCK_FILTER_LOCKED).
        if self.locked {
            lock(&fd)?;
        }
        Ok(PacketSocket { fd })
    }
}

/// A socket on one interface.
///
/// Memberships (promiscuous mode, groups) end when it is dropped. Closing waits for the kernel (7 ms
/// in Linux 6.18), so where time counts it is dropped off the path, or with short grace periods
/// ([`rcu`](super::rcu)).
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket with the usual [`SocketConfig`].
    ///
    /// # Errors
    /// As [`SocketConfig::open`].
    pub fn open(index: u32, program: &FilterProgram) -> Result<Self, SyscallError> {
        SocketConfig::new(index, program).open()
    }

    /// Replaces the unlocked filter, and locks the new one.
    ///
    /// # Errors
    /// EPERM when the filter is locked.
    pub fn replace_filter(&self, program: &FilterProgram) -> Result<(), SyscallError> {
        attach(&self.fd, program)?;
        lock(&self.fd)
    }

    /// Reads the next frame into `buf`; none when there is none yet.
    ///
    /// An interface that went down is not an error: it sends no frames.
    #[inline(never)]
    pub fn recv(&self, buf: &mut [u8]) -> Result<Option<Received>, SyscallError> {
        let mut control = nix::cmsg_space!(libc::tpacket_auxdata, libc::timespec);
        let capacity = buf.len();
        let mut parts = [IoSliceMut::new(buf)];
        let message = match recvmsg::<LinkAddr>(
            self.fd.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            // MSG_TRUNC: the length on the wire is returned, though the buffer holds less
            // (packet(7)).
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC,
        ) {
            Ok(message) => message,
            // packet_notifier leaves ENETDOWN on each socket when its interface goes down.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => return Ok(None),
            Err(errno) => return Err(SyscallError::new("recvmsg(AF_PACKET)", errno)),
        };
        let mut metadata = Metadata::from_status(0, 0, 0);
        let mut timestamp = Timestamp::default();
        let controls = message
            .cmsgs()
            .map_err(|errno| SyscallError::new("recvmsg(control messages)", errno))?;
        for control in controls {
            if let ControlMessageOwned::ScmTimestampns(time) = control {
                timestamp = Duration::from(time).into();
            } else if let ControlMessageOwned::Unknown(unknown) = control
                && unknown.cmsg_header.cmsg_level == libc::SOL_PACKET
                && unknown.cmsg_header.cmsg_type == libc::PACKET_AUXDATA
                && let Some(seen) = Metadata::from_auxdata(&unknown.data_bytes)
            {
                metadata = seen;
            }
        }
        metadata.timestamp = timestamp;
        metadata.original_len = u32::try_from(message.bytes).unwrap_or(u32::MAX);
        if let Some(address) = message.address {
            metadata.direction = PacketType::from_kernel(address.pkttype());
        }
        Ok(Some(Received {
            len: message.bytes.min(capacity),
            metadata,
        }))
    }

    /// Sends `frame` with its Ethernet header as it is ([`SocketType::Raw`]).
    ///
    /// # Errors
    /// ENETDOWN, EMSGSIZE, ENOBUFS.
    pub fn send(&self, frame: &[u8]) -> Result<(), SyscallError> {
        send(self.fd.as_raw_fd(), frame, MsgFlags::empty())
            .map(drop)
            .map_err(|errno| SyscallError::new("send(AF_PACKET)", errno))
    }

    /// Sends frames past the kernel's queues, directly to the driver: until `linkwatch` has run after
    /// a new carrier, up to 1 s, the queues are `noop_qdisc` and drop. Other packet sockets do not
    /// see frames sent so.
    pub fn bypass_queues(&self, bypass: bool) -> Result<(), SyscallError> {
        let value = libc::c_int::from(bypass);
        set_packet_option(&self.fd, libc::PACKET_QDISC_BYPASS, &value)
            .map_err(|errno| SyscallError::new("setsockopt(PACKET_QDISC_BYPASS)", errno))
    }

    /// Sends `payload` to `destination` and has the kernel write the Ethernet header
    /// ([`SocketType::Datagram`]).
    ///
    /// # Errors
    /// ENETDOWN, EMSGSIZE, ENOBUFS.
    pub fn send_to(
        &self,
        interface: u32,
        destination: MacAddress,
        ethertype: u16,
        payload: &[u8],
    ) -> Result<(), SyscallError> {
        let address = link_address(interface, ethertype, Some(destination))?;
        // SAFETY: `payload` and `address` are borrowed for the call and passed with their own
        // lengths.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                payload.as_ptr().cast(),
                payload.len(),
                0,
                (&raw const address).cast(),
                socklen_of::<libc::sockaddr_ll>(),
            )
        };
        Errno::result(sent)
            .map(drop)
            .map_err(|errno| SyscallError::new("sendto(AF_PACKET)", errno))
    }

    /// Sets the smallest receive buffer, so that frames are counted and dropped.
    pub fn count_only(&self) -> Result<(), SyscallError> {
        // The kernel raises this to SOCK_MIN_RCVBUF.
        // packet_rcv runs the filter before it looks for room, so dropped frames are those that
        // match.
        setsockopt(&self.fd, sockopt::RcvBuf, &0)
            .map_err(|errno| SyscallError::new("setsockopt(SO_RCVBUF)", errno))
    }

    /// Returns the counters and resets them.
    pub fn statistics(&self) -> Result<Statistics, SyscallError> {
        let mut stats = libc::tpacket_stats_v3 {
            tp_packets: 0,
            tp_drops: 0,
            tp_freeze_q_cnt: 0,
        };
        // V1 and V2 sockets fill the first two fields only.
        let mut len = socklen_of::<libc::tpacket_stats_v3>();
        // SAFETY: `stats` and `len` are borrowed for the call, and `len` is the size of `stats`.
        let result = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut len,
            )
        };
        Errno::result(result)
            .map_err(|errno| SyscallError::new("getsockopt(PACKET_STATISTICS)", errno))?;
        Ok(Statistics {
            // packet_getsockopt adds tp_drops to tp_packets, unlike what the names suggest.
            packets: stats.tp_packets.into(),
            drops: stats.tp_drops.into(),
            freezes: stats.tp_freeze_q_cnt.into(),
        })
    }

    /// Reads and clears the socket's pending error, such as ENETDOWN.
    pub(super) fn take_error(&self) -> Option<Errno> {
        match getsockopt(&self.fd, sockopt::SocketError) {
            Ok(0) => None,
            Ok(number) => Some(Errno::from_raw(number)),
            Err(errno) => Some(errno),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Has the kernel hand over with each frame that is read what a ring has beside it.
pub(super) fn read_metadata(fd: &OwnedFd) -> Result<(), SyscallError> {
    let on: libc::c_int = 1;
    // The kernel takes the VLAN tag out of the bytes (skb_vlan_untag); only this reports it.
    set_packet_option(fd, libc::PACKET_AUXDATA, &on)
        .map_err(|errno| SyscallError::new("setsockopt(PACKET_AUXDATA)", errno))?;
    stamp(fd)
}

/// Has the kernel stamp frames on arrival.
pub(super) fn stamp(fd: &OwnedFd) -> Result<(), SyscallError> {
    // It does so only while some socket asks for it, since it changes its own code for that
    // (net_enable_timestamp).
    setsockopt(fd, sockopt::ReceiveTimestampns, &true)
        .map_err(|errno| SyscallError::new("setsockopt(SO_TIMESTAMPNS)", errno))
}

fn lock(fd: &OwnedFd) -> Result<(), SyscallError> {
    let on: libc::c_int = 1;
    set_option(fd, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &on)
        .map_err(|errno| SyscallError::new("setsockopt(SO_LOCK_FILTER)", errno))
}

fn attach(fd: &OwnedFd, program: &FilterProgram) -> Result<(), SyscallError> {
    let mut instructions: Vec<libc::sock_filter> = program
        .instructions()
        .iter()
        .map(|instruction| libc::sock_filter {
            code: instruction.code,
            jt: instruction.jt,
            jf: instruction.jf,
            k: instruction.k,
        })
        .collect();
    let program = libc::sock_fprog {
        // A checked program has at most 4096 instructions.
        len: u16::try_from(instructions.len()).unwrap_or(u16::MAX),
        filter: instructions.as_mut_ptr(),
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
        .map_err(|errno| SyscallError::new("setsockopt(SO_ATTACH_FILTER)", errno))
}

fn bind(fd: &OwnedFd, interface: u32, protocol: u16) -> Result<(), SyscallError> {
    let address = link_address(interface, protocol, None)?;
    // SAFETY: `address` is borrowed for the call and passed with its own length.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            socklen_of::<libc::sockaddr_ll>(),
        )
    };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SyscallError::new("bind(AF_PACKET)", errno))
}

fn join(
    fd: &OwnedFd,
    interface: u32,
    what: libc::c_int,
    group: Option<MacAddress>,
) -> Result<(), SyscallError> {
    let address = link_address(interface, 0, group)?;
    let request = libc::packet_mreq {
        mr_ifindex: address.sll_ifindex,
        mr_type: u16::try_from(what).unwrap_or_default(),
        mr_alen: address.sll_halen.into(),
        mr_address: address.sll_addr,
    };
    set_packet_option(fd, libc::PACKET_ADD_MEMBERSHIP, &request)
        .map_err(|errno| SyscallError::new("setsockopt(PACKET_ADD_MEMBERSHIP)", errno))
}

fn link_address(
    interface: u32,
    protocol: u16,
    address: Option<MacAddress>,
) -> Result<libc::sockaddr_ll, SyscallError> {
    let mut link = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        // The one field of sockaddr_ll in network byte order (packet(7)).
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(interface)
            .map_err(|_| SyscallError::new("interface index", Errno::ENODEV))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    if let Some(MacAddress([a, b, c, d, e, f])) = address {
        link.sll_halen = 6;
        link.sll_addr = [a, b, c, d, e, f, 0, 0];
    }
    Ok(link)
}

/// Sets an option of level SOL_PACKET.
pub(super) fn set_packet_option<T>(
    fd: &OwnedFd,
    option: libc::c_int,
    value: &T,
) -> Result<(), Errno> {
    set_option(fd, libc::SOL_PACKET, option, value)
}

fn set_option<T>(
    fd: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> Result<(), Errno> {
    // SAFETY: `value` is borrowed for the call and passed with its own length. The kernel only
    // reads it, and what a `sock_fprog` points to is kept alive by `attach`.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            socklen_of::<T>(),
        )
    };
    Errno::result(result).map(drop)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel's structures are far smaller than 4 GiB"
)]
const fn socklen_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

// What is shorter is EINVAL for packet_setsockopt.
const _: () = assert!(size_of::<libc::packet_mreq>() == 16);
