//! Acquires addresses of IPv6 on one of the interfaces, and keeps them.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::beside::Beside;
use super::keep::{cannot_wait, confine, wait_until_due};
use super::race::{open_shared, until};
use super::session::Session;
use super::session6::Session6;
use crate::config::{Config, DhcpConfig};
use crate::error::{Error, Reason};
use crate::link::{self, Found, Link, Watch};
use crate::report;
use crate::script::Event;
use crate::sys;
use crate::sys::clock::Alarm;
use crate::sys::sandbox::{CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW};
use crate::sys::signal::{Signal, Signals};
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::lease::Lease6;
use wireboot_proto::time::{Instant, Seconds};

/// Shortest time from one change of the interface to the next, whatever routers send.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a server of IPv4 may take where IPv6 has failed.
const IPV4_TIME: Duration = Duration::from_secs(1);

/// An interface with its lease, and the monitor of its changes.
#[derive(Debug)]
pub struct Bound6 {
    session: Session6,
    watch: Watch,
}

impl Bound6 {
    /// The session.
    pub const fn session(&self) -> &Session6 {
        &self.session
    }

    /// The interface, for a user beside the session.
    pub(super) fn shared_link(&self) -> Arc<Link> {
        self.session.shared_link()
    }

    /// Puts the interface back as it was found.
    pub fn restore(self) {
        self.session.restore();
    }

    /// Leaves the addresses until their lifetimes are over, and the rest to the kernel.
    pub fn outlive(self) {
        self.session.outlive();
    }
}

/// Raises the interfaces, acquires addresses on the first where that succeeds and configures it; the others,
/// and on failure all, are left as they were found.
///
/// # Errors
/// [`Reason::NoCarrier`] when no interface has one in time, [`Reason::NoOffer`] when neither router nor server
/// gives an address in time after that, [`Reason::Refused`] when another host has the link-local address,
/// [`Reason::Configure`] with what the kernel refused.
pub fn lease(
    found: Found,
    config: &Config,
    signals: Option<&Signals>,
) -> Result<(Bound6, Lease6), Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, config, Purpose::Lease)?;
    let mut settled = settle(&mut sessions, &mut watch, config, signals);
    if let Err(error) = &mut settled
        && let Reason::NoOffer(text) = &mut **error
        && let Some(server) = server_of_ipv4(&sessions, config, signals)
    {
        text.push_str(&format!(
            "; the DHCPv4 server {server} is here; try --family 4"
        ));
    }
    let bound = settled.and_then(|place| configure(sessions.swap_remove(place), watch));
    // A server may have set an address aside that nobody uses.
    for other in sessions {
        other.release();
    }
    bound
}

/// As [`lease`] for `--dry-run`: returns what would be set, which is not, and asks servers for offers alone.
/// The interface is put back by [`Bound6::restore`].
///
/// # Errors
/// As [`lease`].
pub fn preview(
    found: Found,
    config: &Config,
    signals: &Signals,
) -> Result<(Bound6, Lease6), Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, config, Purpose::Preview)?;
    let settled = settle(&mut sessions, &mut watch, config, Some(signals));
    let leased = settled.map(|place| {
        let session = sessions.swap_remove(place);
        let lease = session.lease();
        (Bound6 { session, watch }, lease)
    });
    sessions.into_iter().for_each(Session6::restore);
    leased
}

pub(super) fn open(
    links: Vec<Link>,
    config: &Config,
    purpose: Purpose,
) -> Result<Vec<Session6>, Error> {
    let mut sessions = Vec::new();
    let mut refused = None;
    for link in links {
        match Session6::open(Arc::new(link), config, purpose) {
            Ok(session) => sessions.push(session),
            Err(error) => {
                log::debug!("{}", error.chain());
                refused = Some(error);
            }
        }
    }
    match refused.filter(|_| sessions.is_empty()) {
        Some(error) => Err(error),
        None => Ok(sessions),
    }
}

/// Returns a server that offers an address of IPv4 at once.
fn server_of_ipv4(
    sessions: &[Session6],
    config: &Config,
    signals: Option<&Signals>,
) -> Option<Ipv4Addr> {
    let links = sessions.iter().map(Session6::shared_link);
    let mut asking = open_shared(links, &config.dhcp).ok()?;
    let brief = Config {
        dhcp: DhcpConfig {
            timeout: IPV4_TIME,
            ..DhcpConfig::default()
        },
        ..Config::default()
    };
    let place = until(
        &mut asking,
        &mut Watch::open().ok()?,
        &brief,
        signals,
        &mut Beside::default(),
        Session::only_discover,
        &mut |asking, _| {
            asking
                .iter()
                .position(|session| session.standing().is_some())
        },
    );
    asking.get(place.ok()??)?.preview()?.server
}

/// Configures the interface of a session, which is put back as it was found when the kernel refuses that.
pub(super) fn configure(mut session: Session6, watch: Watch) -> Result<(Bound6, Lease6), Error> {
    match session.configure() {
        Ok(lease) => Ok((Bound6 { session, watch }, lease)),
        Err(error) => {
            session.release();
            Err(error)
        }
    }
}

/// Drives the sessions until one has its lease; returns its place.
pub(super) fn settle(
    sessions: &mut [Session6],
    watch: &mut Watch,
    config: &Config,
    signals: Option<&Signals>,
) -> Result<usize, Error> {
    link::raise(sessions.iter().map(Session6::link))?;
    let mut started_at = sys::now();
    let mut carrier_at = None;
    loop {
        let now = sys::now();
        drive(sessions, watch, now)?;
        if let Some(place) = sessions.iter().position(|session| session.is_settled(now)) {
            return Ok(place);
        }
        if sessions.iter().any(Session6::has_begun) {
            carrier_at.get_or_insert(now);
        }
        let deadline = carrier_at.map_or(started_at + config.link.timeout, |at| {
            at + config.dhcp.timeout
        });
        if now >= deadline {
            let error = failure(sessions, carrier_at, started_at, now);
            if !config.dhcp.never_gives_up {
                return Err(error);
            }
            log::warn!("{}; still asking", error.chain());
            for session in &*sessions {
                report::change(&session.link().name, Event::LeaseFail);
            }
            started_at = now;
            carrier_at = carrier_at.map(|_| now);
            continue;
        }
        wait(sessions, watch, signals, deadline, now)?;
    }
}

/// Does what is due.
fn drive(sessions: &mut [Session6], watch: &mut Watch, now: Instant) -> Result<(), Error> {
    while let Some(change) = watch.next_change()? {
        for session in &mut *sessions {
            session.handle_link(&change, now)?;
        }
    }
    for session in sessions {
        session.handle_input(now)?;
        session.handle_timeout(now)?;
    }
    Ok(())
}

fn failure(
    sessions: &[Session6],
    carrier_at: Option<Instant>,
    started_at: Instant,
    now: Instant,
) -> Error {
    let Some(carrier_at) = carrier_at else {
        let mut names = Vec::new();
        for session in sessions {
            names.push(&*session.link().name);
        }
        return Box::new(Reason::NoCarrier {
            interface: names.join(" "),
            waited: now.since(started_at),
        });
    };
    let waited = Seconds(now.since(carrier_at));
    let mut text = format!("no address of IPv6 after {waited:.1} s");
    let mut before = ": ";
    for session in sessions.iter().filter(|session| session.has_begun()) {
        let name = &session.link().name;
        text.push_str(&format!("{before}{name}: {}", session.explain()));
        before = "; ";
    }
    Box::new(Reason::NoOffer(text))
}

fn wait(
    sessions: &[Session6],
    watch: &mut Watch,
    signals: Option<&Signals>,
    deadline: Instant,
    now: Instant,
) -> Result<(), Error> {
    report::service::alive();
    let watchdog = report::service::watchdog_interval().map(|interval| now + interval);
    let mut until = watchdog.map_or(deadline, |at| at.min(deadline));
    for session in sessions {
        until = session.poll_timeout(now).map_or(until, |at| at.min(until));
    }
    let mut sources = vec![watch.as_fd()];
    for session in sessions {
        session.add_sources(&mut sources);
    }
    sources.extend(signals.map(AsFd::as_fd));
    sys::wait_readable(&sources, Some(until)).map_err(cannot_wait)?;
    watch.set_readable();
    let signal = signals
        .map(Signals::take)
        .transpose()
        .map_err(cannot_wait)?;
    match signal.flatten() {
        Some(signal) => Err(Box::new(Reason::Interrupted(signal))),
        None => Ok(()),
    }
}

/// Listens for other hosts with the addresses that are in use already, for a lease that nobody keeps. What
/// another host has is removed, and what routers and servers give instead is set.
///
/// # Errors
/// As [`lease`].
pub fn listen_on(
    bound: Bound6,
    lease: Lease6,
    config: &Config,
    signals: &Signals,
) -> Result<(Bound6, Lease6), Error> {
    let Bound6 { session, mut watch } = bound;
    let mut sessions = [session];
    let listened = listen(&mut sessions, &mut watch, lease, config, signals);
    let [session] = sessions;
    match listened {
        Ok(lease) => Ok((Bound6 { session, watch }, lease)),
        Err(error) => {
            session.release();
            Err(error)
        }
    }
}

fn listen(
    sessions: &mut [Session6; 1],
    watch: &mut Watch,
    mut lease: Lease6,
    config: &Config,
    signals: &Signals,
) -> Result<Lease6, Error> {
    loop {
        let now = sys::now();
        drive(sessions, watch, now)?;
        let [session] = &mut *sessions;
        if session.take_news() {
            lease = session.configure()?;
            if lease.addresses.is_empty() && !session.is_settled(now) {
                settle(sessions, watch, config, Some(signals))?;
                // What it has now.
                let [session] = &mut *sessions;
                session.note_news();
                continue;
            }
        }
        let Some(until) = session.probe_answered_by().filter(|at| now < *at) else {
            return Ok(lease);
        };
        wait(sessions, watch, Some(signals), until, now)?;
    }
}

/// Keeps the lease until a signal ends it, as for IPv4: SIGHUP renews, SIGTERM and SIGINT leave the
/// configuration, which ends with its lifetimes, and SIGUSR2 gives everything back.
///
/// # Errors
/// [`Reason::System`] when a call fails that every machine should allow.
pub fn keep(
    bound: Bound6,
    lease: &Lease6,
    signals: &Signals,
    config: &Config,
) -> Result<(), Error> {
    let mut renewal = Renewal6::begin(bound)?;
    let name = renewal.session.link().name.clone();
    // The port of DHCPv6 is bound anew when the interface returns.
    let kept = CAP_NET_ADMIN | CAP_NET_RAW | CAP_NET_BIND_SERVICE;
    confine(renewal.session.paths(), kept, config)?;
    renewal.session.report("bound", lease);
    loop {
        match signals.take().map_err(cannot_wait)? {
            Some(Signal::Hangup | Signal::User1) => renewal.session.renew(sys::now()),
            Some(Signal::Interrupt | Signal::End) => {
                log::info!("{name}: exiting, addresses kept");
                renewal.session.outlive();
                return Ok(());
            }
            Some(Signal::User2) => {
                renewal.session.release();
                report::change(&name, Event::Deconfig("RELEASE"));
                log::info!("{name}: released the addresses");
                return Ok(());
            }
            None => {}
        }
        if let Err(error) = renewal.handle_events() {
            // As another host has the address that was given.
            renewal.session.release();
            return Err(error);
        }
        renewal.wait(&[signals.as_fd()])?;
    }
}

/// A lease in use, as [`Renewal`](super::keep::Renewal).
#[derive(Debug)]
pub(super) struct Renewal6 {
    session: Session6,
    watch: Watch,
    alarm: Alarm,
    /// When the interface is changed, as routers and servers have said.
    change_at: Option<Instant>,
    changed_at: Instant,
    is_bound: bool,
}

impl Renewal6 {
    /// Begins to keep the lease of a configured session.
    ///
    /// # Errors
    /// [`Reason::System`] without a timer.
    pub(super) fn begin(bound: Bound6) -> Result<Self, Error> {
        Ok(Self {
            session: bound.session,
            watch: bound.watch,
            alarm: Alarm::open().map_err(cannot_wait)?,
            change_at: None,
            changed_at: Instant::ZERO,
            is_bound: true,
        })
    }

    /// Does what is due.
    ///
    /// # Errors
    /// As [`keep`].
    pub(super) fn handle_events(&mut self) -> Result<(), Error> {
        let now = sys::now();
        let session = std::slice::from_mut(&mut self.session);
        drive(session, &mut self.watch, now)?;
        if self.session.take_news() {
            let at = now.max(self.changed_at + CHANGE_INTERVAL);
            self.change_at.get_or_insert(at);
        }
        if self.change_at.is_some_and(|at| now >= at) {
            (self.change_at, self.changed_at) = (None, now);
            match self.session.configure() {
                Ok(lease) if lease.addresses.is_empty() => {
                    if std::mem::take(&mut self.is_bound) {
                        let name = &self.session.link().name;
                        report::change(name, Event::Deconfig("EXPIRE"));
                    }
                }
                Ok(lease) => {
                    let is_bound = std::mem::replace(&mut self.is_bound, true);
                    let event = if is_bound { "renew" } else { "bound" };
                    self.session.report(event, &lease);
                }
                Err(error) => log::error!("{}", error.chain()),
            }
        }
        Ok(())
    }

    /// Waits until something is due, or one of `others`, two at most, is readable; returns which are.
    ///
    /// # Errors
    /// [`Reason::System`] when `poll` fails.
    pub(super) fn wait(&mut self, others: &[BorrowedFd<'_>]) -> Result<[bool; 2], Error> {
        let deadlines = [self.session.poll_timeout(sys::now()), self.change_at];
        let mut sources = others.to_vec();
        self.session.add_sources(&mut sources);
        wait_until_due(sources, deadlines, &mut self.watch, &self.alarm)
    }

    /// The interface's name.
    pub(super) fn link_name(&self) -> String {
        self.session.link().name.clone()
    }

    /// Ends the renewal and leaves the lease in force.
    pub(super) fn end(self) -> Bound6 {
        Bound6 {
            session: self.session,
            watch: self.watch,
        }
    }
}
