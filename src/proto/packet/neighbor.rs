//! Messages of neighbour discovery (RFC 4861 §4) as a socket of ICMPv6 has them: without the IPv6 header.
//!
//! ```text
//! router solicitation    | 85 | code | checksum 2 | reserved 4 | options … |
//! router advertisement   | 86 | code | checksum 2 | hop limit 1 | M O H Prf 1 | lifetime 2 | times 8 | options … |
//! neighbour solicitation | 87 | code | checksum 2 | reserved 4 | target 16 | options … |
//! neighbour advertisement| 88 | code | checksum 2 | flags 4    | target 16 | options … |
//! option                 | type 1 | length 1, of 8 bytes each | value |
//! ```
//!
//! Left out: everything that only the kernel uses.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::ethernet::MacAddress;
use super::icmpv6::{MANAGED, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION, from_no_address};
use crate::ipv6::nat64::Nat64Prefix;
use crate::reader::{DecodeError, Reader};
use crate::text::names;

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
pub fn router_solicitation(MacAddress(mac): MacAddress) -> Vec<u8> {
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
