//! Descriptions of TLS errors and refused certificates.

use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::fetch::clock::{Reading, Utc};
use wireboot_proto::format::x509::{Certificate, KeyKind};

/// A refused certificate, and what it was checked against.
pub(super) struct RefusedCertificate<'a> {
    pub(super) certificate: &'a [u8],
    /// What the server has sent beside it.
    pub(super) intermediates: &'a [CertificateDer<'a>],
    /// The certificates that are trusted.
    pub(super) trusted: &'a [CertificateDer<'static>],
    pub(super) host: &'a str,
    pub(super) reading: &'a Reading,
    /// Where the trusted certificates are from.
    pub(super) place: &'a str,
}

/// Returns what is wrong with a certificate, and what to do about it.
pub(super) fn refusal(error: &CertificateError, refusal: &RefusedCertificate<'_>) -> String {
    let (host, reading, place) = (refusal.host, refusal.reading, refusal.place);
    let Ok(certificate) = Certificate::decode(refusal.certificate) else {
        return "it cannot be decoded".to_owned();
    };
    let whose = |is_own| if is_own { "it" } else { "that of its issuer" };
    if let CertificateError::ExpiredContext { not_after, .. } = error {
        let at = Duration::from_secs(not_after.as_secs());
        let whose = whose(at == certificate.not_after);
        return format!("{whose} expired on {}; {reading}", Utc(at));
    }
    if let CertificateError::NotValidYetContext { not_before, .. } = error {
        let at = Duration::from_secs(not_before.as_secs());
        let whose = whose(at == certificate.not_before);
        return format!("{whose} is not valid before {}; {reading}", Utc(at));
    }
    let is_about_name = matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    );
    if is_about_name {
        return wrong_name(&certificate, host);
    }
    if let Some(why) = unsupported_key(&certificate, refusal) {
        why
    } else if matches!(
        error,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    ) {
        "a signature in its chain is by an algorithm that is not supported, such as SHA-1"
            .to_owned()
    } else if matches!(
        error,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }
    ) {
        "it is not for servers: its extendedKeyUsage lacks serverAuth".to_owned()
    } else if certificate.is_self_issued() {
        // For webpki such a certificate has an unknown issuer, which tells nobody what to do.
        "self-signed certificate; trust it with --ca FILE".to_owned()
    } else if certificate.version < 3 {
        let version = certificate.version;
        format!("it is X.509 version {version}, which is accepted only when --ca FILE contains it")
    } else if matches!(error, CertificateError::UnknownIssuer) {
        let issuer = certificate.issuer_name().unwrap_or_default();
        let is_unable = |der: &CertificateDer<'_>| {
            Certificate::decode(der).is_ok_and(|sent| !sent.may_sign && certificate.is_by(&sent))
        };
        if refusal.intermediates.iter().any(is_unable) {
            return format!(
                "\"{issuer}\" may not sign certificates: its keyUsage lacks keyCertSign"
            );
        }
        format!(
            "unknown issuer \"{issuer}\", not in {place}; --ca FILE names an authority to trust"
        )
    } else if certificate.is_authority {
        "it is a CA certificate, which is accepted for a server only when --ca FILE contains it"
            .to_owned()
    } else if matches!(error, CertificateError::BadSignature) {
        "bad signature in the chain".to_owned()
    } else {
        invalid(error)
    }
}

/// What is wrong with a chain, by the names that webpki has for it; those of the others are words enough.
const INVALID: [(&str, &str); 4] = [
    ("EndEntityUsedAsCa", "its issuer is no CA (CA:TRUE)"),
    (
        "PathLenConstraintViolated",
        "its chain is longer than a CA in it allows (pathlen)",
    ),
    (
        "NameConstraintViolation",
        "a CA in its chain may not sign for this name (nameConstraints)",
    ),
    (
        "MaximumPathDepthExceeded",
        "its chain is too long: more than six CAs",
    ),
];

fn invalid(error: &CertificateError) -> String {
    let name = if let CertificateError::Other(other) = error {
        other.to_string()
    } else {
        error.to_string()
    };
    let text = INVALID.iter().find(|(known, _)| *known == name);
    text.map_or_else(|| spaced(&name), |(_, text)| (*text).to_owned())
}

/// What a server and this program do not have in common.
const INCOMPATIBLE: [(PeerIncompatible, &str); 12] = [
    (
        PeerIncompatible::NoCipherSuitesInCommon,
        "no cipher suites in common",
    ),
    (PeerIncompatible::NoKxGroupsInCommon, GROUP),
    (PeerIncompatible::KeyShareExtensionRequired, GROUP),
    (PeerIncompatible::NoSignatureSchemesInCommon, SCHEME),
    (
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
        SCHEME,
    ),
    (
        PeerIncompatible::NoEcPointFormatsInCommon,
        "no format of points in common",
    ),
    (PeerIncompatible::ServerDoesNotSupportTls12Or13, VERSION),
    (
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        VERSION,
    ),
    (PeerIncompatible::Tls12NotOffered, VERSION),
    (PeerIncompatible::Tls12NotOfferedOrEnabled, VERSION),
    (
        PeerIncompatible::ExtendedMasterSecretExtensionRequired,
        "no extended master secret",
    ),
    (
        PeerIncompatible::NullCompressionRequired,
        "the server demands compression",
    ),
];
// Said of more than one kind above.
const GROUP: &str = "no group for the key exchange in common";
const SCHEME: &str = "no scheme of signatures in common";
const VERSION: &str = "no version of the protocol in common";

/// Returns the description of a kind of error: rustls has none but its `Debug`.
fn described<K: PartialEq>(texts: &[(K, &'static str)], kind: &K) -> &'static str {
    let text = texts.iter().find(|(known, _)| known == kind);
    text.map_or("reason unknown", |(_, text)| text)
}

/// The kinds of keys that certificates may have.
const KEYS: &str = "supported are RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519";

/// Returns whether a signature by a key of this kind can be checked.
fn is_supported(kind: KeyKind) -> bool {
    matches!(
        kind,
        KeyKind::Rsa(2048..=8192) | KeyKind::Named("P-256" | "P-384" | "Ed25519")
    )
}

/// Describes the key that is not supported, of the certificate or of one that its chain leads to.
fn unsupported_key(
    certificate: &Certificate<'_>,
    refusal: &RefusedCertificate<'_>,
) -> Option<String> {
    let own = unsupported_own_key(certificate);
    if own.is_some() {
        return own;
    }
    let others = refusal.intermediates.iter().chain(refusal.trusted);
    let others: Vec<_> = others.flat_map(|der| Certificate::decode(der)).collect();
    let mut issued = certificate;
    for _ in 0..=refusal.intermediates.len() {
        let issuer = others.iter().find(|other| issued.is_by(other))?;
        let kind = issuer.key_kind();
        if !is_supported(kind) {
            let name = issuer.common_name().unwrap_or_default();
            return Some(format!(
                "the key of its issuer \"{name}\" is {kind}; {KEYS}"
            ));
        }
        issued = issuer;
    }
    None
}

/// Describes the key of a server's certificate, unless signatures by it can be checked.
pub(super) fn unsupported_own_key(certificate: &Certificate<'_>) -> Option<String> {
    let kind = certificate.key_kind();
    (!is_supported(kind)).then(|| format!("its key is {kind}; {KEYS}"))
}

fn wrong_name(certificate: &Certificate<'_>, host: &str) -> String {
    let names = certificate.alternative_names();
    if host.parse::<IpAddr>().is_ok() && names.iter().any(|name| name == host) {
        format!("it has {host} as the name of a host (DNS), not as an address (IP)")
    } else if !names.is_empty() {
        format!("it is not for {host} but for {}", names.join(", "))
    } else if let Some(name) = certificate.common_name() {
        format!("it has no subjectAltName for {host}, only the common name {name}")
    } else {
        format!("it has no subjectAltName for {host}, nor any other name")
    }
}

/// Describes the error that ended a TLS connection.
pub(super) fn fault(error: &Error) -> String {
    // An HTTP server answers with text, whose first byte is no content type (RFC 8446 §5.1).
    if let Error::InvalidMessage(_) = error {
        "the server does not speak TLS".to_owned()
    } else if let Error::AlertReceived(AlertDescription::ProtocolVersion) = error {
        "the server has neither TLS 1.3 nor TLS 1.2".to_owned()
    } else if let Error::AlertReceived(AlertDescription::CertificateRequired) = error {
        "the server requires a client certificate; give one with --cert FILE".to_owned()
    } else if let Error::AlertReceived(AlertDescription::HandshakeFailure) = error {
        // What openssl says where a server has only such a key; nothing tells it from other reasons.
        format!(
            "the server closed the TLS connection: handshake failure, as when its key is P-521 or \
             another that is not known here; {KEYS}"
        )
    } else if let Error::AlertReceived(alert) = error {
        let name = alert.as_str().map(spaced);
        let name = name.unwrap_or_else(|| format!("alert {}", u8::from(*alert)));
        format!("the server closed the TLS connection: {name}")
    } else if let Error::PeerIncompatible(why) = error {
        let missing = described(&INCOMPATIBLE, why);
        format!("no agreement on TLS 1.3 or 1.2: {missing}")
    } else if let Error::PeerMisbehaved(_)
    | Error::InappropriateMessage { .. }
    | Error::InappropriateHandshakeMessage { .. } = error
    {
        "the server violates the TLS protocol".to_owned()
    } else if let Error::InvalidCertificate(why) = error {
        format!("bad certificate: {}", invalid(why))
    } else if let Error::General(why) = error {
        why.clone()
    } else if let Error::InconsistentKeys(_) = error {
        "the key does not belong to the certificate".to_owned()
    } else {
        spaced(&error.to_string())
    }
}

/// Splits the name of a variant into words: `HandshakeFailure` becomes "handshake failure".
fn spaced(name: &str) -> String {
    let mut text = String::new();
    let mut is_inside = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && is_inside {
            text.push(' ');
        }
        is_inside = c.is_ascii_lowercase() || c.is_ascii_digit();
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variants_are_words() {
        let alert = Error::AlertReceived(AlertDescription::InsufficientSecurity);
        assert_eq!(
            fault(&alert),
            "the server closed the TLS connection: insufficient security"
        );
        let old = Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon);
        assert_eq!(
            fault(&old),
            "no agreement on TLS 1.3 or 1.2: no cipher suites in common"
        );
        assert_eq!(spaced("UnknownCA"), "unknown ca");
        assert_eq!(
            spaced("peer sent no certificates"),
            "peer sent no certificates"
        );
    }
}
