//! Addresses: those formed of a hardware address, and prefixes.

use core::net::Ipv6Addr;

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
}
