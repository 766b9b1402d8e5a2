//! Curve25519 for rustls: key exchange and signatures of servers.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
