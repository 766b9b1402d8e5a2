//! Ethernet II (IEEE 802.3) and the 802.1Q tag.

use crate::prelude::*;
use core::fmt;
use core::str::FromStr;

use crate::reader::{DecodeError, Reader};

/// A hardware address of six bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is not six hexadecimal bytes with `:` or `-` between them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a hardware address such as 52:54:00:12:34:56")]
pub struct NotAMacAddress(String);

impl FromStr for MacAddress {
    type Err = NotAMacAddress;

    fn from_str(text: &str) -> Result<Self, NotAMacAddress> {
        let error = || NotAMacAddress(text.to_owned());
        let mut bytes = [0; 6];
        // Linux writes colons; Windows, and IEEE 802 itself, hyphens.
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(error)?;
            // `from_str_radix` accepts a plus sign.
            if part.is_empty() || part.len() > 2 || part.starts_with('+') {
                return Err(error());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        parts
            .next()
            .is_none()
            .then_some(Self(bytes))
            .ok_or_else(error)
    }
}

/// EtherType of IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of reverse ARP (RFC 903).
pub const ETHERTYPE_RARP: u16 = 0x8035;
/// EtherType of IPv6 (RFC 2464).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of the slow protocols, LACP among them (IEEE 802.3 Annex 57A).
pub const ETHERTYPE_SLOW: u16 = 0x8809;
/// EtherType of EAPOL (IEEE 802.1X).
pub const ETHERTYPE_EAPOL: u16 = 0x888e;
/// EtherType of LLDP (IEEE 802.1AB).
pub const ETHERTYPE_LLDP: u16 = 0x88cc;
/// The first EtherType; smaller values are lengths of 802.3 frames.
pub const ETHERTYPE_MIN: u16 = 0x0600;

/// An 802.1Q tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanTag {
    /// Its EtherType: 0x8100, or 0x88a8 for a service tag (802.1ad).
    pub tpid: u16,
    /// Priority in the top three bits, VLAN identifier in the low twelve.
    pub tci: u16,
}

impl VlanTag {
    /// Returns the VLAN identifier, 0 to 4095; 0 carries a priority only.
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }

    /// Returns the tag as encoded in a frame.
    pub const fn octets(self) -> [u8; 4] {
        let [a, b] = self.tpid.to_be_bytes();
        let [c, d] = self.tci.to_be_bytes();
        [a, b, c, d]
    }

    /// Returns `frame` with the tag inserted, as it was on the wire.
    pub fn put_back(self, frame: &[u8]) -> Vec<u8> {
        // The kernel removes the tag before a packet socket receives the frame (`skb_vlan_untag`).
        let (addresses, rest) = frame.split_at(frame.len().min(12));
        [addresses, &self.octets(), rest].concat()
    }
}

/// An Ethernet II header, with the outermost 802.1Q tag when there is one.
///
/// ```text
/// | destination 6 | source 6 | [8100 tci 2] | ethertype 2 | payload …
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Receiver.
    pub destination: MacAddress,
    /// Sender.
    pub source: MacAddress,
    /// Tag control information: priority in the top three bits, VLAN identifier in the low twelve.
    pub vlan: Option<u16>,
    /// Protocol of the payload.
    pub ethertype: u16,
}

impl EthernetHeader {
    /// Length of an untagged header, in bytes.
    pub const LEN: usize = 14;

    /// Decodes a header and returns it with the payload.
    ///
    /// # Errors
    /// `DecodeFault::Truncated` when the frame ends inside the header.
    pub fn decode(frame: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(frame);
        let destination = MacAddress(reader.array("destination")?);
        let source = MacAddress(reader.array("source")?);
        let mut ethertype = reader.u16("ethertype")?;
        let mut vlan = None;
        // Of two tags the kernel leaves the inner one in the frame.
        if ethertype == ETHERTYPE_VLAN {
            vlan = Some(reader.u16("tag control information")?);
            ethertype = reader.u16("ethertype")?;
        }
        let header = Self {
            destination,
            source,
            vlan,
            ethertype,
        };
        Ok((header, reader.rest()))
    }

    /// Appends the header to `buf`.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(&self.destination.0);
        buf.extend_from_slice(&self.source.0);
        if let Some(tci) = self.vlan {
            buf.extend_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
            buf.extend_from_slice(&tci.to_be_bytes());
        }
        buf.extend_from_slice(&self.ethertype.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tagged_header_is_read_as_it_was_written() {
        let header = EthernetHeader {
            destination: MacAddress::BROADCAST,
            source: MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            vlan: Some(0x2007),
            ethertype: ETHERTYPE_IPV4,
        };
        let mut frame = Vec::new();
        header.encode(&mut frame);
        assert_eq!(frame.len(), EthernetHeader::LEN + 4);
        for len in 0..frame.len() {
            assert!(EthernetHeader::decode(&frame[..len]).is_err());
        }
        frame.push(0x45);
        assert_eq!(EthernetHeader::decode(&frame), Ok((header, &[0x45][..])));
    }

    #[test]
    fn a_tag_is_put_back_where_it_was() {
        let tag = VlanTag {
            tpid: 0x8100,
            tci: 5,
        };
        let frame: Vec<u8> = (0..20).collect();
        assert_eq!(
            tag.put_back(&frame)[10..18],
            [10, 11, 0x81, 0, 0, 5, 12, 13]
        );
        assert_eq!(tag.put_back(&[7])[..], [7, 0x81, 0, 0, 5]);
    }

    #[test]
    fn an_address_is_read_with_colons_or_dashes_and_nothing_else() {
        let address = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x5a]);
        assert_eq!("52:54:00:12:34:5a".parse(), Ok(address));
        assert_eq!("52-54-0-12-34-5A".parse(), Ok(address));
        assert_eq!(address.to_string(), "52:54:00:12:34:5a");
        for wrong in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:5a:00",
            "525400:12:34:5a:1:2",
            "+1:2:3:4:5:6",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }
}
