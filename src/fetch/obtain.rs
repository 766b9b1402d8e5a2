//! Fetches a file into its store: in this process, or by a worker without privileges.

use super::delivery::{Delivery, Hashes};
use super::failure::{Failure, FetchRefusal, other};
use super::fetcher::Fetcher;
use super::progress::Progress;
use super::sink::Store;
use crate::sys::hashing::Hashing;
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::Job;

/// A file that is in its store, and not verified.
pub(super) struct Obtained {
    /// The index of the server that delivered it, or said that it does not have it.
    pub(super) server: usize,
    /// Whether there is such a file.
    pub(super) is_there: bool,
    /// Whether parts may be of different files.
    pub(super) is_mixed: bool,
    /// Where it came from, and by what the server there tells it from another.
    pub(super) validator: Option<(Url, String)>,
    /// Its length, in bytes, once it has been read back.
    pub(super) len: u64,
    /// Its hash, where one was computed on the way.
    pub(super) hashing: Option<Hashing>,
}

impl Fetcher {
    /// Makes attempts until a server has delivered the file into `store`, in this process.
    ///
    /// # Errors
    /// The last failure.
    pub(super) fn obtain_here(
        &self,
        job: &Job,
        store: &dyn Store,
        progress: &mut Progress,
        hashes: Hashes,
    ) -> Result<Obtained, FetchRefusal> {
        let begun = Delivery::begin(self, job, store, progress, hashes);
        let mut delivery = begun.map_err(|error| (None, other(error)))?;
        let mut is_there = true;
        let mut no_parts = None;
        let taken = self.first_of(
            &job.addresses,
            &mut |url, turn| match delivery.run(url, turn) {
                Err((_, Failure::Missing(why))) if job.may_lack => {
                    log::debug!("{url}: {why}");
                    is_there = false;
                    Ok(())
                }
                Err((end, Failure::NoParts(why))) => {
                    no_parts = Some(why.to_string());
                    Err((end, Failure::NoParts(why)))
                }
                taken => taken,
            },
        );
        let server = taken.map_err(|(at, failure)| match no_parts {
            // The image can be had whole, wherever else a part could not.
            Some(why) => (at, Failure::NoParts(why.into())),
            None => (at, failure),
        })?;
        Ok(Obtained {
            server,
            is_there,
            is_mixed: delivery.is_mixed(),
            validator: delivery.validator(),
            len: 0,
            hashing: delivery.into_hashing(),
        })
    }
}
