//! Protocols, networks and ports by the names and short forms that pcap-filter(7) has for them.

use super::compile::{Network, Primitive, Transport};
use super::relation;
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_RARP, MacAddress,
};

/// Protocols over IP by name: their number, and whether they are of IPv4 alone, or of IPv6.
pub(super) const PROTOCOLS: [(&str, u8, Network); 12] = [
    ("icmp", 1, Network::Ip),
    ("igmp", 2, Network::Ip),
    ("tcp", 6, Network::Any),
    ("igrp", 9, Network::Ip),
    ("udp", 17, Network::Any),
    ("esp", 50, Network::Any),
    ("ah", 51, Network::Any),
    ("icmp6", 58, Network::Ip6),
    ("pim", 103, Network::Any),
    ("vrrp", 112, Network::Ip),
    ("carp", 112, Network::Ip),
    ("sctp", 132, Network::Any),
];

/// The SAP of spanning trees.
pub(super) const STP: u8 = 0x42;

/// Returns the headers that addresses behind this word are searched in; none if they are in none.
pub(super) fn network(protocol: Option<&str>) -> Option<Network> {
    match protocol {
        None => Some(Network::Any),
        Some("ip") => Some(Network::Ip),
        Some("ip6") => Some(Network::Ip6),
        Some("arp") => Some(Network::Arp),
        Some("rarp") => Some(Network::Rarp),
        Some(_) => None,
    }
}

/// Returns the test for a protocol by itself.
pub(super) fn alone(protocol: &str) -> Primitive {
    match protocol {
        "tcp" => return Primitive::Transport(Transport::Tcp),
        "udp" => return Primitive::Transport(Transport::Udp),
        _ => {}
    }
    let known = PROTOCOLS.iter().find(|(name, ..)| *name == protocol);
    match known {
        Some((_, number, network)) => Primitive::IpProtocol(*network, *number),
        None => Primitive::EtherType(ethertype(protocol).unwrap_or_default()),
    }
}

/// Returns the EtherType of that name or number, or the SAP.
pub(super) fn ethertype(word: &str) -> Option<u16> {
    Some(match word {
        "ip" => ETHERTYPE_IPV4,
        "ip6" => ETHERTYPE_IPV6,
        "arp" => ETHERTYPE_ARP,
        "rarp" => ETHERTYPE_RARP,
        "decnet" => 0x6003,
        "lat" => 0x6004,
        "moprc" => 0x6002,
        "mopdl" => 0x6001,
        "sca" => 0x6007,
        "pppoed" => 0x8863,
        "stp" => STP.into(),
        number => u16::try_from(relation::number(number)?).ok()?,
    })
}

/// Reads an IPv4 address of one to four numbers, and the mask of those.
pub(super) fn short_network(text: &str) -> Option<(u32, u32)> {
    let mut bits = 0;
    let mut count = 0;
    for part in text.split('.') {
        count += 1;
        bits = (bits << 8) | u32::from(part.parse::<u8>().ok()?);
    }
    let missing = 8 * 4_u32.checked_sub(count)?;
    let shifted = |bits: u32| bits.checked_shl(missing).unwrap_or(0);
    Some((shifted(bits), shifted(u32::MAX)))
}

/// Parses a port number, or the name of a port that a boot uses.
pub(super) fn port(word: &str) -> Option<u16> {
    Some(match word {
        // tcpdump looks names up in /etc/services, which an initramfs does not have.
        "bootps" => 67,
        "bootpc" => 68,
        "tftp" => 69,
        "domain" => 53,
        "http" => 80,
        "ntp" => 123,
        "https" => 443,
        "ssh" => 22,
        "syslog" => 514,
        "dhcpv6-client" => 546,
        "dhcpv6-server" => 547,
        "nfs" => 2049,
        "iscsi-target" => 3260,
        number => u16::try_from(relation::number(number)?).ok()?,
    })
}

/// Parses a hardware address, also as twelve digits or in three groups of four.
pub(super) fn mac(word: &str) -> Option<MacAddress> {
    let digits = word.replace('.', "");
    if digits.len() != 12 {
        return word.parse().ok();
    }
    let number = u64::from_str_radix(&digits, 16).ok()?;
    let [_, _, address @ ..] = number.to_be_bytes();
    Some(MacAddress(address))
}
