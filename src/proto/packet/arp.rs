//! ARP for IPv4 on Ethernet (RFC 826), with the probes and announcements of RFC 5227.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, EthernetHeader, MacAddress};
use crate::reader::{DecodeError, Reader};

// RFC 826: ares_hrd$Ethernet, ares_op$REQUEST and ares_op$REPLY.
const HARDWARE_ETHERNET: u16 = 1;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// The operation of a packet (`ar$op`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target's protocol address?
    Request,
    /// The sender has it.
    Reply,
}

/// An ARP packet.
///
/// ```text
/// | hrd 2 | pro 2 | hln 1 | pln 1 | op 2 | sha 6 | spa 4 | tha 6 | tpa 4 |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpPacket {
    /// The operation.
    pub operation: Operation,
    /// Hardware address of the sender.
    pub sha: MacAddress,
    /// Protocol address of the sender; unspecified in a probe.
    pub spa: Ipv4Addr,
    /// Hardware address of the target; nothing in a request.
    pub tha: MacAddress,
    /// Protocol address of the target.
    pub tpa: Ipv4Addr,
}

impl ArpPacket {
    /// Length of a packet, in bytes.
    pub const LEN: usize = 28;

    /// Returns a probe for `address`, which does not change the caches of other hosts (RFC 5227 §2.1.1).
    pub const fn probe(sha: MacAddress, address: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sha,
            spa: Ipv4Addr::UNSPECIFIED,
            // RFC 5227 §2.1.1: all zeros.
            tha: MacAddress([0; 6]),
            tpa: address,
        }
    }

    /// Returns an announcement of `address` (RFC 5227 §2.3).
    pub const fn announcement(sha: MacAddress, address: Ipv4Addr) -> Self {
        Self {
            // RFC 5227 §2.3: an announcement is a probe with the sender's address filled in.
            spa: address,
            ..Self::probe(sha, address)
        }
    }

    /// Decodes a packet; bytes after it are padding.
    ///
    /// # Errors
    /// [`DecodeError`] if it is truncated, or for other hardware, protocols and operations.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        for (field, expected) in [
            ("ar$hrd", HARDWARE_ETHERNET),
            ("ar$pro", ETHERTYPE_IPV4),
            // The lengths of addresses: 6 of Ethernet, 4 of IPv4.
            ("ar$hln and ar$pln", 0x0604),
        ] {
            let value = reader.u16(field)?;
            if value != expected {
                return Err(crate::reader::invalid(field, value));
            }
        }
        let operation = match reader.u16("ar$op")? {
            REQUEST => Operation::Request,
            REPLY => Operation::Reply,
            other => return Err(crate::reader::invalid("ar$op", other)),
        };
        Ok(Self {
            operation,
            sha: MacAddress(reader.array("ar$sha")?),
            spa: reader.array("ar$spa")?.into(),
            tha: MacAddress(reader.array("ar$tha")?),
            tpa: reader.array("ar$tpa")?.into(),
        })
    }

    /// Decodes the packet that a frame carries.
    ///
    /// # Errors
    /// [`DecodeError`] for every other frame.
    pub fn decode_frame(frame: &[u8]) -> Result<Self, DecodeError> {
        let (ethernet, bytes) = EthernetHeader::decode(frame)?;
        if ethernet.ethertype != ETHERTYPE_ARP {
            return Err(crate::reader::invalid("ethertype", ethernet.ethertype));
        }
        Self::decode(bytes)
    }

    /// Returns the packet in a broadcast frame.
    pub fn encode_frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(EthernetHeader::LEN + Self::LEN);
        EthernetHeader {
            // RFC 5227 §2.1.1 and §2.3: probes and announcements are broadcast.
            destination: MacAddress::BROADCAST,
            source: self.sha,
            vlan: None,
            ethertype: ETHERTYPE_ARP,
        }
        .encode(&mut frame);
        let operation = match self.operation {
            Operation::Request => REQUEST,
            Operation::Reply => REPLY,
        };
        for field in [HARDWARE_ETHERNET, ETHERTYPE_IPV4, 0x0604, operation] {
            frame.extend_from_slice(&field.to_be_bytes());
        }
        for (hardware, protocol) in [(self.sha, self.spa), (self.tha, self.tpa)] {
            frame.extend_from_slice(&hardware.0);
            frame.extend_from_slice(&protocol.octets());
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::DecodeFault;

    const OURS: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

    #[test]
    fn a_probe_is_written_as_rfc_5227_draws_it_and_read_again() {
        let probe = ArpPacket::probe(OURS, ADDRESS);
        let frame = probe.encode_frame();
        let expected = [
            &[0xff; 6][..], // to all
            &OURS.0,
            &[0x08, 0x06],       // ARP
            &[0, 1, 8, 0, 6, 4], // Ethernet, IPv4, lengths
            &[0, 1],             // request
            &OURS.0,
            &[0; 4], // no address yet
            &[0; 6],
            &[192, 0, 2, 100],
        ];
        assert_eq!(frame, expected.concat());
        assert_eq!(ArpPacket::decode_frame(&frame), Ok(probe));
        for len in 0..frame.len() {
            assert!(ArpPacket::decode_frame(&frame[..len]).is_err());
        }
    }

    #[test]
    fn an_announcement_names_the_address_twice_and_padding_does_not_matter() {
        let announcement = ArpPacket::announcement(OURS, ADDRESS);
        let mut frame = announcement.encode_frame();
        frame.resize(60, 0);
        assert_eq!(ArpPacket::decode_frame(&frame), Ok(announcement));
        assert_eq!((announcement.spa, announcement.tpa), (ADDRESS, ADDRESS));
    }

    #[test]
    fn other_hardware_protocols_and_operations_are_refused() {
        for (at, field) in [
            (12, "ethertype"),
            (15, "ar$hrd"),
            (16, "ar$pro"),
            (18, "ar$hln and ar$pln"),
            (21, "ar$op"),
        ] {
            let mut frame = ArpPacket::probe(OURS, ADDRESS).encode_frame();
            frame[at] ^= 0x40;
            let error = ArpPacket::decode_frame(&frame).unwrap_err();
            assert!(
                matches!(*error, DecodeFault::Invalid { field: found, .. } if found == field),
                "{field}: {error}"
            );
        }
    }
}
