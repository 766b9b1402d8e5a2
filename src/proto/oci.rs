//! Artifacts and images in registries: their references, and manifests by the specifications of OCI
//! (image 1.1, distribution 1.1) and of Docker (schema 2).

mod access;
mod layer;

pub use access::{Challenge, credentials_in, repository_of, token_in};
pub use layer::{Layer, Role, Whiteout};

use access::DOCKER_HUB;

use crate::boot::Architecture;
use crate::prelude::*;
use crate::text::json::Json;
use crate::text::url::{Url, UrlError};

/// What a registry is asked for: manifests of both, and lists of them.
pub const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The annotation that has the name of a layer's file.
const TITLE: &str = "org.opencontainers.image.title";

/// A reference: `oci://[USER:PASSWORD@]HOST[:PORT]/NAME[:TAG][@sha256:DIGEST][#/FILE]`, or
/// `oci+http://…` without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The address of what is in the repository, up to `/v2/NAME`, with the credentials.
    base: Url,
    tag: String,
    digest: Option<String>,
    /// The file that is wanted, by its name.
    pub file: Option<String>,
}

impl core::fmt::Display for Reference {
    /// The address of its manifest, without credentials.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.base, self.id())
    }
}

impl Reference {
    /// Reads a reference; none for an address of another kind.
    ///
    /// # Errors
    /// What it lacks.
    pub fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        let (scheme, rest) = match text.split_once("://")? {
            ("oci", rest) => ("https", rest),
            ("oci+http", rest) => ("http", rest),
            _ => return None,
        };
        Some(Self::of(scheme, rest))
    }

    fn of(scheme: &str, rest: &str) -> Result<Self, &'static str> {
        let (rest, file) = match rest.split_once('#') {
            Some((rest, file)) => (
                rest,
                Some(file.strip_prefix('/').ok_or("no #/ before the file")?),
            ),
            None => (rest, None),
        };
        let (host, path) = rest.split_once('/').ok_or("there is no / with a name")?;
        // The name that people know is not that of the registry (containerd's docker.DefaultHost).
        let hub = host
            .strip_suffix("docker.io")
            .filter(|user| user.is_empty() || user.ends_with('@'));
        let host = hub.map_or(host.to_owned(), |user| format!("{user}{DOCKER_HUB}"));
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (
                path,
                Some(checked_digest(digest).ok_or("the digest is no sha256:")?),
            ),
            None => (path, None),
        };
        let (name, tag) = path.split_once(':').unwrap_or((path, "latest"));
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        // Dots in place of a name would lead to another one.
        let is_name = |text: &str| {
            let mut parts = text.split('/');
            text.chars().all(is_part)
                && parts.all(|part| !part.is_empty() && !part.starts_with('.'))
        };
        if !is_name(name) || !is_name(tag) || tag.contains('/') || host.contains('?') {
            return Err("the host, name or tag is none");
        }
        Ok(Self {
            base: format!("{scheme}://{host}/v2/{name}")
                .parse()
                .map_err(|_| "the host is none")?,
            tag: tag.to_owned(),
            digest: digest.map(str::to_owned),
            file: file.map(str::to_owned),
        })
    }

    /// Returns the tag, where nothing pins what it stands for.
    pub fn unpinned(&self) -> Option<&str> {
        self.digest.is_none().then_some(&self.tag)
    }

    fn id(&self) -> String {
        format!("manifests/{}", self.digest.as_ref().unwrap_or(&self.tag))
    }

    /// Returns the address of the manifest, with its digest as the pin.
    ///
    /// # Errors
    /// One that is too long.
    pub fn manifest(&self) -> Result<Url, UrlError> {
        match &self.digest {
            Some(digest) => self.pinned("manifests", digest),
            None => self.at(&self.id()),
        }
    }

    /// Returns the address of a manifest (`manifests`) or layer (`blobs`), pinned by its digest.
    ///
    /// # Errors
    /// As [`Reference::manifest`].
    pub fn pinned(&self, kind: &str, digest: &str) -> Result<Url, UrlError> {
        let digits = digest.trim_start_matches("sha256:");
        self.at(&format!("{kind}/{digest}#sha256={digits}"))
    }

    fn at(&self, path: &str) -> Result<Url, UrlError> {
        self.base.join(&format!("{}/{path}", self.base.path()))
    }
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// A list of manifests, and the digest of the one for this processor.
    Index(String),
    /// The files of an artifact or image.
    Layers(Vec<Layer>),
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8], here: Architecture) -> Result<Self, &'static str> {
        let text = core::str::from_utf8(bytes).ok();
        let json = text
            .and_then(Json::parse)
            .ok_or("the manifest is damaged")?;
        let manifests = json.array("manifests");
        if !manifests.is_empty() {
            let name = match here {
                // The names of Go (GOARCH), as image-index.md wants them.
                Architecture::X86_64 => "amd64",
                Architecture::X86 => "386",
                Architecture::Arm64 => "arm64",
                Architecture::Arm => "arm",
                Architecture::RiscV64 => "riscv64",
                Architecture::Other => "",
            };
            let is_for = |manifest: &&Json| {
                manifest.get("platform").is_some_and(|platform| {
                    platform.text("architecture") == Some(name)
                        && platform.text("os").is_none_or(|os| os == "linux")
                })
            };
            // An artifact may be for all.
            let chosen = manifests.iter().find(is_for);
            let chosen =
                chosen.or_else(|| manifests.iter().find(|one| one.get("platform").is_none()));
            let digest = chosen.and_then(|one| checked_digest(one.text("digest")?));
            return digest
                .map(|digest| Self::Index(digest.to_owned()))
                .ok_or("the index has no manifest for this processor");
        }
        let layers = json.array("layers").iter().map(|layer| {
            Some(Layer {
                digest: checked_digest(layer.text("digest")?)?.to_owned(),
                title: layer
                    .get("annotations")
                    .and_then(|all| all.text(TITLE))
                    .map(str::to_owned),
                kind: layer.text("mediaType").unwrap_or_default().to_owned(),
            })
        });
        let layers: Option<Vec<_>> = layers.collect();
        match layers {
            Some(layers) if !layers.is_empty() => Ok(Self::Layers(layers)),
            Some(_) => Err("the manifest has no layers"),
            None => Err("a layer of the manifest has no SHA-256"),
        }
    }
}

fn checked_digest(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:")?;
    let is_hash = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn references_become_addresses_of_the_distribution_api() {
        let of = |text: &str| Reference::parse(text).unwrap();
        let pinned = format!("oci://h.example/a/b:1@{}#/vmlinuz", digest('7'));
        let reference = of(&pinned).unwrap();
        let manifest = reference.manifest().unwrap();
        let expected = format!("https://h.example/v2/a/b/manifests/{}", digest('7'));
        assert_eq!(manifest.to_string(), expected);
        assert_eq!(manifest.sha256().unwrap().to_string(), "7".repeat(64));
        assert_eq!(
            (reference.unpinned(), reference.file.as_deref()),
            (None, Some("vmlinuz"))
        );
        let reference = of("oci+http://192.0.2.1:5000/debian").unwrap();
        assert_eq!(
            reference.manifest().unwrap().to_string(),
            "http://192.0.2.1:5000/v2/debian/manifests/latest"
        );
        assert_eq!(reference.unpinned(), Some("latest"));
        let reference = of("oci://me:s%40cret@docker.io/library/debian:12").unwrap();
        let manifest = reference.manifest().unwrap();
        assert_eq!(manifest.credentials(), Some("me:s@cret"));
        let address = "https://registry-1.docker.io/v2/library/debian/manifests/12";
        assert_eq!(
            [manifest.to_string(), reference.to_string()],
            [address, address]
        );
        assert!(!format!("{reference:?}").contains("cret"), "{reference:?}");
        assert_eq!(Reference::parse("https://h/a"), None);
        for wrong in [
            "oci://h",
            "oci://h/",
            "oci:///a",
            "oci://h?x/a",
            "oci://h/a/../b",
            "oci://h/a//b",
            "oci://h/a:..",
            "oci://h/a:",
            "oci://h:x/a",
            "oci://h/a@sha256:7",
            "oci://h/a b",
            "oci://h/a:b/c",
            "oci://h/a#b",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn manifests_name_files_and_what_they_are_for() {
        let layer = |digit: char, kind: &str, title: &str| {
            format!(
                r#"{{"mediaType":"{kind}","size":7,"digest":"{}","annotations":{{"{TITLE}":"{title}"}}}}"#,
                digest(digit)
            )
        };
        let artifact = format!(
            r#"{{"schemaVersion":2,"config":{{}},"layers":[{}]}}"#,
            [
                layer('1', "application/octet-stream", "vmlinuz-6.1"),
                layer('2', "application/octet-stream", "initrd.img"),
                layer('3', "application/vnd.example.squashfs", "live"),
                layer('4', "application/octet-stream", "debian.efi"),
                layer('5', "application/vnd.oci.image.layer.v1.tar+gzip", ""),
                layer('6', "text/plain", "README"),
            ]
            .join(",")
        );
        let Ok(Manifest::Layers(layers)) =
            Manifest::parse(artifact.as_bytes(), Architecture::X86_64)
        else {
            panic!("it has layers");
        };
        let roles: Vec<_> = layers.iter().map(Layer::role).collect();
        let expected = [
            Role::Kernel,
            Role::Initrd,
            Role::Root,
            Role::Unified,
            Role::Root,
        ]
        .map(Some);
        assert_eq!(roles, [&expected[..], &[None]].concat());
        let one = |digit, name| {
            format!(
                r#"{{"digest":"{}","platform":{{"architecture":"{name}","os":"linux"}}}}"#,
                digest(digit)
            )
        };
        let index = format!(
            r#"{{"manifests":[{},{},{}]}}"#,
            one('a', "arm64"),
            one('c', "amd64").replace("linux", "windows"),
            one('b', "amd64")
        );
        let of = |here| Manifest::parse(index.as_bytes(), here);
        assert_eq!(of(Architecture::X86_64), Ok(Manifest::Index(digest('b'))));
        assert_eq!(of(Architecture::Arm64), Ok(Manifest::Index(digest('a'))));
        of(Architecture::RiscV64).unwrap_err();
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"layers":[{"digest":"sha512:7"}]}"#,
            r#"{"manifests":[{"digest":"7"}]}"#,
        ] {
            Manifest::parse(wrong.as_bytes(), Architecture::X86_64).unwrap_err();
        }
    }
}
