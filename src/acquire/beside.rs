//! Sessions of IPv6 that race those of IPv4 on the same interfaces, whose wait they never prolong.

#![cfg_attr(
    not(feature = "ipv6"),
    allow(
        unused_variables,
        unused_mut,
        clippy::unused_self,
        clippy::missing_const_for_fn,
        reason = "there are none"
    )
)]

use std::os::fd::BorrowedFd;
#[cfg(feature = "ipv6")]
use std::sync::Arc;

#[cfg(feature = "ipv6")]
use super::session6::Session6;
#[cfg(feature = "ipv6")]
use crate::config::Config;
#[cfg(feature = "ipv6")]
use crate::error::Error;
use crate::link::Change;
#[cfg(feature = "ipv6")]
use crate::link::Link;
use wireboot_proto::time::Instant;

/// Sessions beside others; none without the feature `ipv6`, and where IPv4 is asked alone.
#[derive(Debug, Default)]
pub(super) struct Beside {
    #[cfg(feature = "ipv6")]
    sessions: Vec<Session6>,
}

#[cfg(feature = "ipv6")]
impl Beside {
    /// Prepares the interfaces where IPv6 is not switched off.
    pub(super) fn open(links: impl Iterator<Item = Arc<Link>>, config: &Config) -> Self {
        let mut all = Self::default();
        for link in links {
            let opened = Session6::open(link, config);
            all.sessions.extend(opened.map_err(note_failure).ok());
        }
        all
    }

    /// Takes out the session that has a boot file, or else one that has an address.
    pub(super) fn take_best(&mut self, now: Instant) -> Option<Session6> {
        let sessions = self.sessions.iter().enumerate();
        let settled = sessions.filter_map(|(place, session)| {
            let lease = session.settled(now)?;
            Some((lease.boot_file.is_none(), place))
        });
        // The first of equal ones.
        let (_, place) = settled.min()?;
        Some(self.sessions.remove(place))
    }

    /// Ends all, but for what belongs to the interfaces themselves.
    pub(super) fn end(self) {
        self.sessions.into_iter().for_each(Session6::end_beside);
    }

    /// Returns why none has an address.
    pub(super) fn explain(&self, now: Instant) -> String {
        let sessions = self.sessions.iter().filter(|session| session.has_begun());
        let why: Vec<_> = sessions.map(|session| session.explain(now)).collect();
        if why.is_empty() {
            "not asked for".to_owned()
        } else {
            why.join("; ")
        }
    }
}

impl Beside {
    /// Returns whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        #[cfg(feature = "ipv6")]
        return self.sessions.is_empty();
        #[cfg(not(feature = "ipv6"))]
        true
    }

    /// Handles a change of an interface; a session that fails is given up.
    pub(super) fn handle_link(&mut self, change: &Change, now: Instant) {
        #[cfg(feature = "ipv6")]
        self.with_each(|session| session.handle_link(change, now));
    }

    /// Does what is due; returns whether a session has an address and a boot file.
    pub(super) fn drive(&mut self, now: Instant) -> bool {
        let mut has_won = false;
        #[cfg(feature = "ipv6")]
        self.with_each(|session| {
            session.handle_input(now)?;
            session.handle_timeout(now)?;
            let lease = session.settled(now);
            has_won |= lease.is_some_and(|lease| lease.boot_file.is_some());
            Ok(())
        });
        has_won
    }

    #[cfg(feature = "ipv6")]
    fn with_each(&mut self, mut act: impl FnMut(&mut Session6) -> Result<(), Error>) {
        let failed = |session: &mut Session6| act(session).map_err(note_failure).is_err();
        let failed: Vec<_> = self.sessions.extract_if(.., failed).collect();
        failed.into_iter().for_each(Session6::end_beside);
    }

    /// Returns when something is due.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let mut all = Vec::new();
        #[cfg(feature = "ipv6")]
        all.extend(
            self.sessions
                .iter()
                .filter_map(|session| session.poll_timeout(now)),
        );
        all.into_iter().min()
    }

    /// Returns the descriptors to wait on.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        #[cfg(feature = "ipv6")]
        return self.sessions.iter().flat_map(Session6::sources);
        #[cfg(not(feature = "ipv6"))]
        std::iter::empty()
    }
}

#[cfg(feature = "ipv6")]
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn note_failure(error: Error) {
    log::warn!("going on without IPv6: {}", error.chain());
}
