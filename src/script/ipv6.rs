//! The run of a script for a lease of IPv6.

use super::runner::Run;
#[cfg(feature = "hand")]
use super::variables::add_hooks;
use wireboot_proto::ipv6::export::variables;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::ipv6::lease::Lease6;
use wireboot_proto::text::names;

/// Returns the run for a lease that is new or has changed.
pub(super) fn describe(
    interface: &str,
    is_new: bool,
    identity: Option<&Identity>,
    lease: &Lease6,
) -> Run {
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
