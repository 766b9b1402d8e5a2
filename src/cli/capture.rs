//! `wireboot capture`: shows frames, or writes them to a file.

use std::fs::{self, File};
use std::io;
use std::time::Duration;

use log::LevelFilter;

use super::flags::{Arguments, Flag, start_logging};
use crate::capture::language;
use crate::capture::live::{Settings, capture};
use crate::capture::output::Format;
use crate::error::Error;
use crate::sys::SyscallError;
use crate::sys::filter::Program;
use crate::sys::ring::{Layout, Version};

const HELP: &str = "\
usage: wireboot capture -i IF [-i IF]… [FLAG]… [FILTER]

Shows the frames that pass the filter, one line each; times are UTC. The filter is the part of
pcap-filter that boots are about: arp, ip, ip6, udp, tcp, icmp, vlan, ether host, host, src,
dst, port, portrange, and, or, not, ( ).

  -i, --interface IF    capture here; may be given several times
  -c, --count N         end after N frames
  -w, --write FILE      write pcapng instead of lines
  -v, --verbose         show DHCP options
  -x                    show octets
  -p                    leave frames for other stations alone
  -d                    print the filter program and end
      --bpf FILE        use the program that tcpdump -ddd printed
      --ring v2|v3      frames one by one, or in blocks (v3)
      --stats           print the counters as the last lines of the output
  -h, --help            print this text
";

/// Ring memory of each interface, as tcpdump has it.
const RING_LEN: u32 = 2 * 1024 * 1024;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the arms that bind any flag have guards, and the last one names the variants"
)]
pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut names = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let (mut file, mut bpf, mut print_program, mut stats) = (None, None, false, false);
    let mut settings = Settings {
        interfaces: Vec::new(),
        program: Program::everything(),
        filter: String::new(),
        layout: Layout {
            version: Version::V3 {
                block_len: 256 * 1024,
                retire_time: Duration::from_millis(100),
            },
            memory: RING_LEN,
        },
        promiscuous: true,
        count: None,
        format: Format::Pcapng,
    };
    let (mut verbose, mut octets) = (false, false);
    while let Some(flag) = arguments.next()? {
        match flag {
            Flag::Value(word) => words.push(word),
            flag if flag.is('h', "help") => {
                print!("{HELP}");
                return Ok(());
            }
            flag if flag.is('i', "interface") => names.push(arguments.value()?),
            flag if flag.is('c', "count") => {
                settings.count = Some(arguments.parse("a number of frames")?);
            }
            flag if flag.is('w', "write") => file = Some(arguments.value()?),
            Flag::Short('v') => verbose = true,
            Flag::Long(name) if name == "verbose" => verbose = true,
            Flag::Short('x') => octets = true,
            Flag::Short('p') => settings.promiscuous = false,
            Flag::Short('d') => print_program = true,
            Flag::Long(name) if name == "stats" => stats = true,
            Flag::Long(name) if name == "bpf" => bpf = Some(arguments.value()?),
            Flag::Long(name) if name == "ring" => {
                settings.layout.version = version(&arguments.value()?)?;
            }
            flag @ (Flag::Short(_) | Flag::Long(_)) => return Err(flag.unexpected()),
        }
    }
    start_logging(LevelFilter::Info);
    settings.filter = words.join(" ");
    settings.program = program(&settings.filter, bpf.as_deref())?;
    if print_program {
        print!("{}", settings.program);
        return Ok(());
    }
    if names.is_empty() {
        return Err(Error::Usage("capture needs an interface: -i IF".to_owned()));
    }
    for name in names {
        let index = nix::net::if_::if_nametoindex(name.as_str())
            .map_err(|errno| Error::NoInterface(format!("{name}: {}", errno.desc())))?;
        settings.interfaces.push((index, name));
    }
    let counters = match &file {
        Some(path) => {
            let mut file = File::create(path).map_err(|source| cannot("create", path, source))?;
            capture(&settings, &mut file)?
        }
        None => {
            settings.format = Format::Lines { verbose, octets };
            capture(&settings, &mut io::stdout())?
        }
    };
    for ((_, name), counters) in settings.interfaces.iter().zip(counters) {
        let kernel = counters.statistics;
        let text = format!(
            "{name}: {} frames captured, {} passed the filter: {} of them were lost for want of \
             room, {} were left behind the end; {} standstills",
            counters.captured,
            kernel.packets,
            kernel.drops,
            counters.left(),
            kernel.freezes
        );
        if stats {
            println!("{text}");
        } else {
            eprintln!("{text}");
        }
    }
    Ok(())
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

fn program(filter: &str, bpf: Option<&str>) -> Result<Program, Error> {
    let Some(path) = bpf else {
        let expression =
            language::parse(filter).map_err(|error| Error::Usage(error.to_string()))?;
        return expression
            .compile_for_kernel()
            .map_err(|error| Error::Usage(format!("the filter: {error}")));
    };
    if !filter.is_empty() {
        return Err(Error::Usage("--bpf takes the place of a filter".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|source| cannot("read", path, source))?;
    Program::parse(&text).map_err(|error| Error::Usage(format!("{path}: {error}")))
}

fn cannot(call: &'static str, path: &str, source: io::Error) -> Error {
    Error::System {
        doing: path.to_owned(),
        source: SyscallError { call, source },
    }
}
