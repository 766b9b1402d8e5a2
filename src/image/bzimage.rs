//! The way into the next kernel on x86-64 without `kexec_file_load`, which keeps three copies of the
//! initrd for a moment and hashes it twice, the second time after the jump.
//!
//! What a 64-bit kernel finds when it begins are a few instructions that lead to it, and its boot parameters
//! (Documentation/arch/x86/{boot,zero-page}.rst). Memory map, ACPI, screen and EFI are what the running
//! kernel was given, as `kexec_file_load` hands them on (arch/x86/kernel/kexec-bzimage64.c); less the sums of
//! memory that a kernel reads only where it has no map (e820__memory_setup_default).

use std::io;
use std::ops::Range;

use super::placement::Memory;
use crate::sys::firmware::EfiRuntime;
use crate::sys::kexec::{self, Segment};
use crate::sys::mapped::Mapped;
use crate::sys::memfd::SealedFile;
use crate::sys::{self, SyscallError, firmware, machine};
use wireboot_proto::format::kernel_image::BzImage;

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
    // Behind the file is the memory that the kernel moves itself to while it still uses the page tables of
    // the one that ends, and those may lie wherever no segment is (kimage_alloc_normal_control_pages).
    let kernel_len = header.init_size.max(code.len() as u64);
    let lens = [kernel_len, given.head_len() as u64, initrd.len() as u64];
    let ranges = place(&memory, lens, &header)
        .ok_or_else(|| unfit("no room in memory in one piece, or /proc/iomem does not say"))?;
    let [kernel_at, head_at, initrd_at] = ranges.each_ref().map(|range| range.start);
    let places = Places {
        kernel: kernel_at,
        initrd: initrd_at..initrd_at + initrd.len() as u64,
    };
    let head = given.head(head_at, &places);
    let parts = [code, &head, initrd].into_iter().zip(ranges);
    let segments: Vec<_> = parts
        .map(|(octets, at)| Segment { octets, at })
        .filter(|segment| !segment.at.is_empty())
        .collect();
    kexec::load_segments(head_at, &segments)
}

fn unfit(why: &'static str) -> SyscallError {
    SyscallError::of("kexec_load", io::Error::other(why))
}

/// Returns the lowest range for the kernel, for what it finds, and for the initrd, given the
/// length of each.
fn place(memory: &str, lens: [u64; 3], header: &BzImage) -> Option<[Range<u64>; 3]> {
    let mut memory = Memory::parse(memory);
    let end = if header.is_loaded_anywhere {
        u64::MAX
    } else {
        FOUR_GIB
    };
    let mut range = |len: u64, align| {
        // Below 4 GiB first, also where anything will do: see above.
        let mut within = |end| memory.take("", len, align, &(LOWEST..end)).ok();
        within(FOUR_GIB).or_else(|| within(end))
    };
    let [kernel, head, initrd] = lens;
    Some([
        range(kernel, header.alignment)?,
        range(head, PAGE)?,
        range(initrd, PAGE)?,
    ])
}

/// Random bytes for the next kernel's generator of random numbers.
type Seed = [u8; 32];

/// Values from which the boot parameters are made.
#[derive(Debug)]
struct Given<'a> {
    /// The kernel's file and what its header says.
    pub kernel: (&'a [u8], &'a BzImage),
    pub command_line: &'a str,
    /// The boot parameters of the running kernel.
    pub running: &'a [u8],
    /// Where EFI has started the machine.
    pub efi: Option<&'a EfiRuntime>,
    pub seed: Option<&'a Seed>,
}

/// Places of kernel and initrd.
#[derive(Debug, Clone, Default)]
struct Places {
    pub kernel: u64,
    /// Empty without one.
    pub initrd: Range<u64>,
}

/// Loads segments as the boot protocol wants them, a stack, and in RSI the address of the boot
/// parameters, and goes to the kernel. The numbers that it reads follow; interrupts are off.
// The kernel that ends leaves an empty descriptor table (machine_kexec in
// arch/x86/kernel/machine_kexec_64.c), with which no segment can be loaded.
const FIRST_CODE: [u8; 46] = [
    0x0f, 0x01, 0x15, 0x5f, 0, 0, 0, // lgdt [rip+0x5f]: descriptors
    0xb8, 0x18, 0, 0, 0, // mov eax, 0x18
    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8, // mov ds/es/ss/fs/gs, eax
    0x48, 0x8d, 0x25, 0xe3, 0, 0, 0, // lea rsp, [rip+0xe3]
    0x48, 0x8b, 0x35, 0x54, 0, 0, 0, // mov rsi, [rip+0x54]: boot parameters
    0x6a, 0x10, // push 0x10
    0xff, 0x35, 0x44, 0, 0, 0, // push [rip+0x44]: entry
    0x48, 0xcb, // retf
];
/// Descriptors: none, none, code in 64-bit mode (0x10), data (0x18).
const DESCRIPTORS: [[u8; 8]; 4] = [
    [0; 8],
    [0; 8],
    0x00af_9b00_0000_ffff_u64.to_le_bytes(),
    0x00cf_9300_0000_ffff_u64.to_le_bytes(),
];
// Behind the 46 bytes of the first code.
const DESCRIPTORS_AT: usize = 0x40;
/// Limit and address of the descriptors, for LGDT; behind them the address of the kernel's entry, and
/// that of the boot parameters.
const LIMIT_AT: usize = 0x66;
/// Where the boot parameters are behind the first code.
const PARAMS_AT: usize = 4096;
const PARAMS_LEN: usize = 4096;

/// The fields of `struct boot_params` that are taken from the running kernel's: `screen_info`,
/// `acpi_rsdp_addr`, `eddbuf_entries` and `edd_mbr_sig_buf_entries`, `hardware_subarch`,
/// `edd_mbr_sig_buffer`, `eddbuf`.
const HANDED_ON: [Range<usize>; 6] = [
    0..0x40,
    0x70..0x78,
    0x1e9..0x1eb,
    0x23c..0x240,
    0x290..0x2d0,
    0xd00..0xeec,
];
/// The same of `efi_info` (signature, system table, length and version of descriptors, all but the
/// map), and `secure_boot`.
const EFI_HANDED_ON: [Range<usize>; 3] = [0x1c0..0x1d0, 0x1d8..0x1dc, 0x1ec..0x1ed];
const E820_ENTRIES: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;
/// Address, length and type.
const E820_ENTRY_LEN: usize = 20;
/// E820_MAX_ENTRIES_ZEROPAGE: more of them are elsewhere (SETUP_E820_EXT).
const E820_MAX_ENTRIES: usize = 128;
const EFI_INFO: usize = 0x1c0;
const SECURE_BOOT: usize = 0x1ec;
/// `efi_secureboot_mode_enabled` (include/linux/efi.h).
const SECURE_BOOT_ENABLED: u8 = 3;
/// `EFI64_LOADER_SIGNATURE`.
const EFI64: &[u8] = b"EL64";
/// `sizeof(efi_memory_desc_t)`; the firmware's are longer, by what may be added some day.
const EFI_DESCRIPTOR_LEN: u8 = 40;
const SETUP_DATA: usize = 0x250;
/// Types of `struct setup_data`.
const SETUP_EFI: u32 = 4;
const SETUP_RNG_SEED: u32 = 9;
/// Kexec as the boot loader (boot.rst, `type_of_loader`).
const LOADER_KEXEC: u8 = 0xd0;

impl Given<'_> {
    /// Returns why the machine cannot be handed on so, if it cannot.
    fn objection(&self) -> Option<&'static str> {
        let byte = |at: usize| self.running.get(at).copied().unwrap_or(u8::MAX);
        let is_efi = field(self.running, EFI_INFO + 0x14).is_none_or(|size| size != 0);
        if self.running.len() < PARAMS_LEN {
            Some("/sys/kernel/boot_params/data is too short")
        } else if byte(SECURE_BOOT) == SECURE_BOOT_ENABLED {
            Some("secure boot is on")
        } else if !(1..E820_MAX_ENTRIES).contains(&byte(E820_ENTRIES).into()) {
            Some("the memory map is not among the boot parameters")
        } else if is_efi && self.efi.is_none() {
            Some("the kernel does not say what runtime services EFI has")
        } else if is_efi && self.running.get(EFI_INFO..EFI_INFO + 4) != Some(EFI64) {
            Some("the firmware is no 64-bit EFI")
        } else {
            None
        }
    }

    /// Returns how many bytes [`Given::head`] makes.
    fn head_len(&self) -> usize {
        self.head(0, &Places::default()).len()
    }

    /// Makes what stands at address `at`: the first code, the boot parameters, and what they refer
    /// to.
    fn head(&self, at: u64, places: &Places) -> Vec<u8> {
        let mut head = FIRST_CODE.to_vec();
        head.resize(DESCRIPTORS_AT, 0);
        head.extend(DESCRIPTORS.as_flattened());
        head.resize(LIMIT_AT, 0);
        // The limit is the offset of the last byte.
        head.extend([31, 0]);
        for address in [
            at + DESCRIPTORS_AT as u64,
            places.kernel + BzImage::ENTRY,
            at + PARAMS_AT as u64,
        ] {
            head.extend(address.to_le_bytes());
        }
        head.resize(PARAMS_AT + PARAMS_LEN, 0);
        let command_line = at + head.len() as u64;
        head.extend(self.command_line.as_bytes());
        head.push(0);
        // A list, of which the boot parameters have the first address.
        let mut setup_data = 0_u64;
        if let Some(seed) = self.seed {
            add(&mut head, at, &mut setup_data, SETUP_RNG_SEED, seed);
        }
        let mut map = (0, 0);
        if let Some(efi) = self.efi {
            // `struct efi_setup_data`, with eight numbers in reserve.
            let mut tables = [[0; 8]; 12];
            tables[0] = efi.fw_vendor.to_le_bytes();
            tables[2] = efi.config_table.to_le_bytes();
            tables[3] = efi.smbios.to_le_bytes();
            add(
                &mut head,
                at,
                &mut setup_data,
                SETUP_EFI,
                tables.as_flattened(),
            );
            map = (at + head.len() as u64, efi.map.len() as u64);
            head.extend(&efi.map);
        }
        let mut params = self.params();
        let initrd = &places.initrd;
        let upper = |number: u64| number >> 32;
        // ramdisk_image, ramdisk_size, cmd_line_ptr, efi_memmap: each with its upper half.
        for (at, number) in [
            (0x218, initrd.start),
            (0x0c0, upper(initrd.start)),
            (0x21c, initrd.end - initrd.start),
            (0x0c4, upper(initrd.end - initrd.start)),
            (0x228, command_line),
            (0x0c8, upper(command_line)),
            (EFI_INFO + 0x10, map.0),
            (EFI_INFO + 0x1c, upper(map.0)),
            (EFI_INFO + 0x14, map.1),
            (SETUP_DATA, setup_data),
            (SETUP_DATA + 4, upper(setup_data)),
        ] {
            let [a, b, c, d, ..] = number.to_le_bytes();
            put(&mut params, at, &[a, b, c, d]);
        }
        put(&mut head, PARAMS_AT, &params);
        head
    }

    /// Makes the boot parameters without addresses.
    fn params(&self) -> Vec<u8> {
        let mut params = vec![0; PARAMS_LEN];
        let (kernel, header) = self.kernel;
        hand_on(&mut params, kernel, header.setup_header.clone());
        let efi = if self.efi.is_some() {
            &EFI_HANDED_ON[..]
        } else {
            &[]
        };
        for range in HANDED_ON.iter().chain(efi) {
            hand_on(&mut params, self.running, range.clone());
        }
        let entries = self.running.get(E820_ENTRIES).copied().unwrap_or(0);
        put(&mut params, E820_ENTRIES, &[entries]);
        let table = E820_TABLE..E820_TABLE + usize::from(entries) * E820_ENTRY_LEN;
        hand_on(&mut params, self.running, table);
        // type_of_loader and loadflags, as bzImage64_load sets them.
        put(&mut params, 0x210, &[LOADER_KEXEC, 0]);
        if self.efi.is_some() {
            put(&mut params, EFI_INFO + 8, &[EFI_DESCRIPTOR_LEN, 0, 0, 0]);
        }
        params
    }
}

fn field(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = to.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

/// Adds a `struct setup_data` to what stands at address `at`, before the one at `next`.
fn add(head: &mut Vec<u8>, at: u64, next: &mut u64, kind: u32, data: &[u8]) {
    head.resize(head.len().next_multiple_of(8), 0);
    let this = at + head.len() as u64;
    head.extend(next.to_le_bytes());
    head.extend(kind.to_le_bytes());
    head.extend(u32::try_from(data.len()).unwrap_or(0).to_le_bytes());
    head.extend(data);
    *next = this;
}

fn hand_on(to: &mut [u8], from: &[u8], range: Range<usize>) {
    if let Some(bytes) = from.get(range.clone()) {
        put(to, range.start, bytes);
    }
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
        let lens = |initrd| [49 * MIB + 1, 9000, initrd];
        // The kernel has all of its memory, which is more than its file.
        let (kernel, head) = (0x100_0000..0x411_0000, 0x411_0000..0x412_0000);
        let low = place(memory, lens(16 * MIB), &header()).unwrap();
        assert_eq!(low, [kernel.clone(), head.clone(), 0x412_0000..0x512_0000]);
        let high = place(memory, lens(512 * MIB), &header()).unwrap();
        assert_eq!(high, [kernel, head, 0x1_0000_0000..0x1_2000_0000]);
        let mut old = header();
        old.is_loaded_anywhere = false;
        assert_eq!(place(memory, lens(512 * MIB), &old), None);
        assert_eq!(place("", lens(1), &header()), None);
    }

    const AT: u64 = 0x1_2345_0000;
    const PLACES: Places = Places {
        kernel: 0x2_0000_0000,
        initrd: 0x3_0000_0000..0x4_2000_0001,
    };

    #[test]
    fn the_first_code_leads_to_the_kernel_with_the_boot_parameters() {
        let head = head(&running(false), None, None);
        // The end of each instruction that ends with a distance, and what is there.
        let target = |end: usize| end + u32_at(&head, end - 4) as usize;
        let limit = target(7);
        assert_eq!(head[limit..limit + 2], [31, 0]);
        let descriptors = u64_at(&head, limit + 2) - AT;
        let code = u64_at(&head, usize::try_from(descriptors).unwrap() + 0x10);
        assert_eq!(code.to_le_bytes(), DESCRIPTORS[2]);
        // The stack is behind the numbers and before the boot parameters.
        assert!((LIMIT_AT + 26 + 16..=PARAMS_AT).contains(&target(29)));
        assert_eq!(u64_at(&head, target(36)), AT + 4096);
        assert_eq!(u64_at(&head, target(44)), PLACES.kernel + 0x200);
        assert!(FIRST_CODE.len() <= DESCRIPTORS_AT);
    }

    #[test]
    fn the_boot_parameters_are_of_the_kernel_and_of_the_machine() {
        let running = running(false);
        let head = head(&running, None, None);
        let params = &head[PARAMS_AT..PARAMS_AT + PARAMS_LEN];
        // The kernel's own header, and who loads it.
        assert_eq!(params[0x1f1], 39);
        assert_eq!(&params[0x202..0x206], b"HdrS");
        assert_eq!(params[0x210..0x212], [0xd0, 0]);
        assert_eq!(params[0x26c], 0);
        let split =
            |low, high| u64::from(u32_at(params, low)) | u64::from(u32_at(params, high)) << 32;
        assert_eq!(split(0x218, 0xc0), 0x3_0000_0000);
        assert_eq!(split(0x21c, 0xc4), 0x1_2000_0001);
        let line = usize::try_from(split(0x228, 0xc8) - AT).unwrap();
        assert_eq!(&head[line..], b"quiet\0");
        assert_eq!(u64_at(params, 0x250), 0);
        // Memory map, screen and ACPI of the machine; none of its own initrd and pad bytes.
        assert_eq!(params[0x1e8], 3);
        assert_eq!(params[0x2d0..0x2d0 + 60], running[0x2d0..0x2d0 + 60]);
        assert_eq!(params[6], 3);
        assert_eq!(u64_at(params, 0x70), 0xf_5ad0);
        assert_eq!(params[0x1ef], 0);
        assert_eq!(params[0xb0..0xc0], [0; 16]);
    }

    #[test]
    fn efi_and_a_seed_are_handed_on_in_a_list() {
        let efi = EfiRuntime {
            fw_vendor: 1,
            config_table: 2,
            smbios: 3,
            map: (1..=80).collect(),
        };
        let seed = [9; 32];
        let head = head(&running(true), Some(&efi), Some(&seed));
        let offset = |address: u64| usize::try_from(address - AT).unwrap();
        let first = offset(u64_at(&head, PARAMS_AT + 0x250));
        assert_eq!(
            (u32_at(&head, first + 8), u32_at(&head, first + 12)),
            (4, 96)
        );
        let tables: Vec<_> = (0..5)
            .map(|at| u64_at(&head, first + 16 + at * 8))
            .collect();
        assert_eq!(tables, [1, 0, 2, 3, 0]);
        let second = offset(u64_at(&head, first));
        assert_eq!(
            (u32_at(&head, second + 8), u32_at(&head, second + 12)),
            (9, 32)
        );
        assert_eq!(head[second + 16..second + 48], seed);
        assert_eq!(u64_at(&head, second), 0);
        let info = PARAMS_AT + 0x1c0;
        assert_eq!(&head[info..info + 4], b"EL64");
        assert_eq!(u32_at(&head, info + 4), 0x7f9e_c018);
        assert_eq!((u32_at(&head, info + 8), u32_at(&head, info + 12)), (40, 1));
        assert_eq!(u32_at(&head, info + 0x14), 80);
        let map =
            u64::from(u32_at(&head, info + 0x10)) | u64::from(u32_at(&head, info + 0x1c)) << 32;
        let map = offset(map);
        assert_eq!(head[map..], efi.map);
    }

    #[test]
    fn what_cannot_be_handed_on_is_left_to_the_kernel() {
        let efi = EfiRuntime::default();
        let with = |at: usize, value| {
            let mut running = running(true);
            running[at] = value;
            running
        };
        for (running, efi, expected) in [
            (running(false), None, None),
            (running(true), Some(&efi), None),
            (running(true), None, Some("runtime services")),
            (with(0x1ec, 3), Some(&efi), Some("secure boot")),
            (with(0x1e8, 128), Some(&efi), Some("memory map")),
            (with(0x1e8, 0), Some(&efi), Some("memory map")),
            (with(0x1c2, b'3'), Some(&efi), Some("64-bit EFI")),
            (Vec::new(), None, Some("too short")),
            (vec![0; 0x1f0], None, Some("too short")),
        ] {
            let objection = with_given(&running, efi, None, |given| given.objection());
            match (objection, expected) {
                (Some(why), Some(part)) => assert!(why.contains(part), "{why}"),
                (found, expected) => assert_eq!(found, expected),
            }
        }
    }

    fn head(running: &[u8], efi: Option<&EfiRuntime>, seed: Option<&Seed>) -> Vec<u8> {
        with_given(running, efi, seed, |given| {
            let head = given.head(AT, &PLACES);
            assert_eq!(head.len(), given.head_len());
            head
        })
    }

    fn with_given<T>(
        running: &[u8],
        efi: Option<&EfiRuntime>,
        seed: Option<&Seed>,
        act: impl FnOnce(&Given<'_>) -> T,
    ) -> T {
        let mut kernel = vec![0xff; 0x1000];
        kernel[0x1f1] = 39;
        kernel[0x201] = 0x6a;
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x250..0x258].fill(0);
        act(&Given {
            kernel: (&kernel, &header()),
            command_line: "quiet",
            running,
            efi,
            seed,
        })
    }

    fn header() -> BzImage {
        BzImage {
            setup_header: 0x1f1..0x26c,
            code_at: 0x200,
            init_size: 0x1000,
            alignment: 0x20_0000,
            is_loaded_anywhere: true,
        }
    }

    /// The boot parameters of a machine with 1 GiB, filled with another byte where nothing is to be
    /// handed on.
    fn running(is_efi: bool) -> Vec<u8> {
        let mut params = vec![0xee; PARAMS_LEN];
        params[..0x40].fill(3);
        params[0x70..0x78].copy_from_slice(&0xf_5ad0_u64.to_le_bytes());
        params[0x1e8] = 3;
        params[0x1ec] = 2;
        for (index, (start, end, kind)) in [
            (0, 0x9_fc00, 1),
            (0x10_0000, 0x4000_0000, 1),
            (0xfeff_c000_u64, 0xff00_0000_u64, 2_u32),
        ]
        .into_iter()
        .enumerate()
        {
            let at = 0x2d0 + index * 20;
            put(&mut params, at, &start.to_le_bytes());
            put(&mut params, at + 8, &(end - start).to_le_bytes());
            put(&mut params, at + 16, &kind.to_le_bytes());
        }
        params[0x1c0..0x1e0].fill(0);
        if is_efi {
            put(&mut params, 0x1c0, b"EL64");
            put(&mut params, 0x1c4, &0x7f9e_c018_u32.to_le_bytes());
            put(&mut params, 0x1c8, &[48, 0, 0, 0, 1, 0, 0, 0]);
            put(&mut params, 0x1d4, &[0x30, 0x21, 0, 0]);
        }
        params
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        field(bytes, at).unwrap()
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
    }
}
