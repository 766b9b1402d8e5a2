//! Hands the machine over to a mounted root: process 1 becomes its init.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::mounts::{INIT, MOVED, NEW_ROOT};
use crate::error::{Error, Reason};
use crate::handover;
use crate::sys::exec::Program;
use crate::sys::{SyscallError, file, machine, mounts};

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
