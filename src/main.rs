//! Arguments in, exit code out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use wireboot::sys::heap::Heap;

#[global_allocator]
static HEAP: Heap = Heap::new();

fn main() -> ExitCode {
    match wireboot::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.print()),
    }
}
