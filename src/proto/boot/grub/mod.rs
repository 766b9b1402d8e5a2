//! Configurations of GRUB, as far as they load a kernel over the network.
//!
//! The language is that of GRUB 2.12 (`docs/grub.texi`, "Shell-like scripting"): words, quotes,
//! variables, arguments, `if`, `for`, `while`, `until`, `function`, `menuentry`, `submenu`, `source`,
//! `configfile` and the commands around `linux`. Commands about modules and terminals do nothing, and
//! decide no condition; a command that cannot do its work here fails, so that no condition relies on
//! it. Of a command that is not known, GRUB says that it succeeded; here it fails as a condition, and
//! the opposite of it ends the plan. Not supported, and refused at their line: disks, `loopback`,
//! `chainloader`, kernels for multiboot (Xen), and entries that need a password in GRUB. A wildcard
//! finds nothing, as over the network of GRUB.

#![forbid(unsafe_code)]

mod blscfg;
mod commands;
mod conditions;
mod entries;
mod facts;
mod fallback;
mod lists;
mod loads;
mod machine;
mod parse;
mod regexp;
mod shell;
mod stack;
mod test;
mod variables;

pub(super) use machine::GrubMachine;
