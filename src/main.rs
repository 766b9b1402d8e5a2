//! Arguments in, exit code out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use wireboot_proto::text::safe::Safe;

fn main() -> ExitCode {
    match wireboot::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let kind = if error.is_usage() { "error: " } else { "" };
            eprintln!("wireboot: {kind}{}", Safe::line(error.chain()));
            ExitCode::from(error.exit_code())
        }
    }
}
