//! The commands, a row each: a new one is a row and a function, here or in the file of its subject.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::super::context::Context;
use super::super::facts::Architecture;
use super::super::plan::{Outcome, Place};
use super::super::step::{Answer, Step};
use super::arguments::{Arguments, CommandFault, CommandOption, flag, number, valued};
use super::image_commands as image;
use super::network_commands as network;
use super::setting_commands as setting;
use super::state::{CommandEffect, CommandResult, PendingCommand, State};
use crate::prelude::*;

/// A command, as iPXE's `struct command` and `struct command_descriptor` describe it together.
struct CommandRow {
    /// Its names, with spaces between; several where iPXE has aliases, or where all of them do the same here.
    // As a list each name costs 16 bytes and a relocation; two such tables were 8 KiB.
    names: &'static str,
    /// The options before its words; none where the function gets every word.
    options: Option<&'static [CommandOption]>,
    /// How many words follow.
    words: RangeInclusive<u8>,
    /// Shown when there are fewer or more words.
    usage: &'static str,
    run: Function,
}

type Function = fn(&mut State, &mut Arguments<'_>) -> CommandResult;

/// No limit to the number of words: more than 254 count as this.
const ANY: u8 = u8::MAX;

const COMMANDS: &[CommandRow] = &[
    row("set", &[], 1..=ANY, "NAME [TEXT...]", setting::set),
    row("clear", &[], 1..=ANY, "NAME", setting::clear),
    row("inc", &[], 1..=ANY, "NAME [NUMBER]", setting::increase),
    row(
        "read",
        &[valued("timeout", 't')],
        1..=ANY,
        "[--timeout MS] NAME",
        setting::read,
    ),
    row(
        "show",
        &[flag("quiet", 'q')],
        1..=ANY,
        "[--quiet] NAME",
        setting::show,
    ),
    row("isset", &[], 1..=1, "TEXT", setting::is_set),
    row("iseq", &[], 2..=2, "TEXT TEXT", setting::is_equal),
    row(
        "prompt",
        &[valued("key", 'k'), valued("timeout", 't')],
        0..=ANY,
        "",
        setting::prompt,
    ),
    row(
        "menu form",
        &[valued("name", 'n'), flag("delete", 'd')],
        0..=ANY,
        "",
        setting::begin_menu,
    ),
    row(
        "item",
        &[
            valued("menu", 'm'),
            valued("form", 'f'),
            valued("key", 'k'),
            flag("default", 'd'),
            flag("secret", 's'),
            flag("gap", 'g'),
        ],
        0..=ANY,
        "",
        setting::add_item,
    ),
    row(
        "choose",
        &[
            valued("menu", 'm'),
            valued("default", 'd'),
            valued("timeout", 't'),
            valued("retimeout", 'r'),
            flag("keep", 'k'),
        ],
        1..=1,
        "[--menu NAME] [--default NAME] [--timeout MS] [--keep] SETTING",
        setting::choose,
    ),
    row(
        "present",
        &[valued("form", 'f'), flag("keep", 'k')],
        0..=ANY,
        "",
        setting::present,
    ),
    raw("login", setting::login),
    row(
        "chain imgexec boot",
        IMAGE_OPTIONS,
        0..=ANY,
        "",
        image::start,
    ),
    row(
        "kernel imgselect imgload",
        IMAGE_OPTIONS,
        1..=ANY,
        "[--name NAME] ADDRESS [WORD...]",
        image::select,
    ),
    row(
        "initrd imgfetch module",
        IMAGE_OPTIONS,
        1..=ANY,
        "[--name NAME] ADDRESS [WORD...]",
        image::keep,
    ),
    row(
        "imgargs",
        IMAGE_OPTIONS,
        1..=ANY,
        "IMAGE [WORD...]",
        image::set_arguments,
    ),
    row(
        "imgextract",
        &[
            valued("name", 'n'),
            valued("timeout", 't'),
            flag("keep", 'k'),
            flag("quiet", 'q'),
        ],
        1..=1,
        "[--name NAME] IMAGE",
        image::extract,
    ),
    row(
        "imgset",
        &[
            valued("timeout", 't'),
            flag("keep", 'k'),
            flag("quiet", 'q'),
        ],
        2..=2,
        "[--keep] SETTING IMAGE",
        image::set_setting,
    ),
    row("imgfree", &[], 0..=ANY, "", image::free),
    raw("imgstat", image::describe),
    row(
        "imgverify",
        &[
            valued("signer", 's'),
            valued("timeout", 't'),
            flag("keep", 'k'),
            flag("quiet", 'q'),
        ],
        2..=2,
        "[--keep] IMAGE SIGNATURE",
        image::verify,
    ),
    row(
        "imgtrust",
        &[flag("allow", 'a'), flag("permanent", 'p')],
        0..=0,
        "[--allow] [--permanent]",
        image::set_trust,
    ),
    row(
        "md5sum sha1sum",
        &[valued("set", 's')],
        1..=ANY,
        "IMAGE...",
        image::digest,
    ),
    row(
        "fdt",
        &[valued("timeout", 't'), flag("quiet", 'q')],
        0..=1,
        "[ADDRESS]",
        image::device_tree,
    ),
    row(
        "params",
        &[
            valued("name", 'n'),
            valued("method", 'm'),
            flag("delete", 'd'),
        ],
        0..=0,
        "[--name NAME] [--method METHOD] [--delete]",
        setting::params,
    ),
    row(
        "param",
        &[valued("params", 'p'), flag("header", 'H')],
        1..=ANY,
        "[--params NAME] [--header] NAME [TEXT...]",
        setting::param,
    ),
    row("echo", &[flag("n", 'n')], 0..=ANY, "", echo),
    row("goto", &[], 1..=1, "LABEL", goto),
    raw("exit", exit),
    row("sleep", &[], 1..=ANY, "SECONDS", sleep),
    CommandRow {
        words: 1..=ANY,
        usage: "COMMAND [WORD...]",
        ..raw("time", time)
    },
    row(
        "dhcp ifconf ifopen ifclose iflinkwait",
        &[valued("configurator", 'c'), valued("timeout", 't')],
        0..=ANY,
        "",
        network::interface,
    ),
    raw("ifstat route ipstat nstat", network::interface_status),
    row(
        "cpuid",
        &[flag("ext", 'e'), flag("ecx", 'c')],
        1..=ANY,
        "--ext 29",
        cpuid,
    ),
    row("nslookup", &[], 2..=2, "SETTING HOST", network::look_up),
    row(
        "ping",
        &[
            valued("size", 's'),
            valued("timeout", 't'),
            valued("count", 'c'),
            flag("quiet", 'q'),
        ],
        1..=1,
        "[--count NUMBER] [--timeout MS] HOST",
        network::ping,
    ),
    row(
        "reboot poweroff",
        &[flag("warm", 'w'), flag("setup", 's')],
        0..=0,
        "[--warm]",
        power,
    ),
    raw(WITHOUT_EFFECT, nothing),
    row(
        "sanboot",
        &[
            valued("drive", 'd'),
            flag("no-describe", 'n'),
            flag("keep", 'k'),
            valued("filename", 'f'),
            valued("extra", 'e'),
            valued("label", 'l'),
            valued("uuid", 'u'),
        ],
        0..=ANY,
        "",
        start_disk,
    ),
    raw(UNSUPPORTED, unsupported),
];

/// Commands that succeed and change nothing here. `src/manual/boot-files.md` lists them.
const WITHOUT_EFFECT: &str =
    "console colour color cpair sync ntp shim certstore certstat certfree sanhook sanunhook";

/// Commands that fail: what they are for needs iPXE's own drivers, or somebody at its shell.
const UNSUPPORTED: &str = "fcels fcstat pxebs autoboot shell config imgdecrypt imgmem lotest vcreate vdestroy ibstat iwlist iwstat pciscan usbscan gdbstub help profstat";

const IMAGE_OPTIONS: &[CommandOption] = &[
    valued("name", 'n'),
    valued("timeout", 't'),
    flag("autofree", 'a'),
    flag("replace", 'r'),
    flag("quiet", 'q'),
];

const fn row(
    names: &'static str,
    options: &'static [CommandOption],
    words: RangeInclusive<u8>,
    usage: &'static str,
    run: Function,
) -> CommandRow {
    CommandRow {
        names,
        options: Some(options),
        words,
        usage,
        run,
    }
}

/// Returns a row of commands whose words mean nothing here, or only to their function.
const fn raw(names: &'static str, run: Function) -> CommandRow {
    CommandRow {
        names,
        options: None,
        words: 0..=ANY,
        usage: "",
        run,
    }
}

/// Runs one command.
pub(super) fn run(
    state: &mut State,
    words: &[String],
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    let Some((name, words)) = words.split_first() else {
        return Ok(CommandEffect::Done);
    };
    let mut commands = COMMANDS.iter();
    let command = commands
        .find(|command| command.names.split(' ').any(|known| known == name))
        .ok_or_else(|| CommandFault::new(name, "is not an iPXE command"))?;
    let mut arguments = match command.options {
        Some(known) => Arguments::parse(name, words, known, place, context)?,
        None => Arguments::without_options(name, words, place, context),
    };
    if !command
        .words
        .contains(&u8::try_from(arguments.words.len()).unwrap_or(ANY))
    {
        let usage = format!("usage: {name} {}", command.usage);
        return Err(CommandFault::of_command(usage));
    }
    (command.run)(state, &mut arguments)
}

/// Continues a command with the answer to its step.
pub(super) fn resume(
    state: &mut State,
    pending: PendingCommand,
    answer: Answer,
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    match pending {
        PendingCommand::Nothing => Ok(CommandEffect::Done),
        PendingCommand::Prompt if answer == Answer::Pressed => Ok(CommandEffect::Done),
        PendingCommand::Prompt => Err(CommandFault::new(
            "prompt",
            "the key was not pressed in time",
        )),
        PendingCommand::Input { setting, fields } => {
            setting::entered(state, &setting, fields, answer, &context.facts)
        }
        PendingCommand::Limit(next) => {
            let (step, pending) = *next;
            Ok(CommandEffect::Ask(step, pending))
        }
        PendingCommand::Reply { setting } => network::replied(state, setting, answer),
        PendingCommand::Choice { setting, names } => {
            setting::chosen(state, &setting, &names, &answer, place, context)
        }
        PendingCommand::Image {
            name,
            url,
            arguments,
            then,
        } => image::fetched(state, (name, *url, arguments), then, answer, place, context),
        #[cfg(feature = "iso")]
        PendingCommand::Iso(url) => image::opened(state, *url, answer, context),
        PendingCommand::Signature { id, signature } => {
            image::verified(state, id, *signature, answer, context)
        }
    }
}

fn echo(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    Ok(CommandEffect::say(call.text(0)))
}

fn goto(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    Ok(CommandEffect::Goto(call.word(0).to_owned()))
}

fn exit(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let code = call.words.first();
    let code = code.map_or(Ok(0), |code| number(code))?;
    Ok(CommandEffect::Exit(code))
}

fn sleep(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let seconds = number(call.word(0))?;
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Ok(CommandEffect::Ask(
        Step::Sleep(seconds),
        PendingCommand::Nothing,
    ))
}

/// Runs the command behind `time`, without the time.
fn time(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    run(state, call.words, call.place, call.context)
}

/// Answers `cpuid --ext 29`, by which scripts ask for the 64-bit mode of a PC.
fn cpuid(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let bit = number(call.word(0))?;
    // Bit 29 of EDX in leaf 0x80000001 is LM, long mode.
    let is_long_mode = call.has("ext") && !call.has("ecx") && bit == 29;
    if !is_long_mode {
        return Err(CommandFault::of_command(
            "only bit 29 of --ext is supported",
        ));
    }
    if call.context.facts.architecture != Architecture::X86_64 {
        return Err(CommandFault::of_command("the processor has no 64-bit mode"));
    }
    Ok(CommandEffect::Done)
}

/// Does nothing, and notes it: the script may rely on the command. So it fails where it is a condition,
/// of which nobody can say whether it would hold.
fn nothing(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    if state.is_condition {
        let what = "has no effect here, and fails because the line goes on by its result";
        return Err(CommandFault::new(call.command, what));
    }
    let text = format!("{} has no effect", call.command);
    call.context.note(call.place, text);
    Ok(CommandEffect::Done)
}

/// Starts an ISO image; other disks need the firmware. A local disk that boots does not come back to what
/// follows `||` (int13_boot of iPXE), so nothing here does.
fn start_disk(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let mut disks = call.words.iter().filter(|disk| !disk.is_empty());
    let Some(disk) = disks.next() else {
        return Ok(CommandEffect::Instead(Outcome::LocalBoot));
    };
    let path = disk.split(['?', '#']).next().unwrap_or_default();
    if path.to_ascii_lowercase().ends_with(".iso") {
        return image::start(state, call);
    }
    let what = "is a disk of the network, which only firmware can start; boot the kernel and initrd \
                on it instead";
    Err(CommandFault::new(disk, what))
}

fn power(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    Ok(CommandEffect::Instead(if call.command == "poweroff" {
        Outcome::PowerOff
    } else {
        Outcome::Reboot
    }))
}

fn unsupported(_: &mut State, _: &mut Arguments<'_>) -> CommandResult {
    Err(CommandFault::of_command(
        "is an iPXE command that is not supported",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::context::Budget;
    use super::super::super::facts::Facts;
    use super::*;

    #[test]
    fn every_command_has_one_row_and_says_how_it_is_used() {
        let names = COMMANDS.iter().flat_map(|command| command.names.split(' '));
        let mut names: Vec<_> = names.collect();
        names.sort();
        let double = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(double, None);
        let takes_some = |command: &&CommandRow| ![0..=ANY, 0..=0].contains(&command.words);
        for command in COMMANDS.iter().filter(takes_some) {
            let names = command.names;
            assert!(
                !command.usage.is_empty(),
                "{names}: which words does it take?"
            );
        }
    }

    #[test]
    fn the_manual_lists_the_commands_without_effect_and_those_that_fail() {
        let manual = include_str!("../../../manual/boot-files.md");
        let (_, manual) = manual.split_once("## iPXE").unwrap();
        let section = manual.split("\n## ").next().unwrap();
        for (begin, names) in [
            ("These commands succeed without effect", WITHOUT_EFFECT),
            ("These commands fail", UNSUPPORTED),
        ] {
            let mut lines = section.lines();
            let line = lines.find(|line| line.starts_with(begin)).unwrap();
            // Up to the end of the sentence.
            let line = line.split("`. ").next().unwrap();
            let listed = line.split('`').skip(1).step_by(2);
            let listed = listed.filter(|name| !name.starts_with('-'));
            let mut known: Vec<_> = names.split(' ').collect();
            known.sort_unstable();
            assert_eq!(listed.collect::<Vec<_>>(), known, "{begin}");
        }
        // Each is noted and no failure, but where it is a condition.
        for name in WITHOUT_EFFECT.split(' ') {
            let words = [name.to_owned(), "x".to_owned()];
            let (notes, result) = run_alone(&words);
            assert!(matches!(result, Ok(CommandEffect::Done)), "{name}");
            assert_eq!(notes, [format!("{name} has no effect")]);
            let state = State {
                is_condition: true,
                ..State::default()
            };
            assert!(run_in(state, &words).1.is_err(), "{name}");
        }
        for name in UNSUPPORTED.split(' ') {
            let (_, result) = run_alone(&[name.to_owned()]);
            assert!(result.is_err(), "{name}");
        }
    }

    #[test]
    fn a_word_too_many_or_too_few_shows_the_usage() {
        for line in ["goto", "goto a b", "iseq a", "iseq a b c", "imgverify a"] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let fault = fault_of(&words);
            let usage = format!("usage: {} ", words[0]);
            assert!(fault.what.starts_with(&usage), "{line}: {}", fault.what);
        }
        let fault = fault_of(&["goto".to_owned(), "--far".to_owned()]);
        assert_eq!(fault.word.as_deref(), Some("--far"));
    }

    fn fault_of(words: &[String]) -> CommandFault {
        run_alone(words).1.unwrap_err()
    }

    /// Runs a command; returns what it notes, and its result.
    fn run_alone(words: &[String]) -> (Vec<String>, CommandResult) {
        run_in(State::default(), words)
    }

    fn run_in(mut state: State, words: &[String]) -> (Vec<String>, CommandResult) {
        let url: crate::text::url::Url = "http://192.0.2.1/a.ipxe".parse().unwrap();
        let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        let place = Place::whole(&url);
        let facts = Facts::new(url, Default::default(), address, server);
        let mut context = Context::new(facts, Budget::new(place.clone()));
        let result = run(&mut state, words, &place, &mut context);
        let notes = context.notes().iter().map(|note| note.text.clone());
        (notes.collect(), result)
    }
}
