//! The filter language, a subset of pcap-filter(7).
//!
//! ```text
//! expression = term { ("and" | "&&" | "or" | "||") term }     equal rank, from left to right
//! term       = ("not" | "!") term | "(" expression ")" | primitive
//! primitive  = "arp" | "rarp" | "ip" | "ip6" | "icmp" | "icmp6" | "tcp" | "udp"
//!            | "vlan" [ID]
//!            | "ether" ["src" | "dst"] "host" MAC
//!            | ["ip" | "ip6" | "arp"] ["src" | "dst"] ["host"] ADDRESS
//!            | ["tcp" | "udp"] ["src" | "dst"] ("port" PORT | "portrange" FIRST-LAST)
//! ```
//!
//! As in pcap-filter, the expression after `vlan` is about the frame inside the tag. Everything else
//! is refused with its position, and so are values without qualifiers after `and` and `or`
//! (`port 67 or 68`).

use std::net::IpAddr;

use super::compile::{Endpoint, Expression, Network, Primitive, Transport};
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_RARP,
};

/// A syntax error, with its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  {text}\n  {:>width$}", "^", width = .at + 1)]
pub struct SyntaxError {
    /// What is wrong.
    pub what: String,
    /// The expression.
    pub text: String,
    /// Characters before the error.
    pub at: usize,
}

/// Parses a filter; an empty one passes every frame.
///
/// # Errors
/// The first syntax error.
pub fn parse(text: &str) -> Result<Expression, SyntaxError> {
    let mut parser = ExpressionParser {
        text,
        words: words(text),
        next: 0,
        depth: 0,
    };
    if parser.words.is_empty() {
        return Ok(Expression::Everything);
    }
    let expression = parser.expression()?;
    match parser.peek() {
        None => Ok(expression),
        Some(word) => Err(parser.error(format!("\"{word}\" is not expected here"))),
    }
}

/// Splits into words, each with its offset in bytes.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        let at = text.len() - rest.len() + start;
        rest = rest.get(start..).unwrap_or_default();
        let is_symbol = |c: char| matches!(c, '(' | ')' | '!');
        let len = if rest.starts_with(is_symbol) {
            1
        } else {
            rest.find(|c: char| c.is_whitespace() || is_symbol(c))
                .unwrap_or(rest.len())
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
}

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
    fn error(&self, what: impl Into<String>) -> SyntaxError {
        let at = self
            .words
            .get(self.next)
            .map_or(self.text.len(), |(at, _)| *at);
        SyntaxError {
            what: what.into(),
            text: self.text.to_owned(),
            at: self
                .text
                .get(..at)
                .map_or(at, |before| before.chars().count()),
        }
    }

    fn expression(&mut self) -> Result<Expression, SyntaxError> {
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

    fn term(&mut self) -> Result<Expression, SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("the filter is nested too deeply"));
        }
        let term = if self.take(&["not", "!"]).is_some() {
            Expression::Not(Box::new(self.term()?))
        } else if self.take(&["("]).is_some() {
            let inner = self.expression()?;
            if self.take(&[")"]).is_none() {
                return Err(self.error("a closing parenthesis is missing"));
            }
            inner
        } else {
            Expression::Primitive(self.primitive()?)
        };
        self.depth -= 1;
        Ok(term)
    }

    fn primitive(&mut self) -> Result<Primitive, SyntaxError> {
        if self.take(&["vlan"]).is_some() {
            let id = self.peek().and_then(|word| word.parse().ok());
            self.next += usize::from(id.is_some());
            return match id {
                Some(0x1000..) => {
                    self.next -= 1;
                    Err(self.error("a VLAN identifier is 0 to 4095"))
                }
                id => Ok(Primitive::Vlan(id)),
            };
        }
        let protocol = self.take(&[
            "ether", "arp", "rarp", "ip", "ip6", "icmp", "icmp6", "tcp", "udp",
        ]);
        let direction = match self.take(&["src", "dst"]) {
            Some("src") => Endpoint::Source,
            Some(_) => Endpoint::Destination,
            None => Endpoint::Either,
        };
        let kind = self.take(&["host", "port", "portrange"]);
        let complete = direction == Endpoint::Either && kind.is_none();
        match (protocol, kind) {
            (Some(protocol), None) if complete && protocol != "ether" => {
                if self
                    .peek()
                    .is_some_and(|word| word.parse::<IpAddr>().is_ok())
                    && let Some(network) = network(Some(protocol))
                {
                    return self.host(network, direction);
                }
                Ok(alone(protocol))
            }
            (Some("ether"), Some("host")) => {
                let address = self.value("a hardware address such as 52:54:00:12:34:56")?;
                Ok(Primitive::EtherHost(direction, address))
            }
            (None | Some("tcp" | "udp"), Some("port" | "portrange")) => {
                let transport = match protocol {
                    Some("tcp") => Transport::Tcp,
                    Some(_) => Transport::Udp,
                    None => Transport::Any,
                };
                let (first, last) = self.ports(kind == Some("portrange"))?;
                Ok(Primitive::Ports(transport, direction, first, last))
            }
            (protocol, None | Some("host")) if network(protocol).is_some() => {
                let network = network(protocol).unwrap_or(Network::Any);
                if complete && protocol.is_none() && self.address().is_none() {
                    return Err(self.unknown());
                }
                self.host(network, direction)
            }
            (protocol, _) => {
                self.next -= 1;
                let protocol = protocol.unwrap_or_default();
                Err(self.error(format!("\"{protocol}\" does not go with this")))
            }
        }
    }

    fn unknown(&self) -> SyntaxError {
        self.error(match self.peek() {
            Some(word) => format!("\"{word}\" is not understood"),
            None => "the filter ends where a condition is expected".to_owned(),
        })
    }

    fn address(&self) -> Option<IpAddr> {
        self.peek().and_then(|word| word.parse().ok())
    }

    fn host(&mut self, network: Network, direction: Endpoint) -> Result<Primitive, SyntaxError> {
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

    fn value<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, SyntaxError> {
        let value = self
            .peek()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| self.error(format!("{what} is expected here")))?;
        self.next += 1;
        Ok(value)
    }

    fn ports(&mut self, range: bool) -> Result<(u16, u16), SyntaxError> {
        let word = self.peek().unwrap_or_default();
        let ports = if range {
            word.split_once('-')
                .and_then(|(first, last)| Some((port(first)?, port(last)?)))
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

fn network(protocol: Option<&str>) -> Option<Network> {
    match protocol {
        None => Some(Network::Any),
        Some("ip") => Some(Network::Ip),
        Some("ip6") => Some(Network::Ip6),
        Some("arp") => Some(Network::Arp),
        Some("rarp") => Some(Network::Rarp),
        Some(_) => None,
    }
}

/// Returns the test for a protocol by itself.
fn alone(protocol: &str) -> Primitive {
    match protocol {
        "arp" => Primitive::EtherType(ETHERTYPE_ARP),
        "rarp" => Primitive::EtherType(ETHERTYPE_RARP),
        "ip" => Primitive::EtherType(ETHERTYPE_IPV4),
        "ip6" => Primitive::EtherType(ETHERTYPE_IPV6),
        "icmp" => Primitive::Icmp,
        "icmp6" => Primitive::Icmp6,
        "tcp" => Primitive::Transport(Transport::Tcp),
        _ => Primitive::Transport(Transport::Udp),
    }
}

/// Parses a port number, or the name of a port that a boot uses.
fn port(word: &str) -> Option<u16> {
    Some(match word {
        // tcpdump looks names up in /etc/services, which an initramfs does not have.
        "bootps" => 67,
        "bootpc" => 68,
        "tftp" => 69,
        "domain" => 53,
        "http" => 80,
        "ntp" => 123,
        "https" => 443,
        number => number.parse().ok()?,
    })
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
            ("portrange 67", 10, "a range"),
            ("host fritz.box", 5, "an IP address"),
            ("ip6 host 192.0.2.1", 9, "another family"),
            ("(udp or tcp", 11, "parenthesis"),
            ("udp and", 7, "ends where"),
            ("ether host 1:2", 11, "a hardware address"),
            ("vlan 4096", 5, "0 to 4095"),
            ("ip[9] = 17", 0, "\"ip[9]\" is not understood"),
            ("icmp port 7", 5, "does not go"),
            ("port 67 or 68", 11, "not understood"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{error}");
            assert!(error.what.contains(what), "{error}");
        }
        let shown = parse("udp prot 67").unwrap_err().to_string();
        assert!(shown.ends_with("\n  udp prot 67\n      ^"), "{shown}");
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
