//! The same address, asked for by the same client identifier: a unit for systemd-networkd and a
//! connection for NetworkManager.
//!
//! networkd asks for an address that it finds on the interface (INIT-REBOOT), so the lease goes on
//! with its server; without the unit it would ask as another client and get a second address.

use std::fmt::Write;

use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::ethernet::MacAddress;

/// Interface and client that a lease belongs to.
#[derive(Debug, Clone, Copy)]
pub struct HandOverIdentity<'a> {
    /// The interface's name.
    pub interface: &'a str,
    /// Its hardware address.
    pub mac: MacAddress,
    /// The client identifier of the lease (option 61); empty without DHCP.
    pub client_id: &'a [u8],
}

/// First octet of a client identifier made of IAID and DUID (RFC 4361 §6.1).
const IAID_AND_DUID: u8 = 255;

/// Returns the name of the unit.
pub(super) fn unit_name(interface: &str) -> String {
    // Of all units that match, the first by name counts (systemd.network(5)).
    format!("run/systemd/network/05-wireboot-{interface}.network")
}

/// Returns the unit of systemd-networkd, or why there can be none.
pub(super) fn networkd_unit(
    identity: &HandOverIdentity<'_>,
    lease: &Lease,
) -> Result<String, &'static str> {
    // By address, since the name may become another one; VLANs, which have it too, are no ether.
    let mut text = format!("[Match]\nMACAddress={}\nType=ether\n\n", identity.mac);
    // The root file system may be behind the address, so not even an expired lease removes it.
    text.push_str("[Network]\nKeepConfiguration=yes\n");
    if lease.is_without_dhcp() {
        line(
            &mut text,
            "Address",
            format!("{}/{}", lease.address, lease.prefix_len),
        );
        for server in &lease.dns {
            line(&mut text, "DNS", server);
        }
        for route in &lease.routes {
            text.push_str("\n[StaticRoute]\n");
            line(
                &mut text,
                "Destination",
                format!("{}/{}", route.destination, route.prefix_len),
            );
            if let Some(gateway) = route.gateway {
                line(&mut text, "Gateway", gateway);
            }
        }
        return Ok(text);
    }
    text.push_str("DHCP=ipv4\n\n[DHCPv4]\n");
    let [a, b, c, d, e, f] = identity.mac.0;
    match identity.client_id {
        id if id == [1, a, b, c, d, e, f] => line(&mut text, "ClientIdentifier", "mac"),
        [IAID_AND_DUID, a, b, c, d, kind_high, kind_low, duid @ ..] => {
            // networkd writes 255, IAID and the DUID's type itself, so each is given by itself.
            line(&mut text, "ClientIdentifier", "duid");
            line(&mut text, "IAID", u32::from_be_bytes([*a, *b, *c, *d]));
            line(
                &mut text,
                "DUIDType",
                u16::from_be_bytes([*kind_high, *kind_low]),
            );
            line(&mut text, "DUIDRawData", hex(duid));
        }
        _ => return Err("it knows client identifiers by hardware address or DUID only"),
    }
    Ok(text)
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{key}={value}");
}

/// Returns the name of the keyfile.
pub(super) fn keyfile_name(interface: &str) -> String {
    format!("run/NetworkManager/system-connections/wireboot-{interface}.nmconnection")
}

/// Returns the keyfile of NetworkManager.
pub(super) fn keyfile(identity: &HandOverIdentity<'_>, lease: &Lease) -> String {
    let HandOverIdentity {
        interface,
        mac,
        client_id,
    } = identity;
    let method = if lease.is_without_dhcp() {
        manual(lease)
    } else {
        format!("method=auto\ndhcp-client-id={}\n", hex(client_id))
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

/// Returns two digits for each byte, with colons between them.
fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(":")
}
