//! Mounts an image as a root, with a place for changes over it, in memory or on a disk that is found by its
//! file system; all of it or nothing.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;

use super::archive;
use super::image::{Form, RootImage};
use super::init::{self, INIT, MOVED, NEW_ROOT};
use super::verity::{self, Volume};
use crate::config::{Overlay, RootConfig, SandboxConfig};
use crate::error::{Error, Reason};
use crate::sys::loop_device::LoopDevice;
use crate::sys::{self, SyscallError, machine, mounts};
use wireboot_proto::format::filesystem::{Content, FileSystem, HEAD_LEN};
use wireboot_proto::packet::option::known::parse_hex;

/// Where the image is, and below it what it may be in another one. `/run` stays with the new system.
const IMAGE: &str = "/run/wireboot/root/image";
const INNER_IMAGE: &str = "/run/wireboot/root/inner-image";
/// Where the layers of an image above a file system are, and what all of them make.
const LAYERS: &str = "/run/wireboot/root/layers";
const LAYERED: &str = "/run/wireboot/root/layered";
/// Where changes are.
const CHANGES: &str = "/run/wireboot/root/changes";

/// The image in the image of a live system that livemedia-creator has made.
const INNER_FILES: [&str; 2] = ["LiveOS/rootfs.img", "LiveOS/ext3fs.img"];

/// How long a disk for changes is waited for.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// A root that is mounted; dropping it unmounts all of it.
#[derive(Debug, Default)]
pub struct Mounted {
    points: Vec<&'static str>,
    /// The program that is to be process 1.
    init: String,
}

impl Mounted {
    /// Leaves everything mounted, for [`super::switch()`].
    ///
    /// # Errors
    /// [`Reason::Root`] when it cannot be told what to start.
    pub fn keep(mut self) -> Result<(), Error> {
        let failed = |source| {
            let call = "write";
            cannot_mount("the root", SyscallError::of(call, source))
        };
        fs::write(INIT, &self.init).map_err(failed)?;
        self.points.clear();
        Ok(())
    }

    /// Makes the directory `point`, and mounts something there.
    fn add(
        &mut self,
        point: &'static str,
        mount: impl FnOnce() -> Result<(), SyscallError>,
    ) -> Result<(), SyscallError> {
        let made = fs::create_dir_all(point);
        made.map_err(|source| SyscallError::of("mkdir", source))?;
        mount()?;
        self.points.push(point);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // In reverse: what another one is mounted on is busy.
        for point in self.points.iter().rev() {
            mounts::unmount(point);
        }
    }
}

/// Unmounts what a boot that was killed has left.
pub fn clean_up() {
    for point in [NEW_ROOT, CHANGES, LAYERED, LAYERS, INNER_IMAGE, IMAGE] {
        // Each of several attempts may have left one over the other.
        while mounts::unmount(point) {}
    }
}

/// Mounts `image`, and over it what takes the changes.
///
/// # Errors
/// [`Reason::Root`] when the kernel refuses, and [`Reason::NothingBootable`] when the image has no init or
/// lacks a directory, or the disk for changes is not there; nothing is mounted then.
pub fn mount(
    image: &RootImage,
    config: &RootConfig,
    sandbox: &SandboxConfig,
) -> Result<Mounted, Error> {
    let mut mounted = Mounted::default();
    // What others share is meant to be mounted as it is.
    let usual = match image.form {
        Form::Nfs(_) => Overlay::None,
        Form::FileSystem(..) | Form::Archives(..) => Overlay::Tmpfs,
    };
    let overlay = config.overlay.as_ref().unwrap_or(&usual);
    let is_read_only = *overlay == Overlay::None;
    let context = (image.name.as_str(), config, sandbox);
    let lower = mount_form(&mut mounted, context, &image.form, is_read_only)?;
    let is_archive = matches!(image.form, Form::Archives(..));
    match overlay {
        Overlay::Tmpfs | Overlay::None if is_archive || is_read_only => {
            let bound = mounted.add(NEW_ROOT, || mounts::bind(lower, NEW_ROOT));
            bound.map_err(|source| cannot_mount("the root", source))?;
        }
        Overlay::Tmpfs | Overlay::None => {
            // Half of the memory, as tmpfs(5) has it, unless a size is given.
            let size = config.overlay_mib.map(|mib| format!(",size={mib}m"));
            let options = format!("mode=0755{}", size.unwrap_or_default());
            let tmpfs = || mounts::mount("tmpfs", CHANGES, "tmpfs", &options, false);
            let added = mounted.add(CHANGES, tmpfs);
            added.map_err(|source| cannot_mount("a tmpfs for changes", source))?;
            let mib = changes_mib(config);
            log::info!("changes to the root are kept in memory, up to {mib} MiB");
            mount_overlay(&mut mounted, lower, CHANGES, NEW_ROOT)?;
        }
        Overlay::Disk(name) => {
            let Some((path, file_system)) = disk_of(name, DISK_PATIENCE) else {
                return Err(Box::new(Reason::NothingBootable {
                    what: format!(
                        "there is no disk with the file system {name} for changes to the root"
                    ),
                    source: None,
                }));
            };
            let disk = || mounts::mount(&path, CHANGES, file_system.name(), "", false);
            let added = mounted.add(CHANGES, disk);
            added.map_err(|source| cannot_mount(&path, source))?;
            log::info!("changes to the root are kept on {path}");
            let changes = format!("{CHANGES}/wireboot-overlay");
            mount_overlay(&mut mounted, lower, &changes, NEW_ROOT)?;
        }
    }
    mounted.init = complete(image, config)?;
    Ok(mounted)
}

/// Mounts a root without the place for changes over it; returns where.
fn mount_form(
    mounted: &mut Mounted,
    context: (&str, &RootConfig, &SandboxConfig),
    form: &Form,
    is_read_only: bool,
) -> Result<&'static str, Error> {
    let (name, config, sandbox) = context;
    match form {
        Form::FileSystem(volume, part, file_system, tree) => {
            let failed = |source| {
                Box::new(Reason::Root {
                    what: format!("{name} as {}", file_system.name()),
                    source,
                })
            };
            let tree = tree.as_deref();
            let verified = tree.map(|tree| verity::verified(name, volume, part, tree));
            let verified = verified.transpose()?;
            let mut device = |path: &str| add_device(mounted, IMAGE, path, *file_system);
            match (&verified, volume) {
                (Some(verified), _) => device(verified.path()),
                (None, Volume::Device(_, path)) if part.start == 0 => device(path),
                (None, _) => LoopDevice::over(volume.file().as_fd(), part.clone())
                    .and_then(|over| device(over.path())),
            }
            .map_err(failed)?;
            mount_inner(mounted).map_err(failed)
        }
        Form::Nfs(folder) => {
            // The word `ro` or `rw` counts more than an option (munge_nfs_options of dracut).
            let is_writable = config.is_writable.unwrap_or_else(|| folder.is_writable());
            let is_read_only = !(is_read_only && is_writable);
            let added = mounted.add(IMAGE, || folder.mount(IMAGE, is_read_only));
            added.map_err(|source| cannot_mount_nfs(name, source))?;
            Ok(IMAGE)
        }
        Form::Archives(lowest, archives) => {
            let tmpfs = if lowest.is_some() { LAYERS } else { IMAGE };
            // All that is available, until it is known how much they take.
            let mib = machine::available_memory().unwrap_or_default() >> 20;
            let options = format!("mode=0755,size={}m", mib.saturating_sub(16).max(1));
            let mount = || mounts::mount("tmpfs", tmpfs, "tmpfs", &options, false);
            let added = mounted.add(tmpfs, mount);
            added.map_err(|source| cannot_mount("a tmpfs for the archive", source))?;
            let mut point = tmpfs;
            if let Some(form) = lowest {
                let lower = mount_form(mounted, context, form, true)?;
                mount_overlay(mounted, lower, LAYERS, LAYERED)?;
                point = LAYERED;
            }
            for archive in archives {
                archive::extract(name, archive, point, sandbox)?;
            }
            let mib = mounts::used_mib(tmpfs) + changes_mib(config);
            let limited = mounts::remount_tmpfs(tmpfs, &format!("size={mib}m"), is_read_only);
            limited.map_err(|source| cannot_mount("the tmpfs of the archive", source))?;
            log::info!("the root is in memory, up to {mib} MiB");
            Ok(point)
        }
    }
}

/// Returns how much memory changes may take.
fn changes_mib(config: &RootConfig) -> u64 {
    // Half of the memory, as a tmpfs has by itself (tmpfs(5)).
    let total = machine::total_memory().unwrap_or_default() >> 20;
    config.overlay_mib.map_or(total / 2, u64::from)
}

/// Mounts the image that may be in the image; returns where the file system of the root is.
fn mount_inner(mounted: &mut Mounted) -> Result<&'static str, SyscallError> {
    let inner = INNER_FILES.iter().find_map(|name| {
        let path = Path::new(IMAGE).join(name);
        let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        is_file.then(|| fs::File::open(path).ok()).flatten()
    });
    let Some(inner) = inner else {
        return Ok(IMAGE);
    };
    let failed = |source| SyscallError::of("read", source);
    let len = inner.metadata().map_err(failed)?.len();
    let mut head = vec![0; HEAD_LEN];
    std::os::unix::fs::FileExt::read_exact_at(&inner, &mut head, 0).map_err(failed)?;
    let Content::FileSystem(file_system) = Content::recognize(&head) else {
        return Ok(IMAGE);
    };
    let device = LoopDevice::over(inner.as_fd(), 0..len)?;
    add_device(mounted, INNER_IMAGE, device.path(), file_system)?;
    Ok(INNER_IMAGE)
}

/// Mounts a device for reading.
fn add_device(
    mounted: &mut Mounted,
    point: &'static str,
    device: &str,
    file_system: FileSystem,
) -> Result<(), SyscallError> {
    // An image of a running system has a journal to recover, which it cannot be for want of writing.
    let without_journal = match file_system {
        FileSystem::Ext4 => "noload",
        FileSystem::Xfs => "norecovery,nouuid",
        FileSystem::Btrfs => "rescue=nologreplay",
        FileSystem::Squashfs | FileSystem::Erofs => "",
    };
    mounted.add(point, || {
        let mount = |options| mounts::mount(device, point, file_system.name(), options, true);
        match mount("") {
            Err(_) if !without_journal.is_empty() => mount(without_journal),
            result => result,
        }
    })
}

/// Mounts an overlay of `lower` and `changes`.
fn mount_overlay(
    mounted: &mut Mounted,
    lower: &str,
    changes: &str,
    point: &'static str,
) -> Result<(), Error> {
    let failed = |source| cannot_mount("an overlay over the image", source);
    for name in ["upper", "work"] {
        let made = fs::create_dir_all(format!("{changes}/{name}"));
        made.map_err(|source| SyscallError::of("mkdir", source))
            .map_err(failed)?;
    }
    let options = format!("lowerdir={lower},upperdir={changes}/upper,workdir={changes}/work");
    let mount = || mounts::mount("overlay", point, "overlay", &options, false);
    mounted.add(point, mount).map_err(failed)
}

/// Checks that the root has all that a system is started with, as long as a boot can still fail; returns
/// what is to be started.
fn complete(image: &RootImage, config: &RootConfig) -> Result<String, Error> {
    let nothing = |what: String| {
        Box::new(Reason::NothingBootable {
            what: format!("{}: {what}", image.name),
            source: None,
        })
    };
    for name in MOVED {
        let path = format!("{NEW_ROOT}{name}");
        let is_there = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if !is_there && let Err(error) = fs::create_dir(&path) {
            return Err(nothing(format!(
                "the root has no directory {name}: {error}"
            )));
        }
    }
    init::find(NEW_ROOT, config).map_err(nothing)
}

/// What a server of NFS, or the way to it, refuses is a failed fetch.
fn cannot_mount_nfs(name: &str, source: SyscallError) -> Error {
    if source.is(Errno::ENODEV) || source.is(Errno::EINVAL) {
        return cannot_mount(&format!("{name} as nfs"), source);
    }
    Box::new(Reason::Fetch {
        url: format!("nfs:{name}"),
        source: source.into(),
    })
}

fn cannot_mount(what: &str, source: SyscallError) -> Error {
    Box::new(Reason::Root {
        what: what.to_owned(),
        source,
    })
}

/// Interval of looking for a disk, whose driver may still be starting.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Returns the path and the file system of the disk or partition that `name` is of (`Overlay::Disk`), which
/// is waited for up to `patience`; none if there is none.
fn disk_of(name: &str, patience: Duration) -> Option<(String, FileSystem)> {
    let until = sys::now() + patience;
    loop {
        let paths = if name.starts_with('/') {
            vec![name.to_owned()]
        } else {
            block_devices()
        };
        let found = paths.into_iter().find_map(|path| {
            let file_system = file_system_of(&path, name)?;
            Some((path, file_system))
        });
        if found.is_some() || sys::now() >= until {
            return found;
        }
        sleep(POLL_INTERVAL);
    }
}

/// Returns the paths of all disks and partitions, in the order of their names.
fn block_devices() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/block") else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // That of a device on a controller has a slash (cciss/c0d0), which sysfs shows as `!`.
    let mut paths: Vec<_> = names
        .map(|name| format!("/dev/{}", name.replace('!', "/")))
        .collect();
    // readdir(3) has no order: of several with the label it is the same one at each boot.
    paths.sort_unstable();
    paths
}

/// Returns the file system on a device, if it is the one that `name` is of.
fn file_system_of(path: &str, name: &str) -> Option<FileSystem> {
    // A drive without a medium cannot be opened (ENOMEDIUM).
    let device = File::open(path).ok()?;
    let mut head = vec![0; HEAD_LEN];
    device.read_exact_at(&mut head, 0).ok()?;
    let Content::FileSystem(file_system) = Content::recognize(&head) else {
        return None;
    };
    let is_it = match name.split_once('=') {
        Some(("LABEL", label)) => file_system.label(&head).as_deref() == Some(label),
        Some((_, uuid)) => parse_hex(&uuid.replace('-', "")).as_deref() == file_system.uuid(&head),
        None => true,
    };
    is_it.then_some(file_system)
}
