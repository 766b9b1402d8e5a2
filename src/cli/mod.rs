//! The commands: their settings are turned into calls, and the results into text.

#![forbid(unsafe_code)]

#[cfg_attr(
    not(feature = "hand"),
    allow(dead_code, reason = "bars are for commands by hand")
)]
mod account;
#[cfg(feature = "arping")]
mod arping;
#[cfg(feature = "capture")]
mod capture;
#[cfg(feature = "discover")]
mod discover;
mod explain;
mod fetch;
mod lease;

use std::fmt::Write as _;

use log::LevelFilter;

use crate::agent;
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::init;
#[cfg(feature = "root")]
use crate::link::StaticInterface;
use crate::script;
use crate::settings::cmdline::Remark;
use crate::settings::commands::{COMMANDS, Command};
use crate::settings::options::Settings;
use crate::settings::parse::{self, Invocation, ParsedArguments};
use crate::settings::{cmdline, help as texts};
use crate::sys::terminal::{self, print};
use crate::sys::{machine, messages, rcu, sandbox};
use crate::timeline;

/// Runs the command that the arguments name.
///
/// # Errors
/// The error that ended the command; `main` prints it and exits with its code.
pub fn run() -> Result<(), Error> {
    if is_init() {
        init::run();
    }
    run_command()?;
    match terminal::unprinted() {
        None => Ok(()),
        Some(source) => Err(Box::new(Reason::Output {
            target: "standard output".to_owned(),
            source,
        })),
    }
}

fn run_command() -> Result<(), Error> {
    if let Some(module) = init::requested(std::env::args_os().skip(1)) {
        init::load_requested(&module);
        return Ok(());
    }
    let invocation = match parse::request(std::env::args_os().skip(1))? {
        ParsedArguments::Help(command) => {
            print(&command.map_or_else(texts::program, texts::command));
            return Ok(());
        }
        ParsedArguments::Version => {
            print(&version());
            return Ok(());
        }
        ParsedArguments::Run(invocation) => invocation,
    };
    let settings = read_settings(&invocation)?;
    script::begin(settings.config.dhcp.script.as_deref())?;
    harden(invocation.about.command);
    match invocation.about.command {
        Command::Lease => lease::run(settings),
        #[cfg(feature = "discover")]
        Command::Discover => discover::run(settings),
        #[cfg(not(feature = "discover"))]
        Command::Discover => Err(not_built_in("discover")),
        #[cfg(feature = "arping")]
        Command::Arping => arping::run(settings),
        #[cfg(not(feature = "arping"))]
        Command::Arping => Err(not_built_in("arping")),
        Command::Boot => boot(settings),
        Command::Fetch => fetch::run(settings),
        #[cfg(feature = "capture")]
        Command::Capture => capture::run(settings),
        #[cfg(not(feature = "capture"))]
        Command::Capture => Err(not_built_in("capture")),
        Command::Account => account::run(&settings),
        Command::Explain => explain::run(settings),
        Command::Help => help(&settings),
    }
}

/// Returns the settings that follow from defaults, kernel words and flags, and starts the log.
fn read_settings(invocation: &Invocation) -> Result<Settings, Error> {
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

/// Gives up what no command needs. Process 1 is not this far: what it starts after a boot that has
/// failed, or in place of one, must not inherit it.
fn harden(command: Command) {
    let file_len = match command {
        // To disks and pipes of any size.
        Command::Fetch | Command::Capture => u64::MAX,
        // Files are in memory.
        Command::Boot => machine::total_memory().unwrap_or(u64::MAX),
        Command::Lease
        | Command::Discover
        | Command::Arping
        | Command::Account
        | Command::Explain
        | Command::Help => LARGE_FILE,
    };
    for error in sandbox::harden(file_len) {
        log::debug!("{}", error.chain());
    }
}

/// More than any file but those that are fetched or captured: a log that standard error goes to is the
/// longest.
const LARGE_FILE: u64 = 4 << 30;

/// `wireboot boot`: the whole boot, from the interface to the jump into the fetched kernel.
fn boot(settings: Settings) -> Result<(), Error> {
    let config = settings.config;
    #[cfg(feature = "root")]
    let config = keep_network(config)?;
    let step = agent::run(&config)?;
    log::info!("stopped after {step} (--stop-after)");
    Ok(())
}

/// Returns the configuration with the network as it stands, if that is to be kept.
#[cfg(feature = "root")]
fn keep_network(mut config: Config) -> Result<Config, Error> {
    if !config.link.as_it_stands {
        return Ok(config);
    }
    let interface = config.link.interfaces.first();
    let standing = StaticInterface::read(interface.map(String::as_str))?;
    let words = standing.words();
    log::info!("the next kernel gets \"{words}\"");
    config.boot.append = Some(match config.boot.append {
        Some(text) => format!("{text} {words}"),
        None => words,
    });
    config.link.interfaces = vec![standing.interface];
    config.link.vlan = None;
    config.dhcp.given = standing.given;
    Ok(config)
}

/// `wireboot help`: help as text, manual page or shell completions.
fn help(settings: &Settings) -> Result<(), Error> {
    let ([] | [_]) = &settings.operands[..] else {
        return Err(Box::new(Reason::Usage(
            "help takes one topic; see 'wireboot help --help'".to_owned(),
        )));
    };
    let topic = settings.operands.first().map(String::as_str);
    let command = COMMANDS.iter().find(|about| topic == Some(about.name));
    #[cfg(feature = "manual")]
    if let Some(text) = manual(settings, topic) {
        print(&text);
        return Ok(());
    }
    let text = match (command, topic) {
        (Some(about), _) => texts::command(about.command),
        (None, None) => texts::program(),
        #[cfg(feature = "manual")]
        (None, Some("words")) => texts::words(),
        (None, Some("options")) => texts::options(),
        (None, Some(other)) => {
            return Err(Box::new(Reason::Usage(format!(
                "no help on '{other}'; 'wireboot help' lists the commands"
            ))));
        }
    };
    print(&text);
    Ok(())
}

/// Returns the manual page or the shell completions, if requested.
#[cfg(feature = "manual")]
fn manual(settings: &Settings, topic: Option<&str>) -> Option<String> {
    use crate::settings::manual;
    if let Some(shell) = settings.help.completion {
        return Some(manual::completions(shell));
    }
    settings.help.man.then(|| manual::page(topic)).flatten()
}

/// Returns the error for a command that was left out of this build.
#[cfg(not(all(feature = "arping", feature = "capture", feature = "discover")))]
fn not_built_in(command: &str) -> Error {
    Box::new(Reason::Usage(format!(
        "this wireboot was built without the command {command}; 'wireboot --version' lists its features"
    )))
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
        ("arping", cfg!(feature = "arping")),
        ("attended", cfg!(feature = "attended")),
        ("bond", cfg!(feature = "bond")),
        ("capture", cfg!(feature = "capture")),
        ("discover", cfg!(feature = "discover")),
        ("firmware", cfg!(feature = "firmware")),
        ("grub", cfg!(feature = "grub")),
        ("hand", cfg!(feature = "hand")),
        ("iso", cfg!(feature = "iso")),
        ("manual", cfg!(feature = "manual")),
        ("report", cfg!(feature = "report")),
        ("root", cfg!(feature = "root")),
        ("sandbox", cfg!(feature = "sandbox")),
        ("service", cfg!(feature = "service")),
        ("tls", cfg!(feature = "tls")),
        ("unpack", cfg!(feature = "unpack")),
    ] {
        let _ = write!(text, ", {}{name}", if is_built_in { "" } else { "no " });
    }
    text.push_str(")\n");
    text
}

/// Returns whether the kernel started this process as process 1. In a container a command may be
/// process 1 too; the kernel's is named init, and its arguments are the words of the kernel command
/// line that the kernel does not know (kernel_init).
fn is_init() -> bool {
    let mut arguments = std::env::args_os();
    let name = arguments.next().map(std::path::PathBuf::from);
    let is_named_init = name.is_some_and(|name| name.ends_with("init"));
    std::process::id() == 1 && (is_named_init || arguments.next().is_none())
}
