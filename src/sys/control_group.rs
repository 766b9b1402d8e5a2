//! The memory that the control groups of this process leave it (cgroup v2): each has a limit of its own,
//! behind which the kernel ends processes however much memory the machine has.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

// Where it is mounted by convention (cgroups(7)); elsewhere no limit is seen.
const ROOT: &str = "/sys/fs/cgroup";

/// A control group with a limit.
#[derive(Debug)]
struct Group {
    limit: File,
    current: File,
    statistics: File,
}

/// Those of this process, for it and for processes forked from it that may open no file.
static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();

fn groups() -> &'static [Group] {
    GROUPS.get_or_init(|| {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        // The line of version 2 (cgroups(7)).
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        own.map_or_else(Vec::new, |own| find(Path::new(ROOT), own))
    })
}

/// Returns the descriptors that are read.
pub(super) fn descriptors() -> impl Iterator<Item = RawFd> {
    let all = groups().iter();
    all.flat_map(|group| [&group.limit, &group.current, &group.statistics].map(File::as_raw_fd))
}

/// Returns how much more memory this process may have by its control groups, in bytes; none without a
/// limit.
pub(super) fn available() -> Option<u64> {
    // The limit of each group holds for those below it as well.
    groups().iter().filter_map(Group::available).min()
}

/// Returns the groups from `own` up to the root, which has no limit.
fn find(root: &Path, own: &str) -> Vec<Group> {
    let own = root.join(own);
    let above = own.ancestors().take_while(|folder| *folder != root);
    above.filter_map(Group::open).collect()
}

impl Group {
    fn open(folder: &Path) -> Option<Self> {
        let open = |name| File::open(folder.join(name)).ok();
        Some(Self {
            limit: open("memory.max")?,
            current: open("memory.current")?,
            statistics: open("memory.stat")?,
        })
    }

    fn available(&self) -> Option<u64> {
        // "max" where there is no limit.
        let limit: u64 = text(&self.limit)?.trim().parse().ok()?;
        let current: u64 = text(&self.current)?.trim().parse().ok()?;
        // Files that the kernel drops when memory is short count as used; those in memory alone, as what
        // is fetched, are not among them.
        let statistics = text(&self.statistics)?;
        let files = statistics.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            let is_file = matches!(name, "active_file" | "inactive_file");
            is_file.then(|| value.parse::<u64>().ok())?
        });
        let used = current.saturating_sub(files.sum());
        Some(limit.saturating_sub(used))
    }
}

fn text(file: &File) -> Option<String> {
    // All that is used stands at its beginning, and each read from there is a new report.
    let mut report = [0; 1024];
    let len = file.read_at(&mut report, 0).ok()?;
    Some(String::from_utf8_lossy(report.get(..len)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_limit_counts_and_files_on_disks_do_not() {
        let root = std::env::temp_dir().join(format!("wireboot-{:016x}", super::super::seed()));
        let group = |name: &str, limit: &str, current: &str| {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            let statistics = "anon 7\nfile 900\nshmem 100\ninactive_file 300\nactive_file 50\n";
            for (file, text) in [("max", limit), ("current", current), ("stat", statistics)] {
                fs::write(folder.join(format!("memory.{file}")), text).unwrap();
            }
        };
        group("a", "3000\n", "1000\n");
        group("a/b", "max\n", "900\n");
        group("a/c", "1000\n", "2000\n");
        group("a/c/d", "max\n", "0\n");
        let available = |own| find(&root, own).iter().filter_map(Group::available).min();
        let found = [
            available("a/b"),
            available("a/c/d"),
            available("none"),
            available(""),
        ];
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [Some(2350), Some(0), None, None]);
    }
}
