//! The parts of a URL: splitting, checking, encoding and decoding.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use crate::packet::option::known::{hex_byte, parse_hex};
use crate::text::safe::Safe;

/// The longest URL accepted, in bytes, as in nginx and Apache; RFC 9112 §3 recommends 8000 at
/// least.
pub const MAX_LEN: usize = 8192;

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RFC 1350.
    Tftp,
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
}

impl Scheme {
    /// Returns the name as a URL has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tftp => "tftp",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the port where none is named.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tftp => 69,
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A SHA-256 that a file must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Sha256 {
    type Err = &'static str;

    /// Reads 64 hexadecimal digits.
    fn from_str(digits: &str) -> Result<Self, &'static str> {
        let wrong = "a SHA-256 is 64 hexadecimal digits";
        let bytes = parse_hex(digits).filter(|_| digits.len() == 64);
        let sha256 = bytes.and_then(|bytes| bytes.try_into().ok());
        sha256.map(Self).ok_or(wrong)
    }
}

/// The error of a text that is not a supported URL; in a box, which is as small as a URL.
pub type UrlError = Box<UrlFault>;

/// What is wrong with a text that is not a supported URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\": {what} (column {column})", Safe::name(text))]
pub struct UrlFault {
    /// The text, without credentials.
    pub text: String,
    /// The column of the error in bytes, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl UrlFault {
    pub(super) fn new(text: &str, column: usize, what: &'static str) -> UrlError {
        Box::new(Self {
            text: without_credentials(text),
            column,
            what,
        })
    }
}

/// Returns `text` with everything between `://` and the last `@` of the authority replaced.
pub fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => text.to_owned(),
    }
}

pub(super) fn check_text(text: &str) -> Result<(), UrlError> {
    if text.len() > MAX_LEN {
        let start: String = text.chars().take(64).collect();
        return Err(UrlFault::new(&start, MAX_LEN, "longer than 8192 bytes"));
    }
    match text.find(|c: char| c.is_control()) {
        Some(at) => Err(UrlFault::new(text, at + 1, "a control character")),
        None => Ok(()),
    }
}

pub(super) fn check_host(host: &str) -> Result<(), &'static str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match host {
        "" => Err("the host is missing"),
        _ if host.contains(':') => {
            let (address, zone) = split_zone(host);
            let address = address.parse::<Ipv6Addr>();
            let address = address.map_err(|_| "not an IPv6 address")?;
            // RFC 4007 §11: other addresses need no zone.
            let may_have_zone = address.is_unicast_link_local();
            match zone {
                Some(zone) if !may_have_zone || zone.is_empty() || !zone.chars().all(is_name) => {
                    Err("a zone that is no interface, or of no link-local address")
                }
                _ => Ok(()),
            }
        }
        _ if host.chars().all(is_name) => Ok(()),
        _ => Err("a character that host names cannot have"),
    }
}

/// Splits a host from its zone, the interface that a link-local address is reached by.
pub(super) fn split_zone(host: &str) -> (&str, Option<&str>) {
    match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (host, None),
    }
}

pub(super) fn split_port(host_port: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => match rest.split_once(']').ok_or("the ] is missing")? {
            (host, "") => (host, ""),
            (host, after) => (
                host,
                after.strip_prefix(':').ok_or("only a port follows ]")?,
            ),
        },
        None => host_port.split_once(':').unwrap_or((host_port, "")),
    };
    match port {
        "" => Ok((host, None)),
        _ if !port.bytes().all(|byte| byte.is_ascii_digit()) => Err("the port is not a number"),
        _ => match port.parse() {
            // RFC 6335 §6 reserves port 0.
            Ok(0) | Err(_) => Err("a port is 1 to 65535"),
            Ok(port) => Ok((host, Some(port))),
        },
    }
}

pub(super) fn split_fragment(text: &str) -> (&str, &str) {
    text.split_once('#').unwrap_or((text, ""))
}

pub(super) fn split_query(scheme: Scheme, text: &str) -> (&str, Option<&str>) {
    match (scheme, text.split_once('?')) {
        (Scheme::Http | Scheme::Https, Some((path, query))) => (path, Some(query)),
        (Scheme::Http | Scheme::Https, None) | (Scheme::Tftp, _) => (text, None),
    }
}

pub(super) fn parse_pin(fragment: &str) -> Result<Option<Sha256>, &'static str> {
    if fragment.is_empty() {
        return Ok(None);
    }
    // RFC 3986 §3.5: a fragment never reaches the server, so any server can have a pinned file.
    let digits = fragment
        .strip_prefix("sha256=")
        .ok_or("only sha256= is supported after #")?;
    digits.parse().map(Some)
}

/// Normalises a path: percent-encoded for HTTP; decoded and without the mode suffix of RFC 3617 for
/// TFTP.
pub(super) fn decode_path(scheme: Scheme, path: &str) -> Result<String, &'static str> {
    match scheme {
        Scheme::Http | Scheme::Https => Ok(encode(path)),
        Scheme::Tftp => {
            // RFC 3617 §3 knows netascii too, which no boot file is sent in.
            let path = path.strip_suffix(";mode=octet").unwrap_or(path);
            let path = percent_decoded_text(path).ok_or("the file name is not UTF-8")?;
            if path.contains(|c: char| c.is_control()) {
                Err("a control character in the file name")
            } else {
                Ok(path)
            }
        }
    }
}

/// Decodes a percent-encoded text; none when it is not UTF-8.
pub(super) fn percent_decoded_text(text: &str) -> Option<String> {
    String::from_utf8(percent_decoded(text)).ok()
}

/// Decodes a percent-encoded text; a `%` without two hexadecimal digits is kept.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return bytes,
            [b'%', high, low, after @ ..] if hex_byte(*high, *low).is_some() => {
                bytes.extend(hex_byte(*high, *low));
                rest = after;
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
}

/// Encodes the characters that a path or query of HTTP may not contain; encoded ones are kept.
pub(super) fn encode(text: &str) -> String {
    encode_where(text, |c| {
        !(c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(c))
    })
}

pub(super) fn encode_where(text: &str, must: impl Fn(char) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if must(c) {
            // RFC 3986 §2.5: other letters are encoded as their bytes in UTF-8.
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                encoded.push('%');
                encoded.push(hex_digit(byte >> 4));
                encoded.push(hex_digit(byte & 0xf));
            }
        } else {
            encoded.push(c);
        }
    }
    encoded
}

fn hex_digit(value: u8) -> char {
    let digit = char::from_digit(value.into(), 16);
    digit.unwrap_or('0').to_ascii_uppercase()
}

/// Removes `.` and `..` from a path that begins with `/` (RFC 3986 §5.2.4).
pub(super) fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// A file inside of an image: `http://h/live.iso#/casper/vmlinuz` is `/casper/vmlinuz` in the file
/// system of the image `http://h/live.iso`, and `http://h/live.iso#/casper/` the directory it is in.
///
/// The fragment of a URL never reaches the server (RFC 3986 §3.5), and a pin does not begin with `/`.
/// A pin may follow either: `http://h/live.iso#sha256=…` is that of the image,
/// `http://h/live.iso#/casper/vmlinuz#sha256=…` that of the file in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Inside {
    /// The path from its first `/`, decoded.
    pub(super) path: String,
    pub(super) sha256: Option<Sha256>,
}

impl Inside {
    /// Reads the fragment of a URL that begins with `/`.
    pub(super) fn parse(fragment: &str) -> Result<Self, &'static str> {
        let (path, pin) = split_pin(fragment);
        let path = percent_decoded_text(path).ok_or("the file name is not UTF-8")?;
        if path.contains(|c: char| c.is_control()) {
            return Err("a control character in the file name");
        }
        Ok(Self {
            path: remove_dot_segments(&path),
            sha256: parse_pin(pin)?,
        })
    }

    /// Returns the file at `reference`, relative to this one; it is not decoded, except for a pin at
    /// its end.
    pub(super) fn join(&self, reference: &str) -> Result<Self, &'static str> {
        let (name, pin) = split_pin(reference);
        let path = if name.starts_with('/') {
            remove_dot_segments(name)
        } else {
            let end = self.path.rfind('/').map_or(0, |at| at + 1);
            let directory = self.path.get(..end).unwrap_or("/");
            remove_dot_segments(&format!("{directory}{name}"))
        };
        Ok(Self {
            path,
            sha256: parse_pin(pin)?,
        })
    }

    /// Returns the path as a fragment has it.
    pub(super) fn fragment(&self) -> String {
        encode_where(&self.path, |c| {
            matches!(c, '#' | '%' | ' ') || !c.is_ascii()
        })
    }
}

/// Splits off a pin, without its `#`; empty when there is none.
fn split_pin(text: &str) -> (&str, &str) {
    let at = text.rfind("#sha256=");
    let parts = at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    parts.unwrap_or((text, ""))
}
