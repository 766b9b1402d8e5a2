//! The error that ends a command: one reason per step, each with its exit code.
//!
//! A variant's text says what, where and what to try; its cause is the `source`.

#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use log::Level;

use crate::sys::signal::Signal;
use crate::sys::{SyscallError, messages};
use wireboot_proto::boot::Outcome;
use wireboot_proto::text::safe::Safe;
use wireboot_proto::time::Seconds;

/// A cause of any type, which is printed after the text of the variant.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Exit codes of a boot whose boot file says to boot from a local disk, to restart the machine or to
/// switch it off.
pub const LOCAL_BOOT: u8 = 10;
/// See [`LOCAL_BOOT`].
pub const REBOOT: u8 = 11;
/// See [`LOCAL_BOOT`].
pub const POWER_OFF: u8 = 12;
/// Exit code of a boot that has mounted a root, to which process 1 switches.
#[cfg(feature = "root")]
pub const SWITCH_ROOT: u8 = 14;
/// Exit code of a fetch whose output cannot be written, as 23 of curl.
const NOT_WRITTEN: u8 = 13;

/// The error that ended a command.
// In a box, since most calls return none, and each of them would have room for the largest: 36 KiB.
pub type Error = Box<Reason>;

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Invalid arguments or configuration.
    #[error("{0}")]
    Usage(String),
    /// No interface to boot from.
    #[error("no usable network interface: {0}")]
    NoInterface(String),
    /// The interface exists, but has no link partner.
    #[error(
        "{interface}: no carrier after {:.1} s; is the cable in and the switch port enabled?",
        Seconds(*waited)
    )]
    NoCarrier {
        /// The interfaces waited for, separated by spaces.
        interface: String,
        /// The time waited.
        waited: Duration,
    },
    /// No usable offer in time.
    #[error("{0}")]
    NoOffer(String),
    /// A signal ended the command, such as that of Ctrl-C; what it had set is as before.
    #[error("interrupted")]
    Interrupted(Signal),
    /// A server refused, or the address is in use.
    #[error("{0}")]
    Refused(String),
    /// The kernel rejected a part of the configuration.
    #[error("{interface}: cannot set {what}")]
    Configure {
        /// The interface.
        interface: String,
        /// The setting, with its value.
        what: String,
        /// The call that failed.
        source: SyscallError,
    },
    /// The lease or its boot file leads to no kernel.
    #[error("nothing to boot: {what}")]
    NothingBootable {
        /// The boot file or what is missing.
        what: String,
        /// The parse error, when there is one.
        source: Option<Cause>,
    },
    /// The boot file says to do something else than to boot from the network.
    #[error("nothing to boot from the network, {outcome}")]
    Instead {
        /// What is to be done.
        outcome: Outcome,
        /// Which line or entry says so.
        source: Cause,
    },
    /// A file could not be fetched.
    #[error("cannot fetch {}", Safe::name(url))]
    Fetch {
        /// The address, without credentials.
        url: String,
        /// Why.
        source: Cause,
    },
    /// What goes to standard output, a pipe, a device or the file of a capture cannot be written.
    #[error("cannot write {target}")]
    Output {
        /// The path, or what else it is called.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// A file was received completely and does not match its hash or signature.
    #[error("{what} failed verification: {why}")]
    Verification {
        /// The file.
        what: String,
        /// The mismatch.
        why: String,
    },
    /// The image cannot be started on this machine.
    #[error("cannot start the fetched kernel: {advice}")]
    Kexec {
        /// What the kernel's error means and what to try.
        advice: String,
        /// The call that failed, or the unreadable file.
        source: Option<Cause>,
    },
    /// The kernel does not mount the fetched root, or what it needs.
    #[cfg(feature = "root")]
    #[error(
        "cannot mount {what}; does this kernel have what that takes (initramfs/build --root packs \
             its modules)?"
    )]
    Root {
        /// What was to be mounted.
        what: String,
        /// The call that failed.
        source: SyscallError,
    },
    /// The result of a command, which has said it already.
    #[error("exit code {0}")]
    Said(u8),
    /// A system call failed that every machine should allow.
    #[error("{doing}")]
    System {
        /// The action, as "cannot …".
        doing: String,
        /// The call.
        source: SyscallError,
    },
}

impl Reason {
    /// Names the failure to receive signals, without which nothing is begun that they must undo.
    pub fn no_signals(source: SyscallError) -> Error {
        Box::new(Self::System {
            doing: "cannot receive signals".to_owned(),
            source,
        })
    }

    /// Returns the exit code of the process: 1 to 9, by step, from 10 to 12 what is to be done
    /// instead of a boot from the network, 13 for an output that cannot be written, and what a shell
    /// says of a process that a signal has ended.
    pub const fn exit_code(&self) -> u8 {
        self.class().0
    }

    /// Returns the section of [`crate::manual::troubleshooting`] about this error, which is an anchor in
    /// all forms of that chapter.
    pub const fn topic(&self) -> &'static str {
        self.class().1
    }

    const fn class(&self) -> (u8, &'static str) {
        match self {
            Self::Usage(_) => (1, "usage"),
            Self::NoInterface(_) => (2, "no-interface"),
            Self::NoCarrier { .. } => (2, "no-carrier"),
            Self::NoOffer(_) => (3, "no-offer"),
            Self::Interrupted(signal) => (signal.exit_code(), "interrupted"),
            Self::Refused(_) => (4, "refused"),
            Self::Configure { .. } | Self::System { .. } => (5, "kernel"),
            Self::NothingBootable { .. } => (6, "nothing-to-boot"),
            Self::Fetch { .. } => (7, "fetch"),
            Self::Verification { .. } => (8, "verification"),
            Self::Kexec { .. } => (9, "kexec"),
            #[cfg(feature = "root")]
            Self::Root { .. } => (9, "root"),
            Self::Output { .. } => (NOT_WRITTEN, "output"),
            Self::Said(code) => (*code, "usage"),
            Self::Instead { outcome, .. } => match outcome {
                Outcome::LocalBoot => (LOCAL_BOOT, "elsewhere"),
                Outcome::Reboot => (REBOOT, "elsewhere"),
                Outcome::PowerOff => (POWER_OFF, "elsewhere"),
            },
        }
    }

    /// Prints why the process ends, as the last line on standard error; returns its exit code.
    pub fn print(&self) -> u8 {
        if let Self::Said(code) = self {
            return *code;
        }
        // Whoever closed the pipe, such as `head`, knows that it wanted no more.
        if let Self::Output { source, .. } = self
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            return self.exit_code();
        }
        // Neither is a failure.
        let is_wanted = matches!(self, Self::Interrupted(_) | Self::Instead { .. });
        let level = if is_wanted { Level::Info } else { Level::Error };
        let mut text = Safe::line(self.chain()).to_string();
        if !matches!(self, Self::Interrupted(_)) {
            for part in [" (wireboot-troubleshooting(7): ", self.topic(), ")"] {
                text.push_str(part);
            }
        }
        messages::write(level, &text);
        self.exit_code()
    }

    /// Returns the text with all its causes, in one line.
    pub fn chain(&self) -> String {
        chain_of(self)
    }
}

/// Returns the text of any error with all its causes, in one line.
pub fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
