//! Arguments in, exit code out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match wireboot::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.print()),
    }
}
