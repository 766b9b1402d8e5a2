//! From a label to the kernel or file that it boots, with the words of SYSAPPEND on its command line.

use super::super::context::Context;
use super::super::error::{Place, PlanError};
use super::super::plan::{BootPlan, PlanPart};
use super::config::{BootLabel, Config, TargetKind, Text, is_menu_module, split_word};
use super::paths::Prefix;
use crate::prelude::*;
use crate::text::url::Url;

/// The target of a label: what it boots or continues with.
#[derive(Debug)]
pub(super) enum BootTarget {
    /// A kernel.
    Plan(Box<BootPlan>),
    /// Another boot file.
    Chain(Url),
    /// Another configuration, with another prefix if one is named.
    Config(Url, Option<String>),
    /// Another label.
    Label(String),
}

/// Returns what `label` boots, with `arguments` after its own; `edited` replaces both.
pub(super) fn boot(
    config: &Config,
    label: &BootLabel,
    arguments: &str,
    edited: Option<&str>,
    prefix: &Prefix,
    context: &mut Context,
) -> Result<BootTarget, PlanError> {
    if let Some(fault) = label.faults.first() {
        return Err(fault.clone());
    }
    let options = match edited {
        Some(edited) => edited.to_owned(),
        None => join([own_options(config, label), arguments]),
    };
    // A label without a target is the name of a kernel.
    let (kind, target) = match &label.target {
        Some((kind, target)) => (*kind, target),
        None => (TargetKind::Kernel, &label.name),
    };
    let (name, rest) = split_word(&target.value);
    match kind {
        TargetKind::LocalBoot => Err(local_boot(&target.place, &label.name.value)),
        _ if name.is_empty() => {
            let what = "the file name is missing";
            Err(PlanError::new(&target.place, &label.name.value, what))
        }
        TargetKind::Config => Ok(BootTarget::Config(
            prefix.resolve(name, &target.place)?,
            Some(rest)
                .filter(|rest| !rest.is_empty())
                .map(str::to_owned),
        )),
        TargetKind::Program => prefix.resolve(name, &target.place).map(BootTarget::Chain),
        TargetKind::Module => module(name, &join([rest, &options]), target, prefix, context),
        TargetKind::Kernel if has_suffix(name, &[".c32"]) => {
            module(name, &join([rest, &options]), target, prefix, context)
        }
        // doc/syslinux.txt: behind KERNEL the ending of the name tells what the file is.
        TargetKind::Kernel if has_suffix(name, &[".0", ".pxe", ".kpxe", ".kkpxe", ".efi"]) => {
            prefix.resolve(name, &target.place).map(BootTarget::Chain)
        }
        TargetKind::Kernel | TargetKind::Linux if has_suffix(name, &[".iso"]) => {
            prefix.resolve(name, &target.place).map(BootTarget::Chain)
        }
        #[cfg(feature = "iso")]
        TargetKind::Kernel | TargetKind::Linux if is_memdisk(name) => {
            let options = join([rest, &options]);
            let plan = linux(config, label, target, &options, prefix, context)?;
            // The planner reads the image itself.
            if plan.initrds.iter().any(|part| part.url.names_iso()) {
                return Ok(BootTarget::Plan(Box::new(plan)));
            }
            Err(PlanError::new(&target.place, name, MEMDISK))
        }
        TargetKind::Kernel if has_suffix(name, &["memdisk"]) => {
            Err(PlanError::new(&target.place, name, MEMDISK))
        }
        TargetKind::Kernel
            if has_suffix(name, &[".com", ".cbt", ".bin", ".bs", ".bss", ".img"]) =>
        {
            let what = "needs PC firmware, which no longer runs under Linux";
            Err(PlanError::new(&target.place, name, what))
        }
        TargetKind::Kernel | TargetKind::Linux => {
            let kernel = Text {
                value: name.to_owned(),
                place: target.place.clone(),
            };
            let options = join([rest, &options]);
            linux(config, label, &kernel, &options, prefix, context)
                .map(|plan| BootTarget::Plan(Box::new(plan)))
        }
    }
}

const MEMDISK: &str =
    "memdisk needs PC firmware (it emulates a disk), which no longer runs under Linux";

#[cfg(feature = "iso")]
fn is_memdisk(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    name.to_ascii_lowercase().starts_with("memdisk")
}

/// Returns the arguments that belong to the label: its APPEND, or else the global one.
pub(super) fn own_options<'a>(config: &'a Config, label: &'a BootLabel) -> &'a str {
    match (&label.append, &config.append) {
        // doc/syslinux.txt: "APPEND -" is for a label that takes no words from the global APPEND.
        (Some(append), _) if append.value == "-" => "",
        (Some(append), _) | (None, Some(append)) => &append.value,
        (None, None) => "",
    }
}

fn linux(
    config: &Config,
    label: &BootLabel,
    kernel: &Text,
    options: &str,
    prefix: &Prefix,
    context: &mut Context,
) -> Result<BootPlan, PlanError> {
    // The last initrd= is used. It overrides an INITRD directive, since pxelinux puts that before the
    // options.
    let mut command_line = format!("BOOT_IMAGE={}", kernel.value);
    if let Some(initrd) = &label.initrd {
        command_line.push_str(&format!(" initrd={}", initrd.value));
    }
    let command_line = join([&command_line, options]);
    let appended = label.append.as_ref().or(config.append.as_ref());
    let place = match (options.contains("initrd="), &label.initrd, appended) {
        (false, Some(text), _) | (_, _, Some(text)) | (_, Some(text), None) => &text.place,
        (_, None, None) => &kernel.place,
    };
    let names = command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("initrd="))
        .next_back();
    let part = |name: &str| prefix.resolve(name, place).map(PlanPart::from);
    let names = names.unwrap_or_default().split(',');
    let initrds: Result<Vec<_>, _> = names.filter(|name| !name.is_empty()).map(part).collect();

    if let Some(directory) = &label.device_trees {
        let what = format!(
            "the device tree of this board in {} is not loaded; the next kernel uses the one \
             that is running now",
            directory.value
        );
        context.note(&directory.place, what);
    }
    let bits = label.sysappend.unwrap_or(config.sysappend);
    let system = system_options(bits, &label.name.place, context);
    let kernel = prefix.resolve(&kernel.value, &kernel.place)?;
    Ok(BootPlan {
        initrds: initrds?,
        device_tree: match &label.device_tree {
            Some(text) => Some(prefix.resolve(&text.value, &text.place)?.into()),
            None => None,
        },
        ..BootPlan::of_kernel(kernel.into(), join([&command_line, &system]))
    })
}

/// Follows the modules that only refer to another file or label.
fn module(
    name: &str,
    arguments: &str,
    target: &Text,
    prefix: &Prefix,
    context: &mut Context,
) -> Result<BootTarget, PlanError> {
    let file = name.rsplit('/').next().unwrap_or_default();
    let refuse = |what: &str| Err(PlanError::new(&target.place, name, what));
    if is_menu_module(name) {
        let file = arguments.split_whitespace().find(|file| *file != "~");
        return match file {
            Some(file) => Ok(BootTarget::Config(
                prefix.resolve(file, &target.place)?,
                None,
            )),
            None => refuse("names no configuration for the menu"),
        };
    }
    let (first, rest) = split_word(arguments);
    match file.to_ascii_lowercase().as_str() {
        "chain.c32" | "chain" => Err(local_boot(&target.place, name)),
        "ifcpu64.c32" => {
            use super::super::facts::Architecture::{Arm, Arm64, Other, RiscV64, X86, X86_64};
            let mut choices = arguments.split("--").map(str::trim);
            let number = match context.facts.architecture {
                X86_64 | Arm64 | RiscV64 => 0,
                X86 | Arm | Other => 1,
            };
            match choices.nth(number).filter(|label| !label.is_empty()) {
                Some(label) => Ok(BootTarget::Label(label.to_owned())),
                None => refuse("names no label for this processor"),
            }
        }
        "pxechn.c32" if !first.is_empty() => {
            prefix.resolve(first, &target.place).map(BootTarget::Chain)
        }
        "linux.c32" if !first.is_empty() => {
            let mut config = Config::new();
            for line in [
                format!("label {first}"),
                format!("linux {first}"),
                format!("append {rest}"),
            ] {
                config.line(&line, &target.place);
            }
            match config.labels.first() {
                Some(label) => boot(&config, label, "", None, prefix, context),
                None => refuse("names no kernel"),
            }
        }
        "reboot.c32" | "poweroff.c32" | "poweroff.com" => {
            refuse("reboots or powers off, and boots nothing")
        }
        _ => refuse("is a program for PC firmware, which no longer runs under Linux"),
    }
}

fn local_boot(place: &Place, word: &str) -> PlanError {
    let what = "boots from a local disk, not from the network";
    PlanError::new(place, word, what).local_boot()
}

fn has_suffix(name: &str, suffixes: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    suffixes.iter().any(|suffix| name.ends_with(suffix))
}

/// Joins the parts that are not empty with one space.
pub(super) fn join<const N: usize>(parts: [&str; N]) -> String {
    let mut joined = String::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(part);
    }
    joined
}

/// All bits with a meaning.
const KNOWN: u32 = (1 << (4 + SMBIOS.len())) - 1;

/// Names of SMBIOS strings by the bit of SYSAPPEND, from bit 4 on (doc/syslinux.txt, SYSAPPEND).
const SMBIOS: [(&str, &str); 14] = [
    ("SYSVENDOR", "sys_vendor"),
    ("SYSPRODUCT", "product_name"),
    ("SYSVERSION", "product_version"),
    ("SYSSERIAL", "product_serial"),
    ("SYSSKU", "product_sku"),
    ("SYSFAMILY", "product_family"),
    ("MBVENDOR", "board_vendor"),
    ("MBPRODUCT", "board_name"),
    ("MBVERSION", "board_version"),
    ("MBSERIAL", "board_serial"),
    ("MBASSET", "board_asset_tag"),
    ("BIOSVENDOR", "bios_vendor"),
    ("BIOSVERSION", "bios_version"),
    ("SYSFF", "chassis_type"),
];

/// Processor features in `CPU=`: the letter, and the flag in /proc/cpuinfo.
const CPU: [(char, &str); 6] = [
    ('P', "pae"),
    ('V', "vmx"),
    ('T', "smx"),
    ('X', "nx"),
    ('L', "lm"),
    ('S', "svm"),
];

/// Returns the words selected by `bits`; unknown values are omitted, as pxelinux does, and noted.
fn system_options(bits: u32, place: &Place, context: &mut Context) -> String {
    let facts = &context.facts;
    let mut words = Vec::new();
    let mut missing = Vec::new();
    let mut add = |name: &str, value: Option<String>| match value {
        // Spaces would end the word.
        Some(value) => words.push(format!(
            "{name}={}",
            value.trim().replace(char::is_whitespace, "_")
        )),
        None => missing.push(name.to_owned()),
    };
    if bits & 1 != 0 {
        let gateway = facts.gateway.unwrap_or(core::net::Ipv4Addr::UNSPECIFIED);
        let (address, server) = (facts.address, facts.boot_server);
        // pxelinux has four fields here; the kernel takes those that are missing as empty.
        let ip = format!("{address}:{server}:{gateway}:{}", facts.netmask());
        add("ip", Some(ip));
    }
    if bits & 2 != 0 {
        add("BOOTIF", Some(facts.hardware_address()));
    }
    if bits & 4 != 0 {
        add(
            "SYSUUID",
            facts.smbios("product_uuid").map(str::to_ascii_lowercase),
        );
    }
    if bits & 8 != 0 {
        let has = |flag: &str| facts.cpu_flags.iter().any(|found| found == flag);
        let letters = CPU.iter().filter(|(_, flag)| has(flag));
        // pxelinux counts families up to 6; all processors this program is built for are of it.
        let features = letters.fold("6".to_owned(), |text, (letter, _)| {
            format!("{text}{letter}")
        });
        add("CPU", (!facts.cpu_flags.is_empty()).then_some(features));
    }
    for (bit, (name, file)) in (4..).zip(SMBIOS) {
        if bits & (1 << bit) != 0 {
            add(name, facts.smbios(file).map(str::to_owned));
        }
    }
    if bits & !KNOWN != 0 {
        missing.push(format!("bit {:#x}", bits & !KNOWN));
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let what = format!("SYSAPPEND values not available on this machine: {missing}");
        context.note(place, what);
    }
    words.join(" ")
}
