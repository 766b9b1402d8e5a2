//! Addresses: those formed of a hardware address, prefixes, and those of IPv4 hosts behind a translator
//! (NAT64, RFC 6052), and how its prefix is found.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::ethernet::MacAddress;

/// The prefix of link-local addresses as hosts form them (RFC 4291 §2.5.6).
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// Bits of a prefix that an interface identifier of 64 bits fits (RFC 4862 §5.5.3 d).
pub const SUBNET_LEN: u8 = 64;

/// Returns the address of a hardware address in a network of 64 bits (RFC 4291, appendix A).
pub fn eui64(network: Ipv6Addr, MacAddress([a, b, c, d, e, f]): MacAddress) -> Ipv6Addr {
    let [n0, n1, n2, n3, n4, n5, n6, n7, ..] = network.octets();
    // The bit for "globally unique" is inverted.
    Ipv6Addr::from([
        n0,
        n1,
        n2,
        n3,
        n4,
        n5,
        n6,
        n7,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

/// Returns the link-local address of a hardware address.
pub fn link_local(mac: MacAddress) -> Ipv6Addr {
    eui64(LINK_LOCAL, mac)
}

/// Returns the network of an address: without the bits beyond the prefix.
pub const fn network(address: Ipv6Addr, prefix_len: u8) -> Ipv6Addr {
    let beyond = 128_u32.saturating_sub(prefix_len as u32);
    // A shift by all 128 bits is none in Rust.
    let mask = u128::MAX.checked_shl(beyond);
    Ipv6Addr::from_bits(match mask {
        Some(mask) => address.to_bits() & mask,
        None => 0,
    })
}

/// Returns whether an address can be that of a host elsewhere.
pub const fn is_host(address: Ipv6Addr) -> bool {
    // Those of IPv4 are for programs, and never on a wire (RFC 4291 §2.5.5.2).
    let is_ipv4 = address.to_ipv4_mapped().is_some();
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() && !is_ipv4
}

/// The name whose addresses are known (RFC 7050 §8.2), so that a translated one shows the prefix.
pub const KNOWN_NAME: &str = "ipv4only.arpa";
/// Its addresses.
const KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// The lengths of prefixes, by their code in router advertisements (RFC 8781 §4).
const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// A prefix that a translator has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64Prefix {
    network: Ipv6Addr,
    /// Its bits, one of [`LENGTHS`].
    len: u8,
}

impl Nat64Prefix {
    /// Returns the prefix of an option of router advertisements: its first 96 bits, and the code of its
    /// length; none if there is no such length.
    pub fn new([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12], code: u16) -> Option<Self> {
        let len = *LENGTHS.get(usize::from(code))?;
        let prefix = Ipv6Addr::from([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
        Some(Self {
            network: network(prefix, len),
            len,
        })
    }

    /// Returns the prefix of a translated address of [`KNOWN_NAME`].
    pub fn of_known_name(translated: Ipv6Addr) -> Option<Self> {
        LENGTHS.into_iter().find_map(|len| {
            let prefix = Self {
                network: network(translated, len),
                len,
            };
            let is_it = |known| prefix.translated(known) == translated;
            KNOWN.into_iter().any(is_it).then_some(prefix)
        })
    }

    /// Returns the address by which a host of IPv4 is reached (RFC 6052 §2.2): behind the prefix, but for the
    /// bits 64 to 71, which stay zero.
    pub fn translated(self, host: Ipv4Addr) -> Ipv6Addr {
        let host = u128::from(host.to_bits());
        let len = u32::from(self.len);
        let at = |begin: u32| host << (96 - begin);
        let embedded = if len >= 64 {
            at(if len == 96 { len } else { len + 8 })
        } else {
            // Those before the gap, and those behind it.
            let before = at(len) & !(u128::MAX >> 64);
            let behind = at(len) & (u128::MAX >> 64);
            before | behind >> 8
        };
        Ipv6Addr::from_bits(self.network.to_bits() | embedded)
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_formed_of_the_network_and_the_hardware_address() {
        // The example of RFC 4291, appendix A, and one with the bit set.
        for (mac, expected) in [
            ("34:56:78:9a:bc:de", "fe80::3656:78ff:fe9a:bcde"),
            ("52:54:00:12:34:56", "fe80::5054:ff:fe12:3456"),
        ] {
            let address = link_local(mac.parse().unwrap());
            assert_eq!(address.to_string(), expected);
        }
        let network = "2001:db8:1:2:ffff::".parse().unwrap();
        let address = eui64(network, "52:54:00:12:34:56".parse().unwrap());
        assert_eq!(address.to_string(), "2001:db8:1:2:5054:ff:fe12:3456");
    }

    #[test]
    fn a_network_has_no_bits_beyond_its_prefix() {
        let address = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        for (len, expected) in [
            (0, "::"),
            (48, "2001:db8:1::"),
            (63, "2001:db8:1:2::"),
            (127, "2001:db8:1:2:3:4:5:6"),
            (128, "2001:db8:1:2:3:4:5:6"),
        ] {
            assert_eq!(network(address, len).to_string(), expected, "{len}");
        }
    }

    /// The table of RFC 6052 §2.4.
    const EXAMPLES: [(&str, u16, &str); 6] = [
        ("2001:db8::", 5, "2001:db8:c000:221::"),
        ("2001:db8:100::", 4, "2001:db8:1c0:2:21::"),
        ("2001:db8:122::", 3, "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::", 2, "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::", 1, "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::", 0, "2001:db8:122:344::c000:221"),
    ];

    fn prefix(text: &str, code: u16) -> Option<Nat64Prefix> {
        let octets = text.parse::<Ipv6Addr>().unwrap().octets();
        Nat64Prefix::new(*octets.first_chunk().unwrap(), code)
    }

    #[test]
    fn a_host_stands_behind_a_prefix_of_any_length() {
        for (text, code, expected) in EXAMPLES {
            let prefix = prefix(text, code).unwrap();
            let host = Ipv4Addr::new(192, 0, 2, 33);
            assert_eq!(
                prefix.translated(host),
                expected.parse::<Ipv6Addr>().unwrap()
            );
            for known in KNOWN {
                let found = Nat64Prefix::of_known_name(prefix.translated(known));
                assert_eq!(found, Some(prefix), "{text}");
            }
        }
        assert_eq!(prefix("64:ff9b::", 0).unwrap().to_string(), "64:ff9b::/96");
        // Bits behind the prefix are none of it, and there are no more lengths.
        assert_eq!(
            prefix("2001:db8:ff::", 5).unwrap().to_string(),
            "2001:db8::/32"
        );
        assert_eq!(prefix("64:ff9b::", 6), None);
        for other in ["2001:db8::1", "::", "64:ff9b::c000:2aa"] {
            assert_eq!(Nat64Prefix::of_known_name(other.parse().unwrap()), None);
        }
    }
}
