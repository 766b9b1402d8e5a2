//! GRUB configurations with arguments, loops and menus, held to a budget of work: what is allocated
//! while one plan is made, and how often its driver is asked. Time alone would depend on the machine.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that a plan may allocate, in bytes, whatever is freed again.
// 100,000 steps and 16 MiB of text, the planner's own limits, with what each of them copies.
const MAX_WORK: u64 = 4 << 30;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: all is done by `System`; the count is only a number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller upholds what `System` needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let before = ALLOCATED.load(Ordering::Relaxed);
    wireboot_fuzz::grub(data);
    let work = ALLOCATED.load(Ordering::Relaxed) - before;
    assert!(work <= MAX_WORK, "a plan allocated {work} bytes");
});
