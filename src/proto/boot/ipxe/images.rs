//! Images: the files that scripts have fetched, and the plan of a kernel and its initrds.

use super::super::context::REFUSED;
use super::super::loaders::{self, BootLoader};
use super::super::plan::{BootPlan, Placement, PlanPart};
use super::arguments::CommandFault;
use crate::format::kernel_image::{KernelFormat, classify};
use crate::prelude::*;
use crate::text::url::Url;

/// Limit of loaded images, since a script can load in a loop.
const MAX_IMAGES: usize = 256;

/// The longest file that is kept as text: what `imgset` may make of it, in bytes.
const MAX_TEXT_LEN: usize = 65_536;

/// The first bytes of archives for the kernel: cpio as it is, with and without checksums, and what
/// gzip has packed.
const ARCHIVES: [&[u8]; 3] = [b"070701", b"070702", b"\x1f\x8b"];

/// The number of an image; names are not unique.
pub(super) type ImageId = usize;

/// A fetched file.
#[derive(Debug, Clone)]
pub(super) struct ScriptImage {
    pub(super) id: ImageId,
    pub(super) name: String,
    pub(super) url: Url,
    /// Its command line.
    pub(super) arguments: String,
    pub(super) kind: KernelFormat,
    /// Why it cannot be started as a kernel.
    refusal: Option<String>,
    /// Whether it is an archive that the kernel unpacks, as far as its first bytes say.
    pub(super) is_archive: bool,
    /// Whether it was loaded to be started, so that it is no initrd.
    pub(super) is_kernel: bool,
    pub(super) trust: ImageTrust,
    /// The text of a script, or of another short file.
    pub(super) text: Option<Vec<u8>>,
}

/// Result of `imgverify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageTrust {
    /// The image has not been checked.
    Unchecked,
    /// This signature is good.
    Verified(Url),
    /// The check failed.
    Refused,
}

impl ScriptImage {
    /// Returns the image of a file that begins with `head`; `cut_text` is why that is no text to be read,
    /// if it is the beginning of one.
    pub(super) fn new(
        name: &str,
        url: Url,
        arguments: String,
        head: Vec<u8>,
        cut_text: Option<String>,
    ) -> Self {
        let kind = classify(&head);
        let is_short = kind == KernelFormat::IpxeScript || head.len() <= MAX_TEXT_LEN;
        let is_kept = is_short && cut_text.is_none();
        Self {
            id: 0,
            name: name.to_owned(),
            refusal: cut_text.or_else(|| loaders::kernel_refusal(&url, &head)),
            url,
            arguments,
            kind,
            is_archive: ARCHIVES.iter().any(|magic| head.starts_with(magic)),
            is_kernel: false,
            trust: ImageTrust::Unchecked,
            text: is_kept.then_some(head),
        }
    }

    /// Returns how the image is started.
    ///
    /// # Errors
    /// An image that cannot be: where iPXE probes an image and has no type for it, the command
    /// fails with ENOEXEC and what follows `||` runs (`image_select` and `image_exec` of iPXE).
    pub(super) fn start(&self) -> Result<StartMethod, CommandFault> {
        if self.kind == KernelFormat::IpxeScript && self.text.is_some() {
            return Ok(StartMethod::Script);
        }
        if self.kind.is_kernel() {
            return Ok(StartMethod::Kernel);
        }
        #[cfg(feature = "iso")]
        if self.url.names_iso() {
            return Ok(StartMethod::Iso);
        }
        #[cfg(feature = "iso")]
        if loaders::is_memdisk(self.url.file_name()) {
            return Ok(StartMethod::Memdisk);
        }
        let what = match loaders::program(Some(self.kind), &self.url) {
            Some(BootLoader::Pxelinux | BootLoader::Grub) => return Ok(StartMethod::BootLoader),
            // Another iPXE would begin with the same lease and the same script again.
            Some(BootLoader::Ipxe) => "is another iPXE; its scripts are run already",
            None if self.kind == KernelFormat::Text => {
                "is neither a kernel nor a script with #!ipxe in its first line"
            }
            None => self.refusal.as_deref().unwrap_or("is no kernel"),
        };
        Err(CommandFault::new(&self.name, what))
    }
}

/// The way to start an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartMethod {
    /// By the commands in it.
    Script,
    /// As the kernel of a plan.
    Kernel,
    /// By reading the configuration of the boot loader that it is.
    BootLoader,
    /// By reading the configuration in the ISO image that it is.
    #[cfg(feature = "iso")]
    Iso,
    /// By starting the ISO image that it would emulate a disk with.
    #[cfg(feature = "iso")]
    Memdisk,
}

impl ScriptImage {
    fn signature(&self) -> Option<Url> {
        match &self.trust {
            ImageTrust::Verified(signature) => Some(signature.clone()),
            ImageTrust::Unchecked | ImageTrust::Refused => None,
        }
    }
}

/// All images of a run, in the order in which they were fetched.
#[derive(Debug, Default)]
pub(super) struct ScriptImages {
    list: Vec<ScriptImage>,
    last_id: ImageId,
    selected: Option<ImageId>,
    /// The device tree of the kernel.
    pub(super) device_tree: Option<ImageId>,
    /// Set by `imgtrust`: nothing starts that is not verified, scripts neither.
    trust_is_demanded: bool,
    /// Set when no `imgtrust` can change that any more.
    trust_is_permanent: bool,
}

impl ScriptImages {
    /// Returns the first image of this name (`find_image` of iPXE).
    pub(super) fn find(&mut self, name: &str) -> Option<&mut ScriptImage> {
        self.list.iter_mut().find(|image| image.name == name)
    }

    /// Returns the image of this number.
    ///
    /// # Errors
    /// It has been freed.
    pub(super) fn get(&mut self, id: ImageId) -> Result<&mut ScriptImage, CommandFault> {
        let image = self.list.iter_mut().find(|image| image.id == id);
        image.ok_or_else(|| CommandFault::of_command("the image has been freed"))
    }

    /// Adds an image and returns its number. Files of one name in two directories are two images
    /// (`register_image` of iPXE); a file that is fetched again replaces itself.
    ///
    /// # Errors
    /// Too many images.
    pub(super) fn add(&mut self, image: ScriptImage) -> Result<ImageId, CommandFault> {
        self.list
            .retain(|other| other.name != image.name || other.url != image.url);
        if self.list.len() >= MAX_IMAGES {
            let what = format!("more than {MAX_IMAGES} images are loaded");
            return Err(CommandFault::new(&image.name, what));
        }
        self.last_id += 1;
        let id = self.last_id;
        self.list.push(ScriptImage { id, ..image });
        Ok(id)
    }

    /// Makes the image the one that `boot` starts.
    pub(super) const fn select(&mut self, id: ImageId) {
        self.selected = Some(id);
    }

    /// Returns the image that `boot` starts.
    pub(super) fn selected(&mut self) -> Option<&mut ScriptImage> {
        let selected = self.selected?;
        self.get(selected).ok()
    }

    /// Removes the image of this number.
    pub(super) fn free(&mut self, id: ImageId) {
        self.list.retain(|image| image.id != id);
    }

    /// Removes all images.
    pub(super) fn free_all(&mut self) {
        self.list.clear();
    }

    /// Demands, or no longer, that what starts is verified (`image_set_trust` of iPXE).
    ///
    /// # Errors
    /// A change of what an earlier one made permanent.
    pub(super) fn demand_trust(
        &mut self,
        is_demanded: bool,
        is_permanent: bool,
    ) -> Result<(), CommandFault> {
        // As image_set_trust() of iPXE: what is permanent stays, and asking for it again succeeds.
        if !self.trust_is_permanent {
            self.trust_is_demanded = is_demanded;
            self.trust_is_permanent = is_permanent;
        }
        if self.trust_is_demanded != is_demanded {
            let what = "an earlier imgtrust --permanent forbids this";
            return Err(CommandFault::new("imgtrust", what));
        }
        Ok(())
    }

    /// Refuses the images of this address.
    pub(super) fn refuse(&mut self, url: &Url) {
        let images = self.list.iter_mut();
        for image in images.filter(|image| image.url.is_of(url)) {
            image.trust = ImageTrust::Refused;
        }
    }

    /// Records that the signature of an image is good; others of its address are refused no longer.
    ///
    /// # Errors
    /// It has been freed.
    pub(super) fn accept(&mut self, id: ImageId, signature: Url) -> Result<Url, CommandFault> {
        let url = self.get(id)?.url.clone();
        let images = self.list.iter_mut();
        for image in images.filter(|image| image.url.is_of(&url)) {
            if image.id == id {
                image.trust = ImageTrust::Verified(signature.clone());
            } else if image.trust == ImageTrust::Refused {
                image.trust = ImageTrust::Unchecked;
            }
        }
        Ok(url)
    }

    /// Makes sure that an image may start; `is_loader` says that what follows it cannot be verified.
    ///
    /// # Errors
    /// Its check has failed; or it has not been checked, and `imgtrust` demands it.
    pub(super) fn check_trust(
        &self,
        image: &ScriptImage,
        is_loader: bool,
    ) -> Result<(), CommandFault> {
        let what = match &image.trust {
            ImageTrust::Refused => REFUSED,
            ImageTrust::Unchecked if self.trust_is_demanded => {
                "imgtrust demands a verified image, and no imgverify has verified this one"
            }
            ImageTrust::Verified(_) if self.trust_is_demanded && is_loader => {
                "imgtrust demands verified files, and its configuration cannot be verified"
            }
            ImageTrust::Unchecked | ImageTrust::Verified(_) => return Ok(()),
        };
        Err(CommandFault::new(&image.name, what))
    }

    /// Returns the ISO image that memdisk would emulate a disk with.
    ///
    /// # Errors
    /// There is none, or it may not start.
    #[cfg(feature = "iso")]
    pub(super) fn disk_of(&self, memdisk: &ScriptImage) -> Result<Url, CommandFault> {
        let mut disks = self.list.iter().filter(|image| image.url.names_iso());
        let Some(disk) = disks.next() else {
            let what = memdisk.refusal.as_deref().unwrap_or("has no disk image");
            return Err(CommandFault::new(&memdisk.name, what));
        };
        self.check_trust(disk, false)?;
        Ok(disk.url.clone())
    }

    /// Returns a line per image for people.
    pub(super) fn describe(&self) -> String {
        let lines = self.list.iter().map(|image| {
            let arguments = image.arguments.as_str();
            format!("{} : {} {arguments}", image.name, image.url)
                .trim_end()
                .to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Returns the plan that starts this image with all others as initrds.
    ///
    /// # Errors
    /// An initrd whose signature is bad, or a bad placement.
    pub(super) fn plan(&self, kernel: &ScriptImage) -> Result<BootPlan, CommandFault> {
        // As in iPXE: every image that is loaded is an initrd of the one that is started.
        let initrds = self.list.iter().filter(|image| {
            image.id != kernel.id
                && Some(image.id) != self.device_tree
                && !image.is_kernel
                && image.kind != KernelFormat::IpxeScript
        });
        let initrds: Result<Vec<_>, _> = initrds.map(initrd).collect();
        let part = |image: &ScriptImage| PlanPart {
            signature: image.signature(),
            ..image.url.clone().into()
        };
        let mut trees = self.list.iter();
        let tree = trees.find(|image| Some(image.id) == self.device_tree);
        if let Some(tree) = tree.filter(|tree| tree.trust == ImageTrust::Refused) {
            return Err(CommandFault::new(&tree.name, REFUSED));
        }
        let (part, device_tree) = (part(kernel), tree.map(part));
        Ok(BootPlan {
            initrds: initrds?,
            device_tree,
            ..BootPlan::of_kernel(part, kernel.arguments.clone())
        })
    }
}

/// An initrd is loaded as it is, unless its command line says at which path it is to be found.
fn initrd(image: &ScriptImage) -> Result<PlanPart, CommandFault> {
    if image.trust == ImageTrust::Refused {
        return Err(CommandFault::new(&image.name, REFUSED));
    }
    let mut words = image.arguments.split_whitespace();
    let path = words
        .next()
        .map(|path| path.trim_start_matches('/'))
        .filter(|path| !path.is_empty());
    // iPXE's default (include/ipxe/cpio.h).
    let mut mode = 0o644;
    let mut make_directories = Some(0);
    for word in words {
        let fault = |what: &str| CommandFault::new(word, what);
        if let Some(digits) = word.strip_prefix("mode=") {
            let bits = u16::from_str_radix(digits, 8).ok();
            mode = bits
                .filter(|bits| *bits <= 0o7777)
                .ok_or_else(|| fault("a mode is four octal digits"))?;
        } else if let Some(count) = word.strip_prefix("mkdir=") {
            make_directories = match count {
                "-1" => None,
                _ => Some(
                    count
                        .parse()
                        .map_err(|_| fault("mkdir is a number or -1"))?,
                ),
            };
        }
    }
    if path.is_some_and(|path| path.split('/').any(|part| part == "..")) {
        return Err(CommandFault::new(
            &image.arguments,
            "the path must not contain ..",
        ));
    }
    Ok(PlanPart {
        url: image.url.clone(),
        signature: image.signature(),
        placement: path.map(|path| Placement {
            path: path.to_owned(),
            mode,
            make_directories,
        }),
    })
}
