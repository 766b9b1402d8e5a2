//! Curve25519 for rustls: key exchange, signatures of servers, and keys of client certificates.

use ed25519_dalek::{Signature, Signer as _, Verifier as _, VerifyingKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    alg_id,
};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, NamedGroup, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// Ephemeral Diffie-Hellman (RFC 7748 §6.1, RFC 8446 §7.4.2).
#[derive(Debug)]
pub(super) struct KeyExchange;

impl SupportedKxGroup for KeyExchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        let random = SystemRandom::new();
        random.fill(&mut secret).map_err(|_| GetRandomFailed)?;
        let public = x25519(secret, X25519_BASEPOINT_BYTES);
        Ok(Box::new(Started { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// Our half of a key exchange.
struct Started {
    secret: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = peer.try_into().ok();
        let secret = peer.map(|peer| x25519(self.secret, peer));
        // RFC 8446 §7.4.2: a point of small order gives all zeros.
        let secret = secret.filter(|secret| *secret != [0; 32]);
        let secret = secret.ok_or(PeerMisbehaved::InvalidKeyShare)?;
        Ok(SharedSecret::from(&secret[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// Verifies signatures by Ed25519 (RFC 8032 §5.1.7).
#[derive(Debug)]
pub(super) struct Verification;

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::try_from(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }
}

/// The private key of a client certificate.
#[derive(Debug, Clone)]
pub(super) struct PrivateKey(ed25519_dalek::SigningKey);

impl PrivateKey {
    /// Returns the key of this seed; none when it has another length.
    pub(super) fn new(seed: &[u8]) -> Option<Self> {
        let seed = seed.try_into().ok()?;
        Some(Self(ed25519_dalek::SigningKey::from_bytes(seed)))
    }
}

impl SigningKey for PrivateKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.scheme())
            .then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let point = self.0.verifying_key().to_bytes();
        Some(public_key_to_spki(&alg_id::ED25519, point))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

#[cfg(test)]
mod tests {
    use ring::agreement;
    use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

    use super::*;

    #[test]
    fn both_sides_of_an_exchange_with_ring_have_the_same_secret() {
        let random = SystemRandom::new();
        for _ in 0..20 {
            let theirs =
                agreement::EphemeralPrivateKey::generate(&agreement::X25519, &random).unwrap();
            let public = theirs.compute_public_key().unwrap();
            let ours = KeyExchange.start().unwrap();
            assert_eq!(ours.group(), NamedGroup::X25519);
            let peer =
                agreement::UnparsedPublicKey::new(&agreement::X25519, ours.pub_key().to_vec());
            let secret = ours.complete(public.as_ref()).unwrap();
            agreement::agree_ephemeral(theirs, &peer, |expected| {
                assert_eq!(secret.secret_bytes(), expected);
            })
            .unwrap();
        }
    }

    #[test]
    fn a_share_of_another_length_or_of_small_order_is_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for share in [&[][..], &[9; 31], &[9; 33], &[0; 32], &one] {
            let refused = KeyExchange.start().unwrap().complete(share);
            let expected = Some(PeerMisbehaved::InvalidKeyShare.into());
            assert_eq!(refused.err(), expected, "{share:?}");
        }
    }

    #[test]
    fn signatures_of_ring_are_verified_and_no_others() {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        let public = key.public_key().as_ref();
        let signature = key.sign(b"certificate");
        let signature = signature.as_ref();
        Verification
            .verify_signature(public, b"certificate", signature)
            .unwrap();
        let refuse = |public: &[u8], message: &[u8], signature: &[u8]| {
            let verified = Verification.verify_signature(public, message, signature);
            verified.unwrap_err();
        };
        refuse(public, b"Certificate", signature);
        for place in 0..signature.len() {
            let mut changed = signature.to_vec();
            changed[place] ^= 1;
            refuse(public, b"certificate", &changed);
            refuse(public, b"certificate", &signature[..place]);
        }
        for place in 0..public.len() {
            let mut changed = public.to_vec();
            changed[place] ^= 1;
            refuse(&changed, b"certificate", signature);
        }
    }

    #[test]
    fn what_a_key_signs_is_verified_by_ring() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let theirs = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let decoded = wireboot_proto::format::x509::PrivateKey::decode_pkcs8(pkcs8.as_ref());
        let key = PrivateKey::new(decoded.unwrap().secret).unwrap();
        let signature = key.sign(b"handshake").unwrap();
        let public = UnparsedPublicKey::new(&ED25519, theirs.public_key());
        public.verify(b"handshake", &signature).unwrap();
        assert!(
            key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256])
                .is_none()
        );
    }
}
