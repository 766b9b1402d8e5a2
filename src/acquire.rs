//! What commands ask for: a lease, of the best offer on any interface, a preview of it, its options alone, its
//! release, or an address without DHCP.

#![forbid(unsafe_code)]

mod address_setup;
mod beside;
mod binding;
mod boot_server;
mod client_config;
mod diagnosis;
mod dialogue;
mod either;
pub mod ipv6;
mod keep;
mod keep6;
mod lease_store;
mod listener;
mod race;
mod record6;
mod session;
mod session6;
mod station;
mod station6;
#[cfg(feature = "discover")]
mod survey;
mod switch_port;
mod witness;

use std::net::Ipv4Addr;

use crate::config::{Config, DhcpConfig, Family};
use crate::error::{Error, Reason};
use crate::gate::Gate;
use crate::handover::{self, EarlierFiles};
use crate::link::{self, Found, Link};
use crate::notify;
use crate::script::Event;
use crate::sys;
use crate::sys::signal::Signals;
use crate::timeline::Timeline;
use wireboot_proto::dhcp;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::ipv6::lease::Lease6;

use beside::Beside;
pub use binding::Binding;
use binding::Kept;
pub use boot_server::boot_file;
use client_config::holder;
pub use either::{Winner, either};
use ipv6::Bound6;
pub use keep::keep;
pub use keep6::{keep6, release_saved6};
#[cfg(fuzzing)]
pub use lease_store::fuzz as fuzz_lease_file;
use race::{best_offer, drive, failure, open, race, until, wait};
pub use session::Session;
#[cfg(feature = "discover")]
pub use session6::Heard6;
#[cfg(feature = "discover")]
pub use survey::{Surveyed, Surveyed6, survey, survey6, surveyed6, unanswered};

/// Finds the interfaces, acquires a lease on one of them, or has its address without DHCP, and
/// configures it; on failure the machine's network is as it was before.
///
/// # Errors
/// As [`link::find`], [`lease()`], [`configure`] and [`without_dhcp`].
pub fn bind(config: &Config, gate: &Gate, signals: &Signals) -> Result<(Binding, Lease), Error> {
    if let Some(lease) = Lease::without_dhcp(&config.dhcp.given) {
        let (link, earlier) = without_dhcp(config, &lease, Some(signals))?;
        log::info!("{}: {lease}", link.name);
        return Ok((Binding::fixed(link, lease.address, earlier), lease));
    }
    let found = link::find(&config.link, &gate.recorder, Some(signals))?;
    let session = match config.dhcp.family {
        None | Some(Family::Either) => match either(found, config, signals, &gate.timeline)? {
            Winner::V4(session) => *session,
            Winner::V6(bound) => return Ok(bound_by_ipv6(*bound, gate)),
        },
        Some(Family::V6) => {
            let bound = ipv6::lease(found, config, Some(signals))?;
            return Ok(bound_by_ipv6(bound, gate));
        }
        Some(Family::V4) => self::lease(found, config, Some(signals), &gate.timeline)?,
    };
    let (session, lease) = configure(session)?;
    gate.timeline.note("address and routes are set");
    log::info!("{}: {lease}", session.link().name);
    let kept = Kept::V4(Box::new(session));
    Ok((Binding::leased(kept, lease.address), lease))
}

fn bound_by_ipv6((bound, lease): (Bound6, Lease6), gate: &Gate) -> (Binding, Lease) {
    gate.timeline.note("addresses and routes are set");
    for address in &lease.addresses {
        log::info!("{}: {address}", bound.session().link().name);
    }
    let kept = Kept::V6(Box::new(bound));
    let lease = Lease::of_ipv6(lease);
    (Binding::leased(kept, lease.address), lease)
}

/// Raises the interfaces and acquires a lease on one of them, whose session is returned. The
/// others are left as they were found, and what was granted there is released; on failure, or
/// on a signal, all are. `timeline` gets the moments of the interface that has the lease; of all interfaces,
/// if none has one.
///
/// Listening begins before the interfaces are raised, asking the moment one has a carrier.
///
/// # Errors
/// [`Reason::NoCarrier`] when no interface has one in time, [`Reason::NoOffer`] or
/// [`Reason::Refused`] when no server grants an address in time after that.
pub fn lease(
    found: Found,
    config: &Config,
    signals: Option<&Signals>,
    timeline: &Timeline,
) -> Result<Session, Error> {
    let Found { links, watch } = found;
    let sessions = open(links, &config.dhcp)?;
    race(sessions, watch, config, signals, timeline)
}

/// Raises the interfaces and returns what [`lease()`] would ask for, with the session that would;
/// nothing is asked for but offers, and all interfaces are left as they were found.
///
/// # Errors
/// As [`lease()`].
pub fn preview(
    found: Found,
    config: &Config,
    signals: Option<&Signals>,
) -> Result<(Session, Lease), Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, &config.dhcp)?;
    let end = until(
        &mut sessions,
        &mut watch,
        config,
        signals,
        &mut Beside::default(),
        Session::only_discover,
        &mut |sessions, now| best_offer(sessions, config, now),
    );
    let previewed = end.and_then(|place| {
        // None stands for a session beside, of which there is none here.
        let place = place.unwrap_or_default();
        let session = sessions.swap_remove(place);
        let lease = session.preview();
        session.link().restore();
        let nothing = || {
            Box::new(Reason::NoOffer(format!(
                "{}: the offer is gone",
                session.link().name
            )))
        };
        lease.ok_or_else(nothing).map(|lease| (session, lease))
    });
    sessions.iter().for_each(|session| session.link().restore());
    previewed
}

/// Asks for the options that go with `address`, which the interface has or is given first.
///
/// # Errors
/// As [`lease()`], and [`Reason::Usage`] when there are several interfaces.
pub fn inform(
    found: Found,
    address: Ipv4Addr,
    config: &Config,
    signals: Option<&Signals>,
) -> Result<Session, Error> {
    let Found { links, watch } = found;
    // RFC 2131 §3.4: INFORM is about one address, which one interface has.
    if links.len() > 1 {
        return Err(Box::new(Reason::Usage(
            "an address is on one interface: say which with -i".to_owned(),
        )));
    }
    let mut sessions = open(links, &config.dhcp)?;
    for session in &mut sessions {
        session.link().add_address(address)?;
        session.inform(address);
    }
    race(sessions, watch, config, signals, &Timeline::default())
}

/// Gives the interface of a session what its lease says; when the kernel refuses that, the interface
/// is as it was found, and the lease is released unless the interface had its address before.
///
/// # Errors
/// [`Reason::Configure`] with what was refused.
pub fn configure(session: Session) -> Result<(Session, Lease), Error> {
    match session.configure() {
        Ok(lease) => Ok((session, lease)),
        Err(error) => {
            if session.has_address() {
                session.restore();
            } else {
                // Nobody would renew it, and the server keeps the address from others until it is
                // over.
                session.release();
            }
            Err(error)
        }
    }
}

/// Listens for the answers of neighbours to the last probe, which has just been sent with the REQUEST, for
/// a session that nobody drives any longer. An address that another host has is declined and removed, and
/// another one acquired and configured.
///
/// # Errors
/// As [`lease()`] and [`configure`].
pub fn listen_on(
    mut session: Session,
    mut lease: Lease,
    config: &Config,
    signals: &Signals,
) -> Result<(Session, Lease), Error> {
    let mut watch = session.take_link_monitor()?;
    let begun_at = sys::now();
    loop {
        let now = sys::now();
        session.handle_input(&mut watch, now)?;
        session.handle_timeout(now);
        let mut is_lost = false;
        while let Some(event) = session.poll_event() {
            is_lost |= matches!(event, dhcp::Event::Lost(_));
        }
        if is_lost {
            session.clear();
            let name = session.link().name.clone();
            notify::change(&name, Event::Deconfig("EXPIRE"));
            let mut sessions = vec![session];
            // Somebody may claim each of them, once it has been granted.
            let acquired = if now >= begun_at + config.dhcp.timeout {
                Err(failure(&mut sessions, Some(begun_at), begun_at))
            } else {
                drive(
                    &mut sessions,
                    &mut watch,
                    config,
                    Some(signals),
                    &mut Beside::default(),
                    None,
                    &mut |_, _| None,
                )
            };
            // It is the only one.
            let acquired = acquired.inspect_err(|_| sessions.drain(..).for_each(Session::release));
            let place = acquired?.unwrap_or_default();
            (session, lease) = configure(sessions.swap_remove(place))?;
        }
        let Some(until) = session.probe_answered_by().filter(|at| now < *at) else {
            return Ok((session, lease));
        };
        wait(
            std::slice::from_ref(&session),
            &Beside::default(),
            &mut watch,
            Some(signals),
            until,
        )?;
    }
}

/// Gives the first interface with a carrier the address that is given for it; returns it with the
/// files for other programs as they were before.
///
/// # Errors
/// As [`link::first_up`], and [`Reason::Configure`] with what the kernel refused.
pub fn without_dhcp(
    config: &Config,
    lease: &Lease,
    signals: Option<&Signals>,
) -> Result<(Link, EarlierFiles), Error> {
    if config.link.vlans_to_try.is_some() {
        return Err(Box::new(Reason::Usage(
            "VLANs can only be tried with DHCP; make the one of the address with \"vlan=NAME:IF\""
                .to_owned(),
        )));
    }
    let link = link::first_up(&config.link, signals)?;
    #[cfg(feature = "root")]
    if config.link.as_it_stands {
        let earlier = handover::read(&holder(&link, &[]));
        return Ok((link, earlier));
    }
    if let Err(error) = link.configure(lease) {
        link.restore();
        return Err(error);
    }
    let holder = holder(&link, &[]);
    let earlier = handover::read(&holder);
    handover::write(&holder, lease, config.dhcp.hand_over);
    Ok((link, earlier))
}

/// Releases the leases that are on file for these interfaces, and takes away what they were given
/// for them; the script is run. Returns how many there were.
///
/// # Errors
/// [`Reason::Configure`] with what the kernel refused.
pub fn release_saved(links: Vec<Link>, config: &DhcpConfig) -> Result<usize, Error> {
    let mut released = 0;
    for link in links {
        let name = link.name.clone();
        if session::release_saved(link, config)? {
            notify::change(&name, Event::Deconfig("RELEASE"));
            released += 1;
        }
    }
    Ok(released)
}
