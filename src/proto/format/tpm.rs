//! The TPM commands for measurements, and their responses (TPM 2.0 Library, Part 2
//! for the structures, Part 3 §22.2 PCR_Extend and §30.2 GetCapability).
//!
//! ```text
//!  0       2               6              10
//! +-------+---------------+---------------+----------- …
//! |  tag  |  size, bytes | command code, |  handles, authorization, parameters
//! |       |  of the whole | response code |
//! +-------+---------------+---------------+----------- …
//! ```

use crate::prelude::*;
use crate::reader::{DecodeError, Reader};

/// The longest response, in bytes.
// TPM_BUFSIZE of the kernel's driver (drivers/char/tpm/tpm.h).
pub const MAX_RESPONSE_LEN: usize = 4096;

// Part 2: TPM_ST, TPM_CC, TPM_CAP and TPM_RH; the kernel has them in include/linux/tpm.h.
const ST_NO_SESSIONS: u16 = 0x8001;
const ST_SESSIONS: u16 = 0x8002;
const CC_GET_CAPABILITY: u32 = 0x0000_017a;
const CC_PCR_EXTEND: u32 = 0x0000_0182;
const CAP_PCRS: u32 = 5;
const RS_PW: u32 = 0x4000_0009;
const HEADER_LEN: u32 = 10;

/// The PCRs of one hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bank {
    /// Registers of 20 bytes.
    Sha1,
    /// Registers of 32 bytes.
    Sha256,
    /// Registers of 48 bytes.
    Sha384,
    /// Registers of 64 bytes.
    Sha512,
    /// Registers of 32 bytes.
    Sm3,
}

impl Bank {
    const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sm3,
    ];

    /// Its TPM_ALG_ID, and the length of its digests in bytes.
    const fn properties(self) -> (u16, usize) {
        match self {
            // Identifiers of the TCG Algorithm Registry.
            Self::Sha1 => (0x0004, 20),
            Self::Sha256 => (0x000b, 32),
            Self::Sha384 => (0x000c, 48),
            Self::Sha512 => (0x000d, 64),
            Self::Sm3 => (0x0012, 32),
        }
    }
}

/// An error response of a TPM, or a malformed one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// A response code other than success.
    #[error("the TPM refused with code {0:#x}")]
    Refused(u32),
    /// A malformed response.
    #[error("the response of the TPM cannot be read: {0}")]
    Malformed(#[from] DecodeError),
}

/// Returns the command to list the banks.
pub fn encode_get_banks() -> Vec<u8> {
    command(ST_NO_SESSIONS, CC_GET_CAPABILITY, |bytes| {
        for value in [CAP_PCRS, 0, 1] {
            bytes.extend(value.to_be_bytes());
        }
    })
}

/// Decodes the active banks, and the number of those of unknown algorithms.
///
/// # Errors
/// A refusal, or a malformed response.
pub fn decode_banks(response: &[u8]) -> Result<(Vec<Bank>, usize), TpmError> {
    let mut reader = body(response)?;
    reader.u8("moreData")?;
    let capability = reader.u32("capability")?;
    if capability != CAP_PCRS {
        return Err(crate::reader::invalid("capability", capability).into());
    }
    let count = reader.u32("count of TPML_PCR_SELECTION")?;
    let (mut banks, mut unknown) = (Vec::new(), 0);
    for _ in 0..count {
        let algorithm = reader.u16("hash of TPMS_PCR_SELECTION")?;
        let len = reader.u8("sizeofSelect")?;
        let select = reader.take(len.into(), "pcrSelect")?;
        // A TPM lists inactive banks too, with no PCR selected.
        if select.iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut known = Bank::ALL.into_iter();
        match known.find(|bank| bank.properties().0 == algorithm) {
            Some(bank) if !banks.contains(&bank) => banks.push(bank),
            Some(_) => {}
            None => unknown += 1,
        }
    }
    Ok((banks, unknown))
}

/// Returns the command that extends register `pcr` in all of `banks` by a SHA-256.
///
/// In banks of other lengths it is truncated or padded with zeros, so that no bank stays unextended.
pub fn encode_extend(pcr: u8, banks: &[Bank], sha256: &[u8; 32]) -> Vec<u8> {
    command(ST_SESSIONS, CC_PCR_EXTEND, |bytes| {
        bytes.extend(u32::from(pcr).to_be_bytes());
        // The empty password: handle, no nonce, no attributes, no secret.
        bytes.extend(9_u32.to_be_bytes());
        bytes.extend(RS_PW.to_be_bytes());
        bytes.extend([0; 5]);
        bytes.extend(u32_of(banks.len()).to_be_bytes());
        for (algorithm, len) in banks.iter().map(|bank| bank.properties()) {
            bytes.extend(algorithm.to_be_bytes());
            let digest = sha256.iter().copied().chain(core::iter::repeat(0));
            bytes.extend(digest.take(len));
        }
    })
}

/// Decodes the response to a command without output.
///
/// # Errors
/// As [`decode_banks`].
pub fn decode_done(response: &[u8]) -> Result<(), TpmError> {
    body(response).map(|_| ())
}

fn command(tag: u16, code: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut parameters = Vec::new();
    write(&mut parameters);
    let mut bytes = tag.to_be_bytes().to_vec();
    bytes.extend((HEADER_LEN + u32_of(parameters.len())).to_be_bytes());
    bytes.extend(code.to_be_bytes());
    bytes.append(&mut parameters);
    bytes
}

/// Strips the header of a successful response.
fn body(response: &[u8]) -> Result<Reader<'_>, TpmError> {
    let mut reader = Reader::new(response);
    reader.u16("tag")?;
    let size = reader.u32("responseSize")?;
    if size != u32_of(response.len()) {
        return Err(crate::reader::invalid("responseSize", size).into());
    }
    match reader.u32("responseCode")? {
        0 => Ok(reader),
        code => Err(TpmError::Refused(code)),
    }
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_names_register_password_and_each_bank() {
        let command = encode_extend(9, &[Bank::Sha256, Bank::Sha1], &[7; 32]);
        let (head, digests) = command.split_at(31);
        assert_eq!(
            head,
            [
                0x80, 0x02, // TPM_ST_SESSIONS
                0, 0, 0, 87, // size
                0, 0, 0x01, 0x82, // TPM_CC_PCR_Extend
                0, 0, 0, 9, // the register
                0, 0, 0, 9, // authorizationSize
                0x40, 0, 0, 9, // TPM_RS_PW
                0, 0, 0, 0, 0, // nonce, attributes, hmac
                0, 0, 0, 2, // banks
            ]
        );
        assert_eq!(digests[..2], [0, 0x0b]);
        assert_eq!(digests[2..34], [7; 32]);
        assert_eq!(digests[34..36], [0, 4]);
        assert_eq!(digests[36..], [7; 20]);
        let wider = encode_extend(9, &[Bank::Sha384], &[7; 32]);
        assert_eq!(wider[33..65], [7; 32]);
        assert_eq!(wider[65..], [0; 16]);
    }

    #[test]
    fn the_banks_in_use_are_those_with_a_register() {
        let response = [
            0x80, 0x01, 0, 0, 0, 43, 0, 0, 0, 0, // header: success
            0, 0, 0, 0, 5, 0, 0, 0, 4, // TPM_CAP_PCRS, four banks
            0, 4, 3, 0, 0, 0, // SHA-1, not in use
            0, 0x0b, 3, 0xff, 0xff, 0xff, // SHA-256
            0, 0x0c, 3, 1, 0, 0, // SHA-384
            0, 0x27, 3, 1, 0, 0, // SHA3-256
        ];
        let banks = vec![Bank::Sha256, Bank::Sha384];
        assert_eq!(decode_banks(&response), Ok((banks, 1)));
        for len in 0..response.len() {
            let error = decode_banks(&response[..len]).unwrap_err();
            assert!(matches!(error, TpmError::Malformed(_)), "{len}: {error}");
        }
        let mut endless = response;
        endless[15..19].fill(0xff);
        assert!(decode_banks(&endless).is_err());
    }

    #[test]
    fn a_refusal_is_told_with_its_code() {
        let response = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01];
        assert_eq!(decode_done(&response), Err(TpmError::Refused(0x101)));
        assert_eq!(
            encode_get_banks(),
            [
                0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, // GetCapability
                0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1,
            ]
        );
    }
}
