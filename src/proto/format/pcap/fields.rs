//! The fields of a capture file, in whose byte order they stand.

use super::super::pcapng::OPT_ENDOFOPT;
use crate::reader::{DecodeError, Reader};

/// A [`Reader`] of numbers in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct OrderedReader<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) is_big_endian: bool,
}

impl<'a> OrderedReader<'a> {
    pub(super) fn take(
        &mut self,
        len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        self.reader.take(len, field)
    }

    pub(super) fn skip(&mut self, len: usize, field: &'static str) -> Result<(), DecodeError> {
        self.take(len, field).map(drop)
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Takes the bytes of a number, the most significant first.
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut octets = self.reader.array(field)?;
        if !self.is_big_endian {
            octets.reverse();
        }
        Ok(octets)
    }

    /// Takes the next option; none at their end.
    pub(super) fn option(&mut self) -> Result<Option<(u16, Self)>, DecodeError> {
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
