//! Reading arguments, and the flags that the commands have in common.

use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;

use crate::cmdline;
use crate::config::{Config, NoSuchName};
use crate::error::Error;
use crate::fetch::Style;
use crate::init;
use crate::time::parse_seconds;
use crate::wire::safe::Safe;

/// Lines of help for the flags that [`Common::take`] knows.
pub(super) const COMMON_HELP: &str = "  \
  -i, --interface IF    use this interface; may be given several times
  --vlan NAME:IF        make the VLAN interface NAME, such as eth0.7 or vlan7, on interface IF
  --link-timeout SECS   wait this long for an interface and its carrier (30)
  --timeout SECS        wait this long for a lease once there is a carrier (60)
  --identify WHAT       be pxe, ipxe, http or plain to DHCP servers
  --request LIST        ask for these DHCP options too, by number or name, commas between
  --no-request LIST     do not ask for these
  --client-id WHAT      be known to servers by mac, duid (RFC 4361) or HEX octets (mac)
  --hostname NAME       tell servers this name, and take it in place of the lease's
  --vendor-class TEXT   say this in option 60
  --user-class TEXT     say this in option 77
  --kernel-command-line FILE
                        read ip=, BOOTIF= and wireboot.* from FILE, such as /proc/cmdline
  --proxy-wait SECS     let an offer without a boot file wait for a better one
  --acd HOW             look for another host with the address: overlapped with the request,
                        strict (RFC 5227: takes 4 to 7 s), or off (overlapped)
  --record FILE         write the last DHCP and ARP frames to FILE, as pcapng; a command that fails
                        writes them to /run/wireboot/failure.pcapng anyway
  -v, --verbose         say every step; twice: every packet
  -q, --quiet           say nothing but errors
  -h, --help            print this text
";

/// Flags that are settings of [`Config::set_introduction`].
const INTRODUCTION: [&str; 6] = [
    "request",
    "no-request",
    "client-id",
    "hostname",
    "vendor-class",
    "user-class",
];

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flag {
    Short(char),
    Long(String),
    Value(String),
}

impl Flag {
    /// Returns whether this is the flag of either name.
    pub(super) fn is(&self, short: char, long: &str) -> bool {
        match self {
            Self::Short(name) => *name == short,
            Self::Long(name) => name == long,
            Self::Value(_) => false,
        }
    }

    /// Returns the error for an argument that nobody knows.
    pub(super) fn unexpected(&self) -> Error {
        let text = match self {
            Self::Short(name) => format!("-{name}"),
            Self::Long(name) => format!("--{name}"),
            Self::Value(value) => value.clone(),
        };
        Error::Usage(format!(
            "\"{text}\" is not known here; --help tells what is"
        ))
    }
}

/// The arguments, in order.
pub(super) struct Arguments(lexopt::Parser);

impl Arguments {
    pub(super) fn from_env() -> Self {
        Self(lexopt::Parser::from_env())
    }

    /// Returns the next argument.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value where none belongs, or text that is not Unicode.
    pub(super) fn next(&mut self) -> Result<Option<Flag>, Error> {
        let Some(arg) = self.0.next().map_err(usage)? else {
            return Ok(None);
        };
        Ok(Some(match arg {
            lexopt::Arg::Short(name) => Flag::Short(name),
            lexopt::Arg::Long(name) => Flag::Long(name.to_owned()),
            lexopt::Arg::Value(value) => Flag::Value(unicode(value)?),
        }))
    }

    /// Returns the value of the flag just read.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none.
    pub(super) fn value(&mut self) -> Result<String, Error> {
        unicode(self.0.value().map_err(usage)?)
    }

    /// Returns the value of the flag just read, read as a `T`.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none or it is no `T`.
    pub(super) fn parse<T: FromStr>(&mut self, what: &str) -> Result<T, Error> {
        let value = self.value()?;
        value
            .parse()
            .map_err(|_| Error::Usage(format!("\"{value}\" is not {what}")))
    }

    /// Returns the value of the flag just read, which is the name of a `T`.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none or no `T` has it.
    pub(super) fn choice<T: FromStr<Err = NoSuchName>>(&mut self) -> Result<T, Error> {
        let value = self.value()?;
        let choice = value.parse();
        choice.map_err(|NoSuchName(names)| Error::Usage(format!("\"{value}\" is none of {names}")))
    }

    /// Returns the value of the flag just read as a time, given in seconds.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no number, negative, or more than a year.
    pub(super) fn seconds(&mut self) -> Result<Duration, Error> {
        let value = self.value()?;
        parse_seconds(&value).ok_or_else(|| {
            Error::Usage(format!(
                "\"{value}\" is not a number of seconds from 0 to a year"
            ))
        })
    }
}

fn unicode(text: std::ffi::OsString) -> Result<String, Error> {
    text.into_string()
        .map_err(|text| Error::Usage(format!("{} is not Unicode", text.display())))
}

fn usage(error: lexopt::Error) -> Error {
    Error::Usage(error.to_string())
}

/// The flags of every command that uses the network.
#[derive(Default)]
pub(super) struct Common {
    pub(super) config: Config,
    /// The file with the kernel's command line.
    command_line: Option<String>,
    verbosity: usize,
}

impl Common {
    /// Begins with `config` in place of the usual one.
    pub(super) fn over(config: Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Takes `flag`, with its value, when it is one of the common flags.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value that does not fit, or a flag that is not known.
    pub(super) fn take(&mut self, flag: &Flag, arguments: &mut Arguments) -> Result<(), Error> {
        let config = &mut self.config;
        match flag {
            flag if flag.is('i', "interface") => config.interfaces.push(arguments.value()?),
            Flag::Long(name) if name == "vlan" => {
                let refusals = cmdline::apply(&format!("vlan={}", arguments.value()?), config);
                if let Some(refusal) = refusals.into_iter().next() {
                    return Err(Error::Usage(refusal));
                }
            }
            Flag::Long(name) if name == "record" => config.record = Some(arguments.value()?),
            Flag::Long(name) if name == "link-timeout" => {
                config.link_timeout = arguments.seconds()?
            }
            Flag::Long(name) if name == "timeout" => config.lease_timeout = arguments.seconds()?,
            Flag::Long(name) if name == "identify" => {
                config.identify = arguments.choice()?;
            }
            Flag::Long(name) if name == "proxy-wait" => {
                config.proxy_wait = Some(arguments.seconds()?);
            }
            Flag::Long(name) if INTRODUCTION.contains(&name.as_str()) => {
                let set = config.set_introduction(name, &arguments.value()?);
                set.transpose().map_err(Error::Usage)?;
            }
            Flag::Long(name) if name == "kernel-command-line" => {
                self.command_line = Some(arguments.value()?);
            }
            Flag::Long(name) if name == "acd" => {
                config.detection = arguments.choice()?;
            }
            flag if flag.is('v', "verbose") => self.verbosity += 1,
            flag if flag.is('q', "quiet") => config.quiet = true,
            Flag::Short(_) | Flag::Long(_) | Flag::Value(_) => return Err(flag.unexpected()),
        }
        Ok(())
    }

    /// Returns whether details are wanted.
    pub(super) const fn is_verbose(&self) -> bool {
        self.verbosity > 0
    }

    /// Starts logging as asked for, reads the kernel's command line, if told so, and returns the
    /// configuration.
    ///
    /// # Errors
    /// [`Error::Usage`] when the command line cannot be read.
    pub(super) fn finish(self) -> Result<Config, Error> {
        let mut config = self.config;
        let level = match (config.quiet, self.verbosity) {
            (true, _) => LevelFilter::Error,
            (false, 0) => LevelFilter::Info,
            (false, 1) => LevelFilter::Debug,
            (false, _) => LevelFilter::Trace,
        };
        start_logging(level);
        if let Some(path) = self.command_line {
            init::apply_command_line(&path, &mut config)?;
        }
        Ok(config)
    }
}

/// Sends the log to standard error, a line a record; `WIREBOOT_LOG` overrides `level`.
pub(crate) fn start_logging(level: LevelFilter) {
    use std::io::Write;
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    // It logs requests as they are, with passwords.
    builder.filter_module("ureq_proto", LevelFilter::Off);
    builder.parse_env("WIREBOOT_LOG");
    // Where a bar may be, a line takes its place and leaves nothing of it.
    let end = match Style::for_people(false) {
        Style::Bar => "\x1b[K",
        Style::Lines | Style::Json | Style::Silent => "",
    };
    builder.format(move |line, record| match record.level() {
        log::Level::Error | log::Level::Warn | log::Level::Info => {
            writeln!(line, "wireboot: {}{end}", Safe::line(record.args()))
        }
        log::Level::Debug | log::Level::Trace => {
            writeln!(
                line,
                "wireboot: {}: {}{end}",
                record.target(),
                Safe::line(record.args())
            )
        }
    });
    // A second logger in one process is no reason to stop.
    let _ = builder.try_init();
}
