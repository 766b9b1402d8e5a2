//! Boot loader entries of type 1 (UAPI specification 1): one text file per kernel.
//!
//! Paths begin at the root of the tree: the directory with `loader/entries` when the entry is there,
//! else the directory of the entry. Not supported: the choice of the newest of several entries, since
//! directories of a server cannot be listed.

use super::context::Context;
use super::error::{Place, PlanError};
use super::plan::{BootPlan, PlanPart};
use crate::prelude::*;
use crate::text::url::Url;

/// Returns the plan of the entry at `url`.
pub(super) fn plan(url: &Url, text: &[u8], context: &mut Context) -> Result<BootPlan, PlanError> {
    let text = String::from_utf8_lossy(text);
    let mut kernel: Option<PlanPart> = None;
    let mut initrds = Vec::new();
    let mut options: Vec<&str> = Vec::new();
    let mut device_tree = None;
    let whole = Place::whole(url);
    for (line, number) in text.lines().zip(1..) {
        let place = whole.at(number);
        let line = line.trim();
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        let part = || match value {
            "" => Err(PlanError::new(&place, key, "the file name is missing")),
            _ => resolve(url, value, &place).map(PlanPart::from),
        };
        match key {
            "" => {}
            _ if key.starts_with('#') => {}
            "linux" | "efi" | "uki" => {
                context.note(&place, format!("the kernel is {value}"));
                kernel = Some(part()?);
            }
            // UAPI specification 1: `initrd` and `options` may stand there more than once, and all
            // count.
            "initrd" => initrds.push(part()?),
            "options" => options.push(value),
            "devicetree" => device_tree = Some(part()?),
            // Entries of Fedora have keys for GRUB (grub_…) beside those of the specification.
            "title" | "version" | "machine-id" | "sort-key" | "architecture" | "profile"
            | "grub_users" | "grub_hotkey" | "grub_arg" | "grub_class" | "id" => {}
            _ => {
                return Err(PlanError::new(
                    &place,
                    key,
                    "unknown key of a boot loader entry",
                ));
            }
        }
    }
    let kernel = kernel.ok_or_else(|| PlanError::at(&whole, "the entry names no kernel"))?;
    Ok(BootPlan {
        initrds,
        device_tree,
        ..BootPlan::of_kernel(kernel, options.join(" "))
    })
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
