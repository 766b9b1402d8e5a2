//! The program's memory allocator: one arena for the small blocks of a short run, and the C library's
//! allocator for all else.
//!
//! musl asks the kernel for pages one by one, which took a lease fifteen system calls and as many page
//! faults. Here blocks come from memory that the program has from its start. It is divided once and for
//! all into blocks of some sizes, which are reused for their size. A program that runs long or needs much
//! uses it up, and goes on with the C library's: large blocks always do, so that they are returned to
//! the system.

#![allow(unsafe_code, reason = "an allocator hands out memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of the arena: a lease uses 60 KiB of it, of which a buffer for netlink is more than half.
const LEN: usize = 256 * 1024;

/// Bytes of the blocks. Each is [`HEADER_LEN`] less than a multiple of [`ALIGNMENT`].
const SIZES: [u16; 22] = [
    24, 40, 56, 72, 104, 136, 200, 264, 392, 520, 776, 1032, 1544, 2056, 3080, 4104, 6152, 8200,
    12296, 16392, 24584, 32776,
];
/// What every block is aligned to, as of `malloc` (`max_align_t`).
const ALIGNMENT: usize = 16;
/// Before each block stands its place in [`SIZES`], so that who frees it need not know how long it is:
/// the code that would compute that takes 5 KiB.
const HEADER_LEN: usize = 8;

/// Whether arenas are left as they are.
static ABANDONED: AtomicBool = AtomicBool::new(false);

/// Leaves the arena as it is, for good: in a forked process it may be in the middle of a change by a
/// thread that was not copied. What is in it stays valid and is never freed.
pub fn abandon() {
    // Relaxed: a forked process has one thread.
    ABANDONED.store(true, Ordering::Relaxed);
}

/// The allocator; there is one, as `#[global_allocator]`.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Heap {
    /// A thread uses the arena.
    is_busy: AtomicBool,
    /// INVARIANT: used only by the thread that has set `is_busy`.
    arena: UnsafeCell<Arena>,
    // Behind the others, so that a short run touches one page for all.
    memory: UnsafeCell<HeapMemory>,
}

#[derive(Debug)]
#[repr(align(16))]
struct HeapMemory(#[allow(dead_code, reason = "used by address")] [u8; LEN]);

// SAFETY: `arena` is used by one thread at a time, as `is_busy` says; and of `memory` each byte belongs
// to one block, which its owner alone uses, or to the arena.
unsafe impl Sync for Heap {}

impl Heap {
    /// Creates the allocator, with all of its memory unused.
    // Not inline: the memory would be copied.
    #[allow(clippy::new_without_default, reason = "it is for a static")]
    pub const fn new() -> Self {
        Self {
            is_busy: AtomicBool::new(false),
            arena: UnsafeCell::new(Arena::new()),
            memory: UnsafeCell::new(HeapMemory([0; LEN])),
        }
    }

    /// Calls `act` on the arena, unless another thread is using it or it was abandoned.
    fn try_with<T>(&self, act: impl FnOnce(&mut Arena, NonNull<u8>) -> T) -> Option<T> {
        if ABANDONED.load(Ordering::Relaxed) {
            return None;
        }
        // Acquire here and Release below hand the arena from one thread to the next.
        let taken =
            self.is_busy
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        // SAFETY: `is_busy` was false, so that no other thread is here, and nothing called by `act`
        // allocates.
        let arena = unsafe { &mut *self.arena.get() };
        let result = act(arena, self.base());
        self.is_busy.store(false, Ordering::Release);
        Some(result)
    }

    fn base(&self) -> NonNull<u8> {
        NonNull::from(&self.memory).cast()
    }

    /// Returns where in the arena the block is, if it is from there.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let offset = block.addr().checked_sub(self.base().addr().get())?;
        (offset < LEN).then_some(offset)
    }

    /// Takes a block of the arena, and says whether it was never used.
    fn take(&self, layout: Layout) -> Option<(NonNull<u8>, bool)> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let class = class(layout.size())?;
        self.try_with(|arena, base| {
            let (offset, is_new) = arena.take(class, base)?;
            // SAFETY: `offset` is within the memory.
            Some((unsafe { base.add(offset) }, is_new))
        })?
    }
}

// SAFETY: blocks are as long and aligned as asked for, and no two overlap: those of the arena by
// `Arena`, the others by the C library. Neither unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some((block, _)) => block.as_ptr(),
            // SAFETY: what holds for `layout` here holds there.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some((block, true)) => block.as_ptr(),
            Some((block, false)) => {
                // SAFETY: the block is at least as long.
                unsafe { block.write_bytes(0, layout.size()) };
                block.as_ptr()
            }
            // SAFETY: what holds for `layout` here holds there.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(offset) = self.offset(block) else {
            // SAFETY: it is not from the arena, so it is from there.
            return unsafe { System.dealloc(block, layout) };
        };
        if ABANDONED.load(Ordering::Relaxed) {
            return;
        }
        // No thread stays there for more than some instructions.
        while self
            .try_with(|arena, base| arena.give_back(offset, base))
            .is_none()
        {
            std::thread::yield_now();
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: it is not from the arena, so it is from there.
            return unsafe { System.realloc(block, layout, len) };
        };
        let kept = self.try_with(|arena, base| arena.resize(offset, class(len), base));
        if kept == Some(true) {
            return block;
        }
        // SAFETY: `len` is not 0 and not too long, as the caller has seen to.
        let layout_after = unsafe { Layout::from_size_align_unchecked(len, layout.align()) };
        // SAFETY: as above.
        let new = unsafe { self.alloc(layout_after) };
        if !new.is_null() {
            let kept = layout.size().min(len);
            // SAFETY: two blocks that are at least as long and do not overlap.
            unsafe { new.copy_from_nonoverlapping(block, kept) };
            // SAFETY: the caller's block, which nobody uses any longer.
            unsafe { self.dealloc(block, layout) };
        }
        new
    }
}

/// Returns the place in [`SIZES`] of the smallest block that is as long; none for large ones.
// Computed, since a search of the table was a tenth of what a lease does by itself.
const fn class(len: usize) -> Option<usize> {
    // The sizes are 8 bytes more than 16, 32, 48, 64, 96, 128, …: from 32 on two to each power of two.
    let last = len.saturating_sub(HEADER_LEN + 1);
    let place = if last < 32 {
        last / 16
    } else {
        let power = last.ilog2();
        2 * power as usize - 8 + (last >> (power - 1) & 1)
    };
    if place < SIZES.len() {
        Some(place)
    } else {
        None
    }
}

/// Which parts of the memory are in use. Unused blocks of one size are a list; each begins with the place
/// of the next.
#[derive(Debug)]
struct Arena {
    /// Bytes at the beginning that are divided into blocks with their headers: the next block begins
    /// [`ALIGNMENT`] behind them. 0 at first, as all of [`Heap`], so that no file has to hold it.
    used: usize,
    /// The place of the first unused block of each size, or 0.
    unused: [u32; SIZES.len()],
}

impl Arena {
    const fn new() -> Self {
        Self {
            used: 0,
            unused: [0; SIZES.len()],
        }
    }

    /// Takes a block, and says whether it was never used.
    fn take(&mut self, class: usize, base: NonNull<u8>) -> Option<(usize, bool)> {
        let first = self.unused.get_mut(class)?;
        if *first != 0 {
            let offset = usize::try_from(*first).ok()?;
            // SAFETY: an unused block, within the memory.
            let block = unsafe { base.add(offset) };
            // SAFETY: aligned, and written by `give_back`.
            *first = unsafe { block.cast().read() };
            return Some((offset, false));
        }
        let offset = self.used + ALIGNMENT;
        self.resize_last(offset, class, base)
            .then_some((offset, true))
    }

    fn give_back(&mut self, offset: usize, base: NonNull<u8>) {
        let Some(first) = self.unused.get_mut(read_class(offset, base)) else {
            return;
        };
        // SAFETY: a block, within the memory.
        let block = unsafe { base.add(offset) };
        // SAFETY: aligned, and at least 24 bytes long.
        unsafe { block.cast().write(*first) };
        // Less than LEN.
        *first = u32::try_from(offset).unwrap_or_default();
    }

    /// Makes a block as long as `class` where it stands; false when it has to move.
    fn resize(&mut self, offset: usize, class: Option<usize>, base: NonNull<u8>) -> bool {
        let before = read_class(offset, base);
        let Some(class) = class else { return false };
        if class == before {
            return true;
        }
        // What is given up at the end would no longer be new.
        let is_last = SIZES
            .get(before)
            .is_some_and(|size| offset + usize::from(*size) == self.used + HEADER_LEN);
        is_last && class > before && self.resize_last(offset, class, base)
    }

    /// Makes the last block, which may be a new one, as long as `class`; false when there is no room.
    fn resize_last(&mut self, offset: usize, class: usize, base: NonNull<u8>) -> bool {
        let Some(size) = SIZES.get(class) else {
            return false;
        };
        let end = offset + usize::from(*size);
        if end > LEN {
            return false;
        }
        self.used = end - HEADER_LEN;
        // SAFETY: within the memory, as the block is.
        let header = unsafe { base.add(offset - HEADER_LEN) };
        // SAFETY: aligned to 8, and no part of a block.
        unsafe { header.cast::<usize>().write(class) };
        true
    }
}

/// Returns the place in [`SIZES`] of the block at `offset`.
fn read_class(offset: usize, base: NonNull<u8>) -> usize {
    // SAFETY: within the memory, as the block is.
    let header = unsafe { base.add(offset - HEADER_LEN) };
    // SAFETY: aligned to 8, and written by `Arena::resize_last`.
    unsafe { header.cast::<usize>().read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_long_enough_and_do_not_overlap() {
        let heap = Box::new(Heap::new());
        let mut random = wireboot_proto::time::Random::new(7);
        let mut below = |limit| usize::try_from(random.next_u32()).unwrap() % limit;
        let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for round in 0..if cfg!(miri) { 300 } else { 20_000 } {
            let mark = u8::try_from(round % 251).unwrap();
            let len = below(9) * below(9_000) / 8 + 1;
            if blocks.len() > 40 {
                let place = below(40);
                let (block, layout, mark) = blocks.swap_remove(place);
                is_filled(block, layout.size(), mark);
                // SAFETY: allocated here with this layout.
                unsafe { heap.dealloc(block, layout) };
            }
            let layout = Layout::from_size_align(len, 1 << below(6)).unwrap();
            // SAFETY: the length is not 0.
            let block = unsafe { heap.alloc_zeroed(layout) };
            assert_eq!(block.addr() % layout.align(), 0);
            is_filled(block, len, 0);
            fill(block, len, mark);
            blocks.push((block, layout, mark));
            let place = below(blocks.len());
            let (block, layout, mark) = &mut blocks[place];
            let len = below(5_000) + 1;
            // SAFETY: allocated here with this layout; the length is not 0.
            *block = unsafe { heap.realloc(*block, *layout, len) };
            is_filled(*block, len.min(layout.size()), *mark);
            fill(*block, len, *mark);
            *layout = Layout::from_size_align(len, layout.align()).unwrap();
        }
        for (block, layout, mark) in blocks {
            is_filled(block, layout.size(), mark);
            // SAFETY: allocated here with this layout.
            unsafe { heap.dealloc(block, layout) };
        }
    }

    #[test]
    fn the_smallest_block_is_taken_that_is_long_enough() {
        for len in 0..=70_000 {
            let found = SIZES.iter().position(|size| len <= usize::from(*size));
            assert_eq!(class(len), found, "{len}");
        }
    }

    #[test]
    fn what_is_given_back_is_used_again() {
        let heap = Box::new(Heap::new());
        let layout = Layout::from_size_align(100, 8).unwrap();
        let mut first = None;
        for _ in 0..10 * LEN / layout.size() {
            // SAFETY: the length is not 0.
            let block = unsafe { heap.alloc(layout) };
            assert_eq!(*first.get_or_insert(block), block);
            // SAFETY: allocated here with this layout.
            unsafe { heap.dealloc(block, layout) };
        }
    }

    #[test]
    fn what_is_large_or_too_much_is_the_c_librarys() {
        let heap = Box::new(Heap::new());
        let large = Layout::from_size_align(1 << 20, 16).unwrap();
        // SAFETY: the length is not 0.
        let block = unsafe { heap.alloc(large) };
        assert_eq!(heap.offset(block), None);
        // SAFETY: allocated here with this layout; the length is not 0.
        let block = unsafe { heap.realloc(block, large, 8) };
        let small = Layout::from_size_align(8, 16).unwrap();
        // SAFETY: allocated here with this layout.
        unsafe { heap.dealloc(block, small) };
        let layout = Layout::from_size_align(20_000, 1).unwrap();
        let blocks: Vec<_> = (0..2 * LEN / layout.size())
            // SAFETY: the length is not 0.
            .map(|_| unsafe { heap.alloc(layout) })
            .collect();
        let inside = blocks.iter().filter(|block| heap.offset(**block).is_some());
        assert_eq!(inside.count(), LEN / (24_584 + HEADER_LEN));
        for block in blocks {
            // SAFETY: allocated here with this layout.
            unsafe { heap.dealloc(block, layout) };
        }
    }

    #[test]
    fn a_block_that_grows_at_the_end_stays_where_it_is() {
        let heap = Box::new(Heap::new());
        let mut layout = Layout::from_size_align(1, 1).unwrap();
        // SAFETY: the length is not 0.
        let block = unsafe { heap.alloc(layout) };
        for len in [17, 300, 5_000, 32_768, 20_000, 32_768] {
            // SAFETY: allocated here with this layout; the length is not 0.
            let grown = unsafe { heap.realloc(block, layout, len) };
            let is_shorter = len < layout.size();
            layout = Layout::from_size_align(len, 1).unwrap();
            if is_shorter {
                assert_ne!(grown, block);
                break;
            }
            assert_eq!(grown, block);
        }
    }

    #[test]
    fn threads_use_it_together() {
        static HEAP: Heap = Heap::new();
        let threads = [1_u8, 2, 3].map(|mark| {
            std::thread::spawn(move || {
                for round in 0..if cfg!(miri) { 30 } else { 3_000 } {
                    let layout = Layout::from_size_align(1 + round % 700, 8).unwrap();
                    // SAFETY: the length is not 0.
                    let block = unsafe { HEAP.alloc(layout) };
                    fill(block, layout.size(), mark);
                    std::thread::yield_now();
                    is_filled(block, layout.size(), mark);
                    // SAFETY: allocated here with this layout.
                    unsafe { HEAP.dealloc(block, layout) };
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
    }

    fn fill(block: *mut u8, len: usize, mark: u8) {
        // SAFETY: the caller's block, which is as long.
        unsafe { block.write_bytes(mark, len) };
    }

    fn is_filled(block: *mut u8, len: usize, mark: u8) {
        // SAFETY: the caller's block, which is as long and written to.
        let octets = unsafe { std::slice::from_raw_parts(block, len) };
        assert!(octets.iter().all(|octet| *octet == mark));
    }
}
