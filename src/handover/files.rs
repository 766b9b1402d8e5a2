//! The files about an interface: their removal, and what was in them before, which another client or
//! an earlier run of this one may have written.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::initramfs::{dracut_names, net_conf_name};
use super::managers::{keyfile_name, unit_name};
use super::resolv_conf::{self, RESOLV_CONF};
use crate::sys::file::{self, EVERYBODY, OWNER};

/// More than any of these files takes, bytes: what is longer is of nobody who could be served by it.
const MAX_LEN: u64 = 64 << 10;

/// Returns the names of all files about an interface below the root, each with its mode, without
/// `/etc/resolv.conf`.
fn names(interface: &str) -> Vec<(String, u32)> {
    let mut names = vec![
        (net_conf_name(interface), EVERYBODY),
        (unit_name(interface), EVERYBODY),
        (keyfile_name(interface), OWNER),
    ];
    let dracut = dracut_names(interface).into_iter();
    names.extend(dracut.map(|name| (name, EVERYBODY)));
    names
}

/// Files about an interface as they were before this process wrote its own.
#[derive(Debug, Default)]
pub struct EarlierFiles {
    /// The lines between the marks in `/etc/resolv.conf`.
    resolvers: Option<String>,
    /// Names, modes and contents.
    files: Vec<(String, u32, Vec<u8>)>,
}

impl EarlierFiles {
    /// Reads the files below `root`.
    pub(super) fn read(root: &Path, interface: &str) -> Self {
        let mut files = Vec::new();
        for (name, mode) in names(interface) {
            let path = root.join(&name);
            // Anybody may have put a FIFO in /tmp.
            let metadata = fs::symlink_metadata(&path);
            if metadata.is_ok_and(|found| found.is_file() && found.len() <= MAX_LEN)
                && let Ok(content) = fs::read(&path)
            {
                files.push((name, mode, content));
            }
        }
        Self {
            resolvers: resolv_conf::own_lines(root),
            files,
        }
    }

    /// Returns the address that they describe, by klibc's file; none without that.
    pub fn address(&self) -> Option<Ipv4Addr> {
        let name = |(name, ..): &&(String, u32, Vec<u8>)| name.starts_with("run/net-");
        let (.., content) = self.files.iter().find(name)?;
        let text = String::from_utf8_lossy(content);
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("IPV4ADDR="))?;
        value.trim_matches(['\'', '"']).parse().ok()
    }

    /// Puts these files below `root` in place of those that are there.
    pub(super) fn restore(&self, root: &Path, interface: &str) {
        let resolvers = resolv_conf::replace_own_lines(root, self.resolvers.as_deref());
        warn_of_error(RESOLV_CONF, resolvers);
        for (name, _) in names(interface) {
            if self.files.iter().any(|(known, ..)| *known == name) {
                continue;
            }
            if let Err(error) = fs::remove_file(root.join(&name))
                && error.kind() != io::ErrorKind::NotFound
            {
                warn_of_error(&name, Err(error));
            }
        }
        for (name, mode, content) in &self.files {
            warn_of_error(name, file::replace(&root.join(name), content, *mode));
        }
    }
}

pub(super) fn warn_of_error(file: &str, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("/{file}: not written: {error}");
    }
}

/// Returns whether the network is the machine's, which the files describe.
pub(super) fn is_machine_namespace() -> bool {
    let namespace = |process| fs::read_link(format!("/proc/{process}/ns/net"));
    // thread-self, since each thread may be in a namespace of its own (setns(2)).
    namespace("1").is_ok_and(|machine| namespace("thread-self").is_ok_and(|ours| machine == ours))
}
