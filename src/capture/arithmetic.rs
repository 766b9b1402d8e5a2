//! What comparisons of the filter language calculate with, and its instructions.

use crate::sys::filter::{Size, code};

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
