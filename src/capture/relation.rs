//! Comparisons of the filter language, as pcap-filter(7) has them: `tcp[13] & 2 != 0`, `len > 100`.
//!
//! ```text
//! relation = sum ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") sum
//! sum      = field | number | name | "(" sum ")" | sum operator sum
//! field    = LAYER "[" number [":" ("1" | "2" | "4")] "]" | "len"
//! ```
//!
//! Operators are those of libpcap, with its ranks: `|`, `&` and `^`, then shifts, then `+` and `-`, then
//! `*`, `/` and `%`. Left out, and refused: a field within brackets, and two fields in one comparison.

use crate::sys::filter::{Size, code};
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_RARP,
};

/// A comparison of a field with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// What the field is in.
    pub layer: Layer,
    /// Its size.
    pub size: Size,
    /// Where it is there.
    pub offset: u32,
    /// What is calculated with it: operations of [`code`], each with its operand.
    pub steps: Vec<(u16, u32)>,
    /// The test of [`code`], and the number that it is against.
    pub test: (u16, u32),
    /// Whether the test is to hold, or not.
    pub holds: bool,
}

/// What a field is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The frame.
    Frame,
    /// None: the field is the length.
    Length,
    /// The header behind the EtherType.
    Network(u16),
    /// The header behind that of IPv4, in a packet that is no later fragment, with this protocol.
    Transport(u32),
    /// ICMPv6 right behind the fixed header.
    Icmp6,
}

/// The comparison, or its result if it is between numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// With a field.
    Field(Relation),
    /// Between numbers.
    Constant(bool),
}

const LAYERS: [(&str, Layer); 12] = [
    ("ether", Layer::Frame),
    ("link", Layer::Frame),
    ("arp", Layer::Network(ETHERTYPE_ARP)),
    ("rarp", Layer::Network(ETHERTYPE_RARP)),
    ("ip", Layer::Network(ETHERTYPE_IPV4)),
    ("ip6", Layer::Network(ETHERTYPE_IPV6)),
    ("tcp", Layer::Transport(6)),
    ("udp", Layer::Transport(17)),
    ("icmp", Layer::Transport(1)),
    ("igmp", Layer::Transport(2)),
    ("sctp", Layer::Transport(132)),
    ("icmp6", Layer::Icmp6),
];

/// Names of offsets and values (pcap-filter(7)).
const NAMES: [(&str, u32); 23] = [
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-timxceed", 11),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
];

/// Operators of each rank, the lowest first.
const RANKS: [&[(&str, u16)]; 4] = [
    &[("|", code::OR), ("&", code::AND), ("^", code::XOR)],
    &[("<<", code::LSH), (">>", code::RSH)],
    &[("+", code::ADD), ("-", code::SUB)],
    &[("*", code::MUL), ("/", code::DIV), ("%", code::MOD)],
];

/// Farther than any field of a frame.
const MAX_OFFSET: u32 = 0xffff;
/// Limit of nesting, for a small stack.
const MAX_DEPTH: u32 = 50;

/// What is wrong, and where.
pub(super) type Fault = (usize, String);

/// Returns whether a field begins with `text`, so that nothing but a comparison can.
pub(super) fn begins(text: &str) -> bool {
    let len = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(len);
    let is_layer = LAYERS.iter().any(|(layer, _)| *layer == name);
    name == "len" || (is_layer && rest.trim_start().starts_with('['))
}

/// Reads a comparison at `at`; returns it and where it ends.
///
/// # Errors
/// What is expected, and where.
pub(super) fn read(text: &str, at: usize) -> Result<(Comparison, usize), Fault> {
    let mut reader = RelationReader { text, at, depth: 0 };
    let left = reader.sum(0)?;
    let (test, holds, mirrored) = reader.relation()?;
    let place = reader.at;
    let right = reader.sum(0)?;
    let (field, test, holds, number) = match (left, right) {
        (Sum::Field(field), Sum::Number(number)) => (field, test, holds, number),
        (Sum::Number(number), Sum::Field(field)) => (field, mirrored.0, mirrored.1, number),
        (Sum::Number(left), Sum::Number(right)) => {
            let is_so = match test {
                code::JEQ => left == right,
                code::JGT => left > right,
                _ => left >= right,
            };
            return Ok((Comparison::Constant(is_so == holds), reader.at));
        }
        (Sum::Field(_), Sum::Field(_)) => {
            return Err((
                place,
                "two fields cannot be compared with each other".to_owned(),
            ));
        }
    };
    let test = (test, number);
    let relation = Relation {
        test,
        holds,
        ..field
    };
    Ok((Comparison::Field(relation), reader.at))
}

enum Sum {
    Number(u32),
    /// A relation whose test is not known yet.
    Field(Relation),
}

struct RelationReader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl RelationReader<'_> {
    fn rest(&mut self) -> &str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, symbol: &str) -> bool {
        let is_there = self.rest().starts_with(symbol);
        self.at += if is_there { symbol.len() } else { 0 };
        is_there
    }

    fn fault<T>(&self, what: &str) -> Result<T, Fault> {
        Err((self.at, what.to_owned()))
    }

    /// Reads what relates both sides: the test, whether it is to hold, and the same with its sides
    /// changed.
    fn relation(&mut self) -> Result<(u16, bool, (u16, bool)), Fault> {
        for (symbol, test, holds, mirrored) in [
            ("!=", code::JEQ, false, (code::JEQ, false)),
            ("==", code::JEQ, true, (code::JEQ, true)),
            ("=", code::JEQ, true, (code::JEQ, true)),
            (">=", code::JGE, true, (code::JGT, false)),
            ("<=", code::JGT, false, (code::JGE, true)),
            (">", code::JGT, true, (code::JGE, false)),
            ("<", code::JGE, false, (code::JGT, true)),
        ] {
            if self.take(symbol) {
                return Ok((test, holds, mirrored));
            }
        }
        self.fault("a comparison such as = or > is expected here")
    }

    fn sum(&mut self, rank: usize) -> Result<Sum, Fault> {
        let Some(operators) = RANKS.get(rank) else {
            return self.operand();
        };
        let mut left = self.sum(rank + 1)?;
        loop {
            self.rest();
            let place = self.at;
            // Neither "||" nor "&&", which join comparisons.
            let is_joined = ["||", "&&"]
                .iter()
                .any(|both| self.rest().starts_with(both));
            let mut known = operators.iter().filter(|_| !is_joined);
            let Some((_, operation)) = known.find(|(symbol, _)| self.take(symbol)) else {
                return Ok(left);
            };
            let right = self.sum(rank + 1)?;
            left = joined(*operation, left, right).map_err(|what| (place, what.to_owned()))?;
        }
    }

    fn operand(&mut self) -> Result<Sum, Fault> {
        if self.take("(") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return self.fault("the filter is nested too deeply");
            }
            let inner = self.sum(0)?;
            self.depth -= 1;
            if !self.take(")") {
                return self.fault("a closing parenthesis is missing");
            }
            return Ok(inner);
        }
        let rest = self.rest();
        // Names have hyphens; between numbers one is an operator.
        let is_name = rest.starts_with(|c: char| c.is_ascii_alphabetic());
        let is_part = |c: char| c.is_ascii_alphanumeric() || (is_name && c == '-');
        let len = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let word = rest.get(..len).unwrap_or_default().to_owned();
        if word == "len" {
            self.at += len;
            return Ok(Sum::Field(field(Layer::Length, Size::Word, 0)));
        }
        if let Some((_, layer)) = LAYERS.iter().find(|(name, _)| *name == word) {
            self.at += len;
            return self.field(*layer);
        }
        match number(&word) {
            Some(number) => {
                self.at += len;
                Ok(Sum::Number(number))
            }
            None => self.fault("a number or a field such as tcp[13] is expected here"),
        }
    }

    fn field(&mut self, layer: Layer) -> Result<Sum, Fault> {
        if !self.take("[") {
            return self.fault("\"[\" is expected here");
        }
        let Sum::Number(offset) = self.sum(0)? else {
            return self.fault("a field within brackets is not supported");
        };
        if offset > MAX_OFFSET {
            return self.fault("no frame is that long");
        }
        let size = if self.take(":") {
            match self.operand()? {
                Sum::Number(1) => Size::Byte,
                Sum::Number(2) => Size::Half,
                Sum::Number(4) => Size::Word,
                Sum::Number(_) | Sum::Field(_) => return self.fault("a size is 1, 2 or 4"),
            }
        } else {
            Size::Byte
        };
        if !self.take("]") {
            return self.fault("\"]\" is expected here");
        }
        Ok(Sum::Field(field(layer, size, offset)))
    }
}

const fn field(layer: Layer, size: Size, offset: u32) -> Relation {
    Relation {
        layer,
        size,
        offset,
        steps: Vec::new(),
        test: (code::JEQ, 0),
        holds: true,
    }
}

/// Calculates with both, now or later.
fn joined(operation: u16, left: Sum, right: Sum) -> Result<Sum, &'static str> {
    let (mut field, number) = match (left, right) {
        (Sum::Number(left), Sum::Number(right)) => {
            let result = match operation {
                code::OR => Some(left | right),
                code::AND => Some(left & right),
                code::XOR => Some(left ^ right),
                code::LSH => left.checked_shl(right),
                code::RSH => left.checked_shr(right),
                code::ADD => Some(left.wrapping_add(right)),
                code::SUB => Some(left.wrapping_sub(right)),
                code::MUL => Some(left.wrapping_mul(right)),
                code::DIV => left.checked_div(right),
                _ => left.checked_rem(right),
            };
            return result.map(Sum::Number).ok_or("this has no result");
        }
        (Sum::Field(field), Sum::Number(number)) => (field, number),
        (Sum::Number(number), Sum::Field(field))
            if [code::OR, code::AND, code::XOR, code::ADD, code::MUL].contains(&operation) =>
        {
            (field, number)
        }
        (Sum::Number(_) | Sum::Field(_), Sum::Field(_)) => {
            return Err("a field stands on the left of this, and there alone");
        }
    };
    let is_shift = operation == code::LSH || operation == code::RSH;
    let is_division = operation == code::DIV || operation == code::MOD;
    if (is_shift && number >= 32) || (is_division && number == 0) {
        return Err("this has no result");
    }
    field.steps.push((operation, number));
    Ok(Sum::Field(field))
}

/// Reads a number as C writes it, or a name of one.
pub(super) fn number(word: &str) -> Option<u32> {
    if let Some((_, value)) = NAMES.iter().find(|(name, _)| *name == word) {
        return Some(*value);
    }
    let hex = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    if let Some(digits) = hex {
        return u32::from_str_radix(digits, 16).ok();
    }
    let radix = if word.starts_with('0') { 8 } else { 10 };
    u32::from_str_radix(word, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_comparison_is_refused_at_its_place() {
        for (text, at, what) in [
            ("tcp[13", 6, "\"]\" is expected"),
            ("tcp[13] & 2", 11, "a comparison"),
            ("tcp[13:3] = 2", 8, "1, 2 or 4"),
            ("tcp[tcp[0]] = 2", 10, "within brackets"),
            ("tcp[0] = udp[0]", 8, "two fields"),
            ("len / 0 = 1", 4, "no result"),
            ("len << 32 = 1", 4, "no result"),
            ("2 - len = 1", 2, "on the left"),
            ("ip[70000] = 1", 8, "that long"),
            ("len = x", 6, "a number"),
            ("len = (1", 8, "parenthesis"),
        ] {
            let (place, why) = read(text, 0).unwrap_err();
            assert!(why.contains(what), "{text}: {why}");
            assert_eq!(place, at, "{text}");
        }
        assert!(read(&format!("{}len = 1", "(".repeat(100_000)), 0).is_err());
    }

    #[test]
    fn numbers_are_calculated_at_once_and_in_libpcaps_ranks() {
        let value = |text: &str| match read(text, 0).unwrap().0 {
            Comparison::Field(relation) => relation.test.1,
            Comparison::Constant(holds) => u32::from(holds),
        };
        assert_eq!(value("len = tcp-syn|tcp-ack"), 0x12);
        assert_eq!(value("len = 1 + 2 * 3 << 1"), 14);
        assert_eq!(value("len = (1 + 2) * 0x10 - 010"), 40);
        assert_eq!(value("2 > 1"), 1);
        assert_eq!(value("2 != 1 + 1"), 0);
        // What follows is left.
        assert_eq!(read("len = 4 and arp", 0).unwrap().1, 8);
        assert_eq!(read("len=4&&arp", 0).unwrap().1, 5);
    }
}
