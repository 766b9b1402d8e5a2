//! Facts known before the first file is read: machine, lease and the settings of the user.

use crate::prelude::*;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::ipv6::lease::Lease6;
use crate::packet::ethernet::MacAddress;
use crate::packet::ipv4::netmask;
use crate::sorted::SortedMap;
use crate::text::names;
use crate::text::url::Url;

/// The processor's architecture, as configurations ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 32-bit PC.
    X86,
    /// 64-bit PC.
    X86_64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit ARM.
    Arm64,
    /// 64-bit RISC-V.
    RiscV64,
    /// Any other.
    Other,
}

impl Architecture {
    /// The architecture this program was built for.
    pub const HERE: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else if cfg!(target_arch = "x86") {
        Self::X86
    } else if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else if cfg!(target_arch = "arm") {
        Self::Arm
    } else if cfg!(target_arch = "riscv64") {
        Self::RiscV64
    } else {
        Self::Other
    };

    /// Returns whether the next kernel can be started with another device tree than the current one.
    pub const fn loads_device_trees(self) -> bool {
        matches!(self, Self::Arm64)
    }
}

/// The machine, the lease and the settings that a plan depends on; constant while it is made.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The file the boot begins with.
    pub boot_file: Url,
    /// The interface's name in this kernel.
    pub interface: String,
    /// The words, as dracut reads them, by which the next kernel makes the bond and the VLAN that the
    /// interface consists of.
    pub made_by: Vec<String>,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Its IP address; unspecified where there is none of IPv4.
    pub address: Ipv4Addr,
    /// Prefix of the address, 0 to 32 bits.
    pub prefix_len: u8,
    /// The default router.
    pub gateway: Option<Ipv4Addr>,
    /// The server of the boot files.
    pub boot_server: Ipv4Addr,
    /// The DHCP server.
    pub dhcp_server: Ipv4Addr,
    /// Resolvers.
    pub dns: Vec<Ipv4Addr>,
    /// What IPv6 has given, where there is no IPv4.
    pub ipv6: Option<Box<Lease6>>,
    /// Domain.
    pub domain: Option<String>,
    /// The machine's host name.
    pub host_name: Option<String>,
    /// The boot file as the lease names it.
    pub boot_file_name: String,
    /// The options of the lease by code, as received: pxelinux uses 209 and 210, and iPXE scripts can
    /// read all.
    pub options: SortedMap<u8, Vec<u8>>,
    /// SMBIOS texts under their names in `/sys/class/dmi/id`: `product_uuid`, `sys_vendor`, ….
    pub smbios: SortedMap<String, String>,
    /// The processor.
    pub architecture: Architecture,
    /// Its features, by their names in `/proc/cpuinfo`; empty where it lists none.
    pub cpu_flags: Vec<String>,
    /// How many processors the machine has; 0 when not known.
    pub processors: usize,
    /// Vendor and model of the processor.
    pub processor: (String, String),
    /// The memory, in MiB; 0 when not known.
    pub memory_mib: u64,
    /// Seconds since 1970; 0 when not known.
    pub unix_time: u64,
    /// The PCI numbers of the card, vendor and device, and the name of its driver.
    pub card: Option<((u16, u16), String)>,
    /// Whether the machine was started by EFI firmware.
    pub is_efi: bool,
    /// Whether every file must be signed: then text of the lease, which nobody has signed, must not
    /// bring words of its own into a command line.
    pub must_be_signed: bool,
    /// Initrds for a boot file that is a kernel itself.
    pub initrds: Vec<Url>,
    /// Text appended to every command line; see [`Facts::fill_in`].
    pub append: Option<String>,
}

impl Facts {
    /// Returns facts of which only the boot file and the addresses are known.
    pub fn new(boot_file: Url, mac: MacAddress, address: Ipv4Addr, server: Ipv4Addr) -> Self {
        Self {
            boot_file_name: boot_file.to_string(),
            boot_file,
            interface: String::new(),
            made_by: Vec::new(),
            mac,
            address,
            prefix_len: 24,
            gateway: None,
            boot_server: server,
            dhcp_server: server,
            dns: Vec::new(),
            ipv6: None,
            domain: None,
            host_name: None,
            options: SortedMap::new(),
            smbios: SortedMap::new(),
            architecture: Architecture::HERE,
            cpu_flags: Vec::new(),
            processors: 0,
            processor: Default::default(),
            memory_mib: 0,
            unix_time: 0,
            card: None,
            is_efi: false,
            must_be_signed: false,
            initrds: Vec::new(),
            append: None,
        }
    }

    /// Returns an SMBIOS text by its name in `/sys/class/dmi/id`.
    pub fn smbios(&self, name: &str) -> Option<&str> {
        self.smbios.get(name).map(String::as_str)
    }

    /// Returns an option that is text, up to its first NUL; none for one that may not be used, by
    /// [`Facts::allows`].
    pub fn text_option(&self, code: u8) -> Option<String> {
        let octets = self.options.get(&code)?;
        let text = octets.split(|octet| *octet == 0).next()?;
        let text = names::trimmed(&String::from_utf8_lossy(text)).to_owned();
        (!text.is_empty() && self.allows(&text)).then_some(text)
    }

    /// Returns whether a text of the lease may become part of a command line: where files must be
    /// signed, one with white space or control characters may not, since it would be further words.
    pub fn allows(&self, text: &str) -> bool {
        let splits = |c: char| c.is_whitespace() || c.is_control();
        !self.must_be_signed || !text.contains(splits)
    }

    /// Replaces the placeholders in what the user appends: `{ip}` by the address in the form of the
    /// kernel's `ip=`, `{bootif}` by the hardware address in that of `BOOTIF=`, and `{address}`,
    /// `{netmask}`, `{gateway}`, `{server}`, `{mac}`, `{hostname}` and `{uuid}`. Other text in braces
    /// is left as it is.
    pub fn fill_in(&self, text: &str) -> String {
        let [address, server, gateway, netmask] = self.addresses();
        let host_name = self.host_name.clone().unwrap_or_default();
        let uuid = self.smbios("product_uuid").unwrap_or_default();
        let mac = self.mac.to_string();
        let bracketed = |text: &str| {
            if text.contains(':') {
                format!("[{text}]")
            } else {
                text.to_owned()
            }
        };
        // The kernel's order (nfsroot.rst): client:server:gateway:netmask:host
        // name:device:autoconf. The kernel knows IPv4 alone, and dracut IPv6 in brackets
        // (dracut.cmdline(7)).
        let ip = format!(
            "{}:{}:{}:{netmask}:{host_name}:{}:none",
            bracketed(&address),
            bracketed(&server),
            bracketed(&gateway),
            self.interface
        );
        let mut text = text.to_owned();
        if text.contains("{ip}") {
            let words = self.words_below(&text).map(|word| format!(" {word}"));
            text.extend(words.collect::<Vec<_>>());
        }
        [
            ("{ip}", ip),
            ("{bootif}", self.hardware_address()),
            ("{address}", address),
            ("{netmask}", netmask),
            ("{gateway}", gateway),
            ("{server}", server),
            ("{mac}", mac),
            ("{hostname}", host_name),
            ("{uuid}", uuid.to_ascii_lowercase()),
        ]
        .into_iter()
        .fold(text, |text, (name, value)| text.replace(name, &value))
    }

    /// Returns the words that go with an `ip=` which is handed on: those that make the interface, without
    /// those that `line` has by itself.
    pub fn words_below<'a>(&'a self, line: &'a str) -> impl Iterator<Item = &'a str> {
        let key = |word: &'a str| word.split('=').next();
        let has = move |word| line.split_whitespace().any(|there| key(there) == key(word));
        let words = self.made_by.iter().map(String::as_str);
        words.filter(move |word| !has(word))
    }

    /// Returns whether the interface has an address of IPv4.
    pub const fn has_ipv4(&self) -> bool {
        !self.address.is_unspecified()
    }

    /// Returns the address, server, router and netmask as texts; of IPv6 the last one is the bits of the
    /// prefix.
    fn addresses(&self) -> [String; 4] {
        if let Some(lease) = &self.ipv6 {
            let first = lease.addresses.first();
            let text = |address: Option<Ipv6Addr>| address.map(|address| address.to_string());
            return [
                text(first.map(|first| first.address)).unwrap_or_default(),
                self.boot_file.host().to_owned(),
                text(lease.gateway()).unwrap_or_default(),
                first.map_or_else(String::new, |first| first.prefix_len().to_string()),
            ];
        }
        [
            self.address.to_string(),
            self.boot_server.to_string(),
            (self.gateway).map_or(String::new(), |gateway| gateway.to_string()),
            self.netmask().to_string(),
        ]
    }

    /// Returns the address as text.
    pub fn address_text(&self) -> String {
        let [address, ..] = self.addresses();
        address
    }

    /// Returns the server of the boot files as text.
    pub fn server_text(&self) -> String {
        let [_, server, ..] = self.addresses();
        server
    }

    /// Returns the hardware address as `BOOTIF=` and names of files have it: the type, 01 for
    /// Ethernet, and six bytes.
    pub fn hardware_address(&self) -> String {
        format!("01-{}", self.mac).replace(':', "-")
    }

    /// Returns the mask of the address.
    pub fn netmask(&self) -> Ipv4Addr {
        netmask(self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_texts_become_what_the_lease_says() {
        let mac = "52:54:00:12:34:56".parse().unwrap();
        let (address, server) = ([192, 0, 2, 21].into(), [192, 0, 2, 1].into());
        let boot_file = "tftp://192.0.2.1/x".parse().unwrap();
        let mut facts = Facts::new(boot_file, mac, address, server);
        facts.interface = "eth0".to_owned();
        assert_eq!(
            facts.fill_in("ip={ip} BOOTIF={bootif} json={\"a\"} {none}"),
            "ip=192.0.2.21:192.0.2.1::255.255.255.0::eth0:none BOOTIF=01-52-54-00-12-34-56 \
             json={\"a\"} {none}"
        );
        facts
            .options
            .insert(209, b"pxelinux.cfg/a b\r\n\0x".to_vec());
        let text = facts.text_option(209);
        assert_eq!(text.as_deref(), Some("pxelinux.cfg/a b"));
        facts.made_by = ["vlan=bond0.7:bond0", "bond=bond0:eth0,eth1:mode=802.3ad"]
            .map(str::to_owned)
            .to_vec();
        facts.interface = "bond0.7".to_owned();
        assert_eq!(
            facts.fill_in("bond=bond0:a,b ip={ip}"),
            "bond=bond0:a,b ip=192.0.2.21:192.0.2.1::255.255.255.0::bond0.7:none \
             vlan=bond0.7:bond0"
        );
        assert_eq!(facts.fill_in("{address}"), "192.0.2.21");
    }
    #[test]
    fn placeholders_are_of_ipv6_where_there_is_no_ipv4() {
        use crate::ipv6::lease::{LeasedAddress, Origin, Route6};
        let none = Ipv4Addr::UNSPECIFIED;
        let boot_file = "http://[2001:db8::1]/x".parse().unwrap();
        let mut facts = Facts::new(boot_file, MacAddress::BROADCAST, none, none);
        facts.interface = "eth0".to_owned();
        facts.ipv6 = Some(Box::new(Lease6 {
            addresses: vec![LeasedAddress {
                address: "2001:db8::7".parse().unwrap(),
                preferred: 1,
                valid: 2,
                origin: Origin::Prefix,
            }],
            routes: vec![Route6 {
                destination: Ipv6Addr::UNSPECIFIED,
                prefix_len: 0,
                gateway: Some("fe80::1".parse().unwrap()),
                preference: Default::default(),
                lifetime: 9,
            }],
            ..Lease6::default()
        }));
        assert!(!facts.has_ipv4());
        assert_eq!(
            facts.fill_in("ip={ip} {address} {server} {gateway} {netmask}"),
            "ip=[2001:db8::7]:[2001:db8::1]:[fe80::1]:64::eth0:none 2001:db8::7 2001:db8::1 fe80::1 64"
        );
    }
}
