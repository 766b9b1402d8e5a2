//! Configurations of pxelinux and other SYSLINUX loaders: from the search to a kernel.
//!
//! The language is that of SYSLINUX 6.04, `doc/syslinux.txt` and `doc/menu.txt`, with the directives
//! of U-Boot (`boot/pxe_utils.c`). As there, a line that is not understood is ignored, and reported
//! here. Not supported: programs (COM32 modules) other than the menus and those that only lead on
//! to another file or label, and passwords.

#![forbid(unsafe_code)]

mod boot;
mod config;
mod machine;
mod menus;
mod modules;
mod prompt;
mod reader;
mod words;

pub(super) use machine::PxelinuxMachine;
