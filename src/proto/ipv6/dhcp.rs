//! DHCPv6: asks servers for an address (RFC 8415 §18.2.1 to §18.2.8), for configuration alone (§18.2.6), or
//! for both.

use crate::prelude::*;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::configuration::Configuration;
use super::exchange::{Exchange, Pace};
use super::identity::Identity;
use super::lease::Expiry;
use super::offer::Offer;
use crate::packet::dhcpv6::{Message, MessageType, Status, code};
use crate::reader::DecodeError;
use crate::time::{Instant, Random};

/// While a machine boots.
const BOOTING: Pace = Pace {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(16),
};
/// RENEW and REBIND (RFC 8415 §7.6).
const RENEWING: Pace = Pace {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(600),
};
/// DECLINE (RFC 8415 §7.6).
const DECLINING: Pace = Pace {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(8),
};
/// So many REQUESTs without an answer, 7.5 s, lead back to all servers; RFC 8415 §7.6 has 10, which take
/// minutes.
const MAX_REQUESTS: u32 = 4;
/// DEC_MAX_RC.
const MAX_DECLINES: u32 = 4;
/// How long nothing is asked for after an address that another host has.
const CONFLICT_PAUSE: Duration = Duration::from_secs(10);
/// Values of SOL_MAX_RT and INF_MAX_RT that count, in seconds (RFC 8415 §21.24).
const MAX_RT: core::ops::RangeInclusive<u32> = 60..=86_400;
/// The preference that ends the search (RFC 8415 §18.2.1).
const BEST_PREFERENCE: u8 = 255;
/// So many offers are compared.
const MAX_OFFERS: usize = 64;

/// Why a message is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// It answers no message of ours.
    #[error("it has another transaction number")]
    WrongTransaction,
    /// It is for another client.
    #[error("it is for another client")]
    WrongClient,
    /// It has no server identifier.
    #[error("it does not say which server sends it")]
    NoServer,
    /// Its type is not the one that is expected.
    #[error("a {0} is not expected")]
    Unexpected(MessageType),
    /// The server has no address for this client.
    #[error("it has no address ({0})")]
    NoAddress(Status),
}

/// What a client asks for.
#[derive(Debug)]
enum State {
    /// No address.
    Idle,
    Soliciting {
        exchange: Exchange,
        offers: Vec<Offer>,
        /// When the best of them is accepted.
        choose_at: Option<Instant>,
    },
    Requesting {
        exchange: Exchange,
        offer: Offer,
    },
    Bound {
        grant: Offer,
        /// It is being renewed or rebound.
        renewal: Option<Exchange>,
    },
    Declining {
        exchange: Exchange,
        grant: Offer,
        solicit_at: Instant,
    },
}

/// A client of DHCPv6 on one interface.
#[derive(Debug)]
pub struct Dhcp6 {
    identity: Identity,
    /// Whether an offer with a boot file is better than one without.
    wants_boot_file: bool,
    /// How long another offer waits for a better one.
    offer_wait: Duration,
    state: State,
    information: Option<Exchange>,
    /// What servers have said that were asked for no address.
    informed: Option<Configuration>,
    solicit_pace: Pace,
    inform_pace: Pace,
    /// How many SOLICITs were sent since there was an address.
    solicits: u32,
    /// A server has no address for this client.
    refused: Option<(Ipv6Addr, Status)>,
    random: Random,
}

impl Dhcp6 {
    /// Returns a client that asks nobody yet.
    pub const fn new(
        identity: Identity,
        wants_boot_file: bool,
        offer_wait: Duration,
        seed: u64,
    ) -> Self {
        Self {
            identity,
            wants_boot_file,
            offer_wait,
            state: State::Idle,
            information: None,
            informed: None,
            solicit_pace: BOOTING,
            inform_pace: BOOTING,
            solicits: 0,
            refused: None,
            random: Random::new(seed),
        }
    }

    /// Asks for an address, unless that has begun.
    pub fn solicit(&mut self, now: Instant) {
        if matches!(self.state, State::Idle) {
            self.begin_soliciting(now);
        }
    }

    fn begin_soliciting(&mut self, now: Instant) {
        self.state = State::Soliciting {
            exchange: Exchange::begin(
                MessageType::SOLICIT,
                self.solicit_pace,
                now,
                &mut self.random,
            ),
            offers: Vec::new(),
            choose_at: None,
        };
    }

    /// Asks for configuration alone, unless that has begun.
    pub fn inform(&mut self, now: Instant) {
        let (kind, pace) = (MessageType::INFORMATION_REQUEST, self.inform_pace);
        let random = &mut self.random;
        self.information
            .get_or_insert_with(|| Exchange::begin(kind, pace, now, random));
    }

    /// Asks for configuration no longer.
    pub fn end_information(&mut self) {
        self.information = None;
    }

    /// Handles a message from port 547 of `source`.
    ///
    /// # Errors
    /// Why it is ignored.
    pub fn handle_input(
        &mut self,
        source: Ipv6Addr,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Ignored> {
        let message = Message::decode(payload)?;
        let is_ours = |exchange: &Exchange| exchange.transaction == message.transaction;
        let is_information = self.information.as_ref().is_some_and(is_ours);
        let asked = self.exchange().filter(|exchange| is_ours(exchange));
        let asked = asked.map(|exchange| exchange.kind);
        if asked.is_none() && !is_information {
            return Err(Ignored::WrongTransaction);
        }
        // RFC 8415 §16.3, §16.10.
        if message.options.get(code::CLIENT_ID) != Some(&self.identity.duid) {
            return Err(Ignored::WrongClient);
        }
        if message
            .options
            .get(code::SERVER_ID)
            .is_none_or(<[u8]>::is_empty)
        {
            return Err(Ignored::NoServer);
        }
        self.note_longest_delays(&message);
        let is_expected = match asked {
            Some(MessageType::SOLICIT) => message.kind == MessageType::ADVERTISE,
            // Rapid commit was not asked for (RFC 8415 §18.2.1).
            _ => message.kind == MessageType::REPLY,
        };
        if !is_expected {
            return Err(Ignored::Unexpected(message.kind));
        }
        if is_information {
            let configuration = Configuration::read(message.options);
            self.informed.get_or_insert_default().add(&configuration);
            return Ok(());
        }
        if let State::Declining { solicit_at, .. } = self.state {
            self.pause(solicit_at);
            return Ok(());
        }
        let read = Offer::read(&message, source, self.identity.iaid, now);
        match read {
            Ok(offer) if asked == Some(MessageType::SOLICIT) => self.take_offer(offer, now),
            Ok(grant) => {
                self.solicits = 0;
                self.state = State::Bound {
                    grant,
                    renewal: None,
                };
            }
            Err(status) => {
                self.refused = Some((source, status));
                // The server is asked in vain, or knows nothing of the lease (RFC 8415 §18.2.10.1).
                let refusals = match asked {
                    Some(MessageType::REQUEST) => [Status::NOT_ON_LINK, Status::NO_ADDRESSES],
                    _ => [Status::NO_BINDING; 2],
                };
                if asked != Some(MessageType::SOLICIT) && refusals.contains(&status) {
                    // After a pause: a server that offers what it does not grant would make a storm.
                    self.pause(now + BOOTING.first);
                }
                return Err(Ignored::NoAddress(status));
            }
        }
        Ok(())
    }

    /// Waits, and asks for an address then.
    fn pause(&mut self, until: Instant) {
        self.begin_soliciting(until);
    }

    /// These count in every answer, also in one without an address (RFC 8415 §18.2.9).
    fn note_longest_delays(&mut self, message: &Message<'_>) {
        let read = |code| {
            let seconds = message.options.u32(code);
            let seconds = seconds.filter(|seconds| MAX_RT.contains(seconds));
            seconds.map(|seconds| Duration::from_secs(seconds.into()))
        };
        if let Some(longest) = read(code::SOL_MAX_RT) {
            self.solicit_pace.longest = longest;
            if let State::Soliciting { exchange, .. } = &mut self.state {
                exchange.pace.longest = longest;
            }
        }
        if let Some(longest) = read(code::INF_MAX_RT) {
            self.inform_pace.longest = longest;
            if let Some(exchange) = &mut self.information {
                exchange.pace.longest = longest;
            }
        }
    }

    fn take_offer(&mut self, offer: Offer, now: Instant) {
        let State::Soliciting {
            exchange,
            offers,
            choose_at,
        } = &mut self.state
        else {
            return;
        };
        let has_file = self.wants_boot_file && offer.configuration.boot_file.is_some();
        let is_best = offer.preference == BEST_PREFERENCE || (has_file && offers.is_empty());
        // Once the first delay is over each offer is accepted at once (RFC 8415 §18.2.1).
        let at = if is_best || exchange.sent > 1 {
            now
        } else {
            now + self.offer_wait
        };
        *choose_at = Some(choose_at.map_or(at, |known| known.min(at)));
        let is_known = |known: &Offer| known.server_id == offer.server_id;
        if offers.len() < MAX_OFFERS && !offers.iter().any(is_known) {
            offers.push(offer);
        }
    }

    /// Accepts the best offer: with the highest preference, then with a boot file, then the first.
    fn choose(&mut self, now: Instant) {
        let State::Soliciting { offers, .. } = &mut self.state else {
            return;
        };
        let wants_boot_file = self.wants_boot_file;
        let rank = |offer: &Offer| {
            let has_file = wants_boot_file && offer.configuration.boot_file.is_some();
            (
                offer.preference == BEST_PREFERENCE,
                has_file,
                offer.preference,
            )
        };
        // The last of equal ones is the maximum.
        let best = offers.drain(..).rev().max_by_key(rank);
        if let Some(offer) = best {
            self.state = State::Requesting {
                exchange: Exchange::begin(MessageType::REQUEST, BOOTING, now, &mut self.random),
                offer,
            };
        }
    }

    /// Tells the server that another host has the addresses, and asks for others after a pause; none if
    /// there is no lease.
    pub fn decline(&mut self, now: Instant) -> Option<()> {
        let State::Bound { grant, .. } = &self.state else {
            return None;
        };
        self.state = State::Declining {
            exchange: Exchange::begin(MessageType::DECLINE, DECLINING, now, &mut self.random),
            grant: grant.clone(),
            solicit_at: now + CONFLICT_PAUSE,
        };
        Some(())
    }

    /// Gives the lease back; returns the message, which is sent once.
    pub fn release(&mut self, now: Instant) -> Option<Vec<u8>> {
        let State::Bound { grant, .. } = core::mem::replace(&mut self.state, State::Idle) else {
            return None;
        };
        let kind = MessageType::RELEASE;
        let mut exchange = Exchange::begin(kind, DECLINING, now, &mut self.random);
        let elapsed = exchange.handle_sent(now, &mut self.random);
        Some(self.identity.message(&exchange, elapsed, Some(&grant), now))
    }

    /// Renews the lease now.
    pub fn renew(&mut self, now: Instant) {
        if let State::Bound { renewal, .. } = &mut self.state {
            let kind = MessageType::RENEW;
            *renewal = Some(Exchange::begin(kind, RENEWING, now, &mut self.random));
        }
    }

    /// Drives the timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        match &mut self.state {
            State::Soliciting { choose_at, .. } if is_due(*choose_at) => {
                *choose_at = None;
                self.choose(now);
            }
            State::Requesting { exchange, .. }
                if exchange.sent >= MAX_REQUESTS && now >= exchange.next_at =>
            {
                self.begin_soliciting(now);
            }
            State::Declining {
                exchange,
                solicit_at,
                ..
            } if now >= *solicit_at
                || (exchange.sent >= MAX_DECLINES && now >= exchange.next_at) =>
            {
                let at = (*solicit_at).max(now);
                self.pause(at);
            }
            State::Bound { grant, renewal } => {
                let kind = renewal.as_ref().map(|exchange| exchange.kind);
                if is_due(grant.ends().and_then(Expiry::at)) {
                    self.begin_soliciting(now);
                } else if is_due(grant.rebind_at.at()) && kind != Some(MessageType::REBIND) {
                    let kind = MessageType::REBIND;
                    *renewal = Some(Exchange::begin(kind, RENEWING, now, &mut self.random));
                } else if is_due(grant.renew_at.at()) && kind.is_none() {
                    self.renew(now);
                }
            }
            State::Idle
            | State::Soliciting { .. }
            | State::Requesting { .. }
            | State::Declining { .. } => {}
        }
    }

    /// Returns a message that is due, for port 547 of all servers.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(MessageType, Vec<u8>)> {
        if let Some(mut exchange) = self.information.take() {
            let message = (now >= exchange.next_at).then(|| {
                let elapsed = exchange.handle_sent(now, &mut self.random);
                (
                    exchange.kind,
                    self.identity.message(&exchange, elapsed, None, now),
                )
            });
            self.information = Some(exchange);
            if message.is_some() {
                return message;
            }
        }
        let exchange = match &mut self.state {
            State::Idle => return None,
            State::Soliciting { exchange, .. }
            | State::Requesting { exchange, .. }
            | State::Declining { exchange, .. } => exchange,
            State::Bound { renewal, .. } => renewal.as_mut()?,
        };
        if now < exchange.next_at {
            return None;
        }
        let elapsed = exchange.handle_sent(now, &mut self.random);
        self.solicits += u32::from(exchange.kind == MessageType::SOLICIT);
        let exchange = self.exchange()?;
        Some((
            exchange.kind,
            self.identity.message(exchange, elapsed, self.offer(), now),
        ))
    }

    fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            State::Idle => None,
            State::Soliciting { exchange, .. }
            | State::Requesting { exchange, .. }
            | State::Declining { exchange, .. } => Some(exchange),
            State::Bound { renewal, .. } => renewal.as_ref(),
        }
    }

    /// Returns what a message is about, beside a SOLICIT.
    const fn offer(&self) -> Option<&Offer> {
        match &self.state {
            State::Idle | State::Soliciting { .. } => None,
            State::Requesting { offer: grant, .. }
            | State::Bound { grant, .. }
            | State::Declining { grant, .. } => Some(grant),
        }
    }

    /// Returns when [`Dhcp6::handle_timeout`] must be called, or a message is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Soliciting { choose_at, .. } => *choose_at,
            State::Bound { grant, renewal } => {
                let rebinds = renewal
                    .as_ref()
                    .is_some_and(|exchange| exchange.kind == MessageType::REBIND);
                let renew_at = grant.renew_at.at().filter(|_| renewal.is_none());
                let rebind_at = grant.rebind_at.at().filter(|_| !rebinds);
                let ends_at = grant.ends().and_then(Expiry::at);
                [renew_at, rebind_at, ends_at].into_iter().flatten().min()
            }
            State::Declining { solicit_at, .. } => Some(*solicit_at),
            State::Idle | State::Requesting { .. } => None,
        };
        let exchange = self.exchange().map(|exchange| exchange.next_at);
        let information = self.information.as_ref().map(|exchange| exchange.next_at);
        [own, exchange, information].into_iter().flatten().min()
    }

    /// Returns the lease.
    pub const fn grant(&self) -> Option<&Offer> {
        match &self.state {
            State::Bound { grant, .. } => Some(grant),
            State::Idle
            | State::Soliciting { .. }
            | State::Requesting { .. }
            | State::Declining { .. } => None,
        }
    }

    /// Returns what servers have said that were asked for no address.
    pub const fn informed(&self) -> Option<&Configuration> {
        self.informed.as_ref()
    }

    /// Returns how many SOLICITs nobody has answered with an address.
    pub const fn solicits(&self) -> u32 {
        self.solicits
    }

    /// Returns how many INFORMATION-REQUESTs have been sent.
    pub fn information_requests(&self) -> u32 {
        self.information
            .as_ref()
            .map_or(0, |exchange| exchange.sent)
    }

    /// Returns the server that had no address for this client, and why.
    pub const fn refused(&self) -> Option<(Ipv6Addr, Status)> {
        self.refused
    }

    /// Returns who this client is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }
}
