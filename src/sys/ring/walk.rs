//! Frames in a ring: which is next, the headers before it, and what is given back with it.
//!
//! Offsets and lengths come from memory that someone else writes. They are read by checked reads only, and
//! believed as far as they stay within the slot (V2) or block (V3).

#![forbid(unsafe_code)]

use std::mem::offset_of;

use libc::{
    sockaddr_ll, tpacket_block_desc, tpacket_hdr_v1, tpacket_hdr_variant1, tpacket2_hdr,
    tpacket3_hdr,
};

use super::layout::Version;
use super::mapping::{Mapping, Unit};
use crate::sys::packet::{Metadata, PacketType};
use wireboot_proto::packet::ethernet::VlanTag;
use wireboot_proto::time::Timestamp;

/// The position in a ring.
#[derive(Debug)]
pub(super) struct Walk {
    mapping: Mapping,
    in_blocks: bool,
    /// The slot or block that is next.
    unit: usize,
    damaged: u64,
}

impl Walk {
    pub(super) const fn new(mapping: Mapping, version: Version) -> Self {
        Self {
            mapping,
            in_blocks: matches!(version, Version::V3 { .. }),
            unit: 0,
            damaged: 0,
        }
    }

    pub(super) const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Returns whether the kernel has handed the next unit over.
    pub(super) fn has_next(&mut self) -> bool {
        self.mapping.claim(self.unit).is_some()
    }

    /// Lends what the next unit holds and steps over it; none when the kernel still owns it.
    pub(super) fn next(&mut self) -> Option<Batch<'_>> {
        let index = self.unit;
        let units = self.mapping.geometry().units;
        let unit = self.mapping.claim(index)?;
        self.unit = (index + 1) % units;
        let block = if self.in_blocks {
            block_header(&unit)
        } else {
            let (frames, first_at) = (1, 0);
            Some(BlockHeader { frames, first_at })
        };
        // A block without frames is damaged: the kernel closes none that is empty.
        let block = block.filter(|block| block.frames > 0);
        if block.is_none() {
            self.damaged += 1;
        }
        Some(Batch {
            in_blocks: self.in_blocks,
            left: block.map_or(0, |block| block.frames),
            at: block.map_or(0, |block| block.first_at),
            damaged: &mut self.damaged,
            unit: Some(unit),
        })
    }
}

/// Frames that the kernel handed over together: one (V2), or those of a block (V3). Given back
/// when dropped.
#[derive(Debug)]
pub struct Batch<'a> {
    in_blocks: bool,
    /// Frames left.
    left: u32,
    /// Offset of the next header.
    at: usize,
    damaged: &'a mut u64,
    /// Ours until dropped.
    unit: Option<Unit<'a>>,
}

impl Batch<'_> {
    /// Lends the next frame; none behind the last.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend, and no frame may outlive its batch"
    )]
    #[inline(always)]
    pub fn next(&mut self) -> Option<RingFrame<'_>> {
        if self.left == 0 {
            return None;
        }
        let unit = self.unit.as_ref()?;
        let slot = if self.in_blocks {
            slot_v3(unit, self.at)
        } else {
            slot_v2(unit)
        };
        let Some(slot) = slot else {
            self.left = 0;
            *self.damaged += 1;
            return None;
        };
        self.left -= 1;
        // A distance of 0 would lend the same frame again; the end of memory is found damaged.
        self.at = match slot.next_offset {
            // prb_close_block writes 0 into the last header of a block.
            0 => usize::MAX,
            distance => self.at.saturating_add(distance),
        };
        Some(slot.frame)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(unit) = self.unit.take() {
            unit.give_back();
        }
    }
}

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
struct Slot<'a> {
    /// The frame.
    frame: RingFrame<'a>,
    /// Distance to the next header in the block; 0 behind the last (V3).
    next_offset: usize,
}

/// The header of a V3 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockHeader {
    /// Number of frames.
    frames: u32,
    /// Offset of the first frame's header.
    first_at: usize,
}

// tpacket_rcv writes the sockaddr_ll behind the aligned header, not behind the header itself.
const V2_LINK_AT: usize = size_of::<tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
const V3_LINK_AT: usize = size_of::<tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// Bytes of a V2 header behind its status word.
const V2_LEN: usize = libc::TPACKET2_HDRLEN - size_of::<u32>();

/// Reads the header of a V2 slot; none when it points outside of the slot.
#[inline(always)]
fn slot_v2<'a>(unit: &Unit<'a>) -> Option<Slot<'a>> {
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
fn slot_v3<'a>(unit: &Unit<'a>, at: usize) -> Option<Slot<'a>> {
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
fn block_header(unit: &Unit<'_>) -> Option<BlockHeader> {
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
const _: () = assert!(offset_of!(tpacket_hdr_v1, offset_to_first_pkt) == 8);
const _: () = assert!(offset_of!(tpacket_hdr_v1, num_pkts) == 4);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::layout::{V2_STATUS_AT, V3_STATUS_AT};
    use super::super::mapping::Geometry;
    use super::*;

    const V2: Version = Version::V2 { slot_len: 256 };
    const V3: Version = Version::V3 {
        block_len: 1024,
        retire_time: Duration::ZERO,
    };

    /// A ring in ordinary memory, whose kernel is the test.
    fn ring(version: Version, units: usize) -> Walk {
        let (unit_len, status_at) = match version {
            Version::V2 { .. } => (256, V2_STATUS_AT),
            Version::V3 { .. } => (1024, V3_STATUS_AT),
        };
        let geometry = Geometry {
            units,
            unit_len,
            status_at,
        };
        Walk::new(Mapping::on_heap(geometry), version)
    }

    /// Returns the frames of the next unit that has any.
    fn next(walk: &mut Walk) -> Option<Vec<Vec<u8>>> {
        loop {
            let mut batch = walk.next()?;
            let mut frames = Vec::new();
            while let Some(frame) = batch.next() {
                frames.push(frame.octets().to_vec());
            }
            if !frames.is_empty() {
                return Some(frames);
            }
        }
    }

    /// Writes `words` one behind the other.
    fn write(walk: &mut Walk, at: usize, words: &[u32]) {
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        walk.mapping.write(at, &octets);
    }

    /// Joins two halves in the order in which they stand in memory.
    fn halves(first: u16, second: u16) -> u32 {
        let [a, b] = first.to_ne_bytes();
        let [c, d] = second.to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }

    /// Fills slot `unit` as the kernel does; the status last.
    fn fill_v2(walk: &mut Walk, unit: usize, mac: u16, snap_len: u32, octets: &[u8]) {
        let base = unit * 256;
        let len = 1_500;
        write(
            walk,
            base + 4,
            &[len, snap_len, halves(mac, mac + 14), 7, 9, 0, 0],
        );
        walk.mapping.write(base + 80, octets);
        write(walk, base, &[libc::TP_STATUS_USER]);
    }

    #[test]
    fn slots_are_lent_in_order_around_the_ring_and_given_back() {
        let mut walk = ring(V2, 3);
        assert_eq!(next(&mut walk), None);
        for round in 0..7_u8 {
            fill_v2(&mut walk, usize::from(round) % 3, 80, 2, &[round, 1]);
            assert_eq!(next(&mut walk), Some(vec![vec![round, 1]]));
            assert_eq!(next(&mut walk), None);
        }
        assert_eq!(walk.damaged(), 0);
    }

    #[test]
    fn a_full_ring_is_emptied_in_one_round() {
        let mut walk = ring(V2, 3);
        for unit in 0..3 {
            fill_v2(&mut walk, unit, 80, 1, &[u8::try_from(unit).unwrap()]);
        }
        assert_eq!(next(&mut walk), Some(vec![vec![0]]));
        fill_v2(&mut walk, 0, 80, 1, &[3]);
        let rest: Vec<_> = std::iter::from_fn(|| next(&mut walk)).collect();
        assert_eq!(rest, [[[1]], [[2]], [[3]]]);
    }

    #[test]
    fn metadata_are_read_and_a_frame_longer_than_its_slot_is_known_to_be_cut_off() {
        let mut walk = ring(V2, 1);
        fill_v2(&mut walk, 0, 80, 3, &[1, 2, 3]);
        let status = libc::TP_STATUS_USER
            | libc::TP_STATUS_LOSING
            | libc::TP_STATUS_CSUMNOTREADY
            | libc::TP_STATUS_VLAN_VALID;
        write(&mut walk, 24, &[halves(0x6005, 0)]);
        walk.mapping.write(32 + 10, &[libc::PACKET_BROADCAST]);
        write(&mut walk, 0, &[status]);
        let mut batch = walk.next().unwrap();
        let frame = batch.next().unwrap();
        assert_eq!((frame.octets().len(), frame.original_len()), (3, 1_500));
        assert_eq!(frame.timestamp(), Timestamp::new(7, 9));
        assert_eq!(
            frame.vlan().map(|tag| (tag.tpid, tag.tci)),
            Some((0x8100, 0x6005))
        );
        assert!(!frame.checksum_ready() && frame.metadata().losing);
        assert_eq!(
            frame.metadata().direction,
            crate::sys::packet::PacketType::Broadcast
        );
    }

    #[test]
    fn a_slot_that_points_outside_of_itself_is_given_back_and_counted() {
        for (mac, snap_len) in [
            (0, 10),
            (51, 10),
            (80, 177),
            (256, 1),
            (u16::MAX - 14, 1),
            (80, u32::MAX),
        ] {
            let mut walk = ring(V2, 2);
            fill_v2(&mut walk, 0, mac, snap_len, &[0]);
            fill_v2(&mut walk, 1, 80, 176, &[5; 176]);
            assert_eq!(
                next(&mut walk),
                Some(vec![vec![5; 176]]),
                "{mac} {snap_len}"
            );
            assert_eq!((next(&mut walk), walk.damaged()), (None, 1));
        }
    }

    /// Writes a frame header and one byte of frame; the header is `next` before the next one.
    fn put_v3(walk: &mut Walk, at: usize, next: u32, mac: u16, snap_len: u32, octet: u8) {
        let header = [next, 7, 9, snap_len, 60, 0, halves(mac, mac), 0, 0, 0, 0, 0];
        write(walk, at, &header);
        walk.mapping.write(at + 96, &[octet]);
    }

    fn hand_over_v3(walk: &mut Walk, unit: usize, frames: u32, first: u32) {
        write(walk, unit * 1024 + 12, &[frames, first, 1024]);
        write(walk, unit * 1024 + 8, &[libc::TP_STATUS_USER]);
    }

    #[test]
    fn the_frames_of_a_block_are_lent_and_the_block_is_given_back_with_the_last() {
        let mut walk = ring(V3, 2);
        for round in 0..3_usize {
            let base = round % 2 * 1024;
            put_v3(&mut walk, base + 48, 104, 96, 1, 1);
            put_v3(&mut walk, base + 152, 0, 96, 1, 2);
            hand_over_v3(&mut walk, round % 2, 2, 48);
            let mut batch = walk.next().unwrap();
            assert_eq!(batch.next().unwrap().octets(), [1]);
            assert_eq!(batch.next().unwrap().octets(), [2]);
            assert!(batch.next().is_none());
            std::mem::forget(batch);
            assert!(walk.mapping.claim(round % 2).is_some(), "still ours");
            walk.unit = round % 2;
            drop(walk.next().unwrap());
            assert!(walk.mapping.claim(round % 2).is_none(), "given back");
            assert!(walk.next().is_none());
        }
        assert_eq!(walk.damaged(), 0);
    }

    #[test]
    fn a_block_with_a_broken_chain_is_given_back_with_its_rest_and_counted() {
        for (frames, first, next_offset, lent) in [
            (0, 48, 104, 0),
            (2, 2_000, 104, 0),
            (2, 0, 104, 0),
            (u32::MAX, 48, 0, 1),
            (2, 48, 1_000, 1),
            (2, 48, u32::MAX, 1),
        ] {
            let mut walk = ring(V3, 2);
            put_v3(&mut walk, 48, next_offset, 96, 1, 1);
            hand_over_v3(&mut walk, 0, frames, first);
            let seen: usize = std::iter::from_fn(|| next(&mut walk))
                .map(|batch| batch.len())
                .sum();
            assert_eq!(
                (seen, walk.damaged()),
                (lent, 1),
                "{frames} {first} {next_offset}"
            );
            put_v3(&mut walk, 1024 + 48, 0, 96, 1, 9);
            hand_over_v3(&mut walk, 1, 1, 48);
            assert_eq!(next(&mut walk), Some(vec![vec![9]]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 8 } else { 512 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// Under Miri this also proves that nothing beyond the mapping is touched.
        #[test]
        fn whatever_the_memory_holds_the_walk_stays_inside_and_ends(
            in_blocks: bool,
            seed in prop::collection::vec(any::<u32>(), 512),
            small in prop::collection::vec((0..512_usize, 0..300_u32), 0..64),
        ) {
            let mut walk = ring(if in_blocks { V3 } else { V2 }, if in_blocks { 2 } else { 8 });
            let mut words = seed;
            for (at, word) in small {
                words[at] = word;
            }
            write(&mut walk, 0, &words);
            let mut lent = 0;
            while let Some(mut batch) = walk.next() {
                while let Some(frame) = batch.next() {
                    // Miri sees whether all of them may be read.
                    std::hint::black_box(frame.octets().to_vec());
                    lent += 1;
                    prop_assert!(lent < 4_096);
                }
            }
        }
    }
}
