//! The interfaces below that of the lease, where it was made here: how systemd-networkd and NetworkManager
//! make the same VLAN and bond, so that they keep them.

use super::managers::{
    HandOverIdentity, bond_kind, card_kind, connection, keyfile_name, unit_name,
};
use crate::config::{Bond, MadeOf, Vlan};

/// Tell the connections of a bond and of its members from that of a VLAN, by which they are distinct
/// where their addresses are the same.
const BOND: u16 = 0x1000;
const MEMBER: u16 = 0x2000;

/// Returns the name of the file with the properties of an interface to be made.
fn netdev_name(interface: &str) -> String {
    ["run/systemd/network/05-wireboot-", interface, ".netdev"].concat()
}

/// Returns the name for the members of a bond, which is the name of no interface.
fn members_of(bond: &Bond) -> String {
    [&bond.name, ":members"].concat()
}

/// Returns the names of all files below `interface`.
pub(super) fn below_names(interface: &str, of: &MadeOf) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(Vlan { parent, .. }) = &of.vlan {
        names.extend([
            netdev_name(interface),
            unit_name(parent),
            keyfile_name(parent),
        ]);
    }
    if let Some(bond) = &of.bond {
        names.extend([netdev_name(&bond.name), unit_name(&members_of(bond))]);
        names.extend(of.members.iter().map(|(name, _)| keyfile_name(name)));
    }
    names
}

/// Returns the files of systemd-networkd, by name and content.
pub(super) fn below_units(identity: &HandOverIdentity<'_>) -> Vec<(String, String)> {
    let (interface, of) = (identity.interface, identity.made_of);
    let mut files = Vec::new();
    if let Some(Vlan { id, parent, .. }) = &of.vlan {
        let id = id.to_string();
        let netdev = [
            "[NetDev]\nName=",
            interface,
            "\nKind=vlan\n\n[VLAN]\nId=",
            &id,
            "\n",
        ];
        files.push((netdev_name(interface), netdev.concat()));
        // It has no address, but without a unit another may match it.
        let mac = identity.mac.to_string();
        let (key, value, kind) = match &of.bond {
            Some(bond) => ("Name=", &bond.name, ""),
            None => ("MACAddress=", &mac, "\nType=ether"),
        };
        let (network, rest) = ("\n\n[Network]\nVLAN=", "\nLinkLocalAddressing=no\n");
        let unit = ["[Match]\n", key, value, kind, network, interface, rest];
        files.push((unit_name(parent), unit.concat()));
    }
    let Some(bond) = &of.bond else {
        return files;
    };
    let mut netdev = ["[NetDev]\nName=", &bond.name, "\nKind=bond\n"].concat();
    if let Some(mtu_octets) = bond.mtu_octets {
        netdev += &["MTUBytes=", &mtu_octets.to_string(), "\n"].concat();
    }
    netdev += "\n[Bond]\n";
    netdev += &bond.options.networkd_lines();
    files.push((netdev_name(&bond.name), netdev));
    // By the address of the card, since all have the same one as members.
    let macs: Vec<_> = of.members.iter().map(|(_, mac)| mac.to_string()).collect();
    let (cards, network) = (macs.join(" "), "\nType=ether\n\n[Network]\nBond=");
    let unit = [
        "[Match]\nPermanentMACAddress=",
        &cards,
        network,
        &bond.name,
        "\n",
    ];
    files.push((unit_name(&members_of(bond)), unit.concat()));
    files
}

/// Returns the files of NetworkManager, by name and content.
pub(super) fn below_keyfiles(identity: &HandOverIdentity<'_>) -> Vec<(String, String)> {
    let of = identity.made_of;
    let mut files = Vec::new();
    if let Some(Vlan { parent, .. }) = &of.vlan {
        let (kind, number) = match &of.bond {
            Some(bond) => (bond_kind(bond), BOND),
            None => (card_kind("", identity.mac), 0),
        };
        let text = connection(parent, identity.mac, number, &kind)
            + "\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n";
        files.push((keyfile_name(parent), text));
    }
    if let Some(bond) = &of.bond {
        let master = ["master=", &bond.name, "\nslave-type=bond\n"].concat();
        for (name, mac) in &of.members {
            let text = connection(name, *mac, MEMBER, &card_kind(&master, *mac));
            files.push((keyfile_name(name), text));
        }
    }
    files
}
