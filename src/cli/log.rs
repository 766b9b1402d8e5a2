//! The log on standard error.

use std::io::Write;

use log::{Level, LevelFilter};

use crate::fetch::Style;
use wireboot_proto::text::safe::Safe;

/// Sends the log to standard error, a line a record; `WIREBOOT_LOG` overrides `level`.
pub(super) fn start(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    // It logs requests as they are, with passwords.
    builder.filter_module("ureq_proto", LevelFilter::Off);
    builder.parse_env("WIREBOOT_LOG");
    // Where a bar may be, a line takes its place and leaves nothing of it.
    let end = match Style::for_people(false) {
        Style::Bar => "\x1b[K",
        Style::Lines | Style::Json | Style::Silent => "",
    };
    builder.format(move |line, record| {
        let text = Safe::line(record.args());
        let is_own = record.target().starts_with("wireboot");
        if is_own || record.level() <= Level::Info {
            writeln!(line, "wireboot: {text}{end}")
        } else {
            // Details of a library are of use only with its name.
            let library = record.target().split("::").next().unwrap_or_default();
            writeln!(line, "wireboot: {library}: {text}{end}")
        }
    });
    // A second logger in one process is no reason to stop.
    let _ = builder.try_init();
}

/// Returns how much is logged, by flags and words.
pub(super) fn level(is_quiet: bool, verbosity: usize) -> LevelFilter {
    match verbosity {
        _ if is_quiet => LevelFilter::Error,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}
