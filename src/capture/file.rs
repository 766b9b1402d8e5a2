//! Reading capture files, to print or filter them: `capture -r`.

use std::io::{self, ErrorKind, Read, Write};

use super::output::{FrameWriter, OutputFormat};
use super::rotation::Rotation;
use crate::error::{Error, Reason};
use crate::sys::SyscallError;
use crate::sys::filter::{FilterInput, FilterProgram};
use wireboot_proto::format::pcap::{CaptureItem, CaptureReader};

/// Configuration of `capture -r`.
#[derive(Debug)]
pub struct ReadConfig {
    /// The file's name, for messages.
    pub name: String,
    /// The filter, compiled for frames that contain their tags.
    pub program: FilterProgram,
    /// The filter as it was written.
    pub filter: String,
    /// Maximum number of frames.
    pub count: Option<u64>,
    /// What is written to, for messages.
    pub target: String,
    /// The output format.
    pub format: OutputFormat,
    /// Most bytes of a frame that are kept.
    pub snap_len: usize,
}

/// Frame counters of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadCounts {
    /// Frames read from the file.
    pub read: u64,
    /// Frames that passed the filter.
    pub passed: u64,
}

/// What a file is of which not even the begin can be read.
const OTHER_FORMAT: &str = "not a capture file (pcap or pcapng)";
/// Size of one read, in bytes.
const CHUNK_LEN: usize = 64 * 1024;

/// Reads a capture file to its end and writes the frames that pass the filter.
///
/// # Errors
/// [`Reason::Usage`] with the offset at which the file is malformed; the frames before it have been
/// written then.
pub fn read(
    settings: &ReadConfig,
    from: &mut dyn Read,
    to: &mut dyn Write,
    rotation: Option<Rotation>,
) -> Result<ReadCounts, Error> {
    let mut output = FrameWriter::begin(to, settings.format, &settings.filter)?;
    output.set_target(&settings.target);
    output.set_snap_len(settings.snap_len);
    output.rotate_by(rotation);
    let mut counters = ReadCounts::default();
    let result = copy(settings, from, &mut output, &mut counters);
    output.flush()?;
    result.map(|()| counters)
}

fn copy(
    settings: &ReadConfig,
    from: &mut dyn Read,
    output: &mut FrameWriter<'_>,
    counters: &mut ReadCounts,
) -> Result<(), Error> {
    let broken = |at: u64, why: &str| {
        let name = &settings.name;
        Box::new(Reason::Usage(format!("{name}: at byte {at}: {why}")))
    };
    let mut file = CaptureReader::default();
    let mut buf = Vec::new();
    // Offset of `buf` in the file, and of the next item in `buf`.
    let (mut before, mut at) = (0_u64, 0_usize);
    let left = settings.count.unwrap_or(u64::MAX);
    while counters.passed < left {
        let rest = buf.get(at..).unwrap_or_default();
        let place = before + at as u64;
        let other = || Box::new(Reason::Usage(format!("{}: {OTHER_FORMAT}", settings.name)));
        let next = file.next(rest).map_err(|error| {
            if place == 0 {
                return other();
            }
            broken(place, &error.to_string())
        })?;
        let Some((item, len)) = next else {
            if !fill(&mut buf, at, from).map_err(|source| unreadable(settings, source))? {
                if buf.is_empty() && place > 0 {
                    return Ok(());
                }
                if place == 0 {
                    return Err(other());
                }
                return Err(broken(place, "the file ends in the middle of a block"));
            }
            before = place;
            at = 0;
            continue;
        };
        match item {
            CaptureItem::Interface(name) => output.interface(name.unwrap_or_default())?,
            CaptureItem::Frame(packet, bytes) => {
                counters.read += 1;
                let original_len = packet.original_len;
                let view = FilterInput {
                    original_len,
                    ..FilterInput::new(bytes)
                };
                if settings.program.run_with(&view) != 0 {
                    if output.is_rotated() && !output.rotate()? {
                        return Ok(());
                    }
                    counters.passed += 1;
                    output.frame(&packet, bytes)?;
                }
            }
            CaptureItem::Other => {}
        }
        at += len;
    }
    Ok(())
}

/// Discards the first `used` bytes and reads more; returns whether there were any.
fn fill(buf: &mut Vec<u8>, used: usize, from: &mut dyn Read) -> io::Result<bool> {
    buf.drain(..used.min(buf.len()));
    let len = buf.len();
    buf.resize(len + CHUNK_LEN, 0);
    let read = loop {
        match from.read(buf.get_mut(len..).unwrap_or_default()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    buf.truncate(len + read.as_ref().copied().unwrap_or(0));
    read.map(|read| read > 0)
}

fn unreadable(settings: &ReadConfig, source: io::Error) -> Error {
    Box::new(Reason::System {
        doing: settings.name.clone(),
        source: SyscallError::of("read", source),
    })
}

#[cfg(test)]
mod tests {
    use super::super::line::LineStyle;
    use super::*;
    use wireboot_proto::packet::ethernet::ETHERTYPE_ARP;

    fn pcap(frames: &[&[u8]]) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut file: Vec<u8> = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
        for frame in frames {
            let len = u32::try_from(frame.len()).unwrap();
            file.extend(words(&[3_661, 5, len, len]));
            file.extend_from_slice(frame);
        }
        file
    }

    fn frame(ethertype: u16) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend(ethertype.to_be_bytes());
        frame.resize(60, 0);
        frame
    }

    fn settings(count: Option<u64>, format: OutputFormat) -> ReadConfig {
        let filter = "not arp".to_owned();
        let expression = super::super::language::parse(&filter).unwrap();
        ReadConfig {
            name: "x.pcap".to_owned(),
            program: expression.compile_for_files().unwrap(),
            filter,
            count,
            target: String::new(),
            format,
            snap_len: usize::MAX,
        }
    }

    const LINES: OutputFormat = OutputFormat::Lines(LineStyle {
        verbose: false,
        quiet: false,
        ethernet: false,
        time: 0,
        micro: false,
        numbered: false,
        hex: [0, 0],
        ascii: false,
    });

    #[test]
    fn the_frames_that_pass_are_put_down() {
        let (arp, other) = (frame(ETHERTYPE_ARP), frame(0x88b5));
        let file = pcap(&[&other, &arp, &other, &other]);
        let mut text = Vec::new();
        let counters = read(&settings(Some(2), LINES), &mut &file[..], &mut text, None).unwrap();
        assert_eq!((counters.read, counters.passed), (3, 2));
        let line = "01:01:01.000005000 02:02:02:02:02:02 > 02:02:02:02:02:02: \
            ethertype 0x88b5, length 60\n";
        assert_eq!(String::from_utf8(text).unwrap(), line.repeat(2));
    }

    #[test]
    fn what_is_written_anew_reads_the_same() {
        let other = frame(0x88b5);
        let file = pcap(&[&other, &other]);
        let (mut anew, mut lines, mut lines_anew) = (Vec::new(), Vec::new(), Vec::new());
        let lines_of = settings(None, LINES);
        read(
            &settings(None, OutputFormat::Pcapng),
            &mut &file[..],
            &mut anew,
            None,
        )
        .unwrap();
        read(&lines_of, &mut &file[..], &mut lines, None).unwrap();
        read(&lines_of, &mut &anew[..], &mut lines_anew, None).unwrap();
        assert_eq!(lines, lines_anew);
        assert!(!lines.is_empty());
    }

    #[test]
    fn a_file_of_another_kind_is_said_to_be_one() {
        for content in [&b""[..], b"\x0a\x0d", b"root:x:0:0:root:/root:/bin/sh\n"] {
            let error = read(
                &settings(None, LINES),
                &mut &content[..],
                &mut Vec::new(),
                None,
            );
            assert_eq!(
                error.unwrap_err().to_string(),
                "x.pcap: not a capture file (pcap or pcapng)"
            );
        }
        let read = read(
            &settings(None, LINES),
            &mut &pcap(&[])[..],
            &mut Vec::new(),
            None,
        );
        assert_eq!(read.unwrap(), ReadCounts::default());
    }

    #[test]
    fn a_broken_file_is_shown_up_to_the_place_and_named_with_it() {
        let mut file = pcap(&[&frame(0x88b5), &frame(0x88b5)]);
        file.pop();
        let mut text = Vec::new();
        let error = read(&settings(None, LINES), &mut &file[..], &mut text, None).unwrap_err();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(
            error.to_string(),
            "x.pcap: at byte 100: the file ends in the middle of a block"
        );
    }
}
