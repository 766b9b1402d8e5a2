//! The root file system by the network: an image is fetched into memory and mounted, and process 1 hands
//! the machine over to the system in it.
//!
//! The boot's process fetches and mounts ([`fetch`], [`mount`]) and ends with an exit code of its own;
//! process 1, which alone can become another system's, then does [`switch`].

#![forbid(unsafe_code)]

mod archive;
mod disk;
mod image;
mod mounts;
mod switch;

use crate::config::RootConfig;
use crate::timeline;
use wireboot_proto::text::url::Url;

pub use image::fetch;
pub use mounts::{clean_up, mount};
pub use switch::switch;

/// What a root may need of the kernel's modules: those of the loop device, which no device asks for, and
/// of file systems, for which it costs no further process here.
const MODULES: &[&str] = &[
    "crc32c_generic",
    "loop",
    "squashfs",
    "erofs",
    "ext4",
    "overlay",
];

/// Returns the modules of the kernel that a root may need, where they are not built in.
pub const fn modules(config: &RootConfig) -> &'static [&'static str] {
    if config.image.is_some() { MODULES } else { &[] }
}

/// Returns the image to mount, if there is one, and a first process that will switch to it.
pub fn wanted(config: &RootConfig) -> Option<&Url> {
    let url = config.image.as_ref()?;
    if timeline::is_of_first_process() {
        return Some(url);
    }
    log::info!("{url} is not mounted: only process 1 of an initramfs switches to another root");
    None
}
