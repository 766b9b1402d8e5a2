//! An Ethernet frame ⇄ the UDP datagram in it, all headers in one pass.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::ethernet::{ETHERTYPE_IPV4, EthernetHeader, MacAddress};
use super::ipv4;
use super::udp::Datagram;
use crate::reader::{DecodeError, Reader};

/// Decodes a frame that carries a UDP datagram over IPv4; returns it with the sender's hardware
/// address. `verify_udp` as in [`Datagram::decode`].
///
/// # Errors
/// [`DecodeError`] for every other frame.
pub fn decode(frame: &[u8], verify_udp: bool) -> Result<(MacAddress, Datagram<'_>), DecodeError> {
    let (ethernet, packet) = EthernetHeader::decode(frame)?;
    if ethernet.ethertype != ETHERTYPE_IPV4 {
        return Err(DecodeError::invalid("ethertype", ethernet.ethertype));
    }
    let (ip, octets) = ipv4::Ipv4Header::decode(packet)?;
    if ip.protocol != ipv4::PROTOCOL_UDP {
        return Err(DecodeError::invalid("protocol", ip.protocol));
    }
    let datagram = Datagram::decode(ip.source, ip.destination, octets, verify_udp)?;
    Ok((ethernet.source, datagram))
}

/// Returns the address that the IPv4 packet in a frame says it comes from, whatever else is wrong
/// with it; none when it ends before.
pub fn source(frame: &[u8]) -> Option<Ipv4Addr> {
    let (_, packet) = EthernetHeader::decode(frame).ok()?;
    let mut reader = Reader::new(packet);
    reader.take(12, "header").ok()?;
    reader.array("source").ok().map(Ipv4Addr::from)
}

/// Returns the frame that carries `datagram` from `source` to `destination`.
///
/// # Errors
/// [`DecodeError::Invalid`] when the datagram is too long for IPv4.
pub fn encode(
    source: MacAddress,
    destination: MacAddress,
    datagram: &Datagram<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let udp_len = datagram.payload.len() + Datagram::HEADER_LEN;
    let mut frame = Vec::with_capacity(EthernetHeader::LEN + ipv4::Ipv4Header::LEN + udp_len);
    EthernetHeader {
        destination,
        source,
        vlan: None,
        ethertype: ETHERTYPE_IPV4,
    }
    .encode(&mut frame);
    ipv4::Ipv4Header {
        source: *datagram.source.ip(),
        destination: *datagram.destination.ip(),
        protocol: ipv4::PROTOCOL_UDP,
    }
    .encode(udp_len, &mut frame)?;
    datagram.encode(&mut frame)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::packet::ethernet::ETHERTYPE_ARP;

    const OURS: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn discover() -> Vec<u8> {
        let datagram = Datagram {
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
            destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
            payload: b"payload",
        };
        encode(OURS, MacAddress::BROADCAST, &datagram).unwrap()
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = discover();
        let (source, datagram) = decode(&frame, true).unwrap();
        assert_eq!(source, OURS);
        assert_eq!(datagram.destination.port(), 67);
        assert_eq!(datagram.payload, b"payload");
        for len in 0..frame.len() {
            assert!(decode(&frame[..len], true).is_err());
        }
    }

    #[test]
    fn the_source_of_a_damaged_packet_is_known_as_far_as_it_goes() {
        let mut frame = discover();
        frame[26..30].copy_from_slice(&[192, 0, 2, 1]);
        assert!(matches!(
            decode(&frame, true),
            Err(DecodeError::Checksum { .. })
        ));
        assert_eq!(source(&frame), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(source(&frame[..30]), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(source(&frame[..29]), None);
    }

    #[test]
    fn a_frame_of_another_protocol_is_refused() {
        let mut frame = discover();
        frame[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
        let error = DecodeError::invalid("ethertype", ETHERTYPE_ARP);
        assert_eq!(decode(&frame, true), Err(error));
    }
}
