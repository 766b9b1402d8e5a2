//! Headers and members of cpio archives in the formats `newc` and `crc`
//! (Documentation/driver-api/early-userspace of Linux).

use super::super::cpio::padding;
use super::{
    ArchiveError, CPIO_MAGIC, CPIO_MAGIC_CRC, CpioHeader, Decoder, Entry, Kind, MAX_LINKED,
    MAX_PATH_LEN, Next, State, TRAILER, Text, permissions, plain_path,
};
use crate::prelude::*;

impl Decoder {
    pub(super) fn cpio_header(&self) -> Result<(CpioHeader, usize), ArchiveError> {
        let magic = self.held.get(..6).unwrap_or_default();
        if magic != CPIO_MAGIC && magic != CPIO_MAGIC_CRC {
            return Err(self.fault("it is none of cpio's format newc"));
        }
        let mut fields = [0; 12];
        for (value, digits) in fields
            .iter_mut()
            .zip(self.held.get(6..).unwrap_or_default().chunks(8))
        {
            let text = core::str::from_utf8(digits).ok();
            let read = text.and_then(|text| u32::from_str_radix(text, 16).ok());
            *value = read.ok_or_else(|| self.fault("one of its numbers is none"))?;
        }
        let [
            inode,
            mode,
            user,
            group,
            links,
            changed_at,
            len,
            major,
            minor,
            _,
            _,
            name_len,
        ] = fields;
        let name_len = usize::try_from(name_len).unwrap_or(usize::MAX);
        if name_len == 0 || name_len > MAX_PATH_LEN {
            return Err(self.fault("its name is empty or too long"));
        }
        let header = CpioHeader {
            inode: [major, minor, inode],
            mode,
            user,
            group,
            links,
            changed_at,
            len,
        };
        Ok((header, name_len))
    }

    pub(super) fn cpio_entry(
        &mut self,
        header: CpioHeader,
        name: &[u8],
    ) -> Result<Option<Entry>, ArchiveError> {
        let len = u64::from(header.len);
        let padded = padding(len) as u64;
        if name == TRAILER {
            self.linked.clear();
            self.state = State::Skip {
                left: len + padded,
                then: Next::Zeros,
            };
            return Ok(None);
        }
        let path = plain_path(name)?;
        let kind = match header.mode & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Symlink(Vec::new()),
            0o010_000 => Kind::Fifo,
            0o020_000 | 0o060_000 => Kind::Device,
            _ => return Err(self.fault("its type is not known")),
        };
        let mut entry = Entry {
            path,
            kind,
            mode: permissions(header.mode.into()),
            user: header.user,
            group: header.group,
            changed_at: header.changed_at.into(),
            len,
            attributes: Vec::new(),
        };
        if entry.kind == Kind::Symlink(Vec::new()) {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len == 0 || len >= MAX_PATH_LEN {
                return Err(self.fault("its target is empty or too long"));
            }
            self.state = State::Text(Text::Target(entry), len);
            return Ok(None);
        }
        if entry.kind == Kind::File && header.links > 1 {
            let mut linked = self.linked.iter();
            let first = linked.find(|(inode, _)| *inode == header.inode);
            if let Some((_, first)) = first {
                entry.kind = Kind::HardLink(first.clone());
            } else if self.linked.len() < MAX_LINKED {
                self.linked.push((header.inode, entry.path.clone()));
            } else {
                return Err(self.fault("too many files have several names"));
            }
        }
        if matches!(entry.kind, Kind::File | Kind::HardLink(_)) {
            self.state = State::Content {
                runs: vec![(0, len)],
                padding: padded,
                then: Next::Cpio,
            };
        } else {
            entry.len = 0;
            self.state = State::Skip {
                left: len + padded,
                then: Next::Cpio,
            };
        }
        Ok(Some(entry))
    }
}
