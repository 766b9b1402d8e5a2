//! Writes the files of a lease, with those for systemd-networkd and NetworkManager.

#[cfg(feature = "bond")]
use super::below::{below_keyfiles, below_units};
use super::earlier::warn_of_error;
use super::managers::{HandOverIdentity, device_state, device_state_name, keyfile_name, unit_name};
use super::place::FileLocations;
use crate::config::HandOver;
use crate::sys::file::{EVERYBODY, OWNER};
use crate::sys::files;

/// A file to be written: its name below the root, its content and its mode.
pub(super) type NewFile = (String, String, u32);

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
