//! Encodes pcapng files (draft-ietf-opsawg-pcapng), block by block, with times in nanoseconds.
//!
//! A file has one section, of unspecified length. Decoding is in [`super::pcap`].

use crate::packet::ethernet::VlanTag;
use crate::prelude::*;
use crate::time::Timestamp;

/// Direction of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameDirection {
    /// Received.
    Inbound,
    /// Sent.
    Outbound,
}

/// The metadata of a frame in a capture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRecord {
    /// Number of the interface, in the order in which they were written, from 0.
    pub interface: u32,
    /// The time.
    pub timestamp: Timestamp,
    /// Length on the wire without `tag`, in bytes.
    pub original_len: u32,
    /// The tag that the kernel removed from the frame; it is inserted after the addresses.
    pub tag: Option<VlanTag>,
    /// The direction.
    pub direction: FrameDirection,
}

// Types of blocks (§4), and the magic number of a section (§4.1).
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
pub(super) const ENHANCED_PACKET: u32 = 6;
pub(super) const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
pub(super) const LINKTYPE_ETHERNET: u16 = 1;

// Options, numbered for each type of block (§3.5, §4).
pub(super) const OPT_ENDOFOPT: u16 = 0;
const SHB_USERAPPL: u16 = 4;
pub(super) const IF_NAME: u16 = 2;
pub(super) const IF_TSRESOL: u16 = 9;
const IF_FILTER: u16 = 11;
pub(super) const EPB_FLAGS: u16 = 2;
const ISB_FILTERACCEPT: u16 = 6;
const ISB_OSDROP: u16 = 7;
const ISB_USRDELIV: u16 = 8;

/// Appends the section header.
pub fn begin(application: &str, buf: &mut Vec<u8>) {
    block(SECTION_HEADER, buf, |buf| {
        buf.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        buf.extend_from_slice(&1_u16.to_le_bytes());
        buf.extend_from_slice(&0_u16.to_le_bytes());
        // Unspecified section length.
        buf.extend_from_slice(&u64::MAX.to_le_bytes());
        option(SHB_USERAPPL, application.as_bytes(), buf);
        option(OPT_ENDOFOPT, &[], buf);
    });
}

/// Appends an Ethernet interface without a snapshot length; the first has number 0. Name and filter may
/// be empty.
pub fn interface(name: &str, filter: &str, buf: &mut Vec<u8>) {
    block(INTERFACE_DESCRIPTION, buf, |buf| {
        buf.extend_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
        buf.extend_from_slice(&[0, 0]);
        // No snapshot length.
        buf.extend_from_slice(&0_u32.to_le_bytes());
        if !name.is_empty() {
            option(IF_NAME, name.as_bytes(), buf);
        }
        // Nanoseconds; the default is microseconds.
        option(IF_TSRESOL, &[9], buf);
        if !filter.is_empty() {
            // 0: the filter is text.
            option(IF_FILTER, &[&[0], filter.as_bytes()].concat(), buf);
        }
        option(OPT_ENDOFOPT, &[], buf);
    });
}

/// Returns the length of the block of a frame, in bytes.
#[inline(always)]
pub const fn packet_len(packet: &FrameRecord, bytes: &[u8]) -> usize {
    let tag_len = if packet.tag.is_some() { 4 } else { 0 };
    HEAD_LEN + (bytes.len() + tag_len).next_multiple_of(4) + TAIL_LEN
}

/// Writes the block of a frame to the beginning of `space` and returns its length, in bytes; none if it
/// does not fit.
// Runs for every frame of a flood: it is written in place, in few pieces of constant size, and without
// calls that are not inlined when optimizing for size.
#[inline(always)]
pub fn packet(packet: &FrameRecord, bytes: &[u8], space: &mut [u8]) -> Option<usize> {
    let len = packet_len(packet, bytes);
    let space = space.get_mut(..len)?;
    let len_field = u32::try_from(len).ok()?;
    let tag_len = if packet.tag.is_some() { 4 } else { 0 };
    let captured = u32::try_from(bytes.len()).ok()? + tag_len;
    let original_len = packet.original_len.saturating_add(tag_len).max(captured);
    let nanoseconds = packet.timestamp.as_nanos();
    let head = space.first_chunk_mut::<HEAD_LEN>()?;
    if let ([kind, interface, low], original) = head.as_chunks_mut::<8>() {
        *kind = pair(ENHANCED_PACKET, len_field);
        *interface = (u64::from(packet.interface) | nanoseconds & HIGH).to_le_bytes();
        *low = (nanoseconds & LOW | u64::from(captured) << 32).to_le_bytes();
        put(original, 0, original_len.to_le_bytes());
    }
    let direction = match packet.direction {
        FrameDirection::Inbound => 1,
        FrameDirection::Outbound => 2,
    };
    let tail_at = len - TAIL_LEN;
    // First the padding, which the frame then overwrites in part.
    put(space, tail_at - 4, [0; 4]);
    put(
        space,
        tail_at,
        pair(u32::from(EPB_FLAGS) | 4 << 16, direction),
    );
    put(space, tail_at + 8, pair(OPT_ENDOFOPT.into(), len_field));
    let body = space.get_mut(HEAD_LEN..tail_at)?;
    match packet.tag {
        None => copy(bytes, body),
        Some(tag) => copy_with_tag(tag, bytes, body),
    }
    Some(len)
}

/// Length of a packet block before the frame, in bytes.
const HEAD_LEN: usize = 28;
/// Length of a packet block after the frame and its padding, in bytes.
const TAIL_LEN: usize = 16;
const LOW: u64 = 0xffff_ffff;
const HIGH: u64 = !LOW;

/// Two consecutive words.
#[inline(always)]
const fn pair(first: u32, second: u32) -> [u8; 8] {
    (first as u64 | (second as u64) << 32).to_le_bytes()
}

/// Writes `bytes` at `at`, if they fit.
#[inline(always)]
fn put<const N: usize>(space: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(space) = space.get_mut(at..)
        && let Some(to) = space.first_chunk_mut()
    {
        *to = bytes;
    }
}

/// Copies `from` to the beginning of `to`, which is as long or longer.
// musl's memcpy is slow to start; short slices are copied as their two ends, which may overlap.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        32..=64 => copy_ends::<32>(from, to),
        65..=128 => copy_ends::<64>(from, to),
        len => {
            if let Some(to) = to.get_mut(..len) {
                to.copy_from_slice(from);
            }
        }
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    let last_at = from.len().saturating_sub(N);
    if let Some(first) = from.first_chunk::<N>() {
        put(to, 0, *first);
    }
    if let Some(end) = from.get(last_at..)
        && let Some(last) = end.first_chunk::<N>()
    {
        put(to, last_at, *last);
    }
}

#[cold]
fn copy_with_tag(tag: VlanTag, from: &[u8], to: &mut [u8]) {
    let (addresses, rest) = from.split_at(from.len().min(12));
    copy(addresses, to);
    put(to, addresses.len(), tag.octets());
    copy(rest, to.get_mut(addresses.len() + 4..).unwrap_or_default());
}

/// Packet counters of an interface (Interface Statistics Block).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceStatistics {
    /// Frames that passed the filter, dropped ones included.
    pub accepted: u64,
    /// Frames that passed the filter and were dropped by the kernel.
    pub lost: u64,
    /// Frames that are in the file.
    pub delivered: u64,
}

/// Appends the counters of an interface as they are at `now`.
pub fn statistics(
    interface: u32,
    now: Timestamp,
    counters: &InterfaceStatistics,
    buf: &mut Vec<u8>,
) {
    block(INTERFACE_STATISTICS, buf, |buf| {
        buf.extend_from_slice(&interface.to_le_bytes());
        // The high word first, each in the order of the file.
        buf.extend_from_slice(&now.as_nanos().rotate_left(32).to_le_bytes());
        option(ISB_FILTERACCEPT, &counters.accepted.to_le_bytes(), buf);
        option(ISB_OSDROP, &counters.lost.to_le_bytes(), buf);
        option(ISB_USRDELIV, &counters.delivered.to_le_bytes(), buf);
        option(OPT_ENDOFOPT, &[], buf);
    });
}

fn block(kind: u32, buf: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buf.len();
    buf.extend_from_slice(&kind.to_le_bytes());
    buf.extend_from_slice(&[0; 4]);
    body(buf);
    let len = len_of(buf.get(start..).unwrap_or_default()).saturating_add(4);
    buf.extend_from_slice(&len.to_le_bytes());
    if let Some(field) = buf.get_mut(start + 4..start + 8) {
        field.copy_from_slice(&len.to_le_bytes());
    }
}

fn option(code: u16, value: &[u8], buf: &mut Vec<u8>) {
    // A filter of more than 64 KiB is truncated.
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    buf.extend_from_slice(&code.to_le_bytes());
    buf.extend_from_slice(&len.to_le_bytes());
    padded(value.get(..len.into()).unwrap_or(value), buf);
}

fn padded(bytes: &[u8], buf: &mut Vec<u8>) {
    buf.extend_from_slice(bytes);
    let padding = bytes.len().next_multiple_of(4) - bytes.len();
    buf.resize(buf.len() + padding, 0);
}

fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_laid_out_as_the_draft_says() {
        let direction = FrameDirection::Outbound;
        let timestamp = Timestamp::new(5, 7);
        let header = FrameRecord {
            interface: 1,
            timestamp,
            original_len: 60,
            tag: None,
            direction,
        };
        let mut buf = [0xff; 60];
        assert_eq!(packet(&header, &[1, 2, 3, 4, 5], &mut buf), Some(52));
        let expected: [u32; 13] = [
            6,           // Enhanced Packet Block
            52,          // length
            1,           // interface
            1,           // 5 000 000 007 ns, high
            705_032_711, // low
            5,           // captured
            60,          // on the wire
            0x0403_0201, // the bytes
            0x0000_0005, // and their padding
            0x0004_0002, // epb_flags, 4 bytes
            2,           // outbound
            0,           // end of options
            52,          // length again
        ];
        let words: Vec<u32> = buf[..52]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn frames_of_every_length_are_copied_whole_with_and_without_a_tag() {
        let tag = VlanTag {
            tpid: 0x8100,
            tci: 5,
        };
        let mut packet = FrameRecord {
            interface: 0,
            timestamp: Timestamp::default(),
            original_len: 0,
            tag: None,
            direction: FrameDirection::Inbound,
        };
        for len in 0..=300 {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let mut tagged = bytes.clone();
            tagged.splice(12.min(bytes.len())..12.min(bytes.len()), tag.octets());
            for (tag, expected) in [(None, &bytes), (Some(tag), &tagged)] {
                packet.tag = tag;
                let mut space = [0xff; 400];
                let len = super::packet(&packet, &bytes, &mut space).unwrap();
                assert_eq!(len, packet_len(&packet, &bytes));
                let end = 28 + expected.len();
                assert_eq!(space[28..end], expected[..]);
                assert!(space[end..len - 16].iter().all(|byte| *byte == 0));
                assert!(space[len..].iter().all(|byte| *byte == 0xff));
                assert_eq!(super::packet(&packet, &bytes, &mut space[..len - 1]), None);
            }
        }
    }

    #[test]
    fn every_block_has_its_length_on_both_ends() {
        let mut buf = Vec::new();
        begin("wireboot", &mut buf);
        interface("eth0", "udp port 67", &mut buf);
        statistics(
            0,
            Timestamp::new(1, 0),
            &InterfaceStatistics::default(),
            &mut buf,
        );
        let mut at = 0;
        let mut kinds = Vec::new();
        while at < buf.len() {
            let word = |at: usize| u32::from_le_bytes(buf[at..at + 4].try_into().unwrap());
            kinds.push(word(at));
            let len = usize::try_from(word(at + 4)).unwrap();
            assert_eq!((len % 4, word(at + len - 4)), (0, word(at + 4)));
            at += len;
        }
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 5]);
    }
}
