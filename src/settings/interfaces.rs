//! Interfaces by name and address, and those that are made on others.

use std::str::FromStr;

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
}
