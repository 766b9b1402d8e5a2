//! Readers of fields: of packets and files, whose errors have the name of the field; and of messages between
//! two processes of one program.

use crate::prelude::*;
use alloc::boxed::Box;
use core::time::Duration;

/// The field at which decoding failed, and the reason; in a box, since most fields are read without one.
pub type DecodeError = Box<DecodeFault>;

/// The field at which decoding failed, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// The input ends inside `field`.
    #[error("{field} is truncated: {needed} bytes needed, {left} left")]
    Truncated {
        /// The field's name in its specification.
        field: &'static str,
        /// Length of the field, bytes.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// `field` has a value that its specification does not allow here.
    #[error("invalid {field} {value}")]
    Invalid {
        /// The field's name in its specification.
        field: &'static str,
        /// The value found.
        value: u64,
    },
    /// The packet is an IPv4 fragment; reassembly is not supported.
    #[error("the packet is a fragment, and reassembly is not supported")]
    Fragment,
    /// The checksum over `field` is wrong.
    #[error("the checksum of {field} is wrong")]
    Checksum {
        /// The header that the sum covers.
        field: &'static str,
    },
}

/// Returns the error for a value that does not fit in `field`.
pub(crate) fn invalid(field: &'static str, value: impl Into<u64>) -> DecodeError {
    let value = value.into();
    Box::new(DecodeFault::Invalid { field, value })
}

/// A cursor over bytes, whose reads return slices of checked length.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Creates a reader at the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when fewer are left; the position stays then.
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| {
            Box::new(DecodeFault::Truncated {
                field,
                needed: len,
                left: self.rest.len(),
            })
        })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// Reads two bytes in network order.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when fewer are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Reads four bytes in network order.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when fewer are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Returns the unread rest.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// A field that is missing, too long or not valid, by its name or kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message with a bad {0}")]
pub struct FieldError(pub &'static str);

/// The fields of a message that are not read yet: numbers, little-endian, and texts behind their length.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Begins to read `message`.
    pub const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], FieldError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(FieldError("length"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads as many bytes as the array has.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FieldError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| FieldError("length"))
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// There is none.
    pub fn u8(&mut self) -> Result<u8, FieldError> {
        self.array().map(|[byte]| byte)
    }

    /// Reads a number of four bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u32(&mut self) -> Result<u32, FieldError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a number of eight bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u64(&mut self) -> Result<u64, FieldError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a duration, of which a message has whole microseconds.
    ///
    /// # Errors
    /// There are fewer bytes.
    pub fn duration(&mut self) -> Result<Duration, FieldError> {
        self.u64().map(Duration::from_micros)
    }

    /// Reads a truth value.
    ///
    /// # Errors
    /// It is neither 0 nor 1.
    pub fn flag(&mut self) -> Result<bool, FieldError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FieldError("flag")),
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// It is longer than the message, or not UTF-8.
    pub fn text(&mut self) -> Result<String, FieldError> {
        let len = usize::try_from(self.u32()?).map_err(|_| FieldError("length"))?;
        let text = core::str::from_utf8(self.take(len)?);
        text.map(ToOwned::to_owned).map_err(|_| FieldError("text"))
    }

    /// Reads a field that may be absent.
    ///
    /// # Errors
    /// As `read`.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Ends the message.
    ///
    /// # Errors
    /// There is more.
    pub const fn end(&self) -> Result<(), FieldError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(FieldError("end"))
        }
    }
}

/// Appends a text.
pub fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Appends a field that may be absent.
pub fn put_option<T>(value: Option<T>, out: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(value, out);
    }
}

/// Appends a duration, in whole microseconds.
pub fn put_duration(time: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    out.extend(micros.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_says_which_field_was_cut_off() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u16("xid"), Ok(0x0102));
        let error = Box::new(DecodeFault::Truncated {
            field: "secs",
            needed: 2,
            left: 1,
        });
        assert_eq!(reader.u16("secs"), Err(error));
        assert_eq!(reader.rest(), [3]);
    }
}
