//! The commands, and the variables they see.

use std::collections::BTreeMap;

use super::super::budget::Budget;
use super::super::error::{Error, Place};
use super::super::facts::{Architecture, Facts};
use super::super::url::Url;
use super::super::{BootPlan, Part};
use super::parse::{Piece, Word};

/// The longest value of a variable, in bytes.
const MAX_VALUE_LEN: usize = 65_536;
/// How many variables there may be; real configurations have some dozens.
const MAX_VARIABLES: usize = 2_000;

/// What a command leads to.
#[derive(Debug)]
pub(super) enum Effect {
    /// It succeeded or failed.
    Status(bool),
    /// Another file runs; with `is_new` a new menu of its own.
    Source { url: Url, is_new: bool },
    /// A function may have this name.
    Call(String),
    /// A line to show.
    Say(String),
    /// The innermost file or function ends.
    Return,
    /// What is loaded is to be started.
    Boot,
}

/// Variables, and what has been loaded so far.
#[derive(Debug, Default)]
pub(super) struct State {
    variables: BTreeMap<String, String>,
    kernel: Option<(Url, String)>,
    initrds: Vec<Part>,
    device_tree: Option<Part>,
}

impl State {
    /// Begins with what GRUB says of the network.
    pub(super) fn new(file: &Url, facts: &Facts) -> Self {
        let server = file.host();
        let device = format!("{},{}", file.scheme().name(), file.authority());
        let directory = match file.path().rsplit_once('/') {
            Some((directory, _)) => directory,
            None => "",
        };
        let cpu = match facts.architecture {
            Architecture::X86 => "i386",
            Architecture::X86_64 => "x86_64",
            Architecture::Arm => "arm",
            Architecture::Arm64 => "arm64",
            Architecture::RiscV64 => "riscv64",
            Architecture::Other => "unknown",
        };
        let mac = facts.mac.to_string();
        let variables = [
            ("root", device.clone()),
            ("prefix", format!("({device}){directory}")),
            ("net_default_server", server.to_owned()),
            ("pxe_default_server", server.to_owned()),
            ("net_default_mac", mac.clone()),
            ("net_default_ip", facts.address.to_string()),
            ("net_default_interface", "efinet0".to_owned()),
            ("net_efinet0_mac", mac),
            ("net_efinet0_ip", facts.address.to_string()),
            ("grub_cpu", cpu.to_owned()),
            (
                "grub_platform",
                if facts.is_efi { "efi" } else { "pc" }.to_owned(),
            ),
            ("feature_menuentry_id", "y".to_owned()),
            ("menuentry_id_option", "--id".to_owned()),
            ("feature_default_font_path", "y".to_owned()),
            ("feature_all_video_module", "y".to_owned()),
            ("feature_timeout_style", "y".to_owned()),
            ("?", "0".to_owned()),
        ];
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            ..Self::default()
        }
    }

    /// Returns the value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Sets a variable as the configuration says.
    fn assign(&mut self, name: &str, value: &str, place: &Place) -> Result<(), Error> {
        if self.variables.len() >= MAX_VARIABLES && self.variable(name).is_none() {
            let what = format!("more than {MAX_VARIABLES} variables");
            return Err(Error::new(place, name, what));
        }
        if value.len() > MAX_VALUE_LEN {
            let what = format!("its value is longer than {MAX_VALUE_LEN} bytes");
            return Err(Error::new(place, name, what));
        }
        self.set(name, value);
        Ok(())
    }

    /// Expands words; a variable outside of quotes falls apart at its spaces.
    ///
    /// # Errors
    /// The plan has produced too much text.
    pub(super) fn expand(&self, words: &[Word], budget: &mut Budget) -> Result<Vec<String>, Error> {
        let mut expanded = Vec::new();
        for word in words {
            let mut text = String::new();
            let mut is_word = false;
            for piece in word {
                let (value, may_split) = match piece {
                    Piece::Text(text) => (text.as_str(), false),
                    Piece::Variable { name, is_quoted } => {
                        (self.variable(name).unwrap_or_default(), !is_quoted)
                    }
                };
                is_word |= !may_split;
                // The word's own share is the memory that an empty one takes.
                if !budget.produce(16 + value.len()) {
                    budget.check()?;
                }
                let mut rest = value;
                while may_split && let Some((part, next)) = rest.split_once(' ') {
                    text.push_str(part);
                    if is_word || !text.is_empty() {
                        expanded.push(std::mem::take(&mut text));
                    }
                    is_word = false;
                    rest = next;
                }
                text.push_str(rest);
                is_word |= !rest.is_empty();
            }
            if is_word {
                expanded.push(text);
            }
        }
        Ok(expanded)
    }

    /// Runs one command.
    pub(super) fn run(&mut self, words: &[String], place: &Place) -> Result<Effect, Error> {
        let Some((name, words)) = words.split_first() else {
            return Ok(Effect::Status(true));
        };
        if let Some((variable, value)) = name.split_once('=')
            && !variable.is_empty()
        {
            self.assign(variable, value, place)?;
            return Ok(Effect::Status(true));
        }
        let refuse = |what: &str| Err(Error::new(place, name, what));
        match name.as_str() {
            "set" => {
                for word in words {
                    if let Some((variable, value)) = word.split_once('=') {
                        self.assign(variable, value, place)?;
                    }
                }
            }
            "unset" => words
                .iter()
                .for_each(|name| drop(self.variables.remove(name))),
            "true" => {}
            "false" => return Ok(Effect::Status(false)),
            "test" => return Ok(Effect::Status(test(words, place)?)),
            "[" => match words.split_last() {
                Some((end, words)) if end == "]" => {
                    return Ok(Effect::Status(test(words, place)?));
                }
                _ => return refuse("the ] is missing"),
            },
            "echo" => {
                let words = words.iter().map(String::as_str);
                let words: Vec<&str> = words.filter(|word| !word.starts_with('-')).collect();
                return Ok(Effect::Say(words.join(" ")));
            }
            "linux" | "linuxefi" | "linux16" => {
                let Some((file, arguments)) = words.split_first() else {
                    return refuse("the file name is missing");
                };
                let url = self.resolve(file, place)?;
                let mut command_line = format!("BOOT_IMAGE={file}");
                for argument in arguments {
                    command_line.push(' ');
                    command_line.push_str(&quoted(argument));
                }
                self.kernel = Some((url, command_line));
                self.initrds.clear();
            }
            "initrd" | "initrdefi" | "initrd16" => {
                for file in words {
                    let part = self.resolve(file, place)?.into();
                    self.initrds.push(part);
                }
            }
            "devicetree" => match words.first() {
                Some(file) => self.device_tree = Some(self.resolve(file, place)?.into()),
                None => return refuse("the file name is missing"),
            },
            "source" | "." | "configfile" | "normal" => {
                let file = match (words.first(), name.as_str()) {
                    (Some(file), _) => file.clone(),
                    (None, "normal") => {
                        format!("{}/grub.cfg", self.variable("prefix").unwrap_or_default())
                    }
                    (None, _) => return refuse("the file name is missing"),
                };
                let is_new = matches!(name.as_str(), "configfile" | "normal");
                let url = self.resolve(&file, place)?;
                return Ok(Effect::Source { url, is_new });
            }
            "boot" => return Ok(Effect::Boot),
            "return" | "break" => return Ok(Effect::Return),
            "exit" | "fwsetup" | "halt" | "reboot" => {
                let what = "leaves without booting from the network";
                return Err(Error::local_boot(place, name, what));
            }
            "chainloader" | "multiboot" | "multiboot2" | "module" | "module2" | "blscfg"
            | "drivemap" | "ntldr" | "xen_hypervisor" | "loopback" | "cryptomount" => {
                return refuse("is not done here");
            }
            known if WITHOUT_EFFECT.contains(&known) => {}
            _ => return Ok(Effect::Call(name.clone())),
        }
        Ok(Effect::Status(true))
    }

    /// Returns the plan of what is loaded; none when no kernel is.
    pub(super) fn plan(&self) -> Option<BootPlan> {
        let (kernel, command_line) = self.kernel.clone()?;
        Some(BootPlan {
            initrds: self.initrds.clone(),
            device_tree: self.device_tree.clone(),
            ..BootPlan::of_kernel(kernel.into(), command_line)
        })
    }

    /// Returns the file that a name means: `(http,host:port)/file`, or `/file` on `$root`.
    pub(super) fn resolve(&self, name: &str, place: &Place) -> Result<Url, Error> {
        let url = self.url_of(name);
        url.map_err(|what| Error::new(place, name, what))
    }

    fn url_of(&self, name: &str) -> Result<Url, &'static str> {
        let parse = |text: &str| text.parse::<Url>().map_err(|error| error.what);
        if super::super::url::scheme_of(name).is_some() {
            return parse(name);
        }
        let root = self.variable("root").unwrap_or_default();
        let device = name.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (device, file) = device.unwrap_or((root, name));
        let (protocol, server) = match device.split_once(',') {
            Some(parts) => parts,
            None => (
                device,
                self.variable("net_default_server").unwrap_or_default(),
            ),
        };
        let scheme = match protocol {
            "tftp" | "pxe" => "tftp",
            "http" | "https" => protocol,
            _ => return Err("is on a device that is not the network"),
        };
        let server = parse(&format!("{scheme}://{}/root", server.replace(',', ":")))?;
        let file = server.with_file_name(&format!("/{}", file.trim_start_matches('/')));
        file.map_err(|error| error.what)
    }
}

/// Commands for terminals, fonts, modules and the network, which is up.
const WITHOUT_EFFECT: &[&str] = &[
    "acpi",
    "background_color",
    "background_image",
    "cat",
    "clear",
    "cpuid",
    "date",
    "efi_quiet",
    "eval",
    "export",
    "export_env",
    "gfxmode",
    "gfxpayload",
    "gptsync",
    "grub_platform",
    "hwmatch",
    "increment",
    "insmod",
    "keymap",
    "load_env",
    "load_video",
    "loadfont",
    "loadkeys",
    "ls",
    "lsefi",
    "nativedisk",
    "net_add_addr",
    "net_add_dns",
    "net_add_route",
    "net_bootp",
    "net_del_addr",
    "net_dhcp",
    "net_ls_addr",
    "password",
    "password_pbkdf2",
    "play",
    "probe",
    "rdmsr",
    "read",
    "recordfail",
    "regexp",
    "rmmod",
    "save_env",
    "savedefault",
    "search",
    "search.file",
    "search.fs_uuid",
    "serial",
    "set_background_image",
    "setparams",
    "shift",
    "sleep",
    "smbios",
    "terminal",
    "terminal_input",
    "terminal_output",
    "trust",
    "unhidden",
    "verify_detached",
    "videomode",
];

/// Returns a word as the kernel's command line has it: in quotes when it holds a space.
fn quoted(word: &str) -> String {
    match word.contains(' ') {
        true => format!("\"{}\"", word.replace('"', "\\\"")),
        false => word.to_owned(),
    }
}

/// Evaluates the conditions of `test`, from left to right as GRUB does for `-a` and `-o`.
fn test(words: &[String], place: &Place) -> Result<bool, Error> {
    let mut result = None;
    for alternative in words.split(|word| word == "-o") {
        let all = alternative
            .split(|word| word == "-a")
            .map(|term| single(term, place))
            .collect::<Result<Vec<_>, _>>()?;
        result = Some(result.unwrap_or(false) || all.into_iter().all(|holds| holds));
    }
    Ok(result.unwrap_or(false))
}

fn single(words: &[String], place: &Place) -> Result<bool, Error> {
    let negations = words.iter().take_while(|word| *word == "!").count();
    let words: Vec<&str> = words.iter().skip(negations).map(String::as_str).collect();
    let number = |word: &str| {
        let number = word.parse::<i64>();
        number.map_err(|_| Error::new(place, word, "is no number"))
    };
    let holds = match words.as_slice() {
        [] => false,
        ["-n", text] | [text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        // Nothing but the network is there, and its files are not asked for in a condition.
        ["-e" | "-f" | "-d" | "-s", _] => false,
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, "-eq", b] => number(a)? == number(b)?,
        [a, "-ne", b] => number(a)? != number(b)?,
        [a, "-lt", b] => number(a)? < number(b)?,
        [a, "-le", b] => number(a)? <= number(b)?,
        [a, "-gt", b] => number(a)? > number(b)?,
        [a, "-ge", b] => number(a)? >= number(b)?,
        [_, operator, ..] => return Err(Error::new(place, operator, "is no test known here")),
    };
    Ok(holds != (negations % 2 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_sets_no_more_variables_than_there_is_memory_for() {
        let mut state = State::default();
        let mut set = |number: usize| {
            let words = ["set".to_owned(), format!("v{number}=x")];
            state.run(&words, &place())
        };
        for number in 0..MAX_VARIABLES {
            assert!(set(number).is_ok(), "{number}");
        }
        assert!(set(MAX_VARIABLES).unwrap_err().what.contains("variables"));
    }

    #[test]
    fn files_are_looked_for_where_the_configuration_came_from_or_a_device_says() {
        let facts = |url: &Url| {
            let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
            Facts::new(url.clone(), Default::default(), address, server)
        };
        for (from, name, expected) in [
            ("http://h:8080/g/grub.cfg", "/a b", "http://h:8080/a%20b"),
            ("tftp://h:1069/g/grub.cfg", "/a b", "tftp://h:1069//a%20b"),
            ("tftp://h/grub.cfg", "(http,i:81)/a?b", "http://i:81/a?b"),
            ("tftp://h/grub.cfg", "(http,i,81)a", "http://i:81/a"),
            ("tftp://h/grub.cfg", "(pxe)/a?b", "tftp://h//a?b"),
            ("tftp://h/grub.cfg", "https://i/a", "https://i/a"),
        ] {
            let from: Url = from.parse().unwrap();
            let url = State::new(&from, &facts(&from)).resolve(name, &place());
            assert_eq!(url.unwrap().to_string(), expected, "{name}");
        }
        for wrong in ["(hd0)/a", "(tftp,)/a", "(http,a b)/a"] {
            assert!(State::default().resolve(wrong, &place()).is_err());
        }
    }

    #[test]
    fn a_condition_may_be_negated_without_end() {
        let place = place();
        for (negations, holds) in [(0, true), (1, false), (400_000, true)] {
            let mut words = vec!["!".to_owned(); negations];
            words.push("x".to_owned());
            assert_eq!(test(&words, &place), Ok(holds), "{negations}");
        }
    }

    fn place() -> Place {
        Place::whole(&"tftp://192.0.2.1/grub.cfg".parse().unwrap())
    }
}
