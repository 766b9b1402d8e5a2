//! Boot loaders for the firmware (pxelinux, GRUB, iPXE): nothing here can run them, but they can be
//! recognized, and their configuration can be searched, told by its language, and read.

use crate::prelude::*;
use alloc::collections::VecDeque;

use super::context::{Context, Turn};
use super::facts::Facts;
use super::plan::{Place, PlanError};
use super::step::{Answer, FetchResult};
use crate::format::kernel_image::{
    GZIP_MAGIC, KernelFormat, classify, is_32_bit_kernel, version_text,
};
use crate::text::url::Url;

/// A program whose configuration is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BootLoader {
    /// pxelinux, or syslinux for EFI.
    Pxelinux,
    /// GRUB, or a shim before it.
    Grub,
    /// iPXE, which runs `autoexec.ipxe` beside it.
    Ipxe,
}

/// Returns the program of a boot file: by its content where that is enough, else by its name.
pub(super) fn program(kind: Option<KernelFormat>, url: &Url) -> Option<BootLoader> {
    let name = url.file_name().to_ascii_lowercase();
    let is = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
    match kind {
        Some(KernelFormat::Pxelinux) => Some(BootLoader::Pxelinux),
        Some(KernelFormat::Grub) => Some(BootLoader::Grub),
        Some(kind) if !kind.is_firmware_program() => None,
        _ if is(&[
            "pxelinux",
            "lpxelinux",
            "gpxelinux",
            "syslinux",
            "ipxelinux",
        ]) =>
        {
            Some(BootLoader::Pxelinux)
        }
        // These are built for firmware in many flavours, and only the name tells iPXE from another.
        _ if is(&["ipxe", "undionly", "snponly", "snp.efi", "gpxe"]) => Some(BootLoader::Ipxe),
        _ if is(&[
            "grub", "shim", "bootnet", "bootx64", "bootaa64", "core.", "mm",
        ]) =>
        {
            Some(BootLoader::Grub)
        }
        _ => None,
    }
}

const FIRMWARE: &str = "is a program for the firmware, which no longer runs under Linux";
const WINDOWS: &str = "starts Windows, which kexec cannot: it starts Linux kernels alone";

/// Programs that configurations start in the place of a kernel, and what is to be said of them. A
/// name may be open at one end (`*`); the first row that fits counts.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "memdisk*",
        "emulates a disk for PC firmware, which no longer runs under Linux; \
         boot the kernel and initrd in that disk image instead",
    ),
    (
        "wimboot* bootmgr* bootmgfw* wdsnbp* wdsmgfw* startrom* pxeboot.n12 *.wim",
        WINDOWS,
    ),
    (
        "*.lkrn *.krn",
        "is iPXE, which needs the firmware; name its script as boot file or in a CONFIG label",
    ),
    (
        "mboot.c32 mboot.efi",
        "starts multiboot kernels such as Xen and ESXi, which kexec cannot: it starts Linux kernels \
         alone",
    ),
    (
        "xen xen.gz xen.efi xen-4* tboot*",
        "is named like Xen or tboot, multiboot kernels that kexec cannot start here; boot the Linux \
         kernel that is its module instead",
    ),
    (
        "*.iso",
        "is an ISO image, which kexec cannot start; boot the kernel and initrd in it instead",
    ),
    ("*.c32 *.com *.cbt *.bs *.bss *.exe", FIRMWARE),
];

#[cfg(not(feature = "iso"))]
pub(super) const NO_ISO: &str = "is an ISO image, which this build does not read (feature iso)";

/// Returns whether a file of this name is memdisk, which emulates a disk with its initrd.
#[cfg(feature = "iso")]
pub(super) fn is_memdisk(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    name.to_ascii_lowercase().starts_with("memdisk")
}

/// Returns why kexec cannot start the program of this name; none if only its content tells.
pub(super) fn program_refusal(name: &str) -> Option<&'static str> {
    let name = name.rsplit('/').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let is = |known: &str| match (known.strip_prefix('*'), known.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(beginning)) => name.starts_with(beginning),
        (None, None) => name == known,
    };
    let row = PROGRAMS.iter().find(|(names, _)| names.split(' ').any(is));
    row.map(|(_, what)| *what)
}

/// What a file is that is no kernel, by bytes at its beginning.
const HEADS: &[(usize, &[u8], &str)] = &[
    // The volume descriptor of ISO 9660, which follows 16 sectors of anything.
    (
        0x8001,
        b"CD001",
        "is an ISO image, which kexec cannot start; boot the kernel and initrd in it instead",
    ),
    (
        0,
        b"\x7fELF",
        "is an ELF file: a multiboot kernel such as Xen, or a kernel as it is linked (vmlinux); name \
         a bzImage (vmlinuz)",
    ),
    (0, b"MSWIM\0\0\0", WINDOWS),
    (
        0,
        b"\xd0\x0d\xfe\xed",
        "is a FIT image for U-Boot, or a device tree; name the kernel in it",
    ),
    (
        0,
        b"\x27\x05\x19\x56",
        "is a uImage for U-Boot; name the kernel in it",
    ),
    (0, b"MZ", FIRMWARE),
];

/// Returns why kexec cannot start the file at `url` that begins with `head`; none for a kernel, and
/// for a packed file that is not named like another program, which tells only when it is unpacked.
pub fn kernel_refusal(url: &Url, head: &[u8]) -> Option<String> {
    let kind = classify(head);
    if kind.is_kernel() {
        return None;
    }
    if head.starts_with(GZIP_MAGIC) {
        let what = program_refusal(url.file_name())?;
        return Some(format!("is packed, and {what}"));
    }
    let is = |(at, magic, _): &&(usize, &[u8], _)| {
        let at = *at;
        head.get(at..at + magic.len()) == Some(magic)
    };
    // A 32-bit kernel with an EFI stub begins like a program for the firmware.
    let heads = HEADS.iter().filter(|_| kind != KernelFormat::OldBzImage);
    let by_head = || heads.clone().find(is).map(|(_, _, what)| *what);
    let what = match program_refusal(url.file_name()).or_else(by_head) {
        Some(what) => what,
        None if is_32_bit_kernel(head) => {
            "is no 64-bit Linux kernel, but a 32-bit one; name the one for amd64"
        }
        None if kind == KernelFormat::OldBzImage => {
            "is no 64-bit Linux kernel, but a 32-bit one or a program in that form, such as memdisk, \
             wimboot or iPXE"
        }
        None if kind == KernelFormat::Text => "is a text and no kernel",
        None => {
            "is no Linux kernel: neither a bzImage, an Image, packed or not, nor a unified kernel image"
        }
    };
    Some(match version_text(head) {
        Some(version) if kind == KernelFormat::OldBzImage => {
            format!("{what} (it says that it is \"{version}\")")
        }
        _ => what.to_owned(),
    })
}

/// Returns why a multiboot kernel, such as Xen, is refused: `modules` are the lines of its modules,
/// of which the first is the kernel of Dom0 and the others are its initrds.
pub(super) fn multiboot_refusal<'a>(modules: impl IntoIterator<Item = &'a str>) -> String {
    let mut what = "is a multiboot kernel such as Xen, which kexec cannot start here".to_owned();
    let mut joint = "; Linux without it is the kernel";
    for module in modules
        .into_iter()
        .map(str::trim)
        .filter(|module| !module.is_empty())
    {
        what.push_str(joint);
        what.push_str(&format!(" \"{module}\""));
        joint = " with the initrd";
    }
    what
}

/// A name under which a configuration may be found.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) url: Url,
    /// The name of the machine in it; none for the file of all machines.
    pub(super) machine: Option<MachineName>,
}

/// A name of this machine in file names, such as its MAC address, and the kind of name.
#[derive(Debug, Clone)]
pub(super) struct MachineName {
    pub(super) kind: &'static str,
    pub(super) name: String,
}

/// The search for a configuration: names that are tried in turn until the server has one.
#[derive(Debug)]
pub(super) struct Search {
    /// The names to try; the first has been requested.
    candidates: VecDeque<Candidate>,
    /// The names of this machine that the server did not have.
    missing: Vec<MachineName>,
    /// The name for all machines.
    default: &'static str,
}

/// The result of an answer.
#[derive(Debug)]
pub(super) enum Searched {
    /// The request for the next name.
    Asks(Turn),
    /// The configuration.
    Found(Url, Vec<u8>),
}

impl Search {
    /// Begins with names in their order; `default` is the last of them, as people know it.
    pub(super) fn new(candidates: Vec<Candidate>, default: &'static str) -> Self {
        Self {
            candidates: candidates.into(),
            missing: Vec::new(),
            default,
        }
    }

    /// Handles the answer to the step before.
    ///
    /// # Errors
    /// A server that fails, or has none of the names.
    pub(super) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Searched, PlanError> {
        let boot_file = Place::whole(&context.facts.boot_file);
        if answer != Answer::Begin
            && let Some(Candidate { url, machine }) = self.candidates.pop_front()
        {
            let place = Place::whole(&url);
            match answer.into_fetched() {
                FetchResult::File(head) => {
                    let text = match self.missing.as_slice() {
                        [] => format!("configuration: {url}"),
                        missing => format!("no configuration for {}; using {url}", list(missing)),
                    };
                    context.note(&boot_file, text);
                    return Ok(Searched::Found(url, head));
                }
                FetchResult::Missing => {
                    context.note_detail(&place, "not found");
                    self.missing.extend(machine);
                }
                FetchResult::Failed(why) => return Err(PlanError::at(&place, why)),
            }
        }
        match self.candidates.front() {
            Some(next) => Ok(Searched::Asks(Turn::configuration(next.url.clone()))),
            None => {
                let (missing, default) = (list(&self.missing), self.default);
                let what = format!("no configuration for {missing}, and no {default}");
                Err(PlanError::at(&boot_file, what))
            }
        }
    }
}

/// Returns the names for people: of several of one kind the first and the last.
fn list(names: &[MachineName]) -> String {
    let mut kinds: Vec<(&str, &str, &str)> = Vec::new();
    for MachineName { kind, name } in names {
        match kinds.iter_mut().find(|(known, ..)| known == kind) {
            Some((_, _, last)) => *last = name,
            None => kinds.push((kind, name, name)),
        }
    }
    let texts = kinds.into_iter().map(|(kind, first, last)| {
        if first == last {
            format!("{kind} {first}")
        } else {
            format!("{kind} {first}…{last}")
        }
    });
    let texts: Vec<_> = texts.collect();
    match texts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "this machine".to_owned(),
    }
}

/// Returns the names of this machine, the most particular first: its MAC address, and its IP address
/// in hexadecimal with ever fewer digits, as pxelinux and GRUB both search them
/// (`grub_net_search_config_file`).
pub(super) fn names_of(facts: &Facts) -> impl Iterator<Item = MachineName> {
    let mut digits = format!("{:08X}", facts.address.to_bits());
    if !facts.has_ipv4() {
        // pxelinux has no names of IPv6.
        digits.clear();
    }
    let fewer = (1..=digits.len()).rev();
    let by_address = fewer.filter_map(move |len| {
        Some(MachineName {
            kind: "IP",
            name: digits.get(..len)?.to_owned(),
        })
    });
    let mac = MachineName {
        kind: "MAC",
        name: facts.hardware_address(),
    };
    core::iter::once(mac).chain(by_address)
}

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// pxelinux and its relatives.
    Pxelinux,
    /// GRUB.
    Grub,
    /// A boot loader entry.
    Entry,
}

/// The words that lines of one language alone begin with, and those that others or prose have, too.
const WORDS: [(Language, &str, &str); 3] = [
    (
        Language::Grub,
        "menuentry submenu insmod configfile linuxefi initrdefi linux16 initrd16 load_env save_env \
         blscfg regexp loadfont terminal_input terminal_output chainloader }",
        "set if fi for while until function source search boot export eval",
    ),
    (
        Language::Pxelinux,
        "label ui menu prompt kernel append ipappend sysappend localboot say ontimeout onerror",
        "default include timeout path display implicit",
    ),
    (
        Language::Entry,
        "options machine-id uki uki-url efi sort-key architecture grub_users grub_arg grub_class",
        "",
    ),
];

/// Returns the language of the configuration at `url`: by words of one language alone that its lines
/// begin with, else by its name, else by most of its words; none when nothing is typical of one.
pub(super) fn language(url: &Url, text: &[u8]) -> Option<Language> {
    let name = url.file_name();
    // iPXE itself takes no text for a script without its first line.
    if name.ends_with(".ipxe") {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}');
    let mut counts = WORDS.map(|(language, ..)| (0_usize, 0_usize, language));
    let mut has_kernel = false;
    for line in text.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let word = word.to_ascii_lowercase();
        for ((_, own, others), (sure, likely, _)) in WORDS.iter().zip(&mut counts) {
            *sure += usize::from(own.split(' ').any(|known| known == word));
            *likely += usize::from(others.split(' ').any(|known| known == word));
        }
        // GRUB and pxelinux have this word, too: without any other it is a boot loader entry.
        has_kernel |= word == "linux";
    }
    let mut sure = counts.iter().filter(|(sure, ..)| *sure > 0);
    if let (Some((.., language)), None) = (sure.next(), sure.next()) {
        return Some(*language);
    }
    let is_beside = |folder: &str| url.path().contains(folder);
    match name {
        "isolinux.cfg" | "syslinux.cfg" | "extlinux.conf" => Some(Language::Pxelinux),
        _ if is_beside("pxelinux.cfg/") => Some(Language::Pxelinux),
        _ if name.starts_with("grub.cfg") => Some(Language::Grub),
        _ if is_beside("loader/entries/") => Some(Language::Entry),
        _ => {
            // Of several with the same count the last is used: GRUB is the first of the reversed ones.
            let most = counts
                .into_iter()
                .rev()
                .max_by_key(|(sure, likely, _)| (*sure, *likely));
            let most = most.filter(|(sure, likely, _)| sure + likely > 0);
            most.map(|(.., language)| language)
                .or_else(|| has_kernel.then_some(Language::Entry))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::kernel_image::fixture;

    #[test]
    fn programs_that_are_no_kernels_are_known_by_name() {
        for (name, expected) in [
            ("/tools/memdisk", Some("disk image")),
            ("boot/MEMDISK-6.04", Some("disk image")),
            ("wimboot", Some("Windows")),
            ("wimboot.i386", Some("Windows")),
            ("Boot/x64/wdsnbp.com", Some("Windows")),
            ("bootmgr.exe", Some("Windows")),
            ("ipxe.lkrn", Some("iPXE")),
            ("efi/mboot.efi", Some("ESXi")),
            ("xen-4.17-amd64.gz", Some("multiboot")),
            ("live.iso", Some("ISO image")),
            ("hdt.c32", Some("firmware")),
            ("vmlinuz", None),
            ("linux.efi", None),
            ("linux.0", None),
            ("kernel.bin", None),
            ("xenial/vmlinuz", None),
        ] {
            let what = program_refusal(name);
            assert_eq!(what.is_some(), expected.is_some(), "{name}: {what:?}");
            let what = what.unwrap_or_default();
            assert!(
                what.contains(expected.unwrap_or_default()),
                "{name}: {what}"
            );
        }
    }

    #[test]
    fn files_that_are_no_kernels_are_known_by_their_first_bytes() {
        let iso = [&[0; 0x8001][..], b"CD001"].concat();
        let page = b"<html>not found</html>";
        let with_mz = |mut head: Vec<u8>| {
            head.splice(..2, *b"MZ");
            head
        };
        for (head, expected) in [
            (fixture::bz_image(), None),
            (b"\x1f\x8b\x08".to_vec(), None),
            (
                fixture::bz_image_of(0x203, 0, "MEMDISK 6.04"),
                Some("(it says that it is \"MEMDISK 6.04\")"),
            ),
            (fixture::bz_image_of(0x206, 0, ""), Some("wimboot or iPXE")),
            (
                with_mz(fixture::bz_image_of(0x206, 0, "")),
                Some("wimboot or iPXE"),
            ),
            (
                with_mz(fixture::bz_image_of(0x20f, 2, "6.1.0-686-pae")),
                Some(
                    "but a 32-bit one; name the one for amd64 (it says that it is \"6.1.0-686-pae\")",
                ),
            ),
            (iso, Some("an ISO image")),
            (b"\x7fELF\x02".to_vec(), Some("multiboot")),
            (b"MSWIM\0\0\0".to_vec(), Some("Windows")),
            (b"\xd0\x0d\xfe\xed".to_vec(), Some("FIT image")),
            (b"\x27\x05\x19\x56".to_vec(), Some("uImage")),
            (
                [&b"MZ"[..], &[0; 0x400]].concat(),
                Some("program for the firmware"),
            ),
            (page.to_vec(), Some("a text")),
            (b"\x01\0".to_vec(), Some("no Linux kernel")),
        ] {
            let url = "http://192.0.2.1/k".parse().unwrap();
            let what = kernel_refusal(&url, &head);
            assert_eq!(what.is_some(), expected.is_some(), "{what:?}");
            let what = what.unwrap_or_default();
            assert!(what.contains(expected.unwrap_or_default()), "{what}");
        }
    }

    #[test]
    fn a_packed_file_is_known_by_its_name_alone() {
        for (name, expected) in [
            (
                "xen.gz",
                Some("is packed, and is named like Xen or tboot, multiboot"),
            ),
            (
                "xen-4.17-amd64.gz",
                Some("the Linux kernel that is its module"),
            ),
            ("Image.gz", None),
            ("vmlinuz", None),
        ] {
            let url = format!("http://192.0.2.1/{name}").parse().unwrap();
            let what = kernel_refusal(&url, b"\x1f\x8b\x08");
            assert_eq!(what.is_some(), expected.is_some(), "{name}: {what:?}");
            let what = what.unwrap_or_default();
            assert!(what.contains(expected.unwrap_or_default()), "{what}");
        }
    }

    #[test]
    fn a_multiboot_kernel_is_refused_with_the_linux_that_it_would_start() {
        let what = multiboot_refusal(["vmlinuz root=/dev/sda1", " initrd.img ", ""]);
        let linux = "the kernel \"vmlinuz root=/dev/sda1\" with the initrd \"initrd.img\"";
        assert!(what.ends_with(linux), "{what}");
        assert!(multiboot_refusal([]).ends_with("cannot start here"));
    }

    #[test]
    fn the_language_of_a_text_is_told_by_words_of_it_alone_and_else_by_its_name() {
        use Language::{Entry, Grub, Pxelinux};
        for (name, text, expected) in [
            (
                "b",
                "serial --unit=0 --speed=9600\nterminal_input serial\n",
                Some(Grub),
            ),
            (
                "b",
                "serial --unit=0\nset timeout=5\nmenuentry a {\nlinux /k\n}",
                Some(Grub),
            ),
            (
                "b",
                "serial 0 9600\ndefault a\nlabel a\nlinux k\n",
                Some(Pxelinux),
            ),
            (
                "b",
                "set a=b\nsearch x\ndefault a\nlabel a\nkernel k\n",
                Some(Pxelinux),
            ),
            (
                "b",
                "label a\nkernel k\ntext help\nBoot\nif\nset\noptions\nendtext",
                Some(Pxelinux),
            ),
            (
                "b",
                "default=0\nset a=b\nsource /c\ntimeout 5\n",
                Some(Grub),
            ),
            ("b", "default a\ninclude c\n", Some(Pxelinux)),
            ("b", "linux /k\ninitrd /i\n", Some(Entry)),
            ("b", "set a=b\nlinux /k\n", Some(Grub)),
            (
                "b",
                "title A\nuki-url http://192.0.2.1/a.efi\nversion 1\nprofile 1\n",
                Some(Entry),
            ),
            ("b", "title A\nefi /a.efi\n", Some(Entry)),
            ("b", "a\nb\n", None),
            (
                "pxelinux.cfg/default",
                "serial 0\nset a=b\n",
                Some(Pxelinux),
            ),
            ("pxelinux.cfg/default", "menuentry a {\n", Some(Grub)),
            ("extlinux.conf", "linux /k\n", Some(Pxelinux)),
            ("grub.cfg", "serial --unit=0\ntimeout 5\n", Some(Grub)),
            ("grub.cfg-01-52-54-00-12-34-56", "linux /k\n", Some(Grub)),
            (
                "grub.cfg",
                "menuentry a {\n}\nlabel a\nkernel k\nappend x\n",
                Some(Grub),
            ),
            ("loader/entries/a.conf", "title A\n", Some(Entry)),
            ("b.ipxe", "menu A\nkernel k\n", None),
        ] {
            let url = format!("http://192.0.2.1/{name}").parse().unwrap();
            let found = language(&url, text.as_bytes());
            assert_eq!(found, expected, "{name}: {text}");
        }
    }
}
