//! The filter language, a subset of pcap-filter(7).
//!
//! ```text
//! expression = term { ("and" | "&&" | "or" | "||") term }     equal rank, from left to right
//! term       = ("not" | "!") term | "(" expression ")" | primitive
//! primitive  = "arp" | "rarp" | "ip" | "ip6" | "stp" | "llc" | ETHERPROTOCOL | IPPROTOCOL
//!            | "inbound" | "outbound" | "ifindex" NUMBER      of frames from the kernel
//!            | "vlan" [ID]
//!            | ("ether" | "link") [DIRECTION] ["host"] MAC
//!            | "ether" "proto" (NUMBER | NAME) | ["ip" | "ip6"] "proto" (NUMBER | NAME)
//!            | ["ether"] ("broadcast" | "multicast") | ("ip" | "ip6") "multicast"
//!            | ["ip" | "ip6" | "arp" | "rarp"] [DIRECTION] ["host"] ADDRESS
//!            | ["ip" | "ip6" | "arp" | "rarp"] [DIRECTION] "net" NETWORK ["mask" MASK]
//!            | ["tcp" | "udp" | "sctp"] [DIRECTION] ("port" PORT | "portrange" FIRST-LAST)
//!            | ("greater" | "less") LENGTH | relation        see the module `relation`
//! DIRECTION  = "src" | "dst" | "src or dst" | "src and dst"
//! ```
//!
//! As in pcap-filter, the expression after `vlan` is about the frame inside the tag, and a value by
//! itself after `and` and `or`, or in parentheses, has the qualifiers before it (`port 67 or 68`).
//! Everything else is refused with its position.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::compile::{Endpoint, Expression, Network, Primitive, Transport};
use super::names::{PROTOCOLS, STP, alone, ethertype, mac, network, port, short_network};
use super::relation::{self, Comparison};
use wireboot_proto::text::safe::Safe;

/// A syntax error, with its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SyntaxError {
    /// What is wrong.
    pub what: String,
    /// The expression.
    pub text: String,
    /// Characters before the error.
    pub at: usize,
}

impl SyntaxError {
    /// Returns the expression, and below it a mark at the error.
    pub fn excerpt(&self) -> String {
        let Self { text, at, .. } = self;
        format!(
            "  {}\n  {:>width$}\n",
            Safe::line(text),
            "^",
            width = at + 1
        )
    }
}

/// Parses a filter; an empty one passes every frame.
///
/// # Errors
/// The first syntax error.
pub fn parse(text: &str) -> Result<Expression, Box<SyntaxError>> {
    let mut parser = ExpressionParser {
        text,
        words: words(text),
        next: 0,
        depth: 0,
        last: None,
        fault: None,
    };
    if parser.words.is_empty() {
        return Ok(Expression::Everything);
    }
    let result = parser.expression();
    let result = result.and_then(|expression| match parser.peek() {
        None => Ok(expression),
        Some(word) => Err(parser.error(format!("\"{word}\" is not expected here"))),
    });
    result.map_err(|error| {
        // Of a parenthesis that was read both ways, what is wrong in the one that went farther.
        let fault = parser.fault.take().filter(|fault| fault.at > error.at);
        fault.unwrap_or(error)
    })
}

/// Splits into words, each with its offset in bytes.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        let at = text.len() - rest.len() + start;
        rest = rest.get(start..).unwrap_or_default();
        let is_symbol = |c: char| matches!(c, '(' | ')' | '!');
        let is_joint = |at: usize| {
            let rest = rest.get(at..).unwrap_or_default();
            rest.starts_with("&&") || rest.starts_with("||")
        };
        let len = if rest.starts_with(is_symbol) {
            1
        } else if is_joint(0) {
            2
        } else {
            let mut ends = rest.char_indices();
            let end = ends.find(|(at, c)| c.is_whitespace() || is_symbol(*c) || is_joint(*at));
            end.map_or(rest.len(), |(at, _)| at)
        };
        let (word, behind) = rest.split_at(len);
        words.push((at, word));
        rest = behind;
    }
    words
}

struct ExpressionParser<'a> {
    text: &'a str,
    words: Vec<(usize, &'a str)>,
    next: usize,
    depth: usize,
    /// What was said before the last value.
    last: Option<Qualifiers<'a>>,
    /// What kept a parenthesis from being the begin of a comparison.
    fault: Option<Box<SyntaxError>>,
}

/// What a value is: its protocol, its direction, and its kind.
type Qualifiers<'a> = (Option<&'a str>, Endpoint, Option<&'a str>);

/// Limit of nesting, for a small stack.
const MAX_DEPTH: usize = 100;

impl<'a> ExpressionParser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).map(|(_, word)| *word)
    }

    fn take(&mut self, choices: &[&str]) -> Option<&'a str> {
        let word = self.peek().filter(|word| choices.contains(word))?;
        self.next += 1;
        Some(word)
    }

    /// Returns an error about the next word.
    fn error(&self, what: impl Into<String>) -> Box<SyntaxError> {
        let next = self.words.get(self.next);
        self.error_at(next.map_or(self.text.len(), |(at, _)| *at), what)
    }

    fn error_at(&self, at: usize, what: impl Into<String>) -> Box<SyntaxError> {
        Box::new(SyntaxError {
            what: what.into(),
            text: self.text.to_owned(),
            at: self
                .text
                .get(..at)
                .map_or(at, |before| before.chars().count()),
        })
    }

    fn expression(&mut self) -> Result<Expression, Box<SyntaxError>> {
        let mut left = self.term()?;
        while let Some(word) = self.take(&["and", "&&", "or", "||"]) {
            let right = Box::new(self.term()?);
            left = match word {
                "and" | "&&" => Expression::And(Box::new(left), right),
                _ => Expression::Or(Box::new(left), right),
            };
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Expression, Box<SyntaxError>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("the filter is nested too deeply"));
        }
        let term = if self.take(&["not", "!"]).is_some() {
            Expression::Not(Box::new(self.term()?))
        } else if let Some(relation) = self.relation()? {
            relation
        } else if self.take(&["("]).is_some() {
            let inner = self.expression()?;
            if self.take(&[")"]).is_none() {
                return Err(self.error("a closing parenthesis is missing"));
            }
            inner
        } else {
            self.primitive()?
        };
        self.depth -= 1;
        Ok(term)
    }

    /// Reads a comparison, if there is one here.
    fn relation(&mut self) -> Result<Option<Expression>, Box<SyntaxError>> {
        let Some((at, word)) = self.words.get(self.next).copied() else {
            return Ok(None);
        };
        let is_field = relation::begins(self.text.get(at..).unwrap_or_default());
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        if !is_field && !is_number && !word.starts_with(['(', '-']) {
            return Ok(None);
        }
        match relation::read(self.text, at) {
            Ok((comparison, end)) => {
                self.next = self.words.iter().take_while(|(at, _)| *at < end).count();
                Ok(Some(match comparison {
                    Comparison::Relation(relation) => Expression::Relation(relation),
                    Comparison::Constant(true) => Expression::Everything,
                    Comparison::Constant(false) => {
                        Expression::Not(Box::new(Expression::Everything))
                    }
                }))
            }
            Err((at, what)) => {
                let error = self.error_at(at, what);
                if is_field {
                    return Err(error);
                }
                // Something else may begin with a parenthesis or a number.
                if !is_number && self.fault.as_ref().is_none_or(|fault| fault.at < error.at) {
                    self.fault = Some(error);
                }
                Ok(None)
            }
        }
    }

    fn primitive(&mut self) -> Result<Expression, Box<SyntaxError>> {
        if let Some(primitive) = self.unqualified()? {
            return Ok(Expression::Primitive(primitive));
        }
        let mut protocol = self.take(&[
            "ether", "link", "arp", "rarp", "ip", "ip6", "icmp", "icmp6", "tcp", "udp", "igmp",
            "esp", "ah", "pim", "sctp", "igrp", "vrrp", "carp", "decnet", "lat", "moprc", "mopdl",
            "sca", "pppoed",
        ]);
        if protocol == Some("link") {
            protocol = Some("ether");
        }
        if let Some(kind) = self.take(&["proto", "broadcast", "multicast"]) {
            return self.of_protocol(protocol, kind).map(Expression::Primitive);
        }
        let direction = self.direction();
        let kind = self.take(&["host", "net", "port", "portrange"]);
        let mut qualifiers = (protocol, direction, kind);
        if qualifiers == (None, Endpoint::Either, None) {
            // A value by itself has what was said before the last one.
            qualifiers = self.last.unwrap_or(qualifiers);
            if self.address().is_none() && self.last.is_none() {
                return Err(self.unknown());
            }
        } else if kind.is_some() && self.take(&["("]).is_some() {
            self.last = Some(qualifiers);
            let inner = self.expression()?;
            if self.take(&[")"]).is_none() {
                return Err(self.error("a closing parenthesis is missing"));
            }
            return Ok(inner);
        }
        let primitive = self.qualified(qualifiers)?;
        Ok(Expression::Primitive(primitive))
    }

    /// Reads a primitive without qualifiers, if there is one here.
    fn unqualified(&mut self) -> Result<Option<Primitive>, Box<SyntaxError>> {
        let Some(word) = self.take(&[
            "vlan",
            "stp",
            "broadcast",
            "multicast",
            "proto",
            "greater",
            "less",
            "llc",
            "inbound",
            "outbound",
            "ifindex",
        ]) else {
            return Ok(None);
        };
        Ok(Some(match word {
            "vlan" => {
                let id = self.peek().and_then(relation::number);
                if let Some(0x1000..) = id {
                    return Err(self.error("a VLAN identifier is 0 to 4095"));
                }
                self.next += usize::from(id.is_some());
                Primitive::Vlan(id.and_then(|id| u16::try_from(id).ok()))
            }
            "stp" => Primitive::Llc(STP),
            "llc" => Primitive::AnyLlc,
            "inbound" => Primitive::Outbound(false),
            "outbound" => Primitive::Outbound(true),
            "ifindex" => Primitive::Interface(self.number("the index of an interface")?),
            "broadcast" => Primitive::Broadcast,
            "multicast" => Primitive::Multicast,
            "proto" => self.of_protocol(None, word)?,
            _ => {
                let number = self.number("a length in bytes")?;
                return Ok(Some(Primitive::Length(word == "greater", number)));
            }
        }))
    }

    /// Reads what goes with `kind` of a protocol.
    fn of_protocol(
        &mut self,
        protocol: Option<&str>,
        kind: &str,
    ) -> Result<Primitive, Box<SyntaxError>> {
        Ok(match (protocol, kind) {
            (Some("ether"), "broadcast") => Primitive::Broadcast,
            (Some("ether"), "multicast") => Primitive::Multicast,
            (Some("ip"), "multicast") => Primitive::IpMulticast(Network::Ip),
            (Some("ip6"), "multicast") => Primitive::IpMulticast(Network::Ip6),
            (Some("ether"), "proto") => {
                let word = self.name();
                let number = word.and_then(ethertype);
                let number = number
                    .ok_or_else(|| self.error("an EtherType such as 0x0806 is expected here"))?;
                self.next += 1;
                match u8::try_from(number) {
                    Ok(sap) => Primitive::Llc(sap),
                    // Between them it is a length, which is no protocol.
                    Err(_) => Primitive::EtherType(number),
                }
            }
            (None | Some("ip" | "ip6"), "proto") => {
                let word = self.name();
                let known = PROTOCOLS.iter().find(|(name, ..)| word == Some(*name));
                let number = known.map(|(_, number, _)| *number);
                let number = number.or_else(|| relation::number(word?)?.try_into().ok());
                let number =
                    number.ok_or_else(|| self.error("a protocol over IP is expected here"))?;
                self.next += 1;
                let network = match protocol {
                    Some("ip") => Network::Ip,
                    Some(_) => Network::Ip6,
                    None => Network::Any,
                };
                Primitive::IpProtocol(network, number)
            }
            _ => {
                self.next -= 1;
                let protocol = protocol.unwrap_or_default();
                return Err(self.error(format!("\"{kind}\" does not go with {protocol}")));
            }
        })
    }

    /// Returns the next word without the backslash that tells names from primitives.
    fn name(&self) -> Option<&'a str> {
        let word = self.peek()?;
        Some(word.strip_prefix('\\').unwrap_or(word))
    }

    fn direction(&mut self) -> Endpoint {
        let first = self.take(&["src", "dst"]);
        let after = |count: usize| self.words.get(self.next + count).map(|(_, word)| *word);
        let is_other = |word| {
            matches!(
                (first, word),
                (Some("src"), Some("dst")) | (Some("dst"), Some("src"))
            )
        };
        let both = match after(0) {
            Some("or") if is_other(after(1)) => Some(Endpoint::Either),
            Some("and") if is_other(after(1)) => Some(Endpoint::Both),
            _ => None,
        };
        self.next += if both.is_some() { 2 } else { 0 };
        match first {
            Some(_) if both.is_some() => both.unwrap_or(Endpoint::Either),
            Some("src") => Endpoint::Source,
            Some(_) => Endpoint::Destination,
            None => Endpoint::Either,
        }
    }

    /// Reads the value that goes with `qualifiers`.
    fn qualified(&mut self, qualifiers: Qualifiers<'a>) -> Result<Primitive, Box<SyntaxError>> {
        let (protocol, direction, kind) = qualifiers;
        let complete = direction == Endpoint::Either && kind.is_none();
        let primitive = match (protocol, kind) {
            (Some(protocol), None) if complete && protocol != "ether" => {
                if self.address().is_none() || network(Some(protocol)).is_none() {
                    return Ok(alone(protocol));
                }
                self.host(network(Some(protocol)).unwrap_or(Network::Any), direction)?
            }
            (Some("ether"), None | Some("host")) => {
                let address = self.peek().and_then(mac);
                let expected = "a hardware address such as 52:54:00:12:34:56 is expected here";
                let address = address.ok_or_else(|| self.error(expected))?;
                self.next += 1;
                Primitive::EtherHost(direction, address)
            }
            (None | Some("tcp" | "udp" | "sctp"), Some("port" | "portrange")) => {
                let transport = match protocol {
                    Some("tcp") => Transport::Tcp,
                    Some("sctp") => Transport::Sctp,
                    Some(_) => Transport::Udp,
                    None => Transport::Any,
                };
                let (first, last) = self.ports(kind == Some("portrange"))?;
                Primitive::Ports(transport, direction, first, last)
            }
            (protocol, Some("net")) if network(protocol).is_some() => {
                self.net(network(protocol).unwrap_or(Network::Any), direction)?
            }
            (protocol, None | Some("host")) if network(protocol).is_some() => {
                self.host(network(protocol).unwrap_or(Network::Any), direction)?
            }
            (protocol, _) => {
                self.next -= 1;
                let protocol = protocol.unwrap_or_default();
                return Err(self.error(format!("\"{protocol}\" does not go with this")));
            }
        };
        self.last = Some(qualifiers);
        Ok(primitive)
    }

    /// Reads a network: `10`, `192.168`, `192.0.2.0/24`, `192.0.2.0 mask 255.255.255.0`, `2001:db8::/32`.
    fn net(
        &mut self,
        network: Network,
        direction: Endpoint,
    ) -> Result<Primitive, Box<SyntaxError>> {
        let word = self.peek().unwrap_or_default();
        let (address, len) = match word.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (word, None),
        };
        let what = "a network such as 192.0.2.0/24 is expected here";
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            let len = len.map_or(Some(128), |len| len.parse().ok());
            let len = len
                .filter(|len| *len <= 128)
                .ok_or_else(|| self.error(what))?;
            if !matches!(network, Network::Any | Network::Ip6) {
                return Err(self.error(format!("{address} is of another family")));
            }
            let inside = u128::MAX.checked_shr(len.into()).unwrap_or(0);
            if address.to_bits() & inside != 0 {
                return Err(self.error(format!("{address} has bits behind its prefix")));
            }
            self.next += 1;
            return Ok(Primitive::Net6(direction, address, len));
        }
        let (mut bits, mut mask) = short_network(address).ok_or_else(|| self.error(what))?;
        if let Some(len) = len {
            let len = len.parse::<u32>().ok().filter(|len| *len <= 32);
            let len = len.ok_or_else(|| self.error(what))?;
            mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        }
        if network == Network::Ip6 {
            return Err(self.error(format!("{address} is of another family")));
        }
        self.next += 1;
        if len.is_none() && self.take(&["mask"]).is_some() {
            let given: Ipv4Addr = self.value("a mask such as 255.255.255.0")?;
            mask = given.to_bits();
        }
        if bits & !mask != 0 {
            self.next -= 1;
            return Err(self.error(format!("{address} has bits outside its mask")));
        }
        bits &= mask;
        Ok(Primitive::Net(network, direction, bits, mask))
    }

    fn unknown(&self) -> Box<SyntaxError> {
        self.error(match self.peek() {
            Some(word) => format!("\"{word}\" is not understood"),
            None => "the filter ends where a condition is expected".to_owned(),
        })
    }

    fn address(&self) -> Option<IpAddr> {
        self.peek().and_then(|word| word.parse().ok())
    }

    fn host(
        &mut self,
        network: Network,
        direction: Endpoint,
    ) -> Result<Primitive, Box<SyntaxError>> {
        let address = self
            .address()
            .ok_or_else(|| self.error("an IP address is expected here"))?;
        let fits = match network {
            Network::Any => true,
            Network::Ip | Network::Arp | Network::Rarp => address.is_ipv4(),
            Network::Ip6 => address.is_ipv6(),
        };
        if !fits {
            return Err(self.error(format!("{address} is of another family")));
        }
        self.next += 1;
        Ok(Primitive::Host(network, direction, address))
    }

    fn number(&mut self, what: &str) -> Result<u32, Box<SyntaxError>> {
        let number = self.peek().and_then(relation::number);
        let number = number.ok_or_else(|| self.error(format!("{what} is expected here")))?;
        self.next += 1;
        Ok(number)
    }

    fn value<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Box<SyntaxError>> {
        let value = self
            .peek()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| self.error(format!("{what} is expected here")))?;
        self.next += 1;
        Ok(value)
    }

    fn ports(&mut self, range: bool) -> Result<(u16, u16), Box<SyntaxError>> {
        let word = self.peek().unwrap_or_default();
        let ports = if range {
            word.split_once('-')
                .and_then(|(first, last)| Some((port(first)?, port(last)?)))
                .or_else(|| Some((port(word)?, port(word)?)))
        } else {
            port(word).map(|port| (port, port))
        };
        let (first, last) = ports.ok_or_else(|| {
            let what = if range {
                "a range such as 67-68"
            } else {
                "a port, 0 to 65535,"
            };
            self.error(format!("{what} is expected here"))
        })?;
        self.next += 1;
        // As libpcap, which accepts a range in either order (gen_portrangeop).
        Ok((first.min(last), first.max(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_shown_at_its_place() {
        for (text, at, what) in [
            ("udp prot 67", 4, "\"prot\" is not expected here"),
            ("port", 4, "a port"),
            ("port 65536", 5, "a port"),
            ("portrange 67-x", 10, "a range"),
            ("host fritz.box", 5, "an IP address"),
            ("ip6 host 192.0.2.1", 9, "another family"),
            ("(udp or tcp", 11, "parenthesis"),
            ("udp and", 7, "ends where"),
            ("ether host 1:2", 11, "a hardware address"),
            ("vlan 4096", 5, "0 to 4095"),
            ("ip[9] = x", 8, "a number"),
            ("icmp port 7", 5, "does not go"),
            ("port 67 or 192.0.2.1", 11, "a port"),
            ("net 192.0.2.1/24", 4, "outside its mask"),
            ("net 2001:db8::1/32", 4, "behind its prefix"),
            ("ip broadcast", 3, "does not go"),
            ("proto x", 6, "a protocol"),
            ("((len - 64) / 0 = 1) and arp", 12, "no result"),
            ("(len & 3) + ip[9 = 4", 17, "\"]\" is expected"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{error}");
            assert!(error.what.contains(what), "{error}");
        }
        let shown = parse("udp prot 67").unwrap_err().excerpt();
        assert_eq!(shown, "  udp prot 67\n      ^\n");
        assert!(parse(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn and_and_or_have_equal_rank() {
        let written = parse("arp or ip and udp").unwrap();
        assert_eq!(written, parse("(arp || ip) && udp").unwrap());
        assert_eq!(parse("!(arp)").unwrap(), parse("not arp").unwrap());
        assert_eq!(parse(" ").unwrap(), Expression::Everything);
        assert_eq!(
            parse("192.0.2.1").unwrap(),
            parse("host 192.0.2.1").unwrap()
        );
    }
}
