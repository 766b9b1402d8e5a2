//! A boot plan: the files to load, the command line, and what each file is fetched for.

use core::fmt;

use crate::format::fdt;
use crate::prelude::*;
use crate::text::url::Url;

/// Action that a configuration names in place of starting a kernel; no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Boot from the next device, such as the disk.
    LocalBoot,
    /// Restart the machine.
    Reboot,
    /// Switch the machine off.
    PowerOff,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LocalBoot => "the local disk is to be booted",
            Self::Reboot => "the machine is to restart",
            Self::PowerOff => "the machine is to be switched off",
        })
    }
}

/// A kernel to start, with its initrds and command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// The kernel: an image the kernel starts itself, or one that holds it, as
    /// [`crate::format::kernel_image::classify`] says.
    pub kernel: PlanPart,
    /// The initrds, in the order in which they are concatenated.
    pub initrds: Vec<PlanPart>,
    /// Command line for the kernel; an empty one means the one in the kernel file (UKI).
    pub command_line: String,
    /// What the user appends to either.
    pub append: Option<String>,
    /// The device tree that the configuration names.
    pub device_tree: Option<PlanPart>,
    /// Whether it replaces the one of the running system.
    pub loads_device_tree: bool,
}

impl BootPlan {
    /// Returns all files that it loads, with their purposes.
    pub fn parts(&self) -> impl Iterator<Item = (&PlanPart, Purpose)> {
        let initrds = self.initrds.iter().map(|part| (part, Purpose::Initrd));
        let device_tree = self.loaded_device_tree().into_iter();
        core::iter::once((&self.kernel, Purpose::Kernel))
            .chain(initrds)
            .chain(device_tree.map(|part| (part, Purpose::DeviceTree)))
    }

    /// Returns the device tree, if it is loaded.
    pub fn loaded_device_tree(&self) -> Option<&PlanPart> {
        let device_tree = self.device_tree.as_ref();
        device_tree.filter(|_| self.loads_device_tree)
    }

    /// Returns the plan that starts a kernel alone.
    pub(crate) fn of_kernel(kernel: PlanPart, command_line: String) -> Self {
        Self {
            kernel,
            initrds: Vec::new(),
            command_line,
            append: None,
            device_tree: None,
            loads_device_tree: false,
        }
    }

    /// Returns a command line with what the user appends.
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
pub struct PlanPart {
    /// Where it is, with the hash it must have, if that is known.
    pub url: Url,
    /// The signature by which the file has been verified.
    pub signature: Option<Url>,
    /// Set for an initrd that is a plain file, to be put into a cpio archive.
    pub placement: Option<Placement>,
}

/// The place of a plain file in the initial file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The path, without its first `/`.
    pub path: String,
    /// Permission bits, 0 to 0o7777.
    pub mode: u16,
    /// How many of the directories above the file are put into the archive too; all when none.
    pub make_directories: Option<usize>,
}

impl From<Url> for PlanPart {
    fn from(url: Url) -> Self {
        Self {
            url,
            signature: None,
            placement: None,
        }
    }
}

/// Purpose of a file that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To recognize it: a kernel or a text.
    BootFile,
    /// To be read as text.
    Configuration,
    /// To be started.
    Kernel,
    /// To be an initrd.
    Initrd,
    /// To describe the hardware to the kernel.
    DeviceTree,
}

/// How many bytes of a fetched file the planner needs, and the longest text that it reads.
pub const HEAD_LEN: usize = 1 << 20;

impl Purpose {
    /// Returns the largest size that is accepted, in bytes.
    pub const fn max_len(self) -> u64 {
        match self {
            Self::Configuration => HEAD_LEN as u64,
            Self::BootFile | Self::Kernel => 1 << 30,
            Self::Initrd => 8 << 30,
            Self::DeviceTree => fdt::MAX_LEN as u64,
        }
    }
}
