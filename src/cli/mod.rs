//! The commands, which turn settings into calls and results into text.

#![forbid(unsafe_code)]

#[cfg(feature = "capture")]
mod capture;
#[cfg(feature = "discover")]
mod discover;
mod explain;
mod fetch;
mod help;
mod lease;
mod log;

use std::fmt::Write as _;
use std::io::Write;

use ::log::LevelFilter;

use crate::agent;
use crate::config::Config;
use crate::error::Error;
use crate::init;
use crate::settings::cmdline;
use crate::settings::defs::Command;
use crate::settings::help as texts;
use crate::settings::parse::{self, Invocation, Request, Settings};
use crate::sys::rcu;
use crate::timeline::{self, Timeline};

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
        Command::Boot => boot(&settings),
        Command::Fetch => fetch::run(settings),
        #[cfg(feature = "capture")]
        Command::Capture => capture::run(settings),
        #[cfg(not(feature = "capture"))]
        Command::Capture => Err(left_out("capture")),
        Command::Account => account(&settings),
        Command::Explain => explain::run(settings),
        Command::Help => help::run(&settings),
    }
}

/// Returns the settings that follow from defaults, kernel words and flags, and starts the log.
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
        // Its -v shows more of each frame, and must not fill the log.
        Command::Capture => 0,
        Command::Lease
        | Command::Discover
        | Command::Boot
        | Command::Fetch
        | Command::Account
        | Command::Explain
        | Command::Help => settings.verbosity,
    };
    rcu::allow(settings.config.link.expedites);
    log::start(log::level(settings.config.output.quiet, verbosity));
    for complaint in complaints {
        ::log::warn!("{complaint}");
    }
    Ok(settings)
}

/// `wireboot boot`: the whole path, from the interface to the jump into the fetched kernel.
fn boot(settings: &Settings) -> Result<(), Error> {
    let step = agent::run(&settings.config)?;
    ::log::info!("stopped after {step} (--stop-after)");
    Ok(())
}

/// `wireboot account`: where the time of the last lease or boot went.
fn account(settings: &Settings) -> Result<(), Error> {
    let (people, programs) = Timeline::read().map_err(|error| {
        Error::Usage(format!(
            "no timeline of a lease or boot on this machine since its start: {}: {error}",
            timeline::FILE
        ))
    })?;
    print(if settings.json { &programs } else { &people });
    Ok(())
}

/// Returns the error for a command that was left out of this build.
#[cfg(not(all(feature = "capture", feature = "discover")))]
fn left_out(command: &str) -> Error {
    Error::Usage(format!(
        "this wireboot was built without the command {command}; 'wireboot --version' lists its features"
    ))
}

/// Returns the version, the target and the features.
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

/// Prints to standard output. The reader may have closed the pipe, which is no error.
fn print(text: &str) {
    // println! panics on a closed pipe, since Rust ignores SIGPIPE from the start of a program.
    let _ = write!(std::io::stdout(), "{text}");
}

/// Returns whether the kernel started this process as its first. In a container a command may be
/// process 1 too; the kernel's is named init (kernel_init) and has the unknown words of the kernel
/// command line as arguments.
fn is_init() -> bool {
    let mut arguments = std::env::args_os();
    let name = arguments.next().map(std::path::PathBuf::from);
    let is_named_init = name.is_some_and(|name| name.ends_with("init"));
    std::process::id() == 1 && (is_named_init || arguments.next().is_none())
}
