//! The list of allowed system calls as a filter program, and its installation.

#![allow(
    unsafe_code,
    reason = "prctl takes the address of the program, for which there is no wrapper"
)]

use nix::errno::Errno;

use super::calls::{
    ArgumentCondition, BASE, CAPTURE, FILES, LEASE, MEMORY, NETWORK, OTHER_LIBC, REFUSED, Rule,
    TERMINAL, Verdict, WORKER,
};
use crate::sys::error::SyscallError;
use crate::sys::filter::{FilterInstruction, FilterProgram, ProgramError, code};

/// The system calls that a process needs, beside those of memory, threads and open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Sockets of IPv4 and IPv6.
    Network,
    /// The settings of the terminal.
    Terminal,
    /// Packet and netlink sockets, and timers.
    Lease,
    /// The counters of packet sockets that are open.
    Capture,
    /// What makes files: all that name a path, within a root of its own.
    Files,
}

/// Reaction to a system call that is not on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnViolation {
    /// The kernel kills the process.
    Kill,
    /// The kernel logs the call and executes it, to find what a list lacks.
    Log,
}

// linux/seccomp.h: before Linux 4.14 the first one kills the thread, which has the same value up to the
// highest bit.
const KILL_PROCESS: u32 = 0x8000_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
/// With the error number in the low half.
const ERRNO: u32 = 0x0005_0000;

/// `AUDIT_ARCH_*` of linux/audit.h.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in the kernel's `struct seccomp_data`; an argument has 8 bytes, the low half first.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// Lets this process make the calls of `calls` alone from now on, as will all threads it starts.
///
/// # Errors
/// EINVAL: this kernel has no seccomp. EACCES: it may gain privileges still.
pub(super) fn filter(calls: Calls, on_violation: OnViolation) -> Result<(), SyscallError> {
    const CALL: &str = "prctl(PR_SET_SECCOMP)";
    let program = program(calls, on_violation);
    let program = program.map_err(|_| SyscallError::new(CALL, Errno::EINVAL))?;
    let mut instructions: Vec<libc::sock_filter> = program
        .instructions()
        .iter()
        .map(|&FilterInstruction { code, jt, jf, k }| libc::sock_filter { code, jt, jf, k })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len())
            .map_err(|_| SyscallError::new(CALL, Errno::EINVAL))?,
        filter: instructions.as_mut_ptr(),
    };
    let mode = libc::SECCOMP_MODE_FILTER as libc::c_ulong;
    // SAFETY: the program and the instructions that it points to live through the call, which copies
    // them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SyscallError::new(CALL, errno))
}

/// Returns the filter.
pub(super) fn program(
    calls: Calls,
    on_violation: OnViolation,
) -> Result<FilterProgram, ProgramError> {
    let otherwise = match on_violation {
        OnViolation::Kill => KILL_PROCESS,
        OnViolation::Log => LOG,
    };
    let more: &[&[Rule]] = match calls {
        Calls::Network => &[WORKER, NETWORK],
        Calls::Terminal => &[WORKER, MEMORY, TERMINAL],
        Calls::Lease => &[WORKER, MEMORY, LEASE],
        Calls::Capture => &[CAPTURE],
        Calls::Files => &[WORKER, MEMORY, FILES],
    };
    // The numbers of another architecture mean other calls.
    let mut all = vec![
        load(ARCHITECTURE_AT),
        jump(code::JEQ, ARCHITECTURE, 1, 0),
        ret(KILL_PROCESS),
        load(NUMBER_AT),
    ];
    let lists = [BASE].iter().chain(more).chain(&[OTHER_LIBC, REFUSED]);
    for rule in lists.copied().flatten() {
        all.extend(instructions(rule, otherwise));
    }
    all.push(ret(otherwise));
    FilterProgram::new(all)
}

/// Returns what decides about one call; all others go on behind it.
fn instructions(rule: &Rule, otherwise: u32) -> Vec<FilterInstruction> {
    let mut body = Vec::new();
    let action = match rule.verdict {
        Verdict::Refused(errno) => ERRNO | errno as u32,
        Verdict::AllowedIf(conditions) => {
            for condition in conditions {
                body.extend(unless(*condition, otherwise));
            }
            ALLOW
        }
    };
    body.push(ret(action));
    let number = u32::try_from(rule.number).unwrap_or(u32::MAX);
    let len = u8::try_from(body.len()).unwrap_or(u8::MAX);
    body.insert(0, jump(code::JEQ, number, 0, len));
    body
}

/// Returns what ends in `otherwise` unless a condition holds.
fn unless(condition: ArgumentCondition, otherwise: u32) -> Vec<FilterInstruction> {
    let argument = |argument| load(ARGUMENTS_AT + 8 * argument);
    match condition {
        ArgumentCondition::Is(index, values) => {
            let mut all = vec![argument(index)];
            for (value, left) in values.iter().zip((0..values.len()).rev()) {
                // Over the other values, and what they end in.
                let over = u8::try_from(left + 1).unwrap_or(u8::MAX);
                all.push(jump(code::JEQ, *value, over, 0));
            }
            all.push(ret(otherwise));
            all
        }
        ArgumentCondition::Lacks(index, bits) => {
            let test = jump(code::JSET, bits, 0, 1);
            vec![argument(index), test, ret(otherwise)]
        }
        ArgumentCondition::Has(index, bits) => {
            let test = jump(code::JSET, bits, 1, 0);
            vec![argument(index), test, ret(otherwise)]
        }
    }
}

const fn load(offset: u32) -> FilterInstruction {
    instruction(code::LD | code::W | code::ABS, 0, 0, offset)
}

const fn jump(test: u16, value: u32, jt: u8, jf: u8) -> FilterInstruction {
    instruction(code::JMP | test | code::K, jt, jf, value)
}

const fn ret(action: u32) -> FilterInstruction {
    instruction(code::RET | code::K, 0, 0, action)
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> FilterInstruction {
    FilterInstruction { code, jt, jf, k }
}

/// Makes a system call whose arguments are numbers, or addresses where nothing is.
#[cfg(test)]
pub(super) fn raw_call(number: libc::c_long, arguments: [libc::c_long; 3]) -> libc::c_long {
    let [first, second, third] = arguments;
    // SAFETY: those that the tests make take numbers, or fail for the addresses.
    unsafe { libc::syscall(number, first, second, third, 0, 0, 0) }
}
