//! Boot loaders for the firmware (pxelinux, GRUB, iPXE): nothing here can run them, but they can be
//! recognized, and their configuration can be searched and read.

use alloc::collections::VecDeque;

use super::context::{Context, Turn};
use super::error::{Place, PlanError};
use super::facts::Facts;
use super::step::{Answer, Fetched};
use crate::format::kernel_image::KernelFormat;
use crate::prelude::*;
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

/// Returns the language of a configuration by the first words of its lines; none when no line is
/// typical of one.
pub(super) fn language(text: &[u8]) -> Option<Language> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}');
    let mut has_kernel = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "menuentry" | "submenu" | "set" | "if" | "function" | "insmod" | "source"
            | "configfile" | "search" | "boot" | "linuxefi" | "for" | "while" | "until"
            | "export" | "load_env" | "blscfg" | "regexp" | "eval" => {
                return Some(Language::Grub);
            }
            "label" | "default" | "ui" | "include" | "menu" | "prompt" | "timeout" | "kernel"
            | "append" | "serial" | "say" | "path" => return Some(Language::Pxelinux),
            "options" | "machine-id" | "uki" | "efi" | "sort-key" | "architecture" => {
                return Some(Language::Entry);
            }
            // GRUB has this word, too: without any other it is a boot loader entry.
            "linux" => has_kernel = true,
            _ => {}
        }
    }
    has_kernel.then_some(Language::Entry)
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
                Fetched::File(head) => {
                    let text = match self.missing.as_slice() {
                        [] => format!("configuration: {url}"),
                        missing => format!("no configuration for {}; using {url}", list(missing)),
                    };
                    context.note(&boot_file, text);
                    return Ok(Searched::Found(url, head));
                }
                Fetched::Missing => {
                    context.note_detail(&place, "not found");
                    self.missing.extend(machine);
                }
                Fetched::Failed(why) => return Err(PlanError::at(&place, why)),
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
    let digits = format!("{:08X}", facts.address.to_bits());
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
