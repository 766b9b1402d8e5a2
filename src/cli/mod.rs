//! The commands: one short file each, which turns arguments into calls and results into text.

#![forbid(unsafe_code)]

mod account;
mod boot;
mod capture;
mod discover;
mod explain;
mod fetch;
mod flags;
mod lease;
mod options;

use crate::error::Error;
use crate::init;
use crate::sys::signal::Signals;
use flags::{Arguments, Flag};

const USAGE: &str = "\
usage: wireboot COMMAND [FLAG]…   (wireboot COMMAND --help tells the flags)

Run as process 1 it boots by the kernel command line.
Exit codes: 0 done, 1 usage, 2 no interface or carrier, 3 no offer, 4 refused or conflict,
5 configuration refused, 6 nothing bootable, 7 fetch failed, 8 verification failed, 9 kexec refused.

Commands:
";

type Run = fn(Arguments) -> Result<(), Error>;

/// Every command: its name, what it does, and how.
const COMMANDS: &[(&str, &str, Run)] = &[
    (
        "lease",
        "acquire a lease and configure the interface",
        lease::run,
    ),
    (
        "discover",
        "show what every server offers, and take nothing",
        discover::run,
    ),
    ("boot", "link, lease, plan, fetch, verify, kexec", boot::run),
    ("fetch", "get files by tftp and http", fetch::run),
    (
        "capture",
        "show frames, or write them to a file",
        capture::run,
    ),
    (
        "account",
        "tell where the time of the last boot went",
        account::run,
    ),
    (
        "explain",
        "say what a kernel command line means here",
        explain::run,
    ),
];

/// Runs the command that the arguments name.
///
/// # Errors
/// What ended the command; `main` prints it and takes the exit code from it.
pub fn run() -> Result<(), Error> {
    if is_init() {
        flags::start_logging(log::LevelFilter::Info);
        init::run();
    }
    let mut arguments = Arguments::from_env();
    match arguments.next()? {
        Some(Flag::Value(name)) => match COMMANDS.iter().find(|command| command.0 == name) {
            Some((_, _, run)) => run(arguments),
            None => Err(Error::Usage(format!(
                "there is no command \"{name}\"; wireboot --help lists them"
            ))),
        },
        Some(flag) if flag.is('h', "help") => {
            print!("{}", usage());
            Ok(())
        }
        Some(flag) if flag.is('V', "version") => {
            println!("wireboot {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Some(flag) => Err(flag.unexpected()),
        None => {
            eprint!("{}", usage());
            Err(Error::Usage("no command given".to_owned()))
        }
    }
}

/// Begins to receive signals, which would end the process before it could leave the network as it
/// was; to be called before any thread is started.
fn receive_signals() -> Result<Signals, Error> {
    Signals::open().map_err(|source| Error::System {
        doing: "cannot receive signals".to_owned(),
        source,
    })
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

fn usage() -> String {
    let mut text = USAGE.to_owned();
    for (name, purpose, _) in COMMANDS {
        text.push_str(&format!("  {name:<10}{purpose}\n"));
    }
    text
}
