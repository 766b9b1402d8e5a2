//! ISO 9660 (ECMA-119): files of an image by their paths, with the names of Rock Ridge (IEEE P1281 and
//! P1282) or Joliet where the image has them.
//!
//! Without I/O: whoever has the image reads the parts that [`IsoVolume::find`] asks for. How much it asks
//! for is bounded whatever the image says, and a part lies within the volume. Left out: interleaved
//! files, which no program writes, and compressed ones (zisofs).

mod record;

use core::ops::Range;

use crate::prelude::*;
use crate::reader::{DecodeError, Reader};
use record::{DirectoryRecord, FileKind, records};

/// How many bytes of an image [`IsoVolume::decode`] needs: up to its volume descriptors.
pub const HEAD_LEN: u64 = SYSTEM_AREA_LEN + 16 * SECTOR_LEN;

/// ECMA-119 §6.1.2 and §6.2.1, in bytes.
const SECTOR_LEN: u64 = 2048;
const SYSTEM_AREA_LEN: u64 = 16 * SECTOR_LEN;
/// The longest directory that is read, in bytes: some 10,000 files.
const MAX_DIRECTORY_LEN: u64 = 1 << 20;
/// Limit of the names on the way to a file, with those in symbolic links, of which Linux follows 40
/// (`MAXSYMLINKS`); links can lead in a circle.
const MAX_STEPS: usize = 64;
/// Limit of what is read on the way to a file, in bytes: directories of 1 MiB as long as their names have
/// no more than usual in continuation areas, which any number of records may share.
const MAX_READ_LEN: u64 = 32 << 20;
/// Limit of the parts of a file, each of up to 4 GiB.
const MAX_PARTS: usize = 64;

/// A part of an image, in bytes from its start.
pub type Extent = Range<u64>;

/// The reason why a path cannot be followed in an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsoError {
    /// A structure is cut off or impossible.
    #[error("the ISO image is damaged: {0}")]
    Damaged(#[from] DecodeError),
    /// Symbolic links in a circle, most likely.
    #[error("more than {MAX_STEPS} names on the way to the file; do symbolic links loop?")]
    Endless,
    /// Directories too long, or with continuation areas in a circle.
    #[error("more than {MAX_READ_LEN} bytes of directories on the way to the file")]
    TooLong,
    /// A file in a form that cannot be read.
    #[error("the file is {0} in the ISO image, which is not supported")]
    Unsupported(&'static str),
}

/// The file system of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoVolume {
    /// Length of a logical block, bytes.
    block_len: u64,
    /// Length of the volume, bytes.
    len: u64,
    root: Extent,
    /// The same directory with names of Joliet.
    joliet: Option<Extent>,
}

/// Source of the names in directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameSource {
    /// The directory records, with capitals alone.
    Plain,
    /// The same in UCS-2, of a supplementary volume.
    Joliet,
    /// The system use fields, which begin this many bytes into their area (P1281 §5.3).
    RockRidge(usize),
}

/// Target of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file: its parts in order, none empty.
    File(Vec<Extent>),
    /// The names in a directory; those of directories end in `/`.
    Directory(Vec<String>),
}

/// Reads a part of the image.
pub type ReadExtent<'r, E> = &'r mut dyn FnMut(Extent) -> Result<Vec<u8>, E>;

impl IsoVolume {
    /// Reads the volume descriptors in the first [`HEAD_LEN`] bytes of an image, or all of a shorter
    /// one; none when it is no ISO 9660 image.
    ///
    /// # Errors
    /// A descriptor with impossible values.
    pub fn decode(head: &[u8]) -> Result<Option<Self>, DecodeError> {
        let at = usize::try_from(SYSTEM_AREA_LEN).unwrap_or(usize::MAX);
        let sectors = head.get(at..).unwrap_or_default();
        let mut volume: Option<Self> = None;
        for sector in sectors.chunks_exact(usize::try_from(SECTOR_LEN).unwrap_or(usize::MAX)) {
            // ECMA-119 §8.1: type, identifier and version.
            match (sector.first(), sector.get(1..6), &mut volume) {
                // Primary and supplementary descriptor, and the end of them all (§8.1.1).
                (Some(1), Some(b"CD001"), None) => volume = Some(Self::of_descriptor(sector)?),
                (Some(2), Some(b"CD001"), Some(volume)) if is_joliet(sector) => {
                    let root = Self::of_descriptor(sector)?.root;
                    // Its descriptor has a length of the volume of its own.
                    volume.joliet = Some(root).filter(|root| root.end <= volume.len);
                }
                (Some(255), ..) => break,
                (_, Some(b"CD001"), _) => {}
                _ => break,
            }
        }
        Ok(volume)
    }

    /// ECMA-119 §8.4: the fields of a primary or supplementary volume descriptor.
    fn of_descriptor(sector: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(sector);
        reader.take(80, "volume descriptor")?;
        let blocks: [u8; 4] = reader.array("volume space size")?;
        reader.take(44, "volume descriptor")?;
        let block_len: [u8; 2] = reader.array("logical block size")?;
        reader.take(26, "volume descriptor")?;
        let root = reader.take(34, "root directory")?;
        let block_len = u64::from(u16::from_le_bytes(block_len));
        // §6.2.2: a power of two from 512 on, and no more than a sector.
        if !block_len.is_power_of_two() || !(512..=SECTOR_LEN).contains(&block_len) {
            return Err(crate::reader::invalid("logical block size", block_len));
        }
        let mut volume = Self {
            block_len,
            len: u64::from(u32::from_le_bytes(blocks)) * block_len,
            root: 0..0,
            joliet: None,
        };
        volume.root = volume.extent(&DirectoryRecord::decode(root)?)?;
        Ok(volume)
    }

    /// Returns the length of the volume, in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether the volume has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Follows a path from the root directory, and symbolic links on its way; none when it leads to
    /// nothing. Names that differ in case alone are the same where none is equal, as for the firmware
    /// that many configurations in images are written for.
    ///
    /// # Errors
    /// [`IsoError`], or an error of `read`.
    pub fn find<E: From<IsoError>>(
        &self,
        path: &str,
        read: ReadExtent<'_, E>,
    ) -> Result<Option<Found>, E> {
        let mut left = MAX_READ_LEN;
        let mut tree = Tree {
            volume: self,
            names: NameSource::Plain,
            read: &mut |part| {
                let rest = left.checked_sub(part.end - part.start);
                left = rest.ok_or(IsoError::TooLong)?;
                read(part)
            },
        };
        let root = tree.open_root()?;
        // The directories on the way, for `..`.
        let mut above = Vec::new();
        let mut directory = root.clone();
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut steps = 0;
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    directory = above.pop().unwrap_or_else(|| root.clone());
                    continue;
                }
                _ => {}
            }
            steps += 1;
            if steps > MAX_STEPS {
                return Err(IsoError::Endless.into());
            }
            let Some(entry) = tree.entry(&directory, &name)? else {
                return Ok(None);
            };
            match entry {
                Entry::Directory(extent) => {
                    above.push(core::mem::replace(&mut directory, extent));
                }
                Entry::Link(target) => {
                    if target.starts_with('/') {
                        above.clear();
                        directory = root.clone();
                    }
                    rest.extend(target.split('/').rev().map(str::to_owned));
                }
                Entry::File(parts) => {
                    let is_last = rest.iter().all(String::is_empty);
                    return Ok(is_last.then_some(Found::File(parts)));
                }
            }
        }
        Ok(Some(Found::Directory(tree.list(&directory)?)))
    }

    /// Returns where the content of a record is.
    fn extent(&self, record: &DirectoryRecord<'_>) -> Result<Extent, DecodeError> {
        // ECMA-119 §9.1.2: an extended attribute record comes before the content.
        let start = (u64::from(record.block) + u64::from(record.attribute_blocks)) * self.block_len;
        let end = start + u64::from(record.len);
        if end > self.len {
            return Err(crate::reader::invalid("location of extent", record.block));
        }
        Ok(start..end)
    }
}

/// Returns whether a supplementary volume has names of Joliet: UCS-2 of level 1, 2 or 3.
fn is_joliet(sector: &[u8]) -> bool {
    let escapes = sector.get(88..91);
    matches!(escapes, Some([b'%', b'/', b'@' | b'C' | b'E']))
}

/// A name in a directory.
enum Entry {
    File(Vec<Extent>),
    Directory(Extent),
    Link(String),
}

/// The directories of a volume that is being read.
struct Tree<'v, 'r, E> {
    volume: &'v IsoVolume,
    names: NameSource,
    read: ReadExtent<'r, E>,
}

impl<E: From<IsoError>> Tree<'_, '_, E> {
    /// Decides where the names come from, as Linux does (`isofs_fill_super`): Rock Ridge before
    /// Joliet; returns the root directory.
    fn open_root(&mut self) -> Result<Extent, E> {
        let volume = self.volume;
        let bytes = self.bytes(&volume.root)?;
        let first = records(&bytes).next().transpose().map_err(damaged)?;
        let skipped = first.and_then(|first| first.rock_ridge());
        self.names = match (skipped, &volume.joliet) {
            (Some(skipped), _) => NameSource::RockRidge(skipped),
            (None, Some(_)) => NameSource::Joliet,
            (None, None) => NameSource::Plain,
        };
        Ok(match (self.names, &volume.joliet) {
            (NameSource::Joliet, Some(joliet)) => joliet.clone(),
            _ => volume.root.clone(),
        })
    }

    fn bytes(&mut self, directory: &Extent) -> Result<Vec<u8>, E> {
        let len = directory.end - directory.start;
        if len > MAX_DIRECTORY_LEN {
            return Err(damaged(crate::reader::invalid("length of directory", len)));
        }
        (self.read)(directory.clone())
    }

    /// Looks for a name in a directory.
    fn entry(&mut self, directory: &Extent, wanted: &str) -> Result<Option<Entry>, E> {
        let bytes = self.bytes(directory)?;
        let mut similar = None;
        let mut rest = records(&bytes);
        while let Some(record) = rest.next() {
            let record = record.map_err(damaged)?;
            let Some((name, kind)) = self.named(&record)? else {
                continue;
            };
            let is_equal = name == wanted;
            if is_equal || similar.is_none() && name.eq_ignore_ascii_case(wanted) {
                let entry = self.open(record, kind, &mut rest)?;
                if is_equal {
                    return Ok(Some(entry));
                }
                similar = Some(entry);
            }
        }
        Ok(similar)
    }

    /// Returns what a record and those behind it that continue it stand for.
    fn open<'b>(
        &mut self,
        mut record: DirectoryRecord<'b>,
        kind: FileKind,
        rest: &mut impl Iterator<Item = Result<DirectoryRecord<'b>, DecodeError>>,
    ) -> Result<Entry, E> {
        match kind {
            FileKind::Link(target) => return Ok(Entry::Link(target)),
            FileKind::Moved(block) => return self.moved(block).map(Entry::Directory),
            FileKind::Compressed => return Err(IsoError::Unsupported("compressed (zisofs)").into()),
            FileKind::Plain if record.is_directory() => {
                let extent = self.volume.extent(&record).map_err(damaged)?;
                return Ok(Entry::Directory(extent));
            }
            FileKind::Plain => {}
        }
        let mut parts: Vec<Extent> = Vec::new();
        loop {
            if record.is_interleaved() {
                return Err(IsoError::Unsupported("interleaved").into());
            }
            let extent = self.volume.extent(&record).map_err(damaged)?;
            match parts.last_mut() {
                // The parts of a file over 4 GiB mostly follow each other.
                Some(last) if last.end == extent.start => last.end = extent.end,
                _ if extent.is_empty() => {}
                _ => parts.push(extent),
            }
            if !record.is_continued() {
                return Ok(Entry::File(parts));
            }
            let next = rest.next().transpose().map_err(damaged)?;
            match next.filter(|_| parts.len() < MAX_PARTS) {
                Some(next) => record = next,
                None => return Err(damaged(crate::reader::invalid("file section", 0_u8))),
            }
        }
    }

    /// Returns the directory that was moved up in the tree and begins at this block (P1282 §4.1.5.1):
    /// its own record tells its length.
    fn moved(&mut self, block: u32) -> Result<Extent, E> {
        let invalid = || damaged(crate::reader::invalid("child link", block));
        let start = u64::from(block) * self.volume.block_len;
        if start + SECTOR_LEN > self.volume.len {
            return Err(invalid());
        }
        let bytes = (self.read)(start..start + SECTOR_LEN)?;
        let first = records(&bytes).next().transpose().map_err(damaged)?;
        let first = first.ok_or_else(invalid)?;
        self.volume.extent(&first).map_err(damaged)
    }

    fn list(&mut self, directory: &Extent) -> Result<Vec<String>, E> {
        let bytes = self.bytes(directory)?;
        let mut names = Vec::new();
        for record in records(&bytes) {
            let record = record.map_err(damaged)?;
            if let Some((mut name, kind)) = self.named(&record)? {
                let is_directory = match kind {
                    FileKind::Plain => record.is_directory(),
                    FileKind::Moved(_) => true,
                    FileKind::Link(_) | FileKind::Compressed => false,
                };
                if is_directory {
                    name.push('/');
                }
                names.push(name);
            }
        }
        // A file of several parts has a record for each.
        names.dedup();
        Ok(names)
    }

    /// Returns the name and kind of a record; none for those that a path cannot name.
    fn named(&mut self, record: &DirectoryRecord<'_>) -> Result<Option<(String, FileKind)>, E> {
        // ECMA-119 §6.8.2.2: the directory itself and the one above.
        if matches!(record.name, [0] | [1]) || record.is_associated() {
            return Ok(None);
        }
        let (name, kind) = match self.names {
            NameSource::Plain => (record.plain_name(), FileKind::Plain),
            NameSource::Joliet => (record.joliet_name(), FileKind::Plain),
            NameSource::RockRidge(skipped) => {
                let (volume, read) = (self.volume, &mut self.read);
                let fields = record.fields(skipped, &mut |(block, at, len)| {
                    let start = u64::from(block) * volume.block_len + u64::from(at);
                    let end = start + u64::from(len);
                    // P1281 §5.1: it ends in the block it begins in; Linux allows a sector too.
                    if end > volume.len || u64::from(len) > SECTOR_LEN {
                        return Err(damaged(crate::reader::invalid("continuation area", block)));
                    }
                    read(start..end)
                })?;
                let Some(fields) = fields else {
                    return Ok(None);
                };
                let name = fields.name.unwrap_or_else(|| record.plain_name());
                (name, fields.kind)
            }
        };
        let is_name = !matches!(name.as_str(), "" | "." | "..")
            && !name.contains(|c: char| c == '/' || c.is_control());
        Ok(is_name.then_some((name, kind)))
    }
}

fn damaged<E: From<IsoError>>(error: DecodeError) -> E {
    IsoError::Damaged(error).into()
}

#[cfg(test)]
mod tests;
