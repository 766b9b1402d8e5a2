//! The way into the next kernel on x86-64 without `kexec_file_load`, which keeps three copies of the
//! initrd for a moment and hashes it twice, the second time after the jump.

use std::io;

use crate::sys::kexec::{self, Segment};
use crate::sys::mapped::Mapped;
use crate::sys::memfd::SealedFile;
use crate::sys::{self, SyscallError, firmware, machine};
use wireboot_proto::format::kernel_image::BzImage;

use super::boot_params::{Given, Places};
use super::placement::Memory;

/// Everything is above the 16 MiB that old devices and the BIOS know (MIN_INITRD_LOAD_ADDR in
/// arch/x86/kernel/kexec-bzimage64.c), and below 4 GiB where there is room.
const LOWEST: u64 = 16 << 20;
const FOUR_GIB: u64 = 4 << 30;
const PAGE: u64 = 4096;

/// Lays an image out in this machine's memory and hands that to the kernel.
///
/// # Errors
/// The kernel or the machine wants to be started otherwise, or the running kernel refuses.
pub(super) fn load(
    kernel: &SealedFile,
    initrd: Option<&SealedFile>,
    command_line: &str,
) -> Result<(), SyscallError> {
    let kernel = Mapped::new(kernel)?;
    let initrd = initrd.map(Mapped::new).transpose()?;
    let initrd: &[u8] = initrd.as_deref().unwrap_or_default();
    let header = BzImage::decode(&kernel);
    let header = header.ok_or_else(|| unfit("the kernel has no 64-bit entry"))?;
    // What is missing of these is found out below.
    let running = firmware::boot_params().unwrap_or_default();
    let memory = machine::memory_map().unwrap_or_default();
    let efi = firmware::EfiRuntime::read();
    let mut seed = [0; 32];
    // Not needed to start: without it none is handed on.
    let is_seeded = sys::random(&mut seed).is_ok();
    let given = Given {
        kernel: (&kernel, &header),
        command_line,
        running: &running,
        efi: efi.as_ref(),
        seed: is_seeded.then_some(&seed),
    };
    if let Some(why) = given.objection() {
        return Err(unfit(why));
    }
    let code = kernel.get(header.code_at..).unwrap_or_default();
    let parts = [
        // Behind the file there is what the kernel clears itself and unpacks itself to.
        (header.init_size.max(code.len() as u64), header.alignment),
        (given.head_len() as u64, PAGE),
        (initrd.len() as u64, PAGE),
    ];
    let [kernel_at, head_at, initrd_at] = place(&memory, parts, header.is_loaded_anywhere)
        .ok_or_else(|| unfit("no room in memory in one piece, or /proc/iomem does not say"))?;
    let places = Places {
        kernel: kernel_at,
        initrd: initrd_at..initrd_at + initrd.len() as u64,
    };
    let head = given.head(head_at, &places);
    // No longer than the file: 36 MiB of zeros behind Debian's kernels would be kept and copied.
    let parts = [(code, kernel_at), (&head, head_at), (initrd, initrd_at)];
    let segments = parts.map(|(octets, at)| Segment {
        octets,
        at: at..at + (octets.len() as u64).next_multiple_of(PAGE),
    });
    // The initrd, which is the last one, may be missing.
    let count = segments.len() - usize::from(initrd.is_empty());
    kexec::load_segments(head_at, segments.get(..count).unwrap_or_default())
}

fn unfit(why: &'static str) -> SyscallError {
    SyscallError::of("kexec_load", io::Error::other(why))
}

/// Returns the lowest address for each part, given its length and alignment.
fn place(memory: &str, parts: [(u64, u64); 3], is_loaded_anywhere: bool) -> Option<[u64; 3]> {
    let mut memory = Memory::parse(memory);
    let mut places = [0; 3];
    let end = if is_loaded_anywhere {
        u64::MAX
    } else {
        FOUR_GIB
    };
    for (place, (len, align)) in places.iter_mut().zip(parts) {
        // Below 4 GiB first, also where anything will do: see above.
        let mut within = |end| memory.take("", len, align, &(LOWEST..end)).ok();
        *place = within(FOUR_GIB).or_else(|| within(end))?.start;
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn parts_lie_low_and_above_4_gib_only_where_the_kernel_may() {
        let memory = "\
00001000-0009fbff : System RAM
00100000-3fffffff : System RAM
  16400000-17201ef1 : Kernel code
  17400000-17c21fff : Kernel rodata
  20000000-2fffffff : Crash kernel
100000000-1bfffffff : System RAM
";
        let parts = |initrd| [(49 * MIB + 1, 2 * MIB), (9000, PAGE), (initrd, PAGE)];
        let low = place(memory, parts(16 * MIB), true).unwrap();
        assert_eq!(low, [0x100_0000, 0x411_0000, 0x412_0000]);
        let high = place(memory, parts(512 * MIB), true).unwrap();
        assert_eq!(high, [0x100_0000, 0x411_0000, 0x1_0000_0000]);
        assert_eq!(place(memory, parts(512 * MIB), false), None);
        assert_eq!(place("", parts(1), true), None);
    }
}
