//! Comparisons of the filter language, as pcap-filter(7) has them (`tcp[13] & 2 != 0`, `len > 100`): how
//! they are read, and the instructions that calculate them.
//!
//! ```text
//! relation = sum ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") sum
//! sum      = field | number | name | "(" sum ")" | "-" sum | sum operator sum
//! field    = LAYER "[" sum [":" ("1" | "2" | "4")] "]" | "len"
//! ```
//!
//! Operators are those of libpcap, with its ranks: `|` and `&`, then shifts, then `+` and `-`, then `*` and
//! `/`. `^` and `%` have no rank in its grammar: their right side is all that follows, as far as it goes.

use crate::sys::filter::{Size, calculate, code};
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_RARP,
};

/// The comparison of two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The left side.
    pub left: Value,
    /// The right side.
    pub right: Value,
    /// The test of [`code`].
    pub test: u16,
    /// Whether the test is to hold, or not.
    pub holds: bool,
}

/// A value that a frame has, or that is calculated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u32),
    /// The length of the frame.
    Length,
    /// A part of the frame.
    Field(Layer, Size, Box<Self>),
    /// Zero minus a value.
    Negative(Box<Self>),
    /// An operation of [`code`] on two values.
    Operation(u16, Box<(Self, Self)>),
}

/// What a field is in; its offset counts from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The frame.
    Frame,
    /// The header behind the EtherType.
    Network(u16),
    /// The header behind that of IPv4, in a packet that is no later fragment, with this protocol.
    Transport(u32),
    /// ICMPv6 right behind the fixed header.
    Icmp6,
}

/// Instructions without jumps: codes and operands.
pub type Statements = Vec<(u16, u32)>;

/// Length of the fixed header of IPv6, in bytes.
const IPV6_LEN: u32 = 40;

impl Value {
    /// Returns how many intermediate results must be kept.
    pub fn depth(&self) -> u32 {
        match self {
            Self::Number(_) | Self::Length => 0,
            Self::Field(_, _, inner) | Self::Negative(inner) => inner.depth(),
            Self::Operation(_, sides) => match &**sides {
                (left, Self::Number(_)) => left.depth(),
                (left, right) => left.depth().max(1 + right.depth()),
            },
        }
    }

    /// Calls `with` for each layer that a frame must have, in libpcap's order.
    ///
    /// Of an operation only those of its left side, as in libpcap (gen_arth): `len - ip[0]` is calculated
    /// of whatever there is in other frames.
    pub fn layers(&self, with: &mut dyn FnMut(Layer)) {
        match self {
            Self::Number(_) | Self::Length => {}
            Self::Negative(inner) => inner.layers(with),
            Self::Field(layer, _, offset) => {
                offset.layers(with);
                with(*layer);
            }
            Self::Operation(_, sides) => sides.0.layers(with),
        }
    }

    /// Appends the instructions that put the value into the accumulator, of a frame whose payload begins at
    /// `payload`; memory from `free` on may be used.
    pub fn append(&self, payload: u32, free: u32, to: &mut Statements) {
        match self {
            Self::Number(number) => to.push((code::LD | code::IMM, *number)),
            Self::Length => to.push((code::LD | code::LEN, 0)),
            Self::Negative(inner) => {
                inner.append(payload, free, to);
                to.push((code::ALU | code::NEG, 0));
            }
            Self::Field(layer, size, offset) => {
                let load = code::LD | size.code();
                let begin = match layer {
                    Layer::Frame => 0,
                    Layer::Network(_) | Layer::Transport(_) => payload,
                    Layer::Icmp6 => payload + IPV6_LEN,
                };
                // Made for it: four times the low half of the byte, IPv4's IHL.
                let header_len = (code::LDX | code::B | code::MSH, payload);
                match (layer, &**offset) {
                    (Layer::Transport(_), Self::Number(offset)) => {
                        to.push(header_len);
                        to.push((load | code::IND, begin + offset));
                    }
                    (_, Self::Number(offset)) => to.push((load | code::ABS, begin + offset)),
                    (_, offset) => {
                        offset.append(payload, free, to);
                        if let Layer::Transport(_) = layer {
                            to.push(header_len);
                            to.push((code::ALU | code::ADD | code::X, 0));
                        }
                        to.push((code::MISC | code::TAX, 0));
                        to.push((load | code::IND, begin));
                    }
                }
            }
            Self::Operation(operation, sides) => {
                let (left, right) = &**sides;
                let operand = left.append_with(right, payload, free, to);
                to.push((code::ALU | operation | operand.0, operand.1));
            }
        }
    }

    /// Appends as [`Value::append`], and the instructions that put `right` beside it; returns where that is.
    fn append_with(
        &self,
        right: &Self,
        payload: u32,
        free: u32,
        to: &mut Statements,
    ) -> (u16, u32) {
        self.append(payload, free, to);
        if let Self::Number(number) = right {
            return (code::K, *number);
        }
        to.push((code::ST, free));
        right.append(payload, free + 1, to);
        to.push((code::MISC | code::TAX, 0));
        to.push((code::LD | code::MEM, free));
        (code::X, 0)
    }
}

impl Relation {
    /// Returns the instructions that calculate both sides, and the test with its operand.
    pub fn statements(&self, payload: u32) -> (Statements, (u16, u32)) {
        let mut statements = Vec::new();
        let operand = self
            .left
            .append_with(&self.right, payload, 0, &mut statements);
        (statements, (self.test | operand.0, operand.1))
    }
}

/// The comparison, or its result if it is between numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Of what a frame has.
    Relation(Box<Relation>),
    /// Between numbers.
    Constant(bool),
}

// Protocols by their numbers (IANA); carp has that of vrrp.
const LAYERS: [(&str, Layer); 16] = [
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
    ("igrp", Layer::Transport(9)),
    ("pim", Layer::Transport(103)),
    ("vrrp", Layer::Transport(112)),
    ("carp", Layer::Transport(112)),
    ("icmp6", Layer::Icmp6),
];

/// Names of offsets and values (pcap-filter(7)): a number and the names of it, with what they begin with.
const NAMES: [(&str, &str); 4] = [
    ("tcp", "13flags"),
    ("tcp-", "1fin 2syn 4rst 8push 16ack 32urg 64ece 128cwr"),
    (
        "icmp",
        "0type 1code 0-echoreply 3-unreach 4-sourcequench 5-redirect 8-echo 9-routeradvert \
         10-routersolicit 11-timxceed 12-paramprob 13-tstamp 14-tstampreply 15-ireq 16-ireqreply \
         17-maskreq 18-maskreply",
    ),
    (
        "icmp6",
        "0type 1code 1-destinationunreach 2-packettoobig 3-timeexceeded 4-parameterproblem 128-echo \
         129-echoreply 130-multicastlistenerquery 131-multicastlistenerreportv1 \
         132-multicastlistenerdone 133-routersolicit 134-routeradvert 135-neighborsolicit \
         136-neighboradvert 137-redirect 138-routerrenum 139-nodeinformationquery \
         140-nodeinformationresponse 141-ineighbordiscoverysolicit 142-ineighbordiscoveryadvert \
         143-multicastlistenerreportv2 144-homeagentdiscoveryrequest 145-homeagentdiscoveryreply \
         146-mobileprefixsolicit 147-mobileprefixadvert 148-certpathsolicit 149-certpathadvert \
         151-multicastrouteradvert 152-multicastroutersolicit 153-multicastroutertermination",
    ),
];

/// Operators of each rank, the lowest first.
const RANKS: [&[(&str, u16)]; 4] = [
    &[("|", code::OR), ("&", code::AND)],
    &[("<<", code::LSH), (">>", code::RSH)],
    &[("+", code::ADD), ("-", code::SUB)],
    &[("*", code::MUL), ("/", code::DIV)],
];
/// Operators without a rank.
const UNRANKED: &[(&str, u16)] = &[("^", code::XOR), ("%", code::MOD)];

/// Farther than any field of a frame.
const MAX_OFFSET: u32 = 0x1_0000;
/// Limit of operators and parentheses, for a small stack.
const MAX_OPERATORS: u32 = 100;
/// Intermediate results that a program has memory for: 16, and the other side of the comparison.
const MAX_DEPTH: u32 = 15;

/// What is wrong, and where.
pub(super) type Fault = (usize, String);

/// Returns whether a field begins with `text`, so that nothing but a comparison can.
pub(super) fn begins(text: &str) -> bool {
    let len = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(len);
    let is_layer = LAYERS.iter().any(|(layer, _)| *layer == name);
    name == "len" || name == "length" || (is_layer && rest.trim_start().starts_with('['))
}

/// Reads a comparison at `at`; returns it and where it ends.
///
/// # Errors
/// What is expected, and where.
pub(super) fn read(text: &str, at: usize) -> Result<(Comparison, usize), Fault> {
    let mut reader = RelationReader {
        text,
        at,
        operators: 0,
    };
    let left = reader.sum(0)?;
    let (test, holds) = reader.relation()?;
    let right = reader.sum(0)?;
    if let (Value::Number(left), Value::Number(right)) = (&left, &right) {
        let is_so = match test {
            code::JEQ => left == right,
            code::JGT => left > right,
            _ => left >= right,
        };
        return Ok((Comparison::Constant(is_so == holds), reader.at));
    }
    if left.depth().max(right.depth()) > MAX_DEPTH {
        return reader.fault("this has too many intermediate results");
    }
    let relation = Relation {
        left,
        right,
        test,
        holds,
    };
    Ok((Comparison::Relation(Box::new(relation)), reader.at))
}

struct RelationReader<'a> {
    text: &'a str,
    at: usize,
    operators: u32,
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

    /// Reads what relates both sides: the test, and whether it is to hold.
    fn relation(&mut self) -> Result<(u16, bool), Fault> {
        for (symbol, test, holds) in [
            ("!=", code::JEQ, false),
            ("==", code::JEQ, true),
            ("=", code::JEQ, true),
            (">=", code::JGE, true),
            ("<=", code::JGT, false),
            (">", code::JGT, true),
            ("<", code::JGE, false),
        ] {
            if self.take(symbol) {
                return Ok((test, holds));
            }
        }
        self.fault("a comparison such as = or > is expected here")
    }

    /// Counts an operator or a parenthesis.
    fn count(&mut self) -> Result<(), Fault> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return self.fault("the comparison is too long");
        }
        Ok(())
    }

    /// Reads one of these operators; returns where it is, too.
    fn operator(&mut self, operators: &[(&str, u16)]) -> Result<Option<(usize, u16)>, Fault> {
        let rest = self.rest();
        // Neither "||" nor "&&", which join comparisons.
        if rest.starts_with("||") || rest.starts_with("&&") {
            return Ok(None);
        }
        let place = self.at;
        for (symbol, operation) in operators {
            if self.take(symbol) {
                self.count()?;
                return Ok(Some((place, *operation)));
            }
        }
        Ok(None)
    }

    fn sum(&mut self, rank: usize) -> Result<Value, Fault> {
        let Some(operators) = RANKS.get(rank) else {
            return self.unranked();
        };
        let mut left = self.sum(rank + 1)?;
        while let Some((place, operation)) = self.operator(operators)? {
            let right = self.sum(rank + 1)?;
            left = joined(operation, left, right).map_err(|what| (place, what.to_owned()))?;
        }
        Ok(left)
    }

    fn unranked(&mut self) -> Result<Value, Fault> {
        if self.take("-") {
            self.count()?;
            let value = self.unranked()?;
            if let Value::Number(number) = value {
                return Ok(Value::Number(number.wrapping_neg()));
            }
            return Ok(Value::Negative(Box::new(value)));
        }
        let left = self.operand()?;
        let Some((place, operation)) = self.operator(UNRANKED)? else {
            return Ok(left);
        };
        let right = self.sum(0)?;
        joined(operation, left, right).map_err(|what| (place, what.to_owned()))
    }

    fn operand(&mut self) -> Result<Value, Fault> {
        if self.take("(") {
            self.count()?;
            let inner = self.sum(0)?;
            if !self.take(")") {
                return self.fault("a closing parenthesis is missing");
            }
            return Ok(inner);
        }
        let rest = self.rest();
        // Names have hyphens within; elsewhere one is an operator.
        let is_name = rest.starts_with(|c: char| c.is_ascii_alphabetic());
        let is_part = |c: char| c.is_ascii_alphanumeric() || (is_name && c == '-');
        let len = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let word = rest.get(..len).unwrap_or_default();
        let word = word.trim_end_matches('-').to_owned();
        let len = word.len();
        if word == "len" || word == "length" {
            self.at += len;
            return Ok(Value::Length);
        }
        if let Some((_, layer)) = LAYERS.iter().find(|(name, _)| *name == word) {
            self.at += len;
            return self.field(*layer);
        }
        match number(&word) {
            Some(number) => {
                self.at += len;
                Ok(Value::Number(number))
            }
            None => self.fault("a number or a field such as tcp[13] is expected here"),
        }
    }

    fn field(&mut self, layer: Layer) -> Result<Value, Fault> {
        if !self.take("[") {
            return self.fault("\"[\" is expected here");
        }
        self.count()?;
        let offset = self.sum(0)?;
        if let Value::Number(MAX_OFFSET..) = offset {
            return self.fault("no frame is that long");
        }
        let size = if self.take(":") {
            let sizes = [(1, Size::Byte), (2, Size::Half), (4, Size::Word)];
            let given = self.operand()?;
            let mut sizes = sizes.into_iter();
            match sizes.find(|(len, _)| given == Value::Number(*len)) {
                Some((_, size)) => size,
                None => return self.fault("a size is 1, 2 or 4"),
            }
        } else {
            Size::Byte
        };
        if !self.take("]") {
            return self.fault("\"]\" is expected here");
        }
        Ok(Value::Field(layer, size, Box::new(offset)))
    }
}

/// Calculates with both, now or later.
fn joined(operation: u16, left: Value, right: Value) -> Result<Value, &'static str> {
    const NONE: &str = "this has no result";
    if let Value::Number(number) = right {
        let is_shift = operation == code::LSH || operation == code::RSH;
        let is_division = operation == code::DIV || operation == code::MOD;
        if (is_shift && number >= 32) || (is_division && number == 0) {
            return Err(NONE);
        }
        if let Value::Number(left) = left {
            return calculate(operation, left, number)
                .map(Value::Number)
                .ok_or(NONE);
        }
    }
    Ok(Value::Operation(operation, Box::new((left, right))))
}

/// Reads a number as C writes it, or a name of one.
pub(super) fn number(word: &str) -> Option<u32> {
    for (begin, names) in NAMES {
        let rest = word.strip_prefix(begin).unwrap_or_default();
        for name in names.split(' ') {
            let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, name) = name.split_at(digits);
            if name == rest {
                return number.parse().ok();
            }
        }
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
            ("tcp[tcp[0] = 2", 11, "\"]\" is expected"),
            ("tcp[len:len] = 2", 11, "1, 2 or 4"),
            ("tcp[0] = udp", 12, "\"[\" is expected"),
            ("len / 0 = 1", 4, "no result"),
            ("len / (1 - 1) = 1", 4, "no result"),
            ("len << 32 = 1", 4, "no result"),
            ("ip[70000] = 1", 8, "that long"),
            ("ip[-1] = 1", 5, "that long"),
            ("len = x", 6, "a number"),
            ("len - = 1", 6, "a number"),
            ("len = (1", 8, "parenthesis"),
        ] {
            let (place, why) = read(text, 0).unwrap_err();
            assert!(why.contains(what), "{text}: {why}");
            assert_eq!(place, at, "{text}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        for (repeated, rest, what) in [
            ("(", "len = 1", "too long"),
            ("-", "len = 1", "too long"),
            ("len + ", "len = 1", "too long"),
            ("len % ", "len = 1", "too long"),
            ("ip[", "len = 1", "too long"),
        ] {
            let (_, why) = read(&(repeated.repeat(100_000) + rest), 0).unwrap_err();
            assert!(why.contains(what), "{repeated}: {why}");
        }
        let nested =
            |count: usize| format!("{}len{} = 1", "len-(".repeat(count), ")".repeat(count));
        assert!(read(&nested(15), 0).is_ok());
        let (_, why) = read(&nested(16), 0).unwrap_err();
        assert!(why.contains("too many intermediate"), "{why}");
        assert!(read(&format!("{}len = 1", "len - ".repeat(90)), 0).is_ok());
    }

    #[test]
    fn numbers_are_calculated_at_once_and_in_libpcaps_ranks() {
        let value = |text: &str| match read(text, 0).unwrap().0 {
            Comparison::Relation(relation) => {
                let Value::Number(number) = relation.right else {
                    panic!("{relation:?}");
                };
                number
            }
            Comparison::Constant(holds) => u32::from(holds),
        };
        assert_eq!(value("len = tcp-syn|tcp-ack"), 0x12);
        assert_eq!(value("len = 1 + 2 * 3 << 1"), 14);
        assert_eq!(value("len = (1 + 2) * 0x10 - 010"), 40);
        assert_eq!(value("len = -1"), u32::MAX);
        // 7 % (3 + 1), and 1 + (7 ^ (2 * 3)).
        assert_eq!(value("len = 7 % 3 + 1"), 3);
        assert_eq!(value("len = 1 + 7 ^ 2 * 3"), 2);
        assert_eq!(value("2 > 1"), 1);
        assert_eq!(value("2 != 1 + 1"), 0);
        // What follows is left.
        assert_eq!(read("len = 4 and arp", 0).unwrap().1, 8);
        assert_eq!(read("len=4&&arp", 0).unwrap().1, 5);
    }
}
