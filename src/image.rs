//! From the files of a plan to what kexec takes: one kernel, one initrd, one command line.
//!
//! A unified kernel image is taken apart and a packed kernel unpacked, since the kernel's own
//! loader knows neither; initrds are laid one behind the other, each at a multiple of four bytes,
//! and plain files are wrapped into archives. What comes out is sealed, and made of sealed files
//! that have been verified.

#![forbid(unsafe_code)]

mod bzimage;
pub mod device_tree;
pub mod placement;
mod segments;

use std::convert::Infallible;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;

use nix::errno::Errno;

use crate::config::Loader;
use crate::error::{Error, Reason};
use crate::measure::{self, Measurement};
use crate::sys::SyscallError;
use crate::sys::file::copy as copy_all;
use crate::sys::kexec::{self, TAKES_DEVICE_TREE, TAKES_SEGMENTS};
use crate::sys::memfd::{Memfd, SealedFile};
use crate::timeline::Timeline;
use crate::unpack;
use wireboot_proto::boot::{BootPlan, HEAD_LEN, PlanPart, kernel_refusal};
use wireboot_proto::format::cpio;
use wireboot_proto::format::kernel_image::{
    GZIP_MAGIC, KernelFormat, classify, command_line_limit,
};
use wireboot_proto::format::uki::{Packing, Uki, Zboot};
use wireboot_proto::reader::DecodeError;
use wireboot_proto::text::url::Url;

use segments::Segments;

/// The longest kernel that is unpacked, in bytes.
// 35 kB of a packed file can grow to 1 GiB.
const MAX_KERNEL_LEN: u64 = 1 << 30;

/// The files and command line for kexec.
#[derive(Debug)]
pub struct Image {
    /// The kernel.
    pub kernel: Rc<SealedFile>,
    /// All initrds in one.
    pub initrd: Option<Rc<SealedFile>>,
    /// The device tree in the place of that of the machine.
    pub device_tree: Option<Rc<SealedFile>>,
    /// The command line, with what the user appends.
    pub command_line: String,
    /// Whether hashes of it are worth their time (see `measure::is_wanted`).
    pub hashes: bool,
}

impl Image {
    /// Makes the image of `plan`; `file` returns the file that was fetched from an address, and
    /// verified as the plan asks. It goes before anything is copied, so that no file stays in memory
    /// beside the parts that are made from it. Parts are hashed while they are made where `hashes`
    /// says so.
    ///
    /// # Errors
    /// [`Reason::NothingBootable`] when the kernel is none or the command line is too long for it,
    /// and what copying says when memory is short.
    pub fn assemble(
        plan: &BootPlan,
        file: impl Fn(&Url) -> Option<Rc<SealedFile>>,
        hashes: bool,
    ) -> Result<Self, Error> {
        let fetched = |part: &PlanPart| {
            file(&part.url).ok_or_else(|| not_bootable(&part.url, "has not been fetched"))
        };
        let kernel = fetched(&plan.kernel)?;
        let initrds: Result<Vec<_>, Error> = plan
            .initrds
            .iter()
            .map(|part| Ok((part, fetched(part)?)))
            .collect();
        let initrds = initrds?;
        let device_tree = plan.loaded_device_tree().filter(|_| TAKES_DEVICE_TREE);
        let device_tree = device_tree.map(fetched).transpose()?;
        // Or the fetched files would be in memory beside the parts that are made from them.
        drop(file);
        let (profile, plan_line) = profile_of(&plan.command_line);
        let mut parts = Parts::of_kernel(&plan.kernel.url, kernel, profile, hashes)?;
        // A command line of the plan replaces the built-in one.
        let own = if !parts.is_unified {
            plan.command_line.clone()
        } else if plan_line.is_empty() {
            std::mem::take(&mut parts.command_line)
        } else {
            plan_line.to_owned()
        };
        let command_line = plan.with_append(&own);
        let head = head_of(&parts.kernel)?;
        if let Some(limit) = command_line_limit(&head)
            && command_line.len() > limit
        {
            let what = format!(
                "its command line has {} bytes, and this kernel accepts at most {limit}",
                command_line.len()
            );
            return Err(not_bootable(&plan.kernel.url, &what));
        }
        // The next kernel would not read on behind it.
        if command_line.contains('\0') {
            let what = "its command line holds a NUL";
            return Err(not_bootable(&plan.kernel.url, what));
        }
        Ok(Self {
            kernel: parts.kernel,
            initrd: joined(parts.initrds, initrds, hashes)?,
            device_tree: device_tree.or(parts.device_tree),
            command_line,
            hashes,
        })
    }

    /// Begins to hash all files beside what is done next.
    pub fn hash_beside(&self) {
        let files = [
            Some(&self.kernel),
            self.initrd.as_ref(),
            self.device_tree.as_ref(),
        ];
        files
            .into_iter()
            .flatten()
            .for_each(|file| file.hash_beside());
    }

    /// Loads the image as `loader` says, and measures it: the TCG asks that a stage is measured before it
    /// gets control.
    ///
    /// # Errors
    /// [`Reason::Kexec`] with what the refusal means, and [`Reason::System`] when a part cannot be read back.
    pub fn load_and_measure(&self, loader: Loader, timeline: &Timeline) -> Result<(), Error> {
        let loaded = self.load(loader);
        timeline.done("load");
        // Behind the load, beside which hashes are computed.
        let measurements = self.measure(timeline)?;
        loaded?;
        measure::extend(&measurements, timeline);
        Ok(())
    }

    /// Returns the hash of each part. Those that are not known are computed if they are wanted.
    fn measure(&self, timeline: &Timeline) -> Result<Vec<Measurement>, Error> {
        let files = [
            ("kernel", Some(&self.kernel)),
            ("initrd", self.initrd.as_ref()),
            ("device tree", self.device_tree.as_ref()),
        ];
        let files = files.into_iter();
        let files = files.filter_map(|(part, file)| Some((part, file?.as_ref())));
        measure::parts(files, Some(&self.command_line), self.hashes, timeline)
    }

    /// Hands the image to kexec, which keeps it: the files, which the kernel verifies as its policy
    /// wants, or what memory is to be filled with, whichever `loader` prefers. The other way is gone
    /// where that one is refused; a device tree is not taken with files.
    fn load(&self, loader: Loader) -> Result<(), Error> {
        if TAKES_DEVICE_TREE && self.device_tree.is_some() {
            match self.segments()?.load() {
                // Lockdown forbids kexec_load, which verifies nothing, and lets signed files pass.
                Err(error) if error.is(Errno::ENOSYS) || error.is(Errno::EPERM) => log::warn!(
                    "the device tree is not loaded, and the next kernel gets the one that this \
                     machine runs with: {}",
                    error.chain()
                ),
                result => return result.map_err(refused),
            }
        } else if TAKES_SEGMENTS && loader == Loader::Segments {
            match self.load_segments() {
                Err(error) => log::debug!("the kernel reads the files itself: {}", error.chain()),
                loaded => return loaded,
            }
        }
        match self.load_files() {
            // Debian's kernels for arm64 have no kexec_file_load, up to 6.12.
            Err(error) if TAKES_SEGMENTS && error.is(Errno::ENOSYS) => self.load_segments(),
            result => result.map_err(refused),
        }
    }

    fn load_segments(&self) -> Result<(), Error> {
        if cfg!(target_arch = "x86_64") {
            bzimage::load(&self.kernel, self.initrd.as_deref(), &self.command_line).map_err(refused)
        } else {
            self.segments()?.load().map_err(refused)
        }
    }

    fn segments(&self) -> Result<Segments, Error> {
        let (initrd, device_tree) = (self.initrd.as_deref(), self.device_tree.as_deref());
        Segments::of(&self.kernel, initrd, device_tree, &self.command_line)
    }

    fn load_files(&self) -> Result<(), SyscallError> {
        let initrd = self.initrd.as_ref().map(|file| file.file().as_fd());
        kexec::load(self.kernel.file().as_fd(), initrd, &self.command_line)
    }

    /// Jumps into the loaded image.
    ///
    /// # Errors
    /// As [`Image::load_and_measure`].
    pub fn start(self) -> Result<Infallible, Error> {
        kexec::reboot_into_loaded().map_err(refused)
    }
}

fn refused(source: SyscallError) -> Error {
    Box::new(Reason::Kexec {
        advice: kexec::advice(&source),
        source: Some(source.into()),
    })
}

/// Splits off the number of a UKI's profile, which stands before its command line as `@N` (UAPI
/// specification 5, Multi-Profile UKIs); 0 without one.
fn profile_of(command_line: &str) -> (usize, &str) {
    let (first, rest) = command_line.split_once(' ').unwrap_or((command_line, ""));
    let number = first
        .strip_prefix('@')
        .and_then(|digits| digits.parse().ok());
    number.map_or((0, command_line), |number| (number, rest.trim_start()))
}

/// Contents of a kernel file.
struct Parts {
    kernel: Rc<SealedFile>,
    is_unified: bool,
    initrds: Vec<SealedFile>,
    device_tree: Option<Rc<SealedFile>>,
    command_line: String,
}

impl Parts {
    fn of_kernel(
        url: &Url,
        file: Rc<SealedFile>,
        profile: usize,
        hashes: bool,
    ) -> Result<Self, Error> {
        let head = head_of(&file)?;
        if classify(&head) == KernelFormat::Uki
            && let Some(uki) =
                Uki::decode(&head, len_of(&file)?, profile).map_err(|error| damaged(url, error))?
        {
            return Self::of_uki(url, &uki, &file, hashes);
        }
        Ok(Self {
            kernel: bare(url, file, hashes)?,
            is_unified: false,
            initrds: Vec::new(),
            device_tree: None,
            command_line: String::new(),
        })
    }

    fn of_uki(url: &Url, uki: &Uki, file: &SealedFile, hashes: bool) -> Result<Self, Error> {
        let initrds = uki.initrds.iter().map(|range| copy(file, range, hashes));
        let initrds: Result<Vec<_>, Error> = initrds.collect();
        let command_line = match &uki.command_line {
            Some(range) => {
                let end = range.end.min(range.start + HEAD_LEN as u64);
                file.octets(range.start..end).map_err(system)?
            }
            None => Vec::new(),
        };
        let command_line = String::from_utf8_lossy(&command_line);
        let device_tree = match &uki.device_tree {
            Some(range) if TAKES_DEVICE_TREE => Some(Rc::new(copy(file, range, hashes)?)),
            None if !uki.has_automatic_trees => None,
            _ => {
                log::warn!(
                    "{url}: the device tree in it for this machine (.dtb, .dtbauto) is not loaded: \
                     the next kernel gets the one that this machine runs with"
                );
                None
            }
        };
        Ok(Self {
            kernel: bare(url, Rc::new(copy(file, &uki.linux, hashes)?), hashes)?,
            is_unified: true,
            initrds: initrds?,
            device_tree,
            // PE sections are padded with zeros, and the text of one is often a file's with its
            // newline.
            command_line: command_line.trim_matches(['\0', '\n', ' ']).to_owned(),
        })
    }
}

/// Returns the kernel in a file that is one, packed or not.
fn bare(url: &Url, file: Rc<SealedFile>, hashes: bool) -> Result<Rc<SealedFile>, Error> {
    let head = head_of(&file)?;
    if classify(&head) == KernelFormat::Linux {
        return Ok(file);
    }
    let len = len_of(&file)?;
    let packed = match Zboot::decode(&head, len).map_err(|error| damaged(url, error))? {
        Some(zboot) => Some((zboot.payload, zboot.packing)),
        // Distributions ship kernels for arm64 as Image.gz, without an EFI stub that unpacks.
        None => head
            .starts_with(GZIP_MAGIC)
            .then_some((0..len, Packing::Gzip)),
    };
    if let Some((range, packing)) = packed {
        let unpacked = unpack(url, &file, range, packing, create("kernel", hashes)?)?;
        if classify(&head_of(&unpacked)?) == KernelFormat::Linux {
            return Ok(Rc::new(unpacked));
        }
    }
    let what = kernel_refusal(url, &head);
    let what = what.unwrap_or_else(|| "holds no Linux kernel".to_owned());
    Err(not_bootable(url, &what))
}

fn damaged(url: &Url, error: DecodeError) -> Error {
    Box::new(Reason::NothingBootable {
        what: format!("{url} is damaged"),
        source: Some(error.into()),
    })
}

fn not_bootable(url: &Url, what: &str) -> Error {
    Box::new(Reason::NothingBootable {
        what: format!("{url} {what}"),
        source: None,
    })
}

/// Lays all initrds one behind the other; a single archive stays the file that it is. Each file goes
/// once it has been copied.
fn joined(
    own: Vec<SealedFile>,
    parts: Vec<(&PlanPart, Rc<SealedFile>)>,
    hashes: bool,
) -> Result<Option<Rc<SealedFile>>, Error> {
    match (own.as_slice(), parts.as_slice()) {
        ([], []) => return Ok(None),
        ([], [(part, file)]) if part.placement.is_none() => return Ok(Some(file.clone())),
        _ => {}
    }
    let mut all = Joined {
        file: create("initrd", hashes)?,
        len: 0,
    };
    for file in own {
        all.append(&file)?;
        // unpack_to_rootfs (init/initramfs.c) takes an archive only at a multiple of four bytes.
        all.pad()?;
    }
    for (part, file) in parts {
        match &part.placement {
            None => all.append(&file)?,
            Some(placement) => {
                // A newc header has eight hexadecimal digits for the size (buffer-format.rst).
                let len = u32::try_from(len_of(&file)?).map_err(|_| {
                    not_bootable(&part.url, "is too long to be placed as a file (4 GiB)")
                })?;
                all.write(&cpio::before_file(placement, len))?;
                all.append(&file)?;
                all.write(&cpio::after_file(len))?;
            }
        }
        all.pad()?;
    }
    seal(all.file).map(|file| Some(Rc::new(file)))
}

/// A file under way, and its length so far.
struct Joined {
    file: Memfd,
    len: u64,
}

impl Joined {
    fn append(&mut self, file: &SealedFile) -> Result<(), Error> {
        let mut reader = file.reader(0..u64::MAX).map_err(system)?;
        self.len += copy_all(&mut reader, &mut self.file).map_err(copying)?;
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.len += octets.len() as u64;
        self.file.write_all(octets).map_err(copying)
    }

    fn pad(&mut self) -> Result<(), Error> {
        self.write(&vec![0; cpio::padding(self.len)])
    }
}

/// Unpacks a part of a file into another.
fn unpack(
    url: &Url,
    file: &SealedFile,
    range: Range<u64>,
    packing: Packing,
    mut unpacked: Memfd,
) -> Result<SealedFile, Error> {
    let packed = file.reader(range).map_err(system)?;
    match unpack::unpack(packed, packing, MAX_KERNEL_LEN, &mut unpacked) {
        Ok(_) => seal(unpacked),
        // Not that it is no kernel: a machine with more memory boots it.
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(Box::new(Reason::Fetch {
            url: url.to_string(),
            source: format!("unpacked, {error}").into(),
        })),
        Err(error) => Err(Box::new(Reason::NothingBootable {
            what: format!("the kernel packed in {url} cannot be unpacked"),
            source: Some(error.into()),
        })),
    }
}

/// Copies a part of a file into one of its own.
fn copy(file: &SealedFile, range: &Range<u64>, hashes: bool) -> Result<SealedFile, Error> {
    let mut copied = create("part", hashes)?;
    let mut part = file.reader(range.clone()).map_err(system)?;
    copy_all(&mut part, &mut copied).map_err(copying)?;
    seal(copied)
}

fn head_of(file: &SealedFile) -> Result<Vec<u8>, Error> {
    file.octets(0..HEAD_LEN as u64).map_err(system)
}

fn len_of(file: &SealedFile) -> Result<u64, Error> {
    file.size().map_err(system)
}

/// Makes a file for a part, which is hashed while it is written where `hashes` says so.
fn create(name: &str, hashes: bool) -> Result<Memfd, Error> {
    let mut file = Memfd::create(name).map_err(system)?;
    if hashes {
        file.hash_writes();
    }
    Ok(file)
}

fn seal(file: Memfd) -> Result<SealedFile, Error> {
    file.seal().map_err(system)
}

fn copying(source: io::Error) -> Error {
    // A machine with more memory boots it.
    if source.kind() == io::ErrorKind::OutOfMemory {
        return Box::new(Reason::Fetch {
            url: "kernel and initrds together".to_owned(),
            source: source.into(),
        });
    }
    system(SyscallError::of("copy", source))
}

fn system(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot lay kernel and initrds out in memory".to_owned(),
        source,
    })
}

/// Makes an image of a kernel and an initrd: never longer than what it is made of, but for what was
/// packed.
#[cfg(fuzzing)]
pub fn fuzz(kernel: &[u8], initrd: &[u8], command_line: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    use std::io::Write as _;

    let part = |name: &str| Some(PlanPart::from(Url::tftp("h", name).ok()?));
    let plan = BootPlan {
        kernel: part("k")?,
        initrds: part("i").into_iter().collect(),
        command_line: command_line.to_owned(),
        append: None,
        device_tree: None,
        loads_device_tree: false,
    };
    let file = |url: &Url| {
        let mut file = Memfd::create("fuzz").ok()?;
        let octets = if url.tftp_file() == "k" {
            kernel
        } else {
            initrd
        };
        file.write_all(octets).ok()?;
        Some(Rc::new(file.seal().ok()?))
    };
    let image = Image::assemble(&plan, file, false).ok()?;
    let read = |file: &SealedFile| file.octets(0..u64::MAX).ok();
    Some((read(&image.kernel)?, read(image.initrd.as_deref()?)?))
}

#[cfg(test)]
mod tests;
