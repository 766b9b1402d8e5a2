//! Acquires addresses of IPv6 on one of the interfaces.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::beside::Beside;
use super::keep::cannot_wait;
use super::race::{open_shared, until};
use super::session::Session;
use super::session6::Session6;
use crate::config::{Config, DhcpConfig};
use crate::error::{Error, Reason};
use crate::link::{self, Found, Link, Watch};
use crate::notify;
use crate::script::Event;
use crate::sys;
use crate::sys::signal::Signals;
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::lease::Lease6;
use wireboot_proto::text::safe::Safe;
use wireboot_proto::time::{Instant, Seconds};

/// How long a server of IPv4 may take where IPv6 has failed.
const IPV4_TIME: Duration = Duration::from_secs(1);
/// How long other hosts are listened for, which takes 1 to 2 s, unless a router gives ever more addresses or
/// lets them end.
const LISTEN_TIME: Duration = Duration::from_secs(10);

/// An interface with its lease, and the monitor of its changes.
#[derive(Debug)]
pub struct Bound6 {
    pub(super) session: Session6,
    pub(super) watch: Watch,
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
/// [`Reason::NoCarrier`] when no interface has one in time, [`Reason::NoOffer`] when neither router nor
/// server gives an address in time after that, [`Reason::Refused`] when another host has the link-local
/// address, [`Reason::Configure`] with what the kernel refused.
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
    let bound = settled.and_then(|place| {
        let session = sessions.swap_remove(place);
        notify::change(&session.link().name, Event::Deconfig("PREINIT6"));
        configure(session, watch)
    });
    // A server may have set an address aside that nobody uses.
    for other in sessions {
        other.release();
    }
    bound
}

/// As [`lease`] for `--dry-run`, when servers are asked for offers alone, and `--inform`: returns what would
/// be set, which is not. The interface is put back by [`Bound6::restore`].
///
/// # Errors
/// As [`lease`].
pub fn preview(
    found: Found,
    config: &Config,
    purpose: Purpose,
    signals: &Signals,
) -> Result<(Bound6, Lease6), Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, config, purpose)?;
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
            // One interface without IPv6 is no reason to give up the others.
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
        Ok(lease) => {
            if let Some(uri) = &lease.captive_portal {
                log::warn!(
                    "{}: a captive portal is here, which is not visited: {}",
                    session.link().name,
                    Safe::name(uri)
                );
            }
            Ok((Bound6 { session, watch }, lease))
        }
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
                notify::change(&session.link().name, Event::LeaseFail);
            }
            started_at = now;
            carrier_at = carrier_at.map(|_| now);
            continue;
        }
        wait(sessions, watch, signals, deadline, now)?;
    }
}

/// Does what is due.
pub(super) fn drive(
    sessions: &mut [Session6],
    watch: &mut Watch,
    now: Instant,
) -> Result<(), Error> {
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

pub(super) fn failure(
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
    let wants_address = !sessions.iter().any(Session6::wants_information);
    let mut text = if wants_address {
        format!("no address of IPv6 after {waited:.1} s")
    } else {
        format!("no configuration of IPv6 after {waited:.1} s")
    };
    let mut before = ": ";
    for session in sessions.iter().filter(|session| session.has_begun()) {
        let name = &session.link().name;
        text.push_str(&format!("{before}{name}: {}", session.explain()));
        before = "; ";
    }
    Box::new(Reason::NoOffer(text))
}

pub(super) fn wait(
    sessions: &[Session6],
    watch: &mut Watch,
    signals: Option<&Signals>,
    deadline: Instant,
    now: Instant,
) -> Result<(), Error> {
    notify::alive();
    let watchdog = notify::watchdog_interval().map(|interval| now + interval);
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
    let begun_at = sys::now();
    loop {
        let now = sys::now();
        let is_late = now >= begun_at + LISTEN_TIME;
        drive(sessions, watch, now)?;
        let [session] = &mut *sessions;
        if session.take_news() {
            lease = session.configure()?;
            if lease.addresses.is_empty() && !session.is_settled(now) {
                if is_late {
                    return Err(failure(sessions, Some(begun_at), begun_at, now));
                }
                settle(sessions, watch, config, Some(signals))?;
                // What it has now.
                let [session] = &mut *sessions;
                session.note_news();
                continue;
            }
        }
        let until = session.probe_answered_by().filter(|at| now < *at);
        let Some(until) = until.filter(|_| !is_late) else {
            return Ok(lease);
        };
        wait(sessions, watch, Some(signals), until, now)?;
    }
}
