//! The files about an interface: where they are, which the network namespace says; how they are written and
//! removed; and what was in them before, which another client or an earlier run of this one may have written.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[cfg(feature = "bond")]
use super::below::{below_keyfiles, below_names, below_units};
use super::initramfs::{dracut_names, net_conf_name, net_conf6_name};
use super::managers::{HandOverIdentity, device_state, device_state_name, keyfile_name, unit_name};
#[cfg(feature = "hand")]
use super::resolv_conf::NAMESPACES;
use super::resolv_conf::{self, RESOLV_CONF, ResolvConf};
use crate::config::HandOver;
use crate::sys::file::{EVERYBODY, OWNER};
use crate::sys::files;

/// Paths of the files.
#[derive(Debug)]
pub(super) struct FileLocations {
    /// The file for resolvers; none where nobody would read one.
    pub(super) resolv_conf: Option<PathBuf>,
    /// The directory above all others.
    pub(super) root: PathBuf,
    /// The network is the machine's, which the others describe.
    pub(super) is_machine: bool,
}

impl FileLocations {
    /// Returns the place below `root`, for the machine's network.
    pub(super) fn below(root: &Path) -> Self {
        Self {
            resolv_conf: Some(root.join(RESOLV_CONF)),
            root: root.to_owned(),
            is_machine: true,
        }
    }
}

/// The file of `--resolv-conf`.
#[cfg(feature = "hand")]
static SET_RESOLV_CONF: OnceLock<PathBuf> = OnceLock::new();

/// Sets the file for resolvers, in place of that of the network namespace.
#[cfg(feature = "hand")]
pub fn set_resolv_conf(path: PathBuf) {
    // The command line is read once.
    let _ = SET_RESOLV_CONF.set(path);
}

/// Returns where the files of this process's network namespace are; found out once, since a process
/// without privileges may not look any more.
pub(super) fn here() -> &'static FileLocations {
    static HERE: OnceLock<FileLocations> = OnceLock::new();
    HERE.get_or_init(find_place)
}

fn find_place() -> FileLocations {
    let mut place = FileLocations::below(Path::new("/"));
    place.is_machine = is_machine_namespace();
    if !place.is_machine {
        place.resolv_conf = None;
    }
    #[cfg(feature = "hand")]
    if let Some(path) = SET_RESOLV_CONF.get() {
        place.resolv_conf = Some(path.clone());
    } else if !place.is_machine {
        place.resolv_conf = resolv_conf_of_namespace();
    }
    if place.resolv_conf.is_none() {
        log::debug!("not in the machine's network namespace: no resolvers and no host name set");
    }
    place
}

// thread-self, since each thread may be in a namespace of its own (setns(2)).
const NAMESPACE: &str = "/proc/thread-self/ns/net";

fn is_machine_namespace() -> bool {
    let machine = fs::read_link("/proc/1/ns/net");
    machine.is_ok_and(|machine| fs::read_link(NAMESPACE).is_ok_and(|ours| machine == ours))
}

/// Returns the file for the resolvers of the network namespace by the name that `ip netns` has for it.
#[cfg(feature = "hand")]
fn resolv_conf_of_namespace() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let key = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let ours = key(fs::metadata(NAMESPACE).ok()?);
    let mut names = fs::read_dir("/run/netns").ok()?.flatten();
    let found = names.find(|name| fs::metadata(name.path()).is_ok_and(|there| key(there) == ours));
    let directory = Path::new(NAMESPACES).join(found?.file_name());
    Some(directory.join("resolv.conf"))
}

/// A file to be written: its name below the root, its content and its mode.
type NewFile = (String, String, u32);

/// Writes `files`, and those `to` the managers: this unit, or why there is none, and this keyfile, with what
/// is below the interface.
pub(super) fn write_all(
    place: &FileLocations,
    holder: &HandOverIdentity<'_>,
    to: HandOver,
    mut files: Vec<NewFile>,
    unit: Result<String, &'static str>,
    keyfile: String,
) {
    if to.networkd {
        match unit {
            Ok(unit) => {
                files.push((unit_name(holder.interface), unit, EVERYBODY));
                #[cfg(feature = "bond")]
                add(&mut files, below_units(holder), EVERYBODY);
            }
            Err(why) => log::warn!("systemd-networkd will not keep the address: {why}"),
        }
    }
    if to.network_manager {
        // NetworkManager ignores a connection that others can read.
        files.push((keyfile_name(holder.interface), keyfile, OWNER));
        let state = device_state(holder);
        files.push((device_state_name(holder.index), state, EVERYBODY));
        #[cfg(feature = "bond")]
        add(&mut files, below_keyfiles(holder), OWNER);
    }
    for (name, text, mode) in files {
        let path = place.root.join(name);
        warn_of_error(&path, files::replace(&path, text.as_bytes(), mode));
    }
}

/// Adds files of one mode.
pub(super) fn add(files: &mut Vec<NewFile>, more: Vec<(String, String)>, mode: u32) {
    for (name, text) in more {
        files.push((name, text, mode));
    }
}

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
