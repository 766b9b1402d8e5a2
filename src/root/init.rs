//! Finds the program of a mounted root that becomes process 1, and sees that the kernel can start it: once
//! the initramfs is removed, nothing is there to try again with.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::RootConfig;
use crate::sys::mounts;
use wireboot_proto::format::program::{self, HEAD_LEN};
use wireboot_proto::text::safe::Quoted;

/// The programs that may become process 1, in the order in which the kernel and switch_root tools try
/// them.
const INITS: [&str; 5] = [
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/bin/init",
    "/bin/sh",
];

/// How many programs start each other, a script's and a dynamic linker among them: a few more than
/// `exec_binprm` of Linux allows.
const MAX_DEPTH: usize = 8;

/// Returns the program that is to be process 1.
///
/// # Errors
/// Why there is none, in plain words.
pub(super) fn find(root: &str, config: &RootConfig) -> Result<String, String> {
    if let Some(init) = &config.init {
        return match check(root, init) {
            Ok(true) => Ok(init.clone()),
            Ok(false) => Err(format!("the root has no program {init} (init=)")),
            Err(why) => Err(why),
        };
    }
    let mut first = None;
    for path in INITS {
        match check(root, path) {
            Ok(true) => return Ok(path.to_owned()),
            Ok(false) => {}
            Err(why) => {
                first.get_or_insert(why);
            }
        }
    }
    Err(first.unwrap_or_else(|| format!("the root has no init: none of {}", INITS.join(", "))))
}

/// Returns whether there is such a program, which the kernel can start.
///
/// # Errors
/// Why it cannot.
fn check(root: &str, init: &str) -> Result<bool, String> {
    let mut path = PathBuf::from(init);
    let mut why = "programs start each other without end";
    for depth in 0..MAX_DEPTH {
        let head = mounts::program_within(root, &path, HEAD_LEN).map_err(|error| error.chain())?;
        why = match head.as_deref().map(program::interpreter) {
            None if depth == 0 => return Ok(false),
            None => "it is not in the root",
            Some(Ok(None)) => return Ok(true),
            Some(Ok(Some(next))) => {
                path = PathBuf::from(OsStr::from_bytes(next));
                continue;
            }
            Some(Err(why)) => why,
        };
        break;
    }
    let name = path.to_string_lossy();
    Err(format!(
        "{init} cannot be started: {}: {why}",
        Quoted(&name)
    ))
}
