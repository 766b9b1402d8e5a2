//! Neighbour discovery of IPv6 (RFC 4861 §4): in frames, as a host without IPv6 sends and reads them, and as
//! a socket of ICMPv6 has its messages, without the IPv6 header.
//!
//! ```text
//! IPv6                   | 60 | class, flow label 3 | length 2 | next header 1 | hop limit 1 |
//!                        | source 16 | destination 16 |
//! router solicitation    | 85 | code | checksum 2 | reserved 4 | options … |
//! router advertisement   | 86 | code | checksum 2 | hop limit 1 | M O H Prf 1 | lifetime 2 | times 8 | options … |
//! neighbour solicitation | 87 | code | checksum 2 | reserved 4 | target 16 | options … |
//! neighbour advertisement| 88 | code | checksum 2 | flags 4    | target 16 | options … |
//! option                 | type 1 | length 1, of 8 bytes each | value |
//! ```
//!
//! Left out: everything that only the kernel uses.

use crate::prelude::*;
use alloc::boxed::Box;
use core::fmt;
use core::net::Ipv6Addr;

use super::ethernet::{ETHERTYPE_IPV6, EthernetHeader, MacAddress};
use super::ipv4::checksum;
use crate::ipv6::address::Nat64Prefix;
use crate::reader::{DecodeError, DecodeFault, Reader};
use crate::text::names;

/// Next header of ICMPv6 (RFC 4443 §1).
pub const NEXT_HEADER_ICMPV6: u8 = 58;
/// Type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Hop limit of all messages of neighbour discovery, which no router forwards (RFC 4861 §6.1.2).
pub const HOP_LIMIT: u8 = 255;
/// Multicast address of all nodes, ff02::1, on Ethernet (RFC 2464 §7).
pub const ALL_NODES: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);

/// Type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// The M flag of an advertisement.
const MANAGED: u8 = 0x80;
/// The group of all routers on the link (RFC 4291 §2.7.1).
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Advertisement of an IPv6 router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The router's address, most often link-local.
    pub router: Ipv6Addr,
    /// Whether addresses are assigned by DHCPv6.
    pub managed: bool,
}

impl fmt::Display for RouterAdvertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let managed = if self.managed { " (managed)" } else { "" };
        write!(f, "{}{managed}", self.router)
    }
}

impl RouterAdvertisement {
    /// Decodes a frame; `verify` as in [`Datagram::decode`](super::ipv4::Datagram::decode).
    ///
    /// # Errors
    /// [`DecodeError`] for every frame that is not a valid advertisement (RFC 4861 §6.1.2), but for the
    /// source, which is not link-local from a router whose own such address is still tentative.
    pub fn decode_frame(frame: &[u8], verify: bool) -> Result<Self, DecodeError> {
        let (ethernet, packet) = EthernetHeader::decode(frame)?;
        if ethernet.ethertype != ETHERTYPE_IPV6 {
            return Err(crate::reader::invalid("ethertype", ethernet.ethertype));
        }
        let mut reader = Reader::new(packet);
        reader.take(4, "version")?;
        let len = usize::from(reader.u16("payload length")?);
        let next_header = reader.u8("next header")?;
        let hop_limit = reader.u8("hop limit")?;
        let source: [u8; 16] = reader.array("source")?;
        let destination: [u8; 16] = reader.array("destination")?;
        let message = reader.take(len, "payload")?;
        if next_header != NEXT_HEADER_ICMPV6 {
            return Err(crate::reader::invalid("next header", next_header));
        }
        if hop_limit != HOP_LIMIT {
            return Err(crate::reader::invalid("hop limit", hop_limit));
        }
        if verify && sum(&source, &destination, next_header, message) != 0 {
            return Err(Box::new(DecodeFault::Checksum { field: "ICMPv6" }));
        }
        let mut reader = Reader::new(message);
        match [reader.u8("type")?, reader.u8("code")?] {
            [ROUTER_ADVERTISEMENT, 0] => {}
            [other, _] => return Err(crate::reader::invalid("type", other)),
        }
        reader.take(3, "checksum")?;
        let flags = reader.u8("flags")?;
        reader.take(10, "lifetimes")?;
        Ok(Self {
            router: source.into(),
            managed: flags & MANAGED != 0,
        })
    }
}

/// Returns the frame that asks routers to advertise themselves, from no address (RFC 4861 §4.1).
pub fn router_solicitation(source: MacAddress) -> Vec<u8> {
    from_no_address(
        source,
        ALL_ROUTERS,
        vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0],
    )
}

/// Returns the frame of a multicast message whose sender has no address, with its checksum.
fn from_no_address(source: MacAddress, group: Ipv6Addr, message: Vec<u8>) -> Vec<u8> {
    multicast(
        source,
        Ipv6Addr::UNSPECIFIED,
        group,
        NEXT_HEADER_ICMPV6,
        message,
    )
}

/// Returns the frame of a message of ICMPv6 or UDP to a group, with its checksum.
pub fn multicast(
    source: MacAddress,
    from: Ipv6Addr,
    group: Ipv6Addr,
    next_header: u8,
    mut message: Vec<u8>,
) -> Vec<u8> {
    let (from, to) = (from.octets(), group.octets());
    let [.., a, b, c, d] = to;
    let mut frame = Vec::with_capacity(54 + message.len());
    EthernetHeader {
        // RFC 2464 §7.
        destination: MacAddress([0x33, 0x33, a, b, c, d]),
        source,
        vlan: None,
        ethertype: ETHERTYPE_IPV6,
    }
    .encode(&mut frame);
    // A message fits in a packet.
    let [.., high, low] = message.len().to_be_bytes();
    frame.extend([0x60, 0, 0, 0, high, low, next_header, HOP_LIMIT]);
    frame.extend(from);
    frame.extend(to);
    let checksum = sum(&from, &to, next_header, &message).to_be_bytes();
    // Where ICMPv6 and UDP have their checksum.
    let at = if next_header == NEXT_HEADER_ICMPV6 {
        2
    } else {
        6
    };
    if let Some(field) = message.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum);
    }
    frame.extend(message);
    frame
}

/// Returns the checksum over message and pseudo-header (RFC 8200 §8.1), 0 if the message has a correct
/// one.
fn sum(source: &[u8; 16], destination: &[u8; 16], next_header: u8, message: &[u8]) -> u16 {
    // A message fits in a packet, whose length has 16 bits.
    let [.., high, low] = message.len().to_be_bytes();
    let rest = [0, 0, high, low, 0, 0, 0, next_header];
    checksum(&[source, destination, &rest, message])
}

/// Type of a neighbour solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;

// Types of options: RFC 4861 §4.6, but for those that name another.
const SOURCE_LINK_ADDRESS: u8 = 1;
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
/// RFC 3971 §5.3.2, for RFC 7527.
const NONCE: u8 = 14;
/// RFC 4191 §2.3.
const ROUTE_INFORMATION: u8 = 24;
/// RFC 8106 §5.1 and §5.2.
const RECURSIVE_DNS: u8 = 25;
const DNS_SEARCH_LIST: u8 = 31;
/// RFC 8910 §2.3.
const CAPTIVE_PORTAL: u8 = 37;
/// RFC 8781 §4.
const PREF64: u8 = 38;

/// The O flag of an advertisement.
const OTHER: u8 = 0x40;
/// Flags of a prefix: it is on the link, and addresses may be formed in it.
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// What a router advertises; times in seconds, of which `u32::MAX` never ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement<'a> {
    /// Addresses are assigned by DHCPv6 (M).
    pub managed: bool,
    /// Other configuration is known to DHCPv6 (O).
    pub other: bool,
    /// For how long it is a default router; 0 if it is none.
    pub lifetime: u16,
    /// Its preference as a default router.
    pub preference: Preference,
    options: &'a [u8],
}

/// An option of an advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouterOption {
    /// The MTU of the link for IPv6, in bytes.
    Mtu(u32),
    /// A prefix of the link.
    Prefix(Prefix),
    /// A network behind the router.
    Route(RouteInformation),
    /// Resolvers and their lifetime.
    Resolvers(Vec<Ipv6Addr>, u32),
    /// Domains that names are looked up in, and their lifetime.
    Domains(Vec<String>, u32),
    /// Where a captive portal is asked about (RFC 8910), a URI.
    CaptivePortal(String),
    /// The prefix behind which hosts of IPv4 are reached (RFC 8781), and its lifetime.
    Nat64(Nat64Prefix, u32),
}

/// The preference of a router (RFC 4191 §2.1), in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Preference {
    /// Used where there is no other.
    Low,
    /// The usual one.
    #[default]
    Medium,
    /// Used before others.
    High,
}

impl Preference {
    /// Reads the two bits; none if they are the reserved value.
    const fn read(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Medium),
            1 => Some(Self::High),
            3 => Some(Self::Low),
            _ => None,
        }
    }
}

/// A prefix of the link (RFC 4861 §4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The network; bits beyond the prefix may be set.
    pub network: Ipv6Addr,
    /// Its bits, 0 to 128.
    pub len: u8,
    /// All of it is reached without a router.
    pub on_link: bool,
    /// Addresses may be formed in it.
    pub autonomous: bool,
    /// For how long it is on the link, and an address in it is valid, in seconds.
    pub valid: u32,
    /// For how long an address in it is preferred, in seconds.
    pub preferred: u32,
}

/// A network behind a router (RFC 4191 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInformation {
    /// The network; bits beyond the prefix may be set.
    pub network: Ipv6Addr,
    /// Its bits, 0 to 128.
    pub len: u8,
    /// The preference of this router for it.
    pub preference: Preference,
    /// For how long, in seconds; 0 ends it.
    pub lifetime: u32,
}

impl<'a> Advertisement<'a> {
    /// Decodes a message, from its type on.
    ///
    /// # Errors
    /// [`DecodeError`] for what a host must discard (RFC 4861 §6.1.2); source, hop limit and checksum are
    /// not part of the message.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        let header: [u8; 16] = reader.array("router advertisement")?;
        let [ROUTER_ADVERTISEMENT, 0, _, _, _, flags, high, low, ..] = header else {
            let [kind, ..] = header;
            return Err(crate::reader::invalid("type", kind));
        };
        let options = reader.rest();
        // Read once to the end: a message with one option of length 0 is discarded whole.
        while next_option(&mut reader)?.is_some() {}
        Ok(Self {
            managed: flags & MANAGED != 0,
            other: flags & OTHER != 0,
            lifetime: u16::from_be_bytes([high, low]),
            // The reserved value is taken as medium (RFC 4191 §2.2).
            preference: Preference::read(flags >> 3 & 3).unwrap_or_default(),
            options,
        })
    }

    /// Returns the options that are known; a malformed one is skipped alone.
    pub fn options(&self) -> impl Iterator<Item = RouterOption> {
        let mut reader = Reader::new(self.options);
        core::iter::from_fn(move || {
            while let Ok(Some((kind, value))) = next_option(&mut reader) {
                // What a later version adds to an option is no reason to lose the others.
                let option = RouterOption::decode(kind, value);
                if option.is_some() {
                    return option;
                }
            }
            None
        })
    }
}

impl RouterOption {
    /// Decodes the value behind type and length, 6 bytes or more.
    fn decode(kind: u8, value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<6>()?;
        let [len, flags, a, b, c, d] = *head;
        let number = u32::from_be_bytes([a, b, c, d]);
        let is_prefix_len = len <= 128;
        Some(match kind {
            MTU => Self::Mtu(number),
            PREFIX_INFORMATION if is_prefix_len => {
                let (times, network) = rest.split_first_chunk::<8>()?;
                let [a, b, c, d, ..] = *times;
                Self::Prefix(Prefix {
                    network: Ipv6Addr::from(*network.first_chunk::<16>()?),
                    len,
                    on_link: flags & ON_LINK != 0,
                    autonomous: flags & AUTONOMOUS != 0,
                    valid: number,
                    preferred: u32::from_be_bytes([a, b, c, d]),
                })
            }
            // 0, 8 or 16 bytes, as the length of the prefix needs.
            ROUTE_INFORMATION if is_prefix_len && rest.len() * 8 >= len.into() => {
                let mut network = [0; 16];
                for (to, from) in network.iter_mut().zip(rest) {
                    *to = *from;
                }
                Self::Route(RouteInformation {
                    network: network.into(),
                    len,
                    // One with the reserved preference is ignored (RFC 4191 §2.3).
                    preference: Preference::read(flags >> 3 & 3)?,
                    lifetime: number,
                })
            }
            RECURSIVE_DNS => {
                let (addresses, _) = rest.as_chunks::<16>();
                let addresses = addresses.iter().map(|bytes| Ipv6Addr::from(*bytes));
                Self::Resolvers(addresses.collect(), number)
            }
            DNS_SEARCH_LIST => Self::Domains(domains(rest), number),
            CAPTIVE_PORTAL => Self::CaptivePortal(names::text(value)?),
            // 13 bits of lifetime, in units of 8 s, 3 of the length, and the prefix, whose last bits are
            // zero.
            PREF64 => {
                let scaled = u16::from_be_bytes([len, flags]);
                let (prefix, _) = value.get(2..)?.split_first_chunk::<12>()?;
                let prefix = Nat64Prefix::new(*prefix, scaled & 7)?;
                Self::Nat64(prefix, u32::from(scaled & !7))
            }
            _ => return None,
        })
    }
}

/// Reads the next option, without its type and length; none at the end.
fn next_option<'a>(reader: &mut Reader<'a>) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
    if reader.is_empty() {
        return Ok(None);
    }
    let kind = reader.u8("option")?;
    let len = usize::from(reader.u8("option length")?) * 8;
    let len = len.checked_sub(2);
    // RFC 4861 §4.6: a message with an option of length 0 is discarded.
    let len = len.ok_or_else(|| crate::reader::invalid("option length", 0u8))?;
    Ok(Some((kind, reader.take(len, "option")?)))
}

/// Returns the domain names in a list of them, each of labels behind their length, without pointers (RFC
/// 8106 §5.2, RFC 8415 §10). What is not a name is left out, and a list that is cut off ends there.
pub fn domains(bytes: &[u8]) -> Vec<String> {
    let mut domains = Vec::new();
    let mut name = String::new();
    let mut reader = Reader::new(bytes);
    while let Ok(len) = reader.u8("label") {
        if len == 0 {
            // Padding is empty names.
            if names::is_host_name(&name) {
                domains.push(core::mem::take(&mut name));
            }
            name.clear();
            continue;
        }
        let Ok(label) = reader.take(len.into(), "label") else {
            break;
        };
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label));
    }
    domains
}

/// Returns the message that asks routers to advertise themselves. The kernel computes its checksum.
pub fn router_solicitation_message(MacAddress(mac): MacAddress) -> Vec<u8> {
    let mut message = vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend([SOURCE_LINK_ADDRESS, 1]);
    message.extend(mac);
    message
}

/// What a neighbour says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborMessage {
    /// The address that it has, or in a solicitation that it asks for.
    pub target: Ipv6Addr,
    /// Whether it asks.
    pub is_solicitation: bool,
    /// The number by which it knows its own messages again (RFC 7527).
    pub nonce: Option<[u8; 6]>,
}

impl NeighborMessage {
    /// Decodes a message, from its type on.
    ///
    /// # Errors
    /// [`DecodeError`] for what a host must discard (RFC 4861 §7.1), as [`Advertisement::decode`].
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        let is_solicitation = match [reader.u8("type")?, reader.u8("code")?] {
            [NEIGHBOR_SOLICITATION, 0] => true,
            [NEIGHBOR_ADVERTISEMENT, 0] => false,
            [other, _] => return Err(crate::reader::invalid("type", other)),
        };
        reader.take(6, "flags")?;
        let target = Ipv6Addr::from(reader.array::<16>("target")?);
        if target.is_multicast() {
            return Err(crate::reader::invalid("target", 0xff_u8));
        }
        let mut nonce = None;
        while let Some((kind, value)) = next_option(&mut reader)? {
            if kind == NONCE {
                nonce = value.try_into().ok();
            }
        }
        Ok(Self {
            target,
            is_solicitation,
            nonce,
        })
    }
}

/// Returns the frame that asks whether somebody has `target` (RFC 4862 §5.4.2), with a number by which its
/// sender knows it again (RFC 7527 §4.1).
pub fn address_probe(source: MacAddress, target: Ipv6Addr, nonce: [u8; 6]) -> Vec<u8> {
    let mut message = vec![NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([NONCE, 1]);
    message.extend(nonce);
    from_no_address(source, solicited_node(target), message)
}

/// Returns the group that an address is asked for in (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);

    /// An advertisement of fe80::1.
    fn advertisement(flags: u8) -> Vec<u8> {
        let mut frame = router_solicitation(OURS);
        frame[18..20].copy_from_slice(&[0, 16]);
        frame[22..38].copy_from_slice(&Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
        frame[54..58].copy_from_slice(&[ROUTER_ADVERTISEMENT, 0, 0, 0]);
        frame.extend([0; 8]);
        frame[59] = flags;
        with_sum(frame)
    }

    fn with_sum(mut frame: Vec<u8>) -> Vec<u8> {
        frame[56..58].fill(0);
        let [source, destination] = [22, 38].map(|at| frame[at..at + 16].try_into().unwrap());
        let sum = sum(&source, &destination, NEXT_HEADER_ICMPV6, &frame[54..]).to_be_bytes();
        frame[56..58].copy_from_slice(&sum);
        frame
    }

    #[test]
    fn an_advertisement_names_the_router_and_whether_it_is_managed() {
        for (flags, text) in [(0x80, "fe80::1 (managed)"), (0x40, "fe80::1")] {
            let frame = advertisement(flags);
            let read = RouterAdvertisement::decode_frame(&frame, true).unwrap();
            assert_eq!(read.to_string(), text);
            for len in 0..frame.len() {
                assert!(RouterAdvertisement::decode_frame(&frame[..len], true).is_err());
            }
        }
    }

    #[test]
    fn a_frame_that_a_host_must_discard_is_no_advertisement() {
        for (at, byte, what) in [
            (13, 0, "another protocol"),
            (20, 17, "UDP"),
            (21, 254, "forwarded"),
            (54, 133, "a solicitation"),
            (55, 1, "a code"),
        ] {
            let mut frame = advertisement(0);
            frame[at] = byte;
            assert!(
                RouterAdvertisement::decode_frame(&with_sum(frame), true).is_err(),
                "{what}"
            );
        }
        let mut frame = advertisement(0);
        frame[59] = 0x80;
        let error = Box::new(DecodeFault::Checksum { field: "ICMPv6" });
        assert_eq!(RouterAdvertisement::decode_frame(&frame, true), Err(error));
        assert!(RouterAdvertisement::decode_frame(&frame, false).is_ok());
    }

    #[test]
    fn a_solicitation_goes_to_all_routers_with_a_correct_sum() {
        let frame = router_solicitation(OURS);
        assert_eq!(frame.len(), 62);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 2]);
        // The sum of the constant fields (RFC 1071).
        assert_eq!(frame[54..58], [133, 0, 0x7b, 0xb8]);
    }

    fn option(kind: u8, value: &[u8]) -> Vec<u8> {
        let len = (value.len() + 2).div_ceil(8);
        let mut option = vec![kind, len.try_into().unwrap()];
        option.extend_from_slice(value);
        option.resize(len * 8, 0);
        option
    }

    fn address(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    /// An advertisement with every option.
    fn full() -> Vec<u8> {
        // M and O, preference high, 1800 s.
        let mut message = vec![134, 0, 0, 0, 64, 0xc8, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend(option(1, &[2, 0, 0, 0, 0, 1]));
        let prefix = [
            &[64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 7, 8, 0, 0, 0, 0][..],
            &address("2001:db8:1::"),
        ];
        message.extend(option(3, &prefix.concat()));
        message.extend(option(5, &[0, 0, 0, 0, 5, 0xdc]));
        let route = [&[48, 0x18, 0, 0, 0, 60][..], &address("2001:db8:2::")[..8]];
        message.extend(option(24, &route.concat()));
        let resolver = [&[0, 0, 0xff, 0xff, 0xff, 0xff][..], &address("fe80::1")];
        message.extend(option(25, &resolver.concat()));
        let search = b"\0\0\0\0\0\x3c\x03lab\x07example\0\x04boot\0";
        message.extend(option(31, search));
        message.extend(option(37, b"https://portal.example/api"));
        // 600 s, 96 bits.
        let translator = [&[2, 0x58][..], &address("64:ff9b::")[..12]].concat();
        message.extend(option(38, &translator));
        message
    }

    #[test]
    fn all_options_of_an_advertisement_are_read() {
        let message = full();
        let read = Advertisement::decode(&message).unwrap();
        assert!(read.managed && read.other);
        assert_eq!((read.lifetime, read.preference), (1800, Preference::High));
        let expected = [
            RouterOption::Prefix(Prefix {
                network: "2001:db8:1::".parse().unwrap(),
                len: 64,
                on_link: true,
                autonomous: true,
                valid: 3600,
                preferred: 1800,
            }),
            RouterOption::Mtu(1500),
            RouterOption::Route(RouteInformation {
                network: "2001:db8:2::".parse().unwrap(),
                len: 48,
                preference: Preference::Low,
                lifetime: 60,
            }),
            RouterOption::Resolvers(vec!["fe80::1".parse().unwrap()], u32::MAX),
            RouterOption::Domains(vec!["lab.example".to_owned(), "boot".to_owned()], 60),
            RouterOption::CaptivePortal("https://portal.example/api".to_owned()),
            RouterOption::Nat64(
                Nat64Prefix::new([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0], 0).unwrap(),
                600,
            ),
        ];
        let options: Vec<_> = read.options().collect();
        assert_eq!(options, expected);
    }

    #[test]
    fn what_a_host_must_discard_is_no_advertisement() {
        for (at, byte) in [(0, 133), (1, 1), (17, 0), (17, 200)] {
            let mut message = full();
            message[at] = byte;
            assert!(Advertisement::decode(&message).is_err(), "{at} {byte}");
        }
        for len in 0..16 {
            assert!(Advertisement::decode(&full()[..len]).is_err(), "{len}");
        }
        let message = full();
        let bare = Advertisement::decode(&message[..16]).unwrap();
        assert_eq!(bare.options().count(), 0);
    }

    #[test]
    fn a_malformed_option_leaves_the_others() {
        let mut message = full();
        // A prefix of 129 bits, an MTU option that is too short is impossible, and reserved preferences.
        message[26] = 129;
        message[5] |= 0x18;
        message[5] &= !8;
        let read = Advertisement::decode(&message).unwrap();
        assert_eq!(read.options().next(), Some(RouterOption::Mtu(1500)));
        assert_eq!(read.preference, Preference::Medium);
        let mut message = full()[..16].to_vec();
        // /65 needs 16 bytes, and none has more than 128 bits.
        message.extend(option(24, &[65, 0, 0, 0, 0, 60, 1, 2, 3, 4, 5, 6, 7, 8]));
        message.extend(option(24, &[48, 0x10, 0, 0, 0, 60, 1, 2, 3, 4, 5, 6, 7, 8]));
        message.extend(option(24, &[0, 0, 0, 0, 0, 60]));
        let read = Advertisement::decode(&message).unwrap();
        let options: Vec<_> = read.options().collect();
        assert!(matches!(&options[..], [RouterOption::Route(route)] if route.len == 0));
    }

    #[test]
    fn a_list_of_names_ends_where_it_is_cut_off() {
        assert_eq!(domains(b"\x01a\x01b\0\0\0\x01c\0"), ["a.b", "c"]);
        assert_eq!(domains(b"\x01a\0\x05ab"), ["a"]);
        assert_eq!(domains(b"\x03a b\0\xc0\x00\0\x01c\0"), ["c"; 0]);
        assert_eq!(domains(b"\x03a b\0\x01c\0"), ["c"]);
        assert_eq!(domains(b"\x01a"), [""; 0]);
    }

    #[test]
    fn a_probe_is_asked_for_by_nobody_and_known_again() {
        let mac = MacAddress([0x52, 0x54, 0, 1, 2, 3]);
        let target = "fe80::5054:ff:fe01:203".parse().unwrap();
        let frame = address_probe(mac, target, [1, 2, 3, 4, 5, 6]);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 1, 2, 3]);
        assert_eq!(frame[22..38], [0; 16]);
        assert_eq!(frame[38..54], address("ff02::1:ff01:203"));
        let read = NeighborMessage::decode(&frame[54..]).unwrap();
        assert_eq!(read.target, target);
        assert!(read.is_solicitation);
        assert_eq!(read.nonce, Some([1, 2, 3, 4, 5, 6]));
        let mut answer = frame[54..].to_vec();
        answer[0] = 136;
        assert!(!NeighborMessage::decode(&answer).unwrap().is_solicitation);
        answer[8] = 0xff;
        assert!(NeighborMessage::decode(&answer).is_err());
    }

    proptest! {
        #[test]
        fn no_message_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..200usize) {
            let _ = Advertisement::decode(&bytes).map(|read| read.options().count());
            let _ = NeighborMessage::decode(&bytes);
            let mut message = full();
            message.truncate(cut);
            message.extend(bytes);
            let _ = Advertisement::decode(&message).map(|read| read.options().count());
        }
    }
}
