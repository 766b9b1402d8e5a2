//! The headers in front of frames in a ring: octets → [`Slot`], by checked reads only.
//!
//! Offsets and lengths come from memory that someone else writes. They are believed only as far
//! as they stay within the slot (V2) or block (V3).

#![forbid(unsafe_code)]

use std::mem::offset_of;
use std::time::Duration;

use libc::{sockaddr_ll, tpacket_block_desc, tpacket_hdr_v1, tpacket2_hdr, tpacket3_hdr};

use super::mapping::Unit;
use crate::sys::packet::{Direction, Metadata};

/// A frame in a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Where its octets begin in the unit.
    pub(super) at: usize,
    /// How many there are.
    pub(super) len: usize,
    /// What else is known.
    pub(super) metadata: Metadata,
    /// Distance to the next header in the block; 0 behind the last (V3).
    pub(super) next_offset: usize,
}

/// What a block says about its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// How many there are.
    pub(super) frames: u32,
    /// Where the first header stands.
    pub(super) first_at: usize,
}

/// Where the status word stands in a V2 slot.
pub(super) const V2_STATUS_AT: usize = offset_of!(tpacket2_hdr, tp_status);
/// Where it stands in a V3 block.
pub(super) const V3_STATUS_AT: usize =
    offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, block_status);

const V2_LINK_AT: usize = size_of::<tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
const V3_LINK_AT: usize = size_of::<tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// Reads the header of a V2 slot; none when it points outside of the slot.
pub(super) fn v2(unit: &Unit<'_>) -> Option<Slot> {
    let fields = Fields { unit, at: 0 };
    let tci = fields.half(offset_of!(tpacket2_hdr, tp_vlan_tci))?;
    let tpid = fields.half(offset_of!(tpacket2_hdr, tp_vlan_tpid))?;
    let mut metadata = Metadata::from_status(unit.status, tci, tpid);
    metadata.original_len = fields.word(offset_of!(tpacket2_hdr, tp_len))?;
    metadata.timestamp = fields.time(
        offset_of!(tpacket2_hdr, tp_sec),
        offset_of!(tpacket2_hdr, tp_nsec),
    )?;
    metadata.direction = fields.direction(V2_LINK_AT)?;
    let mac = fields.half(offset_of!(tpacket2_hdr, tp_mac))?;
    let len = fields.word(offset_of!(tpacket2_hdr, tp_snaplen))?;
    fields.slot(mac, libc::TPACKET2_HDRLEN, len, metadata, 0)
}

/// Reads the header of the frame `at` octets behind the beginning of a V3 block; none when it
/// points outside of the block.
pub(super) fn v3(unit: &Unit<'_>, at: usize) -> Option<Slot> {
    let fields = Fields { unit, at };
    let variant = offset_of!(tpacket3_hdr, hv1);
    let tci = fields.word(variant + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tci))?;
    let tpid = fields.half(variant + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tpid))?;
    let status = fields.word(offset_of!(tpacket3_hdr, tp_status))?;
    let tci = u16::try_from(tci & 0xffff).unwrap_or_default();
    let mut metadata = Metadata::from_status(status, tci, tpid);
    metadata.original_len = fields.word(offset_of!(tpacket3_hdr, tp_len))?;
    metadata.timestamp = fields.time(
        offset_of!(tpacket3_hdr, tp_sec),
        offset_of!(tpacket3_hdr, tp_nsec),
    )?;
    metadata.direction = fields.direction(V3_LINK_AT)?;
    let mac = fields.half(offset_of!(tpacket3_hdr, tp_mac))?;
    let len = fields.word(offset_of!(tpacket3_hdr, tp_snaplen))?;
    let next = fields.word(offset_of!(tpacket3_hdr, tp_next_offset))?;
    fields.slot(mac, libc::TPACKET3_HDRLEN, len, metadata, next)
}

/// Reads the header of a V3 block.
pub(super) fn block(unit: &Unit<'_>) -> Option<Block> {
    let header = offset_of!(tpacket_block_desc, hdr);
    let fields = Fields { unit, at: header };
    let frames = fields.word(offset_of!(tpacket_hdr_v1, num_pkts))?;
    let first_at = fields.word(offset_of!(tpacket_hdr_v1, offset_to_first_pkt))?;
    let first_at = usize::try_from(first_at).ok()?;
    Some(Block { frames, first_at })
}

/// A kernel structure in native octet order that stands `at` in `unit`.
struct Fields<'a> {
    unit: &'a Unit<'a>,
    at: usize,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let octets = self.unit.octets(self.at.checked_add(offset)?, N)?;
        octets.first_chunk().copied()
    }

    fn half(&self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_ne_bytes)
    }

    fn word(&self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_ne_bytes)
    }

    fn time(&self, seconds: usize, nanoseconds: usize) -> Option<Duration> {
        let nanoseconds = self.word(nanoseconds)?;
        // More than a second of nanoseconds would be carried over, and could overflow.
        let seconds = u64::from(self.word(seconds)?);
        Some(Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds.into()))
    }

    fn direction(&self, link: usize) -> Option<Direction> {
        let [kind] = self.array(link + offset_of!(sockaddr_ll, sll_pkttype))?;
        Some(Direction::from_kernel(kind))
    }

    /// Returns the slot whose octets stand `mac` behind this header, which has `header_len`
    /// octets, if they are within the unit.
    fn slot(
        &self,
        mac: u16,
        header_len: usize,
        len: u32,
        metadata: Metadata,
        next_offset: u32,
    ) -> Option<Slot> {
        if usize::from(mac) < header_len {
            return None;
        }
        let at = self.at.checked_add(mac.into())?;
        let len = usize::try_from(len).ok()?;
        self.unit.octets(at, len)?;
        Some(Slot {
            at,
            len,
            metadata,
            next_offset: usize::try_from(next_offset).ok()?,
        })
    }
}

const _: () = assert!(size_of::<tpacket2_hdr>() == 32);
const _: () = assert!(size_of::<tpacket3_hdr>() == 48);
const _: () = assert!(size_of::<tpacket_block_desc>() == 48);
