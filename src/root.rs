//! The root file system by the network: an image is fetched into memory and mounted, and process 1 hands
//! the machine over to the system in it.
//!
//! The boot's process fetches and mounts ([`fetch`], [`mount`]) and ends with an exit code of its own;
//! process 1, which alone can become another system's, then does [`switch`].

#![forbid(unsafe_code)]

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

/// Returns the modules of the kernel that a root may need, where they are not built in.
pub fn modules(config: &RootConfig) -> impl Iterator<Item = &'static str> {
    // Nobody is there to load what the kernel's drivers ask for by a name of cryptography: ext4 and
    // erofs need crc32c.
    let names = [
        "crc32c_generic",
        "loop",
        "squashfs",
        "erofs",
        "ext4",
        "overlay",
    ];
    names.into_iter().filter(|_| config.image.is_some())
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
