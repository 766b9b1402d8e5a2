//! The private keys of client certificates.

use std::sync::Arc;

use p256::ecdsa::DerSignature;
use p256::ecdsa::signature::Signer as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::crypto::GetRandomFailed;
use rustls::crypto::ring::sign::RsaSigningKey;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use wireboot_proto::format::x509::{KeyKind, PrivateKey};

/// Loads a key of PKCS #8, PKCS #1 or SEC 1.
pub(super) fn load(key: &PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
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

    use rustls::pki_types::pem::PemObject;
    use webpki::ring as verify;

    use super::*;

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
