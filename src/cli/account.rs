//! `wireboot account`: where the time of the last boot went.

use std::io::Write;

use super::flags::{Arguments, Flag};
use crate::account;
use crate::error::Error;

const HELP: &str = "\
usage: wireboot account [FLAG]…

Tells where the time of the last lease or boot went: each moment with the seconds since the kernel's
start and since the moment before, then the steps. The moments of frames are the kernel's own.

  --json                print it for programs; times in microseconds
  -h, --help            print this text
";

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut path = account::TEXT;
    while let Some(flag) = arguments.next()? {
        match flag {
            flag if flag.is('h', "help") => {
                print!("{HELP}");
                return Ok(());
            }
            Flag::Long(name) if name == "json" => path = account::JSON,
            Flag::Short(_) | Flag::Long(_) | Flag::Value(_) => return Err(flag.unexpected()),
        }
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::Usage(format!(
            "no lease and no boot have left an account: {path}: {error}"
        ))
    })?;
    // Whoever reads may close the pipe; nobody is left to tell.
    let _ = write!(std::io::stdout(), "{text}");
    Ok(())
}
