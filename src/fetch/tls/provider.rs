//! The cryptography of TLS connections: ring's, but P-256 from the crate `p256` and Curve25519 from
//! the dalek crates. ring multiplies points of these curves by tables of 148 and 24 KiB, which would be
//! a twelfth of the binary.

use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::ring::cipher_suite as suite;
use rustls::crypto::ring::kx_group::SECP384R1;
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm};
use rustls::sign::SigningKey;
use rustls::{Error, SignatureScheme};
use webpki::ring as verify;

use super::{client_key, curve25519, p256};

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
const ED25519: &dyn SignatureVerificationAlgorithm = &curve25519::Verification;
const P256_SHA256: &dyn SignatureVerificationAlgorithm = &p256::Verification::SHA256;
const P256_SHA384: &dyn SignatureVerificationAlgorithm = &p256::Verification::SHA384;

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
        client_key::load(&key)
    }
}

#[cfg(test)]
mod tests {
    use ring::agreement;
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    };
    use rustls::SupportedCipherSuite;
    use rustls::crypto::SupportedKxGroup;
    use rustls::crypto::ring::default_provider;

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
            (&curve25519::KeyExchange, &agreement::X25519),
            (&p256::KeyExchange, &agreement::ECDH_P256),
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
}
