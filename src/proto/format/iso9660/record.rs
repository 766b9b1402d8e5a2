//! Directory records (ECMA-119 §9.1), and the system use fields of Rock Ridge in them.

use crate::prelude::*;
use crate::reader::{DecodeError, Reader};

/// Records lie within a sector of this many bytes (ECMA-119 §6.8.1.1).
const SECTOR_LEN: usize = 2048;
/// Limit of continuation areas of a record; one is usual, and they can lead in a circle.
const MAX_CONTINUATIONS: usize = 16;
/// The longest name and link of a record, in bytes (`PATH_MAX`).
const MAX_TEXT_LEN: usize = 4096;

/// File flags (ECMA-119 §9.1.6).
mod flags {
    pub(super) const DIRECTORY: u8 = 0x02;
    pub(super) const ASSOCIATED: u8 = 0x04;
    pub(super) const MULTI_EXTENT: u8 = 0x80;
}

/// A directory record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirectoryRecord<'b> {
    /// Blocks of the extended attribute record before the content.
    pub(super) attribute_blocks: u8,
    pub(super) block: u32,
    /// Length of the content, bytes.
    pub(super) len: u32,
    flags: u8,
    /// Not 0 in a file that is interleaved.
    unit_len: u8,
    pub(super) name: &'b [u8],
    system_use: &'b [u8],
}

/// Returns the records of a directory; it ends with the first that is invalid.
pub(super) fn records(
    directory: &[u8],
) -> impl Iterator<Item = Result<DirectoryRecord<'_>, DecodeError>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        loop {
            let len = usize::from(*directory.get(at)?);
            if len > 0 {
                let record = directory.get(at..).unwrap_or_default();
                let record = record.get(..len).unwrap_or(record);
                at += len;
                return Some(DirectoryRecord::decode(record));
            }
            // The rest of the sector is empty.
            at = (at / SECTOR_LEN + 1) * SECTOR_LEN;
        }
    })
    .scan(false, |is_over, record| {
        let is_shown = !*is_over;
        *is_over = record.is_err();
        is_shown.then_some(record)
    })
}

impl<'b> DirectoryRecord<'b> {
    /// Reads a record, which is as long as it says.
    pub(super) fn decode(record: &'b [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(record);
        let len = reader.u8("directory record")?;
        if usize::from(len) > record.len() {
            return Err(crate::reader::invalid("length of directory record", len));
        }
        let attribute_blocks = reader.u8("extended attribute record length")?;
        // Numbers are there in both orders (§7.3.3).
        let block: [u8; 4] = reader.array("location of extent")?;
        reader.take(4, "location of extent")?;
        let content_len: [u8; 4] = reader.array("data length")?;
        reader.take(4 + 7, "data length and date")?;
        let flags = reader.u8("file flags")?;
        let unit_len = reader.u8("file unit size")?;
        reader.take(1 + 4, "interleave gap and volume")?;
        let name_len = reader.u8("length of file identifier")?;
        let name = reader.take(name_len.into(), "file identifier")?;
        if name_len % 2 == 0 {
            // §9.1.12; the record of the root in the volume descriptor may lack it.
            let _ = reader.u8("padding");
        }
        Ok(Self {
            attribute_blocks,
            block: u32::from_le_bytes(block),
            len: u32::from_le_bytes(content_len),
            flags,
            unit_len,
            name,
            system_use: reader.rest(),
        })
    }

    pub(super) const fn is_directory(&self) -> bool {
        self.flags & flags::DIRECTORY != 0
    }

    pub(super) const fn is_associated(&self) -> bool {
        self.flags & flags::ASSOCIATED != 0
    }

    pub(super) const fn is_continued(&self) -> bool {
        self.flags & flags::MULTI_EXTENT != 0
    }

    pub(super) const fn is_interleaved(&self) -> bool {
        self.unit_len != 0
    }

    /// Returns how many bytes of each system use area Rock Ridge leaves to others, if this first record
    /// of the root directory says that there is Rock Ridge (P1281 §5.3, SP).
    pub(super) fn rock_ridge(&self) -> Option<usize> {
        match self.system_use {
            [b'S', b'P', 7, 1, 0xbe, 0xef, skipped, ..] => Some(usize::from(*skipped)),
            _ => None,
        }
    }

    /// Returns the name without version, in small letters, as Linux shows it (`isofs_name_translate`).
    pub(super) fn plain_name(&self) -> String {
        let name = String::from_utf8_lossy(self.name);
        without_version(&name)
            .trim_end_matches('.')
            .to_ascii_lowercase()
    }

    /// Returns the name in UCS-2, without version.
    pub(super) fn joliet_name(&self) -> String {
        let units = self.name.chunks_exact(2);
        let units = units.filter_map(|unit| Some(u16::from_be_bytes(*unit.first_chunk()?)));
        let name: String = char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        without_version(&name).to_owned()
    }

    /// Returns what Rock Ridge says about the file; none for a directory that belongs elsewhere.
    /// `read` returns a continuation area by block, offset and length.
    pub(super) fn fields<E>(
        &self,
        skipped: usize,
        read: &mut dyn FnMut((u32, u32, u32)) -> Result<Vec<u8>, E>,
    ) -> Result<Option<RockRidge>, E> {
        let mut fields = RockRidge::default();
        let mut next = fields.add(self.system_use.get(skipped..).unwrap_or_default());
        for _ in 0..MAX_CONTINUATIONS {
            let Some(area) = next else { break };
            next = fields.add(&read(area)?);
        }
        Ok((!fields.is_elsewhere).then_some(fields))
    }
}

fn without_version(name: &str) -> &str {
    match name.rsplit_once(';') {
        Some((name, version)) if version.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => name,
    }
}

/// Properties of a file by Rock Ridge (P1282 §4.1).
#[derive(Debug, Default)]
pub(super) struct RockRidge {
    pub(super) name: Option<String>,
    pub(super) kind: FileKind,
    /// A directory was moved here, and is named where it was.
    is_elsewhere: bool,
    /// The link so far is followed by `/`.
    link_ends: bool,
}

/// The kind of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum FileKind {
    /// What its record says.
    #[default]
    Plain,
    /// A symbolic link to this path.
    Link(String),
    /// A directory that lies at this block, since it would be too deep in the tree.
    Moved(u32),
    /// A file that was compressed by mkzftree.
    Compressed,
}

impl RockRidge {
    /// Reads the fields of an area; returns the area where they go on.
    fn add(&mut self, mut area: &[u8]) -> Option<(u32, u32, u32)> {
        let mut next = None;
        // P1281 §4: signature, length with these four bytes, version, data.
        while let [a, b, len, _, ..] = *area
            && let Some((field, rest)) = area.split_at_checked(len.into())
            && let Some(data) = field.get(4..)
        {
            area = rest;
            match &[a, b] {
                b"CE" => next = continuation(data),
                b"ST" => break,
                // §4.1.4; the first byte is flags, 2 and 4 of which mean `.` and `..`.
                b"NM" if data.first().is_some_and(|flags| flags & 6 == 0) => {
                    let name = self.name.get_or_insert_default();
                    add_text(name, data.get(1..).unwrap_or_default());
                }
                b"SL" => self.add_link(data.get(1..).unwrap_or_default()),
                b"CL" => self.kind = number(data).map_or(FileKind::Plain, FileKind::Moved),
                b"RE" => self.is_elsewhere = true,
                b"ZF" => self.kind = FileKind::Compressed,
                _ => {}
            }
        }
        next
    }

    /// P1282 §4.1.3.1: components of flags, length and text.
    fn add_link(&mut self, mut components: &[u8]) {
        if !matches!(self.kind, FileKind::Link(_)) {
            self.kind = FileKind::Link(String::new());
        }
        let FileKind::Link(path) = &mut self.kind else {
            return;
        };
        while let [flags, len, rest @ ..] = components
            && let Some((text, rest)) = rest.split_at_checked((*len).into())
        {
            components = rest;
            if core::mem::take(&mut self.link_ends) {
                add_text(path, b"/");
            }
            match flags {
                flags if flags & 8 != 0 => {
                    // The root, and its own separator.
                    add_text(path, b"/");
                    continue;
                }
                flags if flags & 4 != 0 => add_text(path, b".."),
                flags if flags & 2 != 0 => add_text(path, b"."),
                _ => add_text(path, text),
            }
            // 1: the next component continues this one.
            self.link_ends = flags & 1 == 0;
        }
    }
}

fn add_text(text: &mut String, more: &[u8]) {
    if text.len() + more.len() <= MAX_TEXT_LEN {
        text.push_str(&String::from_utf8_lossy(more));
    }
}

/// Reads a number of four bytes, the first of both orders.
fn number(data: &[u8]) -> Option<u32> {
    data.first_chunk().copied().map(u32::from_le_bytes)
}

/// P1281 §5.1: block, offset and length.
fn continuation(data: &[u8]) -> Option<(u32, u32, u32)> {
    Some((
        number(data)?,
        number(data.get(8..)?)?,
        number(data.get(16..)?)?,
    ))
}
