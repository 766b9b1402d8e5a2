//! The configuration as plain values, from defaults, kernel words and flags.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[cfg(feature = "report")]
use crate::sys::syslog::LogServer;
use wireboot_proto::named;
#[cfg(feature = "root")]
use wireboot_proto::oci::Reference;
use wireboot_proto::packet::ethernet::MacAddress;
pub use wireboot_proto::text::names::NoSuchName;
#[cfg(feature = "root")]
use wireboot_proto::text::remote_root::RemoteRoot;
use wireboot_proto::text::url::Url;
use wireboot_proto::time::SpeedLimit;

#[cfg(feature = "bond")]
pub use super::interfaces::Bond;
pub use super::interfaces::{Vlan, VlansToTry, boot_interface, interface_name};

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

/// Action of PID 1 when the boot file says to boot from a local disk.
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

/// System call that loads a kernel.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, by DHCP.
    V4,
    /// IPv6, by routers and DHCPv6.
    V6,
    /// Both at once; the first with a boot file wins.
    Either,
}

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

/// The configuration of a run. Each function gets only its section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Which interfaces are used.
    pub link: LinkConfig,
    /// Settings for acquiring and using a lease.
    pub dhcp: DhcpConfig,
    /// The boot file, and how far the boot goes.
    pub boot: BootConfig,
    /// An image to be mounted as the root.
    #[cfg(feature = "root")]
    pub root: RootConfig,
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
    /// A bond to be made first.
    #[cfg(feature = "bond")]
    pub bond: Option<Bond>,
    /// A tagged VLAN to be made first.
    pub vlan: Option<Vlan>,
    /// VLANs that are asked on where no server answers without a tag.
    pub vlans_to_try: Option<VlansToTry>,
    /// How long to wait for an interface and its carrier.
    pub timeout: Duration,
    /// Whether grace periods may be expedited for packet sockets.
    pub expedites: bool,
    /// Whether the interface is used as it stands, and the next kernel gets what it has.
    #[cfg(feature = "root")]
    pub as_it_stands: bool,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            boot_interface: None,
            #[cfg(feature = "bond")]
            bond: None,
            vlan: None,
            vlans_to_try: None,
            timeout: Duration::from_secs(30),
            expedites: true,
            #[cfg(feature = "root")]
            as_it_stands: false,
        }
    }
}

impl LinkConfig {
    /// Sets the VLAN, or those to try, by the value of `vlan=`; returns its meaning.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_vlan(&mut self, text: &str) -> Result<String, String> {
        if let Some(list) = text.strip_prefix("try:") {
            self.vlans_to_try = Some(list.parse()?);
            return Ok([
                "tries the VLANs ",
                list,
                " if no server answers without a tag",
            ]
            .concat());
        }
        let vlan: Vlan = text.parse()?;
        if let Some(other) = self.vlan.as_ref().filter(|other| **other != vlan) {
            return Err(another("VLAN", &other.name));
        }
        let meaning = format!("{} is the VLAN {} on {}", vlan.name, vlan.id, vlan.parent);
        self.vlan = Some(vlan);
        Ok(meaning)
    }

    /// Sets the bond by the value of `bond=`; returns its meaning.
    ///
    /// # Errors
    /// What is wrong with it.
    #[cfg(feature = "bond")]
    pub fn set_bond(&mut self, text: &str) -> Result<String, String> {
        let bond: Bond = text.parse()?;
        if let Some(other) = self.bond.as_ref().filter(|other| **other != bond) {
            return Err(another("bond", &other.name));
        }
        let meaning = [&bond.name, " is a bond of ", &bond.members].concat();
        self.bond = Some(bond);
        Ok(meaning)
    }

    /// As the one with the feature.
    ///
    /// # Errors
    /// That there is none.
    #[cfg(not(feature = "bond"))]
    pub fn set_bond(&mut self, _: &str) -> Result<String, String> {
        Err(super::interfaces::NOT_BUILT_IN.to_owned())
    }

    /// Returns the name of the interface that is made last, on top of the others.
    pub fn made_last(&self) -> Option<&str> {
        let vlan = self.vlan.as_ref().map(|vlan| vlan.name.as_str());
        #[cfg(feature = "bond")]
        let vlan = vlan.or_else(|| self.bond.as_ref().map(|bond| bond.name.as_str()));
        vlan
    }
}

fn another(what: &str, name: &str) -> String {
    ["another ", what, " is configured: ", name].concat()
}

/// Composition of an interface that this process made; empty for a card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MadeOf {
    /// It is this VLAN.
    pub vlan: Option<Vlan>,
    /// It is this bond, or a VLAN on it.
    #[cfg(feature = "bond")]
    pub bond: Option<Bond>,
    /// The members of the bond, with their own hardware addresses.
    #[cfg(feature = "bond")]
    pub members: Vec<(String, MacAddress)>,
}

impl MadeOf {
    /// Returns the words of dracut that make it.
    #[cfg(feature = "bond")]
    pub fn words(&self) -> Vec<String> {
        let vlan = self.vlan.as_ref();
        let vlan = vlan.map(|vlan| ["vlan=", &vlan.name, ":", &vlan.parent].concat());
        let bond = self.bond.as_ref();
        let bond = bond.map(|bond| ["bond=", &bond.text()].concat());
        vlan.into_iter().chain(bond).collect()
    }

    /// Returns whether it was not made.
    pub const fn is_card(&self) -> bool {
        #[cfg(feature = "bond")]
        if self.bond.is_some() {
            return false;
        }
        self.vlan.is_none()
    }
}

/// How a lease is acquired and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpConfig {
    /// Static settings, beside a lease or in place of one.
    pub given: StaticConfig,
    /// The family of addresses; none leaves it to the command: IPv4 for a lease, and for a boot either.
    pub family: Option<Family>,
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
    /// Whether a first lease is asked for again and again, where no server grants one.
    pub never_gives_up: bool,
    /// A script that is run on each lease event.
    pub script: Option<PathBuf>,
    /// The script configures the interface, and nothing else does.
    pub script_only: bool,
    /// Programs that take over the lease.
    pub hand_over: HandOver,
}

impl Default for DhcpConfig {
    fn default() -> Self {
        Self {
            given: StaticConfig::default(),
            family: None,
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
            never_gives_up: false,
            script: None,
            script_only: false,
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
    /// How long it may hang before the watchdog resets the machine.
    #[cfg(feature = "attended")]
    pub watchdog: Option<Duration>,
    /// The action of process 1 after a failed boot.
    pub on_failure: OnFailure,
    /// What PID 1 does when a local disk is to be booted; what it does after a failure if none.
    pub on_local_boot: Option<OnLocalBoot>,
    /// How the kernel is handed to kexec, at first.
    pub loader: Loader,
}

/// The image that process 1 mounts as the root, and how.
#[cfg(feature = "root")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootConfig {
    /// What it is; without one a boot file is followed to a kernel.
    pub source: Option<RootSource>,
    /// The folder on a server of NFS (`nfsroot=`), in place of that of the lease.
    pub nfs: Option<RemoteRoot>,
    /// The hash of its tree of hashes (dm-verity), in hexadecimal digits.
    pub root_hash: Option<String>,
    /// Whether a root that others share is mounted for writing, if a word says it.
    pub is_writable: Option<bool>,
    /// Where the file system is in an ISO image, if not in `LiveOS`, and its name, if not `squashfs.img`.
    pub live_folder: String,
    /// See [`Self::live_folder`].
    pub live_image: String,
    /// Where changes are kept, if it is said.
    pub overlay: Option<Overlay>,
    /// How much memory changes may take, in MiB.
    pub overlay_mib: Option<u32>,
    /// The program that becomes process 1, in place of the usual ones.
    pub init: Option<String>,
}

/// Source of a root.
#[cfg(feature = "root")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSource {
    /// An image that is fetched.
    Image(Url),
    /// One of an artifact in a registry.
    Artifact(Reference),
    /// One that is mounted over the network.
    Remote(RemoteRoot),
    /// What `nfsroot=` or the lease says (option 17).
    Lease,
}

/// Storage of the changes to a root.
#[cfg(feature = "root")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Overlay {
    /// In memory.
    #[default]
    Tmpfs,
    /// Nowhere: the root is read-only.
    None,
    /// On a disk: `LABEL=` or `UUID=` with that of its file system, or its path in `/dev`.
    Disk(String),
}

#[cfg(feature = "root")]
impl FromStr for Overlay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let starts = ["LABEL=", "UUID=", "/dev/"];
        let mut names = starts.iter().filter_map(|start| text.strip_prefix(start));
        match text {
            "tmpfs" => Ok(Self::Tmpfs),
            "none" => Ok(Self::None),
            _ if names.any(|name| !name.is_empty()) => Ok(Self::Disk(text.to_owned())),
            _ => Err("neither tmpfs nor none nor the LABEL=, UUID= or /dev/… of a disk".to_owned()),
        }
    }
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
            mode: if cfg!(feature = "sandbox") {
                Sandbox::On
            } else {
                Sandbox::Off
            },
            // The kernel's own number for nobody (overflowuid).
            user: 65_534,
        }
    }
}

/// Use of workers without privileges to parse what the network sends.
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

/// The port of log servers (RFC 5426 §3.3).
#[cfg(feature = "report")]
pub const SYSLOG_PORT: u16 = 514;

/// Output and recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputConfig {
    /// The output about the plan.
    pub report: PlanOutput,
    /// Whether only errors are printed.
    pub quiet: bool,
    /// File for the last frames, written on success too.
    pub record: Option<String>,
    /// Where the account of a boot is sent.
    #[cfg(feature = "report")]
    pub report_to: Option<String>,
    /// The log server; that of the lease when none.
    #[cfg(feature = "report")]
    pub syslog: Option<LogServer>,
}

/// How long an offer without a boot file waits for a better one: longer than any ProxyDHCP server takes,
/// which answers what the other answers.
const PROXY_WAIT: Duration = Duration::from_secs(1);

impl Config {
    /// Sets the boot file in place of that of the lease, which is not waited for then. Any offer will do for
    /// a URL without anything to expand; a path is on the server that one of the offers names.
    pub fn boot_from(&mut self, file: &str) {
        self.dhcp.late_wait = Duration::ZERO;
        let is_whole = !file.contains("${") && Url::from_str(file).is_ok();
        if is_whole && self.dhcp.proxy_wait == Some(PROXY_WAIT) {
            self.dhcp.proxy_wait = None;
            // A server that refuses the last address would end a lease that the boot must give back.
            self.dhcp.uses_lease_file = false;
        }
        self.boot.file = Some(file.to_owned());
    }

    /// Returns the configuration of a boot: it identifies itself as iPXE, so that servers send scripts
    /// and not firmware, and waits 12 s for an offer with a boot file.
    pub fn for_boot() -> Self {
        Self {
            dhcp: DhcpConfig {
                identify: Identify::Ipxe,
                proxy_wait: Some(PROXY_WAIT),
                // 12 s in all: PXE 2.1 has a client without an offer of a PXE server wait for its 4 s and its
                // 8 s; iPXE waits for 2 s (DHCP_DISC_PROXY_TIMEOUT_SEC).
                late_wait: Duration::from_secs(11),
                introduction: Introduction {
                    #[cfg(feature = "report")]
                    requested: vec![wireboot_proto::packet::option::code::LOG_SERVERS],
                    ..Introduction::default()
                },
                ..DhcpConfig::default()
            },
            ..Self::default()
        }
    }
}
