//! The settings of a command, from defaults, kernel words and flags; and the log level that they set.

use log::LevelFilter;

use crate::config::Config;
use crate::error::Error;
use crate::settings::cmdline;
use crate::settings::cmdline::Remark;
use crate::settings::commands::Command;
use crate::settings::options::Settings;
use crate::settings::parse::Invocation;
use crate::sys::{messages, rcu};
use crate::timeline;

/// Returns the settings that follow from defaults, kernel words and flags, and starts the log.
pub(super) fn read(invocation: &Invocation) -> Result<Settings, Error> {
    let default = match invocation.about.command {
        Command::Boot | Command::Discover => Config::for_boot(),
        Command::Lease
        | Command::Fetch
        | Command::Capture
        | Command::Account
        | Command::Arping
        | Command::Explain
        | Command::Help => Config::default(),
    };
    let mut settings = invocation.over(default.clone())?;
    let mut complaints = Vec::new();
    if !settings.command_lines.is_empty() {
        let mut config = default;
        for path in &settings.command_lines {
            let mut line = cmdline::parse(&cmdline::read(path)?, config);
            // A lease may be for the very initramfs that such words are for.
            if invocation.about.command == Command::Boot {
                line.remarks.append(&mut line.roots_of_others);
            }
            complaints.extend(line.remarks.iter().filter_map(Remark::refusal));
            config = line.config;
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
        | Command::Arping
        | Command::Explain
        | Command::Help => settings.verbosity,
    };
    rcu::allow(settings.config.link.expedites);
    let level = level(settings.config.output.quiet, verbosity);
    messages::start(level, timeline::is_of_first_process());
    for complaint in complaints {
        log::warn!("{complaint}");
    }
    Ok(settings)
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
