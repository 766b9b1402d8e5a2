//! Addresses of IPv4 hosts behind a translator (NAT64, RFC 6052), and how its prefix is found.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::address::network;

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
