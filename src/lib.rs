//! wireboot boots a machine from the network.
//!
//! What does no I/O – packets, protocol machines, formats, boot plans – is the crate
//! [`wireboot_proto`]. The layers of this one, from the top; each uses only those below it:
//!
//! | layer | modules | does |
//! | --- | --- | --- |
//! | commands | [`cli`] | what a person starts |
//! | first process | [`init`] | what the kernel starts |
//! | the path | [`agent`] | the whole boot, step by step |
//! | drivers | [`acquire`], `capture`, [`fetch`], [`image`], [`planning`] | drive the machines of the pure crate |
//! | devices | [`link`], [`console`], [`handover`], [`script`], [`measure`], [`trust`], [`unpack`] | what the drivers read from and write to |
//! | gate | [`gate`] | what a boot carries from step to step |
//! | records | [`timeline`], [`recorder`] | what a run leaves behind for people |
//! | values | [`error`], [`settings`], [`config`] | settings and errors |
//! | kernel | [`sys`] | system calls, with the only unsafe code |

pub mod acquire;
pub mod agent;
#[cfg(feature = "capture")]
pub mod capture;
pub mod cli;
pub mod console;
pub mod error;
pub mod fetch;
pub mod gate;
pub mod handover;
pub mod image;
pub mod init;
pub mod link;
pub mod measure;
pub mod planning;
pub mod recorder;
pub mod script;
pub mod settings;
pub mod sys;
pub mod timeline;
pub mod trust;
pub mod unpack;

pub use settings::config;
