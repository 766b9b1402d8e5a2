//! Where the files are, which the network namespace says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[cfg(feature = "hand")]
use super::resolv_conf::NAMESPACES;
use super::resolv_conf::RESOLV_CONF;

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
