//! Programs for the firmware: nothing here can run them, but their configuration can be read.

use crate::format::kernel_image::KernelFormat;
use crate::prelude::*;
use crate::text::url::Url;

/// A program whose configuration is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// pxelinux, or syslinux for EFI.
    Pxelinux,
    /// GRUB, or a shim before it.
    Grub,
    /// iPXE, which runs `autoexec.ipxe` beside it.
    Ipxe,
}

/// Returns the program that a boot file is: by its octets when they tell, else by its name.
pub(super) fn program(kind: Option<KernelFormat>, url: &Url) -> Option<Program> {
    let name = url.file_name().to_ascii_lowercase();
    let is = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
    match kind {
        Some(KernelFormat::Pxelinux) => Some(Program::Pxelinux),
        Some(KernelFormat::Grub) => Some(Program::Grub),
        Some(kind) if !kind.is_firmware_program() => None,
        _ if is(&[
            "pxelinux",
            "lpxelinux",
            "gpxelinux",
            "syslinux",
            "ipxelinux",
        ]) =>
        {
            Some(Program::Pxelinux)
        }
        _ if is(&["ipxe", "undionly", "snponly", "snp.efi", "gpxe"]) => Some(Program::Ipxe),
        _ if is(&[
            "grub", "shim", "bootnet", "bootx64", "bootaa64", "core.", "mm",
        ]) =>
        {
            Some(Program::Grub)
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
