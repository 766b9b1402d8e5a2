//! The kernel command line → [`Config`], in every dialect in use: the kernel's own and klibc's
//! `ip=`, dracut's, that of NetworkManager's and systemd's generators, and `wireboot.KEY=VALUE`.
//!
//! A word that is about the network is followed, or refused with the reason; none is dropped in
//! silence, and the rest still counts: a machine that boots by itself has nobody to correct it.
//! Words that are not about the network belong to somebody else and pass unseen.

#![forbid(unsafe_code)]

mod ip;
mod words;

use std::str::FromStr;
use std::time::Duration;

use crate::config::{Config, Report, parse_seconds};
use crate::wire::ethernet::MacAddress;

pub use ip::{IpRequest, Method};
pub use words::words;

/// What a command line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// The configuration that follows from it.
    pub config: Config,
    /// What became of each word about the network, in order.
    pub remarks: Vec<Remark>,
    /// `ifname=`: names that stand for hardware addresses.
    aliases: Vec<(String, MacAddress)>,
    boot_device: Option<String>,
    requests: Vec<IpRequest>,
}

/// A word and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The word as it stood.
    pub word: String,
    /// What it means here.
    pub meaning: Meaning,
}

/// What a word means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It is followed.
    Followed(String),
    /// It asks for something that is not needed here, so nothing is lost without it.
    Needless(&'static str),
    /// It cannot be followed, for this reason.
    Refused(String),
}

/// Changes `config` as `text` says; returns what could not be followed, a sentence each.
pub fn apply(text: &str, config: &mut Config) -> Vec<String> {
    let line = parse(text, std::mem::take(config));
    let refusals = line.remarks.iter().filter_map(Remark::refusal).collect();
    *config = line.config;
    refusals
}

/// Reads a command line over the defaults in `config`. What stands behind `--` is for the first
/// process's own arguments and not read.
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
        if let Some(meaning) = line.take(key, value) {
            line.remarks.push(Remark { word, meaning });
        }
    }
    line.choose_interfaces();
    line
}

impl CommandLine {
    fn take(&mut self, key: &str, value: Option<&str>) -> Option<Meaning> {
        let key = key.replace('_', "-");
        if let Some(own) = key.strip_prefix("wireboot.") {
            return Some(self.own(own, value).unwrap_or_else(Meaning::Refused));
        }
        let value = value.unwrap_or_default();
        let meaning = match key.as_str() {
            "ip" => self.ip(value),
            "BOOTIF" => self.boot_if(value),
            "ifname" => self.alias(value),
            "bootdev" => {
                self.boot_device = Some(value.to_owned());
                Ok(format!("of several interfaces, {value} is the one"))
            }
            "rd.net.timeout.carrier" | "rd.net.timeout.iflink" => seconds(value).map(|time| {
                self.config.link_timeout = time;
                format!(
                    "waits {} s for an interface and its carrier",
                    time.as_secs()
                )
            }),
            "rd.net.timeout.dhcp" => seconds(value).map(|time| {
                self.config.lease_timeout = time;
                format!("waits {} s for a lease", time.as_secs())
            }),
            "rd.neednet" | "rd.peerdns" => {
                return Some(Meaning::Needless(
                    "the network and its resolver are always set up",
                ));
            }
            "rd.net.dhcp.retry" => {
                return Some(Meaning::Needless(
                    "requests are repeated until the time is over",
                ));
            }
            "rd.net.timeout.ifup"
            | "rd.net.timeout.route"
            | "rd.net.timeout.ipv6dad"
            | "rd.net.timeout.ipv6auto" => {
                return Some(Meaning::Needless("there is no such step to wait for"));
            }
            "vlan" | "rd.vlan" => Err("a tagged VLAN cannot be set up".to_owned()),
            "bond" | "team" | "bridge" => Err(format!("a {key} cannot be set up")),
            "rd.route" => Err("routes come from the server".to_owned()),
            "nameserver" => Err("resolvers come from the server".to_owned()),
            _ => return None,
        };
        Some(meaning.map_or_else(Meaning::Refused, Meaning::Followed))
    }

    fn ip(&mut self, value: &str) -> Result<String, String> {
        let request = ip::parse(value)?;
        let text = request.to_string();
        match request.method {
            Method::Dhcp => {
                let beside = request.beside_dhcp();
                if !beside.is_empty() {
                    self.remarks.push(Remark {
                        word: format!("ip={value}"),
                        meaning: Meaning::Refused(format!(
                            "what the server says counts, not {}",
                            beside.join(", ")
                        )),
                    });
                }
                self.requests.push(request);
            }
            Method::Static => {
                return Err(format!("{text}: an address without DHCP cannot be set up"));
            }
            Method::Off => return Err("it switches the network off".to_owned()),
        }
        Ok(text)
    }

    fn boot_if(&mut self, value: &str) -> Result<String, String> {
        // PXELINUX puts the hardware type in front: 01 is Ethernet.
        let address = match value.len() {
            20 => value.strip_prefix("01-").or(value.strip_prefix("01:")),
            _ => Some(value),
        };
        let mac: MacAddress = address
            .and_then(|address| address.parse().ok())
            .ok_or("it is not 01 and a hardware address such as 01-52-54-00-12-34-56")?;
        self.config.boot_interface = Some(mac);
        Ok(format!("boots over the interface with the address {mac}"))
    }

    fn alias(&mut self, value: &str) -> Result<String, String> {
        let (name, mac) = value
            .split_once(':')
            .and_then(|(name, mac)| Some((name, mac.parse::<MacAddress>().ok()?)))
            .ok_or("it is not a name, a colon and a hardware address")?;
        self.aliases.push((name.to_owned(), mac));
        Ok(format!("{name} means the interface with the address {mac}"))
    }

    fn own(&mut self, key: &str, value: Option<&str>) -> Result<Meaning, String> {
        let flag = value.is_none_or(|value| matches!(value, "1" | "yes" | "true" | "on"));
        let value = value.unwrap_or_default();
        let text = (!value.is_empty())
            .then(|| value.to_owned())
            .ok_or_else(|| format!("it needs a value: wireboot.{key}=VALUE"));
        let config = &mut self.config;
        match key {
            "interface" => {
                let names = text?;
                config
                    .interfaces
                    .extend(names.split(',').map(str::to_owned));
            }
            "bootif" => return self.boot_if(value).map(Meaning::Followed),
            "link-timeout" => config.link_timeout = seconds(&text?)?,
            "timeout" => config.lease_timeout = seconds(&text?)?,
            "proxy-wait" => config.proxy_wait = Some(seconds(&text?)?),
            "identify" => config.identify = one_of("pxe, ipxe, http and plain", &text?)?,
            "stop-after" => {
                config.stop_after = Some(one_of("link, lease, plan, image and load", &text?)?)
            }
            "append" => config.append = Some(text?),
            "boot-file" => config.boot_file = Some(text?),
            "initrd" => config.initrds.push(text?),
            "on-failure" => {
                config.on_failure = one_of("retry, shell, reboot and poweroff", &text?)?;
            }
            "unattended" => config.unattended = flag,
            "explain" if flag => config.report = Report::Explain,
            "explain" => config.report = Report::default(),
            "quiet" => config.quiet = flag,
            _ => return Err("there is no such setting".to_owned()),
        }
        let said = if value.is_empty() { "on" } else { value };
        Ok(Meaning::Followed(format!("{key} is {said}")))
    }

    /// Brings `ip=`, `bootdev=` and `ifname=` together once all of them are known.
    fn choose_interfaces(&mut self) {
        let mut names: Vec<_> = self
            .requests
            .iter()
            .filter_map(|request| request.interface.clone())
            .collect();
        if let Some(device) = self.boot_device.take() {
            names = vec![device];
        }
        for name in names {
            let alias = self.aliases.iter().find(|(alias, _)| *alias == name);
            match alias
                .map(|(_, mac)| *mac)
                .or_else(|| named_by_address(&name))
            {
                Some(mac) => self.config.boot_interface = Some(mac),
                None if self.config.interfaces.contains(&name) => {}
                None => self.config.interfaces.push(name),
            }
        }
    }
}

impl Remark {
    /// Says why the word is not followed, when it is not.
    pub fn refusal(&self) -> Option<String> {
        match &self.meaning {
            Meaning::Refused(why) => Some(format!(
                "\"{}\" on the kernel command line is not followed: {why}",
                self.word
            )),
            Meaning::Followed(_) | Meaning::Needless(_) => None,
        }
    }
}

/// Reads the name that udev gives by address, which nobody gives in an initramfs without udev:
/// `enx525400123456`.
fn named_by_address(name: &str) -> Option<MacAddress> {
    let digits = name
        .strip_prefix("enx")
        .filter(|digits| digits.len() == 12)?;
    let mut octets = [0; 6];
    for (octet, pair) in octets.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(MacAddress(octets))
}

fn seconds(text: &str) -> Result<Duration, String> {
    parse_seconds(text).ok_or_else(|| format!("\"{text}\" is not a number of seconds"))
}

fn one_of<T: FromStr>(known: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("\"{text}\" is none of {known}"))
}

#[cfg(test)]
mod tests;
