//! Unpacks packed images in a worker, into memory.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::config::SandboxConfig;
use crate::error::{Cause, Error, Reason};
use crate::sys::SyscallError;
use crate::sys::memfd::{Memfd, SealedFile};
use crate::sys::sandbox::Calls;
use crate::unpack::{self, Packing};
use crate::worker::{Peer, Worker, WorkerRole};
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::{Fault, FaultKind, Message};

/// The longest image, in bytes; available memory mostly sets a lower limit.
pub(super) const MAX_LEN: u64 = 1 << 40;

/// The worker that unpacks images. An hour of processor time unpacks several hundred GiB.
const ROLE: WorkerRole = WorkerRole {
    name: "unpacking the root image",
    calls: Calls::Terminal,
    root: None,
    has_terminal: false,
    processor_time: Some(Duration::from_secs(3600)),
    file_len: u64::MAX,
};

/// Returns the first `most` bytes of the unpacked image, by a worker unless the sandbox is off.
pub(super) fn unpacked(
    url: &Url,
    packed: &SealedFile,
    packing: Packing,
    most: u64,
    sandbox: &SandboxConfig,
) -> Result<SealedFile, Error> {
    if !sandbox.has_workers() {
        let file = packed.file();
        return unpack(file, packing, most).map_err(|error| cannot_unpack(url, &error));
    }
    let mut worker = Worker::start(sandbox, ROLE, |peer| work(&peer, packing, most))?;
    let files = result_of(&url.to_string(), &mut worker, packed, ROLE)?;
    let file = files.into_iter().next().map(SealedFile::try_from);
    match file {
        Some(Ok(file)) => Ok(file),
        Some(Err(_)) | None => Err(cannot_fetch(
            url,
            worker.refuse("no file that cannot change"),
        )),
    }
}

/// Gives `packed` to a worker, and returns the files that it sends when it is done.
///
/// # Errors
/// What [`failure`] has made of it, and [`Reason::Fetch`] for a worker that ended otherwise.
pub(super) fn result_of(
    url: &str,
    worker: &mut Worker,
    packed: &SealedFile,
    role: WorkerRole,
) -> Result<Vec<OwnedFd>, Error> {
    let failed = |source: Cause| cannot_fetch(url, source);
    let sent = worker.send(&Message::Go, &[packed.file().as_fd()]);
    sent.map_err(failed)?;
    // It waits for nobody.
    let (message, files) = worker.receive(role.processor_time).map_err(failed)?;
    if message == Message::Go {
        return Ok(files);
    }
    let Message::Failed(fault) = message else {
        return Err(failed(worker.refuse("no result")));
    };
    let why = fault.why.into();
    Err(if fault.kind == FaultKind::NothingBootable {
        nothing(url, why)
    } else {
        failed(why)
    })
}

/// What the worker does.
fn work(peer: &Peer, packing: Packing, most: u64) {
    let (_, files) = peer.receive();
    let Some(packed) = files.into_iter().next() else {
        return;
    };
    match unpack(&File::from(packed), packing, most) {
        Ok(file) => peer.tell(&Message::Go, &[file.as_fd()]),
        Err(error) => peer.tell(&failure(&error), &[]),
    }
}

/// Returns what a worker says that could not unpack a file.
pub(super) fn failure(error: &io::Error) -> Message {
    Message::Failed(Fault {
        kind: if is_of_memory(error) {
            FaultKind::Fetch
        } else {
            FaultKind::NothingBootable
        },
        server: None,
        what: String::new(),
        why: error.to_string(),
    })
}

/// Unpacks the first `most` bytes of a file into memory.
fn unpack(mut packed: &File, packing: Packing, most: u64) -> io::Result<SealedFile> {
    let system = |error: SyscallError| io::Error::other(error.chain());
    io::Seek::rewind(&mut packed)?;
    let mut file = Memfd::create("root").map_err(system)?;
    match unpack::unpack(packed, packing, most, &mut file) {
        // Only its beginning was asked for.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge && most < MAX_LEN => {}
        result => drop(result?),
    }
    file.seal().map_err(system)
}

fn cannot_fetch(url: impl Display, source: Cause) -> Error {
    Box::new(Reason::Fetch {
        url: url.to_string(),
        source,
    })
}

fn cannot_unpack(url: &Url, error: &io::Error) -> Error {
    let why = error.to_string().into();
    if is_of_memory(error) {
        cannot_fetch(url, why)
    } else {
        nothing(url, why)
    }
}

fn is_of_memory(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull
    )
}

pub(super) fn nothing(name: impl Display, source: Cause) -> Error {
    Box::new(Reason::NothingBootable {
        what: format!("{name} is no root"),
        source: Some(source),
    })
}
