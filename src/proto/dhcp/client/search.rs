//! The search for an offer that is granted: SELECTING and REQUESTING.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::state::{Event, Loss, Notice, Requested, State};
use super::transitions::Client;
use crate::dhcp::lease::Lease;
use crate::dhcp::offer::{self, Offer, Offers, PassedOver, Standing};
use crate::dhcp::resend::Resend;
use crate::time::Instant;

/// How often a REQUEST is sent before another offer is requested: about 8.5 s where that one is worth less,
/// and 2.5 s where it is as good.
const MAX_REQUESTS: u32 = 8;
const MAX_EQUAL_REQUESTS: u32 = 4;
/// How long an offer is requested before servers are asked for others, if there is no other.
// RFC 2131 §3.1 suggests four REQUESTs in 60 s, which is long for a machine that boots. An ACK that comes
// later still counts.
const REQUEST_TIME: Duration = Duration::from_secs(16);
/// A server may take twice as long for the ACK as for the OFFER, but no longer than this.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(30);
/// After this many servers in a row that did not grant their offers, any offer may be the next.
const MAX_FAILURES: u32 = 3;
/// Maximum number of servers that are reported to contradict the one chosen: any number may be made up.
const MAX_CONTRADICTING: usize = 4;

impl Client {
    /// Returns what the offers are worth that there are to choose from.
    pub fn standing(&self) -> Option<Standing> {
        let State::Selecting {
            offers, decide_at, ..
        } = &self.state
        else {
            return None;
        };
        offers.standing(self.config.wants_boot_file, *decide_at)
    }

    /// Leaves SELECTING when the offers are good enough, or the wait for better ones is over.
    pub(super) fn decide(&mut self) {
        let is_ripe = |standing: Standing| standing.is_ripe(self.now);
        if !self.defers_choice && self.standing().is_some_and(is_ripe) {
            self.request_best();
        }
    }

    /// Returns the best offer, when there is one, and the boot that a ProxyDHCP server adds.
    pub(super) fn best(&self) -> Option<(&Offer, Option<&Offer>)> {
        let State::Selecting { offers, .. } = &self.state else {
            return None;
        };
        Some((offers.best()?, offers.proxy()))
    }

    /// Asks for the best offer, when there is one.
    pub(super) fn request_best(&mut self) {
        let State::Selecting {
            offers, decide_at, ..
        } = &mut self.state
        else {
            return;
        };
        // A flood of offers that nobody stands behind may outdo a good one for ever.
        let taken = if self.passed_over.in_row() < MAX_FAILURES {
            offers.take_best()
        } else {
            offers.take_any(&mut self.random)
        };
        let Some(offer) = taken else { return };
        let (proxy, offers) = (
            offers.proxy().cloned().map(Box::new),
            core::mem::take(offers),
        );
        let (decide_at, server, address) = (*decide_at, offer.server, offer.address);
        if let Some(of) = self.passed_over.take_last().filter(|last| *last != server) {
            self.events.push_back(Event::Notice(Notice::Instead {
                server,
                address,
                of,
            }));
        }
        let chosen = offer.lease();
        for other in offers.leases() {
            self.compare(&other, &chosen);
        }
        self.watch(address);
        self.enter(State::Requesting {
            offer: Box::new(offer),
            proxy,
            offers,
            decide_at,
            requested_at: self.now,
            resend: Resend::new(self.now),
        });
    }

    /// Reports what another server says that does not fit the lease chosen, once for each server.
    pub(super) fn compare(&mut self, other: &Lease, chosen: &Lease) {
        let (Some(server), Some(instead)) = (other.server, chosen.server) else {
            return;
        };
        let is_known = server == instead || self.contradicting.contains(&server);
        if is_known || self.contradicting.len() >= MAX_CONTRADICTING {
            return;
        }
        if let Some((title, says, instead_of)) = offer::contradiction(other, chosen) {
            self.contradicting.push(server);
            self.events.push_back(Event::Notice(Notice::Contradiction {
                server,
                title,
                says,
                chosen: instead,
                instead_of,
            }));
        }
    }

    /// Returns whether the REQUESTs have been waited for for long enough.
    pub(super) fn is_unanswered(&self) -> bool {
        let State::Requesting {
            offer,
            offers,
            decide_at,
            requested_at,
            resend,
            ..
        } = &self.state
        else {
            return false;
        };
        if self.now < resend.next_at() {
            return false;
        }
        let waited = self.now.since(*requested_at);
        // From the first DISCOVER to the first OFFER.
        let first_at = decide_at.map_or(*requested_at, |at| {
            self.began_at
                + at.since(self.began_at)
                    .saturating_sub(self.config.boot_file_wait())
        });
        let slowness = (first_at.since(self.began_at) * 2).min(MAX_REQUEST_TIME);
        if waited < slowness {
            return false;
        }
        match offers.best().map(Offer::rank) {
            None => waited >= REQUEST_TIME,
            Some(other) => {
                let most = if other < offer.rank() {
                    MAX_REQUESTS
                } else {
                    MAX_EQUAL_REQUESTS
                };
                // The more do not answer, the sooner the next is tried.
                resend.sent() >= (most >> self.passed_over.in_row().min(3)).max(1)
            }
        }
    }

    /// Gives up the offer that is requested, and passes over its server for a while: requests another
    /// offer, or asks all servers again after a pause. The exchange goes on, so that late offers count.
    pub(super) fn refuse(&mut self, loss: Loss) {
        let now = self.now;
        let State::Requesting {
            offer,
            proxy,
            mut offers,
            decide_at,
            resend,
            ..
        } = core::mem::replace(&mut self.state, State::Stopped)
        else {
            return;
        };
        let server = offer.server;
        if matches!(loss, Loss::Unanswered { .. }) {
            let boots = [Some(offer.clone()), proxy].into_iter().flatten();
            self.requested = Some(Requested {
                address: offer.address,
                server: Some(server),
                boots: boots.map(|offer| offer.boot).collect(),
                sent_at: resend.sent_at(),
            });
        }
        offers.remove(server);
        self.events.push_back(Event::Failed(loss));
        let pause = self.pass_over(server);
        self.search(offers, decide_at, now + pause);
    }

    /// Passes over the offers of a server for a while; returns how long to wait before all are asked
    /// again.
    pub(super) fn pass_over(&mut self, server: Ipv4Addr) -> Duration {
        let time = self.passed_over.add(server, self.now);
        let notice = Notice::PassedOver { server, time };
        self.events.push_back(Event::Notice(notice));
        PassedOver::pause(time)
    }

    /// Goes on to look for offers in the same exchange, asking at `next_at`.
    pub(super) fn search(&mut self, offers: Offers, decide_at: Option<Instant>, next_at: Instant) {
        self.unwatch();
        self.enter(State::Selecting {
            offers,
            decide_at,
            resend: Resend::later(next_at),
        });
        // Those whose time was over while another offer was requested.
        self.take_held();
        self.decide();
    }

    /// Says once that the best offer waits for a boot file, when it is unusually long.
    pub(super) fn note_wait(&mut self) {
        let Some(at) = self.notice_at.filter(|at| self.now >= *at) else {
            return;
        };
        self.notice_at = None;
        if let Some(standing) = self.standing().filter(|it| !it.is_ripe(self.now)) {
            let time = standing.decide_at.since(at);
            let notice = Notice::AwaitsBootFile { time };
            self.events.push_back(Event::Notice(notice));
        }
    }

    /// Takes the offers of servers that have been passed over for long enough.
    pub(super) fn take_held(&mut self) {
        while let Some(offer) = self.passed_over.take_due(self.now) {
            if let State::Selecting { offers, .. } = &mut self.state {
                offers.add(offer, &mut self.random);
            }
        }
    }
}
