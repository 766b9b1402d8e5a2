//! Boot loaders for the firmware (pxelinux, GRUB, iPXE): nothing here can run them, but they can be
//! recognized, and their configuration can be searched and read.

use alloc::collections::VecDeque;

use super::context::{Context, Turn};
use super::error::{Place, PlanError};
use super::facts::Facts;
use super::step::{Answer, Fetched};
use crate::format::kernel_image::Kind;
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

/// Returns the program that a boot file is: by its octets when they tell, else by its name.
pub(super) fn program(kind: Option<Kind>, url: &Url) -> Option<BootLoader> {
    let name = url.file_name().to_ascii_lowercase();
    let is = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
    match kind {
        Some(Kind::Pxelinux) => Some(BootLoader::Pxelinux),
        Some(Kind::Grub) => Some(BootLoader::Grub),
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

/// What a text is, by the first words of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// pxelinux and its relatives.
    Pxelinux,
    /// GRUB.
    Grub,
    /// A boot loader entry.
    Entry,
}

/// Returns the language of a configuration; none when no line tells.
pub(super) fn language(text: &[u8]) -> Option<Language> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}');
    let mut has_kernel = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "menuentry" | "submenu" | "set" | "if" | "function" | "insmod" | "source"
            | "configfile" | "search" | "boot" | "linuxefi" | "for" => {
                return Some(Language::Grub);
            }
            "label" | "default" | "ui" | "include" | "menu" | "prompt" | "timeout" | "kernel"
            | "append" | "serial" | "say" | "path" => return Some(Language::Pxelinux),
            "options" | "machine-id" | "uki" | "efi" | "sort-key" | "architecture" => {
                return Some(Language::Entry);
            }
            "linux" => has_kernel = true,
            _ => {}
        }
    }
    has_kernel.then_some(Language::Entry)
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    /// What is left to try, each with what it is made of; the first is on its way once it was asked
    /// for.
    names: VecDeque<(Url, &'static str)>,
    /// What is said when there is none of them.
    missing: &'static str,
}

/// What an answer leads to.
#[derive(Debug)]
pub(super) enum Searched {
    /// The next name is asked for.
    Asks(Turn),
    /// This is the configuration.
    Found(Url, Vec<u8>),
}

impl Search {
    /// Begins with names, each with what it is made of.
    pub(super) fn new(names: Vec<(Url, &'static str)>, missing: &'static str) -> Self {
        let names = names.into();
        Self { names, missing }
    }

    /// Takes the answer to the step before.
    ///
    /// # Errors
    /// A server that fails, or has none of the names.
    pub(super) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Searched, PlanError> {
        if answer != Answer::Begin
            && let Some((url, why)) = self.names.pop_front()
        {
            let place = Place::whole(&url);
            match answer.into_fetched() {
                Fetched::File(head) => {
                    context.note(&place, format!("is the configuration, by {why}"));
                    return Ok(Searched::Found(url, head));
                }
                Fetched::Missing => context.note(&place, format!("is not there ({why})")),
                Fetched::Failed(why) => return Err(PlanError::at(&place, why)),
            }
        }
        match self.names.front() {
            Some((url, _)) => Ok(Searched::Asks(Turn::configuration(url.clone()))),
            None => {
                let place = Place::whole(&context.facts.boot_file);
                Err(PlanError::at(&place, self.missing))
            }
        }
    }
}

/// Returns the names of this machine, the most particular first, each with what it is made of: its
/// hardware address, and its IP address in hexadecimal with ever fewer digits.
pub(super) fn names_of(facts: &Facts) -> impl Iterator<Item = (String, &'static str)> {
    let digits = format!("{:08X}", facts.address.to_bits());
    let fewer = (1..=digits.len()).rev();
    let by_address =
        fewer.filter_map(move |len| Some((digits.get(..len)?.to_owned(), "IP address")));
    core::iter::once((facts.hardware_address(), "hardware address")).chain(by_address)
}
