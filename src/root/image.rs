//! Fetches a root image: unpacks it, and finds the file system in it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::config::SandboxConfig;
use crate::error::{Cause, Error};
use crate::fetch::Fetcher;
use crate::measure::{self, Measurement};
use crate::sys::SyscallError;
use crate::sys::firmware::Tpm;
use crate::sys::memfd::{Memfd, SealedFile};
use crate::sys::sandbox::Calls;
use crate::unpack::{self, Packing};
use crate::worker::{Peer, Role, Worker};
use wireboot_proto::format::filesystem::{Content, FileSystem, HEAD_LEN};
use wireboot_proto::format::gpt;
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::{Fault, FaultKind, Message, Room};

/// The longest image, in bytes; available memory mostly sets a lower limit.
const MAX_LEN: u64 = 1 << 40;

/// The worker that unpacks images. An hour of processor time unpacks several hundred GiB.
const ROLE: Role = Role {
    name: "unpacking the root image",
    calls: Calls::Terminal,
    root: None,
    has_terminal: false,
    processor_time: Some(Duration::from_secs(3600)),
    file_len: u64::MAX,
};

/// A root in a file that cannot change.
#[derive(Debug)]
pub struct RootImage {
    /// The address, for messages.
    pub url: Url,
    /// The file.
    pub file: SealedFile,
    /// What it is.
    pub form: Form,
}

/// How a root is in its file.
#[derive(Debug, Clone)]
pub enum Form {
    /// A file system, and the bytes that it is.
    FileSystem(Range<u64>, FileSystem),
    /// An archive of files, packed or not.
    Archive(Option<Packing>),
}

/// Names of files of which there are two in memory for some time.
const COPIED: [&str; 5] = [".zst", ".gz", ".tgz", ".tar", ".cpio"];

/// Fetches the image at `url`, and unpacks it if it is packed, unless it is an archive.
///
/// # Errors
/// As [`Fetcher::need`]; [`Error::NothingBootable`] for an image without a root file system, or one
/// that is damaged.
pub fn fetch(url: &Url, fetcher: &Fetcher, sandbox: &SandboxConfig) -> Result<RootImage, Error> {
    // What is packed is not shorter when it is unpacked. Whether it is, its name says beforehand.
    let name = url.plain_file_name();
    let copies = COPIED.iter().any(|end| name.ends_with(end)).into();
    let room = Room { copies, beside: 0 };
    let fetched = fetcher.with_room(room).need(url, MAX_LEN)?;
    let image = |file, form| RootImage {
        url: url.clone(),
        file,
        form,
    };
    let file = match Content::recognize(&head(&fetched, 0)?) {
        Content::Packed(packing) => {
            let unpacked = |len| unpacked(url, &fetched, packing, len, sandbox);
            // An archive is unpacked into files alone.
            let start = unpacked(HEAD_LEN as u64)?;
            if Content::recognize(&head(&start, 0)?) == Content::Archive {
                return Ok(image(fetched, Form::Archive(Some(packing))));
            }
            unpacked(MAX_LEN)?
        }
        Content::Archive => return Ok(image(fetched, Form::Archive(None))),
        Content::FileSystem(_) | Content::Other(_) => fetched,
    };
    let (part, file_system) = file_system_in(url, &file)?;
    Ok(image(file, Form::FileSystem(part, file_system)))
}

impl RootImage {
    /// Measures the image as it is mounted: unpacked, and a whole disk; an archive as it was fetched.
    ///
    /// # Errors
    /// [`Error::System`] if it cannot be read.
    pub fn measure(&self) -> Result<Vec<Measurement>, Error> {
        // A TPM wants it whatever it takes.
        let file = [("root image", &self.file)];
        measure::parts(file.into_iter(), None, Tpm::exists())
    }
}

/// Finds the file system: the file is one, or a disk with partitions.
fn file_system_in(url: &Url, file: &SealedFile) -> Result<(Range<u64>, FileSystem), Error> {
    let len = file.size().map_err(unreadable)?;
    let nothing = |why: &str| Err(nothing(url, why.to_owned().into()));
    let mut part = 0..len;
    let mut start = head(file, 0)?;
    let mut content = Content::recognize(&start);
    if content == Content::Other(None) {
        let read = &mut |part| file.octets(part).map_err(unreadable);
        match gpt::root_partition(len, read)? {
            Ok(found) => part = found,
            Err(gpt::NoRoot::NoTable) => {
                return nothing(
                    "it is neither a file system that is known nor a disk with a GUID \
                     partition table",
                );
            }
            Err(why) => return nothing(&why.to_string()),
        }
        start = head(file, part.start)?;
        content = Content::recognize(&start);
    }
    match content {
        Content::FileSystem(file_system) => {
            let len = part.end - part.start;
            match file_system.len(&start).filter(|needed| *needed > len) {
                Some(needed) => nothing(&format!(
                    "its {} has {needed} bytes, and only {len} are there",
                    file_system.name()
                )),
                None => Ok((part, file_system)),
            }
        }
        Content::Packed(_) => nothing("it is packed twice, or packed on its partition"),
        Content::Archive => nothing("its root partition has an archive"),
        Content::Other(Some(what)) => nothing(&format!("it is {what}")),
        Content::Other(None) => nothing("its root partition has no file system that is known"),
    }
}

fn head(file: &SealedFile, at: u64) -> Result<Vec<u8>, Error> {
    let len = u64::try_from(HEAD_LEN).unwrap_or(u64::MAX);
    file.octets(at..at.saturating_add(len)).map_err(unreadable)
}

/// Returns the first `most` bytes of the unpacked image, by a worker unless the sandbox is off.
fn unpacked(
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
    let files = result_of(url, &mut worker, packed, ROLE)?;
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
/// What [`failure`] has made of it, and [`Error::Fetch`] for a worker that ended otherwise.
pub(super) fn result_of(
    url: &Url,
    worker: &mut Worker,
    packed: &SealedFile,
    role: Role,
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
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge && most < MAX_LEN => {}
        result => drop(result?),
    }
    file.seal().map_err(system)
}

fn cannot_fetch(url: &Url, source: Cause) -> Error {
    Error::Fetch {
        url: url.to_string(),
        source,
    }
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

fn nothing(url: &Url, source: Cause) -> Error {
    Error::NothingBootable {
        what: format!("{url} is no root"),
        source: Some(source),
    }
}

fn unreadable(source: SyscallError) -> Error {
    Error::System {
        doing: "cannot read the fetched image".to_owned(),
        source,
    }
}
