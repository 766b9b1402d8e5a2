//! Keys: the kinds of public ones (RFC 3279 §2.3, RFC 5480 §2.1, RFC 8410 §3), for messages about those
//! that are not accepted, and private ones of elliptic curves as files have them: PKCS #8 (RFC 5958 §2),
//! with the key as RFC 5915 §3 or RFC 8410 §7 say, and the ECPrivateKey of SEC 1 alone.

use core::fmt;

use super::der::{INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, expect, optional};
use crate::reader::{DecodeError, Reader};

// rsaEncryption (RFC 3279 §2.3.1) and id-ecPublicKey (RFC 5480 §2.1.1).
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

/// `parameters` of ECPrivateKey, which name its curve.
const PARAMETERS: u8 = 0xa0;

/// A private key.
#[derive(Clone, Copy)]
pub struct PrivateKey<'a> {
    /// Its algorithm or curve.
    pub kind: KeyKind,
    /// The number, or the seed: 32 bytes of P-256 and Ed25519.
    pub secret: &'a [u8],
}

impl<'a> PrivateKey<'a> {
    /// Decodes PKCS #8.
    ///
    /// # Errors
    /// [`DecodeError`] with the malformed field; a key of another algorithm than those is one.
    pub fn decode_pkcs8(der: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Reader::new(expect(&mut Reader::new(der), SEQUENCE, "PrivateKeyInfo")?);
        expect(&mut fields, INTEGER, "version")?;
        let algorithm = expect(&mut fields, SEQUENCE, "privateKeyAlgorithm")?;
        let kind = KeyKind::of(algorithm, &[]);
        let key = expect(&mut fields, OCTET_STRING, "privateKey")?;
        if kind == KeyKind::Named("Ed25519") {
            let secret = expect(&mut Reader::new(key), OCTET_STRING, "CurvePrivateKey")?;
            return Ok(Self { kind, secret });
        }
        let (secret, _) = ec_private_key(key)?;
        Ok(Self { kind, secret })
    }

    /// Decodes an ECPrivateKey that names its curve.
    ///
    /// # Errors
    /// [`DecodeError`] with the malformed field.
    pub fn decode_sec1(der: &'a [u8]) -> Result<Self, DecodeError> {
        let (secret, mut fields) = ec_private_key(der)?;
        let parameters = optional(&mut fields, PARAMETERS)?.unwrap_or_default();
        let curve = expect(
            &mut Reader::new(parameters),
            OBJECT_IDENTIFIER,
            "namedCurve",
        )?;
        let kind = KeyKind::named(curve);
        Ok(Self { kind, secret })
    }
}

/// Returns the number of an ECPrivateKey, and what follows it.
fn ec_private_key(der: &[u8]) -> Result<(&[u8], Reader<'_>), DecodeError> {
    let mut fields = Reader::new(expect(&mut Reader::new(der), SEQUENCE, "ECPrivateKey")?);
    expect(&mut fields, INTEGER, "version")?;
    let secret = expect(&mut fields, OCTET_STRING, "privateKey")?;
    Ok((secret, fields))
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

    const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

    fn field(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    }

    fn ec_key(parts: &[&[u8]]) -> Vec<u8> {
        let secret = field(OCTET_STRING, &[&[7; 32]]);
        let version: &[u8] = &[INTEGER, 1, 1];
        field(SEQUENCE, &[&[version, &secret], parts].concat())
    }

    fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
        let algorithm = field(SEQUENCE, &[algorithm]);
        let key = field(OCTET_STRING, &[key]);
        field(SEQUENCE, &[&[INTEGER, 1, 0], &algorithm, &key])
    }

    #[test]
    fn the_secret_and_its_curve_are_read_in_each_form() {
        let is_p256 = |key: Result<PrivateKey<'_>, DecodeError>| {
            let key = key.unwrap();
            assert_eq!(key.kind, KeyKind::Named("P-256"));
            assert_eq!(key.secret, [7; 32]);
        };
        let ec = [&b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"[..], P256].concat();
        is_p256(PrivateKey::decode_pkcs8(&pkcs8(&ec, &ec_key(&[]))));
        let public = field(0xa1, &[&[3, 2, 0, 4]]);
        is_p256(PrivateKey::decode_pkcs8(&pkcs8(&ec, &ec_key(&[&public]))));
        let curve = field(PARAMETERS, &[P256]);
        is_p256(PrivateKey::decode_sec1(&ec_key(&[&curve, &public])));
        let seed = field(OCTET_STRING, &[&[9; 32]]);
        let whole = pkcs8(b"\x06\x03\x2b\x65\x70", &seed);
        let key = PrivateKey::decode_pkcs8(&whole).unwrap();
        assert_eq!(key.kind, KeyKind::Named("Ed25519"));
        assert_eq!(key.secret, [9; 32]);
    }

    #[test]
    fn what_is_cut_or_names_no_curve_is_refused() {
        assert!(PrivateKey::decode_sec1(&ec_key(&[])).is_err());
        let whole = ec_key(&[&field(PARAMETERS, &[P256])]);
        for len in 0..whole.len() {
            assert!(PrivateKey::decode_sec1(&whole[..len]).is_err(), "{len}");
        }
    }
}
