//! The rtnetlink socket: requests to the kernel's network configuration, and its notifications.

#![allow(
    unsafe_code,
    reason = "the options of netlink sockets are known to no safe wrapper"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

use super::error::SyscallError;
#[cfg(feature = "root")]
use wireboot_proto::netlink::message::NLMSG_ERROR;
use wireboot_proto::netlink::message::{Ack, NLM_F_MULTI, frames};
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::{LinkInfo, RouteMessage};

/// Buffer for a dump: the kernel fills messages up to this size, and truncates larger ones.
// netlink_recvmsg uses no more than 32 KiB of a reader's buffer size.
const RECEIVE_LEN: usize = 32 * 1024;
/// Buffer for the answer to a change: an error number, the request, and an explanation.
// A refusal repeats the request unless NETLINK_CAP_ACK is set (netlink(7)).
const ANSWER_LEN: usize = 4096;

/// A socket for requests, each answered before the next is sent.
#[derive(Debug)]
pub struct RouteSocket {
    socket: OwnedFd,
    sequence: u32,
}

impl RouteSocket {
    /// Opens the socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The call that failed; EAFNOSUPPORT on a kernel without networking.
    pub fn open() -> Result<Self, SyscallError> {
        let socket = open(SockFlag::empty(), 0)?;
        // Older kernels do not explain errors.
        if let Err(error) = set_option(&socket, EXT_ACK, 1) {
            log::debug!("{}", error.chain());
        }
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends a request for a change and waits for the kernel's answer.
    ///
    /// # Errors
    /// The kernel's error with its explanation, under the request's name.
    pub fn change(&mut self, request: &NetlinkRequest) -> Result<(), SyscallError> {
        self.exchange(request, &mut [0; ANSWER_LEN]).map(drop)
    }

    /// Dumps all objects of a kind.
    ///
    /// # Errors
    /// The kernel's error, under the request's name.
    pub fn dump(&mut self, request: &NetlinkRequest) -> Result<Vec<RouteMessage>, SyscallError> {
        self.exchange(request, &mut vec![0; RECEIVE_LEN])
    }

    /// Dumps all links.
    ///
    /// # Errors
    /// As [`Self::dump`].
    pub fn links(&mut self) -> Result<Vec<LinkInfo>, SyscallError> {
        let mut links = Vec::new();
        for message in self.dump(&NetlinkRequest::Links)? {
            if let RouteMessage::NewLink(link) = message {
                links.push(link);
            }
        }
        Ok(links)
    }

    fn exchange(
        &mut self,
        request: &NetlinkRequest,
        buf: &mut [u8],
    ) -> Result<Vec<RouteMessage>, SyscallError> {
        self.sequence = self.sequence.wrapping_add(1);
        exchange(self.socket.as_fd(), request, self.sequence, buf, false)
    }
}

/// A non-blocking socket that receives notifications of link changes, and on request of changes of
/// addresses and routes.
#[derive(Debug)]
pub struct LinkSubscription {
    socket: OwnedFd,
    buf: Vec<u8>,
    sequence: u32,
}

/// The result of reading notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notifications {
    /// Changes, in order.
    Changes(Vec<RouteMessage>),
    /// The socket's buffer overflowed (ENOBUFS): the state must be dumped again.
    Lost,
    /// None are waiting.
    Nothing,
}

impl LinkSubscription {
    /// Subscribes to the changes in the network namespace of the calling thread, from now on.
    pub fn open() -> Result<Self, SyscallError> {
        let groups = libc::RTMGRP_LINK.unsigned_abs();
        Ok(Self {
            socket: open(SockFlag::SOCK_NONBLOCK, groups)?,
            buf: vec![0; RECEIVE_LEN],
            sequence: 0,
        })
    }

    /// Subscribes to IPv4 addresses and routes too.
    pub fn add_addresses_and_routes(&self) -> Result<(), SyscallError> {
        set_option(&self.socket, ADD_MEMBERSHIP, IPV4_IFADDR)?;
        set_option(&self.socket, ADD_MEMBERSHIP, IPV4_ROUTE)
    }

    /// Dumps the state of every link; notifications that arrive during the dump are included, each in
    /// its place.
    pub fn dump(&mut self) -> Result<Vec<RouteMessage>, SyscallError> {
        self.ask(&NetlinkRequest::Links)
    }

    /// Asks for the state of the link of this name, as [`LinkSubscription::dump`].
    ///
    /// # Errors
    /// ENODEV when there is none.
    pub fn link(&mut self, name: &str) -> Result<Vec<RouteMessage>, SyscallError> {
        self.ask(&NetlinkRequest::Link(name.to_owned()))
    }

    fn ask(&mut self, request: &NetlinkRequest) -> Result<Vec<RouteMessage>, SyscallError> {
        loop {
            self.sequence = self.sequence.wrapping_add(1);
            let (socket, buf) = (self.socket.as_fd(), &mut self.buf);
            match exchange(socket, request, self.sequence, buf, true) {
                // The socket's buffer overflowed.
                Err(error) if error.source.raw_os_error() == Some(libc::ENOBUFS) => {}
                result => return result,
            }
        }
    }

    /// Reads the next datagram of notifications.
    pub fn take(&mut self) -> Result<Notifications, SyscallError> {
        const CALL: &str = "recv(RTMGRP_LINK)";
        let datagram = match receive(self.socket.as_fd(), &mut self.buf) {
            Ok(datagram) => datagram,
            Err(Errno::EAGAIN) => return Ok(Notifications::Nothing),
            Err(Errno::ENOBUFS) => return Ok(Notifications::Lost),
            Err(errno) => return Err(SyscallError::new(CALL, errno)),
        };
        let messages = frames(datagram)
            .map(|frame| frame.and_then(|frame| RouteMessage::decode(&frame)))
            .collect::<Result<_, _>>()
            .map_err(|error| malformed(CALL, error))?;
        Ok(Notifications::Changes(messages))
    }
}

impl AsFd for LinkSubscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends a request and returns the messages up to its answer, with or without notifications.
fn exchange(
    socket: BorrowedFd<'_>,
    request: &NetlinkRequest,
    sequence: u32,
    buf: &mut [u8],
    with_news: bool,
) -> Result<Vec<RouteMessage>, SyscallError> {
    let call = request.name();
    let failed = |errno| SyscallError::new(call, errno);
    let octets = request.encode(sequence);
    retry(|| send(socket.as_raw_fd(), &octets, MsgFlags::empty())).map_err(failed)?;
    let mut answers = Vec::new();
    loop {
        let datagram = match receive(socket, buf) {
            Err(Errno::EAGAIN) => {
                // No timeout: the kernel handles a request within send(2).
                super::clock::wait_readable(&[socket], None)?;
                continue;
            }
            datagram => datagram.map_err(failed)?,
        };
        for frame in frames(datagram) {
            let frame = frame.map_err(|error| malformed(call, error))?;
            let is_answer = frame.sequence == sequence;
            if !is_answer && !with_news {
                continue;
            }
            match RouteMessage::decode(&frame).map_err(|error| malformed(call, error))? {
                // The answer to an earlier request.
                RouteMessage::Ack(_) | RouteMessage::Done if !is_answer => {}
                RouteMessage::Ack(Ack { errno: 0, .. }) | RouteMessage::Done => return Ok(answers),
                RouteMessage::Ack(ack) => return Err(refusal(call, ack)),
                message @ RouteMessage::NewAddress6(_) => answers.push(message),
                message @ (RouteMessage::NewLink(_)
                | RouteMessage::DelLink(_)
                | RouteMessage::NewAddress(_)
                | RouteMessage::DelAddress(_)
                | RouteMessage::NewRoute(_)
                | RouteMessage::DelRoute(_)
                | RouteMessage::Other) => {
                    answers.push(message);
                    if is_answer && frame.flags & NLM_F_MULTI == 0 {
                        return Ok(answers);
                    }
                }
            }
        }
    }
}

fn open(flags: SockFlag, groups: u32) -> Result<OwnedFd, SyscallError> {
    open_of(SockProtocol::NetlinkRoute, flags, groups)
}

fn open_of(protocol: SockProtocol, flags: SockFlag, groups: u32) -> Result<OwnedFd, SyscallError> {
    let flags = SockFlag::SOCK_CLOEXEC | flags;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)
        .map_err(|errno| SyscallError::new("socket(AF_NETLINK)", errno))?;
    // Without groups the first message binds it (netlink_sendmsg).
    if groups != 0 {
        // With 0 the kernel picks a free port number (netlink_autobind); the process id may be in use.
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))
            .map_err(|errno| SyscallError::new("bind(AF_NETLINK)", errno))?;
    }
    Ok(socket)
}

/// Sends a request of generic netlink, named `call` in errors; returns the payload of its answer.
///
/// # Errors
/// The kernel's error: ENOENT for a family that no driver has.
#[cfg(feature = "root")]
pub fn ask_generic(call: &'static str, request: &[u8]) -> Result<Vec<u8>, SyscallError> {
    let failed = |errno| SyscallError::new(call, errno);
    let socket = open_of(SockProtocol::NetlinkGeneric, SockFlag::empty(), 0)?;
    // Older kernels do not explain errors.
    let _ = set_option(&socket, EXT_ACK, 1);
    retry(|| send(socket.as_raw_fd(), request, MsgFlags::empty())).map_err(failed)?;
    let mut answer = Vec::new();
    let mut buf = [0; ANSWER_LEN];
    loop {
        for frame in frames(receive(socket.as_fd(), &mut buf).map_err(failed)?) {
            let frame = frame.map_err(|error| malformed(call, error))?;
            if frame.kind != NLMSG_ERROR {
                answer = frame.payload.to_vec();
                continue;
            }
            let message = RouteMessage::decode(&frame);
            if let RouteMessage::Ack(ack) = message.map_err(|error| malformed(call, error))?
                && ack.errno != 0
            {
                return Err(refusal(call, ack));
            }
            return Ok(answer);
        }
    }
}

/// An option of netlink sockets, with its name.
type SocketOption = (libc::c_int, &'static str);

/// Error messages beside error numbers (since Linux 4.12).
const EXT_ACK: SocketOption = (libc::NETLINK_EXT_ACK, "setsockopt(NETLINK_EXT_ACK)");
/// Subscribes to another multicast group.
const ADD_MEMBERSHIP: SocketOption = (
    libc::NETLINK_ADD_MEMBERSHIP,
    "setsockopt(NETLINK_ADD_MEMBERSHIP)",
);
/// The groups of IPv4 addresses and routes, RTNLGRP_IPV4_IFADDR and RTNLGRP_IPV4_ROUTE of
/// linux/rtnetlink.h.
// Numbers, not bits as in the mask of bind(2): netlink(7), NETLINK_ADD_MEMBERSHIP.
const IPV4_IFADDR: libc::c_int = 5;
const IPV4_ROUTE: libc::c_int = 7;

fn set_option(
    socket: &OwnedFd,
    (option, call): SocketOption,
    value: libc::c_int,
) -> Result<(), SyscallError> {
    let len = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the pointer and the length are those of `value`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const value).cast(),
            len,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(SyscallError::last(call)),
    }
}

/// Receives one datagram. Only the kernel sends to an rtnetlink socket: user space senders need
/// CAP_NET_ADMIN (`netlink_sendmsg`), and such a process could change the configuration itself.
fn receive<'a>(socket: BorrowedFd<'_>, buf: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    // MSG_TRUNC returns the datagram's real length, so that a truncated one is an error.
    let len = retry(|| recv(socket.as_raw_fd(), buf, MsgFlags::MSG_TRUNC))?;
    buf.get(..len).ok_or(Errno::EMSGSIZE)
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn malformed(call: &'static str, error: wireboot_proto::reader::DecodeError) -> SyscallError {
    SyscallError::of(call, io::Error::new(io::ErrorKind::InvalidData, error))
}

fn refusal(call: &'static str, ack: Ack) -> SyscallError {
    let source = io::Error::from_raw_os_error(ack.errno);
    match ack.text {
        None => SyscallError::of(call, source),
        Some(text) => SyscallError::explained(call, source, &text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_leaves_the_error_number() {
        let ack = Ack {
            errno: libc::ENODEV,
            text: Some("ipv4: Device not found".to_owned()),
        };
        let error = refusal("netlink(RTM_NEWADDR)", ack);
        assert!(error.is(Errno::ENODEV));
        assert_eq!(
            error.chain(),
            "netlink(RTM_NEWADDR) failed (ipv4: Device not found): No such device (os error 19)"
        );
    }
}
