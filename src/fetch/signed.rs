//! Fetches and checks the signatures of files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::delivery::{Delivery, DeliveryKind};
use super::failure::{Failure, other, unverified};
use super::fetcher::Fetcher;
#[cfg(feature = "iso")]
use super::image;
use super::rotation::{AttemptEnd, NextServer};
use crate::error::Error;
use crate::sys::memfd::{Memfd, SealedFile};
use wireboot_proto::text::url::Url;
use wireboot_proto::trust::signature::{Keys, MAX_SIGNATURE_LEN, Signature};

impl Fetcher {
    /// Checks a file that has been fetched against the signature at `signature`, with these keys.
    ///
    /// # Errors
    /// [`Error::Verification`] when the file is not what was signed or there is no signature;
    /// [`Error::Fetch`] when the signature cannot be fetched.
    pub fn verify(
        &self,
        url: &Url,
        file: &SealedFile,
        signature: &Url,
        keys: &Keys,
    ) -> Result<(), Error> {
        self.verify_signature(url, &self.mirrors.addresses(signature), file.file(), keys)
            .map_err(|failure| failure.about(url))?;
        // Files are to come from the image that was verified, not from what the server has by then.
        #[cfg(feature = "iso")]
        if url.names_iso() {
            image::keep(self, url, file)?;
        }
        Ok(())
    }

    /// Checks a file that came from one of these addresses against the signature beside any of them;
    /// the one beside this very file is tried first.
    ///
    /// # Errors
    /// The failure of the last signature.
    pub(super) fn verify_beside(
        &self,
        addresses: &[Url],
        server: usize,
        file: &File,
    ) -> Result<(), Failure> {
        let Some(signed) = addresses.get(server) else {
            return Err(Failure::Other("no address is given".into()));
        };
        let signatures: Result<Vec<_>, _> = addresses.iter().map(signature_of).collect();
        let mut signatures = signatures?;
        signatures.swap(0, server);
        self.verify_signature(signed, &signatures, file, &self.keys)
    }

    /// Looks for a valid signature of a file at these addresses, one after the other.
    ///
    /// # Errors
    /// The failure of the last signature.
    fn verify_signature(
        &self,
        signed: &Url,
        signatures: &[Url],
        file: &File,
        keys: &Keys,
    ) -> Result<(), Failure> {
        let checked = self.first_of(signatures, &mut |url, turn| {
            self.check_signature(signed, url, turn, file, keys)
        });
        match checked {
            Ok(_) => Ok(()),
            // `first_of` has made all further attempts already.
            Err((_, Failure::Passing(why))) => Err(Failure::Other(why)),
            Err((_, failure)) => Err(failure),
        }
    }

    fn check_signature(
        &self,
        signed: &Url,
        url: &Url,
        turn: &NextServer,
        mut file: &File,
        keys: &Keys,
    ) -> Result<(), (AttemptEnd, Failure)> {
        let hopeless = |failure| (AttemptEnd::Hopeless, failure);
        let unreadable = |error| hopeless(other(error));
        let store = Memfd::create(url.file_name()).map_err(|error| hopeless(other(error)))?;
        let mut delivery =
            Delivery::begin(self, DeliveryKind::Signature, MAX_SIGNATURE_LEN, &store);
        let taken = delivery.run(url, turn, &mut |_| Ok(()));
        taken.map_err(|(ending, failure)| match failure {
            // Or a server could switch the check off by having no signature.
            Failure::Missing(why) => {
                let why = format!("there is no signature {url}: {why}");
                (ending, Failure::Verification(why))
            }
            failure @ (Failure::Passing(_)
            | Failure::Verification(_)
            | Failure::NoParts(_)
            | Failure::Other(_)) => (ending, failure),
        })?;
        let mut content = store.file();
        content.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut signature = Vec::new();
        content.read_to_end(&mut signature).map_err(unreadable)?;

        let wrong = |fault| hopeless(unverified(&fault));
        let signature = Signature::decode(&signature).map_err(wrong)?;
        let mut check = keys.check(&signature).map_err(wrong)?;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut bytes = vec![0; 128 << 10];
        loop {
            match file.read(&mut bytes).map_err(unreadable)? {
                0 => break,
                len => check.update(bytes.get(..len).unwrap_or_default()),
            }
        }
        let signer = check.finish(&signed.plain_file_name()).map_err(wrong)?;
        log::info!("{signed}: signature OK ({signer})");
        Ok(())
    }
}

/// Returns the default address of a file's signature, beside the file, as minisign names it.
fn signature_of(url: &Url) -> Result<Url, Failure> {
    let name = format!("{}.minisig", url.file_name());
    url.beside(&name).map_err(other)
}
