//! Files of artifacts and layers of images: what they are for, and what a layer hides of those below it.

use crate::prelude::*;

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
    pub(super) kind: String,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
