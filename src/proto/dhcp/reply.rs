//! Which replies are for us: the checks of RFC 2131 §4.4, from cheap to specific.
//!
//! The port that a reply comes from is none of them: RFC 2131 §4.1 fixes only where messages go, and
//! a server behind address translation, as in a cluster, answers from any.

use core::net::Ipv4Addr;

use crate::packet::dhcp::{Message, MessageType, Op};
use crate::packet::ethernet::MacAddress;
use crate::packet::option::code;
use crate::packet::udp::Datagram;
use crate::reader::DecodeError;

/// Reason why a datagram is ignored. Never an error: anybody can send anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is no DHCP message.
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
    /// It is a BOOTP reply, or has a type that RFC 2131 does not know.
    #[error("no DHCP message type")]
    NoMessageType,
    /// It does not say whose it is.
    #[error("no server identifier")]
    NoServerIdentifier,
    /// It is from another server than the one that was asked.
    #[error("server {0} was not asked")]
    WrongServer(Ipv4Addr),
    /// It grants another address than the one that was asked for.
    #[error("{0} is not the address that was asked for")]
    WrongAddress(Ipv4Addr),
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

impl Discard {
    /// Returns whether there is nothing wrong with the message: it comes once more, or another offer
    /// was chosen already.
    pub const fn is_usual(self) -> bool {
        matches!(
            self,
            Self::NotAReply | Self::Repeated(_) | Self::Unexpected(MessageType::Offer)
        )
    }
}

/// A reply that is for us.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) message: Message,
    pub(super) message_type: MessageType,
    /// Who it says it is of (option 54). RFC 2131 Table 3 demands it of every reply; some servers
    /// leave it out of ACKs and NAKs.
    pub(super) server: Option<Ipv4Addr>,
    /// Source address: the server, or the relay or router before it.
    pub(super) source: Ipv4Addr,
}

impl Reply {
    /// Returns who it says it is of.
    pub(super) fn named_server(&self) -> Result<Ipv4Addr, Discard> {
        self.server.ok_or(Discard::NoServerIdentifier)
    }

    /// Returns who it says it is of, or else who was `asked`, or else its source address.
    pub(super) fn server_or(&self, asked: Option<Ipv4Addr>) -> Result<Ipv4Addr, Discard> {
        let source = Some(self.source).filter(|source| is_host(*source));
        let server = self.server.or(asked).or(source);
        server.ok_or(Discard::NoServerIdentifier)
    }
}

/// Decodes a datagram and checks that it answers our exchange `xid`.
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

/// Returns whether a host can have this address.
pub fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // RFC 1122 §3.2.1.3: 0 is "this network", 224 and up are groups and reserved.
    first != 0 && first < 224 && !address.is_loopback()
}
