//! The IPv4 header (RFC 791).
//!
//! Options are skipped, and fragments are rejected: no message of a boot exchange needs them.

use crate::prelude::*;
use alloc::boxed::Box;
use core::net::Ipv4Addr;

use crate::reader::{DecodeError, DecodeFault, Reader};

/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// Returns the netmask of a prefix length, 0 to 32; more is as 32.
pub const fn netmask(prefix_len: u8) -> Ipv4Addr {
    let host_bits = 32_u32.saturating_sub(prefix_len as u32);
    // A shift by all 32 bits is none in Rust.
    match u32::MAX.checked_shl(host_bits) {
        Some(mask) => Ipv4Addr::from_bits(mask),
        None => Ipv4Addr::UNSPECIFIED,
    }
}

/// Returns whether two addresses have the same prefix of 0 to 32 bits; more is as 32.
pub fn same_network(one: Ipv4Addr, other: Ipv4Addr, prefix_len: u8) -> bool {
    let mask = netmask(prefix_len);
    one & mask == other & mask
}

/// An IPv4 header, with the fields that a boot needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Sender.
    pub source: Ipv4Addr,
    /// Receiver.
    pub destination: Ipv4Addr,
    /// Protocol of the payload.
    pub protocol: u8,
}

impl Ipv4Header {
    /// Length of a header without options, in bytes.
    pub const LEN: usize = 20;

    /// Decodes a header and returns it with the payload, truncated to the header's total length.
    ///
    /// # Errors
    /// [`DecodeError`] for a version other than 4, lengths beyond the packet, a wrong checksum,
    /// or a fragment.
    pub fn decode(packet: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let version_ihl = Reader::new(packet).u8("version")?;
        if version_ihl >> 4 != 4 {
            return Err(crate::reader::invalid("version", version_ihl >> 4));
        }
        // RFC 791 §3.1: the length is in words of 32 bits.
        let header_len = usize::from(version_ihl & 0x0f) * 4;
        if header_len < Self::LEN {
            return Err(crate::reader::invalid("ihl", version_ihl & 0x0f));
        }
        let mut after_header = Reader::new(packet);
        let mut reader = Reader::new(after_header.take(header_len, "header")?);
        // RFC 1071 §1: the checksum over a header with a correct checksum is 0.
        if checksum(&[reader.rest()]) != 0 {
            return Err(Box::new(DecodeFault::Checksum {
                field: "IPv4 header",
            }));
        }
        reader.take(2, "type of service")?;
        let total_len = usize::from(reader.u16("total length")?);
        reader.take(2, "identification")?;
        let fragment = reader.u16("fragment offset")?;
        // More fragments, or an offset; the bit above is "don't fragment".
        if fragment & 0x3fff != 0 {
            return Err(Box::new(DecodeFault::Fragment));
        }
        reader.take(1, "time to live")?;
        let protocol = reader.u8("protocol")?;
        reader.take(2, "header checksum")?;
        let source = Ipv4Addr::from(reader.array("source")?);
        let destination = Ipv4Addr::from(reader.array("destination")?);
        let payload_len = total_len
            .checked_sub(header_len)
            .ok_or_else(|| crate::reader::invalid("total length", total_len as u64))?;
        // Ethernet pads short frames to 60 bytes; padding is not part of the packet.
        let payload = after_header.take(payload_len, "payload")?;
        let header = Self {
            source,
            destination,
            protocol,
        };
        Ok((header, payload))
    }

    /// Appends the header of a packet with a payload of `payload_len` bytes, unfragmentable, with a time
    /// to live of 64.
    ///
    /// # Errors
    /// [`DecodeFault::Invalid`] when the packet would be longer than 65,535 bytes.
    pub fn encode(&self, payload_len: usize, buf: &mut Vec<u8>) -> Result<(), DecodeError> {
        let total_len = u16::try_from(payload_len + Self::LEN)
            .map_err(|_| crate::reader::invalid("total length", payload_len as u64))?;
        let mut header = Vec::with_capacity(Self::LEN);
        header.extend_from_slice(&[0x45, 0x10]); // no options; low delay, as DHCP clients use
        header.extend_from_slice(&total_len.to_be_bytes());
        // RFC 6864 §4.1: an unfragmentable packet may have any identification.
        header.extend_from_slice(&[0, 0, 0x40, 0, 64, self.protocol]);
        let addresses = [self.source.octets(), self.destination.octets()].concat();
        let sum = checksum(&[&header, &addresses]);
        header.extend_from_slice(&sum.to_be_bytes());
        header.extend_from_slice(&addresses);
        buf.extend_from_slice(&header);
        Ok(())
    }
}

/// Returns the Internet checksum (RFC 1071) over the concatenated `parts`; every part but
/// the last must have an even length.
///
/// The result is 0 for bytes with a correct checksum.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        let (pairs, odd) = part.as_chunks::<2>();
        for pair in pairs {
            sum += u32::from(u16::from_be_bytes(*pair));
            // Folded at once, so that no number of parts overflows it.
            sum = (sum & 0xffff) + (sum >> 16);
        }
        for byte in odd {
            sum += u32::from(*byte) << 8;
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !u16::try_from(sum & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Ipv4Header = Ipv4Header {
        source: Ipv4Addr::new(192, 0, 2, 1),
        destination: Ipv4Addr::BROADCAST,
        protocol: PROTOCOL_UDP,
    };

    fn packet() -> Vec<u8> {
        let mut packet = Vec::new();
        HEADER.encode(4, &mut packet).unwrap();
        packet.extend_from_slice(b"data");
        packet
    }

    fn with_sum(mut packet: Vec<u8>) -> Vec<u8> {
        packet[10..12].fill(0);
        let header_len = usize::from(packet[0] & 15) * 4;
        let sum = checksum(&[&packet[..header_len]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn an_address_is_in_a_network_of_any_length() {
        let [near, far] = [[192, 0, 2, 9], [198, 51, 100, 9]].map(Ipv4Addr::from);
        let own = Ipv4Addr::new(192, 0, 2, 1);
        for (prefix_len, expected) in [(0, [true, true]), (24, [true, false]), (32, [false, false])]
        {
            assert_eq!(
                [near, far].map(|target| same_network(target, own, prefix_len)),
                expected
            );
        }
        assert!(same_network(own, own, 32));
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_padding_is_cut_off() {
        let mut packet = packet();
        packet.extend_from_slice(&[0; 22]);
        assert_eq!(Ipv4Header::decode(&packet), Ok((HEADER, &b"data"[..])));
    }

    #[test]
    fn a_mask_has_as_many_bits_as_the_prefix() {
        for (prefix_len, mask) in [
            (0, [0; 4]),
            (1, [128, 0, 0, 0]),
            (20, [255, 255, 240, 0]),
            (32, [255; 4]),
            (33, [255; 4]),
        ] {
            assert_eq!(netmask(prefix_len), Ipv4Addr::from(mask));
        }
    }

    #[test]
    fn addresses_are_in_one_network_when_its_bits_are_equal() {
        let [one, other] = [[192, 0, 2, 1], [192, 0, 3, 1]].map(Ipv4Addr::from);
        let same = [0, 23, 24, 32, 33].map(|prefix_len| same_network(one, other, prefix_len));
        assert_eq!(same, [true, true, false, false, false]);
        assert!(same_network(one, one, 33));
    }

    #[test]
    fn options_are_skipped() {
        let mut packet = packet();
        packet.splice(20..20, [1, 1, 1, 0]);
        packet[0] = 0x46;
        packet[3] += 4;
        assert_eq!(
            Ipv4Header::decode(&with_sum(packet)),
            Ok((HEADER, &b"data"[..]))
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_field() {
        let refused = |at: usize, byte: u8| {
            let mut packet = packet();
            packet[at] = byte;
            Ipv4Header::decode(&with_sum(packet)).unwrap_err()
        };
        assert_eq!(refused(0, 0x65), crate::reader::invalid("version", 6_u8));
        assert_eq!(
            refused(3, 19),
            crate::reader::invalid("total length", 19_u8)
        );
        assert_eq!(refused(6, 0x20), Box::new(DecodeFault::Fragment));
        assert!(matches!(
            *refused(3, 200),
            DecodeFault::Truncated {
                field: "payload",
                ..
            }
        ));
        let mut packet = packet();
        packet[8] ^= 1;
        assert_eq!(
            Ipv4Header::decode(&packet),
            Err(Box::new(DecodeFault::Checksum {
                field: "IPv4 header"
            }))
        );
        packet[0] = 0x44;
        assert_eq!(
            Ipv4Header::decode(&packet),
            Err(crate::reader::invalid("ihl", 4_u8))
        );
    }

    #[test]
    fn no_prefix_decodes() {
        let packet = packet();
        for len in 0..packet.len() {
            assert!(Ipv4Header::decode(&packet[..len]).is_err());
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_example_in_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
        assert_eq!(checksum(&[&bytes[..4], &bytes[4..]]), !0xddf2);
        assert_eq!(checksum(&[&bytes, &(!0xddf2_u16).to_be_bytes()]), 0);
    }
}
