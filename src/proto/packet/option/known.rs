//! The options by name, and what the bytes of each mean: for people, for programs, and for lists
//! of options that people write.
//!
//! Names are those that configurations of DHCP servers and clients use. An option that is not here
//! has the name `option-N` and bytes for a value.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv4Addr;

use serde::{Serialize, Serializer};

use super::{ClasslessRoute, Options, text};
use crate::text::safe::Safe;

/// How the bytes of an option are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueForm {
    /// One address.
    Address,
    /// Addresses in a row.
    Addresses,
    Text,
    /// A number of one, two or four bytes.
    Number,
    /// Numbers of one byte.
    Codes,
    /// 0 or 1.
    Flag,
    /// Present or not; the value does not matter.
    Presence,
    /// Destinations with their routers (RFC 3442).
    Routes,
    /// Domain names, compressed (RFC 3397).
    Names,
    /// Options within the option.
    Nested,
    Octets,
}

use ValueForm::{
    Address, Addresses, Codes, Flag, Names, Nested, Number, Octets, Presence, Routes, Text,
};

const KNOWN: &[(u8, &str, ValueForm)] = &[
    (1, "subnet-mask", Address),
    (2, "time-offset", Number),
    (3, "routers", Addresses),
    (4, "time-servers", Addresses),
    (5, "name-servers", Addresses),
    (6, "domain-name-servers", Addresses),
    (7, "log-servers", Addresses),
    (8, "cookie-servers", Addresses),
    (9, "lpr-servers", Addresses),
    (12, "host-name", Text),
    (13, "boot-size", Number),
    (15, "domain-name", Text),
    (16, "swap-server", Address),
    (17, "root-path", Text),
    (18, "extensions-path", Text),
    (19, "ip-forwarding", Flag),
    (23, "default-ip-ttl", Number),
    (26, "interface-mtu", Number),
    (28, "broadcast-address", Address),
    (31, "router-discovery", Flag),
    (33, "static-routes", Addresses),
    (40, "nis-domain", Text),
    (41, "nis-servers", Addresses),
    (42, "ntp-servers", Addresses),
    (43, "vendor-encapsulated-options", Nested),
    (44, "netbios-name-servers", Addresses),
    (46, "netbios-node-type", Number),
    (47, "netbios-scope", Text),
    (50, "requested-address", Address),
    (51, "lease-time", Number),
    (52, "option-overload", Number),
    (53, "message-type", Number),
    (54, "server-identifier", Address),
    (55, "parameter-request-list", Codes),
    (56, "message", Text),
    (57, "max-message-size", Number),
    (58, "renewal-time", Number),
    (59, "rebinding-time", Number),
    (60, "vendor-class-identifier", Text),
    (61, "client-identifier", Octets),
    (66, "tftp-server-name", Text),
    (67, "bootfile-name", Text),
    (69, "smtp-servers", Addresses),
    (70, "pop-servers", Addresses),
    (77, "user-class", Octets),
    (80, "rapid-commit", Presence),
    (81, "client-fqdn", Octets),
    (82, "relay-agent-information", Nested),
    (93, "client-architecture", Number),
    (94, "client-interface-id", Octets),
    (97, "client-machine-id", Octets),
    (100, "tz-posix", Text),
    (101, "tz-database", Text),
    (108, "ipv6-only-preferred", Number),
    (114, "captive-portal", Text),
    (116, "auto-configure", Number),
    (118, "subnet-selection", Address),
    (119, "domain-search", Names),
    (120, "sip-servers", Octets),
    (121, "classless-static-routes", Routes),
    (124, "vendor-class", Octets),
    (125, "vendor-specific", Octets),
    (150, "tftp-server-address", Addresses),
    (175, "ipxe-encapsulated", Nested),
    (208, "pxelinux-magic", Octets),
    (209, "config-file", Text),
    (210, "path-prefix", Text),
    (211, "reboot-time", Number),
    (249, "ms-classless-static-routes", Routes),
    (252, "wpad", Text),
];

const NAMELESS: &str = "option-";

fn find(code: u8) -> Option<&'static (u8, &'static str, ValueForm)> {
    KNOWN.iter().find(|known| known.0 == code)
}

/// Returns the name of an option.
pub fn name(code: u8) -> String {
    find(code).map_or_else(
        || format!("{NAMELESS}{code}"),
        |(_, name, _)| (*name).to_owned(),
    )
}

/// Returns whether an option has a name of its own.
pub fn is_known(code: u8) -> bool {
    find(code).is_some()
}

/// Reads what a person calls an option: its number, or its name with hyphens or underscores.
pub fn parse_code(text: &str) -> Option<u8> {
    let text = text.to_ascii_lowercase().replace('_', "-");
    let number = text.strip_prefix(NAMELESS).unwrap_or(&text).parse().ok();
    let named = || Some(KNOWN.iter().find(|(_, name, _)| *name == text)?.0);
    number
        .or_else(named)
        .filter(|code| (1..=254).contains(code))
}

/// The decoded value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// One address.
    Address(Ipv4Addr),
    /// Addresses in a row.
    Addresses(Vec<Ipv4Addr>),
    /// Text, not checked in any way.
    Text(String),
    /// A number.
    Number(u32),
    /// Codes of options.
    Codes(Vec<u8>),
    /// On or off.
    Flag(bool),
    /// Destinations with their prefixes and routers.
    Routes(Vec<ClasslessRoute>),
    /// Domain names.
    Names(Vec<String>),
    /// Options within the option.
    Nested(Options),
    /// Not known, or not of the form that the option has.
    Octets(Vec<u8>),
}

impl OptionValue {
    /// Reads the bytes of an option.
    pub fn read(code: u8, octets: &[u8]) -> Self {
        let form = find(code).map_or(Octets, |known| known.2);
        Self::of_form(form, code, octets).unwrap_or_else(|| Self::Octets(octets.to_vec()))
    }

    fn of_form(form: ValueForm, code: u8, octets: &[u8]) -> Option<Self> {
        // The readers of values take them out of a list.
        let alone = || {
            let mut options = Options::default();
            options.set(code, octets);
            options
        };
        Some(match form {
            ValueForm::Address => Self::Address(alone().address(code)?),
            ValueForm::Addresses if !octets.is_empty() && octets.len().is_multiple_of(4) => {
                Self::Addresses(alone().addresses(code))
            }
            ValueForm::Text => Self::Text(text(octets)?.to_owned()),
            ValueForm::Number => Self::Number(match octets.len() {
                1 => alone().u8(code)?.into(),
                2 => alone().u16(code)?.into(),
                _ => alone().u32(code)?,
            }),
            ValueForm::Codes => Self::Codes(octets.to_vec()),
            ValueForm::Flag => Self::Flag(alone().u8(code)? != 0),
            ValueForm::Presence => Self::Flag(true),
            ValueForm::Routes => Self::Routes(super::read_classless_routes(octets)),
            ValueForm::Names => {
                Self::Names(Some(alone().domain_search()).filter(|l| !l.is_empty())?)
            }
            ValueForm::Nested => {
                let mut options = Options::default();
                options.read_encapsulated(octets).ok()?;
                Self::Nested(options)
            }
            ValueForm::Addresses | ValueForm::Octets => return None,
        })
    }

    /// Returns what a shell script can make use of: lists with a space between their members.
    pub fn words(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Addresses(addresses) => joined(addresses),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Codes(codes) => joined(codes),
            Self::Flag(flag) => u8::from(*flag).to_string(),
            Self::Routes(routes) => {
                joined(routes.iter().map(|(network, prefix_len, router)| {
                    format!("{network}/{prefix_len} {router}")
                }))
            }
            Self::Names(names) => names.join(" "),
            Self::Nested(options) => joined(
                options
                    .iter()
                    .map(|(code, octets)| format!("{code}:{}", hex(octets))),
            ),
            Self::Octets(octets) => hex(octets),
        }
    }
}

/// For people: on one line, without anything that a terminal would follow.
impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Safe::line(self.words()))
    }
}

impl Serialize for OptionValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Codes(codes) => codes.serialize(serializer),
            Self::Names(names) => names.serialize(serializer),
            Self::Addresses(addresses) => serializer.collect_seq(texts(addresses)),
            Self::Routes(routes) => {
                serializer.collect_seq(routes.iter().map(|(network, prefix_len, router)| {
                    RouteValue {
                        destination: format!("{network}/{prefix_len}"),
                        router: router.to_string(),
                    }
                }))
            }
            Self::Nested(options) => {
                serializer.collect_seq(options.iter().map(|(code, octets)| SubOption {
                    code,
                    hex: hex(octets),
                }))
            }
            Self::Address(_) | Self::Text(_) | Self::Octets(_) => {
                serializer.serialize_str(&self.words())
            }
        }
    }
}

#[derive(Serialize)]
struct RouteValue {
    destination: String,
    router: String,
}

#[derive(Serialize)]
struct SubOption {
    code: u8,
    hex: String,
}

/// Returns bytes as pairs of hexadecimal digits.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads pairs of hexadecimal digits, which colons may part.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    for part in text.split(':') {
        let (pairs, []) = part.as_bytes().as_chunks::<2>() else {
            return None;
        };
        for [high, low] in pairs {
            octets.push(hex_octet(*high, *low)?);
        }
    }
    Some(octets)
}

/// Returns the byte of two hexadecimal digits.
pub fn hex_octet(high: u8, low: u8) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn texts(items: &[Ipv4Addr]) -> impl Iterator<Item = String> {
    items.iter().map(ToString::to_string)
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_name_is_read_back_and_no_two_options_share_one() {
        for code in 1..=254 {
            assert_eq!(parse_code(&name(code)), Some(code));
            assert_eq!(parse_code(&code.to_string()), Some(code));
        }
        assert_eq!(parse_code("Domain_Name_Servers"), Some(6));
        for wrong in ["", "0", "255", "256", "-1", "option-", "routers "] {
            assert_eq!(parse_code(wrong), None, "{wrong}");
        }
        assert!(KNOWN.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn values_are_told_to_people_and_to_programs() {
        for (code, octets, words, json) in [
            (
                1,
                &[255, 255, 255, 0][..],
                "255.255.255.0",
                "\"255.255.255.0\"",
            ),
            (
                3,
                &[192, 0, 2, 1, 192, 0, 2, 2],
                "192.0.2.1 192.0.2.2",
                "[\"192.0.2.1\",\"192.0.2.2\"]",
            ),
            (26, &[5, 220], "1500", "1500"),
            (51, &[0, 0, 14, 16], "3600", "3600"),
            (80, &[], "1", "true"),
            (67, b"a\x1b[2Jb", "a\\u{1b}[2Jb", "\"a\\u001b[2Jb\""),
            (119, b"\x01a\x02bc\x00", "a.bc", "[\"a.bc\"]"),
            (
                121,
                &[0, 192, 0, 2, 1],
                "0.0.0.0/0 192.0.2.1",
                "[{\"destination\":\"0.0.0.0/0\",\"router\":\"192.0.2.1\"}]",
            ),
            (
                175,
                &[176, 1, 1, 235, 2, 1, 21],
                "176:01 235:0115",
                "[{\"code\":176,\"hex\":\"01\"},{\"code\":235,\"hex\":\"0115\"}]",
            ),
            (130, b"x\0", "7800", "\"7800\""),
            // Not of the form that the option has.
            (1, &[255], "ff", "\"ff\""),
            (3, &[192, 0, 2], "c00002", "\"c00002\""),
            (43, &[6, 9, 1], "060901", "\"060901\""),
        ] {
            let value = OptionValue::read(code, octets);
            assert_eq!(value.to_string(), words, "{code}");
            assert_eq!(serde_json::to_string(&value).unwrap(), json, "{code}");
        }
    }

    #[test]
    fn hexadecimal_digits_may_be_parted_by_colons() {
        let octets = Some(vec![0x01, 0xab, 0x00]);
        for good in ["01ab00", "01:AB:00", "01ab:00"] {
            assert_eq!(parse_hex(good), octets, "{good}");
        }
        for bad in ["0", "0:1", "zz", "01:a", "+1"] {
            assert_eq!(parse_hex(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_option_holds_it_is_told_on_one_line(code: u8, octets in prop::collection::vec(any::<u8>(), 0..60)) {
            let value = OptionValue::read(code, &octets);
            prop_assert!(!value.to_string().contains(char::is_control));
            prop_assert!(serde_json::to_string(&value).is_ok());
        }
    }
}
