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
//! | drivers | `acquire`, `capture`, `fetch`, [`image`], `planning` | drive the machines of the pure crate |
//! | devices | [`link`], `console`, `handover`, `script`, `measure`, `trust`, `unpack` | what the drivers read from and write to |
//! | gate | `gate` | what a boot carries from step to step |
//! | records | `timeline`, [`recorder`] | what a run leaves behind for people |
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
#[cfg(feature = "capture")]
pub mod capture;
pub mod cli;
mod console;
pub mod error;
mod fetch;
mod gate;
mod handover;
pub mod image;
mod init;
pub mod link;
pub mod manual;
mod measure;
mod planning;
pub mod recorder;
mod script;
pub mod settings;
pub mod sys;
mod timeline;
mod trust;
mod unpack;

pub use settings::config;
