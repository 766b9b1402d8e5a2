//! What a transfer is given and what it hands out.

use crate::prelude::*;
use core::time::Duration;

use ureq_proto::http::StatusCode;

use crate::text::safe::Safe;
use crate::text::url::Url;

/// What to fetch, and within which limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub url: Url,
    /// The transfer has failed when no byte has come for so long.
    pub stall_timeout: Duration,
    /// The most bytes that the file may have.
    pub max_len: u64,
    /// What has come of it already.
    pub resume: Option<Resume>,
    /// Who is asked in place of the server, in the clear.
    pub proxy: Option<Proxy>,
}

/// A proxy that is told the whole address (RFC 9112 §3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `user:password`.
    pub credentials: Option<String>,
}

/// What has come of a file, to go on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Bytes, 1 or more.
    pub len: u64,
    /// The entity tag or date of what has come; without, whatever file the server has now goes on.
    pub validator: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The file begins to come.
    Started(BodyStart),
    /// The file is elsewhere.
    Redirected(Url),
    /// The last byte has come.
    Done,
    /// The transfer has ended without the file.
    Failed(Failure),
}

/// What the head of an answer says of the bytes that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyStart {
    /// Their place in the file: 0, or the length to resume at.
    pub from: u64,
    /// The length of the whole file, when the server says so.
    pub len: Option<u64>,
    /// By what to resume this very file.
    pub validator: Option<String>,
}

/// Why a transfer ended without the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server has no such file.
    #[error("the server answers {0}")]
    Missing(StatusCode),
    /// The server refuses for another reason.
    #[error("the server answers {0}")]
    Refused(StatusCode),
    /// What came is not HTTP.
    #[error("the server's answer cannot be read: {0}")]
    Malformed(String),
    /// The redirection leads nowhere.
    #[error("the redirection to \"{}\" cannot be followed", Safe::name(.0))]
    BadRedirect(String),
    /// The connection ended before the file.
    #[error("the connection ended after {received} bytes")]
    Truncated {
        /// Bytes of the file that this connection brought.
        received: u64,
    },
    /// No byte came for the stall timeout.
    #[error("nothing more came after {received} bytes")]
    Stalled {
        /// Bytes of the file that this connection brought.
        received: u64,
    },
    /// Less came than a server must send that is of use.
    #[error(
        "the server is too slow: {received} bytes received, the last at less than 512 a second"
    )]
    TooSlow {
        /// Bytes of the file that this connection brought.
        received: u64,
    },
    /// The file is larger than allowed.
    #[error("the file has more than the allowed {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

impl Failure {
    /// Returns whether asking again may help.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Truncated { .. } | Self::Stalled { .. } | Self::TooSlow { .. } => true,
            Self::Refused(status) => matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
            Self::Missing(_)
            | Self::Malformed(_)
            | Self::BadRedirect(_)
            | Self::TooLarge { .. } => false,
        }
    }
}
