//! The configuration as plain values, from defaults, kernel words and flags.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use wireboot_proto::named;
use wireboot_proto::packet::ethernet::MacAddress;
pub use wireboot_proto::text::names::NoSuchName;
use wireboot_proto::time::SpeedLimit;

pub use wireboot_proto::dhcp::config::{ClientId, Detection, Identify, Introduction, StaticConfig};

/// A stage of a boot, as named by `--stop-after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The interface is up.
    Link,
    /// The address is configured.
    Lease,
    /// The boot file has led to a plan.
    Plan,
    /// All parts of the plan are in memory.
    Image,
    /// The kernel is loaded.
    Load,
}

named!(Stage:
    "link" => Link, "lease" => Lease, "plan" => Plan, "image" => Image, "load" => Load);

/// The output about a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlanOutput {
    /// The plan, if it is the last stage.
    #[default]
    Plan,
    /// The same as JSON.
    Json,
    /// The plan, and the file and line of each decision.
    Explain,
}

/// The action of process 1 after a failed boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Retry, after a growing pause.
    #[default]
    Retry,
    /// Starts `/bin/sh` on the console.
    Shell,
    /// Restarts the machine.
    Reboot,
    /// Switches the machine off.
    PowerOff,
}

named!(OnFailure:
    "retry" => Retry, "shell" => Shell, "reboot" => Reboot, "poweroff" => PowerOff);

/// What PID 1 does when the boot file says to boot from a local disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLocalBoot {
    /// Restarts the machine.
    Reboot,
    /// Switches the machine off.
    PowerOff,
    /// Starts `/bin/sh` on the console.
    Shell,
    /// Exits, for a process that runs it as the first one of a namespace.
    Exit,
}

named!(OnLocalBoot:
    "reboot" => Reboot, "poweroff" => PowerOff, "shell" => Shell, "exit" => Exit);

/// How a kernel is handed to kexec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// The running kernel reads the files (`kexec_file_load`).
    File,
    /// Memory is laid out here (`kexec_load`).
    Segments,
}

named!(Loader: "file" => File, "segments" => Segments);

impl Default for Loader {
    fn default() -> Self {
        // On arm64 kexec_file_load hashes nothing, since there is no purgatory.
        if cfg!(target_arch = "x86_64") {
            Self::Segments
        } else {
            Self::File
        }
    }
}

/// The family of addresses.
#[cfg(feature = "ipv6")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// IPv4, by DHCP.
    #[default]
    V4,
    /// IPv6, by routers and DHCPv6.
    V6,
    /// Both at once; the first with a boot file wins.
    Either,
}

#[cfg(feature = "ipv6")]
named!(Family: "4" => V4, "6" => V6, "either" => Either);

/// Programs that take over the lease, besides those that read klibc's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandOver {
    /// The files that dracut's modules look for.
    pub dracut: bool,
    /// A unit for systemd-networkd.
    pub networkd: bool,
    /// A connection for NetworkManager.
    pub network_manager: bool,
}

impl HandOver {
    const NAMES: &'static [&'static str] = &["dracut", "networkd", "network-manager"];
}

impl FromStr for HandOver {
    type Err = NoSuchName;

    /// Parses `dracut`, `networkd` and `network-manager`, separated by commas.
    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        let mut to = Self::default();
        for name in text.split(',') {
            match name {
                "dracut" => to.dracut = true,
                "networkd" => to.networkd = true,
                "network-manager" => to.network_manager = true,
                _ => return Err(NoSuchName(Self::NAMES)),
            }
        }
        Ok(to)
    }
}

/// A tagged VLAN (802.1Q) to boot over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// The name of its interface.
    pub name: String,
    /// Its VLAN identifier, 1 to 4094.
    pub id: u16,
    /// The interface that carries it.
    pub parent: String,
}

impl FromStr for Vlan {
    type Err = String;

    /// Parses `NAME:PARENT`; the name ends with the VLAN identifier.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parent) = text
            .split_once(':')
            .ok_or("not the VLAN's interface, a colon and the interface that carries it")?;
        // eth0.7, eth0.0007, vlan7 and vlan0007 are in use (dracut.cmdline(7)).
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let digits = name.rsplit_once('.').map_or(digits, |(_, digits)| digits);
        // 0 is priority without a VLAN, and 4095 is reserved (IEEE 802.1Q).
        let id = digits.parse().ok().filter(|id| (1..=4094).contains(id));
        let id = id.ok_or("the VLAN's interface does not end with its number, 1 to 4094")?;
        Ok(Self {
            name: interface_name(name)?,
            id,
            parent: interface_name(parent)?,
        })
    }
}

/// Parses an interface name: 1 to 15 bytes without white space, slash and colon.
///
/// # Errors
/// The rule that it breaks (the kernel's `dev_valid_name`).
pub fn interface_name(text: &str) -> Result<String, String> {
    let is_separator = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace();
    // IFNAMSIZ is 16 with the zero byte.
    let fits = (1..=15).contains(&text.len());
    if fits && !text.contains(is_separator) && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err(format!("not the name of an interface: \"{text}\""))
    }
}

/// Parses the value of `BOOTIF=`.
///
/// # Errors
/// The format that it should have.
pub fn boot_interface(text: &str) -> Result<MacAddress, String> {
    // PXELINUX puts the hardware type in front: 01 is Ethernet.
    let address = match text.len() {
        20 => text.strip_prefix("01-").or(text.strip_prefix("01:")),
        _ => Some(text),
    };
    let mac = address.and_then(|address| address.parse().ok());
    mac.ok_or_else(|| "not 01 and a hardware address such as 01-52-54-00-12-34-56".to_owned())
}

/// The configuration of a run. Each function gets only its section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Which interfaces are used.
    pub link: LinkConfig,
    /// How a lease is acquired and used.
    pub dhcp: DhcpConfig,
    /// The boot file, and how far the boot goes.
    pub boot: BootConfig,
    /// Mirrors and certificates.
    pub fetch: FetchConfig,
    /// Policy, keys and signatures.
    pub trust: TrustConfig,
    /// Output and recording.
    pub output: OutputConfig,
}

/// Which interfaces are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// Interfaces by name; empty means every Ethernet NIC with a device behind it.
    pub interfaces: Vec<String>,
    /// The NIC the firmware booted from (`BOOTIF=`).
    pub boot_interface: Option<MacAddress>,
    /// A tagged VLAN to be made first.
    pub vlan: Option<Vlan>,
    /// How long to wait for an interface and its carrier.
    pub timeout: Duration,
    /// Whether grace periods may be expedited for packet sockets.
    pub expedites: bool,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            boot_interface: None,
            vlan: None,
            timeout: Duration::from_secs(30),
            expedites: true,
        }
    }
}

/// How a lease is acquired and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpConfig {
    /// Static settings, beside a lease or in place of one.
    pub given: StaticConfig,
    /// The family of addresses.
    #[cfg(feature = "ipv6")]
    pub family: Family,
    /// How long to wait for a lease, counted from the carrier.
    pub timeout: Duration,
    /// How the machine presents itself to DHCP servers.
    pub identify: Identify,
    /// Options sent to and requested from them.
    pub introduction: Introduction,
    /// How long an offer without a boot file waits for a better one; none takes the first.
    pub proxy_wait: Option<Duration>,
    /// How much longer it waits for one with a boot file.
    pub late_wait: Duration,
    /// How address conflicts are detected.
    pub detection: Detection,
    /// Whether servers are asked to answer by broadcast from the first message on.
    pub broadcast: bool,
    /// Whether a client that accepts the first offer first requests the address of the lease file.
    pub uses_lease_file: bool,
    /// The directory of the lease file, in place of the default.
    pub lease_directory: Option<PathBuf>,
    /// A script that is run on each lease event.
    pub script: Option<PathBuf>,
    /// Programs that take over the lease.
    pub hand_over: HandOver,
}

impl Default for DhcpConfig {
    fn default() -> Self {
        Self {
            given: StaticConfig::default(),
            #[cfg(feature = "ipv6")]
            family: Family::default(),
            // Longer than the 30 s for which spanning tree keeps a new port blocked by default
            // (IEEE 802.1D).
            timeout: Duration::from_secs(60),
            identify: Identify::default(),
            introduction: Introduction::default(),
            proxy_wait: None,
            late_wait: Duration::ZERO,
            detection: Detection::default(),
            broadcast: false,
            uses_lease_file: true,
            lease_directory: None,
            script: None,
            hand_over: HandOver::default(),
        }
    }
}

/// The boot file, and how far the boot goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootConfig {
    /// A boot file instead of that of the lease.
    pub file: Option<String>,
    /// Initrds for a boot file that is a kernel itself, as paths beside it or URLs.
    pub initrds: Vec<String>,
    /// Text appended to the command line of the started kernel.
    pub append: Option<String>,
    /// The step to stop after.
    pub stop_after: Option<Stage>,
    /// Whether menus choose their defaults even on a terminal.
    pub unattended: bool,
    /// The action of process 1 after a failed boot.
    pub on_failure: OnFailure,
    /// What PID 1 does when a local disk is to be booted; what it does after a failure if none.
    pub on_local_boot: Option<OnLocalBoot>,
    /// How the kernel is handed to kexec, at first.
    pub loader: Loader,
}

/// Mirrors, and the certificates of https servers and of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchConfig {
    /// The URLs of directories with copies of files that their own servers do not deliver.
    pub mirrors: Vec<String>,
    /// The speed below which a server is given up.
    pub speed: SpeedLimit,
    /// PEM file of the certificate authorities for https servers; the system's list if none.
    pub ca: Option<String>,
    /// PEM file of the client certificate for https servers, and its key.
    pub certificate: Option<String>,
}

/// Policy, keys and signatures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustConfig {
    /// The policy file, in place of the default.
    pub policy: Option<String>,
    /// Trusted keys, or files with such keys.
    pub keys: Vec<String>,
    /// Whether every file must be signed.
    pub must_be_signed: bool,
    /// What those may do who parse what the network sends.
    pub sandbox: SandboxConfig,
}

/// The workers that parse what the network sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Whether there are any.
    pub mode: Sandbox,
    /// Their user and group.
    pub user: u32,
}

impl SandboxConfig {
    /// Returns whether there are workers: with the feature `sandbox`, unless they are switched off.
    pub const fn has_workers(&self) -> bool {
        cfg!(feature = "sandbox") && !matches!(self.mode, Sandbox::Off)
    }
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            mode: Sandbox::On,
            // The kernel's own number for nobody (overflowuid).
            user: 65_534,
        }
    }
}

/// Whether the network is parsed by workers without privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// By workers, which are killed for any other system call than theirs.
    On,
    /// By this process.
    Off,
    /// By workers whose other system calls the kernel logs and executes.
    Log,
}

named!(Sandbox: "off" => Off, "log" => Log, "on" => On);

/// Output and recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputConfig {
    /// The output about the plan.
    pub report: PlanOutput,
    /// Whether only errors are printed.
    pub quiet: bool,
    /// File for the last frames, written on success too.
    pub record: Option<String>,
}

impl Config {
    /// Returns the configuration of a boot: it identifies itself as iPXE, so that servers send scripts
    /// and not firmware, and waits 12 s for an offer with a boot file.
    pub fn for_boot() -> Self {
        Self {
            dhcp: DhcpConfig {
                identify: Identify::Ipxe,
                proxy_wait: Some(Duration::from_secs(1)),
                // 12 s in all: PXE 2.1 has a client without an offer of a PXE server wait for its 4 s and its 8 s;
                // iPXE waits for 2 s (DHCP_DISC_PROXY_TIMEOUT_SEC).
                late_wait: Duration::from_secs(11),
                ..DhcpConfig::default()
            },
            ..Self::default()
        }
    }
}
