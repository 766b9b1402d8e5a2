//! Files inside of ISO images. An image is read by parts where its server sends parts: its directories,
//! and then the files that are wanted. Elsewhere, and where only the whole image can be verified, it is
//! fetched into memory once.

use std::io;

use super::failure::{Failure, FetchRefusal, other};
use super::fetcher::Fetcher;
use super::iso_cache::{CachedChunks, CachedContent, CachedImage, volume_of};
use super::progress::Progress;
use super::sink::Sink;
use crate::error::Error;
use crate::sys::memfd::{Memfd, SealedFile};
use wireboot_proto::format::iso9660::{Extent, Found, IsoError};
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::worker::JobKind;

/// Bytes read of the directories at a time: programs that make images put them all behind each other,
/// so that few requests bring most of them.
const CHUNK_LEN: u64 = 128 << 10;
/// Limit of what is read of the directories of an image, in bytes, since it decides how often that is.
const MAX_DIRECTORIES_LEN: u64 = 32 << 20;
/// The longest image that is fetched whole, in bytes; available memory mostly sets a lower limit.
const MAX_IMAGE_LEN: u64 = 16 << 30;

/// Returns a file of an image, or the names in a directory of it, a line each; none when there is no
/// such file, or no such image and `may_lack` is set.
///
/// # Errors
/// As [`Fetcher::get`], and an image that is none or damaged.
pub(super) fn file(
    fetcher: &Fetcher,
    image: &Url,
    url: &Url,
    max_len: u64,
    may_lack: bool,
) -> Result<Option<SealedFile>, Error> {
    let mut images = fetcher.images.lock();
    let known = images.iter().position(|(known, _)| known == image);
    if known.is_none() {
        match CachedImage::open(fetcher, image, may_lack)? {
            Some(opened) => images.push((image.clone(), opened)),
            None => return Ok(None),
        }
    }
    let at = known.unwrap_or(images.len().saturating_sub(1));
    let Some((_, opened)) = images.get_mut(at) else {
        return Ok(None);
    };
    let failed = |why: String| Failure::Other(why.into()).about(url);
    let path = url.path_in_image().unwrap_or_default();
    let found = opened.find(fetcher, image, path);
    let found = found.map_err(|error| match error {
        ImageError::Iso(error) => failed(error.to_string()),
        ImageError::Fetch(error) => error,
    })?;
    match found {
        Some(Found::File(parts)) if !path.ends_with('/') => {
            let len: u64 = parts.iter().map(|part| part.end - part.start).sum();
            Failure::check_len(len, max_len).map_err(|failure| failure.about(url))?;
            opened.extract(fetcher, url, &parts).map(Some)
        }
        Some(Found::Directory(names)) if path.ends_with('/') => {
            let list: String = names.into_iter().map(|name| name + "\n").collect();
            let mut file = Memfd::create("directory").map_err(|error| other(error).about(url))?;
            let written = io::Write::write_all(&mut file, list.as_bytes());
            written.map_err(|error| other(error).about(url))?;
            file.seal()
                .map(Some)
                .map_err(|error| other(error).about(url))
        }
        Some(Found::File(_) | Found::Directory(_)) | None => Ok(None),
    }
}

/// Stores an image that has been verified, whose files are read from there from then on.
///
/// # Errors
/// It is no image, or there are too many open files.
pub(super) fn keep(fetcher: &Fetcher, url: &Url, whole: &SealedFile) -> Result<(), Error> {
    let whole = whole.try_clone().map_err(|error| other(error).about(url))?;
    let image = CachedImage::of_whole(url, whole)?;
    let mut images = fetcher.images.lock();
    images.retain(|(known, _)| known != url);
    images.push((url.clone(), image));
    Ok(())
}

/// The reason why a file was not found in an image.
enum ImageError {
    Iso(IsoError),
    Fetch(Error),
}

impl From<IsoError> for ImageError {
    fn from(error: IsoError) -> Self {
        Self::Iso(error)
    }
}

impl CachedImage {
    fn open(fetcher: &Fetcher, url: &Url, may_lack: bool) -> Result<Option<Self>, Error> {
        let why_whole = if url.sha256().is_some() || fetcher.sums.is_some() {
            "its hash is that of the whole image"
        } else if !fetcher.keys.is_empty() {
            "its signature is that of the whole image"
        } else if url.scheme() == Scheme::Tftp {
            "TFTP has no parts of files"
        } else {
            match CachedChunks::begin(fetcher, url, may_lack)? {
                Begun::Parts(parts) => {
                    let head = parts.known(0);
                    let volume = volume_of(url, head.unwrap_or_default())?;
                    let content = CachedContent::Parts(parts);
                    return Ok(Some(Self { volume, content }));
                }
                Begun::Missing => return Ok(None),
                Begun::NoParts => "the server does not send parts of files",
            }
        };
        log::info!("{url}: fetching the whole image into memory, since {why_whole}");
        let whole = fetcher.to_memory(url, MAX_IMAGE_LEN, may_lack)?;
        whole.map(|whole| Self::of_whole(url, whole)).transpose()
    }

    fn find(
        &mut self,
        fetcher: &Fetcher,
        image: &Url,
        path: &str,
    ) -> Result<Option<Found>, ImageError> {
        let content = &mut self.content;
        self.volume.find(path, &mut |part| match content {
            CachedContent::Whole(file) => {
                let bytes = file.octets(part);
                bytes.map_err(|error| ImageError::Fetch(other(error).about(image)))
            }
            CachedContent::Parts(parts) => {
                let bytes = parts.read(fetcher, image, part);
                bytes.map_err(ImageError::Fetch)
            }
        })
    }

    /// Returns the file that these parts are.
    fn extract(
        &mut self,
        fetcher: &Fetcher,
        url: &Url,
        parts: &[Extent],
    ) -> Result<SealedFile, Error> {
        let system = |error| other(error).about(url);
        let failed = |error: io::Error| other(error).about(url);
        if let (CachedContent::Parts(content), [part]) = (&mut self.content, parts) {
            return content.fetch(fetcher, url, part.clone());
        }
        let file = Memfd::create(url.file_name()).map_err(system)?;
        let mut progress = Progress::silent();
        let mut sink = Sink::new(&file, &mut progress);
        if url.sha256().is_some() {
            sink.hash().map_err(failed)?;
        }
        for part in parts {
            let (source, range) = match &mut self.content {
                CachedContent::Whole(whole) => (&*whole, part.clone()),
                CachedContent::Parts(content) => {
                    // Its own pin would be that of all parts.
                    let plain = url.in_image(url.path_in_image().unwrap_or_default());
                    let plain = plain.map_err(|error| other(error).about(url))?;
                    (&content.fetch(fetcher, &plain, part.clone())?, 0..u64::MAX)
                }
            };
            let mut reader = source.reader(range).map_err(system)?;
            append(&mut reader, &mut sink).map_err(failed)?;
        }
        let hashing = sink.complete().map_err(failed)?;
        if let (Some(expected), Some(mut hashing)) = (url.sha256(), hashing)
            && let found = hashing.finish().map_err(failed)?.sha256
            && expected != found
        {
            return Err(Failure::mismatch(&found, &expected).about(url));
        }
        file.seal().map_err(system)
    }
}

/// Appends what is read.
fn append(from: &mut dyn io::Read, sink: &mut Sink<'_>) -> io::Result<()> {
    let mut bytes = vec![0; 128 << 10];
    loop {
        match from.read(&mut bytes)? {
            0 => return Ok(()),
            len => sink.write_at(sink.len(), bytes.get(..len).unwrap_or_default())?,
        }
    }
}

/// The result of the first request for a part.
enum Begun {
    Parts(CachedChunks),
    NoParts,
    Missing,
}

impl CachedChunks {
    /// Reads the first chunk of an image.
    fn begin(fetcher: &Fetcher, url: &Url, may_lack: bool) -> Result<Begun, Error> {
        let mut parts = Self::default();
        match parts.chunk(fetcher, url, 0, CHUNK_LEN) {
            Ok(()) => Ok(Begun::Parts(parts)),
            Err((_, Failure::NoParts(_))) => Ok(Begun::NoParts),
            Err((_, Failure::Missing(why))) if may_lack => {
                log::debug!("{url}: {why}");
                Ok(Begun::Missing)
            }
            Err(refusal) => Err(fetcher.failed(&fetcher.mirrors.addresses(url), refusal)),
        }
    }

    /// Returns bytes of the directories.
    fn read(&mut self, fetcher: &Fetcher, url: &Url, part: Extent) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut at = part.start;
        while at < part.end {
            let start = at - at % CHUNK_LEN;
            if self.known(start).is_none() {
                let read = self.chunks.len() as u64 * CHUNK_LEN;
                if read >= MAX_DIRECTORIES_LEN {
                    let why = format!("its directories have more than {MAX_DIRECTORIES_LEN} bytes");
                    return Err(Failure::Other(why.into()).about(url));
                }
                let fetched = self.chunk(fetcher, url, start, start + CHUNK_LEN);
                let addresses = fetcher.mirrors.addresses(url);
                fetched.map_err(|refusal| fetcher.failed(&addresses, refusal))?;
            }
            let chunk = self.known(start).unwrap_or_default();
            let index = |place: u64| usize::try_from(place - start).unwrap_or(usize::MAX);
            let end = index(part.end.min(start + CHUNK_LEN)).min(chunk.len());
            let Some(piece) = chunk.get(index(at)..end).filter(|piece| !piece.is_empty()) else {
                let why = format!("the image ends after {} bytes", start + chunk.len() as u64);
                return Err(Failure::Other(why.into()).about(url));
            };
            bytes.extend_from_slice(piece);
            at += piece.len() as u64;
        }
        Ok(bytes)
    }

    /// Fetches a chunk into `chunks`.
    fn chunk(
        &mut self,
        fetcher: &Fetcher,
        url: &Url,
        start: u64,
        end: u64,
    ) -> Result<(), FetchRefusal> {
        let directory = url.in_image("/").map_err(|error| (None, other(error)))?;
        let file = self.request(fetcher, &directory, JobKind::Directory, start..end)?;
        let bytes = file.octets(0..CHUNK_LEN);
        let bytes = bytes.map_err(|error| (None, other(error)))?;
        self.chunks.push((start, bytes));
        Ok(())
    }

    /// Fetches a part that is a file.
    fn fetch(&mut self, fetcher: &Fetcher, url: &Url, part: Extent) -> Result<SealedFile, Error> {
        let len = part.end - part.start;
        let addresses = fetcher.mirrors.addresses(url);
        let file = self.request(fetcher, url, JobKind::File, part);
        let file = file.map_err(|refusal| fetcher.failed(&addresses, refusal))?;
        let found = file.size().map_err(|error| other(error).about(url))?;
        if found == len {
            return Ok(file);
        }
        let why = format!("the image ends in the file, {found} bytes of {len}");
        Err(Failure::Other(why.into()).about(url))
    }

    /// Requests a part from the server or a mirror.
    fn request(
        &mut self,
        fetcher: &Fetcher,
        url: &Url,
        kind: JobKind,
        part: Extent,
    ) -> Result<SealedFile, FetchRefusal> {
        let len = part.end - part.start;
        let mut job = fetcher.job(fetcher.mirrors.addresses(url), kind, len);
        job.window = Some(part);
        let judged = fetcher.memory(job)?;
        fetcher.mirrors.prefer(judged.obtained.server);
        let validator = judged.obtained.validator.map(|(url, validator)| {
            // The same for all files of the image.
            (url.image().unwrap_or(url), validator)
        });
        // Mirrors, to which a server may redirect at random, have validators of their own.
        if let (Some((from, before)), Some((now_from, now))) = (&self.validator, &validator)
            && from == now_from
            && before != now
        {
            let why = "the image was replaced on the server while it was read";
            return Err((None, Failure::Other(why.into())));
        }
        self.validator = self.validator.take().or(validator);
        let missing = || {
            (
                None,
                Failure::Missing("the server has no such image".into()),
            )
        };
        judged.file.ok_or_else(missing)
    }
}
