//! Resolvers in `/etc/resolv.conf`, between two marks; the lines of others stay.

use std::fs;
use std::io;
use std::path::Path;

use crate::sys::file::{self, EVERYBODY};
use wireboot_proto::dhcp::lease::Lease;

/// Files for one network namespace each are in a directory of its name (ip-netns(8)).
#[cfg(feature = "hand")]
pub(super) const NAMESPACES: &str = "/etc/netns";
/// The file, below the root.
pub(super) const RESOLV_CONF: &str = "etc/resolv.conf";
pub(super) const BEGIN: &str = "# wireboot: from here";
pub(super) const END: &str = "# wireboot: to here";

/// Writes the resolvers of `lease` to the file; without a lease removes ours.
pub(super) fn replace(path: &Path, lease: Option<&Lease>) -> io::Result<()> {
    replace_own_lines(path, lease.map(resolvers).as_deref())
}

/// Returns the lines between the marks in the file; none without marks.
pub(super) fn own_lines(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, behind) = text.split_once(&format!("{BEGIN}\n"))?;
    behind.split_once(END).map(|(own, _)| own.to_owned())
}

/// Replaces the lines between the marks in the file, or removes them with the marks.
pub(super) fn replace_own_lines(path: &Path, own: Option<&str>) -> io::Result<()> {
    // A link belongs to a resolver service, which a file in its place would cut off.
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return match own {
            Some(_) => Err(io::Error::other(
                "it is a symbolic link, managed by another service",
            )),
            None => Ok(()),
        };
    }
    let before = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        before => before?,
    };
    let after = resolv_conf(&before, own);
    if after == before {
        return Ok(());
    }
    #[cfg(feature = "hand")]
    if path.starts_with(NAMESPACES) && path.exists() {
        // ip-netns(8) mounts it over /etc/resolv.conf, where a file in its place would not be seen.
        return fs::write(path, after);
    }
    file::replace(path, after.as_bytes(), EVERYBODY)
}

/// Returns `before` with our lines replaced by `own`, which go first, since resolvers beyond the third
/// are not asked.
pub(super) fn resolv_conf(before: &str, own: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(own) = own {
        text = format!("{BEGIN}\n{own}{END}\n");
    }
    let mut is_ours = false;
    for line in before.lines() {
        match line {
            BEGIN => is_ours = true,
            END => is_ours = false,
            line if !is_ours => text.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    text
}

/// Returns the lines of a resolver's configuration.
pub(super) fn resolvers(lease: &Lease) -> String {
    let mut text = String::new();
    let mut domains = lease.search.clone();
    if domains.is_empty() {
        domains.extend(lease.domain.clone());
    }
    if !domains.is_empty() {
        // Of `search` and `domain` the last one counts (resolv.conf(5)), so that only one is
        // written.
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    for server in &lease.dns {
        text.push_str(&format!("nameserver {server}\n"));
    }
    text
}
