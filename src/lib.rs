//! wireboot boots a machine from the network.
//!
//! Where to start: `agent` is the whole boot on one screen, and every step leads down from there.
//! The chapters of [`manual`] say how the parts fit together ([`manual::architecture`]), how a change
//! is made ([`manual::contributing`]), and what is promised against an attacker
//! ([`manual::security`]).
//!
//! What does no I/O – packets, protocol machines, formats, boot plans – is the crate
//! [`wireboot_proto`]. The layers of this one, from the top; each uses only those below it:
//!
//! | layer | modules | does |
//! | --- | --- | --- |
//! | commands | [`cli`] | what a person starts |
//! | first process | `init` | what the kernel starts |
//! | the path | `agent` | the whole boot, step by step |
//! | plan | `planning`, `root` | follows the boot file to a plan, and the plan to an image; mounts one as the root |
//! | drivers | `acquire`, `arping`, `capture`, `fetch`, [`image`] | drive the machines of the pure crate |
//! | reports | `notify` | tell others of a change of the lease |
//! | devices | [`link`], `console`, `handover`, `script`, `measure`, `trust`, `unpack`, `worker` | what the drivers read from and write to |
//! | gate | `gate` | what a boot carries from step to step |
//! | records | `timeline`, [`recorder`], `reports` | what a run leaves behind for people |
//! | values | [`error`], [`settings`], [`config`] | settings and errors |
//! | kernel | [`sys`] | system calls, with the only unsafe code |
//!
//! Public is what the program, a test, a benchmark or a fuzz target uses; the compiler finds dead code
//! in all other modules.

#![allow(
    unreachable_pub,
    reason = "in a private module `pub` means: for the rest of this crate"
)]

mod acquire;
mod agent;
#[cfg(feature = "arping")]
mod arping;
#[cfg(feature = "capture")]
pub mod capture {
    //! Frames from the ring to the eye or to a file.

    #![forbid(unsafe_code)]

    pub mod compile;
    pub mod file;
    pub mod language;
    pub mod line;
    mod line6;
    pub mod live;
    mod names;
    pub mod output;
    mod protocols;
    pub mod relation;
    pub mod rotation;
}
pub mod cli;
mod console;
pub mod error;
mod fetch;
#[cfg(fuzzing)]
pub mod fuzzing {
    //! What fuzz targets call of modules that are private otherwise.

    pub use crate::acquire::fuzz_lease_file as lease_file;
    pub use crate::fetch::{fuzz_rotation as rotation, fuzz_spans as spans};
    pub use crate::handover::fuzz as hand_over;
    pub use crate::image::fuzz as image;
    pub use crate::image::placement::fuzz as placement;
    pub use crate::init::fuzz_modules as modules;
    pub use crate::script::fuzz as script_value;
    pub use crate::unpack::{Packing, unpack};
}
mod gate;
mod handover;
pub mod image;
mod init;
pub mod link;
pub mod manual {
    //! The chapters: for those who use wireboot, and for those who change, judge or audit it.

    #[doc = include_str!("manual/architecture.md")]
    pub mod architecture {}

    #[doc = include_str!("manual/boot-files.md")]
    pub mod boot_files {}

    #[doc = include_str!("manual/changelog.md")]
    pub mod changelog {}

    #[doc = include_str!("manual/contributing.md")]
    pub mod contributing {}

    #[doc = include_str!("manual/features.md")]
    pub mod features {}

    #[doc = include_str!("manual/measurements.md")]
    pub mod measurements {}

    #[doc = include_str!("manual/recipes.md")]
    pub mod recipes {}

    #[doc = include_str!("manual/reference.md")]
    pub mod reference {}

    #[doc = include_str!("manual/root.md")]
    pub mod root {}

    #[doc = include_str!("manual/security.md")]
    pub mod security {}

    #[doc = include_str!("manual/troubleshooting.md")]
    pub mod troubleshooting {}

    #[doc = include_str!("manual/usage.md")]
    pub mod usage {}
}
mod measure;
mod notify;
mod planning;
pub mod recorder;
#[cfg(feature = "report")]
mod reports;
#[cfg(feature = "root")]
mod root;
mod script;
pub mod settings {
    //! The settings: each is one row of [`defs::SETTINGS`], and its flag, its word on the
    //! kernel's command line, its help, its line in the manual and its completion come from that row.
    //!
    //! The later in this list wins: defaults, the words of the files of `--kernel-command-line` in their
    //! order, flags. Keys and the demand for signatures are only ever added to.

    #![forbid(unsafe_code)]

    pub mod cmdline;
    pub mod commands;
    pub mod config;
    pub mod defs;
    pub mod help;
    pub mod input;
    pub mod interfaces;
    #[cfg(feature = "manual")]
    pub mod manual;
    pub mod options;
    pub mod parse;
    #[cfg(feature = "root")]
    pub mod root;
    #[cfg(feature = "capture")]
    mod tcpdump;
}
pub mod sys;
mod timeline;
mod trust;
mod unpack;
mod worker;

pub use settings::config;
