//! The kinds of public keys (RFC 3279 §2.3, RFC 5480 §2.1, RFC 8410 §3), for messages about those
//! that are not accepted.

use core::fmt;

use super::der::{INTEGER, OBJECT_IDENTIFIER, SEQUENCE, expect};
use crate::reader::{DecodeError, Reader};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// Algorithms that need no parameters, and the curves of [`EC`].
const NAMES: [(&[u8], &str); 8] = [
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10],
        "RSASSA-PSS",
    ),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "DSA"),
    (&[0x2b, 0x65, 0x70], "Ed25519"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "P-256"),
    (&[0x2b, 0x81, 4, 0, 34], "P-384"),
    (&[0x2b, 0x81, 4, 0, 35], "P-521"),
    (&[0x2b, 0x81, 4, 0, 10], "secp256k1"),
];

/// The kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with the length of its modulus in bits.
    Rsa(usize),
    /// An elliptic curve, or another algorithm.
    Named(&'static str),
    /// One that has no name here.
    Unknown,
}

impl KeyKind {
    /// Returns the kind of a key by its AlgorithmIdentifier, without its header.
    pub(super) fn of(algorithm: &[u8], key: &[u8]) -> Self {
        Self::decode(algorithm, key).unwrap_or(Self::Unknown)
    }

    fn decode(algorithm: &[u8], key: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Reader::new(algorithm);
        let mut id = expect(&mut fields, OBJECT_IDENTIFIER, "algorithm")?;
        if id == RSA {
            let mut key = Reader::new(expect(&mut Reader::new(key), SEQUENCE, "RSAPublicKey")?);
            let modulus = expect(&mut key, INTEGER, "modulus")?;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let first = modulus.get(zeros).map_or(0, |byte| byte.leading_zeros());
            let bits = (modulus.len() - zeros) * 8;
            return Ok(Self::Rsa(bits.saturating_sub(first as usize)));
        }
        if id == EC {
            id = expect(&mut fields, OBJECT_IDENTIFIER, "namedCurve")?;
        }
        Ok(Self::named(id))
    }

    /// Returns the kind that an object identifier names by itself.
    pub(super) fn named(id: &[u8]) -> Self {
        let name = NAMES.iter().find(|(known, _)| *known == id);
        name.map_or(Self::Unknown, |(_, name)| Self::Named(name))
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA of {bits} bits"),
            Self::Named(name) => f.write_str(name),
            Self::Unknown => f.write_str("of an unknown kind"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn a_key_is_named_by_algorithm_and_size() {
        let rsa = [&[6, 9][..], RSA, &[5, 0]].concat();
        let curve =
            |id: &[u8]| [&[6, 7][..], EC, &[6, u8::try_from(id.len()).unwrap()], id].concat();
        let modulus = |first: u8, len: u8| {
            let number = [&[2, len + 1, 0, first][..], &vec![7; usize::from(len) - 1]].concat();
            [&[0x30, len + 6][..], &number, &[2, 1, 3]].concat()
        };
        for (algorithm, key, expected) in [
            (rsa.clone(), modulus(0x80, 64), "RSA of 512 bits"),
            (rsa.clone(), modulus(0x01, 65), "RSA of 513 bits"),
            (rsa, vec![], "of an unknown kind"),
            (curve(&[0x2b, 0x81, 4, 0, 35]), vec![], "P-521"),
            (curve(&[0x2b, 0x81, 4, 0, 99]), vec![], "of an unknown kind"),
            (vec![6, 3, 0x2b, 0x65, 0x71], vec![], "Ed448"),
            (vec![], vec![], "of an unknown kind"),
        ] {
            assert_eq!(KeyKind::of(&algorithm, &key).to_string(), expected);
        }
    }
}
