//! The same address, asked for by the same client identifier: a unit for systemd-networkd and a
//! connection for NetworkManager.
//!
//! networkd asks for an address that it finds on the interface (INIT-REBOOT), so the lease goes on
//! with its server; without the unit it would ask as another client and get a second address.

use std::fmt::{Display, Write};

#[cfg(feature = "bond")]
use crate::config::Bond;
use crate::config::{MadeOf, Vlan};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::ethernet::MacAddress;

/// Interface and client that a lease belongs to.
#[derive(Debug, Clone, Copy)]
pub struct HandOverIdentity<'a> {
    /// What the interface was made of.
    pub made_of: &'a MadeOf,
    /// The interface's name.
    pub interface: &'a str,
    /// Its index.
    pub index: u32,
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
    let mut text = unit(identity);
    if lease.is_without_dhcp() {
        line(
            &mut text,
            "Address",
            &format_args!("{}/{}", lease.address, lease.prefix_len),
        );
        for server in &lease.dns {
            line(&mut text, "DNS", server);
        }
        for route in &lease.routes {
            text.push_str("\n[StaticRoute]\n");
            line(
                &mut text,
                "Destination",
                &format_args!("{}/{}", route.destination, route.prefix_len),
            );
            if let Some(gateway) = route.gateway {
                line(&mut text, "Gateway", &gateway);
            }
        }
        return Ok(text);
    }
    text.push_str("DHCP=ipv4\n\n[DHCPv4]\n");
    let [a, b, c, d, e, f] = identity.mac.0;
    match identity.client_id {
        id if id == [1, a, b, c, d, e, f] => line(&mut text, "ClientIdentifier", &"mac"),
        [IAID_AND_DUID, a, b, c, d, duid @ ..] if duid.len() > 2 => {
            // networkd writes 255 itself.
            line(&mut text, "ClientIdentifier", &"duid");
            duid_lines(&mut text, [*a, *b, *c, *d], duid);
        }
        _ => return Err("it knows client identifiers by hardware address or DUID only"),
    }
    Ok(text)
}

/// Adds the lines about an IAID and a DUID, whose type networkd writes itself.
pub(super) fn duid_lines(text: &mut String, iaid: [u8; 4], duid: &[u8]) {
    line(text, "IAID", &u32::from_be_bytes(iaid));
    if let [high, low, rest @ ..] = duid {
        let kind = u16::from_be_bytes([*high, *low]);
        // A number is refused (systemd 252).
        let names = ["", "link-layer-time", "vendor", "link-layer", "uuid"];
        match names.get(usize::from(kind)).filter(|name| !name.is_empty()) {
            Some(name) => line(text, "DUIDType", name),
            None => line(text, "DUIDType", &kind),
        }
        line(text, "DUIDRawData", &hex(rest));
    }
}

/// Begins a unit, up to its section about the network.
pub(super) fn unit(identity: &HandOverIdentity<'_>) -> String {
    let mut text = if identity.made_of.is_card() {
        // By address, since the name may become another one; VLANs, which have it too, are no ether.
        format!("[Match]\nMACAddress={}\nType=ether\n\n", identity.mac)
    } else {
        format!("[Match]\nName={}\n\n", identity.interface)
    };
    // The root file system may be behind the address, so not even an expired lease removes it.
    text.push_str("[Network]\nKeepConfiguration=yes\n");
    text
}

pub(super) fn line(text: &mut String, key: &str, value: &dyn Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{key}={value}");
}

/// Returns the name of the keyfile.
pub(super) fn keyfile_name(interface: &str) -> String {
    format!("run/NetworkManager/system-connections/wireboot-{interface}.nmconnection")
}

/// Returns the name of what NetworkManager has noted about an interface.
pub(super) fn device_state_name(index: u32) -> String {
    format!("run/NetworkManager/devices/{index}")
}

/// Returns that note, by which NetworkManager takes the connection for one of its own that is in use, and keeps
/// the address while it asks for it. Without one it leaves an interface with addresses to whoever set them
/// (get_existing_connection in nm-manager.c), and nobody renews the lease.
pub(super) fn device_state(identity: &HandOverIdentity<'_>) -> String {
    let uuid = uuid(identity.mac.0, number(identity.made_of));
    format!("[device]\nmanaged=1\nconnection-uuid={uuid}\n")
}

/// Returns what tells the connection of an interface apart from others of the same address.
fn number(made_of: &MadeOf) -> u16 {
    made_of.vlan.as_ref().map_or(0, |vlan| vlan.id)
}

/// Returns the keyfile of NetworkManager.
pub(super) fn keyfile(identity: &HandOverIdentity<'_>, lease: &Lease) -> String {
    let method = if lease.is_without_dhcp() {
        manual(lease)
    } else {
        format!("method=auto\ndhcp-client-id={}\n", hex(identity.client_id))
    };
    keyfile_of(identity, "ipv4", &method)
}

/// Returns the keyfile with this section of a family.
pub(super) fn keyfile_of(identity: &HandOverIdentity<'_>, family: &str, method: &str) -> String {
    let HandOverIdentity {
        interface,
        mac,
        made_of,
        ..
    } = identity;
    let kind = made_of.vlan.as_ref().map(vlan_kind);
    #[cfg(feature = "bond")]
    let kind = kind.or_else(|| made_of.bond.as_ref().map(bond_kind));
    let kind = kind.unwrap_or_else(|| card_kind("", *mac));
    let text = connection(interface, *mac, number(made_of), &kind);
    [&text, "\n[", family, "]\n", method, "may-fail=false\n"].concat()
}

/// Begins a keyfile; `number` tells connections of the same address apart.
pub(super) fn connection(interface: &str, mac: MacAddress, number: u16, kind: &str) -> String {
    let uuid = uuid(mac.0, number);
    format!("[connection]\nid=wireboot-{interface}\nuuid={uuid}\n{kind}")
}

/// Returns the lines about a card; `more` are further ones about the connection.
pub(super) fn card_kind(more: &str, mac: MacAddress) -> String {
    format!("type=ethernet\n{more}\n[ethernet]\nmac-address={mac}\n")
}

fn vlan_kind(vlan: &Vlan) -> String {
    let Vlan { name, id, parent } = vlan;
    // 1: the order of headers is as in the frame (REORDER_HDR), which is the kernel's default.
    format!("type=vlan\ninterface-name={name}\n\n[vlan]\nflags=1\nid={id}\nparent={parent}\n")
}

/// Returns the lines about a bond.
#[cfg(feature = "bond")]
pub(super) fn bond_kind(bond: &Bond) -> String {
    let mut text = ["type=bond\ninterface-name=", &bond.name, "\n\n[bond]\n"].concat();
    // Commas are between addresses too there.
    for option in bond.options.as_str().split(',') {
        text += &[&option.replace(';', ","), "\n"].concat();
    }
    if let Some(mtu_octets) = bond.mtu_octets {
        text += &["\n[ethernet]\nmtu=", &mtu_octets.to_string(), "\n"].concat();
    }
    text
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

/// Returns the same identifier for the same interface at each boot, of version 8 (RFC 9562); `kind` tells
/// interfaces with the same address apart, in 14 bits.
// NetworkManager tells connections apart by it: a random one would make a new one at each boot.
fn uuid([a, b, c, d, e, f]: [u8; 6], kind: u16) -> String {
    let variant = 0x8000 | (kind & 0x3fff);
    format!("77697265-626f-8f74-{variant:04x}-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
}

/// Returns two digits for each byte, with colons between them.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(":")
}
