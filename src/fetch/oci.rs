//! Files of artifacts in a registry, by the distribution API of OCI: each has the digest of its layer as
//! its pin, and the manifest that of the reference.

use super::failure::Failure;
use super::fetcher::Fetcher;
use crate::error::{Error, Reason};
use crate::sys::memfd::SealedFile;
use wireboot_proto::boot::Architecture;
use wireboot_proto::oci::{ACCEPTED, Layer, Manifest, Reference, token_in};
use wireboot_proto::text::url::{Form, Url};
use wireboot_proto::worker::JobKind;

/// The longest manifest, in bytes, that a registry has to take (distribution 1.1, pushing manifests).
const MAX_MANIFEST_LEN: u64 = 4 << 20;
const MAX_TOKEN_LEN: u64 = 64 << 10;
/// Indexes within each other.
const MAX_INDEXES: u32 = 3;

impl Fetcher {
    /// Returns the files of an artifact with their addresses: all, or the one that the reference names.
    ///
    /// # Errors
    /// As [`Fetcher::need`]; [`Error::NothingBootable`] for a manifest that is none, or lacks the file.
    pub fn artifact(&self, reference: &Reference) -> Result<Vec<(Layer, Url)>, Error> {
        let usage = |error| Box::new(Reason::Usage(format!("{error}")));
        let mut url = reference.manifest().map_err(usage)?;
        let name = url.to_string();
        let nothing = |what: &str| {
            Box::new(Reason::NothingBootable {
                what: format!("{name}: {what}"),
                source: None,
            })
        };
        let mut token = None;
        for _ in 0..MAX_INDEXES {
            let file = self.manifest(reference, &url, &mut token)?;
            let unreadable = |_| nothing("it cannot be read");
            if let Some(tag) = reference.unpinned().filter(|_| url.sha256().is_none()) {
                let digest = file.hash().map_err(unreadable)?.sha256;
                log::warn!("{name}: nothing pins the tag {tag}, which is @sha256:{digest} now");
            }
            let bytes = file.octets(0..u64::MAX).map_err(unreadable)?;
            let layers = match Manifest::parse(&bytes, Architecture::HERE).map_err(nothing)? {
                Manifest::Index(digest) => {
                    url = reference.pinned("manifests", &digest).map_err(usage)?;
                    continue;
                }
                Manifest::Layers(layers) => layers,
            };
            let is_wanted =
                |layer: &Layer| reference.file.is_none() || layer.title == reference.file;
            let files = layers.into_iter().filter(is_wanted).map(|layer| {
                let url = reference.pinned("blobs", &layer.digest).map_err(usage)?;
                Ok((layer, with_headers(url, token.as_deref(), None)))
            });
            let files: Vec<_> = files.collect::<Result<_, Error>>()?;
            return if files.is_empty() {
                Err(nothing("it has no file of that name"))
            } else {
                Ok(files)
            };
        }
        Err(nothing("too many indexes lead to each other"))
    }

    /// Fetches a manifest, with a token if the registry asks for one.
    fn manifest(
        &self,
        reference: &Reference,
        url: &Url,
        token: &mut Option<String>,
    ) -> Result<SealedFile, Error> {
        for is_last in [token.is_some(), true] {
            let asked = with_headers(url.clone(), token.as_deref(), Some(ACCEPTED));
            // The signature of a manifest is its digest.
            let job = self.job(vec![asked], JobKind::Signature, MAX_MANIFEST_LEN);
            let failure = match self.memory(job) {
                Ok(judged) => match judged.file {
                    Some(file) => return Ok(file),
                    None => Failure::Missing("the registry has no such manifest".into()),
                },
                Err((_, failure)) => failure,
            };
            let Failure::Challenge(challenge) = &failure else {
                return Err(failure.about(url));
            };
            let Some(from) = reference.token(challenge).filter(|_| !is_last) else {
                return Err(failure.about(url));
            };
            log::debug!("{url}: a token is asked for at {from}");
            let answer = self.job(vec![from.clone()], JobKind::Signature, MAX_TOKEN_LEN);
            let answer = self
                .memory(answer)
                .map_err(|(_, failure)| failure.about(&from))?;
            let bytes = answer.file.and_then(|file| file.octets(0..u64::MAX).ok());
            *token = bytes.and_then(|bytes| token_in(&bytes));
        }
        Err(Failure::Other("the registry gives no token".into()).about(url))
    }
}

/// Returns the address with these headers.
fn with_headers(url: Url, token: Option<&str>, accepted: Option<&str>) -> Url {
    let mut headers = Vec::new();
    headers.extend(accepted.map(|types| ("Accept".to_owned(), types.to_owned())));
    headers.extend(token.map(|token| ("Authorization".to_owned(), format!("Bearer {token}"))));
    match Form::new("GET", &headers, String::new()) {
        Ok(form) if !headers.is_empty() => url.with_form(form),
        _ => url,
    }
}
