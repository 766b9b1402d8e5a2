//! Addresses of servers by name: from `/etc/hosts`, or from the name servers of the lease and of
//! `/etc/resolv.conf`.
//!
//! Everything that a lookup must know of the machine is read once, into [`Names`]; the lookups use
//! sockets and no files. Not the C library: musl reads the files for each name, and fails for both
//! families when the answer for one is SERVFAIL, REFUSED or missing (`name_from_dns` in 1.2.5).

mod exchange;

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use crate::error::Cause;
use crate::sys;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::dns::{Config, Event, Failure, Lookup, MAX_TIME, NameConfig};
use wireboot_proto::ipv6::address::{KNOWN_NAME, Nat64Prefix};
use wireboot_proto::packet::dns::{AddressType, PORT};
use wireboot_proto::text::url::Url;

/// Files are read up to this length; each lookup goes through the list of hosts.
const MAX_FILE_LEN: u64 = 1 << 20;
/// An address that a default route of IPv6 leads to (RFC 3849).
const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// How long a resolver may take to show the prefix of a translator; one that answers names does at once.
const TRANSLATOR_TIME: Duration = Duration::from_secs(2);

/// Configuration of lookups.
#[derive(Debug, Default)]
pub struct Names {
    config: NameConfig,
    has_lease: bool,
    /// Whether the interface had addresses of these families.
    has_ipv4: bool,
    has_ipv6: bool,
    /// Behind which hosts of IPv4 are reached, as a router has said.
    nat64: Option<Nat64Prefix>,
    /// Interfaces and their indices, for link-local addresses.
    zones: Vec<(String, u32)>,
    /// The server that had an answer last; a dead one is waited for once.
    first: AtomicUsize,
}

impl Names {
    /// Reads what lookups over `interface` need: name servers and domains of the lease come before
    /// those of `/etc/resolv.conf`.
    pub fn read(lease: Option<&Lease>, interface: Option<&str>) -> Self {
        let mut config = NameConfig::default();
        if let Some(lease) = lease {
            for server in lease.ipv6.iter().flat_map(|lease| &lease.dns) {
                let index = interface.and_then(|name| if_nametoindex(name).ok());
                let index = index.filter(|_| server.is_unicast_link_local());
                let server = SocketAddrV6::new(*server, PORT, 0, index.unwrap_or(0));
                config.add_server(server.into());
            }
            for server in &lease.dns {
                config.add_server((*server, PORT).into());
            }
            config.search.clone_from(&lease.search);
            if config.search.is_empty() {
                config.search.extend(lease.domain.clone());
            }
        }
        config.read(&read("/etc/resolv.conf"), &|name| if_nametoindex(name).ok());
        config.hosts = read("/etc/hosts");
        // /proc/net is that of the process's first thread; other threads may be in another namespace.
        let routes = read("/proc/thread-self/net/route");
        let own = read("/proc/thread-self/net/if_inet6");
        Self {
            config,
            has_lease: lease.is_some(),
            // Without /proc nothing is known.
            has_ipv4: routes.is_empty() || has_ipv4(&routes, interface),
            has_ipv6: has_ipv6(&own, interface),
            nat64: lease.and_then(|lease| lease.ipv6.as_ref()?.nat64),
            zones: own.lines().filter_map(zone).collect(),
            first: AtomicUsize::new(0),
        }
    }

    /// Returns the addresses of the server of `url`, those without a route last.
    pub(super) fn resolve(
        &self,
        url: &Url,
        interface: Option<&str>,
        patience: Duration,
    ) -> Result<Vec<SocketAddr>, Cause> {
        let (host, port) = (url.host(), url.port());
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {
                let zone = url.zone().or(interface);
                let mut zones = self.zones.iter();
                let index = zones.find(|(name, _)| Some(&**name) == zone);
                // Without one the kernel takes that of the socket.
                let index = index.map_or(0, |(_, index)| *index);
                return Ok(vec![SocketAddrV6::new(ip, port, 0, index).into()]);
            }
            Ok(IpAddr::V4(host)) if !self.has_ipv4 && !host.is_loopback() => {
                let prefix = self.nat64.or_else(|| self.find_nat64(interface, patience));
                let host = prefix.map_or(host.into(), |prefix| prefix.translated(host).into());
                return Ok(vec![SocketAddr::new(host, port)]);
            }
            Ok(address) => return Ok(vec![SocketAddr::new(address, port)]),
            Err(_) => {}
        }
        let mut found = self.config.known(host);
        if found.is_empty() {
            found = self.look_up(host, interface, patience)?;
        }
        let all = found.into_iter().map(|ip| SocketAddr::new(ip, port));
        let is_reached = |address: &SocketAddr| has_route(address, interface);
        let (mut reached, rest): (Vec<_>, _) = all.partition(is_reached);
        reached.extend(rest);
        Ok(reached)
    }

    /// Returns the prefix of a translator that resolvers know of (RFC 7050 §3).
    fn find_nat64(&self, interface: Option<&str>, patience: Duration) -> Option<Nat64Prefix> {
        let patience = patience.min(TRANSLATOR_TIME);
        let found = self.look_up(KNOWN_NAME, interface, patience);
        let found = found.inspect_err(|error| log::debug!("{error}")).ok()?;
        found.into_iter().find_map(|address| match address {
            IpAddr::V6(translated) => Nat64Prefix::of_known_name(translated),
            IpAddr::V4(_) => None,
        })
    }

    fn look_up(
        &self,
        host: &str,
        interface: Option<&str>,
        patience: Duration,
    ) -> Result<Vec<IpAddr>, Cause> {
        // A router may have announced its network after the lease was read.
        let has_ipv6 = self.has_ipv6 || has_route(&(FAR, PORT).into(), interface);
        // Servers that refuse or ignore AAAA are common, so that it is not asked for in vain.
        let types = match (self.has_ipv4, has_ipv6) {
            // A resolver may leave the translation to us (RFC 8781 §1).
            (false, true) if self.nat64.is_some() => vec![AddressType::Aaaa, AddressType::A],
            (true, true) => vec![AddressType::A, AddressType::Aaaa],
            (false, true) => vec![AddressType::Aaaa],
            (_, false) => vec![AddressType::A],
        };
        let config = Config {
            servers: self.config.servers.clone(),
            names: self.config.candidates(host),
            types,
            max_time: patience.min(MAX_TIME),
            // Relaxed: it says only who is asked first.
            first: self.first.load(Ordering::Relaxed),
            seed: sys::seed(),
        };
        let mut lookup = Lookup::new(config, sys::now());
        let event = exchange::run(&mut lookup, interface)?;
        self.first.store(lookup.first(), Ordering::Relaxed);
        match event {
            Event::Found(mut found) => {
                for address in &mut found {
                    if let (IpAddr::V4(host), Some(prefix)) = (*address, self.nat64)
                        && !self.has_ipv4
                    {
                        *address = prefix.translated(host).into();
                    }
                }
                Ok(found)
            }
            Event::Failed(Failure::NoServer) => {
                let source = if self.has_lease {
                    "the lease"
                } else {
                    "/etc/resolv.conf"
                };
                Err(format!("name {host}: {}: {source} has none", Failure::NoServer).into())
            }
            Event::Failed(failure) => Err(format!("name {host}: {failure}").into()),
        }
    }
}

/// Returns the text of a file; nothing when there is none.
fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What has been read before an error is as good as a short file.
        let _ = file.take(MAX_FILE_LEN).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns whether a line of `/proc/net/route` is one of the interface; loopback has no line there.
fn has_ipv4(routes: &str, interface: Option<&str>) -> bool {
    routes.lines().skip(1).any(|line| {
        let name = line.split_whitespace().next();
        name.is_some() && (interface.is_none() || name == interface)
    })
}

/// Returns the name and the index of the interface in a line of `/proc/net/if_inet6`.
fn zone(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split_whitespace().skip(1);
    let index = u32::from_str_radix(fields.next()?, 16).ok()?;
    Some((fields.nth(3)?.to_owned(), index))
}

/// Returns whether a line of `/proc/net/if_inet6` is an address of global scope. Its fields:
/// address, index, prefix length, scope, flags, name.
fn has_ipv6(interfaces: &str, interface: Option<&str>) -> bool {
    interfaces.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(3);
        let (scope, name) = (fields.next(), fields.nth(1));
        // Scope 00 is global (net/ipv6/addrconf.c, if6_seq_show), also for unique local addresses.
        scope == Some("00") && (interface.is_none() || name == interface)
    })
}

/// Returns whether the kernel has a route from an address that the other side can answer to; connecting
/// a UDP socket looks it up and sends nothing.
fn has_route(address: &SocketAddr, interface: Option<&str>) -> bool {
    if address.is_ipv4() {
        return true;
    }
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    let local = socket.and_then(|socket| {
        sys::udp::bind_to(&socket, interface).map_err(io::Error::other)?;
        socket.connect(address)?;
        socket.local_addr()
    });
    local.is_ok_and(|local| match local {
        SocketAddr::V6(local) => !local.ip().is_unicast_link_local(),
        SocketAddr::V4(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_there_with_a_route_of_the_interface() {
        let head = "Iface\tDestination\tGateway\n";
        let route = "eth0\t000200C0\t00000000\n";
        for (text, interface, expected) in [
            (String::new(), None, false),
            (head.to_owned(), None, false),
            (format!("{head}{route}"), None, true),
            (format!("{head}{route}"), Some("eth0"), true),
            (format!("{head}{route}"), Some("eth1"), false),
        ] {
            assert_eq!(has_ipv4(&text, interface), expected, "{text}{interface:?}");
        }
    }

    #[test]
    fn ipv6_is_there_with_an_address_that_reaches_past_its_link() {
        let own = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe800000000000005054fffffe000001 02 40 20 80     eth0\n";
        let local = "fd000000000000000000000000000009 03 40 00 80     eth1\n";
        let global = "20010db8000000000000000000000009 02 40 00 80     eth0\n";
        for (text, interface, expected) in [
            (String::new(), None, false),
            (format!("{own}{link}"), None, false),
            (format!("{own}{link}{local}"), None, true),
            (format!("{own}{link}{local}"), Some("eth0"), false),
            (format!("{own}{link}{local}"), Some("eth1"), true),
            (format!("{own}{link}{global}"), Some("eth0"), true),
            ("00 00 00 00\nnonsense\n".to_owned(), Some("eth0"), false),
        ] {
            assert_eq!(has_ipv6(&text, interface), expected, "{text}{interface:?}");
        }
    }
}
