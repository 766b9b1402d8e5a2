//! Files for the programs that use the network after this one: resolvers in `/etc/resolv.conf`, the
//! host name, and klibc's `/run/net-INTERFACE.conf` for scripts of an initramfs; if configured, the
//! files of dracut, systemd-networkd and NetworkManager.
//!
//! Files are replaced atomically, so that nobody reads half of one. A file that cannot be written is a
//! warning and never ends the boot. Values come from the network and go into a file that a shell
//! runs, so they are always quoted there.

#![forbid(unsafe_code)]

mod files;
mod initramfs;
#[cfg(feature = "ipv6")]
mod ipv6;
mod managers;
mod resolv_conf;

use std::fs;
use std::path::Path;

use crate::config::HandOver;
use crate::sys::file::{self, EVERYBODY, OWNER};
use crate::sys::{self, machine};
pub use files::EarlierFiles;
use files::{is_machine_namespace, warn_of_error};
use initramfs::{dracut_files, net_conf, net_conf_name};
#[cfg(feature = "ipv6")]
pub use ipv6::{remove6, write6};
pub use managers::HandOverIdentity;
use managers::{keyfile, keyfile_name, networkd_unit, unit_name};
use resolv_conf::RESOLV_CONF;
use wireboot_proto::dhcp::lease::Lease;

/// Writes the files about `lease` of this interface and client, and sets the host name if there is none.
///
/// Does nothing in a network namespace other than the machine's: the files describe the machine's
/// network.
pub fn write(identity: &HandOverIdentity<'_>, lease: &Lease, to: HandOver) {
    if !is_machine_namespace() {
        log::debug!("not in the machine's network namespace: no resolvers and no host name set");
        return;
    }
    write_files(Path::new("/"), identity, lease, to);
    if let Some(name) = &lease.host_name
        && is_unnamed(&fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default())
        && let Err(error) = machine::set_host_name(name)
    {
        log::warn!("{}", error.chain());
    }
}

/// Reads the files of [`write()`], as others have left them, for [`restore`]; none of them in another
/// network namespace than the machine's.
pub fn read(interface: &str) -> EarlierFiles {
    if is_machine_namespace() {
        EarlierFiles::read(Path::new("/"), interface)
    } else {
        EarlierFiles::default()
    }
}

/// Puts the files back as they were read.
pub fn restore(interface: &str, earlier: &EarlierFiles) {
    if is_machine_namespace() {
        earlier.restore(Path::new("/"), interface);
    }
}

/// Removes the files of [`write()`], and its lines in `/etc/resolv.conf`.
pub fn remove(interface: &str) {
    restore(interface, &EarlierFiles::default());
}

fn write_files(root: &Path, identity: &HandOverIdentity<'_>, lease: &Lease, to: HandOver) {
    // A lease without resolvers removes those of the lease before it.
    let has_resolvers = !lease.dns.is_empty() || lease.domain.is_some() || !lease.search.is_empty();
    warn_of_error(
        RESOLV_CONF,
        resolv_conf::replace(root, Some(lease).filter(|_| has_resolvers)),
    );
    let interface = identity.interface;
    let text = net_conf(interface, lease, sys::now().as_millis() / 1000);
    let mut files = vec![(net_conf_name(interface), text, EVERYBODY)];
    if to.networkd {
        match networkd_unit(identity, lease) {
            Ok(unit) => files.push((unit_name(interface), unit, EVERYBODY)),
            Err(why) => log::warn!("systemd-networkd will not keep the address: {why}"),
        }
    }
    if to.network_manager {
        let text = keyfile(identity, lease);
        // NetworkManager ignores a connection that others can read.
        files.push((keyfile_name(interface), text, OWNER));
    }
    if to.dracut {
        let all = dracut_files(interface, lease).into_iter();
        files.extend(all.map(|(name, text)| (name, text, EVERYBODY)));
    }
    for (name, text, mode) in files {
        warn_of_error(
            &name,
            file::replace(&root.join(&name), text.as_bytes(), mode),
        );
    }
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
