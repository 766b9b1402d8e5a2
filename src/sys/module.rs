//! Puts modules into the running kernel.

#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::File;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use super::SyscallError;

/// Has the kernel decompress the file, as it was built to: gzip, xz or zstd (since Linux 5.17).
const MODULE_INIT_COMPRESSED_FILE: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// Loads a module from its file; one that is there already is no error.
///
/// # Errors
/// What `finit_module` says: ENOEXEC for another kernel's module, EOPNOTSUPP for a compressed one
/// when the kernel was built without CONFIG_MODULE_DECOMPRESS, ENODEV when it finds nothing to do,
/// EKEYREJECTED for one without a signature under lockdown.
pub fn load(file: &File, compressed: bool, parameters: &str) -> Result<(), SyscallError> {
    const CALL: &str = "finit_module";
    let parameters =
        CString::new(parameters).map_err(|_| SyscallError::new(CALL, Errno::EINVAL))?;
    let flags = match compressed {
        true => MODULE_INIT_COMPRESSED_FILE,
        false => ModuleInitFlags::empty(),
    };
    match finit_module(file, &parameters, flags) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(SyscallError::new(CALL, errno)),
    }
}
