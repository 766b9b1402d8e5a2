//! How the distributions let a kernel out of an ISO image find the rest of it.
//!
//! What each accepts is from its own initrd; a new one is a row.

use super::super::context::{Context, Turn};
use super::super::plan::{BootPlan, Place, Placement, PlanError, PlanPart};
use super::super::step::{Answer, FetchResult};
use crate::prelude::*;
use crate::text::url::{Scheme, Url};

/// A family of initrds.
struct Distribution {
    name: &'static str,
    /// What is in the image: a directory, and a name in it, which may begin with `*`; with no
    /// directory, the beginning of a word of the command line.
    marker: (&'static str, &'static str),
    /// Beginnings of words by which a command line tells already where the system is.
    tells: &'static str,
    /// Beginnings of words that say on which local disk the image is.
    local: &'static str,
    handing: Handing,
}

/// The way in which a kernel gets the image. In texts `{iso}` is the address of the image, and
/// `{folder}` where it may be unpacked.
enum Handing {
    /// The initrd fetches the whole image by its address, which these words tell it.
    Words(&'static str),
    /// The same, by HTTP alone.
    WordsOfHttp(&'static str),
    /// The initrd has the image as a file of this path, which these words tell it.
    Initrd(&'static str, &'static str),
    /// The initrd cannot fetch an image; what would help.
    Refused(&'static str),
    /// The same, and it asks at the console.
    Asked(&'static str),
}

// iso-scan/filename= and findiso= are for images that lie on a disk; with them, an initrd would search
// all disks first.
const DISTRIBUTIONS: &[Distribution] = &[
    // Its /init looks for a file of that name in the initrd.
    Distribution {
        name: "the installer of Proxmox",
        marker: ("/", "*-installer.squashfs"),
        tells: "",
        local: "",
        handing: Handing::Initrd("proxmox.iso", ""),
    },
    // Its initrd has no network.
    Distribution {
        name: "Tails",
        marker: ("/live/", "Tails.module"),
        tells: "fromiso= isofrom=",
        local: "",
        handing: Handing::Initrd("tails.iso", "fromiso=/tails.iso"),
    },
    // scripts/casper: url= since Ubuntu 19.10, iso-url= in newer ones, both for names in .iso alone.
    // cloud-init takes url= for its own and would fetch the image too, unless it has another address.
    Distribution {
        name: "casper (Ubuntu)",
        marker: ("/", "casper/"),
        tells: "url= iso-url= netboot= nfsroot=",
        local: "iso-scan/filename= live-media=",
        handing: Handing::WordsOfHttp("url={iso} iso-url={iso} cloud-config-url=/dev/null ip=dhcp"),
    },
    // components/9990-mount-http.sh: by the ending, .iso is mounted. It always asks by DHCP; words of
    // ip= are for the system that it starts.
    Distribution {
        name: "live-boot (Debian)",
        marker: ("/live/", "*.squashfs"),
        tells: "fetch= httpfs= ftpfs= nfsroot= netboot=",
        local: "findiso= fromiso= isofrom= live-media= bootfrom= iso-scan/filename=",
        handing: Handing::Words("fetch={iso}"),
    },
    // dracut's livenet mounts what ends in .iso, and dmsquash-live finds the image in it by these
    // words. Packages come from mirrors, unless inst.repo= names an unpacked tree (anaconda-lib.sh).
    Distribution {
        name: "Anaconda (Fedora, RHEL)",
        marker: ("/images/", "install.img"),
        tells: ANACONDA_SOURCES,
        local: ANACONDA_MEDIA,
        handing: Handing::Words(
            "root=live:{iso} rd.live.dir=images rd.live.squashimg=install.img rd.neednet=1 ip=dhcp",
        ),
    },
    Distribution {
        name: "dracut (a live system)",
        marker: ("/LiveOS/", "squashfs.img"),
        tells: ANACONDA_SOURCES,
        local: ANACONDA_MEDIA,
        handing: Handing::Words("root=live:{iso} rd.neednet=1 ip=dhcp"),
    },
    // hooks/archiso_pxe_http fetches single files of a tree, and only with ip=.
    Distribution {
        name: "archiso (Arch Linux)",
        marker: ("", "archiso"),
        tells: "archiso_http_srv= archiso_nfs_srv= archiso_nbd_srv=",
        local: "img_dev= img_loop=",
        handing: Handing::Refused(
            "unpack the ISO on the server and append \"ip=dhcp archiso_http_srv={folder}\"",
        ),
    },
    // initramfs-init of mkinitfs: modloop= and alpine_repo= are files of a tree.
    Distribution {
        name: "Alpine Linux",
        marker: ("/", ".alpine-release"),
        tells: "alpine_repo=",
        local: "",
        handing: Handing::Refused(
            "unpack the ISO on the server and append \"ip=dhcp alpine_repo={folder}apks \
             modloop={folder}boot/modloop-lts\"",
        ),
    },
    Distribution {
        name: "NixOS",
        marker: ("/", "nix-store.squashfs"),
        tells: "findiso=",
        local: "",
        handing: Handing::Refused("build its netboot image (system.build.netbootIpxeScript)"),
    },
    Distribution {
        name: "the installer of Debian for CDs",
        marker: ("/.disk/", "cd_type"),
        tells: "",
        local: "",
        handing: Handing::Refused(
            "it installs from a CD alone; boot linux and initrd.gz of its netboot.tar.gz",
        ),
    },
    Distribution {
        name: "linuxrc (openSUSE)",
        marker: ("/", "media.1/"),
        tells: "install= root=live:",
        local: "",
        handing: Handing::Asked("unpack the ISO on the server and append \"install={folder}\""),
    },
];

const ANACONDA_SOURCES: &str = "root=live:http root=live:ftp root=live:tftp root=live:nfs \
    root=live:/ netroot= inst.stage2=http inst.stage2=ftp inst.stage2=nfs inst.repo=http \
    inst.repo=ftp inst.repo=nfs";
const ANACONDA_MEDIA: &str = "root=live:CDLABEL root=live:LABEL root=live:UUID root=CDLABEL \
    inst.stage2=hd: inst.stage2=cdrom inst.repo=hd: inst.repo=cdrom iso-scan/filename=";

/// The step between a plan whose kernel is in an image and the end: it looks at what is in the image,
/// and adds what the distribution needs.
#[derive(Debug)]
pub(crate) struct ImageInspection {
    plan: Box<BootPlan>,
    image: Url,
    /// Directories of the image, by their paths.
    directories: Vec<(&'static str, Vec<String>)>,
    requested: Option<&'static str>,
}

impl ImageInspection {
    /// Begins with a plan; returns it when its kernel is in no image.
    pub(crate) fn begin(plan: Box<BootPlan>) -> Result<Self, Box<BootPlan>> {
        match plan.kernel.url.image() {
            Some(image) => Ok(Self {
                plan,
                image,
                directories: Vec::new(),
                requested: None,
            }),
            None => Err(plan),
        }
    }

    /// Handles the answer to the step before.
    ///
    /// # Errors
    /// A distribution that cannot start so, with what would help.
    pub(crate) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Turn, PlanError> {
        if let Some(directory) = self.requested.take() {
            let names = match answer.into_fetched() {
                FetchResult::File(list) => {
                    let list = String::from_utf8_lossy(&list);
                    list.lines().map(str::to_owned).collect()
                }
                FetchResult::Missing => Vec::new(),
                FetchResult::Failed(why) => {
                    return Err(PlanError::new(&Place::whole(&self.image), directory, why));
                }
            };
            self.directories.push((directory, names));
        }
        for distribution in DISTRIBUTIONS {
            let (directory, name) = distribution.marker;
            let is_known = if directory.is_empty() {
                self.has_word(name, context)
            } else {
                match self
                    .directories
                    .iter()
                    .find(|(known, _)| *known == directory)
                {
                    Some((_, names)) => names.iter().any(|found| fits(found, name)),
                    None => {
                        self.requested = Some(directory);
                        return in_image(&self.image, directory).map(Turn::configuration);
                    }
                }
            };
            if is_known {
                self.hand_over(distribution, context)?;
                return Ok(Turn::Done(self.plan.clone()));
            }
        }
        let what = "the distribution of this ISO image is not known, so its kernel is not told where \
                    the image is; append what it needs for that, if anything";
        context.note(&Place::whole(&self.image), what);
        Ok(Turn::Done(self.plan.clone()))
    }

    /// Changes the plan as the distribution needs it.
    fn hand_over(
        &mut self,
        distribution: &Distribution,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        let place = Place::whole(&self.image);
        let name = distribution.name;
        let tells = self.first_word(distribution.tells, context);
        let line = &self.plan.command_line;
        let is_local = |word: &&str| {
            begins_with(word, distribution.local) && !begins_with(word, distribution.tells)
        };
        let removed: Vec<&str> = line.split(' ').filter(is_local).collect();
        if !removed.is_empty() {
            let removed = removed.join(" ");
            context.note(
                &place,
                format!("{name}: removes {removed}, for a local disk"),
            );
            let kept = line.split(' ').filter(|word| !is_local(word));
            self.plan.command_line = kept.collect::<Vec<_>>().join(" ");
        }
        if let Some(word) = tells {
            context.note(&place, format!("{name}: leaves {word} as it is"));
            return Ok(());
        }
        let fill_in = |text: &str| {
            let iso = self.image.to_string();
            let folder = self.image.path().rsplit_once('.');
            let folder = folder.map(|(path, _)| self.image.join(&format!("{path}/")));
            let folder = match folder {
                Some(Ok(folder)) => folder.to_string(),
                Some(Err(_)) | None => "URL/".to_owned(),
            };
            text.replace("{iso}", &iso).replace("{folder}", &folder)
        };
        let words = match &distribution.handing {
            Handing::Refused(advice) => {
                let what = format!(
                    "cannot fetch an ISO image by its address; {}",
                    fill_in(advice)
                );
                return Err(PlanError::new(&place, name, what));
            }
            Handing::Asked(advice) => {
                let what = format!(
                    "{name}: asks for its medium at the console; {}",
                    fill_in(advice)
                );
                context.note(&place, what);
                return Ok(());
            }
            Handing::Initrd(path, words) => {
                if self.plan.initrds.iter().all(|part| part.url != self.image) {
                    self.plan.initrds.push(PlanPart {
                        placement: Some(Placement {
                            path: (*path).to_owned(),
                            mode: 0o644,
                            make_directories: None,
                        }),
                        ..self.image.clone().into()
                    });
                }
                let what = format!("{name}: the whole image becomes /{path} in its initrd");
                context.note(&place, what);
                *words
            }
            Handing::Words(words) | Handing::WordsOfHttp(words) => {
                self.check_address(distribution)?;
                *words
            }
        };
        let mut words: Vec<String> = words
            .split_whitespace()
            // The user, or the configuration, may know better how to get an address.
            .filter(|word| !word.starts_with("ip=") || !self.has_word("ip=", context))
            .map(fill_in)
            .collect();
        if words.is_empty() {
            return Ok(());
        }
        if words.iter().any(|word| word.starts_with("ip=")) {
            let below = context.facts.made_by.iter();
            let below = below.filter(|word| {
                let key = word.split_inclusive('=').next().unwrap_or_default();
                !self.has_word(key, context)
            });
            words.extend(below.cloned().collect::<Vec<_>>());
        }
        let words = words.join(" ");
        let mut what = format!("{name}: adds {words}");
        if !matches!(distribution.handing, Handing::Initrd(..)) {
            what.push_str("; its initrd fetches the whole image into memory");
        }
        context.note(&place, what);
        self.add(&words);
        Ok(())
    }

    /// Checks that an initrd can fetch the image by its address.
    fn check_address(&self, distribution: &Distribution) -> Result<(), PlanError> {
        let image = &self.image;
        let is_http = matches!(distribution.handing, Handing::WordsOfHttp(_));
        let what = if is_http && image.scheme() == Scheme::Tftp {
            "fetches ISO images by HTTP alone; serve it so"
        } else if image.credentials().is_some() {
            "fetches the ISO image without user name and password; serve it so"
        } else if image.to_string().ends_with(".iso") {
            return Ok(());
        } else {
            "fetches ISO images only from addresses that end in .iso; rename it on the server"
        };
        let place = Place::whole(image);
        Err(PlanError::new(&place, distribution.name, what))
    }

    /// Adds words; what follows `---` is for the system that an installer installs.
    fn add(&mut self, words: &str) {
        let line = &self.plan.command_line;
        let mark = ["---", "--"].into_iter().find_map(|mark| {
            let mut at = 0;
            line.split(' ').find_map(|word| {
                let start = at;
                at += word.len() + 1;
                (word == mark).then_some(start)
            })
        });
        let (before, after) = line.split_at(mark.unwrap_or(line.len()));
        let parts = [before.trim_end(), words, after];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        self.plan.command_line = parts.collect::<Vec<_>>().join(" ");
    }

    /// Returns the first word, of the plan's and those the user appends, that begins like one of these.
    fn first_word(&self, beginnings: &str, context: &Context) -> Option<String> {
        let appended = context.facts.append.as_deref().unwrap_or_default();
        let words = self.plan.command_line.split_whitespace();
        let mut words = words.chain(appended.split_whitespace());
        words
            .find(|word| begins_with(word, beginnings))
            .map(str::to_owned)
    }

    fn has_word(&self, beginning: &str, context: &Context) -> bool {
        self.first_word(beginning, context).is_some()
    }
}

/// Returns the URL of a file of an image.
pub(super) fn in_image(image: &Url, path: &str) -> Result<Url, PlanError> {
    let url = image.in_image(path);
    url.map_err(|error| PlanError::new(&Place::whole(image), path, error.what))
}

fn begins_with(word: &str, beginnings: &str) -> bool {
    let mut beginnings = beginnings.split_whitespace();
    beginnings.any(|beginning| word.starts_with(beginning))
}

/// Returns whether a name in a directory fits one that may begin with `*`.
fn fits(found: &str, name: &str) -> bool {
    match name.strip_prefix('*') {
        Some(end) => found.ends_with(end),
        None => found.eq_ignore_ascii_case(name),
    }
}
