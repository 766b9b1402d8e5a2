//! The DHCP client, as its driver calls it, and the message of each of its states.

mod input;
mod state;
mod transitions;

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::net::Ipv4Addr;

use super::config::Config;
use super::lease::Lease;
use super::message;
use super::offer::{PassedOver, Rank};
use super::probe::{Claims, Guard};
use super::reply::Discard;
use super::resend::{Contention, RequestCounts, Resend};
use crate::packet::arp;
use crate::packet::dhcp::{Message, MessageType};
use crate::packet::ipv4::Datagram;
use crate::time::{Instant, Random, earliest};

use state::{ActiveLease, Requested, State};
pub use state::{Event, Loss, Notice, StateName, Transmit};

/// Number of REQUESTs for a better offer before another interface is used: about 2.5 s, with up to a
/// third of all packets lost.
// With one, a single late answer was enough to use the other interface's lease, without a boot file.
const MORE_REQUESTS: u32 = 4;

/// A DHCP client on one interface.
#[derive(Debug)]
pub struct Client {
    config: Config,
    random: Random,
    xid: u32,
    /// When the exchange began, for `secs`.
    began_at: Instant,
    now: Instant,
    state: State,
    /// A lease that is still ours while its confirmation or another one is sought; the states in
    /// which it is in use have it themselves.
    previous: Option<ActiveLease>,
    /// Whether [`Event::Unanswered`] has been reported for the lease.
    is_silence_reported: bool,
    /// Watches over the address that is asked for or in use, if that is wanted.
    guard: Option<Guard>,
    conflicts: u32,
    claims: Claims,
    /// Servers that have been reported to contradict the one chosen.
    contradicting: Vec<Ipv4Addr>,
    /// Servers that did not grant what they offered.
    passed_over: PassedOver,
    /// What was asked for last in this exchange, while it is not asked for any more.
    requested: Option<Requested>,
    defers_choice: bool,
    contention: Contention,
    /// When it is reported that a boot file is waited for.
    notice_at: Option<Instant>,
    /// Servers are asked to answer by broadcast.
    broadcast: bool,
    /// Messages that are sent once and never answered: DECLINE, RELEASE.
    farewells: VecDeque<(Transmit, Message)>,
    events: VecDeque<Event>,
}

impl Client {
    /// Begins in INIT; the first DISCOVER is due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            xid: random.next_u32(),
            random,
            broadcast: config.broadcast,
            config,
            began_at: now,
            now,
            // RFC 2131 §4.4.1: a random delay of 1 to 10 s; replaced by `contention`.
            state: State::Init { start_at: now },
            previous: None,
            is_silence_reported: false,
            guard: None,
            conflicts: 0,
            claims: Claims::default(),
            contradicting: Vec::new(),
            passed_over: PassedOver::default(),
            requested: None,
            notice_at: None,
            defers_choice: false,
            contention: Contention::new(now),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// While the choice is deferred, only [`Client::accept`] requests an offer: the caller compares
    /// the offers to several clients.
    pub const fn set_defers_choice(&mut self, defers: bool) {
        self.defers_choice = defers;
    }

    /// Returns the lease that [`Client::accept`] would request, with its boot file.
    pub fn preview(&self) -> Option<Lease> {
        let (best, proxy) = self.best()?;
        Some(best.preview(proxy))
    }

    /// Returns whether the caller, which has another offer of the rank `other`, should wait for the lease
    /// requested here: for one REQUEST, or for several if this offer ranks higher.
    pub fn is_worth_awaiting(&self, other: Option<Rank>) -> bool {
        match &self.state {
            State::Requesting {
                offer,
                proxy,
                resend,
                ..
            } => {
                let brought = [Some(offer), proxy.as_ref()].into_iter().flatten();
                let rank = brought.map(|offer| offer.rank()).max();
                let patience = if rank > other { MORE_REQUESTS } else { 1 };
                resend.sent() <= patience
            }
            // The server has committed the address already; probing ends within 7 s.
            State::Probing { .. } => true,
            State::Init { .. }
            | State::Selecting { .. }
            | State::Rebooting { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Informing { .. }
            | State::Stopped => false,
        }
    }

    /// Requests the best offer.
    pub fn accept(&mut self, now: Instant) {
        self.now = now;
        self.request_best();
    }

    /// Renews the lease now, or repeats the current request.
    pub fn renew(&mut self, now: Instant) {
        self.now = now;
        if let State::Bound { active } = &self.state {
            let (active, resend) = (active.clone(), Resend::new(now));
            // Nobody granted the address, so there is nothing to extend: its options are asked for again.
            if active.is_own {
                return self.confirm(active);
            }
            self.begin(now);
            self.enter(State::Renewing { active, resend });
        } else if let Some(resend) = self.state.resend() {
            resend.restart(now);
        }
    }

    /// Gives back what was granted (RELEASE) and stops for good. What was requested and not granted yet is
    /// nobody's to release (RFC 2131 §3.1, §4.4.6): the server ends it by itself.
    pub fn release(&mut self, now: Instant) {
        let is_granted = !matches!(self.state, State::Requesting { .. });
        self.end(is_granted, now);
    }

    /// As [`Client::release`], and gives back what was requested too: for a client that is not to have
    /// the lease any more which is just being granted to it.
    pub fn withdraw(&mut self, now: Instant) {
        self.end(true, now);
    }

    fn end(&mut self, gives_back: bool, now: Instant) {
        self.now = now;
        let previous = self.previous.take();
        let granted = [
            previous.as_ref().and_then(ActiveLease::granted),
            self.state.granted().filter(|_| gives_back),
        ];
        for (address, server) in granted.into_iter().flatten() {
            self.give_back(address, server, now);
        }
        self.guard = None;
        self.enter(State::Stopped);
    }

    /// Releases an address that `server` granted to an earlier client (RELEASE).
    pub fn give_back(&mut self, address: Ipv4Addr, server: Ipv4Addr, now: Instant) {
        self.now = now;
        // RFC 2131 §4.4.6: a RELEASE is not answered, and servers do not depend on it.
        let message = message::release(&self.config, self.exchange(), address, server);
        let transmit = Transmit::unicast(address, server, MessageType::Release);
        self.farewells.push_back((transmit, message));
        self.enter(State::Stopped);
    }

    /// Handles a new carrier: the current request is repeated at once, and a lease is confirmed, since the
    /// network may be another one.
    pub fn link_up(&mut self, now: Instant) {
        self.now = now;
        self.contention.reset();
        self.broadcast = self.config.broadcast;
        // It may be another network, with other servers.
        self.passed_over = PassedOver::default();
        self.contradicting.clear();
        // RFC 2131 §3.7: the address is verified after every disconnection from the network.
        if let Some(active) = self.state.active() {
            self.confirm(active.clone());
        } else if let State::Init { start_at } = &mut self.state {
            *start_at = now;
        } else if let Some(resend) = self.state.resend() {
            resend.restart(now);
        }
    }

    /// Handles a datagram to port 68.
    ///
    /// # Errors
    /// The reason to ignore it; the client is unchanged.
    pub fn handle_input(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Discard> {
        self.now = now;
        self.handle_datagram(&datagram)
    }

    /// Handles an ARP packet about [`Client::conflict_watch`].
    pub fn handle_arp(&mut self, packet: &arp::ArpPacket, now: Instant) {
        self.now = now;
        let Some(guard) = &mut self.guard else { return };
        let address = guard.address();
        if let Some(owner) = guard.handle_input(packet, now) {
            self.handle_conflict(address, owner);
        }
    }

    /// Handles the counts of requests of other machines since the last call. To be called before
    /// [`Client::handle_timeout`] at [`Client::poll_timeout`]; without it, the client assumes that it is
    /// alone.
    pub fn handle_contention(&mut self, heard: RequestCounts, now: Instant) {
        self.now = now;
        let (State::Selecting { resend, .. }
        | State::Requesting { resend, .. }
        | State::Rebooting { resend, .. }) = &mut self.state
        else {
            return self.contention.observe(now);
        };
        if now < resend.next_at() {
            return self.contention.observe(now);
        }
        if let Some(wait) = self.contention.wait(heard, now, &mut self.random) {
            resend.postpone(now + wait, heard.requests > 0);
        }
    }

    /// Drives the timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.tick();
    }

    /// Writes the next message to be sent to `buf`, replacing its content.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (transmit, message) = self.farewells.pop_front().or_else(|| self.due())?;
        buf.clear();
        // All fields are from this client and short, so that encoding cannot fail.
        message.encode(buf).ok()?;
        Some(transmit)
    }

    /// Returns the next ARP packet to be broadcast.
    pub fn poll_arp(&mut self) -> Option<arp::ArpPacket> {
        self.guard.as_mut()?.poll_transmit()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Client::handle_timeout`] must be called; none if only input is
    /// expected.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(&self.deadlines())
    }

    /// Returns the transaction number of the exchange, which replies must carry.
    pub const fn xid(&self) -> u32 {
        self.xid
    }

    /// Returns the state.
    pub const fn state(&self) -> StateName {
        self.state.name()
    }

    /// Returns the address that is being requested, and the server that offered it.
    pub fn requested(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let is_requesting = matches!(self.state, State::Requesting { .. });
        self.state.granted().filter(|_| is_requesting)
    }

    /// Returns the current lease, in use or while it is confirmed.
    pub fn lease(&self) -> Option<&Lease> {
        let active = self.state.active().or(self.previous.as_ref());
        active.map(|active| &*active.lease)
    }

    /// Returns when that lease was requested, which is the start of its times.
    pub fn lease_since(&self) -> Option<Instant> {
        let active = self.state.active().or(self.previous.as_ref());
        active.map(|active| active.since)
    }

    /// Returns until when neighbours may answer the last probe for the address in use; none without
    /// conflict detection.
    pub fn probe_answered_by(&self) -> Option<Instant> {
        self.guard.as_ref()?.answered_by()
    }

    /// Returns the address to be watched for ARP packets of other hosts.
    pub fn conflict_watch(&self) -> Option<Ipv4Addr> {
        self.guard.as_ref().map(Guard::address)
    }

    /// Asks for an address that was ours before (INIT-REBOOT) instead of any.
    pub fn reboot(&mut self, address: Ipv4Addr, now: Instant) {
        self.begin(now);
        self.watch(address);
        let resend = Resend::new(now);
        self.enter(State::Rebooting { address, resend });
    }

    /// Asks for the options that go with an address that we have from elsewhere (INFORM); the
    /// resulting lease has no end.
    pub fn inform(&mut self, address: Ipv4Addr, now: Instant) {
        self.begin(now);
        let resend = Resend::new(now);
        self.enter(State::Informing { address, resend });
    }

    /// Returns the message of the state, when it is due.
    fn due(&mut self) -> Option<(Transmit, Message)> {
        self.broadcast |= match &self.state {
            State::Selecting { offers, resend, .. } => offers.is_empty() && resend.lacks_answer(),
            State::Rebooting { resend, .. } => resend.lacks_answer(),
            State::Init { .. }
            | State::Requesting { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Informing { .. }
            | State::Stopped => false,
        };
        let (now, exchange) = (self.now, self.exchange());
        let (random, config) = (&mut self.random, &self.config);
        let everyone = Ipv4Addr::BROADCAST;
        match &mut self.state {
            State::Init { .. } | State::Probing { .. } | State::Bound { .. } | State::Stopped => {
                None
            }
            State::Selecting { resend, .. } => resend.take(now, random).then(|| {
                let message = message::discover(config, exchange);
                (Transmit::broadcast(MessageType::Discover), message)
            }),
            State::Requesting { offer, resend, .. } => resend.take(now, random).then(|| {
                let (address, server) = (offer.address, offer.server);
                if let Some(guard) = &mut self.guard {
                    guard.probe(now);
                }
                // RFC 2131 §3.1: by broadcast, so that the servers that were not chosen learn of
                // it.
                let message = message::request_offered(config, exchange, address, server);
                (Transmit::broadcast(MessageType::Request), message)
            }),
            State::Rebooting { address, resend } => resend.take(now, random).then(|| {
                if let Some(guard) = &mut self.guard {
                    guard.probe(now);
                }
                let message = message::request_known(config, exchange, *address);
                (Transmit::broadcast(MessageType::Request), message)
            }),
            State::Renewing { active, resend } => {
                resend.take_halving(now, active.rebind_at()).then(|| {
                    let (address, server) = (active.lease.address, active.server);
                    // RFC 2131 §4.4.5: renewals go to the server that granted the lease, not
                    // through relays.
                    let message = message::request_extension(config, exchange, address);
                    (
                        Transmit::unicast(address, server, MessageType::Request),
                        message,
                    )
                })
            }
            State::Rebinding { active, resend } => {
                resend.take_halving(now, active.expires_at()).then(|| {
                    // RFC 2131 §4.4.5: at T2 everybody is asked, since the server may be gone.
                    let address = active.lease.address;
                    let message = message::request_extension(config, exchange, address);
                    (
                        Transmit::unicast(address, everyone, MessageType::Request),
                        message,
                    )
                })
            }
            State::Informing { address, resend } => resend.take(now, random).then(|| {
                let message = message::inform(config, exchange, *address);
                (
                    Transmit::unicast(*address, everyone, MessageType::Inform),
                    message,
                )
            }),
        }
    }
}
