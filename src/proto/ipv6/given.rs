//! Addresses, routes and resolvers of IPv6 that are given, as on a kernel's command line.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::address::network;
use super::lease::{FOREVER, Lease6, LeasedAddress, Origin, Route6};
use crate::packet::icmpv6::Preference;

/// What is given, beside what routers and servers say or in place of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given6 {
    /// The address and its prefix length, 0 to 128; with it nobody is asked.
    pub address: Option<(Ipv6Addr, u8)>,
    /// The link-local address is enough, and nobody is asked.
    pub is_link_only: bool,
    /// Routes: network, prefix length and router; without a router it is on the link.
    pub routes: Vec<(Ipv6Addr, u8, Option<Ipv6Addr>)>,
    /// Resolvers, before those of routers and servers.
    pub dns: Vec<Ipv6Addr>,
}

impl Given6 {
    /// Returns the whole lease, without the routes and resolvers, if nobody is to be asked.
    pub fn lease(&self) -> Option<Lease6> {
        let mut lease = Lease6::default();
        if let Some((address, prefix_len)) = self.address {
            lease.addresses.push(LeasedAddress {
                address,
                preferred: FOREVER,
                valid: FOREVER,
                origin: Origin::Given,
            });
            let on_link = network(address, prefix_len);
            lease.routes.push(route(on_link, prefix_len, None));
        } else if !self.is_link_only {
            return None;
        }
        Some(lease)
    }

    /// Adds the routes and resolvers to a lease.
    pub fn amend(&self, lease: &mut Lease6) {
        for (destination, prefix_len, gateway) in &self.routes {
            lease
                .routes
                .push(route(*destination, *prefix_len, *gateway));
        }
        let mut dns = self.dns.clone();
        for server in &lease.dns {
            if !dns.contains(server) {
                dns.push(*server);
            }
        }
        lease.dns = dns;
    }
}

const fn route(destination: Ipv6Addr, prefix_len: u8, gateway: Option<Ipv6Addr>) -> Route6 {
    Route6 {
        destination,
        prefix_len,
        gateway,
        preference: Preference::Medium,
        lifetime: FOREVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_address_is_for_ever_and_its_network_on_the_link() {
        let mut given = Given6::default();
        assert_eq!(given.lease(), None);
        given.is_link_only = true;
        assert_eq!(given.lease(), Some(Lease6::default()));
        given.address = Some(("2001:db8::5".parse().unwrap(), 64));
        given.routes = vec![(Ipv6Addr::UNSPECIFIED, 0, "fe80::1".parse().ok())];
        given.dns = vec!["2001:db8::53".parse().unwrap()];
        let mut lease = given.lease().unwrap();
        lease.dns = vec![
            "2001:db8::54".parse().unwrap(),
            "2001:db8::53".parse().unwrap(),
        ];
        given.amend(&mut lease);
        assert_eq!(
            lease.addresses[0].to_string(),
            "2001:db8::5/128 as given for ever"
        );
        let routes: Vec<_> = lease.routes.iter().map(ToString::to_string).collect();
        assert_eq!(
            routes,
            ["route 2001:db8::/64 on the link", "route ::/0 via fe80::1"]
        );
        let dns: Vec<_> = lease.dns.iter().map(ToString::to_string).collect();
        assert_eq!(dns, ["2001:db8::53", "2001:db8::54"]);
    }
}
