//! The configuration of a transfer, and the events that it returns.

use crate::prelude::*;
use core::ops::Range;
use core::time::Duration;

use ureq_proto::http::StatusCode;

use crate::text::safe::Safe;
use crate::text::url::Url;
use crate::time::SpeedLimit;

/// Configuration of a transfer.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub url: Url,
    /// The transfer fails after this time without a byte.
    pub stall_timeout: Duration,
    /// The least speed of the body. The head has as much time as the server may be silent.
    pub speed: SpeedLimit,
    /// The longest that the file may be, in bytes.
    pub max_len: u64,
    /// The part of the file that is already there.
    pub resume: Option<Resume>,
    /// The bytes of the file that are wanted, as if they were the whole file; all when none. It is
    /// not empty.
    pub window: Option<Range<u64>>,
    /// The proxy that the request is sent to, where it is not a tunnel.
    pub proxy: Option<Proxy>,
}

/// A proxy that gets the absolute URL in the request line (RFC 9112 §3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `user:password`.
    pub credentials: Option<String>,
}

/// The part of a file that is already there, to resume behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Its length in bytes, 1 or more.
    pub len: u64,
    /// Where the bytes end that are wanted, if that is not the end of the file: more than `len`.
    pub end: Option<u64>,
    /// The entity tag or date of that file; without it the server continues with whatever file it
    /// has now.
    pub validator: Option<String>,
}

/// Progress of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The body begins.
    Started(BodyStart),
    /// The server redirects to another URL.
    Redirected(Url),
    /// The file is complete.
    Done,
    /// The transfer has failed.
    Failed(Failure),
}

/// The head of an answer, about the bytes that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyStart {
    /// Their position in the file: 0, or the length to resume at.
    pub from: u64,
    /// The length of the whole file, when the server says so.
    pub len: Option<u64>,
    /// The entity tag or date for resuming this file.
    pub validator: Option<String>,
}

/// The reason why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server has no such file.
    #[error("the server answers {0}")]
    Missing(StatusCode),
    /// The server refuses for another reason.
    #[error("the server answers {0}")]
    Refused(StatusCode),
    /// The registry wants a token or credentials, as this challenge says (RFC 6750 §3, RFC 7617).
    #[cfg(feature = "root")]
    #[error("the registry answers 401 Unauthorized and asks for {}", Safe::name(.0))]
    Challenge(String),
    /// The answer is not HTTP.
    #[error("the server's answer cannot be read: {0}")]
    Malformed(String),
    /// The redirection cannot be followed.
    #[error("the redirection to \"{}\" cannot be followed", Safe::name(.0))]
    BadRedirect(String),
    /// The server sends the whole file where a part was asked for.
    #[error("the server does not send parts of the file")]
    NoParts,
    /// The connection ended before the file.
    #[error("the connection ended after {received} bytes")]
    Truncated {
        /// Bytes of the file received on this connection.
        received: u64,
    },
    /// The head of the answer was begun and not completed in time.
    #[error("the head of the answer is incomplete after the time that a server may be silent")]
    SlowHead,
    /// No byte was received for the stall timeout.
    #[error("nothing more was received after {received} bytes")]
    Stalled {
        /// Bytes of the file received on this connection.
        received: u64,
    },
    /// The server sends less than the least useful rate.
    #[error("the server is too slow: {received} bytes received, the last below the speed limit")]
    TooSlow {
        /// Bytes of the file received on this connection.
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
    /// Returns whether another request may help.
    pub const fn is_passing(&self) -> bool {
        match self {
            #[cfg(feature = "root")]
            Self::Challenge(_) => false,
            Self::Truncated { .. }
            | Self::SlowHead
            | Self::Stalled { .. }
            | Self::TooSlow { .. } => true,
            // RFC 9110 §15.5.9 and §15.6, and 429 of RFC 6585 §4: the same request may succeed
            // later.
            Self::Refused(status) => matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
            Self::Missing(_)
            | Self::NoParts
            | Self::Malformed(_)
            | Self::BadRedirect(_)
            | Self::TooLarge { .. } => false,
        }
    }
}
