//! TLS 1.3 and 1.2 for `https` URLs: rustls with ring, the server always verified.
//!
//! Certificates are checked in `verifier`, with the time of [`super::clock`]; the cryptography is from
//! `provider`.

mod curves;
mod provider;
mod reasons;
mod verifier;

use std::io::{self, BufRead, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, StreamOwned};

use super::access::{ServerAccess, Tcp};
use super::clock::Clock;
use super::failure::{Failure, broken, is_timeout, other};
use crate::error::{Error, Reason};
use crate::sys::file;
use provider::provider;
use verifier::{SYSTEM_ROOTS, Trusted, Verifier, pem_fault, read_certificates};
use wireboot_proto::text::url::Url;

/// A TLS connection to the server named in the URL, after the handshake.
#[derive(Debug)]
pub(super) struct Stream(StreamOwned<ClientConnection, Tcp>);

impl Stream {
    /// Performs the handshake over `tcp` with the server of `url`.
    pub(super) fn open(mut tcp: Tcp, url: &Url, access: &ServerAccess) -> Result<Self, Failure> {
        let name = ServerName::try_from(url.host().to_owned());
        let name = name.map_err(|_| {
            let why = format!("{} is not a name that a certificate can have", url.host());
            Failure::Other(why.into())
        })?;
        let trusted = Trusted::read(access.ca.as_deref())?;
        let (clock, interface) = (access.clock.clone(), access.interface.clone());
        let pins = access.pins.iter().filter(|pin| pin.is_of(url.host()));
        let verifier = Verifier::new(trusted, clock, interface);
        let verifier = Arc::new(verifier.pinned(pins.map(|pin| pin.key).collect()));
        let certificate = access.client_certificate.as_deref();
        let config = client_config(verifier.clone(), certificate)?;
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(other)?;
        shake_hands(&mut connection, &mut tcp, url, &verifier)?;
        Ok(Self(StreamOwned::new(connection, tcp)))
    }

    /// Returns the bytes not yet consumed, or waits for the next record.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf().map_err(in_words)
    }

    /// Marks `len` bytes as consumed.
    pub(super) fn consume(&mut self, len: usize) {
        self.0.consume(len);
    }

    pub(super) const fn tcp(&self) -> &Tcp {
        &self.0.sock
    }

    pub(super) const fn tcp_mut(&mut self) -> &mut Tcp {
        &mut self.0.sock
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn shake_hands(
    connection: &mut ClientConnection,
    tcp: &mut Tcp,
    url: &Url,
    verifier: &Verifier,
) -> Result<(), Failure> {
    let port = url.port();
    let failed = |error: io::Error| {
        if is_timeout(&error) {
            let why = format!("no answer in the TLS handshake; is port {port} for https?");
            Failure::Passing(why.into())
        } else {
            broken(error, "the TLS handshake")
        }
    };
    while connection.is_handshaking() {
        while connection.wants_write() {
            connection.write_tls(tcp).map_err(failed)?;
        }
        if !connection.is_handshaking() {
            break;
        }
        match connection.read_tls(tcp) {
            Ok(0) => return Err(failed(ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        }
        if let Err(error) = connection.process_new_packets() {
            // Sends the alert that tells the server why.
            let _ = connection.write_tls(tcp);
            return Err(explain(&error, verifier.refusal(), port));
        }
    }
    Ok(())
}

/// Turns an error of rustls into a failure: final for a certificate that is not accepted, temporary
/// for a broken connection.
fn explain(error: &rustls::Error, refusal: Option<&str>, port: u16) -> Failure {
    let why = reasons::fault(error);
    if let rustls::Error::InvalidCertificate(_) = error {
        let why = refusal.unwrap_or(&why);
        Failure::Verification(format!("the server's certificate is not accepted: {why}"))
    } else if let rustls::Error::InvalidMessage(_) = error {
        Failure::Other(format!("{why} on port {port}; is http:// meant?").into())
    } else if *error == rustls::Error::AlertReceived(AlertDescription::InternalError) {
        // "Unrelated to the peer", such as a lack of memory (RFC 8446 §6.2): another attempt may
        // succeed.
        Failure::Passing(why.into())
    } else if matches!(
        error,
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_)
    ) {
        Failure::Other(why.into())
    } else {
        Failure::Passing(why.into())
    }
}

/// Replaces rustls's error after the handshake with a description.
fn in_words(error: io::Error) -> io::Error {
    let fault = error.get_ref().and_then(|source| source.downcast_ref());
    match fault.map(reasons::fault) {
        Some(why) => io::Error::new(error.kind(), why),
        None => error,
    }
}

/// Returns the configuration of a connection that `verifier` checks, with the client certificate in
/// the PEM file at `identity`, which also holds its key.
fn client_config(
    verifier: Arc<Verifier>,
    identity: Option<&Path>,
) -> Result<ClientConfig, Failure> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(other)?
        // rustls's word for any verifier of one's own; this one adds the clock and --ca's own
        // certificates.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(path) = identity else {
        return Ok(config.with_no_client_auth());
    };
    let unusable = |why: String| {
        let path = path.display();
        Failure::Other(format!("cannot use the certificate and key in {path}: {why}").into())
    };
    let pem = file::read(path).map_err(|error| unusable(error.to_string()))?;
    let chain = read_certificates(&pem).map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(pem_fault(&error)))?;
    let config = config.with_client_auth_cert(chain, key);
    config.map_err(|error| unusable(reasons::fault(&error)))
}

/// Reads all PEM files that connections may need, for processes forked later.
pub(super) fn store_files(access: &ServerAccess) {
    file::store(|| {
        let own = [&access.ca, &access.client_certificate];
        let own = own.into_iter().flatten().cloned();
        let system = SYSTEM_ROOTS.iter().map(PathBuf::from);
        own.chain(system.filter(|_| access.ca.is_none())).collect()
    });
}

/// Checks that the PEM files can be used for connections.
///
/// # Errors
/// [`Reason::Usage`] when a file cannot be read or is not PEM.
pub(super) fn check(ca: Option<&str>, certificate: Option<&str>) -> Result<(), Error> {
    if ca.is_none() && certificate.is_none() {
        return Ok(());
    }
    let read = || {
        let trusted = Trusted::read(ca.map(Path::new))?;
        let verifier = Verifier::new(trusted, Clock::default(), None);
        client_config(Arc::new(verifier), certificate.map(Path::new))
    };
    read().map(drop).map_err(|failure| {
        Box::new(Reason::Usage(match failure {
            #[cfg(feature = "root")]
            Failure::Challenge(what) => what,
            Failure::Verification(why) => why,
            Failure::Missing(cause)
            | Failure::NoParts(cause)
            | Failure::Passing(cause)
            | Failure::Other(cause) => cause.to_string(),
        }))
    })
}
