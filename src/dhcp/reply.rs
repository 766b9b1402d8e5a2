//! Which replies are for us: the checks of RFC 2131 §4.4, from cheap to specific.

use std::net::Ipv4Addr;

use crate::wire::DecodeError;
use crate::wire::dhcp::{Message, MessageType, Op};
use crate::wire::ethernet::MacAddress;
use crate::wire::option::code;
use crate::wire::udp::Datagram;

/// Why a datagram was not taken. Never an error: anybody can send anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is no DHCP message.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    /// It does not come from a server's port.
    #[error("it comes from port {0}, which is no server's")]
    WrongPort(u16),
    /// It is another client's request.
    #[error("it is a request")]
    NotAReply,
    /// It belongs to another exchange.
    #[error("xid {0:#010x} is not ours")]
    WrongXid(u32),
    /// It is for another machine.
    #[error("chaddr {0} is not ours")]
    WrongChaddr(MacAddress),
    /// It is a BOOTP reply, or has a type that RFC 2131 does not know.
    #[error("it has no DHCP message type")]
    NoMessageType,
    /// It does not say whose it is.
    #[error("it has no server identifier")]
    NoServerIdentifier,
    /// It does not come from the server that was asked.
    #[error("server {0} was not asked")]
    WrongServer(Ipv4Addr),
    /// It grants an address that no host can have.
    #[error("{0} is not a host's address")]
    UnusableAddress(Ipv4Addr),
    /// It does not bring what was asked for.
    #[error("it does not answer the question")]
    NoAnswer,
    /// This server has said so already.
    #[error("server {0} has answered before")]
    Repeated(Ipv4Addr),
    /// Nothing of this type is expected now.
    #[error("{0} is not expected now")]
    Unexpected(MessageType),
}

/// A reply that is for us.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) message: Message,
    pub(super) message_type: MessageType,
    pub(super) server: Ipv4Addr,
}

/// Decodes a datagram from one of the `ports` and checks that it answers our exchange `xid`.
pub(super) fn read(
    datagram: &Datagram<'_>,
    ports: &[u16],
    xid: u32,
    chaddr: MacAddress,
) -> Result<Reply, Discard> {
    if !ports.contains(&datagram.source.port()) {
        return Err(Discard::WrongPort(datagram.source.port()));
    }
    let message = Message::decode(datagram.payload)?;
    if message.op != Op::BootReply {
        return Err(Discard::NotAReply);
    }
    if message.xid != xid {
        return Err(Discard::WrongXid(message.xid));
    }
    if message.chaddr != chaddr {
        return Err(Discard::WrongChaddr(message.chaddr));
    }
    let message_type = message.message_type().ok_or(Discard::NoMessageType)?;
    let server = message
        .options
        .address(code::SERVER_IDENTIFIER)
        .filter(|server| is_host(*server))
        .ok_or(Discard::NoServerIdentifier)?;
    Ok(Reply {
        message,
        message_type,
        server,
    })
}

/// Returns whether a host can have this address.
pub fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224 && !address.is_loopback()
}
