//! The TPM, through the kernel's resource manager: one command, one response.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use super::SyscallError;

const DEVICE: &str = "/dev/tpmrm0";

/// An open TPM.
#[derive(Debug)]
pub struct Tpm(File);

impl Tpm {
    /// Opens the machine's TPM 2.0; none when it has none, or the kernel no driver for it.
    ///
    /// # Errors
    /// `open`: EACCES, EIO.
    pub fn open() -> Result<Option<Self>, SyscallError> {
        match OpenOptions::new().read(true).write(true).open(DEVICE) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SyscallError {
                call: "open(/dev/tpmrm0)",
                source,
            }),
        }
    }

    /// Sends a command and returns the response, which may have up to `max_len` octets.
    ///
    /// # Errors
    /// `write` or `read`: ETIME when the TPM takes too long, EIO.
    pub fn transmit(&mut self, command: &[u8], max_len: usize) -> Result<Vec<u8>, SyscallError> {
        let failed = |call| move |source| SyscallError { call, source };
        // The driver takes a command in one write and gives its response in one read.
        let written = self
            .0
            .write(command)
            .map_err(failed("write(/dev/tpmrm0)"))?;
        if written != command.len() {
            return Err(failed("write(/dev/tpmrm0)")(
                io::ErrorKind::WriteZero.into(),
            ));
        }
        let mut response = vec![0; max_len];
        let len = self
            .0
            .read(&mut response)
            .map_err(failed("read(/dev/tpmrm0)"))?;
        response.truncate(len);
        Ok(response)
    }
}
