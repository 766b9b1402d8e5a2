//! Configurations of pxelinux and other SYSLINUX loaders: from the search to a kernel.
//!
//! The language is that of SYSLINUX 6.04, `doc/syslinux.txt` and `doc/menu.txt`. A directive that
//! is neither supported nor known to be cosmetic is reported, and ends the plan when its label is to
//! be booted. Not supported: programs (COM32 modules) other than the menus and those that only refer
//! to another file.

#![forbid(unsafe_code)]

mod boot;
mod config;
mod machine;
mod menus;
mod paths;

pub(super) use machine::PxelinuxMachine;
