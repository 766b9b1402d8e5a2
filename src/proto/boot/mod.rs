//! What to boot: from a boot file and the files it names to a [`BootPlan`]; without I/O.
//!
//! [`Planner`] is a machine without sockets: its driver calls [`Planner::next`] with the
//! [`Answer`] to the last [`Step`], beginning with [`Answer::Begin`], until the step is
//! [`Step::Done`] or [`Step::Failed`].
//!
//! An ISO image is a boot file too: its configuration, kernel and initrds are files of the image,
//! with URLs such as `http://h/x.iso#/casper/vmlinuz`. The driver answers a fetch of one with the file
//! in the image, and one of `http://h/x.iso#/casper/` with the names in that directory, a line each.
//!
//! A file is recognized by its first bytes, not by its name. A boot file may therefore turn out to
//! be a kernel of many megabytes after it has been fetched: the driver stores every file it
//! fetched for the planner, and uses the stored one for each part of the plan with the same URL.
//!
//! The languages (`pxelinux`, `ipxe`, `grub`, `bls`) do not know each other. Each returns a
//! turn to the planner: a step for the driver, another boot file, or the plan.
//!
//! # Example
//!
//! Nobody sits at the console here, and the server is a map of files:
//!
//! ```
//! use std::collections::HashMap;
//! use wireboot_proto::boot::{Answer, Facts, Planner, Step};
//!
//! let script = "#!ipxe\nkernel vmlinuz ip=${ip} quiet\ninitrd initrd.img\nboot\n";
//! let mut kernel = vec![0; 0x300];
//! kernel[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02"); // An x86 kernel of boot protocol 2.15
//! kernel[0x236] = 1; // with a 64-bit entry.
//! let files = HashMap::from([
//!     ("http://192.0.2.1/boot.ipxe", script.into()),
//!     ("http://192.0.2.1/vmlinuz", kernel),
//!     ("http://192.0.2.1/initrd.img", Vec::new()),
//! ]);
//!
//! let boot_file = "http://192.0.2.1/boot.ipxe".parse()?;
//! let mac = "52:54:00:12:34:56".parse()?;
//! let facts = Facts::new(boot_file, mac, [192, 0, 2, 21].into(), [192, 0, 2, 1].into());
//! let mut planner = Planner::new(facts);
//! let mut answer = Answer::Begin;
//! let plan = loop {
//!     answer = match planner.next(answer) {
//!         Step::Fetch { url, .. } => match files.get(url.to_string().as_str()) {
//!             Some(file) => Answer::File { head: file.clone(), len: file.len() as u64 },
//!             None => Answer::Missing,
//!         },
//!         Step::Menu(menu) => menu.unattended(),
//!         Step::Prompt { .. } | Step::Input { .. } | Step::CommandLine { .. } => Answer::TimedOut,
//!         Step::Verify { .. } => Answer::Failed("there are no keys".into()),
//!         Step::Query(_) => Answer::Failed("there is no network".into()),
//!         Step::Say(_) | Step::Sleep(_) | Step::Limit(_) => Answer::Done,
//!         Step::Done(plan) => break plan,
//!         Step::Failed(error) => return Err(error.into()),
//!     };
//! };
//! assert_eq!(plan.kernel.url.to_string(), "http://192.0.2.1/vmlinuz");
//! assert_eq!(plan.initrds[0].url.path(), "/initrd.img");
//! assert_eq!(plan.command_line, "ip=192.0.2.21 quiet");
//! assert!(planner.notes().iter().any(|note| {
//!     note.to_string().starts_with("http://192.0.2.1/boot.ipxe:3: loads")
//! }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod bls;
mod context;
mod facts;
#[cfg(feature = "grub")]
mod grub;
mod ipxe;
#[cfg(feature = "iso")]
mod iso;
mod loaders;
pub mod menu;
mod plan;
mod planner;
mod pxelinux;
pub mod report;
mod step;

pub use context::Note;
pub use facts::{Architecture, Facts};
pub use ipxe::expand_settings;
pub use loaders::kernel_refusal;
pub use plan::{BootPlan, HEAD_LEN, Outcome, Place, Placement, PlanError, PlanPart, Purpose};
pub use planner::Planner;
pub use step::{Answer, Query, Step};
