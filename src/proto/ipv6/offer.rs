//! The answer of a server, as far as it is about addresses.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::address;
use super::configuration::Configuration;
use super::lease::{Expiry, FOREVER, LeasedAddress, Origin};
use crate::packet::dhcpv6::{AssociatedAddress, Message, Status, code};
use crate::time::Instant;

/// So many addresses of a server are used.
const MAX_ADDRESSES: usize = 8;

/// What a server offers or grants.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The server's identifier (DUID).
    pub server_id: Vec<u8>,
    /// Where its answer came from.
    pub server: Ipv6Addr,
    /// Its preference, 0 to 255.
    pub preference: u8,
    addresses: Vec<(AssociatedAddress, Expiry, Expiry)>,
    /// T1 and T2.
    pub renew_at: Expiry,
    /// T2.
    pub rebind_at: Expiry,
    /// What it says beside.
    pub configuration: Configuration,
}

impl Offer {
    /// Reads the addresses of the association `iaid` and what goes with them.
    ///
    /// # Errors
    /// The status by which there is no address: one of the server, or success if what it sent is invalid.
    pub fn read(
        message: &Message<'_>,
        server: Ipv6Addr,
        iaid: [u8; 4],
        now: Instant,
    ) -> Result<Self, Status> {
        let options = message.options;
        let status = options.status();
        if status != Status::SUCCESS {
            return Err(status);
        }
        let mut addresses = Vec::new();
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
            let usable = association.addresses().filter(|given| {
                // RFC 8415 §21.6: lifetimes out of order are invalid, and a valid one of 0 is over.
                given.preferred <= given.valid
                    && given.valid > 0
                    && given.status == Status::SUCCESS
                    && address::is_host(given.address)
                    && !given.address.is_unicast_link_local()
            });
            addresses.extend(usable.take(MAX_ADDRESSES));
            break;
        }
        // Of the shortest one (RFC 8415 §21.4).
        let Some(shortest) = addresses.iter().map(|given| given.preferred).min() else {
            return Err(refusal);
        };
        let part = |given: u32, numerator: u64, denominator: u64| match (given, shortest) {
            (0, FOREVER) => FOREVER,
            // Left to the client: half, and four fifths.
            (0, shortest) => u32::try_from(u64::from(shortest) * numerator / denominator)
                .unwrap_or(FOREVER)
                // An address that is not preferred from the beginning is not renewed in a loop.
                .max(1),
            (given, _) => given,
        };
        let [t1, t2] = times;
        let ends = |seconds| Expiry::after(seconds, now);
        let addresses = addresses
            .into_iter()
            .map(|given| (given, ends(given.preferred), ends(given.valid)));
        let preference = options.get(code::PREFERENCE);
        Ok(Self {
            server_id: options.get(code::SERVER_ID).unwrap_or_default().to_vec(),
            server,
            preference: preference
                .and_then(|value| value.first().copied())
                .unwrap_or(0),
            addresses: addresses.collect(),
            renew_at: ends(part(t1, 1, 2)),
            rebind_at: ends(part(t2, 4, 5)),
            configuration: Configuration::read(options),
        })
    }

    /// Returns the addresses with the lifetimes that are left.
    pub fn addresses(&self, now: Instant) -> impl Iterator<Item = LeasedAddress> {
        self.addresses
            .iter()
            .map(move |(given, preferred, valid)| LeasedAddress {
                address: given.address,
                preferred: preferred.left(now),
                valid: valid.left(now),
                origin: Origin::Server,
            })
    }

    /// Returns when the last address is over.
    pub fn ends(&self) -> Option<Expiry> {
        self.addresses.iter().map(|(.., valid)| *valid).max()
    }
}
