//! What routers, servers and the user have given to an interface, with the lifetimes that are left.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::address::{Nat64Prefix, SUBNET_LEN, network};
use crate::packet::icmpv6::Preference;
use crate::text::url::Url;
use crate::time::Instant;

/// A lifetime without end, in seconds.
pub const FOREVER: u32 = u32::MAX;

/// Addresses, routes and configuration of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease6 {
    /// The addresses, one of a server first.
    pub addresses: Vec<LeasedAddress>,
    /// Networks on the link, and default routers and other routes behind them.
    pub routes: Vec<Route6>,
    /// The MTU for IPv6, 1280 bytes or more.
    pub mtu_octets: Option<u32>,
    /// Resolvers, those of routers first.
    pub dns: Vec<Ipv6Addr>,
    /// Time servers.
    pub time_servers: Vec<Ipv6Addr>,
    /// Domains that names are looked up in.
    pub search: Vec<String>,
    /// Behind which hosts of IPv4 are reached.
    pub nat64: Option<Nat64Prefix>,
    /// Where a captive portal is asked about, which nobody here does (RFC 8910): a URI.
    pub captive_portal: Option<String>,
    /// The boot file, a URL (option 59).
    pub boot_file: Option<String>,
    /// What goes with it (option 60).
    pub boot_parameters: Vec<String>,
    /// The DHCPv6 server that answered.
    pub server: Option<Ipv6Addr>,
    /// Its identifier (DUID); empty without a server.
    pub server_id: Vec<u8>,
}

impl Lease6 {
    /// Returns the resolvers in the form of resolv.conf(5): one on the link with the interface that it is
    /// reached by.
    pub fn dns_on(&self, interface: &str) -> Vec<String> {
        let mut servers = Vec::new();
        for server in &self.dns {
            let mut text = server.to_string();
            if server.is_unicast_link_local() {
                text.push('%');
                text.push_str(interface);
            }
            servers.push(text);
        }
        servers
    }

    /// Returns the configuration that the boot file is to read, of its parameters: a path or URL among them
    /// (RFC 5970 §3.2 leaves their meaning to the boot file). A number is the size of the file, for HTTP
    /// boot, and an assignment a word for a kernel.
    pub fn configuration_file(&self) -> Option<&str> {
        let is_path = |text: &&String| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let is_url = Url::has_scheme(text);
            is_url || (!is_number && !text.contains(['=', ' ']))
        };
        self.boot_parameters
            .iter()
            .find(is_path)
            .map(String::as_str)
    }

    /// Returns it without the time that is left, which is another at each moment.
    pub fn without_times(mut self) -> Self {
        for given in &mut self.addresses {
            given.preferred = given.preferred.min(1);
            given.valid = 1;
        }
        for route in &mut self.routes {
            route.lifetime = 1;
        }
        self
    }

    /// Returns the default router that is preferred.
    pub fn gateway(&self) -> Option<Ipv6Addr> {
        let routes = self.routes.iter().rev();
        let routes = routes.filter(|route| route.prefix_len == 0);
        // The first of equal ones.
        routes.max_by_key(|route| route.preference)?.gateway
    }
}

/// An address and where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasedAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Seconds for which it is preferred from now on.
    pub preferred: u32,
    /// Seconds for which it is valid from now on.
    pub valid: u32,
    /// Who gave it.
    pub origin: Origin,
}

/// Who gave an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A DHCPv6 server.
    Server,
    /// Nobody: it is formed in a prefix of a router.
    Prefix,
    /// The user.
    Given,
}

impl LeasedAddress {
    /// Returns the bits of its prefix: an address of a server says nothing about the network (RFC 5942 §4).
    pub const fn prefix_len(&self) -> u8 {
        match self.origin {
            Origin::Server | Origin::Given => 128,
            Origin::Prefix => SUBNET_LEN,
        }
    }
}

impl fmt::Display for LeasedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, valid, .. } = self;
        write!(f, "{address}/{}", self.prefix_len())?;
        match self.origin {
            Origin::Server => write!(f, " from a server")?,
            Origin::Prefix => write!(f, " in a prefix of a router")?,
            Origin::Given => write!(f, " as given")?,
        }
        match *valid {
            FOREVER => f.write_str(" for ever"),
            seconds => write!(f, " for {seconds} s"),
        }
    }
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route6 {
    /// The network; its host bits are zero.
    pub destination: Ipv6Addr,
    /// Its bits, 0 to 128.
    pub prefix_len: u8,
    /// The router; none if the network is on the link.
    pub gateway: Option<Ipv6Addr>,
    /// Which of several routers is used.
    pub preference: Preference,
    /// Seconds for which it is valid from now on.
    pub lifetime: u32,
}

impl fmt::Display for Route6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}/{}", self.destination, self.prefix_len)?;
        match self.gateway {
            Some(gateway) => write!(f, " via {gateway}"),
            None => write!(f, " on the link"),
        }
    }
}

/// When something ends whose lifetime was given in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(Instant);

impl Expiry {
    /// No end.
    pub const NEVER: Self = Self(Instant::from_millis(u64::MAX));

    /// Returns the end of a lifetime that begins now.
    pub fn after(seconds: u32, now: Instant) -> Self {
        match seconds {
            FOREVER => Self::NEVER,
            seconds => Self(now + Duration::from_secs(seconds.into())),
        }
    }

    /// Returns the whole seconds that are left, rounded down: nothing outlives its lifetime.
    pub fn left(self, now: Instant) -> u32 {
        match self.at() {
            None => FOREVER,
            // What has an end keeps it, so that this is never FOREVER.
            Some(at) => at.since(now).as_secs().try_into().unwrap_or(FOREVER - 1),
        }
    }

    /// Returns the instant; none if it has no end.
    pub fn at(self) -> Option<Instant> {
        Some(self.0).filter(|at| *at != Self::NEVER.0)
    }

    /// Returns the instant; none if it has no end or is over.
    pub fn to_come(self, now: Instant) -> Option<Instant> {
        self.at().filter(|at| *at > now)
    }
}

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
