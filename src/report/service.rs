//! What a program that stays says: a line of JSON for each change, and its state to the service manager
//! (sd_notify(3)): READY with the first lease or when that failed, STATUS with each change, WATCHDOG.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;

use crate::script::Event;
use crate::sys::terminal;
use wireboot_proto::dhcp::json::LeaseFields;
use wireboot_proto::ipv6::{export::Lease6Fields, lease::Lease6};

/// What this process says to others; nothing before [`begin`].
static REPORTER: OnceLock<Reporter> = OnceLock::new();

#[derive(Debug)]
struct Reporter {
    prints_lines: bool,
    manager: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

/// Begins to report, to the service manager that the environment names, and by lines of JSON if it
/// `prints_lines`, which it returns. To be called before the process gives up what it needs to connect.
pub fn begin(prints_lines: bool) -> bool {
    let _ = REPORTER.set(Reporter {
        prints_lines,
        manager: manager(),
        watchdog: watchdog(),
    });
    prints_lines
}

/// Returns how often [`alive`] is to be called, if the service manager waits for that.
pub fn watchdog_interval() -> Option<Duration> {
    REPORTER.get()?.watchdog
}

/// Tells the service manager that this process does its work, if it waits for that.
pub fn alive() {
    if watchdog_interval().is_some() {
        notify("WATCHDOG=1");
    }
}

/// Reports a change of the lease on `interface`.
pub(super) fn change(interface: &str, event: Event<'_>) {
    let Some(reporter) = REPORTER.get() else {
        return;
    };
    let (ready, status) = match event {
        Event::Bound(lease) | Event::Renew(lease) => ("READY=1\n", lease.to_string()),
        // A machine whose server is absent comes up without it.
        Event::LeaseFail => ("READY=1\n", "no lease; still asking".to_owned()),
        Event::Deconfig(_) => ("", "no lease yet".to_owned()),
        Event::Nak(_) => ("", "refused; requesting another lease".to_owned()),
    };
    notify(&format!("{ready}STATUS={interface}: {status}"));
    if reporter.prints_lines {
        terminal::print(&line(interface, event));
    }
}

/// Reports a change of the addresses of IPv6 on `interface`, of which there is one or more.
pub(super) fn change6(interface: &str, fields: &Lease6Fields<'_>, lease: &Lease6) {
    let Some(reporter) = REPORTER.get() else {
        return;
    };
    let addresses: Vec<_> = lease.addresses.iter().map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    notify(&format!("READY=1\nSTATUS={interface}: {addresses}"));
    if reporter.prints_lines {
        terminal::print(&in_one_line(&fields.json()));
    }
}

/// The line of JSON of a change; the fields of the lease follow where there is one.
#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    interface: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(flatten)]
    lease: Option<LeaseFields<'a>>,
}

fn line(interface: &str, event: Event<'_>) -> String {
    let line = Line {
        event: event.name(),
        interface,
        message: event.message(),
        lease: event.lease().map(LeaseFields::from),
    };
    in_one_line(&serde_json::to_string_pretty(&line).unwrap_or_default())
}

/// Makes a line of JSON, by the form that is there already, of which a second one would take 8 KiB: no value
/// has line ends.
fn in_one_line(json: &str) -> String {
    json.lines().map(str::trim_start).collect::<String>() + "\n"
}

fn notify(state: &str) {
    let manager = REPORTER
        .get()
        .and_then(|reporter| reporter.manager.as_ref());
    // A manager that does not read is no reason to do without a lease.
    if let Some(Err(error)) = manager.map(|manager| manager.send(state.as_bytes())) {
        log::debug!("cannot tell the service manager: {error}");
    }
}

/// Connects to the socket that the service manager named.
fn manager() -> Option<UnixDatagram> {
    let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
    let connected = connect(&name);
    if let Err(error) = &connected {
        log::warn!(
            "cannot reach the service manager at {}: {error}",
            name.display()
        );
    }
    connected.ok()
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(rest) => SocketAddr::from_abstract_name(rest)?,
        None => SocketAddr::from_pathname(Path::new(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns half the time after which the manager takes this process for dead (sd_watchdog_enabled(3)).
fn watchdog() -> Option<Duration> {
    let read = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_for_us = read("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let limit = read("WATCHDOG_USEC").filter(|limit| is_for_us && *limit > 0)?;
    Some(Duration::from_micros(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line_whatever_is_in_it() {
        let line = line("eth\"0", Event::Nak("not\nhere  \"you\""));
        assert_eq!(
            line,
            "{\"event\": \"nak\",\"interface\": \"eth\\\"0\",\"message\": \"not\\nhere  \\\"you\\\"\"}\n"
        );
    }
}
