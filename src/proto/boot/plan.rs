//! What planning leads to: a boot plan – the files to load, the command line, and what each file is fetched
//! for –, or an error of a configuration, with file and line.

use crate::prelude::*;
use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroUsize;
use core::ops::Deref;

use crate::format::fdt;
use crate::text::safe::{Quoted, Safe};
use crate::text::url::{Url, without_credentials};

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

/// The longest word that is shown, in characters; addresses are shorter.
const MAX_WORD_LEN: usize = 400;

/// A line of a file, or the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Url>,
    /// The line, counted from 1; none for the file as a whole.
    pub line: Option<NonZeroUsize>,
}

impl Place {
    /// Returns the place that is a file as a whole.
    pub fn whole(file: &Url) -> Self {
        Self {
            file: Arc::new(file.clone()),
            line: None,
        }
    }

    /// Returns a line of a file, counted from 1.
    pub(super) const fn of_line(file: Arc<Url>, line: usize) -> Self {
        let line = NonZeroUsize::new(line);
        Self { file, line }
    }

    /// Returns a line of the same file, counted from 1.
    pub(super) fn at(&self, line: usize) -> Self {
        Self::of_line(self.file.clone(), line)
    }

    /// Moves to the next line, from the whole file to the first.
    pub(super) fn advance(&mut self) {
        let line = self.line.map_or(0, NonZeroUsize::get);
        self.line = NonZeroUsize::new(line.saturating_add(1));
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Safe::name(&self.file))?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// The reason for having no plan. In a box, since most of what an interpreter does may return it, and a
/// value of eleven words would be copied at each step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.place, self.without_place())]
pub struct PlanError(Box<PlanFault>);

/// The place, the word at fault, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFault {
    /// The file and line.
    pub place: Place,
    /// The word at fault, without credentials; none when it is no single word.
    pub word: Option<String>,
    /// What is wrong, and what to try.
    pub what: String,
    /// What the configuration says to do instead, if nothing is wrong at all.
    pub outcome: Option<Outcome>,
}

impl PlanError {
    /// Returns the error for `word` at `place`; an empty word is not shown.
    pub fn new(place: &Place, word: &str, what: impl Into<String>) -> Self {
        let word = Some(word).filter(|word| !word.is_empty());
        let mut error = Self::at(place, what);
        error.0.word = word.map(|word| without_credentials(shortened(word)));
        error
    }

    /// Returns the error at `place` for which no single word is at fault.
    pub fn at(place: &Place, what: impl Into<String>) -> Self {
        Self(Box::new(PlanFault {
            place: place.clone(),
            word: None,
            what: what.into(),
            outcome: None,
        }))
    }

    /// Returns the error with another text of what is wrong.
    #[cfg(feature = "grub")]
    pub(super) fn with_what(mut self, what: String) -> Self {
        self.0.what = what;
        self
    }

    /// Returns the error, marked as what the configuration says to do.
    pub(super) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }

    /// Returns the error, marked as the wish to boot from a local disk.
    pub(super) fn local_boot(self) -> Self {
        self.with_outcome(Outcome::LocalBoot)
    }

    /// Returns the text without the place.
    pub(super) fn without_place(&self) -> String {
        match &self.word {
            Some(word) => format!("{}: {}", Safe::name(Quoted(word)), self.what),
            None => self.what.clone(),
        }
    }
}

impl Deref for PlanError {
    type Target = PlanFault;

    fn deref(&self) -> &PlanFault {
        &self.0
    }
}

/// Returns a word as it is shown: its length depends on the server.
fn shortened(word: &str) -> &str {
    let end = word.char_indices().nth(MAX_WORD_LEN);
    end.and_then(|(end, _)| word.get(..end)).unwrap_or(word)
}
