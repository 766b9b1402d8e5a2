//! ISO images as boot files: the configuration of the boot loader in one is read as if the image were
//! the server, and the command line of its kernel says where the image is.
//!
//! The file system itself is the driver's: it answers a fetch of `x.iso#/path` with the file, and one
//! of `x.iso#/path/` with the names in the directory, a line each.

mod distributions;

use super::context::{Context, Turn};
use super::loaders::{Language, is_memdisk};
use super::plan::{BootPlan, Place, PlanError, Purpose};
use super::step::{Answer, FetchResult, Step};
use crate::prelude::*;
use crate::text::url::Url;

pub(super) use distributions::ImageInspection;
use distributions::in_image;

/// Where ISOLINUX looks for its configuration, in its order (core/fs/iso9660/iso9660.c).
const ISOLINUX: &[&str] = &[
    "/boot/isolinux/isolinux.cfg",
    "/boot/isolinux/syslinux.cfg",
    "/isolinux/isolinux.cfg",
    "/isolinux/syslinux.cfg",
    "/boot/syslinux/isolinux.cfg",
    "/boot/syslinux/syslinux.cfg",
    "/syslinux/isolinux.cfg",
    "/syslinux/syslinux.cfg",
    "/isolinux.cfg",
    "/syslinux.cfg",
    // openSUSE links its ISOLINUX to this directory.
    "/boot/x86_64/loader/isolinux.cfg",
];
/// Where grub-mkrescue and distributions put the configuration of GRUB. The last is for images that
/// another GRUB has mounted, and relies on more than is there.
const GRUB: &[&str] = &[
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/EFI/BOOT/grub.cfg",
    "/grub/grub.cfg",
    "/boot/grub/loopback.cfg",
];

/// The search for the configuration of the boot loader in an image.
#[derive(Debug)]
pub(super) struct IsoSearch {
    image: Url,
    /// The paths to try; the first has been requested, unless the image is still to be looked at.
    paths: alloc::vec::IntoIter<&'static str>,
    requested: Option<&'static str>,
    /// Why the configurations so far led to no plan.
    last_error: Option<PlanError>,
}

/// The result of an answer.
#[derive(Debug)]
pub(super) enum IsoSearchResult {
    Asks(Turn),
    /// The configuration, and the language that its name stands for.
    Found(Url, Vec<u8>, Language),
}

impl IsoSearch {
    pub(super) fn new(image: Url, context: &Context) -> Self {
        // As on the machine itself: EFI starts GRUB, PC firmware mostly ISOLINUX.
        let paths = if context.facts.is_efi {
            [GRUB, ISOLINUX]
        } else {
            [ISOLINUX, GRUB]
        };
        Self {
            image,
            paths: paths.concat().into_iter(),
            requested: None,
            last_error: None,
        }
    }

    /// Handles the answer to the step before.
    ///
    /// # Errors
    /// An image that cannot be read, or without a configuration that leads to a plan.
    pub(super) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<IsoSearchResult, PlanError> {
        let image = Place::whole(&self.image);
        match (self.requested, answer) {
            // The root directory, which tells whether it is an image.
            (None, Answer::Begin) => {
                return self.ask("/").map(IsoSearchResult::Asks);
            }
            (None, answer) => match answer.into_fetched() {
                FetchResult::File(_) => context.note(
                    &image,
                    "is an ISO image; searching for the configuration of its boot loader",
                ),
                FetchResult::Missing => {
                    return Err(PlanError::at(&image, "the server has no such file"));
                }
                FetchResult::Failed(why) => return Err(PlanError::at(&image, why)),
            },
            (Some(path), answer) => {
                let url = self.url(path)?;
                match answer.into_fetched() {
                    FetchResult::File(text) => {
                        context.note(&image, format!("configuration: {path}"));
                        let language = if path.ends_with("linux.cfg") {
                            Language::Pxelinux
                        } else {
                            Language::Grub
                        };
                        return Ok(IsoSearchResult::Found(url, text, language));
                    }
                    FetchResult::Missing => context.note_detail(&Place::whole(&url), "not found"),
                    FetchResult::Failed(why) => {
                        return Err(PlanError::at(&Place::whole(&url), why));
                    }
                }
            }
        }
        self.try_next()
    }

    /// Continues with the next configuration when one leads to no plan for this reason.
    ///
    /// # Errors
    /// That reason, if there is no other configuration.
    pub(super) fn retry(
        &mut self,
        error: PlanError,
        context: &mut Context,
    ) -> Result<IsoSearchResult, PlanError> {
        context.note(&error.place, error.without_place());
        self.last_error = Some(error);
        self.try_next()
    }

    fn try_next(&mut self) -> Result<IsoSearchResult, PlanError> {
        match (self.paths.next(), self.last_error.take()) {
            (Some(path), error) => {
                self.last_error = error;
                self.requested = Some(path);
                self.ask(path).map(IsoSearchResult::Asks)
            }
            (None, Some(error)) => Err(error),
            (None, None) => {
                let what = "the ISO image has no configuration of ISOLINUX or GRUB where it is \
                            usual; name one, or a kernel in it, as \"URL.iso#/path\"";
                Err(PlanError::at(&Place::whole(&self.image), what))
            }
        }
    }

    fn ask(&self, path: &str) -> Result<Turn, PlanError> {
        self.url(path).map(Turn::configuration)
    }

    fn url(&self, path: &str) -> Result<Url, PlanError> {
        in_image(&self.image, path)
    }
}

/// Returns the ISO image of a plan that would start it by memdisk.
pub(super) fn of_memdisk(plan: &BootPlan) -> Option<&Url> {
    let mut images = plan.initrds.iter().filter(|part| part.url.names_iso());
    images
        .next()
        .filter(|_| is_memdisk(plan.kernel.url.file_name()))
        .map(|part| &part.url)
}

/// A fetch of a whole ISO image by a configuration, which is not to be fetched at that point: the root
/// directory is asked for in its place, to see whether the image is there.
#[derive(Debug)]
pub(super) struct IsoProbe {
    url: Url,
    purpose: Purpose,
}

impl IsoProbe {
    /// Returns the probe for a step, and what is to be asked in its place.
    pub(super) fn of(step: &Step) -> Option<(Self, Step)> {
        let Step::Fetch { url, purpose } = step else {
            return None;
        };
        let is_whole = matches!(
            purpose,
            Purpose::BootFile | Purpose::Kernel | Purpose::Initrd
        );
        let root = url.in_image("/").ok();
        let root = root.filter(|_| is_whole && url.names_iso())?;
        let purpose_of_root = Purpose::Configuration;
        let probe = Self {
            url: url.clone(),
            purpose: *purpose,
        };
        let step = Step::Fetch {
            url: root,
            purpose: purpose_of_root,
        };
        Some((probe, step))
    }

    /// Returns the answer for the one who asked; or the step after all, if the file is no ISO image.
    pub(super) fn answered(self, answer: Answer) -> Result<Answer, Box<Step>> {
        if matches!(answer, Answer::Failed(_)) {
            let (url, purpose) = (self.url, self.purpose);
            return Err(Box::new(Step::Fetch { url, purpose }));
        } else if matches!(answer, Answer::File { .. }) {
            // No text, script or kernel begins so.
            let (head, len) = (vec![0; 16], 16);
            return Ok(Answer::File { head, len });
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
