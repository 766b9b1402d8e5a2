//! Resolvers in `/etc/resolv.conf`, between two marks; the lines of others stay.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys::file::EVERYBODY;
use crate::sys::files;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::ipv6::lease::Lease6;

/// Files for one network namespace each are in a directory of its name (ip-netns(8)).
#[cfg(feature = "hand")]
pub(super) const NAMESPACES: &str = "/etc/netns";
/// The file, below the root.
pub(super) const RESOLV_CONF: &str = "etc/resolv.conf";
pub(super) const BEGIN: &str = "# wireboot: from here";
pub(super) const END: &str = "# wireboot: to here";

/// Writes the resolvers of `lease` to the file; without a lease removes ours. Those of IPv6 stay.
pub(super) fn replace(path: &Path, lease: Option<&Lease>) -> io::Result<()> {
    replace_beside(path, lease.map(resolvers).as_deref(), false)
}

/// As [`replace`] with a lease of IPv6, beside resolvers of IPv4; a resolver on the link is one of
/// `interface`.
pub(super) fn replace6(path: &Path, interface: &str, lease: &Lease6) -> io::Result<()> {
    let own = resolvers6(interface, lease);
    replace_beside(path, Some(own.as_str()).filter(|own| !own.is_empty()), true)
}

/// As [`replace_own_lines`] with the lines of one family, beside the resolvers of the other.
pub(super) fn replace_beside(path: &Path, own: Option<&str>, is_ipv6: bool) -> io::Result<()> {
    // What cannot be read is refused when it is replaced, below.
    let known = own_lines(path).unwrap_or_default();
    let merged = beside(&known, own.unwrap_or_default(), is_ipv6);
    // A lease without resolvers leaves the marks.
    let is_there = own.is_some() || !merged.is_empty();
    replace_own_lines(path, Some(merged.as_str()).filter(|_| is_there))
}

/// Returns `own`, the lines of one family, with the resolvers of the other in `known`, those of IPv6 first,
/// and the domains of both: of several `search` lines the last one counts.
fn beside(known: &str, own: &str, is_ipv6: bool) -> String {
    let is_others = |line: &str| line.starts_with(SERVER) && line.contains(':') != is_ipv6;
    let known = if known.lines().any(is_others) {
        known
    } else {
        ""
    };
    let mut domains = Vec::new();
    let [mut ours, mut others] = [String::new(), String::new()];
    for (text, is_own) in [(own, true), (known, false)] {
        for line in text.lines() {
            if let Some(words) = line.strip_prefix(SEARCH) {
                for domain in words.split(' ') {
                    if !domains.contains(&domain) {
                        domains.push(domain);
                    }
                }
            } else if is_own || is_others(line) {
                let servers = if is_own { &mut ours } else { &mut others };
                servers.push_str(line);
                servers.push('\n');
            }
        }
    }
    let (first, second) = if is_ipv6 {
        (ours, others)
    } else {
        (others, ours)
    };
    let mut text = String::new();
    if !domains.is_empty() {
        text = format!("{SEARCH}{}\n", domains.join(" "));
    }
    text + &first + &second
}

/// Returns the lines between the marks in the file; none without marks.
pub(super) fn own_lines(path: &Path) -> Option<String> {
    own_lines_of(&String::from_utf8(files::read(path).ok()?).ok()?)
}

fn own_lines_of(text: &str) -> Option<String> {
    let (_, behind) = text.split_once(&format!("{BEGIN}\n"))?;
    behind.split_once(END).map(|(own, _)| own.to_owned())
}

/// The file as it was.
#[derive(Debug)]
pub(super) struct ResolvConf {
    /// Its content and permissions; none if there was no file.
    file: Option<(String, u32)>,
}

impl ResolvConf {
    /// Reads the file; returns none for what is not written to either.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let file = match files::read(path) {
            Ok(text) => {
                let mode = fs::metadata(path).map_or(EVERYBODY, |found| found.permissions().mode());
                Some((String::from_utf8(text).ok()?, mode & 0o777))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        Some(Self { file })
    }

    /// Restores the file; of one that others have changed since, as a client of the other family, only our
    /// lines.
    pub(super) fn restore(&self, path: &Path, is_ipv6: bool) -> io::Result<()> {
        let (earlier, mode) = match &self.file {
            Some((text, mode)) => (text.as_str(), *mode),
            None => ("", EVERYBODY),
        };
        let now = match files::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            now => now?,
        };
        if self.file.is_some() && now == earlier.as_bytes() {
            return Ok(());
        }
        let others = |text: &str| {
            let own = own_lines_of(text).unwrap_or_default();
            (resolv_conf(text, None), beside(&own, "", is_ipv6))
        };
        if others(&String::from_utf8_lossy(&now)) != others(earlier) {
            let own = own_lines_of(earlier).map(|own| beside(&own, "", !is_ipv6));
            return replace_beside(path, own.as_deref(), is_ipv6);
        }
        if self.file.is_none() {
            return files::remove(path);
        }
        put(path, earlier, mode, true)
    }
}

/// Writes the file, which may be there.
fn put(path: &Path, text: &str, mode: u32, is_there: bool) -> io::Result<()> {
    #[cfg(feature = "hand")]
    if is_there && path.starts_with(NAMESPACES) {
        // ip-netns(8) mounts it over /etc/resolv.conf, where a file in its place would not be seen.
        return files::overwrite(path, text.as_bytes());
    }
    #[cfg(not(feature = "hand"))]
    // It matters only for a file that ip-netns(8) has mounted.
    let _ = is_there;
    files::replace(path, text.as_bytes(), mode)
}

/// Replaces the lines between the marks in the file, or removes them with the marks.
pub(super) fn replace_own_lines(path: &Path, own: Option<&str>) -> io::Result<()> {
    let (before, is_there) = match files::read(path) {
        // A link belongs to a resolver service, which a file in its place would cut off.
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return match own {
                Some(_) => Err(io::Error::other(
                    "it is a symbolic link, managed by another service",
                )),
                None => Ok(()),
            };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), false),
        before => (before?, true),
    };
    let before = String::from_utf8(before)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))?;
    let after = resolv_conf(&before, own);
    if after == before {
        return Ok(());
    }
    put(path, &after, EVERYBODY, is_there)
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
    lines(&domains, &mut lease.dns.iter().map(ToString::to_string))
}

/// As [`resolvers`], for a lease of IPv6 on an interface.
pub(super) fn resolvers6(interface: &str, lease: &Lease6) -> String {
    lines(&lease.search, &mut lease.dns_on(interface).into_iter())
}

const SEARCH: &str = "search ";
const SERVER: &str = "nameserver ";

fn lines(domains: &[String], servers: &mut dyn Iterator<Item = String>) -> String {
    let mut text = String::new();
    if !domains.is_empty() {
        // Of `search` and `domain` the last one counts (resolv.conf(5)), so that only one is
        // written.
        text.push_str(&format!("{SEARCH}{}\n", domains.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("{SERVER}{server}\n"));
    }
    text
}
