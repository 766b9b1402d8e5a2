//! Files of artifacts in a registry, by the distribution API of OCI: each has the digest of its layer as
//! its pin, and the manifest that of the reference.

use std::io::ErrorKind;
use std::sync::Arc;

use super::failure::{Failure, FetchRefusal};
use super::fetcher::Executor;
use super::fetcher::Fetcher;
use super::judge::Judged;
use crate::error::{Error, Reason};
use crate::sys::file;
use crate::sys::memfd::SealedFile;
use wireboot_proto::boot::Architecture;
use wireboot_proto::oci::{
    ACCEPTED, Challenge, Layer, Manifest, Reference, credentials_in, token_in,
};
use wireboot_proto::text::json::Json;
use wireboot_proto::text::url::{Form, Url};
use wireboot_proto::worker::{Job, JobKind};

/// The longest manifest, in bytes, that a registry has to take (distribution 1.1, pushing manifests).
const MAX_MANIFEST_LEN: u64 = 4 << 20;
const MAX_TOKEN_LEN: u64 = 64 << 10;
/// The file with the credentials for registries, as `docker login` and `podman login` write it.
const REGISTRIES: &str = "/etc/wireboot/registries.json";
/// How often what a registry asks for is sent in one fetch: a token may expire while a long file is fetched
/// in pieces.
const MAX_TOKENS: u32 = 4;
/// Indexes within each other.
const MAX_INDEXES: u32 = 3;

impl Fetcher {
    /// Returns the files of an artifact with their addresses: all, or the one that the reference names.
    ///
    /// # Errors
    /// As [`Fetcher::need`]; [`Reason::NothingBootable`] for a manifest that is none, or lacks the file.
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
        for _ in 0..MAX_INDEXES {
            let file = self.manifest(&url)?;
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
                Ok((layer, url))
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

    fn manifest(&self, url: &Url) -> Result<SealedFile, Error> {
        let addresses = self.mirrors.addresses(url);
        let asked = addresses.iter().cloned();
        let asked = asked.map(|url| with_header(url, "Accept", ACCEPTED));
        // The signature of a manifest is its digest.
        let job = self.job(asked.collect(), JobKind::Signature, MAX_MANIFEST_LEN);
        let judged = self.memory(job);
        let judged = judged.map_err(|refusal| self.failed(&addresses, refusal))?;
        self.mirrors.prefer(judged.obtained.server);
        let missing = || Failure::Missing("the registry has no such manifest".into()).about(url);
        judged.file.ok_or_else(missing)
    }

    /// Fetches a file by `fetch`, again with what a registry asks for before it gives it; an address whose
    /// registry gets none is left out, as long as there is another.
    ///
    /// # Errors
    /// The last failure.
    pub(super) fn with_access(
        &self,
        mut job: Job,
        fetch: impl Fn(Job) -> Result<Judged, FetchRefusal>,
    ) -> Result<Judged, FetchRefusal> {
        // Who has no sockets has no credentials either.
        if matches!(self.transport(), Executor::Parent(_)) {
            return fetch(job);
        }
        // The index that each address has for the caller.
        let mut places: Vec<usize> = (0..job.addresses.len()).collect();
        let mut tokens = MAX_TOKENS;
        loop {
            let place = |at: usize| places.get(at).copied().unwrap_or_default();
            let (at, failure) = match fetch(job.clone()) {
                Ok(mut judged) => {
                    judged.obtained.server = place(judged.obtained.server);
                    return Ok(judged);
                }
                Err(refusal) => refusal,
            };
            let refused = at.and_then(|at| Some((at, job.addresses.get_mut(at)?)));
            let (Failure::Challenge(challenge), Some((at, url))) = (&failure, refused) else {
                return Err((at.map(place), failure));
            };
            let failure = match self.authorized(url, challenge) {
                Ok(Some(authorized)) if tokens > 0 => {
                    *url = authorized;
                    tokens -= 1;
                    continue;
                }
                Ok(_) => failure,
                Err(failure) => failure,
            };
            if places.len() == 1 {
                return Err((Some(place(at)), failure));
            }
            log::warn!("{}; trying the next mirror", failure.about(url).chain());
            job.addresses.remove(at);
            places.remove(at);
        }
    }

    /// Returns the address with what its registry asks for; none where there is nothing to give.
    fn authorized(&self, url: &Url, text: &str) -> Result<Option<Url>, Failure> {
        let Some(challenge) = Challenge::parse(text, url) else {
            return Ok(None);
        };
        let known = url.credentials().map(str::to_owned);
        let from_file = || credentials_in(self.registries.as_deref()?, url);
        let credentials = known.clone().or_else(from_file);
        let from = match &challenge {
            Challenge::Basic if known.is_some() || credentials.is_none() => return Ok(None),
            Challenge::Basic => return Ok(Some(url.clone().with_credentials(credentials))),
            Challenge::Token(from) => from.clone(),
        };
        let is_listed = self.policy.hosts.iter().any(|host| host == from.host());
        if credentials.is_some() && !challenge.may_have_credentials(url) && !is_listed {
            let why = format!(
                "the registry has its tokens at {from}, where the password is not sent: it has to be the \
                 registry's own host, or named and reached by HTTPS, or a host that the policy allows \
                 (allow-host {})",
                from.host()
            );
            return Err(Failure::Verification(why));
        }
        log::debug!("{url}: a token is asked for at {from}");
        let server = from.clone().with_credentials(credentials);
        let asked = self.job(vec![server], JobKind::Signature, MAX_TOKEN_LEN);
        let answer = self.memory_at_once(asked);
        let answer = answer.map_err(|(_, failure)| {
            let why = failure.about(&from).chain();
            Failure::Other(format!("there is no token: {why}").into())
        })?;
        let bytes = answer.file.and_then(|file| file.octets(0..u64::MAX).ok());
        let token = bytes.and_then(|bytes| token_in(&bytes));
        let token = token.ok_or_else(|| Failure::Other(format!("{from} gives no token").into()))?;
        let url = url.clone().with_credentials(None);
        Ok(Some(with_header(
            url,
            "Authorization",
            &format!("Bearer {token}"),
        )))
    }
}

/// Returns the credentials for registries, if there is a file of them.
///
/// # Errors
/// [`Reason::Usage`] for one that cannot be read.
pub(super) fn registries() -> Result<Option<Arc<Json>>, Error> {
    let wrong = |why: &str| Box::new(Reason::Usage(format!("cannot read {REGISTRIES}: {why}")));
    match file::read_text(REGISTRIES.as_ref()) {
        Ok(text) => {
            let json = Json::parse(&text).ok_or_else(|| wrong("it is not JSON"))?;
            Ok(Some(Arc::new(json)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// Returns the address with this header beside those that it has.
fn with_header(url: Url, name: &str, value: &str) -> Url {
    let form = url.form().cloned().unwrap_or_else(Form::get);
    match form.and_header(name, value) {
        Ok(form) => url.with_form(form),
        Err(_) => url,
    }
}
