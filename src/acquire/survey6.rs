//! Asks all routers and servers of IPv6 on all interfaces, and takes nothing.

use std::time::Duration;

use super::ipv6::{drive, open, wait};
use super::session6::{Heard6, Session6};
use crate::config::Config;
use crate::error::Error;
use crate::link::{self, Found};
use crate::sys;
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

/// Asks for `wait_for` from the first carrier on, and leaves the interfaces as they were found. A signal ends
/// it early.
///
/// # Errors
/// [`Error::NoCarrier`] when no interface has one in time, and as [`lease`](super::ipv6::lease).
pub fn survey6(
    found: Found,
    config: &Config,
    wait_for: Duration,
    signals: Option<&Signals>,
) -> Result<Vec<Surveyed6>, Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, config, Purpose::Survey)?;
    let mut ask = || {
        link::raise(sessions.iter().map(Session6::link))?;
        let started_at = sys::now();
        let mut carrier_at = None;
        loop {
            let now = sys::now();
            drive(&mut sessions, &mut watch, now)?;
            if sessions.iter().any(Session6::has_begun) {
                carrier_at.get_or_insert(now);
            }
            let deadline = carrier_at.map_or(started_at + config.link.timeout, |at| at + wait_for);
            if now >= deadline {
                return Ok(());
            }
            match wait(&sessions, &mut watch, signals, deadline, now) {
                Err(Error::Interrupted(_)) => return Ok(()),
                waited => waited?,
            }
        }
    };
    let asked = ask();
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
    asked?;
    if surveyed.iter().any(|one| one.had_carrier) {
        return Ok(surveyed);
    }
    let names: Vec<_> = surveyed.iter().map(|one| one.interface.as_str()).collect();
    Err(Error::NoCarrier {
        interface: names.join(" "),
        waited: config.link.timeout,
    })
}
