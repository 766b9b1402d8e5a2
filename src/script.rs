//! Runs a script for each change of a lease, as busybox's udhcpc does: the event as its only
//! argument, everything else in the environment.
//!
//! The script is executed directly, not by a shell; its environment has only the variables and PATH.
//! Values that are not safe within quotes are left out with a warning, since scripts write them into
//! files that shells read. At a timeout the script is killed with all its children; its failure does
//! not affect the lease.

#![forbid(unsafe_code)]

mod runner;
mod variables;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Reason};
use runner::Run;
use variables::ScriptVariables;
#[cfg(feature = "hand")]
use variables::add_hooks;
#[cfg(fuzzing)]
pub use variables::fuzz;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::ipv6::{export::variables, identity::Identity, lease::Lease6};
use wireboot_proto::packet::option::known;
use wireboot_proto::text::names;

/// The connection to the process that runs the script, if there is one.
static RUNNER: Mutex<Option<UnixStream>> = Mutex::new(None);

/// Change of a lease, under udhcpc's names.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The interface has no address, or must not use it any longer; with dhcpcd's name of the reason.
    Deconfig(&'static str),
    /// A lease has been acquired.
    Bound(&'a Lease),
    /// The lease has been renewed; options may have changed.
    Renew(&'a Lease),
    /// A server refused, with its message.
    Nak(&'a str),
    /// No lease in time.
    LeaseFail,
}

impl<'a> Event<'a> {
    /// Returns the script's argument, and dhcpcd's name of the event.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Deconfig(reason) => ("deconfig", reason),
            Self::Bound(_) => ("bound", "BOUND"),
            Self::Renew(_) => ("renew", "RENEW"),
            Self::Nak(_) => ("nak", "NAK"),
            Self::LeaseFail => ("leasefail", "FAIL"),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.names().0
    }

    /// What the server said, if it refused.
    pub const fn message(self) -> Option<&'a str> {
        match self {
            Self::Nak(text) => Some(text),
            Self::Deconfig(_) | Self::Bound(_) | Self::Renew(_) | Self::LeaseFail => None,
        }
    }

    /// The lease, where there is one.
    pub const fn lease(self) -> Option<&'a Lease> {
        match self {
            Self::Bound(lease) | Self::Renew(lease) => Some(lease),
            Self::Deconfig(_) | Self::Nak(_) | Self::LeaseFail => None,
        }
    }
}

/// Starts the process that runs the script, if there is one. To be called before
/// this process gives up privileges, which a script may need, and before it has another thread.
///
/// # Errors
/// As [`check`], and [`Reason::System`] when there can be no further process.
pub fn begin(script: Option<&Path>) -> Result<(), Error> {
    let Some(path) = script else {
        return Ok(());
    };
    check(path)?;
    let started = runner::start(path.to_owned());
    let (fork, connection) = started.map_err(|source| {
        Box::new(Reason::System {
            doing: "cannot start the script's process".to_owned(),
            source,
        })
    })?;
    *RUNNER.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    // It ends when the connection does; this process may neither signal it nor wait for it once it has
    // given up its privileges.
    fork.release();
    Ok(())
}

/// Runs the script, if there is one, for a change of the lease on `interface`, and waits for its end.
/// Failures are logged.
pub fn run(interface: &str, event: Event<'_>) {
    request(&|| describe(interface, event));
}

/// As [`run`], for a lease of IPv6, which is new or has changed.
pub fn run6(interface: &str, is_new: bool, identity: Option<&Identity>, lease: &Lease6) {
    request(&|| describe6(interface, is_new, identity, lease));
}

fn request(describe: &dyn Fn() -> Run) {
    let connection = RUNNER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(connection) = connection.as_ref()
        && let Err(error) = runner::request(connection, &describe())
    {
        log::error!("cannot run the script: {error}");
    }
}

/// Checks that the script is a program.
///
/// # Errors
/// [`Reason::Usage`] when there is no such file or it cannot be executed.
fn check(path: &Path) -> Result<(), Error> {
    let unusable = |why: String| {
        Box::new(Reason::Usage(format!(
            "cannot run the script {}: {why}",
            path.display()
        )))
    };
    let metadata = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unusable("it is not a file".to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(unusable("it is not executable".to_owned()));
    }
    Ok(())
}

fn describe(interface: &str, event: Event<'_>) -> Run {
    let (name, reason) = event.names();
    let mut variables = vec![("reason".to_owned(), reason.to_owned())];
    #[cfg(feature = "hand")]
    {
        let is_ipv6 = reason.ends_with('6');
        let protocol = if is_ipv6 { "dhcp6" } else { "dhcp" };
        add_hooks(&mut variables, protocol, event.lease().is_some());
    }
    if let Event::Nak(text) = event
        && names::is_shell_safe(text)
    {
        variables.push(("message".to_owned(), text.to_owned()));
    }
    if let Some(lease) = event.lease() {
        let of_lease = ScriptVariables::of(lease);
        for code in of_lease.dropped {
            let (server, option) = (lease.server_text(), known::name(code));
            log::warn!(
                "{interface}: {option} of {server} is not passed to the script: it is not plain text"
            );
        }
        variables.extend(of_lease.list);
    }
    Run {
        interface: interface.to_owned(),
        event: name.to_owned(),
        variables,
    }
}

/// Returns the run for a lease that is new or has changed.
fn describe6(interface: &str, is_new: bool, identity: Option<&Identity>, lease: &Lease6) -> Run {
    let (event, reason) = if is_new {
        ("bound", "BOUND6")
    } else {
        ("renew", "RENEW6")
    };
    let mut list = variables(interface, identity, lease);
    list.retain(|(name, value)| {
        let is_safe = names::is_shell_safe(value);
        if !is_safe {
            log::warn!("{interface}: {name} is not passed to the script: it is not plain text");
        }
        is_safe
    });
    list.push(("reason".to_owned(), reason.to_owned()));
    #[cfg(feature = "hand")]
    add_hooks(&mut list, "dhcp6", true);
    Run {
        interface: interface.to_owned(),
        event: event.to_owned(),
        variables: list,
    }
}

#[cfg(test)]
mod tests;
