//! Unpacks an archive as a root, or the layers of one: a worker does it, whose root is the folder that it
//! fills, and who may do nothing but make files there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;

use super::image::{Archive, Place};
use super::unpacking::{failure, result_of};
use crate::config::SandboxConfig;
use crate::error::Error;
use crate::sys::sandbox::Calls;
use crate::sys::{attributes, file};
use crate::unpack::{self, Packing};
use crate::worker::{Peer, Worker, WorkerRole};
use wireboot_proto::format::archive::{Decoder, Entry, Event, Kind};
use wireboot_proto::oci::Whiteout;
use wireboot_proto::text::safe::Quoted;
use wireboot_proto::worker::Message;

/// Fills the folder `point` with the members of an archive.
///
/// # Errors
/// `Reason::Fetch` when memory does not suffice, `Reason::NothingBootable` for a damaged archive.
pub(super) fn extract(
    name: &str,
    archive: &Archive,
    point: &'static str,
    sandbox: &SandboxConfig,
) -> Result<(), Error> {
    let role = WorkerRole {
        name: "unpacking the archive",
        calls: Calls::Files,
        root: Some(point),
        has_terminal: false,
        // As for an image: an hour unpacks several hundred GiB.
        processor_time: Some(Duration::from_secs(3600)),
        file_len: u64::MAX,
    };
    log::info!("{name}: unpacking it");
    let (packing, place) = (archive.packing, archive.place);
    let mut worker = Worker::start(sandbox, role, |peer| work(&peer, packing, place))?;
    result_of(name, &mut worker, &archive.file, role).map(drop)
}

/// What the worker does.
fn work(peer: &Peer, packing: Option<Packing>, place: Place) {
    let (_, files) = peer.receive();
    let Some(archive) = files.into_iter().next() else {
        return;
    };
    let archive = File::from(archive);
    // What a layer hides is only below it, wherever in the layer it says so (image 1.1, layer.md).
    let hidden = if place == Place::Above {
        unpack(&archive, packing, Pass::Whiteouts)
    } else {
        Ok(())
    };
    let pass = if place == Place::Alone {
        Pass::All
    } else {
        Pass::Layer
    };
    match hidden.and_then(|()| unpack(&archive, packing, pass)) {
        Ok(()) => peer.tell(&Message::Go, &[]),
        Err(error) => peer.tell(&failure(&error), &[]),
    }
}

/// What is done about the members of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// All are made.
    All,
    /// All that hide nothing are made.
    Layer,
    /// What the others hide is removed.
    Whiteouts,
}

fn unpack(mut archive: &File, packing: Option<Packing>, pass: Pass) -> io::Result<()> {
    archive.rewind()?;
    let mut extractor = Extractor {
        decoder: Decoder::default(),
        pass,
        last: None,
        folders: Vec::new(),
        devices: 0,
        left_out: 0,
    };
    match packing {
        Some(packing) => unpack::unpack(archive, packing, u64::MAX - 1, &mut extractor)?,
        None => file::copy(&mut archive, &mut extractor)?,
    };
    extractor.close()?;
    extractor.decoder.finish().map_err(io::Error::other)?;
    // What was made in them has changed their times. One may have been replaced since.
    for (path, time) in &extractor.folders {
        let _ = File::open(path).and_then(|folder| set_time(&folder, *time));
    }
    if extractor.devices > 0 {
        log::info!(
            "{} devices of the archive are left out: /dev is the kernel's",
            extractor.devices
        );
    }
    if extractor.left_out > 1 {
        log::warn!("{} attributes are left out", extractor.left_out);
    }
    Ok(())
}

/// Makes the members of the archive that is written to it.
struct Extractor {
    decoder: Decoder,
    pass: Pass,
    /// The last member, and the file that its content goes to.
    last: Option<(Option<File>, Entry)>,
    /// Folders and their times.
    folders: Vec<(PathBuf, u64)>,
    devices: u32,
    /// Extended attributes that could not be set.
    left_out: u32,
}

impl Write for Extractor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(event) = self.decoder.next(&mut rest).map_err(io::Error::other)? {
            match event {
                Event::Entry(entry) => self.make(entry)?,
                Event::Content(content) => self.fill(|file| file.write_all(content))?,
                Event::Hole(len) => self.fill(|file| skip(file, len))?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Extractor {
    /// Ends the member before: writing takes capabilities from a file (file_remove_privs of Linux) and
    /// sets its time, and a new owner takes them too.
    fn close(&mut self) -> io::Result<()> {
        let Some((file, entry)) = self.last.take() else {
            return Ok(());
        };
        let path = path_of(&entry.path);
        for attribute in &entry.attributes {
            let Err(error) = attributes::set(&path, attribute) else {
                continue;
            };
            let error = about(&entry, &error);
            // Nothing else would find room either; another attribute may well be taken.
            if error.kind() == io::ErrorKind::StorageFull {
                return Err(error);
            }
            if self.left_out == 0 {
                let name = attribute.split(|byte| *byte == b'=').next();
                let name = String::from_utf8_lossy(name.unwrap_or_default());
                log::warn!("the attribute {} is left out: {error}", Quoted(&name));
            }
            self.left_out += 1;
        }
        if entry.kind == Kind::Directory {
            self.folders.push((path, entry.changed_at));
        }
        let Some(file) = file else { return Ok(()) };
        set_time(&file, entry.changed_at).map_err(|error| about(&entry, &error))
    }

    /// Adds to the content of the last member.
    fn fill(&mut self, add: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let Some((Some(file), entry)) = &mut self.last else {
            return Ok(());
        };
        add(file).map_err(|error| about(entry, &error))
    }

    fn make(&mut self, entry: Entry) -> io::Result<()> {
        self.close()?;
        let hidden = Whiteout::of(&entry.path).filter(|_| self.pass != Pass::All);
        let made = match hidden {
            Some(hidden) if self.pass == Pass::Whiteouts => hide(hidden).map(|()| None),
            None if self.pass != Pass::Whiteouts && entry.kind == Kind::Device => {
                self.devices = self.devices.saturating_add(1);
                return Ok(());
            }
            None if self.pass != Pass::Whiteouts => try_make(&entry, self.pass),
            Some(_) | None => return Ok(()),
        };
        let file = made.map_err(|error| about(&entry, &error))?;
        if hidden.is_none() {
            self.last = Some((file, entry));
        }
        Ok(())
    }
}

/// Makes a member with its owner and permissions; returns the file that its content goes to.
fn try_make(entry: &Entry, pass: Pass) -> io::Result<Option<File>> {
    let path = path_of(&entry.path);
    let is_folder = entry.kind == Kind::Directory;
    // Through a link too, as that of /bin to /usr/bin; in a layer the folder takes its place.
    let found = if pass == Pass::All {
        fs::metadata(&path)
    } else {
        fs::symlink_metadata(&path)
    };
    let is_there = is_folder && found.is_ok_and(|found| found.is_dir());
    if !is_there {
        make_parents(&path)?;
        // A later member takes the place of an earlier one.
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() && pass == Pass::All => fs::remove_dir(&path)?,
            Ok(_) => remove(&path)?,
            Err(_) => {}
        }
    }
    let mut file = None;
    match &entry.kind {
        Kind::Directory if is_there => {}
        Kind::Directory => fs::create_dir(&path)?,
        Kind::Symlink(target) => {
            symlink(OsString::from_vec(target.clone()), &path)?;
            return lchown(&path, Some(entry.user), Some(entry.group)).map(|()| None);
        }
        Kind::HardLink(target) => {
            fs::hard_link(path_of(target), &path)?;
            let open = || {
                OpenOptions::new()
                    .write(true)
                    .truncate(true)
                    .custom_flags(libc::O_NOFOLLOW)
                    .open(&path)
            };
            return (entry.len > 0).then(open).transpose();
        }
        Kind::Fifo => nix::unistd::mkfifo(&path, Mode::S_IRUSR)?,
        Kind::File => {
            let mut options = OpenOptions::new();
            file = Some(
                options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)?,
            );
        }
        Kind::Device => {}
    }
    // The owner first, by which set-user-ID is lost (chown(2)).
    chown(&path, Some(entry.user), Some(entry.group))?;
    fs::set_permissions(&path, Permissions::from_mode(entry.mode.into()))?;
    Ok(file)
}

/// Makes a file longer by a hole, which takes no memory.
fn skip(file: &mut File, len: u64) -> io::Result<()> {
    let end = file.stream_position()?.saturating_add(len);
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end)).map(drop)
}

/// Removes what a member of a layer hides.
fn hide(hidden: Whiteout<'_>) -> io::Result<()> {
    match hidden {
        Whiteout::Nothing => Ok(()),
        Whiteout::Name(folder, name) => remove(&path_of(folder).join(OsStr::from_bytes(name))),
        Whiteout::Children(folder) => {
            let Ok(children) = fs::read_dir(path_of(folder)) else {
                return Ok(());
            };
            let mut paths = children.map(|child| child.map(|child| child.path()));
            paths.try_for_each(|path| remove(&path?))
        }
    }
}

/// Removes what is at this path, if there is anything.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            // On an overlay each file may have another device (Documentation/filesystems/overlayfs.rst).
            file::remove_below(path, None);
            fs::remove_dir(path)
        }
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Makes the folders of a member that are missing, which an archive need not have.
fn make_parents(path: &Path) -> io::Result<()> {
    let mut folders: Vec<_> = path.ancestors().skip(1).collect();
    while let Some(folder) = folders.pop() {
        if !fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
            fs::create_dir(folder)?;
            chown(folder, Some(0), Some(0))?;
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// Sets when a file was changed last.
fn set_time(file: &File, seconds: u64) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.map_or(Ok(()), |time| file.set_modified(time))
}

fn path_of(path: &[u8]) -> PathBuf {
    Path::new("/").join(OsString::from_vec(path.to_vec()))
}

fn about(entry: &Entry, error: &io::Error) -> io::Error {
    let path = String::from_utf8_lossy(&entry.path);
    let why = if error.kind() == io::ErrorKind::StorageFull {
        "memory does not suffice to unpack it".to_owned()
    } else {
        error.to_string()
    };
    io::Error::new(
        error.kind(),
        format!("{} of the archive: {why}", Quoted(&path)),
    )
}
