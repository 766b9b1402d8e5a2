//! TLS 1.3 and 1.2 for `https` URLs: rustls with ring, the server always verified.
//!
//! Whom to trust: the file that the user names and nobody else; otherwise the system's list;
//! otherwise Mozilla's, built in. By which clock certificates are judged is told by
//! [`super::clock`].

use std::fs;
use std::io::{self, BufRead, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, StreamOwned};

use super::clock::Reading;
use super::{Failure, Fetcher, other, passing};
use crate::error::Error;
use crate::plan::url::Url;

/// Where distributions keep the list of the authorities they trust.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A connection that only the server named in the URL can read.
#[derive(Debug)]
pub(super) struct Stream(StreamOwned<ClientConnection, TcpStream>);

impl Stream {
    /// Shakes hands over `tcp` with the server of `url`.
    pub(super) fn open(mut tcp: TcpStream, url: &Url, fetcher: &Fetcher) -> Result<Self, Failure> {
        let name = ServerName::try_from(url.host().to_owned()).map_err(other)?;
        let reading = fetcher.clock.read(fetcher.interface.as_deref());
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(Fixed(reading.clone())))
            .with_safe_default_protocol_versions()
            .map_err(other)?
            .with_root_certificates(roots(fetcher.ca.as_deref())?);
        let config = match &fetcher.client_certificate {
            None => config.with_no_client_auth(),
            Some(path) => identify(config, path)?,
        };
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(other)?;
        while connection.is_handshaking() {
            let shaken = connection.complete_io(&mut tcp);
            shaken.map_err(|error| explain(error, &reading))?;
        }
        Ok(Self(StreamOwned::new(connection, tcp)))
    }

    /// Waits for octets from the server, those of one record.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    /// Has `len` of the octets not come again.
    pub(super) fn consume(&mut self, len: usize) {
        self.0.consume(len);
    }

    pub(super) const fn tcp(&self) -> &TcpStream {
        &self.0.sock
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
fn explain(error: io::Error, reading: &Reading) -> Failure {
    use rustls::CertificateError as Certificate;
    let refusal = error.get_ref().and_then(|source| source.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(why)) = refusal else {
        return passing(error);
    };
    let is_about_time = matches!(
        why,
        Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. }
    );
    let advice = match is_about_time {
        true => format!("; {reading}"),
        false if *why == Certificate::UnknownIssuer => {
            "; --ca FILE names an authority to trust".to_owned()
        }
        false => String::new(),
    };
    Failure::Verification(format!(
        "the server's certificate is not accepted: {why}{advice}"
    ))
}

/// Has the client show the certificate in the PEM file at `path`, which also holds its key.
fn identify(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    path: &Path,
) -> Result<ClientConfig, Failure> {
    let unusable = |why: String| {
        let path = path.display();
        Failure::Other(format!("cannot use the certificate and key in {path}: {why}").into())
    };
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| unusable(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(error.to_string()))?;
    let config = config.with_client_auth_cert(chain, key);
    config.map_err(|error| unusable(error.to_string()))
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

/// Reads PEM files as a connection will.
///
/// # Errors
/// [`Error::Usage`] for what is in none of the forms that are known.
pub(super) fn check(ca: Option<&str>, certificate: Option<&str>) -> Result<(), Error> {
    let read = || {
        if let Some(path) = ca {
            roots(Some(Path::new(path)))?;
        }
        if let Some(path) = certificate {
            let provider = Arc::new(ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider);
            let builder = builder.with_safe_default_protocol_versions();
            let builder = builder
                .map_err(other)?
                .with_root_certificates(RootCertStore::empty());
            identify(builder, Path::new(path))?;
        }
        Ok(())
    };
    read().map_err(|failure| {
        Error::Usage(match failure {
            Failure::Verification(why) => why,
            Failure::Missing(cause) | Failure::Passing(cause) | Failure::Other(cause) => {
                cause.to_string()
            }
        })
    })
}

/// The time by which all certificates of a connection are judged.
#[derive(Debug)]
struct Fixed(Reading);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.since_1970))
    }
}
