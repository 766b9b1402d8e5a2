//! The DHCP message (RFC 2131 §2).

use crate::prelude::*;
use core::fmt;
use core::net::Ipv4Addr;

use super::ethernet::MacAddress;
use super::option::{Options, code};
use crate::reader::{DecodeError, Reader};

/// UDP port of servers and relays.
pub const SERVER_PORT: u16 = 67;
/// UDP port of clients.
pub const CLIENT_PORT: u16 = 68;
/// Length of the shortest message that old relays forward (RFC 1542 §2.1), in bytes.
pub const MIN_LEN: usize = 300;

// Linux presents wireless interfaces as Ethernet (ARPHRD_ETHER) too.
const HTYPE_ETHERNET: u8 = 1;
const HLEN_ETHERNET: u8 = 6;
// The cookie and the flag of RFC 2131 §3 and §2, and the bits of option 52 (RFC 2132 §9.3).
const MAGIC_COOKIE: u32 = 0x6382_5363;
const FLAG_BROADCAST: u16 = 0x8000;
const OVERLOAD_FILE: u8 = 1;
const OVERLOAD_SNAME: u8 = 2;

/// Direction of a message: the `op` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A client.
    BootRequest,
    /// A server or relay.
    BootReply,
}

/// The type of a message (RFC 2132 §9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 2131 Table 2 says what each is")]
pub enum MessageType {
    Discover = 1,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

impl MessageType {
    const ALL: [Self; 8] = [
        Self::Discover,
        Self::Offer,
        Self::Request,
        Self::Decline,
        Self::Ack,
        Self::Nak,
        Self::Release,
        Self::Inform,
    ];
}

impl fmt::Display for MessageType {
    /// Writes the name in capitals, as the RFCs do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discover => "DISCOVER",
            Self::Offer => "OFFER",
            Self::Request => "REQUEST",
            Self::Decline => "DECLINE",
            Self::Ack => "ACK",
            Self::Nak => "NAK",
            Self::Release => "RELEASE",
            Self::Inform => "INFORM",
        })
    }
}

impl From<MessageType> for u8 {
    fn from(message_type: MessageType) -> Self {
        message_type as Self
    }
}

/// A DHCP message with its options joined.
///
/// ```text
/// | op 1 | htype 1 | hlen 1 | hops 1 | xid 4 | secs 2 | flags 2 | ciaddr 4 | yiaddr 4 |
/// | siaddr 4 | giaddr 4 | chaddr 16 | sname 64 | file 128 | 63825363 | options … |
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Direction: request or reply.
    pub op: Op,
    /// Transaction identifier, chosen by the client.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Whether the client asks for replies by broadcast.
    pub broadcast: bool,
    /// The client's address, if it can receive there.
    pub ciaddr: Ipv4Addr,
    /// "Your" address: the one that the server offers or grants.
    pub yiaddr: Ipv4Addr,
    /// The next server of the boot.
    pub siaddr: Ipv4Addr,
    /// The relay.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: MacAddress,
    /// Name of the boot server, up to its NUL; empty when the field holds options.
    pub sname: Vec<u8>,
    /// The boot file, up to its NUL; empty when the field holds options.
    pub file: Vec<u8>,
    /// The options of all areas.
    pub options: Options,
}

impl Message {
    /// Returns a reply that grants `yiaddr`, for tests.
    #[cfg(any(test, feature = "fixtures"))]
    pub fn reply(yiaddr: Ipv4Addr, options: Options) -> Self {
        Self {
            op: Op::BootReply,
            xid: 1,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: MacAddress([2; 6]),
            sname: Vec::new(),
            file: Vec::new(),
            options,
        }
    }

    /// Decodes a message for an Ethernet client.
    ///
    /// An undecodable option ends only its own area (`options`, `file` or `sname`).
    ///
    /// # Errors
    /// [`DecodeError`] if the fixed part is truncated, is for other hardware, or lacks the cookie.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let op = match reader.u8("op")? {
            1 => Op::BootRequest,
            2 => Op::BootReply,
            other => return Err(crate::reader::invalid("op", other)),
        };
        match reader.u8("htype")? {
            HTYPE_ETHERNET => {}
            other => return Err(crate::reader::invalid("htype", other)),
        }
        match reader.u8("hlen")? {
            HLEN_ETHERNET => {}
            other => return Err(crate::reader::invalid("hlen", other)),
        }
        reader.take(1, "hops")?;
        let xid = reader.u32("xid")?;
        let secs = reader.u16("secs")?;
        let flags = reader.u16("flags")?;
        let ciaddr = Ipv4Addr::from(reader.array("ciaddr")?);
        let yiaddr = Ipv4Addr::from(reader.array("yiaddr")?);
        let siaddr = Ipv4Addr::from(reader.array("siaddr")?);
        let giaddr = Ipv4Addr::from(reader.array("giaddr")?);
        let chaddr = MacAddress(reader.array("chaddr")?);
        // RFC 2131 §2: 16 bytes, of which Ethernet has 6.
        reader.take(10, "chaddr")?;
        let sname = reader.take(64, "sname")?;
        let file = reader.take(128, "file")?;
        match reader.u32("magic cookie")? {
            MAGIC_COOKIE => {}
            other => return Err(crate::reader::invalid("magic cookie", other)),
        }
        let mut options = Options::default();
        // Options before a fault are used: one bad option must not cost the lease.
        let _ = options.read_area(reader.rest());
        let overload = options.u8(code::OVERLOAD).unwrap_or(0);
        let mut field = |holds_options: u8, bytes: &[u8]| {
            if overload & holds_options == 0 || is_text(bytes) {
                return up_to_nul(bytes);
            }
            let _ = options.read_area(bytes);
            Vec::new()
        };
        // RFC 3396 §5: parts are joined in the order `options`, `file`, `sname`.
        let file = field(OVERLOAD_FILE, file);
        let sname = field(OVERLOAD_SNAME, sname);
        Ok(Self {
            op,
            xid,
            secs,
            broadcast: flags & FLAG_BROADCAST != 0,
            ciaddr,
            yiaddr,
            siaddr,
            giaddr,
            chaddr,
            sname,
            file,
            options,
        })
    }

    /// Returns the message type (option 53), if it is one of RFC 2131.
    pub fn message_type(&self) -> Option<MessageType> {
        let value = self.options.u8(code::MESSAGE_TYPE)?;
        MessageType::ALL
            .into_iter()
            .find(|message_type| u8::from(*message_type) == value)
    }

    /// Appends the message to `buf`, padded to [`MIN_LEN`]. Long options are split (RFC 3396).
    ///
    /// # Errors
    /// `DecodeFault::Invalid` when `sname` or `file` is longer than its field.
    pub fn encode(&self, buf: &mut Vec<u8>) -> Result<(), DecodeError> {
        // RFC 2131 §2: both are strings with a NUL at their end.
        if self.sname.len() >= 64 {
            return Err(crate::reader::invalid("sname", self.sname.len() as u64));
        }
        if self.file.len() >= 128 {
            return Err(crate::reader::invalid("file", self.file.len() as u64));
        }
        let start = buf.len();
        let op = match self.op {
            Op::BootRequest => 1,
            Op::BootReply => 2,
        };
        let flags = if self.broadcast { FLAG_BROADCAST } else { 0 };
        // RFC 2131 §2: a client sets `hops` to 0; relays increment it.
        buf.extend_from_slice(&[op, HTYPE_ETHERNET, HLEN_ETHERNET, 0]);
        buf.extend_from_slice(&self.xid.to_be_bytes());
        buf.extend_from_slice(&self.secs.to_be_bytes());
        buf.extend_from_slice(&flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            buf.extend_from_slice(&address.octets());
        }
        for (field, len) in [
            (&self.chaddr.0[..], 16),
            (&self.sname, 64),
            (&self.file, 128),
        ] {
            let end = buf.len() + len;
            buf.extend_from_slice(field);
            buf.resize(end, 0);
        }
        buf.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        self.options.encode(buf);
        buf.resize(buf.len().max(start + MIN_LEN), code::PAD);
        Ok(())
    }
}

/// Returns whether a field has a name in it and nothing else, whatever option 52 says: options have lengths
/// or an end that are no printable characters.
fn is_text(field: &[u8]) -> bool {
    let len = field.iter().position(|byte| *byte == 0);
    let (name, rest) = field.split_at(len.unwrap_or(field.len()));
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic) && rest.iter().all(|byte| *byte == 0)
}

fn up_to_nul(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::DecodeFault;

    fn offer() -> Message {
        let mut options = Options::default();
        options.set(code::MESSAGE_TYPE, [2]);
        options.set(code::SERVER_IDENTIFIER, [192, 0, 2, 1]);
        options.set(code::VENDOR_SPECIFIC, [7; 300]);
        options.set(224, *b"kept");
        Message {
            op: Op::BootReply,
            xid: 0x1234_5678,
            secs: 3,
            broadcast: true,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::new(192, 0, 2, 100),
            siaddr: Ipv4Addr::new(192, 0, 2, 2),
            giaddr: Ipv4Addr::new(192, 0, 2, 3),
            chaddr: MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            sname: b"boot.example".to_vec(),
            file: b"pxelinux.0".to_vec(),
            options,
        }
    }

    fn encoded(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_message_is_read_as_it_was_written_with_a_split_option() {
        let bytes = encoded(&offer());
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.message_type(), Some(MessageType::Offer));
        for (code, value) in offer().options.iter() {
            assert_eq!(message.options.get(code), Some(value));
        }
        assert_eq!(
            Message {
                options: offer().options,
                ..message
            },
            offer()
        );
    }

    #[test]
    fn an_option_without_a_value_is_written() {
        let mut options = Options::default();
        options.set(code::RAPID_COMMIT, []);
        let message = Message { options, ..offer() };
        let read = Message::decode(&encoded(&message)).unwrap();
        assert_eq!(read.options.get(code::RAPID_COMMIT), Some(&[][..]));
    }

    #[test]
    fn a_short_message_is_padded_for_old_relays() {
        let message = Message {
            options: Options::default(),
            ..offer()
        };
        assert_eq!(encoded(&message).len(), MIN_LEN);
    }

    #[test]
    fn overloaded_fields_hold_options_and_no_names() {
        let message = Message {
            sname: vec![],
            file: vec![],
            options: Options::default(),
            ..offer()
        };
        let mut bytes = encoded(&message);
        bytes.truncate(240);
        bytes.extend_from_slice(&[53, 1, 2, 67, 1, b'b', 52, 1, 3, 255]);
        bytes[108..114].copy_from_slice(&[67, 2, b'/', b'a', 255, 9]);
        bytes[44..51].copy_from_slice(&[66, 1, b's', 67, 1, b'x', 255]);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.options.get(67), Some(&b"b/ax"[..]));
        assert_eq!(message.options.text(66), Some("s"));
        assert!(message.file.is_empty() && message.sname.is_empty());
    }

    #[test]
    fn overload_and_type_count_once_wherever_they_are_repeated() {
        let mut bytes = encoded(&Message {
            file: vec![],
            ..offer()
        });
        bytes.truncate(240);
        bytes.extend_from_slice(&[53, 1, 2, 52, 1, 1, 53, 1, 5, 52, 1, 1, 255]);
        bytes[108..120].copy_from_slice(&[53, 1, 6, 52, 1, 3, 54, 4, 192, 0, 2, 1]);
        bytes[120..126].copy_from_slice(&[54, 4, 192, 0, 2, 9]);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.message_type(), Some(MessageType::Offer));
        let server = message.options.address(code::SERVER_IDENTIFIER);
        assert_eq!(server, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(message.sname, b"boot.example");
    }

    #[test]
    fn a_name_in_a_field_that_should_hold_options_is_a_name() {
        for overload in [1, 2, 3, 0xff] {
            for name in [&b"pxelinux.0"[..], &[b'p'; 128], b""] {
                let mut bytes = encoded(&offer());
                bytes.truncate(240);
                bytes.extend_from_slice(&[53, 1, 2, 52, 1, overload, 255]);
                bytes[108..236].fill(0);
                bytes[108..108 + name.len()].copy_from_slice(name);
                let message = Message::decode(&bytes).unwrap();
                assert_eq!(message.file, name, "{overload}");
                assert_eq!(message.sname, b"boot.example");
                assert_eq!(message.options.iter().count(), 2);
            }
        }
    }

    #[test]
    fn a_truncated_option_does_not_cost_the_message() {
        let mut bytes = encoded(&offer());
        bytes.truncate(240);
        bytes.extend_from_slice(&[53, 1, 5, 54, 4, 192]);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.message_type(), Some(MessageType::Ack));
        assert_eq!(message.options.get(54), None);
    }

    #[test]
    fn no_prefix_of_the_fixed_part_decodes() {
        let bytes = encoded(&offer());
        for len in 0..240 {
            let result = Message::decode(&bytes[..len]);
            assert!(
                matches!(&result, Err(error) if matches!(**error, DecodeFault::Truncated { .. })),
                "{len}"
            );
        }
    }

    #[test]
    fn other_hardware_lengths_and_cookies_are_refused() {
        for (at, byte, field) in [
            (0, 3, "op"),
            (1, 6, "htype"),
            (2, 200, "hlen"),
            (236, 0, "magic cookie"),
        ] {
            let mut bytes = encoded(&offer());
            bytes[at] = byte;
            let result = Message::decode(&bytes);
            assert!(
                matches!(&result, Err(error) if matches!(**error, DecodeFault::Invalid { field: found, .. } if found == field))
            );
        }
    }
}
