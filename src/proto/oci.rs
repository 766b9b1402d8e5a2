//! Artifacts and images in registries: their references, manifests and layers by the specifications of OCI
//! (image 1.1, distribution 1.1) and of Docker (schema 2), and access to them: what a registry asks for (RFC
//! 9110 §11.6.1; distribution's "token authentication"), the credentials for it in a file of Docker's or
//! Podman's format, and the token that a server gives.
//!
//! A token is only asked for reading the repository of the address, whatever a challenge asks for.

use crate::prelude::*;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::boot::Architecture;
use crate::text::json::Json;
use crate::text::url::{Scheme, Url, UrlError};

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

/// What a file of an artifact is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A kernel.
    Kernel,
    /// An initrd.
    Initrd,
    /// A unified kernel image.
    Unified,
    /// A root file system: an image of it, or an archive.
    Root,
}

/// Words in the names or types of files, by which their roles are known; the first that fits counts.
const ROLES: [(Role, &[&str]); 4] = [
    (Role::Initrd, &["initrd", "initramfs"]),
    (Role::Unified, &["uki", ".efi"]),
    (
        Role::Root,
        &[
            "squashfs", "erofs", "sqfs", "rootfs", ".raw", ".img", ".ext4", ".tar", ".tgz",
            ".cpio", "disk",
        ],
    ),
    (Role::Kernel, &["vmlinu", "kernel", "bzimage", "linux"]),
];

/// A file of an artifact, or a layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its digest, `sha256:` and hexadecimal digits.
    pub digest: String,
    /// Its name, if it has one.
    pub title: Option<String>,
    kind: String,
}

impl Layer {
    /// Returns what it is for, by its name or else by its media type.
    pub fn role(&self) -> Option<Role> {
        let of = |text: &str| {
            let text = text.to_ascii_lowercase();
            let fits = |words: &&[&str]| words.iter().any(|word| text.contains(word));
            let found = ROLES.iter().find(|(_, words)| fits(words));
            found.map(|(role, _)| *role)
        };
        let by_title = self.title.as_deref().and_then(of);
        // Of a container's image, "application/vnd.oci.image.layer.v1.tar+gzip".
        by_title.or_else(|| of(self.kind.rsplit("vnd.").next().unwrap_or_default()))
    }
    /// Returns whether it is a set of changes to the layers before it, as containers have them; a file
    /// of an artifact may have the same media type, but has a name.
    pub fn is_of_image(&self) -> bool {
        let has = |words: &str| self.kind.contains(words);
        self.title.is_none() && (has("image.layer.") || has("image.rootfs."))
    }
}

/// What a member of a layer hides of the layers below (image 1.1, layer.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteout<'a> {
    /// What has this name in this folder, with all that is below it.
    Name(&'a [u8], &'a [u8]),
    /// All that is in this folder.
    Children(&'a [u8]),
    /// Nothing: a file that AUFS has left.
    Nothing,
}

// Beginnings of names, and the name that hides all of a folder.
const WHITEOUT: &[u8] = b".wh.";
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

impl<'a> Whiteout<'a> {
    /// Returns what the member with this path hides; none for one that is a file of the layer.
    pub fn of(path: &'a [u8]) -> Option<Self> {
        let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (path.get(..at)?, path.get(at + 1..)?),
            None => (&b""[..], path),
        };
        let is_reserved = |part: &[u8]| part.starts_with(RESERVED);
        if name == OPAQUE {
            return Some(Self::Children(folder));
        }
        if path.split(|byte| *byte == b'/').any(is_reserved) {
            return Some(Self::Nothing);
        }
        let name = name.strip_prefix(WHITEOUT)?;
        // They would lead to the folder itself, or out of it.
        Some(match name {
            b"" | b"." | b".." => Self::Nothing,
            name => Self::Name(folder, name),
        })
    }
}

/// The host of docker.io's registry.
const DOCKER_HUB: &str = "registry-1.docker.io";

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

    #[test]
    fn members_of_a_layer_hide_what_is_below() {
        for (path, expected) in [
            ("etc/passwd", None),
            ("etc/wh.passwd", None),
            ("etc/.whole", None),
            ("etc/.wh.passwd", Some(Whiteout::Name(b"etc", b"passwd"))),
            (".wh.usr", Some(Whiteout::Name(b"", b"usr"))),
            ("a/b/.wh..wh..opq", Some(Whiteout::Children(b"a/b"))),
            (".wh..wh..opq", Some(Whiteout::Children(b""))),
            ("a/.wh..hidden", Some(Whiteout::Name(b"a", b".hidden"))),
            (".wh..wh.plnk/7.8", Some(Whiteout::Nothing)),
            (".wh..wh.aufs", Some(Whiteout::Nothing)),
            ("a/.wh.", Some(Whiteout::Nothing)),
            ("a/.wh..", Some(Whiteout::Nothing)),
            ("a/.wh...", Some(Whiteout::Nothing)),
        ] {
            assert_eq!(Whiteout::of(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn layers_of_images_are_told_from_files_by_their_type_and_name() {
        let of = |kind: &str, title: Option<&str>| Layer {
            digest: String::new(),
            title: title.map(str::to_owned),
            kind: kind.to_owned(),
        };
        for kind in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.stacker.image.layer.squashfs+zstd+verity",
        ] {
            let layer = of(kind, None);
            assert_eq!(
                (layer.is_of_image(), layer.role()),
                (true, Some(Role::Root))
            );
            // What ORAS calls a file whose type is not said.
            assert!(!of(kind, Some("a.tar")).is_of_image());
        }
        assert!(!of("application/octet-stream", None).is_of_image());
    }

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
