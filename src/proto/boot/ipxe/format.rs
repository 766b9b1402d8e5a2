//! Types of settings: conversion between text and bytes.

use crate::prelude::*;
use core::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::text::url::percent_decoded;

/// The type of a setting, by its name after `:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Text.
    String,
    /// Text, percent-encoded when read.
    UriString,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An integer.
    Integer {
        /// Length in bytes, 1 to 4.
        len: usize,
        /// Whether it has a sign.
        is_signed: bool,
    },
    /// Bytes in hexadecimal with this between them.
    Hex(&'static str),
    /// Bytes in base 64.
    Base64,
    /// A UUID in its written order.
    Uuid,
    /// A UUID whose first three parts have their least significant byte first.
    Guid,
}

impl Type {
    pub(super) const INT32: Self = Self::integer(4, true);
    pub(super) const UINT16: Self = Self::integer(2, false);
    pub(super) const UINT32: Self = Self::integer(4, false);

    pub(super) const fn integer(len: usize, is_signed: bool) -> Self {
        Self::Integer { len, is_signed }
    }

    /// Returns the type of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "uristring" => Self::UriString,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "int8" => Self::integer(1, true),
            "int16" => Self::integer(2, true),
            "int32" => Self::INT32,
            "uint8" => Self::integer(1, false),
            "uint16" => Self::UINT16,
            "uint32" => Self::UINT32,
            "hex" => Self::Hex(":"),
            "hexhyp" => Self::Hex("-"),
            "hexraw" => Self::Hex(""),
            "base64" => Self::Base64,
            "uuid" => Self::Uuid,
            "guid" => Self::Guid,
            _ => return None,
        })
    }

    /// Returns the bytes of `text`; none when it is not of this type.
    pub(super) fn parse(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::String => Some(text.as_bytes().to_vec()),
            Self::UriString => Some(percent_decoded(text)),
            Self::Ipv4 => text.parse().map(|ip: Ipv4Addr| ip.octets().to_vec()).ok(),
            Self::Ipv6 => text.parse().map(|ip: Ipv6Addr| ip.octets().to_vec()).ok(),
            Self::Integer { len, .. } => {
                let octets = parse_integer(text)?.to_be_bytes();
                octets.get(octets.len() - len..).map(<[u8]>::to_vec)
            }
            Self::Hex(separator) => parse_hex(text, separator),
            Self::Base64 => parse_base64(text),
            Self::Uuid => parse_hex(&text.replace('-', ""), "").filter(|uuid| uuid.len() == 16),
            Self::Guid => Self::Uuid.parse(text).map(|uuid| swapped(&uuid)),
        }
    }

    /// Returns bytes as text.
    pub(super) fn format(self, octets: &[u8]) -> String {
        match self {
            Self::String => text_of(octets),
            Self::UriString => percent_encoded(octets),
            Self::Ipv4 => match octets.first_chunk::<4>() {
                Some(ip) => Ipv4Addr::from(*ip).to_string(),
                None => String::new(),
            },
            Self::Ipv6 => match octets.first_chunk::<16>() {
                Some(ip) => Ipv6Addr::from(*ip).to_string(),
                None => String::new(),
            },
            Self::Integer { len, is_signed } => integer_of(octets, len, is_signed).to_string(),
            Self::Hex(separator) => hex(octets, separator),
            Self::Base64 => STANDARD.encode(octets),
            Self::Uuid => match octets.len() {
                16 => uuid(octets),
                _ => String::new(),
            },
            Self::Guid => Self::Uuid.format(&swapped(octets)),
        }
    }
}

/// Parses an integer as C does: `0x` begins a hexadecimal one, `0` an octal one.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    // As strtoul() with base 0, which iPXE reads numbers with: 0x is hexadecimal, 0 octal.
    let (digits, radix) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // `from_str_radix` takes a sign of its own, so "--1" would be 1.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i64::from_str_radix(digits, radix).ok()?;
    Some(if is_negative { -value } else { value })
}

/// Returns the number in the last `len` bytes.
pub(super) fn integer_of(octets: &[u8], len: usize, is_signed: bool) -> i64 {
    let start = octets.len().saturating_sub(len.min(8));
    let octets = octets.get(start..).unwrap_or_default();
    let is_negative = is_signed && octets.first().is_some_and(|octet| octet & 0x80 != 0);
    octets
        .iter()
        .fold(if is_negative { -1 } else { 0 }, |value: i64, octet| {
            value.wrapping_shl(8) | i64::from(*octet)
        })
}

/// Returns the text up to its first NUL.
fn text_of(octets: &[u8]) -> String {
    let text = octets.split(|octet| *octet == 0).next();
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}

fn hex(octets: &[u8], separator: &str) -> String {
    let octets: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(separator)
}

fn parse_hex(text: &str, separator: &str) -> Option<Vec<u8>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    if !text.is_ascii() {
        return None;
    }
    let pairs: Vec<&str> = match separator {
        "" => {
            let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
                return None;
            };
            let pairs = pairs.iter().map(|pair| core::str::from_utf8(pair).ok());
            pairs.collect::<Option<_>>()?
        }
        _ => text.split(separator).collect(),
    };
    let octet = |pair: &str| {
        if pair.starts_with(['+', '-']) {
            None
        } else {
            u8::from_str_radix(pair, 16).ok()
        }
    };
    pairs.into_iter().map(octet).collect()
}

fn uuid(octets: &[u8]) -> String {
    let digits = hex(octets, "");
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default().to_owned();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

fn swapped(octets: &[u8]) -> Vec<u8> {
    // SMBIOS 2.6 and UEFI have the first three fields of a GUID little-endian.
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    ORDER
        .iter()
        .filter_map(|at| octets.get(*at).copied())
        .collect()
}

fn percent_encoded(octets: &[u8]) -> String {
    let encoded = |octet: &u8| match char::from(*octet) {
        c if c.is_ascii_alphanumeric() || "-._~!$'()*,".contains(c) => c.to_string(),
        _ => format!("%{octet:02X}"),
    };
    octets.iter().map(encoded).collect()
}

fn parse_base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = base64::alphabet::STANDARD.as_str();
    let mut octets = Vec::new();
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in text.trim_end_matches('=').bytes() {
        let value = (alphabet.bytes()).position(|known| known == digit)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_writes_what_it_reads() {
        for (name, text) in [
            ("string", "a b"),
            ("uristring", "a%20b%2Fc%26"),
            ("ipv4", "192.0.2.1"),
            ("ipv6", "2001:db8::1"),
            ("int8", "-5"),
            ("uint16", "65000"),
            ("int32", "-70000"),
            ("hex", "52:54:00"),
            ("hexhyp", "52-54-00"),
            ("hexraw", "525400"),
            ("base64", "aGVsbG8="),
            ("uuid", "b8945908-d6a6-41a9-611d-74a6ab80b83d"),
            ("guid", "b8945908-d6a6-41a9-611d-74a6ab80b83d"),
        ] {
            let kind = Type::named(name).unwrap();
            assert_eq!(kind.format(&kind.parse(text).unwrap()), text, "{name}");
        }
        let uuid = Type::Uuid.parse("00112233-4455-6677-8899-aabbccddeeff");
        let guid = Type::Guid.format(&uuid.unwrap());
        assert_eq!(guid, "33221100-5544-7766-8899-aabbccddeeff");
    }

    #[test]
    fn what_is_not_of_a_type_is_refused() {
        for (name, text) in [
            ("ipv4", "192.0.2"),
            ("int32", "5s"),
            ("int32", "--5"),
            ("hex", "5:xy"),
            ("hexraw", "525"),
            ("hexraw", "5ü"),
            ("uuid", "b8945908"),
            ("base64", "a*b"),
        ] {
            assert_eq!(Type::named(name).unwrap().parse(text), None, "{name}");
        }
        assert_eq!(Type::named("float"), None);
        assert_eq!(parse_integer("0x1F"), Some(31));
        assert_eq!(parse_integer("010"), Some(8));
    }
}
