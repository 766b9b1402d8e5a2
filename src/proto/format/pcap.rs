//! Decodes capture files: pcap (draft-ietf-opsawg-pcap) with microseconds or nanoseconds, and pcapng
//! (draft-ietf-opsawg-pcapng), in either byte order.
//!
//! ```text
//! pcap    | magic 4 | version 4 | zone 4 | accuracy 4 | snap length 4 | link type 4 |
//!         { seconds 4 | fraction 4 | captured 4 | original 4 | bytes … }
//! pcapng  { type 4 | length 4 | body … | length 4 }, bodies as written in [`super::pcapng`]
//! ```
//!
//! Frames are decoded from the bytes read so far, so that a file may be larger than memory, or a pipe.
//! Link types other than Ethernet are refused; blocks without frames are skipped.

use super::pcapng::{
    BYTE_ORDER_MAGIC, ENHANCED_PACKET, EPB_FLAGS, FrameDirection, FrameRecord, IF_NAME, IF_TSRESOL,
    INTERFACE_DESCRIPTION, LINKTYPE_ETHERNET, OPT_ENDOFOPT, SECTION_HEADER,
};
use crate::prelude::*;
use crate::reader::{DecodeError, Reader};
use crate::time::Timestamp;

/// Obsolete, but in some old files.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const IF_TSOFFSET: u16 = 14;

// The magic number, by which the fraction is told, begins the header of the file.
const PCAP_MICROSECONDS: u32 = 0xa1b2_c3d4;
const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
const PCAP_HEADER_LEN: usize = 24;

/// Length of the longest accepted block or frame, in bytes.
const MAX_LEN: u32 = 64 << 20;

/// The next item of a capture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureItem<'a> {
    /// An interface, numbered from 0 in the order of the file; its name, if it has one.
    Interface(Option<String>),
    /// A frame, including its tags.
    Frame(FrameRecord, &'a [u8]),
    /// Something else.
    Other,
}

/// A decoder of one capture file.
#[derive(Debug, Default)]
pub struct CaptureReader {
    format: Option<CaptureFormat>,
    is_big_endian: bool,
    interfaces: Vec<CaptureInterface>,
    /// The number of interfaces in earlier sections.
    before: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaptureFormat {
    Pcap { nanoseconds: bool },
    Pcapng,
}

#[derive(Debug, Clone, Copy)]
struct CaptureInterface {
    /// Ticks of the clock in a second.
    resolution: u128,
    /// Seconds to be added.
    offset: u64,
    snap_len: u32,
}

impl CaptureReader {
    /// Decodes the item at the beginning of `bytes`; returns it with its length in bytes, or
    /// none if more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not a capture file of Ethernet frames, or malformed.
    pub fn next<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Result<Option<(CaptureItem<'a>, usize)>, DecodeError> {
        match self.format {
            None => self.begin(bytes),
            Some(CaptureFormat::Pcap { nanoseconds }) => self.record(bytes, nanoseconds),
            Some(CaptureFormat::Pcapng) => self.block(bytes),
        }
    }

    fn begin<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Result<Option<(CaptureItem<'a>, usize)>, DecodeError> {
        let Some(magic) = bytes.first_chunk().copied().map(u32::from_be_bytes) else {
            return Ok(None);
        };
        let (native, is_big_endian) = match magic {
            SECTION_HEADER => {
                self.format = Some(CaptureFormat::Pcapng);
                return self.block(bytes);
            }
            PCAP_MICROSECONDS | PCAP_NANOSECONDS => (magic, true),
            swapped => (swapped.swap_bytes(), false),
        };
        let nanoseconds = match native {
            PCAP_MICROSECONDS => false,
            PCAP_NANOSECONDS => true,
            _ => return Err(crate::reader::invalid("magic number", magic)),
        };
        let Some(header) = bytes.get(..PCAP_HEADER_LEN) else {
            return Ok(None);
        };
        self.is_big_endian = is_big_endian;
        let mut fields = self.fields(header);
        fields.skip(16, "pcap header")?;
        fields.skip(4, "snap length")?;
        // Above the link type: whether frames have a checksum at their end.
        ethernet(fields.u32("link type")? & 0xffff)?;
        self.format = Some(CaptureFormat::Pcap { nanoseconds });
        Ok(Some((CaptureItem::Interface(None), PCAP_HEADER_LEN)))
    }

    fn record<'a>(
        &mut self,
        bytes: &'a [u8],
        nanoseconds: bool,
    ) -> Result<Option<(CaptureItem<'a>, usize)>, DecodeError> {
        let Some((header, rest)) = bytes.split_at_checked(16) else {
            return Ok(None);
        };
        let mut fields = self.fields(header);
        let seconds = fields.u32("seconds")?;
        let fraction = fields.u32("fraction of a second")?;
        let captured = bounded("captured length", fields.u32("captured length")?)?;
        let original_len = fields.u32("original length")?;
        let Some(frame) = rest.get(..captured) else {
            return Ok(None);
        };
        let unit = if nanoseconds { 1 } else { 1_000 };
        let packet = FrameRecord {
            interface: 0,
            timestamp: Timestamp::new(seconds.into(), fraction.saturating_mul(unit)),
            original_len,
            tag: None,
            direction: FrameDirection::Inbound,
        };
        Ok(Some((CaptureItem::Frame(packet, frame), 16 + captured)))
    }

    fn block<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Result<Option<(CaptureItem<'a>, usize)>, DecodeError> {
        let Some(start) = bytes.get(..12) else {
            return Ok(None);
        };
        // 0a0d0d0a is the same in both byte orders; the magic number after it shows the order.
        if start.starts_with(&SECTION_HEADER.to_be_bytes()) {
            let magic = start.last_chunk().copied().map(u32::from_be_bytes);
            self.is_big_endian = match magic.unwrap_or_default() {
                BYTE_ORDER_MAGIC => true,
                magic if magic.swap_bytes() == BYTE_ORDER_MAGIC => false,
                magic => return Err(crate::reader::invalid("byte-order magic", magic)),
            };
            self.before += u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
            // Each section numbers its interfaces from 0.
            self.interfaces.clear();
        }
        let mut fields = self.fields(start);
        let kind = fields.u32("block type")?;
        let len_field = fields.u32("block length")?;
        let len = bounded("block length", len_field)?;
        // Type and two lengths are 12 bytes; a length of 0 would never end.
        if len < 12 || len % 4 != 0 {
            return Err(crate::reader::invalid("block length", len_field));
        }
        let Some(block) = bytes.get(..len) else {
            return Ok(None);
        };
        let mut whole = self.fields(block);
        whole.skip(8, "block header")?;
        let mut body = self.fields(whole.take(len - 12, "block body")?);
        let again = whole.u32("second block length")?;
        if again != len_field {
            return Err(crate::reader::invalid("second block length", again));
        }
        let item = match kind {
            INTERFACE_DESCRIPTION => self.description(&mut body)?,
            ENHANCED_PACKET | PACKET => self.packet(kind, &mut body)?,
            SIMPLE_PACKET => self.simple_packet(&mut body)?,
            _ => CaptureItem::Other,
        };
        Ok(Some((item, len)))
    }

    fn description<'a>(
        &mut self,
        body: &mut OrderedReader<'_>,
    ) -> Result<CaptureItem<'a>, DecodeError> {
        ethernet(body.u16("link type")?.into())?;
        body.skip(2, "reserved")?;
        let mut interface = CaptureInterface {
            // The draft: without if_tsresol the resolution is a microsecond.
            resolution: 1_000_000,
            offset: 0,
            snap_len: body.u32("snap length")?,
        };
        let mut name = None;
        while let Some((code, mut value)) = body.option()? {
            match (code, value.rest()) {
                (IF_NAME, text) => name = Some(String::from_utf8_lossy(text).into_owned()),
                (IF_TSRESOL, [exponent]) => {
                    let base: u128 = if exponent & 0x80 == 0 { 10 } else { 2 };
                    let resolution = base.checked_pow(u32::from(exponent & 0x7f));
                    interface.resolution = resolution
                        .ok_or_else(|| crate::reader::invalid("if_tsresol", *exponent))?;
                }
                (IF_TSOFFSET, _) => interface.offset = value.u64("if_tsoffset")?,
                _ => {}
            }
        }
        self.interfaces.push(interface);
        Ok(CaptureItem::Interface(name))
    }

    fn packet<'a>(
        &self,
        kind: u32,
        body: &mut OrderedReader<'a>,
    ) -> Result<CaptureItem<'a>, DecodeError> {
        let number = if kind == ENHANCED_PACKET {
            body.u32("interface")?
        } else {
            let number = body.u16("interface")?;
            body.skip(2, "drops")?;
            number.into()
        };
        let interface = self.interface(number)?;
        let high = body.u32("timestamp")?;
        let ticks = u64::from(high) << 32 | u64::from(body.u32("timestamp")?);
        let captured = bounded("captured length", body.u32("captured length")?)?;
        let original_len = body.u32("original length")?;
        let bytes = body.take(captured, "frame")?;
        body.skip(captured.next_multiple_of(4) - captured, "padding")?;
        let mut direction = FrameDirection::Inbound;
        while let Some((code, mut value)) = body.option()? {
            // Bits 0 and 1: 1 is inbound, 2 outbound.
            if code == EPB_FLAGS && value.u32("epb_flags")? & 3 == 2 {
                direction = FrameDirection::Outbound;
            }
        }
        let packet = FrameRecord {
            interface: self.before.saturating_add(number),
            timestamp: interface.timestamp(ticks),
            original_len,
            tag: None,
            direction,
        };
        Ok(CaptureItem::Frame(packet, bytes))
    }

    fn simple_packet<'a>(
        &self,
        body: &mut OrderedReader<'a>,
    ) -> Result<CaptureItem<'a>, DecodeError> {
        // A simple packet has neither interface nor time; the draft gives it the first interface.
        let interface = self.interface(0)?;
        let original_len = body.u32("original length")?;
        let kept = match interface.snap_len {
            0 => original_len,
            snap_len => original_len.min(snap_len),
        };
        let bytes = body.take(bounded("original length", kept)?, "frame")?;
        let packet = FrameRecord {
            interface: self.before,
            timestamp: Timestamp::default(),
            original_len,
            tag: None,
            direction: FrameDirection::Inbound,
        };
        Ok(CaptureItem::Frame(packet, bytes))
    }

    fn interface(&self, number: u32) -> Result<CaptureInterface, DecodeError> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let known = self.interfaces.get(index).copied();
        known.ok_or_else(|| crate::reader::invalid("interface", number))
    }

    const fn fields<'a>(&self, bytes: &'a [u8]) -> OrderedReader<'a> {
        OrderedReader {
            reader: Reader::new(bytes),
            is_big_endian: self.is_big_endian,
        }
    }
}

impl CaptureInterface {
    fn timestamp(self, ticks: u64) -> Timestamp {
        let ticks = u128::from(ticks);
        let nanoseconds = (ticks % self.resolution)
            .saturating_mul(1_000_000_000)
            .checked_div(self.resolution)
            .unwrap_or(0);
        let seconds = u64::try_from(ticks / self.resolution).unwrap_or(u64::MAX);
        Timestamp::new(
            seconds.wrapping_add(self.offset),
            u32::try_from(nanoseconds).unwrap_or(0),
        )
    }
}

fn ethernet(link_type: u32) -> Result<(), DecodeError> {
    if link_type == u32::from(LINKTYPE_ETHERNET) {
        return Ok(());
    }
    Err(crate::reader::invalid(
        "link type (1 is Ethernet)",
        link_type,
    ))
}

fn bounded(field: &'static str, len: u32) -> Result<usize, DecodeError> {
    let within = usize::try_from(len).ok().filter(|_| len <= MAX_LEN);
    within.ok_or_else(|| crate::reader::invalid(field, len))
}

/// A [`Reader`] of numbers in the order of the file.
#[derive(Debug, Clone)]
struct OrderedReader<'a> {
    reader: Reader<'a>,
    is_big_endian: bool,
}

impl<'a> OrderedReader<'a> {
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        self.reader.take(len, field)
    }

    fn skip(&mut self, len: usize, field: &'static str) -> Result<(), DecodeError> {
        self.take(len, field).map(drop)
    }

    const fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Reads the bytes of a number, the most significant first.
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut bytes = self.reader.array(field)?;
        if !self.is_big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    /// Reads the next option; none at the end.
    fn option(&mut self) -> Result<Option<(u16, Self)>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let code = self.u16("option code")?;
        let len = usize::from(self.u16("option length")?);
        if code == OPT_ENDOFOPT {
            return Ok(None);
        }
        let reader = Reader::new(self.take(len, "option value")?);
        self.skip(len.next_multiple_of(4) - len, "padding of an option")?;
        let value = Self { reader, ..*self };
        Ok(Some((code, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::pcapng;
    use super::*;

    /// Reads a whole file, handing over one byte more each time.
    fn read(bytes: &[u8]) -> Result<Vec<(CaptureItem<'_>, usize)>, DecodeError> {
        let (mut file, mut items) = (CaptureReader::default(), Vec::new());
        let (mut at, mut end) = (0, 0);
        while end <= bytes.len() {
            match file.next(&bytes[at..end])? {
                Some((item, len)) => {
                    at += len;
                    items.push((item, len));
                }
                None => end += 1,
            }
        }
        assert_eq!(at, bytes.len());
        Ok(items)
    }

    fn packet(interface: u32, timestamp: Timestamp, direction: FrameDirection) -> FrameRecord {
        FrameRecord {
            interface,
            timestamp,
            original_len: 60,
            tag: None,
            direction,
        }
    }

    #[test]
    fn what_was_written_as_pcapng_is_read_again() {
        let mut bytes = Vec::new();
        pcapng::begin("wireboot", &mut bytes);
        for name in ["eth0", "eth1"] {
            pcapng::interface(name, "arp", &mut bytes);
        }
        let packet = packet(1, Timestamp::new(5, 7), FrameDirection::Outbound);
        let at = bytes.len();
        bytes.resize(at + pcapng::packet_len(&packet, &[1, 2, 3]), 0);
        pcapng::packet(&packet, &[1, 2, 3], &mut bytes[at..]).unwrap();
        let counters = pcapng::InterfaceStatistics::default();
        pcapng::statistics(1, Timestamp::default(), &counters, &mut bytes);
        let items: Vec<_> = read(&bytes)
            .unwrap()
            .into_iter()
            .map(|item| item.0)
            .collect();
        assert_eq!(
            items,
            [
                CaptureItem::Other,
                CaptureItem::Interface(Some("eth0".to_owned())),
                CaptureItem::Interface(Some("eth1".to_owned())),
                CaptureItem::Frame(packet, &[1, 2, 3]),
                CaptureItem::Other,
            ]
        );
        for at in 0..bytes.len() {
            bytes[at] ^= 0x55;
            let _ = read_leniently(&bytes);
            bytes[at] ^= 0x55;
        }
    }

    fn read_leniently(mut bytes: &[u8]) -> Result<(), DecodeError> {
        let mut file = CaptureReader::default();
        while let Some((_, len)) = file.next(bytes)? {
            bytes = &bytes[len..];
        }
        Ok(())
    }

    #[test]
    fn pcap_is_read_in_both_orders_and_both_units() {
        for (magic, fraction) in [(PCAP_MICROSECONDS, 7), (PCAP_NANOSECONDS, 7_000)] {
            let words = [magic, 0x0004_0002, 0, 0, 262_144, 1, 5, fraction, 3, 60];
            for order in [u32::to_be_bytes, u32::to_le_bytes] {
                let mut bytes: Vec<u8> = words.iter().flat_map(|word| order(*word)).collect();
                bytes.extend([1, 2, 3]);
                let packet = packet(0, Timestamp::new(5, 7_000), FrameDirection::Inbound);
                assert_eq!(
                    read(&bytes).unwrap(),
                    [
                        (CaptureItem::Interface(None), 24),
                        (CaptureItem::Frame(packet, &[1, 2, 3][..]), 19)
                    ]
                );
            }
        }
    }

    /// Blocks with big-endian numbers.
    fn block(kind: u32, body: &[u32]) -> Vec<u8> {
        let len = u32::try_from(body.len() * 4 + 12).unwrap();
        let words = [&[kind, len][..], body, &[len]].concat();
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn big_endian_sections_with_clocks_of_their_own_and_old_blocks_are_read() {
        let section = block(
            SECTION_HEADER,
            &[BYTE_ORDER_MAGIC, 0x0001_0000, u32::MAX, u32::MAX],
        );
        // 1/1024 s, and 10 s more.
        let options = [0x0009_0001, 0x8a00_0000, 0x000e_0008, 0, 10, 0];
        let described = block(
            INTERFACE_DESCRIPTION,
            &[&[1 << 16, 2][..], &options].concat(),
        );
        let old = block(PACKET, &[0, 0, 1_536, 2, 60, 0x0102_0000]);
        let simple = block(SIMPLE_PACKET, &[60, 0x0304_0000]);
        let file = [
            &section[..],
            &described,
            &old,
            &simple,
            &section,
            &described,
            &simple,
        ]
        .concat();
        let items = read(&file).unwrap();
        let half = Timestamp::new(11, 500_000_000);
        let inbound = FrameDirection::Inbound;
        assert_eq!(
            items[2].0,
            CaptureItem::Frame(packet(0, half, inbound), &[1, 2])
        );
        let never = Timestamp::default();
        assert_eq!(
            items[3].0,
            CaptureItem::Frame(packet(0, never, inbound), &[3, 4])
        );
        assert_eq!(
            items[6].0,
            CaptureItem::Frame(packet(1, never, inbound), &[3, 4])
        );
    }

    #[test]
    fn what_is_no_capture_of_ethernet_frames_is_refused() {
        let section = block(
            SECTION_HEADER,
            &[BYTE_ORDER_MAGIC, 0x0001_0000, u32::MAX, u32::MAX],
        );
        let with = |block: Vec<u8>| [section.clone(), block].concat();
        let mut lengths = block(99, &[0]);
        lengths[15] = 20;
        for (bytes, field) in [
            (b"#!ipxe".to_vec(), "magic number"),
            (block(SECTION_HEADER, &[1, 1]), "byte-order magic"),
            (with(block(1, &[113 << 16, 0])), "link type (1 is Ethernet)"),
            (with(block(6, &[0, 0, 0, 0, 0])), "interface"),
            (
                with(vec![0, 0, 0, 6, 0, 0, 0, 13, 0, 0, 0, 0]),
                "block length",
            ),
            (
                with(vec![0, 0, 0, 6, 9, 0, 0, 0, 0, 0, 0, 0]),
                "block length",
            ),
            (with(lengths), "second block length"),
        ] {
            let error = read_leniently(&bytes).unwrap_err();
            assert!(error.to_string().contains(field), "{field}: {error}");
        }
    }
}
