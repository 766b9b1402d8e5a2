//! Timers of the client.

use super::Client;
use super::state::{ActiveLease, Event, Loss, State, StateName};
use crate::dhcp::offer::Offers;
use crate::dhcp::resend::Resend;
use crate::time::Instant;

/// How often a REQUEST is sent before its offer is given up: about 8.5 s.
// RFC 2131 §3.1 suggests four REQUESTs in 60 s, which is long for a machine that boots.
const MAX_REQUESTS: u32 = 8;
/// How often a known address is asked for before a new one is (INIT-REBOOT): about 3.5 s.
// RFC 2131 §3.2 allows use of the unconfirmed address then; the network may be another one.
const MAX_REBOOT_REQUESTS: u32 = 5;

impl Client {
    pub(super) fn tick(&mut self) {
        let now = self.now;
        if let Some(guard) = &mut self.guard {
            guard.handle_timeout(now, &mut self.random);
        }
        let is_over = |active: &ActiveLease| active.expires_at().is_some_and(|at| now >= at);
        if self.previous.as_ref().is_some_and(is_over) {
            self.previous = None;
            self.events.push_back(Event::Lost(Loss::Expired));
        }
        if let Some(resend) = self.state.resend() {
            resend.handle_timeout(now);
        }
        match &self.state {
            State::Init { start_at } if now >= *start_at => {
                self.begin(now);
                self.enter(State::Selecting {
                    offers: Offers::default(),
                    decide_at: None,
                    resend: Resend::new(now),
                });
            }
            State::Selecting { .. } => self.decide(),
            State::Requesting { offer, resend, .. } if resend.is_spent(now, MAX_REQUESTS) => {
                let server = offer.server;
                self.fail(Loss::Unanswered { server }, now);
            }
            State::Rebooting { resend, .. } if resend.is_spent(now, MAX_REBOOT_REQUESTS) => {
                self.restart(now);
            }
            State::Probing { active } => {
                let active = active.clone();
                if let Some(guard) = &mut self.guard
                    && guard.is_clear()
                {
                    guard.announce(now);
                    self.bind(active);
                    self.tick();
                }
            }
            State::Bound { active }
            | State::Renewing { active, .. }
            | State::Rebinding { active, .. } => {
                let active = active.clone();
                self.extend(active);
            }
            State::Init { .. }
            | State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Informing { .. }
            | State::Stopped => {}
        }
    }

    /// Sees to a lease in use: T1, T2 and its end.
    fn extend(&mut self, active: ActiveLease) {
        let now = self.now;
        let reached = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let name = self.state.name();
        // The end first: after a suspend, T1, T2 and the end may all have passed at once.
        if reached(active.expires_at()) {
            self.lose(Loss::Expired, now);
        } else if reached(active.rebind_at()) && name != StateName::Rebinding {
            self.begin(now);
            let resend = Resend::new(now);
            self.enter(State::Rebinding { active, resend });
        } else if reached(active.renew_at()) && name == StateName::Bound {
            self.begin(now);
            let resend = Resend::new(now);
            self.enter(State::Renewing { active, resend });
        }
    }

    /// Returns everything that there is to wait for.
    pub(super) fn deadlines(&self) -> [Option<Instant>; 4] {
        let (first, second) = match &self.state {
            State::Init { start_at } => (Some(*start_at), None),
            State::Selecting {
                decide_at, resend, ..
            } => {
                // Somebody else decides, and knows since when.
                let at = decide_at.filter(|at| !self.defers_choice || *at > self.now);
                (at, Some(resend.next_at()))
            }
            State::Requesting { resend, .. }
            | State::Rebooting { resend, .. }
            | State::Informing { resend, .. } => (Some(resend.next_at()), None),
            State::Bound { active } => (active.renew_at(), active.expires_at()),
            State::Renewing { active, resend } => (active.rebind_at(), Some(resend.next_at())),
            State::Rebinding { active, resend } => (active.expires_at(), Some(resend.next_at())),
            State::Probing { .. } | State::Stopped => (None, None),
        };
        let guard = self.guard.as_ref().and_then(|guard| guard.poll_timeout());
        let previous = self.previous.as_ref().and_then(ActiveLease::expires_at);
        [first, second, guard, previous]
    }
}
