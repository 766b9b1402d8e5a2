//! From a label to the kernel or file that it boots, with the words of SYSAPPEND on its command line.

use super::super::context::Context;
#[cfg(feature = "iso")]
use super::super::loaders::is_memdisk;
use super::super::loaders::program_refusal;
use super::super::plan::{BootPlan, Place, Placement, PlanError, PlanPart};
use super::config::{BootLabel, Config, TargetKind, Text};
use super::modules::{BootTarget, local_boot, module};
use super::reader::FolderPrefix;
use super::words::{join, module_name, split_word};
use crate::prelude::*;

/// Returns what `label` boots, with `arguments` after its own; `edited` replaces both.
pub(super) fn boot(
    config: &Config,
    label: &BootLabel,
    arguments: &str,
    edited: Option<&str>,
    prefix: &FolderPrefix,
    context: &mut Context,
) -> Result<BootTarget, PlanError> {
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
    // As get_extension() of com32/elflink/ldlinux/ldlinux.c finds the modules of these names.
    let is_implied =
        label.target.is_none() && ["chain", "config", "poweroff", "reboot"].contains(&name);
    let is_module = kind == TargetKind::Module
        || kind == TargetKind::Kernel
            && (is_implied || has_suffix(name, &[".c32", "poweroff.com"]));
    match kind {
        TargetKind::LocalBoot => Err(local_boot(&target.place, &label.name.value)),
        _ if name.is_empty() => {
            let what = "the file name is missing";
            Err(PlanError::new(&target.place, &label.name.value, what))
        }
        TargetKind::Config => {
            let file = Text {
                value: name.to_owned(),
                place: target.place.clone(),
            };
            // doc/syslinux.txt: the directory may be in an APPEND of the label.
            let append = label.append.as_ref().map_or("", |append| &append.value);
            let directory = [rest, append].map(|text| split_word(text).0);
            let directory = directory
                .into_iter()
                .find(|name| !matches!(*name, "" | "-"));
            Ok(BootTarget::Config(vec![file], directory.map(str::to_owned)))
        }
        TargetKind::Program => prefix.resolve(name, &target.place).map(BootTarget::Chain),
        TargetKind::Module | TargetKind::Kernel if is_module => {
            let arguments = join([rest, &options]);
            if module_name(name) == "linux" {
                linux_module(&arguments, &target.place, prefix, context)
            } else {
                module(name, &arguments, target, prefix, context)
            }
        }
        TargetKind::Firmware => {
            let what = "is a program for PC firmware, which no longer runs under Linux";
            Err(PlanError::new(&target.place, name, what))
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
            let kernel = Text {
                value: name.to_owned(),
                place: target.place.clone(),
            };
            let options = join([rest, &options]);
            let plan = linux(config, label, &kernel, &options, prefix, context)?;
            // The planner reads the image itself.
            if plan.initrds.iter().any(|part| part.url.names_iso()) {
                return Ok(BootTarget::Plan(Box::new(plan)));
            }
            let what = program_refusal(name).unwrap_or_default();
            Err(PlanError::new(&target.place, name, what))
        }
        TargetKind::Module | TargetKind::Kernel | TargetKind::Linux => {
            // U-Boot: the part of a FIT image behind #, as conf-1 or config@1.
            if name.contains("#conf") {
                let what =
                    "is in a FIT image for U-Boot; name the kernel in it as a file of its own";
                return Err(PlanError::new(&target.place, name, what));
            }
            if let Some(what) = program_refusal(name) {
                return Err(PlanError::new(&target.place, name, what));
            }
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
    prefix: &FolderPrefix,
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

    if let Some(overlays) = &label.overlays {
        let what = "device tree overlays are not supported";
        // Only where the next kernel gets a device tree does it lack them.
        if context.facts.architecture.loads_device_trees() {
            return Err(PlanError::new(&overlays.place, &overlays.value, what));
        }
        context.note(&overlays.place, what);
    }
    if let Some(directory) = &label.device_trees {
        let what = format!(
            "the device tree of this board in {} is not loaded; the next kernel uses the one \
             that is running now",
            directory.value
        );
        context.note(&directory.place, what);
    }
    let bits = label.sysappend.unwrap_or(config.sysappend);
    let system = system_options(bits, &label.name.place, &command_line, context);
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

/// Boots a kernel as linux.c32 does: with more initrds (`initrd+=`), and with plain files
/// (`initrdfile=`) under the names behind `@`.
fn linux_module(
    arguments: &str,
    place: &Place,
    prefix: &FolderPrefix,
    context: &mut Context,
) -> Result<BootTarget, PlanError> {
    let words = arguments
        .split_whitespace()
        .filter(|word| *word != "-dhcpinfo");
    let words: Vec<_> = words.collect();
    let Some((kernel, rest)) = words.split_first() else {
        return Err(PlanError::new(place, "linux.c32", "names no kernel"));
    };
    let mut config = Config::new();
    let rest_of_line = rest.join(" ");
    for line in [
        format!("label {kernel}"),
        format!("linux {kernel}"),
        join(["append", &rest_of_line]),
    ] {
        config.line(&line, place);
    }
    let Some(label) = config.labels.first() else {
        return Err(PlanError::new(place, "linux.c32", "names no kernel"));
    };
    let mut target = boot(&config, label, "", None, prefix, context)?;
    if let BootTarget::Plan(plan) = &mut target {
        let files = |option: &'static str| {
            let values = rest
                .iter()
                .filter_map(move |word| word.strip_prefix(option));
            values
                .flat_map(|names| names.split(','))
                .filter(|name| !name.is_empty())
        };
        for name in files("initrd+=") {
            plan.initrds.push(prefix.resolve(name, place)?.into());
        }
        for name in files("initrdfile=") {
            let (name, path) = name.split_once('@').unwrap_or((name, ""));
            let own_name = name.rsplit('/').next().unwrap_or_default();
            let path = [path, own_name].into_iter().find(|path| !path.is_empty());
            let path = path.unwrap_or_default().trim_start_matches('/');
            if path.split('/').any(|part| part == "..") {
                let what = "the path must not contain ..";
                return Err(PlanError::new(place, path, what));
            }
            plan.initrds.push(PlanPart {
                placement: Some(Placement {
                    path: path.to_owned(),
                    mode: 0o755,
                    make_directories: None,
                }),
                ..prefix.resolve(name, place)?.into()
            });
        }
        if let Some(tree) = files("dtb=").next_back() {
            plan.device_tree = Some(prefix.resolve(tree, place)?.into());
        }
    }
    Ok(target)
}

fn has_suffix(name: &str, suffixes: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    suffixes.iter().any(|suffix| name.ends_with(suffix))
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
fn system_options(bits: u32, place: &Place, line: &str, context: &mut Context) -> String {
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
        add("ip", Some(ip).filter(|_| facts.has_ipv4()));
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
    if bits & 1 != 0 {
        words.extend(facts.words_below(line).map(str::to_owned));
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let what = format!("SYSAPPEND values not available on this machine: {missing}");
        context.note(place, what);
    }
    words.join(" ")
}
