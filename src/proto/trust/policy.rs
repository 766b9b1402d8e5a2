//! The trust policy of a machine, a file in its initramfs with a keyword and a value in each line.
//!
//! ```text
//! # The key of the people who may say what starts here.
//! key RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
//! require-signature
//! oldest-signature 2026-11-01
//! allow-scheme https
//! allow-host boot.example.com
//! pin-host boot.example.com sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
//! clock machine
//! ```
//!
//! An unknown keyword ends the boot, since a policy must not be followed in part.

use core::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::prelude::*;
use crate::text::safe::Quoted;
use crate::text::url::{Scheme, Sha256, Url};
use crate::time::Date;

/// The rules of a machine; the default allows everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Trusted public keys, as minisign writes them.
    pub keys: Vec<String>,
    /// Whether every file must be signed with one of the keys.
    pub must_be_signed: bool,
    /// Signatures from before do not count; since 1970.
    pub oldest_signature: Duration,
    /// Hosts, in lower case, and the public keys that their certificates must have.
    pub pins: Vec<HostPin>,
    /// Whether the time servers of a lease are not asked, whatever the machine's clock says.
    pub by_own_clock: bool,
    /// How far time servers may move the time forwards; the default is [`CLOCK_AHEAD`].
    pub clock_ahead: Option<Duration>,
    /// Allowed URL schemes; all when empty.
    pub schemes: Vec<Scheme>,
    /// Allowed hosts; all when empty.
    pub hosts: Vec<String>,
}

/// How far time servers may move the time forwards, from the later of the machine's clock and the
/// build of this program, unless a policy says less: ten years, in which an initramfs is replaced.
pub const CLOCK_AHEAD: Duration = Duration::from_secs(3_650 * DAY);
const DAY: u64 = 86_400;

/// A host and the hash of its public key, a SubjectPublicKeyInfo in DER, as curl's `--pinnedpubkey`
/// has it. One host may have several keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPin {
    /// The host, in lower case.
    pub host: String,
    /// The hash of its key.
    pub key: Sha256,
}

impl HostPin {
    /// Returns whether it is about this host.
    pub fn is_of(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }
}

/// Returns the hash of a key as a policy has it.
pub fn key_hash_text(key: &Sha256) -> String {
    format!("{KEY_HASH}{}", STANDARD.encode(key.0))
}

const KEY_HASH: &str = "sha256//";

/// Reads hashes as curl has them: `sha256//BASE64`, with semicolons between several.
fn key_hashes(text: &str) -> Option<Vec<Sha256>> {
    let hash = |pin: &str| {
        let encoded = pin.strip_prefix(KEY_HASH)?;
        let bytes = STANDARD.decode(encoded).ok()?;
        Some(Sha256(bytes.try_into().ok()?))
    };
    text.split(';').map(hash).collect()
}

/// A line of a policy that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}: {what}", Quoted(word))]
pub struct PolicyError {
    /// The line, counted from 1.
    pub line: usize,
    /// The wrong word.
    pub word: String,
    /// What is wrong.
    pub what: &'static str,
}

impl Policy {
    /// Adds the rules of a file.
    ///
    /// # Errors
    /// The first line that is not valid.
    pub fn read(&mut self, text: &str) -> Result<(), PolicyError> {
        for (line, number) in text.lines().zip(1..) {
            let mut words = line.split_whitespace();
            let Some(word) = words.next().filter(|word| !word.starts_with('#')) else {
                continue;
            };
            let fault = |word: &str, what| PolicyError {
                line: number,
                word: word.to_owned(),
                what,
            };
            let value = words.next();
            let keys = words.next().filter(|_| word == "pin-host");
            if let Some(more) = line.split_whitespace().nth(2 + usize::from(keys.is_some())) {
                return Err(fault(more, "unexpected word"));
            }
            match (word, value) {
                ("require-signature", None) => self.must_be_signed = true,
                ("require-signature", Some(value)) => {
                    return Err(fault(value, "unexpected word"));
                }
                (
                    "key" | "oldest-signature" | "allow-scheme" | "allow-host" | "clock"
                    | "clock-ahead" | "pin-host",
                    None,
                ) => {
                    return Err(fault(word, "the value is missing"));
                }
                ("key", Some(key)) => self.keys.push(key.to_owned()),
                ("oldest-signature", Some(day)) => {
                    let begin = Date::parse(day);
                    let begin = begin.ok_or_else(|| fault(day, "a day, as YYYY-MM-DD"))?;
                    // The latest counts: a policy is only ever tightened.
                    self.oldest_signature = self.oldest_signature.max(begin);
                }
                ("pin-host", Some(host)) => {
                    let wrong = "sha256//, and a SHA-256 in base64";
                    let keys = keys.ok_or_else(|| fault(host, "its key is missing"))?;
                    let hashes = key_hashes(keys).ok_or_else(|| fault(keys, wrong))?;
                    self.pins.extend(hashes.into_iter().map(|key| HostPin {
                        host: host.to_ascii_lowercase(),
                        key,
                    }));
                }
                ("clock", Some("machine")) => self.by_own_clock = true,
                ("clock", Some("lease")) => {}
                ("clock", Some(other)) => return Err(fault(other, "machine or lease")),
                ("clock-ahead", Some(days)) => {
                    let number = days.parse().ok().filter(|days| *days <= 36_500);
                    let number: u64 = number.ok_or_else(|| fault(days, "0 to 36500 days"))?;
                    let ahead = Duration::from_secs(number * DAY);
                    self.clock_ahead = Some(self.clock_ahead.map_or(ahead, |old| old.min(ahead)));
                }
                ("allow-host", Some(host)) => self.hosts.push(host.to_ascii_lowercase()),
                ("allow-scheme", Some(name)) => {
                    let all = [Scheme::Tftp, Scheme::Http, Scheme::Https];
                    let scheme = all.into_iter().find(|scheme| scheme.name() == name);
                    let scheme =
                        scheme.ok_or_else(|| fault(name, "one of tftp, http and https"))?;
                    self.schemes.push(scheme);
                }
                _ => return Err(fault(word, "unknown keyword")),
            }
        }
        Ok(())
    }

    /// Returns why this URL is not allowed; none when it is.
    pub fn refusal(&self, url: &Url) -> Option<String> {
        let scheme = url.scheme();
        if !self.schemes.is_empty() && !self.schemes.contains(&scheme) {
            let name = scheme.name();
            return Some(format!("the policy does not allow {name}"));
        }
        let host = url.host();
        // Only TLS proves that a server has a key.
        if scheme != Scheme::Https && self.pins.iter().any(|pin| pin.is_of(host)) {
            return Some(format!(
                "the policy pins a key of {host}, so it allows https alone"
            ));
        }
        // RFC 4343: case makes no difference in names of hosts.
        let is_named = || (self.hosts.iter()).any(|name| name.eq_ignore_ascii_case(host));
        (!self.hosts.is_empty() && !is_named())
            .then(|| format!("the policy does not allow the host {host}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_whose_files_may_come_from_where() {
        let mut policy = Policy::default();
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert_eq!(policy.refusal(&url("tftp://192.0.2.1/k")), None);
        policy
            .read("# ours\n\nkey RWQ1\r\n  key RWQ2\nrequire-signature\nallow-scheme https\nallow-scheme tftp\nallow-host Boot.example.com\nallow-host 192.0.2.1\n")
            .unwrap();
        assert_eq!(policy.keys, ["RWQ1", "RWQ2"]);
        assert!(policy.must_be_signed);
        policy
            .read("oldest-signature 2026-11-28\noldest-signature 2026-01-01")
            .unwrap();
        assert_eq!(policy.oldest_signature.as_secs(), 1_795_824_000);
        policy
            .read("clock lease\nclock-ahead 30\nclock-ahead 60")
            .unwrap();
        assert_eq!(policy.clock_ahead, Some(30 * Duration::from_secs(DAY)));
        assert!(!policy.by_own_clock);
        policy.read("clock machine\nclock lease").unwrap();
        assert!(policy.by_own_clock);
        for allowed in ["https://boot.EXAMPLE.com:8443/k", "tftp://192.0.2.1/k"] {
            assert_eq!(policy.refusal(&url(allowed)), None, "{allowed}");
        }
        for refused in [
            "http://boot.example.com/k",
            "https://boot.example.com.evil.test/k",
            "https://user@evil.test/boot.example.com",
            "tftp://192.0.2.10/k",
        ] {
            assert!(policy.refusal(&url(refused)).is_some(), "{refused}");
        }
    }

    #[test]
    fn a_pinned_host_has_one_of_its_keys_or_none() {
        const A: &str = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        const B: &str = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let mut policy = Policy::default();
        let lines = format!("pin-host Boot.example {A};{B}\npin-host 192.0.2.1 {B}\n");
        policy.read(&lines).unwrap();
        let of = |host| policy.pins.iter().filter(|pin| pin.is_of(host)).count();
        assert_eq!(
            [of("boot.EXAMPLE"), of("192.0.2.1"), of("example")],
            [2, 1, 0]
        );
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(policy.pins[0].key.to_string(), empty);
        assert_eq!(key_hash_text(&policy.pins[0].key), A);
        for (url, is_refused) in [
            ("https://boot.example/k", false),
            ("http://boot.example/k", true),
            ("tftp://192.0.2.1/k", true),
            ("http://other.example/k", false),
        ] {
            assert_eq!(
                policy.refusal(&url.parse().unwrap()).is_some(),
                is_refused,
                "{url}"
            );
        }
        for keys in [
            "",
            A.trim_end_matches('='),
            "sha256//AAAA",
            "sha1//AAAA",
            "x",
            &format!("{A};"),
        ] {
            let fault = Policy::default().read(&format!("pin-host h {keys}"));
            assert!(fault.is_err(), "{keys}");
        }
        let fault = Policy::default()
            .read(&format!("pin-host h {A} {B}"))
            .unwrap_err();
        assert_eq!((&*fault.word, fault.what), (B, "unexpected word"));
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        for (text, line, word) in [
            ("require-signatures", 1, "require-signatures"),
            ("\nkey", 2, "key"),
            ("key a b", 1, "b"),
            ("require-signature no", 1, "no"),
            ("allow-scheme ftp", 1, "ftp"),
            ("oldest-signature", 1, "oldest-signature"),
            ("oldest-signature 2026-02-30", 1, "2026-02-30"),
            ("oldest-signature yesterday", 1, "yesterday"),
            ("clock", 1, "clock"),
            ("clock mine", 1, "mine"),
            ("clock-ahead -1", 1, "-1"),
            ("clock-ahead 36501", 1, "36501"),
        ] {
            let fault = Policy::default().read(text).unwrap_err();
            assert_eq!((fault.line, fault.word.as_str()), (line, word), "{text}");
        }
    }
}
