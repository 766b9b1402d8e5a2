//! Fields of a message between two processes of one program: numbers, little-endian, and texts behind
//! their length.

use core::time::Duration;

use crate::prelude::*;

/// A field that is missing, too long or not valid, by its name or kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message with a bad {0}")]
pub struct FieldError(pub &'static str);

/// The fields of a message that are not read yet.
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
