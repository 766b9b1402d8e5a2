//! The curves Curve25519 and P-256 for rustls: key exchange and signatures of servers.

use ed25519_dalek::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// Ephemeral Diffie-Hellman (RFC 7748 §6.1, RFC 8446 §7.4.2).
#[derive(Debug)]
pub(super) struct X25519KeyExchange;

impl SupportedKxGroup for X25519KeyExchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        let random = SystemRandom::new();
        random.fill(&mut secret).map_err(|_| GetRandomFailed)?;
        let public = x25519(secret, X25519_BASEPOINT_BYTES);
        Ok(Box::new(StartedX25519 { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// Our half of a key exchange.
struct StartedX25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for StartedX25519 {
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
pub(super) struct Ed25519Verification;

impl SignatureVerificationAlgorithm for Ed25519Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key =
            ed25519_dalek::VerifyingKey::try_from(public_key).map_err(|_| InvalidSignature)?;
        let signature =
            ed25519_dalek::Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
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

/// Ephemeral Diffie-Hellman (RFC 8446 §7.4.2, RFC 8422 §5.10).
#[derive(Debug)]
pub(super) struct P256KeyExchange;

impl SupportedKxGroup for P256KeyExchange {
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
                return Ok(Box::new(StartedP256 { secret, public }));
            }
        }
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

/// Our half of a key exchange.
struct StartedP256 {
    secret: SecretKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for StartedP256 {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        // SEC 1 §2.3.3: 4 begins an uncompressed point, the only form of RFC 8446 §4.2.8.2.
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
pub(super) struct P256Verification {
    hash: &'static digest::Algorithm,
    id: AlgorithmIdentifier,
}

impl P256Verification {
    // A key on this curve may sign with either hash (TLS 1.2, and certificates).
    pub(super) const SHA256: Self = Self {
        hash: &digest::SHA256,
        id: alg_id::ECDSA_SHA256,
    };
    pub(super) const SHA384: Self = Self {
        hash: &digest::SHA384,
        id: alg_id::ECDSA_SHA384,
    };
}

impl SignatureVerificationAlgorithm for P256Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key =
            p256::ecdsa::VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature =
            p256::ecdsa::Signature::from_der(signature).map_err(|_| InvalidSignature)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_another_length_or_of_small_order_is_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for share in [&[][..], &[9; 31], &[9; 33], &[0; 32], &one] {
            let refused = X25519KeyExchange.start().unwrap().complete(share);
            let expected = Some(PeerMisbehaved::InvalidKeyShare.into());
            assert_eq!(refused.err(), expected, "{share:?}");
        }
    }

    #[test]
    fn a_share_that_is_no_uncompressed_point_of_the_curve_is_refused() {
        let compressed = SecretKey::from_slice(&[7; 32]).unwrap();
        let compressed = compressed.public_key().to_sec1_point(true);
        let mut beside = P256KeyExchange.start().unwrap().pub_key().to_vec();
        *beside.last_mut().unwrap() ^= 1;
        for share in [
            &[][..],
            &[0],
            &[4; 65],
            &[4; 64],
            compressed.as_bytes(),
            &beside,
        ] {
            let refused = P256KeyExchange.start().unwrap().complete(share);
            assert_eq!(
                refused.err(),
                Some(PeerMisbehaved::InvalidKeyShare.into()),
                "{share:?}"
            );
        }
    }
}
