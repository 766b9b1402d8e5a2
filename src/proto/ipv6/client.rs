//! The whole of IPv6 on one interface: when routers and servers are asked, and when what they have said is
//! enough.

use crate::prelude::*;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::address;
use super::dhcp::{Dhcp6, Ignored, NoAddress, Purpose};
use super::identity::Identity;
use super::lease::{Lease6, LeasedAddress, Route6};
use super::ndisc::{IgnoredAdvertisement, RouterDiscovery};
use super::offer::{Configuration, Offer};
use super::probe::AddressProbes;
use crate::dhcp::config::Detection;
use crate::packet::dhcpv6::MessageType;
use crate::packet::ethernet::MacAddress;
use crate::packet::icmpv6::NeighborMessage;
use crate::text::url::Url;
use crate::time::{Instant, Random, earliest};

/// How long a router may take to advertise itself before servers are asked without one: some networks have
/// DHCPv6 and no router.
const ROUTER_TIME: Duration = Duration::from_secs(1);
/// How long a router is waited for once a server has given an address, from the beginning.
const DEFAULT_ROUTER_TIME: Duration = Duration::from_secs(2);
/// How long an address in a prefix waits for servers that routers speak of. It is of use without them.
const SERVER_TIME: Duration = Duration::from_secs(5);
/// So many SOLICITs without an address, and configuration alone is asked for, too.
const PATIENT_SOLICITS: u32 = 2;

const NO_CAPTIVE_PORTAL: &str = "urn:ietf:params:capport:unrestricted";

/// Configuration of a client.
#[derive(Debug, Clone)]
pub struct Config6 {
    /// The hardware address of the interface.
    pub mac: MacAddress,
    /// Who the client is for servers.
    pub identity: Identity,
    /// What servers are asked for.
    pub purpose: Purpose,
    /// What the interface has, if nobody is to be asked for more.
    pub given: Option<Lease6>,
    /// Whether a boot file is needed.
    pub wants_boot_file: bool,
    /// How long an offer waits for a better one.
    pub offer_wait: Duration,
    /// How long an address waits for a server with a boot file, if one is needed.
    pub boot_file_wait: Duration,
    /// How conflicts are detected.
    pub detection: Detection,
    /// The seed of delays and transaction numbers, different for each machine and start.
    pub seed: u64,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit6 {
    /// An Ethernet frame.
    Frame(Vec<u8>),
    /// A message of ICMPv6 to all routers, by the kernel.
    Solicitation(Vec<u8>),
    /// A message to port 547 of all servers, by the kernel.
    Dhcp(MessageType, Vec<u8>),
}

/// An address that another host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub address: Ipv6Addr,
    /// Whether it is the link-local one, without which nothing can be asked for.
    pub is_link_local: bool,
}

/// IPv6 on one interface.
#[derive(Debug)]
pub struct Ipv6Client {
    link_local: Ipv6Addr,
    purpose: Purpose,
    given: Option<Lease6>,
    /// The lease has been given back, and nothing is asked for any more.
    is_over: bool,
    wants_boot_file: bool,
    boot_file_wait: Duration,
    detection: Detection,
    routers: RouterDiscovery,
    servers: Dhcp6,
    probes: AddressProbes,
    began_at: Instant,
    /// When there was an address first.
    address_at: Option<Instant>,
    /// When something is over next that nobody prolongs.
    ends_at: Option<Instant>,
    has_ended: bool,
    random: Random,
}

impl Ipv6Client {
    /// Begins to ask routers, on an interface that has a carrier.
    pub fn new(config: Config6, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        let link_local = address::link_local(config.mac);
        let mut probes = AddressProbes::new(config.mac);
        if config.detection != Detection::Off {
            probes.add(link_local, now, &mut random);
        }
        let strict = config.detection == Detection::Strict;
        // Strictly, nothing is sent from an address, the link-local one included, before its probe is over.
        let began_at = probes.answered_by().filter(|_| strict).unwrap_or(now);
        Self {
            link_local,
            purpose: config.purpose,
            given: config.given,
            is_over: false,
            wants_boot_file: config.wants_boot_file,
            boot_file_wait: config.boot_file_wait,
            detection: config.detection,
            routers: RouterDiscovery::new(config.mac, began_at),
            servers: Dhcp6::new(
                config.identity,
                config.purpose,
                config.wants_boot_file,
                config.offer_wait,
                random.next_u64(),
            ),
            probes,
            began_at,
            address_at: None,
            ends_at: None,
            has_ended: false,
            random,
        }
    }

    /// Handles an advertisement of a router, from its type on.
    ///
    /// # Errors
    /// Why it is ignored.
    pub fn handle_router(
        &mut self,
        source: Ipv6Addr,
        hop_limit: u8,
        message: &[u8],
        now: Instant,
    ) -> Result<(), IgnoredAdvertisement> {
        if self.purpose == Purpose::Information {
            return Ok(());
        }
        let was_managed = self.routers.is_managed();
        self.routers.handle_input(source, hop_limit, message, now)?;
        if self.routers.is_managed() && !was_managed {
            self.servers.ask_again(now);
        }
        Ok(())
    }

    /// Handles a message of a server.
    ///
    /// # Errors
    /// Why it is ignored.
    pub fn handle_server(
        &mut self,
        source: Ipv6Addr,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Ignored> {
        self.servers.handle_input(source, payload, now)
    }

    /// Handles a neighbour solicitation or advertisement; returns the address that is another host's.
    pub fn handle_neighbor(
        &mut self,
        source: Ipv6Addr,
        message: NeighborMessage,
        now: Instant,
    ) -> Option<Conflict> {
        let address = self.probes.handle_input(source, message, now)?;
        self.probes.forget(address);
        let is_link_local = address == self.link_local;
        // What is not formed here is of a server, which has to learn of it.
        if !is_link_local && !self.routers.handle_conflict(address) {
            self.servers.decline(now);
        }
        Some(Conflict {
            address,
            is_link_local,
        })
    }

    /// Asks routers, and servers about their lease: the carrier has returned, of another link perhaps.
    pub fn handle_return(&mut self, now: Instant) {
        self.handle_carrier(now);
        if self.is_asking() {
            // Not before the link-local address may be a source.
            self.routers.ask_anew(now.max(self.began_at));
            self.servers.confirm(now);
            self.servers.ask_again(now);
        }
    }

    /// Asks routers and neighbours at once: what was sent may be lost.
    pub fn handle_carrier(&mut self, now: Instant) {
        self.probes.ask_again(now);
        self.routers.ask_again(now.max(self.began_at));
    }

    /// Drives the timers, and asks servers when that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.given.is_none() {
            self.ask(now);
            self.has_ended |= self.ends_at.is_some_and(|at| now >= at);
            let granted = self.servers.grant();
            let granted = granted.and_then(|grant| grant.ends_next(now));
            self.ends_at = earliest(&[self.routers.ends_next(now), granted]);
        }
        if now >= self.began_at && self.detection != Detection::Off {
            for address in self.addresses(now) {
                self.probes.add(address.address, now, &mut self.random);
            }
        }
    }

    /// Returns whether something of the lease is over since the last time, which no message says.
    pub const fn take_ended(&mut self) -> bool {
        core::mem::replace(&mut self.has_ended, false)
    }

    /// Asks routers, and servers when that is due.
    fn ask(&mut self, now: Instant) {
        self.servers.handle_timeout(now);
        if now < self.began_at {
            return;
        }
        if !self.asks_routers() {
            if self.is_over || self.servers.is_informed() {
                self.servers.end_information();
            } else {
                self.servers.inform(now);
            }
            return;
        }
        self.routers.handle_timeout(now, &mut self.random);
        if self.purpose == Purpose::Survey {
            self.servers.solicit(now);
            self.servers.inform(now);
            return;
        }
        let is_heard = self.routers.is_heard();
        let is_late = now >= self.began_at + ROUTER_TIME;
        if self.routers.is_managed() || (!is_heard && is_late) {
            self.servers.solicit(now);
        }
        let has_grant = self.servers.grant().is_some();
        let is_in_vain = !has_grant
            && (self.servers.refused().is_some() || self.servers.solicits() >= PATIENT_SOLICITS);
        let needs_file = self.wants_boot_file && !self.has_boot_file();
        let is_stateless =
            is_heard && !self.routers.is_managed() && (self.routers.has_other() || needs_file);
        let is_open = !self.servers.is_informed() || needs_file;
        if is_open && (is_stateless || is_in_vain || (has_grant && needs_file)) {
            self.servers.inform(now);
        }
        if self.servers.is_informed() && !needs_file {
            self.servers.end_information();
        }
        if self.addresses(now).is_empty() {
            self.address_at = None;
        } else {
            // From the first one on: later ones must not make the waits longer.
            self.address_at.get_or_insert(now);
        }
    }

    /// Returns whether routers are asked, and servers as they say.
    fn asks_routers(&self) -> bool {
        self.purpose != Purpose::Information && !self.is_over
    }

    /// Returns what is to be sent next.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit6> {
        if let Some(frame) = self.probes.poll_transmit() {
            return Some(Transmit6::Frame(frame));
        }
        if let Some(message) = self.routers.poll_transmit() {
            return Some(Transmit6::Solicitation(message));
        }
        let (kind, message) = self.servers.poll_transmit(now)?;
        Some(Transmit6::Dhcp(kind, message))
    }

    /// Returns when [`Ipv6Client::handle_timeout`] must be called.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let began_at = self.began_at;
        let (mut first, mut router_at) = (None, None);
        if self.given.is_none() {
            first = self.servers.poll_timeout();
            if self.asks_routers() {
                first = earliest(&[first, self.routers.poll_timeout()]);
                router_at = Some(began_at + ROUTER_TIME).filter(|_| !self.routers.is_heard());
            }
        }
        let mut waits = [
            Some(began_at),
            router_at,
            Some(began_at + DEFAULT_ROUTER_TIME),
            self.probes.answered_by(),
            self.ends_at,
            None,
            None,
        ];
        if let (Some(at), [.., server, boot_file]) = (self.address_at, &mut waits) {
            *server = Some(at + SERVER_TIME);
            *boot_file = Some(at + self.boot_file_wait);
        }
        for wait in waits {
            // Those that are past have been acted on, and would make the caller spin.
            first = earliest(&[first, wait.filter(|at| *at > now)]);
        }
        first
    }

    /// Returns whether nothing better is to be expected than what there is: an address that can be used, and
    /// a boot file if one is needed and there is one.
    pub fn is_settled(&self, now: Instant) -> bool {
        if self.detection == Detection::Strict {
            let addresses = self.addresses(now);
            let is_clear = |given: &LeasedAddress| self.probes.is_clear(given.address, now);
            if now < self.began_at || !addresses.iter().all(is_clear) {
                return false;
            }
        }
        match self.purpose {
            _ if self.given.is_some() => return true,
            Purpose::Survey => return false,
            Purpose::Information => return self.servers.informed().is_some(),
            Purpose::Lease | Purpose::Preview => {}
        }
        let Some(address_at) = self.address_at else {
            // Nobody has one to give, or routers speak of none; another router may be slower.
            let has_none = self.routers.is_heard() && !self.routers.is_managed();
            let is_late = now >= self.began_at + DEFAULT_ROUTER_TIME;
            let is_in_vain = self.servers.refused().is_some() || (has_none && is_late);
            return self.wants_boot_file && is_in_vain && self.boots_from_link(now);
        };
        let has_grant = self.servers.grant().is_some();
        let is_answered = if self.wants_boot_file {
            self.has_boot_file() || now >= address_at + self.boot_file_wait
        } else if has_grant {
            true
        } else {
            // What a router says is enough, if it speaks of no server.
            let is_awaited = self.routers.is_managed() || self.routers.has_other();
            let has_answer = self.servers.informed().is_some();
            !is_awaited || has_answer || now >= address_at + SERVER_TIME
        };
        // An address without a router is of little use, and a router may be slow.
        let has_routes = self.routers.has_router(now)
            || (self.routers.is_heard() && !has_grant)
            || now >= self.began_at + DEFAULT_ROUTER_TIME;
        is_answered && has_routes
    }

    /// Returns whether the boot file is on the link, where it is fetched with the link-local address alone.
    fn boots_from_link(&self, now: Instant) -> bool {
        let configured = self.servers.informed();
        let file = configured.and_then(|configured| configured.boot_file.as_deref());
        let url = file.and_then(|file| file.parse::<Url>().ok());
        let Some(host) = url.and_then(|url| url.host().parse::<Ipv6Addr>().ok()) else {
            return false;
        };
        let is_beside = |route: &Route6| {
            route.gateway.is_none() && address::network(host, route.prefix_len) == route.destination
        };
        host.is_unicast_link_local() || self.routers.routes(now).iter().any(is_beside)
    }

    /// Returns what there is at present.
    pub fn lease(&self, now: Instant) -> Lease6 {
        if let Some(given) = &self.given {
            return given.clone();
        }
        // Of routers first (RFC 8106 §5.3.1 leaves the order to the host).
        let mut configuration = self.routers.configuration(now);
        let granted = self.servers.grant();
        if let Some(grant) = granted {
            configuration.add(&grant.configuration);
        }
        if let Some(informed) = self.servers.informed() {
            configuration.add(informed);
        }
        Lease6 {
            addresses: self.addresses(now),
            routes: self.routers.routes(now),
            mtu_octets: self.routers.mtu_octets(),
            dns: configuration.dns,
            time_servers: configuration.time_servers,
            search: configuration.search,
            nat64: self.routers.nat64(now),
            // This name says that there is none (RFC 8910 §2).
            captive_portal: configuration
                .captive_portal
                .filter(|uri| uri != NO_CAPTIVE_PORTAL),
            boot_file: configuration.boot_file,
            boot_parameters: configuration.boot_parameters,
            server: granted.map(|grant| grant.server),
            server_id: granted.map_or_else(Vec::new, |grant| grant.server_id.clone()),
        }
    }

    fn addresses(&self, now: Instant) -> Vec<LeasedAddress> {
        if let Some(given) = &self.given {
            return given.addresses.clone();
        }
        let granted = self.servers.grant();
        let mut addresses = granted.map_or_else(Vec::new, |grant| grant.addresses(now));
        // A server may grant what is formed, too.
        self.routers.add_addresses(&mut addresses, now);
        addresses
    }

    /// Returns whether a server has named a boot file.
    pub fn has_boot_file(&self) -> bool {
        let granted = self.servers.grant().map(|grant| &grant.configuration);
        let has_file = |given: &Configuration| given.boot_file.is_some();
        granted.is_some_and(has_file) || self.servers.informed().is_some_and(has_file)
    }

    /// Returns the link-local address.
    pub const fn link_local(&self) -> Ipv6Addr {
        self.link_local
    }

    /// Returns when routers and servers may be asked first.
    pub const fn began_at(&self) -> Instant {
        self.began_at
    }

    /// Returns what servers are asked for.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Returns whether routers and servers are asked.
    pub const fn is_asking(&self) -> bool {
        self.given.is_none()
    }

    /// Returns whether the link-local address may be set.
    pub fn may_use_link_local(&self, now: Instant) -> bool {
        now >= self.began_at
    }

    /// Returns until when another host may say that it has an address.
    pub fn probe_answered_by(&self) -> Option<Instant> {
        self.probes.answered_by()
    }

    /// Renews the lease of a server now, or asks for one.
    pub fn renew(&mut self, now: Instant) {
        self.servers.renew(now);
    }

    /// Gives the lease of a server back, if there is one, and asks for nothing any more.
    pub fn release(&mut self, now: Instant) {
        self.is_over = true;
        self.servers.release(now);
    }

    /// Gives back what the server with this identifier has granted to an earlier client.
    pub fn give_back(&mut self, server_id: Vec<u8>, addresses: &[Ipv6Addr], now: Instant) {
        self.is_over = true;
        let grant = Offer::held(server_id, addresses, now);
        self.servers.give_back(Box::new(grant), now);
    }

    /// Returns whether a lease is being given back.
    pub const fn is_releasing(&self) -> bool {
        self.servers.is_releasing()
    }

    /// Returns who this client is for servers.
    pub const fn identity(&self) -> &Identity {
        self.servers.identity()
    }

    /// Returns why there is no address, or no boot file, in words for people.
    pub fn explain(&self) -> String {
        let routers = if !self.routers.is_heard() {
            "no router advertises itself"
        } else if self.routers.is_managed() {
            "a router says that servers assign addresses"
        } else if !self.routers.has_prefix() {
            "the routers name no prefix of 64 bits to form an address in, and no server"
        } else {
            "a router gives a prefix"
        };
        let servers = match self.servers.refused() {
            _ if self.servers.grant().is_some() => "a DHCPv6 server answers".to_owned(),
            Some((server, status)) => {
                let why = NoAddress(status);
                format!("the DHCPv6 server {server} has no address ({why})")
            }
            None if self.servers.informed().is_some() => "a DHCPv6 server answers".to_owned(),
            None => match (self.servers.solicits(), self.servers.information_requests()) {
                (0, 0) => "no DHCPv6 server was asked".to_owned(),
                (solicits, informs) => format!(
                    "no DHCPv6 server has answered {} messages",
                    solicits + informs
                ),
            },
        };
        format!("{routers}; {servers}")
    }
}
