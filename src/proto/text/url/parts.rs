//! The parts of a URL: cut apart, checked, encoded and decoded.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::{MAX_LEN, Scheme, Sha256, UrlError};
use crate::packet::option::known::hex_octet;

pub(super) fn check_text(text: &str) -> Result<(), UrlError> {
    if text.len() > MAX_LEN {
        let start: String = text.chars().take(64).collect();
        return Err(UrlError::new(&start, MAX_LEN, "longer than 8192 octets"));
    }
    match text.find(|c: char| c.is_control()) {
        Some(at) => Err(UrlError::new(text, at + 1, "a control character")),
        None => Ok(()),
    }
}

pub(super) fn check_host(host: &str) -> Result<(), &'static str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match host {
        "" => Err("the host is missing"),
        _ if host.contains(':') => host
            .parse::<Ipv6Addr>()
            .map(drop)
            .map_err(|_| "not an IPv6 address"),
        _ if host.chars().all(is_name) => Ok(()),
        _ => Err("the host has a character that no host name has"),
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
        _ if !port.bytes().all(|octet| octet.is_ascii_digit()) => Err("the port is no number"),
        _ => match port.parse() {
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
    let digits = fragment
        .strip_prefix("sha256=")
        .ok_or("after # only sha256= is known")?;
    digits.parse().map(Some)
}

/// Brings a path into the form it is kept in: HTTP encoded, TFTP decoded and without the mode
/// that RFC 3617 lets stand behind it.
pub(super) fn decode_path(scheme: Scheme, path: &str) -> Result<String, &'static str> {
    match scheme {
        Scheme::Http | Scheme::Https => Ok(encode(path)),
        Scheme::Tftp => {
            let path = path.strip_suffix(";mode=octet").unwrap_or(path);
            let path = percent_decoded_text(path).ok_or("the file name is not UTF-8")?;
            match path.contains(|c: char| c.is_control()) {
                true => Err("a control character in the file name"),
                false => Ok(path),
            }
        }
    }
}

/// Returns the text that a percent-encoded one stands for; none when it is not UTF-8.
pub(super) fn percent_decoded_text(text: &str) -> Option<String> {
    String::from_utf8(percent_decoded(text)).ok()
}

/// Returns the octets that a percent-encoded text stands for; a `%` that encodes nothing stays.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return octets,
            [b'%', high, low, after @ ..] if hex_octet(*high, *low).is_some() => {
                octets.extend(hex_octet(*high, *low));
                rest = after;
            }
            [octet, after @ ..] => {
                octets.push(*octet);
                rest = after;
            }
        }
    }
}

/// Encodes what may not stand in a path or query of HTTP; what is encoded already stays.
pub(super) fn encode(text: &str) -> String {
    encode_where(text, |c| {
        !(c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(c))
    })
}

pub(super) fn encode_where(text: &str, must: impl Fn(char) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if must(c) {
            for octet in c.encode_utf8(&mut [0; 4]).bytes() {
                encoded.push('%');
                encoded.push(hex_digit(octet >> 4));
                encoded.push(hex_digit(octet & 0xf));
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

/// RFC 3986 §5.2.4, on a path that begins with `/`.
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
