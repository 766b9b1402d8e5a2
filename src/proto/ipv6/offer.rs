//! The answer of a server, as far as it is about addresses.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::address;
use super::configuration::Configuration;
use super::lease::{Expiry, FOREVER, LeasedAddress, Origin};
use crate::packet::dhcpv6::{Message, Status, code};
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
