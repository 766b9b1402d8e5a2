//! Programs as text: printed as `tcpdump -d` does, and read as `tcpdump -ddd` prints them.

use std::fmt;

use super::program::{FilterInstruction, FilterProgram, ProgramError, ancillary, code};

/// Prints one instruction a line, in the format of `tcpdump -d`.
impl fmt::Display for FilterProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, instruction) in self.instructions().iter().enumerate() {
            let (name, operand) = describe(at, *instruction);
            write!(f, "({at:03}) {name:<8} {operand}")?;
            let is_test = instruction.code & 7 == code::JMP && instruction.code != code::JMP;
            if is_test {
                let to = |skip: u8| at + 1 + usize::from(skip);
                let width = 16_usize.saturating_sub(operand.len());
                let (jt, jf) = (to(instruction.jt), to(instruction.jf));
                write!(f, "{:width$} jt {jt}\tjf {jf}", "")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Returns the name and the operand of an instruction that stands at `at`.
fn describe(at: usize, instruction: FilterInstruction) -> (&'static str, String) {
    use code::*;
    let FilterInstruction { code, k, .. } = instruction;
    let size = code & (H | B);
    let constant = |name| {
        let operand = if code & X == 0 {
            format!("#{k:#x}")
        } else {
            "x".to_owned()
        };
        (name, operand)
    };
    match (code & 7, code & 0xe0) {
        (LD, IMM) => ("ld", format!("#{k:#x}")),
        (LD, LEN) => ("ld", "#pktlen".to_owned()),
        (LD, MEM) => ("ld", format!("M[{k}]")),
        (LD, how) => {
            let name = match size {
                H => "ldh",
                B => "ldb",
                _ => "ld",
            };
            let operand = match k {
                _ if how == IND => format!("[x + {k}]"),
                // Names as bpf_image of libpcap prints them.
                ancillary::VLAN_TAG => "[vlan_tci]".to_owned(),
                ancillary::VLAN_TAG_PRESENT => "[vlanp]".to_owned(),
                ancillary::VLAN_TPID => "[vlan_tpid]".to_owned(),
                ancillary::PROTOCOL => "[proto]".to_owned(),
                ancillary::PKTTYPE => "[type]".to_owned(),
                ancillary::IFINDEX => "[ifidx]".to_owned(),
                _ => format!("[{k}]"),
            };
            (name, operand)
        }
        (LDX, IMM) => ("ldx", format!("#{k:#x}")),
        (LDX, LEN) => ("ldx", "#pktlen".to_owned()),
        (LDX, MEM) => ("ldx", format!("M[{k}]")),
        (LDX, _) => ("ldxb", format!("4*([{k}]&0xf)")),
        (ST, _) => ("st", format!("M[{k}]")),
        (STX, _) => ("stx", format!("M[{k}]")),
        (RET, _) if code & A != 0 => ("ret", String::new()),
        (RET, _) => ("ret", format!("#{k}")),
        (MISC, _) if code & TXA != 0 => ("txa", String::new()),
        (MISC, _) => ("tax", String::new()),
        (JMP, _) => match code & 0xf0 {
            JEQ => constant("jeq"),
            JGT => constant("jgt"),
            JGE => constant("jge"),
            JSET => constant("jset"),
            _ => {
                let target = usize::try_from(k).unwrap_or(usize::MAX);
                ("ja", (at + 1).saturating_add(target).to_string())
            }
        },
        _ => match code & 0xf0 {
            ADD => constant("add"),
            SUB => constant("sub"),
            MUL => constant("mul"),
            DIV => constant("div"),
            MOD => constant("mod"),
            OR => constant("or"),
            AND => constant("and"),
            XOR => constant("xor"),
            LSH => constant("lsh"),
            RSH => constant("rsh"),
            _ => ("neg", String::new()),
        },
    }
}

/// A syntax error in a program's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The first line is not the number of the lines that follow it.
    #[error("line 1: the number of instructions is expected, and {lines} of them follow")]
    Count {
        /// Lines behind the first.
        lines: usize,
    },
    /// A line is not four numbers in their ranges.
    #[error("line {line}: \"code jt jf k\" in decimal is expected, not \"{text}\"")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// The instructions are no program.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

impl FilterProgram {
    /// Reads what `tcpdump -ddd` prints: the number of instructions, then `code jt jf k` for
    /// each, in decimal.
    ///
    /// # Errors
    /// The first line that is not of that form, or the first broken rule of the program.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut lines = text.lines();
        let count = lines.next().and_then(|line| line.trim().parse().ok());
        let lines: Vec<_> = lines.filter(|line| !line.trim().is_empty()).collect();
        // Output that was cut would still be a valid program, of another meaning.
        if count != Some(lines.len()) {
            return Err(TextError::Count { lines: lines.len() });
        }
        let mut instructions = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            instructions.push(parse_line(line).ok_or_else(|| TextError::Line {
                line: index + 2,
                text: (*line).to_owned(),
            })?);
        }
        Ok(Self::new(instructions)?)
    }
}

fn parse_line(line: &str) -> Option<FilterInstruction> {
    let mut numbers = line.split_whitespace();
    let instruction = FilterInstruction {
        code: numbers.next()?.parse().ok()?,
        jt: numbers.next()?.parse().ok()?,
        jf: numbers.next()?.parse().ok()?,
        k: numbers.next()?.parse().ok()?,
    };
    numbers.next().is_none().then_some(instruction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tcpdump -y EN10MB -ddd "vlan 5 and ip[0] & 0xf != 5"`, shortened by hand.
    const DDD: &str = "8\n40 0 0 12\n21 0 5 33024\n40 0 0 14\n84 0 0 4095\n21 0 2 5\n\
        177 0 0 14\n6 0 0 262144\n6 0 0 0\n";

    #[test]
    fn a_program_is_read_and_printed_as_tcpdump_prints_it() {
        let printed = "(000) ldh      [12]\n\
            (001) jeq      #0x8100          jt 2\tjf 7\n\
            (002) ldh      [14]\n\
            (003) and      #0xfff\n\
            (004) jeq      #0x5             jt 5\tjf 7\n\
            (005) ldxb     4*([14]&0xf)\n\
            (006) ret      #262144\n\
            (007) ret      #0\n";
        assert_eq!(FilterProgram::parse(DDD).unwrap().to_string(), printed);
    }

    #[test]
    fn a_text_that_is_no_program_is_refused_with_its_line() {
        assert_eq!(FilterProgram::parse(""), Err(TextError::Count { lines: 0 }));
        assert_eq!(
            FilterProgram::parse("2\n6 0 0 0"),
            Err(TextError::Count { lines: 1 })
        );
        for line in ["6 0 0", "6 0 0 0 0", "6 256 0 0", "-6 0 0 0", "ret 0"] {
            let error = TextError::Line {
                line: 2,
                text: line.to_owned(),
            };
            assert_eq!(FilterProgram::parse(&format!("1\n{line}\n")), Err(error));
        }
        assert_eq!(
            FilterProgram::parse("1\n40 0 0 12\n"),
            Err(TextError::Program(ProgramError::NoReturn))
        );
    }
}
