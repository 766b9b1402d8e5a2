//! Access to a registry: what it asks for (RFC 9110 §11.6.1; distribution's "token authentication"), the
//! credentials for it in a file of Docker's or Podman's format, and the token that a server gives.
//!
//! A token is only asked for reading the repository of the address, whatever a challenge asks for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::prelude::*;
use crate::text::json::Json;
use crate::text::url::{Scheme, Url};

/// The host of docker.io's registry.
pub(super) const DOCKER_HUB: &str = "registry-1.docker.io";

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Credentials (RFC 7617).
    Basic,
    /// A token that the server at this address gives.
    Token(Url),
}

impl Challenge {
    /// Reads a challenge about `url`; none for one of another scheme, or that cannot be met.
    pub fn parse(text: &str, url: &Url) -> Option<Self> {
        let (scheme, parameters) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        let value = |name: &str| {
            let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
            rest.split('"').next()
        };
        // Of a query, and blanks are encoded later.
        let is_plain = |c: char| !c.is_control() && !"&#%+=".contains(c);
        let service = value("service").unwrap_or_default();
        let is_meant = scheme.eq_ignore_ascii_case("bearer") && service.chars().all(is_plain);
        is_meant.then_some(())?;
        // Behind a fragment there is no query.
        let realm = value("realm").filter(|realm| !realm.contains('#'))?;
        let realm: Url = realm.parse().ok()?;
        let separator = if realm.query().is_some() { '&' } else { '?' };
        let repository = repository_of(url)?;
        let asked =
            format!("{realm}{separator}service={service}&scope=repository:{repository}:pull");
        asked.parse().ok().map(Self::Token)
    }

    /// Returns whether the one who asks may name who gets the credentials for `url`: with TLS on both
    /// ways, since nobody in between has said so, or where it is the same host and no worse a way.
    pub fn may_have_credentials(&self, url: &Url) -> bool {
        match self {
            Self::Basic => true,
            Self::Token(at) => {
                let is_same = at.host().eq_ignore_ascii_case(url.host());
                let has_tls = at.scheme() == Scheme::Https;
                match url.scheme() {
                    Scheme::Https => has_tls,
                    Scheme::Http => is_same,
                    Scheme::Tftp => false,
                }
            }
        }
    }
}

/// Returns the name of the repository that a manifest or layer at this address is in.
pub fn repository_of(url: &Url) -> Option<&str> {
    let path = url.path().strip_prefix("/v2/")?;
    let (path, _) = path.rsplit_once('/')?;
    let name = path.strip_suffix("/manifests");
    name.or_else(|| path.strip_suffix("/blobs"))
}

/// Returns the credentials for what is at `url`, `USER:PASSWORD`, in a file as `docker login` and `podman
/// login` write it: those of the longest name that its registry and repository begin by.
pub fn credentials_in(file: &Json, url: &Url) -> Option<String> {
    let Json::Object(entries) = file.get("auths")? else {
        return None;
    };
    let repository = repository_of(url)?;
    let place = format!("{}/{repository}/", url.authority());
    // Docker's name for it (registry.IndexServer of moby).
    let is_hub = |name: &str| url.host() == DOCKER_HUB && name == "index.docker.io/v1";
    let found = entries.iter().filter_map(|(name, entry)| {
        let name = name
            .split_once("://")
            .map_or(name.as_str(), |(_, rest)| rest);
        let name = name.trim_end_matches('/');
        let rest = place.strip_prefix(name);
        let is_of = is_hub(name) || rest.is_some_and(|rest| rest.starts_with('/'));
        let encoded = entry.text("auth").filter(|_| is_of)?;
        let decoded = STANDARD.decode(encoded).ok()?;
        Some((name.len(), String::from_utf8(decoded).ok()?))
    });
    found.max_by_key(|(len, _)| *len).map(|(_, text)| text)
}

/// Returns the token in the answer of a server that gives them.
pub fn token_in(bytes: &[u8]) -> Option<String> {
    let json = Json::parse(core::str::from_utf8(bytes).ok()?)?;
    let token = json.text("token").or_else(|| json.text("access_token"));
    token.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_asked_for_where_the_challenge_says_and_for_this_repository() {
        let manifest = url("https://h.example/v2/a/b/manifests/1");
        for (challenge, expected) in [
            (
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:x:push""#,
                "https://auth.example/token?service=registry.example&scope=repository:a/b:pull",
            ),
            (
                r#"bearer service="Docker registry",realm="https://h.example/v2/auth?x=y""#,
                "https://h.example/v2/auth?x=y&service=Docker%20registry&scope=repository:a/b:pull",
            ),
            (
                r#"Bearer realm="https://h.example/token""#,
                "https://h.example/token?service=&scope=repository:a/b:pull",
            ),
        ] {
            let Some(Challenge::Token(at)) = Challenge::parse(challenge, &manifest) else {
                panic!("{challenge}");
            };
            assert_eq!(at.to_string(), expected, "{challenge}");
        }
        let basic = Challenge::parse("Basic realm=\"x\"", &manifest);
        assert_eq!(basic, Some(Challenge::Basic));
        for none in [
            "",
            "Bearer",
            "Negotiate abc",
            "Bearer realm=\"x\"",
            "Bearer realm=\"https://a/#/b\"",
            "Bearer realm=\"https://a/\",service=\"a&scope=b\"",
        ] {
            assert_eq!(Challenge::parse(none, &manifest), None, "{none}");
        }
        let challenge = "Bearer realm=\"https://a/\"";
        assert_eq!(Challenge::parse(challenge, &url("https://h/v2/auth")), None);
    }

    #[test]
    fn only_who_is_known_by_tls_or_is_the_registry_may_have_its_credentials() {
        for (registry, realm, may) in [
            ("https://h", "https://h/token", true),
            ("https://h", "https://auth.example/token", true),
            ("https://h", "http://h/token", false),
            ("https://h", "http://auth.example/token", false),
            ("http://h:5000", "http://H:5001/token", true),
            ("http://h:5000", "https://h/token", true),
            ("http://h:5000", "http://auth.example/token", false),
            ("http://h:5000", "https://auth.example/token", false),
        ] {
            let manifest = url(&format!("{registry}/v2/a/manifests/1"));
            let challenge = Challenge::parse(&format!("Bearer realm=\"{realm}\""), &manifest);
            let challenge = challenge.unwrap();
            let found = challenge.may_have_credentials(&manifest);
            assert_eq!(found, may, "{registry} {realm}");
        }
    }

    #[test]
    fn credentials_are_those_of_the_longest_name_that_fits() {
        let entries = [
            ("h.example", "any:1"),
            ("h.example/team", "team:2"),
            ("h.example/team/app", "app:3"),
            ("https://other.example:5000/", "other:4"),
            ("https://index.docker.io/v1/", "hub:5"),
        ];
        let entries = entries.map(|(name, credentials)| {
            format!(
                r#""{name}": {{"auth": "{}"}}"#,
                STANDARD.encode(credentials)
            )
        });
        let text = format!(r#"{{"auths": {{{}, "x": {{}}}}}}"#, entries.join(","));
        let file = Json::parse(&text).unwrap();
        for (address, expected) in [
            ("https://h.example/v2/a/manifests/1", Some("any:1")),
            ("https://h.example/v2/team/x/blobs/sha256:7", Some("team:2")),
            ("https://h.example/v2/team/app/manifests/1", Some("app:3")),
            (
                "https://h.example/v2/team/apple/manifests/1",
                Some("team:2"),
            ),
            (
                "http://other.example:5000/v2/a/manifests/1",
                Some("other:4"),
            ),
            (
                "https://registry-1.docker.io/v2/a/b/manifests/1",
                Some("hub:5"),
            ),
            ("https://h.example:444/v2/a/manifests/1", None),
            ("https://h.example.net/v2/a/manifests/1", None),
            ("https://x/v2/a/manifests/1", None),
            ("https://h.example/other", None),
        ] {
            let found = credentials_in(&file, &url(address));
            assert_eq!(found.as_deref(), expected, "{address}");
        }
        for none in [
            "{}",
            r#"{"auths": []}"#,
            r#"{"auths": {"h": {"auth": "*"}}}"#,
        ] {
            let file = Json::parse(none).unwrap();
            let found = credentials_in(&file, &url("https://h/v2/a/manifests/1"));
            assert_eq!(found, None, "{none}");
        }
    }

    #[test]
    fn a_token_has_either_name() {
        let token = token_in(br#"{"access_token":"abc"}"#);
        assert_eq!(token.as_deref(), Some("abc"));
        assert_eq!(
            token_in(br#"{"token":"x","access_token":"y"}"#).as_deref(),
            Some("x")
        );
        assert_eq!(token_in(br#"{"expires_in":300}"#), None);
    }
}
