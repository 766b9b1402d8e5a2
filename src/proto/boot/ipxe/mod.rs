//! iPXE scripts, run line by line as iPXE 1.21 does.
//!
//! A line is split at white space, without quotes; `&&`, `||`, `;` and `#` are operators as words of
//! their own; settings are expanded word by word just before their command runs. A command that
//! fails ends its script unless `||` or `;` follows. Not supported, and refused at their line: disks
//! (`sanboot` and its family), the shell, and whatever else needs iPXE's own drivers. Interface
//! commands succeed for the interface with the lease, which is up already.
//!
//! A line goes through `machine` (control flow), `script` (words and settings), the row of its command
//! in `commands`, and the row's function, which changes the `state`.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod format;
mod image_commands;
mod images;
mod machine;
mod network_commands;
mod script;
mod setting_commands;
mod settings;
mod state;

use crate::prelude::*;
pub(super) use machine::IpxeMachine;

use super::context::Budget;
use super::facts::Facts;
use super::plan::Place;

/// Replaces the settings of iPXE in `text`, `${net0/mac:hexhyp}` and the like, by what the lease and
/// the machine say; one that is not set is empty.
///
/// # Errors
/// Settings that refer to themselves.
pub fn expand_settings(text: &str, facts: &Facts) -> Result<String, &'static str> {
    let mut budget = Budget::new(Place::whole(&facts.boot_file));
    settings::ScriptSettings::default().expand(text, facts, &mut budget)
}
