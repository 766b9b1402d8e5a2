//! What a response says about a name, and why there may be no address in the end.

use crate::prelude::*;
use core::fmt;
use core::net::IpAddr;

use crate::packet::dns::{AddressType, Name, Record, Response, ResponseCode};

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
pub(super) fn of(response: Response, name: &Name, kind: AddressType) -> DnsAnswer {
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
