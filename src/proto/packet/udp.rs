//! UDP datagrams (RFC 768), alone or in an Ethernet frame with all headers.

use crate::prelude::*;
use alloc::boxed::Box;
use core::net::{Ipv4Addr, SocketAddrV4};

use super::ethernet::{ETHERTYPE_IPV4, EthernetHeader, MacAddress};
use super::ipv4::{Ipv4Header, PROTOCOL_UDP};
use crate::packet::ipv4::checksum;
use crate::reader::{DecodeError, DecodeFault, Reader};

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
pub fn header6(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ethernet::ETHERTYPE_ARP;

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
