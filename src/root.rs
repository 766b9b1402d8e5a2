//! The root file system by the network: an image is fetched into memory and mounted, and process 1 hands
//! the machine over to the system in it.
//!
//! The boot's process fetches and mounts ([`start`]) and ends with an exit code of its own;
//! process 1, which alone can become another system's, then does [`switch()`].

#![forbid(unsafe_code)]

mod archive;
mod image;
mod init;
mod mounts;
mod remote;
mod unpacking;
mod verity;

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use wireboot_proto::dhcp::lease::Lease;

use crate::acquire::Binding;
use crate::config::{Config, RootConfig, RootSource, Stage};
use crate::error::SWITCH_ROOT;
use crate::fetch::Fetcher;
use crate::gate::{Exit, Gate};
use crate::measure;
use crate::sys::exec::Program;
use crate::timeline;
use crate::trust::Trust;

pub use init::switch;
pub use mounts::clean_up;

/// Mounts the root that the configuration names in place of following a boot file, and ends this process;
/// process 1 switches to it then.
pub fn start(
    config: &Config,
    gate: &Gate,
    binding: &mut Binding,
    lease: &Lease,
    trust: &Trust,
) -> Result<Infallible, Exit> {
    let fetcher = Fetcher::new(config, &binding.link().name, lease, trust, &gate.timeline)?;
    gate.pass(Stage::Plan)?;
    end_in(&config.root, fetcher, config, gate, binding, lease)
}

/// As [`start`] with the root that a plan names in place of a kernel, by what has fetched the plan.
pub fn start_planned(
    root: &RootConfig,
    fetcher: Fetcher,
    config: &Config,
    gate: &Gate,
    binding: &mut Binding,
    lease: &Lease,
) -> Result<Infallible, Exit> {
    load_modules(root);
    end_in(root, fetcher, config, gate, binding, lease)
}

/// Ends the boot in a root.
fn end_in(
    root: &RootConfig,
    fetcher: Fetcher,
    config: &Config,
    gate: &Gate,
    binding: &mut Binding,
    lease: &Lease,
) -> Result<Infallible, Exit> {
    let image = image::fetch(root, lease, &fetcher, &config.trust.sandbox)?;
    // Its workers end.
    drop(fetcher);
    gate.pass(Stage::Image)?;
    let mounted = mounts::mount(&image, root, &config.trust.sandbox)?;
    gate.timeline.done("mount");
    let measurements = image.measure(&gate.timeline)?;
    measure::extend(&measurements, &gate.timeline);
    gate.pass(Stage::Load)?;
    gate.close(
        &format!("mounted {}, and switching to it", image.name),
        "root is mounted",
    );
    // The next system asks for the same address; until it does, the kernel keeps it.
    binding.settle();
    mounted.keep()?;
    std::process::exit(SWITCH_ROOT.into())
}

/// What a root may need of the kernel's modules: those of devices that only a program asks for, and of
/// file systems, for which it costs no further process here.
const MODULES: &[&str] = &[
    "crc32c_generic",
    "loop",
    "squashfs",
    "erofs",
    "ext4",
    "overlay",
];
// Drivers of what is served, for roots that are no file.
const REMOTE_MODULES: &[&str] = &["nbd", "nvme_tcp", "nfs"];

/// Returns the modules of the kernel that a root may need, where they are not built in.
pub fn modules(config: &RootConfig) -> Vec<&'static str> {
    let mut modules = Vec::new();
    if let Some(source) = &config.source {
        modules.extend(MODULES);
        if !matches!(source, RootSource::Image(_) | RootSource::Artifact(_)) {
            modules.extend(REMOTE_MODULES);
        }
        if config.root_hash.is_some() {
            modules.push("dm_verity");
        }
    }
    modules
}

/// Loads the modules that a root of a plan may need: process 1 has only loaded those of its own words.
fn load_modules(config: &RootConfig) {
    let Ok(program) = fs::read_to_string("/proc/sys/kernel/modprobe") else {
        return;
    };
    for name in modules(config) {
        // As the kernel calls it (call_modprobe in kernel/module/kmod.c); what is missing is told later.
        let program = Program::new(Path::new(program.trim()), "modprobe");
        let program = program.argument("-q").argument("--").argument(name);
        if let Ok(mut started) = program.start() {
            started.wait();
        }
    }
}

/// Returns whether there is a root to mount, and a first process that will switch to it.
pub fn is_wanted(config: &RootConfig) -> bool {
    let is_first = timeline::is_of_first_process();
    if config.source.is_some() && !is_first {
        log::info!("no root is mounted: only process 1 of an initramfs switches to another root");
    }
    config.source.is_some() && is_first
}
