//! TLS 1.3 and 1.2 for `https` URLs: rustls with ring, the server always verified.
//!
//! Whom to trust: the file that the user names and nobody else; otherwise the system's list;
//! otherwise Mozilla's, built in. A machine that has just been switched on may have no idea of
//! the time, so the clock never reads earlier than the build of this program.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::ClientConnection;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, StreamOwned};

use super::{Failure, other};
use crate::plan::url::Url;

/// Where distributions keep the list of the authorities they trust.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A connection that only the server named in the URL can read.
pub(super) struct Stream(StreamOwned<ClientConnection, TcpStream>);

impl Stream {
    /// Shakes hands over `tcp` with the server of `url`.
    pub(super) fn open(mut tcp: TcpStream, url: &Url, ca: Option<&Path>) -> Result<Self, Failure> {
        let name = ServerName::try_from(url.host().to_owned()).map_err(other)?;
        let config =
            ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(Clock))
                .with_safe_default_protocol_versions()
                .map_err(other)?
                .with_root_certificates(roots(ca)?)
                .with_no_client_auth();
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).map_err(explain)?;
        }
        Ok(Self(StreamOwned::new(connection, tcp)))
    }

    pub(super) const fn tcp(&self) -> &TcpStream {
        &self.0.sock
    }
}

impl Read for Stream {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.0.read(octets)
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Tells a certificate that is not accepted, where asking again does not help, from a connection
/// that broke.
fn explain(error: io::Error) -> Failure {
    let refusal = error.get_ref().and_then(|source| source.downcast_ref());
    match refusal {
        Some(rustls::Error::InvalidCertificate(why)) => Failure::Verification(format!(
            "the server's certificate is not accepted: {why} (the clock reads {} s since 1970)",
            now().as_secs()
        )),
        _ => other(error),
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let unusable = |why: String| {
            Failure::Verification(format!(
                "cannot use the authorities in {}: {why}",
                path.display()
            ))
        };
        let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| unusable(error.to_string()))?;
        }
        return match roots.is_empty() {
            true => Err(unusable("no certificate is in it".to_owned())),
            false => Ok(roots),
        };
    }
    for path in SYSTEM_ROOTS {
        if let Ok(pem) = fs::read(path) {
            // A distribution's list has some that are too old to be of use.
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        if !roots.is_empty() {
            return Ok(roots);
        }
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(roots)
}

/// When this program was built, as reproducible builds tell it, or released; seconds since 1970.
const BUILT_AT: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => match u64::from_str_radix(text, 10) {
        Ok(seconds) => seconds,
        Err(_) => RELEASED_AT,
    },
    None => RELEASED_AT,
};
const RELEASED_AT: u64 = 1_795_392_000;

fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .max(Duration::from_secs(BUILT_AT))
}

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(now()))
    }
}
