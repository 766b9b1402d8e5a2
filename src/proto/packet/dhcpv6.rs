//! Messages of DHCPv6 between client and server (RFC 8415 §8, which RFC 9915 has replaced).
//!
//! ```text
//! | type 1 | transaction 3 | options … |
//! option  | code 2 | length 2 | value |
//! IA_NA   | IAID 4 | T1 4 | T2 4 | options … |
//! IAADDR  | address 16 | preferred 4 | valid 4 | options … |
//! ```
//!
//! Options are walked one level at a time, so that nesting costs nothing. An option that is cut off ends
//! the message, since nothing behind it can be found.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv6Addr;

use crate::reader::{DecodeError, Reader};

/// The client's port.
pub const CLIENT_PORT: u16 = 546;
/// The port of servers and relays.
pub const SERVER_PORT: u16 = 547;
/// The group of all servers and relays on the link (RFC 8415 §7.1).
pub const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Codes of options.
#[allow(missing_docs, reason = "the names are those of the registry")]
pub mod code {
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_ADDRESS: u16 = 5;
    pub const OPTION_REQUEST: u16 = 6;
    pub const PREFERENCE: u16 = 7;
    pub const ELAPSED_TIME: u16 = 8;
    pub const RELAY_MESSAGE: u16 = 9;
    pub const STATUS_CODE: u16 = 13;
    pub const RAPID_COMMIT: u16 = 14;
    pub const USER_CLASS: u16 = 15;
    pub const VENDOR_CLASS: u16 = 16;
    pub const DNS_SERVERS: u16 = 23;
    pub const DOMAIN_LIST: u16 = 24;
    pub const SNTP_SERVERS: u16 = 31;
    pub const INFORMATION_REFRESH_TIME: u16 = 32;
    pub const CLIENT_FQDN: u16 = 39;
    pub const NTP_SERVER: u16 = 56;
    pub const BOOT_FILE_URL: u16 = 59;
    pub const BOOT_FILE_PARAMETERS: u16 = 60;
    pub const CLIENT_ARCHITECTURE: u16 = 61;
    pub const CLIENT_NII: u16 = 62;
    pub const SOL_MAX_RT: u16 = 82;
    pub const INF_MAX_RT: u16 = 83;
    pub const CAPTIVE_PORTAL: u16 = 103;
}

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageType(pub u8);

#[allow(missing_docs, reason = "the names are those of the registry")]
impl MessageType {
    pub const SOLICIT: Self = Self(1);
    pub const ADVERTISE: Self = Self(2);
    pub const REQUEST: Self = Self(3);
    pub const CONFIRM: Self = Self(4);
    pub const RENEW: Self = Self(5);
    pub const REBIND: Self = Self(6);
    pub const REPLY: Self = Self(7);
    pub const RELEASE: Self = Self(8);
    pub const DECLINE: Self = Self(9);
    pub const INFORMATION_REQUEST: Self = Self(11);
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::SOLICIT => "SOLICIT",
            Self::ADVERTISE => "ADVERTISE",
            Self::REQUEST => "REQUEST",
            Self::CONFIRM => "CONFIRM",
            Self::RENEW => "RENEW",
            Self::REBIND => "REBIND",
            Self::REPLY => "REPLY",
            Self::RELEASE => "RELEASE",
            Self::DECLINE => "DECLINE",
            Self::INFORMATION_REQUEST => "INFORMATION-REQUEST",
            Self(other) => return write!(f, "message {other}"),
        })
    }
}

/// The status of a message or of an option (RFC 8415 §21.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u16);

#[allow(missing_docs, reason = "the names are those of the registry")]
impl Status {
    pub const SUCCESS: Self = Self(0);
    pub const NO_ADDRESSES: Self = Self(2);
    pub const NO_BINDING: Self = Self(3);
    pub const NOT_ON_LINK: Self = Self(4);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "Success",
            1 => "UnspecFail",
            2 => "NoAddrsAvail",
            3 => "NoBinding",
            4 => "NotOnLink",
            5 => "UseMulticast",
            6 => "NoPrefixAvail",
            other => return write!(f, "status {other}"),
        })
    }
}

/// A received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type.
    pub kind: MessageType,
    /// The number of its exchange.
    pub transaction: [u8; 3],
    /// Its options.
    pub options: Options<'a>,
}

impl<'a> Message<'a> {
    /// Decodes a message of a server to a client.
    ///
    /// # Errors
    /// `DecodeFault::Truncated` when it is shorter than its header.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let [kind, transaction @ ..] = reader.array::<4>("msg-type and transaction-id")?;
        Ok(Self {
            kind: MessageType(kind),
            transaction,
            options: Options(reader.rest()),
        })
    }
}

/// Options, in the order in which they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a>(pub &'a [u8]);

impl<'a> Options<'a> {
    /// Returns the codes and values.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut reader = Reader::new(self.0);
        core::iter::from_fn(move || {
            let code = reader.u16("option-code").ok()?;
            let len = reader.u16("option-len").ok()?;
            Some((code, reader.take(len.into(), "option").ok()?))
        })
    }

    /// Returns the value of the first option of this code.
    pub fn get(self, wanted: u16) -> Option<&'a [u8]> {
        self.iter()
            .find_map(|(code, value)| (code == wanted).then_some(value))
    }

    /// Returns the number in an option of four bytes.
    pub fn u32(self, code: u16) -> Option<u32> {
        let bytes = self.get(code)?.try_into();
        bytes.ok().map(u32::from_be_bytes)
    }

    /// Returns the status; success if there is none, or it is malformed.
    pub fn status(self) -> Status {
        let value = self.get(code::STATUS_CODE).and_then(<[u8]>::first_chunk);
        value.map_or(Status::SUCCESS, |number| {
            Status(u16::from_be_bytes(*number))
        })
    }

    /// Returns the identity associations for addresses.
    pub fn associations(self) -> impl Iterator<Item = Association<'a>> {
        let values = self.iter().filter(|(code, _)| *code == code::IA_NA);
        values.filter_map(|(_, value)| Association::decode(value))
    }
}

/// An identity association for addresses, IA_NA (RFC 8415 §21.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Association<'a> {
    /// Its number, chosen by the client.
    pub iaid: [u8; 4],
    /// When it is to be renewed (T1) and rebound (T2), in seconds; 0 leaves it to the client.
    pub times: [u32; 2],
    /// Addresses and a status.
    pub options: Options<'a>,
}

impl<'a> Association<'a> {
    fn decode(value: &'a [u8]) -> Option<Self> {
        let (head, options) = value.split_first_chunk::<12>()?;
        let [iaid @ .., a, b, c, d, e, f, g, h] = *head;
        Some(Self {
            iaid,
            times: [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes),
            options: Options(options),
        })
    }

    /// Returns the addresses.
    pub fn addresses(self) -> impl Iterator<Item = AssociatedAddress> {
        let values = self.options.iter();
        let values = values.filter(|(code, _)| *code == code::IA_ADDRESS);
        values.filter_map(|(_, value)| AssociatedAddress::decode(value))
    }
}

/// An address of an identity association (RFC 8415 §21.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssociatedAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// For how long it is preferred, in seconds.
    pub preferred: u32,
    /// For how long it is valid, in seconds.
    pub valid: u32,
    /// Its status.
    pub status: Status,
}

impl AssociatedAddress {
    fn decode(value: &[u8]) -> Option<Self> {
        let (head, options) = value.split_first_chunk::<24>()?;
        let [address @ .., a, b, c, d, e, f, g, h] = *head;
        Some(Self {
            address: Ipv6Addr::from(address),
            preferred: u32::from_be_bytes([a, b, c, d]),
            valid: u32::from_be_bytes([e, f, g, h]),
            status: Options(options).status(),
        })
    }
}

/// Begins a message.
pub fn begin(kind: MessageType, [a, b, c]: [u8; 3]) -> Vec<u8> {
    vec![kind.0, a, b, c]
}

/// Appends an option; a value of more than 65,535 bytes is cut off.
pub fn put(message: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    message.extend(code.to_be_bytes());
    message.extend(len.to_be_bytes());
    message.extend_from_slice(value.get(..len.into()).unwrap_or_default());
}

/// Returns a text behind its length, as options have lists of them.
pub fn counted(text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [
        &len.to_be_bytes(),
        text.get(..len.into()).unwrap_or_default(),
    ]
    .concat()
}

/// Returns the texts in a list of them, each behind its length of two bytes (RFC 5970 §3.2); none if the
/// lengths do not fill the value.
pub fn counted_texts(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = Reader::new(value);
    let mut texts = Vec::new();
    while !reader.is_empty() {
        let len = reader.u16("param-len").ok()?;
        texts.push(reader.take(len.into(), "parameter").ok()?);
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    use dhcproto::v6;
    use dhcproto::{Decodable, Encodable};
    use proptest::prelude::*;

    fn advertise() -> v6::Message {
        let mut message = v6::Message::new_with_id(v6::MessageType::Advertise, [1, 2, 3]);
        let options = message.opts_mut();
        options.insert(v6::DhcpOption::ClientId(vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 1]));
        options.insert(v6::DhcpOption::ServerId(vec![0, 2, 1]));
        let mut inner = v6::DhcpOptions::new();
        inner.insert(v6::DhcpOption::IAAddr(v6::IAAddr {
            addr: "2001:db8::7".parse().unwrap(),
            preferred_life: 100,
            valid_life: 200,
            opts: v6::DhcpOptions::new(),
        }));
        options.insert(v6::DhcpOption::IANA(v6::IANA {
            id: 7,
            t1: 50,
            t2: 80,
            opts: inner,
        }));
        let servers = vec!["2001:db8::53".parse().unwrap(), "fe80::53".parse().unwrap()];
        options.insert(v6::DhcpOption::DomainNameServers(servers));
        message
    }

    #[test]
    fn a_message_is_read_as_another_decoder_wrote_it() {
        let bytes = advertise().to_vec().unwrap();
        let read = Message::decode(&bytes).unwrap();
        assert_eq!(read.kind, MessageType::ADVERTISE);
        assert_eq!(read.transaction, [1, 2, 3]);
        let client = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1][..];
        assert_eq!(read.options.get(code::CLIENT_ID), Some(client));
        let mut associations = read.options.associations();
        let association = associations.next().unwrap();
        assert_eq!(association.iaid, [0, 0, 0, 7]);
        assert_eq!(association.times, [50, 80]);
        let expected = AssociatedAddress {
            address: "2001:db8::7".parse().unwrap(),
            preferred: 100,
            valid: 200,
            status: Status::SUCCESS,
        };
        assert_eq!(association.addresses().collect::<Vec<_>>(), [expected]);
        assert_eq!(associations.next(), None);
        let servers = ["2001:db8::53", "fe80::53"].map(|text| text.parse::<Ipv6Addr>().unwrap());
        let servers = servers.map(|server| server.octets()).concat();
        assert_eq!(read.options.get(code::DNS_SERVERS), Some(&servers[..]));
    }

    #[test]
    fn what_is_written_is_read_by_another_decoder() {
        let mut bytes = begin(MessageType::SOLICIT, [9, 8, 7]);
        put(&mut bytes, code::CLIENT_ID, &[0, 3, 0, 1, 1, 2, 3, 4, 5, 6]);
        put(&mut bytes, code::ELAPSED_TIME, &[0, 5]);
        put(
            &mut bytes,
            code::IA_NA,
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        let read = v6::Message::from_bytes(&bytes).unwrap();
        assert_eq!(read.msg_type(), v6::MessageType::Solicit);
        assert_eq!(read.xid(), [9, 8, 7]);
        let has = |code| read.opts().get(code).is_some();
        assert!(has(v6::OptionCode::ClientId) && has(v6::OptionCode::IANA));
        assert!(has(v6::OptionCode::ElapsedTime));
    }

    #[test]
    fn lengths_beyond_the_end_lose_that_option_and_what_follows() {
        let mut bytes = advertise().to_vec().unwrap();
        let whole = Message::decode(&bytes).unwrap().options.iter().count();
        bytes.truncate(bytes.len() - 1);
        let cut = Message::decode(&bytes).unwrap().options.iter().count();
        assert_eq!(cut, whole - 1);
        for len in 0..4 {
            assert!(Message::decode(&bytes[..len]).is_err());
        }
        assert_eq!(Options(&[0, 13, 0, 1, 0]).status(), Status::SUCCESS);
        assert_eq!(Options(&[0, 13, 0, 2, 0, 2]).status(), Status::NO_ADDRESSES);
        assert_eq!(Options(&[0, 82, 0, 3, 1, 2, 3]).u32(82), None);
        // IA_NA of 11 bytes.
        let short = [&[0, 3, 0, 11][..], &[0; 11]].concat();
        assert_eq!(Options(&short).associations().count(), 0);
    }

    #[test]
    fn counted_texts_fill_their_value() {
        let list = [counted(b"a"), counted(b""), counted(b"bcd")].concat();
        assert_eq!(counted_texts(&list), Some(vec![&b"a"[..], b"", b"bcd"]));
        assert_eq!(counted_texts(b"1234"), None);
        assert_eq!(counted_texts(b""), Some(vec![]));
        assert_eq!(counted(&vec![0; 70_000]).len(), 65_537);
    }

    proptest! {
        #[test]
        fn no_message_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = Message::decode(&bytes) {
                for association in message.options.associations() {
                    let _ = association.addresses().count();
                }
                let _ = message.options.status();
                let _ = counted_texts(&bytes);
            }
        }
    }
}
