//! A reader of fields from received bytes; errors have the name of the field.

use alloc::boxed::Box;

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
