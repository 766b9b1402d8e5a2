//! Resolvers in `/etc/resolv.conf`, between two marks; the lines of others stay.

use std::fs;
use std::io;
use std::path::Path;

use crate::sys::file::{self, EVERYBODY};
use wireboot_proto::dhcp::lease::Lease;
#[cfg(feature = "ipv6")]
use wireboot_proto::ipv6::lease::Lease6;

/// The file, below the root.
pub(super) const RESOLV_CONF: &str = "etc/resolv.conf";
pub(super) const BEGIN: &str = "# wireboot: from here";
pub(super) const END: &str = "# wireboot: to here";

/// Writes the resolvers of `lease` to the file below `root`; without a lease removes ours.
pub(super) fn replace(root: &Path, lease: Option<&Lease>) -> io::Result<()> {
    replace_own_lines(root, lease.map(resolvers).as_deref())
}

/// As [`replace`] with a lease of IPv6; a resolver on the link is one of `interface`.
#[cfg(feature = "ipv6")]
pub(super) fn replace6(root: &Path, interface: &str, lease: &Lease6) -> io::Result<()> {
    let servers = lease.dns_on(interface);
    let own = lines(&lease.search, &servers);
    replace_own_lines(root, Some(own.as_str()).filter(|own| !own.is_empty()))
}

/// Returns the lines between the marks in the file below `root`; none without marks.
pub(super) fn own_lines(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(RESOLV_CONF)).ok()?;
    let (_, behind) = text.split_once(&format!("{BEGIN}\n"))?;
    behind.split_once(END).map(|(own, _)| own.to_owned())
}

/// Replaces the lines between the marks in the file below `root`, or removes them with the marks.
pub(super) fn replace_own_lines(root: &Path, own: Option<&str>) -> io::Result<()> {
    let path = root.join(RESOLV_CONF);
    // A link belongs to a resolver service, which a file in its place would cut off.
    if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
        return match own {
            Some(_) => Err(io::Error::other(
                "it is a symbolic link, managed by another service",
            )),
            None => Ok(()),
        };
    }
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        before => before?,
    };
    let after = resolv_conf(&before, own);
    if after == before {
        return Ok(());
    }
    file::replace(&path, after.as_bytes(), EVERYBODY)
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
    let mut domains = lease.search.clone();
    if domains.is_empty() {
        domains.extend(lease.domain.clone());
    }
    lines(&domains, &lease.dns)
}

fn lines(domains: &[String], servers: &[impl ToString]) -> String {
    let mut text = String::new();
    if !domains.is_empty() {
        // Of `search` and `domain` the last one counts (resolv.conf(5)), so that only one is
        // written.
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {}\n", server.to_string()));
    }
    text
}
