//! DHCP options as encoded in a message (RFC 2131 §4.1, RFC 2132, RFC 3396).
//!
//! The decoder joins the parts of a split option in any order, reads overloaded `file` and `sname`
//! fields (option 52), and keeps unknown options. An option with one value of fixed length is never
//! joined: of several, the first is used. Options before a fault stay readable. The names of
//! option 119 are decoded by `dhcproto`.

pub mod known;

use crate::prelude::*;
use core::net::Ipv4Addr;

use dhcproto::Decoder;

use super::ipv4::netmask;
use crate::reader::{DecodeError, Reader};

/// Option codes, under their titles in RFC 2132 and its successors.
#[allow(missing_docs, reason = "each is named as in the registry")]
pub mod code {
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DOMAIN_NAME_SERVER: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const ROOT_PATH: u8 = 17;
    pub const INTERFACE_MTU: u8 = 26;
    pub const BROADCAST_ADDRESS: u8 = 28;
    pub const NTP_SERVERS: u8 = 42;
    pub const LOG_SERVERS: u8 = 7;
    pub const VENDOR_SPECIFIC: u8 = 43;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_IDENTIFIER: u8 = 54;
    pub const PARAMETER_REQUEST_LIST: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_IDENTIFIER: u8 = 61;
    pub const TFTP_SERVER_NAME: u8 = 66;
    pub const BOOT_FILE_NAME: u8 = 67;
    pub const USER_CLASS: u8 = 77;
    pub const RAPID_COMMIT: u8 = 80;
    pub const CLIENT_FQDN: u8 = 81;
    pub const CLIENT_SYSTEM: u8 = 93;
    pub const CLIENT_NDI: u8 = 94;
    pub const CLIENT_MACHINE_ID: u8 = 97;
    pub const IPV6_ONLY_PREFERRED: u8 = 108;
    pub const DOMAIN_SEARCH: u8 = 119;
    pub const CLASSLESS_STATIC_ROUTE: u8 = 121;
    pub const TFTP_SERVER_ADDRESS: u8 = 150;
    pub const IPXE_ENCAPSULATED: u8 = 175;
    pub const CONFIG_FILE: u8 = 209;
    pub const PATH_PREFIX: u8 = 210;
    pub const REBOOT_TIME: u8 = 211;
    pub const MS_CLASSLESS_STATIC_ROUTE: u8 = 249;
    pub const END: u8 = 255;
}

/// A destination with its prefix length, and the router: one entry of option 121.
pub type ClasslessRoute = (Ipv4Addr, u8, Ipv4Addr);

/// The options of a message, each once, in the order of their first part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    list: Vec<(u8, Vec<u8>)>,
}

impl Options {
    /// Reads the options of one area up to its end option, joining them to those already read.
    ///
    /// # Errors
    /// `DecodeFault::Truncated` for an option that ends beyond the area; those before it have
    /// been read.
    pub fn read_area(&mut self, area: &[u8]) -> Result<(), DecodeError> {
        self.read(area, fixed_len)
    }

    /// Reads encapsulated options, whose codes have their own meanings.
    ///
    /// # Errors
    /// As [`Options::read_area`].
    pub fn read_encapsulated(&mut self, area: &[u8]) -> Result<(), DecodeError> {
        self.read(area, |_| None)
    }

    fn read(&mut self, area: &[u8], fixed_len: fn(u8) -> Option<usize>) -> Result<(), DecodeError> {
        let mut reader = Reader::new(area);
        while !reader.is_empty() {
            match reader.u8("option code")? {
                code::PAD => {}
                // The rest is padding; RFC 2132 §3.2.
                code::END => break,
                code => {
                    let len = reader.u8("option length")?;
                    let part = reader.take(usize::from(len), "option value")?;
                    self.append(code, part, fixed_len(code));
                }
            }
        }
        Ok(())
    }

    /// Appends the options and the end option to `buf`; a long one is split (RFC 3396).
    ///
    /// Without `dhcproto`, which draws random numbers for each message, even with a given `xid`: early in
    /// a boot that waits for the kernel's generator, a second or more.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        for (code, value) in self.iter() {
            // RFC 3396 §4 allows any split; 255 is the limit of the length byte.
            for part in value.chunks(255).chain(value.is_empty().then_some(value)) {
                buf.push(code);
                buf.extend(u8::try_from(part.len()));
                buf.extend_from_slice(part);
            }
        }
        buf.push(code::END);
    }

    fn append(&mut self, code: u8, part: &[u8], fixed_len: Option<usize>) {
        let Some((_, value)) = self.list.iter_mut().find(|(known, _)| *known == code) else {
            return self.list.push((code, part.to_vec()));
        };
        let is_whole = |bytes: &[u8]| fixed_len == Some(bytes.len());
        if is_whole(value) || is_repetition(value, part) {
            return;
        }
        // Of several, the one of the right length.
        if is_whole(part) {
            value.clear();
        }
        value.extend_from_slice(part);
    }

    /// Sets an option, replacing its value.
    pub fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        self.remove(code);
        self.list.push((code, value.into()));
    }

    /// Removes an option.
    pub fn remove(&mut self, code: u8) {
        self.list.retain(|(known, _)| *known != code);
    }

    /// Returns an option's bytes.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.iter()
            .find_map(|(known, value)| (known == code).then_some(value))
    }

    /// Returns all options, in the order of their first part.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.list
            .iter()
            .map(|(code, value)| (*code, value.as_slice()))
    }

    /// Returns an option of one byte.
    pub fn u8(&self, code: u8) -> Option<u8> {
        Some(u8::from_be_bytes(self.array(code)?))
    }

    /// Returns an option of two bytes.
    pub fn u16(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.array(code)?))
    }

    /// Returns an option of four bytes.
    pub fn u32(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.array(code)?))
    }

    /// Returns an option that is one address.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(self.array::<4>(code)?))
    }

    fn array<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.get(code)?.try_into().ok()
    }

    /// Returns an option that is a list of addresses; bytes after the last complete one are dropped.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (whole, _) = self.get(code).unwrap_or_default().as_chunks::<4>();
        whole.iter().copied().map(Ipv4Addr::from).collect()
    }

    /// Returns an option that is text, up to its first NUL (servers send one although RFC 2132 §2
    /// says not to); none if it is empty or not UTF-8.
    pub fn text(&self, code: u8) -> Option<&str> {
        text(self.get(code)?)
    }

    /// Returns the routes of option 121 (RFC 3442) or, without a good list there, of option 249, and whether
    /// the list is whole; none if neither has a route.
    pub fn classless_routes(&self) -> Option<(Vec<ClasslessRoute>, bool)> {
        // Windows used 249 before RFC 3442; the encoding is the same.
        let codes = [
            code::CLASSLESS_STATIC_ROUTE,
            code::MS_CLASSLESS_STATIC_ROUTE,
        ];
        let lists = codes.into_iter().filter_map(|code| self.route_list(code));
        let mut lists: Vec<_> = lists.filter(|(routes, _)| !routes.is_empty()).collect();
        let whole = lists.iter().position(|(_, is_whole)| *is_whole);
        // Of two damaged lists, that of 121.
        let chosen = whole.unwrap_or(0);
        (chosen < lists.len()).then(|| lists.swap_remove(chosen))
    }

    /// Returns an option's list of routes up to its first fault, and whether it has none.
    pub fn route_list(&self, code: u8) -> Option<(Vec<ClasslessRoute>, bool)> {
        Some(read_classless_routes(self.get(code)?))
    }

    /// Returns the options of fixed length that have another one, and so no value.
    pub fn of_wrong_length(&self) -> impl Iterator<Item = u8> {
        let wrong =
            |(code, value): &(u8, &[u8])| fixed_len(*code).is_some_and(|len| len != value.len());
        self.iter().filter(wrong).map(|(code, _)| code)
    }

    /// Returns whether the server tells iPXE (option 175) not to wait for a ProxyDHCP server (sub-option
    /// 176, `no-pxedhcp`).
    pub fn rules_out_proxies(&self) -> bool {
        const NO_PXEDHCP: u8 = 176;
        let mut within = Self::default();
        let bytes = self.get(code::IPXE_ENCAPSULATED).unwrap_or_default();
        // Sub-options before a fault are used.
        let _ = within.read_encapsulated(bytes);
        let value = within.get(NO_PXEDHCP).unwrap_or_default();
        value.iter().any(|byte| *byte != 0)
    }

    /// Returns the search list of option 119 (RFC 3397, with compression), as dotted names.
    pub fn domain_search(&self) -> Vec<String> {
        let bytes = self.get(code::DOMAIN_SEARCH).unwrap_or_default();
        // Not as one of `DhcpOption`, which brings the code of all options, 10 KiB.
        let names = Decoder::new(bytes).read_domains(bytes.len());
        // With a fault there are none, and the caller reports the option.
        names
            .unwrap_or_default()
            .iter()
            .map(|name| name.to_ascii().trim_end_matches('.').to_owned())
            .collect()
    }
}

/// Returns the length of an option with one value of fixed length, in bytes; none for texts, lists and
/// routes, whose parts are joined (RFC 3396), and for unknown options.
///
/// Servers send such an option twice if one is configured beside their own (dnsmasq 2.90 with
/// `--dhcp-option=54,…`); joined, the two would be invalid.
const fn fixed_len(code: u8) -> Option<usize> {
    Some(match code {
        // Switches, counters and types of RFC 2132; 116 is RFC 2563.
        19 | 20 | 23 | 27 | 29..=31 | 34 | 36 | 37 | 39 | 46 | 116 => 1,
        code::OVERLOAD | code::MESSAGE_TYPE => 1,
        13 | 22 | code::INTERFACE_MTU | code::MAX_MESSAGE_SIZE => 2,
        2 | 24 | 35 | 38 | code::LEASE_TIME | code::RENEWAL_TIME | code::REBINDING_TIME => 4,
        code::IPV6_ONLY_PREFERRED | code::REBOOT_TIME => 4,
        // One address: the swap server, the router to solicit, RFC 3011's subnet.
        16 | 32 | 118 | code::SUBNET_MASK | code::BROADCAST_ADDRESS => 4,
        code::REQUESTED_ADDRESS | code::SERVER_IDENTIFIER => 4,
        _ => return None,
    })
}

/// Returns whether `part` repeats the option's value, with or without a NUL at its end. A part of full
/// length is the first part of a longer value (RFC 3396).
fn is_repetition(value: &[u8], part: &[u8]) -> bool {
    let without_nul = |bytes: &[u8]| bytes.strip_suffix(&[0]).unwrap_or(bytes).len();
    let (len, other_len) = (without_nul(value), without_nul(part));
    len > 0 && value.len() < 255 && value.get(..len) == part.get(..other_len)
}

/// Returns the text in `bytes` up to the first NUL; none when it is empty or not UTF-8.
pub fn text(bytes: &[u8]) -> Option<&str> {
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    core::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty())
}

/// Decodes a route list (RFC 3442) up to its first fault, and returns whether there is none. Only the
/// significant bytes of a prefix are encoded.
fn read_classless_routes(bytes: &[u8]) -> (Vec<ClasslessRoute>, bool) {
    let mut reader = Reader::new(bytes);
    let mut routes = Vec::new();
    while !reader.is_empty() {
        let Ok(prefix_len @ 0..=32) = reader.u8("prefix length") else {
            return (routes, false);
        };
        let significant = usize::from(prefix_len.div_ceil(8));
        let Ok(prefix) = reader.take(significant, "destination") else {
            return (routes, false);
        };
        let Ok(router) = reader.array::<4>("router") else {
            return (routes, false);
        };
        let mut destination = [0; 4];
        for (byte, known) in destination.iter_mut().zip(prefix) {
            *byte = *known;
        }
        // RFC 3442: the client clears bits beyond the prefix.
        let destination = Ipv4Addr::from(destination) & netmask(prefix_len);
        routes.push((destination, prefix_len, Ipv4Addr::from(router)));
    }
    (routes, true)
}

#[cfg(test)]
mod tests;
