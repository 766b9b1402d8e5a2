//! [`Terms`] as the options of a request, and what a server's answer leaves of them (RFC 2347).

use super::Terms;
use crate::packet::tftp::{BLKSIZE, TIMEOUT, TSIZE, TftpOptions, TftpPacket, WINDOWSIZE};
use crate::prelude::*;
use crate::text::safe::text_of;

/// Seconds after which the server is to repeat by itself; our own timer is mostly faster.
const SERVER_TIMEOUT: &str = "1";

/// Writes a request for `file` into `buf`.
pub(super) fn encode_request(file: &str, terms: &Terms, buf: &mut Vec<u8>) {
    let mut options = Vec::new();
    if terms.options {
        TftpOptions::encode(TSIZE, "0", &mut options);
        TftpOptions::encode(BLKSIZE, &terms.block_len.to_string(), &mut options);
        TftpOptions::encode(TIMEOUT, SERVER_TIMEOUT, &mut options);
        if terms.window > 1 {
            TftpOptions::encode(WINDOWSIZE, &terms.window.to_string(), &mut options);
        }
    }
    let request = TftpPacket::ReadRequest {
        file: file.as_bytes(),
        mode: b"octet",
        options: TftpOptions::decode(&options).unwrap_or_default(),
    };
    request.encode(buf);
}

/// Returns what holds by the server's answer, with the length it announces.
///
/// RFC 2347 lets a server leave options out, RFC 2348 and 7440 lower a value, nobody add one.
///
/// # Errors
/// The option that does not fit, printable.
pub(super) fn agreed(
    asked: &Terms,
    options: TftpOptions<'_>,
) -> Result<(Terms, Option<u64>), String> {
    let mut terms = Terms {
        options: asked.options,
        ..Terms::PLAIN
    };
    let mut len = None;
    for (name, value) in options.iter() {
        let wrong = || format!("{}={}", text_of(name), text_of(value));
        let number: Option<u64> = core::str::from_utf8(value)
            .ok()
            .and_then(|value| value.trim().parse().ok());
        let number = number.filter(|_| asked.options).ok_or_else(wrong)?;
        let lowered = |limit: u16, least: u16| {
            u16::try_from(number)
                .ok()
                .filter(|value| (least..=limit).contains(value))
                .ok_or_else(wrong)
        };
        if name.eq_ignore_ascii_case(BLKSIZE.as_bytes()) {
            terms.block_len = lowered(asked.block_len, 8)?;
        } else if name.eq_ignore_ascii_case(WINDOWSIZE.as_bytes()) && asked.window > 1 {
            terms.window = lowered(asked.window, 1)?;
        } else if name.eq_ignore_ascii_case(TSIZE.as_bytes()) {
            len = Some(number);
        } else if !name.eq_ignore_ascii_case(TIMEOUT.as_bytes()) {
            return Err(wrong());
        }
    }
    Ok((terms, len))
}
