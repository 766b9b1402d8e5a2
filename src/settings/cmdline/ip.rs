//! The value of `ip=`.
//!
//! | form | from |
//! | --- | --- |
//! | `METHOD` | kernel, klibc, dracut |
//! | `INTERFACE` | klibc |
//! | `INTERFACE:METHOD[:MTU[:MAC]]` | dracut, NetworkManager, systemd |
//! | `CLIENT:SERVER:GATEWAY:NETMASK:HOST:INTERFACE:METHOD[:DNS[:DNS[:NTP]]]` | kernel, klibc |
//! | `CLIENT:PEER:GATEWAY:NETMASK:HOST:INTERFACE:METHOD[:MTU[:MAC]]` | dracut, NetworkManager, systemd |
//!
//! Every field may be empty or missing at the end. The netmask is one, or a number of bits. An address of
//! IPv6 stands in brackets, and may have its prefix length behind it. A METHOD may be a list, with commas, of
//! which each family is asked for.

use std::fmt;
use std::net::Ipv6Addr;
use std::net::{IpAddr, Ipv4Addr};

use crate::config::{StaticConfig, interface_name};
use crate::settings::parse::distance;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::text::names::is_host_name;

/// Source of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// By DHCP.
    #[default]
    Dhcp,
    /// IPv6, by routers and DHCPv6.
    Dhcp6,
    /// Both at once.
    Either,
    /// IPv6 on the link alone, where nobody is asked.
    Link6,
    /// The address is part of the word.
    Static,
    /// The network is disabled.
    Off,
}

/// The value of one `ip=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpRequest {
    /// How the address is found.
    pub method: Method,
    /// The interface by name; none means any.
    pub interface: Option<String>,
    /// The address of this machine.
    pub address: Option<IpAddr>,
    /// The boot server (kernel), or the other end of a point-to-point link (dracut).
    pub server: Option<IpAddr>,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// Bits of the network, 0 to 32, or of IPv6 to 128.
    pub prefix_len: Option<u8>,
    /// The host name.
    pub host_name: Option<String>,
    /// The MTU, in bytes.
    pub mtu_octets: Option<u16>,
    /// The hardware address.
    pub mac: Option<MacAddress>,
    /// Resolvers.
    pub dns: Vec<IpAddr>,
    /// A time server.
    pub ntp: Option<IpAddr>,
}

impl IpRequest {
    /// Returns whether the address is static.
    pub(super) fn is_static(&self) -> bool {
        self.method == Method::Static
    }

    /// Returns the names of fields that have no effect.
    pub(super) fn unused(&self) -> Vec<&'static str> {
        let by_dhcp = !self.is_static();
        [
            // A DHCP server sets these.
            (by_dhcp && self.address.is_some(), "the address with DHCP"),
            (by_dhcp && self.server.is_some(), "the server with DHCP"),
            (by_dhcp && self.gateway.is_some(), "the gateway with DHCP"),
            (
                by_dhcp && self.prefix_len.is_some(),
                "the netmask with DHCP",
            ),
            (
                self.is_static() && matches!(self.server, Some(IpAddr::V6(_))),
                "the server",
            ),
            (self.mac.is_some(), "the hardware address"),
            (self.ntp.is_some(), "the time server"),
        ]
        .into_iter()
        .filter_map(|(is_given, what)| is_given.then_some(what))
        .collect()
    }

    /// Adds the fields to `given`.
    pub(super) fn give(&self, given: &mut StaticConfig) {
        if self.is_static() {
            match (self.address, self.prefix_len) {
                (Some(IpAddr::V4(address)), Some(len)) => given.address = Some((address, len)),
                (Some(IpAddr::V6(address)), Some(len)) => given.ipv6.address = Some((address, len)),
                _ => {}
            }
            if let Some(IpAddr::V4(server)) = self.server {
                given.server = Some(server);
            }
            match self.gateway {
                Some(IpAddr::V4(gateway)) => {
                    let default = (Ipv4Addr::UNSPECIFIED, 0, Some(gateway));
                    given.routes.push(default);
                }
                Some(IpAddr::V6(gateway)) => {
                    let default = (Ipv6Addr::UNSPECIFIED, 0, Some(gateway));
                    given.ipv6.routes.push(default);
                }
                _ => {}
            }
        }
        if self.method == Method::Link6 {
            given.ipv6.is_link_only = true;
        }
        for server in &self.dns {
            give_resolver(given, *server);
        }
        if self.host_name.is_some() {
            given.host_name.clone_from(&self.host_name);
        }
        given.mtu_octets = self.mtu_octets.or(given.mtu_octets);
    }

    /// Returns which families are asked for: IPv4 and IPv6.
    pub(super) const fn families(&self) -> (bool, bool) {
        match (self.method, self.address) {
            (Method::Static, Some(IpAddr::V6(_))) | (Method::Dhcp6 | Method::Link6, _) => {
                (false, true)
            }
            (Method::Either, _) => (true, true),
            (Method::Static | Method::Dhcp | Method::Off, _) => (true, false),
        }
    }
}

/// Adds a resolver.
pub(super) fn give_resolver(given: &mut StaticConfig, server: IpAddr) {
    match server {
        IpAddr::V4(server) => given.dns.push(server),
        IpAddr::V6(server) => given.ipv6.dns.push(server),
    }
}

/// Splits a value at its colons, but for those within brackets.
pub(super) fn fields(value: &str) -> Vec<&str> {
    let mut is_within = false;
    let fields = value.split(|c| {
        is_within = (is_within || c == '[') && c != ']';
        c == ':' && !is_within
    });
    fields.collect()
}

/// Parses an address, one of IPv6 in brackets.
///
/// # Errors
/// The fault.
pub(super) fn any_address(text: &str) -> Result<IpAddr, String> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match inner {
        Some(text) => text.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    };
    address.ok_or_else(|| format!("\"{text}\" is not an address (one of IPv6 stands in brackets)"))
}

/// Reads the value of `ip=`.
///
/// # Errors
/// The fault, or what is not supported.
pub(super) fn parse(value: &str) -> Result<IpRequest, String> {
    let mut fields = fields(value);
    let is_address = |text: &str| text.starts_with('[') || text.parse::<Ipv4Addr>().is_ok();
    if let [word] = fields[..]
        && !is_address(word)
    {
        return Ok(match method(word)? {
            Some(method) => IpRequest {
                method,
                ..IpRequest::default()
            },
            None => IpRequest {
                interface: interface(word)?,
                ..IpRequest::default()
            },
        });
    }
    // The long form begins with an address or nothing, the short one with an interface.
    let first = fields.first().copied().unwrap_or_default();
    if !first.is_empty() && !is_address(first) {
        fields.splice(0..0, [""; 5]);
    }
    let mut fields = fields.into_iter();
    let mut next = || fields.next().unwrap_or_default();
    let (client, client_len) = without_len(next());
    let mut request = IpRequest {
        address: address(&client, "client address")?,
        server: address(next(), "server")?,
        gateway: address(next(), "gateway")?,
        prefix_len: prefix_len(next())?,
        host_name: host_name(next())?,
        interface: interface(next())?,
        ..IpRequest::default()
    };
    let how = next();
    request.method = match (method(how)?, request.address) {
        // `off` and `none` beside an address mean static assignment (nfsroot.rst).
        (Some(Method::Off), Some(_)) => Method::Static,
        (Some(method), _) => method,
        (None, Some(_)) if how.is_empty() => Method::Static,
        (None, None) if how.is_empty() => Method::Dhcp,
        (None, _) => return Err(format!("\"{how}\" is not a way to find an address")),
    };
    rest(&mut request, fields.collect())?;
    if let (Some(len), None) = (client_len, request.prefix_len) {
        request.prefix_len = prefix_len(len)?;
    }
    let longest = match request.address {
        Some(IpAddr::V6(_)) => 128,
        Some(IpAddr::V4(_)) | None => 32,
    };
    if let Some(len) = request.prefix_len.filter(|len| *len > longest) {
        return Err(format!("\"{len}\" is not a netmask"));
    }
    if request.method == Method::Static && request.prefix_len.is_none() {
        // As the kernel's own ip= fills a netmask in (ic_defaults in net/ipv4/ipconfig.c).
        request.prefix_len = request.address.map(|address| match address {
            IpAddr::V4(address) => class(address),
            IpAddr::V6(_) => 64,
        });
    }
    Ok(request)
}

/// Parses what follows the method: resolvers and a time server, or MTU and hardware address.
fn rest(request: &mut IpRequest, fields: Vec<&str>) -> Result<(), String> {
    let [first, others @ ..] = &fields[..] else {
        return Ok(());
    };
    let is_name_server = |field: &str| field.starts_with('[') || field.parse::<Ipv4Addr>().is_ok();
    if is_name_server(first) || others.first().is_some_and(|field| is_name_server(field)) {
        for field in fields.iter().take(2) {
            request.dns.extend(address(field, "resolver")?);
        }
        request.ntp = address(fields.get(2).copied().unwrap_or_default(), "time server")?;
        return too_many(fields.get(3..));
    }
    if !first.is_empty() {
        // Less carries no IPv4: every link passes 68 bytes unfragmented (RFC 791 §3.2).
        let mtu = first.parse().ok().filter(|mtu| *mtu >= 68);
        let mtu = mtu.ok_or_else(|| format!("\"{first}\" is not an MTU or a resolver"))?;
        request.mtu_octets = Some(mtu);
    }
    if !others.is_empty() && others.iter().any(|field| !field.is_empty()) {
        let mac = others.join(":");
        request.mac = Some(mac.parse().map_err(|error| format!("{error}"))?);
    }
    Ok(())
}

fn too_many(fields: Option<&[&str]>) -> Result<(), String> {
    match fields {
        Some(fields) if fields.iter().any(|field| !field.is_empty()) => {
            Err(format!("\"{}\" is too much", fields.join(":")))
        }
        _ => Ok(()),
    }
}

fn method(words: &str) -> Result<Option<Method>, String> {
    let mut all = None;
    for word in words.split(',') {
        let Some(method) = one_method(word)? else {
            return Ok(None);
        };
        all = match (all, method) {
            (None, method) => Some(method),
            (Some(known), method) if known == method => all,
            (
                Some(Method::Dhcp | Method::Dhcp6 | Method::Either),
                Method::Dhcp6 | Method::Either,
            )
            | (Some(Method::Dhcp6 | Method::Either), Method::Dhcp) => Some(Method::Either),
            _ => return Err(format!("\"{words}\" contradicts itself")),
        };
    }
    Ok(all)
}

fn one_method(word: &str) -> Result<Option<Method>, String> {
    Ok(Some(match word {
        "dhcp" | "both" | "single-dhcp" | "dhcp4" => Method::Dhcp,
        // Any protocol that there is (nfsroot.rst), which NetworkManager takes for both families.
        "off" | "none" | "static" => Method::Off,
        // BOOTP servers in use also speak DHCP.
        "bootp" => Method::Dhcp,
        // Which of routers and servers is asked for addresses, is said by routers.
        "dhcp6" | "auto6" | "either6" => Method::Dhcp6,
        "auto" | "on" | "any" => Method::Either,
        "link6" | "link-local" => Method::Link6,
        "rarp" => return Err("RARP is not supported".to_owned()),
        "ibft" => return Err("the iSCSI boot firmware table is not read".to_owned()),
        _ => return Ok(None),
    }))
}

/// Returns the method that the value of `ip=`, read as an interface, may be a misspelling of: with one
/// wrong letter, or with its letters in another order.
pub fn misspelled_method(value: &str) -> Option<&'static str> {
    let sorted = |text: &str| {
        let mut letters: Vec<_> = text.bytes().collect();
        letters.sort_unstable();
        letters
    };
    if !matches!(one_method(value), Ok(None)) {
        return None;
    }
    ["dhcp", "both", "bootp", "none", "static"]
        .into_iter()
        .find(|method| distance(value, method) == 1 || sorted(value) == sorted(method))
}

fn host_name(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Ok(None),
        text if is_host_name(text) => Ok(Some(text.to_owned())),
        text => Err(format!("\"{text}\" is not a host name")),
    }
}

fn address(field: &str, what: &str) -> Result<Option<IpAddr>, String> {
    if field.is_empty() {
        return Ok(None);
    }
    let address = any_address(field).map_err(|why| format!("the {what}: {why}"))?;
    Ok(Some(address).filter(|address| !address.is_unspecified()))
}

/// Takes the prefix length off an address of IPv6 in brackets, behind or within them.
fn without_len(field: &str) -> (String, Option<&str>) {
    match field.split_once('/') {
        Some((address, len)) if field.starts_with('[') => {
            let address = address.trim_end_matches(']');
            (format!("{address}]"), Some(len.trim_end_matches(']')))
        }
        _ => (field.to_owned(), None),
    }
}

fn prefix_len(field: &str) -> Result<Option<u8>, String> {
    let wrong = || format!("\"{field}\" is not a netmask");
    if field.is_empty() {
        return Ok(None);
    }
    if let Ok(IpAddr::V6(mask)) = any_address(field) {
        let bits = mask.to_bits();
        let len = bits.leading_ones();
        if len + bits.trailing_zeros() < 128 {
            return Err(wrong());
        }
        return Ok(u8::try_from(len).ok());
    }
    if let Ok(mask) = field.parse::<Ipv4Addr>() {
        let bits = mask.to_bits();
        let len = bits.leading_ones();
        if len + bits.trailing_zeros() < 32 {
            return Err(wrong());
        }
        return Ok(u8::try_from(len).ok());
    }
    let len = field.parse().ok().filter(|len| *len <= 128);
    len.map(Some).ok_or_else(wrong)
}

fn interface(field: &str) -> Result<Option<String>, String> {
    // dracut has a hardware address in its place, with hyphens; this name stands for one, too.
    if field.contains('-')
        && let Ok(mac) = field.parse::<MacAddress>()
    {
        let digits = mac.to_string().replace(':', "");
        return Ok(Some(format!("enx{digits}")));
    }
    let name = (!field.is_empty()).then(|| interface_name(field));
    name.transpose()
}

/// Returns the prefix length by the class of the address, for lack of a netmask.
const fn class(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        _ => 24,
    }
}

impl fmt::Display for IpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.method, self.address) {
            (Method::Off, _) => write!(f, "no network")?,
            (Method::Dhcp, None) => write!(f, "an address by DHCP")?,
            (Method::Dhcp6, _) => write!(f, "IPv6 by routers and DHCPv6")?,
            (Method::Either, _) => write!(f, "an address by DHCP, or IPv6, whichever boots")?,
            (Method::Link6, _) => write!(f, "IPv6 on the link alone")?,
            (Method::Dhcp, Some(address)) => write!(f, "by DHCP, if possible {address}")?,
            (Method::Static, address) => {
                let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                write!(f, "{address}/{}", self.prefix_len.unwrap_or(32))?;
            }
        }
        match &self.interface {
            Some(interface) => write!(f, " on {interface}")?,
            None => write!(f, " on any interface")?,
        }
        if let Some(server) = self.server {
            write!(f, ", server {server}")?;
        }
        if let Some(gateway) = self.gateway {
            write!(f, ", gateway {gateway}")?;
        }
        if let Some(name) = &self.host_name {
            write!(f, ", host name {name}")?;
        }
        if let Some(mtu) = self.mtu_octets {
            write!(f, ", MTU {mtu}")?;
        }
        if let Some(mac) = self.mac {
            write!(f, ", hardware address {mac}")?;
        }
        for dns in &self.dns {
            write!(f, ", resolver {dns}")?;
        }
        if let Some(ntp) = self.ntp {
            write!(f, ", time server {ntp}")?;
        }
        Ok(())
    }
}
