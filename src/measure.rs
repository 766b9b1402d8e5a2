//! Measures the parts of the boot: the SHA-256 of each is logged, and extended into the PCRs of the TPM,
//! if there is one, before the kernel is loaded.
//!
//! The PCRs are those of GRUB: 9 for the files as handed to kexec (the kernel decompressed, all initrds
//! in one), 8 for the command line, without a terminating zero. The value of a PCR with a single file is
//! the hash of zeros and the file's hash, so that it can be computed in advance.

#![forbid(unsafe_code)]

use std::time::Duration;

use sha2::{Digest, Sha256 as Hasher};

use crate::config::{Config, PlanOutput};
use crate::error::{Cause, Error, Reason};
use crate::sys;
use crate::sys::firmware::Tpm;
use crate::sys::hashing::Hashed;
use crate::sys::machine;
use crate::sys::memfd::SealedFile;
use crate::timeline::{Moment, Timeline};
use wireboot_proto::format::tpm;
use wireboot_proto::text::url::Sha256;

// "Measured Boot" in GRUB's manual.
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
    /// When the hash was there, as time since the kernel's start.
    pub at: Duration,
}

impl From<Measurement> for Moment {
    fn from(measurement: Measurement) -> Self {
        let Measurement {
            part, sha256, at, ..
        } = measurement;
        Self::new(format!("{part}: SHA-256 {sha256}"), at)
    }
}

/// Returns whether hashes are worth their time: they cost none beside transfers where there are two
/// processors; one that has to do it alone takes 2 to 4 s for 1 GiB without instructions for SHA.
pub fn is_wanted(config: &Config, must_be_signed: bool) -> bool {
    let is_asked_for = must_be_signed || config.output.report == PlanOutput::Explain;
    is_asked_for || machine::processors() > 1 || Tpm::exists()
}

/// Measures all that is started: `files` with what each is, and the command line, if one is made; notes
/// each hash in `timeline`. Files whose hash is not known yet are left out unless `is_wanted`.
///
/// # Errors
/// [`Reason::System`] if a part cannot be read.
pub fn parts<'a>(
    files: impl Iterator<Item = (&'static str, &'a SealedFile)>,
    command_line: Option<&str>,
    is_wanted: bool,
    timeline: &Timeline,
) -> Result<Vec<Measurement>, Error> {
    let measured = |part, pcr, hashed: Hashed| Measurement {
        part,
        pcr,
        sha256: hashed.sha256,
        at: hashed.at,
    };
    let mut parts = Vec::new();
    for (part, file) in files {
        if is_wanted || file.is_hashed() {
            let hashed = file.hash().map_err(|source| {
                Box::new(Reason::System {
                    doing: "cannot read back what is to be measured".to_owned(),
                    source,
                })
            })?;
            parts.push(measured(part, FILES_PCR, hashed));
        }
    }
    if let Some(command_line) = command_line {
        let hashed = Hashed {
            sha256: Sha256(Hasher::digest(command_line).into()),
            at: sys::up_time(),
        };
        parts.push(measured("command line", COMMAND_LINE_PCR, hashed));
    }
    for Measurement { part, sha256, .. } in &parts {
        log::info!("{part}: SHA-256 {sha256}");
    }
    timeline.extend(parts.iter().copied().map(Moment::from));
    Ok(parts)
}

/// Extends the PCRs of the TPM, if there is one, by the hash of each part, which ends the step `measure` of
/// `timeline`. A failure does not end the boot: without the measurements the TPM does not unseal secrets.
pub fn extend(measurements: &[Measurement], timeline: &Timeline) {
    let extended = match Tpm::open() {
        Ok(device) => device.map(|device| extend_in(device, measurements)),
        Err(error) => Some(Err(error.into())),
    };
    match extended {
        Some(Ok(())) => {
            log::info!("extended into PCR {FILES_PCR} and {COMMAND_LINE_PCR} of the TPM");
        }
        Some(Err(error)) => log::warn!("cannot extend the TPM: {error}"),
        None => log::debug!("no TPM, measurements only logged"),
    }
    timeline.done("measure");
}

fn extend_in(mut device: Tpm, parts: &[Measurement]) -> Result<(), Cause> {
    let mut send = |command: &[u8]| device.transmit(command, tpm::MAX_RESPONSE_LEN);
    // All active banks: later software could extend an unused bank with forged measurements.
    let (banks, unknown) = tpm::decode_banks(&send(&tpm::encode_get_banks())?)?;
    if unknown > 0 {
        log::warn!("{unknown} PCR banks of the TPM are not extended: unsupported hash algorithm");
    }
    for Measurement { pcr, sha256, .. } in parts {
        tpm::decode_done(&send(&tpm::encode_extend(*pcr, &banks, &sha256.0))?)?;
    }
    Ok(())
}
