//! The reasons for failed transfers and discarded packets.

use crate::packet::tftp::ErrorCode;
use crate::prelude::*;
use crate::reader::DecodeError;

/// The reason why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server sent an ERROR packet.
    #[error("the server says: {} (\"{message}\")", code.meaning())]
    Refused {
        /// Its number.
        code: ErrorCode,
        /// Its text, safe to print.
        message: String,
        /// Whether it was the answer to the read request.
        at_request: bool,
    },
    /// The server acknowledged an option that was not requested, or with a value that it may not have.
    #[error(
        "the server answers with the option {0}, which was not requested, or not with that value"
    )]
    BadOptions(String),
    /// No answer was received.
    #[error("no answer to {requests} requests; is a TFTP server running, and is UDP allowed?")]
    NoAnswer {
        /// Requests sent.
        requests: u32,
    },
    /// Nothing new was received for a while; a new request may help.
    #[error("the server stopped answering after {received} bytes")]
    Silent {
        /// Bytes received until then.
        received: u64,
    },
    /// Nothing new was received for the stall timeout.
    #[error("nothing more was received after {received} bytes")]
    Stalled {
        /// Bytes received until then.
        received: u64,
    },
    /// The server sends less than the least useful rate.
    #[error("the server is too slow: {received} bytes received, the last below the speed limit")]
    TooSlow {
        /// Bytes received until then.
        received: u64,
    },
    /// Blocks were skipped; another request fetches them.
    #[error("{missing} bytes were lost on the way")]
    Holes {
        /// Bytes missing after all requests.
        missing: u64,
    },
    /// Windows have losses so often that smaller ones are faster.
    #[error("too many packets are lost")]
    Lossy,
    /// The file does not have the announced length.
    #[error("the server announced {announced} bytes and sent {received}")]
    WrongLen {
        /// The length in `tsize`.
        announced: u64,
        /// The length received.
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

/// The reason why a packet was discarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// It is not expected in this state.
    #[error("out of turn")]
    Unexpected,
    /// It has been received before.
    #[error("a duplicate")]
    Duplicate,
    /// Blocks before it are missing.
    #[error("behind a gap")]
    Gap,
    /// It has more bytes than a block.
    #[error("longer than a block")]
    Oversize,
}
