//! A file that appears under its name only when it is complete.
//!
//! Until then it has no name (O_TMPFILE), so nothing remains however the process ends. On file
//! systems without such files it has a hidden name instead, which remains only if the process is
//! killed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::linkat;

use crate::sys;
use crate::sys::file::OWNER;
use crate::sys::machine::{self, MemoryGuard};
#[cfg(feature = "iso")]
use crate::sys::memfd::SealedFile;
#[cfg(feature = "iso")]
use wireboot_proto::worker::Room;

#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    target: PathBuf,
    directory: PathBuf,
    hidden: PathBuf,
    is_named: bool,
    /// Present where the file system is in memory.
    guard: Option<MemoryGuard>,
}

/// Returns the limit of a file whose file system is in memory.
pub(super) fn guard_of(file: &File) -> io::Result<Option<MemoryGuard>> {
    let system = fstatfs(file)?;
    // ramfs, where an initramfs may be, reports no block counts (fs/libfs.c, simple_statfs).
    let in_memory = system.filesystem_type() == TMPFS_MAGIC || system.blocks() == 0;
    Ok(in_memory.then(|| MemoryGuard::new(machine::available_memory)))
}

/// Checks that the file system has space for `len` bytes of a file. No space is allocated: tmpfs would
/// fill it with zeros, which takes as long as writing the file.
pub(super) fn check_space(file: &File, folder: &Path, len: u64) -> io::Result<()> {
    let system = fstatvfs(file)?;
    // f_bavail counts units of f_frsize, not of f_bsize (statvfs(3)).
    let free = system.blocks_available() * system.fragment_size();
    let missing = len.saturating_sub(machine::allocated(file)?);
    if system.blocks() > 0 && free < missing {
        return Err(io::Error::other(format!(
            "the file has {len} bytes, and only {free} are free in {}",
            folder.display()
        )));
    }
    Ok(())
}

impl Staged {
    /// Creates a file for `target`, which is not a link. A file that exists there, with metadata
    /// `before`, is replaced in the end; its owner and permissions are kept.
    pub(super) fn create(target: PathBuf, before: Option<&Metadata>) -> io::Result<Self> {
        let directory = sys::file::directory(&target).to_owned();
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let hidden = directory.join(format!(".{name}.{:016x}", sys::seed()));
        let mut options = OpenOptions::new();
        // O_TMPFILE demands write access (open(2)); hashes and signatures read the file back.
        options.read(true).write(true);
        if before.is_some() {
            // Until the permissions of the old file are set.
            options.mode(OWNER);
        }
        let nameless = options
            .clone()
            .custom_flags(OFlag::O_TMPFILE.bits())
            .open(&directory);
        let (file, is_named) = match nameless {
            Ok(file) => (file, false),
            Err(error) if knows_no_nameless_files(&error) => {
                (options.create_new(true).open(&hidden)?, true)
            }
            Err(error) => return Err(error),
        };
        let guard = guard_of(&file)?;
        let staged = Self {
            file,
            target,
            directory,
            hidden,
            is_named,
            guard,
        };
        if let Some(before) = before {
            sys::file::inherit(&staged.file, &staged.target, before)?;
        }
        Ok(staged)
    }

    /// Returns the folder that it is in.
    pub(super) fn folder(&self) -> &Path {
        &self.directory
    }

    pub(super) const fn guard(&self) -> Option<&MemoryGuard> {
        self.guard.as_ref()
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Copies a file that is complete.
    #[cfg(feature = "iso")]
    pub(super) fn fill(&self, content: &SealedFile) -> io::Result<()> {
        let len = content.size().map_err(io::Error::other)?;
        check_space(&self.file, &self.directory, len)?;
        if let Some(guard) = &self.guard {
            guard.reserve(&self.file, len, Room::default())?;
        }
        let mut content = content.reader(0..u64::MAX).map_err(io::Error::other)?;
        sys::file::copy(&mut content, &mut &self.file).map(drop)
    }

    /// Syncs the file to the disk and gives it its name.
    pub(super) fn publish(mut self) -> io::Result<()> {
        // Before it has its name: after a crash the name could stand for an empty file otherwise.
        self.file.sync_all()?;
        if !self.is_named {
            match self.link_as(&self.target) {
                // linkat(2) never replaces a name; only rename does, and that takes a file that has
                // one.
                Err(Errno::EEXIST) => {
                    self.link_as(&self.hidden)?;
                    self.is_named = true;
                }
                linked => linked?,
            }
        }
        if self.is_named {
            fs::rename(&self.hidden, &self.target)?;
            self.is_named = false;
        }
        sys::file::sync_names(&self.directory);
        Ok(())
    }

    fn link_as(&self, path: &Path) -> Result<(), Errno> {
        // AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH (open(2), O_TMPFILE).
        let nameless = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        linkat(AT_FDCWD, nameless.as_str(), AT_FDCWD, path, follow)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.is_named {
            // Nobody can be told any more.
            let _ = fs::remove_file(&self.hidden);
        }
    }
}

/// Returns whether O_TMPFILE is not supported by the file system or the kernel (open(2)).
fn knows_no_nameless_files(error: &io::Error) -> bool {
    let codes = [Errno::EOPNOTSUPP, Errno::EISDIR, Errno::EINVAL];
    codes
        .iter()
        .any(|code| error.raw_os_error() == Some(*code as i32))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all_and_two_writers_do_not_mix() {
        let directory = Directory::new();
        let target = directory.0.join("kernel");
        let mut first = Staged::create(target.clone(), None).unwrap();
        let mut second = Staged::create(target.clone(), None).unwrap();
        check_space(first.file(), first.folder(), 1 << 10).unwrap();
        let error = check_space(first.file(), first.folder(), u64::MAX);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("are free in"), "{error}");
        first.file.write_all(b"first").unwrap();
        second.file.write_all(b"se").unwrap();
        assert_eq!(directory.names(), Vec::<String>::new());
        first.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"first");
        second.file.write_all(b"cond").unwrap();
        second.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"second");
        drop(Staged::create(target.clone(), None).unwrap());
        assert_eq!(directory.names(), ["kernel"]);
    }

    #[test]
    fn the_permissions_of_what_is_replaced_stay() {
        use std::os::unix::fs::PermissionsExt;

        let directory = Directory::new();
        let target = directory.0.join("key");
        for mode in [0o640, 0o666, 0o400, 0o755] {
            fs::write(directory.0.join("old"), "old").unwrap();
            fs::rename(directory.0.join("old"), &target).unwrap();
            // A downloaded file must not become set-user-ID.
            fs::set_permissions(&target, fs::Permissions::from_mode(mode | 0o4000)).unwrap();
            let before = fs::metadata(&target).unwrap();
            let mut staged = Staged::create(target.clone(), Some(&before)).unwrap();
            staged.file.write_all(b"new").unwrap();
            staged.publish().unwrap();
            let after = fs::metadata(&target).unwrap();
            assert_eq!(after.permissions().mode() & 0o7777, mode);
            assert_eq!(fs::read(&target).unwrap(), b"new");
        }
    }

    /// A directory that goes with its test.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let name = format!("wireboot-{:016x}", sys::seed());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
