//! DHCPv6: asks servers for an address (RFC 8415 §18.2.1 to §18.2.8), for configuration alone (§18.2.6), or
//! for both.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::exchange::{Exchange, Pace};
use super::identity::Identity;
use super::lease::Expiry;
use super::offer::{Configuration, Offer};
use crate::packet::dhcpv6::{Message, MessageType, Status, code, put};
use crate::reader::DecodeError;
use crate::time::{Instant, Random, earliest};

/// RENEW and REBIND (RFC 8415 §7.6).
const RENEWING: Pace = Pace::new(Duration::from_secs(10), Duration::from_secs(600));
/// DECLINE and RELEASE (RFC 8415 §7.6).
const DECLINING: Pace = Pace::new(Duration::from_secs(1), Duration::from_secs(8));
/// CONFIRM (RFC 8415 §7.6).
const CONFIRMING: Pace = Pace::new(Duration::from_secs(1), Duration::from_secs(4));
/// So many CONFIRMs without an answer, 11 s, and the lease is used as it is (CNF_MAX_RD is 10 s).
const MAX_CONFIRMS: u32 = 4;
/// So many REQUESTs without an answer, 7.5 s, lead back to all servers; RFC 8415 §7.6 has 10, which take
/// minutes.
const MAX_REQUESTS: u32 = 4;
/// DEC_MAX_RC and REL_MAX_RC.
const MAX_DECLINES: u32 = 4;
/// How long nothing is asked for after an address that another host has.
const CONFLICT_PAUSE: Duration = Duration::from_secs(10);
/// Values of SOL_MAX_RT and INF_MAX_RT that count, in seconds (RFC 8415 §21.24).
const MAX_RT: core::ops::RangeInclusive<u32> = 60..=86_400;
/// After so many seconds configuration is asked for again, if a server does not say, and not earlier than that
/// (RFC 8415 §21.23).
const IRT_DEFAULT: u32 = 86_400;
const IRT_MINIMUM: u32 = 600;
/// What a boot file adds to the preference.
// Above every preference, which has 8 bits, and below what ends the search.
const FILE_RANK: u16 = 256;
/// What the preference adds that ends the search (RFC 8415 §18.2.1).
const BEST_RANK: u16 = 512;

/// What servers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To have it.
    Lease,
    /// To see what would be granted: an offer counts as the lease.
    Preview,
    /// To see what all of them answer: nothing is chosen.
    Survey,
    /// To have configuration alone, by INFORMATION-REQUEST.
    Information,
}

/// Why a message is ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    #[error("{0} is not expected")]
    Unexpected(MessageType),
    /// The server has no address for this client.
    #[error("it has no address ({})", NoAddress(*.0))]
    NoAddress(Status),
}

/// The status by which there is no address, in words.
#[derive(Debug)]
pub struct NoAddress(pub Status);

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Status::SUCCESS => f.write_str("none for this client, or an invalid one"),
            status => status.fmt(f),
        }
    }
}

/// What a client asks for.
#[derive(Debug)]
enum State {
    /// No address.
    Idle,
    Soliciting {
        best: Option<Box<Offer>>,
        /// When that is accepted.
        choose_at: Option<Instant>,
    },
    Requesting(Box<Offer>),
    Bound(Box<Offer>),
    Declining {
        grant: Box<Offer>,
        solicit_at: Instant,
    },
    Releasing(Box<Offer>),
}

/// A client of DHCPv6 on one interface.
#[derive(Debug)]
pub struct Dhcp6 {
    identity: Identity,
    purpose: Purpose,
    /// Whether an offer with a boot file is better than one without.
    wants_boot_file: bool,
    /// How long another offer waits for a better one.
    offer_wait: Duration,
    state: State,
    /// The message of the state; none while a lease is not being renewed or rebound.
    exchange: Option<Exchange>,
    information: Option<Exchange>,
    /// What servers have said that were asked for no address.
    informed: Option<Configuration>,
    /// When they are asked for it again.
    refresh_at: Expiry,
    /// It is used until one of them has answered.
    is_stale: bool,
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
        purpose: Purpose,
        wants_boot_file: bool,
        offer_wait: Duration,
        seed: u64,
    ) -> Self {
        Self {
            identity,
            purpose,
            wants_boot_file,
            offer_wait,
            state: State::Idle,
            exchange: None,
            information: None,
            informed: None,
            refresh_at: Expiry::NEVER,
            is_stale: false,
            solicit_pace: Pace::BOOTING,
            inform_pace: Pace::BOOTING,
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

    fn begin_soliciting(&mut self, at: Instant) {
        let state = State::Soliciting {
            best: None,
            choose_at: None,
        };
        self.enter(state, MessageType::SOLICIT, self.solicit_pace, at);
    }

    /// Changes the state, and begins the exchange of its message.
    fn enter(&mut self, state: State, kind: MessageType, pace: Pace, at: Instant) {
        self.state = state;
        self.begin_exchange(kind, pace, at);
    }

    fn begin_exchange(&mut self, kind: MessageType, pace: Pace, at: Instant) {
        self.exchange = Some(Exchange::begin(kind, pace, at, &mut self.random));
    }

    /// Asks for configuration alone, unless that has begun.
    pub fn inform(&mut self, now: Instant) {
        if self.information.is_none() {
            let (kind, pace) = (MessageType::INFORMATION_REQUEST, self.inform_pace);
            self.information = Some(Exchange::begin(kind, pace, now, &mut self.random));
        }
    }

    /// Asks servers at once that have been silent for long: they may be there now.
    pub fn ask_again(&mut self, now: Instant) {
        let is_late = |exchange: &Exchange| exchange.next_at > now + Pace::BOOTING.longest_at_first;
        if self.information.as_ref().is_some_and(is_late) {
            self.information = None;
            self.inform(now);
        }
        let is_soliciting = matches!(self.state, State::Soliciting { .. });
        if is_soliciting && self.exchange.as_ref().is_some_and(is_late) {
            self.begin_soliciting(now);
        }
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
        let is_ours = |exchange: &&Exchange| exchange.transaction == message.transaction;
        let is_information = self.information.as_ref().filter(is_ours).is_some();
        let asked = self.exchange.as_ref().filter(is_ours);
        let asked = asked.map(|exchange| exchange.kind);
        if asked.is_none() && !is_information {
            return Err(Ignored::WrongTransaction);
        }
        let options = message.options;
        // RFC 8415 §16.3, §16.10.
        if options.get(code::CLIENT_ID) != Some(&self.identity.duid) {
            return Err(Ignored::WrongClient);
        }
        if options.get(code::SERVER_ID).is_none_or(<[u8]>::is_empty) {
            return Err(Ignored::NoServer);
        }
        self.note_longest_delays(&message);
        let solicited = asked == Some(MessageType::SOLICIT);
        // RFC 8415 §18.2.1.
        let is_committed =
            solicited && self.is_rapid() && options.get(code::RAPID_COMMIT).is_some();
        let solicited = solicited && !(is_committed && message.kind == MessageType::REPLY);
        let expected = if solicited {
            MessageType::ADVERTISE
        } else {
            MessageType::REPLY
        };
        if message.kind != expected {
            return Err(Ignored::Unexpected(message.kind));
        }
        if is_information {
            let configuration = Configuration::read(options);
            if core::mem::take(&mut self.is_stale) {
                self.informed = None;
            }
            // Several servers may answer, and each adds what the others lack.
            self.informed.get_or_insert_default().add(&configuration);
            let seconds = options.u32(code::INFORMATION_REFRESH_TIME);
            let seconds = seconds.unwrap_or(IRT_DEFAULT).max(IRT_MINIMUM);
            self.refresh_at = Expiry::after(seconds, now);
            return Ok(());
        }
        if let State::Declining { solicit_at, .. } = self.state {
            self.begin_soliciting(solicit_at);
            return Ok(());
        }
        if asked == Some(MessageType::RELEASE) {
            // Whatever it says (RFC 8415 §18.2.10.2).
            self.end_release();
            return Ok(());
        }
        if asked == Some(MessageType::CONFIRM) {
            // Any other status than these says nothing about the link (RFC 8415 §18.2.10.1).
            match options.status() {
                Status::NOT_ON_LINK => self.begin_soliciting(now),
                Status::SUCCESS => self.exchange = None,
                other => return Err(Ignored::NoAddress(other)),
            }
            return Ok(());
        }
        let is_extended = [MessageType::RENEW, MessageType::REBIND]
            .map(Some)
            .contains(&asked);
        let extended = self.grant().filter(|_| is_extended);
        match Offer::read(&message, source, self.identity.iaid, extended, now) {
            Ok(offer) if solicited => self.take_offer(offer, now),
            Ok(grant) if grant.is_empty() => self.begin_soliciting(now + Pace::BOOTING.first),
            Ok(grant) => {
                self.solicits = 0;
                self.state = State::Bound(Box::new(grant));
                self.exchange = None;
            }
            Err(status) => {
                self.refused = Some((source, status));
                match (asked, status) {
                    // After a pause: a server that offers what it does not grant would make a storm.
                    (Some(MessageType::REQUEST), Status::NOT_ON_LINK | Status::NO_ADDRESSES) => {
                        self.begin_soliciting(now + Pace::BOOTING.first)
                    }
                    // It knows nothing of the lease, and is asked for it (RFC 8415 §18.2.10.1).
                    (_, Status::NO_BINDING) if is_extended => {
                        if let State::Bound(grant) = &mut self.state {
                            let server_id = options.get(code::SERVER_ID).unwrap_or_default();
                            grant.server_id = server_id.to_vec();
                            self.begin_exchange(MessageType::REQUEST, Pace::BOOTING, now);
                        }
                    }
                    _ => {}
                }
                return Err(Ignored::NoAddress(status));
            }
        }
        Ok(())
    }

    /// These count in every answer, also in one without an address (RFC 8415 §18.2.9).
    fn note_longest_delays(&mut self, message: &Message<'_>) {
        let (state, information) = (&self.state, &mut self.information);
        let soliciting = self.exchange.as_mut();
        let soliciting = soliciting.filter(|_| matches!(state, State::Soliciting { .. }));
        for (code, pace, exchange) in [
            (code::SOL_MAX_RT, &mut self.solicit_pace, soliciting),
            (
                code::INF_MAX_RT,
                &mut self.inform_pace,
                information.as_mut(),
            ),
        ] {
            let seconds = message.options.u32(code);
            if let Some(seconds) = seconds.filter(|seconds| MAX_RT.contains(seconds)) {
                *pace = Pace::new(pace.first, Duration::from_secs(seconds.into()));
                if let Some(exchange) = exchange {
                    exchange.pace = *pace;
                }
            }
        }
    }

    fn take_offer(&mut self, offer: Offer, now: Instant) {
        let rank = self.rank(&offer);
        let is_retried = (self.exchange.as_ref()).is_some_and(|exchange| exchange.sent > 1);
        let before = if let State::Soliciting {
            best: Some(offer), ..
        } = &self.state
        {
            Some(self.rank(offer))
        } else {
            None
        };
        let State::Soliciting { best, choose_at } = &mut self.state else {
            return;
        };
        if self.purpose == Purpose::Survey {
            return;
        }
        let is_best = rank >= BEST_RANK || (rank >= FILE_RANK && before.is_none());
        // Once the first delay is over each offer is accepted at once (RFC 8415 §18.2.1).
        let at = if is_best || is_retried {
            now
        } else {
            now + self.offer_wait
        };
        // A later offer does not make the wait longer.
        *choose_at = Some(choose_at.map_or(at, |known| known.min(at)));
        // The first of equal ones.
        if before.is_none_or(|before| rank > before) {
            *best = Some(Box::new(offer));
        }
    }

    /// Returns how good an offer is: by the preference that ends the search, then by a boot file, then by
    /// its preference.
    fn rank(&self, offer: &Offer) -> u16 {
        let mut rank = u16::from(offer.preference);
        if self.wants_boot_file && offer.configuration.boot_file.is_some() {
            rank += FILE_RANK;
        }
        if offer.preference == u8::MAX {
            rank += BEST_RANK;
        }
        rank
    }

    /// Tells the server that another host has the addresses, and asks for others after a pause, if there is a
    /// lease.
    pub fn decline(&mut self, now: Instant) {
        if let Some(grant) = self.take_grant() {
            let solicit_at = now + CONFLICT_PAUSE;
            let state = State::Declining { grant, solicit_at };
            self.enter(state, MessageType::DECLINE, DECLINING, now);
        }
    }

    /// Gives the lease back, if there is one, and asks for no other until the server has answered or is given
    /// up.
    pub fn release(&mut self, now: Instant) {
        if let Some(grant) = self.take_grant()
            && self.purpose != Purpose::Preview
        {
            self.give_back(grant, now);
        }
    }

    /// Gives back what an earlier client was granted.
    pub fn give_back(&mut self, grant: Box<Offer>, now: Instant) {
        let state = State::Releasing(grant);
        self.enter(state, MessageType::RELEASE, DECLINING, now);
    }

    /// Returns whether a lease is being given back.
    pub const fn is_releasing(&self) -> bool {
        matches!(self.state, State::Releasing(_))
    }

    fn end_release(&mut self) {
        self.state = State::Idle;
        self.exchange = None;
    }

    /// Ends the use of the lease, if there is one.
    fn take_grant(&mut self) -> Option<Box<Offer>> {
        self.grant()?;
        let State::Bound(grant) = core::mem::replace(&mut self.state, State::Idle) else {
            return None;
        };
        self.exchange = None;
        Some(grant)
    }

    /// Returns whether a server may grant an address at once. Each one that does sets it aside, and none can
    /// be compared with another.
    fn is_rapid(&self) -> bool {
        self.purpose == Purpose::Lease && !self.wants_boot_file
    }

    /// Asks whether the addresses of the lease still fit the link, which may be another (RFC 8415 §18.2.3).
    pub fn confirm(&mut self, now: Instant) {
        if let State::Bound(_) = self.state {
            self.begin_exchange(MessageType::CONFIRM, CONFIRMING, now);
        }
    }

    /// Renews the lease now, or asks for one.
    pub fn renew(&mut self, now: Instant) {
        if let State::Bound(_) = self.state {
            self.begin_exchange(MessageType::RENEW, RENEWING, now);
        } else {
            self.ask_again(now);
        }
    }

    /// Drives the timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_due(self.refresh_at.at()) {
            (self.refresh_at, self.is_stale) = (Expiry::NEVER, true);
        }
        let exchange = self.exchange.as_ref();
        let kind = exchange.map(|exchange| exchange.kind);
        let is_sent = |times: u32| {
            exchange.is_some_and(|exchange| exchange.sent >= times && now >= exchange.next_at)
        };
        match &mut self.state {
            State::Soliciting { best, choose_at } if is_due(*choose_at) => {
                *choose_at = None;
                if let Some(offer) = best.take() {
                    if self.purpose == Purpose::Preview {
                        self.state = State::Bound(offer);
                        self.exchange = None;
                        return;
                    }
                    let state = State::Requesting(offer);
                    self.enter(state, MessageType::REQUEST, Pace::BOOTING, now);
                }
            }
            State::Requesting(_) if is_sent(MAX_REQUESTS) => self.begin_soliciting(now),
            State::Declining { solicit_at, .. } if now >= *solicit_at || is_sent(MAX_DECLINES) => {
                let at = (*solicit_at).max(now);
                self.begin_soliciting(at);
            }
            State::Releasing(_) if is_sent(MAX_DECLINES) => self.end_release(),
            State::Bound(grant) => {
                let is_refused = kind == Some(MessageType::REQUEST) && is_sent(MAX_REQUESTS);
                if is_due(grant.ends()) || is_refused {
                    self.begin_soliciting(now);
                } else if kind == Some(MessageType::CONFIRM) && is_sent(MAX_CONFIRMS) {
                    self.exchange = None;
                } else if is_due(grant.rebind_at.at()) && kind != Some(MessageType::REBIND) {
                    self.begin_exchange(MessageType::REBIND, RENEWING, now);
                } else if is_due(grant.renew_at.at()) && kind.is_none() {
                    self.renew(now);
                }
            }
            State::Idle
            | State::Soliciting { .. }
            | State::Requesting(_)
            | State::Declining { .. }
            | State::Releasing(_) => {}
        }
    }

    /// Returns a message that is due, for port 547 of all servers.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(MessageType, Vec<u8>)> {
        let is_rapid = self.is_rapid();
        let offer = match &self.state {
            State::Idle | State::Soliciting { .. } => None,
            // What a message is about.
            State::Requesting(offer)
            | State::Bound(offer)
            | State::Releasing(offer)
            | State::Declining { grant: offer, .. } => Some(&**offer),
        };
        for (exchange, offer) in [(&mut self.information, None), (&mut self.exchange, offer)] {
            if let Some(exchange) = exchange
                && now >= exchange.next_at
            {
                let elapsed = exchange.handle_sent(now, &mut self.random);
                self.solicits += u32::from(exchange.kind == MessageType::SOLICIT);
                let kind = exchange.kind;
                let mut message = self.identity.message(exchange, elapsed, offer, now);
                if kind == MessageType::SOLICIT && is_rapid {
                    put(&mut message, code::RAPID_COMMIT, &[]);
                }
                return Some((kind, message));
            }
        }
        None
    }

    /// Returns when [`Dhcp6::handle_timeout`] must be called, or a message is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let exchange = self.exchange.as_ref();
        let own = match &self.state {
            State::Soliciting { choose_at, .. } => *choose_at,
            State::Bound(grant) => {
                let kind = exchange.map(|exchange| exchange.kind);
                let renew_at = grant.renew_at.at().filter(|_| kind.is_none());
                let rebind_at = grant.rebind_at.at();
                let rebind_at = rebind_at.filter(|_| kind != Some(MessageType::REBIND));
                earliest(&[renew_at, rebind_at, grant.ends()])
            }
            State::Declining { solicit_at, .. } => Some(*solicit_at),
            State::Idle | State::Requesting(_) | State::Releasing(_) => None,
        };
        let next_at = |exchange: &Exchange| exchange.next_at;
        let information = self.information.as_ref().map(next_at);
        earliest(&[
            own,
            exchange.map(next_at),
            information,
            self.refresh_at.at(),
        ])
    }

    /// Returns the lease.
    pub fn grant(&self) -> Option<&Offer> {
        match &self.state {
            State::Bound(grant) => Some(grant),
            State::Idle
            | State::Soliciting { .. }
            | State::Requesting(_)
            | State::Declining { .. }
            | State::Releasing(_) => None,
        }
    }

    /// Returns what servers have said that were asked for no address.
    pub const fn informed(&self) -> Option<&Configuration> {
        self.informed.as_ref()
    }

    /// Returns whether that is as new as it is to be.
    pub const fn is_informed(&self) -> bool {
        self.informed.is_some() && !self.is_stale
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
