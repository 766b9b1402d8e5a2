//! The client's transitions from state to state, with their timers.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::Client;
use super::state::{ActiveLease, Event, Loss, Notice, Requested, State, StateName, Transmit};
use crate::dhcp::config::Detection;
use crate::dhcp::message::{self, Exchange};
use crate::dhcp::offer::Offers;
use crate::dhcp::probe::Guard;
use crate::dhcp::resend::Resend;
use crate::packet::dhcp::MessageType;
use crate::packet::ethernet::MacAddress;
use crate::time::Instant;

/// How long one `xid` is used, so that answers which take that long still count.
// The time in which a client sends its messages, by RFC 2131 §3.1 and §4.1.
const EXCHANGE_TIME: Duration = Duration::from_secs(60);
/// A lease that ends after less counts as not granted. The default of servers is 10 minutes or more.
const SHORT_LEASE: Duration = Duration::from_secs(60);
/// How often a known address is asked for before a new one is (INIT-REBOOT): about 3.5 s.
// RFC 2131 §3.2 allows use of the unconfirmed address then; the network may be another one.
const MAX_REBOOT_REQUESTS: u32 = 5;

/// Pause after a DECLINE (RFC 2131 §3.1).
const CONFLICT_DELAY: Duration = Duration::from_secs(10);
/// Number of conflicts after which the pause is longer, and that pause (RFC 5227 §2.1.1).
const MAX_CONFLICTS: u32 = 10;
const RATE_LIMIT_INTERVAL: Duration = Duration::from_secs(60);

impl Client {
    /// Binds a lease, or first makes sure that nobody else has its address.
    pub(super) fn grant(&mut self, active: ActiveLease) {
        let (address, server) = (active.lease.address, active.server);
        let is_known =
            self.state.active().is_some() || matches!(self.state, State::Informing { .. });
        // RFC 5227 §2.1: an address is probed before its first use, and not again while it is in
        // use.
        if is_known || self.config.detection == Detection::Off {
            return self.bind(active);
        }
        if self.config.detection == Detection::Strict {
            let chaddr = self.config.chaddr;
            let guard = Guard::strict(chaddr, address, self.now, &mut self.random);
            self.guard = Some(guard);
            return self.enter(State::Probing { active });
        }
        let guard = self.guard.take().filter(|guard| guard.address() == address);
        // Nobody was asked before a lease that came without a REQUEST.
        let mut guard = guard.unwrap_or_else(|| self.asking(address));
        if let Some(owner) = guard.owner() {
            if !self.takes_despite(owner, address) {
                return self.decline(address, server, owner);
            }
            guard.ignore(owner);
        }
        guard.announce(self.now);
        self.guard = Some(guard);
        self.bind(active);
    }

    /// Returns a guard that has begun to ask.
    fn asking(&self, address: Ipv4Addr) -> Guard {
        let mut guard = Guard::overlapped(self.config.chaddr, address);
        guard.probe(self.now);
        guard
    }

    fn bind(&mut self, active: ActiveLease) {
        let lease = active.lease.clone();
        self.previous = None;
        self.is_silence_reported = false;
        self.requested = None;
        self.passed_over.succeed();
        self.enter(State::Bound { active });
        self.events.push_back(Event::Bound(lease));
    }

    /// Drives the timers of the state.
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
            State::Selecting { resend, .. }
                if resend.is_fresh() && now.since(self.began_at) >= EXCHANGE_TIME =>
            {
                self.begin(now);
                self.enter(State::Selecting {
                    offers: Offers::default(),
                    decide_at: None,
                    resend: Resend::new(now),
                });
            }
            State::Selecting { .. } => {
                self.take_held();
                self.note_wait();
                self.decide();
            }
            State::Requesting { offer, .. } if self.is_unanswered() => {
                let server = offer.server;
                self.refuse(Loss::Unanswered { server });
            }
            State::Rebooting { address, resend } if resend.is_spent(now, MAX_REBOOT_REQUESTS) => {
                self.requested = Some(Requested {
                    address: *address,
                    server: None,
                    boots: Vec::new(),
                    sent_at: resend.sent_at(),
                });
                if let Some(previous) = &self.previous {
                    let expires_at = previous.expires_at();
                    self.report_silence(expires_at);
                }
                self.search(Offers::default(), None, now);
                // Makes the DISCOVER due now; `search` has set its time only.
                self.tick();
            }
            State::Probing { active } => {
                let active = active.clone();
                if is_over(&active) {
                    // Probing takes up to 7 s, longer than such a lease.
                    self.fail(Loss::Expired, now);
                } else if let Some(guard) = &mut self.guard
                    && guard.is_clear()
                {
                    guard.announce(now);
                    self.bind(active);
                    // T1 of a short lease may have passed while its address was probed.
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
            let times = active.lease.times;
            // One that is granted and not extended again and again would be a flood.
            let is_short = times.is_some_and(|times| times.lease < SHORT_LEASE);
            let pause = if is_short {
                self.pass_over(active.server)
            } else {
                Duration::ZERO
            };
            return self.lose(Loss::Expired, now + pause);
        }
        let mut resend = self.state.resend().into_iter();
        if resend.any(|resend| resend.is_spent(now, 1)) {
            self.report_silence(active.expires_at());
        }
        if reached(active.rebind_at()) && name != StateName::Rebinding {
            self.begin(now);
            let resend = Resend::new(now);
            self.enter(State::Rebinding { active, resend });
        } else if reached(active.renew_at()) && name == StateName::Bound {
            self.begin(now);
            let resend = Resend::new(now);
            self.enter(State::Renewing { active, resend });
        }
    }

    /// Reports once that a lease which ends at `expires_at` is not extended.
    fn report_silence(&mut self, expires_at: Option<Instant>) {
        if !core::mem::replace(&mut self.is_silence_reported, true) {
            let left = expires_at.map(|at| at.since(self.now));
            self.events.push_back(Event::Unanswered { left });
        }
    }

    /// Returns everything that there is to wait for.
    pub(super) fn deadlines(&self) -> [Option<Instant>; 5] {
        let (first, second) = match &self.state {
            State::Init { start_at } => (Some(*start_at), None),
            State::Selecting {
                decide_at, resend, ..
            } => {
                // After it somebody else decides, or there is nothing to decide about.
                let at = decide_at.iter().chain(&self.notice_at);
                (
                    at.copied().filter(|at| *at > self.now).min(),
                    Some(resend.next_at()),
                )
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
        let is_selecting = matches!(self.state, State::Selecting { .. });
        let passed_over = self.passed_over.next_at().filter(|_| is_selecting);
        [first, second, guard, previous, passed_over]
    }

    /// Begins to watch over an address that is about to be asked for.
    pub(super) fn watch(&mut self, address: Ipv4Addr) {
        self.guard = match self.config.detection {
            Detection::Overlapped => Some(Guard::overlapped(self.config.chaddr, address)),
            Detection::Strict | Detection::Off => None,
        };
    }

    /// Another host has the address that is watched over. While a server has yet to commit it, the
    /// guard remembers that.
    pub(super) fn handle_conflict(&mut self, address: Ipv4Addr, owner: MacAddress) {
        let active = if let State::Probing { active } = &self.state {
            Some(active)
        } else {
            self.state.active().or(self.previous.as_ref())
        };
        let Some(active) = active.filter(|active| active.lease.address == address) else {
            return;
        };
        let server = active.server;
        if !self.takes_despite(owner, address) {
            self.decline(address, server, owner);
        } else if let Some(guard) = &mut self.guard {
            guard.ignore(owner);
        }
    }

    /// Returns whether an address is taken although `owner` claims it, since that host has claimed all
    /// others that were offered, which is proxy ARP.
    fn takes_despite(&mut self, owner: MacAddress, address: Ipv4Addr) -> bool {
        let takes = self.config.detection == Detection::Overlapped
            && self.claims.is_by_proxy(owner, address);
        if takes {
            let notice = Notice::ProxyArp {
                owner,
                address,
                is_taken: true,
            };
            self.events.push_back(Event::Notice(notice));
        }
        takes
    }

    /// Refuses the address that another host has (DECLINE) and begins anew after a pause.
    fn decline(&mut self, address: Ipv4Addr, server: Ipv4Addr, owner: MacAddress) {
        let message = message::decline(&self.config, self.exchange(), address, server);
        // RFC 2131 §4.4.4: broadcast, since the client declines the address it would be sent from.
        let transmit = Transmit::broadcast(MessageType::Decline);
        self.farewells.push_back((transmit, message));
        self.conflicts = self.conflicts.saturating_add(1);
        let pause = match self.conflicts {
            0..=MAX_CONFLICTS => CONFLICT_DELAY,
            _ => RATE_LIMIT_INTERVAL,
        };
        self.lose(Loss::Conflict { address, owner }, self.now + pause);
        self.claims.add(owner, address);
        if self.claims.are_by_proxy() {
            self.events.push_back(Event::Notice(Notice::ProxyArp {
                owner,
                address,
                is_taken: false,
            }));
        }
    }

    /// Leaves the network to IPv6 for a while.
    pub(super) fn leave_to_ipv6(&mut self, server: Ipv4Addr, wait: Duration) {
        self.events.push_back(Event::Ipv6Only { server, wait });
        self.restart(self.now + wait);
    }

    /// Gives up what was asked for.
    pub(super) fn fail(&mut self, loss: Loss, start_at: Instant) {
        self.events.push_back(Event::Failed(loss));
        self.restart(start_at);
    }

    /// Gives up the lease, if there is one, and what was asked for.
    pub(super) fn lose(&mut self, loss: Loss, start_at: Instant) {
        let had = self.previous.take().is_some() || self.state.active().is_some();
        if !had {
            return self.fail(loss, start_at);
        }
        self.events.push_back(Event::Lost(loss));
        self.restart(start_at);
    }

    /// Begins anew at `start_at`, with a lease from before if there is one.
    fn restart(&mut self, start_at: Instant) {
        self.unwatch();
        self.enter(State::Init { start_at });
        // Where that time is now, the search begins at once.
        self.tick();
    }

    /// Ceases to watch over any address but that of a lease from before.
    pub(super) fn unwatch(&mut self) {
        let previous = self.previous.as_ref().map(|active| active.lease.address);
        self.guard = self
            .guard
            .take()
            .filter(|guard| Some(guard.address()) == previous);
    }

    /// Keeps a lease and asks whether it holds here.
    pub(super) fn confirm(&mut self, active: ActiveLease) {
        let (address, is_own) = (active.lease.address, active.is_own);
        self.previous = Some(active);
        // A REQUEST would ask a server to grant, and later to take back, an address that is not its
        // own.
        if is_own {
            self.inform(address, self.now);
        } else {
            self.reboot(address, self.now);
        }
    }

    /// Begins another exchange: a new `xid`, and `secs` from 0.
    pub(super) fn begin(&mut self, now: Instant) {
        // RFC 2131 §4.1 lets each repetition have a new xid; with one for all, late answers still
        // count.
        self.xid = self.random.next_u32();
        self.requested = None;
        self.notice_at = None;
        self.passed_over.drop_offers();
        // RFC 2131 table 1: `secs` counts from the begin of an acquisition or of a renewal.
        self.began_at = now;
        self.now = now;
    }

    pub(super) fn exchange(&self) -> Exchange {
        Exchange {
            broadcast: self.broadcast,
            ..Exchange::new(self.xid, self.began_at, self.now)
        }
    }

    /// The only way from one state to another.
    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.events.push_back(Event::Entered(self.state.name()));
    }
}
