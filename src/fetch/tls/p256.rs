//! The curve P-256 for rustls: key exchange, signatures of servers, and keys of client certificates.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{DerSignature, Signature, VerifyingKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    alg_id,
};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, NamedGroup, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};

/// Ephemeral Diffie-Hellman (RFC 8446 §7.4.2, RFC 8422 §5.10).
#[derive(Debug)]
pub(super) struct KeyExchange;

impl SupportedKxGroup for KeyExchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = [0; 32];
        let random = SystemRandom::new();
        loop {
            random.fill(&mut bytes).map_err(|_| GetRandomFailed)?;
            // One number in 2^32 is no key: zero, or not below the order of the curve.
            if let Ok(secret) = SecretKey::from_slice(&bytes) {
                // RFC 8446 §4.2.8.2: uncompressed points only.
                let public = secret.public_key().to_sec1_point(false);
                let public = public.as_bytes().to_vec();
                return Ok(Box::new(Started { secret, public }));
            }
        }
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

/// Our half of a key exchange.
struct Started {
    secret: SecretKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let is_uncompressed = peer.first() == Some(&4);
        let peer = PublicKey::from_sec1_bytes(peer)
            .ok()
            .filter(|_| is_uncompressed);
        let peer = peer.ok_or(PeerMisbehaved::InvalidKeyShare)?;
        let secret = p256::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
        Ok(SharedSecret::from(&secret.raw_secret_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

/// Verifies signatures with one hash.
#[derive(Debug)]
pub(super) struct Verification {
    hash: &'static digest::Algorithm,
    id: AlgorithmIdentifier,
}

impl Verification {
    pub(super) const SHA256: Self = Self {
        hash: &digest::SHA256,
        id: alg_id::ECDSA_SHA256,
    };
    pub(super) const SHA384: Self = Self {
        hash: &digest::SHA384,
        id: alg_id::ECDSA_SHA384,
    };
}

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        let hash = digest::digest(self.hash, message);
        let verified = key.verify_prehash(hash.as_ref(), &signature);
        verified.map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}

/// The private key of a client certificate.
#[derive(Debug, Clone)]
pub(super) struct PrivateKey(p256::ecdsa::SigningKey);

impl PrivateKey {
    /// Returns the key that is this number; none when it is not one of this curve.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let key = p256::ecdsa::SigningKey::from_slice(secret);
        Some(Self(key.ok()?))
    }
}

impl SigningKey for PrivateKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.scheme())
            .then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let point = self.0.verifying_key().to_sec1_point(false);
        Some(public_key_to_spki(&alg_id::ECDSA_P256, point.as_bytes()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: DerSignature = self.0.sign(message);
        Ok(signature.as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

#[cfg(test)]
mod tests {
    use ring::agreement;
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    };

    use super::*;

    #[test]
    fn both_sides_of_an_exchange_with_ring_have_the_same_secret() {
        let random = SystemRandom::new();
        for _ in 0..20 {
            let theirs =
                agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random).unwrap();
            let public = theirs.compute_public_key().unwrap();
            let ours = KeyExchange.start().unwrap();
            assert_eq!(ours.group(), NamedGroup::secp256r1);
            let peer =
                agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, ours.pub_key().to_vec());
            let secret = ours.complete(public.as_ref()).unwrap();
            agreement::agree_ephemeral(theirs, &peer, |expected| {
                assert_eq!(secret.secret_bytes(), expected);
            })
            .unwrap();
        }
    }

    #[test]
    fn a_share_that_is_no_uncompressed_point_of_the_curve_is_refused() {
        let compressed = SecretKey::from_slice(&[7; 32]).unwrap();
        let compressed = compressed.public_key().to_sec1_point(true);
        let mut beside = KeyExchange.start().unwrap().pub_key().to_vec();
        *beside.last_mut().unwrap() ^= 1;
        for share in [
            &[][..],
            &[0],
            &[4; 65],
            &[4; 64],
            compressed.as_bytes(),
            &beside,
        ] {
            let refused = KeyExchange.start().unwrap().complete(share);
            assert_eq!(
                refused.err(),
                Some(PeerMisbehaved::InvalidKeyShare.into()),
                "{share:?}"
            );
        }
    }

    #[test]
    fn signatures_of_ring_are_verified_and_no_others() {
        let random = SystemRandom::new();
        let signing = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(signing, key.as_ref(), &random).unwrap();
        let public = key.public_key().as_ref();
        let signature = key.sign(&random, b"certificate").unwrap();
        let signature = signature.as_ref();
        let verify = |public: &[u8], message: &[u8], signature: &[u8]| {
            Verification::SHA256.verify_signature(public, message, signature)
        };
        verify(public, b"certificate", signature).unwrap();
        verify(public, b"Certificate", signature).unwrap_err();
        let with_sha384 = Verification::SHA384.verify_signature(public, b"certificate", signature);
        with_sha384.unwrap_err();
        for place in 0..signature.len() {
            let mut changed = signature.to_vec();
            changed[place] ^= 1;
            verify(public, b"certificate", &changed).unwrap_err();
            verify(public, b"certificate", &signature[..place]).unwrap_err();
        }
        for place in 0..public.len() {
            let mut changed = public.to_vec();
            changed[place] ^= 1;
            verify(&changed, b"certificate", signature).unwrap_err();
            verify(&public[..place], b"certificate", signature).unwrap_err();
        }
    }

    #[test]
    fn ring_verifies_what_a_private_key_signs() {
        let secret = SecretKey::from_slice(&[7; 32]).unwrap();
        let public = secret.public_key().to_sec1_point(false);
        let key = PrivateKey::new(&[7; 32]).unwrap();
        let offered = [SignatureScheme::ED25519, key.scheme()];
        let signer = key.choose_scheme(&offered).unwrap();
        assert!(key.choose_scheme(&offered[..1]).is_none());
        let info = key.public_key().unwrap();
        assert!(info.ends_with(public.as_bytes()), "{info:?}");
        let signature = signer.sign(b"handshake").unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public.as_bytes())
            .verify(b"handshake", &signature)
            .unwrap();
    }
}
