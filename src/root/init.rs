//! The program of a mounted root that becomes process 1: it is found and seen to be one that the kernel can
//! start, since once the initramfs is removed nothing is there to try again with; then it gets the machine.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::RootConfig;
use crate::error::{Error, Reason};
use crate::handover;
use crate::sys::exec::Program;
use crate::sys::{SyscallError, file, machine, mounts};
use wireboot_proto::format::program::{self, HEAD_LEN};
use wireboot_proto::text::safe::Quoted;

/// Where the root is until it becomes one, as in other initramfs.
pub(super) const NEW_ROOT: &str = "/sysroot";
/// The directories of a root that file systems of the machine are moved to.
pub(super) const MOVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];
/// What is to be started, for the process that switches: a plan may have said it.
pub(super) const INIT: &str = "/run/wireboot/root/init";

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

/// Makes the mounted root that of this process, removes the files of the one before, which are in
/// memory, and becomes its init, with the arguments and variables that the kernel gave this process.
///
/// # Errors
/// [`Reason::Root`] when it cannot be done; as long as nothing has been removed yet, the machine is as it
/// was. [`Reason::System`] when the kernel does not start the init.
pub fn switch() -> Result<Infallible, Error> {
    let failed = |source: SyscallError| {
        Box::new(Reason::Root {
            what: "the new root as /".to_owned(),
            source,
        })
    };
    let init = fs::read_to_string(INIT);
    let init = init.map_err(|source| {
        let call = "read";
        failed(SyscallError::of(call, source))
    })?;
    let resolvers = handover::resolvers();
    let is_in_memory = mounts::root_is_in_memory();
    // From here on `/` leads to the old root, and the current directory is the new one.
    mounts::cover_root(NEW_ROOT).map_err(failed)?;
    for path in MOVED {
        let target = path.trim_start_matches('/');
        if let Err(error) = mounts::relocate(path, target) {
            log::warn!("cannot move {path}: {}", error.chain());
            mounts::unmount(path);
        }
    }
    if is_in_memory && let Ok(root) = fs::symlink_metadata("/") {
        file::remove_below(Path::new("/"), Some(root.dev()));
    }
    mounts::enter().map_err(failed)?;
    handover::set_resolvers(resolvers.as_deref());
    if let Err(error) = machine::release_ctrl_alt_del() {
        log::debug!("{}", error.chain());
    }
    log::info!("starting {init}");
    let mut program = Program::new(Path::new(&init), &init).own_variables();
    for argument in std::env::args().skip(1) {
        program = program.argument(&argument);
    }
    Err(Box::new(Reason::System {
        doing: format!("cannot start {init}"),
        source: program.become_it(),
    }))
}
