//! Selects the interfaces to boot from, with the reason against each of the others.

use std::path::Path;

use crate::config::LinkConfig;
use wireboot_proto::netlink::route::{ARPHRD_ETHER, LinkInfo};
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
    /// Name of each other interface, and the reason against it.
    passed_over: Vec<(String, &'static str)>,
}

impl Selection {
    /// Returns whether waiting for more interfaces is pointless.
    pub(super) fn is_complete(&self) -> bool {
        !self.chosen.is_empty() && self.missing.is_empty()
    }

    /// Returns an error message: the interfaces requested, those found, and what to try.
    pub(super) fn explain(&self, config: &LinkConfig) -> String {
        let waited = Seconds(config.timeout);
        let mut text = match &self.missing[..] {
            [] => "none appeared".to_owned(),
            missing => format!("{} did not appear", missing.join(" and ")),
        };
        text.push_str(&format!(" within {waited:.1} s; "));
        if self.passed_over.is_empty() {
            text.push_str("no interface exists: is the driver of the NIC loaded?");
        } else {
            let found: Vec<_> = self
                .passed_over
                .iter()
                .map(|(name, why)| format!("{name} ({why})"))
                .collect();
            text.push_str(&format!("found {}", found.join(", ")));
        }
        text
    }
}

/// Chooses among `links`.
pub(super) fn select<'a>(
    config: &LinkConfig,
    links: impl Iterator<Item = &'a LinkInfo>,
    facts: impl Fn(&str) -> DeviceFacts,
) -> Selection {
    let mut selection = Selection {
        chosen: Vec::new(),
        missing: Vec::new(),
        passed_over: Vec::new(),
    };
    for link in links {
        let obstacle = if config.interfaces.is_empty() {
            not_a_nic(link, facts(&link.name)).or_else(|| not_boot_interface(config, link))
        } else {
            not_named(config, link)
        };
        match obstacle {
            None => selection.chosen.push(link.clone()),
            Some(why) => selection.passed_over.push((link.name.clone(), why)),
        }
    }
    selection.missing = missing(config, &selection.chosen);
    // In the order of the configuration.
    let place = |link: &LinkInfo| config.interfaces.iter().position(|name| *name == link.name);
    selection.chosen.sort_by_key(place);
    selection
}

/// By name any Ethernet interface is accepted: a bridge, a VLAN, one end of a veth pair.
fn not_named(config: &LinkConfig, link: &LinkInfo) -> Option<&'static str> {
    if !config.interfaces.contains(&link.name) {
        Some("not named")
    } else {
        not_ethernet(link)
    }
}

fn not_ethernet(link: &LinkInfo) -> Option<&'static str> {
    let is_ethernet = link.hardware_type == ARPHRD_ETHER && link.mac.is_some();
    (!is_ethernet).then_some("not Ethernet")
}

fn not_a_nic(link: &LinkInfo, facts: DeviceFacts) -> Option<&'static str> {
    if let Some(why) = not_ethernet(link) {
        Some(why)
    } else if link.master.is_some() {
        // Its frames go to the master before IPv4 sees them (rx_handler).
        Some("belongs to a bridge or bond")
    } else if link.kind.is_some() || !(link.has_device || facts.has_device) {
        // The kernel reports IFLA_INFO_KIND for veth, VLANs, bonds and the like, and for no card.
        Some("virtual: name it to use it")
    } else if facts.wireless {
        Some("wireless")
    } else {
        None
    }
}

fn not_boot_interface(config: &LinkConfig, link: &LinkInfo) -> Option<&'static str> {
    let wanted = config.boot_interface?;
    (link.mac != Some(wanted)).then_some("not the BOOTIF address")
}

fn missing(config: &LinkConfig, chosen: &[LinkInfo]) -> Vec<String> {
    let is_missing = |name: &&String| !chosen.iter().any(|link| link.name == **name);
    match config.boot_interface {
        Some(mac) if config.interfaces.is_empty() && chosen.is_empty() => {
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
            ("eth2", "belongs to a bridge or bond"),
            ("wlan0", "wireless"),
            ("veth0", "virtual: name it to use it"),
            ("br0", "virtual: name it to use it"),
        ];
        assert_eq!(
            selection.passed_over,
            passed_over.map(|(name, why)| (name.to_owned(), why))
        );
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
        assert_eq!(
            selection.explain(&config),
            "an interface with the BOOTIF address 52:54:00:00:00:09 did not appear within \
             30.0 s; found eth0 (not the BOOTIF address), dummy0 (virtual: name it to use it)"
        );
        let selection = select(&LinkConfig::default(), [].iter(), |_| {
            DeviceFacts::default()
        });
        assert_eq!(
            selection.explain(&LinkConfig::default()),
            "none appeared within 30.0 s; no interface exists: is the driver of the NIC loaded?"
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
