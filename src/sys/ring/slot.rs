//! The headers before frames in a ring: bytes → [`Slot`], by checked reads only.
//!
//! Offsets and lengths come from memory that someone else writes. They are believed only as far
//! as they stay within the slot (V2) or block (V3).

#![forbid(unsafe_code)]

use std::mem::offset_of;

use libc::{
    sockaddr_ll, tpacket_block_desc, tpacket_hdr_v1, tpacket_hdr_variant1, tpacket2_hdr,
    tpacket3_hdr,
};

use super::mapping::Unit;
use crate::sys::packet::{Metadata, PacketType};
use wireboot_proto::packet::ethernet::VlanTag;
use wireboot_proto::time::Timestamp;

/// A frame in the ring.
#[derive(Debug, Clone, Copy)]
pub struct RingFrame<'a> {
    octets: &'a [u8],
    metadata: Metadata,
}

impl RingFrame<'_> {
    /// Returns the bytes, cut off when they did not fit.
    #[inline(always)]
    pub const fn octets(&self) -> &[u8] {
        self.octets
    }

    /// Returns the kernel's metadata of the frame.
    #[inline(always)]
    pub const fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// Returns how many bytes the frame had on the wire.
    #[inline(always)]
    pub const fn original_len(&self) -> u32 {
        self.metadata.original_len
    }

    /// Returns when it arrived by the kernel's wall clock.
    #[inline(always)]
    pub const fn timestamp(&self) -> Timestamp {
        self.metadata.timestamp
    }

    /// Returns the outermost tag, which the kernel took out of the bytes.
    #[inline(always)]
    pub const fn vlan(&self) -> Option<VlanTag> {
        self.metadata.vlan
    }

    /// Returns whether the checksum is filled in; see [`Metadata::checksum_ready`].
    #[inline(always)]
    pub const fn checksum_ready(&self) -> bool {
        self.metadata.checksum_ready
    }
}

/// A frame in a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    /// The frame.
    pub(super) frame: RingFrame<'a>,
    /// Distance to the next header in the block; 0 behind the last (V3).
    pub(super) next_offset: usize,
}

/// The header of a V3 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    /// Number of frames.
    pub(super) frames: u32,
    /// Offset of the first frame's header.
    pub(super) first_at: usize,
}

/// Offset of the status word in a V2 slot.
pub(super) const V2_STATUS_AT: usize = offset_of!(tpacket2_hdr, tp_status);
/// Offset of the status word in a V3 block.
pub(super) const V3_STATUS_AT: usize =
    offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, block_status);

// tpacket_rcv writes the sockaddr_ll behind the aligned header, not behind the header itself.
const V2_LINK_AT: usize = size_of::<tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
const V3_LINK_AT: usize = size_of::<tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// Bytes of a V2 header behind its status word.
const V2_LEN: usize = libc::TPACKET2_HDRLEN - size_of::<u32>();

/// Reads the header of a V2 slot; none when it points outside of the slot.
#[inline(always)]
pub(super) fn v2<'a>(unit: &Unit<'a>) -> Option<Slot<'a>> {
    let header = KernelStruct::<V2_LEN>::read(unit, size_of::<u32>())?;
    let field = |offset| offset - size_of::<u32>();
    let tci = header.half(field(offset_of!(tpacket2_hdr, tp_vlan_tci)))?;
    let tpid = header.half(field(offset_of!(tpacket2_hdr, tp_vlan_tpid)))?;
    let mut metadata = Metadata::from_status(unit.status, tci, tpid);
    metadata.original_len = header.word(field(offset_of!(tpacket2_hdr, tp_len)))?;
    let seconds = header.word(field(offset_of!(tpacket2_hdr, tp_sec)))?;
    let nanoseconds = header.word(field(offset_of!(tpacket2_hdr, tp_nsec)))?;
    metadata.timestamp = Timestamp::new(seconds.into(), nanoseconds);
    metadata.direction = header.direction(field(V2_LINK_AT))?;
    let mac = header.half(field(offset_of!(tpacket2_hdr, tp_mac)))?;
    let len = header.word(field(offset_of!(tpacket2_hdr, tp_snaplen)))?;
    slot(unit, 0, mac, libc::TPACKET2_HDRLEN, len, metadata, 0)
}

/// Reads the header of the frame `at` bytes behind the beginning of a V3 block; none when it
/// points outside of the block.
#[inline(always)]
pub(super) fn v3<'a>(unit: &Unit<'a>, at: usize) -> Option<Slot<'a>> {
    let header = KernelStruct::<{ libc::TPACKET3_HDRLEN }>::read(unit, at)?;
    let variant = offset_of!(tpacket3_hdr, hv1);
    let tci = header.word(variant + offset_of!(tpacket_hdr_variant1, tp_vlan_tci))?;
    let tpid = header.half(variant + offset_of!(tpacket_hdr_variant1, tp_vlan_tpid))?;
    let status = header.word(offset_of!(tpacket3_hdr, tp_status))?;
    // 32 bits wide in V3, 16 in V2 (tpacket_hdr_variant1 in linux/if_packet.h).
    let tci = u16::try_from(tci & 0xffff).unwrap_or_default();
    let mut metadata = Metadata::from_status(status, tci, tpid);
    metadata.original_len = header.word(offset_of!(tpacket3_hdr, tp_len))?;
    let seconds = header.word(offset_of!(tpacket3_hdr, tp_sec))?;
    let nanoseconds = header.word(offset_of!(tpacket3_hdr, tp_nsec))?;
    metadata.timestamp = Timestamp::new(seconds.into(), nanoseconds);
    metadata.direction = header.direction(V3_LINK_AT)?;
    let mac = header.half(offset_of!(tpacket3_hdr, tp_mac))?;
    let len = header.word(offset_of!(tpacket3_hdr, tp_snaplen))?;
    let next = header.word(offset_of!(tpacket3_hdr, tp_next_offset))?;
    slot(unit, at, mac, libc::TPACKET3_HDRLEN, len, metadata, next)
}

/// Reads the header of a V3 block.
pub(super) fn block(unit: &Unit<'_>) -> Option<BlockHeader> {
    let counts = KernelStruct::<8>::read(unit, BLOCK_COUNTS_AT)?;
    Some(BlockHeader {
        frames: counts.word(0)?,
        first_at: usize::try_from(counts.word(4)?).ok()?,
    })
}

/// Offset of the number of frames in a block, which the offset of the first follows.
const BLOCK_COUNTS_AT: usize =
    offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, num_pkts);

/// `N` bytes of a kernel structure, its numbers in native byte order.
struct KernelStruct<'a, const N: usize>(&'a [u8; N]);

// These run for every frame of a flood, and only where they are inlined are all the checks of
// offsets decided before.
impl<'a, const N: usize> KernelStruct<'a, N> {
    #[inline(always)]
    fn read(unit: &Unit<'a>, at: usize) -> Option<Self> {
        unit.octets(at, N)?.first_chunk().map(Self)
    }

    #[inline(always)]
    fn array<const M: usize>(&self, offset: usize) -> Option<[u8; M]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    #[inline(always)]
    fn half(&self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_ne_bytes)
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_ne_bytes)
    }

    #[inline(always)]
    fn direction(&self, link: usize) -> Option<PacketType> {
        let [kind] = self.array(link + offset_of!(sockaddr_ll, sll_pkttype))?;
        Some(PacketType::from_kernel(kind))
    }
}

/// Returns the slot whose bytes stand `mac` behind its header at `at`, which has `header_len`
/// bytes, if they are within the unit.
#[inline(always)]
fn slot<'a>(
    unit: &Unit<'a>,
    at: usize,
    mac: u16,
    header_len: usize,
    len: u32,
    metadata: Metadata,
    next_offset: u32,
) -> Option<Slot<'a>> {
    // tpacket_rcv puts no frame before the end of header and address: less is not of its making.
    if usize::from(mac) < header_len {
        return None;
    }
    let at = at.checked_add(mac.into())?;
    let len = usize::try_from(len).ok()?;
    let octets = unit.octets(at, len)?;
    Some(Slot {
        frame: RingFrame { octets, metadata },
        next_offset: usize::try_from(next_offset).ok()?,
    })
}

// What the reads above take from linux/if_packet.h.
const _: () = assert!(size_of::<tpacket2_hdr>() == 32);
const _: () = assert!(size_of::<tpacket3_hdr>() == 48);
const _: () = assert!(size_of::<tpacket_block_desc>() == 48);
const _: () = assert!(V2_STATUS_AT == 0);
const _: () = assert!(offset_of!(tpacket_hdr_v1, offset_to_first_pkt) == 8);
const _: () = assert!(offset_of!(tpacket_hdr_v1, num_pkts) == 4);
