//! Judges the certificate of a server: by its authorities, and by the time servers of the network
//! where it is not valid yet.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::fetch::clock::{Clock, Reading};

/// The judge of one connection.
#[derive(Debug)]
pub(super) struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    clock: Clock,
    interface: Option<String>,
    /// The time by which the certificate has been judged.
    reading: Mutex<Option<Reading>>,
}

impl Verifier {
    pub(super) fn new(
        authorities: RootCertStore,
        clock: Clock,
        interface: Option<String>,
    ) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider);
        Ok(Self {
            authorities: builder.build()?,
            clock,
            interface,
            reading: Mutex::default(),
        })
    }

    /// Returns the time by which the certificate has been judged, once it has.
    pub(super) fn reading(&self) -> Option<Reading> {
        let reading = self.reading.lock();
        reading.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judge = |reading: &Reading| {
            let now = UnixTime::since_unix_epoch(reading.since_1970);
            self.authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        };
        let interface = self.interface.as_deref();
        let mut reading = self.clock.read(interface);
        let mut judged = judge(&reading);
        // A later time does not help a certificate that has expired.
        if judged.as_ref().is_err_and(is_not_valid_yet)
            && let Some(later) = self.clock.later_than(&reading, interface)
        {
            judged = judge(&later);
            reading = later;
        }
        if judged.is_ok() {
            self.clock.log(&reading);
        }
        let mut judged_by = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        *judged_by = Some(reading);
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn is_not_valid_yet(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
        )
    )
}
