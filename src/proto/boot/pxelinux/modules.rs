//! The modules (COM32) that only lead on: to another file, another label, or out of the network boot.

use super::super::context::Context;
use super::super::facts::Architecture;
use super::super::loaders::{multiboot_refusal, program_refusal};
use super::super::plan::{BootPlan, Outcome, Place, PlanError};
use super::config::Text;
use super::reader::FolderPrefix;
use super::words::{is_gfxboot, is_menu_module, module_name, split_word};
use crate::prelude::*;
use crate::text::url::Url;

/// The target of a label: what it boots or continues with.
#[derive(Debug)]
pub(super) enum BootTarget {
    /// A kernel.
    Plan(Box<BootPlan>),
    /// Another boot file.
    Chain(Url),
    /// Another configuration, of one file or more, with another prefix if one is named.
    Config(Vec<Text>, Option<String>),
    /// A menu of these files, or of this configuration without any (parse_configs() of
    /// com32/menu/readconfig.c).
    Menu(Vec<Text>),
    /// Another command: a label, or the name of a kernel.
    Command(String),
}

/// Returns what the module `name` leads to, which the label of `target` starts with `arguments`; but
/// for linux.c32, which boots a kernel itself.
pub(super) fn module(
    name: &str,
    arguments: &str,
    target: &Text,
    prefix: &FolderPrefix,
    context: &mut Context,
) -> Result<BootTarget, PlanError> {
    let place = &target.place;
    let fault = |what: &str| PlanError::new(place, name, what);
    let text = |value: &str| Text {
        value: value.to_owned(),
        place: place.clone(),
    };
    if is_menu_module(name) {
        let files = arguments.split_whitespace().filter(|_| !is_gfxboot(name));
        return Ok(BootTarget::Menu(files.map(text).collect()));
    }
    let (first, rest) = split_word(arguments);
    match module_name(name).as_str() {
        "chain" => Err(local_boot(place, name)),
        "config" if first.is_empty() => Err(fault("names no configuration")),
        "config" => {
            let directory = Some(rest).filter(|rest| !rest.is_empty());
            Ok(BootTarget::Config(
                vec![text(first)],
                directory.map(str::to_owned),
            ))
        }
        "cmd" => Ok(BootTarget::Command(arguments.to_owned())),
        "ifcpu64" => choose(arguments, 0, level_of(context), context, place),
        "ifcpu" => {
            let level = usize::from(!matches_all(arguments, place, context));
            choose(arguments, 1, level, context, place)
        }
        "whichsys" => {
            let command = words_behind(arguments, "-pxe-", &["-iso-", "-sys-"]);
            let command = command.ok_or_else(|| fault("has no command for pxelinux (-pxe-)"))?;
            Ok(BootTarget::Command(command))
        }
        "pxechn" => match bootstrap_program(arguments) {
            Some(file) => prefix.resolve(file, place).map(BootTarget::Chain),
            None => Err(fault("names no bootstrap program")),
        },
        "reboot" => Err(fault("restarts the machine").with_outcome(Outcome::Reboot)),
        "poweroff" | "poweroff.com" => {
            Err(fault("switches the machine off").with_outcome(Outcome::PowerOff))
        }
        // The first part is the multiboot kernel itself (com32/mboot/mboot.c).
        "mboot" if arguments.split_whitespace().any(|word| word == "---") => {
            let modules = arguments.split(" ---").skip(1);
            Err(fault(&multiboot_refusal(modules)))
        }
        _ => {
            let what = program_refusal(name).unwrap_or("is no module that is known here");
            Err(fault(what))
        }
    }
}

/// Returns the error of an entry that boots from a local disk.
pub(super) fn local_boot(place: &Place, word: &str) -> PlanError {
    let what = "boots from a local disk, not from the network";
    PlanError::new(place, word, what).local_boot()
}

/// Returns the command of this number, counted from 0, in a list with `--` between; the last one when
/// there are fewer. `skipped` parts stand before the first.
fn choose(
    arguments: &str,
    skipped: usize,
    number: usize,
    context: &mut Context,
    place: &Place,
) -> Result<BootTarget, PlanError> {
    let words: Vec<_> = arguments.split_whitespace().collect();
    let commands: Vec<_> = words.split(|word| *word == "--").skip(skipped).collect();
    let command = commands.get(number).or_else(|| commands.last());
    let command = command.map(|words| words.join(" ")).unwrap_or_default();
    if command.is_empty() {
        let what = "names no label for this processor";
        return Err(PlanError::new(place, arguments, what));
    }
    context.note(place, format!("this processor boots {command}"));
    Ok(BootTarget::Command(command))
}

/// Returns the level of the processor as ifcpu64.c32 has it: 0 with 64 bits, 1 with PAE, 2 else.
fn level_of(context: &Context) -> usize {
    use Architecture::{Arm, Arm64, Other, RiscV64, X86, X86_64};
    match context.facts.architecture {
        X86_64 | Arm64 | RiscV64 => 0,
        X86 | Arm | Other if has_flag("pae", context) => 1,
        X86 | Arm | Other => 2,
    }
}

fn has_flag(flag: &str, context: &Context) -> bool {
    context.facts.cpu_flags.iter().any(|found| found == flag)
}

/// Returns whether the processor has all features that stand before the first `--`, as ifcpu.c32
/// knows them; others are looked up among the flags in /proc/cpuinfo.
fn matches_all(arguments: &str, place: &Place, context: &mut Context) -> bool {
    let features = arguments
        .split_whitespace()
        .take_while(|word| *word != "--");
    let mut missing = Vec::new();
    for feature in features {
        let has = match feature {
            "debug" | "dry-run" => true,
            "64" | "lm" => level_of(context) == 0,
            "hvm" => has_flag("vmx", context) || has_flag("svm", context),
            "multicore" | "smp" => context.facts.processors > 1,
            flag => has_flag(flag, context),
        };
        if !has {
            missing.push(feature);
        }
    }
    if !missing.is_empty() {
        let missing = missing.join(" ");
        context.note(
            place,
            format!("this processor is not known to have {missing}"),
        );
    }
    missing.is_empty()
}

/// Returns the words behind `option`, up to the next of `others`.
fn words_behind(arguments: &str, option: &str, others: &[&str]) -> Option<String> {
    let mut words = arguments.split_whitespace();
    words.find(|word| *word == option)?;
    let words: Vec<_> = words.take_while(|word| !others.contains(word)).collect();
    Some(words.join(" ")).filter(|command| !command.is_empty())
}

/// Returns the first argument of pxechn.c32 that is no option; these have values.
fn bootstrap_program(arguments: &str) -> Option<&str> {
    let mut words = arguments.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "-c" | "-g" | "-o" | "-p" | "-t" | "-x" | "-X" => drop(words.next()),
            _ if word.starts_with('-') => {}
            _ => return Some(word),
        }
    }
    None
}
