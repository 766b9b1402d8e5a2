//! `wireboot capture`: shows frames, or writes them to a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::capture::compile::Expression;
use crate::capture::line::LineStyle;
use crate::capture::output::OutputFormat;
use crate::capture::rotation::{Rotation, RotationConfig};
use crate::capture::{file, language, live};
use crate::config::SandboxConfig;
use crate::error::{Error, Reason};
use crate::link::Watch;
use crate::settings::options::{CaptureOptions, Settings};
use crate::sys::file::Target;
use crate::sys::filter::FilterProgram;
use crate::sys::ring::{Layout, Version};
use crate::sys::sandbox::Calls;
use crate::sys::since_1970;
use crate::sys::terminal::print;
use crate::worker;
use wireboot_proto::netlink::route::{ARPHRD_ETHER, ARPHRD_LOOPBACK, LinkInfo};

// As tcpdump's default for Ethernet.
const SLOT_LEN: u32 = 2048;
/// The name for all interfaces, as libpcap has it.
const ANY: &str = "any";
// Under a flood larger blocks halve the wake-ups.
const BLOCK_LEN: u32 = 256 * 1024;
const RETIRE_TIME: Duration = Duration::from_millis(100);

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    let filter = match &settings.capture.filter_file {
        None => settings.operands.join(" "),
        Some(path) => {
            if !settings.operands.is_empty() {
                log::warn!(
                    "the filter on the command line is ignored: that of {path} is used (-F)"
                );
            }
            filter_of(path)?
        }
    };
    let task = CaptureTask {
        interfaces: settings.config.link.interfaces,
        sandbox: settings.config.trust.sandbox,
        filter,
        is_verbose: settings.verbosity > 0,
        options: settings.capture,
    };
    if task.options.lists {
        return list();
    }
    let program = task.program()?;
    if task.options.prints_program {
        print(&program.to_string());
        return Ok(());
    }
    match &task.options.read {
        Some(path) => task.read_file(path, program),
        None => task.capture(program),
    }
}

/// The files after the first one, and when that was begun, in seconds since 1970.
type Rotated = (RotationConfig, u64);

/// The frames to capture, their source and the output.
struct CaptureTask {
    interfaces: Vec<String>,
    sandbox: SandboxConfig,
    filter: String,
    is_verbose: bool,
    options: CaptureOptions,
}

impl CaptureTask {
    /// Captures from interfaces.
    fn capture(&self, program: FilterProgram) -> Result<(), Error> {
        let present = Watch::list()?;
        let mut interfaces = Vec::new();
        if self.interfaces.is_empty() {
            let link = default_of(&present).ok_or_else(|| {
                let why = "no interface is up; give one (-i IF), or a file (-r FILE)";
                Box::new(Reason::NoInterface(why.to_owned()))
            })?;
            interfaces.push((link.index, link.name.clone()));
        }
        for name in &self.interfaces {
            let no = |why: &str| Box::new(Reason::NoInterface(format!("{name}: {why}")));
            let before = interfaces.len();
            if name == ANY && present.iter().all(|link| link.name != ANY) {
                let all = present.iter().filter(|link| link.up && has_ethernet(link));
                interfaces.extend(all.map(|link| (link.index, link.name.clone())));
            } else if let Some(link) = named(&present, name) {
                if !has_ethernet(link) {
                    return Err(no("its frames have no Ethernet header"));
                }
                interfaces.push((link.index, link.name.clone()));
            }
            if interfaces.len() == before {
                return Err(no("no such interface; 'wireboot capture -D' lists them"));
            }
        }
        for link in &present {
            let is_chosen = interfaces.iter().any(|(index, _)| *index == link.index);
            if is_chosen && !link.up {
                log::warn!("{}: the interface is down", link.name);
            }
        }
        let names: Vec<_> = interfaces.iter().map(|(_, name)| name.clone()).collect();
        let (mut destination, rotation) = self.destination()?;
        let settings = live::CaptureConfig {
            interfaces,
            program,
            filter: self.filter.clone(),
            layout: self.layout(),
            promiscuous: !self.options.own_only,
            count: self.options.count,
            target: self.target(),
            format: self.format(),
            sandbox: self.sandbox,
            snap_len: self.snap_len(),
            is_at_once: self.options.is_at_once,
            rotation,
        };
        let all = live::capture(&settings, &mut *destination)?;
        for (name, counters) in names.iter().zip(&all) {
            if self.options.prints_counters || names.len() > 1 {
                let kernel = counters.statistics;
                self.print_counters(&format!(
                    "{name}: {} frames captured, {} received by filter, {} dropped by kernel, {} after the \
                     end, {} queue freezes",
                    counters.captured,
                    kernel.packets,
                    kernel.drops,
                    counters.left(),
                    kernel.freezes
                ));
            }
        }
        eprintln!("{}", live::sums(all.iter()).join("\n"));
        Ok(())
    }

    fn read_file(&self, path: &str, program: FilterProgram) -> Result<(), Error> {
        if !self.interfaces.is_empty() {
            return Err(Box::new(Reason::Usage(
                "-r and -i exclude each other".to_owned(),
            )));
        }
        let mut input: Box<dyn Read> = match path {
            "-" => Box::new(io::stdin()),
            path => Box::new(File::open(path).map_err(|source| cannot("open", path, source))?),
        };
        let settings = file::ReadConfig {
            name: path.to_owned(),
            program,
            filter: self.filter.clone(),
            count: self.options.count,
            target: self.target(),
            format: self.format(),
            snap_len: self.snap_len(),
        };
        let (mut destination, rotation) = self.destination()?;
        let rotation = rotation.map(|(config, begun)| Rotation::start(config, begun));
        let rotation = rotation.transpose()?;
        worker::give_up(&self.sandbox, "the reader of frames", 0, Calls::Capture);
        let counters = file::read(&settings, &mut *input, &mut *destination, rotation)?;
        if self.options.prints_counters {
            let (read, passed) = (counters.read, counters.passed);
            self.print_counters(&format!(
                "{path}: {read} frames read, {passed} passed the filter"
            ));
        }
        Ok(())
    }

    fn layout(&self) -> Layout {
        Layout {
            version: if self.options.one_by_one {
                Version::V2 { slot_len: SLOT_LEN }
            } else {
                Version::V3 {
                    block_len: BLOCK_LEN,
                    retire_time: RETIRE_TIME,
                }
            },
            memory: self.options.buffer_kib << 10,
        }
    }

    fn format(&self) -> OutputFormat {
        match self.options.write {
            Some(_) => OutputFormat::Pcapng,
            None => OutputFormat::Lines(LineStyle {
                verbose: self.is_verbose,
                quiet: self.options.brief,
                ethernet: self.options.ethernet,
                time: self.options.time,
                micro: self.options.micro,
                numbered: self.options.numbered,
                hex: [self.options.hex, self.options.hex_and_text],
                ascii: self.options.ascii,
            }),
        }
    }

    /// Returns what is written to.
    fn target(&self) -> String {
        match self.options.write.as_deref() {
            None | Some("-") => "standard output".to_owned(),
            Some(path) => path.to_owned(),
        }
    }

    /// Returns how many bytes of a frame are kept.
    fn snap_len(&self) -> usize {
        match usize::try_from(self.options.snap_len) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(len) => len,
        }
    }

    /// Opens the output; returns the files that follow it too, and when it was begun.
    fn destination(&self) -> Result<(Box<dyn Write>, Option<Rotated>), Error> {
        let options = &self.options;
        let usage = |text: String| Box::new(Reason::Usage(text));
        let is_rotated = options.file_len > 0 || options.file_seconds > 0;
        let path = match options.write.as_deref() {
            None | Some("-") if is_rotated => {
                return Err(usage("-C and -G go with -w FILE".to_owned()));
            }
            _ if options.files > 0 && !is_rotated => {
                return Err(usage("-W goes with -C or -G".to_owned()));
            }
            None | Some("-") => return Ok((Box::new(io::stdout()), None)),
            Some(path) => path,
        };
        let rotation = RotationConfig {
            name: path.to_owned(),
            max_len: options.file_len,
            seconds: options.file_seconds,
            files: options.files,
        };
        let begun = since_1970().as_secs();
        let path = rotation.name(0, begun);
        let path = path.map_err(|why| usage(format!("-w: {why}")))?;
        // Not atomic, unlike fetched files: as with tcpdump -w, others read the file while it grows.
        let file = Target::create(Path::new(&path));
        let file = file.map_err(|source| {
            let target = path.clone();
            Box::new(Reason::Output { target, source })
        })?;
        Ok((Box::new(file), is_rotated.then_some((rotation, begun))))
    }

    /// Prints counters to standard error; on request to standard output, unless frames go there.
    fn print_counters(&self, text: &str) {
        if self.options.prints_counters && self.options.write.as_deref() != Some("-") {
            print(&format!("{text}\n"));
        } else {
            eprintln!("{text}");
        }
    }

    fn program(&self) -> Result<FilterProgram, Error> {
        let Some(path) = &self.options.bpf else {
            let expression = language::parse(&self.filter).map_err(|error| {
                // An error has one line.
                eprint!("{}", error.excerpt());
                Box::new(Reason::Usage(format!("the filter: {error}")))
            })?;
            let expression = match self.options.direction {
                None => expression,
                Some(direction) => {
                    let both = match self.filter.trim() {
                        "" => format!("{direction}bound"),
                        filter => format!("{direction}bound and ({filter})"),
                    };
                    let parsed = language::parse(&both);
                    parsed.map_err(|error| Box::new(Reason::Usage(format!("-Q: {error}"))))?
                }
            };
            if self.options.read.is_some() && expression.asks_kernel() {
                return Err(Box::new(Reason::Usage(
                    "-Q, inbound, outbound and ifindex are not known of frames from files"
                        .to_owned(),
                )));
            }
            let compile = match self.options.read {
                Some(_) => Expression::compile_for_files,
                None => Expression::compile_for_kernel,
            };
            return compile(&expression)
                .map_err(|error| Box::new(Reason::Usage(format!("the filter: {error}"))));
        };
        if !self.filter.is_empty() || self.options.direction.is_some() {
            return Err(Box::new(Reason::Usage(
                "--bpf excludes a filter and -Q".to_owned(),
            )));
        }
        let text = fs::read_to_string(path).map_err(|source| cannot("read", path, source))?;
        FilterProgram::parse(&text)
            .map_err(|error| Box::new(Reason::Usage(format!("{path}: {error}"))))
    }
}

/// Reads a filter from a file, without its comments.
fn filter_of(path: &str) -> Result<String, Error> {
    let text = match path {
        "-" => io::read_to_string(io::stdin()),
        path => fs::read_to_string(path),
    };
    let text = text.map_err(|source| cannot("read", path, source))?;
    let mut is_comment = false;
    let plain = |letter| {
        is_comment = letter == '#' || is_comment && letter != '\n';
        if is_comment || letter == '\n' {
            ' '
        } else {
            letter
        }
    };
    Ok(text.chars().map(plain).collect())
}

/// Returns the interface without `-i`: the first one that is up, rather with a carrier, and the loopback
/// last, as libpcap has it.
fn default_of(present: &[LinkInfo]) -> Option<&LinkInfo> {
    let up = present.iter().filter(|link| link.up && has_ethernet(link));
    up.min_by_key(|link| (link.hardware_type == ARPHRD_LOOPBACK, !link.carrier))
}

/// Returns the interface with this name, or with this number in the list of `-D`.
fn named<'a>(present: &'a [LinkInfo], name: &str) -> Option<&'a LinkInfo> {
    let number = name
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_sub(1));
    let mut links = present.iter();
    let found = links.find(|link| link.name == name);
    found.or_else(|| present.get(number?))
}

/// Returns whether the kernel hands over frames of the interface with an Ethernet header, which those of
/// tunnels do not have (map_arphrd_to_dlt of libpcap).
const fn has_ethernet(link: &LinkInfo) -> bool {
    matches!(link.hardware_type, ARPHRD_ETHER | ARPHRD_LOOPBACK)
}

/// Prints the interfaces as `tcpdump -D` does.
fn list() -> Result<(), Error> {
    for (number, link) in (1..).zip(Watch::list()?) {
        let state = match (link.up, link.carrier) {
            (true, true) => " [Up, Running]",
            (true, false) => " [Up]",
            (false, _) => "",
        };
        print(&format!("{number}.{}{state}\n", link.name));
    }
    Ok(())
}

fn cannot(call: &'static str, path: &str, source: io::Error) -> Error {
    Box::new(Reason::Usage(format!("cannot {call} {path}: {source}")))
}
