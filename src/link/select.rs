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
        let is_card = |why: &Obstacle| !matches!(why, Obstacle::NotEthernet(_));
        let passed_over = self.passed_over.iter();
        if self.chosen.is_empty()
            && self.unusable.is_empty()
            && !{ passed_over }.any(|(_, why)| is_card(why))
        {
            parts.push("is the driver of the NIC loaded?".to_owned());
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
            return "no interface exists".to_owned();
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
    let is_missing = |name: &str| !links.clone().any(|link| link.name == name);
    // A VLAN is made, once its parent is there.
    let awaited = |name: &String| match &config.vlan {
        Some(vlan) if vlan.name == *name && is_missing(&vlan.parent) => {
            [&vlan.parent, " (for the VLAN ", name, ")"].concat()
        }
        _ => name.clone(),
    };
    let is_nothing = selection.chosen.is_empty() && selection.unusable.is_empty();
    match config.boot_interface {
        Some(mac) if config.interfaces.is_empty() && is_nothing => {
            vec![format!("an interface with the BOOTIF address {mac}")]
        }
        _ => config
            .interfaces
            .iter()
            .filter(|name| is_missing(name))
            .map(awaited)
            .collect(),
    }
}

#[cfg(test)]
mod tests;
