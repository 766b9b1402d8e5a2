//! Boot loader entries of type 1 (UAPI specification 1): one text file per kernel.
//!
//! Paths begin at the root of the tree: the directory with `loader/entries` when the entry is there,
//! else the directory of the entry. A word `$NAME` of an entry has its value from GRUB; an entry that
//! is the boot file has none for it. Not supported: the choice of the newest of several entries, for
//! which a server must list them (`blscfg` of GRUB does that).

use super::context::Context;
use super::facts::Architecture;
use super::plan::{BootPlan, Place, PlanError, PlanPart};
use crate::prelude::*;
use crate::text::safe::Quoted;
use crate::text::url::Url;

/// Returns the plan of the entry at `url`.
pub(super) fn plan(url: &Url, text: &[u8], context: &mut Context) -> Result<BootPlan, PlanError> {
    let text = String::from_utf8_lossy(text);
    let mut kernel: Option<PlanPart> = None;
    let mut initrds = Vec::new();
    let mut options: Vec<String> = Vec::new();
    let mut device_tree = None;
    let mut profile = None;
    let mut is_unified = false;
    let whole = Place::whole(url);
    for (number, key, value) in keys(&text) {
        let place = whole.at(number);
        let part = |name: &str| match name {
            "" => Err(PlanError::new(&place, key, "the file name is missing")),
            _ => resolve(url, name, &place).map(PlanPart::from),
        };
        match key {
            // A configuration of GRUB has such lines, which may not start another file.
            "linux" if value.contains(char::is_whitespace) => {
                let what = "is more than the name of a kernel: what is behind the name belongs into \
                            a line with options (or is this a configuration of GRUB? name it grub.cfg)";
                return Err(PlanError::new(&place, value, what));
            }
            "linux" | "efi" | "uki" | "uki-url" => {
                context.note(&place, format!("the kernel is {value}"));
                kernel = Some(part(value)?);
                is_unified = key != "linux";
            }
            // UAPI specification 1: `initrd` and `options` may stand there more than once, and all
            // count. GRUB and systemd-boot take several names in one line as well.
            "initrd" => {
                let names = with_values(value, &|_| None, &place, context);
                let names: Vec<_> = names.split_whitespace().collect();
                if value.is_empty() {
                    part("")?;
                }
                for name in names {
                    initrds.push(part(name)?);
                }
            }
            "options" => options.push(with_values(value, &|_| None, &place, context)),
            "devicetree" => device_tree = Some(part(value)?),
            "devicetree-overlay" => {
                context.note(&place, format!("{key} is not applied: {value}"));
            }
            "architecture" => {
                if let Some(what) = foreign(value, context.facts.architecture) {
                    return Err(PlanError::new(&place, value, what));
                }
            }
            "profile" => profile = Some((place, value)),
            // Entries of Fedora have keys for GRUB (grub_…) beside those of the specification.
            "title" | "version" | "machine-id" | "sort-key" | "grub_users" | "grub_hotkey"
            | "grub_arg" | "grub_class" | "id" => {}
            _ => context.note(
                &place,
                format!("unknown key {} is passed over", Quoted(key)),
            ),
        }
    }
    let kernel = kernel.ok_or_else(|| PlanError::at(&whole, "the entry names no kernel"))?;
    if let Some((place, profile)) = profile.filter(|(_, profile)| is_unified && *profile != "0") {
        if profile.parse::<u16>().is_err() {
            let what = "is no number of a profile of the unified kernel image";
            return Err(PlanError::new(&place, profile, what));
        }
        // As systemd-boot tells its stub (UAPI specification 5, "Multi-Profile UKIs").
        options.insert(0, format!("@{profile}"));
    }
    options.retain(|options| !options.is_empty());
    Ok(BootPlan {
        initrds,
        device_tree,
        ..BootPlan::of_kernel(kernel, options.join(" "))
    })
}

/// Returns the keys of an entry with their lines and values, without those that are empty.
pub(super) fn keys(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    let keys = lines.map(|(line, number)| {
        let line = line.trim();
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        (number, key, value.trim())
    });
    keys.filter(|(_, key, _)| !key.is_empty() && !key.starts_with('#'))
}

/// Returns why an entry for this architecture is for another machine, if it is. The names are those
/// of EFI (UAPI specification 1).
pub(super) fn foreign(name: &str, here: Architecture) -> Option<String> {
    let own = match here {
        Architecture::X86 => "ia32",
        Architecture::X86_64 => "x64",
        Architecture::Arm => "arm",
        Architecture::Arm64 => "aa64",
        Architecture::RiscV64 => "riscv64",
        Architecture::Other => return None,
    };
    if name.eq_ignore_ascii_case(own) {
        return None;
    }
    // Names of Linux and of packages.
    let meant = match name.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" | "amd64" => "x64",
        "i386" | "i486" | "i586" | "i686" | "x86" => "ia32",
        "aarch64" | "arm64" => "aa64",
        _ => "",
    };
    Some(match meant {
        "" => format!("is the architecture of the entry; this machine is {own}"),
        _ => format!("is no architecture of an entry: write {meant}; this machine is {own}"),
    })
}

/// Replaces the words `$NAME` and `${NAME}` by their values, or by nothing, which is noted.
pub(super) fn with_values(
    text: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
    place: &Place,
    context: &mut Context,
) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(' ').filter_map(|word| {
        let name = word.strip_prefix('$').unwrap_or_default();
        let braced = name
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        let name = braced.unwrap_or(name);
        // $6$… is a password.
        if !name.starts_with(|c| is_part(c) && !c.is_ascii_digit()) || !name.chars().all(is_part) {
            return Some(word.to_owned());
        }
        let value = value_of(name);
        if value.is_none() {
            let text = format!("{word} has no value and is left out: write what it stands for");
            context.note(place, text);
        }
        value
    });
    words.collect::<Vec<_>>().join(" ")
}

fn resolve(entry: &Url, name: &str, place: &Place) -> Result<Url, PlanError> {
    let root = if entry.path().contains("/loader/entries/") {
        "../../"
    } else {
        ""
    };
    let reference = match crate::text::url::scheme_of(name) {
        Some(_) => name.to_owned(),
        None => format!("{root}{}", name.trim_start_matches('/')),
    };
    let url = entry.join(&reference);
    url.map_err(|error| PlanError::new(place, name, error.what))
}
