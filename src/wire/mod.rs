//! Octets ⇄ values: no state, no clock, no I/O.
//!
//! `decode` never panics and never reads past its input, whatever it is given; `encode` writes
//! what `decode` reads.

#![forbid(unsafe_code)]

pub mod arp;
pub mod dhcp;
pub mod ethernet;
pub mod fdt;
pub mod frame;
pub mod grammar;
pub mod ipv4;
pub mod neighbour;
pub mod netlink;
pub mod option;
pub mod pcap;
pub mod pcapng;
pub mod pxe;
pub mod route;
pub mod safe;
pub mod tftp;
pub mod tpm;
pub mod udp;
#[cfg(feature = "tls")]
pub mod x509;

/// What made octets undecodable: the field, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside `field`.
    #[error("{field} is cut off: {needed} octets needed, {left} left")]
    Truncated {
        /// The field's name in its specification.
        field: &'static str,
        /// Octets that the field takes.
        needed: usize,
        /// Octets that were left.
        left: usize,
    },
    /// `field` has a value that its specification does not allow here.
    #[error("{field} is {value}, which does not fit here")]
    Invalid {
        /// The field's name in its specification.
        field: &'static str,
        /// The value found.
        value: u64,
    },
    /// The packet is a part of one, which nobody puts together here.
    #[error("it came in fragments, which are not put together")]
    Fragment,
    /// The checksum over `field` is wrong.
    #[error("the checksum of {field} is wrong")]
    Checksum {
        /// The header that the sum covers.
        field: &'static str,
    },
}

impl DecodeError {
    /// Returns the error for a value that does not fit in `field`.
    pub(crate) fn invalid(field: &'static str, value: impl Into<u64>) -> Self {
        Self::Invalid {
            field,
            value: value.into(),
        }
    }
}

/// Hands out octets in order, each slice of the length asked for or an error.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `octets`.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// Takes the next `len` octets.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left; nothing is taken then.
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated {
                field,
                needed: len,
                left: self.rest.len(),
            })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` octets as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    /// Takes one octet.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// Takes two octets in network order.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Takes four octets in network order.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Returns what has not been taken.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns whether everything has been taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Returns the Internet checksum (RFC 1071) over all `parts` as if they stood in one row; every
/// part but the last has an even length.
///
/// Over octets that include a right checksum the result is 0.
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

    #[test]
    fn a_reader_says_which_field_was_cut_off() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u16("xid"), Ok(0x0102));
        let error = DecodeError::Truncated {
            field: "secs",
            needed: 2,
            left: 1,
        };
        assert_eq!(reader.u16("secs"), Err(error));
        assert_eq!(reader.rest(), [3]);
    }
}
