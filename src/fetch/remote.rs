//! Asks another process for files: a worker that fetches them, or the parent that judges them.

use std::os::fd::AsFd;
use std::time::Duration;

use super::delivery::Hashes;
use super::failure::{Failure, Refusal, other};
use super::fetcher::Fetcher;
use super::obtain::Obtained;
use super::progress::Progress;
use super::sink::Store;
use super::transport::{Transport, Workers};
use crate::error::Cause;
use crate::sys::memfd::SealedFile;
use crate::sys::{self, echo};
use crate::timeline::Moment;
use crate::worker::{Peer, Worker};
use wireboot_proto::boot::{Answer, Query};
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
    ) -> Result<Obtained, Refusal> {
        match self.transport() {
            Transport::Own => self.obtain_here(job, store, progress, hashes),
            Transport::Workers(workers) => obtain(self, workers, job, store, progress),
            Transport::Parent(_) => {
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
) -> Result<Obtained, Refusal> {
    let whole = |cause| (None, Failure::Other(cause));
    let worker = fetcher.worker(workers);
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
        workers.put(worker);
    }
    result
}

/// Lets a worker answer a question of a plan.
pub(super) fn answer(fetcher: &Fetcher, workers: &Workers, query: Query) -> Answer {
    let ask = || -> Result<Message, Cause> {
        let mut worker = fetcher.worker(workers)?;
        // It takes CAP_NET_RAW to open one.
        let socket = if matches!(query, Query::Echo { .. }) {
            Some(echo::open(fetcher.access.interface.as_deref())?)
        } else {
            None
        };
        let files: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
        worker.send(&Message::Query(query), &files)?;
        let mut progress = Progress::silent();
        let limit = silence(fetcher.stall_timeout);
        let end = await_end(fetcher, &mut worker, limit, &mut progress)?;
        workers.put(worker);
        Ok(end)
    };
    answer_of(ask())
}

/// Returns what a message answers to a question of a plan.
pub(super) fn answer_of(message: Result<Message, Cause>) -> Answer {
    match message {
        Ok(Message::Answered(text)) => text.map_or(Answer::Done, Answer::Text),
        Ok(Message::Failed(fault)) => Answer::Failed(fault.why),
        Ok(_) => Answer::Failed("no answer".to_owned()),
        Err(cause) => Answer::Failed(cause.to_string()),
    }
}

/// More events than an hour of attempts at a dozen mirrors has.
const MAX_MOMENTS: u32 = 4096;

/// Returns the answer to a question of a plan as a message.
pub(super) fn answered(answer: Answer) -> Message {
    if let Answer::Text(text) = answer {
        Message::Answered(Some(text))
    } else if let Answer::Failed(why) = answer {
        fault((None, Failure::Other(why.into())))
    } else {
        Message::Answered(None)
    }
}

/// Handles what a worker says on its way, until its last message about a task.
fn await_end(
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
fn silence(stall_timeout: Duration) -> Duration {
    stall_timeout * 4 + Duration::from_secs(60)
}

fn obtained(fetched: Fetched, job: &Job, policy: &Policy) -> Result<Obtained, Refusal> {
    let server = usize::try_from(fetched.server).unwrap_or(usize::MAX);
    if server >= job.addresses.len() {
        let why = "the worker names a server that nobody has asked for";
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

fn refusal(fault: Fault) -> Refusal {
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
pub(super) fn fault((server, failure): Refusal) -> Message {
    let (kind, why) = match failure {
        Failure::Missing(cause) => (FaultKind::Missing, chain(&*cause)),
        Failure::NoParts(cause) => (FaultKind::NoParts, chain(&*cause)),
        Failure::Verification(why) => (FaultKind::Verification, why),
        #[cfg(feature = "root")]
        Failure::Challenge(why) => (FaultKind::Challenge, why),
        Failure::Passing(cause) => (FaultKind::Passing, chain(&*cause)),
        Failure::Other(cause) => (FaultKind::Fetch, chain(&*cause)),
    };
    Message::Failed(Fault {
        kind,
        server: server.and_then(|at| u32::try_from(at).ok()),
        what: String::new(),
        why,
    })
}

/// Returns the text of an error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Lets the parent of this process fetch and judge a file.
///
/// # Errors
/// The parent's refusal.
pub(super) fn judged(peer: &Peer, job: &Job) -> Result<(Obtained, Option<SealedFile>), Refusal> {
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
