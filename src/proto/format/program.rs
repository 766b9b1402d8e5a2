//! Programs as Linux starts them (execve(2)): scripts, and ELF files.

/// How much of a program [`interpreter`] is to be given, in bytes.
pub const HEAD_LEN: usize = 4096;

/// ELF's numbers of processors (`e_machine`) whose programs a kernel for this one starts: its own, and the
/// 32-bit one, as most kernels do.
const MACHINES: &[u16] = if cfg!(target_arch = "x86_64") {
    &[62, 3]
} else if cfg!(target_arch = "aarch64") {
    &[183, 40]
} else {
    &[]
};

/// `PT_INTERP`
const INTERPRETER: u32 = 3;

/// Returns the path of the program that starts the one with this head: what a script names, or the dynamic
/// linker; none for one that needs no other. Fields of ELF are read in the byte order of both
/// processors, little endian.
///
/// # Errors
/// Why the kernel does not start it (ENOEXEC), in plain words.
pub fn interpreter(head: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0));
        let word = words.find(|word| !word.is_empty());
        return word.map(Some).ok_or("it is a script that names no program");
    }
    if !head.starts_with(b"\x7fELF") {
        return Err("it is neither a script nor a program for Linux");
    }
    elf(head).ok_or("it is cut off")?
}

/// As [`interpreter`]; none for a header that is cut off.
fn elf(head: &[u8]) -> Option<Result<Option<&[u8]>, &'static str>> {
    let number = |at, len| number(head, at, len);
    let machine = number(18, 2)?;
    if !MACHINES.is_empty() && !MACHINES.iter().any(|own| usize::from(*own) == machine) {
        return Some(Err("it is a program for another processor"));
    }
    // ELFCLASS64 or 32: where the headers of segments are, their length and number, and in each its place
    // in the file and length.
    let is_64 = number(4, 1)? == 2;
    let (from, sizes, place, len, word) = if is_64 {
        (32, 54, 8, 32, 8)
    } else {
        (28, 42, 4, 16, 4)
    };
    let (from, each, count) = (
        number(from, word)?,
        number(sizes, 2)?,
        number(sizes + 2, 2)?,
    );
    // Those behind the head are not looked at: the linker's come first.
    for index in 0..count {
        let Some(at) = each.checked_mul(index).and_then(|at| at.checked_add(from)) else {
            break;
        };
        match number(at, 4) {
            Some(kind) if kind == INTERPRETER as usize => {
                let (place, len) = (number(at + place, word)?, number(at + len, word)?);
                let path = head.get(place..place.checked_add(len)?);
                let path = path.and_then(|path| path.split(|byte| *byte == 0).next());
                return Some(Ok(path.filter(|path| !path.is_empty())));
            }
            Some(_) => {}
            None if head.len() < HEAD_LEN => return None,
            None => break,
        }
    }
    Some(Ok(None))
}

#[inline(never)]
fn number(head: &[u8], at: usize, len: usize) -> Option<usize> {
    let bytes = head.get(at..at.checked_add(len)?)?.iter().rev();
    let value = bytes.fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with these segments: kinds, places and lengths.
    fn elf_64(machine: u16, segments: &[(u32, u64, u64)]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(segments.len()).unwrap();
        for (kind, place, len) in segments {
            let mut header = vec![0; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            header[8..16].copy_from_slice(&place.to_le_bytes());
            header[32..40].copy_from_slice(&len.to_le_bytes());
            file.extend(header);
        }
        file
    }

    #[test]
    fn what_starts_a_program_is_found() {
        for (script, expected) in [
            ("#!/bin/sh\necho", "/bin/sh"),
            ("#! \t/usr/bin/env sh\n", "/usr/bin/env"),
            ("#!/bin/sh", "/bin/sh"),
        ] {
            assert_eq!(
                interpreter(script.as_bytes()),
                Ok(Some(expected.as_bytes()))
            );
        }
        let own = MACHINES.first().copied().unwrap_or_default();
        let mut linked = elf_64(own, &[(1, 0, 9), (3, 232, 8), (1, 0, 9)]);
        linked.extend(b"/lib/ld\0");
        assert_eq!(interpreter(&linked), Ok(Some(&b"/lib/ld"[..])));
        assert_eq!(interpreter(&elf_64(own, &[(1, 0, 9)])), Ok(None));
        // Its place is behind what was read, or nowhere.
        for place in [4096, u64::MAX] {
            let far = elf_64(own, &[(3, place, 8)]);
            assert!(matches!(interpreter(&far), Ok(None) | Err("it is cut off")));
        }
        for (head, why) in [
            (&b""[..], "neither"),
            (b"text", "neither"),
            (b"#!\n/bin/sh", "names no program"),
            (b"\x7fELF\x02\x01", "cut off"),
            (&elf_64(own ^ 0x100, &[]), "another processor"),
        ] {
            assert!(interpreter(head).unwrap_err().contains(why), "{head:?}");
        }
        for len in 0..linked.len() {
            let _ = interpreter(&linked[..len]);
        }
        let mut endless = elf_64(own, &[]);
        endless[32..64].fill(0xff);
        assert_eq!(interpreter(&endless), Err("it is cut off"));
        endless.resize(HEAD_LEN, 0);
        assert_eq!(interpreter(&endless), Ok(None));
    }
}
