//! Sessions of IPv6 that race those of IPv4 on the same interfaces, whose wait they never prolong.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::session6::Session6;
use crate::config::Config;
use crate::error::Error;
use crate::link::{Change, Link};
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::time::{Instant, earliest};

/// Sessions beside others; none where IPv4 is asked alone.
#[derive(Debug, Default)]
pub(super) struct Beside {
    sessions: Vec<Session6>,
    /// Somebody has asked for both families.
    is_wanted: bool,
    /// Whether an address is enough to win, since no boot file is wanted.
    needs_no_file: bool,
}

/// How long an address waits for one of IPv4, from the carrier on, where no boot file is wanted.
const IPV4_TIME: Duration = Duration::from_secs(3);

/// Returns when a session no longer waits for IPv4.
fn ipv4_time_of(session: &Session6) -> Option<Instant> {
    session.began_at().map(|at| at + IPV4_TIME)
}

impl Beside {
    /// Prepares the interfaces where IPv6 is not switched off.
    pub(super) fn open(
        links: impl Iterator<Item = Arc<Link>>,
        config: &Config,
        purpose: Purpose,
    ) -> Self {
        let mut all = Self {
            sessions: Vec::new(),
            is_wanted: config.dhcp.family.is_some(),
            needs_no_file: config.dhcp.proxy_wait.is_none(),
        };
        for link in links {
            match Session6::open(link, config, purpose) {
                Ok(session) => all.sessions.push(session),
                Err(error) => all.note_failure(&error),
            }
        }
        all
    }

    /// Takes out the session that has a boot file, or else one that has an address.
    pub(super) fn take_best(&mut self, now: Instant) -> Option<Session6> {
        let mut best = None;
        for (place, session) in self.sessions.iter().enumerate() {
            if session.is_settled(now) && (best.is_none() || session.has_boot_file()) {
                best = Some(place);
                if session.has_boot_file() {
                    break;
                }
            }
        }
        best.map(|place| self.sessions.remove(place))
    }

    /// Takes out all sessions.
    #[cfg(feature = "discover")]
    pub(super) fn take_all(&mut self) -> Vec<Session6> {
        std::mem::take(&mut self.sessions)
    }

    /// Ends all, but for what belongs to the interfaces themselves.
    pub(super) fn end(self) {
        self.sessions.into_iter().for_each(Session6::end_beside);
    }

    /// Returns why none has an address; none if nobody was asked.
    pub(super) fn explain(&self) -> Option<String> {
        let mut why = Vec::new();
        for session in self.sessions.iter().filter(|session| session.has_begun()) {
            why.push(session.explain());
        }
        (!why.is_empty()).then(|| why.join("; "))
    }

    fn note_failure(&self, error: &Error) {
        let why = error.chain();
        if self.is_wanted {
            log::warn!("going on without IPv6: {why}");
        } else {
            // No fault where IPv4 is all there is.
            log::debug!("going on without IPv6: {why}");
        }
    }

    /// Returns whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Handles a change of an interface; a session that fails is given up.
    pub(super) fn handle_link(&mut self, change: &Change, now: Instant) {
        self.with_each(&mut |session| session.handle_link(change, now));
    }

    /// Does what is due; returns whether a session has an address, and a boot file if one is wanted.
    pub(super) fn drive(&mut self, now: Instant) -> bool {
        let mut has_won = false;
        let needs_no_file = self.needs_no_file;
        self.with_each(&mut |session| {
            session.handle_input(now)?;
            session.handle_timeout(now)?;
            let is_enough = if needs_no_file {
                ipv4_time_of(session).is_some_and(|at| now >= at)
            } else {
                session.has_boot_file()
            };
            has_won |= is_enough && session.is_settled(now);
            Ok(())
        });
        has_won
    }

    fn with_each(&mut self, act: &mut dyn FnMut(&mut Session6) -> Result<(), Error>) {
        let mut place = 0;
        while let Some(session) = self.sessions.get_mut(place) {
            match act(session) {
                Ok(()) => place += 1,
                Err(error) => {
                    self.note_failure(&error);
                    self.sessions.remove(place).end_beside();
                }
            }
        }
    }

    /// Returns when something is due.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let mut first = None;
        for session in &self.sessions {
            let wins_at = ipv4_time_of(session).filter(|at| self.needs_no_file && *at > now);
            first = earliest(&[first, session.poll_timeout(now), wins_at]);
        }
        first
    }

    /// Adds the descriptors to wait on.
    pub(super) fn add_sources<'a>(&'a self, sources: &mut Vec<BorrowedFd<'a>>) {
        for session in &self.sessions {
            session.add_sources(sources);
        }
    }
}
