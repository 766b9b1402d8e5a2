//! Mounts: of images, over each other, and the one that becomes the root of this process.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use super::error::SyscallError;

/// `RAMFS_MAGIC` (include/uapi/linux/magic.h).
const RAMFS_MAGIC: i128 = 0x8584_58f6;

/// Mounts the file system `kind` of `source` at `target`.
///
/// # Errors
/// `mount`: ENODEV when the kernel does not have it, EINVAL when `source` has another one or is damaged.
pub fn mount(
    source: &str,
    target: &str,
    kind: &str,
    options: &str,
    is_read_only: bool,
) -> Result<(), SyscallError> {
    let flags = if is_read_only {
        MsFlags::MS_RDONLY
    } else {
        MsFlags::empty()
    };
    let options = Some(options).filter(|options| !options.is_empty());
    nix::mount::mount(Some(source), target, Some(kind), flags, options)
        .map_err(|errno| SyscallError::new("mount", errno))
}

/// Sets other options of the tmpfs that is mounted at `target`.
///
/// # Errors
/// `mount`: EINVAL when more is in it than a size allows.
pub fn remount_tmpfs(target: &str, options: &str, is_read_only: bool) -> Result<(), SyscallError> {
    let mut flags = MsFlags::MS_REMOUNT;
    flags.set(MsFlags::MS_RDONLY, is_read_only);
    nix::mount::mount(None::<&str>, target, None::<&str>, flags, Some(options))
        .map_err(|errno| SyscallError::new("mount(MS_REMOUNT)", errno))
}

/// Returns how much of the file system that is mounted at `target` is used, in MiB, rounded up.
pub fn used_mib(target: &str) -> u64 {
    let used = statfs(target).map(|found| {
        let blocks = found.blocks().saturating_sub(found.blocks_free());
        blocks.saturating_mul(u64::try_from(found.block_size()).unwrap_or_default())
    });
    used.unwrap_or_default().div_ceil(1 << 20)
}

/// Lets what is mounted at `source` appear at `target` too.
///
/// # Errors
/// `mount`: ENOENT without the directories.
pub fn bind(source: &str, target: &str) -> Result<(), SyscallError> {
    moved_or_bound(source, target, MsFlags::MS_BIND)
}

/// Moves what is mounted at `source` to `target`.
///
/// # Errors
/// `mount`: EINVAL when nothing is mounted there.
pub fn relocate(source: &str, target: &str) -> Result<(), SyscallError> {
    moved_or_bound(source, target, MsFlags::MS_MOVE)
}

fn moved_or_bound(source: &str, target: &str, how: MsFlags) -> Result<(), SyscallError> {
    nix::mount::mount(Some(source), target, None::<&str>, how, None::<&str>)
        .map_err(|errno| SyscallError::new("mount", errno))
}

/// Unmounts what is at `target`, at once for whoever looks and else when nobody uses it; returns whether
/// there was anything.
pub fn unmount(target: &str) -> bool {
    umount2(target, MntFlags::MNT_DETACH).is_ok()
}

/// Returns whether the file system of `/` is one in memory, as that of an initramfs is: it takes memory
/// until its files are removed.
pub fn root_is_in_memory() -> bool {
    let kind = statfs("/").map(|found| found.filesystem_type());
    kind.is_ok_and(|kind| kind == TMPFS_MAGIC || is_ramfs(kind))
}

fn is_ramfs(FsType(kind): FsType) -> bool {
    // The C libraries have types of their own for it.
    i128::from(kind) == RAMFS_MAGIC
}

/// Makes `folder`, the mount point of a file system, the one that covers `/`; this process sees it there
/// after [`enter`].
///
/// # Errors
/// `chdir` and `mount`: EINVAL when it is no mount point, or mounts are shared with other namespaces.
pub fn cover_root(folder: &str) -> Result<(), SyscallError> {
    let failed = |call| move |errno| SyscallError::new(call, errno);
    nix::unistd::chdir(folder).map_err(failed("chdir"))?;
    let moved = relocate(".", "/");
    if moved.is_err() {
        // As before, if that can be; the first error is the one to report.
        let _ = nix::unistd::chdir("/");
    }
    moved
}

/// Makes the current directory the root of this process.
///
/// # Errors
/// `chroot` and `chdir`: EPERM.
pub fn enter() -> Result<(), SyscallError> {
    let failed = |call| move |errno| SyscallError::new(call, errno);
    nix::unistd::chroot(".").map_err(failed("chroot"))?;
    nix::unistd::chdir("/").map_err(failed("chdir"))
}

/// Returns the first bytes of the program that `path` leads to for a process that has `root` as its root;
/// none if no file that may be executed is there. Symbolic links are followed within `root`.
///
/// # Errors
/// `open`, `openat2` and `read`: ENOSYS before Linux 5.6.
pub fn program_within(
    root: &str,
    path: &Path,
    most: usize,
) -> Result<Option<Vec<u8>>, SyscallError> {
    let failed = |source| SyscallError::of("open", source);
    let root = File::open(root).map_err(failed)?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let found = match openat2(root.as_fd(), path, how) {
        Ok(found) => found,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        Err(errno) => return Err(SyscallError::new("openat2", errno)),
    };
    let status = fstat(&found).map_err(|errno| SyscallError::new("fstat", errno))?;
    // Nothing else is opened: a device might act.
    if status.st_mode & libc::S_IFMT != libc::S_IFREG || status.st_mode & 0o111 == 0 {
        return Ok(None);
    }
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(failed)?;
    let mut head = Vec::new();
    let read = file.take(most as u64).read_to_end(&mut head);
    read.map_err(|source| SyscallError::of("read", source))?;
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_another_root_are_followed_within_it() {
        let name = format!("wireboot-mounts-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::copy("/proc/self/exe", root.join("usr/bin/init")).unwrap();
        fs::write(root.join("usr/bin/text"), "x").unwrap();
        symlink("/usr/bin", root.join("bin")).unwrap();
        symlink("/bin/init", root.join("init")).unwrap();
        symlink("../../../../etc/passwd", root.join("out")).unwrap();
        let of = |path| program_within(root.to_str().unwrap(), Path::new(path), 4).unwrap();
        assert_eq!(of("/init").unwrap(), b"\x7fELF");
        assert_eq!(of("../../init").unwrap(), b"\x7fELF");
        for other in ["/bin/text", "bin", "/out", "/../../etc/passwd", "/init/x"] {
            assert_eq!(of(other), None, "{other}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
