//! The commands, a row each: a new one is a row and a function.

use core::ops::RangeInclusive;

use super::super::context::Context;
use super::super::error::Place;
use super::super::plan::Purpose;
use super::super::step::Step;
use super::conditions::{self, Call, GrubOption};
use super::shell::{PendingStatement, Shell, StatementEffect, StatementResult};
use super::test;
use crate::prelude::*;

/// A command: its names, arguments and action.
struct GrubCommand {
    /// Its names, with spaces between, which need less room than a list.
    // As a list each name costs 16 bytes and a relocation; two such tables were 8 KiB.
    names: &'static str,
    /// The options that may stand anywhere among its words; none where every word is left to the
    /// function.
    options: Option<&'static [GrubOption]>,
    /// How many words there are beside the options.
    words: RangeInclusive<u8>,
    action: Action,
}

/// The action of a command.
enum Action {
    Run(Function),
    /// It succeeds and does nothing.
    Succeeds,
    /// It fails, for this reason, which becomes a note.
    Fails(Option<&'static str>),
}

type Function = fn(&mut Shell, &mut Call<'_>) -> StatementResult;

/// No limit to the number of words: more than 254 count as this.
const ANY: u8 = u8::MAX;

const COMMANDS: &[GrubCommand] = &[
    row("set", set),
    row("unset", unset),
    row("test [", conditions::test),
    row("echo", echo),
    // linuxefi is of distributions' GRUB for EFI, linux16 of that for PCs; both load a kernel.
    row("linux linuxefi linux16", linux),
    row("initrd initrdefi initrd16", initrd),
    row("devicetree", device_tree),
    row("source . configfile normal", source),
    row("boot", |_, _| Ok(StatementEffect::Boot)),
    row("return break", leave),
    row("eval", eval),
    with_options("regexp", &[("set", "s", true)], 2..=2, conditions::regexp),
    with_options(
        "sleep",
        &[("verbose", "v", false), ("interruptible", "i", false)],
        1..=1,
        conditions::sleep,
    ),
    with_options("read", &[("silent", "s", false)], 0..=ANY, conditions::read),
    with_options(
        "load_env",
        &[("file", "f", true), ("skip-sig", "s", false)],
        0..=ANY,
        conditions::load_env,
    ),
    with_options(
        "verify_detached",
        &[("skip-sig", "s", false)],
        2..=3,
        conditions::verify,
    ),
    with_options("increment decrement", &[], 1..=1, conditions::count),
    with_options(
        "cpuid",
        &[("long-mode", "l", false), ("pae", "p", false)],
        0..=0,
        conditions::cpuid,
    ),
    with_options(
        "smbios",
        &[
            ("type", "t", true),
            ("get-string", "s", true),
            ("get-uuid", "u", true),
            ("set", "", true),
        ],
        0..=0,
        conditions::smbios,
    ),
    row("loopback", loopback),
    with_options("authenticate", &[], 0..=ANY, conditions::authenticate),
    row("exit fwsetup halt reboot", local_boot),
    row(
        "chainloader multiboot multiboot2 module module2 blscfg drivemap ntldr xen_hypervisor cryptomount",
        unsupported,
    ),
    // These have nothing to do: modules are built in, the network is up, and passwords are not
    // asked for.
    fixed(
        "true background_color clear export insmod net_add_addr net_add_dns net_add_route net_bootp net_del_addr net_dhcp net_ls_addr password password_pbkdf2 rmmod serial setparams shift terminal terminal_input terminal_output",
        Action::Succeeds,
    ),
    fixed("false", Action::Fails(None)),
    // These cannot do their work here, so a condition must not rely on them.
    fixed(
        "gptsync hdparm nativedisk parttool probe search search.file search.fs_label search.fs_uuid search_fs_file search_fs_uuid search_label",
        Action::Fails(Some("fails: disks are not searched, only the network")),
    ),
    fixed(
        "save_env list_env ls",
        Action::Fails(Some("fails: a boot server neither stores nor lists files")),
    ),
    fixed(
        "trust distrust list_trusted",
        Action::Fails(Some(
            "fails: the keys that count are those of this machine, for minisign",
        )),
    ),
    fixed(
        "keystatus",
        Action::Fails(Some("fails: the state of keys is not known")),
    ),
    fixed(
        "acpi background_image cat cmp date hashsum hwmatch keymap loadfont loadkeys lsefi play rdmsr videoinfo videotest",
        Action::Fails(Some("fails: not supported")),
    ),
];

/// Functions about screens and disks that distributions define in their configurations; a missing one
/// is no error.
pub(super) const USUAL_FUNCTIONS: &[&str] = &[
    "efi_quiet",
    "export_env",
    "gfxmode",
    "gfxpayload",
    "grub_platform",
    "load_video",
    "recordfail",
    "savedefault",
    "set_background_image",
    "unhidden",
    "videomode",
];

const fn row(names: &'static str, run: Function) -> GrubCommand {
    fixed(names, Action::Run(run))
}

const fn fixed(names: &'static str, action: Action) -> GrubCommand {
    GrubCommand {
        names,
        options: None,
        words: 0..=ANY,
        action,
    }
}

const fn with_options(
    names: &'static str,
    options: &'static [GrubOption],
    words: RangeInclusive<u8>,
    run: Function,
) -> GrubCommand {
    GrubCommand {
        names,
        options: Some(options),
        words,
        action: Action::Run(run),
    }
}

/// Runs one command.
pub(super) fn run(
    shell: &mut Shell,
    words: &[String],
    place: &Place,
    context: &mut Context,
) -> StatementResult {
    let Some((name, words)) = words.split_first() else {
        return Ok(StatementEffect::Status(true));
    };
    if let Some((variable, value)) = name.split_once('=')
        && !variable.is_empty()
    {
        shell.assign(variable, value, place)?;
        return Ok(StatementEffect::Status(true));
    }
    let mut commands = COMMANDS.iter();
    let Some(command) =
        commands.find(|command| command.names.split(' ').any(|known| known == name))
    else {
        return Ok(StatementEffect::Call(name.clone()));
    };
    let run = match command.action {
        Action::Run(run) => run,
        Action::Succeeds => return Ok(StatementEffect::Status(true)),
        Action::Fails(None) => return Ok(StatementEffect::Status(false)),
        Action::Fails(Some(why)) => return Ok(StatementEffect::fails(why)),
    };
    let Some(mut call) = Call::parse(name, words, command.options, place, context) else {
        return Ok(StatementEffect::fails("fails: unknown option"));
    };
    if !command
        .words
        .contains(&u8::try_from(call.words.len()).unwrap_or(ANY))
    {
        return Ok(StatementEffect::fails("fails: wrong number of words"));
    }
    run(shell, &mut call)
}

fn set(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    for word in &call.words {
        if let Some((variable, value)) = word.split_once('=') {
            shell.assign(variable, value, call.place)?;
        }
    }
    Ok(StatementEffect::Status(true))
}

fn unset(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    call.words.iter().for_each(|name| shell.unset(name));
    Ok(StatementEffect::Status(true))
}

fn echo(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let words = call.words.iter().copied();
    let words: Vec<&str> = words.filter(|word| !word.starts_with('-')).collect();
    let step = Step::Say(words.join(" "));
    Ok(StatementEffect::Ask(step, PendingStatement::Nothing))
}

fn linux(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let Some((file, arguments)) = call.words.split_first() else {
        return Err(call.error("the file name is missing"));
    };
    let url = shell.resolve(file, call.place)?;
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

fn initrd(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let urls = call
        .words
        .iter()
        .map(|file| shell.resolve(file, call.place));
    let urls = urls.collect::<Result<Vec<_>, _>>()?;
    for url in &urls {
        // Only in a condition: elsewhere a missing file ends the boot when it is fetched.
        if let Some(effect) = shell.missing(url, Purpose::Initrd) {
            return Ok(effect);
        }
    }
    urls.into_iter().for_each(|url| shell.load_initrd(url));
    Ok(StatementEffect::Status(true))
}

fn device_tree(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let Some(file) = call.words.first() else {
        return Err(call.error("the file name is missing"));
    };
    let url = shell.resolve(file, call.place)?;
    shell.load_device_tree(url);
    Ok(StatementEffect::Status(true))
}

/// Makes an ISO image a device, `(NAME)`; with `-d` it is none any more.
fn loopback(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let (name, image) = match call.words.as_slice() {
        ["-d" | "--delete", name] => (name, None),
        [name, file] => {
            let image = shell.resolve(file, call.place)?;
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
    shell.set_loop(name, image, call.place)?;
    Ok(StatementEffect::Status(true))
}

fn source(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let file = match (call.words.first(), call.name) {
        (Some(file), _) => (*file).to_owned(),
        (None, "normal") => {
            format!("{}/grub.cfg", shell.variable("prefix").unwrap_or_default())
        }
        (None, _) => return Err(call.error("the file name is missing")),
    };
    let is_new = matches!(call.name, "configfile" | "normal");
    let url = shell.resolve(&file, call.place)?;
    Ok(StatementEffect::Source { url, is_new })
}

fn leave(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let code = call.words.first().map(|code| test::number(code) == 0);
    Ok(StatementEffect::Return(code))
}

fn eval(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    Ok(if call.words.is_empty() {
        StatementEffect::Status(true)
    } else {
        StatementEffect::Run(call.words.join(" "))
    })
}

fn local_boot(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let error = call.error("leaves without booting from the network");
    Err(error.local_boot())
}

fn unsupported(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    Err(call.error("is a GRUB command that is not supported"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_one_row() {
        let names = COMMANDS.iter().flat_map(|command| command.names.split(' '));
        let mut names: Vec<_> = names.collect();
        names.sort();
        let double = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(double, None);
    }
}
