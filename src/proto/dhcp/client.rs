//! The client itself: what its driver may do with it.

mod clock;
mod input;
pub(super) mod output;
mod state;

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::net::Ipv4Addr;

use super::config::Config;
use super::contention::{Contention, RequestCounts};
use super::lease::Lease;
use super::message::{self, Exchange};
use super::offer::{Rank, Standing};
use super::probe::Guard;
use super::reply::Discard;
use super::resend::Resend;
use crate::packet::arp;
use crate::packet::dhcp::{Message, MessageType};
use crate::packet::udp::Datagram;
use crate::time::{Instant, Random};

use state::{ActiveLease, State};
pub use state::{Event, Loss, StateName, Transmit};

/// How many REQUESTs for the better offer are waited for: about 2.5 s, within which a third of all
/// packets may be lost.
// With one, a single late answer had the other interface's plain lease taken, which boots nothing.
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
    /// Watches over the address that is asked for or in use, if that is wanted.
    guard: Option<Guard>,
    conflicts: u32,
    defers_choice: bool,
    contention: Contention,
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
            config,
            began_at: now,
            now,
            // RFC 2131 §4.4.1 has a random wait of 1 to 10 s here; the pace of others takes its
            // place.
            state: State::Init { start_at: now },
            previous: None,
            guard: None,
            conflicts: 0,
            defers_choice: false,
            contention: Contention::new(now),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
        }
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

    /// While the choice is deferred, only [`Client::accept`] requests an offer: the caller compares
    /// the offers to several clients.
    pub const fn set_defers_choice(&mut self, defers: bool) {
        self.defers_choice = defers;
    }

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

    /// Returns what [`Client::accept`] would ask for, with the boot that it would have.
    pub fn preview(&self) -> Option<Lease> {
        let (best, proxy) = self.best()?;
        Some(best.preview(proxy))
    }

    /// Returns whether a lease has been asked for that is worth waiting for by somebody who has another
    /// offer, of the rank `other`: until the first REQUEST is likely to be lost, or longer when this
    /// one brings more of a boot.
    pub fn is_worth_awaiting(&self, other: Option<Rank>) -> bool {
        match &self.state {
            State::Requesting {
                offer,
                proxy,
                resend,
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

    /// Takes the best offer there is.
    pub fn accept(&mut self, now: Instant) {
        self.now = now;
        self.request_best();
    }

    /// Has the lease renewed now, or what is being asked asked again.
    pub fn renew(&mut self, now: Instant) {
        self.now = now;
        if let State::Bound { active } = &self.state {
            let (active, resend) = (active.clone(), Resend::new(now));
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

    /// Gives back an address that `server` granted to an earlier client (RELEASE).
    pub fn give_back(&mut self, address: Ipv4Addr, server: Ipv4Addr, now: Instant) {
        self.now = now;
        // RFC 2131 §4.4.6: a RELEASE is never answered, and a server does not depend on it.
        let message = message::release(&self.config, self.exchange(), address, server);
        let transmit = output::unicast(address, server, MessageType::Release);
        self.farewells.push_back((transmit, message));
        self.enter(State::Stopped);
    }

    /// Handles a new carrier: what is being asked is asked again at once, and
    /// a client with a lease has its address confirmed, since the network may be another one.
    pub fn link_up(&mut self, now: Instant) {
        self.now = now;
        self.contention.reset();
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

    /// Handles the counts of what other machines have asked for since the last call. To be called before
    /// [`Client::handle_timeout`] when [`Client::poll_timeout`] is reached; without it, the client
    /// takes itself to be alone.
    pub fn handle_contention(&mut self, heard: RequestCounts, now: Instant) {
        self.now = now;
        let resend = match &mut self.state {
            State::Selecting { resend, .. }
            | State::Requesting { resend, .. }
            | State::Rebooting { resend, .. }
                if now >= resend.next_at() =>
            {
                resend
            }
            State::Init { .. }
            | State::Selecting { .. }
            | State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Informing { .. }
            | State::Stopped => return self.contention.observe(now),
        };
        if let Some(wait) = self.contention.wait(heard, now, &mut self.random) {
            resend.postpone(now + wait, heard.requests > 0);
        }
    }

    /// Drives the timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.tick();
    }

    /// Writes the next message to be sent to `buf`, in place of what it holds.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (transmit, message) = self.farewells.pop_front().or_else(|| self.due())?;
        buf.clear();
        // Everything in the message is ours and short, so encoding it cannot fail.
        message.encode(buf).ok()?;
        Some(transmit)
    }

    /// Returns the next ARP packet to be sent, to every station.
    pub fn poll_arp(&mut self) -> Option<arp::ArpPacket> {
        self.guard.as_mut()?.poll_transmit()
    }

    /// Returns what has happened, one at a time.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Client::handle_timeout`] must be called; none when there is nothing to wait
    /// for but input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines().into_iter().flatten().min()
    }

    /// Returns the transaction number of the exchange, which replies must carry.
    pub const fn xid(&self) -> u32 {
        self.xid
    }

    /// Returns the state.
    pub const fn state(&self) -> StateName {
        self.state.name()
    }

    /// Returns the lease that is ours, in use or while another one is sought.
    pub fn lease(&self) -> Option<&Lease> {
        let active = self.state.active().or(self.previous.as_ref());
        active.map(|active| &*active.lease)
    }

    /// Returns when that lease was asked for, which its times count from.
    pub fn lease_since(&self) -> Option<Instant> {
        let active = self.state.active().or(self.previous.as_ref());
        active.map(|active| active.since)
    }

    /// Returns the address to be watched for ARP packets of other hosts.
    pub fn conflict_watch(&self) -> Option<Ipv4Addr> {
        self.guard.as_ref().map(Guard::address)
    }

    /// Keeps a lease and asks whether it holds here.
    fn confirm(&mut self, active: ActiveLease) {
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
    fn begin(&mut self, now: Instant) {
        // RFC 2131 §4.1 lets each repetition have a new xid; with one for all, late answers still
        // count.
        self.xid = self.random.next_u32();
        // RFC 2131 table 1: `secs` counts from the begin of an acquisition or of a renewal.
        self.began_at = now;
        self.now = now;
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(self.xid, self.began_at, self.now)
    }

    /// The only way from one state to another.
    fn enter(&mut self, state: State) {
        self.state = state;
        self.events.push_back(Event::Entered(self.state.name()));
    }
}
