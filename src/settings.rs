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
#[cfg(feature = "manual")]
pub mod manual;
pub mod options;
pub mod parse;
