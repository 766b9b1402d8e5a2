//! Puts modules into the running kernel.

#![forbid(unsafe_code)]

use std::fs::File;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module, init_module};

use super::SyscallError;

/// Has the kernel unpack the file, as it was built to: gzip, xz or zstd (since Linux 5.17).
const MODULE_INIT_COMPRESSED_FILE: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// Loads a module from its file; one that is there already is no error.
///
/// # Errors
/// What `finit_module` says: ENOEXEC for another kernel's module, ENODEV when it finds nothing to do,
/// EKEYREJECTED for one without a signature under lockdown.
pub fn load(file: &File) -> Result<(), SyscallError> {
    let result = finit_module(file, c"", ModuleInitFlags::empty());
    unless_there("finit_module", result)
}

/// Loads a packed module, as [`load`], if the kernel unpacks it.
///
/// # Errors
/// Those of [`load`], and those of which [`cannot_unpack`] knows.
pub fn load_packed(file: &File) -> Result<(), SyscallError> {
    let result = finit_module(file, c"", MODULE_INIT_COMPRESSED_FILE);
    unless_there("finit_module(COMPRESSED_FILE)", result)
}

/// Tells whether an error of [`load_packed`] may mean that the kernel unpacks nothing, or not that.
pub fn cannot_unpack(error: &SyscallError) -> bool {
    // The first where it was built without CONFIG_MODULE_DECOMPRESS, the other where it knows no such
    // flag or expects another kind.
    let codes = [Errno::EOPNOTSUPP, Errno::EINVAL];
    codes
        .iter()
        .any(|code| error.source.raw_os_error() == Some(*code as i32))
}

/// Loads a module from memory, as [`load`].
///
/// # Errors
/// Those of [`load`].
pub fn load_octets(octets: &[u8]) -> Result<(), SyscallError> {
    unless_there("init_module", init_module(octets, c""))
}

fn unless_there(call: &'static str, result: Result<(), Errno>) -> Result<(), SyscallError> {
    match result {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(SyscallError::new(call, errno)),
    }
}
