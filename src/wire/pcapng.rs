//! Capture files that Wireshark and tcpdump open (draft-ietf-opsawg-pcapng), written block by
//! block. Times are in nanoseconds.
//!
//! Left out: reading, name resolution, secrets, and sections of unknown length other than the
//! one section that a file here has.

use std::time::Duration;

/// An interface of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface<'a> {
    /// Its name.
    pub name: &'a str,
    /// The filter that frames passed, empty when there was none.
    pub filter: &'a str,
    /// Octets kept of a frame, 0 for all.
    pub snap_len: u32,
}

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It arrived.
    Inbound,
    /// It was sent from here.
    Outbound,
}

/// What a file says of a frame beside its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Number of the interface, in the order in which they were written, from 0.
    pub interface: u32,
    /// When, since 1970.
    pub timestamp: Duration,
    /// Octets on the wire.
    pub original_len: u32,
    /// Which way it went.
    pub direction: Direction,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;

const OPT_ENDOFOPT: u16 = 0;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_FILTER: u16 = 11;
const EPB_FLAGS: u16 = 2;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Appends the block that begins a file.
pub fn begin(application: &str, buf: &mut Vec<u8>) {
    block(SECTION_HEADER, buf, |buf| {
        buf.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        buf.extend_from_slice(&1_u16.to_le_bytes());
        buf.extend_from_slice(&0_u16.to_le_bytes());
        // The section's length is not known while it is written.
        buf.extend_from_slice(&u64::MAX.to_le_bytes());
        option(SHB_USERAPPL, application.as_bytes(), buf);
        option(OPT_ENDOFOPT, &[], buf);
    });
}

/// Appends an Ethernet interface; the first has number 0.
pub fn interface(interface: &Interface<'_>, buf: &mut Vec<u8>) {
    block(INTERFACE_DESCRIPTION, buf, |buf| {
        buf.extend_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
        buf.extend_from_slice(&[0, 0]);
        buf.extend_from_slice(&interface.snap_len.to_le_bytes());
        option(IF_NAME, interface.name.as_bytes(), buf);
        option(IF_TSRESOL, &[9], buf);
        if !interface.filter.is_empty() {
            // 0: the filter is given as text.
            let mut filter = vec![0];
            filter.extend_from_slice(interface.filter.as_bytes());
            option(IF_FILTER, &filter, buf);
        }
        option(OPT_ENDOFOPT, &[], buf);
    });
}

/// Appends a frame.
pub fn packet(packet: &Packet, octets: &[u8], buf: &mut Vec<u8>) {
    // Runs for every frame of a flood, so the block is put together in few and large pieces.
    let captured = len_of(octets);
    let padding = octets.len().next_multiple_of(4) - octets.len();
    let len = u32::try_from(octets.len() + padding + PACKET_OVERHEAD).unwrap_or(u32::MAX);
    let nanoseconds = u64::try_from(packet.timestamp.as_nanos()).unwrap_or(u64::MAX);
    let direction: u32 = match packet.direction {
        Direction::Inbound => 1,
        Direction::Outbound => 2,
    };
    buf.reserve(octets.len() + padding + PACKET_OVERHEAD);
    buf.extend_from_slice(
        words([
            ENHANCED_PACKET,
            len,
            packet.interface,
            u32::try_from(nanoseconds >> 32).unwrap_or(u32::MAX),
            u32::try_from(nanoseconds & 0xffff_ffff).unwrap_or(u32::MAX),
            captured,
            packet.original_len.max(captured),
        ])
        .as_flattened(),
    );
    buf.extend_from_slice(octets);
    buf.extend_from_slice([0; 3].get(..padding).unwrap_or_default());
    let flags = u32::from(EPB_FLAGS) | 4 << 16;
    buf.extend_from_slice(words([flags, direction, OPT_ENDOFOPT.into(), len]).as_flattened());
}

/// Octets of a packet's block beside those of the frame.
const PACKET_OVERHEAD: usize = 11 * 4;

fn words<const N: usize>(words: [u32; N]) -> [[u8; 4]; N] {
    words.map(u32::to_le_bytes)
}

/// Appends the counters of an interface: frames that passed the filter, and those of them that
/// were lost.
pub fn statistics(interface: u32, now: Duration, received: u64, dropped: u64, buf: &mut Vec<u8>) {
    block(INTERFACE_STATISTICS, buf, |buf| {
        buf.extend_from_slice(&interface.to_le_bytes());
        time(now, buf);
        option(ISB_IFRECV, &received.to_le_bytes(), buf);
        option(ISB_IFDROP, &dropped.to_le_bytes(), buf);
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
    // A filter of more than 64 KiB is cut off rather than to break the file.
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    buf.extend_from_slice(&code.to_le_bytes());
    buf.extend_from_slice(&len.to_le_bytes());
    padded(value.get(..len.into()).unwrap_or(value), buf);
}

fn padded(octets: &[u8], buf: &mut Vec<u8>) {
    buf.extend_from_slice(octets);
    let padding = octets.len().next_multiple_of(4) - octets.len();
    buf.resize(buf.len() + padding, 0);
}

fn time(since_1970: Duration, buf: &mut Vec<u8>) {
    // Enough until the year 2554.
    let nanoseconds = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
    let high = u32::try_from(nanoseconds >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(nanoseconds & 0xffff_ffff).unwrap_or(u32::MAX);
    buf.extend_from_slice(&high.to_le_bytes());
    buf.extend_from_slice(&low.to_le_bytes());
}

fn len_of(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_laid_out_as_the_draft_says() {
        let mut buf = Vec::new();
        let direction = Direction::Outbound;
        let timestamp = Duration::new(5, 7);
        let header = Packet {
            interface: 1,
            timestamp,
            original_len: 60,
            direction,
        };
        packet(&header, &[1, 2, 3, 4, 5], &mut buf);
        let expected: [u32; 13] = [
            6,           // Enhanced Packet Block
            52,          // length
            1,           // interface
            1,           // 5 000 000 007 ns, high
            705_032_711, // low
            5,           // captured
            60,          // on the wire
            0x0403_0201, // the octets
            0x0000_0005, // and their padding
            0x0004_0002, // epb_flags, 4 octets
            2,           // outbound
            0,           // end of options
            52,          // length again
        ];
        let words: Vec<u32> = buf
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn every_block_has_its_length_on_both_ends() {
        let mut buf = Vec::new();
        begin("wireboot", &mut buf);
        let described = Interface {
            name: "eth0",
            filter: "udp port 67",
            snap_len: 0,
        };
        interface(&described, &mut buf);
        statistics(0, Duration::from_secs(1), 3, 1, &mut buf);
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
