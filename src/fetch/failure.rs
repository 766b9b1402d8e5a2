//! Why a file could not be fetched, and how errors of sockets and transfers become such a reason.

use std::io::{self, ErrorKind};

use crate::error::{Cause, Error, Reason, chain_of};
#[cfg(feature = "root")]
use wireboot_proto::text::safe::Safe;
use wireboot_proto::text::url::{Sha256, Url};

/// The reason why a file was not fetched.
pub(super) enum Failure {
    /// The server says that it has no such file.
    Missing(Cause),
    /// The server sends whole files only, and a part was asked for.
    NoParts(Cause),
    /// It is complete but is not the expected file; why.
    Verification(String),
    /// Nothing or not everything was received, and another attempt may help.
    Passing(Cause),
    /// The registry wants a token or credentials, as it says.
    #[cfg(feature = "root")]
    Challenge(String),
    /// Anything else.
    Other(Cause),
}

/// The reason why there is no file, and the index of the server that it is about.
pub(super) type FetchRefusal = (Option<usize>, Failure);

impl Failure {
    /// Returns the failure of a file with another hash than it must have.
    pub(super) fn mismatch(found: &Sha256, expected: &Sha256) -> Self {
        Self::Verification(format!(
            "its SHA-256 is {found}, expected {expected}; replace the file, or correct the hash"
        ))
    }

    /// Checks the length of a file.
    ///
    /// # Errors
    /// It is longer than allowed.
    pub(super) fn check_len(len: u64, most: u64) -> Result<(), Self> {
        if len <= most {
            return Ok(());
        }
        let why = format!("the file has {len} bytes, more than the allowed {most}");
        Err(Self::Other(why.into()))
    }

    /// Returns this failure with the text of `others` behind it.
    pub(super) fn beside(self, others: &str) -> Self {
        let with = |cause: Cause| match others {
            "" => cause,
            _ => format!("{}{others}", chain_of(&*cause)).into(),
        };
        match self {
            Self::Missing(cause) => Self::Missing(with(cause)),
            Self::NoParts(cause) => Self::NoParts(with(cause)),
            Self::Verification(why) => Self::Verification(why),
            #[cfg(feature = "root")]
            Self::Challenge(what) => Self::Challenge(what),
            Self::Passing(cause) => Self::Passing(with(cause)),
            Self::Other(cause) => Self::Other(with(cause)),
        }
    }

    pub(super) fn about(self, url: &Url) -> Error {
        match self {
            Self::Verification(why) => Box::new(Reason::Verification {
                what: url.to_string(),
                why,
            }),
            #[cfg(feature = "root")]
            Self::Challenge(what) => Box::new(Reason::Fetch {
                url: url.to_string(),
                source: format!(
                    "the registry answers 401 Unauthorized and asks for {}",
                    Safe::name(&what)
                )
                .into(),
            }),
            Self::Missing(source)
            | Self::NoParts(source)
            | Self::Passing(source)
            | Self::Other(source) => Box::new(Reason::Fetch {
                url: url.to_string(),
                source,
            }),
        }
    }
}

/// Returns a transfer's failure as text.
pub(super) fn text_of(failure: &dyn std::fmt::Display) -> Cause {
    // The code that shows the fields of a failure would take 1.5 KiB of the small binary.
    failure.to_string().into()
}

pub(super) fn other(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Other(error.into())
}

pub(super) fn passing(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Passing(error.into())
}

/// Describes an error of the step `what`; SO_RCVTIMEO expiring is EAGAIN to the caller (socket(7)).
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
    Failure::Passing(format!("no address found for {}", url.host()).into())
}
