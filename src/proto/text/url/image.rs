//! Files inside of an image: `http://h/live.iso#/casper/vmlinuz` is `/casper/vmlinuz` in the file
//! system of the image `http://h/live.iso`, and `http://h/live.iso#/casper/` the directory it is in.
//!
//! The fragment of a URL never reaches the server (RFC 3986 §3.5), and a pin does not begin with `/`.
//! A pin may follow either: `http://h/live.iso#sha256=…` is that of the image,
//! `http://h/live.iso#/casper/vmlinuz#sha256=…` that of the file in it.

use super::parts::{Sha256, encode_where, parse_pin, percent_decoded_text, remove_dot_segments};
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
    pub(super) fn join(&self, reference: &str) -> Result<Self, &'static str> {
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
