//! The commands: one short file each, which turns arguments into calls and results into text.

#![forbid(unsafe_code)]

mod boot;
mod capture;
mod explain;
mod fetch;
mod flags;
mod lease;

use crate::error::Error;
use crate::init;
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
    ("boot", "link, lease, plan, fetch, verify, kexec", boot::run),
    ("fetch", "get files by tftp and http", fetch::run),
    (
        "capture",
        "show frames, or write them to a file",
        capture::run,
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
    if std::process::id() == 1 && !names_a_command() {
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
        None => Err(Error::Usage(format!("no command given\n{}", usage()))),
    }
}

/// Returns whether the first argument is a command. The kernel hands its first process the words of
/// its command line that it does not know, so arguments alone mean nothing.
fn names_a_command() -> bool {
    let first = std::env::args().nth(1);
    first.is_some_and(|first| COMMANDS.iter().any(|(name, _, _)| *name == first))
}

fn usage() -> String {
    let mut text = USAGE.to_owned();
    for (name, purpose, _) in COMMANDS {
        text.push_str(&format!("  {name:<10}{purpose}\n"));
    }
    text
}
