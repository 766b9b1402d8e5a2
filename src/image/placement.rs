//! Where in memory the parts of the next kernel are put; pure.
//!
//! What an arm64 kernel asks for is in Documentation/arch/arm64/booting.rst §§2 to 4. Everything
//! begins at multiples of 64 KiB, the largest page of a kernel.

use std::ops::Range;

use wireboot_proto::format::fdt;
use wireboot_proto::format::kernel_image::Arm64Image;

const PAGE: u64 = 64 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A kernel begins at a multiple of this, and a device tree does not cross one.
const BLOCK: u64 = 2 * MIB;

/// Initrd and kernel lie within as much, which begins at a multiple of 1 GiB.
const WINDOW: u64 = 32 * GIB;

/// What `/proc/iomem` calls memory that the next kernel can have, though this one is in it: it is
/// filled when this kernel has ended.
const OWN: [&str; 4] = ["Kernel code", "Kernel rodata", "Kernel data", "Kernel bss"];

/// Ranges of physical addresses for the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLayout {
    /// The kernel's image, with what it clears behind the file.
    pub kernel: Range<u64>,
    /// Space for the longest device tree.
    pub device_tree: Range<u64>,
    /// The initrd.
    pub initrd: Option<Range<u64>>,
}

/// The error that memory has no room for a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no room in memory for the {part}: {} MiB in one piece needed, at most {} MiB there",
    needed.div_ceil(MIB),
    largest / MIB
)]
pub struct NoRoom {
    part: &'static str,
    needed: u64,
    largest: u64,
}

impl MemoryLayout {
    /// Finds the lowest place for each part, lengths in bytes.
    ///
    /// # Errors
    /// The part that there is no room for.
    pub fn of(
        mut memory: Memory,
        image: Arm64Image,
        kernel_len: u64,
        initrd_len: Option<u64>,
    ) -> Result<Self, NoRoom> {
        let everywhere = 0..u64::MAX;
        // image_size has what is cleared behind the file, and is 0 before Linux 3.17 (booting.rst
        // §3).
        let needed = image.image_size.max(kernel_len);
        let needed = needed.saturating_add(image.text_offset);
        let block = memory.take("kernel", needed, BLOCK, &everywhere)?;
        let window = block.start - block.start % GIB;
        let window = window..window.saturating_add(WINDOW);
        let initrd = initrd_len.map(|len| memory.take("initrd", len, PAGE, &window));
        let initrd = initrd.transpose()?;
        let tree_len = fdt::MAX_LEN as u64;
        Ok(Self {
            kernel: block.start + image.text_offset..block.end,
            device_tree: memory.take("device tree", tree_len, BLOCK, &everywhere)?,
            initrd,
        })
    }
}

/// The memory that is free for the next kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// In order, and apart from each other.
    free: Vec<Range<u64>>,
}

impl Memory {
    /// Reads `/proc/iomem`, which shows addresses to those with CAP_SYS_ADMIN only, and zeros to
    /// others; the kernel has them in order. What is reserved within the memory (firmware, tables that
    /// devices read) is left out.
    pub fn parse(iomem: &str) -> Self {
        let mut memory = Self { free: Vec::new() };
        let mut is_in_ram = false;
        for line in iomem.lines() {
            let Some((range, name)) = line.split_once(" : ") else {
                continue;
            };
            // Two blanks a level are all that /proc/iomem tells of nesting (r_show in
            // kernel/resource.c).
            let is_top = !range.starts_with(' ');
            if is_top {
                is_in_ram = name == "System RAM";
            }
            let Some(range) = addresses(range.trim_start()) else {
                continue;
            };
            match (is_top, is_in_ram) {
                (true, true) => memory.free.push(range),
                (false, true) if !OWN.contains(&name) => memory.reserve(&range),
                (true | false, _) => {}
            }
        }
        memory
    }

    /// Returns whether nothing is free, or known to be.
    pub const fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes the lowest `len` bytes within `window` that begin at a multiple of `align`.
    pub(super) fn take(
        &mut self,
        part: &'static str,
        len: u64,
        align: u64,
        window: &Range<u64>,
    ) -> Result<Range<u64>, NoRoom> {
        let mut largest = 0;
        let fit = |range: &Range<u64>| {
            let start = range.start.max(window.start);
            let start = start.checked_next_multiple_of(align)?;
            let room = range.end.min(window.end).checked_sub(start)?;
            largest = room.max(largest);
            let needed = len.checked_next_multiple_of(PAGE)?;
            (needed <= room).then(|| start..start + needed)
        };
        let taken = self.free.iter().find_map(fit).ok_or(NoRoom {
            part,
            needed: len,
            largest,
        })?;
        self.reserve(&taken);
        Ok(taken)
    }

    /// Takes a range out, and the rest of the pages that it touches.
    fn reserve(&mut self, reserved: &Range<u64>) {
        let start = reserved.start - reserved.start % PAGE;
        let end = reserved.end.checked_next_multiple_of(PAGE);
        let end = end.unwrap_or(u64::MAX);
        for free in std::mem::take(&mut self.free) {
            let below = free.start..free.end.min(start);
            let above = free.start.max(end)..free.end;
            let rest = [below, above].into_iter();
            self.free.extend(rest.filter(|range| !range.is_empty()));
        }
    }
}

/// Reads `40000000-47ffffff`, whose end is the last address.
fn addresses(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let range = address(first)?..address(last)?.checked_add(1)?;
    // Whoever may not see the addresses sees zeros.
    (range.end > 1 && !range.is_empty()).then_some(range)
}

/// Places parts in the memory of a map: apart from each other, each where memory is free.
#[cfg(fuzzing)]
pub fn fuzz(iomem: &str, lens: [u64; 3], offset: u64) {
    let memory = Memory::parse(iomem);
    // The kernel has them in order.
    let is_apart = memory.free.is_sorted_by(|a, b| a.end <= b.start);
    let image = Arm64Image {
        text_offset: offset,
        image_size: lens[0],
    };
    let free = memory.free.clone();
    let Ok(layout) = MemoryLayout::of(memory, image, lens[1], Some(lens[2])) else {
        return;
    };
    let parts = [Some(layout.kernel), Some(layout.device_tree), layout.initrd];
    let parts: Vec<_> = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    for (number, part) in parts.iter().enumerate() {
        assert!(
            free.iter()
                .any(|free| free.start <= part.start && part.end <= free.end)
        );
        let mut others = parts.iter().skip(number + 1);
        assert!(!is_apart || others.all(|it| it.end <= part.start || part.end <= it.start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 shows it on QEMU's `virt` with 1 GiB.
    const IOMEM: &str = "\
09000000-09000fff : pl011@9000000
  09000000-09000fff : 9000000.pl011 pl011@9000000
40000000-7fffffff : System RAM
  40210000-41c8ffff : Kernel code
  41c90000-421dffff : reserved
  421e0000-4264ffff : Kernel data
  48000000-48122fff : reserved
  7d600000-7f5fffff : reserved
  7fffe000-7fffffff : reserved
100000000-1ffffffff : System RAM
";

    const IMAGE: Arm64Image = Arm64Image {
        text_offset: 0,
        image_size: 0x1c9_0001,
    };

    #[test]
    fn memory_is_what_nothing_is_reserved_in_and_this_kernel_may_be() {
        let free = vec![
            0x4000_0000..0x41c9_0000,
            0x421e_0000..0x4800_0000,
            0x4813_0000..0x7d60_0000,
            0x7f60_0000..0x7fff_0000,
            0x1_0000_0000..0x2_0000_0000,
        ];
        assert_eq!(Memory::parse(IOMEM), Memory { free });
    }

    #[test]
    fn addresses_that_are_hidden_or_nonsense_are_no_memory() {
        for iomem in [
            "",
            "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n",
            "8-7 : System RAM\n-8 : System RAM\nx-y : System RAM\n0-ffffffffffffffff : System RAM\n",
            "40000000-7fffffff : System RAM (kmem)\n",
        ] {
            assert!(Memory::parse(iomem).is_empty(), "{iomem}");
        }
    }

    #[test]
    fn kernel_initrd_and_device_tree_lie_as_low_as_they_may() {
        let placement = place(IOMEM, IMAGE, Some(0x10_0001)).unwrap();
        assert_eq!(
            placement,
            MemoryLayout {
                // The first piece is too short by a page.
                kernel: 0x4220_0000..0x43ea_0000,
                initrd: Some(0x4000_0000..0x4011_0000),
                device_tree: 0x4020_0000..0x4040_0000,
            }
        );
    }

    #[test]
    fn a_kernel_with_an_offset_lies_behind_a_multiple_of_2_mib() {
        let image = Arm64Image {
            text_offset: 0x8_0000,
            image_size: 0x100_0000,
        };
        let placement = place("40100000-4fffffff : System RAM\n", image, None).unwrap();
        assert_eq!(placement.kernel, 0x4028_0000..0x4128_0000);
        assert_eq!(placement.initrd, None);
    }

    #[test]
    fn the_initrd_stays_within_32_gib_of_the_kernel() {
        let iomem = |start: u64| {
            format!("40000000-427fffff : System RAM\n{start:x}-fffffffff : System RAM\n")
        };
        let initrd_len = Some(64 * MIB);
        let near = place(&iomem(0x8_3c00_0000), IMAGE, initrd_len).unwrap();
        assert_eq!(near.initrd, Some(0x8_3c00_0000..0x8_4000_0000));
        let error = place(&iomem(0x8_3c01_0000), IMAGE, initrd_len).unwrap_err();
        assert_eq!(error.part, "initrd");
        let text = "no room in memory for the initrd: 64 MiB in one piece needed, at most 63 MiB";
        assert!(error.to_string().starts_with(text), "{error}");
    }

    #[test]
    fn what_has_no_room_is_named() {
        for (iomem, image_size, part) in [
            ("", 1, "kernel"),
            (IOMEM, u64::MAX, "kernel"),
            (IOMEM, 8 * GIB, "kernel"),
            ("40000000-401fffff : System RAM\n", 2 * MIB, "device tree"),
        ] {
            let image = Arm64Image {
                image_size,
                ..IMAGE
            };
            assert_eq!(place(iomem, image, None).unwrap_err().part, part);
        }
    }

    fn place(iomem: &str, image: Arm64Image, initrd: Option<u64>) -> Result<MemoryLayout, NoRoom> {
        MemoryLayout::of(Memory::parse(iomem), image, 0x10_0000, initrd)
    }
}
