//! Settings: those that a script sets, and those it can read about machine and lease.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::super::context::Budget;
use super::super::facts::{Architecture, Facts};
use super::format::{Type, integer_of, parse_integer};
use super::script::expand;
use crate::sorted::SortedMap;

/// Limit of settings of a script; each may have 64 KiB.
// All of them together take 128 MiB at most.
const MAX_SETTINGS: usize = 2_000;

/// The longest value that is read as a number, in bytes.
// In other types than it has it would be shown first, at every command of a loop.
const MAX_NUMBER_LEN: usize = 64;

/// Origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The script, the machine or this program.
    Script,
    /// The script, of values of the lease; as a text they have been checked.
    Derived,
    /// The lease.
    Lease,
}

/// A value with the type it is shown in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SettingValue {
    octets: Vec<u8>,
    kind: Type,
    origin: Origin,
}

impl SettingValue {
    fn new(kind: Type, octets: impl Into<Vec<u8>>) -> Self {
        Self {
            octets: octets.into(),
            kind,
            origin: Origin::Script,
        }
    }

    fn text(text: impl Into<String>) -> Self {
        Self::new(Type::String, text.into())
    }

    fn address(address: Ipv4Addr) -> Self {
        Self::new(Type::Ipv4, address.octets())
    }

    fn address6(address: core::net::Ipv6Addr) -> Self {
        Self::new(Type::Ipv6, address.octets())
    }
}

/// A setting's name in its parts: `net0.dhcp/209:string`.
struct SettingName<'a> {
    scope: &'a str,
    name: &'a str,
    kind: Option<&'a str>,
}

impl<'a> SettingName<'a> {
    fn parse(text: &'a str) -> Self {
        let (path, kind) = match text.rsplit_once(':') {
            Some((path, kind)) => (path, Some(kind)),
            None => (text, None),
        };
        let (scope, name) = path.rsplit_once('/').unwrap_or(("", path));
        Self { scope, name, kind }
    }

    /// Returns the type in the name; `Err` when there is no such type.
    fn wanted(&self) -> Result<Option<Type>, String> {
        match self.kind {
            None => Ok(None),
            Some(kind) => match Type::named(kind) {
                Some(kind) => Ok(Some(kind)),
                None => Err(format!("no such type of settings: \"{kind}\"")),
            },
        }
    }

    /// Returns the key of the script's own value: the interface with the lease has several names.
    fn key(&self) -> String {
        let scope = match self.scope {
            scope if is_our_interface(scope) => "net0",
            scope => scope,
        };
        format!("{scope}/{}", self.name)
    }
}

/// Settings of scripts, over those of machine and lease.
#[derive(Debug, Default)]
pub(super) struct ScriptSettings {
    own: SortedMap<String, SettingValue>,
    /// The address of the script that runs, `${cwuri}`.
    pub(super) current: String,
    /// Why the last command failed, `${errno}`.
    pub(super) last_error: String,
    /// Whether some words of the command are from the lease.
    pub(super) uses_lease: bool,
}

const UNSIGNED_WORDS: &str = "a value of the lease has white space or control characters, and only what is signed may add words";

impl ScriptSettings {
    /// Returns the text of the setting `name`, in the type that the name asks for.
    pub(super) fn text(&self, name: &str, facts: &Facts) -> Option<String> {
        let read = self.read(name, facts).ok()?;
        read.map(|(text, _)| text)
    }

    /// Replaces the settings in `word` by their texts.
    ///
    /// # Errors
    /// A word that grows without end.
    pub(super) fn expand(
        &mut self,
        word: &str,
        facts: &Facts,
        budget: &mut Budget,
    ) -> Result<String, &'static str> {
        let mut uses_lease = false;
        let expanded = expand(word, |name| {
            let value = self.read(name, facts)?;
            uses_lease |= value.as_ref().is_some_and(|(_, is_of_lease)| *is_of_lease);
            let value = value.map(|(text, _)| text);
            // 64 for the time of the look-up, or empty settings would cost nothing.
            let len = 64 + name.len() + value.as_ref().map_or(0, String::len);
            budget
                .produce(len)
                .then_some(value)
                .ok_or("expands to too much text")
        });
        self.uses_lease |= uses_lease;
        expanded
    }

    /// Returns the text of the setting `name`, and whether it is from the lease.
    ///
    /// # Errors
    /// A text of the lease that may not be used.
    fn read(&self, name: &str, facts: &Facts) -> Result<Option<(String, bool)>, &'static str> {
        let name = SettingName::parse(name);
        let Some(value) = self.value(&name, facts) else {
            return Ok(None);
        };
        let Ok(wanted) = name.wanted() else {
            return Ok(None);
        };
        let text = wanted.unwrap_or(value.kind).format(&value.octets);
        // The script has put a derived text together of parts that were checked when they were read;
        // what it has decoded was not.
        let is_checked = match value.origin {
            Origin::Script => true,
            Origin::Derived => value.kind == Type::String,
            Origin::Lease => false,
        };
        if !is_checked && !facts.allows(&text) {
            return Err(UNSIGNED_WORDS);
        }
        Ok(Some((text, value.origin != Origin::Script)))
    }

    /// Sets `name` to what `text` means in the type of the name, text when it has none.
    ///
    /// # Errors
    /// An unknown type, a text that is not of the type, or too many settings.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let name = SettingName::parse(name);
        let kind = name.wanted()?.or(match name.name {
            "ip" | "netmask" | "gateway" | "dns" | "next-server" => Some(Type::Ipv4),
            "mac" => Some(Type::Hex(":")),
            "uuid" => Some(Type::Uuid),
            _ => None,
        });
        let kind = kind.unwrap_or(Type::String);
        // As storef_setting() of iPXE: an empty text deletes.
        if text.is_empty() {
            self.own.remove(&name.key());
            return Ok(());
        }
        let octets = kind
            .parse(text)
            .ok_or_else(|| format!("\"{text}\" is not of the type of \"{}\"", name.name))?;
        self.store(&name, SettingValue::new(kind, octets))
    }

    /// Sets `name` to these bytes.
    ///
    /// # Errors
    /// An unknown type, or too many settings.
    pub(super) fn set_octets(&mut self, name: &str, octets: Vec<u8>) -> Result<(), String> {
        let name = SettingName::parse(name);
        let kind = name.wanted()?.unwrap_or(Type::String);
        self.store(&name, SettingValue::new(kind, octets))
    }

    /// Adds to the options of the lease those that the script has set by their numbers.
    pub(super) fn copy_options_to(&self, options: &mut SortedMap<u8, Vec<u8>>) {
        for (key, value) in &self.own {
            let name = key.strip_prefix("net0/").or(key.strip_prefix('/'));
            if let Some(code) = name.and_then(|name| name.parse().ok()) {
                options.insert(code, value.octets.clone());
            }
        }
    }

    /// Removes what the script has set; the value of machine or lease is visible again.
    pub(super) fn clear(&mut self, name: &str) {
        self.own.remove(&SettingName::parse(name).key());
    }

    /// Adds `increment` to the setting; a missing one counts as 0.
    ///
    /// # Errors
    /// A value that is not a number, or an unknown type.
    pub(super) fn increase(
        &mut self,
        name: &str,
        increment: i64,
        facts: &Facts,
    ) -> Result<(), String> {
        let name = SettingName::parse(name);
        let wanted = name.wanted()?;
        let old = self.value(&name, facts);
        let kind = wanted.or(old.as_ref().map(|old| old.kind));
        let kind = kind.unwrap_or(Type::INT32);
        let number = match (kind, &old) {
            (_, None) => 0,
            (Type::Integer { len, is_signed }, Some(old)) => {
                integer_of(&old.octets, len, is_signed)
            }
            (_, Some(old)) => (old.octets.len() <= MAX_NUMBER_LEN)
                .then(|| parse_integer(&kind.format(&old.octets)))
                .flatten()
                .ok_or_else(|| format!("\"{}\" is not a number", name.name))?,
        };
        let octets = kind.parse(&number.wrapping_add(increment).to_string());
        let octets = octets.ok_or_else(|| format!("\"{}\" is not a number", name.name))?;
        self.store(&name, SettingValue::new(kind, octets))
    }

    fn store(&mut self, name: &SettingName<'_>, value: SettingValue) -> Result<(), String> {
        if self.own.len() >= MAX_SETTINGS {
            return Err(format!("more than {MAX_SETTINGS} settings"));
        }
        let origin = if self.uses_lease {
            Origin::Derived
        } else {
            Origin::Script
        };
        self.own
            .insert(name.key(), SettingValue { origin, ..value });
        Ok(())
    }

    fn value(&self, name: &SettingName<'_>, facts: &Facts) -> Option<SettingValue> {
        let in_scope = self.own.get(&name.key());
        // Without a scope, all of them are looked through.
        let anywhere = || {
            let net = self.own.get(&format!("net0/{}", name.name));
            net.filter(|_| name.scope.is_empty())
        };
        let lease = |name: &str| {
            let value = self.interface(name, facts)?;
            let origin = Origin::Lease;
            Some(SettingValue { origin, ..value })
        };
        match in_scope.or_else(anywhere) {
            Some(value) => Some(value.clone()),
            None => match name.scope {
                "" => lease(name.name)
                    .or_else(|| smbios(name.name, facts))
                    .or_else(|| self.builtin(name.name, facts)),
                scope if is_our_interface(scope) => lease(name.name),
                "smbios" => smbios(name.name, facts),
                "builtin" => self.builtin(name.name, facts),
                _ => None,
            },
        }
    }

    /// What belongs to the interface and its lease.
    fn interface(&self, name: &str, facts: &Facts) -> Option<SettingValue> {
        let text = |text: &str| Some(SettingValue::text(text)).filter(|_| !text.is_empty());
        match name {
            "mac" => Some(SettingValue::new(Type::Hex(":"), facts.mac.0)),
            "ifname" => text("net0"),
            "linktype" => text("Ethernet"),
            "chip" => facts.card.as_ref().and_then(|(_, driver)| text(driver)),
            "bustype" => facts.card.as_ref().and_then(|_| text("PCI")),
            "busid" => facts.card.as_ref().map(|((vendor, device), _)| {
                // struct dhcp_netdev_desc of iPXE; bus type 1 is PCI.
                let octets = [&[1][..], &vendor.to_be_bytes(), &device.to_be_bytes()];
                SettingValue::new(Type::Hex(""), octets.concat())
            }),
            "ip" | "netmask" | "next-server" | "dhcp-server" if !facts.has_ipv4() => None,
            "ip" => Some(SettingValue::address(facts.address)),
            "netmask" => Some(SettingValue::address(facts.netmask())),
            // net/ndp.c and net/udp/dhcpv6.c.
            "ip6" => Some(SettingValue::address6(
                facts.ipv6.as_ref()?.addresses.first()?.address,
            )),
            "len6" => {
                let len = facts.ipv6.as_ref()?.addresses.first()?.prefix_len();
                Some(SettingValue::new(Type::integer(1, false), [len]))
            }
            "gateway6" => Some(SettingValue::address6(facts.ipv6.as_ref()?.gateway()?)),
            "dns6" => Some(SettingValue::address6(*facts.ipv6.as_ref()?.dns.first()?)),
            "gateway" => facts.gateway.map(SettingValue::address),
            "dns" => facts.dns.first().copied().map(SettingValue::address),
            "domain" => facts.domain.as_deref().and_then(text),
            "hostname" => facts.host_name.as_deref().and_then(text),
            "next-server" => Some(SettingValue::address(facts.boot_server)),
            "dhcp-server" => Some(SettingValue::address(facts.dhcp_server)),
            "filename" => text(&facts.boot_file_name),
            "mtu" => option(facts, 26, Type::UINT16),
            "root-path" => option(facts, 17, Type::String),
            "ntp" => option(facts, 42, Type::Ipv4),
            "syslog" => option(facts, 7, Type::Ipv4),
            "vendor-class" => option(facts, 60, Type::String),
            "user-class" => option(facts, 77, Type::String),
            // DHCP_ISCSI_INITIATOR_IQN of iPXE's include/ipxe/dhcp.h.
            "initiator-iqn" => option(facts, 203, Type::String),
            _ => match name.split_once('.') {
                None => option(facts, name.parse().ok()?, Type::Hex(":")),
                Some((code, inner)) => {
                    let encapsulated = facts.options.get(&code.parse().ok()?)?;
                    let octets = encapsulated_option(encapsulated, inner.parse().ok()?)?;
                    Some(SettingValue::new(Type::Hex(":"), octets))
                }
            },
        }
    }

    fn builtin(&self, name: &str, facts: &Facts) -> Option<SettingValue> {
        match name {
            "cwuri" => Some(SettingValue::text(&self.current)),
            "cwduri" => {
                let directory = self.current.rfind('/').map_or(0, |at| at + 1);
                Some(SettingValue::text(self.current.get(..directory)?))
            }
            // iPXE has a number here; scripts only show it, so a text is more useful.
            "errno" => {
                Some(SettingValue::text(&self.last_error)).filter(|_| !self.last_error.is_empty())
            }
            "unixtime" => number(facts.unix_time),
            "memsize" => number(facts.memory_mib),
            "cpuvendor" => Some(SettingValue::text(&facts.processor.0)),
            "cpumodel" => Some(SettingValue::text(&facts.processor.1)),
            "platform" => Some(SettingValue::text(if facts.is_efi {
                "efi"
            } else {
                "pcbios"
            })),
            "buildarch" => Some(SettingValue::text(match facts.architecture {
                Architecture::X86 => "i386",
                Architecture::X86_64 => "x86_64",
                Architecture::Arm => "arm32",
                Architecture::Arm64 => "arm64",
                Architecture::RiscV64 => "riscv64",
                Architecture::Other => "unknown",
            })),
            "version" => Some(SettingValue::text(concat!(
                "wireboot-",
                env!("CARGO_PKG_VERSION")
            ))),
            _ => None,
        }
    }
}

/// Returns whether a scope or interface name means the interface that holds the lease.
// netX is the interface that was opened last; here one alone is open.
pub(super) fn is_our_interface(scope: &str) -> bool {
    matches!(
        scope,
        "net0" | "netX" | "net0.dhcp" | "netX.dhcp" | "dhcp" | "proxydhcp" | "pxebs"
    )
}

/// Returns a number that is known.
fn number(number: u64) -> Option<SettingValue> {
    // 0 stands for a fact that the machine did not tell.
    let number = u32::try_from(number).ok().filter(|number| *number > 0)?;
    Some(SettingValue::new(Type::UINT32, number.to_be_bytes()))
}

fn option(facts: &Facts, code: u8, kind: Type) -> Option<SettingValue> {
    let octets = facts.options.get(&code)?;
    Some(SettingValue::new(kind, octets.as_slice()))
}

/// Finds an option within an encapsulated one (RFC 2132 §8.4).
fn encapsulated_option(mut octets: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match octets {
            [0, rest @ ..] => octets = rest,
            [255, ..] | [] | [_] => return None,
            [code, len, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*len))?;
                if *code == wanted {
                    return Some(value);
                }
                octets = rest;
            }
        }
    }
}

fn smbios(name: &str, facts: &Facts) -> Option<SettingValue> {
    let file = match name {
        "uuid" => {
            let octets = Type::Uuid.parse(facts.smbios("product_uuid")?)?;
            return Some(SettingValue::new(Type::Uuid, octets));
        }
        "manufacturer" => "sys_vendor",
        "product" => "product_name",
        "version" => return None,
        "serial" => "product_serial",
        "sku" => "product_sku",
        "asset" => "chassis_asset_tag",
        "board-serial" => "board_serial",
        _ => return None,
    };
    facts.smbios(file).map(SettingValue::text)
}
