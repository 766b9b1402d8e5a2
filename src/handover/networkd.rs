//! A unit for systemd-networkd: the same address, asked for by the same client identifier.
//!
//! networkd asks for an address that it finds on the interface (INIT-REBOOT), so the lease goes on
//! with its server; without the unit it would ask as another client and get a second address.

use std::fmt::Write;

use super::HandOverIdentity;
use wireboot_proto::dhcp::lease::Lease;

/// First octet of a client identifier made of IAID and DUID (RFC 4361 §6.1).
const IAID_AND_DUID: u8 = 255;

pub(super) fn name(interface: &str) -> String {
    // Of all units that match, the first by name counts (systemd.network(5)).
    format!("run/systemd/network/05-wireboot-{interface}.network")
}

/// Returns the unit, or why there can be none.
pub(super) fn unit(holder: &HandOverIdentity<'_>, lease: &Lease) -> Result<String, &'static str> {
    // By address, since the name may become another one; VLANs, which have it too, are no ether.
    let mut text = format!("[Match]\nMACAddress={}\nType=ether\n\n", holder.mac);
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
    let [a, b, c, d, e, f] = holder.mac.0;
    match holder.client_id {
        id if id == [1, a, b, c, d, e, f] => line(&mut text, "ClientIdentifier", "mac"),
        [IAID_AND_DUID, a, b, c, d, kind_high, kind_low, duid @ ..] => {
            // networkd writes 255, IAID and the DUID's type itself, so that each is told apart.
            line(&mut text, "ClientIdentifier", "duid");
            line(&mut text, "IAID", u32::from_be_bytes([*a, *b, *c, *d]));
            line(
                &mut text,
                "DUIDType",
                u16::from_be_bytes([*kind_high, *kind_low]),
            );
            line(&mut text, "DUIDRawData", super::hex(duid));
        }
        _ => return Err("it knows client identifiers by hardware address or DUID only"),
    }
    Ok(text)
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{key}={value}");
}
