//! Sessions of several interfaces, driven until one has a lease; where no server answers without a tag,
//! beside those on VLANs that are tried, which begin late.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::beside::Beside;
use super::diagnosis::{Furthest, received_now, received_on};
use super::session::Session;
use crate::config::{Config, DhcpConfig, VlansToTry};
use crate::error::{Error, Reason};
use crate::link::{self, Link, Watch};
use crate::notify;
use crate::script::Event;
use crate::sys;
use crate::sys::messages;
use crate::sys::signal::Signals;
use crate::timeline::Timeline;
use wireboot_proto::dhcp;
use wireboot_proto::dhcp::offer;
use wireboot_proto::time::Instant;

/// Chooses the place of a session before it has a lease, if that is enough.
pub(super) type Choose<'a> = dyn FnMut(&mut [Session], Instant) -> Option<usize> + 'a;

/// Drives the sessions until one has a lease, which is returned; the others are ended.
///
/// # Errors
/// As [`lease()`](super::lease()).
pub(super) fn race(
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
        &mut Beside::default(),
        |session| session.set_defers_choice(true),
        &mut |sessions, now| accept_best(sessions, config, now),
    );
    match winner {
        // None stands for a session beside, of which there is none here.
        Ok(place) => Ok(won_by(sessions, place.unwrap_or_default(), watch, timeline)),
        Err(error) => {
            lost(sessions, timeline);
            Err(error)
        }
    }
}

pub(super) fn open(links: Vec<Link>, config: &DhcpConfig) -> Result<Vec<Session>, Error> {
    open_shared(links.into_iter().map(Arc::new), config)
}

pub(super) fn open_shared(
    links: impl Iterator<Item = Arc<Link>>,
    config: &DhcpConfig,
) -> Result<Vec<Session>, Error> {
    links.map(|link| Session::open(link, config)).collect()
}

/// Returns the session that has a lease, whose moments go to `timeline`, and ends the others.
pub(super) fn won_by(
    mut sessions: Vec<Session>,
    place: usize,
    watch: Watch,
    timeline: &Timeline,
) -> Session {
    let mut session = sessions.swap_remove(place);
    timeline.extend(session.moments().iter().cloned());
    let parent = |other: &&mut Session| {
        cfg!(feature = "bond") && other.link().index() == session.link().port()
    };
    if let Some(parent) = sessions.iter_mut().find(parent) {
        session.take_over(parent);
    }
    session.set_defers_choice(false);
    session.set_link_monitor(watch);
    sessions.into_iter().for_each(|other| other.end(true));
    session
}

/// Ends all sessions, none of which has a lease; what happened on all of them goes to `timeline`.
pub(super) fn lost(sessions: Vec<Session>, timeline: &Timeline) {
    for session in sessions {
        timeline.extend(session.moments().iter().cloned());
        session.end(false);
    }
}

/// Raises the interfaces and drives the sessions, after `prepare`, until one has a lease, or `choose` returns
/// one; returns its place, or none when one of those beside has a boot file. VLANs to try get sessions too.
pub(super) fn until(
    sessions: &mut Vec<Session>,
    watch: &mut Watch,
    config: &Config,
    signals: Option<&Signals>,
    beside: &mut Beside,
    prepare: fn(&mut Session),
    choose: &mut Choose<'_>,
) -> Result<Option<usize>, Error> {
    sessions.iter_mut().for_each(prepare);
    // After the sockets are open: what arrives right after the carrier would be lost otherwise.
    link::raise(sessions.iter().map(Session::link))?;
    let trial = Trial::new(config, prepare);
    drive(sessions, watch, config, signals, beside, trial, choose)
}

/// As [`until`], on interfaces that are up.
pub(super) fn drive(
    sessions: &mut Vec<Session>,
    watch: &mut Watch,
    config: &Config,
    signals: Option<&Signals>,
    beside: &mut Beside,
    mut trial: Option<Trial<'_>>,
    choose: &mut Choose<'_>,
) -> Result<Option<usize>, Error> {
    let mut started_at = sys::now();
    let mut carrier_at = None;
    let mut waiting = WaitingReport::begin(started_at);
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
                    notify::change(&session.link().name, Event::Nak(reason));
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
        let is_over = now >= deadline;
        if is_over && config.dhcp.never_gives_up {
            log::warn!(
                "{}; still asking",
                failure(sessions, carrier_at, started_at).chain()
            );
            for session in sessions.iter() {
                notify::change(&session.link().name, Event::LeaseFail);
            }
            started_at = now;
            carrier_at = carrier_at.map(|_| now);
            continue;
        }
        let is_hopeless = sessions.iter().all(Session::is_hopeless) && beside.is_empty();
        if is_over || (!config.dhcp.never_gives_up && is_hopeless) {
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
        wait(sessions, beside, watch, signals, until)?;
    }
}

/// Takes the best offer of all interfaces, one at a time, so that no server sets an address aside
/// for nothing; chooses no session itself.
pub(super) fn accept_best(
    sessions: &mut [Session],
    config: &Config,
    now: Instant,
) -> Option<usize> {
    if let Some(place) = best_offer(sessions, config, now)
        && let Some(session) = sessions.get_mut(place)
    {
        session.accept(now);
    }
    None
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
    let cannot = |source| {
        Box::new(Reason::System {
            doing: "cannot wait for packets".to_owned(),
            source,
        })
    };
    notify::alive();
    let watchdog = notify::watchdog_interval().map(|interval| sys::now() + interval);
    let next = sessions.iter().filter_map(Session::poll_timeout).min();
    let until = [next, beside.poll_timeout(sys::now()), watchdog]
        .into_iter()
        .flatten()
        .fold(deadline, Instant::min);
    let mut sources: Vec<_> = sessions.iter().flat_map(Session::sources).collect();
    beside.add_sources(&mut sources);
    sources.push(watch.as_fd());
    sources.extend(signals.map(AsFd::as_fd));
    let readable = sys::wait_readable(&sources, Some(until)).map_err(cannot)?;
    // They stand last, and are read only if they are readable: a system call less for each packet.
    let mut readable = readable.into_iter().rev();
    let is_signalled = signals.is_some() && readable.next() == Some(true);
    if readable.next() == Some(true) {
        watch.set_readable();
    }
    let Some(signals) = signals.filter(|_| is_signalled) else {
        return Ok(());
    };
    match signals.take().map_err(cannot)? {
        Some(signal) => Err(Box::new(Reason::Interrupted(signal))),
        None => Ok(()),
    }
}

/// Returns the error of the interface that got furthest, and logs the others.
pub(super) fn failure(
    sessions: &mut [Session],
    carrier_at: Option<Instant>,
    started_at: Instant,
) -> Error {
    let now = sys::now();
    let Some(carrier_at) = carrier_at else {
        if sessions.iter().all(|session| session.link().index() == 0) {
            let removed = sessions.iter().map(|session| session.link().name.clone());
            let removed: Vec<_> = removed.collect();
            return Box::new(Reason::NoInterface(format!(
                "{} removed",
                removed.join(" and ")
            )));
        }
        let names: Vec<_> = sessions
            .iter()
            .map(|session| session.link().name.as_str())
            .collect();
        return Box::new(Reason::NoCarrier {
            interface: names.join(" "),
            waited: now.since(started_at),
        });
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

/// How long an answer without a tag is waited for: servers answer in milliseconds, or in 1 s when they
/// send a ping first (`ping-timeout` of ISC's).
const UNTAGGED_TIME: Duration = Duration::from_secs(1);

/// VLANs that are still to be tried.
pub(super) struct Trial<'a> {
    vlans: &'a VlansToTry,
    /// Applied to their sessions.
    prepare: fn(&mut Session),
}

impl<'a> Trial<'a> {
    /// Returns the VLANs of `config`, if any.
    pub(super) fn new(config: &'a Config, prepare: fn(&mut Session)) -> Option<Self> {
        let vlans = config.link.vlans_to_try.as_ref();
        let vlans = vlans.filter(|_| cfg!(feature = "bond"))?;
        Some(Self { vlans, prepare })
    }

    /// Returns when it is due if there has been a carrier since `carrier_at`.
    pub(super) fn due_at(&self, carrier_at: Instant) -> Instant {
        carrier_at + UNTAGGED_TIME
    }

    /// Adds sessions on the VLANs of the interfaces with a carrier, unless a server has answered
    /// there. All are asked on at once: in turn, each would cost the time in which a server may answer.
    ///
    /// # Errors
    /// [`Reason::Configure`] when no VLAN can be made.
    pub(super) fn begin(&self, sessions: &mut Vec<Session>, config: &Config) -> Result<(), Error> {
        if sessions.iter().any(Session::has_answer) {
            return Ok(());
        }
        let parents = sessions.iter().filter(|session| session.has_begun());
        let links = link::add_vlans(parents.map(Session::link), &self.vlans.ids)?;
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        log::info!(
            "no server answers without a tag; trying {}",
            names.join(" ")
        );
        for link in links {
            let mut session = Session::open(Arc::new(link), &config.dhcp)?;
            session.share_switch_port();
            (self.prepare)(&mut session);
            sessions.push(session);
        }
        Ok(())
    }
}

/// What is said while there is no lease yet: after 3, 10 and 30 s and each half a minute from then on,
/// and on a terminal every second, in one line that is rewritten.
#[derive(Debug)]
pub(super) struct WaitingReport {
    begun_at: Instant,
    /// Seconds after which the next one is due.
    next: u64,
    is_shown: bool,
}

impl WaitingReport {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            begun_at: now,
            next: if is_rewritten() { 1 } else { 3 },
            is_shown: false,
        }
    }

    /// Reports how things stand, if it is time to; what is waited for ends at `deadline`.
    pub(super) fn handle_timeout(
        &mut self,
        sessions: &mut [Session],
        deadline: Instant,
        now: Instant,
    ) {
        if now < self.poll_timeout() {
            return;
        }
        let waited = now.since(self.begun_at).as_secs();
        let is_rewritten = is_rewritten();
        self.next = match waited {
            _ if is_rewritten => waited + 1,
            ..10 => 10,
            10..30 => 30,
            _ => waited + 30,
        };
        if !log::log_enabled!(Level::Info) {
            return;
        }
        let received = received_now();
        let mut farthest = None;
        for session in sessions {
            let count = received_on(session.link(), &received);
            let text = session.waiting(deadline.since(now), count);
            if !is_rewritten {
                log::info!("{text}");
            } else if farthest <= Some(session.progress()) {
                // There is room for one, and the others are most often cards without a cable.
                farthest = Some(session.progress());
                messages::show(&format!("wireboot: {text}"));
                self.is_shown = true;
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.begun_at + Duration::from_secs(self.next)
    }
}

/// Returns whether one line is rewritten: not on a console, for which small builds are.
fn is_rewritten() -> bool {
    cfg!(feature = "hand") && messages::is_rewritable()
}

impl Drop for WaitingReport {
    fn drop(&mut self) {
        if self.is_shown {
            messages::show("");
        }
    }
}
