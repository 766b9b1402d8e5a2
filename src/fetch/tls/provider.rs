//! The cryptography of TLS connections, and the private keys of client certificates: ring's, but P-256 from
//! the crate `p256` and Curve25519 from the dalek crates. ring multiplies points of these curves by tables
//! of 148 and 24 KiB, which would be a twelfth of the binary.

use std::sync::Arc;

use p256::ecdsa::DerSignature;
use p256::ecdsa::signature::Signer as _;
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

use super::curves::{Ed25519Verification, P256KeyExchange, P256Verification, X25519KeyExchange};
use wireboot_proto::format::x509::{KeyKind, PrivateKey};

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
        kx_groups: vec![&X25519KeyExchange, &P256KeyExchange, SECP384R1],
        signature_verification_algorithms: ALGORITHMS,
        secure_random: &ClientKeys,
        key_provider: &ClientKeys,
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

// By the curves of this program, in place of ring's.
const ED25519: &dyn SignatureVerificationAlgorithm = &Ed25519Verification;
const P256_SHA256: &dyn SignatureVerificationAlgorithm = &P256Verification::SHA256;
const P256_SHA384: &dyn SignatureVerificationAlgorithm = &P256Verification::SHA384;

/// Random numbers, and the private keys of client certificates.
#[derive(Debug)]
struct ClientKeys;

impl SecureRandom for ClientKeys {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for ClientKeys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        load(&key)
    }
}

/// Loads a key of PKCS #8, PKCS #1 or SEC 1.
fn load(key: &PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
    if let Ok(rsa) = RsaSigningKey::new(key) {
        return Ok(Arc::new(rsa));
    }
    let known = "RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519";
    let unknown = || Error::General(format!("the key is of none of the known kinds: {known}"));
    let key = CurveKey::decode(key).ok_or_else(unknown)?;
    Ok(Arc::new(key))
}

/// A key on an elliptic curve, by the crate that has the curve.
#[derive(Debug, Clone)]
enum CurveKey {
    P256(p256::ecdsa::SigningKey),
    P384(Arc<EcdsaKeyPair>),
    Ed25519(ed25519_dalek::SigningKey),
}

impl CurveKey {
    fn decode(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let wrapped;
        let (decoded, pkcs8) = match key {
            PrivateKeyDer::Pkcs8(key) => {
                let der = key.secret_pkcs8_der();
                (PrivateKey::decode_pkcs8(der), der)
            }
            PrivateKeyDer::Sec1(key) => {
                let der = key.secret_sec1_der();
                wrapped = pkcs8_of(der)?;
                (PrivateKey::decode_sec1(der), wrapped.as_slice())
            }
            PrivateKeyDer::Pkcs1(_) | _ => return None,
        };
        let PrivateKey { kind, secret } = decoded.ok()?;
        match kind {
            KeyKind::Named("P-256") => {
                let key = p256::ecdsa::SigningKey::from_slice(secret);
                Some(Self::P256(key.ok()?))
            }
            KeyKind::Named("P-384") => {
                let (curve, random) = (&ECDSA_P384_SHA384_ASN1_SIGNING, SystemRandom::new());
                let key = EcdsaKeyPair::from_pkcs8(curve, pkcs8, &random);
                Some(Self::P384(Arc::new(key.ok()?)))
            }
            KeyKind::Named("Ed25519") => {
                let seed = secret.try_into().ok()?;
                Some(Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(seed)))
            }
            KeyKind::Named(_) | KeyKind::Rsa(_) | KeyKind::Unknown => None,
        }
    }
}

/// Puts a SEC1 key on P-384 into PKCS #8, the only form that ring reads (RFC 5958 §2).
fn pkcs8_of(sec1: &[u8]) -> Option<Vec<u8>> {
    // INTEGER version 0, and the SEQUENCE of id-ecPublicKey and secp384r1 (RFC 5480 §2.1.1).
    const HEAD: &[u8] =
        b"\x02\x01\0\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\0\x22";
    // Tags: X.690 §8.7 and §8.9.
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

impl SigningKey for CurveKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.scheme())
            .then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(match self {
            Self::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                public_key_to_spki(&alg_id::ECDSA_P256, point.as_bytes())
            }
            Self::P384(key) => public_key_to_spki(&alg_id::ECDSA_P384, key.public_key()),
            Self::Ed25519(key) => {
                public_key_to_spki(&alg_id::ED25519, key.verifying_key().as_bytes())
            }
        })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::P256(_) | Self::P384(_) => SignatureAlgorithm::ECDSA,
            Self::Ed25519(_) => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for CurveKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(match self {
            Self::P256(key) => {
                let signature: DerSignature = key.sign(message);
                signature.as_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature = key.sign(&SystemRandom::new(), message);
                signature.map_err(|_| GetRandomFailed)?.as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        })
    }

    fn scheme(&self) -> SignatureScheme {
        match self {
            Self::P256(_) => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::P384(_) => SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::Ed25519(_) => SignatureScheme::ED25519,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use ring::agreement;
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    };
    use rustls::SupportedCipherSuite;
    use rustls::crypto::SupportedKxGroup;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::PemObject;
    use webpki::ring as verify;

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
    fn both_sides_of_an_exchange_with_ring_have_the_same_secret() {
        let random = SystemRandom::new();
        let groups: [(&dyn SupportedKxGroup, _); 2] = [
            (&X25519KeyExchange, &agreement::X25519),
            (&P256KeyExchange, &agreement::ECDH_P256),
        ];
        for (group, rings) in groups.repeat(10) {
            let theirs = agreement::EphemeralPrivateKey::generate(rings, &random).unwrap();
            let public = theirs.compute_public_key().unwrap();
            let ours = group.start().unwrap();
            assert_eq!(ours.group(), group.name());
            let peer = agreement::UnparsedPublicKey::new(rings, ours.pub_key().to_vec());
            let secret = ours.complete(public.as_ref()).unwrap();
            agreement::agree_ephemeral(theirs, &peer, |expected| {
                assert_eq!(secret.secret_bytes(), expected);
            })
            .unwrap();
        }
    }

    #[test]
    fn signatures_of_ring_are_verified_and_no_others() {
        let random = SystemRandom::new();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed25519 = Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap();
        is_verified_alone(
            ED25519,
            ed25519.public_key().as_ref(),
            ed25519.sign(SIGNED).as_ref(),
        );
        let signing = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let p256 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let p256 = EcdsaKeyPair::from_pkcs8(signing, p256.as_ref(), &random).unwrap();
        let signature = p256.sign(&random, SIGNED).unwrap();
        is_verified_alone(P256_SHA256, p256.public_key().as_ref(), signature.as_ref());
        let with_sha384 =
            P256_SHA384.verify_signature(p256.public_key().as_ref(), SIGNED, signature.as_ref());
        with_sha384.unwrap_err();
    }

    const SIGNED: &[u8] = b"certificate";

    fn is_verified_alone(
        algorithm: &dyn SignatureVerificationAlgorithm,
        public: &[u8],
        signature: &[u8],
    ) {
        algorithm
            .verify_signature(public, SIGNED, signature)
            .unwrap();
        let refuse = |public: &[u8], message: &[u8], signature: &[u8]| {
            let verified = algorithm.verify_signature(public, message, signature);
            verified.unwrap_err();
        };
        refuse(public, b"Certificate", signature);
        for place in 0..signature.len() {
            let mut changed = signature.to_vec();
            changed[place] ^= 1;
            refuse(public, SIGNED, &changed);
            refuse(public, SIGNED, &signature[..place]);
        }
        for place in 0..public.len() {
            let mut changed = public.to_vec();
            changed[place] ^= 1;
            refuse(&changed, SIGNED, signature);
            refuse(&public[..place], SIGNED, signature);
        }
    }

    #[test]
    fn private_keys_as_openssl_writes_them_sign_by_their_scheme() {
        use SignatureScheme as Scheme;
        let p256 = (Scheme::ECDSA_NISTP256_SHA256, verify::ECDSA_P256_SHA256, 65);
        let p384 = (Scheme::ECDSA_NISTP384_SHA384, verify::ECDSA_P384_SHA384, 97);
        let ed25519 = (Scheme::ED25519, verify::ED25519, 32);
        for (arguments, (scheme, algorithm, len)) in [
            ("genpkey -algorithm ed25519", ed25519),
            ("ecparam -genkey -noout -name prime256v1", p256),
            ("ecparam -genkey -noout -name secp384r1", p384),
            (
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
                p256,
            ),
            (
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
                p384,
            ),
        ] {
            let key = load(&made_by(arguments)).unwrap();
            assert!(key.choose_scheme(&[Scheme::RSA_PSS_SHA256]).is_none());
            let offered = [Scheme::RSA_PSS_SHA256, scheme];
            let signer = key.choose_scheme(&offered).unwrap();
            assert_eq!(signer.scheme(), scheme, "{arguments}");
            let signature = signer.sign(b"handshake").unwrap();
            let info = key.public_key().unwrap();
            let public = &info[info.len() - len..];
            let verified = algorithm.verify_signature(public, b"handshake", &signature);
            assert!(verified.is_ok(), "{arguments}");
        }
        let rsa = load(&made_by("genrsa 2048")).unwrap();
        let signer = rsa.choose_scheme(&[Scheme::RSA_PSS_SHA256]).unwrap();
        assert!(!signer.sign(b"handshake").unwrap().is_empty());
        let other = made_by("ecparam -genkey -noout -name secp521r1");
        let refused = load(&other).unwrap_err().to_string();
        assert!(refused.contains("P-256"), "{refused}");
    }

    fn made_by(arguments: &str) -> PrivateKeyDer<'static> {
        let made = Command::new("openssl").args(arguments.split(' ')).output();
        PrivateKeyDer::from_pem_slice(&made.unwrap().stdout).unwrap()
    }
}
