//! Stays with a lease of IPv6: renews it, follows routers and the carrier, obeys signals, and gives it back.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::ipv6::{Bound6, drive, failure, wait};
use super::keep::{cannot_wait, confine, wait_until_due};
use super::session6::Session6;
use crate::config::Config;
use crate::error::Error;
use crate::link::{self, Found, Watch};
use crate::notify;
use crate::script::Event;
use crate::sys;
use crate::sys::clock::Alarm;
use crate::sys::sandbox::{CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW};
use crate::sys::signal::{Signal, Signals};
use wireboot_proto::ipv6::lease::Lease6;
use wireboot_proto::time::Instant;

/// Shortest time from one change of the interface to the next, whatever routers send.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the lease until a signal ends it, as for IPv4: SIGHUP renews, SIGTERM and SIGINT leave the
/// configuration, which ends with its lifetimes, and SIGUSR2 gives everything back.
///
/// # Errors
/// [`crate::error::Reason::System`] when a call fails that every machine should allow.
pub fn keep6(bound: Bound6, signals: &Signals, config: &Config) -> Result<(), Error> {
    let mut renewal = Renewal6::begin(bound)?;
    let name = renewal.session.link().name.clone();
    // The port of DHCPv6 is bound anew when the interface returns.
    let kept = CAP_NET_ADMIN | CAP_NET_RAW | CAP_NET_BIND_SERVICE;
    confine(renewal.session.paths(), kept, config)?;
    loop {
        match signals.take().map_err(cannot_wait)? {
            Some(Signal::Hangup | Signal::User1) => renewal.session.renew(sys::now()),
            Some(Signal::Interrupt | Signal::Quit | Signal::End) => {
                log::info!("{name}: exiting, addresses kept");
                renewal.session.outlive();
                return Ok(());
            }
            Some(Signal::User2) => {
                let Bound6 { session, mut watch } = renewal.end();
                release(session, &mut watch, signals);
                notify::change(&name, Event::Deconfig("RELEASE6"));
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
    /// What others were told of last, without its times.
    told: Lease6,
}

impl Renewal6 {
    /// Begins to keep the lease of a configured session.
    ///
    /// # Errors
    /// [`crate::error::Reason::System`] without a timer.
    pub(super) fn begin(mut bound: Bound6) -> Result<Self, Error> {
        bound.session.take_answered();
        Ok(Self {
            told: bound.session.lease().without_times(),
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
    /// As [`keep6`].
    pub(super) fn handle_events(&mut self) -> Result<(), Error> {
        let now = sys::now();
        let session = std::slice::from_mut(&mut self.session);
        drive(session, &mut self.watch, now)?;
        if self.session.take_news() {
            let at = now.max(self.changed_at + CHANGE_INTERVAL);
            // The earliest stands, or a stream of advertisements would put it off for ever.
            self.change_at.get_or_insert(at);
        }
        if self.change_at.is_some_and(|at| now >= at) {
            (self.change_at, self.changed_at) = (None, now);
            match self.session.configure() {
                Ok(lease) if lease.addresses.is_empty() => {
                    if std::mem::take(&mut self.is_bound) {
                        let name = &self.session.link().name;
                        notify::change(name, Event::Deconfig("EXPIRE6"));
                    }
                }
                Ok(lease) => {
                    let is_bound = std::mem::replace(&mut self.is_bound, true);
                    let told = lease.clone().without_times();
                    // Routers advertise themselves every few seconds, and change nothing.
                    if self.session.take_answered() || !is_bound || told != self.told {
                        self.session.report(!is_bound, &lease);
                    }
                    self.told = told;
                }
                Err(error) => log::error!("{}", error.chain()),
            }
        }
        Ok(())
    }

    /// Waits until something is due, or one of `others`, two at most, is readable; returns which are.
    ///
    /// # Errors
    /// [`crate::error::Reason::System`] when `poll` fails.
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
        notify::change(&name, Event::Deconfig("RELEASE6"));
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
