//! The kernel's metadata of a frame.

#![forbid(unsafe_code)]

use std::mem;

use crate::sys::filter::FilterInput;
use wireboot_proto::packet::ethernet::VlanTag;
use wireboot_proto::time::Timestamp;

/// The packet type: whom a frame was addressed to (`sll_pkttype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketType {
    /// To this interface.
    Host,
    /// To all.
    Broadcast,
    /// To a group.
    Multicast,
    /// To another station; seen in promiscuous mode only.
    OtherHost,
    /// From this machine.
    Outgoing,
}

impl PacketType {
    /// Reads `sll_pkttype`.
    #[inline(always)]
    pub(in crate::sys) const fn from_kernel(kind: u8) -> Self {
        match kind {
            libc::PACKET_BROADCAST => Self::Broadcast,
            libc::PACKET_MULTICAST => Self::Multicast,
            libc::PACKET_OTHERHOST => Self::OtherHost,
            libc::PACKET_OUTGOING => Self::Outgoing,
            // The other types never reach user space (linux/if_packet.h).
            _ => Self::Host,
        }
    }

    /// Returns the number that filters know it by.
    pub const fn number(self) -> u8 {
        match self {
            Self::Host => libc::PACKET_HOST,
            Self::Broadcast => libc::PACKET_BROADCAST,
            Self::Multicast => libc::PACKET_MULTICAST,
            Self::OtherHost => libc::PACKET_OTHERHOST,
            Self::Outgoing => libc::PACKET_OUTGOING,
        }
    }
}

/// The kernel's metadata of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes that the frame had on the wire, the tag in `vlan` not counted.
    pub original_len: u32,
    /// When it arrived by the kernel's wall clock.
    pub timestamp: Timestamp,
    /// The outermost tag, which the kernel took out of the bytes.
    pub vlan: Option<VlanTag>,
    /// False when the sender is this machine and its NIC has yet to fill in the checksum, so
    /// that it must not be verified.
    pub checksum_ready: bool,
    /// Frames were lost since the counters were last read.
    pub losing: bool,
    /// To whom it was addressed.
    pub direction: PacketType,
}

impl Metadata {
    /// Reads the `tp_status` bits that rings and auxiliary data share.
    #[inline(always)]
    pub(in crate::sys) const fn from_status(status: u32, vlan_tci: u16, vlan_tpid: u16) -> Self {
        let vlan = if status & libc::TP_STATUS_VLAN_VALID == 0 {
            None
        } else {
            // Kernels before 3.14 tell the tag but not its TPID.
            let tpid = if status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
                wireboot_proto::packet::ethernet::ETHERTYPE_VLAN
            } else {
                vlan_tpid
            };
            let tci = vlan_tci;
            Some(VlanTag { tpid, tci })
        };
        Self {
            original_len: 0,
            timestamp: Timestamp::from_nanos(0),
            vlan,
            checksum_ready: status & libc::TP_STATUS_CSUMNOTREADY == 0,
            losing: status & libc::TP_STATUS_LOSING != 0,
            direction: PacketType::Host,
        }
    }

    /// Reads `struct tpacket_auxdata`.
    pub(super) fn from_auxdata(octets: &[u8]) -> Option<Self> {
        let status = octets.first_chunk().copied().map(u32::from_ne_bytes)?;
        let half = |at: usize| {
            let octets = octets.get(at..)?.first_chunk().copied();
            octets.map(u16::from_ne_bytes)
        };
        let tci = half(mem::offset_of!(libc::tpacket_auxdata, tp_vlan_tci))?;
        let tpid = half(mem::offset_of!(libc::tpacket_auxdata, tp_vlan_tpid))?;
        Some(Self::from_status(status, tci, tpid))
    }

    /// Shows `octets` to a filter as the kernel would.
    pub const fn packet<'a>(&self, octets: &'a [u8], interface: u32) -> FilterInput<'a> {
        FilterInput {
            octets,
            original_len: self.original_len,
            vlan: self.vlan,
            interface,
            kind: self.direction.number(),
        }
    }
}

// As in linux/if_packet.h, since it is read by offsets.
const _: () = assert!(size_of::<libc::tpacket_auxdata>() == 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_that_the_kernel_took_out_is_found_in_the_auxiliary_data() {
        let status = libc::TP_STATUS_USER
            | libc::TP_STATUS_VLAN_VALID
            | libc::TP_STATUS_VLAN_TPID_VALID
            | libc::TP_STATUS_CSUMNOTREADY;
        let mut auxdata = status.to_ne_bytes().to_vec();
        auxdata.extend([0; 12]);
        auxdata.extend(0x2005_u16.to_ne_bytes());
        auxdata.extend(0x88a8_u16.to_ne_bytes());
        let metadata = Metadata::from_auxdata(&auxdata).unwrap();
        let tag = VlanTag {
            tpid: 0x88a8,
            tci: 0x2005,
        };
        assert_eq!(metadata.vlan, Some(tag));
        assert!(!metadata.checksum_ready);
        for len in 0..auxdata.len() {
            assert_eq!(Metadata::from_auxdata(&auxdata[..len]), None);
        }
    }

    #[test]
    fn a_tag_without_type_is_one_of_802_1q_and_no_tag_is_none() {
        let valid = libc::TP_STATUS_VLAN_VALID;
        let tag = Metadata::from_status(valid, 5, 0).vlan;
        assert_eq!(tag.map(|tag| (tag.tpid, tag.vid())), Some((0x8100, 5)));
        assert_eq!(Metadata::from_status(0, 5, 0x8100).vlan, None);
    }
}
