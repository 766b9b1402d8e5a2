//! Fetches a root image: unpacks it, and finds the file system in it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::remote::{self, Found, NfsFolder};
use super::unpacking::{MAX_LEN, nothing, unpacked};
use super::verity::{self, HashTree, Volume};
use crate::config::{RootConfig, SandboxConfig};
use crate::error::{Error, Reason};
use crate::fetch::Fetcher;
use crate::measure::{self, Measurement};
use crate::sys::SyscallError;
use crate::sys::firmware::Tpm;
use crate::sys::memfd::SealedFile;
use crate::timeline::Timeline;
use crate::unpack::Packing;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::format::filesystem::{Content, FileSystem, HEAD_LEN};
use wireboot_proto::format::gpt;
use wireboot_proto::format::verity::Superblock;
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::Room;

/// A root that can be mounted.
#[derive(Debug)]
pub struct RootImage {
    /// The address, for messages.
    pub name: String,
    /// What it is.
    pub(super) form: Form,
}

/// What a root is.
#[derive(Debug)]
pub(super) enum Form {
    /// A file system, the bytes of the volume that it is, and by what it is verified.
    FileSystem(Volume, Range<u64>, FileSystem, Option<Box<HashTree>>),
    /// Archives that are unpacked into memory in this order, above a file system if there is one.
    Archives(Option<Box<Self>>, Vec<Archive>),
    /// A folder of NFS.
    Nfs(NfsFolder),
}

/// An archive of files.
#[derive(Debug)]
pub(super) struct Archive {
    /// It, as it was fetched.
    pub file: SealedFile,
    /// How it is packed, if it is.
    pub packing: Option<Packing>,
    /// Its place among those that are unpacked into one folder.
    pub place: Place,
}

/// What is in a folder before an archive is unpacked into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing, and the archive is no layer.
    Alone,
    /// Nothing: it is the lowest layer of an image.
    Lowest,
    /// The layers below, some of whose files it hides.
    Above,
}

/// Names of files of which there are two in memory for some time.
const COPIED: [&str; 7] = [".zst", ".gz", ".tgz", ".xz", ".txz", ".tar", ".cpio"];

/// Finds the root, and fetches it where it is an image.
///
/// # Errors
/// As [`Fetcher::need`]; [`Reason::NothingBootable`] for an image without a root file system, or one
/// that is damaged; [`Reason::Fetch`] for a server that does not serve a device.
pub fn fetch(
    config: &RootConfig,
    lease: &Lease,
    fetcher: &Fetcher,
    sandbox: &SandboxConfig,
) -> Result<RootImage, Error> {
    match remote::find(config, lease, fetcher)? {
        Found::Image(url) => {
            let name = url.to_string();
            let form = fetch_form(&url, config, fetcher, sandbox, None)?;
            Ok(RootImage { name, form })
        }
        Found::Layers(name, urls) => {
            let form = fetch_layers(&name, &urls, config, fetcher, sandbox)?;
            Ok(RootImage { name, form })
        }
        Found::Nfs(folder) => {
            let name = folder.source.clone();
            not_verified(&name, config)?;
            let form = Form::Nfs(folder);
            Ok(RootImage { name, form })
        }
        Found::Device(device, path, name) => {
            let len = remote::len_of(&device).map_err(unreadable)?;
            let volume = Volume::Device(device, path);
            let form = file_system_in(&name, volume, len, config, None)?;
            Ok(RootImage { name, form })
        }
    }
}

/// Fetches the layers of an image, the lowest first.
fn fetch_layers(
    name: &str,
    urls: &[Url],
    config: &RootConfig,
    fetcher: &Fetcher,
    sandbox: &SandboxConfig,
) -> Result<Form, Error> {
    let (mut lowest, mut archives, mut len) = (None, Vec::new(), 0);
    for url in urls {
        match fetch_form(url, config, fetcher, sandbox, Some(len))? {
            Form::Archives(_, layer) => archives.extend(layer),
            form if lowest.is_none() && archives.is_empty() => lowest = Some(Box::new(form)),
            Form::FileSystem(..) | Form::Nfs(_) => {
                let why = "a layer above its lowest one is a file system, and no archive";
                return Err(nothing(name, why.into()));
            }
        }
        let place = match (&lowest, archives.len()) {
            (None, 1) => Place::Lowest,
            _ => Place::Above,
        };
        if let Some(last) = archives.last_mut() {
            last.place = place;
            len += last
                .file
                .size()
                .map_err(|error| unreadable(error.into_source()))?;
        }
    }
    match lowest {
        Some(form) if archives.is_empty() => Ok(*form),
        lowest => Ok(Form::Archives(lowest, archives)),
    }
}

/// Fetches the image at `url`, and unpacks it if it is packed, unless it is an archive; a layer where
/// those below it have `below` bytes.
fn fetch_form(
    url: &Url,
    config: &RootConfig,
    fetcher: &Fetcher,
    sandbox: &SandboxConfig,
    below: Option<u64>,
) -> Result<Form, Error> {
    // What is packed is not shorter when it is unpacked. Whether it is, its name says beforehand.
    let name = url.plain_file_name();
    let is_copied = below.is_some() || COPIED.iter().any(|end| name.ends_with(end));
    let room = Room {
        copies: is_copied.into(),
        beside: below.unwrap_or_default(),
    };
    let fetched = fetcher.with_room(room).need(url, MAX_LEN)?;
    let name = url.to_string();
    let archive = |file, packing| {
        not_verified(&name, config)?;
        let place = Place::Alone;
        let archive = Archive {
            file,
            packing,
            place,
        };
        Ok(Form::Archives(None, vec![archive]))
    };
    // A layer without files has no header that would tell what it is.
    let is_archive = |content| {
        content == Content::Archive || (below.is_some() && content == Content::Other(None))
    };
    let content = Content::recognize(&head(fetched.file(), 0)?);
    let file = match content {
        Content::Packed(packing) => {
            let unpacked = |len| unpacked(url, &fetched, packing, len, sandbox);
            // An archive is unpacked into files alone.
            let start = unpacked(HEAD_LEN as u64)?;
            if is_archive(Content::recognize(&head(start.file(), 0)?)) {
                return archive(fetched, Some(packing));
            }
            unpacked(MAX_LEN)?
        }
        content if is_archive(content) => return archive(fetched, None),
        Content::FileSystem(_) | Content::Archive | Content::Other(_) => fetched,
    };
    let len = file
        .size()
        .map_err(|error| unreadable(error.into_source()))?;
    let beside = &|| {
        let hashes = url.beside(&format!("{}.verity", url.plain_file_name()));
        hashes.map_or(Ok(None), |url| fetcher.get(&url, MAX_LEN))
    };
    file_system_in(&name, Volume::Memory(file), len, config, Some(beside))
}

impl RootImage {
    /// Measures the image as it is mounted: unpacked, and a whole disk; an archive as it was fetched; and
    /// nothing that is read later, over the network.
    ///
    /// # Errors
    /// [`Reason::System`] if it cannot be read.
    pub fn measure(&self, timeline: &Timeline) -> Result<Vec<Measurement>, Error> {
        let (lowest, archives) = match &self.form {
            Form::Archives(lowest, archives) => (lowest.as_deref(), archives.as_slice()),
            form @ (Form::FileSystem(..) | Form::Nfs(_)) => (Some(form), &[][..]),
        };
        let lowest = match lowest {
            Some(Form::FileSystem(Volume::Memory(file), ..)) => Some(file),
            _ => None,
        };
        // A TPM wants it whatever it takes.
        let files = lowest.into_iter();
        let files = files.chain(archives.iter().map(|archive| &archive.file));
        let files = files.map(|file| ("root image", file));
        measure::parts(files, None, Tpm::exists(), timeline)
    }
}

/// Finds the file system: the file is one, or a disk with partitions.
fn file_system_in(
    name: &str,
    volume: Volume,
    len: u64,
    config: &RootConfig,
    beside: Option<Beside<'_>>,
) -> Result<Form, Error> {
    let file = volume.file();
    let nothing = |why: &str| Err(nothing(name, why.to_owned().into()));
    let (mut part, mut hashes) = (0..len, None);
    let mut start = head(file, 0)?;
    let mut content = Content::recognize(&start);
    if content == Content::Other(None) {
        let read = &mut |part| read(file, part);
        match gpt::root_partition(len, config.root_hash.as_deref(), read)? {
            Ok(found) => (part, hashes) = (found.root, found.hashes),
            // The last bytes of a boot sector, which has four partitions.
            Err(gpt::NoRoot::NoTable) if start.get(510..512) == Some(&[0x55, 0xaa]) => {
                return nothing(
                    "it has an MBR alone; convert it by sgdisk -g, or take its file system alone",
                );
            }
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
    let file_system = match content {
        Content::FileSystem(file_system) => file_system,
        Content::Packed(_) => return nothing("it is packed twice, or packed on its partition"),
        Content::Archive => return nothing("its root partition has an archive"),
        Content::Other(Some(what)) => return nothing(&format!("it is {what}")),
        Content::Other(None) => {
            return nothing("its root partition has no file system that is known");
        }
    };
    let own_len = file_system.len(&start);
    let len = part.end - part.start;
    if let Some(needed) = own_len.filter(|needed| *needed > len) {
        return nothing(&format!(
            "its {} has {needed} bytes, and only {len} are there",
            file_system.name()
        ));
    }
    let Some(root_hash) = &config.root_hash else {
        return Ok(Form::FileSystem(volume, part, file_system, None));
    };
    let behind = own_len.map(|len| part.start + len.next_multiple_of(verity::ALIGNMENT)..part.end);
    let found = hashes.or(behind).and_then(|place| {
        let superblock = Superblock::decode(&head(file, place.start).ok()?)?;
        Some((None, place, superblock))
    });
    let found = match (found, beside) {
        (None, Some(beside)) => beside()?.and_then(|file| {
            let superblock = Superblock::decode(&head(file.file(), 0).ok()?)?;
            let place = 0..file.size().ok()?;
            Some((Some(file), place, superblock))
        }),
        (found, _) => found,
    };
    let (file, place, superblock) = found.ok_or_else(|| Box::new(Reason::Verification {
        what: name.to_owned(),
        why: "there is no tree of hashes for roothash=: on a partition, behind the file system, or in a \
              file beside it with .verity at its end".to_owned(),
    }))?;
    let tree = HashTree {
        file,
        part: place,
        superblock,
        root_hash: root_hash.clone(),
    };
    Ok(Form::FileSystem(
        volume,
        part,
        file_system,
        Some(Box::new(tree)),
    ))
}

/// Fetches the tree of hashes beside an image.
type Beside<'a> = &'a dyn Fn() -> Result<Option<SealedFile>, Error>;

/// Refuses a root that has no blocks to be verified.
fn not_verified(name: &str, config: &RootConfig) -> Result<(), Error> {
    if config.root_hash.is_none() {
        return Ok(());
    }
    Err(Box::new(Reason::Verification {
        what: name.to_owned(),
        why: "roothash= is for a file system in an image or on a device".to_owned(),
    }))
}

fn head(file: &File, at: u64) -> Result<Vec<u8>, Error> {
    read(file, at..at.saturating_add(HEAD_LEN as u64))
}

/// Returns these bytes, up to the end of the file.
fn read(mut file: &File, part: Range<u64>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(part.start)).and_then(|_| {
        let mut part = file.take(part.end.saturating_sub(part.start));
        part.read_to_end(&mut bytes)
    });
    read.map(|_| bytes).map_err(unreadable)
}

fn unreadable(source: io::Error) -> Error {
    Box::new(Reason::System {
        doing: "cannot read the root".to_owned(),
        source: SyscallError::of("read", source),
    })
}
