//! TFTP packets: RFC 1350 §5, options RFC 2347 §2.
//!
//! All six kinds are decoded, since `capture` shows them all; file names, modes and messages are
//! octets, because no encoding is promised. A message or option may hold anything, so
//! [`crate::text::safe`] stands between it and a terminal. The meaning of options (RFC 2348, 2349, 7440)
//! is left to the machine that asked for them.

use crate::prelude::*;
use crate::reader::{DecodeError, DecodeFault, Reader};
use alloc::boxed::Box;

/// Port of a server's first packet.
// RFC 1350 §4: only the request goes there; the server answers from a port of its own.
pub const PORT: u16 = 69;
/// Octets of opcode and block number before the data of a DATA packet.
pub const DATA_HEADER_LEN: u16 = 4;

/// Option name: octets in a block, 8 to 65464 (RFC 2348).
pub const BLKSIZE: &str = "blksize";
/// Option name: octets of the whole file (RFC 2349 §4).
pub const TSIZE: &str = "tsize";
/// Option name: seconds until the server repeats, 1 to 255 (RFC 2349 §3).
pub const TIMEOUT: &str = "timeout";
/// Option name: blocks in a row without an acknowledgment, 1 to 65535 (RFC 7440).
pub const WINDOWSIZE: &str = "windowsize";

// Opcodes: RFC 1350 §5, and OACK of RFC 2347.
const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// The number of an error (RFC 1350 appendix, RFC 2347 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Not defined, see the message.
    pub const NOT_DEFINED: Self = Self(0);
    /// File not found.
    pub const FILE_NOT_FOUND: Self = Self(1);
    /// Disk full or allocation exceeded.
    pub const DISK_FULL: Self = Self(3);
    /// Illegal TFTP operation.
    pub const ILLEGAL_OPERATION: Self = Self(4);
    /// Unknown transfer ID.
    pub const UNKNOWN_TRANSFER: Self = Self(5);
    /// Terminated by option negotiation.
    pub const OPTION_NEGOTIATION: Self = Self(8);

    /// Returns what the code means.
    pub const fn meaning(self) -> &'static str {
        match self.0 {
            0 => "error without a code",
            1 => "file not found",
            2 => "access violation",
            3 => "disk full",
            4 => "illegal operation",
            5 => "unknown transfer",
            6 => "file already exists",
            7 => "no such user",
            8 => "options refused",
            _ => "unknown error",
        }
    }
}

/// Option names and values, each ended by a NUL, checked to come in pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TftpOptions<'a>(&'a [u8]);

impl<'a> TftpOptions<'a> {
    /// Checks that `octets` are names and values in pairs.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when a string has no end or a name no value.
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut rest = octets;
        while !rest.is_empty() {
            rest = string(rest, "option name")?.1;
            rest = string(rest, "option value")?.1;
        }
        Ok(Self(octets))
    }

    /// Appends one option to `buf`; neither text may hold a NUL.
    pub fn encode(name: &str, value: &str, buf: &mut Vec<u8>) {
        for text in [name, value] {
            buf.extend_from_slice(text.as_bytes());
            buf.push(0);
        }
    }

    /// Returns the pairs in order; names differ in case from server to server.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut strings = self.0.split(|octet| *octet == 0);
        // Behind the last NUL there is one more, empty text, which has no partner.
        core::iter::from_fn(move || Some((strings.next()?, strings.next()?)))
    }

    /// Returns whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// A packet.
///
/// ```text
/// RRQ, WRQ | 1, 2 | file … 0 | mode … 0 | (name … 0 | value … 0)* |
/// DATA     | 3    | block 2  | 0 to blksize octets |
/// ACK      | 4    | block 2  |
/// ERROR    | 5    | code 2   | message … 0 |
/// OACK     | 6    | (name … 0 | value … 0)+ |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TftpPacket<'a> {
    /// Asks for a file.
    ReadRequest {
        /// Its name.
        file: &'a [u8],
        /// `octet` or `netascii`.
        mode: &'a [u8],
        /// What the client would like.
        options: TftpOptions<'a>,
    },
    /// Asks to store a file.
    WriteRequest {
        /// Its name.
        file: &'a [u8],
        /// `octet` or `netascii`.
        mode: &'a [u8],
        /// What the client would like.
        options: TftpOptions<'a>,
    },
    /// A block; one shorter than the block size is the last.
    Data {
        /// Its number, from 1, rolling over beyond 65535.
        block: u16,
        /// Its octets.
        data: &'a [u8],
    },
    /// All up to `block` was received.
    Acknowledgment {
        /// The number of the last block, or 0 for an option acknowledgment.
        block: u16,
    },
    /// Ends the transfer.
    Error {
        /// Why, as a number.
        code: ErrorCode,
        /// Why, as text.
        message: &'a [u8],
    },
    /// Says which options hold.
    OptionAcknowledgment {
        /// Those taken, with their values.
        options: TftpOptions<'a>,
    },
}

impl<'a> TftpPacket<'a> {
    /// Decodes a datagram's payload. An error message may lack its final NUL, as some servers
    /// leave it out.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] when it ends inside a field; [`DecodeFault::Invalid`] for an
    /// unknown opcode.
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        match reader.u16("opcode")? {
            kind @ (RRQ | WRQ) => {
                let (file, rest) = string(reader.rest(), "file name")?;
                let (mode, rest) = string(rest, "mode")?;
                let options = TftpOptions::decode(rest)?;
                Ok(if kind == RRQ {
                    Self::ReadRequest {
                        file,
                        mode,
                        options,
                    }
                } else {
                    Self::WriteRequest {
                        file,
                        mode,
                        options,
                    }
                })
            }
            DATA => Ok(Self::Data {
                block: reader.u16("block")?,
                data: reader.rest(),
            }),
            ACK => Ok(Self::Acknowledgment {
                block: reader.u16("block")?,
            }),
            ERROR => Ok(Self::Error {
                code: ErrorCode(reader.u16("error code")?),
                message: reader
                    .rest()
                    .split(|octet| *octet == 0)
                    .next()
                    .unwrap_or_default(),
            }),
            OACK => Ok(Self::OptionAcknowledgment {
                options: TftpOptions::decode(reader.rest())?,
            }),
            opcode => Err(crate::reader::invalid("opcode", opcode)),
        }
    }

    /// Appends the packet to `buf`; texts must not hold a NUL.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        let opcode = match self {
            Self::ReadRequest { .. } => RRQ,
            Self::WriteRequest { .. } => WRQ,
            Self::Data { .. } => DATA,
            Self::Acknowledgment { .. } => ACK,
            Self::Error { .. } => ERROR,
            Self::OptionAcknowledgment { .. } => OACK,
        };
        buf.extend_from_slice(&opcode.to_be_bytes());
        match self {
            Self::ReadRequest {
                file,
                mode,
                options,
            }
            | Self::WriteRequest {
                file,
                mode,
                options,
            } => {
                buf.extend_from_slice(file);
                buf.push(0);
                buf.extend_from_slice(mode);
                buf.push(0);
                buf.extend_from_slice(options.0);
            }
            Self::Data { block, data } => {
                buf.extend_from_slice(&block.to_be_bytes());
                buf.extend_from_slice(data);
            }
            Self::Acknowledgment { block } => buf.extend_from_slice(&block.to_be_bytes()),
            Self::Error { code, message } => {
                buf.extend_from_slice(&code.0.to_be_bytes());
                buf.extend_from_slice(message);
                buf.push(0);
            }
            Self::OptionAcknowledgment { options } => buf.extend_from_slice(options.0),
        }
    }
}

fn string<'a>(octets: &'a [u8], field: &'static str) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    let missing = || {
        Box::new(DecodeFault::Truncated {
            field,
            needed: octets.len() + 1,
            left: octets.len(),
        })
    };
    let end = octets
        .iter()
        .position(|octet| *octet == 0)
        .ok_or_else(missing)?;
    let (text, rest) = octets.split_at_checked(end).ok_or_else(missing)?;
    Ok((text, rest.get(1..).ok_or_else(missing)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_packet_is_read_as_it_was_written_and_no_prefix_panics() {
        let mut options = Vec::new();
        TftpOptions::encode(BLKSIZE, "1468", &mut options);
        TftpOptions::encode(TSIZE, "0", &mut options);
        let options = TftpOptions::decode(&options).unwrap();
        let (file, mode) = (&b"pxelinux.0"[..], &b"octet"[..]);
        let packets = [
            (
                TftpPacket::ReadRequest {
                    file,
                    mode,
                    options,
                },
                &b"\x00\x01pxelinux.0\0octet\0blksize\x001468\0tsize\x000\0"[..],
            ),
            (
                TftpPacket::WriteRequest {
                    file,
                    mode,
                    options: TftpOptions::default(),
                },
                b"\x00\x02pxelinux.0\0octet\0",
            ),
            (
                TftpPacket::Data {
                    block: 0x0102,
                    data: b"abc",
                },
                b"\x00\x03\x01\x02abc",
            ),
            (
                TftpPacket::Acknowledgment { block: 0xffff },
                b"\x00\x04\xff\xff",
            ),
            (
                TftpPacket::Error {
                    code: ErrorCode(1),
                    message: b"no",
                },
                b"\x00\x05\x00\x01no\0",
            ),
            (
                TftpPacket::OptionAcknowledgment { options },
                b"\x00\x06blksize\x001468\0tsize\x000\0",
            ),
        ];
        for (packet, octets) in packets {
            let mut encoded = Vec::new();
            packet.encode(&mut encoded);
            assert_eq!(encoded, octets);
            assert_eq!(TftpPacket::decode(octets), Ok(packet));
            for len in 0..octets.len() {
                let _ = TftpPacket::decode(&octets[..len]);
            }
        }
    }

    #[test]
    fn options_come_in_pairs_or_not_at_all() {
        for wrong in [
            &b"\x00\x06blksize\x001468"[..],
            b"\x00\x06blksize\0",
            b"\x00\x01file\0octet\0blksize\0",
        ] {
            assert!(
                matches!(
                    TftpPacket::decode(wrong),
                    Err(error) if matches!(*error, DecodeFault::Truncated { .. })
                ),
                "{wrong:?}"
            );
        }
        let empty = TftpPacket::decode(b"\x00\x06\0\0").unwrap();
        let TftpPacket::OptionAcknowledgment { options } = empty else {
            panic!("{empty:?}");
        };
        assert_eq!(options.iter().collect::<Vec<_>>(), [(&b""[..], &b""[..])]);
    }
}
