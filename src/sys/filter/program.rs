//! Filter programs: their instructions, and the checks of the kernel.

/// Return value of an accepting program: more bytes than any frame has.
// tcpdump's own snap length (MAXIMUM_SNAPLEN of libpcap), so that `-d` prints the same last line.
pub const WHOLE_FRAME: u32 = 262_144;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterInstruction {
    /// Operation, addressing and size; the constants of [`code`].
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand: constant, offset, or distance of a jump.
    pub k: u32,
}

/// Operation codes (the BSD names, which the kernel and libpcap share).
#[expect(missing_docs, reason = "each is named and explained by bpf(4)")]
pub mod code {
    // Classes.
    pub const LD: u16 = 0x00;
    pub const LDX: u16 = 0x01;
    pub const ST: u16 = 0x02;
    pub const STX: u16 = 0x03;
    pub const ALU: u16 = 0x04;
    pub const JMP: u16 = 0x05;
    pub const RET: u16 = 0x06;
    pub const MISC: u16 = 0x07;
    // Sizes.
    pub const W: u16 = 0x00;
    pub const H: u16 = 0x08;
    pub const B: u16 = 0x10;
    // Addressing.
    pub const IMM: u16 = 0x00;
    pub const ABS: u16 = 0x20;
    pub const IND: u16 = 0x40;
    pub const MEM: u16 = 0x60;
    pub const LEN: u16 = 0x80;
    pub const MSH: u16 = 0xa0;
    // Arithmetic.
    pub const ADD: u16 = 0x00;
    pub const SUB: u16 = 0x10;
    pub const MUL: u16 = 0x20;
    pub const DIV: u16 = 0x30;
    pub const OR: u16 = 0x40;
    pub const AND: u16 = 0x50;
    pub const LSH: u16 = 0x60;
    pub const RSH: u16 = 0x70;
    pub const NEG: u16 = 0x80;
    pub const MOD: u16 = 0x90;
    pub const XOR: u16 = 0xa0;
    // Jumps.
    pub const JA: u16 = 0x00;
    pub const JEQ: u16 = 0x10;
    pub const JGT: u16 = 0x20;
    pub const JGE: u16 = 0x30;
    pub const JSET: u16 = 0x40;
    // Operands.
    pub const K: u16 = 0x00;
    pub const X: u16 = 0x08;
    pub const A: u16 = 0x10;
    // Between the registers.
    pub const TAX: u16 = 0x00;
    pub const TXA: u16 = 0x80;
}

/// Offsets at which Linux answers absolute loads with metadata (`SKF_AD_*` in linux/filter.h).
pub mod ancillary {
    /// Where they begin (`SKF_AD_OFF`).
    pub const OFFSET: u32 = 0xffff_f000;
    /// EtherType.
    pub const PROTOCOL: u32 = OFFSET;
    /// Packet type (`PACKET_HOST`, …).
    pub const PKTTYPE: u32 = OFFSET + 4;
    /// Index of the interface.
    pub const IFINDEX: u32 = OFFSET + 8;
    /// Control information of the tag that the kernel removed from the frame.
    pub const VLAN_TAG: u32 = OFFSET + 44;
    /// 1 if there is such a tag.
    pub const VLAN_TAG_PRESENT: u32 = OFFSET + 48;
    /// Its EtherType.
    pub const VLAN_TPID: u32 = OFFSET + 60;
    /// All of the above.
    pub const KNOWN: [u32; 6] = [
        PROTOCOL,
        PKTTYPE,
        IFINDEX,
        VLAN_TAG,
        VLAN_TAG_PRESENT,
        VLAN_TPID,
    ];
}

/// A violated rule of filter programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// Its length is not within 1 to 4096.
    #[error("a filter has 1 to 4096 instructions, not {0}")]
    Length(usize),
    /// An operation that does not exist, or not with this operand.
    #[error("instruction {at}: there is no operation {code:#06x} with the operand {k:#x}")]
    Operation {
        /// Its index.
        at: usize,
        /// Its code.
        code: u16,
        /// Its operand.
        k: u32,
    },
    /// A jump over the end.
    #[error("instruction {at} jumps over the end of the filter")]
    Jump {
        /// Its index.
        at: usize,
    },
    /// A load from memory that is not written on every path.
    #[error("instruction {at} reads memory that was not written")]
    Memory {
        /// Its index.
        at: usize,
    },
    /// The last instruction is not a return.
    #[error("the filter does not end with a return")]
    NoReturn,
}

/// A program that the kernel accepts and that ends on every frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterProgram {
    /// INVARIANT: passes [`check`]; the interpreter relies on it for its end, not for safety.
    instructions: Vec<FilterInstruction>,
}

impl FilterProgram {
    /// Checks instructions by the rules of the kernel (`bpf_check_classic`).
    ///
    /// # Errors
    /// The first violated rule.
    pub fn new(instructions: Vec<FilterInstruction>) -> Result<Self, ProgramError> {
        check(&instructions)?;
        Ok(Self { instructions })
    }

    /// Returns the program that accepts every frame.
    pub fn everything() -> Self {
        Self {
            instructions: vec![ret(WHOLE_FRAME)],
        }
    }

    /// Returns the program that rejects every frame, for a socket without its final filter.
    pub fn nothing() -> Self {
        Self {
            instructions: vec![ret(0)],
        }
    }

    /// Returns the instructions in order.
    pub fn instructions(&self) -> &[FilterInstruction] {
        &self.instructions
    }
}

/// Returns from the program, keeping `len` bytes.
pub(super) const fn ret(len: u32) -> FilterInstruction {
    FilterInstruction {
        code: code::RET | code::K,
        jt: 0,
        jf: 0,
        k: len,
    }
}

/// Registers `M[0]` to `M[15]`.
const MEMORY_WORDS: u32 = 16;
// BPF_MAXINSNS of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

fn check(instructions: &[FilterInstruction]) -> Result<(), ProgramError> {
    if instructions.is_empty() || instructions.len() > MAX_INSTRUCTIONS {
        return Err(ProgramError::Length(instructions.len()));
    }
    // Bit n of `written`: M[n] is written on every path to this instruction.
    // As check_load_and_stores: unwritten memory would leak the kernel's stack.
    let mut arriving = vec![u16::MAX; instructions.len()];
    if let Some(first) = arriving.first_mut() {
        *first = 0;
    }
    for (at, instruction) in instructions.iter().enumerate() {
        check_operation(at, *instruction)?;
        let mut written = arriving.get(at).copied().unwrap_or(0);
        // 0 where the operand is none of memory, which may be any number.
        let word = 1_u16.checked_shl(instruction.k).unwrap_or(0);
        match instruction.code {
            code if code == code::ST || code == code::STX => written |= word,
            // LD and LDX differ in the lowest bit.
            code if code & !1 == code::LD | code::MEM && written & word == 0 => {
                return Err(ProgramError::Memory { at });
            }
            _ => {}
        }
        for target in targets(at, *instruction) {
            match arriving.get_mut(target) {
                Some(meets) => *meets &= written,
                None if at + 1 == instructions.len() => return Err(ProgramError::NoReturn),
                None => return Err(ProgramError::Jump { at }),
            }
        }
    }
    Ok(())
}

/// Returns the possible successors of `instruction` at `at`.
fn targets(at: usize, instruction: FilterInstruction) -> Vec<usize> {
    let next = at + 1;
    if instruction.code & 7 == code::RET {
        Vec::new()
    } else if instruction.code == code::JMP | code::JA {
        vec![next.saturating_add(usize::try_from(instruction.k).unwrap_or(usize::MAX))]
    } else if instruction.code & 7 == code::JMP {
        vec![
            next + usize::from(instruction.jt),
            next + usize::from(instruction.jf),
        ]
    } else {
        vec![next]
    }
}

fn check_operation(at: usize, instruction: FilterInstruction) -> Result<(), ProgramError> {
    use code::*;
    let FilterInstruction { code, k, .. } = instruction;
    let known = match code & 7 {
        LD => match code & !7 {
            size if size & !(H | B) == ABS && size & (H | B) != H | B => {
                // From 0xfff0_0000 on (SKF_NET_OFF) loads mean other headers or metadata, not bytes
                // of the frame.
                k < ancillary::OFFSET - 0x000f_f000 || ancillary::KNOWN.contains(&k)
            }
            size if size & !(H | B) == IND => size & (H | B) != H | B,
            IMM | LEN => true,
            MEM => k < MEMORY_WORDS,
            _ => false,
        },
        LDX => match code & !7 {
            IMM | LEN => true,
            MEM => k < MEMORY_WORDS,
            how => how == MSH | B,
        },
        ST | STX => code & !7 == 0 && k < MEMORY_WORDS,
        ALU => match code & 0xfff0 {
            NEG => code & X == 0,
            // bpf_check_classic refuses a constant 0 here, and shifts of 32 or more below.
            DIV | MOD => code & X != 0 || k != 0,
            LSH | RSH => code & X != 0 || k < 32,
            ADD | SUB | MUL | OR | AND | XOR => true,
            _ => false,
        },
        JMP => match code & 0xfff0 {
            JA => code & X == 0,
            JEQ | JGT | JGE | JSET => true,
            _ => false,
        },
        RET => code & !7 == K || code & !7 == A,
        _ => code & !7 == TAX || code & !7 == TXA,
    };
    known
        .then_some(())
        .ok_or(ProgramError::Operation { at, code, k })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> FilterInstruction {
        FilterInstruction { code, jt, jf, k }
    }

    #[test]
    fn programs_that_the_kernel_refuses_are_refused_with_their_reason() {
        use ProgramError::*;
        let refused: [(&[FilterInstruction], ProgramError); 9] = [
            (&[], Length(0)),
            (&[instruction(code::LD | code::ABS, 0, 0, 0)], NoReturn),
            (
                &[instruction(code::JMP | code::JA, 0, 0, 1), ret(0)],
                Jump { at: 0 },
            ),
            (
                &[instruction(code::JMP | code::JEQ, 0, 1, 1), ret(0)],
                Jump { at: 0 },
            ),
            (
                &[instruction(code::JMP | code::JA, 0, 0, u32::MAX), ret(0)],
                Jump { at: 0 },
            ),
            (
                &[instruction(code::ALU | code::DIV, 0, 0, 0), ret(0)],
                Operation {
                    at: 0,
                    code: 0x34,
                    k: 0,
                },
            ),
            (
                &[
                    instruction(code::LD | code::ABS, 0, 0, 0xffff_f000 + 56),
                    ret(0),
                ],
                Operation {
                    at: 0,
                    code: 0x20,
                    k: 0xffff_f038,
                },
            ),
            (
                &[instruction(code::LD | code::MEM, 0, 0, 0), ret(0)],
                Memory { at: 0 },
            ),
            (
                &[
                    instruction(code::JMP | code::JEQ, 0, 1, 1),
                    instruction(code::ST, 0, 0, 3),
                    instruction(code::LDX | code::MEM, 0, 0, 3),
                    ret(0),
                ],
                Memory { at: 2 },
            ),
        ];
        for (program, error) in refused {
            assert_eq!(
                FilterProgram::new(program.to_vec()),
                Err(error),
                "{program:?}"
            );
        }
        assert!(FilterProgram::new(vec![ret(0); 4097]).is_err());
        assert!(FilterProgram::new(vec![ret(0); 4096]).is_ok());
    }

    #[test]
    fn memory_that_every_way_has_written_may_be_read() {
        let program = vec![
            instruction(code::JMP | code::JEQ, 0, 2, 1),
            instruction(code::ST, 0, 0, 15),
            instruction(code::JMP | code::JA, 0, 0, 1),
            instruction(code::STX, 0, 0, 15),
            instruction(code::LD | code::MEM, 0, 0, 15),
            instruction(code::RET | code::A, 0, 0, 0),
        ];
        assert_eq!(FilterProgram::new(program).unwrap().run(&[]), 0);
    }
}
