//! What a lease means for an interface: address, routes, MTU, in the order in which they are set.
//!
//! The MTU comes last and may fail: some drivers reset the card for it, which has no carrier for a
//! while.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::changes::LinkSetting;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::netlink::route::{Address, AddressDetails, FOREVER, KernelRoute};
use wireboot_proto::packet::ipv4::{netmask, same_network};

/// Every host must accept a datagram of this size (RFC 791 §3.1): a server that sets a smaller MTU is
/// mistaken or hostile.
const SMALLEST_MTU: u16 = 576;

/// Returns the settings of a lease that was granted `age` ago, in the order to be applied.
pub(super) fn lease_settings(index: u32, lease: &Lease, age: Duration) -> Vec<LinkSetting> {
    let left = |time: Option<Duration>| seconds(time.map(|time| time.saturating_sub(age)));
    let mut settings = Vec::new();
    // First: fib_create_info refuses routes whose preferred source is no local address.
    settings.push(LinkSetting::Address(Address {
        index,
        address: lease.address,
        prefix_len: lease.prefix_len,
        broadcast: lease.broadcast.or_else(|| broadcast(lease)),
        preferred_seconds: left(lease.times.map(|times| times.rebinding)),
        // The kernel removes the address then (check_lifetime), even without this process.
        valid_seconds: left(lease.times.map(|times| times.lease)),
        details: AddressDetails::default(),
    }));
    for route in routes(index, lease) {
        let route = LinkSetting::Route(route);
        if !settings.contains(&route) {
            settings.push(route);
        }
    }
    match lease.mtu_octets {
        Some(mtu) if mtu < SMALLEST_MTU => log::warn!(
            "the MTU of {mtu} bytes from {} (option 26) is ignored: less than {SMALLEST_MTU}",
            lease.server_text()
        ),
        Some(mtu) => settings.push(LinkSetting::Mtu(mtu.into())),
        None => {}
    }
    settings
}

/// Returns the routes: first those on the link, which the routers of the others may need.
fn routes(index: u32, lease: &Lease) -> Vec<KernelRoute> {
    let mut on_link = Vec::new();
    let mut through = Vec::new();
    for route in &lease.routes {
        let wanted = KernelRoute {
            index,
            // Bits beyond the prefix are EINVAL for the kernel (fib_valid_key_len), and servers
            // send them.
            destination: route.destination & netmask(route.prefix_len),
            prefix_len: route.prefix_len.min(32),
            // The client's own address as the router means that the network is on the link, where some
            // router answers ARP for it.
            gateway: route.gateway.filter(|gateway| *gateway != lease.address),
            // The kernel removes routes with this source together with the address
            // (fib_sync_down_addr).
            source: Some(lease.address),
        };
        if wanted.gateway.is_none() {
            on_link.push(wanted);
        } else {
            through.push(wanted);
        }
    }
    for route in &through {
        let Some(gateway) = route.gateway else {
            continue;
        };
        let reaches =
            |network_of: Ipv4Addr, prefix_len: u8| same_network(gateway, network_of, prefix_len);
        let reachable = reaches(lease.address, lease.prefix_len)
            || on_link
                .iter()
                .any(|known| reaches(known.destination, known.prefix_len));
        // Clouds lease 192.0.2.10/32 with a router outside of it: the kernel accepts that only with a
        // route to the router.
        if !reachable {
            on_link.push(KernelRoute {
                destination: gateway,
                prefix_len: 32,
                gateway: None,
                ..*route
            });
        }
    }
    on_link.append(&mut through);
    on_link
}

fn broadcast(lease: &Lease) -> Option<Ipv4Addr> {
    // RFC 3021: /31 has no broadcast address, nor has /32.
    (lease.prefix_len < 31).then(|| lease.address | !netmask(lease.prefix_len))
}

/// Returns whole seconds, rounded up: the client itself ends the lease in time.
fn seconds(time: Option<Duration>) -> u32 {
    // The kernel refuses an address of 0 s (inet_rtm_newaddr), as of a lease that ends just now.
    let seconds = |time: Duration| u32::try_from(time.as_millis().div_ceil(1000).max(1));
    // What 32 bits do not hold, 136 years, is as good as for ever.
    time.and_then(|time| seconds(time).ok()).unwrap_or(FOREVER)
}

#[cfg(test)]
mod tests;
