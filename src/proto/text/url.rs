//! tftp, http and https URLs (RFC 3986, RFC 3617) and their resolution.
//!
//! A [`Url`] is always valid: its host is not empty, its path begins with `/`, and it contains no
//! control character. Credentials are used in the request and never shown. The fragment is not part
//! of the address; `#sha256=` in it pins the content, and `#/` begins the path of a file inside of an
//! image.
//!
//! TFTP has file names, not paths, and the first `/` of a URL only ends the host: `tftp://h/a` asks
//! for `a`, `tftp://h//a` for `/a`. A `?` is part of a file name.

mod fields;
mod parts;

use crate::prelude::*;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

pub(crate) use parts::percent_decoded;
pub use parts::{MAX_LEN, Scheme, Sha256, UrlError, UrlFault, without_credentials};

use parts::{
    Inside, check_host, check_text, decode_path, encode, encode_where, parse_pin,
    percent_decoded_text, remove_dot_segments, split_fragment, split_port, split_query, split_zone,
};

/// The address of a file; shown without credentials and without pin.
// Shared: addresses are copied and handed on in many places, and change in none.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(Arc<UrlParts>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct UrlParts {
    scheme: Scheme,
    credentials: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    query: Option<String>,
    sha256: Option<Sha256>,
    form: Option<Arc<Form>>,
    /// The file meant, where the address is that of an image.
    inside: Option<Box<Inside>>,
}

/// Parts of an HTTP request beside the address, where it is more than a plain GET. Never shown: it may
/// hold a password or token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Form {
    method: String,
    /// Whole lines.
    headers: String,
    body: String,
}

impl Form {
    /// Returns the request with this method, these headers by name and value, and this body, in the form
    /// of `application/x-www-form-urlencoded` unless a header says otherwise.
    ///
    /// # Errors
    /// The method or header that is not valid (RFC 9110 §5.6.2, §5.5).
    pub fn new(method: &str, headers: &[(String, String)], body: String) -> Result<Self, String> {
        if !is_token(method) {
            return Err(method.to_owned());
        }
        let mut form = Self {
            method: method.to_owned(),
            headers: String::new(),
            body,
        };
        for (name, value) in headers {
            form = form.and_header(name, value)?;
        }
        Ok(form)
    }

    /// Returns a GET without headers.
    pub fn get() -> Self {
        Self {
            method: "GET".to_owned(),
            headers: String::new(),
            body: String::new(),
        }
    }

    /// Returns the request with another header.
    ///
    /// # Errors
    /// The name, when it or the value is not valid (RFC 9110 §5.5).
    pub fn and_header(mut self, name: &str, value: &str) -> Result<Self, String> {
        // A value that was read from a file may end in a newline.
        let value = value.trim();
        if !is_token(name) || value.contains(char::is_control) {
            return Err(name.to_owned());
        }
        self.headers += &format!("{name}: {value}\r\n");
        Ok(self)
    }

    /// Makes the request of a GET, up to its empty line, the one that this is.
    pub(crate) fn apply_to(&self, get: &mut Vec<u8>) {
        let mut headers = self.headers.clone();
        // RFC 9110 §8.6: also where a method that has a body has an empty one.
        if self.method != "GET" {
            headers += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let is_kind = |line: &str| line.to_ascii_lowercase().starts_with("content-type:");
        if !self.body.is_empty() && !self.headers.lines().any(is_kind) {
            headers += "Content-Type: application/x-www-form-urlencoded\r\n";
        }
        let end = get.len().saturating_sub(2);
        get.splice(end..end, headers.into_bytes());
        let method = get.iter().position(|octet| *octet == b' ');
        get.splice(..method.unwrap_or(0), self.method.bytes());
        get.extend(self.body.bytes());
    }
}

fn is_token(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(is_letter)
}

impl From<UrlParts> for Url {
    fn from(parts: UrlParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Url {
    /// Returns the URL with other parts.
    fn with(&self, change: impl FnOnce(&mut UrlParts)) -> Self {
        let mut url = self.clone();
        change(Arc::make_mut(&mut url.0));
        url
    }

    /// Returns the URL of the file `name` on a TFTP server; the name is not decoded, except for a
    /// pin at its end.
    ///
    /// # Errors
    /// An invalid host, a control character, or a bad pin.
    pub fn tftp(host: &str, name: &str) -> Result<Self, UrlError> {
        let fault = |column, what| UrlFault::new(name, column, what);
        check_text(name)?;
        if name.is_empty() {
            return Err(fault(1, "the file name is empty"));
        }
        check_host(host).map_err(|what| UrlFault::new(host, 1, what))?;
        // A # of another kind is part of a name over TFTP.
        let (name, sha256) = match name.rfind("#sha256=") {
            Some(at) => (
                name.get(..at).unwrap_or_default(),
                parse_pin(name.get(at + 1..).unwrap_or_default())
                    .map_err(|what| fault(at + 1, what))?,
            ),
            None => (name, None),
        };
        Ok(Self::from(UrlParts {
            scheme: Scheme::Tftp,
            credentials: None,
            host: host.to_owned(),
            port: None,
            path: format!("/{name}"),
            query: None,
            sha256,
            form: None,
            inside: None,
        }))
    }

    /// Returns whether `text` begins with a scheme, supported or not, and `://`.
    pub fn has_scheme(text: &str) -> bool {
        scheme_of(text).is_some()
    }

    /// Resolves `reference` against this URL (RFC 3986 §5.2); the credentials are kept for the same
    /// host only.
    ///
    /// A name before `:` is a scheme only where `//` follows, since file names hold colons. An
    /// empty reference, or a query or fragment alone, refers to the same file.
    ///
    /// # Errors
    /// A reference that is not valid, as [`Url::from_str`] has it.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        if self.0.inside.is_some() {
            return self.join_in_image(reference);
        }
        if scheme_of(reference).is_some() {
            return reference.parse();
        }
        check_text(reference)?;
        // RFC 3986 §4.2: another host, with the same scheme.
        if reference.starts_with("//") {
            return format!("{}:{reference}", self.0.scheme.name()).parse();
        }
        let (rest, fragment) = split_fragment(reference);
        let (sha256, inside) = parse_fragment(fragment)
            .map_err(|what| UrlFault::new(reference, rest.len() + 1, what))?;
        let (path, query) = split_query(self.0.scheme, rest);
        let is_same_file = path.is_empty();
        let path =
            decode_path(self.0.scheme, path).map_err(|what| UrlFault::new(reference, 1, what))?;
        Ok(self.with(|joined| {
            (joined.sha256, joined.inside, joined.form) = (sha256, inside, None);
            if query.is_some() || !is_same_file {
                joined.query = query.map(encode);
            }
            if is_same_file {
                return;
            }
            joined.path = if path.starts_with('/') {
                remove_dot_segments(&path)
            } else {
                remove_dot_segments(&format!("{}{path}", self.directory()))
            };
        }))
    }

    /// Returns the URL of the file `name` from the root of this server; over TFTP the name is used
    /// unchanged, with its first `/` if it has one.
    ///
    /// # Errors
    /// A control character or a bad pin.
    pub fn with_file_name(&self, name: &str) -> Result<Self, UrlError> {
        if self.0.inside.is_some() {
            return self.in_image(&format!("/{}", name.trim_start_matches('/')));
        }
        match self.0.scheme {
            Scheme::Tftp => {
                let file = Self::tftp(&self.0.host, name)?;
                Ok(file.with(|file| file.port = self.0.port))
            }
            Scheme::Http | Scheme::Https => {
                self.join(&format!("/{}", name.trim_start_matches('/')))
            }
        }
    }

    /// Returns the URL of the file `name` in the directory of this one; over TFTP the name is not
    /// decoded.
    ///
    /// # Errors
    /// A control character or a bad pin.
    pub fn beside(&self, name: &str) -> Result<Self, UrlError> {
        if self.0.inside.is_some() {
            return self.in_image(name);
        }
        match self.0.scheme {
            Scheme::Tftp => {
                let directory = self.directory().get(1..).unwrap_or_default();
                let file = self.with_file_name(&format!("{directory}{name}"))?;
                Ok(file.with(|file| file.path = remove_dot_segments(&file.path)))
            }
            Scheme::Http | Scheme::Https => self.join(name),
        }
    }

    /// Returns the URL of the file with this one's path below `folder`, whether that ends in `/` or
    /// not, with the same pin.
    ///
    /// # Errors
    /// The path is not valid in the other scheme.
    pub fn below(&self, folder: &Self) -> Result<Self, UrlError> {
        let is_tftp = (self.0.scheme, folder.0.scheme) == (Scheme::Tftp, Scheme::Tftp);
        if is_tftp && folder.0.path.trim_end_matches('/').is_empty() {
            // The same file name, with its first `/` if it has one.
            return Ok(self.with(|file| {
                file.host.clone_from(&folder.0.host);
                file.port = folder.0.port;
            }));
        }
        let folder = folder.with(|folder| {
            folder.path = format!("{}/", folder.path.trim_end_matches('/'));
            folder.inside = None;
        });
        // `./` keeps a name with `://` from being taken for a URL.
        let path = self.reference();
        let file = folder.join(&format!("./{}", path.trim_start_matches('/')))?;
        Ok(file.with(|file| {
            file.sha256 = self.0.sha256;
            file.inside.clone_from(&self.0.inside);
        }))
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// Returns the host, a name or an address, IPv6 without brackets and zone.
    pub fn host(&self) -> &str {
        split_zone(&self.0.host).0
    }

    /// Returns the interface that a link-local address is reached by, if the URL names one.
    pub fn zone(&self) -> Option<&str> {
        split_zone(&self.0.host).1
    }

    /// Returns the port, named or implied.
    pub fn port(&self) -> u16 {
        match self.0.port {
            Some(port) => port,
            None => self.0.scheme.default_port(),
        }
    }

    /// Returns whether the address is the one of `other`, or of a file inside of it, whatever the
    /// credentials, the pin and the form of the request are.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        (self.0.scheme, self.port()) == (other.0.scheme, other.port())
            && self.0.host.eq_ignore_ascii_case(&other.0.host)
            && (&self.0.path, &self.0.query) == (&other.0.path, &other.0.query)
            && (other.0.inside.is_none() || self.path_in_image() == other.path_in_image())
    }

    /// Returns host and port as in the Host header of HTTP, which has no zone (RFC 6874 §3).
    pub fn authority(&self) -> String {
        self.authority_in("")
    }

    fn authority_in(&self, zone: &str) -> String {
        let host = self.host();
        let host = if host.contains(':') {
            format!("[{host}{zone}]")
        } else {
            host.to_owned()
        };
        match self.0.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// Returns the path from its first `/`: percent-encoded for HTTP, plain for TFTP and inside of an
    /// image.
    pub fn path(&self) -> &str {
        self.path_in_image().unwrap_or(&self.0.path)
    }

    /// Returns the query without its `?`, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// Returns path and query as in the request line of HTTP: those of the image for a file inside of
    /// one.
    pub fn request_target(&self) -> String {
        match &self.0.query {
            Some(query) => format!("{}?{query}", self.0.path),
            None => self.0.path.clone(),
        }
    }

    /// Returns the file name for a TFTP request.
    pub fn tftp_file(&self) -> &str {
        self.0.path.get(1..).unwrap_or_default()
    }

    /// Returns the last part of the path, without query; empty for a directory.
    pub fn file_name(&self) -> &str {
        self.path()
            .get(self.directory().len()..)
            .unwrap_or_default()
    }

    /// Returns the last part of the path, decoded.
    pub fn plain_file_name(&self) -> String {
        let name = self.file_name();
        let decoded = match self.0.scheme {
            Scheme::Http | Scheme::Https if self.0.inside.is_none() => percent_decoded_text(name),
            Scheme::Tftp | Scheme::Http | Scheme::Https => None,
        };
        decoded.unwrap_or_else(|| name.to_owned())
    }

    /// Returns `user:password`, decoded; for the request only, never for messages.
    pub fn credentials(&self) -> Option<&str> {
        self.0.credentials.as_deref()
    }

    /// Returns the hash that the file must have.
    pub fn sha256(&self) -> Option<Sha256> {
        match &self.0.inside {
            Some(inside) => inside.sha256,
            None => self.0.sha256,
        }
    }

    /// Returns the URL with a request that is more than a GET; every address that is resolved against it
    /// is without.
    #[must_use]
    pub fn with_form(self, form: Form) -> Self {
        self.with(|url| url.form = Some(Arc::new(form)))
    }

    /// Returns the URL with these credentials, `USER:PASSWORD`, or none.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<String>) -> Self {
        self.with(|url| url.credentials = credentials)
    }

    /// Returns what the request has beside the address.
    pub fn form(&self) -> Option<&Form> {
        self.0.form.as_deref()
    }

    /// Returns path and query as in a URL.
    fn reference(&self) -> String {
        match self.0.scheme {
            Scheme::Tftp => encode_where(&self.0.path, |c| {
                // What looks like the suffix of RFC 3617 is part of the name here.
                matches!(c, '#' | '%' | ' ' | ';') || !c.is_ascii()
            }),
            Scheme::Http | Scheme::Https => self.request_target(),
        }
    }

    /// Returns the path up to and including its last separator.
    fn directory(&self) -> &str {
        let path = self.path();
        let end = match self.0.scheme {
            // Windows servers use names with backslashes.
            Scheme::Tftp => path.rfind(['/', '\\']),
            Scheme::Http | Scheme::Https => path.rfind('/'),
        };
        path.get(..end.map_or(0, |at| at + 1)).unwrap_or_default()
    }
}

/// Files inside of an image.
impl Url {
    /// Returns whether the name is that of an ISO image.
    pub fn names_iso(&self) -> bool {
        let name = self.0.path.as_bytes();
        let end = name.len().saturating_sub(4);
        let is_iso = |end: &[u8]| end.eq_ignore_ascii_case(b".iso");
        self.0.inside.is_none() && name.get(end..).is_some_and(is_iso)
    }

    /// Returns the image that the file is in; none for a file of its own.
    pub fn image(&self) -> Option<Self> {
        self.0.inside.as_ref()?;
        Some(self.with(|image| image.inside = None))
    }

    /// Returns the path inside of the image, decoded, from its first `/`; it ends in `/` for a
    /// directory.
    pub fn path_in_image(&self) -> Option<&str> {
        self.0.inside.as_ref().map(|inside| inside.path.as_str())
    }

    /// Returns the URL of the file `path` of this image, or of the image that this file is in; a path
    /// is relative to this file, and not decoded, except for a pin at its end.
    ///
    /// # Errors
    /// A control character or a bad pin.
    pub fn in_image(&self, path: &str) -> Result<Self, UrlError> {
        check_text(path)?;
        let fault = |what| UrlFault::new(path, 1, what);
        let root = || Inside {
            path: "/".to_owned(),
            sha256: None,
        };
        let from = self.0.inside.as_deref().cloned().unwrap_or_else(root);
        let inside = Box::new(from.join(path).map_err(fault)?);
        Ok(self.with(|file| file.inside = Some(inside)))
    }

    /// Resolves a reference of a file inside of an image: a URL, or a path in the image.
    fn join_in_image(&self, reference: &str) -> Result<Self, UrlError> {
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

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let fault = |column, what| UrlFault::new(text, column, what);
        check_text(text)?;
        let name = scheme_of(text)
            .ok_or_else(|| fault(1, "a URL must begin with tftp://, http:// or https://"))?;
        let scheme = [Scheme::Tftp, Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| fault(1, "only tftp, http and https can be fetched"))?;
        let start = name.len() + 3;
        let (rest, fragment) = split_fragment(text.get(start..).unwrap_or_default());
        let (sha256, inside) =
            parse_fragment(fragment).map_err(|what| fault(start + rest.len() + 1, what))?;

        let authority_len = match scheme {
            Scheme::Tftp => rest.find('/'),
            Scheme::Http | Scheme::Https => rest.find(['/', '?']),
        }
        .unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(authority_len).unwrap_or((rest, ""));
        // The last one, as curl does: a password may have an @ of its own.
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((credentials, host_port)) => (Some(credentials), host_port),
            None => (None, authority),
        };
        let host_at = start + authority.len() - host_port.len() + 1;
        let (host, port) = split_port(host_port).map_err(|what| fault(host_at, what))?;
        // RFC 6874 §2 has the zone behind an encoded percent sign; people write it plainly.
        let host = host.replacen("%25", "%", 1);
        check_host(&host).map_err(|what| fault(host_at, what))?;
        let credentials = credentials
            .map(|text| {
                percent_decoded_text(text).ok_or(fault(start + 1, "the user name is not UTF-8"))
            })
            .transpose()?;
        if credentials.is_some() && scheme == Scheme::Tftp {
            return Err(fault(start + 1, "TFTP has no user names"));
        }

        let (path, query) = split_query(scheme, rest);
        let path =
            decode_path(scheme, path).map_err(|what| fault(start + authority.len() + 1, what))?;
        if scheme == Scheme::Tftp && path.len() < 2 {
            return Err(fault(text.len(), "the file name is missing"));
        }
        Ok(Self::from(UrlParts {
            scheme,
            credentials,
            host,
            port,
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                remove_dot_segments(&path)
            },
            query: query.map(encode),
            sha256,
            form: None,
            inside,
        }))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self
            .zone()
            .map_or_else(String::new, |zone| format!("%25{zone}"));
        let (scheme, authority) = (self.0.scheme.name(), self.authority_in(&zone));
        write!(f, "{scheme}://{authority}{}", self.reference())?;
        match &self.0.inside {
            Some(inside) => write!(f, "#{}", inside.fragment()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match self.sha256() {
            Some(sha256) => write!(f, "#sha256={sha256}"),
            None => Ok(()),
        }
    }
}

/// Reads a fragment: a pin, or the file inside of an image.
fn parse_fragment(fragment: &str) -> Result<(Option<Sha256>, Option<Box<Inside>>), &'static str> {
    if fragment.starts_with('/') {
        return Ok((None, Some(Box::new(Inside::parse(fragment)?))));
    }
    Ok((parse_pin(fragment)?, None))
}

/// Returns the name of the scheme when `text` begins with one and `://`.
pub(crate) fn scheme_of(text: &str) -> Option<&str> {
    let (name, _) = text.split_once("://")?;
    let mut letters = name.chars();
    (letters.next()?.is_ascii_alphabetic()
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
    .then_some(name)
}

#[cfg(test)]
mod tests;
