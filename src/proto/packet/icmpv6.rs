//! Discovery of IPv6 routers (RFC 4861 §4.1, §4.2), as far as a host without IPv6 needs it: to know that
//! there are some.
//!
//! ```text
//! IPv6          | 60 | class, flow label 3 | length 2 | next header 1 | hop limit 1 | source 16 | destination 16 |
//! solicitation  | 85 | code 1 | checksum 2 | reserved 4 |
//! advertisement | 86 | code 1 | checksum 2 | hop limit 1 | flags 1 | lifetime 2 | times 8 | options … |
//! ```

use crate::prelude::*;
use alloc::boxed::Box;
use core::fmt;
use core::net::Ipv6Addr;

use super::ethernet::{ETHERTYPE_IPV6, EthernetHeader, MacAddress};
use super::ipv4::checksum;
use crate::reader::{DecodeError, DecodeFault, Reader};

/// Next header of ICMPv6 (RFC 4443 §1).
pub const NEXT_HEADER_ICMPV6: u8 = 58;
/// Type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Hop limit of all messages of neighbour discovery, which no router forwards (RFC 4861 §6.1.2).
pub const HOP_LIMIT: u8 = 255;
/// Multicast address of all nodes, ff02::1, on Ethernet (RFC 2464 §7).
pub const ALL_NODES: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);

/// Type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// The M flag of an advertisement.
pub(super) const MANAGED: u8 = 0x80;
/// The group of all routers on the link (RFC 4291 §2.7.1).
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Advertisement of an IPv6 router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The router's address, most often link-local.
    pub router: Ipv6Addr,
    /// Whether addresses are assigned by DHCPv6.
    pub managed: bool,
}

impl fmt::Display for RouterAdvertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let managed = if self.managed { " (managed)" } else { "" };
        write!(f, "{}{managed}", self.router)
    }
}

impl RouterAdvertisement {
    /// Decodes a frame; `verify` as in [`Datagram::decode`](super::ipv4::Datagram::decode).
    ///
    /// # Errors
    /// [`DecodeError`] for every frame that is not a valid advertisement (RFC 4861 §6.1.2), but for the
    /// source, which is not link-local from a router whose own such address is still tentative.
    pub fn decode_frame(frame: &[u8], verify: bool) -> Result<Self, DecodeError> {
        let (ethernet, packet) = EthernetHeader::decode(frame)?;
        if ethernet.ethertype != ETHERTYPE_IPV6 {
            return Err(crate::reader::invalid("ethertype", ethernet.ethertype));
        }
        let mut reader = Reader::new(packet);
        reader.take(4, "version")?;
        let len = usize::from(reader.u16("payload length")?);
        let next_header = reader.u8("next header")?;
        let hop_limit = reader.u8("hop limit")?;
        let source: [u8; 16] = reader.array("source")?;
        let destination: [u8; 16] = reader.array("destination")?;
        let message = reader.take(len, "payload")?;
        if next_header != NEXT_HEADER_ICMPV6 {
            return Err(crate::reader::invalid("next header", next_header));
        }
        if hop_limit != HOP_LIMIT {
            return Err(crate::reader::invalid("hop limit", hop_limit));
        }
        if verify && sum(&source, &destination, next_header, message) != 0 {
            return Err(Box::new(DecodeFault::Checksum { field: "ICMPv6" }));
        }
        let mut reader = Reader::new(message);
        match [reader.u8("type")?, reader.u8("code")?] {
            [ROUTER_ADVERTISEMENT, 0] => {}
            [other, _] => return Err(crate::reader::invalid("type", other)),
        }
        reader.take(3, "checksum")?;
        let flags = reader.u8("flags")?;
        reader.take(10, "lifetimes")?;
        Ok(Self {
            router: source.into(),
            managed: flags & MANAGED != 0,
        })
    }
}

/// Returns the frame that asks routers to advertise themselves, from no address (RFC 4861 §4.1).
pub fn router_solicitation(source: MacAddress) -> Vec<u8> {
    from_no_address(
        source,
        ALL_ROUTERS,
        vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0],
    )
}

/// Returns the frame of a multicast message whose sender has no address, with its checksum.
pub(super) fn from_no_address(source: MacAddress, group: Ipv6Addr, message: Vec<u8>) -> Vec<u8> {
    multicast(
        source,
        Ipv6Addr::UNSPECIFIED,
        group,
        NEXT_HEADER_ICMPV6,
        message,
    )
}

/// Returns the frame of a message of ICMPv6 or UDP to a group, with its checksum.
pub fn multicast(
    source: MacAddress,
    from: Ipv6Addr,
    group: Ipv6Addr,
    next_header: u8,
    mut message: Vec<u8>,
) -> Vec<u8> {
    let (from, to) = (from.octets(), group.octets());
    let [.., a, b, c, d] = to;
    let mut frame = Vec::with_capacity(54 + message.len());
    EthernetHeader {
        // RFC 2464 §7.
        destination: MacAddress([0x33, 0x33, a, b, c, d]),
        source,
        vlan: None,
        ethertype: ETHERTYPE_IPV6,
    }
    .encode(&mut frame);
    // A message fits in a packet.
    let [.., high, low] = message.len().to_be_bytes();
    frame.extend([0x60, 0, 0, 0, high, low, next_header, HOP_LIMIT]);
    frame.extend(from);
    frame.extend(to);
    let checksum = sum(&from, &to, next_header, &message).to_be_bytes();
    // Where ICMPv6 and UDP have their checksum.
    let at = if next_header == NEXT_HEADER_ICMPV6 {
        2
    } else {
        6
    };
    if let Some(field) = message.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum);
    }
    frame.extend(message);
    frame
}

/// Returns the checksum over message and pseudo-header (RFC 8200 §8.1), 0 if the message has a correct
/// one.
fn sum(source: &[u8; 16], destination: &[u8; 16], next_header: u8, message: &[u8]) -> u16 {
    // A message fits in a packet, whose length has 16 bits.
    let [.., high, low] = message.len().to_be_bytes();
    let rest = [0, 0, high, low, 0, 0, 0, next_header];
    checksum(&[source, destination, &rest, message])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);

    /// An advertisement of fe80::1.
    fn advertisement(flags: u8) -> Vec<u8> {
        let mut frame = router_solicitation(OURS);
        frame[18..20].copy_from_slice(&[0, 16]);
        frame[22..38].copy_from_slice(&Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
        frame[54..58].copy_from_slice(&[ROUTER_ADVERTISEMENT, 0, 0, 0]);
        frame.extend([0; 8]);
        frame[59] = flags;
        with_sum(frame)
    }

    fn with_sum(mut frame: Vec<u8>) -> Vec<u8> {
        frame[56..58].fill(0);
        let [source, destination] = [22, 38].map(|at| frame[at..at + 16].try_into().unwrap());
        let sum = sum(&source, &destination, NEXT_HEADER_ICMPV6, &frame[54..]).to_be_bytes();
        frame[56..58].copy_from_slice(&sum);
        frame
    }

    #[test]
    fn an_advertisement_names_the_router_and_whether_it_is_managed() {
        for (flags, text) in [(0x80, "fe80::1 (managed)"), (0x40, "fe80::1")] {
            let frame = advertisement(flags);
            let read = RouterAdvertisement::decode_frame(&frame, true).unwrap();
            assert_eq!(read.to_string(), text);
            for len in 0..frame.len() {
                assert!(RouterAdvertisement::decode_frame(&frame[..len], true).is_err());
            }
        }
    }

    #[test]
    fn what_a_host_must_discard_is_no_advertisement() {
        for (at, byte, what) in [
            (13, 0, "another protocol"),
            (20, 17, "UDP"),
            (21, 254, "forwarded"),
            (54, 133, "a solicitation"),
            (55, 1, "a code"),
        ] {
            let mut frame = advertisement(0);
            frame[at] = byte;
            assert!(
                RouterAdvertisement::decode_frame(&with_sum(frame), true).is_err(),
                "{what}"
            );
        }
        let mut frame = advertisement(0);
        frame[59] = 0x80;
        let error = Box::new(DecodeFault::Checksum { field: "ICMPv6" });
        assert_eq!(RouterAdvertisement::decode_frame(&frame, true), Err(error));
        assert!(RouterAdvertisement::decode_frame(&frame, false).is_ok());
    }

    #[test]
    fn a_solicitation_goes_to_all_routers_with_a_correct_sum() {
        let frame = router_solicitation(OURS);
        assert_eq!(frame.len(), 62);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 2]);
        // The sum of the constant fields (RFC 1071).
        assert_eq!(frame[54..58], [133, 0, 0x7b, 0xb8]);
    }
}
