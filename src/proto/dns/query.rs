//! The search for addresses of one type, from one server to the next; what a response says about a name, and
//! why there may be no address in the end.

use crate::prelude::*;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::packet::dns::{AddressType, Name, Record, Response, ResponseCode, encode_query};
use crate::time::{Instant, Random};

/// How long a server may be silent in the first round; twice as long in each further one. A server that
/// asks others takes some 100 ms.
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time for one query, and that for one over TCP.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(4);

/// Transport of a query to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryTransport {
    /// In a datagram, from a socket of its own.
    Udp,
    /// On a connection of its own, behind its length in two bytes (RFC 1035 §4.2.2).
    Tcp,
}

/// The search for addresses of one type.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) kind: AddressType,
    pub(super) name: Name,
    /// Aliases followed to that name.
    pub(super) aliases: usize,
    id: u16,
    pub(super) state: State,
    /// What each server has done.
    progress: Vec<ServerProgress>,
    /// Addresses of a truncated response, for when TCP fails.
    pub(super) spare: Vec<IpAddr>,
}

#[derive(Debug)]
pub(super) enum State {
    Asking {
        /// The index of the server.
        server: usize,
        transport: QueryTransport,
        is_due: bool,
        until: Instant,
    },
    Found(Vec<IpAddr>),
    /// There is no such name, or it has no such address.
    Negative(Failure),
    /// No server has an answer.
    Failed,
}

/// State of a query at one server.
#[derive(Debug, Clone, Copy, Default)]
struct ServerProgress {
    /// Rounds in which it was asked.
    rounds: u32,
    /// It is asked without EDNS, which it does not understand.
    is_plain: bool,
    /// It is not asked again.
    is_out: bool,
}

impl Query {
    /// Returns a query that is not begun, to one of `servers` servers.
    pub(super) fn new(kind: AddressType, name: Name, servers: usize) -> Self {
        Self {
            kind,
            name,
            aliases: 0,
            id: 0,
            state: State::Failed,
            progress: vec![ServerProgress::default(); servers],
            spare: Vec::new(),
        }
    }

    /// Begins with the server `first`, under a new number.
    pub(super) fn begin(&mut self, random: &mut Random, first: usize, now: Instant) {
        self.id = (random.next_u32() >> 16) as u16;
        self.spare.clear();
        for progress in &mut self.progress {
            (progress.rounds, progress.is_out) = (0, false);
        }
        self.ask(first, now);
    }

    /// Asks the server that has been asked in the fewest rounds, of them the next one from `first` on.
    /// The addresses of a truncated response are taken where TCP has brought no others.
    pub(super) fn ask(&mut self, first: usize, now: Instant) {
        if !self.spare.is_empty() {
            self.state = State::Found(core::mem::take(&mut self.spare));
            return;
        }
        let len = self.progress.len();
        let all = self.progress.iter_mut().enumerate();
        let next = all
            .filter(|(_, progress)| !progress.is_out)
            .min_by_key(|(index, progress)| {
                (progress.rounds, (index + len - first.min(len)) % len)
            });
        let Some((server, progress)) = next else {
            self.state = State::Failed;
            return;
        };
        // 1, 2 and then 4 s, which is MAX_TIMEOUT.
        let timeout = FIRST_TIMEOUT * (1 << progress.rounds.min(2));
        progress.rounds += 1;
        self.send(server, QueryTransport::Udp, timeout, now);
    }

    /// Makes a query to this server due.
    pub(super) fn send(
        &mut self,
        server: usize,
        transport: QueryTransport,
        timeout: Duration,
        now: Instant,
    ) {
        self.state = State::Asking {
            server,
            transport,
            is_due: true,
            until: now + timeout,
        };
    }

    /// Asks `server` no more, and the next one if it was its turn.
    pub(super) fn give_up(&mut self, server: usize, first: usize, now: Instant) {
        if let Some(progress) = self.progress.get_mut(server) {
            progress.is_out = true;
        }
        if self.is_with(server, QueryTransport::Udp) || self.is_with(server, QueryTransport::Tcp) {
            self.ask(first, now);
        }
    }

    /// Returns whether an answer of `server` is waited for.
    pub(super) fn is_with(&self, server: usize, transport: QueryTransport) -> bool {
        matches!(&self.state, State::Asking { server: asked, transport: by, .. }
            if (*asked, *by) == (server, transport))
    }

    /// Returns whether `response` of `server` is one to this query: also of a server that was silent
    /// until the next one was asked.
    pub(super) fn is_answered_by(&self, server: usize, response: &Response) -> bool {
        let progress = self.progress.get(server);
        let is_asked = progress.is_some_and(|progress| progress.rounds > 0 && !progress.is_out);
        let is_question = match &response.question {
            Some((name, kind)) => (name, *kind) == (&self.name, self.kind as u16),
            // A server that does not understand a query may not repeat it.
            None => ![ResponseCode::NO_ERROR, ResponseCode::NAME_ERROR].contains(&response.code),
        };
        self.until().is_some() && is_asked && response.id == self.id && is_question
    }

    /// Returns whether `trouble` may be for EDNS, which servers older than it report so (RFC 6891
    /// §7), and notes that the server is asked without it.
    pub(super) fn may_be_plain(&mut self, server: usize, trouble: Trouble) -> bool {
        let codes = [ResponseCode::FORMAT_ERROR, ResponseCode::NOT_IMPLEMENTED];
        let is_about_it = codes.map(Trouble::Code).contains(&trouble);
        let progress = self.progress.get_mut(server);
        progress.is_some_and(|progress| {
            is_about_it && progress.rounds < 2 && !core::mem::replace(&mut progress.is_plain, true)
        })
    }

    /// Returns when the next server is asked; none when the query has ended.
    pub(super) const fn until(&self) -> Option<Instant> {
        match self.state {
            State::Asking { until, .. } => Some(until),
            State::Found(_) | State::Negative(_) | State::Failed => None,
        }
    }

    /// Writes the query into `buf` if it is due; returns the index of the server and the way to it.
    pub(super) fn take_due(&mut self, buf: &mut Vec<u8>) -> Option<(usize, QueryTransport)> {
        let State::Asking {
            server,
            transport,
            is_due,
            ..
        } = &mut self.state
        else {
            return None;
        };
        if !core::mem::take(is_due) {
            return None;
        }
        // From the second round on without EDNS, which some firewalls drop.
        let progress = self.progress.get(*server);
        let edns = progress.is_some_and(|progress| !progress.is_plain && progress.rounds < 2);
        encode_query(self.id, &self.name, self.kind, edns, buf);
        Some((*server, *transport))
    }
}

/// Aliases that are followed, in one response and from one to the next; BIND follows 16.
pub(super) const MAX_ALIASES: usize = 16;
/// Addresses of one type that are used; musl takes as many.
const MAX_ADDRESSES: usize = 48;

/// Meaning of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DnsAnswer {
    /// The name has these addresses, one or more.
    Addresses(Vec<IpAddr>),
    /// The response is truncated, and had these addresses, or none.
    Truncated(Vec<IpAddr>),
    /// It is an alias of another name, behind that many aliases, about which the response says nothing.
    Alias(Name, usize),
    /// There is no such name.
    NoSuchName,
    /// The name exists and has no address of this type.
    NoAddress,
    /// The server has no answer.
    Trouble(Trouble),
}

/// Returns what `response` says about the addresses of `name`.
pub(super) fn answer(response: Response, name: &Name, kind: AddressType) -> DnsAnswer {
    match response.code {
        ResponseCode::NO_ERROR if response.is_referral => {
            return DnsAnswer::Trouble(Trouble::Referral);
        }
        ResponseCode::NO_ERROR => {}
        ResponseCode::NAME_ERROR => return DnsAnswer::NoSuchName,
        code => return DnsAnswer::Trouble(Trouble::Code(code)),
    }
    let (mut name, mut aliases) = (name, 0);
    let records = &response.records;
    // The order of the records does not matter, and a circle of aliases ends at the limit.
    while let Some(target) = records.iter().find_map(|record| match record {
        Record::Alias { owner, target } if owner == name => Some(target),
        Record::Alias { .. } | Record::Address { .. } => None,
    }) {
        name = target;
        aliases += 1;
        if aliases > MAX_ALIASES {
            return DnsAnswer::Trouble(Trouble::Aliases);
        }
    }
    let mut addresses = Vec::new();
    for record in records {
        if let Record::Address { owner, address } = record
            && owner == name
            && address.is_ipv6() == (kind == AddressType::Aaaa)
            && addresses.len() < MAX_ADDRESSES
            && !addresses.contains(address)
        {
            addresses.push(*address);
        }
    }
    if response.is_truncated {
        DnsAnswer::Truncated(addresses)
    } else if !addresses.is_empty() {
        DnsAnswer::Addresses(addresses)
    } else if aliases > 0 && !response.is_final {
        DnsAnswer::Alias(name.clone(), aliases)
    } else {
        DnsAnswer::NoAddress
    }
}

/// The reason why a lookup has found no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no server to ask.
    NoServer,
    /// No name in DNS has this form.
    NotAName,
    /// A server says that there is no such name.
    NoSuchName(IpAddr),
    /// A server says that the name has no address of the types queried.
    NoAddress(IpAddr),
    /// No server had an answer; why, for each.
    Servers(Vec<(IpAddr, Trouble)>),
}

/// The reason why a server had no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It was silent, or was not asked in the time there was.
    Silent,
    /// A query could not be sent, or its port is closed.
    Unreachable,
    /// It sent this code.
    Code(ResponseCode),
    /// It only refers to other servers.
    Referral,
    /// Its aliases lead on without end.
    Aliases,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => f.write_str("there is no name server"),
            Self::NotAName => f.write_str("this cannot be a name in DNS"),
            Self::NoSuchName(server) => write!(f, "no such name (said by {server})"),
            Self::NoAddress(server) => write!(f, "it has no address (said by {server})"),
            Self::Servers(servers) => {
                let are_silent = servers.iter().all(|(_, why)| *why == Trouble::Silent);
                f.write_str(if are_silent {
                    "no server answered ("
                } else {
                    "no server has an answer ("
                })?;
                for (index, (server, why)) in servers.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    write!(f, "{server}")?;
                    match why {
                        _ if are_silent => {}
                        Trouble::Silent => f.write_str(" is silent")?,
                        Trouble::Unreachable => f.write_str(" is not reached")?,
                        Trouble::Code(code) => write!(f, " says {}", code.name())?,
                        Trouble::Referral => f.write_str(" only refers to others")?,
                        Trouble::Aliases => f.write_str(" has too many aliases for it")?,
                    }
                }
                f.write_str(")")
            }
        }
    }
}
