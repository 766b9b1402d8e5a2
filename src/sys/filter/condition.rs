//! Conditions – tests joined by and, or and not – and their compilation to programs.
//!
//! Code is generated from its end to its beginning: all jumps of classic BPF go forward, so that both
//! targets of a test are known when it is emitted.

use super::program::{FilterInstruction, FilterProgram, ProgramError, ancillary, code, ret};
use wireboot_proto::packet::ethernet::MacAddress;

/// The size of a [`Load`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    Byte,
    /// Two bytes in network order.
    Half,
    /// Four bytes in network order.
    Word,
}

impl Size {
    /// Returns it as a part of an operation code.
    pub const fn code(self) -> u16 {
        match self {
            Self::Byte => code::B,
            Self::Half => code::H,
            Self::Word => code::W,
        }
    }
}

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// From the frame, at `offset`.
    Frame {
        /// Bytes to load.
        size: Size,
        /// Offset in the frame.
        offset: u32,
    },
    /// From the payload of an IPv4 packet, after options.
    BehindIpv4 {
        /// Bytes to load.
        size: Size,
        /// Offset of the IPv4 header in the frame.
        header: u32,
        /// Offset in the payload.
        offset: u32,
    },
    /// The length of the frame on the wire.
    Length,
    /// Metadata of the frame: one of [`ancillary::KNOWN`].
    Ancillary(u32),
}

/// A condition on a frame.
///
/// A load beyond the end of the frame rejects the frame as a whole, also below [`Not`]
/// (this is how classic BPF works, in the kernel as in libpcap).
///
/// [`Not`]: Condition::Not
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Always holds, or never.
    Constant(bool),
    /// The value, masked, equals the number.
    Equal(Load, u32, u32),
    /// The value is greater than or equal to the number.
    AtLeast(Load, u32),
    /// One of the mask's bits is set in the value.
    AnyBit(Load, u32),
    /// What instructions without jumps calculate, each with its operand, passes a test of [`code`].
    #[cfg(feature = "capture")]
    Compare(Vec<(u16, u32)>, (u16, u32)),
    /// The condition does not hold.
    Not(Box<Self>),
    /// Both hold; the second is evaluated only if the first does.
    And(Box<Self>, Box<Self>),
    /// One of them holds; the second is evaluated only if the first does not.
    Or(Box<Self>, Box<Self>),
}

impl Condition {
    /// The value equals `number`.
    pub const fn equal(load: Load, number: u32) -> Self {
        Self::Equal(load, u32::MAX, number)
    }

    /// The six bytes at `offset`, as `load` reaches them, are this address. The last four are
    /// compared first, as by libpcap.
    pub fn is_mac(load: impl Fn(Size, u32) -> Load, offset: u32, address: MacAddress) -> Self {
        let MacAddress([a, b, c, d, e, f]) = address;
        let first = u16::from_be_bytes([a, b]).into();
        let last = u32::from_be_bytes([c, d, e, f]);
        Self::equal(load(Size::Word, offset + 2), last)
            .and(Self::equal(load(Size::Half, offset), first))
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    /// One of them holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    /// It does not hold.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Generates the program that keeps `snap_len` bytes (1 or more) of frames for which the
    /// condition holds.
    ///
    /// # Errors
    /// [`ProgramError`] if the condition is too long, or has an invalid load.
    pub fn compile(&self, snap_len: u32) -> Result<FilterProgram, ProgramError> {
        let mut code = Backward::default();
        let reject = code.push(ret(0));
        let accept = code.push(ret(snap_len));
        let entry = code.condition(self, accept, reject);
        // The target of a constant is not always the next instruction.
        code.jump(entry);
        code.finish()
    }
}

/// A position in the code: the number of instructions from it to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct JumpTarget(usize);

/// Instructions in reverse order.
#[derive(Debug, Default)]
struct Backward(Vec<FilterInstruction>);

impl Backward {
    const fn here(&self) -> JumpTarget {
        JumpTarget(self.0.len())
    }

    fn push(&mut self, instruction: FilterInstruction) -> JumpTarget {
        self.0.push(instruction);
        self.here()
    }

    fn statement(&mut self, code: u16, k: u32) {
        self.push(FilterInstruction {
            code,
            jt: 0,
            jf: 0,
            k,
        });
    }

    /// Emits a jump to `target`, unless that is the next instruction.
    fn jump(&mut self, target: JumpTarget) {
        let distance = self.here().0 - target.0;
        if distance > 0 {
            let distance = u32::try_from(distance).unwrap_or(u32::MAX);
            self.statement(code::JMP | code::JA, distance);
        }
    }

    /// Returns a label that a conditional jump emitted within two instructions can reach.
    fn near(&mut self, target: JumpTarget) -> JumpTarget {
        // One more instruction may be in between: the trampoline of the other target.
        // jt and jf have 8 bits; only an unconditional jump has 32 (struct sock_filter).
        if self.here().0 + 1 - target.0 > usize::from(u8::MAX) {
            self.jump(target);
            return self.here();
        }
        target
    }

    fn test(&mut self, test: u16, k: u32, yes: JumpTarget, no: JumpTarget) {
        let yes = self.near(yes);
        let no = self.near(no);
        // `near` has brought both within reach.
        let distance = |label: JumpTarget| u8::try_from(self.here().0 - label.0).unwrap_or(u8::MAX);
        self.push(FilterInstruction {
            code: code::JMP | test,
            jt: distance(yes),
            jf: distance(no),
            k,
        });
    }

    fn load(&mut self, load: Load) {
        match load {
            Load::Frame { size, offset } => {
                self.statement(code::LD | size.code() | code::ABS, offset);
            }
            Load::BehindIpv4 {
                size,
                header,
                offset,
            } => {
                self.statement(
                    code::LD | size.code() | code::IND,
                    header.saturating_add(offset),
                );
                // The one instruction made for it: four times the low half of the byte, IPv4's IHL.
                self.statement(code::LDX | code::B | code::MSH, header);
            }
            Load::Length => self.statement(code::LD | code::LEN, 0),
            Load::Ancillary(offset) => {
                debug_assert!(ancillary::KNOWN.contains(&offset), "{offset:#x}");
                self.statement(code::LD | code::W | code::ABS, offset);
            }
        }
    }

    /// Emits the code of `condition` and returns where it begins.
    fn condition(&mut self, condition: &Condition, yes: JumpTarget, no: JumpTarget) -> JumpTarget {
        match condition {
            Condition::Constant(holds) => return if *holds { yes } else { no },
            Condition::Equal(load, mask, number) => {
                self.test(code::JEQ, *number, yes, no);
                if *mask != u32::MAX {
                    self.statement(code::ALU | code::AND | code::K, *mask);
                }
                self.load(*load);
            }
            Condition::AtLeast(load, number) => {
                self.test(code::JGE, *number, yes, no);
                self.load(*load);
            }
            Condition::AnyBit(load, mask) => {
                self.test(code::JSET, *mask, yes, no);
                self.load(*load);
            }
            #[cfg(feature = "capture")]
            Condition::Compare(statements, (test, number)) => {
                self.test(*test, *number, yes, no);
                for (code, operand) in statements.iter().rev() {
                    self.statement(*code, *operand);
                }
            }
            Condition::Not(inner) => return self.condition(inner, no, yes),
            Condition::And(first, second) => {
                let second = self.condition(second, yes, no);
                return self.condition(first, second, no);
            }
            Condition::Or(first, second) => {
                let second = self.condition(second, yes, no);
                return self.condition(first, yes, second);
            }
        }
        self.here()
    }

    fn finish(mut self) -> Result<FilterProgram, ProgramError> {
        self.0.reverse();
        FilterProgram::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::WHOLE_FRAME;
    use super::*;

    fn octet_is(offset: u32, number: u32) -> Condition {
        Condition::equal(
            Load::Frame {
                size: Size::Byte,
                offset,
            },
            number,
        )
    }

    #[test]
    fn and_or_and_not_mean_what_they_say() {
        let condition = octet_is(0, 1)
            .and(octet_is(1, 1).or(octet_is(2, 1).negated()))
            .or(Condition::Constant(false));
        let program = condition.compile(WHOLE_FRAME).unwrap();
        for bits in 0..8_u8 {
            let frame = [bits & 1, bits >> 1 & 1, bits >> 2 & 1];
            let expected = frame[0] == 1 && (frame[1] == 1 || frame[2] == 0);
            assert_eq!(program.run(&frame) != 0, expected, "{frame:?}");
        }
        assert_eq!(program.run(&[1]), 0);
        let always = Condition::Constant(true).compile(64).unwrap();
        assert_eq!(always.run(&[]), 64);
    }

    #[test]
    fn jumps_farther_than_a_conditional_jump_reaches_are_relayed() {
        let long = (1..=600).fold(octet_is(0, 0), |condition, number| {
            condition.or(octet_is(0, number % 256).and(octet_is(1, number / 256)))
        });
        let program = long.compile(WHOLE_FRAME).unwrap();
        for (frame, passes) in [
            ([0, 9], true),
            ([5, 1], true),
            ([1, 4], false),
            ([88, 2], true),
            ([89, 2], false),
        ] {
            assert_eq!(program.run(&frame) != 0, passes, "{frame:?}");
        }
    }

    #[test]
    fn a_condition_too_long_for_the_kernel_is_refused_and_not_cut() {
        let long = (0..3_000).fold(octet_is(0, 0), |condition, _| condition.or(octet_is(0, 1)));
        assert!(matches!(
            long.compile(1),
            Err(ProgramError::Length(6_001..))
        ));
    }
}
