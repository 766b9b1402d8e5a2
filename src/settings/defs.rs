//! The table of settings.

#[cfg(feature = "report")]
use std::net::IpAddr;
use std::time::Duration;

use super::commands::Command;
use super::config::Family;
#[cfg(feature = "report")]
use super::config::SYSLOG_PORT;
use super::config::{
    ClientId, Config, Detection, Identify, Loader, OnFailure, OnLocalBoot, PlanOutput, Sandbox,
    Stage,
};
use super::config::{boot_interface, interface_name};
use super::input::SettingText;
#[cfg(feature = "arping")]
use super::options::Question;
use super::options::Settings;
#[cfg(feature = "report")]
use crate::sys::syslog::LogServer;

/// Kind of the value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is on or off.
    Nothing,
    /// A value, shown by this name: `FILE`, `DIR` and `IF` are completed too.
    Value(&'static str),
    /// One of some names.
    OneOf(&'static str, &'static [&'static str]),
}

/// Destination of a setting: stores the value, or returns a description of the values that it can have.
#[derive(Debug, Clone, Copy)]
pub enum Lands {
    /// In the configuration.
    Config(fn(&mut Config, &SettingText<'_>) -> Result<(), String>),
    /// Among the options of a command.
    Own(fn(&mut Settings, &SettingText<'_>) -> Result<(), String>),
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The name of its flag and of its word behind `wireboot.`.
    pub name: &'static str,
    /// Its flag of one letter.
    pub short: Option<char>,
    /// Who takes it: bits of [`Command`]s, and that of words.
    pub of: u16,
    /// What it takes.
    pub takes: Takes,
    /// What holds without it, as the help shows it; nothing is shown when empty.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    /// What it changes.
    pub lands: Lands,
}

impl Setting {
    /// Returns whether `command` takes the flag.
    pub const fn is_flag_of(&self, command: Command) -> bool {
        self.of & bit(command) != 0
    }

    /// Returns whether it is a word of the kernel's command line.
    pub const fn is_word(&self) -> bool {
        self.of & WORD != 0
    }

    /// Returns whether this is its name.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || ALIASES.contains(&(name, self.name))
    }

    /// Returns the flag of one letter, if it has one, and the other one with the name of its value.
    pub fn flags(&self) -> String {
        let letter = self.short.map(|letter| format!("-{letter}, "));
        letter.unwrap_or_default() + &self.usage()
    }

    /// Returns the flag with the name of its value.
    pub fn usage(&self) -> String {
        match self.takes {
            Takes::Nothing => format!("--{}", self.name),
            Takes::Value(what) | Takes::OneOf(what, _) => format!("--{} {what}", self.name),
        }
    }
}

const fn bit(command: Command) -> u16 {
    1 << command as u16
}

/// The bit for the kernel's command line.
const WORD: u16 = 1 << 15;
const LEASE: u16 = bit(Command::Lease);
const DISCOVER: u16 = bit(Command::Discover);
const BOOT: u16 = bit(Command::Boot);
const FETCH: u16 = bit(Command::Fetch);
const CAPTURE: u16 = bit(Command::Capture);
const ACCOUNT: u16 = bit(Command::Account);
#[cfg(feature = "arping")]
const ARPING: u16 = bit(Command::Arping);
#[cfg(feature = "manual")]
const HELP: u16 = bit(Command::Help);
/// The commands that ask DHCP servers.
const NETWORK: u16 = LEASE | DISCOVER | BOOT;

/// The name of the flag that every command has.
pub const HELP_FLAG: &str = "help";

/// The shells that completions are made for.
#[cfg(feature = "manual")]
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

#[cfg(feature = "capture")]
const DIRECTIONS: [&str; 3] = ["in", "out", "inout"];

/// Names of earlier versions, which are not shown, and what they are called now.
const ALIASES: [(&str, &str); 4] = [
    ("cert", "certificate"),
    ("command-line-append", "append"),
    // Those of tcpdump.
    ("buffer-size", "buffer"),
    ("immediate-mode", "packet-buffered"),
];

const NOTHING: Setting = Setting {
    name: "",
    short: None,
    of: 0,
    takes: Takes::Nothing,
    default: "",
    help: "",
    lands: Lands::Own(|_, _| Ok(())),
};

/// All settings, in the order in which the help shows them.
pub static SETTINGS: &[Setting] = &[
    // What is done about a lease.
    Setting {
        name: "keep",
        of: LEASE,
        help: "stay and renew the lease, also where no server grants one yet; SIGHUP or SIGUSR1 renews now, \
               SIGTERM exits and keeps the lease, SIGUSR2 releases it; with --json, a line for each change",
        lands: Lands::Own(|all, _| {
            all.lease.keep = true;
            all.config.dhcp.never_gives_up = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "release",
        of: LEASE,
        help: "release the lease of an earlier command, and remove its address",
        lands: Lands::Own(|all, _| {
            all.lease.release = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "inform",
        of: LEASE,
        takes: Takes::Value("ADDRESS"),
        help: "ask only for the options that go with this address (INFORM; with one of IPv6, such as ::, \
               INFORMATION-REQUEST), and print them; the interface is as it was afterwards",
        lands: Lands::Own(|all, input| {
            all.lease.inform = Some(input.parsed("an IP address")?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "no-lease-file",
        of: LEASE,
        help: "do not try to reuse the previous address",
        lands: Lands::Config(|config, _| {
            config.dhcp.uses_lease_file = false;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "lease-dir",
        of: LEASE | WORD,
        takes: Takes::Value("DIR"),
        help: "store leases in DIR, such as on a mounted disk (/var/lib/wireboot if it exists, else \
               /run/wireboot, which is lost on reboot)",
        lands: Lands::Config(|config, input| {
            config.dhcp.lease_directory = Some(input.value.into());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "script",
        of: LEASE,
        takes: Takes::Value("FILE"),
        help: "run FILE on each lease event, as udhcpc does: the event (deconfig, bound, renew, nak, \
               leasefail) is its argument, lease data is in variables; addresses and routes are \
               set before it runs",
        lands: Lands::Config(|config, input| {
            config.dhcp.script = Some(input.value.into());
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "hand")]
    Setting {
        name: "script-only",
        of: LEASE,
        help: "leave address, routes, MTU and resolvers to the script, as udhcpc does",
        lands: Lands::Config(|config, _| {
            config.dhcp.script_only = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "hand")]
    Setting {
        name: "resolv-conf",
        of: LEASE,
        takes: Takes::Value("FILE"),
        help: "write the resolvers to FILE (/etc/resolv.conf; in a network namespace with a name \
               /etc/netns/NAME/resolv.conf)",
        lands: Lands::Own(|all, input| {
            all.lease.resolv_conf = Some(input.value.into());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "hand-over",
        of: LEASE | WORD,
        takes: Takes::Value("TO,…"),
        help: "write files for programs that take over the lease: dracut, networkd (a unit that keeps \
               the address, with the same client identifier), network-manager; those of klibc's \
               ipconfig are always written",
        lands: Lands::Config(|config, input| {
            config.dhcp.hand_over = input.named()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "dry-run",
        of: LEASE,
        help: "request offers only, and print what the best one would set; the interface and its \
               lease are not changed",
        lands: Lands::Own(|all, _| {
            all.lease.dry_run = true;
            Ok(())
        }),
        ..NOTHING
    },
    // What is asked of all servers.
    Setting {
        name: "wait",
        of: DISCOVER,
        takes: Takes::Value("SECS"),
        default: "3",
        help: "collect answers this long once there is a carrier",
        lands: Lands::Own(|all, input| {
            all.discover.wait = input.seconds()?;
            Ok(())
        }),
        ..NOTHING
    },
    // Which files are fetched, and to where.
    Setting {
        name: "output",
        short: Some('o'),
        of: FETCH,
        takes: Takes::Value("FILE"),
        help: "the name to store it under; - is standard output; with several URLs the directory \
               (the last part of each URL's path, here)",
        lands: Lands::Own(|all, input| {
            all.fetch.output = Some(input.value.into());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "mirrors",
        of: FETCH,
        help: "all URLs are of the same file; the first that delivers it is used",
        lands: Lands::Own(|all, _| {
            all.fetch.mirrors = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "parallel",
        of: FETCH,
        takes: Takes::Value("N"),
        default: "4",
        help: "fetch up to N files at a time",
        lands: Lands::Own(|all, input| {
            all.fetch.parallel = input.number(1, u16::MAX)?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "sums",
        of: FETCH,
        takes: Takes::Value("URL"),
        help: "check hashes against this list, as sha256sum writes it; a path is that of a local file",
        lands: Lands::Own(|all, input| {
            all.fetch.sums = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "ntp",
        of: FETCH,
        takes: Takes::Value("ADDRESS"),
        help: "an NTP server for the time when a certificate is checked and the machine's clock is \
               behind; may be repeated",
        lands: Lands::Own(|all, input| {
            all.fetch.time_servers.push(input.parsed("an IP address")?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "mtu",
        of: FETCH,
        takes: Takes::Value("BYTES"),
        help: "the path MTU, in bytes (that of the route to the server)",
        lands: Lands::Own(|all, input| {
            // Every link passes packets of 68 bytes (RFC 791 §3.2).
            all.fetch.path_mtu = Some(input.number(68, u16::MAX)?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "max-size",
        of: FETCH,
        takes: Takes::Value("BYTES"),
        help: "refuse a file that is longer",
        lands: Lands::Own(|all, input| {
            all.fetch.max_len = Some(input.number(0, u64::MAX)?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "stall-timeout",
        of: FETCH,
        takes: Takes::Value("SECS"),
        default: "15",
        help: "give up when nothing has been received for this long, or the head of an answer or a \
               TLS handshake is not complete; with --mirrors, the next is tried after 5 at first",
        lands: Lands::Own(|all, input| {
            all.fetch.stall_timeout = Some(input.seconds()?);
            Ok(())
        }),
        ..NOTHING
    },
    // What is booted.
    Setting {
        name: "boot-file",
        of: BOOT | WORD,
        takes: Takes::Value("URL"),
        help: "start with this path or URL instead of the lease's boot file",
        lands: Lands::Config(|config, input| {
            config.boot_from(input.value);
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "root")]
    Setting {
        name: "keep-network",
        of: BOOT,
        help: "boot over the network as it stands, without DHCP, and give the next kernel the same by \
               words (ip=, nameserver=, vlan=): of the interface of -i, or of the default route",
        lands: Lands::Config(|config, _| {
            config.link.as_it_stands = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "root")]
    Setting {
        name: "root",
        of: WORD,
        takes: Takes::Value("URL"),
        help: "as process 1, mount the image at URL as the root and start the system in it, in place of \
               a boot file: squashfs, erofs, ext4, xfs or btrfs, a disk with a GUID partition table, or a \
               tar or cpio archive; also packed by zstd, gzip or xz; or what a server has: oci:, nfs:, nbd:, \
               nvme-tcp:, or what the lease says (dhcp)",
        lands: Lands::Config(|config, input| super::root::source(config, input.value)),
        ..NOTHING
    },
    #[cfg(feature = "root")]
    Setting {
        name: "overlay",
        of: WORD,
        takes: Takes::Value("tmpfs|none|DISK"),
        help: "where changes to the root are kept: in memory, nowhere since it is read-only, or on a disk, \
               by LABEL= or UUID= of its file system, or its path in /dev; tmpfs for an image, none for NFS",
        lands: Lands::Config(|config, input| {
            config.root.overlay = Some(input.value.parse()?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "initrd",
        of: BOOT | WORD,
        takes: Takes::Value("URL"),
        help: "an initrd, as a path or URL, for a boot file that is a kernel; may be repeated",
        lands: Lands::Config(|config, input| input.add_to(&mut config.boot.initrds)),
        ..NOTHING
    },
    Setting {
        name: "speed-limit",
        of: BOOT | FETCH | WORD,
        takes: Takes::Value("BYTES"),
        default: "512",
        help: "give up a server that sends fewer bytes a second; 0: never",
        lands: Lands::Config(|config, input| {
            config.fetch.speed.least = input.number(0, u64::MAX)?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "speed-time",
        of: BOOT | FETCH | WORD,
        takes: Takes::Value("SECS"),
        default: "30",
        help: "measure the speed of a server over this time",
        lands: Lands::Config(|config, input| {
            let time = Some(input.seconds()?).filter(|time| !time.is_zero());
            config.fetch.speed.time = time.ok_or("not above 0")?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "mirror",
        of: BOOT | WORD,
        takes: Takes::Value("URL"),
        help: "a folder on another server, such as http://192.0.2.2/copy, that has files under their \
               full paths; it is used for a file that its own server does not deliver, delivers \
               damaged (with a pin) or lacks although the plan names it, and is tried first from \
               then on; may be repeated",
        lands: Lands::Config(|config, input| input.add_to(&mut config.fetch.mirrors)),
        ..NOTHING
    },
    Setting {
        name: "append",
        of: BOOT | WORD,
        takes: Takes::Value("TEXT"),
        help: "append TEXT to the kernel's command line; {ip}, {bootif}, {address}, {netmask}, \
               {gateway}, {server}, {mac}, {hostname} and {uuid} in it are replaced by the values of the lease",
        lands: Lands::Config(|config, input| {
            config.boot.append = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "stop-after",
        of: BOOT | WORD,
        takes: Takes::OneOf("STEP", Stage::NAMES),
        help: "stop after this step",
        lands: Lands::Config(|config, input| {
            config.boot.stop_after = Some(input.named()?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "explain",
        of: BOOT | WORD,
        help: "print which file and line each decision came from",
        lands: Lands::Config(|config, input| {
            config.output.report = if input.is_on()? {
                PlanOutput::Explain
            } else {
                PlanOutput::Plan
            };
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "json",
        of: BOOT,
        help: "with --stop-after plan: print the plan as JSON",
        lands: Lands::Config(|config, _| {
            config.output.report = PlanOutput::Json;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "unattended",
        of: BOOT | WORD,
        help: "choose the default of every menu at once",
        lands: Lands::Config(|config, input| {
            config.boot.unattended = input.is_on()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "loader",
        of: BOOT | WORD,
        takes: Takes::OneOf("HOW", Loader::NAMES),
        help: "kexec by kexec_file_load or by kexec_load; the other one is tried after a refusal \
               (segments on x86-64, else file)",
        lands: Lands::Config(|config, input| {
            config.boot.loader = input.named()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "on-failure",
        of: WORD,
        takes: Takes::OneOf("WHAT", OnFailure::NAMES),
        default: "retry",
        help: "what process 1 does when a boot has failed",
        lands: Lands::Config(|config, input| {
            config.boot.on_failure = input.named()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "on-localboot",
        of: WORD,
        takes: Takes::OneOf("WHAT", OnLocalBoot::NAMES),
        help: "what process 1 does when the boot file says to boot from a local disk (localboot, exit, \
               sanboot): exit ends it with exit code 10, after which the kernel panics; without this \
               word, as wireboot.on-failure",
        lands: Lands::Config(|config, input| {
            config.boot.on_local_boot = Some(input.named()?);
            Ok(())
        }),
        ..NOTHING
    },
    // Who is trusted.
    Setting {
        name: "policy",
        of: BOOT,
        takes: Takes::Value("FILE"),
        help: "follow the rules in FILE (/etc/wireboot/policy, if it is there): lines of key KEY, \
               require-signature, oldest-signature YYYY-MM-DD, allow-scheme NAME, allow-host NAME, \
               pin-host NAME sha256//HASH, clock machine|lease, clock-ahead DAYS",
        lands: Lands::Config(|config, input| {
            config.trust.policy = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "key",
        of: BOOT | FETCH,
        takes: Takes::Value("KEY"),
        help: "trust signatures of this minisign key, in a file beside the signed one with .minisig \
               appended to its name; a file or the key itself; may be repeated",
        lands: Lands::Config(|config, input| {
            // Keys of all sources are added up.
            config.trust.keys.push(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "attended")]
    Setting {
        name: "watchdog",
        of: BOOT | WORD,
        takes: Takes::Value("SECS"),
        help: "feed /dev/watchdog0 while the boot goes on, so that a machine that hangs for this long is \
               reset; stop it before the next kernel or root is started. Less than 30 may be too short \
               for loading a large initrd",
        lands: Lands::Config(|config, input| {
            config.boot.watchdog = Some(input.seconds()?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "require-signature",
        of: BOOT | FETCH | WORD,
        help: "read and start only files signed by one of the trusted keys; an error if there is no \
               such key",
        lands: Lands::Config(|config, input| {
            // A policy is only ever tightened.
            config.trust.must_be_signed |= input.is_on()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "sandbox",
        of: LEASE | BOOT | FETCH | CAPTURE | WORD,
        takes: Takes::OneOf("HOW", Sandbox::NAMES),
        default: if cfg!(feature = "sandbox") {
            "on"
        } else {
            "off"
        },
        help: "parse what the network sends in processes without privileges, and keep those alone that \
               the rest of a kept lease or a capture takes; off keeps all, and log only logs what would \
               be forbidden (in the kernel's log); the small binary has no such processes",
        lands: Lands::Config(|config, input| {
            let mode = input.named()?;
            if mode != Sandbox::Off && !cfg!(feature = "sandbox") {
                return Err("this wireboot was built without the feature \"sandbox\"".to_owned());
            }
            config.trust.sandbox.mode = mode;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "sandbox-user",
        of: LEASE | BOOT | FETCH | CAPTURE | WORD,
        takes: Takes::Value("N"),
        default: "65534",
        help: "the user and group of these processes, by number",
        lands: Lands::Config(|config, input| {
            config.trust.sandbox.user = input.number(1, u32::MAX - 1)?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "ca",
        of: BOOT | FETCH | WORD,
        takes: Takes::Value("FILE"),
        help: "trust only the certificates in this PEM file, of authorities or of https servers \
               themselves (those of the system)",
        lands: Lands::Config(|config, input| {
            config.fetch.ca = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "certificate",
        of: BOOT | FETCH | WORD,
        takes: Takes::Value("FILE"),
        help: "present the client certificate in this PEM file, which has its key too, to https servers",
        lands: Lands::Config(|config, input| {
            config.fetch.certificate = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    // What is asked by ARP, by the letters of iputils.
    #[cfg(feature = "arping")]
    Setting {
        name: "device",
        short: Some('I'),
        of: ARPING,
        takes: Takes::Value("IF"),
        help: "ask on this interface",
        lands: Lands::Config(|config, input| {
            config.link.interfaces = vec![interface_name(input.value)?];
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "questions",
        short: Some('c'),
        of: ARPING,
        takes: Takes::Value("N"),
        help: "end after N questions",
        lands: Lands::Own(|all, input| {
            all.arping.count = Some(input.number(1, u64::MAX)?);
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "deadline",
        short: Some('w'),
        of: ARPING,
        takes: Takes::Value("SECS"),
        help: "end after this time, or with -c when that many answers are received",
        lands: Lands::Own(|all, input| {
            all.arping.deadline = Some(input.seconds()?);
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "interval",
        short: Some('i'),
        of: ARPING,
        takes: Takes::Value("SECS"),
        default: "1",
        help: "time between two questions",
        lands: Lands::Own(|all, input| {
            all.arping.interval = input.seconds()?;
            Ok(())
        }),
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "source",
        short: Some('s'),
        of: ARPING,
        takes: Takes::Value("ADDRESS"),
        help: "ask as one who has this address",
        lands: Lands::Own(|all, input| {
            all.arping.source = Some(input.parsed("an IPv4 address")?);
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "duplicate",
        short: Some('D'),
        of: ARPING,
        help: "probe whether another host has the address (RFC 5227)",
        lands: Lands::Own(|all, _| {
            all.arping.question = Question::Duplicate;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "announce",
        short: Some('U'),
        of: ARPING,
        help: "announce the address as this machine's, to update its neighbours",
        lands: Lands::Own(|all, _| {
            all.arping.question = Question::Announcement;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "announce-by-reply",
        short: Some('A'),
        of: ARPING,
        help: "as -U, by replies",
        lands: Lands::Own(|all, _| {
            all.arping.question = Question::Reply;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "broadcast-only",
        short: Some('b'),
        of: ARPING,
        help: "go on to ask all, also after the first answer",
        lands: Lands::Own(|all, _| {
            all.arping.broadcasts = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "first",
        short: Some('f'),
        of: ARPING,
        help: "end with the first answer",
        lands: Lands::Own(|all, _| {
            all.arping.first = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "silent",
        short: Some('q'),
        of: ARPING,
        help: "print nothing",
        lands: Lands::Own(|all, _| {
            all.arping.quiet = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "arping")]
    Setting {
        name: "scan",
        of: ARPING,
        help: "list who answers in the interface's network, at 500 questions a second",
        lands: Lands::Own(|all, _| {
            all.arping.scan = true;
            Ok(())
        }),
        ..NOTHING
    },
    // What is captured.
    Setting {
        name: "read",
        short: Some('r'),
        of: CAPTURE,
        takes: Takes::Value("FILE"),
        help: "read the frames from a pcap or pcapng file; - is standard input",
        lands: Lands::Own(|all, input| {
            all.capture.read = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "count",
        short: Some('c'),
        of: CAPTURE,
        takes: Takes::Value("N"),
        help: "end after N frames",
        lands: Lands::Own(|all, input| {
            all.capture.count = Some(input.number(1, u64::MAX)?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "write",
        short: Some('w'),
        of: CAPTURE,
        takes: Takes::Value("FILE"),
        help: "write pcapng instead of lines; - is standard output",
        lands: Lands::Own(|all, input| {
            all.capture.write = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "capture")]
    Setting {
        name: "file-size",
        short: Some('C'),
        of: CAPTURE,
        takes: Takes::Value("SIZE"),
        help: "begin the next file, FILE1, FILE2 …, after SIZE million bytes (k, m, g: KiB, MiB, GiB)",
        lands: Lands::Own(|all, input| {
            all.capture.file_len = input.size(1_000_000)?;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "capture")]
    Setting {
        name: "rotate",
        short: Some('G'),
        of: CAPTURE,
        takes: Takes::Value("SECS"),
        help: "begin the next file every SECS seconds; its name is FILE with the time in UTC in the place of \
               %Y, %m, %d, %H, %M, %S …",
        lands: Lands::Own(|all, input| {
            all.capture.file_seconds = input.number(1, u64::MAX)?;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "capture")]
    Setting {
        name: "files",
        short: Some('W'),
        of: CAPTURE,
        takes: Takes::Value("N"),
        help: "with -C: overwrite the oldest of N files; with -G: end after N files",
        lands: Lands::Own(|all, input| {
            all.capture.files = input.number(1, u32::MAX)?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "octets",
        short: Some('x'),
        of: CAPTURE,
        help: "show bytes in hexadecimal; twice: with the Ethernet header",
        lands: Lands::Own(|all, _| {
            all.capture.hex += 1;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "octets-and-text",
        short: Some('X'),
        of: CAPTURE,
        help: "as -x, with text beside it",
        lands: Lands::Own(|all, _| {
            all.capture.hex_and_text += 1;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "text",
        short: Some('A'),
        of: CAPTURE,
        help: "show bytes as text",
        lands: Lands::Own(|all, _| {
            all.capture.ascii = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "ethernet",
        short: Some('e'),
        of: CAPTURE,
        help: "show the Ethernet header",
        lands: Lands::Own(|all, _| {
            all.capture.ethernet = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "time",
        short: Some('t'),
        of: CAPTURE,
        help: "no times; -tt: seconds since 1970, -ttt: since the frame before, -tttt: with the date, \
               -ttttt: since the first frame",
        lands: Lands::Own(|all, _| {
            all.capture.time += 1;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "brief",
        short: Some('q'),
        of: CAPTURE,
        help: "show protocols and lengths only",
        lands: Lands::Own(|all, _| {
            all.capture.brief = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "snapshot-length",
        short: Some('s'),
        of: CAPTURE,
        takes: Takes::Value("BYTES"),
        help: "keep so many bytes of each frame; 0: all",
        lands: Lands::Own(|all, input| {
            all.capture.snap_len = input.number(0, u32::MAX)?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "line-buffered",
        short: Some('l'),
        of: CAPTURE,
        help: "write each frame at once",
        lands: Lands::Own(|all, _| {
            all.capture.is_at_once = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "packet-buffered",
        short: Some('U'),
        of: CAPTURE,
        help: "as -l, also with -w",
        lands: Lands::Own(|all, _| {
            all.capture.is_at_once = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "numbers",
        short: Some('n'),
        of: CAPTURE,
        help: "as always: addresses and ports are numbers (for scripts)",
        lands: Lands::Own(|_, _| Ok(())),
        ..NOTHING
    },
    #[cfg(feature = "capture")]
    Setting {
        name: "number",
        short: Some('#'),
        of: CAPTURE,
        help: "show the number of each frame",
        lands: Lands::Own(|all, _| {
            all.capture.numbered = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "capture")]
    Setting {
        name: "micro",
        of: CAPTURE,
        help: "show microseconds, not nanoseconds",
        lands: Lands::Own(|all, _| {
            all.capture.micro = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "capture")]
    Setting {
        name: "direction",
        short: Some('Q'),
        of: CAPTURE,
        takes: Takes::OneOf("DIRECTION", &DIRECTIONS),
        help: "frames of one direction",
        lands: Lands::Own(|all, input| {
            let direction = input.one_of(&DIRECTIONS)?;
            all.capture.direction = (direction != "inout").then_some(direction);
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "capture")]
    Setting {
        name: "filter-file",
        short: Some('F'),
        of: CAPTURE,
        takes: Takes::Value("FILE"),
        help: "read the filter from FILE, up to # in each line; - is standard input",
        lands: Lands::Own(|all, input| {
            all.capture.filter_file = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "list-interfaces",
        short: Some('D'),
        of: CAPTURE,
        help: "list the interfaces and end",
        lands: Lands::Own(|all, _| {
            all.capture.lists = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "no-promiscuous-mode",
        short: Some('p'),
        of: CAPTURE,
        help: "ignore frames for other stations (no promiscuous mode)",
        lands: Lands::Own(|all, _| {
            all.capture.own_only = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "print-filter",
        short: Some('d'),
        of: CAPTURE,
        help: "print the filter program and end",
        lands: Lands::Own(|all, _| {
            all.capture.prints_program = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "bpf",
        of: CAPTURE,
        takes: Takes::Value("FILE"),
        help: "use the program that tcpdump -ddd printed",
        lands: Lands::Own(|all, input| {
            all.capture.bpf = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "ring",
        of: CAPTURE,
        takes: Takes::OneOf("KIND", &["v2", "v3"]),
        default: "v3",
        help: "frames one by one (v2), or in blocks (v3)",
        lands: Lands::Own(|all, input| {
            all.capture.one_by_one = input.one_of(&["v2", "v3"])? == "v2";
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "buffer",
        short: Some('B'),
        of: CAPTURE,
        takes: Takes::Value("KIB"),
        // As tcpdump has it.
        default: "2048",
        help: "memory of each interface's ring",
        lands: Lands::Own(|all, input| {
            all.capture.buffer_kib = input.number(1, u32::MAX >> 10)?;
            Ok(())
        }),
    },
    Setting {
        name: "stats",
        of: CAPTURE,
        help: "print the counters as the last lines of the output",
        lands: Lands::Own(|all, _| {
            all.capture.prints_counters = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "hand")]
    Setting {
        name: "svg",
        of: ACCOUNT,
        takes: Takes::Value("FILE"),
        help: "draw the bars into FILE instead, as SVG (- is standard output)",
        lands: Lands::Own(|all, input| {
            all.svg = Some(input.value.into());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "json",
        of: LEASE | DISCOVER | FETCH | ACCOUNT,
        help: "print JSON for programs, with all that is known: the lease, every answer, progress \
               (an object a line) or times (in microseconds)",
        lands: Lands::Own(|all, _| {
            all.json = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "interface",
        short: Some('i'),
        of: NETWORK | FETCH | CAPTURE | WORD,
        takes: Takes::Value("IF"),
        help: "use this interface; several are separated by commas, or the flag is repeated",
        lands: Lands::Config(|config, input| {
            let names = input.value.split(',').map(interface_name);
            let names: Vec<_> = names.collect::<Result<_, _>>()?;
            if input.is_first {
                config.link.interfaces.clear();
            }
            config.link.interfaces.extend(names);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "bootif",
        of: WORD,
        takes: Takes::Value("MAC"),
        help: "use the interface with this hardware address, as BOOTIF=",
        lands: Lands::Config(|config, input| {
            config.link.boot_interface = Some(boot_interface(input.value)?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "vlan",
        of: NETWORK,
        takes: Takes::Value("NAME:IF|try:ID,…"),
        help: "make the VLAN interface NAME, such as eth0.7 or vlan7, on interface IF, and use it; or \
               try these VLANs where no server answers without a tag",
        lands: Lands::Config(|config, input| {
            if input.is_first && !input.value.starts_with("try:") {
                config.link.vlan = None;
            }
            config.link.set_vlan(input.value).map(drop)
        }),
        ..NOTHING
    },
    Setting {
        name: "bond",
        of: NETWORK | WORD,
        takes: Takes::Value("NAME[:IF,…[:OPTIONS[:MTU]]]"),
        help: "make the bond NAME of these interfaces, and use it; OPTIONS are those of the kernel, such \
               as mode=802.3ad,lacp_rate=fast",
        lands: Lands::Config(|config, input| {
            #[cfg(feature = "bond")]
            if input.is_first {
                config.link.bond = None;
            }
            let set = config.link.set_bond(input.value);
            set.map(drop).map_err(|why| format!("not a bond: {why}"))
        }),
        ..NOTHING
    },
    Setting {
        name: "link-timeout",
        of: NETWORK | WORD,
        takes: Takes::Value("SECS"),
        default: "30",
        help: "wait this long for an interface and its carrier",
        lands: Lands::Config(|config, input| {
            config.link.timeout = input.seconds()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "timeout",
        of: NETWORK | WORD,
        takes: Takes::Value("SECS"),
        default: "60",
        help: "wait this long for a lease once there is a carrier",
        lands: Lands::Config(|config, input| {
            config.dhcp.timeout = input.seconds()?;
            Ok(())
        }),
        ..NOTHING
    },
    // What is sent to and requested from DHCP servers.
    Setting {
        name: "identify",
        of: NETWORK | WORD,
        takes: Takes::OneOf("WHAT", Identify::NAMES),
        help: "client type sent to DHCP servers (ipxe for a boot, else plain)",
        lands: Lands::Config(|config, input| {
            config.dhcp.identify = input.named()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "request",
        of: NETWORK | WORD,
        takes: Takes::Value("LIST"),
        help: "request these DHCP options too, by number or name, separated by commas; 'wireboot \
               help options' lists the names",
        lands: Lands::Config(|config, input| {
            input.add_codes_to(&mut config.dhcp.introduction.requested)
        }),
        ..NOTHING
    },
    Setting {
        name: "no-request",
        of: NETWORK | WORD,
        takes: Takes::Value("LIST"),
        help: "do not request these DHCP options",
        lands: Lands::Config(|config, input| {
            input.add_codes_to(&mut config.dhcp.introduction.not_requested)
        }),
        ..NOTHING
    },
    Setting {
        name: "client-id",
        of: NETWORK | WORD,
        takes: Takes::Value("mac|duid|HEX"),
        default: "mac",
        help: "client identifier: the hardware address, a duid (RFC 4361: the firmware's UUID, or \
               else the hardware address) or bytes in hexadecimal",
        lands: Lands::Config(|config, input| {
            config.dhcp.introduction.client_id = input.value.parse::<ClientId>()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "hostname",
        of: NETWORK | WORD,
        takes: Takes::Value("NAME"),
        help: "send this host name (one with a dot in option 81, another in 12), and use it instead \
               of the lease's",
        lands: Lands::Config(|config, input| {
            config.dhcp.given.host_name = Some(input.host_name()?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "vendor-class",
        of: NETWORK | WORD,
        takes: Takes::Value("TEXT"),
        help: "send this vendor class (option 60)",
        lands: Lands::Config(|config, input| {
            config.dhcp.introduction.vendor_class = Some(input.printable()?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "user-class",
        of: NETWORK | WORD,
        takes: Takes::Value("TEXT"),
        help: "send this user class (option 77)",
        lands: Lands::Config(|config, input| {
            config.dhcp.introduction.user_class = Some(input.printable()?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "proxy-wait",
        of: NETWORK | WORD,
        takes: Takes::Value("SECS"),
        help: "seconds to wait for a better offer if one has no boot file (12 for a boot, as PXE \
               firmware does; 1 with a path for --boot-file, none with a URL; lease uses the first)",
        lands: Lands::Config(|config, input| {
            config.dhcp.proxy_wait = Some(input.seconds()?);
            config.dhcp.late_wait = Duration::ZERO;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "family",
        of: LEASE | BOOT | DISCOVER | WORD,
        takes: Takes::OneOf("FAMILY", Family::NAMES),
        help: "use IPv4 (4), IPv6 by router advertisements and DHCPv6 (6), or both at once (either), \
               for boot, where the first with a boot file wins, discover, and lease, where IPv6 gives \
               IPv4 3 s; without it boot uses either, and others 4",
        lands: Lands::Config(|config, input| {
            config.dhcp.family = Some(input.named()?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "acd",
        of: NETWORK | WORD,
        takes: Takes::OneOf("HOW", Detection::NAMES),
        // Strict: up to 1 s, two gaps of 1 to 2 s, and 2 s until the announcement (RFC 5227 §1.1).
        default: "overlapped",
        help: "detect address conflicts: while the server is asked (overlapped), as in RFC 5227 \
               (strict, which takes 4 to 7 s), or not at all",
        lands: Lands::Config(|config, input| {
            config.dhcp.detection = input.named()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "broadcast",
        of: NETWORK | WORD,
        help: "ask DHCP servers to answer by broadcast at once, and not only from the third DISCOVER \
               without an answer",
        lands: Lands::Config(|config, _| {
            config.dhcp.broadcast = true;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "no-expedite",
        of: NETWORK | CAPTURE | WORD,
        help: "leave /sys/kernel/rcu_expedited alone, which else is set for some microseconds when a \
               packet socket is set up or closed, so that the kernel does not take 10 to 30 ms for it",
        lands: Lands::Config(|config, _| {
            config.link.expedites = false;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "kernel-command-line",
        of: NETWORK,
        takes: Takes::Value("FILE"),
        help: "read ip=, BOOTIF= and wireboot.* from FILE, such as /proc/cmdline; flags win over \
               these words, and a later file over an earlier one",
        lands: Lands::Own(|all, input| {
            all.command_lines.push(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "record",
        of: NETWORK,
        takes: Takes::Value("FILE"),
        help: "write the last DHCP and ARP frames to FILE, as pcapng; a command that fails writes \
               them to /run/wireboot/failure.pcapng anyway",
        lands: Lands::Config(|config, input| {
            config.output.record = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "report")]
    Setting {
        name: "report",
        of: BOOT | WORD,
        takes: Takes::Value("URL"),
        help: "POST the account to URL as JSON, after each step and, with the last frames, when the boot \
               fails",
        lands: Lands::Config(|config, input| {
            config.output.report_to = Some(input.value.to_owned());
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "report")]
    Setting {
        name: "syslog",
        of: BOOT | WORD,
        takes: Takes::Value("ADDRESS"),
        help: "send messages to this log server instead of that of the lease (option 7), by UDP (RFC 5424); \
               ADDRESS:PORT for another port than 514, tcp://ADDRESS or tcp://ADDRESS:PORT for TCP (RFC 6587)",
        lands: Lands::Config(|config, input| {
            let tcp = input.value.strip_prefix("tcp://");
            let text = tcp.unwrap_or(input.value);
            let address = text.parse().ok();
            let plain = || Some((text.parse::<IpAddr>().ok()?, SYSLOG_PORT).into());
            let address = address.or_else(plain);
            config.output.syslog = Some(LogServer {
                address: address.ok_or("not an address, ADDRESS:PORT or tcp://ADDRESS[:PORT]")?,
                is_tcp: tcp.is_some(),
            });
            Ok(())
        }),
        ..NOTHING
    },
    // What is printed.
    #[cfg(feature = "manual")]
    Setting {
        name: "man",
        of: HELP,
        help: "print the manual page instead, as input of man and groff",
        lands: Lands::Own(|all, _| {
            all.help.man = true;
            Ok(())
        }),
        ..NOTHING
    },
    #[cfg(feature = "manual")]
    Setting {
        name: "completion",
        of: HELP,
        takes: Takes::OneOf("SHELL", &SHELLS),
        help: "print the completions for this shell instead",
        lands: Lands::Own(|all, input| {
            all.help.completion = Some(input.one_of(&SHELLS)?);
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "verbose",
        short: Some('v'),
        of: NETWORK | FETCH | CAPTURE,
        help: "log every step; twice: every packet. With capture, show DHCP options",
        lands: Lands::Own(|all, _| {
            all.verbosity += 1;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: "quiet",
        short: Some('q'),
        of: NETWORK | FETCH | WORD,
        help: "print only errors",
        lands: Lands::Config(|config, input| {
            config.output.quiet = input.is_on()?;
            Ok(())
        }),
        ..NOTHING
    },
    Setting {
        name: HELP_FLAG,
        short: Some('h'),
        of: !WORD,
        help: "print this text",
        ..NOTHING
    },
];

/// Words of the kernel's command line that others have defined.
#[cfg(feature = "manual")]
#[derive(Debug)]
pub struct Foreign {
    /// How they are written.
    pub words: &'static [&'static str],
    /// What they do here.
    pub help: &'static str,
}

/// The words that `cmdline` reads besides `wireboot.*`: those of the kernel, klibc, dracut,
/// initramfs-tools, NetworkManager, systemd and PXELINUX.
#[cfg(feature = "manual")]
pub static FOREIGN: &[Foreign] = &[
    Foreign {
        words: &[
            "ip=dhcp",
            "ip=IF:dhcp[:MTU[:MAC]]",
            "ip=CLIENT:SERVER:GATEWAY:NETMASK:HOST:IF:dhcp",
        ],
        help: "an address by DHCP, on this interface; in the forms of the kernel, klibc, dracut, \
               NetworkManager and systemd",
    },
    Foreign {
        words: &["ip=CLIENT:SERVER:GATEWAY:NETMASK:HOST:IF:none[:DNS[:DNS]]"],
        help: "an address without DHCP; those of IPv6 stand in brackets",
    },
    Foreign {
        words: &["ip=dhcp6", "ip=auto6", "ip=either6"],
        help: "in place of dhcp: IPv6 alone, by routers, and by servers where routers say so or none is \
               there",
    },
    Foreign {
        words: &["ip=auto", "ip=on", "ip=any", "ip=dhcp,dhcp6"],
        help: "in place of dhcp: both families, as wireboot.family=either",
    },
    Foreign {
        words: &["ip=link6", "ip=link-local"],
        help: "in place of dhcp: IPv6 with the link-local address alone, without any request",
    },
    Foreign {
        words: &["ip6=on", "ip6=IF", "ip6=off"],
        help: "of initramfs-tools, beside `ip=`: IPv6 too, on IF, or not at all",
    },
    Foreign {
        words: &["BOOTIF=01-MAC"],
        help: "use the interface with this hardware address; ignored with rd.bootif=0",
    },
    Foreign {
        words: &["ifname=IF:MAC"],
        help: "IF in other words means the interface with this hardware address",
    },
    Foreign {
        words: &["bootdev=IF"],
        help: "which of several interfaces boots",
    },
    Foreign {
        words: &["vlan=NAME:IF", "rd.vlan=NAME:IF"],
        help: "make the VLAN interface NAME, such as eth0.7 or vlan7, on interface IF, and boot \
               over it",
    },
    Foreign {
        words: &["vlan=try:ID,…"],
        help: "VLANs to try where no server answers without a tag",
    },
    Foreign {
        words: &["bond=NAME[:IF,…[:OPTIONS[:MTU]]]"],
        help: "as wireboot.bond",
    },
    Foreign {
        words: &["nameserver=ADDRESS"],
        help: "a resolver, asked before those of the lease",
    },
    Foreign {
        words: &["rd.route=NETWORK/BITS:GATEWAY"],
        help: "a route, with a lease or without one",
    },
    Foreign {
        words: &["rd.peerdns=0"],
        help: "ignore the resolvers of the lease",
    },
    Foreign {
        words: &["rd.net.timeout.carrier=SECS", "rd.net.timeout.iflink=SECS"],
        help: "as wireboot.link-timeout",
    },
    Foreign {
        words: &["rd.net.timeout.dhcp=SECS"],
        help: "as wireboot.timeout",
    },
    Foreign {
        words: &["root=live:URL", "root=URL", "netroot=URL"],
        help: "as wireboot.root",
    },
    Foreign {
        words: &["root=/dev/nfs", "nfsroot=[SERVER:]PATH[,OPTIONS]"],
        help: "a root over NFS; without nfsroot= as the lease says (option 17)",
    },
    Foreign {
        words: &["roothash=HASH"],
        help: "mount the root through dm-verity, with this root hash",
    },
    Foreign {
        words: &["init=PATH"],
        help: "the program in the image that becomes process 1",
    },
    Foreign {
        words: &["rd.overlay=0|1|none|DISK", "rd.live.overlay=none|DISK"],
        help: "as wireboot.overlay",
    },
    Foreign {
        words: &["rd.live.dir=FOLDER", "rd.live.squashimg=FILE"],
        help: "where the root is in an ISO image (LiveOS, squashfs.img)",
    },
    Foreign {
        words: &["rd.live.overlay.size=MIB"],
        help: "how much memory changes to the root may take (half of it)",
    },
];
