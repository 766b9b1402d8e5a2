//! minisign signatures, and the keys that they are checked with.
//!
//! A signature is Ed25519 over the BLAKE2b of the file, and a second one over both the first and
//! the trusted comment, as `minisign -S` writes them. The legacy kind, over the file itself, is
//! refused: checking it needs the whole file in one buffer.
//!
//! The file is passed in parts, in order.

#![forbid(unsafe_code)]

use crate::prelude::*;
use crate::text::safe::Quoted;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest};
use ed25519_dalek::VerifyingKey;

use crate::text::safe::text_of;
use crate::time::Date;

/// The longest signature, in bytes. One of minisign has some 300; one of another kind, with its
/// certificates, is read only so that the error can say what it is.
pub const MAX_SIGNATURE_LEN: u64 = 1 << 16;

/// The reason why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No key can be read.
    #[error("not a minisign public key: {0}")]
    Key(String),
    /// It is not a signature.
    #[error("the signature file is not a minisign signature")]
    Malformed,
    /// It is a signature of another kind.
    #[error("the signature is {0}, and only those of minisign are checked; sign with minisign -S")]
    OtherKind(&'static str),
    /// It was made by `minisign -S -l`.
    #[error("the signature is of the legacy kind; sign without -l")]
    Legacy,
    /// It was made with another key.
    #[error("the signature is by none of the trusted keys")]
    UnknownKey,
    /// The file or the signature was modified.
    #[error("the signature does not fit the file")]
    Mismatch,
    /// The trusted comment names another file.
    #[error("the signature is for the file {}", Quoted(.0))]
    OtherFile(String),
    /// It is older than the policy allows, or does not say how old it is.
    #[error("the signature is {0}, and the policy has oldest-signature {1}")]
    TooOld(String, Date),
}

/// The trusted public keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    list: Vec<TrustedKey>,
    /// Signatures from before do not count; since 1970.
    pub oldest: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TrustedKey {
    public: VerifyingKey,
    id: KeyId,
}

/// Identifier of a key in a signature; minisign shows it as a little-endian number.
type KeyId = [u8; 8];

impl Keys {
    /// Adds the keys in `text`: the content of files that `minisign -G` writes, or only their
    /// second line.
    ///
    /// # Errors
    /// [`SignatureError::Key`] for a line that is neither key nor comment, or a text without a key.
    pub fn add(&mut self, text: &str) -> Result<(), SignatureError> {
        let lines = text.lines().map(str::trim);
        let is_key = |line: &&str| !line.is_empty() && !line.starts_with("untrusted comment:");
        let mut keys = Vec::new();
        for line in lines.filter(is_key) {
            let key = parse_key(line);
            keys.push(key.ok_or_else(|| SignatureError::Key(text_of(line.as_bytes())))?);
        }
        if keys.is_empty() {
            return Err(SignatureError::Key("there is none".to_owned()));
        }
        self.list.append(&mut keys);
        Ok(())
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Starts checking a file against a signature.
    ///
    /// # Errors
    /// [`SignatureError::UnknownKey`] when no trusted key made it, [`SignatureError::Legacy`] for
    /// the old kind.
    pub fn check<'k>(&'k self, signature: &'k Signature) -> Result<Check<'k>, SignatureError> {
        let key = self.list.iter().find(|key| key.id == signature.key_id);
        let key = key.ok_or(SignatureError::UnknownKey)?;
        if signature.algorithm != HASHED {
            return Err(SignatureError::Legacy);
        }
        Ok(Check {
            hasher: Blake2b512::new(),
            key,
            signature,
            oldest: self.oldest,
        })
    }
}

/// The algorithms of signatures, of which the old one is also what keys have.
const HASHED: [u8; 2] = *b"ED";
const LEGACY: [u8; 2] = *b"Ed";

/// Parses the second line of a public key file: algorithm, key ID and key, 42 bytes in all.
fn parse_key(line: &str) -> Option<TrustedKey> {
    let bytes = STANDARD.decode(line).ok()?;
    let (algorithm, rest) = bytes.split_first_chunk()?;
    let (id, public) = rest.split_first_chunk()?;
    let is_known = [LEGACY, HASHED].contains(algorithm);
    Some(TrustedKey {
        public: VerifyingKey::try_from(public).ok().filter(|_| is_known)?,
        id: *id,
    })
}

/// The key that signed a file, and the trusted comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    key_id: KeyId,
    /// The trusted comment, which is signed too.
    comment: String,
}

impl Signer {
    /// Returns a field of the default comment, `timestamp:SECONDS`, `file:NAME` and `hashed` with tabs
    /// between.
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.comment.split('\t');
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Returns when the file was signed, since 1970, if the comment says so.
    fn time(&self) -> Option<Duration> {
        let seconds = self.field("timestamp")?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

impl fmt::Display for Signer {
    /// Writes the key ID as minisign shows it and the day of the signature, or the comment if
    /// `minisign -t` has replaced the default one, which begins with the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:016X}, ", u64::from_le_bytes(self.key_id))?;
        match self.time() {
            Some(time) => Date::at(time).fmt(f),
            None => write!(f, "\"{}\"", text_of(self.comment.as_bytes())),
        }
    }
}

/// A signature, not checked yet.
///
/// ```text
/// untrusted comment: …
/// base64(algorithm, key ID, signature of the file)
/// trusted comment: …
/// base64(signature of the one above and the trusted comment)
/// ```
pub struct Signature {
    algorithm: [u8; 2],
    key_id: KeyId,
    of_file: ed25519_dalek::Signature,
    comment: String,
    of_comment: ed25519_dalek::Signature,
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        Self::decode(text.as_bytes())
    }
}

impl Signature {
    /// Decodes a signature; other kinds than that of minisign may be binary.
    ///
    /// # Errors
    /// [`SignatureError::OtherKind`] for a signature of another program, [`SignatureError::Malformed`] for
    /// the rest.
    pub fn decode(bytes: &[u8]) -> Result<Self, SignatureError> {
        let text = str::from_utf8(bytes).unwrap_or_default();
        Self::of_minisign(text).ok_or_else(|| {
            other_kind(bytes).map_or(SignatureError::Malformed, SignatureError::OtherKind)
        })
    }

    fn of_minisign(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let bytes = STANDARD.decode(lines.next()?).ok()?;
        let (algorithm, rest) = bytes.split_first_chunk()?;
        let (key_id, of_file) = rest.split_first_chunk()?;
        let comment = lines.next()?.strip_prefix("trusted comment: ")?;
        let of_comment = STANDARD.decode(lines.next()?).ok()?;
        [LEGACY, HASHED].contains(algorithm).then_some(Self {
            algorithm: *algorithm,
            key_id: *key_id,
            of_file: of_file.try_into().ok()?,
            comment: comment.to_owned(),
            of_comment: of_comment.as_slice().try_into().ok()?,
        })
    }
}

/// The OID of signed data (RFC 5652 §5.1) in DER.
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

/// Returns which other program made this signature, where that is known.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    const ARMOURED: [(&[u8], &str); 4] = [
        (b"-----BEGIN PGP ", PGP),
        (b"-----BEGIN PKCS7", CMS),
        (b"-----BEGIN CMS", CMS),
        (b"-----BEGIN SSH SIGNATURE", "one of ssh-keygen"),
    ];
    const PGP: &str = "an OpenPGP one";
    const CMS: &str = "a CMS one (PKCS #7), as openssl makes for iPXE";
    let mut armoured = ARMOURED.into_iter();
    if let Some((_, kind)) = armoured.find(|(head, _)| bytes.starts_with(head)) {
        return Some(kind);
    }
    match bytes {
        // The OID follows the tag and the length of the sequence, which has 1 to 5 bytes.
        [0x30, rest @ ..] => {
            let mut at = (1..=5).filter_map(|at| rest.get(at..));
            at.any(|rest| rest.starts_with(SIGNED_DATA)).then_some(CMS)
        }
        // A packet with the tag of a signature, in the old or the new format (RFC 9580 §4.2).
        [0x88..=0x8b | 0xc2, ..] => Some(PGP),
        _ => None,
    }
}

/// A file being checked against a signature.
pub struct Check<'k> {
    hasher: Blake2b512,
    key: &'k TrustedKey,
    signature: &'k Signature,
    oldest: Duration,
}

impl Check<'_> {
    /// Adds the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Ends the file, which has this name; returns who signed it.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`] when it is not the file that was signed,
    /// [`SignatureError::OtherFile`] when that had another name, and [`SignatureError::TooOld`].
    pub fn finish(self, name: &str) -> Result<Signer, SignatureError> {
        let Self { key, signature, .. } = self;
        let comment = signature.comment.as_str();
        // First of all: until then the comment may be anybody's.
        let hash = self.hasher.finalize();
        let signed = [&signature.of_file.to_bytes(), comment.as_bytes()].concat();
        for (bytes, signature) in [
            (hash.as_slice(), &signature.of_file),
            (&signed, &signature.of_comment),
        ] {
            let verified = key.public.verify_strict(bytes, signature);
            verified.map_err(|_| SignatureError::Mismatch)?;
        }
        let signer = Signer {
            key_id: key.id,
            comment: comment.to_owned(),
        };
        if let Some(signed) = signer.field("file")
            && signed != name
        {
            return Err(SignatureError::OtherFile(text_of(signed.as_bytes())));
        }
        let time = signer.time();
        if self.oldest > Duration::ZERO && time.is_none_or(|time| time < self.oldest) {
            let age = match time {
                Some(time) => format!("of {}", Date::at(time)),
                None => "without a timestamp".to_owned(),
            };
            return Err(SignatureError::TooOld(age, Date::at(self.oldest)));
        }
        Ok(signer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "untrusted comment: minisign public key EDBC107B6DB4D4FD
RWT91LRtexC87fNKxFfV3/R29qj91MclNhbBK3rFk5Q1jOviuGZC82aP
";
    const OTHER_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    /// Of the seven bytes "content".
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUT91LRtexC87dvCycLcyr2cquymjf1uqgCNmD73P7ES/XaiJYySQEaUTBHMqNt3kMsi/xQX4PLKApy77GSrFiHjgaDM3mGIxQY=
trusted comment: the file f
HUYuvEZ6VUCTieL4sXsBr8RPFQgnhift8Ti6GKAH7/tWtb+dD46qY6BGQsXpqjecU29fXwLgJ+HDrPHbACvTDw==
";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWT91LRtexC87bgmDLPlyVvEaKKfRWSk25EU0EwqdxZCf0u0LY9poVu2wELIoDsow2RphoZo+tOOn3oDD6a2YaHiKigH6eFqRwU=
trusted comment: x
KTlO7nzwxQljSe5JJpiXUNgeM+yvn8F3v17ebuUnDjweiiJVQnq5kSGhe5rZcwvH/lzWDcuGB+haacp0zUa7Cg==
";

    #[test]
    fn what_minisign_signed_is_accepted_and_anything_else_is_not() {
        assert_eq!(
            check(KEY, SIGNATURE, b"content"),
            Ok("key EDBC107B6DB4D4FD, \"the file f\"".to_owned())
        );
        assert_eq!(
            check(KEY, SIGNATURE, b"Content"),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(check(KEY, SIGNATURE, b""), Err(SignatureError::Mismatch));
        let forged = SIGNATURE.replace("the file f", "the file g");
        assert_eq!(
            check(KEY, &forged, b"content"),
            Err(SignatureError::Mismatch)
        );
    }

    /// The crate that minisign's author keeps, as second opinion on each changed octet.
    #[test]
    fn what_another_reader_refuses_is_refused() {
        let theirs = |text: &str| {
            let key = KEY.lines().nth(1).unwrap_or_default();
            let key = minisign_verify::PublicKey::from_base64(key).unwrap();
            let signature = minisign_verify::Signature::decode(text);
            signature.and_then(|signature| key.verify(b"content", &signature, false))
        };
        theirs(SIGNATURE).unwrap();
        let places = (0..SIGNATURE.len()).step_by(3);
        let accepted = places.filter(|place| {
            let mut text = SIGNATURE.to_owned();
            text.replace_range(place..=place, "A");
            let ours = check(KEY, &text, b"content");
            assert_eq!(ours.is_ok(), theirs(&text).is_ok(), "{text}");
            ours.is_ok()
        });
        // Those in the untrusted comment, and what replaces itself.
        assert!((15..30).contains(&accepted.count()));
    }

    #[test]
    fn a_signer_is_shown_with_the_day_of_the_signature() {
        let signer = |comment: &str| Signer {
            key_id: 0x1234_u64.to_le_bytes(),
            comment: comment.to_owned(),
        };
        for (comment, expected) in [
            (
                "timestamp:1795890464\tfile:s1\thashed",
                "key 0000000000001234, 2026-11-28",
            ),
            ("timestamp:0", "key 0000000000001234, 1970-01-01"),
            ("timestamp:", "key 0000000000001234, \"timestamp:\""),
            ("release 7", "key 0000000000001234, \"release 7\""),
        ] {
            assert_eq!(signer(comment).to_string(), expected);
        }
    }

    #[test]
    fn a_key_that_did_not_sign_does_not_help_and_does_not_harm() {
        assert_eq!(
            check(OTHER_KEY, SIGNATURE, b"content"),
            Err(SignatureError::UnknownKey)
        );
        let both = format!("{OTHER_KEY}\n{KEY}");
        assert!(check(&both, SIGNATURE, b"content").is_ok());
        assert_eq!(
            Keys::default().check(&SIGNATURE.parse().unwrap()).err(),
            Some(SignatureError::UnknownKey)
        );
    }

    #[test]
    fn the_old_kind_and_what_is_no_signature_are_told_apart() {
        assert_eq!(check(KEY, LEGACY, b"content"), Err(SignatureError::Legacy));
        for text in ["", "\n\n\n", "<html>", &SIGNATURE[..200], KEY] {
            assert!(text.parse::<Signature>().is_err(), "{text:?}");
        }
        let mut keys = Keys::default();
        for text in ["", "untrusted comment: x\n", "x", "RWQf6LRCGA9i53mlYecO"] {
            assert!(
                matches!(keys.add(text), Err(SignatureError::Key(_))),
                "{text:?}"
            );
        }
        assert!(keys.is_empty());
    }

    #[test]
    fn a_signature_of_another_program_is_called_what_it_is() {
        let der = [b"\x30\x82\x05\x10", SIGNED_DATA, b"\xa0\x82"].concat();
        let short = [b"\x30\x7a", SIGNED_DATA].concat();
        for (bytes, kind) in [
            (der.as_slice(), "CMS"),
            (&short, "CMS"),
            (b"-----BEGIN CMS-----\nMII", "CMS"),
            (b"-----BEGIN PKCS7-----\nMII", "CMS"),
            (b"-----BEGIN PGP SIGNATURE-----\n\niQ", "OpenPGP"),
            (b"\x89\x02\x33\x04\x00", "OpenPGP"),
            (b"\xc2\xc1\x73\x04\x00", "OpenPGP"),
            (b"-----BEGIN SSH SIGNATURE-----\nU1", "ssh-keygen"),
        ] {
            let fault = Signature::decode(bytes).err().unwrap();
            assert!(fault.to_string().contains(kind), "{fault}");
        }
        for bytes in [b"\x30\x82\x05\x10".as_slice(), b"\xff\xfe", b"<html>"] {
            assert_eq!(
                Signature::decode(bytes).err(),
                Some(SignatureError::Malformed)
            );
        }
    }

    const DATED_KEY: &str = "RWQKR1WW2ELeSk1ks3laxYnDbx+NGGaCZruWDrYoMfM6t6Kk+ZshFHT8";
    /// Of "content", before the trusted comment.
    const DATED: &str = "RUQKR1WW2ELeSqoIzBjEwwGbrjN8TrUzWdjT1fPabpmB1KDMep7KM2SVwAKKL1J3NvkT6kDbSHm2FRgQuFa6iSeUTfdIA1nvtAQ=";
    const COMMENTS: [(&str, &str); 3] = [
        (
            "timestamp:1700000000\tfile:f\thashed",
            "dywo1KxNecZ0TpBIVEhvKdkmtjpbAmU8BvBJZ6L1iP6wuUVCyCf9J46PyCDmKRcp0iIuixEEWoNjuf4TFnmoAQ==",
        ),
        (
            "timestamp:1700000000\tfile:g\thashed",
            "IHOb0pt0Nx17ho6FkR/S5C+9FiHnI/Sct/kCKFAOnGAyE23qGj8KzZI8fUJgvuHqwDft0umKO+WtSSqKNKYVCA==",
        ),
        (
            "release 7",
            "fYS364ziUvi+NtVJPWwB2ZQPIXAerVL61w5LMI/yQ189xJvwEUeVdb3dJL6K8MbBXsq/iCt8KroP2Fa7deweCA==",
        ),
    ];

    #[test]
    fn a_signature_counts_for_the_file_that_it_names_and_from_the_day_of_the_policy_on() {
        let checked = |(comment, global): (&str, &str), name: &str, oldest: &str| {
            let mut keys = Keys::default();
            keys.add(DATED_KEY)?;
            keys.oldest = Date::parse(oldest).unwrap_or_default();
            let text =
                format!("untrusted comment: x\n{DATED}\ntrusted comment: {comment}\n{global}\n");
            let signature = text.parse()?;
            let mut check = keys.check(&signature)?;
            check.update(b"content");
            check.finish(name).map(|signer| signer.to_string())
        };
        let [of_f, of_g, free] = COMMENTS;
        let signer = |what: &str| Ok(format!("key 4ADE42D89655470A, {what}"));
        assert_eq!(checked(of_f, "f", ""), signer("2023-11-14"));
        assert_eq!(checked(free, "f", ""), signer("\"release 7\""));
        for (comment, name, other) in [(of_f, "g", "f"), (of_g, "f", "g"), (of_f, "", "f")] {
            let error = SignatureError::OtherFile(other.to_owned());
            assert_eq!(checked(comment, name, ""), Err(error));
        }
        assert_eq!(checked(of_f, "f", "2023-11-14"), signer("2023-11-14"));
        for (comment, age) in [(of_f, "of 2023-11-14"), (free, "without a timestamp")] {
            let error = checked(comment, "f", "2023-11-15").unwrap_err().to_string();
            let expected =
                format!("the signature is {age}, and the policy has oldest-signature 2023-11-15");
            assert_eq!(error, expected);
        }
        // What is not signed is not believed, not even to refuse it.
        let (_, global) = of_g;
        let forged = ("timestamp:1900000000\tfile:f\thashed", global);
        assert_eq!(checked(forged, "f", ""), Err(SignatureError::Mismatch));
    }

    fn check(keys: &str, signature: &str, content: &[u8]) -> Result<String, SignatureError> {
        let mut known = Keys::default();
        known.add(keys)?;
        let signature = signature.parse()?;
        let mut check = known.check(&signature)?;
        let (first, second) = content.split_at(content.len() / 2);
        check.update(first);
        check.update(second);
        check.finish("f").map(|signer| signer.to_string())
    }
}
