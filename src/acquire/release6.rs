//! Gives leases of DHCPv6 servers back, and waits until the servers have said so.

use std::time::Duration;

use super::ipv6::{drive, failure, wait};
use super::session6::Session6;
use crate::config::Config;
use crate::error::Error;
use crate::link::{self, Found, Watch};
use crate::report;
use crate::script::Event;
use crate::sys;
use crate::sys::signal::Signals;

/// A server that does not answer is given up before, after four messages.
const MAX_TIME: Duration = Duration::from_secs(20);

/// Releases the leases that are on record for these interfaces, and takes away what they were given for them;
/// the script is run. Returns how many there were.
///
/// # Errors
/// [`Reason::NoCarrier`](crate::error::Reason::NoCarrier) when an interface has none in time, and
/// [`Reason::Configure`](crate::error::Reason::Configure) with what the kernel refused; addresses and records
/// are removed all the same.
pub fn release_saved6(found: Found, config: &Config, signals: &Signals) -> Result<usize, Error> {
    let Found { links, mut watch } = found;
    let mut sessions = Vec::new();
    for link in links {
        sessions.extend(Session6::open_held(link, config)?);
    }
    let count = sessions.len();
    let given_back = link::raise(sessions.iter().map(Session6::link)).and_then(|()| {
        let link_timeout = config.link.timeout;
        until_released(&mut sessions, &mut watch, link_timeout, signals)
    });
    for session in sessions {
        let name = session.link().name.clone();
        session.release();
        report::change(&name, Event::Deconfig("RELEASE6"));
        if given_back.is_ok() {
            log::info!("{name}: released the addresses of IPv6");
        }
    }
    given_back.map(|()| count)
}

/// Gives the lease of a session back, and puts its interface back as it was found. A signal ends the wait for
/// the server.
pub(super) fn release(session: Session6, watch: &mut Watch, signals: &Signals) {
    let mut sessions = [session];
    let [session] = &mut sessions;
    let began = session.begin_release();
    let ended = began.and_then(|()| until_released(&mut sessions, watch, MAX_TIME, signals));
    let [session] = sessions;
    if let Err(error) = ended {
        log::warn!("{}: not released: {}", session.link().name, error.chain());
    }
    session.release();
}

fn until_released(
    sessions: &mut [Session6],
    watch: &mut Watch,
    link_timeout: Duration,
    signals: &Signals,
) -> Result<(), Error> {
    let started_at = sys::now();
    loop {
        let now = sys::now();
        drive(sessions, watch, now)?;
        if !sessions.iter().any(Session6::is_releasing) {
            return Ok(());
        }
        let waits_for_carrier = !sessions.iter().all(Session6::has_begun);
        let deadline = started_at
            + if waits_for_carrier {
                link_timeout
            } else {
                MAX_TIME
            };
        if now >= deadline {
            return Err(failure(sessions, None, started_at, now));
        }
        wait(sessions, watch, Some(signals), deadline, now)?;
    }
}
