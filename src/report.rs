//! Tells others of each change of a lease: the script, whoever reads `lease --keep --json`, and the service
//! manager that started the program (sd_notify(3)).

#![forbid(unsafe_code)]

use crate::script::{self, Event};
use wireboot_proto::ipv6::{export::Lease6Fields, identity::Identity, lease::Lease6};

/// Runs the script for a change of the lease on `interface`, and tells the others.
pub fn change(interface: &str, event: Event<'_>) {
    script::run(interface, event);
    #[cfg(feature = "service")]
    service::change(interface, event);
}

/// As [`change`], for what IPv6 has given to `interface`, which is new or has changed.
pub fn change6(
    interface: &str,
    is_new: bool,
    identity: Option<&Identity>,
    lease: &Lease6,
    fields: &Lease6Fields<'_>,
) {
    script::run6(interface, is_new, identity, lease);
    #[cfg(feature = "service")]
    service::change6(interface, fields, lease);
    #[cfg(not(feature = "service"))]
    // Only a service is told which fields have changed.
    let _ = fields;
}

/// Without a service manager, and without lines for programs.
#[cfg(not(feature = "service"))]
pub mod service {
    use std::time::Duration;

    /// Returns false: this build prints no lines.
    pub fn begin(_prints_lines: bool) -> bool {
        false
    }

    /// None in this build.
    pub fn watchdog_interval() -> Option<Duration> {
        None
    }

    /// Does nothing in this build.
    pub fn alive() {}
}

#[cfg(feature = "service")]
pub mod service;
