//! The IPv4 header (RFC 791), and UDP datagrams (RFC 768) in it, alone or in an Ethernet frame with all
//! headers.
//!
//! Options are skipped, and fragments are rejected: no message of a boot exchange needs them.

use crate::prelude::*;
use alloc::boxed::Box;
use core::net::{Ipv4Addr, SocketAddrV4};

use super::ethernet::{ETHERTYPE_IPV4, EthernetHeader, MacAddress};
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

/// A UDP datagram with its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Sender.
    pub source: SocketAddrV4,
    /// Receiver.
    pub destination: SocketAddrV4,
    /// The payload.
    pub payload: &'a [u8],
}

/// Returns a datagram of IPv6 without its checksum, which is over the addresses, too.
pub fn udp_header6(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    // A message fits in a packet.
    let [.., high, low] = (Datagram::HEADER_LEN + payload.len()).to_be_bytes();
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [&[a, b, c, d, high, low, 0, 0], payload].concat()
}

impl<'a> Datagram<'a> {
    /// Length of the header, in bytes.
    pub const HEADER_LEN: usize = 8;

    /// Decodes a datagram from the payload of an IPv4 packet from `source` to `destination`.
    ///
    /// `verify` enables the checksum test: a local sender's kernel may have left the checksum to a
    /// network card that the packet never reached. 0 means no checksum.
    ///
    /// # Errors
    /// [`DecodeError`] for an invalid length or a wrong checksum.
    pub fn decode(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        bytes: &'a [u8],
        verify: bool,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let source_port = reader.u16("source port")?;
        let destination_port = reader.u16("destination port")?;
        let len = usize::from(reader.u16("length")?);
        let sum = reader.u16("checksum")?;
        let payload_len = len
            .checked_sub(Self::HEADER_LEN)
            .ok_or_else(|| crate::reader::invalid("length", len as u64))?;
        let payload = reader.take(payload_len, "payload")?;
        if verify && sum != 0 {
            let datagram = Reader::new(bytes).take(len, "length")?;
            let pseudo = pseudo_header(source, destination, len);
            if checksum(&[&pseudo, datagram]) != 0 {
                return Err(Box::new(DecodeFault::Checksum { field: "UDP" }));
            }
        }
        Ok(Self {
            source: SocketAddrV4::new(source, source_port),
            destination: SocketAddrV4::new(destination, destination_port),
            payload,
        })
    }

    /// Appends the datagram, header first and with its checksum, to `buf`.
    ///
    /// # Errors
    /// [`DecodeFault::Invalid`] if it would be longer than 65,535 bytes.
    pub fn encode(&self, buf: &mut Vec<u8>) -> Result<(), DecodeError> {
        let len = self.payload.len() + Self::HEADER_LEN;
        let len_field =
            u16::try_from(len).map_err(|_| crate::reader::invalid("length", len as u64))?;
        let mut header = Vec::with_capacity(Self::HEADER_LEN);
        header.extend_from_slice(&self.source.port().to_be_bytes());
        header.extend_from_slice(&self.destination.port().to_be_bytes());
        header.extend_from_slice(&len_field.to_be_bytes());
        let pseudo = pseudo_header(*self.source.ip(), *self.destination.ip(), len);
        let sum = match checksum(&[&pseudo, &header, self.payload]) {
            0 => 0xffff, // 0 would mean "no checksum"
            sum => sum,
        };
        header.extend_from_slice(&sum.to_be_bytes());
        buf.extend_from_slice(&header);
        buf.extend_from_slice(self.payload);
        Ok(())
    }

    /// Decodes an Ethernet frame that carries a UDP datagram over IPv4; returns the datagram with
    /// the sender's hardware address. `verify` as in [`Datagram::decode`].
    ///
    /// # Errors
    /// [`DecodeError`] for every other frame.
    pub fn decode_frame(frame: &'a [u8], verify: bool) -> Result<(MacAddress, Self), DecodeError> {
        let (ethernet, packet) = EthernetHeader::decode(frame)?;
        if ethernet.ethertype != ETHERTYPE_IPV4 {
            return Err(crate::reader::invalid("ethertype", ethernet.ethertype));
        }
        let (ip, bytes) = Ipv4Header::decode(packet)?;
        if ip.protocol != PROTOCOL_UDP {
            return Err(crate::reader::invalid("protocol", ip.protocol));
        }
        let datagram = Self::decode(ip.source, ip.destination, bytes, verify)?;
        Ok((ethernet.source, datagram))
    }

    /// Returns the frame that carries the datagram from `source` to `destination`.
    ///
    /// # Errors
    /// [`DecodeFault::Invalid`] when the datagram is too long for IPv4.
    pub fn encode_frame(
        &self,
        source: MacAddress,
        destination: MacAddress,
    ) -> Result<Vec<u8>, DecodeError> {
        let udp_len = self.payload.len() + Self::HEADER_LEN;
        let mut frame = Vec::with_capacity(EthernetHeader::LEN + Ipv4Header::LEN + udp_len);
        EthernetHeader {
            destination,
            source,
            vlan: None,
            ethertype: ETHERTYPE_IPV4,
        }
        .encode(&mut frame);
        Ipv4Header {
            source: *self.source.ip(),
            destination: *self.destination.ip(),
            protocol: PROTOCOL_UDP,
        }
        .encode(udp_len, &mut frame)?;
        self.encode(&mut frame)?;
        Ok(frame)
    }
}

/// Returns the source address of the IPv4 packet in a frame, which may be damaged; none if the frame
/// is too short.
pub fn ipv4_source(frame: &[u8]) -> Option<Ipv4Addr> {
    let (_, packet) = EthernetHeader::decode(frame).ok()?;
    let mut reader = Reader::new(packet);
    reader.take(12, "header").ok()?;
    reader.array("source").ok().map(Ipv4Addr::from)
}

fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, len: usize) -> [u8; 12] {
    let [a, b, c, d] = source.octets();
    let [e, f, g, h] = destination.octets();
    let [.., high, low] = len.to_be_bytes();
    // RFC 768: the checksum includes the addresses, against misrouted datagrams.
    [a, b, c, d, e, f, g, h, 0, PROTOCOL_UDP, high, low]
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
    use crate::packet::ethernet::ETHERTYPE_ARP;

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

    const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    fn encoded(payload: &[u8]) -> Vec<u8> {
        let datagram = Datagram {
            source: SocketAddrV4::new(FROM, 67),
            destination: SocketAddrV4::new(TO, 68),
            payload,
        };
        let mut buf = Vec::new();
        datagram.encode(&mut buf).unwrap();
        buf
    }

    #[test]
    fn a_datagram_is_read_as_it_was_written_whether_odd_or_even() {
        for payload in [&b""[..], b"odd", b"even"] {
            let buf = encoded(payload);
            let datagram = Datagram::decode(FROM, TO, &buf, true).unwrap();
            assert_eq!(datagram.payload, payload);
            assert_eq!(datagram.destination, SocketAddrV4::new(TO, 68));
            for len in 0..buf.len() {
                assert!(Datagram::decode(FROM, TO, &buf[..len], true).is_err());
            }
        }
    }

    #[test]
    fn a_wrong_checksum_counts_only_where_there_is_one_to_verify() {
        let mut buf = encoded(b"data");
        buf[6] ^= 0xff;
        let wrong = Err(Box::new(DecodeFault::Checksum { field: "UDP" }));
        assert_eq!(Datagram::decode(FROM, TO, &buf, true), wrong);
        assert!(Datagram::decode(FROM, TO, &buf, false).is_ok());
        buf[6..8].fill(0);
        assert!(Datagram::decode(FROM, TO, &buf, true).is_ok());
    }

    #[test]
    fn a_length_shorter_than_the_header_is_refused() {
        let mut buf = encoded(b"data");
        buf[5] = 7;
        let error = crate::reader::invalid("length", 7_u8);
        assert_eq!(Datagram::decode(FROM, TO, &buf, true), Err(error));
    }

    const OURS: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn discover() -> Vec<u8> {
        let datagram = Datagram {
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
            destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
            payload: b"payload",
        };
        datagram.encode_frame(OURS, MacAddress::BROADCAST).unwrap()
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = discover();
        let (source, datagram) = Datagram::decode_frame(&frame, true).unwrap();
        assert_eq!(source, OURS);
        assert_eq!(datagram.destination.port(), 67);
        assert_eq!(datagram.payload, b"payload");
        for len in 0..frame.len() {
            assert!(Datagram::decode_frame(&frame[..len], true).is_err());
        }
    }

    #[test]
    fn the_source_of_a_damaged_packet_is_known_as_far_as_it_goes() {
        let mut frame = discover();
        frame[26..30].copy_from_slice(&[192, 0, 2, 1]);
        assert!(matches!(
            Datagram::decode_frame(&frame, true),
            Err(error) if matches!(*error, DecodeFault::Checksum { .. })
        ));
        assert_eq!(ipv4_source(&frame), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(ipv4_source(&frame[..30]), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(ipv4_source(&frame[..29]), None);
    }

    #[test]
    fn a_frame_of_another_protocol_is_refused() {
        let mut frame = discover();
        frame[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
        let error = crate::reader::invalid("ethertype", ETHERTYPE_ARP);
        assert_eq!(Datagram::decode_frame(&frame, true), Err(error));
    }
}
