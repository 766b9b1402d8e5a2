//! DNS messages: queries for addresses and their responses (RFC 1035 §4, RFC 3596, RFC 6891).
//!
//! Of a response only what leads to addresses is kept: records of type A, AAAA and CNAME. Compression
//! pointers lead backwards only and are bounded, and so is the number of records.

// Not hickory-proto, although dhcproto brings its names: `Message` of 0.26 without features adds 116
// KiB to a static binary that has the names already.

use crate::prelude::*;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::reader::{DecodeError, Reader};

/// UDP and TCP port of servers.
pub const PORT: u16 = 53;
/// The largest response over UDP that is asked for: it fits the least MTU of IPv6, as the DNS flag day
/// of 2020 has it. Without EDNS it is 512 bytes (RFC 1035 §4.2.1).
pub const MAX_UDP_LEN: u16 = 1232;
/// Bytes of a name, with the lengths of its labels and the zero at the end (RFC 1035 §2.3.4).
const MAX_NAME_LEN: usize = 255;
/// Compression pointers in one name; encoders write one.
const MAX_POINTERS: u8 = 16;
/// Records that are kept of one response.
const MAX_RECORDS: usize = 256;
/// Class IN.
const INTERNET: u16 = 1;
// RFC 1035 §3.2.2, and RFC 6891 §6.1.1.
const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;
const TYPE_OPT: u16 = 41;

/// A domain name as on the wire: labels behind their lengths, in lower case, without compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Vec<u8>);

impl Name {
    /// Returns the name with this text, with or without a final dot; none when a label is empty or
    /// longer than 63 bytes, or the name is too long.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = Vec::new();
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            let len = u8::try_from(label.len()).ok();
            bytes.push(len.filter(|len| (1..64).contains(len))?);
            bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        bytes.push(0);
        (bytes.len() <= MAX_NAME_LEN).then_some(Self(bytes))
    }

    /// Reads the name at the position of `reader`, which reads `message`.
    fn decode<'a>(message: &'a [u8], reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut bytes = Vec::new();
        let mut cursor = reader.clone();
        // Each pointer must lead to before the last one, so that no chain of them is a loop.
        let mut before = message.len() - cursor.rest().len();
        let mut pointers = 0;
        loop {
            let len = cursor.u8("label length")?;
            match len >> 6 {
                0 => {
                    let label = cursor.take(len.into(), "label")?;
                    bytes.push(len);
                    bytes.extend(label.iter().map(u8::to_ascii_lowercase));
                    if len == 0 {
                        break;
                    }
                }
                0b11 => {
                    let target = usize::from(len & 0x3f) << 8 | usize::from(cursor.u8("pointer")?);
                    // The message goes on behind the first pointer.
                    if pointers == 0 {
                        *reader = cursor;
                    }
                    pointers += 1;
                    if target >= before || pointers > MAX_POINTERS {
                        return Err(crate::reader::invalid("pointer", target as u64));
                    }
                    before = target;
                    cursor = Reader::new(message.get(target..).unwrap_or_default());
                }
                // 01 and 10 are reserved (RFC 1035 §4.1.4).
                _ => return Err(crate::reader::invalid("label length", len)),
            }
            if bytes.len() >= MAX_NAME_LEN {
                return Err(crate::reader::invalid("name length", bytes.len() as u64));
            }
        }
        if pointers == 0 {
            *reader = cursor;
        }
        Ok(Self(bytes))
    }
}

/// A type of records with addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressType {
    /// IPv4, A.
    A = 1,
    /// IPv6, AAAA.
    Aaaa = 28,
}

/// Writes a recursive query into `buf`, replacing its content; with EDNS, larger responses than 512
/// bytes are accepted.
pub fn encode_query(id: u16, name: &Name, kind: AddressType, edns: bool, buf: &mut Vec<u8>) {
    buf.clear();
    // Recursion desired, one question.
    for field in [id, 0x0100, 1, 0, 0, u16::from(edns)] {
        buf.extend_from_slice(&field.to_be_bytes());
    }
    buf.extend_from_slice(&name.0);
    for field in [kind as u16, INTERNET] {
        buf.extend_from_slice(&field.to_be_bytes());
    }
    if edns {
        // The root, type, size, and 6 bytes of zero: extended code, version, flags, no options (RFC
        // 6891 §6.1.2).
        buf.push(0);
        for field in [TYPE_OPT, MAX_UDP_LEN, 0, 0, 0] {
            buf.extend_from_slice(&field.to_be_bytes());
        }
    }
}

/// A response code (RFC 1035 §4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub u8);

impl ResponseCode {
    /// The name has what follows, which may be nothing.
    pub const NO_ERROR: Self = Self(0);
    /// The server does not understand the query.
    pub const FORMAT_ERROR: Self = Self(1);
    /// There is no such name.
    pub const NAME_ERROR: Self = Self(3);
    /// The server does not support the query.
    pub const NOT_IMPLEMENTED: Self = Self(4);

    /// Returns the name that tools print.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "FORMERR",
            2 => "SERVFAIL",
            4 => "NOTIMP",
            5 => "REFUSED",
            _ => "an error",
        }
    }
}

/// A record of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA.
    Address {
        /// The name that has it.
        owner: Name,
        /// The address.
        address: IpAddr,
    },
    /// CNAME.
    Alias {
        /// The name that is an alias.
        owner: Name,
        /// The name that it is an alias of.
        target: Name,
    },
}

/// The used fields of a response.
///
/// ```text
/// id 2 | flags 2 | questions 2 | answers 2 | authorities 2 | additional 2 | question | records |
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The number of the query.
    pub id: u16,
    /// Whether records are missing, which TCP would bring.
    pub is_truncated: bool,
    /// Whether the server only refers to others: it is no authority and offers no recursion.
    pub is_referral: bool,
    /// Whether an SOA record says that there is no more than the answer has (RFC 2308 §2.2).
    pub is_final: bool,
    /// The response code.
    pub code: ResponseCode,
    /// Name and type of the question; none where the server does not repeat it.
    pub question: Option<(Name, u16)>,
    /// The records of the answer that lead to addresses.
    pub records: Vec<Record>,
}

impl Response {
    /// Decodes a response.
    ///
    /// # Errors
    /// The field that is truncated or not as it has to be. A response that says that it is truncated
    /// may end within a record.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        let id = reader.u16("id")?;
        let flags = reader.u16("flags")?;
        // QR set and OPCODE zero: a response to a standard query.
        if flags & 0xf800 != 0x8000 {
            return Err(crate::reader::invalid("flags", flags));
        }
        let questions = reader.u16("questions")?;
        let answers = reader.u16("answers")?;
        let authorities = reader.u16("authorities")?;
        reader.u16("additional records")?;
        let question = match questions {
            0 => None,
            1 => {
                let name = Name::decode(message, &mut reader)?;
                let kind = reader.u16("question type")?;
                match reader.u16("question class")? {
                    INTERNET => {}
                    class => return Err(crate::reader::invalid("question class", class)),
                }
                Some((name, kind))
            }
            _ => return Err(crate::reader::invalid("questions", questions)),
        };
        let is_truncated = flags & 0x0200 != 0;
        let mut records = Vec::new();
        let mut is_final = false;
        for index in 0..u32::from(answers) + u32::from(authorities) {
            match record(message, &mut reader) {
                Ok(read) if index < answers.into() => records.extend(read.0),
                Ok((_, kind)) => is_final |= kind == TYPE_SOA,
                Err(_) if is_truncated => break,
                Err(error) => return Err(error),
            }
            if records.len() >= MAX_RECORDS {
                break;
            }
        }
        Ok(Self {
            id,
            is_truncated,
            // AA and RA.
            is_referral: flags & 0x0480 == 0 && answers == 0,
            is_final,
            code: ResponseCode((flags & 0xf) as u8),
            question,
            records,
        })
    }
}

/// Reads a record; returns it if it is used, and its type.
fn record<'a>(
    message: &'a [u8],
    reader: &mut Reader<'a>,
) -> Result<(Option<Record>, u16), DecodeError> {
    let owner = Name::decode(message, reader)?;
    let kind = reader.u16("type")?;
    let class = reader.u16("class")?;
    reader.u32("ttl")?;
    let len = reader.u16("rdlength")?;
    // A name in it may point to anywhere before.
    let mut data = reader.clone();
    let bytes = reader.take(len.into(), "rdata")?;
    let address = |address: IpAddr| {
        Some(Record::Address {
            owner: owner.clone(),
            address,
        })
    };
    let record = match (class, kind) {
        (INTERNET, TYPE_CNAME) => Some(Record::Alias {
            target: Name::decode(message, &mut data)?,
            owner,
        }),
        (INTERNET, kind) if kind == AddressType::A as u16 => match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => address(Ipv4Addr::from(bytes).into()),
            Err(_) => return Err(crate::reader::invalid("rdlength", len)),
        },
        (INTERNET, kind) if kind == AddressType::Aaaa as u16 => match <[u8; 16]>::try_from(bytes) {
            Ok(bytes) => address(Ipv6Addr::from(bytes).into()),
            Err(_) => return Err(crate::reader::invalid("rdlength", len)),
        },
        _ => None,
    };
    Ok((record, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::DecodeFault;

    /// A response of BIND to a query for AAAA of www.Example, which is an alias.
    const RESPONSE: &[u8] = &[
        0x12, 0x34, // id
        0x81, 0x80, // QR, RD, RA
        0, 1, 0, 3, 0, 0, 0, 1, // one question, three answers, one additional record
        3, b'w', b'w', b'w', 7, b'E', b'x', b'a', b'm', b'p', b'l', b'e', 0, // at 12
        0, 28, 0, 1, // AAAA IN
        0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, // www.example CNAME
        1, b'a', 0xc0, 16, // a.example, at 41
        0xc0, 41, 0, 16, 0, 1, 0, 0, 0, 60, 0, 2, 1, b'x', // TXT, which is not used
        0xc0, 41, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, // AAAA
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // 2001:db8::1
        0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0, // OPT
    ];

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_response_is_read_with_its_aliases() {
        let expected = Response {
            id: 0x1234,
            is_truncated: false,
            is_referral: false,
            is_final: false,
            code: ResponseCode::NO_ERROR,
            question: Some((name("www.example"), 28)),
            records: vec![
                Record::Alias {
                    owner: name("WWW.example."),
                    target: name("a.example"),
                },
                Record::Address {
                    owner: name("a.example"),
                    address: "2001:db8::1".parse().unwrap(),
                },
            ],
        };
        assert_eq!(Response::decode(RESPONSE), Ok(expected));
        // Additional records are not read.
        let end = RESPONSE.len() - 11;
        for len in 0..end {
            let cut = Response::decode(&RESPONSE[..len]);
            assert!(
                matches!(&cut, Err(error) if matches!(**error, DecodeFault::Truncated { .. })),
                "{len}: {cut:?}"
            );
        }
        assert!(Response::decode(&RESPONSE[..end]).is_ok());
        let mut truncated = RESPONSE.to_vec();
        truncated[2] |= 0x02;
        let cut = Response::decode(&truncated[..end - 3]).unwrap();
        assert_eq!((cut.is_truncated, cut.records.len()), (true, 1));
    }

    #[test]
    fn a_query_asks_for_recursion_and_for_long_datagrams() {
        let mut query = Vec::new();
        encode_query(
            0x1234,
            &name("A.example"),
            AddressType::A,
            false,
            &mut query,
        );
        let plain = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
        assert_eq!(query, plain);
        encode_query(
            0x1234,
            &name("a.example"),
            AddressType::Aaaa,
            true,
            &mut query,
        );
        let edns = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\x01\x01a\x07example\0\0\x1c\0\x01\
                     \0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_eq!(query, edns);
        // A query is no response.
        assert!(Response::decode(&query).is_err());
    }

    #[test]
    fn names_have_labels_of_63_bytes_and_255_bytes_at_most() {
        let label = "a".repeat(63);
        for (text, is_name) in [
            ("a", true),
            ("a.", true),
            ("a_b.c-d.", true),
            (&label, true),
            (&format!("{label}a"), false),
            ("", false),
            (".", false),
            ("a..b", false),
            (".a", false),
            ("a..", false),
            // 3 × 64 + 62 + 1 bytes are the most.
            (&format!("{label}.{label}.{label}.{}", "b".repeat(61)), true),
            (
                &format!("{label}.{label}.{label}.{}", "b".repeat(62)),
                false,
            ),
        ] {
            assert_eq!(Name::parse(text).is_some(), is_name, "{text}");
        }
    }

    #[test]
    fn pointers_lead_backwards_and_end() {
        // A header with one question, whose name is what follows.
        let response = |names: &[u8]| {
            let mut message = b"\0\0\x80\0\0\x01\0\0\0\0\0\0".to_vec();
            message.extend_from_slice(names);
            message.extend_from_slice(&[0, 1, 0, 1]);
            Response::decode(&message)
        };
        let mut long = Vec::new();
        for _ in 0..4 {
            long.push(63);
            long.extend_from_slice(&[b'a'; 63]);
        }
        long.push(0);
        for (names, what) in [
            (&[0xc0, 12][..], "pointer"),
            (&[1, b'a', 0xc0, 12], "pointer"),
            (&[0xc0, 14, 0], "pointer"),
            (&[0xff, 0xff], "pointer"),
            (&[0x40, 0], "label length"),
            (&[0x80, 0], "label length"),
            (&long, "name length"),
        ] {
            let refused = response(names);
            assert!(
                matches!(&refused, Err(error) if matches!(**error, DecodeFault::Invalid { field, .. } if field == what)),
                "{names:?}: {refused:?}"
            );
        }
        // 17 pointers in a row, each to the one before: the name of the answer.
        let chain = |pointers: u8| {
            let mut message = b"\0\0\x80\0\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
            // In a record that is not used.
            message.extend_from_slice(b"\0\0\x10\0\x01\0\0\0\0\0");
            message.push(2 * pointers);
            let mut at = 12;
            for _ in 0..pointers {
                message.extend_from_slice(&[0xc0, at]);
                at = u8::try_from(message.len() - 2).unwrap();
            }
            message[7] = 2;
            message.extend_from_slice(&[0xc0, at]);
            message.extend_from_slice(b"\0\x01\0\x01\0\0\0\0\0\x04\xc0\0\x02\x01");
            Response::decode(&message)
        };
        assert_eq!(chain(15).unwrap().records.len(), 1);
        assert!(chain(16).is_err());
    }

    #[test]
    fn many_records_are_read_up_to_a_limit() {
        let mut message = b"\0\0\x84\0\0\x01\xff\xff\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
        for _ in 0..2000 {
            message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\xc0\0\x02\x01");
        }
        let response = Response::decode(&message).unwrap();
        assert_eq!(response.records.len(), MAX_RECORDS);
    }
}
