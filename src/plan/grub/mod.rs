//! GRUB's network configuration, as far as it leads to a kernel.
//!
//! The language is that of GRUB 2.12 (`docs/grub.texi`, "Shell-like scripting"): words, quotes,
//! variables, `if`, `function`, `menuentry`, `submenu`, `source` and the commands around `linux`.
//! Those about modules, fonts and terminals are known and do nothing. Left out, and refused at their
//! line: loops, wildcards, disks, `chainloader` and `blscfg`, which needs a directory to list.

#![forbid(unsafe_code)]

mod commands;
mod machine;
mod parse;

pub(super) use machine::Machine;
