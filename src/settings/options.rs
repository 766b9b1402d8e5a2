//! The options of each command, beside the configuration.

use std::net::IpAddr;
#[cfg(feature = "arping")]
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::config::Config;

/// The configuration and the commands' own options.
#[derive(Debug, Default)]
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// Options of `lease`.
    pub lease: LeaseOptions,
    /// Options of `discover`.
    pub discover: DiscoverOptions,
    /// Options of `fetch`.
    pub fetch: FetchOptions,
    /// Options of `capture`.
    pub capture: CaptureOptions,
    /// Options of `arping`.
    #[cfg(feature = "arping")]
    pub arping: ArpingOptions,
    /// The file that `account` draws to.
    #[cfg(feature = "hand")]
    pub svg: Option<PathBuf>,
    /// Options of `help`.
    pub help: HelpOptions,
    /// Files with words of a kernel's command line.
    pub command_lines: Vec<String>,
    /// Whether the output is JSON.
    pub json: bool,
    /// How often `-v` was given.
    pub verbosity: usize,
    /// The arguments other than flags.
    pub operands: Vec<String>,
}

/// Options of `wireboot lease`.
#[derive(Debug, Default)]
pub struct LeaseOptions {
    /// Whether it is renewed until a signal.
    pub keep: bool,
    /// Whether the last lease is released.
    pub release: bool,
    /// Whether nothing is configured.
    pub dry_run: bool,
    /// The file for resolvers.
    #[cfg(feature = "hand")]
    pub resolv_conf: Option<PathBuf>,
    /// The address to request only options for (INFORM).
    pub inform: Option<IpAddr>,
}

/// Options of `wireboot discover`.
#[derive(Debug)]
pub struct DiscoverOptions {
    /// How long answers are collected.
    pub wait: Duration,
}

impl Default for DiscoverOptions {
    fn default() -> Self {
        Self {
            // Enough for the answers to the third DISCOVER, after 1.5 s.
            wait: Duration::from_secs(3),
        }
    }
}

/// Options of `wireboot fetch`.
#[derive(Debug)]
pub struct FetchOptions {
    /// The file or directory to store them under.
    pub output: Option<PathBuf>,
    /// Whether all URLs are of the same file.
    pub mirrors: bool,
    /// Files fetched at a time.
    pub parallel: u16,
    /// A list of hashes: URL or path.
    pub sums: Option<String>,
    /// NTP servers.
    pub time_servers: Vec<IpAddr>,
    /// The path MTU, in bytes.
    pub path_mtu: Option<u16>,
    /// The largest accepted file, in bytes.
    pub max_len: Option<u64>,
    /// How long a server may be silent.
    pub stall_timeout: Option<Duration>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            output: None,
            mirrors: false,
            parallel: 4,
            sums: None,
            time_servers: Vec::new(),
            path_mtu: None,
            max_len: None,
            stall_timeout: None,
        }
    }
}

/// Options of `wireboot capture`.
#[derive(Debug)]
pub struct CaptureOptions {
    /// A file to read in place of interfaces.
    pub read: Option<String>,
    /// A file to write in place of lines.
    pub write: Option<String>,
    /// Bytes of it after which another one is begun; 0: any number.
    pub file_len: u64,
    /// Seconds after which another one is begun; 0: any number.
    pub file_seconds: u64,
    /// Number of files; 0: any number.
    pub files: u32,
    /// A file with a filter program.
    pub bpf: Option<String>,
    /// Whether only the filter program is printed.
    pub prints_program: bool,
    /// Whether counters go to standard output.
    pub prints_counters: bool,
    /// Whether frames for other stations are ignored.
    pub own_only: bool,
    /// Maximum number of frames.
    pub count: Option<u64>,
    /// How often `-x` was given.
    pub hex: usize,
    /// How often `-X` was given.
    pub hex_and_text: usize,
    /// Whether bytes are shown as text.
    pub ascii: bool,
    /// Whether the Ethernet header is shown.
    pub ethernet: bool,
    /// How often `-t` was given.
    pub time: usize,
    /// Whether protocols and lengths are shown only.
    pub brief: bool,
    /// Bytes that are kept of each frame; 0: all.
    pub snap_len: u32,
    /// Whether each frame is written at once.
    pub is_at_once: bool,
    /// Whether interfaces are listed only.
    pub lists: bool,
    /// Whether each frame has its number.
    pub numbered: bool,
    /// Whether times have microseconds.
    pub micro: bool,
    /// The only direction, `in` or `out`.
    pub direction: Option<&'static str>,
    /// A file with the filter.
    pub filter_file: Option<String>,
    /// Whether the ring hands over single frames instead of blocks.
    pub one_by_one: bool,
    /// Memory of a ring, in KiB.
    pub buffer_kib: u32,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            read: None,
            write: None,
            file_len: 0,
            file_seconds: 0,
            files: 0,
            bpf: None,
            prints_program: false,
            prints_counters: false,
            own_only: false,
            count: None,
            hex: 0,
            hex_and_text: 0,
            ascii: false,
            ethernet: false,
            time: 0,
            brief: false,
            snap_len: 0,
            is_at_once: false,
            lists: false,
            numbered: false,
            micro: false,
            direction: None,
            filter_file: None,
            one_by_one: false,
            buffer_kib: 2048,
        }
    }
}

/// The question of `wireboot arping`.
#[cfg(feature = "arping")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Who has the address, as one who has another.
    WhoHas,
    /// Who has the address, as one who has none yet (RFC 5227).
    Duplicate,
    /// None: the address is announced by requests.
    Announcement,
    /// None: the address is announced by replies.
    Reply,
}

/// Options of `wireboot arping`.
#[cfg(feature = "arping")]
#[derive(Debug)]
pub struct ArpingOptions {
    /// What is asked.
    pub question: Question,
    /// Number of questions.
    pub count: Option<u64>,
    /// Time until the end.
    pub deadline: Option<Duration>,
    /// Time between two questions.
    pub interval: Duration,
    /// The address of the asker.
    pub source: Option<Ipv4Addr>,
    /// Whether all are asked, also once somebody has answered.
    pub broadcasts: bool,
    /// Whether the first answer ends it.
    pub first: bool,
    /// Whether nothing is printed.
    pub quiet: bool,
    /// Whether everybody in the network is asked for.
    pub scan: bool,
}

#[cfg(feature = "arping")]
impl Default for ArpingOptions {
    fn default() -> Self {
        Self {
            question: Question::WhoHas,
            count: None,
            deadline: None,
            interval: Duration::from_secs(1),
            source: None,
            broadcasts: false,
            first: false,
            quiet: false,
            scan: false,
        }
    }
}

/// Options of `wireboot help`.
#[derive(Debug, Default)]
pub struct HelpOptions {
    /// Whether it is a manual page.
    pub man: bool,
    /// The shell to print completions for.
    pub completion: Option<&'static str>,
}
