//! What to boot: texts from the network → [`BootPlan`]; pure.
//!
//! [`Planner`] is a machine without sockets: its driver calls [`Planner::next`] with the
//! [`Answer`] to the [`Step`] before, beginning with [`Answer::Begin`], until the step is
//! [`Step::Done`] or [`Step::Failed`].
//!
//! What a file is, its first octets say and not its name. A boot file may therefore turn out to
//! be a kernel of many megabytes after it has been fetched: the driver keeps every file it
//! fetched for the planner, and loads a part of the plan from there when their URLs are equal.

#![forbid(unsafe_code)]

mod bls;
mod context;
mod error;
mod facts;
mod grub;
mod ipxe;
mod loaders;
pub mod menu;
mod plan;
mod planner;
mod pxelinux;
pub mod report;
mod step;

pub use context::Note;
pub use error::{Place, PlanError};
pub use facts::{Architecture, Facts};
pub use ipxe::expand_settings;
pub use plan::{BootPlan, HEAD_LEN, Placement, PlanPart, Purpose};
pub use planner::Planner;
pub use step::{Answer, Step};
