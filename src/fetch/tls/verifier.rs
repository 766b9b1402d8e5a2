//! Checks the certificate of a server: accepted if the trust list contains it itself, as with curl;
//! otherwise by its authorities. If it is not valid yet, the time servers of the network are
//! queried.
//!
//! Trusted are only those in the file that the user names; otherwise the system's list; otherwise Mozilla's,
//! built in.

use std::io::Read;
use std::iter;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use flate2::bufread::DeflateDecoder;
use rustls::CertificateError::{self, BadEncoding, BadSignature, InvalidPurpose, NotValidForName};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{
    CertificateDer, Der, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::Digest;

use super::provider::ALGORITHMS;
use super::reasons::{self, RefusedCertificate};
use crate::fetch::clock::{Clock, Reading};
use crate::fetch::failure::Failure;
use crate::sys::file;
use wireboot_proto::format::x509::Certificate;
use wireboot_proto::text::url::Sha256;
use wireboot_proto::trust::policy::key_hash_text;

/// The certificate verifier of one connection.
#[derive(Debug)]
pub(super) struct Verifier {
    /// The authorities. rustls's own verifier would bring its code for lists of revoked certificates,
    /// of which there are none here.
    roots: RootCertStore,
    /// Certificates that are trusted themselves, compared byte for byte.
    trusted: Vec<CertificateDer<'static>>,
    place: String,
    clock: Clock,
    interface: Option<String>,
    /// The hashes of the public keys that the policy allows; any when empty.
    pins: Vec<Sha256>,
    refusal: OnceLock<String>,
}

impl Verifier {
    pub(super) fn new(trusted: Trusted, clock: Clock, interface: Option<String>) -> Self {
        Self {
            roots: trusted.roots,
            trusted: trusted.certificates,
            place: trusted.place,
            clock,
            interface,
            pins: Vec::new(),
            refusal: OnceLock::new(),
        }
    }

    /// Returns the verifier that accepts only certificates with one of these public keys, in addition
    /// to everything else.
    pub(super) fn pinned(self, pins: Vec<Sha256>) -> Self {
        Self { pins, ..self }
    }

    /// Checks the public key of a certificate that is accepted otherwise.
    fn check_key(&self, certificate: &[u8], host: &str) -> Result<(), CertificateError> {
        let decoded = Certificate::decode(certificate).map_err(|_| BadEncoding)?;
        let key = Sha256(sha2::Sha256::digest(decoded.key_info).into());
        let why = if !self.pins.is_empty() && !self.pins.contains(&key) {
            let key = key_hash_text(&key);
            format!("its public key is {key}, and the policy pins another for {host}")
        // ring would call the signature of the handshake bad.
        } else if let Some(why) = reasons::unsupported_own_key(&decoded) {
            why
        } else {
            return Ok(());
        };
        self.refusal.get_or_init(|| why);
        Err(CertificateError::ApplicationVerificationFailure)
    }

    /// Returns why the certificate was refused.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    fn is_trusted(&self, certificate: &CertificateDer<'_>) -> bool {
        self.trusted.iter().any(|trusted| trusted == certificate)
    }

    /// Returns the certificate if it is trusted itself and its version is below 3: webpki refuses
    /// such certificates even where only their key is needed.
    fn old<'c>(&self, certificate: &'c CertificateDer<'_>) -> Option<Certificate<'c>> {
        let decoded = Certificate::decode(certificate).ok()?;
        (decoded.version < 3 && self.is_trusted(certificate)).then_some(decoded)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let host = server_name.to_str();
        let is_trusted = self.is_trusted(end_entity);
        // RFC 5280 §6.1.4 (n), which webpki leaves out.
        let mut signers = intermediates.to_vec();
        signers.retain(|der| Certificate::decode(der).is_ok_and(|signer| signer.may_sign));
        let judge = |reading: &Reading| {
            // `openssl req -x509` makes CA:TRUE, which webpki refuses for a server
            // (CaUsedAsEndEntity).
            if is_trusted {
                judge_as_it_stands(end_entity, &host, reading.since_1970)?;
                return Ok(ServerCertVerified::assertion());
            }
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let now = UnixTime::since_unix_epoch(reading.since_1970);
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                &signers,
                now,
                ALGORITHMS.all,
            )?;
            verify_server_name(&certificate, server_name)?;
            Ok(ServerCertVerified::assertion())
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
        if judged.is_ok()
            && let Err(error) = self.check_key(end_entity, &host)
        {
            judged = Err(error.into());
        }
        match &judged {
            Err(Error::InvalidCertificate(error)) => {
                let refusal = RefusedCertificate {
                    certificate: end_entity,
                    intermediates,
                    trusted: &self.trusted,
                    host: &host,
                    reading: &reading,
                    place: &self.place,
                };
                let why = reasons::refusal(error, &refusal);
                self.refusal.get_or_init(|| why);
            }
            Ok(_) => self.clock.log(&reading),
            Err(_) => {}
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(old) = self.old(certificate) else {
            return verify_tls12_signature(message, certificate, signed, &ALGORITHMS);
        };
        let mapping = ALGORITHMS.mapping.iter();
        let mut algorithms = mapping
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .filter(|algorithm| *algorithm.public_key_alg_id() == *old.key_algorithm);
        let is_valid = algorithms.any(|algorithm| {
            let verified = algorithm.verify_signature(old.key, message, signed.signature());
            verified.is_ok()
        });
        if is_valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(old) = self.old(certificate) else {
            return verify_tls13_signature(message, certificate, signed, &ALGORITHMS);
        };
        let key = SubjectPublicKeyInfoDer::from(old.key_info);
        verify_tls13_signature_with_raw_key(message, &key, signed, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// Checks a certificate that is trusted itself.
fn judge_as_it_stands(der: &[u8], host: &str, now: Duration) -> Result<(), CertificateError> {
    let certificate = Certificate::decode(der).map_err(|_| BadEncoding)?;
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    let time = UnixTime::since_unix_epoch(now);
    if now < not_before {
        let not_before = UnixTime::since_unix_epoch(not_before);
        Err(CertificateError::NotValidYetContext { time, not_before })
    } else if now.as_secs() > not_after.as_secs() {
        let not_after = UnixTime::since_unix_epoch(not_after);
        Err(CertificateError::ExpiredContext { time, not_after })
    } else if !certificate.is_for_servers {
        Err(InvalidPurpose)
    } else if certificate.is_for(host) {
        Ok(())
    } else {
        Err(NotValidForName)
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
    roots: RootCertStore,
    /// As server certificates themselves, whatever their usage extensions say.
    certificates: Vec<CertificateDer<'static>>,
    /// Their source, for messages.
    place: String,
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
    use std::sync::Arc;

    use rustls::crypto::CryptoProvider;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        ClientConfig, ClientConnection, ConfigBuilder, ConfigSide, ServerConfig, ServerConnection,
        SupportedProtocolVersion, WantsVerifier, WantsVersions,
    };

    use super::super::provider::provider;
    use super::*;

    const AUTHORITY: &[u8] = include_bytes!("../../../tests/data/x509/authority.pem");
    const VERSION_1: &[u8] = include_bytes!("../../../tests/data/x509/v1.pem");
    const OWN_KEY: &[u8] = include_bytes!("../../../tests/data/x509/own.key");
    const OTHER_KEY: &[u8] = include_bytes!("../../../tests/data/x509/other.key");

    #[test]
    fn who_shows_a_trusted_certificate_must_have_its_key_too() {
        for version in [&TLS12, &TLS13] {
            for certificate in [AUTHORITY, VERSION_1] {
                let host = "boot.example";
                let good = shake_hands(certificate, OWN_KEY, certificate, version, host);
                assert_eq!(good, Ok(()), "{version:?}");
                let stolen = shake_hands(certificate, OTHER_KEY, certificate, version, host);
                assert_eq!(stolen, Err(BadSignature.into()), "{version:?}");
            }
        }
    }

    #[test]
    fn a_certificate_is_trusted_as_it_stands_for_its_own_names_only() {
        let elsewhere = shake_hands(AUTHORITY, OWN_KEY, AUTHORITY, &TLS13, "other.example");
        assert_eq!(elsewhere, Err(NotValidForName.into()));
        // Same key, same common name.
        let another = shake_hands(VERSION_1, OWN_KEY, AUTHORITY, &TLS13, "boot.example");
        assert!(matches!(another, Err(Error::InvalidCertificate(_))));
        let another = shake_hands(AUTHORITY, OWN_KEY, VERSION_1, &TLS13, "boot.example");
        assert!(matches!(another, Err(Error::InvalidCertificate(_))));
        for (now, is_good) in [
            (1_795_898_989, false),
            (1_795_898_990, true),
            (4_949_498_990, true),
            (4_949_498_991, false),
        ] {
            let now = Duration::from_secs(now);
            let judged = judge_as_it_stands(&der(AUTHORITY), "boot.example", now);
            assert_eq!(judged.is_ok(), is_good, "{now:?}");
        }
    }

    #[test]
    fn a_trusted_certificate_must_have_a_pinned_key_too() {
        let of = |certificate: &[u8]| {
            let der = der(certificate);
            let decoded = Certificate::decode(&der).unwrap();
            Sha256(sha2::Sha256::digest(decoded.key_info).into())
        };
        // openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum
        assert_eq!(of(AUTHORITY), of(VERSION_1));
        let other = Sha256([7; 32]);
        for (pins, expected) in [
            (vec![], true),
            (vec![of(AUTHORITY)], true),
            (vec![other, of(AUTHORITY)], true),
            (vec![other], false),
        ] {
            let verifier = verifier(AUTHORITY).pinned(pins);
            let name = ServerName::try_from("boot.example").unwrap();
            let now = UnixTime::since_unix_epoch(Duration::ZERO);
            let judged = verifier.verify_server_cert(&der(AUTHORITY), &[], &name, &[], now);
            assert_eq!(judged.is_ok(), expected);
            let why = verifier.refusal().unwrap_or_default();
            assert_eq!(
                why.starts_with("its public key is sha256//"),
                !expected,
                "{why}"
            );
        }
    }

    /// Has a client that trusts `trusted` shake hands with a server that shows `shown` and signs
    /// with `key`.
    fn shake_hands(
        shown: &[u8],
        key: &[u8],
        trusted: &[u8],
        version: &'static SupportedProtocolVersion,
        host: &str,
    ) -> Result<(), Error> {
        let verifier = verifier(trusted);
        let client = with_version(ClientConfig::builder_with_provider, version)
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        let key = provider().key_provider.load_private_key(key).unwrap();
        let shown = Shown(Arc::new(CertifiedKey::new(vec![der(shown)], key)));
        let server = with_version(ServerConfig::builder_with_provider, version)
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut &bytes[..]).unwrap();
            server.process_new_packets()?;
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    fn verifier(trusted: &[u8]) -> Verifier {
        let mut roots = RootCertStore::empty();
        roots.add(der(trusted)).unwrap();
        let trusted = Trusted {
            roots,
            certificates: vec![der(trusted)],
            place: "here".to_owned(),
        };
        Verifier::new(trusted, Clock::default(), None)
    }

    fn with_version<S: ConfigSide>(
        builder: fn(Arc<CryptoProvider>) -> ConfigBuilder<S, WantsVersions>,
        version: &'static SupportedProtocolVersion,
    ) -> ConfigBuilder<S, WantsVerifier> {
        let builder = builder(Arc::new(provider()));
        builder.with_protocol_versions(&[version]).unwrap()
    }

    fn der(pem: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem).unwrap()
    }

    /// Shows one certificate, whether its key fits or not.
    #[derive(Debug)]
    struct Shown(Arc<CertifiedKey>);

    impl ResolvesServerCert for Shown {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    #[test]
    fn the_list_that_is_built_in_is_mozillas() {
        let built_in: Vec<_> = built_in().collect();
        assert_eq!(built_in, webpki_roots::TLS_SERVER_ROOTS);
    }
}
