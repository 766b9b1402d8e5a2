//! A plan and the files of its making, of which the image is made.

#![forbid(unsafe_code)]

use std::rc::Rc;

#[cfg(feature = "root")]
use wireboot_proto::boot::Place;
use wireboot_proto::boot::{BootPlan, HEAD_LEN, Note, Purpose, kernel_refusal};
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::Room;

use crate::config::{BootConfig, Loader, Stage};
use crate::error::{Error, Reason};
use crate::fetch::Fetcher;
use crate::image::Image;
#[cfg(feature = "root")]
use crate::settings::{cmdline::words, root};
use crate::sys::SyscallError;
use crate::sys::memfd::SealedFile;

/// Fetched files by their URLs.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<(Url, Rc<SealedFile>)>);

impl Files {
    /// Returns the file of this URL.
    pub(super) fn get(&self, url: &Url) -> Option<Rc<SealedFile>> {
        let mut files = self.0.iter();
        let found = files.find(|(known, _)| known == url);
        found.map(|(_, file)| file.clone())
    }

    /// Returns the file of this address, fetched the first time.
    pub(super) fn get_or(
        &mut self,
        url: &Url,
        fetch: impl FnOnce() -> Result<Option<SealedFile>, Error>,
    ) -> Result<Option<Rc<SealedFile>>, Error> {
        match self.get(url) {
            Some(file) => Ok(Some(file)),
            None => Ok(fetch()?.map(|file| self.add(url, file))),
        }
    }

    /// Stores a file, replacing one with the same URL.
    pub(super) fn add(&mut self, url: &Url, file: SealedFile) -> Rc<SealedFile> {
        let file = Rc::new(file);
        self.0.retain(|(known, _)| known != url);
        self.0.push((url.clone(), file.clone()));
        file
    }
}

/// A plan, with the notes and files of its making.
#[derive(Debug)]
pub(super) struct Planned {
    /// The plan.
    pub(super) plan: BootPlan,
    /// Which file and line each decision came from.
    pub(super) notes: Vec<Note>,
    /// The files fetched while planning; parts of the plan may be among them.
    pub(super) files: Files,
    /// Copies of its parts.
    pub(super) copies: Copies,
}

/// Largest number of copies of the parts of a plan in memory, besides their files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copies(pub(super) u8);

impl Copies {
    pub(super) fn of(config: &BootConfig) -> Self {
        Self(match (config.stop_after, config.loader) {
            (Some(Stage::Link | Stage::Lease | Stage::Plan | Stage::Image), _) => 0,
            // Pages that the kernel has copied from this process.
            (Some(Stage::Load) | None, Loader::Segments) => 1,
            // It reads a file into a buffer, and copies that (kernel/kexec_file.c).
            (Some(Stage::Load) | None, Loader::File) => 2,
        })
    }

    /// Returns what memory must have room for besides a part, when other parts have `len` bytes.
    pub(super) fn room_beside(self, len: u64) -> Room {
        Room {
            copies: self.0,
            beside: len.saturating_mul(self.0.into()),
        }
    }
}

impl Planned {
    /// Adds what becomes of a root that the command line names.
    #[cfg(feature = "root")]
    pub(super) fn with_note_of_root(mut self) -> Self {
        let command_line = self.plan.with_append(&self.plan.command_line);
        if let Some(text) = root::explain(&words(&command_line)) {
            let place = Place::whole(&self.plan.kernel.url);
            let is_detail = false;
            let note = Note {
                place,
                text,
                is_detail,
            };
            log::info!("{note}");
            self.notes.push(note);
        }
        self
    }

    /// Fetches the parts of the plan that are not among the files yet, the kernel first, and makes
    /// the image of all.
    ///
    /// # Errors
    /// [`Reason::NothingBootable`] if the kernel is none, before anything else is fetched, that of the
    /// first part that cannot be fetched, and those of [`Image::assemble`].
    pub(super) fn assemble(&mut self, fetcher: &Fetcher) -> Result<Image, Error> {
        self.fetch_parts(|url, max_len, room| fetcher.with_room(room).need(url, max_len))?;
        // No file stays in memory beside the parts that are made from it.
        let files = std::mem::take(&mut self.files);
        Image::assemble(&self.plan, move |url| files.get(url), fetcher.hashes)
    }

    pub(super) fn fetch_parts(
        &mut self,
        fetch: impl Fn(&Url, u64, Room) -> Result<SealedFile, Error>,
    ) -> Result<(), Error> {
        let mut len = 0;
        for (part, purpose) in self.plan.parts() {
            let file = match self.files.get(&part.url) {
                Some(file) => file,
                None => {
                    let room = self.copies.room_beside(len);
                    let file = fetch(&part.url, purpose.max_len(), room)?;
                    self.files.add(&part.url, file)
                }
            };
            len += file.size().map_err(unreadable)?;
            // The kernel comes first: what goes with it may be gigabytes.
            if purpose == Purpose::Kernel
                && let Some(what) = kernel_refusal(&part.url, &head_of(&file)?)
            {
                return Err(Box::new(Reason::NothingBootable {
                    what: format!("{} {what}", part.url),
                    source: None,
                }));
            }
        }
        Ok(())
    }
}

pub(super) fn head_of(file: &SealedFile) -> Result<Vec<u8>, Error> {
    file.octets(0..HEAD_LEN as u64).map_err(unreadable)
}

pub(super) fn unreadable(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot read a fetched file".to_owned(),
        source,
    })
}
