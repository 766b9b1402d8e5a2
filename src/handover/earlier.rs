//! The files about an interface: their removal, and what was in them before, which another client or
//! an earlier run of this one may have written.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::initramfs::{dracut_names, net_conf_name};
use super::managers::{keyfile_name, unit_name};
use super::resolv_conf::{self, RESOLV_CONF};
use crate::sys::file::{EVERYBODY, OWNER};
use crate::sys::files;

/// More than any of these files takes, bytes: what is longer is of nobody who could be served by it.
const MAX_LEN: usize = 64 << 10;

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

/// Returns the paths of all files about an interface below `root`, without `/etc/resolv.conf`.
pub(super) fn paths(root: &Path, interface: &str) -> Vec<PathBuf> {
    let names = names(interface).into_iter();
    names.map(|(name, _)| root.join(name)).collect()
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
            // Anybody may have put a link or FIFO in /tmp.
            if let Ok(content) = files::read(&root.join(&name))
                && content.len() <= MAX_LEN
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
            warn_of_error(&name, files::remove(&root.join(&name)));
        }
        for (name, mode, content) in &self.files {
            warn_of_error(name, files::replace(&root.join(name), content, *mode));
        }
    }
}

pub(super) fn warn_of_error(file: &str, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("/{file}: not written: {error}");
    }
}
