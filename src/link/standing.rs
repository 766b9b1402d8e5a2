//! The network of this machine as it stands, for a kernel that is to take it over without DHCP.

use std::fs;
use std::net::Ipv4Addr;

use super::state::{InterfaceState, open_socket, unreadable};
use crate::config::{StaticConfig, Vlan};
use crate::error::{Error, Reason};
use crate::sys::SyscallError;
use crate::sys::netlink::RouteSocket;
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::{LinkInfo, RouteMessage};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::netmask;

/// Where a resolver service that listens on this machine says whom it asks (systemd-resolved).
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// The kernel's own list of VLANs, after two lines of titles: name, number and parent.
const VLANS: &str = "/proc/net/vlan/config";
/// Resolvers that a C library asks.
// MAXNS of resolv.conf(5).
const MAX_RESOLVERS: usize = 3;

/// An interface with an address and what else a static configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticInterface {
    /// The interface.
    pub interface: String,
    /// Its address, routers, resolvers and host name.
    pub given: StaticConfig,
    mac: Option<MacAddress>,
    vlan: Option<Vlan>,
}

impl StaticInterface {
    /// Reads what the kernel has about `interface`, or without one that of the default route.
    ///
    /// # Errors
    /// [`Reason::NoInterface`] when there is none, or it has no address.
    pub fn read(interface: Option<&str>) -> Result<Self, Error> {
        let nothing =
            |what: String| Box::new(Reason::NoInterface(format!("{what}, to keep its network")));
        let mut socket = open_socket()?;
        let links = socket.links().map_err(unreadable)?;
        let index = match interface {
            Some(name) => links
                .iter()
                .find(|link| link.name == name)
                .map(|link| link.index),
            None => default_route(&mut socket).map_err(unreadable)?,
        };
        let link = links.iter().find(|link| Some(link.index) == index);
        let link: &LinkInfo = link.ok_or_else(|| match interface {
            Some(name) => nothing(format!("there is no {name}")),
            None => nothing("none has a default route; name one with -i".to_owned()),
        })?;
        let state = InterfaceState::read(&mut socket, link.index).map_err(unreadable)?;
        let address = state.addresses.first();
        let address = address
            .map(|known| (known.value.address, known.value.prefix_len))
            .ok_or_else(|| nothing(format!("{} has no IPv4 address", link.name)))?;
        // The kernel's own come with the address; of two to one network the first is used.
        let routes = state.routes.iter().map(|(known, _)| known);
        let routes = routes.filter(|known| !known.is_of_kernel());
        let mut given = StaticConfig {
            address: Some(address),
            dns: resolvers(),
            host_name: host_name(),
            mtu_octets: link.mtu_octets.and_then(|mtu| u16::try_from(mtu).ok()),
            ..StaticConfig::default()
        };
        for known in routes {
            let route = known.route;
            let network = (route.destination, route.prefix_len);
            if !given
                .routes
                .iter()
                .any(|(to, len, _)| (*to, *len) == network)
            {
                given.routes.push((network.0, network.1, route.gateway));
            }
        }
        Ok(Self {
            interface: link.name.clone(),
            given,
            mac: link.mac,
            vlan: vlan(&fs::read_to_string(VLANS).unwrap_or_default(), &link.name),
        })
    }

    /// Returns the words for the next kernel, in the forms that wireboot, dracut and klibc read.
    pub fn words(&self) -> String {
        let (address, prefix_len) = self.given.address.unwrap_or((Ipv4Addr::UNSPECIFIED, 0));
        let mut gateway = String::new();
        let mut words = String::new();
        for (to, len, router) in &self.given.routes {
            let router = router.map(|router| router.to_string()).unwrap_or_default();
            if *len == 0 {
                gateway = router;
            } else {
                words += &format!(" rd.route={to}/{len}:{router}:{}", self.interface);
            }
        }
        for server in &self.given.dns {
            words += &format!(" nameserver={server}");
        }
        match (&self.vlan, self.mac) {
            (Some(vlan), _) => words += &format!(" vlan={}:{}", vlan.name, vlan.parent),
            // Another kernel may name it otherwise.
            (None, Some(mac)) => words += &format!(" ifname={}:{mac}", self.interface),
            (None, None) => {}
        }
        let mask = netmask(prefix_len);
        let host = self.given.host_name.as_deref().unwrap_or_default();
        format!(
            "ip={address}::{gateway}:{mask}:{host}:{}:none{words}",
            self.interface
        )
    }
}

/// Returns the link of the default route that is used.
fn default_route(socket: &mut RouteSocket) -> Result<Option<u32>, SyscallError> {
    let routes = socket.dump(&NetlinkRequest::Routes)?.into_iter();
    let routes = routes.filter_map(|message| {
        let RouteMessage::NewRoute(known) = message else {
            return None;
        };
        Some(known)
    });
    let defaults = routes.filter(|known| known.route.prefix_len == 0);
    Ok(defaults
        .min_by_key(|known| known.metric)
        .map(|known| known.route.index))
}

/// Returns the resolvers that are not this machine itself.
fn resolvers() -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    for path in RESOLVERS {
        found = resolvers_of(&fs::read_to_string(path).unwrap_or_default());
        if !found.is_empty() {
            break;
        }
    }
    found
}

fn resolvers_of(text: &str) -> Vec<Ipv4Addr> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    let servers = lines.filter_map(|rest| rest.trim().parse().ok());
    let servers = servers.filter(|server: &Ipv4Addr| !server.is_loopback());
    servers.take(MAX_RESOLVERS).collect()
}

/// Returns the host name, if it has one that a word can carry.
fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let is_plain = wireboot_proto::text::names::is_host_name(name) && name != "localhost";
    is_plain.then(|| name.to_owned())
}

/// Returns the VLAN with this name in the kernel's list.
fn vlan(list: &str, name: &str) -> Option<Vlan> {
    let fields = |line: &str| -> Option<Vlan> {
        let mut fields = line.split('|').map(str::trim);
        Some(Vlan {
            name: fields.next()?.to_owned(),
            id: fields.next()?.parse().ok()?,
            parent: fields.next()?.to_owned(),
        })
    };
    let mut vlans = list.lines().skip(2).filter_map(fields);
    vlans.find(|vlan| vlan.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_a_static_configuration() {
        let mut standing = StaticInterface {
            interface: "eth0".to_owned(),
            given: StaticConfig {
                address: Some((Ipv4Addr::new(192, 0, 2, 7), 24)),
                routes: vec![
                    (Ipv4Addr::UNSPECIFIED, 0, Some(Ipv4Addr::new(192, 0, 2, 1))),
                    (
                        Ipv4Addr::new(198, 51, 100, 0),
                        24,
                        Some(Ipv4Addr::new(192, 0, 2, 2)),
                    ),
                ],
                dns: resolvers_of("nameserver 127.0.0.53\n nameserver\t192.0.2.53 \nsearch x\n"),
                host_name: Some("host".to_owned()),
                ..StaticConfig::default()
            },
            mac: Some(MacAddress([2; 6])),
            vlan: None,
        };
        let common = "ip=192.0.2.7::192.0.2.1:255.255.255.0:host:eth0:none \
             rd.route=198.51.100.0/24:192.0.2.2:eth0 nameserver=192.0.2.53";
        let expected = format!("{common} ifname=eth0:02:02:02:02:02:02");
        assert_eq!(standing.words(), expected);
        let list = "VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW\n\
            eth1.9         | 9  | eth1\neth0           | 7  | eno1\n";
        standing.vlan = vlan(list, "eth0");
        assert_eq!(standing.words(), format!("{common} vlan=eth0:eno1"));
        assert_eq!(vlan(list, "eth3"), None);
        // What this program itself makes of it.
        let mut config = crate::config::Config::for_boot();
        let words = standing.words().replace(" vlan=eth0:eno1", "");
        assert_eq!(
            crate::settings::cmdline::apply(&words, &mut config),
            [""; 0]
        );
        assert_eq!(config.dhcp.given.address, standing.given.address);
        assert_eq!(config.dhcp.given.dns, standing.given.dns);
        assert_eq!(config.link.interfaces, ["eth0"]);
    }
}
