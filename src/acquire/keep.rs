//! Stays with a lease: renews it, follows the carrier, and obeys signals.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::session::Session;
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::link::{Presence, Watch};
use crate::notify;
use crate::recorder::Recorder;
use crate::script::Event;
use crate::sys::clock::Alarm;
use crate::sys::sandbox::{CAP_NET_ADMIN, CAP_NET_RAW, Calls};
use crate::sys::signal::{Signal, Signals};
use crate::sys::{self, SyscallError, files};
use crate::worker;
use wireboot_proto::dhcp;
use wireboot_proto::time::{Instant, earliest};

/// Keeps the lease of a configured session until a signal ends it.
///
/// SIGHUP renews. SIGTERM and SIGINT end and leave the lease and its configuration, which the
/// kernel removes when the lease is over; SIGUSR2 releases both. While there is no lease the
/// interface has no address, and a new one is asked for. An interface that is removed, as a USB card
/// that is unplugged, is waited for without end. The script is run for every change, but not for an
/// end that leaves the lease.
///
/// # Errors
/// [`Reason::System`] when a call fails that every machine should allow.
pub fn keep(session: Session, signals: &Signals, config: &Config) -> Result<(), Error> {
    let mut renewal = Renewal::begin(session)?;
    let name = renewal.session.link().name.clone();
    let kept = CAP_NET_ADMIN | CAP_NET_RAW;
    confine(renewal.session.paths(), kept, config)?;
    loop {
        match signals.take().map_err(cannot_wait)? {
            // As udhcpc, which scripts send SIGUSR1 to.
            Some(Signal::Hangup | Signal::User1) => renewal.session.renew(sys::now()),
            Some(Signal::Interrupt | Signal::Quit | Signal::End) => {
                log::info!("{name}: exiting, lease kept");
                return Ok(());
            }
            // SIGUSR2 releases for udhcpc as well.
            Some(Signal::User2) => {
                renewal.session.release();
                notify::change(&name, Event::Deconfig("RELEASE"));
                log::info!("{name}: released the lease");
                return Ok(());
            }
            None => {}
        }
        renewal.handle_events()?;
        renewal.wait(&[signals.as_fd()])?;
    }
}

/// Leaves this process what a lease takes: these capabilities for the interface, and the files about it by
/// another process.
pub(super) fn confine(mut paths: Vec<PathBuf>, kept: u64, config: &Config) -> Result<(), Error> {
    let sandbox = &config.trust.sandbox;
    if sandbox.has_workers() {
        paths.push(Recorder::file(config.output.record.as_deref()).into());
        files::serve(paths).map_err(|source| {
            Box::new(Reason::System {
                doing: "cannot start the process that writes files".to_owned(),
                source,
            })
        })?;
    }
    worker::give_up(sandbox, "the kept lease", kept, Calls::Lease);
    Ok(())
}

/// Shortest time from one look for removed addresses and routes to the next: another program may
/// remove them as fast as they are set.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A lease in use, which is renewed for as long as somebody calls [`Renewal::handle_events`] after
/// each [`Renewal::wait`].
#[derive(Debug)]
pub(super) struct Renewal {
    session: Session,
    watch: Watch,
    alarm: Alarm,
    is_bound: bool,
    /// When to look whether the interface still has what the lease says; none if nothing has gone.
    check_at: Option<Instant>,
    checked_at: Instant,
}

impl Renewal {
    /// Begins to keep the lease of a configured session.
    ///
    /// # Errors
    /// [`Reason::System`] when a call fails that every machine should allow.
    pub(super) fn begin(mut session: Session) -> Result<Self, Error> {
        // Renewals are answered by unicast to port 68, which the kernel would refuse by ICMP
        // without a socket.
        session.bind_client_port();
        let mut watch = session.take_link_monitor()?;
        // Whoever removes an address or a route tells nobody: RTM_DELADDR and RTM_DELROUTE are the
        // only signs.
        watch.follow_settings()?;
        Ok(Self {
            watch,
            alarm: Alarm::open().map_err(cannot_wait)?,
            session,
            is_bound: true,
            check_at: None,
            checked_at: Instant::ZERO,
        })
    }

    /// Does what is due: reads what has arrived, sends, and gives the interface what the lease now
    /// says.
    ///
    /// # Errors
    /// As [`keep`].
    pub(super) fn handle_events(&mut self) -> Result<(), Error> {
        let Self {
            session,
            watch,
            is_bound,
            ..
        } = self;
        let now = sys::now();
        let name = session.link().name.clone();
        while let Some(change) = watch.next_change()? {
            match session.handle_link(&change, now) {
                Some(Presence::Removed) => {
                    notify::change(&name, Event::Deconfig("DEPARTED"));
                    *is_bound = false;
                }
                // The lease holds until it is over, whether or not a server is there to confirm it
                // (RFC 2131 §3.2).
                Some(Presence::Returned) => session.configure_returned(),
                Some(Presence::Same) | None => {}
            }
        }
        if watch.take_loss() {
            let at = now.max(self.checked_at + CHECK_INTERVAL);
            // The earliest stands, or a stream of changes would put it off for ever.
            self.check_at.get_or_insert(at);
        }
        if self.check_at.is_some_and(|at| now >= at) {
            (self.check_at, self.checked_at) = (None, now);
            session.reconfigure();
        }
        session.handle_input(watch, now)?;
        session.handle_timeout(now);
        while let Some(event) = session.poll_event() {
            if let Some(reason) = event.refusal() {
                notify::change(&name, Event::Nak(reason));
            }
            match event {
                dhcp::Event::Bound(lease) => {
                    let what = if *is_bound { "renewed " } else { "" };
                    log::info!("{name}: {what}{lease}");
                    match session.configure() {
                        Ok(lease) if *is_bound => notify::change(&name, Event::Renew(&lease)),
                        Ok(lease) => notify::change(&name, Event::Bound(&lease)),
                        Err(error) => log::error!("{}", error.chain()),
                    }
                    *is_bound = true;
                }
                dhcp::Event::Lost(_) => {
                    session.clear();
                    notify::change(&name, Event::Deconfig("EXPIRE"));
                    *is_bound = false;
                }
                dhcp::Event::Entered(_)
                | dhcp::Event::Offered(_)
                | dhcp::Event::Failed(_)
                | dhcp::Event::OtherAddress { .. }
                | dhcp::Event::Unanswered { .. }
                | dhcp::Event::Notice(_)
                | dhcp::Event::Ipv6Only { .. } => {}
            }
        }
        Ok(())
    }

    /// Waits until something is due, or one of `others`, two at most, is readable; returns which are.
    ///
    /// # Errors
    /// [`Reason::System`] when `poll` fails.
    pub(super) fn wait(&mut self, others: &[BorrowedFd<'_>]) -> Result<[bool; 2], Error> {
        let deadlines = [self.session.poll_timeout(), self.check_at];
        let mut sources = others.to_vec();
        sources.extend(self.session.sources());
        wait_until_due(sources, deadlines, &mut self.watch, &self.alarm)
    }

    /// The interface's name.
    pub(super) fn link_name(&self) -> String {
        self.session.link().name.clone()
    }

    /// Ends the renewal and leaves the lease in force.
    pub(super) fn end(self) -> Session {
        self.session
    }
}

/// Waits until one of the `deadlines` has passed, a source is readable or an interface has changed, but no
/// longer than the service manager waits for a sign of life; returns which of the first two sources are
/// readable.
pub(super) fn wait_until_due(
    others: Vec<BorrowedFd<'_>>,
    [one, other]: [Option<Instant>; 2],
    watch: &mut Watch,
    alarm: &Alarm,
) -> Result<[bool; 2], Error> {
    notify::alive();
    let watchdog = notify::watchdog_interval().map(|interval| sys::now() + interval);
    // A timeout of poll stands still in suspend, and T1 would come late by as long as that took.
    let deadline = earliest(&[one, other, watchdog]);
    alarm.set(deadline).map_err(cannot_wait)?;
    // Those of the caller live longer.
    let mut sources: Vec<BorrowedFd<'_>> = others;
    sources.extend([watch.as_fd(), alarm.as_fd()]);
    let readable = sys::wait_readable(&sources, None).map_err(cannot_wait)?;
    watch.set_readable();
    // There are two at least: the monitor and the timer.
    Ok(readable.first_chunk().copied().unwrap_or_default())
}

pub(super) fn cannot_wait(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot wait for packets and signals".to_owned(),
        source,
    })
}
