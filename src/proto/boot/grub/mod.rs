//! GRUB's network configuration, as far as it leads to a kernel.
//!
//! The language is that of GRUB 2.12 (`docs/grub.texi`, "Shell-like scripting"): words, quotes,
//! variables, `if`, `function`, `menuentry`, `submenu`, `source` and the commands around `linux`.
//! Those about modules and terminals are known and do nothing. A command that cannot do here what
//! it is for fails, so that no condition holds by it. Left out, and refused at their line: loops,
//! wildcards, disks, `chainloader`, `blscfg`, which needs a directory to list, and entries for which
//! GRUB would ask a password.

#![forbid(unsafe_code)]

mod commands;
mod conditions;
mod machine;
mod parse;
mod regexp;
mod shell;
mod test;

pub(super) use machine::GrubMachine;
