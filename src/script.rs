//! Runs a script for each change of a lease, as busybox's udhcpc does: the event as its only
//! argument, everything else in the environment.
//!
//! The script is executed directly, not by a shell; its environment has only the variables and PATH.
//! Values that are not safe within quotes are left out with a warning, since scripts write them into
//! files that shells read. At a timeout the script is killed with all its children; its failure does
//! not affect the lease.

#![forbid(unsafe_code)]

mod variables;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::error::Error;
use crate::sys::{self, process};
use variables::Variables;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::option::known;
use wireboot_proto::text::names;
use wireboot_proto::time::Seconds;

/// Timeout, longer than the restart of resolvers and time servers takes.
const MAX_TIME: Duration = Duration::from_secs(30);
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Change of a lease, under udhcpc's names.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The interface has no address, or must not use it any longer.
    Deconfig,
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
            Self::Deconfig => ("deconfig", "STOP"),
            Self::Bound(_) => ("bound", "BOUND"),
            Self::Renew(_) => ("renew", "RENEW"),
            Self::Nak(_) => ("nak", "NAK"),
            Self::LeaseFail => ("leasefail", "FAIL"),
        }
    }

    const fn lease(self) -> Option<&'a Lease> {
        match self {
            Self::Bound(lease) | Self::Renew(lease) => Some(lease),
            Self::Deconfig | Self::Nak(_) | Self::LeaseFail => None,
        }
    }
}

/// Runs `script`, if there is one, for a change of the lease on `interface`, and waits for its end.
/// Failures are logged.
pub fn run(script: Option<&Path>, interface: &str, event: Event<'_>) {
    if let Some(path) = script {
        run_within(path, interface, event, MAX_TIME);
    }
}

/// Checks that the script is a program.
///
/// # Errors
/// [`Error::Usage`] when there is no such file or it cannot be executed.
pub fn check(path: &Path) -> Result<(), Error> {
    let unusable =
        |why: String| Error::Usage(format!("cannot run the script {}: {why}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unusable("it is not a file".to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(unusable("it is not executable".to_owned()));
    }
    Ok(())
}

fn run_within(path: &Path, interface: &str, event: Event<'_>, max_time: Duration) {
    let (name, _) = event.names();
    let path_text = path.display();
    log::debug!("{interface}: {path_text} {name}");
    let child = match process::spawn(&mut command(path, interface, event)) {
        Ok(child) => child,
        Err(error) => return log::error!("cannot run {path_text}: {error}"),
    };
    match wait(child, max_time) {
        Ok(Some(status)) if status.success() => {}
        Ok(Some(status)) => log::warn!("{path_text} {name}: {status}"),
        Ok(None) => {
            let seconds = Seconds(max_time);
            log::error!("{path_text} {name}: timeout after {seconds} s, killed");
        }
        Err(error) => log::error!("{path_text} {name}: {error}"),
    }
}

fn command(path: &Path, interface: &str, event: Event<'_>) -> Command {
    let (name, reason) = event.names();
    let mut command = Command::new(absolute(path));
    command.arg(name).env_clear();
    command.env("PATH", SYSTEM_PATH);
    command.env("interface", interface).env("reason", reason);
    if let Event::Nak(text) = event
        && names::is_shell_safe(text)
    {
        command.env("message", text);
    }
    if let Some(lease) = event.lease() {
        let variables = Variables::of(lease);
        for code in variables.dropped {
            let (server, option) = (lease.server_text(), known::name(code));
            log::warn!(
                "{interface}: {option} of {server} is not passed to the script: it is not plain text"
            );
        }
        command.envs(variables.list);
    }
    // Not the standard output of this process, which a program may read.
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    // A process group of its own, for one signal to all its children (kill(2), negative id).
    command.process_group(0);
    command
}

/// Waits for its end; none when it had to be killed.
fn wait(mut child: Child, max_time: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = sys::now() + max_time;
    let mut pause = Duration::from_millis(1);
    loop {
        // waitpid(2) has no timeout; the pauses are short compared with the run time of scripts.
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if sys::now() >= deadline {
            process::kill_group(child.id());
            // Otherwise it stays a zombie for as long as the lease is kept.
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A bare name would be searched for in PATH.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
