//! What one input may cost: bytes allocated, whatever is freed again, which grow with all work that a
//! loop over text or records does, and processor time, whose limit is generous, since machines differ.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The most that an input may take; libFuzzer ends one that takes longer than its own limit of 10 s by the
/// clock, which a machine that has other work may need for any.
const MAX_TIME: Duration = Duration::from_secs(8);

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

/// Does `act`, which may allocate `bytes`.
pub fn within<T>(bytes: u64, act: impl FnOnce() -> T) -> T {
    let (before, begun_at) = (ALLOCATED.load(Ordering::Relaxed), processor_time());
    let result = act();
    let work = ALLOCATED.load(Ordering::Relaxed) - before;
    assert!(work <= bytes, "{work} bytes were allocated, of {bytes}");
    let time = processor_time() - begun_at;
    assert!(time <= MAX_TIME, "it took {} s", time.as_secs());
    if std::env::var_os("SHOW_WORK").is_some() {
        eprintln!("{work} of {bytes} bytes, {} ms", time.as_millis());
    }
    result
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    Duration::from(time.expect("Linux counts it for each thread"))
}

/// Does `act` with input of this length; it may allocate 8 MiB, and `factor` times the length.
pub fn linear<T>(len: usize, factor: u64, act: impl FnOnce() -> T) -> T {
    within((8 << 20) + len as u64 * factor, act)
}
