//! Parses the kernel command line into [`Config`]: `ip=` in the forms of the kernel, klibc, dracut,
//! NetworkManager and systemd, dracut's other words, and `wireboot.KEY=VALUE`.
//!
//! A word about the network is applied, or reported with the reason, and then the others are still
//! applied: nobody is there to correct the command line of a machine that boots by itself. Words that
//! are not about the network are for other programs and ignored.

#![forbid(unsafe_code)]

mod ip;

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use super::config::Family;
use super::config::{self, Config};
use super::parse;
#[cfg(feature = "root")]
use super::root;
use crate::error::{Error, Reason};
use wireboot_proto::ipv6::address::network as network_of;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::option::known::parse_hex;
use wireboot_proto::time::parse_seconds;

pub use ip::{IpRequest, Method, misspelled_method};

/// The meaning of a command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// The configuration that follows from it.
    pub config: Config,
    /// The words about the network with their meanings, in order.
    pub remarks: Vec<Remark>,
    /// `ifname=`: names that stand for hardware addresses.
    aliases: Vec<(String, MacAddress)>,
    boot_device: Option<String>,
    /// `rd.bootif=0`
    ignores_boot_if: bool,
    /// Settings of `wireboot.` that have been set.
    own: Vec<&'static str>,
    /// IPv6 is asked for by none of the others.
    is_without_ipv6: bool,
    /// The words `ip=`, each with its value.
    requests: Vec<(String, IpRequest)>,
    /// Words about a root that are not followed, if there is one.
    choices: Vec<Remark>,
    /// Words by which other live systems name their roots, if there is none, with what wireboot takes in
    /// their place: for a boot that nobody but wireboot does.
    pub roots_of_others: Vec<Remark>,
}

/// A word about the network and its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The word as written.
    pub word: String,
    /// Its meaning to wireboot.
    pub meaning: Meaning,
}

/// The meaning of a word to wireboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It is applied.
    Followed(String),
    /// It has no effect here and needs none.
    Needless(&'static str),
    /// It is not supported, for this reason.
    Refused(String),
}

/// The file in which the kernel shows its command line.
pub const KERNEL_COMMAND_LINE: &str = "/proc/cmdline";

/// Reads a kernel command line from a file. Bytes that are not UTF-8 become U+FFFD: only
/// the words that contain them are lost, such as a label for another program.
///
/// # Errors
/// [`Reason::Usage`] when the file cannot be read.
pub fn read(path: &str) -> Result<String, Error> {
    let bytes = fs::read(path)
        .map_err(|error| Box::new(Reason::Usage(format!("cannot read {path}: {error}"))))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Changes `config` as `text` says; returns a sentence for each word that was refused.
pub fn apply(text: &str, config: &mut Config) -> Vec<String> {
    let line = parse(text, std::mem::take(config));
    let refusals = line.remarks.iter().filter_map(Remark::refusal).collect();
    *config = line.config;
    refusals
}

/// Parses a command line over the defaults in `config`. What follows `--` are arguments of the first
/// process, and ignored.
pub fn parse(text: &str, config: Config) -> CommandLine {
    let mut line = CommandLine {
        config,
        ..CommandLine::default()
    };
    for word in words(text) {
        if word == "--" {
            break;
        }
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word.as_str(), None),
        };
        let meaning = if word.contains(char::REPLACEMENT_CHARACTER) {
            // Its key is one about the network; the value is unreadable.
            let is_known = CommandLine::default().take(key, value).is_some();
            is_known.then(|| Meaning::Refused("it is not valid UTF-8".to_owned()))
        } else {
            line.take(key, value)
        };
        if let Some(meaning) = meaning {
            line.remarks.push(Remark { word, meaning });
            continue;
        }
        #[cfg(feature = "root")]
        {
            let (list, why) = if let Some(why) = root::no_choice(key) {
                (&mut line.choices, why.to_owned())
            } else if let Some(instead) = root::of_others(&word) {
                let why = "it is for the initramfs of another system; wireboot takes ";
                (&mut line.roots_of_others, [why, instead].concat())
            } else {
                continue;
            };
            let meaning = Meaning::Refused(why);
            list.push(Remark { word, meaning });
        }
    }
    line.choose_interfaces();
    #[cfg(feature = "root")]
    if line.config.root.source.is_some() {
        line.remarks.append(&mut line.choices);
        line.roots_of_others.clear();
    }
    line
}

impl CommandLine {
    fn take(&mut self, key: &str, value: Option<&str>) -> Option<Meaning> {
        // As the kernel in its own parameters (parameq in kernel/params.c).
        let key = key.replace('_', "-");
        if let Some(own) = key.strip_prefix("wireboot.") {
            return Some(
                self.own(own, value)
                    .map_or_else(Meaning::Refused, Meaning::Followed),
            );
        }
        let value = value.unwrap_or_default();
        let meaning = match key.as_str() {
            "ip" => self.ip(value),
            "ip6" => self.ip6(value),
            "BOOTIF" => self.boot_if(value),
            "rd.bootif" => {
                self.ignores_boot_if = is_off(value);
                Ok(format!("BOOTIF is {}used", not(is_off(value))))
            }
            "rd.net.dhcp.vendor-class" => {
                Err("the client type is set by wireboot.identify".to_owned())
            }
            "ifname" => self.alias(value),
            // dracut requires it if there are several ip= (dracut.cmdline(7)).
            "bootdev" => {
                self.boot_device = Some(value.to_owned());
                Ok(format!("boots over {value}"))
            }
            "rd.net.timeout.carrier" | "rd.net.timeout.iflink" => seconds(value).map(|time| {
                self.config.link.timeout = time;
                format!(
                    "waits {} s for an interface and its carrier",
                    time.as_secs()
                )
            }),
            "rd.net.timeout.dhcp" => seconds(value).map(|time| {
                self.config.dhcp.timeout = time;
                format!("waits {} s for a lease", time.as_secs())
            }),
            "rd.neednet" => {
                return Some(Meaning::Needless("the network is always configured"));
            }
            "rd.peerdns" => {
                self.config.dhcp.given.ignores_server_dns = is_off(value);
                let not = not(is_off(value));
                Ok(format!("the server's resolvers are {not}used"))
            }
            "rd.net.dhcp.retry" => {
                return Some(Meaning::Needless("requests are repeated until the timeout"));
            }
            "rd.net.timeout.ifup"
            | "rd.net.timeout.route"
            | "rd.net.timeout.ipv6dad"
            | "rd.net.timeout.ipv6auto" => {
                return Some(Meaning::Needless("there is nothing to wait for"));
            }
            "vlan" | "rd.vlan" => self.config.link.set_vlan(value),
            "bond" | "rd.bond" => self.config.link.set_bond(value),
            "team" | "bridge" | "rd.team" | "rd.bridge" => Err(format!(
                "a {} cannot be set up; boot over one of its ports",
                key.trim_start_matches("rd.")
            )),
            "rd.route" => self.route(value),
            "nameserver" => self.name_server(value),
            #[cfg(feature = "root")]
            key => return self.root(key, value),
            #[cfg(not(feature = "root"))]
            _ => return None,
        };
        Some(meaning.map_or_else(Meaning::Refused, Meaning::Followed))
    }

    #[cfg(feature = "root")]
    fn root(&mut self, key: &str, value: &str) -> Option<Meaning> {
        let meaning = root::word(&mut self.config, key, value)?;
        Some(
            meaning.map_or_else(Meaning::Refused, |meaning| match meaning {
                Some(meaning) => Meaning::Followed(meaning),
                None => Meaning::Needless("that is how it is always done"),
            }),
        )
    }

    fn ip(&mut self, value: &str) -> Result<String, String> {
        let request = ip::parse(value)?;
        let text = request.to_string();
        if request.method == Method::Off {
            return Err("it disables the network".to_owned());
        }
        let unused = request.unused();
        if !unused.is_empty() {
            self.remarks.push(Remark {
                word: format!("ip={value}"),
                meaning: Meaning::Refused(format!("it sets {}", unused.join(", "))),
            });
        }
        self.requests.push((format!("ip={value}"), request));
        Ok(text)
    }

    /// The word of initramfs-tools beside `ip=`: whether IPv6 is asked for, or on which interface.
    fn ip6(&mut self, value: &str) -> Result<String, String> {
        match value {
            "off" | "none" => {
                self.is_without_ipv6 = true;
                Ok("no IPv6".to_owned())
            }
            "" | "on" | "any" | "dhcp" | "dhcp6" | "auto" | "auto6" => self.ip("dhcp6"),
            name => self.ip(&format!("{name}:dhcp6")),
        }
    }

    /// `NETWORK/BITS:GATEWAY[:INTERFACE]`
    fn route(&mut self, value: &str) -> Result<String, String> {
        let mut fields = ip::fields(value).into_iter();
        let network = fields.next().unwrap_or_default();
        let (network, bits) = network.split_once('/').unwrap_or((network, ""));
        let destination = ip::any_address(network);
        let whole = if network.starts_with('[') { 128 } else { 32 };
        let prefix_len = match bits {
            "" => Some(whole),
            bits => bits.parse().ok().filter(|len| *len <= whole),
        };
        let gateway = match fields.next().unwrap_or_default() {
            "" => None,
            text => {
                let gateway = ip::any_address(text);
                Some(gateway.map_err(|_| format!("\"{text}\" is no router"))?)
            }
        };
        let given = &mut self.config.dhcp.given;
        let (destination, prefix_len) = match (destination, prefix_len, gateway) {
            (Ok(IpAddr::V4(to)), Some(len), None) => {
                given.routes.push((to, len, None));
                (IpAddr::V4(to), len)
            }
            (Ok(IpAddr::V4(to)), Some(len), Some(IpAddr::V4(gateway))) => {
                given.routes.push((to, len, Some(gateway)));
                (IpAddr::V4(to), len)
            }
            (Ok(IpAddr::V6(to)), Some(len), None) => {
                given.ipv6.routes.push((network_of(to, len), len, None));
                (IpAddr::V6(to), len)
            }
            (Ok(IpAddr::V6(to)), Some(len), Some(IpAddr::V6(gateway))) => {
                given
                    .ipv6
                    .routes
                    .push((network_of(to, len), len, Some(gateway)));
                (IpAddr::V6(to), len)
            }
            _ => {
                return Err(
                    "it is not a network such as 192.0.2.0/24, a colon and a router".to_owned(),
                );
            }
        };
        Ok(match gateway {
            Some(gateway) => format!("a route to {destination}/{prefix_len} via {gateway}"),
            None => format!("a route to {destination}/{prefix_len} on the link"),
        })
    }

    fn name_server(&mut self, value: &str) -> Result<String, String> {
        // dracut takes one of IPv6 without brackets, too.
        let bare = value.parse::<IpAddr>().ok();
        let address = match bare {
            Some(address) => address,
            None => ip::any_address(value)?,
        };
        ip::give_resolver(&mut self.config.dhcp.given, address);
        Ok(format!("the resolver {address}, before those of the lease"))
    }

    fn boot_if(&mut self, value: &str) -> Result<String, String> {
        let mac = config::boot_interface(value)?;
        self.config.link.boot_interface = Some(mac);
        Ok(format!(
            "boots over the interface with the MAC address {mac}"
        ))
    }

    fn alias(&mut self, value: &str) -> Result<String, String> {
        let (name, mac) = value
            .split_once(':')
            .and_then(|(name, mac)| Some((name, mac.parse::<MacAddress>().ok()?)))
            .ok_or("it is not a name, a colon and a hardware address")?;
        self.aliases.push((name.to_owned(), mac));
        Ok(format!(
            "{name} means the interface with the MAC address {mac}"
        ))
    }

    fn own(&mut self, key: &str, value: Option<&str>) -> Result<String, String> {
        let own = &mut self.own;
        let is_first = |name| {
            let is_first = !own.contains(&name);
            own.push(name);
            is_first
        };
        let name = parse::word(&mut self.config, key, value, is_first)?;
        let state = value.filter(|value| !value.is_empty()).unwrap_or("on");
        Ok(format!("{name} is {state}"))
    }

    /// Combines `ip=`, `bootdev=`, `ifname=`, `vlan=` and `bond=`, in any order on the line.
    fn choose_interfaces(&mut self) {
        if self.ignores_boot_if {
            self.config.link.boot_interface = None;
        }
        let mut requests = std::mem::take(&mut self.requests);
        if let Some(device) = &self.boot_device {
            requests.retain(|(_, request)| {
                let interface = request.interface.as_ref();
                interface.is_none_or(|interface| interface == device)
            });
        }
        // A static address wins over DHCP.
        if let Some(first) = requests.iter().position(|(_, request)| request.is_static()) {
            let chosen = requests.swap_remove(first);
            for (word, _) in std::mem::replace(&mut requests, vec![chosen]) {
                let why = "the boot goes over the first interface with an address of its own";
                let meaning = Meaning::Refused(why.to_owned());
                self.remarks.push(Remark { word, meaning });
            }
        }
        for (_, request) in &requests {
            request.give(&mut self.config.dhcp.given);
        }
        if !self.own.contains(&"family") {
            let families = requests.iter().map(|(_, request)| request.families());
            let both = families.reduce(|all, other| (all.0 | other.0, all.1 | other.1));
            self.config.dhcp.family = match both {
                Some((true, true)) if !self.is_without_ipv6 => Some(Family::Either),
                Some((false, true)) => Some(Family::V6),
                Some(_) => Some(Family::V4),
                None if self.is_without_ipv6 => Some(Family::V4),
                None => self.config.dhcp.family,
            };
        }
        let mut names: Vec<_> = requests
            .into_iter()
            .filter_map(|(_, request)| request.interface.clone())
            .collect();
        if let Some(device) = self.boot_device.take() {
            names = vec![device];
        }
        if names.is_empty() {
            names.extend(self.config.link.made_last().map(str::to_owned));
        }
        let aliases = &self.aliases;
        let address_of = |name: &str| {
            let alias = aliases.iter().find(|(alias, _)| alias == name);
            alias
                .map(|(_, mac)| *mac)
                .or_else(|| named_by_address(name))
        };
        #[cfg(feature = "bond")]
        if let Some(bond) = &mut self.config.link.bond {
            bond.rename(&|name| {
                let address = address_of(name).map(|mac| mac.to_string());
                Some(address.unwrap_or_else(|| name.to_owned()))
            });
        }
        for name in names {
            match address_of(&name) {
                Some(mac) => self.config.link.boot_interface = Some(mac),
                None if self.config.link.interfaces.contains(&name) => {}
                None => self.config.link.interfaces.push(name),
            }
        }
    }
}

impl Remark {
    /// Returns a message if the word is not supported.
    pub fn refusal(&self) -> Option<String> {
        match &self.meaning {
            Meaning::Refused(why) => Some(format!(
                "\"{}\" on the kernel command line is ignored: {why}",
                self.word
            )),
            Meaning::Followed(_) | Meaning::Needless(_) => None,
        }
    }
}

/// Parses the name that udev derives from the address, which an initramfs without udev lacks:
/// `enx525400123456`.
fn named_by_address(name: &str) -> Option<MacAddress> {
    let digits = name.strip_prefix("enx")?;
    let bytes = parse_hex(digits).filter(|_| digits.len() == 12)?;
    bytes.try_into().ok().map(MacAddress)
}

/// Returns whether a value means off, as in dracut.
fn is_off(value: &str) -> bool {
    matches!(value, "0" | "no" | "off")
}

const fn not(is_off: bool) -> &'static str {
    if is_off { "not " } else { "" }
}

fn seconds(text: &str) -> Result<Duration, String> {
    parse_seconds(text).ok_or_else(|| format!("\"{text}\" is not a number of seconds"))
}

/// Splits a command line into words, as the kernel does (`lib/cmdline.c`, `next_arg`).
///
/// A double quote switches quoting on and off anywhere; blanks within quotes do not end the
/// word. Quotes around a whole word, or around a whole value after `=`, are removed; others stay. There are
/// no escapes.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in text.chars() {
        quoted ^= character == '"';
        if character.is_ascii_whitespace() && !quoted {
            words.extend(unquote(&std::mem::take(&mut word)));
        } else {
            word.push(character);
        }
    }
    words.extend(unquote(&word));
    words
}

fn unquote(word: &str) -> Option<String> {
    if word.is_empty() {
        return None;
    }
    let bare = |text: &str| {
        let text = text.strip_prefix('"')?;
        Some(text.strip_suffix('"').unwrap_or(text).to_owned())
    };
    if let Some(whole) = bare(word) {
        return Some(whole);
    }
    Some(match word.split_once('=') {
        Some((key, value)) => match bare(value) {
            Some(value) => format!("{key}={value}"),
            None => word.to_owned(),
        },
        None => word.to_owned(),
    })
}

#[cfg(test)]
mod tests;
