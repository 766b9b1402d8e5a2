//! Sessions of several interfaces, driven until one has a lease.

use std::os::fd::AsFd;

use super::beside::Beside;
use super::diagnosis::{received_now, received_on};
use super::session::Session;
use crate::config::{Config, DhcpConfig};
use crate::error::Error;
use crate::link::{self, Link, Watch};
use crate::script::{self, Event};
use crate::sys;
use crate::sys::signal::Signals;
use wireboot_proto::dhcp;
use wireboot_proto::dhcp::offer;
use wireboot_proto::time::Instant;

/// Drives the sessions until one has a lease, which is returned; the others are ended.
///
/// # Errors
/// As [`lease()`](super::lease()).
pub(super) fn race(
    mut sessions: Vec<Session>,
    mut watch: Watch,
    config: &Config,
    signals: Option<&Signals>,
) -> Result<Session, Error> {
    sessions
        .iter_mut()
        .for_each(|session| session.set_defers_choice(true));
    let winner = until(
        &mut sessions,
        &mut watch,
        config,
        signals,
        &mut Beside::default(),
        |sessions, now| {
            accept_best(sessions, config, now);
            None
        },
    );
    match winner {
        Ok(place) => Ok(won_by(sessions, place.unwrap_or_default(), watch)),
        Err(error) => {
            sessions.into_iter().for_each(|other| other.end(false));
            Err(error)
        }
    }
}

pub(super) fn open(links: Vec<Link>, config: &DhcpConfig) -> Result<Vec<Session>, Error> {
    let sessions = links.into_iter().map(|link| Session::open(link, config));
    sessions.collect()
}

/// Returns the session that has a lease, and ends the others.
pub(super) fn won_by(mut sessions: Vec<Session>, place: usize, watch: Watch) -> Session {
    let mut session = sessions.swap_remove(place);
    session.set_defers_choice(false);
    session.set_link_monitor(watch);
    sessions.into_iter().for_each(|other| other.end(true));
    session
}

/// Drives the sessions until one has a lease, or `choose` returns one; returns its place, or none when one
/// of those beside has a boot file.
pub(super) fn until(
    sessions: &mut [Session],
    watch: &mut Watch,
    config: &Config,
    signals: Option<&Signals>,
    beside: &mut Beside,
    choose: impl FnMut(&mut [Session], Instant) -> Option<usize>,
) -> Result<Option<usize>, Error> {
    // After the sockets are open: what arrives right after the carrier would be lost otherwise.
    link::raise(sessions.iter().map(Session::link))?;
    drive(sessions, watch, config, signals, beside, choose)
}

/// As [`until`], on interfaces that are up.
pub(super) fn drive(
    sessions: &mut [Session],
    watch: &mut Watch,
    config: &Config,
    signals: Option<&Signals>,
    beside: &mut Beside,
    mut choose: impl FnMut(&mut [Session], Instant) -> Option<usize>,
) -> Result<Option<usize>, Error> {
    let started_at = sys::now();
    let mut carrier_at = None;
    loop {
        let now = sys::now();
        while let Some(change) = watch.next_change()? {
            for session in sessions.iter_mut() {
                session.handle_link(&change, now);
            }
            beside.handle_link(&change, now);
        }
        for (place, session) in sessions.iter_mut().enumerate() {
            session.handle_input(watch, now)?;
            session.handle_timeout(now);
            while let Some(event) = session.poll_event() {
                // The others are released by the caller: what is left to run would hold an address
                // each.
                if let dhcp::Event::Bound(_) = event {
                    return Ok(Some(place));
                }
                if let Some(reason) = event.refusal() {
                    script::run(&session.link().name, Event::Nak(reason));
                }
            }
        }
        if let Some(place) = choose(sessions, now) {
            return Ok(Some(place));
        }
        if beside.drive(now) {
            return Ok(None);
        }
        if carrier_at.is_none() && sessions.iter().any(Session::has_begun) {
            carrier_at = Some(now);
        }
        let deadline = carrier_at.map_or(started_at + config.link.timeout, |at| {
            // Counted from the carrier: autonegotiation takes seconds, which is no fault of the
            // server's.
            at + config.dhcp.timeout
        });
        let is_hopeless = sessions.iter().all(Session::is_hopeless) && beside.is_empty();
        if now >= deadline || is_hopeless {
            return Err(failure(sessions, carrier_at, started_at));
        }
        wait(sessions, beside, watch, signals, deadline)?;
    }
}

/// Takes the best offer of all interfaces, one at a time, so that no server sets an address aside
/// for nothing.
pub(super) fn accept_best(sessions: &mut [Session], config: &Config, now: Instant) {
    if let Some(place) = best_offer(sessions, config, now)
        && let Some(session) = sessions.get_mut(place)
    {
        session.accept(now);
    }
}

/// Returns the place of the session whose offer is to be taken now; none while all can wait, or a
/// lease is still waited for.
pub(super) fn best_offer(sessions: &[Session], config: &Config, now: Instant) -> Option<usize> {
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

pub(super) fn wait(
    sessions: &[Session],
    beside: &Beside,
    watch: &mut Watch,
    signals: Option<&Signals>,
    deadline: Instant,
) -> Result<(), Error> {
    let cannot = |source| Error::System {
        doing: "cannot wait for packets".to_owned(),
        source,
    };
    let next = sessions.iter().filter_map(Session::poll_timeout);
    let next = next.chain(beside.poll_timeout(sys::now())).min();
    let until = next.map_or(deadline, |next| next.min(deadline));
    let mut sources: Vec<_> = sessions.iter().flat_map(Session::sources).collect();
    sources.extend(beside.sources());
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
        Some(_) => Err(Error::Interrupted),
        None => Ok(()),
    }
}

/// Returns the error of the interface that got furthest, and logs the others.
fn failure(sessions: &[Session], carrier_at: Option<Instant>, started_at: Instant) -> Error {
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
    let mut begun: Vec<_> = sessions
        .iter()
        .filter(|session| session.has_begun())
        .collect();
    begun.sort_by_key(|session| session.progress());
    let mut errors: Vec<_> = begun
        .into_iter()
        .map(|session| {
            let count = received_on(session.link(), &received);
            session.failure(now.since(carrier_at), count)
        })
        .collect();
    let last = errors.pop();
    for error in errors {
        log::error!("{}", error.chain());
    }
    last.unwrap_or_else(|| Error::NoOffer("no interface was asked on".to_owned()))
}
