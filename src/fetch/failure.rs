//! Why a file could not be fetched, and what the ways of fetching make of their errors.

use std::io::{self, ErrorKind};

use crate::error::{Cause, Error};
use wireboot_proto::text::url::Url;

/// Why a file did not come.
pub(super) enum Failure {
    /// The server says that it has no such file.
    Missing(Cause),
    /// It came whole and is another; why.
    Verification(String),
    /// Nothing came, or not all, and it may the next time.
    Passing(Cause),
    /// Anything else.
    Other(Cause),
}

impl Failure {
    pub(super) fn about(self, url: &Url) -> Error {
        match self {
            Self::Verification(why) => Error::Verification {
                what: url.to_string(),
                why,
            },
            Self::Missing(source) | Self::Passing(source) | Self::Other(source) => Error::Fetch {
                url: url.to_string(),
                source,
            },
        }
    }
}

/// Returns the text of a transfer's failure, which is all that is left of it.
pub(super) fn text_of(failure: &dyn std::fmt::Display) -> Cause {
    failure.to_string().into()
}

pub(super) fn other(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Other(error.into())
}

pub(super) fn passing(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Passing(error.into())
}

/// Names what broke while it was under way; a wait that ended without anything is EAGAIN by the
/// kernel.
pub(super) fn broken(error: io::Error, what: &str) -> Failure {
    let why = if is_timeout(&error) {
        format!("{what} failed: no answer")
    } else if error.kind() == ErrorKind::UnexpectedEof {
        format!("{what} failed: the connection was closed")
    } else {
        format!("{what} failed: {error}")
    };
    Failure::Passing(why.into())
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

pub(super) fn unverified(fault: &dyn std::fmt::Display) -> Failure {
    Failure::Verification(fault.to_string())
}

pub(super) fn no_address(url: &Url) -> Failure {
    Failure::Passing(format!("{} has no address", url.host()).into())
}
