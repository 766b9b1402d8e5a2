//! The commands.

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::super::context::Context;
use super::super::error::Place;
use super::super::step::{Answer, Fetched, Step};
use super::format::parse_integer;
use super::images::{Image, Images};
use super::machine::Effect;
use super::menu_commands::login;
use super::menus::{Item, Menus};
use super::options::{Arguments, flag, valued};
use super::setting_commands::{is_equal, is_set};
use super::settings::{Settings, is_our_interface};
use crate::text::url::Url;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) word: String,
    pub(super) what: String,
    pub(super) is_local_boot: bool,
}

impl Fault {
    pub(super) fn new(word: &str, what: impl Into<String>) -> Self {
        Self {
            word: word.to_owned(),
            what: what.into(),
            is_local_boot: false,
        }
    }
}

/// What a command waits for, and what it does then.
#[derive(Debug)]
pub(super) enum Pending {
    /// Nothing to do.
    Nothing,
    /// A key that decides between success and failure.
    Prompt,
    /// A text that becomes a setting, and the fields of the form behind it.
    Input {
        setting: String,
        fields: VecDeque<Item>,
    },
    /// A choice that becomes a setting.
    Choice {
        setting: String,
        names: Vec<Option<String>>,
    },
    /// A file that becomes an image.
    Image {
        name: String,
        url: Url,
        arguments: String,
        then: Then,
    },
    /// Whether the image of this name has been signed.
    Signature { name: String, signature: Box<Url> },
}

/// What is done with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// It is kept.
    Keep,
    /// It is the one that `boot` starts.
    Select,
    /// It is started, in place of the script when `in_place`.
    Start { in_place: bool },
    /// This signature of it is checked.
    Verify(Box<Url>),
}

/// What commands work on.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) images: Images,
    pub(super) menus: Menus,
    /// What `param` has collected for a request.
    pub(super) parameters: Vec<(String, String)>,
}

impl State {
    /// Runs one command.
    pub(super) fn run(
        &mut self,
        words: &[String],
        place: &Place,
        context: &mut Context,
    ) -> Result<Effect, Fault> {
        let Some((name, words)) = words.split_first() else {
            return Ok(Effect::Done);
        };
        match name.as_str() {
            "set" => self.set_command(words),
            "clear" => self.clear(words),
            "inc" => self.increase(words, context),
            "read" => self.read(words, context),
            "show" => self.show(words, context),
            "isset" => is_set(words),
            "iseq" => is_equal(words),
            "echo" => {
                let arguments = Arguments::parse(words, &[flag("n", 'n')])?;
                Ok(say(arguments.rest.join(" ")))
            }
            "goto" => {
                let mut arguments = Arguments::parse(words, &[])?;
                let label = arguments.word("the label")?;
                arguments.end()?;
                Ok(Effect::Goto(label.to_owned()))
            }
            "exit" => {
                let code = words.first().map_or(Ok(0), |code| number(code))?;
                Ok(Effect::Exit(code))
            }
            "sleep" => {
                let mut arguments = Arguments::parse(words, &[])?;
                let seconds = number(arguments.word("the number of seconds")?)?;
                let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                Ok(Effect::Ask(Step::Sleep(seconds), Pending::Nothing))
            }
            "prompt" => prompt(words),
            "menu" | "form" => self.begin_menu(words),
            "item" => self.add_item(words),
            "choose" => self.choose(words),
            "present" => self.present(words, context),
            "login" => Ok(login()),
            "chain" | "imgexec" | "boot" => self.start(words, place, context),
            "kernel" | "imgselect" | "imgload" => self.fetch(words, Then::Select, place, context),
            "initrd" | "imgfetch" | "module" => self.fetch(words, Then::Keep, place, context),
            "imgargs" => self.set_arguments(words),
            "imgfree" => self.free(words),
            "imgstat" => Ok(say(self.images.describe())),
            "imgverify" => self.verify(words, place, context),
            "imgtrust" => self.set_trust(words),
            "md5sum" | "sha1sum" => self.digest(name, words, place, context),
            "params" => self.begin_parameters(words),
            "param" => self.add_parameter(words),
            "dhcp" | "ifconf" | "ifopen" | "ifclose" | "iflinkwait" => interface(words),
            "ifstat" | "route" | "ipstat" | "nstat" => Ok(say(format!(
                "{} ({}): {}/{}",
                context.facts.interface,
                context.facts.mac,
                context.facts.address,
                context.facts.prefix_len
            ))),
            // `cpuid --ext 29` asks for the 64-bit mode of a PC, which is what scripts want to know.
            "cpuid" => cpuid(words, context),
            "time" => self.run(words, place, context),
            "console" | "colour" | "color" | "cpair" | "sync" => Ok(Effect::Done),
            "ntp" | "shim" | "fdt" | "certstore" | "certstat" | "certfree" => {
                context.note(place, format!("{name} does nothing here"));
                Ok(Effect::Done)
            }
            "sanboot" => Err(Fault {
                is_local_boot: true,
                ..Fault::new(name, "boots from a disk, not from the network")
            }),
            "sanhook" | "sanunhook" | "fcels" | "fcstat" | "pxebs" | "autoboot" | "shell"
            | "config" | "reboot" | "poweroff" | "imgextract" | "imgdecrypt" | "imgset"
            | "imgmem" | "ping" | "nslookup" | "lotest" | "vcreate" | "vdestroy" | "ibstat"
            | "iwlist" | "iwstat" | "pciscan" | "usbscan" | "gdbstub" | "help" | "profstat" => Err(
                Fault::new(name, "is a command of iPXE that is not done here"),
            ),
            _ => Err(Fault::new(name, "is no command of iPXE")),
        }
    }

    /// Goes on with a command that asked.
    pub(super) fn resume(
        &mut self,
        pending: Pending,
        answer: Answer,
        place: &Place,
        context: &mut Context,
    ) -> Result<Effect, Fault> {
        match pending {
            Pending::Nothing => Ok(Effect::Done),
            Pending::Prompt if answer == Answer::Pressed => Ok(Effect::Done),
            Pending::Prompt => Err(Fault::new("prompt", "the key was not pressed in time")),
            Pending::Input { setting, fields } => {
                let Answer::Text(text) = answer else {
                    return Err(Fault::new(&setting, "no text was entered"));
                };
                self.set(&setting, &text)?;
                Ok(ask_fields(fields))
            }
            Pending::Choice { setting, names } => {
                let Answer::Chosen { entry, .. } = answer else {
                    return Err(Fault::new(&setting, "nothing was chosen from the menu"));
                };
                let Some(Some(name)) = names.get(entry) else {
                    return Err(Fault::new(&setting, "this line of the menu leads nowhere"));
                };
                context.note(place, format!("{setting} is {name}, from the menu"));
                self.set(&setting, name)?;
                Ok(Effect::Done)
            }
            Pending::Image {
                name,
                url,
                arguments,
                then,
            } => {
                let head = match answer.into_fetched() {
                    Fetched::File(head) => head,
                    Fetched::Missing => {
                        return Err(Fault::new(&url.to_string(), "the server has no such file"));
                    }
                    Fetched::Failed(why) => return Err(Fault::new(&url.to_string(), why)),
                };
                context.note(place, format!("loads {url} as {name}"));
                self.images.add(Image::new(&name, url, arguments, head))?;
                self.use_image(&name, then)
            }
            Pending::Signature { name, signature } => self.verified(&name, *signature, answer),
        }
    }

    /// Sets a setting.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), Fault> {
        let result = self.settings.set(name, text);
        result.map_err(|what| Fault::new(name, what))
    }
}

pub(super) fn say(text: String) -> Effect {
    Effect::Ask(Step::Say(text), Pending::Nothing)
}

/// Asks for the fields of a form, one after the other.
pub(super) fn ask_fields(mut fields: VecDeque<Item>) -> Effect {
    while let Some(field) = fields.pop_front() {
        if let Some(setting) = field.name {
            let step = Step::Input {
                text: field.text,
                default: String::new(),
                is_secret: field.is_secret,
                timeout: None,
            };
            return Effect::Ask(step, Pending::Input { setting, fields });
        }
    }
    Effect::Done
}

fn prompt(words: &[String]) -> Result<Effect, Fault> {
    let arguments = Arguments::parse(words, &[valued("key", 'k'), valued("timeout", 't')])?;
    let step = Step::Prompt {
        text: arguments.rest.join(" "),
        key: arguments.value("key").map(key).transpose()?.flatten(),
        timeout: milliseconds(&arguments)?,
    };
    Ok(Effect::Ask(step, Pending::Prompt))
}

/// Succeeds when the interface that holds the lease is among those named.
fn interface(words: &[String]) -> Result<Effect, Fault> {
    let known = [valued("configurator", 'c'), valued("timeout", 't')];
    let names = Arguments::parse(words, &known)?.rest;
    match names.first() {
        Some(first) if !names.iter().any(|name| is_our_interface(name)) => Err(Fault::new(
            first,
            "only net0 is up: the interface that holds the lease",
        )),
        _ => Ok(Effect::Done),
    }
}

fn cpuid(words: &[String], context: &Context) -> Result<Effect, Fault> {
    use super::super::facts::Architecture;
    let known = [flag("ext", 'e'), flag("ecx", 'c')];
    let mut arguments = Arguments::parse(words, &known)?;
    let bit = number(arguments.word("the bit")?)?;
    let is_long_mode = arguments.has("ext") && !arguments.has("ecx") && bit == 29;
    match (is_long_mode, context.facts.architecture) {
        (true, Architecture::X86_64) => Ok(Effect::Done),
        (true, _) => Err(Fault::new("cpuid", "the processor has no 64-bit mode")),
        (false, _) => Err(Fault::new("cpuid", "only bit 29 of --ext can be asked for")),
    }
}

pub(super) fn number(word: &str) -> Result<i64, Fault> {
    parse_integer(word).ok_or_else(|| Fault::new(word, "is no number"))
}

/// Returns the timeout; 0 means none.
pub(super) fn milliseconds(arguments: &Arguments<'_>) -> Result<Option<Duration>, Fault> {
    let timeout = arguments.number("timeout")?.filter(|timeout| *timeout > 0);
    Ok(timeout.map(Duration::from_millis))
}

/// Returns the character of a key given as itself or as a number; none for the function keys.
pub(super) fn key(text: &str) -> Result<Option<char>, Fault> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let code = u32::try_from(number(text)?).ok();
            Ok(code.filter(|code| *code < 0x80).and_then(char::from_u32))
        }
    }
}
