//! Options by which a client identifies itself: client identifier, classes, architecture and machine (RFC
//! 2132, RFC 3004, RFC 4361, RFC 4578).

use crate::prelude::*;
use core::cell::LazyCell;

use crate::dhcp::config::{ClientId, Identify, Introduction};
use crate::packet::ethernet::MacAddress;
use crate::packet::option::code;

/// Hardware type of Ethernet, before the address in a client identifier (RFC 2132 §9.14).
const ETHERNET: u8 = 1;
/// UNDI 3.16, as iPXE announces it (RFC 4578 §2.2).
const UNDI: [u8; 3] = [1, 3, 16];
/// Type of the machine identifier: a UUID (RFC 4578 §2.3).
const TYPE_UUID: u8 = 0;

/// Type of a client identifier of IAID and DUID (RFC 4361 §6.1).
const TYPE_DUID: u8 = 255;
/// DUID-UUID (RFC 6355), in the order of the text.
const DUID_UUID: [u8; 2] = [0, 4];
/// DUID-LL of Ethernet (RFC 8415 §11.4).
pub(crate) const DUID_LL: [u8; 4] = [0, 3, 0, ETHERNET];
/// Flags of option 81: the server is to update the DNS; the name is encoded as there.
const FQDN_SERVER_UPDATES: u8 = 1;
const FQDN_ENCODED: u8 = 4;

/// The machine as described by its firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineIdentity {
    /// Processor and firmware, by the numbers of RFC 4578 and its registry.
    pub architecture: u16,
    /// UUID in the firmware's order of bytes.
    pub uuid: Option<[u8; 16]>,
}

impl MachineIdentity {
    /// Returns the number of this architecture for HTTP boot, if it has one.
    const fn http_architecture(self) -> u16 {
        // IANA's processor architecture types: UEFI's number, and that of the same processor for HTTP.
        match self.architecture {
            6 => 15,
            // RFC 4578 has 9 for x86-64 and 7 for EFI byte code, but x86-64 firmware sends 7 (its
            // erratum).
            7 | 9 => 16,
            10 => 18,
            11 => 19,
            25 => 26,
            27 => 28,
            other => other,
        }
    }
}

/// Returns the options: client identifier, classes, architecture, and the host name if there is one.
/// `machine` is called only if it is needed.
pub fn options(
    identify: Identify,
    introduction: &Introduction,
    host_name: Option<&str>,
    chaddr: MacAddress,
    machine: impl FnOnce() -> MachineIdentity,
) -> Vec<(u8, Vec<u8>)> {
    let machine = LazyCell::new(machine);
    let client_id = client_id(&introduction.client_id, chaddr, || machine.uuid);
    let mut options = vec![(code::CLIENT_IDENTIFIER, client_id)];
    let (mut class, mut user_class) = ("wireboot".to_owned(), None);
    let boot_client = match identify {
        Identify::Plain => None,
        Identify::Pxe => Some(("PXEClient", machine.architecture)),
        Identify::Ipxe => {
            // Without the lengths of RFC 3004, as iPXE sends it and servers match it.
            user_class = Some("iPXE");
            options.push((code::IPXE_ENCAPSULATED, ipxe_features()));
            Some(("PXEClient", machine.architecture))
        }
        Identify::Http => Some(("HTTPClient", machine.http_architecture())),
    };
    if let Some((kind, architecture)) = boot_client {
        let [_, major, minor] = UNDI;
        // PXE 2.1 fixes this form, PXEClient:Arch:xxxxx:UNDI:yyyzzz, and servers match on it.
        class = format!("{kind}:Arch:{architecture:05}:UNDI:{major:03}{minor:03}");
        options.push((code::CLIENT_SYSTEM, architecture.to_be_bytes().to_vec()));
        options.push((code::CLIENT_NDI, UNDI.to_vec()));
        if let Some(uuid) = machine.uuid {
            // RFC 4578 §2.3: in every message of a PXE client; a machine may have no UUID.
            options.push((code::CLIENT_MACHINE_ID, [&[TYPE_UUID], &uuid[..]].concat()));
        }
    }
    let class = introduction.vendor_class.as_deref().unwrap_or(&class);
    options.push((code::VENDOR_CLASS, class.into()));
    if let Some(class) = introduction.user_class.as_deref().or(user_class) {
        options.push((code::USER_CLASS, class.into()));
    }
    options.extend(host_name.map(named));
    options
}

/// Returns the value of option 61.
fn client_id(
    kind: &ClientId,
    chaddr: MacAddress,
    uuid: impl FnOnce() -> Option<[u8; 16]>,
) -> Vec<u8> {
    let MacAddress(mac) = chaddr;
    match kind {
        ClientId::Mac => [&[ETHERNET], &mac[..]].concat(),
        ClientId::Bytes(bytes) => bytes.clone(),
        ClientId::Duid => {
            // The IAID is that of dhcpcd: stable, and different for each interface.
            let [_, _, iaid @ ..] = mac;
            let duid = match uuid() {
                Some(uuid) => [&DUID_UUID[..], &reordered(uuid)].concat(),
                // A DUID-LLT needs a clock and storage (RFC 8415 §11.2), which an initramfs lacks.
                None => [&DUID_LL[..], &mac].concat(),
            };
            [&[TYPE_DUID], &iaid[..], &duid].concat()
        }
    }
}

/// Returns the option with the host name: of a fully qualified name option 81, for DNS updates (RFC
/// 4702), without option 12 beside it (§3.1).
fn named(name: &str) -> (u8, Vec<u8>) {
    let name = name.trim_end_matches('.');
    if !name.contains('.') {
        return (code::HOST_NAME, name.into());
    }
    // RFC 4702 §2.2: the two result codes are obsolete, and 0 from a client.
    let mut value = vec![FQDN_SERVER_UPDATES | FQDN_ENCODED, 0, 0];
    for label in name.split('.') {
        value.extend(u8::try_from(label.len()));
        value.extend_from_slice(label.as_bytes());
    }
    value.push(0);
    (code::CLIENT_FQDN, value)
}

/// Returns option 175, by which servers recognize iPXE and its features.
fn ipxe_features() -> Vec<u8> {
    // iPXE's include/ipxe/features.h has these numbers as DHCP_EB_FEATURE_….
    const HTTP: u8 = 0x13;
    const HTTPS: u8 = 0x14;
    const TFTP: u8 = 0x15;
    const DNS: u8 = 0x17;
    const BZIMAGE: u8 = 0x18;
    const MENU: u8 = 0x27;
    let mut features = vec![HTTP, TFTP, DNS, BZIMAGE, MENU];
    if cfg!(feature = "tls") {
        features.push(HTTPS);
    }
    // Length 1, and version 1 of the feature.
    features.iter().flat_map(|code| [*code, 1, 1]).collect()
}

/// Returns a UUID with the bytes of its first three fields swapped.
fn reordered(mut uuid: [u8; 16]) -> [u8; 16] {
    for field in [0..4, 4..6, 6..8] {
        if let Some(field) = uuid.get_mut(field) {
            field.reverse();
        }
    }
    uuid
}

/// Parses a UUID in the kernel's form (`product_uuid`) and returns the firmware's: with the first three
/// fields little-endian (SMBIOS 2.6).
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    Some(reordered(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    const MACHINE: MachineIdentity = MachineIdentity {
        architecture: 7,
        uuid: Some([9; 16]),
    };

    fn value_of(introduction: &Introduction, wanted: u8) -> Option<Vec<u8>> {
        let options = options(Identify::Plain, introduction, None, MAC, || MACHINE);
        find(options, wanted)
    }

    fn value(identify: Identify, wanted: u8) -> Option<Vec<u8>> {
        let introduction = Introduction::default();
        find(
            options(identify, &introduction, None, MAC, || MACHINE),
            wanted,
        )
    }

    fn find(options: Vec<(u8, Vec<u8>)>, wanted: u8) -> Option<Vec<u8>> {
        let mut options = options.into_iter();
        options.find_map(|(code, value)| (code == wanted).then_some(value))
    }

    fn known_by(client_id: ClientId) -> Introduction {
        Introduction {
            client_id,
            ..Introduction::default()
        }
    }

    #[test]
    fn the_client_identifier_is_the_address_the_duid_or_what_is_given() {
        let mac = [1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
        assert_eq!(value_of(&known_by(ClientId::Mac), 61).unwrap(), mac);
        let bytes = known_by("00:ab:cd".parse().unwrap());
        assert_eq!(value_of(&bytes, 61).unwrap(), [0, 0xab, 0xcd]);
        let duid = known_by(ClientId::Duid);
        let of_uuid = value_of(&duid, 61).unwrap();
        assert_eq!(of_uuid[..7], [255, 0, 0x12, 0x34, 0x56, 0, 4]);
        assert_eq!(of_uuid.len(), 7 + 16);
        let machine = MachineIdentity {
            uuid: None,
            ..MACHINE
        };
        let (_, of_mac) = options(Identify::Plain, &duid, None, MAC, || machine).swap_remove(0);
        let expected = [
            255, 0, 0x12, 0x34, 0x56, 0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56,
        ];
        assert_eq!(of_mac, expected);
        for wrong in ["", "ab", "0xabcd", "mac "] {
            assert!(wrong.parse::<ClientId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plain_name_is_told_as_such_and_a_whole_one_for_the_dns() {
        let of_name = |name, wanted| {
            let introduction = Introduction::default();
            let options = options(Identify::Plain, &introduction, Some(name), MAC, || MACHINE);
            find(options, wanted)
        };
        assert_eq!(of_name("node7", 12), Some(b"node7".to_vec()));
        assert_eq!(of_name("node7", 81), None);
        assert_eq!(of_name("node7.example.", 12), None);
        assert_eq!(
            of_name("node7.example.", 81),
            Some(b"\x05\0\0\x05node7\x07example\0".to_vec())
        );
    }

    #[test]
    fn classes_can_be_replaced() {
        let introduction = Introduction {
            vendor_class: Some("udhcp 1".to_owned()),
            user_class: Some("lab".to_owned()),
            ..Introduction::default()
        };
        assert_eq!(value_of(&introduction, 60), Some(b"udhcp 1".to_vec()));
        assert_eq!(value_of(&introduction, 77), Some(b"lab".to_vec()));
    }

    #[test]
    fn each_identity_has_the_class_that_servers_look_for() {
        let class = |identify| String::from_utf8(value(identify, 60).unwrap()).unwrap();
        assert_eq!(class(Identify::Pxe), "PXEClient:Arch:00007:UNDI:003016");
        assert_eq!(class(Identify::Ipxe), "PXEClient:Arch:00007:UNDI:003016");
        assert_eq!(class(Identify::Http), "HTTPClient:Arch:00016:UNDI:003016");
        assert_eq!(class(Identify::Plain), "wireboot");
        assert_eq!(value(Identify::Ipxe, 77), Some(b"iPXE".to_vec()));
        assert!(value(Identify::Ipxe, 175).is_some_and(|value| value.starts_with(&[0x13, 1, 1])));
        assert_eq!(value(Identify::Pxe, 175), None);
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
