//! Curves for rustls: key exchange and signatures of servers by Curve25519 and P-256.

use std::fmt;

use ed25519_dalek::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey, ecdsa};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// Ephemeral Diffie-Hellman on one curve (RFC 8446 §7.4.2).
pub(super) struct KeyExchange {
    group: NamedGroup,
    /// Makes a key pair of random bytes, if they are a key.
    begin: fn([u8; 32]) -> Option<KeyPair>,
}

/// Our half of a key exchange.
struct KeyPair {
    public: Vec<u8>,
    agree: Box<Agree>,
}

/// Computes the secret shared with the owner of a public key; none if it is no valid one.
type Agree = dyn FnOnce(&[u8]) -> Option<[u8; 32]> + Send + Sync;

/// A key exchange that waits for the peer's half.
struct Started {
    group: NamedGroup,
    pair: KeyPair,
}

/// RFC 7748 §6.1.
pub(super) static X25519: KeyExchange = KeyExchange {
    group: NamedGroup::X25519,
    begin: |secret| {
        Some(KeyPair {
            public: x25519(secret, X25519_BASEPOINT_BYTES).to_vec(),
            agree: Box::new(move |peer| {
                let shared = x25519(secret, peer.try_into().ok()?);
                // RFC 8446 §7.4.2: a point of small order gives all zeros.
                (shared != [0; 32]).then_some(shared)
            }),
        })
    },
};

/// RFC 8422 §5.10.
pub(super) static P256: KeyExchange = KeyExchange {
    group: NamedGroup::secp256r1,
    begin: |bytes| {
        let secret = SecretKey::from_slice(&bytes).ok()?;
        Some(KeyPair {
            // RFC 8446 §4.2.8.2: uncompressed points only.
            public: secret.public_key().to_sec1_point(false).as_bytes().to_vec(),
            agree: Box::new(move |peer| {
                let is_uncompressed = peer.first() == Some(&4);
                let peer = PublicKey::from_sec1_bytes(peer).ok();
                let peer = peer.filter(|_| is_uncompressed)?;
                let shared =
                    p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine());
                Some((*shared.raw_secret_bytes()).into())
            }),
        })
    },
};

impl fmt::Debug for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyExchange").finish_non_exhaustive()
    }
}

impl SupportedKxGroup for KeyExchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = [0; 32];
        let random = SystemRandom::new();
        loop {
            random.fill(&mut bytes).map_err(|_| GetRandomFailed)?;
            // One number in 2^32 is no key of P-256: zero, or not below the order of the curve.
            if let Some(pair) = (self.begin)(bytes) {
                let group = self.group;
                return Ok(Box::new(Started { group, pair }));
            }
        }
    }

    fn name(&self) -> NamedGroup {
        self.group
    }
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let shared = (self.pair.agree)(peer).ok_or(PeerMisbehaved::InvalidKeyShare)?;
        Ok(SharedSecret::from(&shared[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.pair.public
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}

/// Verification of signatures by one algorithm.
#[derive(Debug)]
struct Verification {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verify: Verify,
}

/// Verifies the signature of a message by a public key; none for a wrong one.
type Verify = fn(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()>;

/// RFC 8032 §5.1.7.
pub(super) const ED25519: &dyn SignatureVerificationAlgorithm = &Verification {
    key: alg_id::ED25519,
    signature: alg_id::ED25519,
    verify: |key, message, signature| {
        let key = ed25519_dalek::VerifyingKey::try_from(key).ok()?;
        let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
        key.verify(message, &signature).ok()
    },
};

/// RFC 5758 §3.2.
pub(super) const P256_SHA256: &dyn SignatureVerificationAlgorithm = &Verification {
    key: alg_id::ECDSA_P256,
    signature: alg_id::ECDSA_SHA256,
    verify: |key, message, signature| verify_p256(&digest::SHA256, key, message, signature),
};

/// RFC 5758 §3.2.
pub(super) const P256_SHA384: &dyn SignatureVerificationAlgorithm = &Verification {
    key: alg_id::ECDSA_P256,
    signature: alg_id::ECDSA_SHA384,
    verify: |key, message, signature| verify_p256(&digest::SHA384, key, message, signature),
};

fn verify_p256(
    hash: &'static digest::Algorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<()> {
    let key = ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    let signature = ecdsa::Signature::from_der(signature).ok()?;
    let hash = digest::digest(hash, message);
    key.verify_prehash(hash.as_ref(), &signature).ok()
}

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        (self.verify)(public_key, message, signature).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_refused(group: &KeyExchange, share: &[u8]) {
        let refused = group.start().unwrap().complete(share);
        let expected = Some(PeerMisbehaved::InvalidKeyShare.into());
        assert_eq!(refused.err(), expected, "{share:?}");
    }

    #[test]
    fn a_share_of_another_length_or_of_small_order_is_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for share in [&[][..], &[9; 31], &[9; 33], &[0; 32], &one] {
            assert_refused(&X25519, share);
        }
    }

    #[test]
    fn a_share_that_is_no_uncompressed_point_of_the_curve_is_refused() {
        let compressed = SecretKey::from_slice(&[7; 32]).unwrap();
        let compressed = compressed.public_key().to_sec1_point(true);
        let mut beside = P256.start().unwrap().pub_key().to_vec();
        *beside.last_mut().unwrap() ^= 1;
        for share in [
            &[][..],
            &[0],
            &[4; 65],
            &[4; 64],
            compressed.as_bytes(),
            &beside,
        ] {
            assert_refused(&P256, share);
        }
    }
}
