//! The log on standard error.

use std::io::Write;

use log::{Level, LevelFilter};

use crate::fetch::Style;
use wireboot_proto::text::safe::Safe;

/// Starts the log on standard error, one line per record; `WIREBOOT_LOG` overrides `level`.
pub(super) fn start(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    // It logs requests unredacted, with passwords.
    builder.filter_module("ureq_proto", LevelFilter::Off);
    builder.parse_env("WIREBOOT_LOG");
    builder.format(|line, record| {
        // Erases the rest of a progress bar that may be on the line.
        let end = match Style::for_people(false) {
            Style::Bar => "\x1b[K",
            Style::Lines | Style::Json | Style::Silent => "",
        };
        let text = Safe::line(record.args());
        let is_own = record.target().starts_with("wireboot");
        if is_own || record.level() <= Level::Info {
            writeln!(line, "wireboot: {text}{end}")
        } else {
            // Debug messages of a library make sense only with its name.
            let library = record.target().split("::").next().unwrap_or_default();
            writeln!(line, "wireboot: {library}: {text}{end}")
        }
    });
    // Fails only if there is a logger already, as in tests.
    let _ = builder.try_init();
}

/// Returns the log level of `--quiet` and `-v`.
pub(super) fn level(is_quiet: bool, verbosity: usize) -> LevelFilter {
    match verbosity {
        _ if is_quiet => LevelFilter::Error,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}
