//! Router discovery (RFC 4861 §6.3), and the addresses that are formed in advertised prefixes (RFC 4862
//! §5.5).
//!
//! Several routers and their advertisements are merged; everything ends with its lifetime.

use crate::prelude::*;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::address::{self, Nat64Prefix, SUBNET_LEN};
use super::exchange::Pace;
use super::lease::{Expiry, LeasedAddress, Origin, Route6};
use super::offer::Configuration;
use crate::packet::ethernet::MacAddress;
use crate::packet::icmpv6::{
    Advertisement, HOP_LIMIT, Preference, Prefix, RouterOption, router_solicitation_message,
};
use crate::reader::DecodeError;
use crate::time::{Instant, Random, earliest};

/// A link has a few routers; more are a flood.
const MAX_ROUTERS: usize = 16;
const MAX_PREFIXES: usize = 32;
const MAX_ROUTES: usize = 32;
const MAX_RESOLVERS: usize = 16;
/// An address that is in use is not shortened to less than this (RFC 4862 §5.5.3 e).
const TWO_HOURS: u32 = 7200;
/// The smallest MTU of IPv6 (RFC 8200 §5).
const MIN_MTU: u32 = 1280;

/// Why an advertisement is ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoredAdvertisement {
    /// It does not come from the link: a router has forwarded it.
    #[error("its hop limit is {0} and not 255, so that it is not from this link")]
    Forwarded(u8),
    /// Its source is no link-local address (RFC 4861 §6.1.2).
    #[error("its source is not link-local")]
    NotLinkLocal,
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// What is known of the routers of a link.
#[derive(Debug)]
pub struct RouterDiscovery {
    mac: MacAddress,
    /// When the first solicitation was sent, and how long the last one waits for an answer.
    asked_at: Option<Instant>,
    delay: Option<Duration>,
    solicit_at: Option<Instant>,
    is_due: bool,
    is_heard: bool,
    managed: bool,
    other: bool,
    mtu_octets: Option<u32>,
    captive_portal: Option<String>,
    /// Each with the network behind it; a default router has one of no bits.
    routes: Vec<KnownRoute>,
    prefixes: Vec<KnownPrefix>,
    resolvers: Vec<(Ipv6Addr, Expiry)>,
    domains: Vec<(String, Expiry)>,
    translators: Vec<(Nat64Prefix, Expiry)>,
}

#[derive(Debug)]
struct KnownRoute {
    destination: Ipv6Addr,
    prefix_len: u8,
    router: Ipv6Addr,
    preference: Preference,
    ends: Expiry,
}

#[derive(Debug)]
struct KnownPrefix {
    network: Ipv6Addr,
    len: u8,
    on_link: Option<Expiry>,
    address: Option<FormedAddress>,
}

#[derive(Debug)]
struct FormedAddress {
    preferred: Expiry,
    valid: Expiry,
    /// Another host has it.
    is_taken: bool,
}

impl KnownPrefix {
    /// Returns whether it is on the link, or an address in it is valid.
    fn is_in_force(&self, now: Instant) -> bool {
        let address = self.address.as_ref().map(|formed| formed.valid);
        let mut ends = [self.on_link, address].into_iter().flatten();
        ends.any(|ends| ends.left(now) > 0)
    }
}

impl RouterDiscovery {
    /// Begins to ask routers.
    pub const fn new(mac: MacAddress, now: Instant) -> Self {
        Self {
            mac,
            asked_at: None,
            delay: None,
            solicit_at: Some(now),
            is_due: false,
            is_heard: false,
            managed: false,
            other: false,
            mtu_octets: None,
            captive_portal: None,
            routes: Vec::new(),
            prefixes: Vec::new(),
            resolvers: Vec::new(),
            domains: Vec::new(),
            translators: Vec::new(),
        }
    }

    /// Handles an advertisement, from its type on.
    ///
    /// # Errors
    /// Why it is ignored.
    pub fn handle_input(
        &mut self,
        source: Ipv6Addr,
        hop_limit: u8,
        message: &[u8],
        now: Instant,
    ) -> Result<(), IgnoredAdvertisement> {
        if hop_limit != HOP_LIMIT {
            return Err(IgnoredAdvertisement::Forwarded(hop_limit));
        }
        if !source.is_unicast_link_local() {
            return Err(IgnoredAdvertisement::NotLinkLocal);
        }
        let read = Advertisement::decode(message)?;
        self.is_heard = true;
        // One of several routers is enough, and none takes back what another says.
        self.managed |= read.managed;
        self.other |= read.other;
        // RFC 7559 §2.1: until one is a default router.
        if read.lifetime > 0 {
            self.solicit_at = None;
        }
        self.set_route(
            source,
            (Ipv6Addr::UNSPECIFIED, 0),
            read.preference,
            read.lifetime.into(),
            now,
        );
        for option in read.options() {
            match option {
                RouterOption::Mtu(mtu) if mtu >= MIN_MTU => self.mtu_octets = Some(mtu),
                RouterOption::Mtu(_) => {}
                RouterOption::Prefix(prefix) => self.set_prefix(&prefix, now),
                RouterOption::Route(route) => {
                    let to = (address::network(route.network, route.len), route.len);
                    self.set_route(source, to, route.preference, route.lifetime, now);
                }
                RouterOption::Resolvers(resolvers, seconds) => {
                    for resolver in resolvers {
                        if address::is_host(resolver) {
                            set(&mut self.resolvers, resolver, seconds, now);
                        }
                    }
                }
                RouterOption::Domains(domains, seconds) => {
                    for domain in domains {
                        set(&mut self.domains, domain, seconds, now);
                    }
                }
                RouterOption::CaptivePortal(uri) => self.captive_portal = Some(uri),
                RouterOption::Nat64(prefix, seconds) => {
                    set(&mut self.translators, prefix, seconds, now);
                }
            }
        }
        Ok(())
    }

    fn set_route(
        &mut self,
        router: Ipv6Addr,
        (destination, prefix_len): (Ipv6Addr, u8),
        preference: Preference,
        lifetime: u32,
        now: Instant,
    ) {
        let key = (router, destination, prefix_len);
        let is_known =
            |route: &KnownRoute| (route.router, route.destination, route.prefix_len) == key;
        // What a router says takes the place of what it said before.
        self.routes
            .retain(|route| !is_known(route) && route.ends.left(now) > 0);
        let routers = self.routes.iter().filter(|route| route.prefix_len == 0);
        let has_room =
            self.routes.len() < MAX_ROUTES && (prefix_len > 0 || routers.count() < MAX_ROUTERS);
        if lifetime > 0 && has_room {
            self.routes.push(KnownRoute {
                destination,
                prefix_len,
                router,
                preference,
                ends: Expiry::after(lifetime, now),
            });
        }
    }

    fn set_prefix(&mut self, prefix: &Prefix, now: Instant) {
        let network = address::network(prefix.network, prefix.len);
        // RFC 4862 §5.5.3: neither the link-local prefix, nor one whose lifetimes are out of order; nor one
        // of reserved addresses (RFC 4291 §2.4), of which ::/0 on the link would hide every router.
        let is_usable = !network.is_unspecified()
            && !network.is_unicast_link_local()
            && !network.is_multicast()
            && prefix.preferred <= prefix.valid;
        if !is_usable {
            return;
        }
        let is_same = |known: &KnownPrefix| known.network == network && known.len == prefix.len;
        // Of a network that is renumbered again and again the last ones are known.
        self.prefixes
            .retain(|known| is_same(known) || known.is_in_force(now));
        if !self.prefixes.iter().any(is_same) && self.prefixes.len() < MAX_PREFIXES {
            self.prefixes.push(KnownPrefix {
                network,
                len: prefix.len,
                on_link: None,
                address: None,
            });
        }
        let Some(known) = self.prefixes.iter_mut().find(|known| is_same(known)) else {
            return;
        };
        // Without the flag nothing is said about it (RFC 4861 §6.3.4).
        if prefix.on_link {
            known.on_link = Some(Expiry::after(prefix.valid, now));
        }
        // An identifier of 64 bits fits only there (RFC 4862 §5.5.3 d).
        if !prefix.autonomous || prefix.len != SUBNET_LEN {
            return;
        }
        let preferred = Expiry::after(prefix.preferred, now);
        let valid = Expiry::after(prefix.valid, now);
        let formed = known.address.get_or_insert(FormedAddress {
            preferred,
            valid,
            is_taken: false,
        });
        let left = formed.valid.left(now);
        if left == 0 {
            // It is formed anew.
            formed.is_taken = false;
        }
        formed.preferred = preferred;
        // Nobody without authentication may end an address at once (RFC 4862 §5.5.3 e).
        if prefix.valid > TWO_HOURS || prefix.valid > left {
            formed.valid = valid;
        } else if left > TWO_HOURS {
            formed.valid = Expiry::after(TWO_HOURS, now);
        }
    }

    /// Forms no address any more that another host has; false if it is none of these.
    pub fn handle_conflict(&mut self, taken: Ipv6Addr) -> bool {
        let mac = self.mac;
        let mut prefixes = self.prefixes.iter_mut();
        let found = prefixes.find(|prefix| address::eui64(prefix.network, mac) == taken);
        let formed = found.and_then(|prefix| prefix.address.as_mut());
        formed.map(|formed| formed.is_taken = true).is_some()
    }

    /// Begins to ask again: the link may be another.
    pub const fn ask_anew(&mut self, now: Instant) {
        (self.asked_at, self.delay) = (None, None);
        self.solicit_at = Some(now);
    }

    /// Begins to ask again, unless a default router is known.
    pub const fn ask_again(&mut self, now: Instant) {
        if self.solicit_at.is_some() {
            self.ask_anew(now);
        }
    }

    /// Drives the timer of solicitations.
    pub fn handle_timeout(&mut self, now: Instant, random: &mut Random) {
        if self.solicit_at.is_some_and(|at| now >= at) {
            self.is_due = true;
            let elapsed = now.since(*self.asked_at.get_or_insert(now));
            // RFC 4861 §6.3.7 has 3 messages 4 s apart, RFC 7559 §2 more with longer pauses. A switch
            // that learns of its neighbour drops the first ones.
            let delay = Pace::BOOTING.delay(self.delay, elapsed, random);
            self.delay = Some(delay);
            self.solicit_at = Some(now + delay);
        }
    }

    /// Returns a solicitation that is due, from its type on.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        core::mem::take(&mut self.is_due).then(|| router_solicitation_message(self.mac))
    }

    /// Returns when [`RouterDiscovery::handle_timeout`] must be called.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.solicit_at
    }

    /// Returns whether a router has advertised itself.
    pub const fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Returns whether a router says that servers assign addresses.
    pub const fn is_managed(&self) -> bool {
        self.managed
    }

    /// Returns whether a router says that servers know other configuration.
    pub const fn has_other(&self) -> bool {
        self.other
    }

    /// Returns whether there is a default router.
    pub fn has_router(&self, now: Instant) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.prefix_len == 0 && route.ends.left(now) > 0)
    }

    /// Returns whether an address can be formed in a prefix.
    pub fn has_prefix(&self) -> bool {
        let mut prefixes = self.prefixes.iter();
        prefixes.any(|prefix| prefix.address.is_some())
    }

    /// Adds the addresses that are formed in prefixes, but for those that are there.
    pub fn add_addresses(&self, addresses: &mut Vec<LeasedAddress>, now: Instant) {
        for prefix in &self.prefixes {
            let Some(formed) = prefix.address.as_ref().filter(|formed| !formed.is_taken) else {
                continue;
            };
            let valid = formed.valid.left(now);
            let address = address::eui64(prefix.network, self.mac);
            if valid > 0 && !addresses.iter().any(|given| given.address == address) {
                addresses.push(LeasedAddress {
                    address,
                    preferred: formed.preferred.left(now).min(valid),
                    valid,
                    origin: Origin::Prefix,
                });
            }
        }
    }

    /// Returns the routes: first networks on the link.
    pub fn routes(&self, now: Instant) -> Vec<Route6> {
        let mut routes = Vec::new();
        for prefix in &self.prefixes {
            routes.push(Route6 {
                destination: prefix.network,
                prefix_len: prefix.len,
                gateway: None,
                preference: Preference::Medium,
                lifetime: prefix.on_link.map_or(0, |ends| ends.left(now)),
            });
        }
        for route in &self.routes {
            routes.push(Route6 {
                destination: route.destination,
                prefix_len: route.prefix_len,
                gateway: Some(route.router),
                preference: route.preference,
                lifetime: route.ends.left(now),
            });
        }
        routes.retain(|route| route.lifetime > 0);
        routes
    }

    /// Returns when something is over next, unless a router says it again.
    pub fn ends_next(&self, now: Instant) -> Option<Instant> {
        let mut first = None;
        let mut note = |ends: Expiry| first = earliest(&[first, ends.to_come(now)]);
        self.routes.iter().for_each(|known| note(known.ends));
        for known in &self.prefixes {
            known.on_link.into_iter().for_each(&mut note);
            let formed = known.address.as_ref();
            formed.into_iter().for_each(|formed| note(formed.valid));
        }
        self.resolvers.iter().for_each(|(_, ends)| note(*ends));
        self.domains.iter().for_each(|(_, ends)| note(*ends));
        self.translators.iter().for_each(|(_, ends)| note(*ends));
        first
    }

    /// Returns the MTU of the link.
    pub const fn mtu_octets(&self) -> Option<u32> {
        self.mtu_octets
    }

    /// Returns the prefix of a translator to IPv4.
    pub fn nat64(&self, now: Instant) -> Option<Nat64Prefix> {
        let mut translators = self.translators.iter();
        let found = translators.find(|(_, ends)| ends.left(now) > 0);
        found.map(|(prefix, _)| *prefix)
    }

    /// Returns the resolvers and domains.
    pub fn configuration(&self, now: Instant) -> Configuration {
        let mut configuration = Configuration {
            captive_portal: self.captive_portal.clone(),
            ..Configuration::default()
        };
        for (resolver, ends) in &self.resolvers {
            if ends.left(now) > 0 {
                configuration.dns.push(*resolver);
            }
        }
        for (domain, ends) in &self.domains {
            if ends.left(now) > 0 {
                configuration.search.push(domain.clone());
            }
        }
        configuration
    }
}

/// Gives what is known a new lifetime, and adds what is new; a lifetime of 0 ends it (RFC 8106 §5.1).
fn set<T: PartialEq>(known: &mut Vec<(T, Expiry)>, value: T, seconds: u32, now: Instant) {
    let ends = Expiry::after(seconds, now);
    if let Some((_, until)) = known.iter_mut().find(|(known, _)| *known == value) {
        *until = ends;
        return;
    }
    // What is over makes room.
    known.retain(|(_, ends)| ends.left(now) > 0);
    if seconds > 0 && known.len() < MAX_RESOLVERS {
        known.push((value, ends));
    }
}
