//! Asks all routers and servers of IPv6 on all interfaces, and takes nothing.

use std::time::Duration;

use super::ipv6::{open, settle};
use super::session6::Heard6;
use super::survey::Surveyed;
use crate::config::{Config, DhcpConfig, LinkConfig};
use crate::error::{Error, Reason};
use crate::link::Found;
use crate::sys::signal::Signals;
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::packet::ethernet::MacAddress;

/// What was heard on an interface.
#[derive(Debug)]
pub struct Surveyed6 {
    /// Its name.
    pub interface: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Whether it had a carrier, without which nobody was asked.
    pub had_carrier: bool,
    /// In the order of arrival.
    pub heard: Vec<Heard6>,
}

/// Asks for `wait` from the first carrier on, and leaves the interfaces as they were found. A signal ends
/// it early.
///
/// # Errors
/// [`Reason::NoCarrier`] when no interface has one in time, and as [`lease`](super::ipv6::lease).
pub fn survey6(
    found: Found,
    config: &Config,
    wait: Duration,
    signals: &Signals,
) -> Result<Vec<Surveyed6>, Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, config, Purpose::Survey)?;
    let times = Config {
        link: LinkConfig {
            timeout: config.link.timeout,
            ..LinkConfig::default()
        },
        dhcp: DhcpConfig {
            timeout: wait,
            ..DhcpConfig::default()
        },
        ..Config::default()
    };
    // It is settled by its end alone.
    let ended = settle(&mut sessions, &mut watch, &times, Some(signals));
    let mut surveyed = Vec::new();
    for mut session in sessions {
        surveyed.push(Surveyed6 {
            interface: session.link().name.clone(),
            mac: session.link().mac,
            had_carrier: session.has_begun(),
            heard: session.take_heard(),
        });
        session.restore();
    }
    if let Err(error) = ended {
        // What was heard before is shown.
        let is_shown = matches!(*error, Reason::Interrupted(_))
            && surveyed.iter().any(|one| !one.heard.is_empty());
        if !is_shown && !matches!(*error, Reason::NoOffer(_)) {
            return Err(error);
        }
    }
    Ok(surveyed)
}

/// Returns what was heard of IPv6 in a survey of both families.
pub fn surveyed6(surveyed: &mut [Surveyed]) -> Vec<Surveyed6> {
    let surveyed = surveyed.iter_mut();
    let surveyed = surveyed.map(|one| Surveyed6 {
        interface: one.link.name.clone(),
        mac: one.link.mac,
        had_carrier: one.had_carrier,
        heard: std::mem::take(&mut one.heard6),
    });
    surveyed.collect()
}
