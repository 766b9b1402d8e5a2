//! Commands that load a kernel and what belongs to it, and those whose kernels cannot be started.

use super::super::plan::{Placement, PlanPart, Purpose};
use super::shell::{Call, Shell, StatementEffect, StatementResult};
use crate::prelude::*;
use crate::text::safe::Quoted;

pub(super) fn linux(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let Some((file, arguments)) = call.words.split_first() else {
        return Err(call.error("the file name is missing"));
    };
    let url = shell.variables.resolve(file, call.place)?;
    if let Some(effect) = shell.missing(&url, Purpose::Kernel) {
        return Ok(effect);
    }
    // GRUB's loaders put this word (LINUX_IMAGE) in front; dracut's fips module reads it.
    let mut command_line = format!("BOOT_IMAGE={file}");
    for argument in arguments {
        command_line.push(' ');
        command_line.push_str(&quoted(argument));
    }
    shell.load_kernel(url, command_line);
    Ok(StatementEffect::Status(true))
}

pub(super) fn initrd(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let mut parts = Vec::new();
    for word in &call.words {
        // newc:NAME:FILE puts the file into a cpio archive (grub_initrd_init).
        let (name, file) = match word
            .strip_prefix("newc:")
            .and_then(|rest| rest.split_once(':'))
        {
            Some((name, file)) => (Some(name.trim_start_matches('/')), file),
            None => (None, *word),
        };
        parts.push(PlanPart {
            placement: name.map(|path| Placement {
                path: path.to_owned(),
                mode: 0o777,
                make_directories: None,
            }),
            ..shell.variables.resolve(file, call.place)?.into()
        });
    }
    for part in &parts {
        // Only in a condition: elsewhere a missing file ends the boot when it is fetched.
        if let Some(effect) = shell.missing(&part.url, Purpose::Initrd) {
            return Ok(effect);
        }
    }
    if !shell.has_kernel() {
        return Ok(StatementEffect::fails("fails: no kernel has been loaded"));
    }
    shell.load_initrds(parts);
    Ok(StatementEffect::Status(true))
}

pub(super) fn device_tree(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let Some(file) = call.words.first() else {
        return Err(call.error("the file name is missing"));
    };
    let url = shell.variables.resolve(file, call.place)?;
    if let Some(effect) = shell.missing(&url, Purpose::DeviceTree) {
        return Ok(effect);
    }
    shell.load_device_tree(url);
    Ok(StatementEffect::Status(true))
}

/// Makes an ISO image a device, `(NAME)`; with `-d` it is none any more.
pub(super) fn loopback(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    if cfg!(not(feature = "iso")) {
        return Err(call.error("is a GRUB command that is not supported"));
    }
    let (name, image) = match call.words.as_slice() {
        ["-d" | "--delete", name] => (name, None),
        [name, file] => {
            let image = shell.variables.resolve(file, call.place)?;
            if image.path_in_image().is_some() {
                return Err(call.error("an image inside of an image is not supported"));
            }
            if let Some(effect) = shell.missing(&image, Purpose::Kernel) {
                return Ok(effect);
            }
            (name, Some(image))
        }
        _ => return Err(call.error("wants the name of a device and a file")),
    };
    shell.variables.set_loop(name, image, call.place)?;
    Ok(StatementEffect::Status(true))
}

pub(super) fn multiboot(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let words = call.words.iter().copied();
    let file = words.clone().find(|word| !word.starts_with("--"));
    shell.load_multiboot(call.place, file.unwrap_or(call.name));
    Ok(StatementEffect::Status(true))
}

/// The first module of Xen is the kernel of Dom0, which could be booted in its place.
pub(super) fn module(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let Some(error) = shell.plan().err() else {
        return Ok(StatementEffect::fails(
            "fails: no multiboot kernel has been loaded",
        ));
    };
    let words = call.words.iter().copied();
    let words: Vec<_> = words.skip_while(|word| word.starts_with("--")).collect();
    let what = format!(
        "{}: its first module is \"{}\"",
        error.what,
        words.join(" ")
    );
    Err(error.with_what(what))
}

pub(super) fn chainloader(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let words = call.words.iter().copied();
    let file = words.clone().rfind(|word| !word.starts_with("--"));
    let file = file.unwrap_or_default();
    let is_disk = file.starts_with("(hd") || file.starts_with('+');
    let error = call.error(&format!(
        "starts {}, a program for the firmware, which no longer runs under Linux",
        Quoted(file)
    ));
    Err(if is_disk { error.local_boot() } else { error })
}

/// Returns a word as the kernel's command line has it: in quotes when it holds a space.
fn quoted(word: &str) -> String {
    // As grub_create_loader_cmdline() of grub-core/lib/cmdline.c.
    if word.contains(' ') {
        format!("\"{}\"", word.replace('"', "\\\""))
    } else {
        word.to_owned()
    }
}
