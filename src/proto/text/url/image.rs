//! Files inside of an image: `http://h/live.iso#/casper/vmlinuz` is `/casper/vmlinuz` in the file
//! system of the image `http://h/live.iso`, and `http://h/live.iso#/casper/` the directory it is in.
//!
//! The fragment of a URL never reaches the server (RFC 3986 §3.5), and a pin does not begin with `/`.
//! A pin may follow either: `http://h/live.iso#sha256=…` is that of the image,
//! `http://h/live.iso#/casper/vmlinuz#sha256=…` that of the file in it.

use super::parts::{
    Sha256, UrlError, check_text, encode_where, parse_pin, percent_decoded_text,
    remove_dot_segments,
};
use super::{Url, scheme_of};
use crate::prelude::*;

/// A file inside of an image.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Inside {
    /// The path from its first `/`, decoded.
    pub(super) path: String,
    pub(super) sha256: Option<Sha256>,
}

impl Inside {
    /// Reads the fragment of a URL that begins with `/`.
    pub(super) fn parse(fragment: &str) -> Result<Self, &'static str> {
        let (path, pin) = split_pin(fragment);
        let path = percent_decoded_text(path).ok_or("the file name is not UTF-8")?;
        if path.contains(|c: char| c.is_control()) {
            return Err("a control character in the file name");
        }
        Ok(Self {
            path: remove_dot_segments(&path),
            sha256: parse_pin(pin)?,
        })
    }

    /// Returns the file at `reference`, relative to this one; it is not decoded, except for a pin at
    /// its end.
    fn join(&self, reference: &str) -> Result<Self, &'static str> {
        let (name, pin) = split_pin(reference);
        let path = if name.starts_with('/') {
            remove_dot_segments(name)
        } else {
            let end = self.path.rfind('/').map_or(0, |at| at + 1);
            let directory = self.path.get(..end).unwrap_or("/");
            remove_dot_segments(&format!("{directory}{name}"))
        };
        Ok(Self {
            path,
            sha256: parse_pin(pin)?,
        })
    }

    /// Returns the path as a fragment has it.
    pub(super) fn fragment(&self) -> String {
        encode_where(&self.path, |c| {
            matches!(c, '#' | '%' | ' ') || !c.is_ascii()
        })
    }
}

/// Splits off a pin, without its `#`; empty when there is none.
fn split_pin(text: &str) -> (&str, &str) {
    let at = text.rfind("#sha256=");
    let parts = at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    parts.unwrap_or((text, ""))
}

impl Url {
    /// Returns whether the name is that of an ISO image.
    pub fn names_iso(&self) -> bool {
        let name = self.path.as_bytes();
        let end = name.len().saturating_sub(4);
        let is_iso = |end: &[u8]| end.eq_ignore_ascii_case(b".iso");
        self.inside.is_none() && name.get(end..).is_some_and(is_iso)
    }

    /// Returns the image that the file is in; none for a file of its own.
    pub fn image(&self) -> Option<Self> {
        self.inside.as_ref()?;
        Some(Self {
            inside: None,
            ..self.clone()
        })
    }

    /// Returns the path inside of the image, decoded, from its first `/`; it ends in `/` for a
    /// directory.
    pub fn path_in_image(&self) -> Option<&str> {
        self.inside.as_ref().map(|inside| inside.path.as_str())
    }

    /// Returns the URL of the file `path` of this image, or of the image that this file is in; a path
    /// is relative to this file, and not decoded, except for a pin at its end.
    ///
    /// # Errors
    /// A control character or a bad pin.
    pub fn in_image(&self, path: &str) -> Result<Self, UrlError> {
        check_text(path)?;
        let fault = |what| UrlError::new(path, 1, what);
        let root = || Inside {
            path: "/".to_owned(),
            sha256: None,
        };
        let from = self.inside.as_deref().cloned().unwrap_or_else(root);
        Ok(Self {
            inside: Some(Box::new(from.join(path).map_err(fault)?)),
            ..self.clone()
        })
    }

    /// Resolves a reference of a file inside of an image: a URL, or a path in the image.
    pub(super) fn join_in_image(&self, reference: &str) -> Result<Self, UrlError> {
        if scheme_of(reference).is_some() {
            return reference.parse();
        }
        // A fragment alone is another file of the same image.
        let path = match reference.strip_prefix('#') {
            Some(path) if path.starts_with('/') => path,
            _ => reference,
        };
        if path.is_empty() {
            return Ok(self.clone());
        }
        self.in_image(path)
    }
}
