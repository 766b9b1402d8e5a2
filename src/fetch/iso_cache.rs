//! ISO images that files have been read from: whole ones in memory, and what has been read of others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::{Failure, other};
use crate::error::Error;
use crate::sys::memfd::SealedFile;
use wireboot_proto::format::iso9660::{HEAD_LEN, IsoVolume};
use wireboot_proto::text::url::Url;

/// The images that files have been read from, by their addresses.
#[derive(Debug, Clone, Default)]
pub struct ImageCache(Arc<Mutex<Vec<(Url, CachedImage)>>>);

impl ImageCache {
    /// Returns all of them, for this thread alone.
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<(Url, CachedImage)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An image.
#[derive(Debug)]
pub(super) struct CachedImage {
    pub(super) volume: IsoVolume,
    pub(super) content: CachedContent,
}

#[derive(Debug)]
pub(super) enum CachedContent {
    Whole(SealedFile),
    Parts(CachedChunks),
}

/// The parts that have been read of an image that is on its server.
#[derive(Debug, Default)]
pub(super) struct CachedChunks {
    /// Chunks of the image, each with its place.
    pub(super) chunks: Vec<(u64, Vec<u8>)>,
    /// Where the first part came from, and by what the server there tells the image from another.
    pub(super) validator: Option<(Url, String)>,
}

impl CachedImage {
    /// Returns the image that is in this file.
    ///
    /// # Errors
    /// It is no image.
    pub(super) fn of_whole(url: &Url, whole: SealedFile) -> Result<Self, Error> {
        let head = whole.octets(0..HEAD_LEN);
        let head = head.map_err(|error| other(error).about(url))?;
        let volume = volume_of(url, &head)?;
        let content = CachedContent::Whole(whole);
        Ok(Self { volume, content })
    }
}

impl CachedChunks {
    /// Returns the chunk that begins at `start`, if it has been read.
    pub(super) fn known(&self, start: u64) -> Option<&[u8]> {
        let mut chunks = self.chunks.iter();
        let found = chunks.find(|(known, _)| *known == start);
        found.map(|(_, chunk)| chunk.as_slice())
    }
}

/// Reads the volume descriptors at the beginning of an image.
pub(super) fn volume_of(url: &Url, head: &[u8]) -> Result<IsoVolume, Error> {
    let why = match IsoVolume::decode(head) {
        Ok(Some(volume)) => return Ok(volume),
        Ok(None) => "it has no volume descriptor".to_owned(),
        Err(error) => error.to_string(),
    };
    let why = format!(
        "it is no ISO image that can be read ({why}), and other disk images need PC firmware \
         (memdisk), which no longer runs under Linux"
    );
    Err(Failure::Other(why.into()).about(url))
}
