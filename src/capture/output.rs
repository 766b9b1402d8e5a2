//! The output of captured frames: lines of text, or a pcapng file.
//!
//! Both are buffered, and written when the buffer is full or no more frames are waiting, always up to
//! the end of a line or block, so that a reader of the pipe never sees half of one.

use std::fs::File;
use std::io::{self, Write};

use super::line::{LineStyle, Lines};
use super::rotation::{NextFile, Rotation};
use crate::error::{Error, Reason};
use wireboot_proto::format::pcapng::{self, FrameRecord, InterfaceStatistics};
use wireboot_proto::time::Timestamp;

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// One line each.
    Lines(LineStyle),
    /// Blocks of a pcapng file.
    Pcapng,
}

/// A writer of frames in one of the formats.
pub struct FrameWriter<'a> {
    to: &'a mut dyn Write,
    /// The file that is written instead, once another one was begun.
    file: Option<File>,
    rotation: Option<Rotation>,
    /// Bytes in the file.
    written: u64,
    format: OutputFormat,
    /// Most bytes of a frame that are kept.
    snap_len: usize,
    lines: Lines,
    /// The buffer, of its full length; the first `filled` bytes are to be written.
    buf: Vec<u8>,
    filled: usize,
    filter: String,
    /// What is written to, for messages.
    target: String,
    /// Names of the interfaces, printed when there are several.
    names: Vec<String>,
}

/// Length of the buffer, in bytes.
// As much as a pipe holds (pipe(7)).
const BUFFER_LEN: usize = 64 * 1024;

impl<'a> FrameWriter<'a> {
    /// Begins an output of frames that pass `filter`.
    pub fn begin(to: &'a mut dyn Write, format: OutputFormat, filter: &str) -> Result<Self, Error> {
        let style = match format {
            OutputFormat::Lines(style) => style,
            OutputFormat::Pcapng => LineStyle::default(),
        };
        let mut output = Self {
            to,
            file: None,
            rotation: None,
            written: 0,
            format,
            snap_len: usize::MAX,
            lines: Lines::new(style),
            buf: vec![0; BUFFER_LEN],
            filled: 0,
            filter: filter.to_owned(),
            target: String::new(),
            names: Vec::new(),
        };
        output.begin_section()?;
        Ok(output)
    }

    fn begin_section(&mut self) -> Result<(), Error> {
        if self.format != OutputFormat::Pcapng {
            return Ok(());
        }
        let mut block = Vec::new();
        pcapng::begin(concat!("wireboot ", env!("CARGO_PKG_VERSION")), &mut block);
        self.append(&block)
    }

    /// Begins further files as `rotation` says.
    pub fn rotate_by(&mut self, rotation: Option<Rotation>) {
        self.rotation = rotation;
    }

    /// Returns whether there are further files; what is to be asked before each frame then.
    #[inline(always)]
    pub const fn is_rotated(&self) -> bool {
        self.rotation.is_some()
    }

    /// Begins the next file, if this one is full; returns false if there is to be none.
    #[cold]
    pub fn rotate(&mut self) -> Result<bool, Error> {
        let Some(rotation) = &mut self.rotation else {
            return Ok(true);
        };
        match rotation.next(self.written + self.filled as u64) {
            NextFile::Same => return Ok(true),
            NextFile::Limit => return Ok(false),
            NextFile::New => {}
        }
        let (created, name) = (rotation.create(), rotation.name());
        self.flush()?;
        self.target = name;
        self.file = Some(created.map_err(|source| self.not_written(source))?);
        self.written = 0;
        self.begin_section()?;
        for name in std::mem::take(&mut self.names) {
            self.interface(name)?;
        }
        Ok(true)
    }

    /// Names what is written to.
    pub fn set_target(&mut self, name: &str) {
        name.clone_into(&mut self.target);
    }

    /// Keeps so many bytes of each frame.
    pub const fn set_snap_len(&mut self, len: usize) {
        self.snap_len = len;
    }

    /// Adds an interface; they are numbered from 0.
    pub fn interface(&mut self, name: String) -> Result<(), Error> {
        if self.format == OutputFormat::Pcapng {
            let mut block = Vec::new();
            pcapng::interface(&name, &self.filter, &mut block);
            self.append(&block)?;
        }
        self.names.push(name);
        Ok(())
    }

    /// Writes a frame.
    // Runs for every frame of a flood; what is rarely needed is not inlined.
    #[inline(always)]
    pub fn frame(&mut self, packet: &FrameRecord, bytes: &[u8]) -> Result<(), Error> {
        let bytes = bytes.get(..self.snap_len).unwrap_or(bytes);
        if self.format == OutputFormat::Pcapng {
            let len = pcapng::packet_len(packet, bytes);
            if self.buf.len() - self.filled < len {
                self.make_room(len)?;
            }
            if let Some(space) = self.buf.get_mut(self.filled..self.filled + len) {
                pcapng::packet(packet, bytes, space);
                self.filled += len;
            }
            return Ok(());
        }
        self.lines(packet, bytes)
    }

    #[cold]
    fn lines(&mut self, packet: &FrameRecord, bytes: &[u8]) -> Result<(), Error> {
        let tagged;
        let (bytes, tag_len) = match packet.tag {
            None => (bytes, 0),
            Some(tag) => {
                tagged = tag.put_back(bytes);
                (tagged.as_slice(), 4)
            }
        };
        let mut text = String::new();
        if let [_, _, ..] = *self.names
            && let Ok(number) = usize::try_from(packet.interface)
            && let Some(name) = self.names.get(number)
        {
            text.push_str(name);
            text.push(' ');
        }
        let len = packet.original_len.saturating_add(tag_len);
        text.push_str(&self.lines.line(packet.timestamp, bytes, len));
        text.push('\n');
        self.append(text.as_bytes())
    }

    /// Writes the counters of an interface, if the format has them.
    pub fn counters(
        &mut self,
        interface: u32,
        now: Timestamp,
        counters: &InterfaceStatistics,
    ) -> Result<(), Error> {
        if self.format != OutputFormat::Pcapng {
            return Ok(());
        }
        let mut block = Vec::new();
        pcapng::statistics(interface, now, counters, &mut block);
        self.append(&block)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.buf.len() - self.filled < bytes.len() {
            self.make_room(bytes.len())?;
        }
        let space = self.buf.get_mut(self.filled..).unwrap_or_default();
        if let Some(space) = space.get_mut(..bytes.len()) {
            space.copy_from_slice(bytes);
            self.filled += bytes.len();
        }
        Ok(())
    }

    #[cold]
    fn make_room(&mut self, len: usize) -> Result<(), Error> {
        self.flush()?;
        if self.buf.len() < len {
            self.buf.resize(len, 0);
        }
        Ok(())
    }

    /// Writes the buffer.
    pub fn flush(&mut self) -> Result<(), Error> {
        let gathered = self.buf.get(..self.filled).unwrap_or_default();
        let to = match &mut self.file {
            Some(file) => file,
            None => &mut *self.to,
        };
        let written = to.write_all(gathered).and_then(|()| to.flush());
        self.written += self.filled as u64;
        self.filled = 0;
        written.map_err(|source| self.not_written(source))
    }

    fn not_written(&self, source: io::Error) -> Error {
        let target = self.target.clone();
        Box::new(Reason::Output { target, source })
    }
}
