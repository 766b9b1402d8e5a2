//! Images: what scripts have fetched, and how a kernel and its initrds become of them.

use super::super::firmware::{self, Program};
use super::super::{BootPlan, Part, Placement};
use super::commands::Fault;
use crate::format::kernel_image::{KernelFormat, classify};
use crate::prelude::*;
use crate::text::url::Url;

/// How many images a script may hold.
const MAX_IMAGES: usize = 256;

/// A fetched file.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) url: Url,
    /// Its command line.
    pub(super) arguments: String,
    pub(super) kind: KernelFormat,
    /// Set when it has been loaded to be started, and is no initrd therefore.
    pub(super) is_kernel: bool,
    pub(super) trust: Trust,
    /// The text of a script.
    pub(super) text: Vec<u8>,
}

/// What `imgverify` came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// The image has not been checked.
    Unchecked,
    /// The image is what this signature is about.
    Verified(Url),
    /// The check failed.
    Refused,
}

impl Image {
    /// Returns the image of a file that begins with `head`.
    pub(super) fn new(name: &str, url: Url, arguments: String, head: Vec<u8>) -> Self {
        let kind = classify(&head);
        Self {
            name: name.to_owned(),
            url,
            arguments,
            kind,
            is_kernel: false,
            trust: Trust::Unchecked,
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
    /// fails with ENOEXEC and `||` takes over (`image_select` and `image_exec` of iPXE).
    pub(super) fn start(&self) -> Result<Start, Fault> {
        if self.kind == KernelFormat::IpxeScript {
            return Ok(Start::Script);
        } else if self.kind.is_kernel() {
            return Ok(Start::Kernel);
        }
        let what = match firmware::program(Some(self.kind), &self.url) {
            Some(Program::Pxelinux | Program::Grub) => return Ok(Start::BootLoader),
            // Another iPXE would begin with the same lease and the same script again.
            Some(Program::Ipxe) => "is another iPXE, and its scripts already run here",
            None if self.kind == KernelFormat::Text => {
                "is neither a kernel nor a script that begins with #!ipxe"
            }
            None => "is a program for the firmware, which is gone once Linux runs",
        };
        Err(Fault::new(&self.name, what))
    }
}

/// How an image is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// By the commands in it.
    Script,
    /// As the kernel of a plan.
    Kernel,
    /// By reading the configuration of the boot loader that it is.
    BootLoader,
}

impl Image {
    fn signature(&self) -> Option<Url> {
        match &self.trust {
            Trust::Verified(signature) => Some(signature.clone()),
            Trust::Unchecked | Trust::Refused => None,
        }
    }
}

const REFUSED: &str = "its signature is bad: imgverify has failed for it";

/// All images of a run, in the order in which they were fetched.
#[derive(Debug, Default)]
pub(super) struct Images {
    list: Vec<Image>,
    selected: Option<String>,
    /// Set by `imgtrust`: nothing starts that is not verified, scripts neither.
    trust_is_demanded: bool,
    /// Set when no `imgtrust` can change that any more.
    trust_is_permanent: bool,
}

impl Images {
    /// Returns the image of this name.
    pub(super) fn find(&mut self, name: &str) -> Option<&mut Image> {
        self.list.iter_mut().find(|image| image.name == name)
    }

    /// Adds an image; one of the same name goes.
    ///
    /// # Errors
    /// Too many images.
    pub(super) fn add(&mut self, image: Image) -> Result<(), Fault> {
        self.list.retain(|other| other.name != image.name);
        if self.list.len() >= MAX_IMAGES {
            let what = format!("more than {MAX_IMAGES} images are loaded");
            return Err(Fault::new(&image.name, what));
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

    /// Forgets the image of this name, or all.
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
    ) -> Result<(), Fault> {
        if !self.trust_is_permanent {
            self.trust_is_demanded = is_demanded;
            self.trust_is_permanent = is_permanent;
        }
        if self.trust_is_demanded != is_demanded {
            let what = "an imgtrust before has made permanent what is demanded";
            return Err(Fault::new("imgtrust", what));
        }
        Ok(())
    }

    /// Makes sure that the image of this name may start.
    ///
    /// # Errors
    /// Its check has failed; or it has not been checked, and `imgtrust` demands it.
    pub(super) fn check_trust(&self, name: &str) -> Result<(), Fault> {
        let image = self.list.iter().find(|image| image.name == name);
        let what = match image.map(|image| &image.trust) {
            Some(Trust::Refused) => REFUSED,
            Some(Trust::Unchecked) if self.trust_is_demanded => {
                "imgtrust demands a verified image, and no imgverify has verified this one"
            }
            Some(Trust::Unchecked | Trust::Verified(_)) | None => return Ok(()),
        };
        Err(Fault::new(name, what))
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
    pub(super) fn plan(&self, name: &str) -> Result<BootPlan, Fault> {
        let kernel = self.list.iter().find(|image| image.name == name);
        let kernel = kernel.ok_or_else(|| Fault::new(name, "no image has this name"))?;
        let initrds = self.list.iter().filter(|image| {
            image.name != name && !image.is_kernel && image.kind != KernelFormat::IpxeScript
        });
        let initrds: Result<Vec<_>, _> = initrds.map(initrd).collect();
        let part = Part {
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
fn initrd(image: &Image) -> Result<Part, Fault> {
    if image.trust == Trust::Refused {
        return Err(Fault::new(&image.name, REFUSED));
    }
    let mut words = image.arguments.split_whitespace();
    let path = words
        .next()
        .map(|path| path.trim_start_matches('/'))
        .filter(|path| !path.is_empty());
    let mut mode = 0o644;
    let mut make_directories = Some(0);
    for word in words {
        let fault = |what: &str| Fault::new(word, what);
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
        return Err(Fault::new(&image.arguments, "a path may not climb with .."));
    }
    Ok(Part {
        url: image.url.clone(),
        signature: image.signature(),
        placement: path.map(|path| Placement {
            path: path.to_owned(),
            mode,
            make_directories,
        }),
    })
}
