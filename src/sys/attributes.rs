//! Extended attributes of files (xattr(7)).

#![allow(unsafe_code, reason = "setxattr has no wrapper")]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Sets an attribute, `NAME=VALUE`, of a file, or of the symbolic link that is at the path.
///
/// # Errors
/// EOPNOTSUPP for one that the file system does not keep, such as those of users on tmpfs before Linux 6.6;
/// EPERM for one that takes a privilege that is missing.
pub fn set(path: &Path, attribute: &[u8]) -> io::Result<()> {
    let equals = attribute.iter().position(|byte| *byte == b'=');
    let (name, value) = attribute.split_at(equals.unwrap_or(attribute.len()));
    let value = value.get(1..).unwrap_or_default();
    let path = CString::new(path.as_os_str().as_bytes())?;
    let name = CString::new(name)?;
    // SAFETY: both strings end in a zero byte, and the length is that of the value; all of them live until
    // the call returns, and the kernel only reads them.
    let result = unsafe {
        libc::lsetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            // Neither XATTR_CREATE nor XATTR_REPLACE: it is made, or replaced if it is there.
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
