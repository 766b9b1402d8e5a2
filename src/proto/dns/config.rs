//! What names are resolved by: servers, search list and hosts, as in resolv.conf(5) and hosts(5).

use crate::prelude::*;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::packet::dns::{Name, PORT};

/// Servers that are asked; the C libraries ask three.
const MAX_SERVERS: usize = 8;
/// Domains of a search list; glibc had six before it had any number.
const MAX_DOMAINS: usize = 6;
/// The largest `ndots`, as in resolv.conf(5).
const MAX_NDOTS: usize = 15;

/// Servers, search list, hosts, and the families of addresses that the machine has itself: all that
/// a lookup needs to know of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameConfig {
    /// The servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// Domains below which a name is looked for.
    pub search: Vec<String>,
    /// A name with fewer dots is looked for below them first.
    pub ndots: usize,
    /// Lines of hosts(5).
    pub hosts: String,
}

impl NameConfig {
    /// Adds the lines of resolv.conf(5): servers, `search` or `domain` – the last one counts – and
    /// `options ndots`. `index` returns the index of the interface with that name, for `fe80::1%eth0`.
    pub fn read(&mut self, text: &str, index: &dyn Fn(&str) -> Option<u32>) {
        let mut search = Vec::new();
        self.ndots = 1;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|text| server(text, index));
                    address
                        .into_iter()
                        .for_each(|address| self.add_server(address));
                }
                Some("search") => search = words.map(str::to_owned).collect(),
                Some("domain") => search = words.take(1).map(str::to_owned).collect(),
                Some("options") => {
                    for number in words.filter_map(|word| word.strip_prefix("ndots:")) {
                        let number = number.parse().unwrap_or(self.ndots);
                        self.ndots = number.min(MAX_NDOTS);
                    }
                }
                _ => {}
            }
        }
        if self.search.is_empty() {
            self.search = search;
        }
    }

    /// Adds a server, unless it is there already or there are enough.
    pub fn add_server(&mut self, address: SocketAddr) {
        if self.servers.len() < MAX_SERVERS && !self.servers.contains(&address) {
            self.servers.push(address);
        }
    }

    /// Returns the addresses of `host` that no server is asked for: those in hosts(5), and of
    /// `localhost` and the names below it the loopback addresses (RFC 6761 §6.3).
    pub fn known(&self, host: &str) -> Vec<IpAddr> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut found = Vec::new();
        for line in self.hosts.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            if let Some(Ok(address)) = words.next().map(str::parse)
                && words.any(|name| {
                    let name = name.strip_suffix('.').unwrap_or(name);
                    name.eq_ignore_ascii_case(host)
                })
                && !found.contains(&address)
            {
                found.push(address);
            }
        }
        let last = host.rsplit('.').next().unwrap_or_default();
        if found.is_empty() && last.eq_ignore_ascii_case("localhost") {
            found.push(IpAddr::from([127, 0, 0, 1]));
        }
        found
    }

    /// Returns the names to ask for in turn: the search list comes first for a name with fewer dots
    /// than `ndots`, after it for one with more, and is not used for one with a final dot.
    pub fn candidates(&self, host: &str) -> Vec<Name> {
        let own = Name::parse(host);
        if host.ends_with('.') {
            return own.into_iter().collect();
        }
        let domains = self.search.iter().filter_map(|domain| {
            let domain = domain.trim_matches('.');
            // The root as a domain is the name itself, which is asked for anyway.
            (!domain.is_empty()).then(|| Name::parse(&format!("{host}.{domain}")))?
        });
        let mut all: Vec<_> = domains.take(MAX_DOMAINS).collect();
        let is_short = host.bytes().filter(|byte| *byte == b'.').count() < self.ndots;
        let place = if is_short { all.len() } else { 0 };
        all.splice(place..place, own);
        all
    }
}

/// Parses the address of a server, with the interface behind `%` where it is a link-local one.
fn server(text: &str, index: &dyn Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    match (address.parse().ok()?, zone) {
        (IpAddr::V6(ip), Some(zone)) => {
            let scope = zone.parse().ok().or_else(|| index(zone))?;
            Some(SocketAddrV6::new(ip, PORT, 0, scope).into())
        }
        (IpAddr::V4(_), Some(_)) => None,
        (ip, None) => Some(SocketAddr::new(ip, PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameConfig {
        let mut config = NameConfig::default();
        config.read(text, &|name| (name == "eth0").then_some(7));
        config
    }

    #[test]
    fn servers_are_read_with_the_interface_of_link_local_ones() {
        let config = read(
            "# a comment\n; another\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # near\n\
             nameserver fe80::1%eth0\nnameserver fe80::2%3\nnameserver fe80::3%nowhere\n\
             nameserver 192.0.2.2%eth0\nnameserver 192.0.2.1\nnameserver\nnameserver x\n\
             nameservers 192.0.2.9\n",
        );
        let shown: Vec<_> = config.servers.iter().map(SocketAddr::to_string).collect();
        let expected = [
            "192.0.2.1:53",
            "[2001:db8::1]:53",
            "[fe80::1%7]:53",
            "[fe80::2%3]:53",
        ];
        assert_eq!(shown, expected);
        let many: String = (0..99)
            .map(|n| format!("nameserver 192.0.2.{n}\n"))
            .collect();
        assert_eq!(read(&many).servers.len(), MAX_SERVERS);
    }

    #[test]
    fn a_short_name_is_looked_for_below_the_domains_first_and_a_long_one_last() {
        let list = "search a.example b.example.\n";
        for (text, host, expected) in [
            ("", "host", "host"),
            (list, "host", "host.a.example host.b.example host"),
            (list, "x.host", "x.host x.host.a.example x.host.b.example"),
            (list, "host.", "host"),
            (list, "x.host.", "x.host"),
            ("search a\ndomain b c\n", "host", "host.b host"),
            ("domain b\nsearch .\n", "host", "host"),
            (
                "search a\noptions rotate ndots:2\n",
                "x.host",
                "x.host.a x.host",
            ),
            ("search a\noptions ndots:0\n", "host", "host host.a"),
            ("search a\noptions ndots:x\n", "host", "host.a host"),
            ("", "a..b", ""),
        ] {
            let names: Vec<_> = expected.split(' ').filter_map(Name::parse).collect();
            let found = read(text).candidates(host);
            assert_eq!(found, names, "{text} {host}");
        }
        // The most that ndots can be.
        for (dots, place) in [(14, 1), (15, 0)] {
            let host = format!("{}x", "x.".repeat(dots));
            let found = read("search a\noptions ndots:99\n").candidates(&host);
            assert_eq!(found.get(place), Name::parse(&host).as_ref());
        }
        let many = format!("search {}\n", "a ".repeat(50));
        assert_eq!(read(&many).candidates("host").len(), MAX_DOMAINS + 1);
        // A domain with which the name is too long is left out.
        let long = format!("search {} a\n", "abcdefg.".repeat(31));
        assert_eq!(read(&long).candidates("longer-than-that").len(), 2);
    }

    #[test]
    fn hosts_and_localhost_need_no_server() {
        let hosts = "127.0.0.1 localhost\n192.0.2.5\tfiles files.example # files2\n\
                     2001:db8::5 Files.Example.\n192.0.2.5 files\n#192.0.2.6 no\nx files\n";
        let config = NameConfig {
            hosts: hosts.to_owned(),
            ..NameConfig::default()
        };
        for (host, expected) in [
            ("files", "192.0.2.5"),
            ("FILES.example.", "192.0.2.5 2001:db8::5"),
            ("files2", ""),
            ("no", ""),
            ("localhost", "127.0.0.1"),
            ("a.localhost.", "127.0.0.1"),
            ("localhost.example", ""),
        ] {
            let found: Vec<_> = config.known(host).iter().map(IpAddr::to_string).collect();
            assert_eq!(found.join(" "), expected, "{host}");
        }
    }
}
