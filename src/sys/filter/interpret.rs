//! Runs a program in user space, with the kernel's results: for tests, and for frames that come
//! from files.

use super::program::{FilterProgram, ancillary, code};
use wireboot_proto::packet::ethernet::VlanTag;

/// A frame as a program sees it.
#[derive(Debug, Clone, Copy)]
pub struct FilterInput<'a> {
    /// The captured bytes; loads beyond them reject the frame.
    pub octets: &'a [u8],
    /// Length of the frame on the wire, in bytes.
    pub original_len: u32,
    /// The tag that the kernel removed from `octets`.
    pub vlan: Option<VlanTag>,
    /// Index of the interface, 0 when unknown.
    pub interface: u32,
    /// Its packet type: `PACKET_HOST` and the like.
    pub kind: u8,
}

impl<'a> FilterInput<'a> {
    /// Creates the input of a complete frame without metadata.
    pub fn new(octets: &'a [u8]) -> Self {
        Self {
            octets,
            original_len: u32::try_from(octets.len()).unwrap_or(u32::MAX),
            vlan: None,
            interface: 0,
            // PACKET_HOST.
            kind: 0,
        }
    }

    fn load(&self, size: u16, offset: u32) -> Option<u32> {
        let rest = self.octets.get(usize::try_from(offset).ok()?..)?;
        match size {
            code::W => rest.first_chunk().copied().map(u32::from_be_bytes),
            code::H => rest
                .first_chunk()
                .copied()
                .map(|octets| u16::from_be_bytes(octets).into()),
            _ => rest.first().copied().map(u32::from),
        }
    }

    fn load_absolute(&self, size: u16, offset: u32) -> Option<u32> {
        match offset {
            ancillary::PROTOCOL => self.load(code::H, 12),
            ancillary::PKTTYPE => Some(self.kind.into()),
            ancillary::IFINDEX => Some(self.interface),
            ancillary::VLAN_TAG => Some(self.vlan.map_or(0, |tag| tag.tci.into())),
            ancillary::VLAN_TAG_PRESENT => Some(self.vlan.is_some().into()),
            ancillary::VLAN_TPID => Some(self.vlan.map_or(0, |tag| tag.tpid.into())),
            offset => self.load(size, offset),
        }
    }
}

impl FilterProgram {
    /// Runs the program over a frame without metadata; returns how many bytes to keep, 0 to reject it.
    pub fn run(&self, frame: &[u8]) -> u32 {
        self.run_with(&FilterInput::new(frame))
    }

    /// Runs the program on `packet`; returns the number of bytes to capture, 0 to reject it.
    pub fn run_with(&self, packet: &FilterInput<'_>) -> u32 {
        self.interpret(packet).unwrap_or(0)
    }

    /// Returns none where a load fails or a division is by zero, which both reject the frame.
    fn interpret(&self, packet: &FilterInput<'_>) -> Option<u32> {
        use code::*;
        let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
        let mut at = 0_usize;
        // Every jump goes forward, so this ends.
        loop {
            let instruction = self.instructions().get(at)?;
            let k = instruction.k;
            let word = usize::try_from(k).ok()?;
            let operand = if instruction.code & X == 0 { k } else { x };
            let size = instruction.code & (H | B);
            at += 1;
            // BPF_CLASS and BPF_MODE of linux/bpf_common.h.
            match (instruction.code & 7, instruction.code & 0xe0) {
                (LD, ABS) => a = packet.load_absolute(size, k)?,
                (LD, IND) => a = packet.load(size, x.checked_add(k)?)?,
                (LD, IMM) => a = k,
                (LD, LEN) => a = packet.original_len,
                (LD, MEM) => a = *memory.get(word)?,
                (LDX, IMM) => x = k,
                (LDX, LEN) => x = packet.original_len,
                (LDX, MEM) => x = *memory.get(word)?,
                (LDX, MSH) => x = (packet.load(B, k)? & 0xf) * 4,
                (ST, _) => *memory.get_mut(word)? = a,
                (STX, _) => *memory.get_mut(word)? = x,
                (ALU, _) => a = calculate(instruction.code & 0xf0, a, operand)?,
                (JMP, _) => {
                    let distance = match instruction.code & 0xf0 {
                        JA => word,
                        test if compare(test, a, operand) => instruction.jt.into(),
                        _ => instruction.jf.into(),
                    };
                    at = at.checked_add(distance)?;
                }
                (RET, _) => return Some(if instruction.code & A == 0 { k } else { a }),
                (MISC, _) if instruction.code & TXA == 0 => x = a,
                (MISC, _) => a = x,
                _ => return None,
            }
        }
    }
}

/// Returns the result of an operation of [`code`] on a value; none for a division by zero.
pub fn calculate(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        code::ADD => a.wrapping_add(operand),
        code::SUB => a.wrapping_sub(operand),
        code::MUL => a.wrapping_mul(operand),
        // bpf_convert_filter makes the program return 0 where X is 0.
        code::DIV => a.checked_div(operand)?,
        code::MOD => a.checked_rem(operand)?,
        code::OR => a | operand,
        code::AND => a & operand,
        code::XOR => a ^ operand,
        // The kernel masks a count from X with 31 as well (___bpf_prog_run).
        code::LSH => a.wrapping_shl(operand),
        code::RSH => a.wrapping_shr(operand),
        // NEG, the only other one that the check lets through.
        _ => a.wrapping_neg(),
    })
}

const fn compare(test: u16, a: u32, operand: u32) -> bool {
    match test {
        code::JEQ => a == operand,
        code::JGT => a > operand,
        code::JGE => a >= operand,
        _ => a & operand != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::FilterInstruction;
    use super::*;

    fn run(instructions: &[(u16, u32)], packet: &FilterInput<'_>) -> u32 {
        let instructions = instructions
            .iter()
            .map(|(code, k)| FilterInstruction {
                code: *code,
                jt: 0,
                jf: 1,
                k: *k,
            })
            .collect();
        FilterProgram::new(instructions).unwrap().run_with(packet)
    }

    #[test]
    fn registers_memory_and_arithmetic_work_as_in_the_kernel() {
        use code::*;
        let frame = [0x45, 1, 2, 3, 4, 5, 6, 7];
        let packet = FilterInput {
            original_len: 100,
            ..FilterInput::new(&frame)
        };
        let ret_a = (RET | A, 0);
        let table: [(&[(u16, u32)], u32); 12] = [
            (&[(LD | H | ABS, 1), ret_a], 0x0102),
            (&[(LD | W | ABS, 5), ret_a], 0),
            (&[(LD | LEN, 0), ret_a], 100),
            (&[(LDX | B | MSH, 0), (MISC | TXA, 0), ret_a], 20),
            (&[(LDX | IMM, 3), (LD | B | IND, 4), ret_a], 7),
            (&[(LDX | IMM, u32::MAX), (LD | B | IND, 1), ret_a], 0),
            (
                &[(LD | IMM, 7), (ST, 2), (LD | IMM, 0), (LD | MEM, 2), ret_a],
                7,
            ),
            (
                &[(LD | IMM, 7), (ALU | NEG, 0), ret_a],
                7_u32.wrapping_neg(),
            ),
            (&[(LD | IMM, 7), (ALU | DIV | X, 0), ret_a], 0),
            (
                &[(LD | IMM, 7), (MISC | TAX, 0), (ALU | MUL | X, 0), ret_a],
                49,
            ),
            (&[(LD | IMM, 7), (ALU | MOD, 4), ret_a], 3),
            (&[(LD | IMM, 7), (JMP | JSET, 8), (RET, 1), (RET, 2)], 2),
        ];
        for (program, result) in table {
            assert_eq!(run(program, &packet), result, "{program:?}");
        }
    }

    #[test]
    fn a_tag_that_the_kernel_took_out_is_read_through_the_extensions() {
        let tag = VlanTag {
            tpid: 0x8100,
            tci: 0x2005,
        };
        let packet = FilterInput {
            vlan: Some(tag),
            ..FilterInput::new(&[])
        };
        let load = code::LD | code::ABS;
        for (extension, tagged) in [
            (ancillary::VLAN_TAG, 0x2005),
            (ancillary::VLAN_TAG_PRESENT, 1),
            (ancillary::VLAN_TPID, 0x8100),
        ] {
            let program = [(load, extension), (code::RET | code::A, 0)];
            assert_eq!(run(&program, &packet), tagged);
            assert_eq!(run(&program, &FilterInput::new(&[])), 0);
        }
    }
}
