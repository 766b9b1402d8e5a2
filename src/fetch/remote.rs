//! Asks another process for files: a worker that fetches them, or the parent that judges them.

use std::os::fd::AsFd;
use std::time::Duration;

use super::delivery::{Hashes, Obtained};
use super::failure::{Failure, FetchRefusal, other};
use super::fetcher::{Executor, Fetcher, Workers};
use super::progress::Progress;
use super::sink::Store;
use crate::error::{Cause, chain_of};
use crate::sys;
use crate::sys::memfd::SealedFile;
use crate::timeline::Moment;
use crate::worker::{Peer, Worker};
use wireboot_proto::text::url::Url;
use wireboot_proto::trust::policy::Policy;
use wireboot_proto::worker::{Fault, FaultKind, Fetched, Job, Message};

impl Fetcher {
    /// Fetches a file into `store`, from the first server that delivers it; it is not verified then.
    ///
    /// # Errors
    /// The last failure.
    pub(super) fn obtain(
        &self,
        job: &Job,
        store: &dyn Store,
        progress: &mut Progress,
        hashes: Hashes,
    ) -> Result<Obtained, FetchRefusal> {
        match self.transport() {
            Executor::Own => self.obtain_here(job, store, progress, hashes),
            Executor::Workers(workers) => obtain(self, workers, job, store, progress),
            Executor::Parent(_) => {
                let why = "only memory files are fetched by the parent";
                Err((None, Failure::Other(why.into())))
            }
        }
    }
}

/// Lets a worker fetch a file into `store`.
///
/// # Errors
/// The worker's failure, and that of a worker itself.
fn obtain(
    fetcher: &Fetcher,
    workers: &Workers,
    job: &Job,
    store: &dyn Store,
    progress: &mut Progress,
) -> Result<Obtained, FetchRefusal> {
    let whole = |cause| (None, Failure::Other(cause));
    let worker = fetcher.worker(workers, &job.addresses);
    let mut worker = worker.map_err(|error| (None, other(error)))?;
    let file = store.file().as_fd();
    let sent = worker.send(&Message::Fetch(Box::new(job.clone())), &[file]);
    sent.map_err(whole)?;
    let attempts = u32::try_from(job.addresses.len()).unwrap_or(u32::MAX);
    let attempts = attempts.saturating_mul(job.rounds).max(1);
    let limit = silence(job.stall_timeout).saturating_mul(attempts);
    let end = await_end(fetcher, &mut worker, limit, progress).map_err(whole)?;
    let result = if let Message::Fetched(fetched) = end {
        obtained(fetched, job, &fetcher.policy)
    } else if let Message::Failed(fault) = end {
        Err(refusal(fault))
    } else {
        return Err(whole(worker.refuse("an answer to another question")));
    };
    // A file on a disk has no seals: the worker must be gone before that is judged.
    if store.folder().is_none() || !fetcher.is_checked(job) {
        workers.put(&job.addresses, worker);
    }
    result
}

/// More events than an hour of attempts at a dozen mirrors has.
const MAX_MOMENTS: u32 = 4096;

/// Handles what a worker says on its way, until its last message about a task.
pub(super) fn await_end(
    fetcher: &Fetcher,
    worker: &mut Worker,
    limit: Duration,
    progress: &mut Progress,
) -> Result<Message, Cause> {
    let mut moments = 0;
    loop {
        match worker.receive(Some(limit))?.0 {
            Message::Moment { .. } if moments >= MAX_MOMENTS => {
                return Err(worker.refuse("more events than any fetch has"));
            }
            Message::Source(url) => {
                // Of a redirection too, which the worker follows by itself.
                if let Some(why) = fetcher.policy.refusal(&url) {
                    return Err(worker.refuse(&format!("a file from {url}, and {why}")));
                }
                progress.rename(&url);
            }
            Message::Expect(len) => progress.expect(Some(len)),
            Message::Received(len) => progress.advance(len, sys::now()),
            Message::Moment { at, what } => {
                moments += 1;
                fetcher.timeline.extend([Moment::new(what, at)]);
            }
            Message::NeedsAddress => {
                let answer = if fetcher.access.await_address() {
                    Message::Go
                } else {
                    Message::Answered(None)
                };
                worker.send(&answer, &[])?;
            }
            end @ (Message::Fetched(_)
            | Message::Failed(_)
            | Message::Answered(_)
            | Message::Fetch(_)
            | Message::Query(_)
            | Message::Go
            | Message::Planned { .. }
            | Message::Image { .. }) => return Ok(end),
        }
    }
}

/// Returns how long a worker may be silent in one attempt: while it finds names, connects, agrees on keys,
/// waits for the head and then for the first bytes.
pub(super) fn silence(stall_timeout: Duration) -> Duration {
    stall_timeout * 4 + Duration::from_secs(60)
}

fn obtained(fetched: Fetched, job: &Job, policy: &Policy) -> Result<Obtained, FetchRefusal> {
    let server = usize::try_from(fetched.server).unwrap_or(usize::MAX);
    if server >= job.addresses.len() {
        let why = "the worker names a server that was not requested";
        return Err((None, Failure::Other(why.into())));
    }
    let validator = fetched.validator.as_ref();
    if let Some(why) = validator.and_then(|(url, _)| policy.refusal(url)) {
        return Err((Some(server), Failure::Verification(why)));
    }
    Ok(Obtained {
        server,
        is_there: fetched.is_there,
        is_mixed: fetched.is_mixed,
        validator: fetched.validator.map(|(url, tag)| (*url, tag)),
        len: 0,
        hashing: None,
    })
}

fn refusal(fault: Fault) -> FetchRefusal {
    let server = fault.server.and_then(|at| usize::try_from(at).ok());
    let why = fault.why;
    let failure = match fault.kind {
        FaultKind::Missing => Failure::Missing(why.into()),
        FaultKind::NoParts => Failure::NoParts(why.into()),
        FaultKind::Verification => Failure::Verification(why),
        #[cfg(feature = "root")]
        FaultKind::Challenge => Failure::Challenge(why),
        #[cfg(not(feature = "root"))]
        FaultKind::Challenge => Failure::Other(why.into()),
        FaultKind::Passing => Failure::Passing(why.into()),
        FaultKind::Fetch
        | FaultKind::Usage
        | FaultKind::NothingBootable
        | FaultKind::Instead(_)
        | FaultKind::System => Failure::Other(why.into()),
    };
    (server, failure)
}

/// Returns a refusal as a message.
pub(super) fn fault((server, failure): FetchRefusal) -> Message {
    let (kind, why) = match failure {
        Failure::Missing(cause) => (FaultKind::Missing, chain_of(&*cause)),
        Failure::NoParts(cause) => (FaultKind::NoParts, chain_of(&*cause)),
        Failure::Verification(why) => (FaultKind::Verification, why),
        #[cfg(feature = "root")]
        Failure::Challenge(why) => (FaultKind::Challenge, why),
        Failure::Passing(cause) => (FaultKind::Passing, chain_of(&*cause)),
        Failure::Other(cause) => (FaultKind::Fetch, chain_of(&*cause)),
    };
    Message::Failed(Fault {
        kind,
        server: server.and_then(|at| u32::try_from(at).ok()),
        what: String::new(),
        why,
    })
}

/// Lets the parent of this process fetch and judge a file.
///
/// # Errors
/// The parent's refusal.
pub(super) fn judged(
    peer: &Peer,
    job: &Job,
) -> Result<(Obtained, Option<SealedFile>), FetchRefusal> {
    let (answer, files) = peer.ask(&Message::Fetch(Box::new(job.clone())));
    if let Message::Failed(fault) = answer {
        return Err(refusal(fault));
    }
    let Message::Fetched(fetched) = answer else {
        return Err((None, Failure::Other("no answer".into())));
    };
    let file = files.into_iter().next().map(SealedFile::try_from);
    let file = file.transpose().map_err(|error| (None, other(error)))?;
    // The parent has judged it.
    Ok((obtained(fetched, job, &Policy::default())?, file))
}

/// Returns how a file was fetched as a message.
pub(super) fn fetched(obtained: &Obtained) -> Message {
    let validator = obtained.validator.as_ref();
    let validator =
        validator.map(|(url, tag): &(Url, String)| (Box::new(url.clone()), tag.clone()));
    Message::Fetched(Fetched {
        server: u32::try_from(obtained.server).unwrap_or(u32::MAX),
        is_there: obtained.is_there,
        is_mixed: obtained.is_mixed,
        validator,
    })
}

/// Returns a message about a file that has no server of its own.
#[cfg(feature = "iso")]
pub(super) const fn found(is_there: bool) -> Message {
    Message::Fetched(Fetched {
        server: 0,
        is_there,
        is_mixed: false,
        validator: None,
    })
}
