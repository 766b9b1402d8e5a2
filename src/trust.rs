//! The trust settings of this machine: the policy in its initramfs, the keys built into the
//! program, and the user's settings. Each can only add keys and requirements.

#![forbid(unsafe_code)]

use std::io::ErrorKind;

use crate::config::TrustConfig;
use crate::error::{Error, Reason};
use crate::sys::file;
use wireboot_proto::trust::policy::Policy;
use wireboot_proto::trust::signature::Keys;

/// The default policy file.
const POLICY: &str = "/etc/wireboot/policy";
/// Keys separated by blanks, from the environment at build time.
const BUILT_IN_KEYS: Option<&str> = option_env!("WIREBOOT_KEYS");

/// The keys and policy of this machine.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The trusted public keys.
    pub keys: Keys,
    /// Required signatures, and the allowed sources of files.
    pub policy: Policy,
}

impl Trust {
    /// Reads the policy, and adds the keys and requirements of all sources.
    ///
    /// # Errors
    /// [`Reason::Usage`] for a policy or key that cannot be read, and when signatures are required
    /// without a key.
    pub fn of(config: &TrustConfig) -> Result<Self, Error> {
        let mut policy = Policy::default();
        let path = config.policy.as_deref().unwrap_or(POLICY);
        match file::read_text(path.as_ref()) {
            Ok(text) => policy
                .read(&text)
                .map_err(|fault| Box::new(Reason::Usage(format!("{path}: {fault}"))))?,
            // A missing policy file must not allow everything.
            Err(error) if error.kind() == ErrorKind::NotFound && config.policy.is_none() => {}
            Err(error) => {
                return Err(Box::new(Reason::Usage(format!(
                    "cannot read the policy {path}: {error}"
                ))));
            }
        }
        policy.must_be_signed |= config.must_be_signed;
        let mut keys = Keys::default();
        let mut add = |name: &str, text: &str| {
            let added = keys.add(text);
            added.map_err(|fault| Box::new(Reason::Usage(format!("{name}: {fault}"))))
        };
        for key in &policy.keys {
            add(path, key)?;
        }
        for key in BUILT_IN_KEYS.unwrap_or_default().split_whitespace() {
            add("a built-in key", key)?;
        }
        for value in &config.keys {
            add_key(&mut keys, value)?;
        }
        keys.oldest = policy.oldest_signature;
        if policy.must_be_signed && keys.is_empty() {
            let what = "signatures are required, but no key is configured";
            return Err(Box::new(Reason::Usage(what.to_owned())));
        }
        Ok(Self { keys, policy })
    }

    /// Returns the keys one of which must have signed every file; none when signatures are not
    /// required.
    pub fn required_keys(&self) -> Keys {
        if self.policy.must_be_signed {
            self.keys.clone()
        } else {
            Keys::default()
        }
    }
}

/// Adds a key, given as a file name or as the key itself.
///
/// # Errors
/// [`Reason::Usage`] for a value that is neither a readable file nor a key.
pub fn add_key(keys: &mut Keys, value: &str) -> Result<(), Error> {
    // A minisign key is 56 characters of base64, which is no likely file name.
    let (added, unread) = match file::read_text(value.as_ref()) {
        Ok(text) => (keys.add(&text), None),
        Err(error) => (keys.add(value), Some(error)),
    };
    added.map_err(|fault| {
        Box::new(Reason::Usage(match unread {
            Some(error) => {
                format!("cannot read the key {value}: {error}, and it is not a key")
            }
            None => format!("{value}: {fault}"),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn demands_and_keys_add_up_and_are_checked_before_anything_is_fetched() {
        let with = |keys: &[&str], must_be_signed| {
            Trust::of(&TrustConfig {
                keys: keys.iter().map(|&key| key.to_owned()).collect(),
                must_be_signed,
                ..TrustConfig::default()
            })
        };
        assert!(with(&[KEY], false).unwrap().required_keys().is_empty());
        assert!(!with(&[KEY], true).unwrap().required_keys().is_empty());
        for error in [with(&[], true), with(&["nonsense"], false)] {
            assert_eq!(error.unwrap_err().exit_code(), 1);
        }
        let named = Trust::of(&TrustConfig {
            policy: Some("/nonexistent/policy".to_owned()),
            ..TrustConfig::default()
        });
        assert!(
            named
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/policy")
        );
    }

    #[test]
    fn a_policy_or_key_that_is_no_regular_file_is_an_error_and_is_not_waited_for() {
        use std::sync::mpsc::channel;
        use std::time::Duration;

        let path = std::env::temp_dir().join(format!("wireboot-{:016x}", crate::sys::seed()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let name = path.to_str().unwrap().to_owned();
        let (done, waits) = channel();
        std::thread::spawn(move || {
            for place in [name, "/dev/zero".to_owned()] {
                let of_policy = TrustConfig {
                    policy: Some(place.clone()),
                    ..TrustConfig::default()
                };
                let of_key = TrustConfig {
                    keys: vec![place],
                    ..TrustConfig::default()
                };
                for config in [of_policy, of_key] {
                    let error = Trust::of(&config).unwrap_err().to_string();
                    done.send(error.contains("it is no regular file")).unwrap();
                }
            }
        });
        let told: Vec<_> = (0..4)
            .map(|_| waits.recv_timeout(Duration::from_secs(10)))
            .collect();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(told, [Ok(true); 4]);
    }
}
