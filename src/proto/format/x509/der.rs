//! The elements of DER (X.690): a tag, a length and the content.

use crate::reader::{DecodeError, Reader};

// X.680 (table 1); a SEQUENCE has the bit of constructed ones (X.690 §8.1.2).
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Reads the elements of a SEQUENCE OF or SET OF, each of which has `tag`.
pub(super) fn elements<'a>(
    content: &'a [u8],
    tag: u8,
    field: &'static str,
) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> {
    let mut reader = Reader::new(content);
    core::iter::from_fn(move || {
        let left = !reader.is_empty();
        left.then(|| {
            let content = expect(&mut reader, tag, field);
            if content.is_err() {
                reader = Reader::new(&[]);
            }
            content
        })
    })
}

/// Reads an element when it has `tag`; otherwise nothing is read.
pub(super) fn optional<'a>(
    reader: &mut Reader<'a>,
    tag: u8,
) -> Result<Option<&'a [u8]>, DecodeError> {
    if reader.rest().first() != Some(&tag) {
        return Ok(None);
    }
    expect(reader, tag, "optional field").map(Some)
}

/// Reads an element that must have `tag`.
pub(super) fn expect<'a>(
    reader: &mut Reader<'a>,
    tag: u8,
    field: &'static str,
) -> Result<&'a [u8], DecodeError> {
    match element(reader, field)? {
        (found, content) if found == tag => Ok(content),
        (found, _) => Err(crate::reader::invalid(field, found)),
    }
}

/// Reads a tag of one byte, a length of up to three, and the content.
pub(super) fn element<'a>(
    reader: &mut Reader<'a>,
    field: &'static str,
) -> Result<(u8, &'a [u8]), DecodeError> {
    let tag = reader.u8(field)?;
    let len = match reader.u8(field)? {
        // X.690 §8.1.3: the length itself, or of how many bytes it is.
        len @ 0..=0x7f => usize::from(len),
        0x81 => usize::from(reader.u8(field)?),
        0x82 => usize::from(reader.u16(field)?),
        len => return Err(crate::reader::invalid(field, len)),
    };
    Ok((tag, reader.take(len, field)?))
}
