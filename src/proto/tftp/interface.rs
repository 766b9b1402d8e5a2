//! The configuration of a transfer, and the chunks, packets and events that it returns.

use core::net::SocketAddr;
use core::time::Duration;

use super::failure::Failure;
use super::reception::ByteRanges;
use super::terms::Terms;
use crate::packet::tftp::ErrorCode;
use crate::prelude::*;
use crate::time::{Instant, LeastRate, SpeedLimit};

/// Configuration of a transfer.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's address and its port for requests, which is 69 by default.
    pub server: SocketAddr,
    /// The file's name on the server.
    pub file: String,
    /// The options to request.
    pub terms: Terms,
    /// The transfer fails after this time without new data.
    pub stall_timeout: Duration,
    /// The least speed.
    pub speed: SpeedLimit,
    /// The longest that the file may be, in bytes.
    pub max_len: u64,
    /// The parts received by earlier requests for the same file, which are not returned again.
    pub received: ByteRanges,
    /// The length that an earlier answer announced.
    pub expected_len: Option<u64>,
    /// When earlier requests for the same file received the last block, or the first answer.
    pub last_received_at: Option<Instant>,
    /// The least rate, as earlier requests for the same file have begun to measure it.
    pub rate: Option<LeastRate>,
}

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileChunk<'a> {
    /// Its position in the file.
    pub at: u64,
    /// Its content; may be empty.
    pub bytes: &'a [u8],
}

impl FileChunk<'_> {
    pub(super) const NONE: Self = Self { at: 0, bytes: &[] };
}

/// Destination of a packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The server's address and its port for this transfer.
    pub destination: SocketAddr,
}

/// Progress of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server has answered, from the port of the transfer.
    Started {
        /// The port it chose for the transfer.
        server: SocketAddr,
        /// The length of the file, if announced (`tsize`).
        len: Option<u64>,
        /// The negotiated options.
        terms: Terms,
    },
    /// The file is complete.
    Done,
    /// The transfer has failed.
    Failed(Failure),
}

impl Config {
    /// Checks a block that ends at `end` against the limit and the announced length.
    pub(super) fn check_len(
        &self,
        announced: Option<u64>,
        end: u64,
        is_last: bool,
    ) -> Result<(), (Failure, (ErrorCode, &'static str))> {
        if end > self.max_len {
            let limit = self.max_len;
            let farewell = (ErrorCode::DISK_FULL, "file too large");
            return Err((Failure::TooLarge { limit }, farewell));
        }
        if let Some(announced) = announced
            && (end > announced || is_last && announced != end)
        {
            let received = end;
            let farewell = (ErrorCode::NOT_DEFINED, "not the announced length");
            let failure = Failure::WrongLen {
                announced,
                received,
            };
            return Err((failure, farewell));
        }
        let before = self.received.end();
        // Earlier requests have received bytes behind this end: the file is shorter now.
        if is_last && end < before {
            let farewell = (ErrorCode::NOT_DEFINED, "file changed");
            return Err((Failure::Changed { before, now: end }, farewell));
        }
        Ok(())
    }
}
