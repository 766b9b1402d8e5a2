//! X.509 certificates (RFC 5280 §4.1): the fields for messages about a refused certificate, and for one
//! that is itself trusted; and keys. Signatures are not checked here.
//!
//! Keys are the kinds of public ones (RFC 3279 §2.3, RFC 5480 §2.1, RFC 8410 §3), for messages about those
//! that are not accepted, and private ones of elliptic curves as files have them: PKCS #8 (RFC 5958 §2),
//! with the key as RFC 5915 §3 or RFC 8410 §7 say, and the ECPrivateKey of SEC 1 alone.

use crate::prelude::*;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::reader::{DecodeError, Reader};
use crate::text::safe::text_of;

// Tags of X.680 (table 1); the others are with the elements.
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SET: u8 = 0x31;
/// `version` and `extensions` of TBSCertificate, `dNSName` and `iPAddress` of GeneralName.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

// Identifiers of attributes (RFC 5280 appendix A.1) and of extensions (§4.2.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// Bit 5 of keyUsage, which are counted from the highest one.
const KEY_CERT_SIGN: u8 = 0x04;
const EXT_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const ANY_EXT_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// A certificate whose signature has not been verified.
///
/// ```text
/// SEQUENCE { SEQUENCE { [0] version, serialNumber, signature, issuer, validity, subject,
///                       subjectPublicKeyInfo, … [3] extensions }, signatureAlgorithm, signature }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// 1 to 3; there are extensions from 3 on.
    pub version: u8,
    issuer: &'a [u8],
    subject: &'a [u8],
    /// When it begins and ends to be valid, since 1970.
    pub not_before: Duration,
    /// The last second of its validity.
    pub not_after: Duration,
    /// SubjectPublicKeyInfo, with its header.
    pub key_info: &'a [u8],
    /// AlgorithmIdentifier of the key, without its header.
    pub key_algorithm: &'a [u8],
    /// The key itself.
    pub key: &'a [u8],
    /// Whether it may issue others.
    pub is_authority: bool,
    /// Whether its key may sign others, if it is an authority's: that is among its usages, or it has no list
    /// of them.
    pub may_sign: bool,
    /// Whether it may be a server's: that is among its purposes, or it has no list of them.
    pub is_for_servers: bool,
    names: Vec<AlternativeName>,
}

/// A subject alternative name of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AlternativeName {
    Dns(String),
    Address(IpAddr),
}

impl<'a> Certificate<'a> {
    /// Decodes DER.
    ///
    /// # Errors
    /// [`DecodeError`] with the malformed field.
    pub fn decode(der: &'a [u8]) -> Result<Self, DecodeError> {
        let mut outer = Reader::new(expect(&mut Reader::new(der), SEQUENCE, "Certificate")?);
        let mut fields = Reader::new(expect(&mut outer, SEQUENCE, "TBSCertificate")?);
        let version = match optional(&mut fields, VERSION)? {
            Some(version) => expect(&mut Reader::new(version), INTEGER, "version")?
                .last()
                .map_or(1, |last| last.saturating_add(1)),
            None => 1,
        };
        expect(&mut fields, INTEGER, "serialNumber")?;
        expect(&mut fields, SEQUENCE, "signature")?;
        let issuer = expect(&mut fields, SEQUENCE, "issuer")?;
        let mut validity = Reader::new(expect(&mut fields, SEQUENCE, "validity")?);
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = expect(&mut fields, SEQUENCE, "subject")?;
        let from_key = fields.rest();
        let mut key_info = Reader::new(expect(&mut fields, SEQUENCE, "subjectPublicKeyInfo")?);
        let key_info_len = from_key.len() - fields.rest().len();
        let key_algorithm = expect(&mut key_info, SEQUENCE, "algorithm")?;
        let key = expect(&mut key_info, BIT_STRING, "subjectPublicKey")?;
        let mut certificate = Self {
            version,
            issuer,
            subject,
            not_before,
            not_after,
            key_info: from_key.get(..key_info_len).unwrap_or_default(),
            key_algorithm,
            // The first byte is the number of unused bits in the last, 0 for a key.
            key: key.get(1..).unwrap_or_default(),
            is_authority: false,
            may_sign: true,
            // RFC 5280 §4.2.1.12: without extKeyUsage a key is for every purpose.
            is_for_servers: true,
            names: Vec::new(),
        };
        while !fields.is_empty() {
            let (tag, content) = element(&mut fields, "extensions")?;
            if tag == EXTENSIONS {
                let content = expect(&mut Reader::new(content), SEQUENCE, "extensions")?;
                certificate.read_extensions(content)?;
            }
        }
        Ok(certificate)
    }

    fn read_extensions(&mut self, extensions: &'a [u8]) -> Result<(), DecodeError> {
        for extension in elements(extensions, SEQUENCE, "extension") {
            let mut fields = Reader::new(extension?);
            let id = expect(&mut fields, OBJECT_IDENTIFIER, "extnID")?;
            optional(&mut fields, BOOLEAN)?;
            let mut value = Reader::new(expect(&mut fields, OCTET_STRING, "extnValue")?);
            if id == SUBJECT_ALT_NAME {
                let mut names = Reader::new(expect(&mut value, SEQUENCE, "subjectAltName")?);
                while !names.is_empty() {
                    let (tag, name) = element(&mut names, "subjectAltName")?;
                    self.names.extend(alternative_name(tag, name));
                }
            } else if id == BASIC_CONSTRAINTS {
                let content = expect(&mut value, SEQUENCE, "basicConstraints")?;
                let ca = optional(&mut Reader::new(content), BOOLEAN)?;
                self.is_authority = ca.is_some_and(|value| value != [0]);
            } else if id == KEY_USAGE {
                // The first byte is the number of unused bits in the last.
                let bits = expect(&mut value, BIT_STRING, "keyUsage")?;
                self.may_sign = bits.get(1).is_some_and(|bits| bits & KEY_CERT_SIGN != 0);
            } else if id == EXT_KEY_USAGE {
                let purposes = expect(&mut value, SEQUENCE, "extKeyUsage")?;
                self.is_for_servers = false;
                for purpose in elements(purposes, OBJECT_IDENTIFIER, "KeyPurposeId") {
                    let purpose = purpose?;
                    self.is_for_servers |= purpose == SERVER_AUTH || purpose == ANY_EXT_KEY_USAGE;
                }
            }
        }
        Ok(())
    }

    /// Returns the kind of its public key.
    pub fn key_kind(&self) -> KeyKind {
        KeyKind::of(self.key_algorithm, self.key)
    }

    /// Returns whether it is by the subject of `other`, as their names have it.
    pub fn is_by(&self, other: &Certificate<'_>) -> bool {
        self.issuer == other.subject
    }

    /// Returns whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Returns the common name of the issuer, or its organization, safe to print.
    pub fn issuer_name(&self) -> Option<String> {
        attribute(self.issuer, COMMON_NAME).or_else(|| attribute(self.issuer, ORGANIZATION))
    }

    /// Returns the common name of the subject, safe to print: what old certificates call the server.
    pub fn common_name(&self) -> Option<String> {
        attribute(self.subject, COMMON_NAME)
    }

    /// Returns the alternative names, safe to print.
    pub fn alternative_names(&self) -> Vec<String> {
        let names = self.names.iter().map(|name| match name {
            AlternativeName::Dns(name) => name.clone(),
            AlternativeName::Address(address) => address.to_string(),
        });
        names.collect()
    }

    /// Returns whether it is for the server `host`, a name or an address. As for curl, the common
    /// name counts where there is no alternative name.
    pub fn is_for(&self, host: &str) -> bool {
        if self.names.is_empty() {
            // RFC 6125 §6.4.4: the common name counts where no alternative name is given.
            let name = self.common_name();
            return name.is_some_and(|name| is_name_of(&name, host));
        }
        let address = host.parse::<IpAddr>().ok();
        self.names.iter().any(|name| match name {
            AlternativeName::Dns(name) => address.is_none() && is_name_of(name, host),
            AlternativeName::Address(known) => address == Some(*known),
        })
    }
}

/// Returns whether `name` is `host`, or matches it with `*` for the first label (RFC 6125 §6.4.3).
fn is_name_of(name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_covered = || {
        // RFC 6125 §6.4.3: * stands for the first label as a whole, and for no more than it.
        let (domain, (_, rest)) = name.strip_prefix("*.").zip(host.split_once('.'))?;
        // Not for a whole top-level domain, nor for addresses.
        let is_wide = !domain.contains('.') || host.parse::<IpAddr>().is_ok();
        Some(!is_wide && domain.eq_ignore_ascii_case(rest))
    };
    name.eq_ignore_ascii_case(host) || is_covered().unwrap_or(false)
}

fn alternative_name(tag: u8, name: &[u8]) -> Option<AlternativeName> {
    match tag {
        DNS_NAME => Some(AlternativeName::Dns(text_of(name))),
        IP_ADDRESS => {
            let v4 = <[u8; 4]>::try_from(name).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(name).map(IpAddr::from));
            address.ok().map(AlternativeName::Address)
        }
        _ => None,
    }
}

/// Returns the last value of an attribute in a Name: SEQUENCE OF SET OF SEQUENCE { type, value }.
fn attribute(name: &[u8], kind: &[u8]) -> Option<String> {
    let mut found = None;
    for set in elements(name, SET, "RelativeDistinguishedName") {
        for attribute in elements(set.ok()?, SEQUENCE, "AttributeTypeAndValue") {
            let mut fields = Reader::new(attribute.ok()?);
            let is_it = expect(&mut fields, OBJECT_IDENTIFIER, "type").ok()? == kind;
            let (_, value) = element(&mut fields, "value").ok()?;
            if is_it {
                found = Some(text_of(value));
            }
        }
    }
    found
}

/// Parses a time of RFC 5280 §4.1.2.5, `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; one before 1970
/// is read as 1970.
fn time(reader: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    let (tag, text) = element(reader, "time")?;
    let year_len = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return Err(crate::reader::invalid("time", tag)),
    };
    let invalid = || crate::reader::invalid("time", tag);
    let digits = text.strip_suffix(b"Z").ok_or_else(invalid)?;
    if digits.len() != year_len + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let mut digits = Reader::new(digits);
    let mut number = |len| {
        let digits = digits.take(len, "time")?;
        let value = digits
            .iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        Ok::<_, DecodeError>(value)
    };
    let year = match (number(year_len)?, tag) {
        // RFC 5280 §4.1.2.5.1 splits the centuries there.
        (year @ 50.., UTC_TIME) => 1900 + year,
        (year, UTC_TIME) => 2000 + year,
        (year, _) => year,
    };
    let (month, day) = (number(2)?, number(2)?);
    let (hour, minute, second) = (number(2)?, number(2)?, number(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(invalid());
    }
    // Counted from the first of March of the year 0, leap days come last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // Days from the first of March of the year 0 to 1970.
    let Some(days) = days.checked_sub(719_468) else {
        return Ok(Duration::ZERO);
    };
    Ok(Duration::from_secs(
        ((days * 24 + hour) * 60 + minute) * 60 + second,
    ))
}

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
    fn of(algorithm: &[u8], key: &[u8]) -> Self {
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
    fn named(id: &[u8]) -> Self {
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

// X.680 (table 1); a SEQUENCE has the bit of constructed ones (X.690 §8.1.2).
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Reads the elements of a SEQUENCE OF or SET OF, each of which has `tag`.
fn elements<'a>(
    content: &'a [u8],
    tag: u8,
    field: &'static str,
) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> {
    let mut reader = Reader::new(content);
    core::iter::from_fn(move || {
        let left = !reader.is_empty();
        left.then(|| {
            let content = expect(&mut reader, tag, field);
            if content.is_err() {
                reader = Reader::new(&[]);
            }
            content
        })
    })
}

/// Reads an element when it has `tag`; otherwise nothing is read.
fn optional<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<Option<&'a [u8]>, DecodeError> {
    if reader.rest().first() != Some(&tag) {
        return Ok(None);
    }
    expect(reader, tag, "optional field").map(Some)
}

/// Reads an element that must have `tag`.
fn expect<'a>(
    reader: &mut Reader<'a>,
    tag: u8,
    field: &'static str,
) -> Result<&'a [u8], DecodeError> {
    match element(reader, field)? {
        (found, content) if found == tag => Ok(content),
        (found, _) => Err(crate::reader::invalid(field, found)),
    }
}

/// Reads a tag of one byte, a length of up to three, and the content.
fn element<'a>(
    reader: &mut Reader<'a>,
    field: &'static str,
) -> Result<(u8, &'a [u8]), DecodeError> {
    let tag = reader.u8(field)?;
    let len = match reader.u8(field)? {
        // X.690 §8.1.3: the length itself, or of how many bytes it is.
        len @ 0..=0x7f => usize::from(len),
        0x81 => usize::from(reader.u8(field)?),
        0x82 => usize::from(reader.u16(field)?),
        len => return Err(crate::reader::invalid(field, len)),
    };
    Ok((tag, reader.take(len, field)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    const AUTHORITY: &str = include_str!("../../../tests/data/x509/authority.pem");
    const VERSION_1: &str = include_str!("../../../tests/data/x509/v1.pem");

    #[test]
    fn what_openssl_makes_is_read() {
        let der = der(AUTHORITY);
        let certificate = Certificate::decode(&der).unwrap();
        assert_eq!(certificate.version, 3);
        assert!(certificate.is_self_issued() && certificate.is_authority);
        assert!(certificate.is_for_servers);
        assert_eq!(certificate.not_before.as_secs(), 1_795_898_990);
        assert_eq!(certificate.not_after.as_secs(), 4_949_498_990);
        assert_eq!(
            certificate.alternative_names(),
            ["boot.example", "192.0.2.1", "*.rack.example"]
        );
        assert_eq!(certificate.key.len(), 65);
        assert!(certificate.key_info.ends_with(certificate.key));
        for (host, expected) in [
            ("boot.example", true),
            ("BOOT.example.", true),
            ("192.0.2.1", true),
            ("a.rack.example", true),
            ("rack.example", false),
            ("a.b.rack.example", false),
            ("xboot.example", false),
            ("192.0.2.2", false),
        ] {
            assert_eq!(certificate.is_for(host), expected, "{host}");
        }
    }

    #[test]
    fn a_certificate_of_version_1_has_a_common_name_and_nothing_else() {
        let der = der(VERSION_1);
        let certificate = Certificate::decode(&der).unwrap();
        assert_eq!(certificate.version, 1);
        assert_eq!(certificate.issuer_name().unwrap(), "boot.example");
        assert_eq!(certificate.common_name().unwrap(), "boot.example");
        assert_eq!(attribute(certificate.issuer, ORGANIZATION).unwrap(), "Lab");
        assert!(certificate.is_for("boot.example") && !certificate.is_for("Lab"));
    }

    #[test]
    fn one_that_is_cut_or_changed_does_not_panic_and_a_cut_one_is_an_error() {
        for der in [der(AUTHORITY), der(VERSION_1)] {
            for len in 0..der.len() {
                assert!(Certificate::decode(&der[..len]).is_err(), "{len}");
            }
            for at in 0..der.len() {
                for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                    let mut changed = der.clone();
                    changed[at] = value;
                    if let Ok(certificate) = Certificate::decode(&changed) {
                        let _ = certificate.is_for("boot.example");
                        let _ = certificate.issuer_name();
                    }
                }
            }
        }
    }

    #[test]
    fn times_of_both_kinds_are_read() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (UTC_TIME, "200229123456Z", Some(1_582_979_696)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "00000101000000Z", Some(0)),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "700101000000+", None),
            (GENERALIZED_TIME, "20500101000000.5Z", None),
            (OCTET_STRING, "20500101000000Z", None),
        ] {
            let mut bytes = vec![tag, u8::try_from(text.len()).unwrap()];
            bytes.extend_from_slice(text.as_bytes());
            let read = time(&mut Reader::new(&bytes)).ok();
            assert_eq!(read.map(|time| time.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label_below_a_domain() {
        for (name, host, expected) in [
            ("*.a.example", "b.a.example", true),
            ("*.A.example", "b.a.EXAMPLE", true),
            ("*.example", "a.example", false),
            ("*.0.2.1", "192.0.2.1", false),
            ("*", "example", false),
            ("b*.a.example", "bc.a.example", false),
        ] {
            assert_eq!(is_name_of(name, host), expected, "{name} {host}");
        }
    }

    fn der(pem: &str) -> Vec<u8> {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        STANDARD.decode(lines.collect::<String>()).unwrap()
    }

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
