//! The options of a request, their negotiation, and what to request next after a failure.

use core::fmt;
use core::net::SocketAddr;

use super::failure::Failure;
use crate::packet::tftp::{
    BLKSIZE, DATA_HEADER_LEN, ErrorCode, TIMEOUT, TSIZE, TftpOptions, TftpPacket, WINDOWSIZE,
};
use crate::prelude::*;
use crate::text::safe::text_of;

/// Bytes in a block without the option `blksize` (RFC 1350 §2).
pub(super) const DEFAULT_BLOCK_LEN: u16 = 512;
// RFC 768: two ports, length and checksum, of two bytes each.
const UDP_HEADER_LEN: u16 = 8;
/// Bytes in a window, 256 full packets of an Ethernet: a gigabit for 3 ms.
// 64 blocks are 0.7 ms of a gigabit, less than many round trips.
const WINDOW_LEN: u32 = 256 * 1468;

/// The options of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Bytes in a block, 8 to 65464.
    pub block_len: u16,
    /// Blocks per acknowledgment, 1 or more; the option is left out at 1.
    pub window: u16,
    /// Whether any option is sent; without, the two above are 512 and 1.
    pub options: bool,
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.options {
            write!(f, "blksize {}, windowsize {}", self.block_len, self.window)
        } else {
            write!(f, "no options")
        }
    }
}

impl Terms {
    /// A request without options (RFC 1350).
    pub const PLAIN: Self = Self {
        block_len: DEFAULT_BLOCK_LEN,
        window: 1,
        options: false,
    };

    /// Returns the options of the first request: blocks that fill a packet of `path_mtu` bytes
    /// without fragmentation, and windows that fill a path of 3 ms at a gigabit.
    pub fn best(path_mtu: u16, server: &SocketAddr) -> Self {
        let ip_header_len: u16 = if server.is_ipv4() { 20 } else { 40 };
        let headers = ip_header_len + UDP_HEADER_LEN + DATA_HEADER_LEN;
        // RFC 2348 allows 8 to 65464; IP fragments of one block are all lost with one of them.
        let block_len = path_mtu.saturating_sub(headers).clamp(8, 65_464);
        Self {
            block_len,
            // A path with a tiny MTU would have windows of thousands of blocks.
            window: u16::try_from(WINDOW_LEN / u32::from(block_len))
                .map_or(256, |blocks| blocks.clamp(4, 256)),
            options: true,
        }
    }

    /// Returns what to request after `failure`, or none when another request does not help. The
    /// same options are returned only after a failure with progress.
    pub fn after(self, failure: &Failure) -> Option<Self> {
        match failure {
            Failure::Refused {
                code: ErrorCode::OPTION_NEGOTIATION,
                ..
            }
            | Failure::BadOptions(_)
            // Smaller steps first: without options a block is 512 bytes, each acknowledged by
            // itself.
            | Failure::Lossy => Some(self.with_smaller_window().unwrap_or(Self::PLAIN)),
            // Servers older than RFC 2347 have no better error code for unknown options.
            Failure::Refused {
                code: ErrorCode::NOT_DEFINED | ErrorCode::ILLEGAL_OPERATION,
                at_request: true,
                ..
            } => Some(Self::PLAIN),
            // Blocks that fit the first link may be too large for a later one, which is mostly an
            // Ethernet with tunnel headers.
            Failure::Silent { received: 0 } if self.options => Some(match self.block_len {
                // 40 bytes less than fill 1500: room for GRE over IPv4 (24) or for IPv6 in IPv4
                // (20).
                1429.. => Self {
                    block_len: 1428,
                    ..self
                },
                // 1024 bytes fit the least MTU of IPv6, 1280 (RFC 8200 §5), with 204 to spare.
                1025.. => Self {
                    block_len: 1024,
                    window: self.window.min(16),
                    ..self
                },
                // 544 bytes with IPv4 and UDP, below the 576 that every IPv4 host accepts (RFC
                // 791).
                513.. => Self {
                    block_len: DEFAULT_BLOCK_LEN,
                    window: 1,
                    ..self
                },
                _ => Self::PLAIN,
            }),
            Failure::Holes { .. } | Failure::Silent { .. } => return Some(self),
            Failure::Refused { .. }
            | Failure::NoAnswer { .. }
            | Failure::Stalled { .. }
            | Failure::TooSlow { .. }
            | Failure::WrongLen { .. }
            | Failure::Changed { .. }
            | Failure::TooLarge { .. } => None,
        }
        .filter(|next| *next != self)
    }

    fn with_smaller_window(self) -> Option<Self> {
        let window = [64, 16, 4, 1]
            .into_iter()
            .find(|size| *size < self.window)?;
        Some(Self { window, ..self })
    }
}

/// The server's retransmission timeout in seconds, the least that RFC 2349 allows; our own is
/// mostly shorter.
const SERVER_TIMEOUT: &str = "1";

/// Writes a request for `file` into `buf`.
pub(super) fn encode_request(file: &str, terms: &Terms, buf: &mut Vec<u8>) {
    let mut options = Vec::new();
    if terms.options {
        // RFC 2349: a reader sends 0, and the server answers with the size.
        TftpOptions::encode(TSIZE, "0", &mut options);
        TftpOptions::encode(BLKSIZE, &terms.block_len.to_string(), &mut options);
        TftpOptions::encode(TIMEOUT, SERVER_TIMEOUT, &mut options);
        // RFC 7440 §3: a window of 1 is what RFC 1350 does without the option.
        if terms.window > 1 {
            TftpOptions::encode(WINDOWSIZE, &terms.window.to_string(), &mut options);
        }
    }
    let request = TftpPacket::ReadRequest {
        file: file.as_bytes(),
        // The other mode of RFC 1350, netascii, rewrites line ends.
        mode: b"octet",
        // What was encoded above decodes.
        options: TftpOptions::decode(&options).unwrap_or_default(),
    };
    request.encode(buf);
}

/// Returns the options negotiated by the server's answer, and the length that it announces.
///
/// A server may leave options out (RFC 2347) and lower a value (RFC 2348, 7440), but not add an
/// option.
///
/// # Errors
/// The option that was not requested or has a wrong value, as printable text.
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
        // RFC 2347: a request without options must not be answered with one.
        let number = number.filter(|_| asked.options).ok_or_else(wrong)?;
        let lowered = |limit: u16, least: u16| {
            u16::try_from(number)
                .ok()
                .filter(|value| (least..=limit).contains(value))
                .ok_or_else(wrong)
        };
        // RFC 2347 §2: names of options are the same in capitals.
        if name.eq_ignore_ascii_case(BLKSIZE.as_bytes()) {
            // RFC 2348: 8 bytes at least, and no more than was asked for.
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

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "192.0.2.1:69";

    #[test]
    fn blocks_fill_the_path_without_being_fragmented() {
        let terms = |mtu, server: &str| Terms::best(mtu, &server.parse().unwrap()).block_len;
        assert_eq!(terms(1500, SERVER), 1468);
        assert_eq!(terms(1500, "[2001:db8::1]:69"), 1448);
        assert_eq!(terms(65_535, SERVER), 65_464);
        assert_eq!(terms(0, SERVER), 8);
        let window = |mtu| Terms::best(mtu, &SERVER.parse().unwrap()).window;
        assert_eq!(
            [0, 1400, 1500, 9000, 65_535].map(window),
            [256, 256, 256, 41, 5]
        );
    }

    #[test]
    fn windows_shrink_to_64_16_4_and_1_and_then_no_option_is_left() {
        let refusal = Failure::Refused {
            code: ErrorCode::OPTION_NEGOTIATION,
            message: String::new(),
            at_request: true,
        };
        let mut terms = Some(Terms::best(1500, &SERVER.parse().unwrap()));
        let mut windows = Vec::new();
        while let Some(asked) = terms {
            windows.push((asked.window, asked.options));
            terms = asked.after(&refusal);
        }
        let expected = [
            (256, true),
            (64, true),
            (16, true),
            (4, true),
            (1, true),
            (1, false),
        ];
        assert_eq!(windows, expected);
    }

    #[test]
    fn a_file_that_is_not_there_is_not_asked_for_again() {
        let missing = Failure::Refused {
            code: ErrorCode(1),
            message: String::new(),
            at_request: true,
        };
        let terms = Terms::best(1500, &SERVER.parse().unwrap());
        assert_eq!(terms.after(&missing), None);
    }
}
