//! Interfaces by name and address, and those that are made on others: VLANs, and bonds in the words of dracut.

use std::str::FromStr;

#[cfg(feature = "bond")]
use wireboot_proto::netlink::bond::BondOptions;
use wireboot_proto::packet::ethernet::MacAddress;

/// A tagged VLAN (802.1Q).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// The name of its interface.
    pub name: String,
    /// Its VLAN identifier, 1 to 4094.
    pub id: u16,
    /// The interface that carries it.
    pub parent: String,
}

impl FromStr for Vlan {
    type Err = String;

    /// Parses `NAME:PARENT`; the name ends with the VLAN identifier.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parent) = text
            .split_once(':')
            .ok_or("not the VLAN's interface, a colon and the interface that carries it")?;
        // eth0.7, eth0.0007, vlan7 and vlan0007 are in use (dracut.cmdline(7)).
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let digits = name.rsplit_once('.').map_or(digits, |(_, digits)| digits);
        let id = vlan_id(digits);
        let id = id.ok_or("the VLAN's interface does not end with its number, 1 to 4094")?;
        Ok(Self {
            name: interface_name(name)?,
            id,
            parent: interface_name(parent)?,
        })
    }
}

/// Why there is neither a bond nor a VLAN to try.
pub(super) const NOT_BUILT_IN: &str = "this binary was built without the feature \"bond\"";

/// VLANs that are asked on where no server answers without a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlansToTry {
    /// Their identifiers, each 1 to 4094.
    pub ids: Vec<u16>,
}

/// Most VLANs that are tried: each takes an interface and sockets.
const MAX_TRIED: usize = 32;

impl FromStr for VlansToTry {
    type Err = String;

    /// Parses identifiers separated by commas.
    fn from_str(list: &str) -> Result<Self, String> {
        if !cfg!(feature = "bond") {
            return Err(NOT_BUILT_IN.to_owned());
        }
        let mut ids = Vec::new();
        for text in list.split(',') {
            let id = vlan_id(text).filter(|_| ids.len() < MAX_TRIED);
            let id = id.ok_or("not 1 to 32 VLANs from 1 to 4094, with commas between")?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(Self { ids })
    }
}

fn vlan_id(text: &str) -> Option<u16> {
    let has_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    // 0 is priority without a VLAN, and 4095 is reserved (IEEE 802.1Q).
    let id = text.parse().ok().filter(|id| (1..=4094).contains(id));
    id.filter(|_| has_digits)
}

/// Parses an interface name: 1 to 15 bytes without white space, slash and colon.
///
/// # Errors
/// The rule that it breaks (the kernel's `dev_valid_name`).
pub fn interface_name(text: &str) -> Result<String, String> {
    let is_separator = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace();
    // IFNAMSIZ is 16 with the zero byte.
    let fits = (1..=15).contains(&text.len());
    if fits && !text.contains(is_separator) && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err(format!("not the name of an interface: \"{text}\""))
    }
}

/// Parses the value of `BOOTIF=`.
///
/// # Errors
/// The format that it should have.
pub fn boot_interface(text: &str) -> Result<MacAddress, String> {
    // PXELINUX puts the hardware type in front: 01 is Ethernet.
    let address = match text.len() {
        20 => text.strip_prefix("01-").or(text.strip_prefix("01:")),
        _ => Some(text),
    };
    let mac = address.and_then(|address| address.parse().ok());
    mac.ok_or_else(|| "not 01 and a hardware address such as 01-52-54-00-12-34-56".to_owned())
}

/// A bond of several interfaces; lists have commas between.
#[cfg(feature = "bond")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    /// The name of its interface.
    pub name: String,
    /// The interfaces that it is made of, by name or hardware address.
    pub members: String,
    /// Its mode and other options.
    pub options: BondOptions,
    /// Its MTU, in bytes.
    pub mtu_octets: Option<u32>,
}

#[cfg(feature = "bond")]
impl FromStr for Bond {
    type Err = String;

    /// Parses `[NAME[:MEMBERS[:OPTIONS[:MTU]]]]` (dracut.cmdline(7)).
    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = text.splitn(4, ':');
        let mut next = |default| {
            fields
                .next()
                .filter(|text| !text.is_empty())
                .unwrap_or(default)
        };
        let mut bond = Self {
            name: interface_name(next("bond0"))?,
            members: next("eth0,eth1").to_owned(),
            options: BondOptions::parse(next("mode=balance-rr"))?,
            mtu_octets: None,
        };
        let mtu = next("");
        if !mtu.is_empty() {
            // 68 as in RFC 791 §3.2; the kernel knows what the cards can do.
            let mtu_octets = mtu.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
            bond.mtu_octets = Some(mtu_octets.ok_or_else(|| [mtu, " is no MTU"].concat())?);
        }
        let mut known = vec![bond.name.as_str()];
        for member in bond.members.split(',') {
            interface_name(member)?;
            if known.contains(&member) {
                return Err([member, " cannot be a member here"].concat());
            }
            known.push(member);
        }
        let primary = bond.options.primary();
        match primary.filter(|primary| !bond.has_member(primary)) {
            Some(primary) => Err([primary, " is no member"].concat()),
            None => Ok(bond),
        }
    }
}

#[cfg(feature = "bond")]
impl Bond {
    fn has_member(&self, name: &str) -> bool {
        self.members.split(',').any(|member| member == name)
    }

    /// Gives its members, and with them the primary one, the names that `find` returns; those without one
    /// are left out.
    pub fn rename(&mut self, find: &dyn Fn(&str) -> Option<String>) {
        let members: Vec<_> = self.members.split(',').filter_map(find).collect();
        self.members = members.join(",");
        self.options.rename_primary(find);
    }

    /// Returns the value of `bond=` as dracut reads it.
    pub fn text(&self) -> String {
        let mtu = self
            .mtu_octets
            .map_or(String::new(), |mtu| [":", &mtu.to_string()].concat());
        let options = self.options.as_str();
        [&self.name, ":", &self.members, ":", options, &mtu].concat()
    }
}

#[cfg(all(test, feature = "bond"))]
mod tests {
    use super::*;

    #[test]
    fn vlans_to_try_are_numbers_of_vlans() {
        let vlans: VlansToTry = "7,12,7".parse().unwrap();
        assert_eq!(vlans.ids, [7, 12]);
        for wrong in ["", "7,", "0", "4095", "+7", "eth0", "7;12"] {
            assert!(wrong.parse::<VlansToTry>().is_err(), "{wrong}");
        }
        let many: Vec<_> = (1..40).map(|id| id.to_string()).collect();
        assert!(many.join(",").parse::<VlansToTry>().is_err());
    }

    #[test]
    fn a_bond_is_read_with_the_defaults_of_dracut_and_written_as_dracut_reads_it() {
        for (text, written) in [
            ("", "bond0:eth0,eth1:mode=balance-rr,miimon=100"),
            ("bond1", "bond1:eth0,eth1:mode=balance-rr,miimon=100"),
            ("bond0:em1,em2", "bond0:em1,em2:mode=balance-rr,miimon=100"),
            ("bond0:em1:mode=4", "bond0:em1:mode=802.3ad,miimon=100"),
            (
                "lag:em1,em2:mode=802.3ad,lacp_rate=1,miimon=50:9000",
                "lag:em1,em2:mode=802.3ad,lacp_rate=fast,miimon=50:9000",
            ),
            (
                "b:x,y:mode=1,arp_interval=100,arp_ip_target=192.0.2.1;192.0.2.2,primary=y",
                "b:x,y:mode=active-backup,arp_interval=100,arp_ip_target=192.0.2.1;192.0.2.2,primary=y",
            ),
        ] {
            let bond: Bond = text.parse().unwrap();
            assert_eq!(bond.text(), written, "{text}");
            assert_eq!(written.parse(), Ok(bond));
        }
    }

    #[test]
    fn what_is_no_bond_is_refused_with_the_reason() {
        for (text, why) in [
            ("bond0:eth0,,eth1", "not the name of an interface: \"\""),
            ("a-name-far-too-long:eth0", "not the name of an interface"),
            ("bond0:eth0,eth0", "eth0 cannot be a member here"),
            ("bond0:bond0", "bond0 cannot be a member"),
            ("bond0:eth0:lacp", "\"lacp\" is no option"),
            (
                "bond0:eth0:mode=lacp",
                "mode=lacp is not possible: it is balance-rr",
            ),
            ("bond0:eth0:mode=1,primary=eth7", "eth7 is no member"),
            ("bond0:eth0:mode=1:jumbo", "jumbo is no MTU"),
            ("bond0:eth0:mode=1:67", "67 is no MTU"),
            ("bond0:eth0:mode=1:1500:x", "1500:x is no MTU"),
        ] {
            let error = text.parse::<Bond>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
