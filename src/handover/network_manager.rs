//! A connection for NetworkManager: the same address, asked for by the same client identifier.

use super::HandOverIdentity;
use wireboot_proto::dhcp::lease::Lease;

pub(super) fn name(interface: &str) -> String {
    format!("run/NetworkManager/system-connections/wireboot-{interface}.nmconnection")
}

/// Returns the keyfile.
pub(super) fn keyfile(holder: &HandOverIdentity<'_>, lease: &Lease) -> String {
    let HandOverIdentity {
        interface,
        mac,
        client_id,
    } = holder;
    let method = if lease.is_without_dhcp() {
        manual(lease)
    } else {
        format!("method=auto\ndhcp-client-id={}\n", super::hex(client_id))
    };
    format!(
        "[connection]\nid=wireboot-{interface}\nuuid={}\ntype=ethernet\n\n\
         [ethernet]\nmac-address={mac}\n\n[ipv4]\n{method}may-fail=false\n",
        // NetworkManager tells connections apart by it: a random one would make a new one at each
        // boot.
        uuid(mac.0)
    )
}

fn manual(lease: &Lease) -> String {
    let mut text = format!(
        "method=manual\naddress1={}/{}",
        lease.address, lease.prefix_len
    );
    let mut routes = String::new();
    let mut number = 0;
    for route in &lease.routes {
        match route.gateway {
            Some(gateway) if route.prefix_len == 0 => text.push_str(&format!(",{gateway}")),
            gateway => {
                number += 1;
                let via = gateway.map_or_else(String::new, |gateway| format!(",{gateway}"));
                let to = format!("{}/{}", route.destination, route.prefix_len);
                routes.push_str(&format!("route{number}={to}{via}\n"));
            }
        }
    }
    let servers: String = lease
        .dns
        .iter()
        .map(|server| format!("{server};"))
        .collect();
    let dns = if servers.is_empty() {
        String::new()
    } else {
        format!("dns={servers}\n")
    };
    format!("{text}\n{routes}{dns}")
}

/// Returns the same identifier for the same interface at each boot, of version 8 (RFC 9562).
fn uuid([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("77697265-626f-8f74-8000-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
}
