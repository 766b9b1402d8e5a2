//! Addresses of servers by name: from `/etc/hosts`, or from the name servers of the lease and of
//! `/etc/resolv.conf`.
//!
//! Everything that a lookup must know of the machine is read once, into [`Names`]; the lookups use
//! sockets and no files. Not the C library: musl reads the files for each name, and fails for both
//! families when the answer for one is SERVFAIL, REFUSED or missing (`name_from_dns` in 1.2.5).
//!
//! [`wireboot_proto::dns::Lookup`] is driven with a socket of its own for each query, connected to the
//! server, so that the kernel chooses a random port, lets nobody else answer and reports a closed port.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags};

use crate::error::Cause;
use crate::sys;
use crate::sys::udp::dial;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::dns::{
    Config, Event, Failure, Lookup, MAX_TIME, NameConfig, QueryTransport, Transmit,
};
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
        let event = drive(&mut lookup, interface)?;
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

/// Sockets that are open at most: two types of query, and the last few of each that may still be
/// answered.
const MAX_SOCKETS: usize = 12;
/// More than servers send in a datagram by EDNS.
const DATAGRAM_LEN: usize = 4096;

/// Runs a lookup to its end, with sockets on `interface`.
fn drive(lookup: &mut Lookup, interface: Option<&str>) -> io::Result<Event> {
    let mut outgoing = Vec::new();
    let mut open: Vec<DnsExchange> = Vec::new();
    loop {
        while let Some(transmit) = lookup.poll_transmit(&mut outgoing) {
            if open.len() == MAX_SOCKETS {
                // The one that has been waited for longest.
                open.remove(0);
            }
            match DnsExchange::begin(transmit, &outgoing, interface) {
                Ok(exchange) => open.push(exchange),
                Err(error) => failed(lookup, transmit, &error),
            }
        }
        if let Some(event) = lookup.poll_event() {
            return Ok(event);
        }
        let Some(until) = lookup.poll_timeout() else {
            return Err(ErrorKind::TimedOut.into());
        };
        if sys::now() >= until {
            lookup.handle_timeout(sys::now());
            continue;
        }
        let mut polled: Vec<_> = open.iter().map(DnsExchange::polled).collect();
        sys::wait_for(&mut polled, Some(until)).map_err(io::Error::other)?;
        let ready = polled.iter().position(|polled| polled.any() == Some(true));
        let Some(exchange) = ready.map(|index| open.remove(index)) else {
            continue;
        };
        open.extend(exchange.go_on(lookup));
    }
}

fn failed(lookup: &mut Lookup, transmit: Transmit, error: &io::Error) {
    log::debug!("name server {}: {error}", transmit.destination.ip());
    lookup.handle_failure(transmit, sys::now());
}

/// A query under way.
struct DnsExchange {
    transmit: Transmit,
    socket: DnsSocket,
}

enum DnsSocket {
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        /// The query behind its length, until the connection exists.
        query: Vec<u8>,
        /// What has been received of the response and its length.
        received: Vec<u8>,
    },
}

impl DnsExchange {
    /// Sends a query, or starts connecting to its server.
    fn begin(transmit: Transmit, query: &[u8], interface: Option<&str>) -> io::Result<Self> {
        let server = transmit.destination;
        let interface = interface.filter(|_| !has_own_interface(server));
        let socket = match transmit.transport {
            QueryTransport::Udp => {
                let any: SocketAddr = match server {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let udp = UdpSocket::bind(any)?;
                sys::udp::bind_to(&udp, interface).map_err(io::Error::other)?;
                udp.set_nonblocking(true)?;
                udp.connect(server)?;
                udp.send(query)?;
                DnsSocket::Udp(udp)
            }
            QueryTransport::Tcp => {
                let len = u16::try_from(query.len()).unwrap_or(u16::MAX);
                DnsSocket::Tcp {
                    stream: dial(interface, server).map_err(io::Error::other)?.into(),
                    query: [&len.to_be_bytes()[..], query].concat(),
                    received: Vec::new(),
                }
            }
        };
        Ok(Self { transmit, socket })
    }

    fn polled(&self) -> PollFd<'_> {
        let fd: BorrowedFd<'_> = match &self.socket {
            DnsSocket::Udp(udp) => udp.as_fd(),
            DnsSocket::Tcp { stream, .. } => stream.as_fd(),
        };
        let is_unsent = matches!(&self.socket, DnsSocket::Tcp { query, .. } if !query.is_empty());
        PollFd::new(
            fd,
            if is_unsent {
                PollFlags::POLLOUT
            } else {
                PollFlags::POLLIN
            },
        )
    }

    /// Reads or writes what can be; returns the exchange while it may bring a response.
    fn go_on(mut self, lookup: &mut Lookup) -> Option<Self> {
        let transmit = self.transmit;
        let message = match self.transfer() {
            Ok(Some(message)) => message,
            Ok(None) => return Some(self),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(self),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Some(self),
            Err(error) => {
                failed(lookup, transmit, &error);
                return None;
            }
        };
        let (server, by) = (transmit.destination, transmit.transport);
        let used = lookup.handle_input(server, by, &message, sys::now());
        let discard = used.err()?;
        log::debug!("name server {}: {discard}", server.ip());
        // On a connection nothing else follows.
        (by == QueryTransport::Udp).then_some(self)
    }

    /// Returns the message that has been received, if it is complete.
    fn transfer(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; DATAGRAM_LEN];
        match &mut self.socket {
            DnsSocket::Udp(udp) => {
                let len = udp.recv(&mut buffer)?;
                Ok(Some(buffer.get(..len).unwrap_or_default().to_vec()))
            }
            DnsSocket::Tcp { stream, query, .. } if !query.is_empty() => {
                // All of it fits into the buffer of a new connection.
                stream.write_all(&std::mem::take(query))?;
                Ok(None)
            }
            DnsSocket::Tcp {
                stream, received, ..
            } => {
                let len = stream.read(&mut buffer)?;
                if len == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                received.extend_from_slice(buffer.get(..len).unwrap_or_default());
                let Some((len, rest)) = received.split_first_chunk() else {
                    return Ok(None);
                };
                let message = rest.get(..u16::from_be_bytes(*len).into());
                Ok(message.map(<[u8]>::to_vec))
            }
        }
    }
}

/// Returns whether an address is on an interface that it implies itself, such as 127.0.0.53 of
/// systemd-resolved or fe80::1%eth0.
fn has_own_interface(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => v4.ip().is_loopback(),
        SocketAddr::V6(v6) => v6.ip().is_loopback() || v6.scope_id() != 0,
    }
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
