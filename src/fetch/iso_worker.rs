//! Reads files of ISO images in a worker, which has no network: the parts of the image that it wants are
//! fetched and judged by the parent, as is the file that it finds.

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::failure::{Failure, other};
use super::fetcher::{Fetcher, Workers};
use super::iso;
use super::remote;
use crate::error::{Cause, Error};
use crate::sys::hashing::hash_now;
use crate::sys::memfd::SealedFile;
use crate::sys::sandbox::Calls;
use crate::worker::{MessageWithFiles, Peer, Worker, WorkerRole, as_fault, of_fault};
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::{Job, JobKind, Message};

/// The worker that reads images. Ten minutes of processor time copy a file of several hundred GiB.
const ROLE: WorkerRole = WorkerRole {
    name: "reading ISO images",
    calls: Calls::Terminal,
    root: None,
    has_terminal: false,
    processor_time: Some(Duration::from_secs(600)),
    file_len: u64::MAX,
};

/// Returns what [`iso::file`] does.
///
/// # Errors
/// As [`iso::file`], and [`crate::error::Reason::Fetch`] when the worker itself fails.
pub(super) fn file(
    fetcher: &Fetcher,
    workers: &Workers,
    image: &Url,
    url: &Url,
    max_len: u64,
    may_lack: bool,
) -> Result<Option<SealedFile>, Error> {
    let mut job = fetcher.job(vec![url.clone()], JobKind::File, max_len);
    job.may_lack = may_lack;
    let mut idle = workers
        .reader
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut worker = match idle.take() {
        Some(worker) => worker,
        None => Worker::start(&workers.config, ROLE, |peer| {
            let peer = Arc::new(peer);
            work(&fetcher.of_parent(Arc::clone(&peer)), &peer);
        })?,
    };
    let result = ask(fetcher, &mut worker, image, url, job);
    match &result {
        Ok(_) => *idle = Some(worker),
        Err(error) => fetcher.board.failed(&url.to_string(), &error.chain()),
    }
    result
}

/// Lets the worker find the file of this job, at `url`.
fn ask(
    fetcher: &Fetcher,
    worker: &mut Worker,
    image: &Url,
    url: &Url,
    job: Job,
) -> Result<Option<SealedFile>, Error> {
    let max_len = job.max_len;
    let failed = |cause| Failure::Other(cause).about(url);
    let (message, files) = await_end(fetcher, worker, image, job).map_err(failed)?;
    let mut is_file = false;
    if let Message::Failed(fault) = message {
        return Err(of_fault(fault));
    } else if let Message::Fetched(fetched) = message {
        if !fetched.is_there {
            return Ok(None);
        }
        is_file = true;
    }
    let file = files.into_iter().next().filter(|_| is_file);
    let Some(Ok(file)) = file.map(SealedFile::try_from) else {
        return Err(failed(worker.refuse("no file that cannot change")));
    };
    let judged = judge(&file, url, max_len);
    judged.map_err(|failure| failure.about(url))?;
    Ok(Some(file))
}

/// Serves the worker until it has a result.
fn await_end(
    fetcher: &Fetcher,
    worker: &mut Worker,
    image: &Url,
    job: Job,
) -> Result<MessageWithFiles, Cause> {
    worker.send(&Message::Fetch(Box::new(job)), &[])?;
    let of_image = fetcher.mirrors.addresses(image);
    loop {
        // It waits for nobody else.
        let (message, files) = worker.receive(ROLE.processor_time)?;
        let Message::Fetch(part) = message else {
            return Ok((message, files));
        };
        let is_of_image = |url: &Url| {
            let image = url.image();
            of_image.contains(image.as_ref().unwrap_or(url))
        };
        if !part.addresses.iter().all(is_of_image) {
            return Err(worker.refuse("a request for something else than the image"));
        }
        let served = fetcher.serve(Message::Fetch(part));
        let (answer, file) = served.ok_or("a request cannot be served")?;
        let file: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        worker.send(&answer, &file)?;
    }
}

/// Checks the file that the worker has found.
fn judge(file: &SealedFile, url: &Url, max_len: u64) -> Result<(), Failure> {
    Failure::check_len(file.size().map_err(other)?, max_len)?;
    if let Some(expected) = url.sha256() {
        let found = hash_now(file.file()).map_err(other)?.sha256;
        if found != expected {
            return Err(Failure::mismatch(&found, &expected));
        }
    }
    Ok(())
}

/// What the worker does.
fn work(fetcher: &Fetcher, peer: &Peer) {
    // The parent sends nothing else.
    while let (Message::Fetch(job), _) = peer.receive() {
        let [url] = job.addresses.as_slice() else {
            return;
        };
        let Some(image) = url.image() else { return };
        match iso::file(fetcher, &image, url, job.max_len, job.may_lack) {
            Ok(file) => {
                let answer = remote::found(file.is_some());
                let file: Vec<_> = file.iter().map(AsFd::as_fd).collect();
                peer.tell(&answer, &file);
            }
            Err(error) => peer.tell(&Message::Failed(as_fault(&error)), &[]),
        }
    }
}

#[cfg(feature = "sandbox")]
#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::SandboxConfig;
    use crate::error::Reason;
    use crate::sys::memfd::Memfd;

    const PIN: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    /// Returns the result of a worker that does `act`, for a file of at most 5 bytes.
    fn result_of(pin: &str, act: impl FnOnce(Peer)) -> Result<Option<SealedFile>, Error> {
        let fetcher = Fetcher::default();
        let url: Url = format!("http://192.0.2.1/x.iso#/kernel{pin}")
            .parse()
            .unwrap();
        let job = fetcher.job(vec![url.clone()], JobKind::File, 5);
        let mut worker = Worker::start(&SandboxConfig::default(), ROLE, act).unwrap();
        ask(&fetcher, &mut worker, &url.image().unwrap(), &url, job)
    }

    fn memory(content: &str) -> Memfd {
        let mut file = Memfd::create("kernel").unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    fn answers(content: &'static str) -> impl FnOnce(Peer) {
        move |peer: Peer| {
            drop(peer.receive());
            let file = memory(content).seal().unwrap();
            peer.tell(&remote::found(true), &[file.as_fd()]);
        }
    }

    #[test]
    fn a_file_that_a_worker_hands_back_is_judged_by_the_parent() {
        let pin = format!("#sha256={PIN}");
        let file = result_of(&pin, answers("hello")).unwrap().unwrap();
        assert_eq!(file.octets(0..9).unwrap(), b"hello");
        let wrong = result_of(&pin, answers("jello")).unwrap_err();
        assert!(matches!(*wrong, Reason::Verification { .. }), "{wrong}");
        let long = result_of("", answers("longer")).unwrap_err().chain();
        assert!(long.contains("6 bytes, more than the allowed 5"), "{long}");
        let missing = |peer: Peer| {
            drop(peer.receive());
            peer.tell(&remote::found(false), &[]);
        };
        assert!(result_of(&pin, missing).unwrap().is_none());
    }

    #[test]
    fn a_worker_that_asks_for_something_else_or_could_change_its_file_is_killed() {
        for other in [
            "http://192.0.2.2/x.iso",
            "http://192.0.2.1/y.iso",
            "tftp://192.0.2.1/x.iso",
        ] {
            let asks = |peer: Peer| {
                let url: Url = other.parse().unwrap();
                let job = Fetcher::default().job(vec![url], JobKind::File, 5);
                peer.ask(&Message::Fetch(Box::new(job)));
            };
            let error = result_of("", asks).unwrap_err().chain();
            assert!(
                error.ends_with("was killed: it sent a request for something else than the image"),
                "{error}"
            );
        }
        let open = |peer: Peer| {
            let file = memory("hello");
            peer.tell(&remote::found(true), &[file.file().as_fd()]);
            drop(peer.receive());
        };
        let error = result_of("", open).unwrap_err().chain();
        assert!(
            error.ends_with("it sent no file that cannot change"),
            "{error}"
        );
    }
}
