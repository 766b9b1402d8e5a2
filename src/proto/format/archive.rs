//! Members of tar archives (POSIX.1-2017 pax, ustar, GNU's long names) and of cpio archives in the format
//! `newc`, as they are received.
//!
//! [`Decoder`] guarantees that paths are relative, without `..`, and no longer than [`MAX_PATH_LEN`]; links
//! have targets of that length at most. It holds no content. Left out, and an error: archives of several
//! volumes.

mod cpio;
mod sparse;

use self::sparse::{Map, Pending, Run};
use super::cpio::padding;
use crate::prelude::*;
use crate::text::safe::Quoted;

/// `PATH_MAX` of Linux.
pub const MAX_PATH_LEN: usize = 4096;
/// The longest extended header of pax, in bytes: GNU tar's default limit of what it holds.
const MAX_PAX_LEN: usize = 1 << 20;
/// Files with several names in a cpio archive, whose names are held.
const MAX_LINKED: usize = 1 << 14;

/// The length of a header and of its blocks of content in tar.
const BLOCK_LEN: usize = 512;
/// The length of the header of cpio's format `newc`.
const CPIO_LEN: usize = 110;
const CPIO_MAGIC: &[u8] = b"070701";
/// The same with a checksum, which nobody verifies: hashes are those of the whole file.
const CPIO_MAGIC_CRC: &[u8] = b"070702";
const TRAILER: &[u8] = b"TRAILER!!!";

/// Returns whether a file with these first bytes is an archive that [`Decoder`] reads.
pub fn is_archive(head: &[u8]) -> bool {
    // The first tars have no magic, nor have labels of volumes by GNU tar.
    head.get(..BLOCK_LEN).is_some_and(has_checksum)
        || head.starts_with(CPIO_MAGIC)
        || head.starts_with(CPIO_MAGIC_CRC)
}

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// A header that is none.
    #[error("byte {at} of the archive is no header of a member: {what}")]
    Header {
        /// Where the header ends, in bytes.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A path that leads out of the archive, or is too long.
    #[error("the archive has a member {}, which is no path within it", Quoted(.0))]
    Path(String),
    /// The end is missing.
    #[error("the archive is cut off")]
    CutOff,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file, whose content follows.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// Another name of the member with this path; content that follows is that of both.
    HardLink(Vec<u8>),
    /// A FIFO.
    Fifo,
    /// A device.
    Device,
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, relative; empty for the folder that the archive is of.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its permissions, with set-user-ID, set-group-ID and the sticky bit.
    pub mode: u16,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// When it was changed last, in seconds since 1970.
    pub changed_at: u64,
    /// The length of its content, in bytes.
    pub len: u64,
    /// Its extended attributes, each its name with the namespace, such as `security.capability`, `=` and
    /// its value; and access control lists in the form of text under the names that tar gives them.
    pub attributes: Vec<Vec<u8>>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A member begins.
    Entry(Entry),
    /// The next bytes of its content.
    Content(&'a [u8]),
    /// This many bytes of its content are zeros, which are not stored: a hole in a sparse file.
    Hole(u64),
}

/// A reader of an archive that is received piece by piece.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// What has been received of a header or text that is not complete.
    held: Vec<u8>,
    /// Bytes read.
    at: u64,
    /// What extended headers say about the next member.
    next: Extended,
    /// Paths of files with several names by device and inode, of a cpio archive.
    linked: Vec<([u32; 3], Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    len: Option<u64>,
    user: Option<u32>,
    group: Option<u32>,
    changed_at: Option<u64>,
    attributes: Vec<Vec<u8>>,
    /// The length and the name of a sparse file, and where its content belongs unless that is said at the
    /// beginning of it.
    real_len: Option<u64>,
    real_path: Option<Vec<u8>>,
    numbers: Vec<u64>,
    has_inner_map: bool,
}

#[derive(Debug)]
enum State {
    /// The first bytes, which tell tar from cpio, are to come.
    Begin,
    /// A header of tar.
    Tar,
    /// A header of cpio.
    Cpio,
    /// The name behind a header of cpio.
    Name(CpioHeader, usize),
    /// A text of this length, and what it is.
    Text(Text, usize),
    /// Content, the last of it first, and the padding behind it, in bytes.
    Content {
        runs: Vec<Run>,
        padding: u64,
        then: Next,
    },
    /// Bytes that are skipped.
    Skip { left: u64, then: Next },
    /// Zeros between archives of cpio.
    Zeros,
    /// The end of an archive of tar, behind which nothing is read.
    End,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Tar,
    Cpio,
    Zeros,
}

#[derive(Debug)]
enum Text {
    /// The path of the next member (`L` of GNU).
    LongPath,
    /// Its target (`K`).
    LongTarget,
    /// Records of pax.
    Pax,
    /// The target of a symbolic link of cpio.
    Target(Entry),
    /// Where the content of a sparse file belongs.
    Map(Pending),
}

#[derive(Debug, Clone, Copy)]
struct CpioHeader {
    inode: [u32; 3],
    mode: u32,
    user: u32,
    group: u32,
    links: u32,
    changed_at: u32,
    len: u32,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            state: State::Begin,
            held: Vec::new(),
            at: 0,
            next: Extended::default(),
            linked: Vec::new(),
        }
    }
}

impl Decoder {
    /// Reads from the beginning of `input`, which it shortens, up to the next event; none when all of it
    /// has been read.
    ///
    /// # Errors
    /// [`ArchiveError`], behind which nothing can be read.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, ArchiveError> {
        loop {
            match &mut self.state {
                State::End => {
                    *input = &[];
                    return Ok(None);
                }
                State::Content {
                    runs,
                    padding,
                    then,
                } => match runs.last_mut() {
                    None => {
                        self.state = State::Skip {
                            left: *padding,
                            then: *then,
                        };
                    }
                    Some((0, 0)) => drop(runs.pop()),
                    Some((0, left)) => {
                        let Some(content) = split(input, *left) else {
                            return Ok(None);
                        };
                        *left -= content.len() as u64;
                        self.at += content.len() as u64;
                        return Ok(Some(Event::Content(content)));
                    }
                    Some((hole, _)) => return Ok(Some(Event::Hole(core::mem::take(hole)))),
                },
                State::Skip { left: 0, then } => {
                    self.state = match then {
                        Next::Tar => State::Tar,
                        Next::Cpio => State::Cpio,
                        Next::Zeros => State::Zeros,
                    };
                }
                State::Skip { left, .. } => {
                    let Some(skipped) = split(input, *left) else {
                        return Ok(None);
                    };
                    *left -= skipped.len() as u64;
                    self.at += skipped.len() as u64;
                }
                State::Zeros => {
                    let zeros = input.iter().take_while(|byte| **byte == 0).count() as u64;
                    split(input, zeros);
                    self.at += zeros;
                    if input.is_empty() {
                        return Ok(None);
                    }
                    // Each begins at a multiple of four bytes (init/initramfs.c of Linux).
                    if !self.at.is_multiple_of(4) {
                        return Err(self.fault("something else is behind the archive"));
                    }
                    self.state = State::Cpio;
                }
                State::Begin | State::Tar | State::Cpio | State::Name(..) | State::Text(..) => {
                    let wanted = self.wanted();
                    let missing = wanted.saturating_sub(self.held.len());
                    let piece = split(input, missing as u64).unwrap_or_default();
                    self.held.extend(piece);
                    self.at += piece.len() as u64;
                    if self.held.len() < wanted {
                        return Ok(None);
                    }
                    if let Some(entry) = self.handle_field()? {
                        return Ok(Some(Event::Entry(entry)));
                    }
                }
            }
        }
    }

    /// Checks that the archive is complete.
    ///
    /// # Errors
    /// [`ArchiveError::CutOff`].
    pub const fn finish(&self) -> Result<(), ArchiveError> {
        let is_over = matches!(
            self.state,
            State::End
                | State::Zeros
                | State::Skip {
                    left: 0,
                    then: Next::Zeros
                }
        );
        if is_over {
            Ok(())
        } else {
            Err(ArchiveError::CutOff)
        }
    }

    /// Returns the length of the field that is read, in bytes.
    const fn wanted(&self) -> usize {
        match self.state {
            State::Begin => CPIO_MAGIC.len(),
            State::Tar => BLOCK_LEN,
            State::Cpio => CPIO_LEN,
            State::Name(_, len) | State::Text(_, len) => len,
            State::Content { .. } | State::Skip { .. } | State::Zeros | State::End => 0,
        }
    }

    /// Handles a field that is complete; returns the member that begins by it.
    fn handle_field(&mut self) -> Result<Option<Entry>, ArchiveError> {
        match core::mem::replace(&mut self.state, State::End) {
            State::Begin => {
                let is_cpio = self.held == CPIO_MAGIC || self.held == CPIO_MAGIC_CRC;
                self.state = if is_cpio { State::Cpio } else { State::Tar };
                return Ok(None);
            }
            State::Tar => return self.tar_header(),
            State::Cpio => {
                let (header, name_len) = self.cpio_header()?;
                // Of the name and the padding of both.
                let padded = name_len + padding((CPIO_LEN + name_len) as u64);
                self.state = State::Name(header, padded);
            }
            State::Name(header, _) => {
                let name = until_nul(&core::mem::take(&mut self.held)).to_vec();
                return self.cpio_entry(header, &name);
            }
            State::Text(text, _) => return self.text(text),
            State::Content { .. } | State::Skip { .. } | State::Zeros | State::End => {}
        }
        self.held.clear();
        Ok(None)
    }

    fn tar_header(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let header = core::mem::take(&mut self.held);
        let field = |at: usize, len: usize| header.get(at..at + len).unwrap_or_default();
        if header.iter().all(|byte| *byte == 0) {
            // handle_field has set the state to the end.
            return Ok(None);
        }
        if !has_checksum(&header) {
            return Err(self.fault("its checksum is wrong"));
        }
        // mode, uid, gid, size and mtime of a header of ustar (pax(1p)).
        let numbers = [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12)]
            .map(|(at, len)| number(field(at, len)));
        let [Some(mode), Some(user), Some(group), Some(len), changed_at] = numbers else {
            return Err(self.fault("one of its numbers is none"));
        };
        // typeflag; links have their target in linkname, from 157 on.
        let kind = header.get(156).copied().unwrap_or_default();
        let text = match kind {
            b'x' => Some((Text::Pax, MAX_PAX_LEN)),
            b'L' => Some((Text::LongPath, MAX_PATH_LEN)),
            b'K' => Some((Text::LongTarget, MAX_PATH_LEN)),
            _ => None,
        };
        if let Some((text, most)) = text {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > most || len == 0 {
                return Err(self.fault("its extended header is empty or too long"));
            }
            self.state = State::Text(text, len);
            return Ok(None);
        }
        let next = core::mem::take(&mut self.next);
        let len = next.len.unwrap_or(len);
        let mut path = until_nul(field(0, 100)).to_vec();
        // GNU's magic is followed by a blank, and has times in place of a prefix.
        let prefix = until_nul(field(345, 155));
        if field(257, 6) == b"ustar\0" && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        let path = next.real_path.or(next.path).unwrap_or(path);
        let target = next
            .target
            .unwrap_or_else(|| until_nul(field(157, 100)).to_vec());
        let member = match kind {
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink(plain_path(&target)?),
            b'2' => Kind::Symlink(checked_target(target)?),
            b'3' | b'4' => Kind::Device,
            // The names of what was in one are no content of it (GNU tar --listed-incremental).
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            // What is said about all members, and labels of volumes.
            b'g' | b'V' => {
                self.state = State::Skip {
                    left: len.saturating_add(tar_padding(len)),
                    then: Next::Tar,
                };
                return Ok(None);
            }
            b'S' => Kind::File,
            _ => return Err(self.fault("its type is not known")),
        };
        let mut entry = Entry {
            path: plain_path(&path)?,
            kind: member,
            mode: permissions(mode),
            user: next.user.unwrap_or_else(|| id(user)),
            group: next.group.unwrap_or_else(|| id(group)),
            changed_at: next.changed_at.or(changed_at).unwrap_or_default(),
            len,
            attributes: next.attributes,
        };
        let map = match (kind, next.has_inner_map) {
            (b'S', _) => Some(Map::Old),
            (_, true) => Some(Map::Decimal(None)),
            (_, false) if next.real_len.is_some() || !next.numbers.is_empty() => Some(Map::Header),
            (_, false) => None,
        };
        if let Some(map) = map.filter(|_| entry.kind == Kind::File) {
            return self.sparse(entry, next.real_len, next.numbers, map, &header);
        }
        // Only files have content, whatever a header says (read_header of GNU tar), but that list of names.
        let content = if entry.kind == Kind::File { len } else { 0 };
        let left = if kind == b'D' { len } else { 0 };
        entry.len = content;
        self.state = State::Content {
            runs: vec![(0, content)],
            padding: left.saturating_add(tar_padding(content | left)),
            then: Next::Tar,
        };
        Ok(Some(entry))
    }

    fn text(&mut self, text: Text) -> Result<Option<Entry>, ArchiveError> {
        let bytes = core::mem::take(&mut self.held);
        self.state = State::Skip {
            left: tar_padding(bytes.len() as u64),
            then: Next::Tar,
        };
        match text {
            Text::LongPath => self.next.path = Some(until_nul(&bytes).to_vec()),
            Text::LongTarget => self.next.target = Some(until_nul(&bytes).to_vec()),
            Text::Pax => {
                // A member has one such header, and whoever sends many must not fill the memory by them.
                self.next.attributes.clear();
                self.next.numbers.clear();
                self.pax(&bytes)?;
            }
            Text::Map(pending) => return self.sparse_block(pending, &bytes),
            Text::Target(mut entry) => {
                entry.kind = Kind::Symlink(checked_target(bytes)?);
                let left = padding(entry.len) as u64;
                entry.len = 0;
                self.state = State::Skip {
                    left,
                    then: Next::Cpio,
                };
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Reads records of the form `LENGTH KEY=VALUE\n`, whose length is that of all of it.
    fn pax(&mut self, mut records: &[u8]) -> Result<(), ArchiveError> {
        while !records.is_empty() {
            let blank = records.iter().take(8).position(|byte| *byte == b' ');
            let len = blank.and_then(|at| decimal(records.get(..at)?));
            let record = len.and_then(|len| records.get(..usize::try_from(len).ok()?));
            let text = record.and_then(|record| record.get(blank? + 1..)?.strip_suffix(b"\n"));
            let equals = text.and_then(|text| text.iter().position(|byte| *byte == b'='));
            let (Some(record), Some(text), Some(equals)) = (record, text, equals) else {
                return Err(self.fault("its extended header is damaged"));
            };
            records = records.get(record.len()..).unwrap_or_default();
            let (key, value) = text.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                match key {
                    b"name" => self.next.real_path = Some(value.to_vec()),
                    b"size" | b"realsize" => self.next.real_len = decimal(value),
                    b"major" => self.next.has_inner_map = value != b"0",
                    b"offset" | b"numbytes" | b"map" => {
                        let numbers = value.split(|byte| *byte == b',');
                        self.next.numbers.extend(numbers.filter_map(decimal));
                    }
                    _ => {}
                }
                continue;
            }
            let value_of =
                || decimal(value).ok_or_else(|| self.fault("one of its numbers is none"));
            match key {
                b"path" => self.next.path = Some(value.to_vec()),
                b"linkpath" => self.next.target = Some(value.to_vec()),
                b"size" => self.next.len = Some(value_of()?),
                b"uid" => self.next.user = Some(id(value_of()?)),
                b"gid" => self.next.group = Some(id(value_of()?)),
                // One before 1970 is none here.
                b"mtime" => self.next.changed_at = decimal(value),
                _ if key.starts_with(b"SCHILY.") => self.next.attributes.extend(attribute(text)),
                _ => {}
            }
        }
        Ok(())
    }

    const fn fault(&self, what: &'static str) -> ArchiveError {
        ArchiveError::Header { at: self.at, what }
    }
}

/// Returns whether the checksum of a header of tar is right: the sum of all bytes, with blanks for those of
/// the sum itself.
fn has_checksum(header: &[u8]) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let field = header.get(148..156).unwrap_or_default();
    number(field) == Some(sum(header) + 8 * u64::from(b' ') - sum(field))
}

/// Returns what a record of pax says about an attribute, by the names that star has introduced and GNU tar,
/// bsdtar and Go use too. A list of access rights is text, which no system call takes as it is.
fn attribute(record: &[u8]) -> Option<Vec<u8>> {
    let is_list = record.starts_with(b"SCHILY.acl.");
    let attribute = record.strip_prefix(b"SCHILY.xattr.");
    Some(attribute.or(is_list.then_some(record))?.to_vec())
}

/// Returns the bytes behind content of `len` bytes, up to the next block.
const fn tar_padding(len: u64) -> u64 {
    len.wrapping_neg() % BLOCK_LEN as u64
}

/// Takes up to `len` bytes from the beginning of `input`; none if there are none.
fn split<'a>(input: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let (piece, rest) = input.split_at_checked(len.min(input.len()))?;
    *input = rest;
    (!piece.is_empty()).then_some(piece)
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns a path without its first `/`, and without empty components and `.`.
fn plain_path(path: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let components = path.split(|byte| *byte == b'/');
    let components: Vec<_> = components
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    let is_outside = components.iter().any(|part| *part == b"..") || path.contains(&0);
    if is_outside || path.len() >= MAX_PATH_LEN {
        return Err(refused(path));
    }
    Ok(components.join(&b'/'))
}

/// Returns the target of a symbolic link, whose meaning is that of the system it is for.
fn checked_target(target: Vec<u8>) -> Result<Vec<u8>, ArchiveError> {
    if target.is_empty() || target.len() >= MAX_PATH_LEN || target.contains(&0) {
        return Err(refused(&target));
    }
    Ok(target)
}

fn refused(path: &[u8]) -> ArchiveError {
    // Enough of it for a message.
    let start = path.get(..path.len().min(200)).unwrap_or_default();
    ArchiveError::Path(String::from_utf8_lossy(start).into_owned())
}

/// Reads a number in octal digits, or in binary with the first bit set (GNU tar's base 256).
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let first = u64::from(first & 0x7f);
        return rest.iter().try_fold(first, |number, byte| {
            (number < 1 << 54).then_some(number << 8 | u64::from(*byte))
        });
    }
    let text = core::str::from_utf8(until_nul(field))
        .ok()?
        .trim_matches(' ');
    if text.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(text, 8).ok()
}

/// Reads a decimal number, without what is behind a point.
fn decimal(text: &[u8]) -> Option<u64> {
    let whole = text.split(|byte| *byte == b'.').next()?;
    core::str::from_utf8(whole).ok()?.parse().ok()
}

/// Numbers that are none for Linux are those of nobody.
fn id(number: u64) -> u32 {
    // The kernel's overflowuid, which most systems call nobody.
    u32::try_from(number).unwrap_or(65534)
}

fn permissions(mode: u64) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive in pieces of `step` bytes; returns its members with their content.
    pub(super) fn members(
        archive: &[u8],
        step: usize,
    ) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
        let mut decoder = Decoder::default();
        let mut members = Vec::new();
        for mut piece in archive.chunks(step) {
            while let Some(event) = decoder.next(&mut piece)? {
                match event {
                    Event::Entry(entry) => members.push((entry, Vec::new())),
                    Event::Content(bytes) => members.last_mut().unwrap().1.extend(bytes),
                    Event::Hole(len) => {
                        let content = &mut members.last_mut().unwrap().1;
                        content.resize(content.len() + usize::try_from(len).unwrap(), 0);
                    }
                }
            }
            assert!(piece.is_empty());
        }
        decoder.finish()?;
        Ok(members)
    }

    pub(super) fn octal(header: &mut [u8], at: usize, len: usize, value: u64) {
        let text = format!("{value:0width$o}\0", width = len - 1);
        header[at..at + len].copy_from_slice(text.as_bytes());
    }

    /// A member of tar with its content.
    pub(super) fn tar(path: &str, kind: u8, target: &str, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK_LEN];
        header[..path.len()].copy_from_slice(path.as_bytes());
        for (at, len, value) in [
            (100, 8, 0o4755),
            (108, 8, 7),
            (116, 8, 8),
            (124, 12, content.len() as u64),
            (136, 12, 9),
        ] {
            octal(&mut header, at, len, value);
        }
        header[148..156].fill(b' ');
        header[156] = kind;
        header[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header[257..263].copy_from_slice(b"ustar\0");
        sign(&mut header);
        header.extend(content);
        header.resize(header.len().next_multiple_of(BLOCK_LEN), 0);
        header
    }

    pub(super) fn sign(header: &mut [u8]) {
        header[148..156].fill(b' ');
        let sum = header[..BLOCK_LEN]
            .iter()
            .map(|byte| u64::from(*byte))
            .sum();
        octal(header, 148, 7, sum);
    }

    pub(super) fn with_end(members: &[Vec<u8>]) -> Vec<u8> {
        [members.concat(), vec![0; 2 * BLOCK_LEN]].concat()
    }

    #[test]
    fn members_of_tar_are_read_in_pieces_of_any_length() {
        let long = format!("{}/end", "d".repeat(300));
        let pax = format!(
            "{} path={long}\n10 size=3\n25 SCHILY.xattr.user.a=b\n41 SCHILY.xattr.security.capability=\x01\0\n=\n\
             31 SCHILY.acl.access=user::rwx\n19 SCHILY.xattr.=a\n",
            long.len() + 10
        );
        let archive = with_end(&[
            tar("./", b'5', "", b""),
            tar("./a/b", b'0', "", b"content"),
            tar("/link", b'2', "../../etc/passwd", b""),
            tar("hard", b'1', "./a/b", b""),
            tar("@", b'L', "", format!("{long}\0").as_bytes()),
            tar("short", b'0', "", &[7; 600]),
            tar("pax", b'g', "", b"9 a=b c\n"),
            tar("pax", b'x', "", pax.as_bytes()),
            tar("short", b'0', "", b"abc"),
            tar("null", b'3', "", b""),
            tar("fifo", b'6', "", b""),
            tar("old/", 0, "", b""),
        ]);
        assert!(is_archive(&archive));
        // As before POSIX.
        let mut first = tar("a", 0, "", b"")[..BLOCK_LEN].to_vec();
        first[257..263].fill(0);
        sign(&mut first);
        assert!(is_archive(&first));
        first[0] ^= 1;
        assert!(!is_archive(&first) && !is_archive(&[0; 4096]) && !is_archive(&archive[..300]));
        let whole = members(&archive, archive.len()).unwrap();
        let short: Vec<_> = whole
            .iter()
            .map(|(entry, content)| (entry.path.as_slice(), &entry.kind, content.len()))
            .collect();
        assert_eq!(
            short,
            [
                (&b""[..], &Kind::Directory, 0),
                (b"a/b", &Kind::File, 7),
                (b"link", &Kind::Symlink(b"../../etc/passwd".to_vec()), 0),
                (b"hard", &Kind::HardLink(b"a/b".to_vec()), 0),
                (long.as_bytes(), &Kind::File, 600),
                (long.as_bytes(), &Kind::File, 3),
                (b"null", &Kind::Device, 0),
                (b"fifo", &Kind::Fifo, 0),
                (b"old", &Kind::Directory, 0),
            ]
        );
        let (first, _) = &whole[1];
        assert_eq!(
            (first.mode, first.user, first.group, first.changed_at),
            (0o4755, 7, 8, 9)
        );
        for step in [1, 7, 511, 513] {
            assert_eq!(members(&archive, step).unwrap(), whole);
        }
        // Without all of its end it is one that was cut off.
        for len in 0..archive.len() - 2 * BLOCK_LEN + 1 {
            members(&archive[..len], BLOCK_LEN).unwrap_err();
        }
        // They are those of the next member alone.
        let attributes = whole
            .iter()
            .map(|(entry, _)| entry.attributes.as_slice())
            .collect::<Vec<_>>();
        let expected = [
            &b"user.a=b"[..],
            b"security.capability=\x01\0\n=",
            b"SCHILY.acl.access=user::rwx",
            b"=a",
        ];
        assert_eq!(attributes[5], expected);
        assert_eq!(attributes.concat().len(), expected.len());
    }

    #[test]
    fn of_several_headers_of_pax_the_last_one_counts() {
        let attribute = |value: &str| format!("25 SCHILY.xattr.user.a={value}\n");
        let archive = with_end(&[
            tar("L", b'L', "", b"long\0"),
            tar("pax", b'x', "", attribute("b").as_bytes()),
            tar("pax", b'x', "", attribute("c").as_bytes()),
            tar("short", b'0', "", b"abc"),
        ]);
        let read = members(&archive, 512).unwrap();
        let (entry, content) = &read[0];
        assert_eq!((&entry.path[..], &content[..]), (&b"long"[..], &b"abc"[..]));
        assert_eq!(entry.attributes, [b"user.a=c"]);
    }

    #[test]
    fn members_of_cpio_are_read_with_their_links_and_archives_behind_each_other() {
        let member = |name: &str, inode: u32, mode: u32, links: u32, content: &[u8]| {
            let mut bytes = b"070701".to_vec();
            let len = u32::try_from(content.len()).unwrap();
            let name_len = u32::try_from(name.len()).unwrap() + 1;
            for field in [inode, mode, 1, 2, links, 3, len, 0, 0, 0, 0, name_len, 0] {
                bytes.extend(format!("{field:08X}").bytes());
            }
            for part in [[name.as_bytes(), b"\0"].concat(), content.to_vec()] {
                bytes.extend(part);
                bytes.resize(bytes.len() + padding(bytes.len() as u64), 0);
            }
            bytes
        };
        let end = || member("TRAILER!!!", 0, 0, 1, b"");
        let archive = [
            member(".", 1, 0o40755, 2, b""),
            member("a", 2, 0o100644, 2, b""),
            member("b", 2, 0o100644, 2, b"12345"),
            member("s", 3, 0o120777, 1, b"target"),
            member("dev/null", 4, 0o20666, 1, b""),
            end(),
            vec![0; 512],
            member("c", 2, 0o100644, 2, b"6"),
            end(),
            vec![0; 8],
        ]
        .concat();
        let whole = members(&archive, archive.len()).unwrap();
        let short: Vec<_> = whole
            .iter()
            .map(|(entry, content)| (entry.path.as_slice(), &entry.kind, &content[..]))
            .collect();
        assert_eq!(
            short,
            [
                (&b""[..], &Kind::Directory, &b""[..]),
                (b"a", &Kind::File, b""),
                (b"b", &Kind::HardLink(b"a".to_vec()), b"12345"),
                (b"s", &Kind::Symlink(b"target".to_vec()), b""),
                (b"dev/null", &Kind::Device, b""),
                (b"c", &Kind::File, b"6"),
            ]
        );
        for step in [1, 3, 109] {
            assert_eq!(members(&archive, step).unwrap(), whole);
        }
        let first_len = archive.len() - 512 - 8 - member("c", 2, 0, 2, b"6").len() - end().len();
        for len in 0..first_len {
            members(&archive[..len], 64).unwrap_err();
        }
        let fault = members(
            &[end(), b"\x1f\x8b\x08\0".to_vec(), vec![7; 200]].concat(),
            64,
        );
        assert!(fault.unwrap_err().to_string().contains("format newc"));
    }

    #[test]
    fn what_leads_out_or_is_no_archive_is_refused() {
        for member in [
            tar("../a", b'0', "", b""),
            tar("a/../../b", b'5', "", b""),
            tar("a", b'1', "../b", b""),
            tar("a", b'2', "", b""),
            tar("a", b'S', "", b"content"),
            tar("a", b'?', "", b""),
            tar("a", b'x', "", b"9999 path=a\n"),
            tar("a", b'x', "", b"nonsense"),
            tar("a", b'L', "", &[b'a'; MAX_PATH_LEN + 1]),
            vec![1; BLOCK_LEN],
        ] {
            members(&with_end(&[member]), 100).unwrap_err();
        }
        let mut large = tar("a", b'0', "", b"");
        large[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        sign(&mut large);
        let mut decoder = Decoder::default();
        let Ok(Some(Event::Entry(entry))) = decoder.next(&mut &large[..]) else {
            panic!("it is a member")
        };
        assert_eq!(entry.len, 1 << 32);
        large[124..136].fill(0xff);
        sign(&mut large);
        members(&with_end(&[large]), 100).unwrap_err();
    }
}
