//! The answer of a server: addresses, and beside them resolvers, domains and the boot file.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::address;
use super::lease::{Expiry, FOREVER, LeasedAddress, Origin};
use crate::packet::dhcpv6::{Message, Options, Status, code, counted_texts};
use crate::packet::icmpv6::domains;
use crate::text::names::text;
use crate::time::Instant;

/// So many addresses of a server are used.
const MAX_ADDRESSES: usize = 8;

/// The shortest time to a renewal of a lease that is much longer, seconds.
const LEAST_RENEWAL: u32 = 10;

/// What a server offers or grants.
#[derive(Debug)]
pub struct Offer {
    /// The server's identifier (DUID).
    pub server_id: Vec<u8>,
    /// Where its answer came from.
    pub server: Ipv6Addr,
    /// Its preference, 0 to 255.
    pub preference: u8,
    addresses: Vec<(Ipv6Addr, Expiry, Expiry)>,
    /// T1 and T2.
    pub renew_at: Expiry,
    /// T2.
    pub rebind_at: Expiry,
    /// What it says beside.
    pub configuration: Configuration,
}

impl Offer {
    /// Reads the addresses of the association `iaid` and what goes with them. Of a lease that is extended,
    /// those stay as they were of which nothing is said, and those are left out that are over; there may be
    /// none then.
    ///
    /// # Errors
    /// The status by which there is no address: one of the server, or success if what it sent is invalid.
    pub fn read(
        message: &Message<'_>,
        server: Ipv6Addr,
        iaid: [u8; 4],
        extended: Option<&Self>,
        now: Instant,
    ) -> Result<Self, Status> {
        let options = message.options;
        let status = options.status();
        if status != Status::SUCCESS {
            return Err(status);
        }
        let ends = |seconds| Expiry::after(seconds, now);
        let mut addresses = Vec::new();
        // Those with a lifetime of 0 (RFC 8415 §18.2.10.1).
        let mut over = Vec::new();
        let mut refusal = Status::SUCCESS;
        let mut times = [0, 0];
        for association in options.associations() {
            let [t1, t2] = association.times;
            // RFC 8415 §21.4: one whose T1 is after T2 is invalid.
            if association.iaid != iaid || (t2 > 0 && t1 > t2) {
                continue;
            }
            let status = association.options.status();
            if status != Status::SUCCESS {
                refusal = status;
                continue;
            }
            times = association.times;
            for given in association.addresses() {
                // RFC 8415 §21.6: lifetimes out of order are invalid, and a valid one of 0 is over.
                let is_usable = given.preferred <= given.valid
                    && given.valid > 0
                    && given.status == Status::SUCCESS
                    && address::is_host(given.address)
                    && !given.address.is_unicast_link_local();
                let is_new = |known: &(Ipv6Addr, Expiry, Expiry)| known.0 != given.address;
                if given.valid == 0 {
                    over.push(given.address);
                }
                if is_usable && addresses.len() < MAX_ADDRESSES && addresses.iter().all(is_new) {
                    addresses.push((given.address, ends(given.preferred), ends(given.valid)));
                }
            }
            // A client has one association, so that a second one of its number says nothing.
            break;
        }
        if addresses.is_empty() && (over.is_empty() || extended.is_none()) {
            return Err(refusal);
        }
        for known in extended.map_or(&[][..], |extended| &extended.addresses) {
            let is_named = addresses.iter().any(|given| given.0 == known.0);
            if !is_named && !over.contains(&known.0) {
                addresses.push(*known);
            }
        }
        // Of the addresses, the shortest one (RFC 8415 §21.4); one that is not preferred at all is renewed
        // for its validity.
        let (mut shortest, mut longest) = (FOREVER, 0);
        for (_, preferred, valid) in &addresses {
            let [preferred, valid] = [preferred, valid].map(|ends| ends.left(now));
            shortest = shortest.min(if preferred > 0 { preferred } else { valid });
            longest = longest.max(valid);
        }
        // Left to the client by 0: half, and four fifths; so are times after the end of the lease, by which
        // it would never be extended. A server that says seconds for hours would have a storm (RFC 8415
        // §14.2).
        let least = (shortest / 8).clamp(1, LEAST_RENEWAL);
        let is_late = |time: u32| time >= longest && time != FOREVER;
        let part = |given: u32, own: u32| match (given, shortest) {
            (0, FOREVER) => FOREVER,
            (0, _) => own.max(least),
            (given, _) if is_late(given) => own.max(least),
            (given, _) => given.max(least),
        };
        let [t1, t2] = times;
        let preference = options.get(code::PREFERENCE).and_then(<[u8]>::first);
        Ok(Self {
            server_id: options.get(code::SERVER_ID).unwrap_or_default().to_vec(),
            server,
            // RFC 8415 §18.2.1: without the option it is 0.
            preference: preference.copied().unwrap_or(0),
            addresses,
            renew_at: ends(part(t1, shortest / 2)),
            rebind_at: ends(part(t2, shortest - shortest / 5)),
            configuration: Configuration::read(options),
        })
    }

    /// Returns what an earlier client was granted, as far as it takes to give it back.
    pub fn held(server_id: Vec<u8>, addresses: &[Ipv6Addr], now: Instant) -> Self {
        let ends = Expiry::after(FOREVER, now);
        let addresses = addresses.iter().map(|address| (*address, ends, ends));
        Self {
            server_id,
            server: Ipv6Addr::UNSPECIFIED,
            preference: 0,
            addresses: addresses.collect(),
            renew_at: ends,
            rebind_at: ends,
            configuration: Configuration::default(),
        }
    }

    /// Returns the addresses that are still valid, with the lifetimes that are left.
    pub fn addresses(&self, now: Instant) -> Vec<LeasedAddress> {
        let mut addresses = Vec::new();
        for (address, preferred, valid) in &self.addresses {
            if valid.left(now) > 0 {
                addresses.push(LeasedAddress {
                    address: *address,
                    preferred: preferred.left(now),
                    valid: valid.left(now),
                    origin: Origin::Server,
                });
            }
        }
        addresses
    }

    /// Returns whether it has no address, since all are over.
    pub const fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Returns when the next address is over.
    pub fn ends_next(&self, now: Instant) -> Option<Instant> {
        let ends = self.addresses.iter();
        ends.filter_map(|(.., valid)| valid.to_come(now)).min()
    }

    /// Returns when the last address is over.
    pub fn ends(&self) -> Option<Instant> {
        let ends = self.addresses.iter().map(|(.., valid)| *valid);
        ends.max().and_then(Expiry::at)
    }
}

/// So many resolvers, domains and parameters of a boot file are used.
const MAX_ITEMS: usize = 16;

/// The address of a time server in option 56 (RFC 5908 §4.1).
const NTP_SUBOPTION_SRV_ADDR: u16 = 1;

/// Configuration of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// Resolvers (option 23).
    pub dns: Vec<Ipv6Addr>,
    /// Time servers (options 56 and 31).
    pub time_servers: Vec<Ipv6Addr>,
    /// Domains that names are looked up in (option 24).
    pub search: Vec<String>,
    /// Where a captive portal is asked about (option 103).
    pub captive_portal: Option<String>,
    /// URL of the boot file (option 59).
    pub boot_file: Option<String>,
    /// Parameters of the boot file (option 60).
    pub boot_parameters: Vec<String>,
}

impl Configuration {
    /// Reads what is valid in the options of a message.
    pub fn read(options: Options<'_>) -> Self {
        let value = |code| options.get(code).unwrap_or_default();
        let mut read = Self {
            dns: Vec::new(),
            time_servers: Vec::new(),
            search: domains(value(code::DOMAIN_LIST)),
            captive_portal: text(value(code::CAPTIVE_PORTAL)),
            boot_file: text(value(code::BOOT_FILE_URL)),
            boot_parameters: Vec::new(),
        };
        read.search.truncate(MAX_ITEMS);
        add_servers(&mut read.dns, value(code::DNS_SERVERS));
        // Of the kinds of RFC 5908 §4, those that are addresses; RFC 4075 has an older list.
        for (kind, server) in Options(value(code::NTP_SERVER)).iter() {
            if kind == NTP_SUBOPTION_SRV_ADDR {
                add_servers(&mut read.time_servers, server);
            }
        }
        add_servers(&mut read.time_servers, value(code::SNTP_SERVERS));
        let parameters = value(code::BOOT_FILE_PARAMETERS);
        // Servers for Windows send one text without the lengths of RFC 5970 §3.2.
        let parameters = counted_texts(parameters).unwrap_or_else(|| vec![parameters]);
        for parameter in parameters.into_iter().filter_map(text) {
            if read.boot_parameters.len() < MAX_ITEMS {
                read.boot_parameters.push(parameter);
            }
        }
        read
    }

    /// Adds what another server says and this one does not.
    pub fn add(&mut self, other: &Self) {
        for (own, others) in [
            (&mut self.dns, &other.dns),
            (&mut self.time_servers, &other.time_servers),
        ] {
            for server in others {
                if !own.contains(server) {
                    own.push(*server);
                }
            }
        }
        for domain in &other.search {
            if !self.search.contains(domain) {
                self.search.push(domain.clone());
            }
        }
        if self.captive_portal.is_none() {
            self.captive_portal.clone_from(&other.captive_portal);
        }
        // Parameters are those of their own boot file.
        if self.boot_file.is_none() {
            self.boot_file.clone_from(&other.boot_file);
            self.boot_parameters.clone_from(&other.boot_parameters);
        }
    }
}

/// Adds the addresses of a list; those behind the last whole one are left out.
fn add_servers(to: &mut Vec<Ipv6Addr>, list: &[u8]) {
    let (servers, _) = list.as_chunks::<16>();
    for server in servers {
        let server = Ipv6Addr::from(*server);
        if address::is_host(server) && to.len() < MAX_ITEMS && !to.contains(&server) {
            to.push(server);
        }
    }
}
