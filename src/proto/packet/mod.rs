//! Packets on the wire: headers and messages, decoded and encoded without state.
//!
//! `decode` never panics and never reads past its input, whatever it is given; `encode` writes
//! what `decode` reads.

pub mod arp;
pub mod dhcp;
pub mod ethernet;
pub mod ipv4;
pub mod option;
pub mod pxe;
pub mod switch_frame;
pub mod tftp;
pub mod udp;

/// Returns the Internet checksum (RFC 1071) over all `parts` as if they stood in one row; every
/// part but the last has an even length.
///
/// Over bytes that include a right checksum the result is 0.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        let (pairs, odd) = part.as_chunks::<2>();
        for pair in pairs {
            sum += u32::from(u16::from_be_bytes(*pair));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        for octet in odd {
            sum += u32::from(*octet) << 8;
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !u16::try_from(sum & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_example_in_rfc_1071() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&octets]), !0xddf2);
        assert_eq!(checksum(&[&octets[..4], &octets[4..]]), !0xddf2);
        assert_eq!(checksum(&[&octets, &(!0xddf2_u16).to_be_bytes()]), 0);
    }
}
