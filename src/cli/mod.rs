//! The commands: one short file each, which turns settings into calls and results into text.

#![forbid(unsafe_code)]

mod account;
mod boot;
#[cfg(feature = "capture")]
mod capture;
#[cfg(feature = "discover")]
mod discover;
mod explain;
mod fetch;
mod help;
mod lease;
mod log;
mod options;

use std::fmt::Write as _;
use std::io::Write;

use ::log::LevelFilter;

use crate::config::Config;
use crate::error::Error;
use crate::init;
use crate::settings::cmdline;
use crate::settings::defs::Command;
use crate::settings::help as texts;
use crate::settings::parse::{self, Invocation, Request, Settings};

/// Runs the command that the arguments name.
///
/// # Errors
/// What ended the command; `main` prints it and takes the exit code from it.
pub fn run() -> Result<(), Error> {
    if is_init() {
        log::start(LevelFilter::Info);
        init::run();
    }
    let invocation = match parse::request(std::env::args_os().skip(1))? {
        Request::Help(command) => {
            print(&command.map_or_else(texts::program, texts::command));
            return Ok(());
        }
        Request::Version => {
            print(&version());
            return Ok(());
        }
        Request::Run(invocation) => invocation,
    };
    let settings = settings(&invocation)?;
    match invocation.about.command {
        Command::Lease => lease::run(settings),
        #[cfg(feature = "discover")]
        Command::Discover => discover::run(settings),
        #[cfg(not(feature = "discover"))]
        Command::Discover => Err(left_out("discover")),
        Command::Boot => boot::run(&settings),
        Command::Fetch => fetch::run(settings),
        #[cfg(feature = "capture")]
        Command::Capture => capture::run(settings),
        #[cfg(not(feature = "capture"))]
        Command::Capture => Err(left_out("capture")),
        Command::Account => account::run(&settings),
        Command::Explain => explain::run(settings),
        Command::Help => help::run(&settings),
    }
}

/// Returns what defaults, words and flags come to, and starts the log as they say.
fn settings(invocation: &Invocation) -> Result<Settings, Error> {
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
        // Once more, since flags win over words.
        settings = invocation.over(config)?;
    }
    let verbosity = match invocation.about.command {
        // There it is about what is shown of frames.
        Command::Capture => 0,
        Command::Lease
        | Command::Discover
        | Command::Boot
        | Command::Fetch
        | Command::Account
        | Command::Explain
        | Command::Help => settings.verbosity,
    };
    log::start(log::level(settings.config.output.quiet, verbosity));
    for complaint in complaints {
        ::log::warn!("{complaint}");
    }
    Ok(settings)
}

/// Says that the program was built without a command.
#[cfg(not(all(feature = "capture", feature = "discover")))]
fn left_out(command: &str) -> Error {
    Error::Usage(format!(
        "this wireboot was built without the command {command}; 'wireboot --version' lists its features"
    ))
}

/// Returns the version, and what was built of it.
fn version() -> String {
    let mut text = format!(
        "wireboot {} (commit {}, {}-{}{}",
        env!("CARGO_PKG_VERSION"),
        option_env!("WIREBOOT_COMMIT").unwrap_or("unknown"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        if cfg!(target_env = "musl") {
            "-musl"
        } else {
            ""
        },
    );
    for (name, is_built_in) in [
        ("capture", cfg!(feature = "capture")),
        ("discover", cfg!(feature = "discover")),
        ("manual", cfg!(feature = "manual")),
        ("tls", cfg!(feature = "tls")),
        ("unpack", cfg!(feature = "unpack")),
    ] {
        let _ = write!(text, ", {}{name}", if is_built_in { "" } else { "no " });
    }
    text.push_str(")\n");
    text
}

/// Prints to standard output. Whoever reads may close the pipe; nobody is left to say so to.
fn print(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Returns whether the kernel started this process to be its first. In a container a command may be
/// process 1 too; the kernel's has the name it was looked for under, and the words of the kernel's
/// command line that nobody knew as arguments.
fn is_init() -> bool {
    let mut arguments = std::env::args_os();
    let name = arguments.next().map(std::path::PathBuf::from);
    let is_named_init = name.is_some_and(|name| name.ends_with("init"));
    std::process::id() == 1 && (is_named_init || arguments.next().is_none())
}
