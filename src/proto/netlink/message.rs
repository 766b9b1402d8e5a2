//! Netlink framing (RFC 3549 §2.3.2): messages in a datagram, attributes in a message.
//!
//! Numbers are in the byte order of the machine, and everything is padded to four bytes. An
//! invalid length – shorter than the header, longer than the rest – is an error, never a read past the
//! end or an endless loop.

use crate::prelude::*;
use crate::reader::{DecodeError, Reader};

/// Length of `nlmsghdr`, in bytes.
pub const HEADER_LEN: usize = 16;

/// The answer to a request: success or an error (`nlmsg_type`).
pub const NLMSG_ERROR: u16 = 2;
/// The end of a dump.
pub const NLMSG_DONE: u16 = 3;

/// It is a request.
pub const NLM_F_REQUEST: u16 = 0x1;
/// One of several messages that are an answer together; the last one is [`NLMSG_DONE`].
pub const NLM_F_MULTI: u16 = 0x2;
/// Requests an answer on success too.
pub const NLM_F_ACK: u16 = 0x4;
/// Requests all objects.
pub const NLM_F_DUMP: u16 = 0x300;
/// Replaces an existing object.
// The bits of NLM_F_DUMP have this meaning in requests that create an object.
pub const NLM_F_REPLACE: u16 = 0x100;
/// Fails if the object exists.
pub const NLM_F_EXCL: u16 = 0x200;
/// Creates the object if it does not exist.
pub const NLM_F_CREATE: u16 = 0x400;
/// Adds the object after equal ones.
pub const NLM_F_APPEND: u16 = 0x800;

// Of addresses and routes, for both families (linux/if_addr.h, linux/rtnetlink.h).
pub(super) const AF_INET6: u8 = 10;
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_CACHEINFO: u16 = 6;
pub(super) const RT_TABLE_MAIN: u8 = 254;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTN_UNICAST: u8 = 1;

/// In an answer: the request is not repeated after the error.
const NLM_F_CAPPED: u16 = 0x100;
/// In an answer: attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One message of a datagram.
///
/// ```text
/// | nlmsg_len 4 | nlmsg_type 2 | nlmsg_flags 2 | nlmsg_seq 4 | nlmsg_pid 4 | payload … | pad |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetlinkMessage<'a> {
    /// The type (`nlmsg_type`).
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// Sequence number of the request that this answers; 0 for a notification.
    pub sequence: u32,
    /// The payload.
    pub payload: &'a [u8],
}

/// An iterator over the messages of a datagram, up to the first error.
#[derive(Debug, Clone)]
pub struct Frames<'a>(Elements<'a>);

/// Splits a datagram into its messages.
pub const fn frames(datagram: &[u8]) -> Frames<'_> {
    Frames(Elements(Reader::new(datagram)))
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<NetlinkMessage<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_with(|reader| {
            let len = u32::from_ne_bytes(reader.array("nlmsg_len")?);
            let kind = u16::from_ne_bytes(reader.array("nlmsg_type")?);
            let flags = u16::from_ne_bytes(reader.array("nlmsg_flags")?);
            let sequence = u32::from_ne_bytes(reader.array("nlmsg_seq")?);
            reader.take(4, "nlmsg_pid")?;
            let payload = Elements::body(reader, len, HEADER_LEN, "nlmsg_len")?;
            Ok(NetlinkMessage {
                kind,
                flags,
                sequence,
                payload,
            })
        })
    }
}

/// One attribute: `| nla_len 2 | nla_type 2 | value … | pad |`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without the two flag bits at the top.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

/// An iterator over attributes, up to the first error.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(Elements<'a>);

/// Splits the bytes after a message's fixed part, or the value of a nested attribute, into attributes.
pub const fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(Elements(Reader::new(bytes)))
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_with(|reader| {
            let len = u16::from_ne_bytes(reader.array("nla_len")?);
            // The two bits above are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
            let kind = u16::from_ne_bytes(reader.array("nla_type")?) & 0x3fff;
            let value = Elements::body(reader, len.into(), 4, "nla_len")?;
            Ok(Attribute { kind, value })
        })
    }
}

impl<'a> Attribute<'a> {
    /// Reads the value as an array.
    ///
    /// # Errors
    /// `DecodeFault::Truncated` if it is shorter; more bytes, as from newer kernels, are ignored.
    pub fn array<const N: usize>(&self, field: &'static str) -> Result<[u8; N], DecodeError> {
        Reader::new(self.value).array(field)
    }

    /// Reads the value as a number of four bytes.
    ///
    /// # Errors
    /// `DecodeFault::Truncated` when it is shorter.
    pub fn u32(&self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_ne_bytes)
    }

    /// Reads the value as text up to its first zero byte; invalid UTF-8 becomes replacement characters.
    pub fn text(&self) -> String {
        let text = self.value.split(|byte| *byte == 0).next();
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }
}

/// Elements that begin with their own length and are padded to four bytes.
#[derive(Debug, Clone)]
struct Elements<'a>(Reader<'a>);

impl<'a> Elements<'a> {
    fn next_with<T>(
        &mut self,
        decode: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Option<Result<T, DecodeError>> {
        if self.0.is_empty() {
            return None;
        }
        let element = decode(&mut self.0);
        if element.is_err() {
            // Behind a wrong length nothing can be found.
            self.0 = Reader::new(&[]);
        }
        Some(element)
    }

    /// Reads the value after a header of `header_len` bytes, and the padding, which the last element may
    /// lack.
    fn body(
        reader: &mut Reader<'a>,
        len: u32,
        header_len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let invalid = || crate::reader::invalid(field, len);
        let len = usize::try_from(len).map_err(|_| invalid())?;
        let body = reader.take(len.checked_sub(header_len).ok_or_else(invalid)?, field)?;
        // The last message of a datagram may lack its padding.
        let padding = (len.next_multiple_of(4) - len).min(reader.rest().len());
        reader.take(padding, field)?;
        Ok(body)
    }
}

/// The answer to a request: success or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// A positive `errno`; 0 is success.
    pub errno: i32,
    /// The kernel's explanation (NLMSGERR_ATTR_MSG).
    pub text: Option<String>,
}

impl Ack {
    /// Decodes the payload of an `NLMSG_ERROR`: a negative `errno`, the header of the request,
    /// the rest of the request unless capped, and attributes.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is truncated.
    pub fn decode(frame: &NetlinkMessage<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame.payload);
        // The kernel sends error numbers negative, and 0 for success.
        let errno = i32::from_ne_bytes(reader.array("error")?).saturating_neg();
        let mut text = None;
        if frame.flags & NLM_F_ACK_TLVS != 0 {
            let len = u32::from_ne_bytes(reader.array("nlmsg_len")?);
            reader.take(HEADER_LEN - 4, "nlmsghdr")?;
            // netlink_ack() of the kernel repeats the whole request unless the flag says otherwise.
            if frame.flags & NLM_F_CAPPED == 0 {
                Elements::body(&mut reader, len, HEADER_LEN, "nlmsg_len")?;
            }
            for attribute in attributes(reader.rest()) {
                let attribute = attribute?;
                if attribute.kind == NLMSGERR_ATTR_MSG {
                    text = Some(attribute.text());
                }
            }
        }
        Ok(Self { errno, text })
    }
}

/// Writes one message: header, fixed part, attributes.
#[derive(Debug, Clone)]
pub struct Builder(Vec<u8>);

impl Builder {
    /// Starts a message with its fixed part, whose length is a multiple of four.
    pub fn new(kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        // nlmsg_pid: the kernel fills in the port of the socket.
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(fixed);
        Self(bytes)
    }

    /// Appends an attribute.
    ///
    /// A value that does not fit into one (65 531 bytes) is left out; no request has one.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        append(&mut self.0, kind, value);
        self
    }

    /// Completes the message.
    pub fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        for (byte, value) in self.0.iter_mut().zip(len.to_ne_bytes()) {
            *byte = value;
        }
        self.0
    }
}

/// Encodes an attribute, to be the value of another one.
pub fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, kind, value);
    bytes
}

fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    if let Ok(len) = u16::try_from(value.len() + 4) {
        bytes.extend_from_slice(&len.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::DecodeFault;
    use proptest::prelude::*;

    #[test]
    fn messages_and_attributes_are_read_as_they_were_written() {
        let mut datagram = Builder::new(16, 2, 7, &[1, 2, 3, 4])
            .attribute(3, b"eth0\0")
            .attribute(4, &1500_u32.to_ne_bytes())
            .finish();
        assert_eq!(datagram.len(), 16 + 4 + 12 + 8);
        datagram.extend(Builder::new(NLMSG_DONE, 2, 7, &[0; 4]).finish());
        let frames: Vec<_> = frames(&datagram).map(Result::unwrap).collect();
        let [first, second] = frames[..] else {
            panic!("two messages");
        };
        assert_eq!((first.kind, first.flags, first.sequence), (16, 2, 7));
        assert_eq!(second.kind, NLMSG_DONE);
        let attributes: Vec<_> = attributes(&first.payload[4..])
            .map(Result::unwrap)
            .collect();
        assert_eq!(attributes[0].text(), "eth0");
        assert_eq!(attributes[1].u32("IFLA_MTU"), Ok(1500));
    }

    #[test]
    fn a_length_that_lies_ends_the_walk_with_an_error() {
        for (bytes, error) in [
            // Shorter than its own header: would never advance.
            ([0_u8, 0, 1, 0], Some(0_u8)),
            ([3, 0, 1, 0], Some(3)),
            // Longer than what is left.
            ([8, 0, 1, 0], None),
            ([0xff, 0xff, 1, 0], None),
        ] {
            let mut bytes = bytes;
            if cfg!(target_endian = "big") {
                bytes = [bytes[1], bytes[0], bytes[3], bytes[2]];
            }
            let mut walk = attributes(&bytes);
            match error {
                Some(value) => assert_eq!(
                    walk.next(),
                    Some(Err(crate::reader::invalid("nla_len", value)))
                ),
                None => assert!(matches!(
                    walk.next(),
                    Some(Err(error)) if matches!(*error, DecodeFault::Truncated { .. })
                )),
            }
            assert_eq!(walk.next(), None);
        }
        assert!(frames(&[0; 16]).next().is_some_and(|frame| frame.is_err()));
    }

    #[test]
    fn a_refusal_carries_the_text_of_the_kernel() {
        let request = Builder::new(24, 5, 9, &[0; 12]).finish();
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&request);
        let text = Builder::new(0, 0, 0, &[]).attribute(1, b"Nexthop has invalid gateway\0");
        payload.extend_from_slice(&text.finish()[HEADER_LEN..]);
        let mut frame = NetlinkMessage {
            kind: NLMSG_ERROR,
            flags: NLM_F_ACK_TLVS,
            sequence: 9,
            payload: &payload,
        };
        let refusal = Ack {
            errno: 22,
            text: Some("Nexthop has invalid gateway".to_owned()),
        };
        assert_eq!(Ack::decode(&frame), Ok(refusal));
        for len in 0..payload.len() {
            frame.payload = &payload[..len];
            let _ = Ack::decode(&frame);
        }
        frame.flags = 0;
        frame.payload = &[0; 4];
        let success = Ack {
            errno: 0,
            text: None,
        };
        assert_eq!(Ack::decode(&frame), Ok(success));
    }

    proptest! {
        #[test]
        fn a_walk_over_anything_ends(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(frames(&bytes).count() <= bytes.len() / HEADER_LEN + 1);
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4 + 1);
        }
    }
}
