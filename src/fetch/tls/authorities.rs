//! Trusted certificate authorities: only those in the file that the user names; otherwise the
//! system's list; otherwise Mozilla's, built in.

use std::io::Read;
use std::iter;
use std::path::Path;

use flate2::bufread::DeflateDecoder;
use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, Der, TrustAnchor};

use crate::fetch::failure::Failure;
use crate::sys::file;

/// Where distributions keep the list of the authorities they trust.
// Debian, Fedora and Alpine, in this order.
pub(super) const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Mozilla's list, as src/build.rs writes it.
const BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/authorities.bin"));

/// The certificates that are trusted without an issuer.
#[derive(Debug)]
pub(super) struct Trusted {
    /// As authorities, which may issue others.
    pub(super) roots: RootCertStore,
    /// As server certificates themselves, whatever their usage extensions say.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Their source, for messages.
    pub(super) place: String,
}

impl Trusted {
    /// Reads the certificates in the PEM file `ca`, or those that come with the system.
    pub(super) fn read(ca: Option<&Path>) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = ca {
            let place = path.display().to_string();
            let certificates = read_file(path, &mut roots).map_err(|why| {
                Failure::Verification(format!("cannot use the certificates in {place}: {why}"))
            })?;
            return Ok(Self {
                roots,
                certificates,
                place,
            });
        }
        for path in SYSTEM_ROOTS {
            // What cannot be read is as good as missing: the next one is tried.
            let pem = file::read(path.as_ref()).unwrap_or_default();
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
            // A distribution's list contains some that webpki cannot parse.
            roots.add_parsable_certificates(certificates.iter().cloned());
            if !roots.is_empty() {
                return Ok(Self {
                    roots,
                    certificates,
                    place: path.to_owned(),
                });
            }
        }
        roots.extend(built_in());
        Ok(Self {
            roots,
            certificates: Vec::new(),
            place: "Mozilla's list, which is built in".to_owned(),
        })
    }
}

/// Returns Mozilla's authorities.
fn built_in() -> impl Iterator<Item = TrustAnchor<'static>> {
    let mut list = Vec::new();
    // Short of memory there are none, and no certificate is trusted.
    if DeflateDecoder::new(BUILT_IN)
        .read_to_end(&mut list)
        .is_err()
    {
        list.clear();
    }
    // For the rest of the process, as certificates are held.
    let mut rest: &'static [u8] = list.leak();
    let mut field = move || {
        let (len, behind) = rest.split_first_chunk()?;
        let (field, behind) = behind.split_at_checked(u16::from_le_bytes(*len).into())?;
        rest = behind;
        Some(Der::from_slice(field))
    };
    iter::from_fn(move || {
        Some(TrustAnchor {
            subject: field()?,
            subject_public_key_info: field()?,
            name_constraints: field().filter(|constraints| !constraints.is_empty()),
        })
    })
}

fn read_file(
    path: &Path,
    roots: &mut RootCertStore,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = file::read(path).map_err(|error| error.to_string())?;
    let certificates = read_certificates(&pem)?;
    for (index, certificate) in certificates.iter().enumerate() {
        roots
            .add(certificate.clone())
            .map_err(|_| format!("entry {} is not a certificate", index + 1))?;
    }
    Ok(certificates)
}

/// Returns the certificates in a PEM text; at least one.
pub(super) fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| pem_fault(&error))?;
    if certificates.is_empty() {
        let why = "it contains no certificate; PEM is expected, with -----BEGIN CERTIFICATE-----";
        return Err(why.to_owned());
    }
    Ok(certificates)
}

/// Describes what is wrong with a PEM text.
pub(super) fn pem_fault(error: &PemError) -> String {
    let why = if matches!(error, PemError::MissingSectionEnd { .. }) {
        "it is cut off: a line -----END … is missing"
    } else if matches!(error, PemError::NoItemsFound) {
        "it contains no private key; PEM is expected, with -----BEGIN PRIVATE KEY-----"
    } else {
        "it is not PEM"
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_is_built_in_is_mozillas() {
        let built_in: Vec<_> = built_in().collect();
        assert_eq!(built_in, webpki_roots::TLS_SERVER_ROOTS);
    }
}
