//! `wireboot capture`: shows frames, or writes them to a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::time::Duration;

use log::LevelFilter;

use super::flags::{Arguments, Flag, start_logging};
use crate::capture::compile::Expression;
use crate::capture::output::Format;
use crate::capture::{file, language, live};
use crate::error::Error;
use crate::sys::SyscallError;
use crate::sys::filter::Program;
use crate::sys::ring::{Layout, Version};

const HELP: &str = "\
usage: wireboot capture -i IF [-i IF]… [FLAG]… [FILTER]
       wireboot capture -r FILE [FLAG]… [FILTER]

Shows the frames that pass the filter, one line each; times are UTC. The filter is the part of
pcap-filter that boots are about: arp, rarp, ip, ip6, icmp, icmp6, tcp, udp, vlan, ether host,
host, src, dst, port, portrange, and, or, not, ( ).

  -i, --interface IF    capture here; may be given several times
  -r, --read FILE       take the frames of a pcap or pcapng file instead; - is standard input
  -c, --count N         end after N frames
  -w, --write FILE      write pcapng instead of lines; - is standard output
  -v, --verbose         show DHCP options
  -x                    show octets
  -p                    leave frames for other stations alone
  -d                    print the filter program and end
      --bpf FILE        use the program that tcpdump -ddd printed
      --ring v2|v3      frames one by one, or in blocks (v3)
  -B, --buffer KIB      memory of each interface's ring (2048)
      --stats           print the counters as the last lines of the output
  -h, --help            print this text

A file that is written grows under its name and always ends with a whole block, so that it can be
read along. SIGINT, SIGTERM and SIGHUP end the capture, with every frame that came before.
";

/// What the arguments say.
struct Wanted {
    interfaces: Vec<String>,
    read: Option<String>,
    write: Option<String>,
    words: Vec<String>,
    bpf: Option<String>,
    prints_program: bool,
    prints_counters: bool,
    promiscuous: bool,
    count: Option<u64>,
    verbose: bool,
    octets: bool,
    layout: Layout,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Error> {
    let Some(wanted) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    start_logging(LevelFilter::Info);
    let filter = wanted.words.join(" ");
    let program = wanted.program(&filter)?;
    if wanted.prints_program {
        print!("{program}");
        return Ok(());
    }
    match &wanted.read {
        Some(path) => wanted.read_file(path, program, filter),
        None => wanted.capture(program, filter),
    }
}

/// Returns none when only the help is asked for.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the arms that bind any flag have guards, and the last one names the variants"
)]
fn parse(mut arguments: Arguments) -> Result<Option<Wanted>, Error> {
    let mut wanted = Wanted {
        interfaces: Vec::new(),
        read: None,
        write: None,
        words: Vec::new(),
        bpf: None,
        prints_program: false,
        prints_counters: false,
        promiscuous: true,
        count: None,
        verbose: false,
        octets: false,
        layout: Layout {
            version: version("v3")?,
            // As tcpdump has it.
            memory: 2048 * 1024,
        },
    };
    while let Some(flag) = arguments.next()? {
        match flag {
            Flag::Value(word) => wanted.words.push(word),
            flag if flag.is('h', "help") => return Ok(None),
            flag if flag.is('i', "interface") => wanted.interfaces.push(arguments.value()?),
            flag if flag.is('r', "read") => wanted.read = Some(arguments.value()?),
            flag if flag.is('c', "count") => {
                wanted.count = Some(arguments.parse("a number of frames")?);
            }
            flag if flag.is('w', "write") => wanted.write = Some(arguments.value()?),
            flag if flag.is('B', "buffer") => {
                let kib: u32 = arguments.parse("a number of KiB")?;
                wanted.layout.memory = kib.saturating_mul(1024);
            }
            flag if flag.is('v', "verbose") => wanted.verbose = true,
            Flag::Short('x') => wanted.octets = true,
            Flag::Short('p') => wanted.promiscuous = false,
            Flag::Short('d') => wanted.prints_program = true,
            Flag::Long(name) if name == "stats" => wanted.prints_counters = true,
            Flag::Long(name) if name == "bpf" => wanted.bpf = Some(arguments.value()?),
            Flag::Long(name) if name == "ring" => {
                wanted.layout.version = version(&arguments.value()?)?;
            }
            flag @ (Flag::Short(_) | Flag::Long(_)) => return Err(flag.unexpected()),
        }
    }
    Ok(Some(wanted))
}

fn version(name: &str) -> Result<Version, Error> {
    match name {
        "v2" => Ok(Version::V2 { slot_len: 2048 }),
        "v3" => Ok(Version::V3 {
            block_len: 256 * 1024,
            retire_time: Duration::from_millis(100),
        }),
        other => Err(Error::Usage(format!("--ring is v2 or v3, not \"{other}\""))),
    }
}

impl Wanted {
    /// Captures from interfaces.
    fn capture(&self, program: Program, filter: String) -> Result<(), Error> {
        if self.interfaces.is_empty() {
            let advice = "capture needs an interface, -i IF, or a file, -r FILE";
            return Err(Error::Usage(advice.to_owned()));
        }
        let mut interfaces = Vec::new();
        for name in &self.interfaces {
            let index = nix::net::if_::if_nametoindex(name.as_str())
                .map_err(|errno| Error::NoInterface(format!("{name}: {}", errno.desc())))?;
            interfaces.push((index, name.clone()));
        }
        let settings = live::Settings {
            interfaces,
            program,
            filter,
            layout: self.layout,
            promiscuous: self.promiscuous,
            count: self.count,
            format: self.format(),
        };
        let all = live::capture(&settings, &mut *self.destination()?)?;
        for (name, counters) in self.interfaces.iter().zip(all) {
            let kernel = counters.statistics;
            self.tell(&format!(
                "{name}: {} frames captured, {} passed the filter: {} of them were lost for want \
                 of room, {} were left behind the end; {} standstills",
                counters.captured,
                kernel.packets,
                kernel.drops,
                counters.left(),
                kernel.freezes
            ));
        }
        Ok(())
    }

    fn read_file(&self, path: &str, program: Program, filter: String) -> Result<(), Error> {
        if !self.interfaces.is_empty() {
            return Err(Error::Usage("-r takes the place of -i".to_owned()));
        }
        let mut from: Box<dyn Read> = match path {
            "-" => Box::new(io::stdin()),
            path => Box::new(File::open(path).map_err(|source| cannot("open", path, source))?),
        };
        let settings = file::Settings {
            name: path.to_owned(),
            program,
            filter,
            count: self.count,
            format: self.format(),
        };
        let counters = file::read(&settings, &mut *from, &mut *self.destination()?)?;
        if self.prints_counters {
            let (read, passed) = (counters.read, counters.passed);
            self.tell(&format!(
                "{path}: {read} frames, {passed} passed the filter"
            ));
        }
        Ok(())
    }

    fn format(&self) -> Format {
        match self.write {
            Some(_) => Format::Pcapng,
            None => Format::Lines {
                verbose: self.verbose,
                octets: self.octets,
            },
        }
    }

    fn destination(&self) -> Result<Box<dyn Write>, Error> {
        Ok(match self.write.as_deref() {
            None | Some("-") => Box::new(io::stdout()),
            Some(path) => {
                let file = File::create(path);
                Box::new(file.map_err(|source| cannot("create", path, source))?)
            }
        })
    }

    /// Prints counters, unless asked for to where frames do not go.
    fn tell(&self, text: &str) {
        if self.prints_counters && self.write.as_deref() != Some("-") {
            println!("{text}");
        } else {
            eprintln!("{text}");
        }
    }

    fn program(&self, filter: &str) -> Result<Program, Error> {
        let Some(path) = &self.bpf else {
            let expression =
                language::parse(filter).map_err(|error| Error::Usage(error.to_string()))?;
            let compile = match self.read {
                Some(_) => Expression::compile_for_files,
                None => Expression::compile_for_kernel,
            };
            return compile(&expression)
                .map_err(|error| Error::Usage(format!("the filter: {error}")));
        };
        if !filter.is_empty() {
            return Err(Error::Usage("--bpf takes the place of a filter".to_owned()));
        }
        let text = fs::read_to_string(path).map_err(|source| cannot("read", path, source))?;
        Program::parse(&text).map_err(|error| Error::Usage(format!("{path}: {error}")))
    }
}

fn cannot(call: &'static str, path: &str, source: io::Error) -> Error {
    Error::System {
        doing: path.to_owned(),
        source: SyscallError { call, source },
    }
}
