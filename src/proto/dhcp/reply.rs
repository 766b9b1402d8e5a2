//! Checks of replies (RFC 2131 §4.4), from cheap to specific.
//!
//! The source port is not checked: RFC 2131 §4.1 fixes only destination ports, and a server behind address
//! translation, as in a cluster, answers from any port.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::config::Config;
use crate::packet::dhcp::{CLIENT_PORT, Message, MessageType, Op};
use crate::packet::ethernet::{ETHERTYPE_IPV4, EthernetHeader, MacAddress, VlanTag};
use crate::packet::ipv4::{Datagram, ipv4_source};
use crate::packet::option::code;
use crate::reader::{DecodeError, DecodeFault};

/// Reason why a datagram is ignored. Not an error, since any host can send anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is not a DHCP message.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    /// It is for another VLAN, or has a tag where the port has none.
    #[error("it is tagged for VLAN {0}, not this port's")]
    Tagged(u16),
    /// It goes to another port than that of clients.
    #[error("it was sent to UDP port {0} instead of 68")]
    WrongPort(u16),
    /// It is marked as a request.
    #[error("it is marked as a request (op 1)")]
    NotAReply,
    /// It belongs to another exchange.
    #[error("xid {0:#010x} is not ours")]
    WrongXid(u32),
    /// It is for another machine.
    #[error("chaddr {0} is not ours")]
    WrongChaddr(MacAddress),
    /// It is for another client on the same hardware address.
    #[error("its client identifier is not ours")]
    WrongClientId,
    /// It is a BOOTP reply.
    #[error("no DHCP message type: a BOOTP server answered, which knows no leases")]
    NoMessageType,
    /// Its type is not in RFC 2131.
    #[error("its DHCP message type (option 53) is unknown")]
    UnknownMessageType,
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
    pub const fn is_usual(&self) -> bool {
        matches!(
            self,
            Self::Repeated(_) | Self::Unexpected(MessageType::Offer)
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

/// Decodes a datagram and checks that it belongs to the exchange `xid` of a client.
pub(super) fn read(datagram: &Datagram<'_>, xid: u32, client: &Config) -> Result<Reply, Discard> {
    let (message, message_type) = read_for(datagram, xid, client.chaddr)?;
    let client_id = |(code, _): &&(u8, Vec<u8>)| *code == code::CLIENT_IDENTIFIER;
    if let Some((_, sent)) = client.identity.iter().find(client_id)
        && let Some(echoed) = message.options.get(code::CLIENT_IDENTIFIER)
        // RFC 6842 §3: a server echoes it, and a client discards what has another. Older servers send
        // none (RFC 2131 Table 3).
        && !echoed.is_empty()
        && echoed != sent
    {
        return Err(Discard::WrongClientId);
    }
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

fn read_for(
    datagram: &Datagram<'_>,
    xid: u32,
    chaddr: MacAddress,
) -> Result<(Message, MessageType), Discard> {
    // RFC 951 has a vendor area without form there, and most servers leave it zero.
    let no_cookie = DecodeFault::Invalid {
        field: "magic cookie",
        value: 0,
    };
    let message = match Message::decode(datagram.payload) {
        Err(fault) if *fault == no_cookie => return Err(Discard::NoMessageType),
        decoded => decoded?,
    };
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
    let missing = match message.options.get(code::MESSAGE_TYPE) {
        None => Discard::NoMessageType,
        Some(_) => Discard::UnknownMessageType,
    };
    let message_type = message.message_type().ok_or(missing)?;
    Ok((message, message_type))
}

/// Returns the source of a frame that has our `xid` or `chaddr`, and why it is no reply to us; none if it
/// is one.
///
/// `tag` is the tag that the kernel took out, and `verify` as in [`Datagram::decode`].
pub fn stray(
    frame: &[u8],
    tag: Option<VlanTag>,
    verify: bool,
    xid: u32,
    chaddr: MacAddress,
) -> Option<(Ipv4Addr, Discard)> {
    let (ethernet, _) = EthernetHeader::decode(frame).ok()?;
    if ethernet.ethertype != ETHERTYPE_IPV4 {
        return None;
    }
    let source = ipv4_source(frame).unwrap_or(Ipv4Addr::UNSPECIFIED);
    // IEEE 802.1Q: 12 bits are the VLAN, the rest priority; VLAN 0 says that there is only a priority.
    let vid = |tci| tci & 0x0fff;
    let tags = [tag.map(|tag| tag.tci), ethernet.vlan];
    if let Some(vid) = tags.into_iter().flatten().map(vid).find(|vid| *vid != 0) {
        return Some((source, Discard::Tagged(vid)));
    }
    let why = match Datagram::decode_frame(frame, verify) {
        Err(error) => error.into(),
        Ok((_, datagram)) if datagram.destination.port() != CLIENT_PORT => {
            Discard::WrongPort(datagram.destination.port())
        }
        Ok((_, datagram)) => read_for(&datagram, xid, chaddr).err()?,
    };
    Some((source, why))
}

/// Returns whether this can be the address of a host.
pub fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // RFC 1122 §3.2.1.3: 0 is "this network", 224 and up are groups and reserved.
    first != 0 && first < 224 && !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::option::Options;
    use core::net::SocketAddrV4;

    const XID: u32 = 7;
    const CHADDR: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 2]);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    /// Where the UDP payload begins in a frame.
    const PAYLOAD: usize = 14 + 20 + 8;

    fn offer() -> Message {
        let mut options = Options::default();
        options.set(code::MESSAGE_TYPE, [2]);
        options.set(code::SERVER_IDENTIFIER, SERVER.octets());
        Message {
            xid: XID,
            chaddr: CHADDR,
            ..Message::reply(Ipv4Addr::new(192, 0, 2, 100), options)
        }
    }

    fn frame(message: &Message, port: u16) -> Vec<u8> {
        let mut payload = Vec::new();
        message.encode(&mut payload).unwrap();
        let datagram = Datagram {
            source: SocketAddrV4::new(SERVER, 67),
            destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, port),
            payload: &payload,
        };
        datagram.encode_frame(OTHER, MacAddress::BROADCAST).unwrap()
    }

    fn why(frame: &[u8]) -> Option<Discard> {
        let (source, why) = stray(frame, None, false, XID, CHADDR)?;
        assert_eq!(source, SERVER);
        Some(why)
    }

    #[test]
    fn what_is_wrong_with_a_reply_that_no_filter_passes_is_named() {
        let message = offer();
        let good = frame(&message, 68);
        assert_eq!(why(&good), None);
        let spoilt = |at: usize, byte: u8| {
            let mut frame = good.clone();
            frame[PAYLOAD + at] = byte;
            why(&frame)
        };
        assert_eq!(spoilt(0, 1), Some(Discard::NotAReply));
        let invalid = |field, value: u8| Some(crate::reader::invalid(field, value).into());
        assert_eq!(spoilt(0, 3), invalid("op", 3));
        assert_eq!(spoilt(1, 6), invalid("htype", 6));
        assert_eq!(spoilt(2, 16), invalid("hlen", 16));
        assert_eq!(spoilt(7, 9), Some(Discard::WrongXid(9)));
        assert_eq!(spoilt(33, 2), Some(Discard::WrongChaddr(OTHER)));
        assert_eq!(why(&frame(&message, 67)), Some(Discard::WrongPort(67)));
        let mut other = good.clone();
        other[12..14].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(why(&other), None, "IPv6");
        let truncated = why(&good[..PAYLOAD + 20]);
        assert!(matches!(truncated, Some(Discard::Malformed(_))));
        let mut wrong_sum = good.clone();
        wrong_sum[PAYLOAD + 33] = 2;
        let checksum = Box::new(DecodeFault::Checksum { field: "UDP" });
        let found = stray(&wrong_sum, None, true, XID, CHADDR);
        assert_eq!(found, Some((SERVER, checksum.into())));
    }

    #[test]
    fn a_tag_is_named_whether_the_kernel_took_it_out_or_left_it() {
        let good = frame(&offer(), 68);
        let tag = |tci| Some(VlanTag { tpid: 0x8100, tci });
        let tagged = Some((SERVER, Discard::Tagged(7)));
        assert_eq!(stray(&good, tag(0x6007), false, XID, CHADDR), tagged);
        assert_eq!(stray(&good, tag(0x6000), false, XID, CHADDR), None);
        let mut inner = good;
        inner.splice(12..12, [0x81, 0, 0x60, 7]);
        assert_eq!(stray(&inner, tag(0), false, XID, CHADDR), tagged);
        assert_eq!(stray(&inner, None, false, XID, CHADDR), tagged);
    }

    #[test]
    fn a_reply_without_a_type_is_of_bootp_with_and_without_the_cookie() {
        let mut message = offer();
        message.options.remove(code::MESSAGE_TYPE);
        let mut bootp = frame(&message, 68);
        assert_eq!(why(&bootp), Some(Discard::NoMessageType));
        bootp[PAYLOAD + 236..PAYLOAD + 300].fill(0);
        assert_eq!(why(&bootp), Some(Discard::NoMessageType));
        message.options.set(code::MESSAGE_TYPE, [13]);
        let unknown = why(&frame(&message, 68));
        assert_eq!(unknown, Some(Discard::UnknownMessageType));
    }

    #[test]
    fn an_echoed_client_identifier_must_be_ours_and_none_counts_too() {
        let mut client = Config::new(CHADDR, 1);
        let ours = [1, 0x52, 0x54, 0, 0, 0, 1];
        client
            .identity
            .push((code::CLIENT_IDENTIFIER, ours.to_vec()));
        let mut without = client.clone();
        without.identity.clear();
        for (echoed, client, expected) in [
            (None, &client, Ok(())),
            (Some(&ours[..]), &client, Ok(())),
            (Some(&[]), &client, Ok(())),
            (Some(&[1, 2, 3]), &client, Err(Discard::WrongClientId)),
            (Some(&[1, 2, 3]), &without, Ok(())),
        ] {
            let mut message = offer();
            if let Some(echoed) = echoed {
                message.options.set(code::CLIENT_IDENTIFIER, echoed);
            }
            let frame = frame(&message, 68);
            let (_, datagram) = Datagram::decode_frame(&frame, true).unwrap();
            assert_eq!(read(&datagram, XID, client).map(|_| ()), expected);
        }
    }
}
