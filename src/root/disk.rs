//! Finds the disk that keeps the changes to a root, by the label or identifier of its file system, as udev
//! would, or by its path.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::Duration;

use crate::sys;
use wireboot_proto::format::filesystem::{Content, FileSystem, HEAD_LEN};
use wireboot_proto::packet::option::known::parse_hex;

/// Interval of looking for a disk, whose driver may still be starting.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Returns the path and the file system of the disk or partition that `name` is of (`Overlay::Disk`), which
/// is waited for up to `patience`; none if there is none.
pub(super) fn named(name: &str, patience: Duration) -> Option<(String, FileSystem)> {
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
