//! What a transfer is given and what it hands out.

use core::net::SocketAddr;
use core::time::Duration;

use super::failure::Failure;
use super::reception::ByteRanges;
use super::terms::Terms;
use crate::packet::tftp::ErrorCode;
use crate::prelude::*;
use crate::time::{Instant, LeastRate};

/// What to fetch, and within which limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's address and its port for requests, which is 69 by default.
    pub server: SocketAddr,
    /// The file's name, as the server knows it.
    pub file: String,
    /// What to ask for.
    pub terms: Terms,
    /// The transfer has failed when so long nothing new has come.
    pub stall_timeout: Duration,
    /// The most bytes that the file may have.
    pub max_len: u64,
    /// What earlier requests of the same transfer have brought, which is not handed out again.
    pub received: ByteRanges,
    /// The length that an earlier request of the same transfer was told.
    pub expected_len: Option<u64>,
    /// When the last block came, or the first answer, by earlier requests of the same transfer.
    pub last_received_at: Option<Instant>,
    /// How fast it must go on, which earlier requests of the same transfer have begun to measure.
    pub rate: Option<LeastRate>,
}

/// A piece of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileChunk<'a> {
    /// Where in the file it begins.
    pub at: u64,
    /// What it is; may be nothing.
    pub bytes: &'a [u8],
}

impl FileChunk<'_> {
    pub(super) const NONE: Self = Self { at: 0, bytes: &[] };
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The server's address and its port for this transfer.
    pub destination: SocketAddr,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server answered; nothing but its packets matter from now on.
    Started {
        /// The port it chose for the transfer.
        server: SocketAddr,
        /// The whole length, when it says so.
        len: Option<u64>,
        /// What was agreed on.
        terms: Terms,
    },
    /// The last byte has come.
    Done,
    /// The transfer has ended without the file.
    Failed(Failure),
}

impl Config {
    /// Checks the length that a file has by a block that ends at `end`.
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
        if is_last && end < before {
            let farewell = (ErrorCode::NOT_DEFINED, "file changed");
            return Err((Failure::Changed { before, now: end }, farewell));
        }
        Ok(())
    }
}
