//! The commands, a row each: a new one is a row and a function.

use core::ops::RangeInclusive;

use super::super::context::Context;
use super::super::plan::Place;
use super::super::step::Step;
use super::shell::{Call, GrubOption, PendingStatement, Shell, StatementEffect, StatementResult};
use super::{blscfg, conditions, facts, loads, test};
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
    Run(Builtin),
    /// It succeeds; the reason becomes a note.
    Succeeds(Option<&'static str>),
    /// It succeeds without doing anything, which is noted once, and decides no condition.
    Ignored,
    /// It fails, for this reason, which becomes a note.
    Fails(Option<&'static str>),
    /// What it would say is not known, for this reason.
    Unknown(&'static str),
}

type Builtin = fn(&mut Shell, &mut Call<'_>) -> StatementResult;

/// No limit to the number of words: more than 254 count as this.
const ANY: u8 = u8::MAX;

const COMMANDS: &[GrubCommand] = &[
    row("set", set),
    row("unset", unset),
    row("export", export),
    row("test [", conditions::test),
    row("echo", echo),
    // linuxefi is of distributions' GRUB for EFI, linux16 of that for PCs; both load a kernel.
    row("linux linuxefi linux16", loads::linux),
    row("initrd initrdefi initrd16", loads::initrd),
    row("devicetree", loads::device_tree),
    row("multiboot multiboot2 xen_hypervisor", loads::multiboot),
    row(
        "module module2 xen_linux xen_initrd xen_module",
        loads::module,
    ),
    row("chainloader", loads::chainloader),
    row("blscfg bls_import", blscfg::start),
    row("source . configfile normal", source),
    row("boot", |_, _| Ok(StatementEffect::Boot)),
    row("return", leave),
    row("break continue", leave_loops),
    row("shift", shift),
    row("setparams", set_parameters),
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
        facts::cpuid,
    ),
    with_options(
        "smbios",
        &[
            ("type", "t", true),
            ("handle", "h", true),
            ("match", "m", true),
            ("get-byte", "b", true),
            ("get-word", "w", true),
            ("get-dword", "d", true),
            ("get-qword", "q", true),
            ("get-string", "s", true),
            ("get-uuid", "u", true),
            ("set", "", true),
            ("linux", "", false),
        ],
        0..=0,
        facts::smbios,
    ),
    row("net_get_dhcp_option", facts::dhcp_option),
    with_options("authenticate", &[], 0..=ANY, conditions::authenticate),
    row("loopback", loads::loopback),
    row("exit halt reboot", local_boot),
    row("fwsetup", firmware_setup),
    row(
        "appleloader cryptomount drivemap freedos kfreebsd knetbsd kopenbsd linux_xen ntldr plan9 pxechain xnu_kernel xnu_kernel64",
        unsupported,
    ),
    fixed("true", Action::Succeeds(None)),
    fixed("false", Action::Fails(None)),
    fixed(
        "net_bootp net_bootp6 net_dhcp",
        Action::Succeeds(Some("has nothing to do: the network is configured")),
    ),
    fixed(WITHOUT_EFFECT, Action::Ignored),
    // These cannot do their work here, so a condition must not rely on them.
    fixed(
        "gptsync hdparm nativedisk parttool search search.file search.fs_label search.fs_uuid search_fs_file search_fs_uuid search_label",
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
        "acpi cat date lsefi videoinfo",
        Action::Fails(Some("fails: not supported")),
    ),
    fixed(
        "cmp hashsum hwmatch probe rdmsr videotest",
        Action::Unknown("is not supported, and its result is not known"),
    ),
];

/// Commands that have nothing to do: modules are built in, the terminal stays as it is, the network
/// is up, and passwords are not asked for. The list is in the manual, too.
const WITHOUT_EFFECT: &str = "background_color background_image clear hiddenmenu insmod keymap \
    loadfont loadkeys net_add_addr net_add_dns net_add_route net_del_addr net_del_dns \
    net_del_route net_ls_addr net_set_vlan password password_pbkdf2 play rmmod serial terminal \
    terminal_input terminal_output vt_unicode";

/// Functions about screens and disks that distributions define in their configurations; a missing
/// one is a command without effect.
const USUAL_FUNCTIONS: &str = "efi_quiet export_env gfxmode gfxpayload grub_platform load_video \
    recordfail savedefault set_background_image unhidden videomode";

/// What a command without effect does to a condition.
pub(super) const NO_EFFECT: &str = "has no effect here, and decides nothing";

/// Returns the function of distributions that has this name, if there is one.
pub(super) fn usual_function(name: &str) -> Option<&'static str> {
    USUAL_FUNCTIONS.split(' ').find(|known| *known == name)
}

const fn row(names: &'static str, run: Builtin) -> GrubCommand {
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
    run: Builtin,
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
        // Variables without a value: GRUB calls that a success.
        return Ok(if shell.is_condition {
            StatementEffect::Unknown("there is no command, since its variables have no value")
        } else {
            StatementEffect::Status(true)
        });
    };
    if let Some((variable, value)) = name.split_once('=')
        && !variable.is_empty()
    {
        shell.variables.assign(variable, value, place)?;
        return Ok(StatementEffect::Status(true));
    }
    let mut commands = COMMANDS.iter();
    let known = commands.find_map(|command| {
        let mut names = command.names.split(' ');
        names.find(|known| known == name).zip(Some(command))
    });
    let Some((known, command)) = known else {
        return Ok(StatementEffect::Call(name.clone()));
    };
    let run = match command.action {
        Action::Run(run) => run,
        Action::Succeeds(why) => {
            if let Some(why) = why {
                context.note(place, format!("{name} {why}"));
            }
            return Ok(StatementEffect::Status(true));
        }
        Action::Ignored if shell.is_condition => {
            return Ok(StatementEffect::Unknown(NO_EFFECT));
        }
        Action::Ignored => {
            if shell.is_first(known) {
                context.note(place, format!("{name} {NO_EFFECT}"));
            }
            return Ok(StatementEffect::Status(true));
        }
        Action::Unknown(why) => return Ok(StatementEffect::Unknown(why)),
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
    // Only the first word counts (grub_core_cmd_set): a variable without quotes may add others.
    let word = call.words.first().copied().unwrap_or("=");
    let Some((variable, value)) = word.split_once('=') else {
        return Ok(StatementEffect::fails("fails: needs NAME=VALUE"));
    };
    if !variable.is_empty() {
        shell.variables.assign(variable, value, call.place)?;
    }
    Ok(StatementEffect::Status(true))
}

fn unset(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    call.words
        .iter()
        .for_each(|name| shell.variables.unset(name));
    Ok(StatementEffect::Status(true))
}

fn export(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    for name in &call.words {
        // It may get its value later (grub_env_export).
        if shell.variables.value(name).is_none() {
            shell.variables.assign(name, "", call.place)?;
        }
        shell.variables.export(name);
    }
    Ok(StatementEffect::Status(true))
}

fn echo(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let words = call.words.iter().copied();
    let words = words.skip_while(|word| matches!(*word, "-n" | "-e" | "-ne" | "-en"));
    let step = Step::Say(words.collect::<Vec<_>>().join(" "));
    Ok(StatementEffect::Ask(step, PendingStatement::Nothing))
}

fn source(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let file = match (call.words.first(), call.name) {
        (Some(file), _) => (*file).to_owned(),
        (None, "normal") => {
            format!(
                "{}/grub.cfg",
                shell.variables.value("prefix").unwrap_or_default()
            )
        }
        (None, _) => return Ok(StatementEffect::fails("fails: the file name is missing")),
    };
    // normal keeps variables and menu (grub_cmd_normal).
    let is_new = call.name == "configfile";
    match shell.variables.resolve(&file, call.place) {
        Ok(url) => Ok(StatementEffect::Source { url, is_new }),
        Err(error) => {
            shell.blame = Some(error);
            Ok(StatementEffect::fails(
                "fails: the file is on no device of the network",
            ))
        }
    }
}

fn leave(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let code = call.words.first().map(|code| test::number(code) == 0);
    Ok(StatementEffect::Return(code))
}

fn leave_loops(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let Some(loops) = count(call).filter(|loops| *loops > 0) else {
        return Ok(StatementEffect::fails("fails: needs a number of loops"));
    };
    let continues = call.name == "continue";
    Ok(StatementEffect::Break { loops, continues })
}

fn shift(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let count = count(call);
    // Outside of functions it does nothing (grub_script_shift).
    let Some(words) = shell.variables.scopes.last_mut() else {
        return Ok(StatementEffect::Status(true));
    };
    let Some(count) = count.filter(|count| *count <= words.len()) else {
        return Ok(StatementEffect::fails("fails: there are fewer arguments"));
    };
    // The others move, which would cost more than the steps of a loop over many arguments.
    call.context.budget.produce(words.len());
    words.drain(..count);
    Ok(StatementEffect::Status(true))
}

/// Returns the number in a command's only word, or 1 without one.
fn count(call: &Call<'_>) -> Option<usize> {
    match call.words.as_slice() {
        [] => Some(1),
        [word] => word.parse().ok(),
        _ => None,
    }
}

fn set_parameters(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let Some(words) = shell.variables.scopes.last_mut() else {
        return Ok(StatementEffect::fails("fails: there is no function"));
    };
    *words = call.words.iter().map(|word| (*word).to_owned()).collect();
    Ok(StatementEffect::Status(true))
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

fn firmware_setup(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    if call.words.contains(&"--is-supported") {
        return Ok(StatementEffect::fails(
            "fails: the firmware is not asked for its setup",
        ));
    }
    local_boot(shell, call)
}

fn unsupported(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    Err(call.error("is a GRUB command that is not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_the_commands_without_effect() {
        let manual = include_str!("../../../manual/boot-files.md");
        let (_, section) = manual.split_once("Commands without effect").unwrap();
        let lists = section.lines().filter_map(|line| line.strip_prefix("> "));
        let lists: Vec<_> = lists.take(2).map(|list| list.replace('`', "")).collect();
        assert_eq!(lists, [WITHOUT_EFFECT, USUAL_FUNCTIONS]);
    }

    #[test]
    fn commands_without_effect_are_noted_once_and_decide_nothing() {
        use super::super::super::context::{Budget, Context};
        use super::super::super::facts::Facts;
        let url: crate::text::url::Url = "http://192.0.2.1/grub.cfg".parse().unwrap();
        let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        let facts = Facts::new(url.clone(), Default::default(), address, server);
        let place = Place::whole(&url);
        for name in WITHOUT_EFFECT.split(' ') {
            let mut shell = Shell::new(&url, &facts);
            let mut context = Context::new(facts.clone(), Budget::new(place.clone()));
            let words = [name.to_owned(), "x".to_owned()];
            for _ in 0..2 {
                let effect = run(&mut shell, &words, &place, &mut context);
                assert!(
                    matches!(effect, Ok(StatementEffect::Status(true))),
                    "{name}"
                );
                assert_eq!(context.notes().len(), 1, "{name}");
                assert!(context.notes()[0].text.starts_with(name));
            }
            shell.is_condition = true;
            let effect = run(&mut shell, &words, &place, &mut context);
            assert!(matches!(effect, Ok(StatementEffect::Unknown(_))), "{name}");
        }
    }

    #[test]
    fn every_command_has_one_row() {
        let names = COMMANDS.iter().flat_map(|command| command.names.split(' '));
        let mut names: Vec<_> = names.collect();
        names.sort();
        let double = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(double, None);
    }
}
