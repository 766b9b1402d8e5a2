//! Which offer wins, and what a ProxyDHCP server adds to it (PXE 2.1 §2.2).

use std::net::Ipv4Addr;

use super::lease::Lease;
use crate::wire::dhcp::Message;
use crate::wire::option::code;

const PXE_CLIENT: &[u8] = b"PXEClient";

/// How much of a boot an offer brings, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// An address only.
    Plain,
    /// A server, but no file.
    NextServer,
    /// A boot file.
    BootFile,
}

/// An OFFER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What it would grant.
    pub lease: Lease,
}

impl Offer {
    /// Reads an OFFER of `server`.
    pub fn read(message: &Message, server: Ipv4Addr) -> Self {
        Self {
            lease: Lease::read(message, server),
        }
    }

    /// Returns how much of a boot it brings.
    pub const fn rank(&self) -> Rank {
        if self.lease.boot_file.is_some() {
            Rank::BootFile
        } else if self.lease.next_server.is_some() || self.lease.server_name.is_some() {
            Rank::NextServer
        } else {
            Rank::Plain
        }
    }

    /// Returns whether it comes from a ProxyDHCP server: boot service without an address.
    pub fn is_proxy(&self) -> bool {
        self.lease.address.is_unspecified()
            && self
                .lease
                .options
                .get(code::VENDOR_CLASS)
                .is_some_and(|class| class.starts_with(PXE_CLIENT))
    }
}

/// The offers of one DISCOVER, in the order of their arrival, one of each server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    addresses: Vec<Offer>,
    proxies: Vec<Offer>,
}

impl Offers {
    /// Adds an offer, in place of one that the same server made before.
    pub fn add(&mut self, offer: Offer) {
        let list = if offer.is_proxy() {
            &mut self.proxies
        } else {
            &mut self.addresses
        };
        match list
            .iter_mut()
            .find(|known| known.lease.server == offer.lease.server)
        {
            Some(known) => *known = offer,
            None => list.push(offer),
        }
    }

    /// Returns the best offer of an address: the one with most of a boot, then the first.
    pub fn best(&self) -> Option<&Offer> {
        first_of_highest_rank(&self.addresses)
    }

    /// Returns the boot file that the best offer lacks and a ProxyDHCP server names.
    pub fn proxy(&self) -> Option<&Offer> {
        first_of_highest_rank(&self.proxies).filter(|proxy| proxy.rank() == Rank::BootFile)
    }

    /// Returns whether waiting for more can no longer bring a better boot.
    pub fn are_complete(&self) -> bool {
        let rank = self.best().map(Offer::rank);
        rank == Some(Rank::BootFile) || (rank.is_some() && self.proxy().is_some())
    }
}

fn first_of_highest_rank(offers: &[Offer]) -> Option<&Offer> {
    // `max_by_key` would take the last one of equals.
    offers.iter().rev().max_by_key(|offer| offer.rank())
}

/// Gives a lease without a boot file the one of a ProxyDHCP server.
pub fn merge(lease: &mut Lease, proxy: &Lease) {
    if lease.boot_file.is_some() {
        return;
    }
    lease.boot_file.clone_from(&proxy.boot_file);
    lease.server_name.clone_from(&proxy.server_name);
    // A ProxyDHCP server that names no other serves the file itself.
    lease.next_server = proxy.next_server.or(Some(proxy.server));
    for code in [code::VENDOR_SPECIFIC, code::CONFIG_FILE, code::PATH_PREFIX] {
        if let Some(value) = proxy.options.get(code) {
            lease.options.set(code, value);
        }
    }
}
