//! What a message of a router, server or client says, as names and values for people.

use crate::prelude::*;
use core::fmt::Display;
use core::net::Ipv6Addr;

use serde::Serialize;

use super::lease::FOREVER;
use super::offer::Configuration;
use crate::packet::dhcpv6::{Options, Status, code};
use crate::packet::icmpv6::{Advertisement, RouterOption};
use crate::text::safe::Safe;

/// One thing that a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is about.
    pub name: &'static str,
    /// What is said about it; safe to be shown.
    pub value: String,
}

/// Returns what a router says.
pub fn of_router(message: &Advertisement<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (is_set, what) in [
        (message.managed, "addresses"),
        (message.other, "configuration"),
    ] {
        if is_set {
            put(&mut facts, "servers have", &what);
        }
    }
    let lifetime = message.lifetime;
    put(&mut facts, "default router", &Lifetime(lifetime.into()));
    for option in message.options() {
        match option {
            RouterOption::Mtu(bytes) => put(&mut facts, "MTU", &bytes),
            RouterOption::Prefix(prefix) => {
                let on_link = if prefix.on_link { " on the link" } else { "" };
                let autonomous = if prefix.autonomous {
                    " for addresses"
                } else {
                    ""
                };
                let (network, len, valid) = (prefix.network, prefix.len, Lifetime(prefix.valid));
                put(
                    &mut facts,
                    "prefix",
                    &format_args!("{network}/{len}{on_link}{autonomous} {valid}"),
                );
            }
            RouterOption::Route(route) => {
                let (network, len, lifetime) = (route.network, route.len, Lifetime(route.lifetime));
                put(
                    &mut facts,
                    "route",
                    &format_args!("{network}/{len} {lifetime}"),
                );
            }
            RouterOption::Resolvers(servers, lifetime) => {
                for server in servers {
                    let lifetime = Lifetime(lifetime);
                    put(&mut facts, "resolver", &format_args!("{server} {lifetime}"));
                }
            }
            RouterOption::Domains(domains, lifetime) => {
                for domain in domains {
                    let lifetime = Lifetime(lifetime);
                    put(&mut facts, "domain", &format_args!("{domain} {lifetime}"));
                }
            }
            RouterOption::CaptivePortal(uri) => {
                put(&mut facts, "captive portal", &Safe::name(&uri));
            }
            RouterOption::Nat64(prefix, lifetime) => {
                let lifetime = Lifetime(lifetime);
                put(&mut facts, "NAT64", &format_args!("{prefix} {lifetime}"));
            }
        }
    }
    facts
}

/// Returns what a message of DHCPv6 says by its options.
pub fn of_dhcp(options: Options<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    put_status(&mut facts, options);
    for association in options.associations() {
        for given in association.addresses() {
            let (address, valid) = (given.address, Lifetime(given.valid));
            put(&mut facts, "address", &format_args!("{address} {valid}"));
        }
        put_status(&mut facts, association.options);
    }
    if let Some([preference]) = options.get(code::PREFERENCE) {
        put(&mut facts, "preference", preference);
    }
    for (code, name) in [
        (code::CLIENT_ARCHITECTURE, "architecture"),
        (code::OPTION_REQUEST, "asks for option"),
    ] {
        let (numbers, _) = options.get(code).unwrap_or_default().as_chunks::<2>();
        for number in numbers {
            put(&mut facts, name, &u16::from_be_bytes(*number));
        }
    }
    let read = Configuration::read(options);
    let servers = read.dns.iter();
    servers.for_each(|server: &Ipv6Addr| put(&mut facts, "resolver", server));
    let servers = read.time_servers.iter();
    servers.for_each(|server: &Ipv6Addr| put(&mut facts, "time server", server));
    for (name, texts) in [
        ("domain", &read.search[..]),
        ("captive portal", read.captive_portal.as_slice()),
        ("boot file", read.boot_file.as_slice()),
        ("boot parameter", &read.boot_parameters),
    ] {
        for text in texts {
            put(&mut facts, name, &Safe::name(text));
        }
    }
    facts
}

fn put_status(facts: &mut Vec<Fact>, options: Options<'_>) {
    let status = options.status();
    if status != Status::SUCCESS {
        put(facts, "status", &status);
    }
}

fn put(facts: &mut Vec<Fact>, name: &'static str, value: &dyn Display) {
    let value = value.to_string();
    facts.push(Fact { name, value });
}

struct Lifetime(u32);

impl Display for Lifetime {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            FOREVER => f.write_str("for ever"),
            seconds => write!(f, "for {seconds} s"),
        }
    }
}
