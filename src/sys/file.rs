//! Atomic replacement of files, and the targets of output paths given by users.

#![forbid(unsafe_code)]

use std::fs::{self, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::descriptor;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, statfs};

/// The mode of a file that everybody may read, before the umask.
pub const EVERYBODY: u32 = 0o644;
/// The mode of a file that only its owner may read.
pub const OWNER: u32 = 0o600;

/// Opens a file; close-on-exec, as every one here.
///
/// # Errors
/// The file system's error.
// open(2) of musl asks for close-on-exec a second time, by fcntl; openat(2) does not.
pub fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    create(path, flags, 0)
}

/// Reads a text from a regular file; whatever else may be there, as a FIFO without a writer or a device
/// without an end, is not waited for.
///
/// # Errors
/// The file system's error, and that it is no regular file or no text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    io::read_to_string(file)
}

fn create(path: &Path, flags: OFlag, mode: u32) -> io::Result<File> {
    let (flags, mode) = (flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(mode));
    loop {
        match openat(AT_FDCWD, path, flags, mode) {
            Err(Errno::EINTR) => {}
            opened => return Ok(opened?.into()),
        }
    }
}

/// Writes a file beside `path` and puts it in its place; directories that are missing are made. With
/// [`EVERYBODY`] a file that is there hands its permissions on.
///
/// # Errors
/// The file system's error; no part of the file is left then.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put(path, bytes, mode, &|file| inherit_mode(file, path, mode))
}

/// As [`replace`], for a file that only this program writes: its permissions are those of every file.
///
/// # Errors
/// As [`replace`].
pub fn replace_own(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, EVERYBODY, &|_| Ok(()))
}

/// As [`replace`], and syncs file and directory: after a loss of power the file is either the
/// old one or the complete new one.
///
/// # Errors
/// As [`replace`].
pub fn replace_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // The content first: a rename that reaches the disk before it leaves an empty file after a
    // crash.
    put(path, bytes, mode, &|file| {
        inherit_mode(file, path, mode).and_then(|()| file.sync_all())
    })?;
    if let Some(directory) = path.parent() {
        sync_names(directory);
    }
    Ok(())
}

fn inherit_mode(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    // A stranger's reason to make a file in /tmp writable for all is to change what is read from it.
    let is_planted =
        fs::symlink_metadata(path).is_ok_and(|found| may_be_planted(directory(path), &found));
    if mode != EVERYBODY || is_planted {
        return Ok(());
    }
    match fs::metadata(path) {
        // Whoever made it readable for more or fewer had a reason.
        Ok(before) => file.set_permissions(before.permissions()),
        Err(_) => Ok(()),
    }
}

/// Syncs a directory, where its file system can.
pub fn sync_names(directory: &Path) {
    // fsync of a file does not include its directory entry (fsync(2)).
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
}

/// The target of an output path given by a user.
#[derive(Debug)]
pub enum Target {
    /// A regular file, or none yet; it is replaced by the complete file.
    Name {
        /// Its path, with symbolic links resolved.
        path: PathBuf,
        /// The existing file.
        before: Option<Metadata>,
    },
    /// A device or FIFO, which is written to.
    Open(File),
    /// A descriptor of this process (`/dev/stdout`), which is written to where it is.
    Inherited(File),
}

impl Target {
    /// Follows `path` through symbolic links, as opening it would. Opening a FIFO waits for its reader.
    ///
    /// A link or FIFO of another user in a directory like `/tmp` is refused, as by the kernel with
    /// `fs.protected_symlinks` and `fs.protected_fifos`, which user space has to set and an initramfs
    /// seldom does.
    ///
    /// # Errors
    /// EACCES for a refused link or FIFO, ENXIO for a socket, EISDIR for a directory; errors of the file
    /// system.
    pub fn find(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let directory = directory(&path);
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::Name { path, before: None });
                }
                found => found?,
            };
            let kind = found.file_type();
            if (kind.is_symlink() || kind.is_fifo()) && may_be_planted(directory, &found) {
                return Err(Errno::EACCES.into());
            }
            // Only the kernel creates files there, and its links lead to objects without a path.
            if is_of_the_kernel(directory) {
                return match descriptor::of_path(&path)? {
                    Some(file) => Ok(Self::Inherited(file)),
                    None => Self::open(&path),
                };
            } else if kind.is_symlink() {
                path = directory.join(fs::read_link(&path)?);
            } else if kind.is_file() {
                let before = Some(found);
                return Ok(Self::Name { path, before });
            } else {
                return Self::open(&path);
            }
        }
        Err(Errno::ELOOP.into())
    }

    /// Opens what is at `path`, to be written while others read it; a regular file is empty then.
    ///
    /// # Errors
    /// As [`Target::find`].
    #[cfg(feature = "capture")]
    pub fn create(path: &Path) -> io::Result<File> {
        match Self::find(path)? {
            Self::Name { path, .. } => {
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(false);
                // Nor is a link followed that somebody puts there meanwhile.
                options.custom_flags(OFlag::O_NOFOLLOW.bits());
                let file = options.open(&path)?;
                // As with fs.protected_regular: its owner could read what is written.
                if may_be_planted(directory(&path), &file.metadata()?) {
                    return Err(Errno::EACCES.into());
                }
                file.set_len(0)?;
                Ok(file)
            }
            Self::Open(file) | Self::Inherited(file) => Ok(file),
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // A terminal must not become the controlling terminal of this process.
        options.write(true).custom_flags(OFlag::O_NOCTTY.bits());
        let file = options.open(path)?;
        Ok(Self::Open(file))
    }
}

/// The kernel's limit (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// Returns the directory of the last component of `path`.
pub fn directory(path: &Path) -> &Path {
    let parent = path.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Returns whether a user other than the owner of `directory` and this process may have created
/// `found` in it (`may_follow_link` in the kernel's fs/namei.c).
fn may_be_planted(directory: &Path, found: &Metadata) -> bool {
    // Sticky, and writable for all, as /tmp is.
    const FOR_ALL: u32 = Mode::S_ISVTX.bits() | Mode::S_IWOTH.bits();
    found.uid() != nix::unistd::geteuid().as_raw()
        && fs::metadata(directory).is_ok_and(|directory| {
            directory.mode() & FOR_ALL == FOR_ALL && directory.uid() != found.uid()
        })
}

fn is_of_the_kernel(directory: &Path) -> bool {
    let kind = statfs(directory).map(|system| system.filesystem_type());
    kind.is_ok_and(|kind| kind == PROC_SUPER_MAGIC || kind == SYSFS_MAGIC)
}

/// Gives `file`, which replaces `before` at `path`, the owner and permissions of that file, without
/// set-user-ID and set-group-ID, since the content is another. An unprivileged process stays the owner.
pub fn inherit(file: &File, path: &Path, before: &Metadata) -> io::Result<()> {
    if may_be_planted(directory(path), before) {
        return Ok(());
    }
    let (owner, group) = (Some(before.uid()), Some(before.gid()));
    let _ = fchown(file, owner, group).or_else(|_| fchown(file, None, group));
    file.set_permissions(Permissions::from_mode(before.mode() & 0o777))
}

/// Writes `content` to an open `target`, from its beginning if it is seekable.
///
/// # Errors
/// EPIPE when the reader of a FIFO has gone, ENOSPC at the end of a device.
pub fn pour(content: &mut dyn Read, mut target: &File) -> io::Result<()> {
    let kind = |is: fn(&FileType) -> bool| {
        let metadata = target.metadata();
        metadata.is_ok_and(|metadata| is(&metadata.file_type()))
    };
    if kind(FileType::is_file) {
        target.set_len(0)?;
    }
    copy(content, &mut target)?;
    // Write errors of a block device are reported by fsync only.
    if kind(FileType::is_block_device) {
        target.sync_all()?;
    }
    Ok(())
}

/// Copies all bytes and returns their number. As [`io::copy`], which takes several KiB of code for each
/// pair of types.
pub fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<u64> {
    io::copy(from, to)
}

fn put(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    finish: &dyn Fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    // Beside the target, since rename(2) does not cross file systems (EXDEV).
    let mut name = path.as_os_str().to_owned();
    // Each of several concurrent writers has its own; the last one wins.
    name.push(format!(".wireboot-{}", std::process::id()));
    let new = Path::new(&name);
    // O_EXCL follows no symbolic link that somebody has put under this name (open(2)).
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let file = create(new, flags, mode).or_else(|error| {
        match (error.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(directory)) => fs::create_dir_all(directory)?,
            // A leftover of an earlier process, or a file of another user, is not written to.
            (io::ErrorKind::AlreadyExists, _) => fs::remove_file(new)?,
            _ => return Err(error),
        }
        // Once more and no more: whoever is faster again has the file.
        create(new, flags, mode)
    });
    let done = file
        .and_then(|mut file| file.write_all(bytes).and_then(|()| finish(&file)))
        .and_then(|()| fs::rename(new, path));
    if done.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(new);
    }
    done
}

/// Files that were read for processes that may not open any.
static STORED: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();

/// Reads these files, those of them that there are, for [`read`] in processes forked later; once.
pub fn store(paths: impl FnOnce() -> Vec<PathBuf>) {
    STORED.get_or_init(|| {
        let read = |path: PathBuf| fs::read(&path).ok().map(|content| (path, content));
        paths().into_iter().filter_map(read).collect()
    });
}

/// Reads a file, or returns what [`store`] has read.
///
/// # Errors
/// As those of [`fs::read`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let stored = STORED.get().into_iter().flatten();
    let mut found = stored.filter(|(known, _)| known == path);
    match found.next() {
        Some((_, content)) => Ok(content.clone()),
        None => fs::read(path),
    }
}

/// Removes everything below `folder` as far as it can be; of one file system alone, if its `device` is named.
#[cfg(feature = "root")]
pub fn remove_below(folder: &Path, device: Option<u64>) {
    let entries = fs::read_dir(folder).into_iter().flatten();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        // Of a mount point that of the mounted one is read.
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        if device.is_some_and(|device| found.dev() != device) {
            continue;
        }
        let _ = if found.is_dir() {
            remove_below(&path, device);
            fs::remove_dir(&path)
        } else {
            fs::remove_file(&path)
        };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::{SFlag, mknod};
    use nix::unistd::{Gid, Uid, chown, mkfifo};

    use super::*;

    #[test]
    fn links_are_followed_to_the_place_of_the_file() {
        let directory = Directory::new();
        let at = |name: &str| directory.0.join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), "old").unwrap();
        symlink("d/file", at("near")).unwrap();
        symlink(at("near"), at("far")).unwrap();
        symlink("d/nothing", at("dangling")).unwrap();
        symlink("round", at("round")).unwrap();
        let place = |name: &str| match Target::find(&at(name)).unwrap() {
            Target::Name { path, before } => (path, before.is_some()),
            Target::Open(file) | Target::Inherited(file) => panic!("{name}: {file:?}"),
        };
        for name in ["d/file", "near", "far"] {
            assert_eq!(place(name), (at("d/file"), true), "{name}");
        }
        assert_eq!(place("nothing"), (at("nothing"), false));
        assert_eq!(place("dangling"), (at("d/nothing"), false));
        for (name, errno) in [("round", Errno::ELOOP), ("d/file/x", Errno::ENOTDIR)] {
            let error = Target::find(&at(name)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno as i32), "{name}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_written_into() {
        let directory = Directory::new();
        let at = |name: &str| directory.0.join(name);
        let file = File::create(at("file")).unwrap();
        let descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        symlink(descriptor, at("descriptor")).unwrap();
        symlink("/dev/null", at("null")).unwrap();
        (&file).write_all(b"before ").unwrap();
        for name in ["null", "descriptor"] {
            match Target::find(&at(name)).unwrap() {
                Target::Open(opened) => {
                    assert_eq!(name, "null");
                    pour(&mut &b"content"[..], &opened).unwrap();
                    pour(&mut &b"else"[..], &opened).unwrap();
                }
                Target::Inherited(inherited) => {
                    assert_eq!(name, "descriptor");
                    copy(&mut &b"content"[..], &mut &inherited).unwrap();
                    (&file).write_all(b" behind").unwrap();
                    assert_eq!(fs::read(at("file")).unwrap(), b"before content behind");
                }
                Target::Name { .. } => panic!("{name} is opened"),
            }
        }
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, errno) in [("socket", Errno::ENXIO), (".", Errno::EISDIR)] {
            let error = Target::find(&at(name)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno as i32), "{name}");
        }
    }

    #[test]
    #[ignore = "needs CAP_CHOWN and CAP_MKNOD"]
    fn what_a_stranger_has_put_into_a_directory_for_all_is_not_followed() {
        let directory = Directory::new();
        let at = |name: &str| directory.0.join(name);
        let stranger = Some(Uid::from_raw(65534));
        fs::write(at("file"), "").unwrap();
        symlink("file", at("link")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRUSR).unwrap();
        mknod(
            &at("null"),
            SFlag::S_IFCHR,
            Mode::S_IWUSR,
            nix::sys::stat::makedev(1, 3),
        )
        .unwrap();
        for name in ["file", "link", "fifo", "null"] {
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            nix::unistd::fchownat(nix::fcntl::AT_FDCWD, &at(name), stranger, None, flags).unwrap();
        }
        let chmod = |mode| fs::set_permissions(&directory.0, Permissions::from_mode(mode)).unwrap();
        let is_refused = |name| {
            let found = Target::find(&at(name));
            found.is_err_and(|error| error.raw_os_error() == Some(Errno::EACCES as i32))
        };
        chmod(0o1777);
        assert!(is_refused("link") && is_refused("fifo"));
        assert!(!is_refused("file") && !is_refused("null"));
        #[cfg(feature = "capture")]
        {
            fs::write(at("file"), "earlier").unwrap();
            for name in ["link", "file"] {
                let refused = Target::create(&at(name)).unwrap_err().raw_os_error();
                assert_eq!(refused, Some(Errno::EACCES as i32), "{name}");
            }
            assert_eq!(fs::read(at("file")).unwrap(), b"earlier");
            Target::create(&at("null")).unwrap();
            fs::write(at("own"), "earlier").unwrap();
            Target::create(&at("own")).unwrap();
            assert_eq!(fs::read(at("own")).unwrap(), b"");
        }
        // In place of a stranger's file comes one of ours, which he cannot write to.
        let mode = |name| fs::metadata(at(name)).unwrap().mode() & 0o777;
        for name in ["net", "durable"] {
            fs::write(at(name), "").unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(0o666)).unwrap();
            std::os::unix::fs::chown(at(name), Some(65534), None).unwrap();
        }
        replace(&at("net"), b"ours", EVERYBODY).unwrap();
        replace_durably(&at("durable"), b"ours", EVERYBODY).unwrap();
        assert_eq!((mode("net"), mode("durable")), (0o644, 0o644));
        let file = File::create(at("new")).unwrap();
        inherit(&file, &at("file"), &fs::metadata(at("file")).unwrap()).unwrap();
        assert_eq!(file.metadata().unwrap().uid(), 0);
        for mode in [0o777, 0o1755] {
            chmod(mode);
            assert!(!is_refused("link"), "{mode:o}");
        }
        // Whom the directory belongs to may do what he likes there.
        chmod(0o1777);
        chown(&directory.0, stranger, None::<Gid>).unwrap();
        assert!(!is_refused("link"));
    }

    /// A directory that goes with its test.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let name = format!("wireboot-{:016x}", crate::sys::seed());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
