//! The files about an interface: their removal, and what was in them before, which another client or
//! an earlier run of this one may have written.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::initramfs::{dracut_names, net_conf_name};
use super::managers::{keyfile_name, unit_name};
use super::resolv_conf::{self, RESOLV_CONF};
use crate::sys::file::{self, EVERYBODY, OWNER};

/// More than any of these files takes, bytes: what is longer is of nobody who could be served by it.
const MAX_LEN: u64 = 64 << 10;

/// Where the files are.
#[derive(Debug)]
pub(super) struct Place {
    /// The file for resolvers; none where nobody would read one.
    pub(super) resolv_conf: Option<PathBuf>,
    /// The directory above all others.
    pub(super) root: PathBuf,
    /// The network is the machine's, which the others describe.
    pub(super) is_machine: bool,
}

impl Place {
    /// Returns the place below `root`, for the machine's network.
    pub(super) fn below(root: &Path) -> Self {
        Self {
            resolv_conf: Some(root.join(RESOLV_CONF)),
            root: root.to_owned(),
            is_machine: true,
        }
    }

    /// Returns the names of all files about an interface below the root, each with its mode, without
    /// that for resolvers.
    fn names(&self, interface: &str) -> Vec<(String, u32)> {
        if !self.is_machine {
            return Vec::new();
        }
        let mut names = vec![
            (net_conf_name(interface), EVERYBODY),
            (unit_name(interface), EVERYBODY),
            (keyfile_name(interface), OWNER),
        ];
        let dracut = dracut_names(interface).into_iter();
        names.extend(dracut.map(|name| (name, EVERYBODY)));
        names
    }
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
    /// Reads the files at `place`.
    pub(super) fn read(place: &Place, interface: &str) -> Self {
        let mut files = Vec::new();
        for (name, mode) in place.names(interface) {
            let path = place.root.join(&name);
            // Anybody may have put a FIFO in /tmp.
            let metadata = fs::symlink_metadata(&path);
            if metadata.is_ok_and(|found| found.is_file() && found.len() <= MAX_LEN)
                && let Ok(content) = fs::read(&path)
            {
                files.push((name, mode, content));
            }
        }
        Self {
            resolvers: place
                .resolv_conf
                .as_deref()
                .and_then(resolv_conf::own_lines),
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

    /// Puts these files at `place` in place of those that are there.
    pub(super) fn restore(&self, place: &Place, interface: &str) {
        if let Some(path) = &place.resolv_conf {
            let resolvers = resolv_conf::replace_own_lines(path, self.resolvers.as_deref());
            warn_of_error(path, resolvers);
        }
        for (name, _) in place.names(interface) {
            if self.files.iter().any(|(known, ..)| *known == name) {
                continue;
            }
            if let Err(error) = fs::remove_file(place.root.join(&name))
                && error.kind() != io::ErrorKind::NotFound
            {
                warn_of_error(&place.root.join(&name), Err(error));
            }
        }
        for (name, mode, content) in &self.files {
            let path = place.root.join(name);
            warn_of_error(&path, file::replace(&path, content, *mode));
        }
    }
}

pub(super) fn warn_of_error(file: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("{}: not written: {error}", file.display());
    }
}
