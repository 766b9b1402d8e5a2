//! Fetches and checks the signatures of files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::failure::{Failure, other, unverified};
use super::fetcher::Fetcher;
#[cfg(feature = "iso")]
use super::image;
use super::obtain::Obtained;
use crate::error::Error;
use crate::sys::memfd::SealedFile;
use wireboot_proto::text::url::Url;
use wireboot_proto::trust::signature::{Keys, MAX_SIGNATURE_LEN, Signature};
use wireboot_proto::worker::JobKind;

impl Fetcher {
    /// Checks a file that has been fetched against the signature at `signature`, with these keys.
    ///
    /// # Errors
    /// `Reason::Verification` when the file is not what was signed or there is no signature;
    /// `Reason::Fetch` when the signature cannot be fetched.
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
        let job = self.job(signatures.to_vec(), JobKind::Signature, MAX_SIGNATURE_LEN);
        let check = &mut |_: &mut Obtained, signature: &File| {
            check_signature(signed, signature, file, keys)
        };
        match self.memory_by(job, check) {
            Ok(_) => Ok(()),
            // Or a server could switch the check off by having no signature.
            Err((server, Failure::Missing(why))) => {
                let url = signatures.get(server.unwrap_or_default());
                let url = url.map(Url::to_string).unwrap_or_default();
                let why = format!("there is no signature {url}: {why}");
                Err(Failure::Verification(why))
            }
            // All further attempts have been made already.
            Err((_, Failure::Passing(why))) => Err(Failure::Other(why)),
            Err((_, failure)) => Err(failure),
        }
    }
}

/// Checks a file against a signature of it.
fn check_signature(
    signed: &Url,
    signature: &File,
    file: &File,
    keys: &Keys,
) -> Result<(), Failure> {
    let mut content = Vec::new();
    read_all(signature, MAX_SIGNATURE_LEN, &mut |bytes| {
        content.extend_from_slice(bytes);
    })?;
    let wrong = |fault| unverified(&fault);
    let signature = Signature::decode(&content).map_err(wrong)?;
    let mut check = keys.check(&signature).map_err(wrong)?;
    read_all(file, u64::MAX, &mut |bytes| check.update(bytes))?;
    let signer = check.finish(&signed.plain_file_name()).map_err(wrong)?;
    log::info!("{signed}: signature OK ({signer})");
    Ok(())
}

/// Reads a file from its beginning, up to `max_len` bytes.
fn read_all(mut file: &File, max_len: u64, take: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
    file.seek(SeekFrom::Start(0)).map_err(other)?;
    let mut file = file.take(max_len);
    let mut bytes = vec![0; 128 << 10];
    loop {
        match file.read(&mut bytes).map_err(other)? {
            0 => return Ok(()),
            len => take(bytes.get(..len).unwrap_or_default()),
        }
    }
}

/// Returns the default address of a file's signature, beside the file, as minisign names it.
fn signature_of(url: &Url) -> Result<Url, Failure> {
    let name = format!("{}.minisig", url.file_name());
    url.beside(&name).map_err(other)
}
