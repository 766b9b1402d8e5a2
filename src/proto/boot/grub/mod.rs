//! Configurations of GRUB, as far as they load a kernel over the network.
//!
//! The language is that of GRUB 2.12 (`docs/grub.texi`, "Shell-like scripting"): words, quotes,
//! variables, `if`, `function`, `menuentry`, `submenu`, `source` and the commands around `linux`.
//! Those about modules and terminals do nothing. A command that cannot do its work here fails, so
//! that no condition relies on it. Not supported, and refused at their line: loops, wildcards, disks,
//! `chainloader`, `blscfg` (it needs a directory to list), and entries that need a password in GRUB.

#![forbid(unsafe_code)]

mod commands;
mod conditions;
mod machine;
mod parse;
mod regexp;
mod shell;
mod test;

pub(super) use machine::GrubMachine;
