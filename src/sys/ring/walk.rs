//! The walk around a ring: which frame is next, and what is given back with it.

#![forbid(unsafe_code)]

use super::layout::Version;
use super::mapping::{Mapping, Unit};
use super::slot::{self, BlockHeader, RingFrame};

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
            slot::block(&unit)
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
            slot::v3(unit, self.at)
        } else {
            slot::v2(unit)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::mapping::Geometry;
    use super::*;
    use wireboot_proto::time::Timestamp;

    const V2: Version = Version::V2 { slot_len: 256 };
    const V3: Version = Version::V3 {
        block_len: 1024,
        retire_time: Duration::ZERO,
    };

    /// A ring in ordinary memory, whose kernel is the test.
    fn ring(version: Version, units: usize) -> Walk {
        let (unit_len, status_at) = match version {
            Version::V2 { .. } => (256, slot::V2_STATUS_AT),
            Version::V3 { .. } => (1024, slot::V3_STATUS_AT),
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
