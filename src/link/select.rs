//! Selects the interfaces to boot from, with the reason against each of the others.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::config::LinkConfig;
use wireboot_proto::netlink::route::{ARPHRD_ETHER, ARPHRD_LOOPBACK, LinkInfo};
use wireboot_proto::time::Seconds;

/// Properties of an interface that only `/sys` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DeviceFacts {
    /// Whether it has a hardware device.
    pub(super) has_device: bool,
    /// Whether it is wireless, which needs an access point and a password.
    pub(super) wireless: bool,
}

/// Reads the properties of an interface.
pub(super) fn facts(name: &str) -> DeviceFacts {
    let directory = Path::new("/sys/class/net").join(name);
    DeviceFacts {
        // Bridges, tunnels and dummy interfaces have no such link in sysfs.
        has_device: directory.join("device").exists(),
        wireless: directory.join("phy80211").exists(),
    }
}

/// The interfaces to use, and the reasons against the others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) chosen: Vec<LinkInfo>,
    /// Requested interfaces that do not exist.
    pub(super) missing: Vec<String>,
    /// Requested interfaces that exist and cannot be used, with the reason.
    pub(super) unusable: Vec<String>,
    /// Name of each other interface, and the reason against it.
    passed_over: Vec<(String, Obstacle)>,
}

/// The reason against an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Obstacle {
    NotNamed,
    /// With the kind of interface that it is.
    NotEthernet(String),
    /// With the name of the bridge or bond, which has its frames before IPv4 sees them (rx_handler).
    Port(String),
    Virtual,
    Wireless,
    NotBootInterface,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotNamed => "not named",
            Self::NotEthernet(_) => "not Ethernet",
            Self::Port(master) => return write!(f, "port of {master}"),
            Self::Virtual => "virtual: name it to use it",
            Self::Wireless => "wireless",
            Self::NotBootInterface => "not the BOOTIF address",
        })
    }
}

impl Selection {
    /// Returns whether waiting for more interfaces is pointless.
    pub(super) fn is_complete(&self) -> bool {
        !self.chosen.is_empty() && self.missing.is_empty()
    }

    /// Returns whether those that were requested are all there, and none can be used; or none was, and
    /// where drivers are loaded already (`is_settled`) there are only such as are used by name.
    pub(super) fn is_hopeless(&self, config: &LinkConfig, is_settled: bool) -> bool {
        let is_any = config.interfaces.is_empty() && config.boot_interface.is_none();
        let is_by_name = |(_, why): &(String, Obstacle)| !matches!(why, Obstacle::NotEthernet(_));
        self.chosen.is_empty()
            && if is_any {
                is_settled && self.passed_over.iter().any(is_by_name)
            } else {
                self.missing.is_empty()
            }
    }

    /// Returns an error message: the interfaces requested, those found, and what to try. `waited` is how
    /// long others were waited for, if they were.
    pub(super) fn explain(&self, config: &LinkConfig, waited: Option<Duration>) -> String {
        let mut parts = self.unusable.clone();
        if let Some(waited) = waited.filter(|_| !self.missing.is_empty() || parts.is_empty()) {
            let what = match &self.missing[..] {
                [] => "none appeared".to_owned(),
                missing => format!("{} did not appear", missing.join(" and ")),
            };
            parts.push(format!("{what} within {:.1} s", Seconds(waited)));
        }
        if !self.missing.is_empty() || self.unusable.is_empty() {
            parts.push(self.found(config));
        }
        parts.join("; ")
    }

    /// Returns the other interfaces that exist.
    pub(super) fn found(&self, config: &LinkConfig) -> String {
        /// A machine may have thousands.
        const MAX_NAMED: usize = 16;
        let there = self.chosen.iter().map(|link| link.name.clone());
        let there = there.chain(self.passed_over.iter().map(|(name, why)| {
            // By name each can be used.
            if config.interfaces.is_empty() {
                format!("{name} ({why})")
            } else {
                name.clone()
            }
        }));
        let mut found: Vec<_> = there.take(MAX_NAMED).collect();
        let others = (self.chosen.len() + self.passed_over.len()).saturating_sub(MAX_NAMED);
        if others > 0 {
            found.push(format!("{others} more"));
        }
        if found.is_empty() {
            return "no interface exists: is the driver of the NIC loaded?".to_owned();
        }
        format!("found {}", found.join(", "))
    }
}

/// Chooses among `links`.
pub(super) fn select<'a>(
    config: &LinkConfig,
    links: impl Iterator<Item = &'a LinkInfo> + Clone,
    facts: impl Fn(&str) -> DeviceFacts,
) -> Selection {
    let mut selection = Selection {
        chosen: Vec::new(),
        missing: Vec::new(),
        unusable: Vec::new(),
        passed_over: Vec::new(),
    };
    for link in links.clone() {
        let is_boot_interface =
            config.boot_interface.is_some() && link.mac == config.boot_interface;
        let (is_requested, obstacle) = if config.interfaces.is_empty() {
            let obstacle = not_a_nic(link, links.clone(), facts(&link.name));
            // A bridge or VLAN above has the same address, so that only a port is surely what is meant.
            let is_port = matches!(obstacle, Some(Obstacle::Port(_)));
            let obstacle = obstacle.or_else(|| not_boot_interface(config, link));
            (is_port && is_boot_interface, obstacle)
        } else if config.interfaces.contains(&link.name) {
            let obstacle = not_ethernet(link).or_else(|| port(link, links.clone()));
            (true, obstacle)
        } else {
            (false, Some(Obstacle::NotNamed))
        };
        match obstacle {
            None => selection.chosen.push(link.clone()),
            Some(why) if is_requested => selection.unusable.push(unusable(&link.name, &why)),
            Some(why) => selection.passed_over.push((link.name.clone(), why)),
        }
    }
    selection.missing = missing(config, &selection, links);
    // In the order of the configuration.
    let place = |link: &LinkInfo| config.interfaces.iter().position(|name| *name == link.name);
    selection.chosen.sort_by_key(place);
    selection
}

fn unusable(name: &str, why: &Obstacle) -> String {
    match why {
        Obstacle::Port(master) => format!("{name} is a port of {master}; ask on {master}"),
        Obstacle::NotEthernet(kind) => {
            format!("{name} is not Ethernet ({kind}); ask on an Ethernet interface")
        }
        Obstacle::NotNamed
        | Obstacle::Virtual
        | Obstacle::Wireless
        | Obstacle::NotBootInterface => format!("{name}: {why}"),
    }
}

fn not_ethernet(link: &LinkInfo) -> Option<Obstacle> {
    let is_ethernet = link.hardware_type == ARPHRD_ETHER && link.mac.is_some();
    let kind = || match (&link.kind, link.hardware_type) {
        (Some(kind), _) => kind.clone(),
        (None, ARPHRD_LOOPBACK) => "loopback".to_owned(),
        (None, other) => format!("hardware type {other}"),
    };
    (!is_ethernet).then(|| Obstacle::NotEthernet(kind()))
}

/// What a VRF is given for a master keeps its own addresses (Documentation/networking/vrf.rst).
fn port<'a>(link: &LinkInfo, mut links: impl Iterator<Item = &'a LinkInfo>) -> Option<Obstacle> {
    let index = link.master?;
    let master = links.find(|master| master.index == index);
    if master.is_some_and(|master| master.kind.as_deref() == Some("vrf")) {
        return None;
    }
    let unknown = || format!("interface {index}");
    Some(Obstacle::Port(
        master.map_or_else(unknown, |master| master.name.clone()),
    ))
}

fn not_a_nic<'a>(
    link: &LinkInfo,
    links: impl Iterator<Item = &'a LinkInfo>,
    facts: DeviceFacts,
) -> Option<Obstacle> {
    let obstacle = not_ethernet(link).or_else(|| port(link, links));
    if obstacle.is_some() {
        obstacle
    } else if link.kind.is_some() || !(link.has_device || facts.has_device) {
        // The kernel reports IFLA_INFO_KIND for veth, VLANs, bonds and the like, and for no card.
        Some(Obstacle::Virtual)
    } else if facts.wireless {
        Some(Obstacle::Wireless)
    } else {
        None
    }
}

fn not_boot_interface(config: &LinkConfig, link: &LinkInfo) -> Option<Obstacle> {
    let wanted = config.boot_interface?;
    (link.mac != Some(wanted)).then_some(Obstacle::NotBootInterface)
}

fn missing<'a>(
    config: &LinkConfig,
    selection: &Selection,
    links: impl Iterator<Item = &'a LinkInfo> + Clone,
) -> Vec<String> {
    let is_missing = |name: &&String| !links.clone().any(|link| link.name == **name);
    let is_nothing = selection.chosen.is_empty() && selection.unusable.is_empty();
    match config.boot_interface {
        Some(mac) if config.interfaces.is_empty() && is_nothing => {
            vec![format!("an interface with the BOOTIF address {mac}")]
        }
        _ => config
            .interfaces
            .iter()
            .filter(is_missing)
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireboot_proto::packet::ethernet::MacAddress;

    #[test]
    fn without_a_name_every_ethernet_device_is_chosen_and_nothing_virtual() {
        let links = [
            LinkInfo {
                hardware_type: 772,
                ..link(1, "lo")
            },
            device(2, "eth0"),
            device(3, "eth1"),
            LinkInfo {
                master: Some(7),
                ..device(4, "eth2")
            },
            device(5, "wlan0"),
            LinkInfo {
                kind: Some("veth".to_owned()),
                ..link(6, "veth0")
            },
            LinkInfo {
                kind: Some("bridge".to_owned()),
                ..link(7, "br0")
            },
            link(8, "eth3"),
        ];
        let facts = |name: &str| DeviceFacts {
            wireless: name == "wlan0",
            has_device: name == "eth3",
        };
        let selection = select(&LinkConfig::default(), links.iter(), facts);
        assert!(selection.is_complete());
        assert_eq!(names(&selection), ["eth0", "eth1", "eth3"]);
        let passed_over = [
            ("lo", "not Ethernet"),
            ("eth2", "port of br0"),
            ("wlan0", "wireless"),
            ("veth0", "virtual: name it to use it"),
            ("br0", "virtual: name it to use it"),
        ];
        let found = selection.passed_over.iter();
        let found: Vec<_> = found
            .map(|(name, why)| (&**name, why.to_string()))
            .collect();
        assert_eq!(found, passed_over.map(|(name, why)| (name, why.to_owned())));
    }

    #[test]
    fn names_are_used_in_their_order_and_the_missing_one_is_reported() {
        let links = [device(2, "eth0"), device(3, "eth1"), link(4, "veth0")];
        let config = LinkConfig {
            interfaces: ["veth0", "eth0", "eth7"].map(str::to_owned).to_vec(),
            ..LinkConfig::default()
        };
        let selection = select(&config, links.iter(), |_| DeviceFacts::default());
        assert!(!selection.is_complete());
        assert_eq!(names(&selection), ["veth0", "eth0"]);
        assert_eq!(selection.missing, ["eth7"]);
    }

    #[test]
    fn the_address_in_bootif_chooses_its_device_and_not_the_vlan_above_it() {
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 3]);
        let vlan = LinkInfo {
            mac: Some(mac),
            kind: Some("vlan".to_owned()),
            ..link(9, "eth1.7")
        };
        let links = [device(2, "eth0"), device(3, "eth1"), vlan];
        let config = LinkConfig {
            boot_interface: Some(mac),
            ..LinkConfig::default()
        };
        let selection = select(&config, links.iter(), |_| DeviceFacts::default());
        assert!(selection.is_complete());
        assert_eq!(names(&selection), ["eth1"]);
    }

    #[test]
    fn a_failed_search_reports_what_was_found_and_why_it_was_not_usable() {
        let links = [device(2, "eth0"), link(8, "dummy0")];
        let config = LinkConfig {
            boot_interface: Some(MacAddress([0x52, 0x54, 0, 0, 0, 9])),
            ..LinkConfig::default()
        };
        let selection = select(&config, links.iter(), |_| DeviceFacts::default());
        let waited = Some(config.timeout);
        assert_eq!(
            selection.explain(&config, waited),
            "an interface with the BOOTIF address 52:54:00:00:00:09 did not appear within \
             30.0 s; found eth0 (not the BOOTIF address), dummy0 (virtual: name it to use it)"
        );
        let selection = select(&LinkConfig::default(), [].iter(), |_| {
            DeviceFacts::default()
        });
        assert_eq!(
            selection.explain(&LinkConfig::default(), waited),
            "none appeared within 30.0 s; no interface exists: is the driver of the NIC loaded?"
        );
    }

    #[test]
    fn what_is_there_and_cannot_be_used_is_not_waited_for() {
        let links = [
            LinkInfo {
                hardware_type: ARPHRD_LOOPBACK,
                ..link(1, "lo")
            },
            LinkInfo {
                master: Some(7),
                ..device(2, "eth0")
            },
            LinkInfo {
                hardware_type: 0xfffe,
                mac: None,
                kind: Some("wireguard".to_owned()),
                ..link(3, "wg0")
            },
            LinkInfo {
                master: Some(8),
                ..device(4, "eth1")
            },
            LinkInfo {
                kind: Some("bridge".to_owned()),
                ..link(7, "br0")
            },
            LinkInfo {
                kind: Some("vrf".to_owned()),
                ..link(8, "red")
            },
        ];
        let none = |_: &str| DeviceFacts::default();
        let named = |names: &[&str]| LinkConfig {
            interfaces: names.iter().map(|name| (*name).to_owned()).collect(),
            ..LinkConfig::default()
        };
        let of = |config: &LinkConfig| select(config, links.iter(), none);
        for (names, expected) in [
            (&["eth0"][..], "eth0 is a port of br0; ask on br0"),
            (
                &["lo"],
                "lo is not Ethernet (loopback); ask on an Ethernet interface",
            ),
            (
                &["wg0"],
                "wg0 is not Ethernet (wireguard); ask on an Ethernet interface",
            ),
        ] {
            let config = named(names);
            let selection = of(&config);
            assert!(selection.is_hopeless(&config, false), "{names:?}");
            assert_eq!(selection.explain(&config, None), expected);
        }
        let config = named(&["eth1", "eth0"]);
        let selection = of(&config);
        assert!(selection.is_complete(), "the port of a VRF is used");
        assert_eq!(names(&selection), ["eth1"]);
        assert_eq!(selection.unusable.len(), 1);
        let config = named(&["eth0", "ehto1"]);
        let selection = of(&config);
        assert!(
            !selection.is_hopeless(&config, true),
            "one may still appear"
        );
        assert_eq!(
            selection.explain(&config, Some(config.timeout)),
            "eth0 is a port of br0; ask on br0; ehto1 did not appear within 30.0 s; \
             found lo, wg0, eth1, br0, red"
        );
        let config = LinkConfig {
            boot_interface: links[1].mac,
            ..LinkConfig::default()
        };
        let selection = of(&config);
        assert!(selection.is_hopeless(&config, false));
        let expected = "eth0 is a port of br0; ask on br0";
        assert_eq!(selection.explain(&config, None), expected);
    }

    #[test]
    fn only_virtual_interfaces_are_hopeless_where_all_drivers_are_loaded() {
        let config = LinkConfig::default();
        let loopback = LinkInfo {
            hardware_type: ARPHRD_LOOPBACK,
            ..link(1, "lo")
        };
        let links = [loopback, link(2, "veth0")];
        let of = |links: &[LinkInfo]| select(&config, links.iter(), |_| DeviceFacts::default());
        let selection = of(&links);
        assert!(selection.is_hopeless(&config, true));
        assert!(!selection.is_hopeless(&config, false));
        assert_eq!(
            selection.explain(&config, None),
            "found lo (not Ethernet), veth0 (virtual: name it to use it)"
        );
        assert!(
            !of(&links[..1]).is_hopeless(&config, true),
            "a card may be plugged in"
        );
    }

    fn names(selection: &Selection) -> Vec<&str> {
        let chosen = selection.chosen.iter();
        chosen.map(|link| link.name.as_str()).collect()
    }

    fn device(index: u8, name: &str) -> LinkInfo {
        LinkInfo {
            has_device: true,
            ..link(index, name)
        }
    }

    fn link(index: u8, name: &str) -> LinkInfo {
        LinkInfo {
            index: index.into(),
            name: name.to_owned(),
            hardware_type: ARPHRD_ETHER,
            mac: Some(MacAddress([0x52, 0x54, 0, 0, 0, index])),
            up: false,
            carrier: false,
            running: false,
            mtu_octets: Some(1500),
            master: None,
            kind: None,
            has_device: false,
            received: 0,
        }
    }
}
