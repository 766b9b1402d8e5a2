//! pxelinux and its relatives: finds the configuration, reads it and follows it to a kernel.
//!
//! The language is that of SYSLINUX 6.04, `doc/syslinux.txt` and `doc/menu.txt`. A directive that
//! is neither followed nor known to be cosmetic is reported, and ends the plan when the label it
//! stands in is to be booted. Left out: programs (COM32 modules) other than the menus and those
//! that only lead to another file.

#![forbid(unsafe_code)]

mod boot;
mod config;
mod machine;
mod menus;
mod paths;

pub(super) use machine::PxelinuxMachine;
