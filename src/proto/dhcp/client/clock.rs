//! What the time does to the client.

use super::Client;
use super::state::{Event, Held, Loss, State, StateName};
use crate::dhcp::offer::Offers;
use crate::dhcp::resend::Resend;
use crate::time::Instant;

/// How often a REQUEST is sent before its offer is given up: about 8.5 s.
const MAX_REQUESTS: u32 = 8;
/// How often a known address is asked for before a new one is (INIT-REBOOT): about 3.5 s.
const MAX_REBOOT_REQUESTS: u32 = 5;

impl Client {
    pub(super) fn tick(&mut self) {
        let now = self.now;
        if let Some(guard) = &mut self.guard {
            guard.handle_timeout(now, &mut self.random);
        }
        let is_over = |held: &Held| held.expires_at().is_some_and(|at| now >= at);
        if self.kept.as_ref().is_some_and(is_over) {
            self.kept = None;
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
                let server = offer.lease.server;
                self.fail(Loss::Unanswered { server }, now);
            }
            State::Rebooting { resend, .. } if resend.is_spent(now, MAX_REBOOT_REQUESTS) => {
                self.restart(now);
            }
            State::Probing { held } => {
                let held = held.clone();
                if let Some(guard) = &mut self.guard
                    && guard.is_clear()
                {
                    guard.announce(now);
                    self.bind(held);
                    self.tick();
                }
            }
            State::Bound { held }
            | State::Renewing { held, .. }
            | State::Rebinding { held, .. } => {
                let held = held.clone();
                self.extend(held);
            }
            State::Init { .. }
            | State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Informing { .. }
            | State::Stopped => {}
        }
    }

    /// Sees to a lease in use: T1, T2 and its end.
    fn extend(&mut self, held: Held) {
        let now = self.now;
        let reached = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let name = self.state.name();
        if reached(held.expires_at()) {
            self.lose(Loss::Expired, now);
        } else if reached(held.rebind_at()) && name != StateName::Rebinding {
            self.begin(now);
            let resend = Resend::new(now);
            self.enter(State::Rebinding { held, resend });
        } else if reached(held.renew_at()) && name == StateName::Bound {
            self.begin(now);
            let resend = Resend::new(now);
            self.enter(State::Renewing { held, resend });
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
                let at = decide_at.filter(|at| !self.is_held || *at > self.now);
                (at, Some(resend.next_at()))
            }
            State::Requesting { resend, .. }
            | State::Rebooting { resend, .. }
            | State::Informing { resend, .. } => (Some(resend.next_at()), None),
            State::Bound { held } => (held.renew_at(), held.expires_at()),
            State::Renewing { held, resend } => (held.rebind_at(), Some(resend.next_at())),
            State::Rebinding { held, resend } => (held.expires_at(), Some(resend.next_at())),
            State::Probing { .. } | State::Stopped => (None, None),
        };
        let guard = self.guard.as_ref().and_then(|guard| guard.poll_timeout());
        let kept = self.kept.as_ref().and_then(Held::expires_at);
        [first, second, guard, kept]
    }
}
