//! What people can set: each setting is one row of [`defs::SETTINGS`], and its flag, its word on the
//! kernel's command line, its help, its line in the manual and its completion come from that row.
//!
//! What is said later in this list wins: defaults, the words of the files of
//! `--kernel-command-line` in their order, flags. Settings that can only add to what is demanded of
//! files (keys, signatures) never take anything from each other.

#![forbid(unsafe_code)]

pub mod cmdline;
pub mod config;
pub mod defs;
pub mod help;
#[cfg(feature = "manual")]
pub mod manual;
pub mod parse;
