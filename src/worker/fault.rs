//! Errors of a worker as messages, by which its parent fails in the same way and with the same exit code.

use crate::error::{Error, Reason};
use crate::sys::SyscallError;
use wireboot_proto::worker::{Fault, FaultKind};

/// Returns an error as a message has it: with the text of its causes.
pub fn as_fault(error: &Error) -> Fault {
    let (kind, what) = match &**error {
        Reason::Usage(what) => (FaultKind::Usage, what.clone()),
        Reason::NothingBootable { what, .. } => (FaultKind::NothingBootable, what.clone()),
        Reason::Instead { outcome, .. } => (FaultKind::Instead(*outcome), String::new()),
        Reason::Fetch { url, .. } => (FaultKind::Fetch, url.clone()),
        Reason::Verification { what, .. } => (FaultKind::Verification, what.clone()),
        Reason::NoInterface(_)
        | Reason::NoCarrier { .. }
        | Reason::NoOffer(_)
        | Reason::Interrupted(_)
        | Reason::Said(_)
        | Reason::Refused(_)
        | Reason::Configure { .. }
        | Reason::Output { .. }
        | Reason::Kexec { .. }
        | Reason::System { .. } => (FaultKind::System, error.to_string()),
        #[cfg(feature = "root")]
        Reason::Root { .. } => (FaultKind::System, error.to_string()),
    };
    let why = if let Reason::Verification { why, .. } = &**error {
        why.clone()
    } else {
        causes(error)
    };
    Fault {
        kind,
        server: None,
        what,
        why,
    }
}

/// Returns the text of all causes of an error.
fn causes(error: &Error) -> String {
    let own = format!("{error}: ");
    let chain = error.chain();
    chain.strip_prefix(&own).unwrap_or_default().to_owned()
}

/// Returns the error of a message of a worker.
pub fn of_fault(fault: Fault) -> Error {
    let Fault {
        kind, what, why, ..
    } = fault;
    match kind {
        FaultKind::Usage => Box::new(Reason::Usage(what)),
        FaultKind::NothingBootable => Box::new(Reason::NothingBootable {
            what,
            source: (!why.is_empty()).then(|| why.into()),
        }),
        FaultKind::Instead(outcome) => Box::new(Reason::Instead {
            outcome,
            source: why.into(),
        }),
        FaultKind::Verification => Box::new(Reason::Verification { what, why }),
        FaultKind::System => Box::new(Reason::System {
            doing: what,
            source: SyscallError::of("a call of the worker", std::io::Error::other(why)),
        }),
        FaultKind::Fetch
        | FaultKind::Missing
        | FaultKind::NoParts
        | FaultKind::Passing
        | FaultKind::Challenge => Box::new(Reason::Fetch {
            url: what,
            source: why.into(),
        }),
    }
}
