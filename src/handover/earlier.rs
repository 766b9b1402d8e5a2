//! The files about an interface: their removal, and what was in them before, which another client or
//! an earlier run of this one may have written.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

#[cfg(feature = "bond")]
use super::below::below_names;
use super::initramfs::net_conf6_name;
use super::initramfs::{dracut_names, net_conf_name};
use super::managers::{HandOverIdentity, device_state_name, keyfile_name, unit_name};
use super::place::FileLocations;
use super::resolv_conf::{self, ResolvConf};
use crate::sys::file::{EVERYBODY, OWNER};
use crate::sys::files;

/// More than any of these files takes, bytes: what is longer is of nobody who could be served by it.
const MAX_LEN: usize = 64 << 10;

/// Files about an interface, as they were before this process wrote its own.
#[derive(Debug)]
pub struct EarlierFiles {
    /// The file for resolvers; none for a link, which is not written to.
    resolvers: Option<ResolvConf>,
    /// They are of IPv6, and those of IPv4 are another's.
    is_ipv6: bool,
    /// All others, by name.
    files: Vec<EarlierFile>,
}

#[derive(Debug)]
struct EarlierFile {
    /// Name below the root.
    name: String,
    mode: u32,
    /// None if it was not there.
    content: Option<Vec<u8>>,
}

impl EarlierFiles {
    /// Returns the files about an interface, and about those it was made of, as none of which is there.
    pub(super) fn none(place: &FileLocations, holder: &HandOverIdentity<'_>) -> Self {
        let mut names = dracut_names(holder.interface);
        // First, where `address` looks for it.
        names.insert(0, net_conf_name(holder.interface));
        Self::of_managers(place, names, holder, false)
    }

    /// As [`EarlierFiles::none`], for a lease of IPv6.
    pub(super) fn none6(place: &FileLocations, holder: &HandOverIdentity<'_>) -> Self {
        let mut names = dracut_names(holder.interface);
        names.push(net_conf6_name(holder.interface));
        Self::of_managers(place, names, holder, true)
    }

    /// Returns the files of these names, and those for systemd-networkd and NetworkManager.
    fn of_managers(
        place: &FileLocations,
        mut names: Vec<String>,
        holder: &HandOverIdentity<'_>,
        is_ipv6: bool,
    ) -> Self {
        names.extend([
            unit_name(holder.interface),
            keyfile_name(holder.interface),
            device_state_name(holder.index),
        ]);
        #[cfg(feature = "bond")]
        names.extend(below_names(holder.interface, holder.made_of));
        if !place.is_machine {
            names.clear();
        }
        let files = names.into_iter().map(|name| EarlierFile {
            // NetworkManager's.
            mode: if name.ends_with(".nmconnection") {
                OWNER
            } else {
                EVERYBODY
            },
            name,
            content: None,
        });
        Self {
            resolvers: None,
            is_ipv6,
            files: files.collect(),
        }
    }

    /// Reads these files at `place`.
    pub(super) fn read(mut self, place: &FileLocations) -> Self {
        self.resolvers = place.resolv_conf.as_deref().and_then(ResolvConf::read);
        for file in &mut self.files {
            // Anybody may have put a link or FIFO in /tmp.
            let content = files::read(&place.root.join(&file.name)).ok();
            file.content = content.filter(|content| content.len() <= MAX_LEN);
        }
        self
    }

    /// Returns the paths of all, that for resolvers first.
    pub(super) fn paths(&self, place: &FileLocations) -> Vec<PathBuf> {
        let files = self.files.iter().map(|file| place.root.join(&file.name));
        place.resolv_conf.iter().cloned().chain(files).collect()
    }

    /// Returns the address that they describe, by klibc's file; none without that.
    pub fn address(&self) -> Option<Ipv4Addr> {
        let text = String::from_utf8_lossy(self.files.first()?.content.as_deref()?);
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("IPV4ADDR="))?;
        value.trim_matches('\'').parse().ok()
    }

    /// Puts these files at `place` in place of those that are there.
    pub(super) fn restore(&self, place: &FileLocations) {
        if let Some(path) = &place.resolv_conf {
            let resolvers = match &self.resolvers {
                Some(earlier) => earlier.restore(path, self.is_ipv6),
                None => resolv_conf::replace_beside(path, None, self.is_ipv6),
            };
            warn_of_error(path, resolvers);
        }
        for EarlierFile {
            name,
            mode,
            content,
        } in &self.files
        {
            let path = place.root.join(name);
            let restored = match content {
                Some(content) => files::replace(&path, content, *mode),
                None => files::remove(&path),
            };
            warn_of_error(&path, restored);
        }
    }
}

pub(super) fn warn_of_error(file: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("{}: not written: {error}", file.display());
    }
}
