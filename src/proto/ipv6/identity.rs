//! How a client names itself to DHCPv6 servers: DUID, classes, architecture.

use crate::prelude::*;

use crate::dhcp::config::{ClientId, Identify, Introduction};
use crate::dhcp::identity::{DUID_LL, DUID_UUID, MachineIdentity, UNDI, reordered};
use crate::packet::dhcpv6::{code, counted};
use crate::packet::ethernet::MacAddress;

/// Intel's number, under which PXE and HTTP boot have their vendor classes, as firmware and iPXE send them.
const ENTERPRISE_INTEL: u32 = 343;
/// Type of a network interface that speaks UNDI (RFC 5970 §3.4).
const UNDI_TYPE: u8 = 1;
/// Flag of option 39: the server is to update the DNS (RFC 4704 §4.1).
const FQDN_SERVER_UPDATES: u8 = 1;

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its identifier (DUID).
    pub duid: Vec<u8>,
    /// The number of its association, the same after each start.
    pub iaid: [u8; 4],
    /// Options sent with every message beside these.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Identity {
    /// Returns the identity of `machine` on the interface `mac`.
    pub fn new(
        identify: Identify,
        introduction: &Introduction,
        host_name: Option<&str>,
        mac: MacAddress,
        machine: MachineIdentity,
    ) -> Self {
        let MacAddress([_, _, iaid @ ..]) = mac;
        let mut options = Vec::new();
        let boot_client = match identify {
            Identify::Plain => None,
            Identify::Pxe | Identify::Ipxe => Some(("PXEClient", machine.architecture)),
            Identify::Http => Some(("HTTPClient", machine.http_architecture())),
        };
        let user_class = (identify == Identify::Ipxe).then_some("iPXE");
        if let Some(class) = introduction.user_class.as_deref().or(user_class) {
            options.push((code::USER_CLASS, counted(class.as_bytes())));
        }
        let mut class = None;
        if let Some((kind, architecture)) = boot_client {
            let [_, major, minor] = UNDI;
            let name = format!("{kind}:Arch:{architecture:05}:UNDI:{major:03}{minor:03}");
            class = Some(name);
            let architecture = architecture.to_be_bytes().to_vec();
            options.push((code::CLIENT_ARCHITECTURE, architecture));
            options.push((code::CLIENT_NII, vec![UNDI_TYPE, major, minor]));
        }
        if let Some(class) = introduction.vendor_class.as_ref().or(class.as_ref()) {
            let number = ENTERPRISE_INTEL.to_be_bytes();
            let value = [&number[..], &counted(class.as_bytes())].concat();
            options.push((code::VENDOR_CLASS, value));
        }
        options.extend(host_name.map(|name| (code::CLIENT_FQDN, named(name))));
        Self {
            duid: duid(&introduction.client_id, mac, machine.uuid),
            iaid,
            options,
        }
    }
}

/// Returns the identifier: the same bytes as in DHCPv4's option 61 behind the IAID (RFC 4361 §6.1).
fn duid(kind: &ClientId, MacAddress(mac): MacAddress, uuid: Option<[u8; 16]>) -> Vec<u8> {
    match (kind, uuid) {
        (ClientId::Bytes(bytes), _) => bytes.clone(),
        (ClientId::Duid, Some(uuid)) => [&DUID_UUID[..], &reordered(uuid)].concat(),
        (ClientId::Duid, None) | (ClientId::Mac, _) => [&DUID_LL[..], &mac].concat(),
    }
}

/// Returns the value of option 39; a name without a domain ends without the root (RFC 4704 §4.2).
fn named(name: &str) -> Vec<u8> {
    let mut value = vec![FQDN_SERVER_UPDATES];
    let name = name.trim_end_matches('.');
    for label in name.split('.') {
        value.extend(u8::try_from(label.len()));
        value.extend_from_slice(label.as_bytes());
    }
    if name.contains('.') {
        value.push(0);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn identity(identify: Identify, client_id: ClientId, uuid: Option<[u8; 16]>) -> Identity {
        let introduction = Introduction {
            client_id,
            ..Introduction::default()
        };
        let machine = MachineIdentity {
            architecture: 7,
            uuid,
        };
        Identity::new(identify, &introduction, Some("node7.lab"), MAC, machine)
    }

    fn value(identity: &Identity, wanted: u16) -> Option<&[u8]> {
        let mut options = identity.options.iter();
        options.find_map(|(code, value)| (*code == wanted).then_some(&value[..]))
    }

    #[test]
    fn the_identifier_is_of_the_interface_or_of_the_machine() {
        let of_link = [0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
        let by = |kind, uuid| identity(Identify::Plain, kind, uuid).duid;
        assert_eq!(by(ClientId::Mac, Some([9; 16])), of_link);
        assert_eq!(by(ClientId::Duid, None), of_link);
        let of_machine = by(ClientId::Duid, Some(*b"\0\x01\x02\x03456789abcdef"));
        assert_eq!(of_machine[..6], [0, 4, 3, 2, 1, 0]);
        assert_eq!(by(ClientId::Bytes(vec![1, 2]), None), [1, 2]);
        assert_eq!(
            identity(Identify::Plain, ClientId::Mac, None).iaid,
            [0, 0x12, 0x34, 0x56]
        );
    }

    #[test]
    fn a_boot_client_says_what_it_is_and_a_plain_one_does_not() {
        let ipxe = identity(Identify::Ipxe, ClientId::Mac, None);
        assert_eq!(value(&ipxe, 15), Some(&b"\0\x04iPXE"[..]));
        assert_eq!(value(&ipxe, 61), Some(&[0, 7][..]));
        assert_eq!(value(&ipxe, 62), Some(&[1, 3, 16][..]));
        let class = b"\0\0\x01\x57\0\x20PXEClient:Arch:00007:UNDI:003016";
        assert_eq!(value(&ipxe, 16), Some(&class[..]));
        assert_eq!(value(&ipxe, 39), Some(&b"\x01\x05node7\x03lab\0"[..]));
        let http = identity(Identify::Http, ClientId::Mac, None);
        assert_eq!(value(&http, 61), Some(&[0, 16][..]));
        assert!(
            value(&http, 16)
                .unwrap()
                .starts_with(b"\0\0\x01\x57\0\x21HTTPClient")
        );
        let plain = identity(Identify::Plain, ClientId::Mac, None);
        assert_eq!(plain.options.len(), 1);
    }
}
