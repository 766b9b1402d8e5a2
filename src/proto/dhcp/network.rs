//! What a message says about the network: mask, routes, resolvers, MTU and domains.
//!
//! What no host can use is left out, and its option is listed with the reason.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::boot_service::IgnoredOptions;
use super::reply::is_host;
use crate::packet::option::{Options, code};
use crate::text::names;

/// Smallest MTU that IPv4 allows, bytes (RFC 791).
const MIN_MTU: u16 = 68;
/// The largest MTU that servers send in earnest, bytes: passt's, for its virtual machines. 65535 means
/// that none was configured.
const MAX_MTU: u16 = 65_520;

/// A route, from option 121 (RFC 3442) or 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticRoute {
    /// The network.
    pub destination: Ipv4Addr,
    /// Its prefix, 0 to 32 bits.
    pub prefix_len: u8,
    /// The router; none when the network is on the link (0.0.0.0 in option 121).
    pub gateway: Option<Ipv4Addr>,
}

/// Lists an option with the reason why it is not used as it was sent.
fn ignore(ignored: &mut IgnoredOptions, code: u8, why: &'static str) {
    if !ignored.contains(&(code, why)) {
        ignored.push((code, why));
    }
}

/// Lists the options that have no value for their length.
pub(super) fn note_wrong_lengths(options: &Options, ignored: &mut IgnoredOptions) {
    for code in options.of_wrong_length() {
        ignore(ignored, code, "has a wrong length");
    }
}

/// Lists option 54 where it does not name a server, so that the one which was asked or the source address
/// stands for it.
pub(super) fn note_missing_server(options: &Options, ignored: &mut IgnoredOptions) {
    let server = options.address(code::SERVER_IDENTIFIER);
    if !server.is_some_and(is_host) {
        ignore(ignored, code::SERVER_IDENTIFIER, "names no server");
    }
}

/// Returns the prefix of an address, 1 to 32 bits.
pub(super) fn prefix_len(address: Ipv4Addr, options: &Options, ignored: &mut IgnoredOptions) -> u8 {
    if let Some(mask) = options.address(code::SUBNET_MASK).map(u32::from) {
        let prefix_len = u32::BITS - mask.trailing_zeros();
        // RFC 950 allowed gaps; the kernel has only prefixes (`ifa_prefixlen` of rtnetlink). As dhcpcd,
        // udhcpc and networkd, up to the last one bit, which is right for a slip such as 255.255.225.0.
        if mask.leading_ones() != prefix_len {
            ignore(ignored, code::SUBNET_MASK, "has a gap");
        }
        if prefix_len > 0 {
            return u8::try_from(prefix_len).unwrap_or(32);
        }
        ignore(ignored, code::SUBNET_MASK, "is 0.0.0.0");
    }
    // The classes of RFC 791 §3.2, for lack of option 1.
    match address.octets() {
        [..128, _, _, _] => 8,
        [..192, _, _, _] => 16,
        _ => 24,
    }
}

/// Returns whether an address is that of a host in its network, neither the network's own nor the one for
/// broadcasts. Networks of one and two addresses have neither of these (RFC 3021).
pub(super) fn is_host_of_network(address: Ipv4Addr, prefix_len: u8) -> bool {
    // /32 has no host part, and a shift by all 32 bits is none in Rust.
    let mask = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
    let host = address.to_bits() & mask;
    prefix_len > 30 || (host != 0 && host != mask)
}

/// Returns whether an address is that of a host if it is in the network of `own`.
fn is_host_beside(address: Ipv4Addr, own: (Ipv4Addr, u8)) -> bool {
    let (own, prefix_len) = own;
    let is_near = (address.to_bits() ^ own.to_bits()).leading_zeros() >= prefix_len.into();
    !is_near || is_host_of_network(address, prefix_len)
}

/// Returns the addresses in a list that can be those of hosts, for whom has the address `own` with its
/// prefix.
pub(super) fn hosts(
    options: &Options,
    code: u8,
    own: (Ipv4Addr, u8),
    ignored: &mut IgnoredOptions,
) -> Vec<Ipv4Addr> {
    let mut listed = options.addresses(code);
    let count = listed.len();
    listed.retain(|address| is_host(*address) && is_host_beside(*address, own));
    if listed.len() < count {
        ignore(ignored, code, "lists what is no host's address");
    }
    if options.get(code).is_some_and(|list| list.len() % 4 != 0) {
        ignore(ignored, code, "has a wrong length");
    }
    listed
}

/// Returns whether there can be other hosts at a destination: not in 127/8, which the kernel keeps to itself,
/// nor in 0/8, "this network", and not at the address of all hosts on the link (RFC 1122 §3.2.1.3).
const fn is_elsewhere(destination: Ipv4Addr, prefix_len: u8) -> bool {
    match destination.octets() {
        // Or half of all networks, as it is written beside 128.0.0.0/1.
        [0, ..] => prefix_len < 8,
        [127, ..] => false,
        _ => !destination.is_broadcast(),
    }
}

/// Returns the address for broadcasts; none where that of the mask is to do. Programs that set it take any,
/// and whatever is sent to the host that has it would go to all then.
pub(super) fn broadcast(
    options: &Options,
    own: (Ipv4Addr, u8),
    ignored: &mut IgnoredOptions,
) -> Option<Ipv4Addr> {
    let address = options.address(code::BROADCAST_ADDRESS)?;
    // All ones, or all zeros, as BSD had it.
    if address.is_broadcast() || !is_host_beside(address, own) {
        return Some(address);
    }
    ignore(ignored, code::BROADCAST_ADDRESS, "is not for broadcasts");
    None
}

pub(super) fn mtu(options: &Options, ignored: &mut IgnoredOptions) -> Option<u16> {
    let mtu = options.u16(code::INTERFACE_MTU)?;
    let why = match mtu {
        ..MIN_MTU => "is below 68 bytes",
        MIN_MTU..=MAX_MTU => return Some(mtu),
        _ => "is above 65520 bytes",
    };
    ignore(ignored, code::INTERFACE_MTU, why);
    None
}

/// Returns the routes in the order to be set. A list in option 121 or 249 rules out option 3 (RFC 3442),
/// unless some of its routes cannot be used and there is none to everywhere among the others.
///
/// `own` is the address and its prefix.
pub(super) fn routes(
    options: &Options,
    own: (Ipv4Addr, u8),
    ignored: &mut IgnoredOptions,
) -> Vec<StaticRoute> {
    let mut routes = Vec::new();
    for code in [
        code::CLASSLESS_STATIC_ROUTE,
        code::MS_CLASSLESS_STATIC_ROUTE,
    ] {
        match options.route_list(code) {
            Some((list, true)) if !list.is_empty() => {}
            Some(_) => ignore(ignored, code, "is damaged"),
            None => {}
        }
    }
    if let Some((list, is_whole)) = options.classless_routes() {
        let count = list.len();
        for (destination, prefix_len, router) in list {
            let gateway = Some(router).filter(|router| !router.is_unspecified());
            let is_host = |router| is_host(router) && is_host_beside(router, own);
            if gateway.is_none_or(is_host) && is_elsewhere(destination, prefix_len) {
                routes.push(StaticRoute {
                    destination,
                    prefix_len,
                    gateway,
                });
            }
        }
        let is_complete = routes.len() == count;
        if !is_complete {
            let why = "has a route to or by what is no host";
            ignore(ignored, code::CLASSLESS_STATIC_ROUTE, why);
        }
        if (is_whole && is_complete) || routes.iter().any(|route| route.prefix_len == 0) {
            return routes;
        }
    }
    // RFC 2132 §3.5: routers are listed in order of preference, and one default route is enough.
    let routers = hosts(options, code::ROUTER, own, ignored);
    routes.extend(routers.first().map(|router| StaticRoute {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix_len: 0,
        gateway: Some(*router),
    }));
    routes
}

/// Returns the domain, and the domains that names are looked up in: those of option 119, or of option 15
/// where it has several, as servers of clouds send them (and dhclient-script takes them).
pub(super) fn domains(
    options: &Options,
    ignored: &mut IgnoredOptions,
) -> (Option<String>, Vec<String>) {
    let is_domain = |name: &String| names::is_host_name(name);
    let mut search = options.domain_search();
    let count = search.len();
    search.retain(is_domain);
    if options.get(code::DOMAIN_SEARCH).is_some() && (search.len() < count || count == 0) {
        let why = "holds what is no domain name";
        ignore(ignored, code::DOMAIN_SEARCH, why);
    }
    let text = options.text(code::DOMAIN_NAME).unwrap_or_default();
    let words = names::words(text).map(|name| name.trim_matches('.').to_owned());
    let mut names: Vec<_> = words.collect();
    let count = names.len();
    names.retain(is_domain);
    if options.get(code::DOMAIN_NAME).is_some() && (names.len() < count || count == 0) {
        ignore(ignored, code::DOMAIN_NAME, "holds what is no domain name");
    }
    let domain = names.first().cloned();
    if search.is_empty() && names.len() > 1 {
        search = names;
    }
    (domain, search)
}

#[cfg(test)]
mod tests;
