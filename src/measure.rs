//! Measures the parts of the boot: the SHA-256 of each is logged, and extended into the PCRs of the TPM,
//! if there is one, before the kernel is loaded.
//!
//! The PCRs are those of GRUB: 9 for the files as handed to kexec (the kernel decompressed, all initrds
//! in one), 8 for the command line, without a terminating zero. The value of a PCR with a single file is
//! the hash of zeros and the file's hash, so that it can be computed in advance.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::Read;

use sha2::{Digest, Sha256 as Hasher};

use crate::error::{Cause, Error};
use crate::sys::SyscallError;
use crate::sys::firmware::Tpm;
use crate::sys::memfd::SealedFile;
use wireboot_proto::format::tpm;
use wireboot_proto::text::url::Sha256;

const FILES_PCR: u8 = 9;
const COMMAND_LINE_PCR: u8 = 8;

/// The measurement of a part of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// The part.
    pub part: &'static str,
    /// The PCR that it is extended into.
    pub pcr: u8,
    /// Its hash.
    pub sha256: Sha256,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: SHA-256 {}", self.part, self.sha256)
    }
}

/// Measures everything that is handed to kexec: `files`, each with its name, and the command line.
///
/// A failure of the TPM does not end the boot: without the measurements it does not unseal secrets.
///
/// # Errors
/// [`Error::System`] if a part cannot be read.
pub fn parts<'a>(
    files: impl Iterator<Item = (&'static str, &'a SealedFile)>,
    command_line: &str,
) -> Result<Vec<Measurement>, Error> {
    let measured = |part, pcr, sha256| Measurement { part, pcr, sha256 };
    let mut parts = Vec::new();
    for (part, file) in files {
        parts.push(measured(part, FILES_PCR, hash_of(file)?));
    }
    let command_line = Sha256(Hasher::digest(command_line).into());
    parts.push(measured("command line", COMMAND_LINE_PCR, command_line));
    for measurement in &parts {
        log::info!("{measurement}");
    }
    match extend(&parts) {
        Ok(true) => log::info!("extended into PCR {FILES_PCR} and {COMMAND_LINE_PCR} of the TPM"),
        Ok(false) => log::debug!("no TPM, measurements only logged"),
        Err(error) => log::warn!("cannot extend the TPM: {error}"),
    }
    Ok(parts)
}

/// Extends the PCRs; returns whether there is a TPM.
fn extend(parts: &[Measurement]) -> Result<bool, Cause> {
    let Some(mut device) = Tpm::open()? else {
        return Ok(false);
    };
    let mut send = |command: &[u8]| device.transmit(command, tpm::MAX_RESPONSE_LEN);
    // All active banks: later software could extend an unused bank with forged measurements.
    let (banks, unknown) = tpm::decode_banks(&send(&tpm::encode_get_banks())?)?;
    if unknown > 0 {
        log::warn!("{unknown} PCR banks of the TPM are not extended: unsupported hash algorithm");
    }
    for Measurement { pcr, sha256, .. } in parts {
        tpm::decode_done(&send(&tpm::encode_extend(*pcr, &banks, &sha256.0))?)?;
    }
    Ok(true)
}

fn hash_of(file: &SealedFile) -> Result<Sha256, Error> {
    let mut hasher = Hasher::new();
    let mut bytes = vec![0; 128 << 10];
    let mut read = || {
        let mut reader = file.reader(0..u64::MAX)?;
        loop {
            match reader.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(len) => hasher.update(bytes.get(..len).unwrap_or_default()),
                Err(source) => {
                    let call = "read(memfd)";
                    return Err(SyscallError { call, source });
                }
            }
        }
    };
    read().map_err(|source| Error::System {
        doing: "cannot read a part to measure it".to_owned(),
        source,
    })?;
    Ok(Sha256(hasher.finalize().into()))
}
