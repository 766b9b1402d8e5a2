//! The settings of a command, from defaults, kernel words and flags; and the log level that they set.

use std::io::Write;

use log::{Level, LevelFilter};

use crate::config::Config;
use crate::error::Error;
use crate::fetch::Style;
use crate::settings::cmdline;
use crate::settings::commands::Command;
use crate::settings::options::Settings;
use crate::settings::parse::Invocation;
use wireboot_proto::text::safe::Safe;

/// Returns the settings that follow from defaults, kernel words and flags, and starts the log.
pub(super) fn read(invocation: &Invocation) -> Result<Settings, Error> {
    let default = match invocation.about.command {
        Command::Boot | Command::Discover => Config::for_boot(),
        Command::Lease
        | Command::Fetch
        | Command::Capture
        | Command::Account
        | Command::Explain
        | Command::Help => Config::default(),
    };
    let mut settings = invocation.over(default.clone())?;
    let mut complaints = Vec::new();
    if !settings.command_lines.is_empty() {
        let mut config = default;
        for path in &settings.command_lines {
            complaints.extend(cmdline::apply(&cmdline::read(path)?, &mut config));
        }
        // Again, since flags override words.
        settings = invocation.over(config)?;
    }
    let verbosity = match invocation.about.command {
        // Its -v is for the frames and not for the log.
        Command::Capture => 0,
        Command::Lease
        | Command::Discover
        | Command::Boot
        | Command::Fetch
        | Command::Account
        | Command::Explain
        | Command::Help => settings.verbosity,
    };
    start_log(level(settings.config.output.quiet, verbosity));
    for complaint in complaints {
        log::warn!("{complaint}");
    }
    Ok(settings)
}

/// Starts the log on standard error, one line per record; `WIREBOOT_LOG` overrides `level`.
pub(super) fn start_log(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    // ureq logs requests with their passwords.
    builder.filter_module("ureq_proto", LevelFilter::Off);
    builder.parse_env("WIREBOOT_LOG");
    // Erases the rest of a progress bar on the same line.
    let line_end = match Style::for_people(false) {
        Style::Bar => "\x1b[K",
        Style::Lines | Style::Json | Style::Silent => "",
    };
    builder.format(move |line, record| {
        let text = Safe::line(record.args());
        let is_own = record.target().starts_with("wireboot");
        if is_own || record.level() <= Level::Info {
            writeln!(line, "wireboot: {text}{line_end}")
        } else {
            // Debug messages of a library make sense only with its name.
            let library = record.target().split("::").next().unwrap_or_default();
            writeln!(line, "wireboot: {library}: {text}{line_end}")
        }
    });
    // Fails only if there is a logger already, as in tests.
    let _ = builder.try_init();
}

/// Returns the log level of `--quiet` and `-v`.
fn level(is_quiet: bool, verbosity: usize) -> LevelFilter {
    match verbosity {
        _ if is_quiet => LevelFilter::Error,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}
