//! Files for the programs that use the network after this one: resolvers in `/etc/resolv.conf`, the
//! host name, and klibc's `/run/net-INTERFACE.conf` for scripts of an initramfs; if configured, the
//! files of dracut, systemd-networkd and NetworkManager.
//!
//! Files are replaced atomically, so that nobody reads half of one. A file that cannot be written is a
//! warning and never ends the boot. Values come from the network and go into a file that a shell
//! runs, so they are always quoted there.

#![forbid(unsafe_code)]

#[cfg(feature = "bond")]
mod below;
mod files;
mod initramfs;
mod ipv6;
mod managers;
mod resolv_conf;

#[cfg(feature = "root")]
use std::path::Path;
use std::path::PathBuf;

use crate::config::HandOver;
use crate::sys::file::EVERYBODY;
use crate::sys::{self, machine};
pub use files::EarlierFiles;
#[cfg(feature = "hand")]
pub use files::set_resolv_conf;
use files::{FileLocations, add, here, warn_of_error, write_all};
#[cfg(fuzzing)]
pub use initramfs::fuzz;
use initramfs::{dracut_files, net_conf, net_conf_name};
pub use ipv6::{paths6, read6, remove6, write6};
pub use managers::HandOverIdentity;
use managers::{keyfile, networkd_unit};
#[cfg(feature = "root")]
use resolv_conf::RESOLV_CONF;
use wireboot_proto::dhcp::lease::Lease;

/// Writes the files about `lease` of this interface and client, and sets the host name if there is none.
///
/// In a network namespace other than the machine's only the resolvers are written, to the file that
/// ip-netns(8) has for a namespace with a name: the others describe the machine's network.
pub fn write(identity: &HandOverIdentity<'_>, lease: &Lease, to: HandOver) {
    let place = here();
    write_files(place, identity, lease, to);
    if let Some(name) = &lease.host_name
        && place.is_machine
        && is_unnamed(&machine::host_name())
        && let Err(error) = machine::set_host_name(name)
    {
        log::warn!("{}", error.chain());
    }
}

/// Reads the files of [`write()`], as others have left them, for [`restore`].
pub fn read(holder: &HandOverIdentity<'_>) -> EarlierFiles {
    EarlierFiles::none(here(), holder).read(here())
}

/// Puts the files back as they were read.
pub fn restore(earlier: &EarlierFiles) {
    earlier.restore(here());
}

/// Removes the files of [`write()`], and its lines in `/etc/resolv.conf`.
pub fn remove(holder: &HandOverIdentity<'_>) {
    restore(&EarlierFiles::none(here(), holder));
}

/// Returns the paths of all these files.
pub fn paths(holder: &HandOverIdentity<'_>) -> Vec<PathBuf> {
    EarlierFiles::none(here(), holder).paths(here())
}

/// Returns the lines of [`write()`] in `/etc/resolv.conf`.
#[cfg(feature = "root")]
pub fn resolvers() -> Option<String> {
    resolv_conf::own_lines(&Path::new("/").join(RESOLV_CONF))
}

/// Writes them to that of another root, unless that is a link, which another program looks after.
#[cfg(feature = "root")]
pub fn set_resolvers(own: Option<&str>) {
    let path = Path::new("/").join(RESOLV_CONF);
    if let Err(error) = resolv_conf::replace_own_lines(&path, own) {
        log::info!("{} of the new root: not written: {error}", path.display());
    }
}

fn write_files(
    place: &FileLocations,
    identity: &HandOverIdentity<'_>,
    lease: &Lease,
    to: HandOver,
) {
    // A lease without resolvers removes those of the lease before it.
    let has_resolvers = !lease.dns.is_empty() || lease.domain.is_some() || !lease.search.is_empty();
    if let Some(path) = &place.resolv_conf {
        let lease = Some(lease).filter(|_| has_resolvers);
        warn_of_error(path, resolv_conf::replace(path, lease));
    }
    if !place.is_machine {
        return;
    }
    let interface = identity.interface;
    let text = net_conf(interface, lease, sys::now().as_millis() / 1000);
    let mut files = vec![(net_conf_name(interface), text, EVERYBODY)];
    if to.dracut {
        add(&mut files, dracut_files(interface, lease), EVERYBODY);
    }
    let unit = networkd_unit(identity, lease);
    write_all(place, identity, to, files, unit, keyfile(identity, lease));
}

/// Linux calls a machine `(none)` until it is named, and distributions `localhost`.
fn is_unnamed(name: &str) -> bool {
    matches!(
        name.trim(),
        "" | "(none)" | "localhost" | "localhost.localdomain"
    )
}

#[cfg(test)]
mod tests;
