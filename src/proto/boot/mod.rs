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

use crate::prelude::*;
use core::time::Duration;

mod bls;
mod budget;
mod error;
mod facts;
mod firmware;
mod grub;
mod ipxe;
pub mod menu;
mod planner;
mod pxelinux;
pub mod report;
mod search;

pub use error::{Error, Place};
pub use facts::{Architecture, Facts};
pub use planner::{Note, Planner};

use crate::text::url::Url;
use menu::{Entry, Menu};

use crate::format::fdt;

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// The kernel: an image the kernel starts itself, or one that holds it, as
    /// [`crate::format::kernel_image::classify`] says.
    pub kernel: Part,
    /// The initrds, in the order in which they are laid one behind the other.
    pub initrds: Vec<Part>,
    /// Command line for the kernel; when it is empty, the one built into the kernel file counts.
    pub command_line: String,
    /// What the user puts behind either.
    pub append: Option<String>,
    /// The device tree that the configuration names.
    pub device_tree: Option<Part>,
    /// Whether that goes in the place of the one that the machine runs with.
    pub loads_device_tree: bool,
}

impl BootPlan {
    /// Returns all files that it loads, and what each is for.
    pub fn parts(&self) -> impl Iterator<Item = (&Part, Purpose)> {
        let initrds = self.initrds.iter().map(|part| (part, Purpose::Initrd));
        let device_tree = self.loaded_device_tree().into_iter();
        core::iter::once((&self.kernel, Purpose::Kernel))
            .chain(initrds)
            .chain(device_tree.map(|part| (part, Purpose::DeviceTree)))
    }

    /// Returns the device tree, if it is loaded.
    pub fn loaded_device_tree(&self) -> Option<&Part> {
        let device_tree = self.device_tree.as_ref();
        device_tree.filter(|_| self.loads_device_tree)
    }

    /// Returns the plan that starts a kernel alone.
    pub(crate) fn of_kernel(kernel: Part, command_line: String) -> Self {
        Self {
            kernel,
            initrds: Vec::new(),
            command_line,
            append: None,
            device_tree: None,
            loads_device_tree: false,
        }
    }

    /// Returns a command line with what the user puts behind it.
    pub fn with_append(&self, command_line: &str) -> String {
        match &self.append {
            Some(append) if command_line.is_empty() => append.clone(),
            Some(append) => format!("{command_line} {append}"),
            None => command_line.to_owned(),
        }
    }
}

/// A file that the plan loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it is, with the hash it must have, if that is known.
    pub url: Url,
    /// The signature by which the file has been verified.
    pub signature: Option<Url>,
    /// Set for an initrd that is a plain file, to be put into a cpio archive.
    pub placement: Option<Placement>,
}

/// Where in the initial file system a plain file is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The path, without its first `/`.
    pub path: String,
    /// Permission bits, 0 to 0o7777.
    pub mode: u16,
    /// How many of the directories above the file are put into the archive too; all when none.
    pub make_directories: Option<usize>,
}

impl From<Url> for Part {
    fn from(url: Url) -> Self {
        Self {
            url,
            signature: None,
            placement: None,
        }
    }
}

/// What a file is fetched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To see what it is: a kernel or a text.
    BootFile,
    /// To be read as text.
    Configuration,
    /// To be started.
    Kernel,
    /// To be an initrd.
    Initrd,
    /// To tell the kernel what the machine is made of.
    DeviceTree,
}

/// How many octets of a fetched file the planner wants to see, which is also the longest text
/// that it reads.
pub const HEAD_LEN: usize = 1 << 20;

impl Purpose {
    /// Returns the largest file that makes sense, in octets.
    pub const fn max_len(self) -> u64 {
        match self {
            Self::Configuration => HEAD_LEN as u64,
            Self::BootFile | Self::Kernel => 1 << 30,
            Self::Initrd => 8 << 30,
            Self::DeviceTree => fdt::MAX_LEN as u64,
        }
    }
}

/// What the planner wants next.
#[derive(Debug)]
pub enum Step {
    /// The file, fetched and kept. Answered by `File`, `Missing` or `Failed`.
    Fetch {
        /// The file.
        url: Url,
        /// Why.
        purpose: Purpose,
    },
    /// A file's signature, checked before anything of the file is used. Answered by `Done` or
    /// `Failed`.
    Verify {
        /// The file, which has been fetched unless its server failed.
        url: Url,
        /// The signature.
        signature: Box<Url>,
    },
    /// A choice. Answered by `Chosen`, `Cancelled` or `TimedOut`; with nobody to ask, by
    /// [`Menu::unattended`].
    Menu(Menu),
    /// A key press. Answered by `Pressed`, `Cancelled` or `TimedOut`; with nobody to ask, by
    /// `TimedOut`.
    Prompt {
        /// What to show.
        text: String,
        /// The key that counts; any when none.
        key: Option<char>,
        /// How long to wait; for ever when none.
        timeout: Option<Duration>,
    },
    /// A line of text. Answered by `Text`, `Cancelled` or `TimedOut`.
    Input {
        /// What to show.
        text: String,
        /// What stands there at first.
        default: String,
        /// Whether the text is shown while it is typed.
        is_secret: bool,
        /// How long to wait for the first key; for ever when none.
        timeout: Option<Duration>,
    },
    /// What to boot, typed at a `boot:` prompt. Answered by `Text`, `Cancelled` or `TimedOut`;
    /// with nobody to ask, by `TimedOut`.
    CommandLine {
        /// What may be typed, with spaces between, for those who ask.
        labels: String,
        /// How long to wait for the first key; for ever when none.
        timeout: Option<Duration>,
        /// How long to wait for the line, whatever keys are pressed.
        total_timeout: Option<Duration>,
    },
    /// A line to show. Answered by `Done`.
    Say(String),
    /// A pause. Answered by `Done`.
    Sleep(Duration),
    /// The plan; the end.
    Done(Box<BootPlan>),
    /// Why there is none; the end.
    Failed(Error),
}

impl Step {
    /// Returns how much text it shows or asks for, in bytes.
    fn text_len(&self) -> usize {
        match self {
            Self::Say(text) | Self::Prompt { text, .. } => text.len(),
            Self::Input { text, default, .. } => text.len() + default.len(),
            Self::Menu(menu) => menu.entries.iter().map(Entry::text_len).sum(),
            Self::Fetch { url, .. } | Self::Verify { url, .. } => {
                url.path().len() + url.query().map_or(0, str::len)
            }
            Self::CommandLine { labels, .. } => labels.len(),
            Self::Sleep(_) | Self::Done(_) | Self::Failed(_) => 0,
        }
    }
}

/// What became of a [`Step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No step has been taken yet.
    Begin,
    /// The file has been fetched.
    File {
        /// Its first [`HEAD_LEN`] octets, or all.
        head: Vec<u8>,
        /// Its length in octets.
        len: u64,
    },
    /// The server has no such file.
    Missing,
    /// The file could not be fetched or verified, for this reason.
    Failed(String),
    /// An entry was chosen.
    Chosen {
        /// Its number in [`Menu::entries`].
        entry: usize,
        /// The command line, when it was edited.
        command_line: Option<String>,
    },
    /// The key was pressed.
    Pressed,
    /// The line was entered.
    Text(String),
    /// The user does not want to answer.
    Cancelled,
    /// Nobody answered.
    TimedOut,
    /// It is done.
    Done,
}

/// What came of a fetch.
enum Fetched {
    File(Vec<u8>),
    Missing,
    Failed(String),
}

impl Answer {
    /// Returns what the answer to [`Step::Fetch`] says; another answer is a failure too.
    fn into_fetched(self) -> Fetched {
        match self {
            Self::File { head, .. } => Fetched::File(head),
            Self::Missing => Fetched::Missing,
            Self::Failed(why) => Fetched::Failed(why),
            Self::Begin
            | Self::Chosen { .. }
            | Self::Pressed
            | Self::Text(_)
            | Self::Cancelled
            | Self::TimedOut
            | Self::Done => Fetched::Failed("the file was not fetched".to_owned()),
        }
    }
}
