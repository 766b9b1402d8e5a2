//! Addresses of servers. Only A is queried where no interface has an IPv6 address of global scope,
//! since servers that refuse or ignore AAAA queries are common; otherwise both are queried in
//! parallel, and a failure of one does not affect the other.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::error::Cause;
use crate::sys;
use crate::sys::resolver::{Family, lookup};
use wireboot_proto::text::url::Url;

/// How long to wait for AAAA once A is answered (RFC 8305 §3, Resolution Delay).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Interval between looks for the AAAA answer, a small part of that delay.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Returns the addresses of the server of `url`.
pub(super) fn resolve(url: &Url, interface: Option<&str>) -> Result<Vec<SocketAddr>, Cause> {
    let (host, port) = (url.host(), url.port());
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // /proc/net is that of the process's first thread; other threads may be in another namespace.
    let interfaces = fs::read_to_string("/proc/thread-self/net/if_inet6");
    // A server that ignores AAAA held a boot for 23 s, in vain, when musl asked it for both.
    if !has_ipv6(&interfaces.unwrap_or_default(), interface) {
        return Ok(lookup(host, port, Family::V4)?);
    }
    let name = host.to_owned();
    let ipv6 = thread::Builder::new().spawn(move || lookup(&name, port, Family::V6))?;
    let mut found = lookup(host, port, Family::V4);
    let deadline = sys::now() + RESOLUTION_DELAY;
    while found.is_ok() && !ipv6.is_finished() && sys::now() < deadline {
        thread::sleep(POLL_INTERVAL);
    }
    if (found.is_err() || ipv6.is_finished())
        && let Ok(Ok(mut all)) = ipv6.join()
    {
        all.extend(found.unwrap_or_default());
        // IPv6 goes first (RFC 6724 §2.1), except addresses without a route.
        let is_reached = |address: &SocketAddr| has_route(address, interface);
        let (mut reached, rest): (Vec<_>, _) = all.into_iter().partition(is_reached);
        reached.extend(rest);
        found = Ok(reached);
    }
    Ok(found?)
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

/// Returns whether the kernel has a route; connecting a UDP socket looks it up and sends nothing.
fn has_route(address: &SocketAddr, interface: Option<&str>) -> bool {
    if address.is_ipv4() {
        return true;
    }
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| {
        sys::udp::bind_to(&socket, interface).is_ok() && socket.connect(address).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
