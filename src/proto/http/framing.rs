//! The codings of a body: what is accepted of them, and the chunks (RFC 9112 §7.1).

use crate::prelude::*;

use ureq_proto::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use ureq_proto::http::{Response, Version};

/// The longest line before a chunk: its length and extensions, which nobody needs. Apache and Go
/// end at 8 and 4 KiB.
const MAX_LINE_LEN: usize = 16 << 10;
/// How much longer the lines of chunks may be than the chunks themselves.
// A chunk of one byte may have 16 KiB of extensions: without a limit the file would take forever.
const MAX_EXCESS: usize = 256 << 10;
/// What a line may have for nothing: 16 digits.
const USUAL_LINE_LEN: usize = 16;

/// Checks that the body is what the file consists of, and whether it has chunks.
///
/// # Errors
/// Codings that were not asked for, and framing that two recipients would read in two ways (RFC
/// 9112 §6.1, §6.3).
pub(super) fn has_chunks(response: &Response<()>, path: &str) -> Result<bool, String> {
    let mut codings = values(response, &CONTENT_ENCODING);
    codings.retain(|coding| coding != "identity");
    // Apache's AddEncoding says what the file is; it is sent as it is.
    let is_own = |coding: &String| {
        // RFC 9110 §8.4.1.3: x-gzip is gzip.
        coding.trim_start_matches("x-") == "gzip" && (path.ends_with("gz") || path.ends_with("GZ"))
    };
    if let Some(coding) = codings.iter().find(|coding| !is_own(coding)) {
        return Err(format!(
            "it is encoded with {coding}, which was not asked for"
        ));
    }
    let mut codings = values(response, &TRANSFER_ENCODING);
    // HTTP/1.1 as of RFC 2616 §3.6 named the absence of a coding so.
    codings.retain(|coding| coding != "identity");
    if codings.is_empty() {
        return Ok(false);
    }
    if codings != ["chunked"] {
        let codings = codings.join(", ");
        return Err(format!("the transfer coding {codings} is not supported"));
    }
    if response.version() != Version::HTTP_11 {
        return Err("HTTP/1.0 has no transfer codings".to_owned());
    }
    if response.headers().contains_key(CONTENT_LENGTH) {
        return Err("it has both Transfer-Encoding and Content-Length".to_owned());
    }
    Ok(true)
}

/// Returns the elements of a list, which may be in several headers.
fn values(response: &Response<()>, name: &HeaderName) -> Vec<String> {
    let headers = response.headers().get_all(name).iter();
    headers
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|element| String::from_utf8_lossy(element.trim_ascii()).to_ascii_lowercase())
        .filter(|element| !element.is_empty())
        .collect()
}

/// Next part of a body with chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    next: Next,
    excess: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A chunk's length.
    Length,
    /// Bytes of the file.
    Data(u64),
    /// The line end behind them.
    DataEnd,
    /// A trailer, or the empty line at the end.
    Trailer,
    End,
}

/// A part of a body with chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// How many bytes it has; at 0, more are needed.
    pub(super) consumed: usize,
    /// Those of them that belong to the file.
    pub(super) body: &'a [u8],
}

impl Chunks {
    pub(super) const fn new() -> Self {
        let next = Next::Length;
        Self { next, excess: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.next == Next::End
    }

    /// Returns whether all bytes of the file have been received.
    pub(super) fn is_in_trailers(&self) -> bool {
        matches!(self.next, Next::Trailer | Next::End)
    }

    /// Reads up to the end of a chunk.
    ///
    /// # Errors
    /// It is not as RFC 9112 §7.1 has it, or has too much beside the file.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<Part<'a>, &'static str> {
        let mut consumed = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            if let Next::Data(left) = self.next {
                let len = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                let body = rest.get(..len).unwrap_or_default();
                self.next = match left - len as u64 {
                    0 => Next::DataEnd,
                    left => Next::Data(left),
                };
                self.excess = self.excess.saturating_sub(len);
                consumed += len;
                return Ok(Part { consumed, body });
            }
            let line = match rest.windows(2).position(|end| end == b"\r\n") {
                Some(len) if self.next != Next::End => rest.get(..len).unwrap_or_default(),
                Some(_) | None => {
                    let is_long = rest.len() > MAX_LINE_LEN && self.next == Next::Length;
                    let part = Part {
                        consumed,
                        body: &[],
                    };
                    return if is_long { Err(TOO_LONG) } else { Ok(part) };
                }
            };
            consumed += line.len() + 2;
            self.next = match self.next {
                Next::Length => {
                    self.excess += line.len().saturating_sub(USUAL_LINE_LEN);
                    if line.len() > MAX_LINE_LEN || self.excess > MAX_EXCESS {
                        return Err(TOO_LONG);
                    }
                    match length(line) {
                        Some(0) => Next::Trailer,
                        Some(len) => Next::Data(len),
                        None => return Err("a chunk has no length"),
                    }
                }
                Next::DataEnd if line.is_empty() => Next::Length,
                Next::DataEnd => return Err("a chunk is longer than its length"),
                Next::Trailer if line.is_empty() => Next::End,
                // One at a time, so that the caller counts them.
                Next::Trailer => {
                    return Ok(Part {
                        consumed,
                        body: &[],
                    });
                }
                next @ (Next::Data(_) | Next::End) => next,
            };
        }
    }
}

const TOO_LONG: &str = "the extensions of its chunks are too long";

/// Returns the length at the begin of a line, before its extensions.
fn length(line: &[u8]) -> Option<u64> {
    // RFC 9112 §7.1.1 lets blanks stand before extensions.
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii_end();
    let digits = core::str::from_utf8(digits).ok()?;
    // from_str_radix takes a sign.
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|_| is_hexadecimal)
}
