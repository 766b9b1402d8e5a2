//! Drives a [`wireboot_proto::dhcp::Client`] on each interface, all in parallel; the best offer wins, and
//! its lease may be kept.

#![forbid(unsafe_code)]

mod address_setup;
mod binding;
mod boot_server;
mod client_config;
mod diagnosis;
mod dialogue;
mod keep;
mod lease_store;
mod listener;
mod session;
mod station;
#[cfg(feature = "discover")]
mod survey;
mod switch_port;
mod tagged;
mod trial;
mod waiting;
mod witness;

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use crate::config::{Config, DhcpConfig};
use crate::error::Error;
use crate::gate::Gate;
use crate::handover::{self, EarlierFiles, HandOverIdentity};
use crate::link::{self, Found, Link, Watch};
use crate::report;
use crate::script::Event;
use crate::sys;
use crate::sys::signal::Signals;
use crate::timeline::Timeline;
use wireboot_proto::dhcp;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::dhcp::offer;
use wireboot_proto::time::Instant;

pub use binding::Binding;
pub use boot_server::boot_file;
use diagnosis::{Furthest, received_now, received_on};
pub use keep::keep;
#[cfg(fuzzing)]
pub use lease_store::fuzz as fuzz_lease_file;
pub use session::Session;
#[cfg(feature = "discover")]
pub use survey::{Surveyed, survey, unanswered};
use trial::Trial;
use waiting::WaitingReport;

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
    let session = self::lease(found, config, Some(signals), &gate.timeline)?;
    let (session, lease) = configure(session)?;
    gate.timeline.note("address and routes are set");
    log::info!("{}: {lease}", session.link().name);
    Ok((Binding::leased(session, lease.address), lease))
}

/// Raises the interfaces and acquires a lease on one of them, whose session is returned. The
/// others are left as they were found, and what was granted there is released; on failure, or
/// on a signal, all are. What happened on the way is in `timeline`: of all interfaces, where none has
/// a lease.
///
/// Listening begins before the interfaces are raised, asking the moment one has a carrier.
///
/// # Errors
/// [`Error::NoCarrier`] when no interface has one in time, [`Error::NoOffer`] or
/// [`Error::Refused`] when no server grants an address in time after that.
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
        Session::only_discover,
        |sessions, now| best_offer(sessions, config, now),
    );
    let previewed = end.and_then(|place| {
        let session = sessions.swap_remove(place);
        let lease = session.preview();
        session.link().restore();
        let nothing = || Error::NoOffer(format!("{}: the offer is gone", session.link().name));
        lease.ok_or_else(nothing).map(|lease| (session, lease))
    });
    sessions.iter().for_each(|session| session.link().restore());
    previewed
}

/// Asks for the options that go with `address`, which the interface has or is given first.
///
/// # Errors
/// As [`lease()`], and [`Error::Usage`] when there are several interfaces.
pub fn inform(
    found: Found,
    address: Ipv4Addr,
    config: &Config,
    signals: Option<&Signals>,
) -> Result<Session, Error> {
    let Found { links, watch } = found;
    // RFC 2131 §3.4: INFORM is about one address, which one interface has.
    if links.len() > 1 {
        return Err(Error::Usage(
            "an address is on one interface: say which with -i".to_owned(),
        ));
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
/// [`Error::Configure`] with what was refused.
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
            report::change(&name, Event::Deconfig("EXPIRE"));
            let mut sessions = vec![session];
            let nothing = |_: &mut [Session], _| None;
            let acquired = drive(
                &mut sessions,
                &mut watch,
                config,
                Some(signals),
                None,
                nothing,
            );
            // It is the only one.
            let place = acquired.inspect_err(|_| sessions.drain(..).for_each(Session::release))?;
            (session, lease) = configure(sessions.swap_remove(place))?;
        }
        let Some(until) = session.probe_answered_by().filter(|at| now < *at) else {
            return Ok((session, lease));
        };
        wait(
            std::slice::from_ref(&session),
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
/// As [`link::first_up`], and [`Error::Configure`] with what the kernel refused.
pub fn without_dhcp(
    config: &Config,
    lease: &Lease,
    signals: Option<&Signals>,
) -> Result<(Link, EarlierFiles), Error> {
    if config.link.vlans_to_try.is_some() {
        return Err(Error::Usage(
            "VLANs can only be tried with DHCP; make the one of the address with \"vlan=NAME:IF\""
                .to_owned(),
        ));
    }
    let link = link::first_up(&config.link, signals)?;
    #[cfg(feature = "root")]
    if config.link.as_it_stands {
        let earlier = handover::read(&link.name, &link.made_of);
        return Ok((link, earlier));
    }
    if let Err(error) = link.configure(lease) {
        link.restore();
        return Err(error);
    }
    let holder = HandOverIdentity {
        interface: &link.name,
        mac: link.mac,
        client_id: &[],
        made_of: &link.made_of,
    };
    let earlier = handover::read(&link.name, &link.made_of);
    handover::write(&holder, lease, config.dhcp.hand_over);
    Ok((link, earlier))
}

/// Releases the leases that are on file for these interfaces, and takes away what they were given
/// for them; the script is run. Returns how many there were.
///
/// # Errors
/// [`Error::Configure`] with what the kernel refused.
pub fn release_saved(links: Vec<Link>, config: &DhcpConfig) -> Result<usize, Error> {
    let mut released = 0;
    for link in links {
        let name = link.name.clone();
        if session::release_saved(link, config)? {
            report::change(&name, Event::Deconfig("RELEASE"));
            released += 1;
        }
    }
    Ok(released)
}

fn open(links: Vec<Link>, config: &DhcpConfig) -> Result<Vec<Session>, Error> {
    let sessions = links.into_iter().map(|link| Session::open(link, config));
    sessions.collect()
}

fn race(
    mut sessions: Vec<Session>,
    mut watch: Watch,
    config: &Config,
    signals: Option<&Signals>,
    timeline: &Timeline,
) -> Result<Session, Error> {
    let winner = until(
        &mut sessions,
        &mut watch,
        config,
        signals,
        |session| session.set_defers_choice(true),
        |sessions, now| {
            accept_best(sessions, config, now);
            None
        },
    );
    for (place, session) in sessions.iter().enumerate() {
        if winner.as_ref().map_or(true, |winner| *winner == place) {
            timeline.extend(session.moments().iter().cloned());
        }
    }
    let session = winner.map(|winner| {
        let mut session = sessions.swap_remove(winner);
        let parent = |other: &&mut Session| {
            cfg!(feature = "bond") && other.link().index() == session.link().port()
        };
        if let Some(parent) = sessions.iter_mut().find(parent) {
            session.take_over(parent);
        }
        session.set_defers_choice(false);
        session.set_link_monitor(watch);
        session
    });
    let is_won = session.is_ok();
    sessions.into_iter().for_each(|other| other.end(is_won));
    session
}

/// Raises the interfaces and drives the sessions, after `prepare`, until one has a lease, or `choose` returns
/// one; returns its place. VLANs to try get sessions too.
fn until(
    sessions: &mut Vec<Session>,
    watch: &mut Watch,
    config: &Config,
    signals: Option<&Signals>,
    prepare: fn(&mut Session),
    choose: impl FnMut(&mut [Session], Instant) -> Option<usize>,
) -> Result<usize, Error> {
    sessions.iter_mut().for_each(prepare);
    // After the sockets are open: what arrives right after the carrier would be lost otherwise.
    link::raise(sessions.iter().map(Session::link))?;
    let trial = Trial::new(config, prepare);
    drive(sessions, watch, config, signals, trial, choose)
}

/// As [`until`], on interfaces that are up.
fn drive(
    sessions: &mut Vec<Session>,
    watch: &mut Watch,
    config: &Config,
    signals: Option<&Signals>,
    mut trial: Option<Trial<'_>>,
    mut choose: impl FnMut(&mut [Session], Instant) -> Option<usize>,
) -> Result<usize, Error> {
    let mut started_at = sys::now();
    let mut carrier_at = None;
    let mut waiting = WaitingReport::begin(started_at);
    loop {
        let now = sys::now();
        while let Some(change) = watch.next_change()? {
            for session in sessions.iter_mut() {
                session.handle_link(&change, now);
            }
        }
        for (place, session) in sessions.iter_mut().enumerate() {
            session.handle_input(watch, now)?;
            session.handle_timeout(now);
            while let Some(event) = session.poll_event() {
                // The others are released by the caller: what is left to run would hold an address
                // each.
                if let dhcp::Event::Bound(_) = event {
                    return Ok(place);
                }
                if let Some(reason) = event.refusal() {
                    report::change(&session.link().name, Event::Nak(reason));
                }
            }
        }
        if let Some(place) = choose(sessions, now) {
            return Ok(place);
        }
        if carrier_at.is_none() && sessions.iter().any(Session::has_begun) {
            carrier_at = Some(now);
        }
        let deadline = carrier_at.map_or(started_at + config.link.timeout, |at| {
            // Counted from the carrier: autonegotiation takes seconds, which is no fault of the
            // server's.
            at + config.dhcp.timeout
        });
        let is_over = now >= deadline;
        if is_over && config.dhcp.never_gives_up {
            log::warn!(
                "{}; still asking",
                failure(sessions, carrier_at, started_at).chain()
            );
            for session in sessions.iter() {
                report::change(&session.link().name, Event::LeaseFail);
            }
            started_at = now;
            carrier_at = carrier_at.map(|_| now);
            continue;
        }
        if is_over || (!config.dhcp.never_gives_up && sessions.iter().all(Session::is_hopeless)) {
            return Err(failure(sessions, carrier_at, started_at));
        }
        let tries_at = carrier_at.zip(trial.as_ref());
        let tries_at = tries_at.map(|(at, trial)| trial.due_at(at));
        if let Some(trial) = trial.take_if(|_| tries_at.is_some_and(|at| now >= at)) {
            trial.begin(sessions, config)?;
            continue;
        }
        waiting.handle_timeout(sessions, deadline, now);
        let until = [tries_at, Some(waiting.poll_timeout())];
        let until = until.into_iter().flatten().fold(deadline, Instant::min);
        wait(sessions, watch, signals, until)?;
    }
}

/// Takes the best offer of all interfaces, one at a time, so that no server sets an address aside
/// for nothing.
fn accept_best(sessions: &mut [Session], config: &Config, now: Instant) {
    if let Some(place) = best_offer(sessions, config, now)
        && let Some(session) = sessions.get_mut(place)
    {
        session.accept(now);
    }
}

/// Returns the place of the session whose offer is to be taken now; none while all can wait, or a
/// lease is still waited for.
fn best_offer(sessions: &[Session], config: &Config, now: Instant) -> Option<usize> {
    let standings: Vec<_> = sessions.iter().map(Session::standing).collect();
    let best = standings.iter().flatten().map(|standing| standing.rank);
    let best = best.max();
    // Each REQUEST binds an address on a server, which stays unused until its lease ends.
    if sessions
        .iter()
        .any(|session| session.is_worth_awaiting(best))
    {
        return None;
    }
    let is_ordered = !config.link.interfaces.is_empty();
    offer::choose(&standings, is_ordered, now)
}

fn wait(
    sessions: &[Session],
    watch: &mut Watch,
    signals: Option<&Signals>,
    deadline: Instant,
) -> Result<(), Error> {
    let cannot = |source| Error::System {
        doing: "cannot wait for packets".to_owned(),
        source,
    };
    report::service::alive();
    let watchdog = report::service::watchdog_interval().map(|interval| sys::now() + interval);
    let next = sessions.iter().filter_map(Session::poll_timeout).min();
    let until = [next, watchdog]
        .into_iter()
        .flatten()
        .fold(deadline, Instant::min);
    let mut sources: Vec<_> = sessions.iter().flat_map(Session::sources).collect();
    sources.push(watch.as_fd());
    sources.extend(signals.map(AsFd::as_fd));
    let readable = sys::wait_readable(&sources, Some(until)).map_err(cannot)?;
    // They stand last.
    // Read only then, which is a system call less for each packet.
    let mut readable = readable.into_iter().rev();
    let is_signalled = signals.is_some() && readable.next() == Some(true);
    if readable.next() == Some(true) {
        watch.set_readable();
    }
    let Some(signals) = signals.filter(|_| is_signalled) else {
        return Ok(());
    };
    match signals.take().map_err(cannot)? {
        Some(signal) => Err(Error::Interrupted(signal)),
        None => Ok(()),
    }
}

/// Returns the error of the interface that got furthest, and logs the others.
fn failure(sessions: &mut [Session], carrier_at: Option<Instant>, started_at: Instant) -> Error {
    let now = sys::now();
    let Some(carrier_at) = carrier_at else {
        if sessions.iter().all(|session| session.link().index() == 0) {
            let removed = sessions.iter().map(|session| session.link().name.clone());
            let removed: Vec<_> = removed.collect();
            return Error::NoInterface(format!("{} removed", removed.join(" and ")));
        }
        let names: Vec<_> = sessions
            .iter()
            .map(|session| session.link().name.as_str())
            .collect();
        return Error::NoCarrier {
            interface: names.join(" "),
            waited: now.since(started_at),
        };
    };
    // The counters come by netlink for all interfaces at once, and cost nothing while all is well.
    let received = received_now();
    let mut errors = Furthest::default();
    for session in sessions.iter_mut().filter(|session| session.has_begun()) {
        let count = received_on(session.link(), &received);
        let error = session.failure(now.since(carrier_at), count);
        errors.add(session.progress(), error);
    }
    errors.end("no interface was asked on")
}
