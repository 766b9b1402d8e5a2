//! A lease: the address and configuration that a server granted, by name.
//!
//! Of what a message says about the network – mask, routes, resolvers, MTU and domains – that which no host
//! can use is left out, and its option is listed with the reason.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::dhcp::config::StaticConfig;
use crate::ipv6::lease::Lease6;
use crate::packet::dhcp::Message;
use crate::packet::option::{Options, code};
use crate::text::names;

use super::boot_service::{
    self, BootService, BootSource, IgnoredOptions, Next, Rank, checked_text,
};
use super::reply::is_host;

/// Lease time when an ACK names none, which RFC 2131 does not allow but servers do.
// udhcpc of busybox takes an hour, too.
const DEFAULT_LEASE_TIME: Duration = Duration::from_secs(3600);
/// Shortest lease that is kept to: a request after half of it can be repeated twice, a second apart.
// Who grants 0 s grants nothing (the client). busybox's udhcpc takes less than 16 s for 16 s, dhcpcd less
// than 20 s for 20 s.
const MIN_LEASE_TIME: Duration = Duration::from_secs(3);
// RFC 2131 §3.3: this time stands for infinity.
const INFINITE: u32 = u32::MAX;

/// Times of a lease, counted from when it was requested; renewal < rebinding < lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// End of the lease (option 51).
    pub lease: Duration,
    /// T1 (option 58): the server is asked to renew.
    pub renewal: Duration,
    /// T2 (option 59): any server is asked.
    pub rebinding: Duration,
}

/// A route, from option 121 (RFC 3442) or 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticRoute {
    /// The network.
    pub destination: Ipv4Addr,
    /// Its prefix, 0 to 32 bits.
    pub prefix_len: u8,
    /// The router; none when the network is on the link (0.0.0.0 in option 121).
    pub gateway: Option<Ipv4Addr>,
}

/// Address with the configuration that was granted with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Our address (`yiaddr`).
    pub address: Ipv4Addr,
    /// Prefix of the address, 0 to 32 bits (option 1, or by class when absent).
    pub prefix_len: u8,
    /// Server that granted it (option 54); of a configured address the boot server, if one is
    /// configured.
    pub server: Option<Ipv4Addr>,
    /// Routes in the order to be set; option 121 rules out option 3 (RFC 3442).
    pub routes: Vec<StaticRoute>,
    /// Broadcast address (option 28).
    pub broadcast: Option<Ipv4Addr>,
    /// Largest datagram, 68 bytes or more (option 26).
    pub mtu_octets: Option<u16>,
    /// Resolvers (option 6).
    pub dns: Vec<Ipv4Addr>,
    /// Domain (the first name in option 15), checked against its grammar.
    pub domain: Option<String>,
    /// Domains that names are looked up in (option 119, or 15 with several names), checked against their
    /// grammar.
    pub search: Vec<String>,
    /// Our host name (option 12), checked against its grammar.
    pub host_name: Option<String>,
    /// Where the boot file is (`siaddr`, or option 150 where no other server is named).
    pub next_server: Option<Ipv4Addr>,
    /// Name of the boot server (option 66, or `sname`), with a port, scheme or folder if it has one.
    pub server_name: Option<String>,
    /// The boot file (option 67, or `file`): a path or a URL.
    pub boot_file: Option<String>,
    /// The boot service, of a PXE server (options 60 and 43).
    pub boot_service: Option<BootService>,
    /// Boot services of other offers, for when that one does not answer.
    pub other_services: Vec<BootService>,
    /// Times of the lease; none if it is infinite.
    pub times: Option<LeaseTimes>,
    /// All options as received, but of the servers of logs and time only what can be addresses of hosts.
    pub options: Options,
    /// Ignored options, with the reason.
    pub ignored: IgnoredOptions,
    /// What IPv6 has given, of a lease without an address of IPv4 (which is then unspecified).
    pub ipv6: Option<Box<Lease6>>,
}

impl Lease {
    /// Returns an infinite lease of an address without a server or options.
    pub fn fixed(address: Ipv4Addr, prefix_len: u8) -> Self {
        Self {
            address,
            prefix_len,
            server: None,
            routes: Vec::new(),
            broadcast: None,
            mtu_octets: None,
            dns: Vec::new(),
            domain: None,
            search: Vec::new(),
            host_name: None,
            next_server: None,
            server_name: None,
            boot_file: None,
            boot_service: None,
            other_services: Vec::new(),
            times: None,
            options: Options::default(),
            ignored: Vec::new(),
            ipv6: None,
        }
    }

    /// Returns a lease of IPv6 alone, with its boot file and the configuration that goes with it as DHCP's
    /// options have them.
    pub fn of_ipv6(lease: Lease6) -> Self {
        let mut whole = Self::fixed(Ipv4Addr::UNSPECIFIED, 0);
        whole.boot_file.clone_from(&lease.boot_file);
        if let Some(path) = lease.configuration_file() {
            whole.options.set(code::CONFIG_FILE, path.as_bytes());
        }
        whole.search.clone_from(&lease.search);
        whole.ipv6 = Some(Box::new(lease));
        whole
    }

    /// Reads the lease in `message`; `server` is its option 54.
    ///
    /// Invalid values are left out and listed in [`Lease::ignored`].
    pub fn read(message: &Message, server: Ipv4Addr) -> Self {
        let options = &message.options;
        let mut ignored = Vec::new();
        note_wrong_lengths(options, &mut ignored);
        note_missing_server(options, &mut ignored);
        let boot = BootSource::read(message, server, &mut ignored);
        let (domain, search) = domains(options, &mut ignored);
        let prefix_len = prefix_len(message.yiaddr, options, &mut ignored);
        let own = (message.yiaddr, prefix_len);
        let checked = with_hosts_alone(options, own, &mut ignored);
        Self {
            address: message.yiaddr,
            prefix_len,
            server: Some(server),
            routes: routes(options, own, &mut ignored),
            broadcast: broadcast(options, own, &mut ignored),
            mtu_octets: mtu(options, &mut ignored),
            dns: hosts(options, code::DOMAIN_NAME_SERVER, own, &mut ignored),
            domain,
            search,
            host_name: checked_text(options, code::HOST_NAME, names::is_host_name, &mut ignored),
            next_server: boot.next_server,
            server_name: boot.server_name,
            boot_file: boot.boot_file,
            boot_service: boot.boot_service,
            other_services: Vec::new(),
            times: LeaseTimes::read(options),
            options: checked,
            ignored,
            ipv6: None,
        }
    }
}

impl Lease {
    /// Returns the lease that `server` grants by `ack`. If that has no boot file, the first in
    /// `offered` is used: some servers send the file in the OFFER only, and a ProxyDHCP server sends only
    /// offers.
    pub fn granted<'a>(
        ack: &Message,
        server: Ipv4Addr,
        offered: impl IntoIterator<Item = &'a BootSource>,
    ) -> Self {
        let mut lease = Self::read(ack, server);
        for boot in offered {
            let is_better = match &lease.boot_service {
                _ if lease.boot_file.is_some() => false,
                Some(service) => service.has_only_the_disk() && boot.rank() > Rank::LocalBoot,
                None => boot.rank() >= Rank::LocalBoot,
            };
            if is_better {
                lease.adopt_boot(boot);
            }
        }
        lease
    }

    /// Replaces the boot information by that of another server.
    pub fn adopt_boot(&mut self, boot: &BootSource) {
        self.boot_file.clone_from(&boot.boot_file);
        self.boot_service.clone_from(&boot.boot_service);
        self.server_name.clone_from(&boot.server_name);
        // Without a next server the server itself has the file.
        self.next_server = boot.next_server.or(Some(boot.server));
        for (code, value) in &boot.options {
            self.options.set(*code, value.as_slice());
        }
    }

    /// Returns the servers that may have the boot file, in the order to be asked: `siaddr` and another one
    /// that is named, or else the DHCP server. [`url_of`](super::boot_service::url_of) takes them.
    pub fn file_servers(&self) -> Vec<String> {
        if let Some(lease) = &self.ipv6 {
            let server = lease.server.or_else(|| lease.gateway());
            return server
                .map(|server| format!("[{server}]"))
                .into_iter()
                .collect();
        }
        let next_server = self.next_server.filter(|server| !server.is_unspecified());
        let next_server = next_server.map(|server| server.to_string());
        let mut servers: Vec<_> = next_server.into_iter().collect();
        servers.extend(self.server_name.clone());
        // Of at most two, so that equal ones are neighbours.
        servers.dedup();
        if servers.is_empty() {
            let server = self.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
            servers.push(server.to_string());
        }
        servers
    }

    /// Returns the next step towards the boot file.
    pub fn next_boot_step(&self) -> Next<'_> {
        boot_service::next(self.boot_file.as_deref(), self.boot_service.as_ref())
    }

    /// Returns the lease of a static address; none if none is configured.
    pub fn without_dhcp(given: &StaticConfig) -> Option<Self> {
        let (address, prefix_len) = given.address?;
        let mut lease = Self {
            server: given.server,
            next_server: given.server,
            ..Self::fixed(address, prefix_len)
        };
        lease.amend(given);
        Some(lease)
    }

    /// Applies static settings to a lease of a server.
    pub fn amend(&mut self, given: &StaticConfig) {
        if given.ignores_server_dns {
            self.dns.clear();
        }
        // A resolver that is listed twice would be asked twice before the next one.
        self.dns.retain(|server| !given.dns.contains(server));
        self.dns.splice(0..0, given.dns.iter().copied());
        for (destination, prefix_len, gateway) in given.routes.iter().copied() {
            let same = |route: &StaticRoute| {
                (route.destination, route.prefix_len) == (destination, prefix_len)
            };
            // The kernel refuses a second route to the same network with the same metric (EEXIST).
            self.routes.retain(|route| !same(route));
            self.routes.push(StaticRoute {
                destination,
                prefix_len,
                gateway,
            });
        }
        if given.host_name.is_some() {
            self.host_name.clone_from(&given.host_name);
        }
        self.mtu_octets = given.mtu_octets.or(self.mtu_octets);
    }

    /// Returns the server for a message to people.
    pub fn server_text(&self) -> String {
        self.server
            .map_or_else(|| "no server".to_owned(), |server| server.to_string())
    }

    /// Returns whether it was not granted by a server.
    pub fn is_without_dhcp(&self) -> bool {
        self.options.iter().next().is_none()
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, prefix_len) = (self.address, self.prefix_len);
        let Some(server) = self.server.filter(|_| !self.is_without_dhcp()) else {
            return write!(f, "{address}/{prefix_len} as given");
        };
        write!(f, "{address}/{prefix_len} from {server}")?;
        match self.times {
            Some(times) => write!(f, " for {} s", times.lease.as_secs()),
            None => write!(f, " for ever"),
        }
    }
}

impl LeaseTimes {
    /// Reads the times; none for an infinite lease (RFC 2132 §9.2).
    ///
    /// Missing or unordered times are replaced by ½ and ⅞ of the lease time (RFC 2131 §4.4.5).
    fn read(options: &Options) -> Option<Self> {
        let lease = match options.u32(code::LEASE_TIME) {
            Some(INFINITE) => return None,
            Some(seconds) => Duration::from_secs(seconds.into()).max(MIN_LEASE_TIME),
            None => DEFAULT_LEASE_TIME,
        };
        let seconds = |code| Some(Duration::from_secs(u64::from(options.u32(code)?)));
        let rebinding = seconds(code::REBINDING_TIME)
            // RFC 2131 §4.4.5: T1 must be before T2, and T2 before the end.
            .filter(|time| !time.is_zero() && *time < lease)
            .unwrap_or(lease / 8 * 7);
        let renewal = seconds(code::RENEWAL_TIME)
            .filter(|time| !time.is_zero() && *time < rebinding)
            // Half of the lease, unless the server's T2 comes before that.
            .unwrap_or((lease / 2).min(rebinding / 8 * 7));
        Some(Self {
            lease,
            renewal,
            rebinding,
        })
    }
}

/// Smallest MTU that IPv4 allows, bytes (RFC 791).
const MIN_MTU: u16 = 68;
/// The largest MTU that servers send in earnest, bytes: passt's, for its virtual machines. 65535 means
/// that none was configured.
const MAX_MTU: u16 = 65_520;

/// Lists an option with the reason why it is not used as it was sent.
fn ignore(ignored: &mut IgnoredOptions, code: u8, why: &'static str) {
    if !ignored.contains(&(code, why)) {
        ignored.push((code, why));
    }
}

/// Lists the options that have no value for their length.
fn note_wrong_lengths(options: &Options, ignored: &mut IgnoredOptions) {
    for code in options.of_wrong_length() {
        ignore(ignored, code, "has a wrong length");
    }
}

/// Lists option 54 where it does not name a server, so that the one which was asked or the source address
/// stands for it.
fn note_missing_server(options: &Options, ignored: &mut IgnoredOptions) {
    let server = options.address(code::SERVER_IDENTIFIER);
    if !server.is_some_and(is_host) {
        ignore(ignored, code::SERVER_IDENTIFIER, "names no server");
    }
}

/// Returns the prefix of an address, 1 to 32 bits.
pub(super) fn prefix_len(address: Ipv4Addr, options: &Options, ignored: &mut IgnoredOptions) -> u8 {
    if let Some(mask) = options.address(code::SUBNET_MASK).map(u32::from) {
        let prefix_len = u32::BITS - mask.trailing_zeros();
        // RFC 950 allowed gaps; the kernel has only prefixes (`ifa_prefixlen` of rtnetlink). As dhcpcd,
        // udhcpc and networkd, up to the last one bit, which is right for a slip such as 255.255.225.0.
        if mask.leading_ones() != prefix_len {
            ignore(ignored, code::SUBNET_MASK, "has a gap");
        }
        if prefix_len > 0 {
            return u8::try_from(prefix_len).unwrap_or(32);
        }
        ignore(ignored, code::SUBNET_MASK, "is 0.0.0.0");
    }
    // The classes of RFC 791 §3.2, for lack of option 1.
    match address.octets() {
        [..128, _, _, _] => 8,
        [..192, _, _, _] => 16,
        _ => 24,
    }
}

/// Returns whether an address is that of a host in its network, neither the network's own nor the one for
/// broadcasts. Networks of one and two addresses have neither of these (RFC 3021).
pub(super) fn is_host_of_network(address: Ipv4Addr, prefix_len: u8) -> bool {
    // /32 has no host part, and a shift by all 32 bits is none in Rust.
    let mask = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
    let host = address.to_bits() & mask;
    prefix_len > 30 || (host != 0 && host != mask)
}

/// Returns whether an address is that of a host if it is in the network of `own`.
fn is_host_beside(address: Ipv4Addr, own: (Ipv4Addr, u8)) -> bool {
    let (own, prefix_len) = own;
    let is_near = (address.to_bits() ^ own.to_bits()).leading_zeros() >= prefix_len.into();
    !is_near || is_host_of_network(address, prefix_len)
}

/// Returns the addresses in a list that can be those of hosts, for whom has the address `own` with its
/// prefix.
fn hosts(
    options: &Options,
    code: u8,
    own: (Ipv4Addr, u8),
    ignored: &mut IgnoredOptions,
) -> Vec<Ipv4Addr> {
    let mut listed = options.addresses(code);
    let count = listed.len();
    listed.retain(|address| is_host(*address) && is_host_beside(*address, own));
    if listed.len() < count {
        ignore(ignored, code, "lists what is no host's address");
    }
    if options.get(code).is_some_and(|list| list.len() % 4 != 0) {
        ignore(ignored, code, "has a wrong length");
    }
    listed
}

/// Returns the options, but of the servers of logs and time only what can be addresses of hosts: they are not
/// fields of a lease.
fn with_hosts_alone(
    options: &Options,
    own: (Ipv4Addr, u8),
    ignored: &mut IgnoredOptions,
) -> Options {
    let mut checked = options.clone();
    for code in [code::LOG_SERVERS, code::NTP_SERVERS] {
        let hosts = hosts(options, code, own, ignored);
        if hosts.is_empty() {
            checked.remove(code);
        } else if hosts.len() < options.addresses(code).len() {
            let bytes = hosts.into_iter().flat_map(|host| host.octets());
            checked.set(code, bytes.collect::<Vec<_>>());
        }
    }
    checked
}

/// Returns whether there can be other hosts at a destination: not in 127/8, which the kernel keeps to itself,
/// nor in 0/8, "this network", and not at the address of all hosts on the link (RFC 1122 §3.2.1.3).
const fn is_elsewhere(destination: Ipv4Addr, prefix_len: u8) -> bool {
    match destination.octets() {
        // Or half of all networks, as it is written beside 128.0.0.0/1.
        [0, ..] => prefix_len < 8,
        [127, ..] => false,
        _ => !destination.is_broadcast(),
    }
}

/// Returns the address for broadcasts; none where that of the mask is to do. Programs that set it take any,
/// and whatever is sent to the host that has it would go to all then.
fn broadcast(
    options: &Options,
    own: (Ipv4Addr, u8),
    ignored: &mut IgnoredOptions,
) -> Option<Ipv4Addr> {
    let address = options.address(code::BROADCAST_ADDRESS)?;
    // All ones, or all zeros, as BSD had it.
    if address.is_broadcast() || !is_host_beside(address, own) {
        return Some(address);
    }
    ignore(ignored, code::BROADCAST_ADDRESS, "is not for broadcasts");
    None
}

fn mtu(options: &Options, ignored: &mut IgnoredOptions) -> Option<u16> {
    let mtu = options.u16(code::INTERFACE_MTU)?;
    let why = match mtu {
        ..MIN_MTU => "is below 68 bytes",
        MIN_MTU..=MAX_MTU => return Some(mtu),
        _ => "is above 65520 bytes",
    };
    ignore(ignored, code::INTERFACE_MTU, why);
    None
}

/// Returns the routes in the order to be set. A list in option 121 or 249 rules out option 3 (RFC 3442),
/// unless some of its routes cannot be used and there is none to everywhere among the others.
///
/// `own` is the address and its prefix.
fn routes(
    options: &Options,
    own: (Ipv4Addr, u8),
    ignored: &mut IgnoredOptions,
) -> Vec<StaticRoute> {
    let mut routes = Vec::new();
    for code in [
        code::CLASSLESS_STATIC_ROUTE,
        code::MS_CLASSLESS_STATIC_ROUTE,
    ] {
        match options.route_list(code) {
            Some((list, true)) if !list.is_empty() => {}
            Some(_) => ignore(ignored, code, "is damaged"),
            None => {}
        }
    }
    if let Some((list, is_whole)) = options.classless_routes() {
        let count = list.len();
        for (destination, prefix_len, router) in list {
            let gateway = Some(router).filter(|router| !router.is_unspecified());
            let is_host = |router| is_host(router) && is_host_beside(router, own);
            if gateway.is_none_or(is_host) && is_elsewhere(destination, prefix_len) {
                routes.push(StaticRoute {
                    destination,
                    prefix_len,
                    gateway,
                });
            }
        }
        let is_complete = routes.len() == count;
        if !is_complete {
            let why = "has a route to or by what is no host";
            ignore(ignored, code::CLASSLESS_STATIC_ROUTE, why);
        }
        if (is_whole && is_complete) || routes.iter().any(|route| route.prefix_len == 0) {
            return routes;
        }
    }
    // RFC 2132 §3.5: routers are listed in order of preference, and one default route is enough.
    let routers = hosts(options, code::ROUTER, own, ignored);
    routes.extend(routers.first().map(|router| StaticRoute {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix_len: 0,
        gateway: Some(*router),
    }));
    routes
}

/// Returns the domain, and the domains that names are looked up in: those of option 119, or of option 15
/// where it has several, as servers of clouds send them (and dhclient-script takes them).
fn domains(options: &Options, ignored: &mut IgnoredOptions) -> (Option<String>, Vec<String>) {
    let is_domain = |name: &String| names::is_host_name(name);
    let mut search = options.domain_search();
    let count = search.len();
    search.retain(is_domain);
    if options.get(code::DOMAIN_SEARCH).is_some() && (search.len() < count || count == 0) {
        let why = "holds what is no domain name";
        ignore(ignored, code::DOMAIN_SEARCH, why);
    }
    let text = options.text(code::DOMAIN_NAME).unwrap_or_default();
    let words = names::words(text).map(|name| name.trim_matches('.').to_owned());
    let mut names: Vec<_> = words.collect();
    let count = names.len();
    names.retain(is_domain);
    if options.get(code::DOMAIN_NAME).is_some() && (names.len() < count || count == 0) {
        ignore(ignored, code::DOMAIN_NAME, "holds what is no domain name");
    }
    let domain = names.first().cloned();
    if search.is_empty() && names.len() > 1 {
        search = names;
    }
    (domain, search)
}

#[cfg(test)]
mod tests;
