//! Parses flags and kernel words, both by the rows of [`SETTINGS`].
//!
//! Files that flags name are read by the commands and not here.

use std::ffi::OsString;

use super::commands::{About, COMMANDS, Command};
use super::config::Config;
use super::defs::{HELP_FLAG, Lands, SETTINGS, Setting, Takes};
use super::input::SettingText;
use super::options::Settings;
#[cfg(feature = "capture")]
use super::tcpdump;
use crate::error::{Error, Reason};

/// The request that the arguments make.
#[derive(Debug)]
pub enum ParsedArguments {
    /// Help, on this command if there is one.
    Help(Option<Command>),
    /// The version.
    Version,
    /// A command.
    Run(Invocation),
}

/// A command with its flags, each known and with a value if it takes one.
#[derive(Debug)]
pub struct Invocation {
    /// The command.
    pub about: &'static About,
    flags: Vec<(&'static Setting, String)>,
    operands: Vec<String>,
}

/// Parses the arguments after the name of the program.
///
/// # Errors
/// [`Reason::Usage`] for an unknown flag or command, and for a missing value.
pub fn request(arguments: impl IntoIterator<Item = OsString>) -> Result<ParsedArguments, Error> {
    let unicode = |text: OsString| {
        text.into_string().map_err(|text| {
            Box::new(Reason::Usage(format!(
                "the argument '{}' is not UTF-8",
                text.display()
            )))
        })
    };
    let arguments: Vec<_> = arguments
        .into_iter()
        .map(unicode)
        .collect::<Result<_, _>>()?;
    let mut arguments = arguments.into_iter();
    let name = arguments.next();
    match name.as_deref() {
        Some("-h" | "--help") => Ok(ParsedArguments::Help(None)),
        Some("-V" | "--version") => Ok(ParsedArguments::Version),
        Some(name) => match COMMANDS.iter().find(|about| about.name == name) {
            Some(about) => Invocation::read(about, arguments),
            None if name.starts_with('-') => Err(Box::new(Reason::Usage(format!(
                "'{name}' stands before the command: wireboot COMMAND {name}; 'wireboot help' lists the \
                 commands"
            )))),
            None => {
                let names = COMMANDS.iter().map(|about| about.name);
                let nearest = suggestion(name, names, "");
                Err(Box::new(Reason::Usage(format!(
                    "unknown command '{name}'{nearest}; 'wireboot help' lists the commands"
                ))))
            }
        },
        None => Err(Box::new(Reason::Usage(
            "no command given; 'wireboot help' lists them".to_owned(),
        ))),
    }
}

impl Invocation {
    fn read(
        about: &'static About,
        arguments: impl Iterator<Item = String>,
    ) -> Result<ParsedArguments, Error> {
        let mut invocation = Self {
            about,
            flags: Vec::new(),
            operands: Vec::new(),
        };
        let mut arguments = arguments;
        let mut are_operands = false;
        while let Some(argument) = arguments.next() {
            let is_operand = are_operands || argument == "-" || !argument.starts_with('-');
            if is_operand {
                invocation.operand(argument)?;
            } else if argument == "--" {
                are_operands = true;
            } else if let Some(long) = argument.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                let setting = invocation.setting(|setting| setting.is_named(name));
                match setting {
                    Some(setting) => invocation.flag(setting, value, &mut arguments)?,
                    None => drop(invocation.foreign(name, value, &mut arguments)?),
                }
            } else {
                let mut letters = argument.get(1..).unwrap_or_default().chars();
                while let Some(letter) = letters.next() {
                    let setting = invocation.setting(|setting| setting.short == Some(letter));
                    let rest = letters.as_str();
                    let Some(setting) = setting else {
                        let value = (!rest.is_empty()).then_some(rest);
                        let name = letter.encode_utf8(&mut [0; 4]).to_owned();
                        if invocation.foreign(&name, value, &mut arguments)? {
                            break;
                        }
                        continue;
                    };
                    let takes_rest = setting.takes != Takes::Nothing && !rest.is_empty();
                    let value = takes_rest.then(|| rest.strip_prefix('=').unwrap_or(rest));
                    invocation.flag(setting, value, &mut arguments)?;
                    if takes_rest {
                        break;
                    }
                }
            }
            if invocation
                .flags
                .iter()
                .any(|(setting, _)| setting.name == HELP_FLAG)
            {
                return Ok(ParsedArguments::Help(Some(about.command)));
            }
        }
        Ok(ParsedArguments::Run(invocation))
    }

    /// Applies the flags to `config`, which has the defaults and the kernel words.
    ///
    /// # Errors
    /// [`Reason::Usage`] for an invalid value.
    pub fn over(&self, config: Config) -> Result<Settings, Error> {
        let mut settings = Settings {
            config,
            operands: self.operands.clone(),
            ..Settings::default()
        };
        for (place, (setting, value)) in self.flags.iter().enumerate() {
            let mut before = self.flags.iter().take(place);
            let input = SettingText {
                value,
                is_first: !before.any(|(other, _)| other.name == setting.name),
            };
            let set = match setting.lands {
                Lands::Config(set) => set(&mut settings.config, &input),
                Lands::Own(set) => set(&mut settings, &input),
            };
            set.map_err(|why| {
                let flags = setting.flags();
                self.fault(&format!("invalid value '{value}' for '{flags}': {why}"))
            })?;
        }
        // --vlan and --bond also select their interface, in addition to those of -i.
        let link = &mut settings.config.link;
        if let Some(name) = link.made_last().map(str::to_owned)
            && (self.flags.iter()).any(|(setting, _)| matches!(setting.name, "vlan" | "bond"))
            && !link.interfaces.contains(&name)
        {
            link.interfaces.push(name);
        }
        Ok(settings)
    }

    /// Returns a usage error that refers to the help of the command.
    pub fn fault(&self, what: &str) -> Error {
        let name = self.about.name;
        Box::new(Reason::Usage(format!(
            "{what}; see 'wireboot {name} --help'"
        )))
    }

    fn operand(&mut self, operand: String) -> Result<(), Error> {
        if self.about.has_operands {
            self.operands.push(operand);
            return Ok(());
        }
        let takes_interfaces = self
            .setting(|setting| setting.name == "interface")
            .is_some();
        let advice = if takes_interfaces && super::config::interface_name(&operand).is_ok() {
            format!(" (did you mean '-i {operand}'?)")
        } else {
            String::new()
        };
        Err(self.fault(&format!("unexpected argument '{operand}'{advice}")))
    }

    fn flag(
        &mut self,
        setting: &'static Setting,
        value: Option<&str>,
        arguments: &mut impl Iterator<Item = String>,
    ) -> Result<(), Error> {
        let flags = || setting.flags();
        let value = if setting.takes != Takes::Nothing {
            let value = value.map(str::to_owned).or_else(|| arguments.next());
            value
                .filter(|value| !value.is_empty())
                .ok_or_else(|| self.fault(&format!("missing value for '{}'", flags())))?
        } else if value.is_some() {
            return Err(self.fault(&format!("'{}' takes no value", flags())));
        } else {
            String::new()
        };
        self.flags.push((setting, value));
        Ok(())
    }

    fn setting(&self, is_it: impl Fn(&Setting) -> bool) -> Option<&'static Setting> {
        let command = self.about.command;
        let mut own = SETTINGS
            .iter()
            .filter(|setting| setting.is_flag_of(command));
        own.find(|setting| is_it(setting))
    }

    /// Takes a flag that has no row, with its value if that is in the same word; returns whether it is.
    #[cfg(feature = "capture")]
    fn foreign(
        &self,
        name: &str,
        value: Option<&str>,
        arguments: &mut impl Iterator<Item = String>,
    ) -> Result<bool, Error> {
        let flag = tcpdump::takes_value(name).filter(|_| self.about.command == Command::Capture);
        let takes_value = flag.ok_or_else(|| self.unknown(name))?;
        let next = if takes_value && value.is_none() {
            arguments.next()
        } else {
            None
        };
        match tcpdump::refusal(name, next.as_deref().or(value).unwrap_or_default()) {
            None => Ok(takes_value),
            Some(why) => Err(self.fault(&format!(
                "tcpdump's '{}' is not supported: {why}",
                dashed(name)
            ))),
        }
    }

    #[cfg(not(feature = "capture"))]
    fn foreign(
        &self,
        name: &str,
        _: Option<&str>,
        _: &mut impl Iterator<Item = String>,
    ) -> Result<bool, Error> {
        Err(self.unknown(name))
    }

    /// Returns the error for a flag that the command does not have.
    fn unknown(&self, name: &str) -> Error {
        let command = self.about.command;
        if is_letter(name) {
            return self.fault(&format!("unknown flag '{}'", dashed(name)));
        }
        let elsewhere = SETTINGS.iter().find(|setting| setting.is_named(name));
        let other = COMMANDS
            .iter()
            .find(|about| elsewhere.is_some_and(|setting| setting.is_flag_of(about.command)));
        let advice = match other {
            Some(other) => format!(" (it is a flag of 'wireboot {}')", other.name),
            None => {
                let own = SETTINGS
                    .iter()
                    .filter(|setting| setting.is_flag_of(command));
                suggestion(name, own.map(|setting| setting.name), "--")
            }
        };
        self.fault(&format!("unknown flag '{}'{advice}", dashed(name)))
    }
}

/// Returns a flag as it is written.
fn dashed(name: &str) -> String {
    let dashes = if is_letter(name) { "-" } else { "--" };
    format!("{dashes}{name}")
}

fn is_letter(name: &str) -> bool {
    name.chars().count() == 1
}

/// Applies a word of the kernel's command line, `wireboot.` and `key`; returns the setting's name.
///
/// # Errors
/// Why the word cannot be applied.
pub fn word(
    config: &mut Config,
    key: &str,
    value: Option<&str>,
    is_first: impl FnOnce(&'static str) -> bool,
) -> Result<&'static str, String> {
    let mut words = SETTINGS.iter().filter(|setting| setting.is_word());
    let Some(setting) = words.find(|setting| setting.is_named(key)) else {
        let names = SETTINGS.iter().filter(|setting| setting.is_word());
        let nearest = suggestion(key, names.map(|setting| setting.name), "wireboot.");
        return Err(format!("unknown setting{nearest}"));
    };
    let name = setting.name;
    let value = value.unwrap_or_default();
    if value.is_empty() && setting.takes != Takes::Nothing {
        return Err(format!("it takes a value: wireboot.{name}=VALUE"));
    }
    let input = SettingText {
        value,
        is_first: is_first(name),
    };
    let set = match setting.lands {
        Lands::Config(set) => set(config, &input),
        // A test makes sure that no word is an option of a command.
        Lands::Own(_) => Err("no setting for a boot".to_owned()),
    };
    set.map(|()| name)
        .map_err(|why| format!("\"{value}\" is {why}"))
}

/// Returns a question whether one of the names was meant, if one is similar.
fn suggestion<'a>(word: &str, names: impl Iterator<Item = &'a str>, prefix: &str) -> String {
    let near = names.map(|name| (distance(word, name), name)).min();
    match near {
        // One letter in three may differ.
        Some((distance, name)) if distance * 3 <= word.len().max(3) => {
            format!(" (did you mean '{prefix}{name}'?)")
        }
        Some(_) | None => String::new(),
    }
}

/// Returns the number of bytes to insert, remove or replace to make `b` of `a` (Levenshtein).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, byte) in a.bytes().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    // The loop does not update the first cell, which is for an empty `b`.
    if b.is_empty() {
        a.len()
    } else {
        row.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::cmdline;
    use std::time::Duration;

    /// Whether this binary does what the setting asks for, and does not just say that it cannot.
    fn is_built_in(row: &Setting) -> bool {
        cfg!(feature = "bond") || row.name != "bond"
    }

    #[test]
    fn every_flag_of_every_command_is_read_and_its_help_names_it() {
        for about in &COMMANDS {
            let help = super::super::help::command(about.command);
            let own = |row: &&Setting| row.is_flag_of(about.command) && row.name != HELP_FLAG;
            for row in SETTINGS.iter().filter(own).filter(|row| is_built_in(row)) {
                let mut arguments = vec![about.name.to_owned(), format!("--{}", row.name)];
                arguments.extend(sample(row));
                let request = request(arguments.iter().map(OsString::from)).unwrap();
                let ParsedArguments::Run(invocation) = request else {
                    panic!("{arguments:?}: {request:?}");
                };
                invocation.over(Config::default()).unwrap();
                assert!(help.contains(&row.usage()), "{}: {}", about.name, row.name);
            }
        }
    }

    #[test]
    fn every_word_is_followed_and_lands_in_the_configuration() {
        let words = SETTINGS.iter().filter(|row| row.is_word());
        for row in words.filter(|row| is_built_in(row)) {
            assert!(matches!(row.lands, Lands::Config(_)), "{}", row.name);
            let value = sample(row).map_or(String::new(), |value| format!("={value}"));
            let word = format!("wireboot.{}{value}", row.name);
            let mut config = Config::default();
            assert_eq!(cmdline::apply(&word, &mut config), [""; 0], "{word}");
            if row.default.is_empty() || row.default != sample(row).unwrap_or_default() {
                assert_ne!(config, Config::default(), "{word}");
            }
        }
    }

    #[test]
    fn the_default_that_the_help_shows_is_the_one_that_holds() {
        for row in SETTINGS.iter().filter(|row| !row.default.is_empty()) {
            let mut settings = Settings::default();
            let input = SettingText {
                value: row.default,
                is_first: true,
            };
            match row.lands {
                Lands::Config(set) => set(&mut settings.config, &input),
                Lands::Own(set) => set(&mut settings, &input),
            }
            .unwrap();
            let (all, default) = (
                format!("{settings:?}"),
                format!("{:?}", Settings::default()),
            );
            let stated =
                |text: String| text.replace("stall_timeout: Some(15s)", "stall_timeout: None");
            assert_eq!(stated(all), default, "{}", row.name);
        }
        assert_eq!(crate::fetch::STALL_TIMEOUT, Duration::from_secs(15));
    }

    #[test]
    fn flags_are_read_as_getopt_reads_them() {
        let settings = run(&[
            "capture",
            "-vxieth0",
            "-c=3",
            "--count=4",
            "arp",
            "--",
            "-x",
        ])
        .unwrap();
        assert_eq!(settings.config.link.interfaces, ["eth0"]);
        assert_eq!((settings.verbosity, settings.capture.count), (1, Some(4)));
        assert_eq!(settings.capture.hex, 1);
        assert_eq!(settings.operands, ["arp", "-x"]);
        let settings = run(&["fetch", "-o", "-", "--cert", "c.pem", "http://192.0.2.1/"]).unwrap();
        assert_eq!(settings.config.fetch.certificate.as_deref(), Some("c.pem"));
        let help = request(["lease", "-h", "--nonsense"].map(OsString::from));
        assert!(matches!(
            help,
            Ok(ParsedArguments::Help(Some(Command::Lease)))
        ));
    }

    #[test]
    fn a_list_by_flags_takes_the_place_of_one_by_words_and_demands_add_up() {
        let mut config = Config::default();
        let words = "wireboot.interface=eth0 wireboot.interface=eth1,eth2 wireboot.mirror=http://a/ \
                     wireboot.request=3 wireboot.require-signature wireboot.require-signature=0";
        assert_eq!(cmdline::apply(words, &mut config), [""; 0]);
        assert_eq!(config.link.interfaces, ["eth0", "eth1", "eth2"]);
        let arguments = [
            "boot",
            "-i",
            "eth8",
            "-i",
            "eth9",
            "--request",
            "6,15",
            "--vlan",
            "v7:eth8",
        ];
        let Ok(ParsedArguments::Run(invocation)) = request(arguments.map(OsString::from)) else {
            panic!("it is a command");
        };
        let config = invocation.over(config).unwrap().config;
        assert_eq!(config.link.interfaces, ["eth8", "eth9", "v7"]);
        assert_eq!(config.dhcp.introduction.requested, [6, 15]);
        assert_eq!(config.fetch.mirrors, ["http://a/"]);
        assert!(config.trust.must_be_signed);
    }

    #[test]
    fn an_unknown_flag_is_reported_with_the_nearest_known_one() {
        for (name, expected) in [
            ("--timeut", "(did you mean '--timeout'?)"),
            ("--interfaces", "(did you mean '--interface'?)"),
            ("--lnk-timeout", "(did you mean '--link-timeout'?)"),
            ("--explain", "(it is a flag of 'wireboot boot')"),
            ("--nothing-like-it", "'--nothing-like-it'; see"),
            ("--", "a"),
        ] {
            match run(&["lease", name]) {
                Err(error) => assert!(error.to_string().contains(expected), "{error}"),
                Ok(_) => assert_eq!(name, "--"),
            }
        }
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    fn run(arguments: &[&str]) -> Result<Settings, Error> {
        match request(arguments.iter().map(OsString::from))? {
            ParsedArguments::Run(invocation) => invocation.over(Config::default()),
            other @ (ParsedArguments::Help(_) | ParsedArguments::Version) => panic!("{other:?}"),
        }
    }

    /// Returns a value that the setting takes.
    fn sample(row: &Setting) -> Option<String> {
        Some(
            match row.takes {
                Takes::Nothing => return None,
                Takes::OneOf(_, names) => names[0],
                Takes::Value("SECS" | "N" | "KIB" | "SIZE") => "2",
                Takes::Value("BYTES") => "1500",
                Takes::Value("ADDRESS") => "192.0.2.1",
                Takes::Value("MAC") => "52:54:00:12:34:56",
                Takes::Value("NAME:IF|try:ID,…") => "v7:eth0",
                Takes::Value("NAME[:IF,…[:OPTIONS[:MTU]]]") => "bond0:eth0",
                Takes::Value("LIST") => "3,tz-posix",
                Takes::Value("mac|duid|HEX") => "duid",
                Takes::Value("TO,…") => "dracut,networkd",
                Takes::Value("tmpfs|none|DISK") => "none",
                Takes::Value("URL") => "http://192.0.2.1/a",
                Takes::Value(_) => "eth0",
            }
            .to_owned(),
        )
    }
}
