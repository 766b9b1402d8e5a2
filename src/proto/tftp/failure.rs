//! Why a transfer failed, and why a packet is not used.

use crate::packet::tftp::ErrorCode;
use crate::prelude::*;
use crate::reader::DecodeError;

/// Why a transfer ended without the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server sent an ERROR packet.
    #[error("the server says: {} ({message:?})", code.meaning())]
    Refused {
        /// Its number.
        code: ErrorCode,
        /// Its text, safe to print.
        message: String,
        /// Whether it was the answer to the request.
        at_request: bool,
    },
    /// The server agreed to what was not asked.
    #[error("the server answers with the option {0}, which was not asked for")]
    BadOptions(String),
    /// Not a single answer came.
    #[error("no answer to {requests} requests; is there a TFTP server, and may UDP pass?")]
    NoAnswer {
        /// Requests sent.
        requests: u32,
    },
    /// Nothing new came for so long that the server is better asked again.
    #[error("the server fell silent after {received} bytes")]
    Silent {
        /// Bytes that had come.
        received: u64,
    },
    /// Nothing new came for the stall timeout.
    #[error("nothing more came after {received} bytes")]
    Stalled {
        /// Bytes that had come.
        received: u64,
    },
    /// Less came than a server must send that is of use.
    #[error(
        "the server is too slow: {received} bytes received, the last at less than 512 a second"
    )]
    TooSlow {
        /// Bytes that had come.
        received: u64,
    },
    /// Blocks were passed over; asking again for the same brings them.
    #[error("{missing} bytes were lost on the way")]
    Holes {
        /// Bytes that have not come in any request.
        missing: u64,
    },
    /// Windows come with holes so often that smaller ones are faster.
    #[error("too many packets are lost")]
    Lossy,
    /// The file ended elsewhere than announced.
    #[error("the server announced {announced} bytes and sent {received}")]
    WrongLen {
        /// The length in `tsize`.
        announced: u64,
        /// What came.
        received: u64,
    },
    /// An earlier answer announced another length.
    #[error("the file changed on the server: {before} bytes before, {now} now")]
    Changed {
        /// The length announced first.
        before: u64,
        /// The length announced now.
        now: u64,
    },
    /// The file is larger than allowed.
    #[error("the file has more than the allowed {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

/// Why a packet was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is not TFTP.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// It is from another host.
    #[error("not from the server")]
    WrongServer,
    /// It is from another port than the transfer's.
    #[error("of another transfer")]
    UnknownTransfer,
    /// It has no meaning in this state.
    #[error("out of turn")]
    Unexpected,
    /// It came before.
    #[error("a duplicate")]
    Duplicate,
    /// Blocks before it are missing.
    #[error("behind a gap")]
    Gap,
    /// It has more bytes than a block.
    #[error("longer than a block")]
    Oversize,
}
