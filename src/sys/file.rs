//! Files that are replaced whole, so that nobody ever reads half of one.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The mode of a file that everybody may read; the umask is taken from it.
pub const EVERYBODY: u32 = 0o644;
/// The mode of a file that its owner alone may read.
pub const OWNER: u32 = 0o600;

/// Writes a file beside `path` and puts it in its place; directories that are missing are made.
///
/// # Errors
/// What the file system says; no part of the file is left then.
pub fn replace(path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    put(path, octets, mode, |_| Ok(()))
}

/// As [`replace`], and returns only when the file is on the disk, name and all: whenever the machine
/// loses its power, either the old file is there or the new one, each whole.
///
/// # Errors
/// As [`replace`].
pub fn replace_durably(path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    put(path, octets, mode, File::sync_all)?;
    if let Some(directory) = path.parent() {
        sync_names(directory);
    }
    Ok(())
}

/// Puts the names of what is in `directory` on the disk, where its file system can.
pub fn sync_names(directory: &Path) {
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
}

fn put(path: &Path, octets: &[u8], mode: u32, sync: fn(&File) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    // Of several that write at once each has its own, and the last one stays.
    name.push(format!(".wireboot-{}", std::process::id()));
    let new = Path::new(&name);
    let create = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(new)
    };
    let file = create().or_else(|error| {
        match (error.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(directory)) => fs::create_dir_all(directory)?,
            // What an earlier process left there, or somebody else put there, is not written through.
            (io::ErrorKind::AlreadyExists, _) => fs::remove_file(new)?,
            _ => return Err(error),
        }
        create()
    });
    let done = file
        .and_then(|mut file| file.write_all(octets).and_then(|()| sync(&file)))
        .and_then(|()| match fs::metadata(path) {
            // Whoever made it readable for more or fewer had a reason.
            Ok(before) if mode == EVERYBODY => fs::set_permissions(new, before.permissions()),
            Ok(_) | Err(_) => Ok(()),
        })
        .and_then(|()| fs::rename(new, path));
    if done.is_err() {
        let _ = fs::remove_file(new);
    }
    done
}
