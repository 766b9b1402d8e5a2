//! iPXE scripts, run line by line as iPXE 1.21 does.
//!
//! A line is split at white space, and nothing quotes; `&&`, `||`, `;` and `#` count where they
//! stand alone; settings are expanded word by word just before their command runs. A command that
//! fails ends its script unless `||` or `;` follows. Left out, and refused at their line: disks
//! (`sanboot` and its family), the shell, and whatever else needs iPXE's own drivers. Interface
//! commands succeed for the interface that holds the lease: it is up already.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod format;
mod image_commands;
mod images;
mod machine;
mod menus;
mod script;
mod setting_commands;
mod settings;
mod state;

use crate::prelude::*;
pub(super) use machine::IpxeMachine;

use super::context::Budget;
use super::error::Place;
use super::facts::Facts;

/// Replaces the settings of iPXE in `text`, `${net0/mac:hexhyp}` and the like, by what the lease and
/// the machine say; one that is not set is empty.
///
/// # Errors
/// Settings that lead back to themselves.
pub fn expand_settings(text: &str, facts: &Facts) -> Result<String, &'static str> {
    let mut budget = Budget::new(Place::whole(&facts.boot_file));
    settings::ScriptSettings::default().expand(text, facts, &mut budget)
}
