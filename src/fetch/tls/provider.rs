//! The cryptography of TLS connections: ring's, but P-256 from the crate `p256` and Curve25519 from
//! the dalek crates. ring multiplies points of these curves by tables of 148 and 24 KiB, which would be
//! a twelfth of the binary.

use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::crypto::ring::cipher_suite as suite;
use rustls::crypto::ring::kx_group::SECP384R1;
use rustls::crypto::ring::sign::RsaSigningKey;
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{
    PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, alg_id,
};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use webpki::ring as verify;
use wireboot_proto::format::x509::{KeyKind, PrivateKey};

use super::{curve25519, p256};

/// Returns what `rustls::crypto::ring::default_provider` returns, with another P-256 and without
/// ChaCha20-Poly1305, whose two ciphers in three sets of instructions are 45 KiB: every server has
/// AES-GCM (RFC 8446 §9.1, RFC 9325 §4.2).
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![&curve25519::KeyExchange, &p256::KeyExchange, SECP384R1],
        signature_verification_algorithms: ALGORITHMS,
        secure_random: &Keys,
        key_provider: &Keys,
    }
}

/// The algorithms of signatures in certificates and handshakes.
pub(super) const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        P256_SHA256,
        P256_SHA384,
        verify::ECDSA_P384_SHA256,
        verify::ECDSA_P384_SHA384,
        ED25519,
        verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        verify::RSA_PKCS1_2048_8192_SHA256,
        verify::RSA_PKCS1_2048_8192_SHA384,
        verify::RSA_PKCS1_2048_8192_SHA512,
        verify::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    // TLS 1.2 leaves the curve open, so each hash has both.
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[verify::ECDSA_P384_SHA384, P256_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[P256_SHA256, verify::ECDSA_P384_SHA256],
        ),
        (SignatureScheme::ED25519, &[ED25519]),
        (
            SignatureScheme::RSA_PSS_SHA512,
            &[verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA384,
            &[verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA256,
            &[verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA512,
            &[verify::RSA_PKCS1_2048_8192_SHA512],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA384,
            &[verify::RSA_PKCS1_2048_8192_SHA384],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA256,
            &[verify::RSA_PKCS1_2048_8192_SHA256],
        ),
    ],
};

const ED25519: &dyn SignatureVerificationAlgorithm = &curve25519::Verification;
const P256_SHA256: &dyn SignatureVerificationAlgorithm = &p256::Verification::SHA256;
const P256_SHA384: &dyn SignatureVerificationAlgorithm = &p256::Verification::SHA384;

/// Random numbers, and the private keys of client certificates.
#[derive(Debug)]
struct Keys;

impl SecureRandom for Keys {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        if let Ok(rsa) = RsaSigningKey::new(&key) {
            return Ok(Arc::new(rsa));
        }
        let decoded = match &key {
            PrivateKeyDer::Pkcs8(key) => PrivateKey::decode_pkcs8(key.secret_pkcs8_der()).ok(),
            PrivateKeyDer::Sec1(key) => PrivateKey::decode_sec1(key.secret_sec1_der()).ok(),
            PrivateKeyDer::Pkcs1(_) | _ => None,
        };
        let known: Option<Arc<dyn SigningKey>> = match decoded {
            Some(PrivateKey {
                kind: KeyKind::Named("P-256"),
                secret,
            }) => p256::PrivateKey::new(secret).map(|key| Arc::new(key) as _),
            Some(PrivateKey {
                kind: KeyKind::Named("Ed25519"),
                secret,
            }) => curve25519::PrivateKey::new(secret).map(|key| Arc::new(key) as _),
            Some(PrivateKey {
                kind: KeyKind::Named("P-384"),
                ..
            }) => P384Key::decode(&key).map(|key| Arc::new(key) as _),
            Some(_) | None => None,
        };
        if let Some(key) = known {
            return Ok(key);
        }
        let known = "RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519";
        Err(Error::General(format!(
            "the key is of none of the known kinds: {known}"
        )))
    }
}

/// A key on P-384, as ring has it.
#[derive(Debug, Clone)]
struct P384Key(Arc<EcdsaKeyPair>);

impl P384Key {
    fn decode(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let wrapped;
        let pkcs8 = match key {
            PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der(),
            PrivateKeyDer::Sec1(key) => {
                wrapped = pkcs8_of(key.secret_sec1_der())?;
                &wrapped
            }
            PrivateKeyDer::Pkcs1(_) | _ => return None,
        };
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8, &SystemRandom::new());
        Some(Self(Arc::new(key.ok()?)))
    }
}

/// Puts a SEC1 key on P-384 into PKCS #8, the only form that ring reads (RFC 5958 §2).
fn pkcs8_of(sec1: &[u8]) -> Option<Vec<u8>> {
    // INTEGER version 0, and the SEQUENCE of id-ecPublicKey and secp384r1 (RFC 5480 §2.1.1).
    const HEAD: &[u8] =
        b"\x02\x01\0\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\0\x22";
    const OCTET_STRING: u8 = 4;
    const SEQUENCE: u8 = 0x30;
    let field = |tag: u8, content: &[&[u8]]| {
        let len = content.iter().map(|part| part.len()).sum::<usize>();
        let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
        // X.690 §8.1.3: a key has some 170 bytes, with or without the public one.
        let len: &[u8] = if len > 0xff {
            &[0x82, high, low]
        } else if len > 0x7f {
            &[0x81, low]
        } else {
            &[low]
        };
        Some([&[tag], len, &content.concat()].concat())
    };
    let key = field(OCTET_STRING, &[sec1])?;
    field(SEQUENCE, &[HEAD, &key])
}

impl SigningKey for P384Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.scheme())
            .then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let point = self.0.public_key();
        Some(public_key_to_spki(&alg_id::ECDSA_P384, point))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P384Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| GetRandomFailed)?;
        Ok(signature.as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP384_SHA384
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustls::SupportedCipherSuite;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn what_ring_offers_is_offered_in_the_same_order() {
        let (ours, rings) = (provider(), default_provider());
        let suites = rings.cipher_suites.iter().copied();
        let is_ours = |suite: &SupportedCipherSuite| {
            let name = suite.suite().as_str().unwrap_or_default();
            !name.contains("CHACHA20")
        };
        assert_eq!(
            ours.cipher_suites,
            suites.filter(is_ours).collect::<Vec<_>>()
        );
        assert_eq!(ours.cipher_suites.len(), 6);
        let groups = |provider: &CryptoProvider| {
            let names = provider.kx_groups.iter().map(|group| group.name());
            names.collect::<Vec<_>>()
        };
        assert_eq!(groups(&ours), groups(&rings));
        let algorithms = |provider: &CryptoProvider| {
            let algorithms = provider.signature_verification_algorithms;
            let ids = |list: &[&dyn SignatureVerificationAlgorithm]| {
                let ids = list
                    .iter()
                    .map(|one| (one.public_key_alg_id(), one.signature_alg_id()));
                ids.collect::<Vec<_>>()
            };
            let mapping = algorithms.mapping.iter();
            let mapping: Vec<_> = mapping.map(|(scheme, list)| (*scheme, ids(list))).collect();
            (ids(algorithms.all), mapping)
        };
        assert_eq!(algorithms(&ours), algorithms(&rings));
    }

    #[test]
    fn private_keys_as_openssl_writes_them_sign_by_their_scheme() {
        use SignatureScheme as Scheme;
        for (arguments, scheme) in [
            ("genrsa 2048", Scheme::RSA_PSS_SHA256),
            ("genpkey -algorithm ed25519", Scheme::ED25519),
            (
                "ecparam -genkey -noout -name prime256v1",
                Scheme::ECDSA_NISTP256_SHA256,
            ),
            (
                "ecparam -genkey -noout -name secp384r1",
                Scheme::ECDSA_NISTP384_SHA384,
            ),
            (
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
                Scheme::ECDSA_NISTP256_SHA256,
            ),
            (
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
                Scheme::ECDSA_NISTP384_SHA384,
            ),
        ] {
            let made = Command::new("openssl").args(arguments.split(' ')).output();
            let key = PrivateKeyDer::from_pem_slice(&made.unwrap().stdout).unwrap();
            let key = Keys.load_private_key(key).unwrap();
            let signer = key.choose_scheme(&[scheme]).unwrap();
            assert_eq!(signer.scheme(), scheme, "{arguments}");
            assert!(!signer.sign(b"handshake").unwrap().is_empty());
        }
        let made = Command::new("openssl")
            .args(["ecparam", "-genkey", "-noout", "-name", "secp521r1"])
            .output();
        let key = PrivateKeyDer::from_pem_slice(&made.unwrap().stdout).unwrap();
        let refused = Keys.load_private_key(key).unwrap_err().to_string();
        assert!(refused.contains("P-256"), "{refused}");
    }
}
