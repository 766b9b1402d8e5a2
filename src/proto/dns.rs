//! Resolves a name to addresses as a state machine: a stub resolver (RFC 1034 §5.3.1).
//!
//! A and AAAA are queried side by side, as far as the machine has addresses of these families. A server
//! that is silent, unreachable or has no answer is followed by the next, and silent ones are asked
//! again in further rounds until the time of the whole lookup is over. Whatever a server does with
//! one type of query costs the other 50 ms at most (RFC 8305 §3).
//!
//! Responses must be from a server that was asked and repeat number and question of the query; the
//! driver uses a new socket, and so a random port, for each. Left out: caching, since a boot asks for
//! few names, and DNSSEC, which a server does that is trusted anyway.

#![forbid(unsafe_code)]

mod config;
mod query;
#[cfg(test)]
mod tests;

use crate::prelude::*;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::packet::dns::{AddressType, Name, Response};
use crate::reader::DecodeError;
use crate::time::{Instant, Random};
pub use config::NameConfig;
use query::{DnsAnswer, FIRST_TIMEOUT, MAX_ALIASES, MAX_TIMEOUT, Query, State, answer};
pub use query::{Failure, QueryTransport, Trouble};

/// How long to wait for the other type once one has addresses (RFC 8305 §3, Resolution Delay).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// The time limit of a lookup, over all servers and names: that of the C libraries for two rounds.
pub const MAX_TIME: Duration = Duration::from_secs(10);
/// Configuration of a lookup.
#[derive(Debug, Clone)]
pub struct Config {
    /// The servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// The names to look for, in turn until one has addresses ([`NameConfig::candidates`]).
    pub names: Vec<Name>,
    /// The types to query, one or two.
    pub types: Vec<AddressType>,
    /// The time limit, [`MAX_TIME`] or less.
    pub max_time: Duration,
    /// The index of the server to begin with ([`Lookup::first`] of the lookup before).
    pub first: usize,
    /// The seed of the queries' numbers.
    pub seed: u64,
}

/// Destination of a query to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The server.
    pub destination: SocketAddr,
    /// The way to it.
    pub transport: QueryTransport,
    /// The type of the query, for [`Lookup::handle_failure`].
    pub kind: AddressType,
}

/// The end of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The addresses, at least one; those of IPv6 first.
    Found(Vec<IpAddr>),
    /// There are none.
    Failed(Failure),
}

/// The reason why a response was discarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is not a response.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// It is from another host, or answers another query.
    #[error("not the response to our query")]
    Unexpected,
}

/// State machine of one lookup.
#[derive(Debug)]
pub struct Lookup {
    servers: Vec<Server>,
    /// The index of the server that is asked first, the last one that had an answer.
    first: usize,
    /// Names that are still to be tried, the next one last.
    names: Vec<Name>,
    types: Vec<AddressType>,
    random: Random,
    /// The queries of the present name, one of each type.
    queries: Vec<Query>,
    /// When the lookup ends at the latest.
    until: Instant,
    /// When the queries that are still open are given up.
    hurry_until: Option<Instant>,
    /// Why a name has no address.
    negative: Option<Failure>,
    /// Whether no server has had an answer about one of the names.
    is_unanswered: bool,
    event: Option<Event>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    trouble: Trouble,
}

impl Lookup {
    /// Begins with queries for the first name due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let server = |address| Server {
            address,
            trouble: Trouble::Silent,
        };
        let mut names = config.names;
        names.reverse();
        let mut lookup = Self {
            servers: config.servers.into_iter().map(server).collect(),
            first: config.first,
            types: config.types,
            random: Random::new(config.seed),
            queries: Vec::new(),
            until: now + config.max_time,
            hurry_until: None,
            negative: None,
            is_unanswered: false,
            event: None,
            names,
        };
        if lookup.servers.is_empty() {
            lookup.event = Some(Event::Failed(Failure::NoServer));
        } else {
            lookup.begin_name(now);
        }
        lookup
    }

    /// Handles a message from `source`.
    ///
    /// # Errors
    /// A [`Discard`] when it is not used; the lookup continues.
    pub fn handle_input(
        &mut self,
        source: SocketAddr,
        transport: QueryTransport,
        message: &[u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let response = Response::decode(message)?;
        let is_source = |server: &Server| {
            (server.address.ip(), server.address.port()) == (source.ip(), source.port())
        };
        let index = self.servers.iter().position(is_source);
        let index = index.ok_or(Discard::Unexpected)?;
        let mut queries = self.queries.iter_mut();
        let query = queries.find(|query| query.is_answered_by(index, &response));
        let query = query.ok_or(Discard::Unexpected)?;
        let trouble = match answer(response, &query.name, query.kind) {
            DnsAnswer::Truncated(addresses) if transport == QueryTransport::Udp => {
                query.spare = addresses;
                query.send(index, QueryTransport::Tcp, MAX_TIMEOUT, now);
                None
            }
            DnsAnswer::Addresses(addresses) | DnsAnswer::Truncated(addresses) => {
                query.state = State::Found(addresses);
                None
            }
            DnsAnswer::Alias(name, count) if query.aliases + count <= MAX_ALIASES => {
                query.aliases += count;
                query.name = name;
                query.begin(&mut self.random, index, now);
                None
            }
            DnsAnswer::Alias(..) => Some(Trouble::Aliases),
            DnsAnswer::NoSuchName => {
                query.state = State::Negative(Failure::NoSuchName(source.ip()));
                None
            }
            DnsAnswer::NoAddress => {
                query.state = State::Negative(Failure::NoAddress(source.ip()));
                None
            }
            DnsAnswer::Trouble(trouble) => Some(trouble),
        };
        match trouble {
            None => self.first = index,
            Some(trouble) if query.may_be_plain(index, trouble) => {
                query.send(index, QueryTransport::Udp, FIRST_TIMEOUT, now);
            }
            Some(trouble) => {
                query.give_up(index, self.first, now);
                self.note_trouble(index, trouble);
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Notes that a query of type `kind` could not be sent to `server` this way, or that its port is
    /// closed there; the next server is asked.
    pub fn handle_failure(&mut self, transmit: Transmit, now: Instant) {
        let is_it = |server: &Server| server.address == transmit.destination;
        let index = self.servers.iter().position(is_it);
        let mut queries = self.queries.iter_mut();
        let query = queries.find(|query| query.kind == transmit.kind);
        if let (Some(index), Some(query)) = (index, query)
            && query.is_with(index, transmit.transport)
        {
            query.give_up(index, self.first, now);
            self.note_trouble(index, Trouble::Unreachable);
            self.settle(now);
        }
    }

    /// Asks the next server after a timeout, or ends the lookup.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none() {
            return;
        }
        if now >= self.until {
            self.names.clear();
            return self.conclude(now);
        }
        if self.hurry_until.is_some_and(|at| now >= at) {
            return self.conclude(now);
        }
        for query in &mut self.queries {
            if query.until().is_some_and(|at| now >= at) {
                query.ask(self.first, now);
            }
        }
        self.settle(now);
    }

    /// Writes the next query to send into `buf`, replacing its content.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.queries.iter_mut().find_map(|query| {
            let (server, transport) = query.take_due(buf)?;
            Some(Transmit {
                destination: self.servers.get(server)?.address,
                transport,
                kind: query.kind,
            })
        })
    }

    /// Returns the result, once.
    pub const fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Returns when [`Lookup::handle_timeout`] is to be called; none when the lookup has ended.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let open = self.queries.iter().filter_map(Query::until);
        let next = open.min()?;
        Some(self.hurry_until.unwrap_or(next).min(next).min(self.until))
    }

    /// Returns the index of the server to begin the next lookup with, the last one that had an answer.
    pub const fn first(&self) -> usize {
        self.first
    }

    fn note_trouble(&mut self, index: usize, trouble: Trouble) {
        if let Some(server) = self.servers.get_mut(index) {
            server.trouble = trouble;
        }
    }

    /// Begins with the next name, or ends without an address.
    fn begin_name(&mut self, now: Instant) {
        self.hurry_until = None;
        self.queries.clear();
        let Some(name) = self.names.pop() else {
            let troubles = || {
                let servers = self.servers.iter();
                servers
                    .map(|server| (server.address.ip(), server.trouble))
                    .collect()
            };
            // A name about which nobody had an answer may be the one.
            let failure = match self.negative.take() {
                Some(negative) if !self.is_unanswered => negative,
                _ if self.is_unanswered => Failure::Servers(troubles()),
                _ => Failure::NotAName,
            };
            self.event = Some(Event::Failed(failure));
            return;
        };
        for kind in &self.types {
            let mut query = Query::new(*kind, name.clone(), self.servers.len());
            query.begin(&mut self.random, self.first, now);
            self.queries.push(query);
        }
    }

    /// Ends the present name once all its queries have, and sets a limit to the one that is left.
    fn settle(&mut self, now: Instant) {
        if self.queries.iter().all(|query| query.until().is_none()) {
            return self.conclude(now);
        }
        // There is no record of any type then (RFC 8020), so that AAAA can bring nothing. Servers that
        // say so of AAAA alone are many (RFC 4074 §4.2).
        let is_settled = |query: &Query| match &query.state {
            State::Found(_) => true,
            State::Negative(Failure::NoSuchName(_)) => query.kind == AddressType::A,
            State::Asking { .. } | State::Negative(_) | State::Failed => false,
        };
        if self.hurry_until.is_none() && self.queries.iter().any(is_settled) {
            self.hurry_until = Some(now + RESOLUTION_DELAY);
        }
    }

    /// Ends the present name with what its queries have found.
    fn conclude(&mut self, now: Instant) {
        let mut found = Vec::new();
        let mut is_answered = false;
        for query in self.queries.drain(..) {
            match query.state {
                // IPv6 goes first (RFC 6724 §2.1).
                State::Found(addresses) if query.kind == AddressType::Aaaa => {
                    found.splice(0..0, addresses);
                }
                State::Found(addresses) => found.extend(addresses),
                State::Negative(failure) => {
                    is_answered = true;
                    let is_better = matches!(failure, Failure::NoAddress(_));
                    if is_better || self.negative.is_none() {
                        self.negative = Some(failure);
                    }
                }
                State::Asking { .. } | State::Failed => {}
            }
        }
        if !found.is_empty() {
            self.event = Some(Event::Found(found));
            return;
        }
        self.is_unanswered |= !is_answered;
        self.begin_name(now);
    }
}
