//! Checks of replies (RFC 2131 §4.4), from cheap to specific.
//!
//! The source port is not checked: RFC 2131 §4.1 fixes only destination ports, and a server behind address
//! translation, as in a cluster, answers from any port.

use core::net::Ipv4Addr;

use crate::packet::dhcp::{Message, MessageType, Op};
use crate::packet::ethernet::MacAddress;
use crate::packet::option::code;
use crate::packet::udp::Datagram;
use crate::reader::DecodeError;

/// Reason why a datagram is ignored. Not an error, since any host can send anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is not a DHCP message.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    /// It is another client's request.
    #[error("it is a request")]
    NotAReply,
    /// It belongs to another exchange.
    #[error("xid {0:#010x} is not ours")]
    WrongXid(u32),
    /// It is for another machine.
    #[error("chaddr {0} is not ours")]
    WrongChaddr(MacAddress),
    /// It is a BOOTP reply, or of a type that is not in RFC 2131.
    #[error("no DHCP message type")]
    NoMessageType,
    /// It has no server identifier.
    #[error("no server identifier")]
    NoServerIdentifier,
    /// It is from another server than the requested one.
    #[error("server {0} was not asked")]
    WrongServer(Ipv4Addr),
    /// It grants another address than the requested one.
    #[error("{0} is not the requested address")]
    WrongAddress(Ipv4Addr),
    /// It grants an address that is not a host's.
    #[error("{0} is not a host's address")]
    UnusableAddress(Ipv4Addr),
    /// It grants the network's address or the one for broadcasts, with this prefix.
    #[error("{0}/{1} (option 1) is the address of a network, or for broadcasts")]
    AddressOfNetwork(Ipv4Addr, u8),
    /// It grants the address of the server that sends it.
    #[error("{0} is the server's own address (option 54)")]
    AddressOfServer(Ipv4Addr),
    /// It has no boot file for the query.
    #[error("it does not answer the query")]
    NoAnswer,
    /// This server has answered before.
    #[error("server {0} has answered before")]
    Repeated(Ipv4Addr),
    /// Nothing of this type is expected now.
    #[error("{0} is not expected now")]
    Unexpected(MessageType),
}

impl Discard {
    /// Returns whether the message is valid but late: a duplicate, or after another offer was chosen.
    pub const fn is_usual(self) -> bool {
        matches!(
            self,
            Self::NotAReply | Self::Repeated(_) | Self::Unexpected(MessageType::Offer)
        )
    }
}

/// A reply to this client.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) message: Message,
    pub(super) message_type: MessageType,
    /// The server identifier (option 54). RFC 2131 Table 3 requires it in every reply; some servers omit
    /// it from ACKs and NAKs.
    pub(super) server: Option<Ipv4Addr>,
    /// Source address: the server, or the relay or router before it.
    pub(super) source: Ipv4Addr,
}

impl Reply {
    /// Returns the server identifier.
    pub(super) fn named_server(&self) -> Result<Ipv4Addr, Discard> {
        self.server.ok_or(Discard::NoServerIdentifier)
    }

    /// Returns the server identifier, or else the server that was `asked`, or else the source address.
    pub(super) fn server_or(&self, asked: Option<Ipv4Addr>) -> Result<Ipv4Addr, Discard> {
        let source = Some(self.source).filter(|source| is_host(*source));
        let server = self.server.or(asked).or(source);
        server.ok_or(Discard::NoServerIdentifier)
    }
}

/// Decodes a datagram and checks that it belongs to the exchange `xid`.
pub(super) fn read(
    datagram: &Datagram<'_>,
    xid: u32,
    chaddr: MacAddress,
) -> Result<Reply, Discard> {
    let message = Message::decode(datagram.payload)?;
    if message.op != Op::BootReply {
        return Err(Discard::NotAReply);
    }
    if message.xid != xid {
        return Err(Discard::WrongXid(message.xid));
    }
    // Two machines may draw the same xid.
    if message.chaddr != chaddr {
        return Err(Discard::WrongChaddr(message.chaddr));
    }
    let message_type = message.message_type().ok_or(Discard::NoMessageType)?;
    let server = message
        .options
        .address(code::SERVER_IDENTIFIER)
        .filter(|server| is_host(*server));
    Ok(Reply {
        message,
        message_type,
        server,
        source: *datagram.source.ip(),
    })
}

/// Returns whether this can be the address of a host.
pub fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // RFC 1122 §3.2.1.3: 0 is "this network", 224 and up are groups and reserved.
    first != 0 && first < 224 && !address.is_loopback()
}
