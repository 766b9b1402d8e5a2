//! Who we say we are: client identifier, classes, architecture and machine (RFC 2132, RFC 3004,
//! RFC 4361, RFC 4578).

use crate::config::Identify;
use crate::wire::ethernet::MacAddress;
use crate::wire::option::code;

/// Hardware type of Ethernet, before the address in a client identifier (RFC 2132 §9.14).
const ETHERNET: u8 = 1;
/// UNDI 3.16, as iPXE announces it (RFC 4578 §2.2).
const UNDI: [u8; 3] = [1, 3, 16];
/// Type of the machine identifier: a UUID (RFC 4578 §2.3).
const TYPE_UUID: u8 = 0;

/// What the firmware says of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Processor and firmware, by the numbers of RFC 4578 and its registry.
    pub architecture: u16,
    /// UUID in the firmware's order of octets.
    pub uuid: Option<[u8; 16]>,
}

impl Machine {
    /// Returns the number of this architecture for boot by HTTP, where there is one.
    const fn http_architecture(self) -> u16 {
        match self.architecture {
            6 => 15,
            7 | 9 => 16,
            10 => 18,
            11 => 19,
            25 => 26,
            27 => 28,
            other => other,
        }
    }
}

/// Returns the options that go with every message.
pub fn options(identify: Identify, chaddr: MacAddress, machine: Machine) -> Vec<(u8, Vec<u8>)> {
    let [a, b, c, d, e, f] = chaddr.0;
    let mut options = vec![(code::CLIENT_IDENTIFIER, vec![ETHERNET, a, b, c, d, e, f])];
    let (class, architecture) = match identify {
        Identify::Plain => {
            options.push((code::VENDOR_CLASS, b"wireboot".to_vec()));
            return options;
        }
        Identify::Pxe => ("PXEClient", machine.architecture),
        Identify::Ipxe => {
            options.push((code::USER_CLASS, b"iPXE".to_vec()));
            ("PXEClient", machine.architecture)
        }
        Identify::Http => ("HTTPClient", machine.http_architecture()),
    };
    let [_, major, minor] = UNDI;
    let class = format!("{class}:Arch:{architecture:05}:UNDI:{major:03}{minor:03}");
    options.push((code::VENDOR_CLASS, class.into_bytes()));
    options.push((code::CLIENT_SYSTEM, architecture.to_be_bytes().to_vec()));
    options.push((code::CLIENT_NDI, UNDI.to_vec()));
    if let Some(uuid) = machine.uuid {
        let mut value = vec![TYPE_UUID];
        value.extend_from_slice(&uuid);
        options.push((code::CLIENT_MACHINE_ID, value));
    }
    options
}

/// Reads a UUID as the kernel shows it (`product_uuid`) and returns it as the firmware has it: the
/// first three fields little-endian (SMBIOS 2.6).
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    for field in [0..4, 4..6, 6..8] {
        octets.get_mut(field)?.reverse();
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    const MACHINE: Machine = Machine {
        architecture: 7,
        uuid: Some([9; 16]),
    };

    fn value(identify: Identify, wanted: u8) -> Option<Vec<u8>> {
        let mut options = options(identify, MAC, MACHINE).into_iter();
        options.find_map(|(code, value)| (code == wanted).then_some(value))
    }

    #[test]
    fn each_identity_has_the_class_that_servers_look_for() {
        let class = |identify| String::from_utf8(value(identify, 60).unwrap()).unwrap();
        assert_eq!(class(Identify::Pxe), "PXEClient:Arch:00007:UNDI:003016");
        assert_eq!(class(Identify::Ipxe), "PXEClient:Arch:00007:UNDI:003016");
        assert_eq!(class(Identify::Http), "HTTPClient:Arch:00016:UNDI:003016");
        assert_eq!(class(Identify::Plain), "wireboot");
        assert_eq!(value(Identify::Ipxe, 77), Some(b"iPXE".to_vec()));
        assert_eq!(value(Identify::Http, 93), Some(vec![0, 16]));
        assert_eq!(value(Identify::Plain, 97), None);
        assert_eq!(
            value(Identify::Plain, 61),
            Some(vec![1, 0x52, 0x54, 0, 0x12, 0x34, 0x56])
        );
    }

    #[test]
    fn a_uuid_is_sent_in_the_order_of_the_firmware() {
        let uuid = parse_uuid("00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        let expected = [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66];
        assert_eq!(uuid[..8], expected);
        assert_eq!(uuid[8..10], [0x88, 0x99]);
        for wrong in ["", "Not Settable", "+0112233-4455-6677-8899-aabbccddeeff"] {
            assert_eq!(parse_uuid(wrong), None);
        }
    }
}
