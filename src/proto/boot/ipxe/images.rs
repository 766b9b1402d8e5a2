//! Images: the files that scripts have fetched, and the plan of a kernel and its initrds.

use super::super::loaders::{self, BootLoader};
use super::super::plan::{BootPlan, Placement, PlanPart};
use super::arguments::CommandFault;
use crate::format::kernel_image::{KernelFormat, classify};
use crate::prelude::*;
use crate::text::url::Url;

/// Limit of loaded images, since a script can load in a loop.
const MAX_IMAGES: usize = 256;

/// A fetched file.
#[derive(Debug, Clone)]
pub(super) struct ScriptImage {
    pub(super) name: String,
    pub(super) url: Url,
    /// Its command line.
    pub(super) arguments: String,
    pub(super) kind: KernelFormat,
    /// Why it cannot be started as a kernel.
    refusal: Option<String>,
    /// Whether it was loaded to be started, so that it is no initrd.
    pub(super) is_kernel: bool,
    pub(super) trust: ImageTrust,
    /// The text of a script.
    pub(super) text: Vec<u8>,
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
    /// Returns the image of a file that begins with `head`.
    pub(super) fn new(name: &str, url: Url, arguments: String, head: Vec<u8>) -> Self {
        let kind = classify(&head);
        Self {
            name: name.to_owned(),
            refusal: loaders::kernel_refusal(&url, &head),
            url,
            arguments,
            kind,
            is_kernel: false,
            trust: ImageTrust::Unchecked,
            text: if kind == KernelFormat::IpxeScript {
                head
            } else {
                Vec::new()
            },
        }
    }

    /// Returns how the image is started.
    ///
    /// # Errors
    /// An image that cannot be: where iPXE probes an image and has no type for it, the command
    /// fails with ENOEXEC and what follows `||` runs (`image_select` and `image_exec` of iPXE).
    pub(super) fn start(&self) -> Result<StartMethod, CommandFault> {
        if self.kind == KernelFormat::IpxeScript {
            return Ok(StartMethod::Script);
        } else if self.kind.is_kernel() {
            return Ok(StartMethod::Kernel);
        } else if self.url.names_iso() {
            return Ok(StartMethod::BootLoader);
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
    /// By reading the configuration of the boot loader that it is, or that an ISO image has.
    BootLoader,
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

const REFUSED: &str = "its signature is bad: imgverify has failed for it";

/// All images of a run, in the order in which they were fetched.
#[derive(Debug, Default)]
pub(super) struct Images {
    list: Vec<ScriptImage>,
    selected: Option<String>,
    /// Set by `imgtrust`: nothing starts that is not verified, scripts neither.
    trust_is_demanded: bool,
    /// Set when no `imgtrust` can change that any more.
    trust_is_permanent: bool,
}

impl Images {
    /// Returns the image of this name.
    pub(super) fn find(&mut self, name: &str) -> Option<&mut ScriptImage> {
        self.list.iter_mut().find(|image| image.name == name)
    }

    /// Adds an image in place of one with the same name.
    ///
    /// # Errors
    /// Too many images.
    pub(super) fn add(&mut self, image: ScriptImage) -> Result<(), CommandFault> {
        self.list.retain(|other| other.name != image.name);
        if self.list.len() >= MAX_IMAGES {
            let what = format!("more than {MAX_IMAGES} images are loaded");
            return Err(CommandFault::new(&image.name, what));
        }
        self.list.push(image);
        Ok(())
    }

    /// Makes the image the one that `boot` starts.
    pub(super) fn select(&mut self, name: &str) {
        self.selected = Some(name.to_owned());
        if let Some(image) = self.find(name) {
            image.is_kernel = true;
        }
    }

    /// Returns the name of the image that `boot` starts.
    pub(super) fn selected(&self) -> Option<&str> {
        self.selected.as_deref()
    }

    /// Removes the image of this name, or all.
    pub(super) fn free(&mut self, name: Option<&str>) {
        self.list
            .retain(|image| name.is_some_and(|name| image.name != name));
        if name.is_none() || name == self.selected.as_deref() {
            self.selected = None;
        }
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

    /// Makes sure that the image of this name may start.
    ///
    /// # Errors
    /// Its check has failed; or it has not been checked, and `imgtrust` demands it.
    pub(super) fn check_trust(&self, name: &str) -> Result<(), CommandFault> {
        let image = self.list.iter().find(|image| image.name == name);
        let what = match image.map(|image| &image.trust) {
            Some(ImageTrust::Refused) => REFUSED,
            Some(ImageTrust::Unchecked) if self.trust_is_demanded => {
                "imgtrust demands a verified image, and no imgverify has verified this one"
            }
            Some(ImageTrust::Unchecked | ImageTrust::Verified(_)) | None => return Ok(()),
        };
        Err(CommandFault::new(name, what))
    }

    /// Returns the ISO image that memdisk, an image of this name, would emulate a disk with.
    ///
    /// # Errors
    /// There is none, or it may not start.
    #[cfg(feature = "iso")]
    pub(super) fn disk_of(&self, name: &str) -> Result<Url, CommandFault> {
        let mut disks = self.list.iter().filter(|image| image.url.names_iso());
        let Some(disk) = disks.next() else {
            let memdisk = self.list.iter().find(|image| image.name == name);
            let what = memdisk.and_then(|image| image.refusal.as_deref());
            return Err(CommandFault::new(name, what.unwrap_or("has no disk image")));
        };
        self.check_trust(&disk.name)?;
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

    /// Returns the plan that starts the image of this name with all others as initrds.
    ///
    /// # Errors
    /// An initrd whose signature is bad, or a bad placement.
    pub(super) fn plan(&self, name: &str) -> Result<BootPlan, CommandFault> {
        let kernel = self.list.iter().find(|image| image.name == name);
        let kernel = kernel.ok_or_else(|| CommandFault::new(name, "no such image"))?;
        // As in iPXE: every image that is loaded is an initrd of the one that is started.
        let initrds = self.list.iter().filter(|image| {
            image.name != name && !image.is_kernel && image.kind != KernelFormat::IpxeScript
        });
        let initrds: Result<Vec<_>, _> = initrds.map(initrd).collect();
        let part = PlanPart {
            signature: kernel.signature(),
            ..kernel.url.clone().into()
        };
        Ok(BootPlan {
            initrds: initrds?,
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
