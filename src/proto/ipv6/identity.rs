//! Who the client is for servers, and the messages by which it says so.

use crate::prelude::*;

use super::exchange::Exchange;
use super::offer::Offer;
use crate::dhcp::config::{ClientId, Identify, Introduction};
use crate::dhcp::identity::DUID_LL;
use crate::packet::dhcpv6::{MessageType, begin, code, counted, put};
use crate::packet::ethernet::MacAddress;
use crate::packet::option::code as code4;
use crate::time::Instant;

/// Intel's number, under which PXE and HTTP boot have their vendor classes, as firmware and iPXE send them.
const ENTERPRISE_INTEL: u32 = 343;
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
    /// Returns the identity of a client on the interface `mac` whose options of DHCPv4 are `options`, as
    /// [`identity::options`](crate::dhcp::identity::options) has made them.
    pub fn new(
        identify: Identify,
        introduction: &Introduction,
        mac: MacAddress,
        options: &[(u8, Vec<u8>)],
    ) -> Self {
        let MacAddress([_, _, iaid @ ..]) = mac;
        let mut identity = Self {
            duid: Vec::new(),
            iaid,
            options: Vec::new(),
        };
        let has_class = identify != Identify::Plain || introduction.vendor_class.is_some();
        for (code, value) in options {
            let (code, value) = match *code {
                code4::CLIENT_IDENTIFIER => {
                    identity.duid = duid(&introduction.client_id, mac, value);
                    continue;
                }
                code4::CLIENT_SYSTEM => (code::CLIENT_ARCHITECTURE, value.clone()),
                // A type of interface, which UNDI is, and its version (RFC 5970 §3.4).
                code4::CLIENT_NDI => (code::CLIENT_NII, value.clone()),
                code4::USER_CLASS => (code::USER_CLASS, counted(value)),
                code4::VENDOR_CLASS if has_class => {
                    let number = ENTERPRISE_INTEL.to_be_bytes();
                    let value = [&number[..], &counted(value)].concat();
                    (code::VENDOR_CLASS, value)
                }
                // A name without a domain ends without the root (RFC 4704 §4.2).
                code4::HOST_NAME => {
                    let [.., len] = value.len().to_be_bytes();
                    let value = [&[FQDN_SERVER_UPDATES, len], &value[..]].concat();
                    (code::CLIENT_FQDN, value)
                }
                code4::CLIENT_FQDN => {
                    // Behind the flags and two codes that are obsolete (RFC 4702 §2.2).
                    let name = value.get(3..).unwrap_or_default();
                    let value = [&[FQDN_SERVER_UPDATES], name].concat();
                    (code::CLIENT_FQDN, value)
                }
                _ => continue,
            };
            identity.options.push((code, value));
        }
        identity
    }
}

/// Returns the identifier: the same bytes as in DHCPv4's option 61 behind the IAID (RFC 4361 §6.1).
fn duid(kind: &ClientId, MacAddress(mac): MacAddress, client_id: &[u8]) -> Vec<u8> {
    match (kind, client_id) {
        (ClientId::Duid, [_, _, _, _, _, duid @ ..]) => duid.to_vec(),
        (ClientId::Bytes(bytes), _) => bytes.clone(),
        (ClientId::Duid | ClientId::Mac, _) => [&DUID_LL[..], &mac].concat(),
    }
}

/// What is asked for; 82 and 83 must be (RFC 8415 §18.2.1, §18.2.6).
const REQUESTED: [u16; 9] = [
    code::DNS_SERVERS,
    code::DOMAIN_LIST,
    code::BOOT_FILE_URL,
    code::BOOT_FILE_PARAMETERS,
    code::NTP_SERVER,
    code::SNTP_SERVERS,
    code::SOL_MAX_RT,
    code::INF_MAX_RT,
    code::CAPTIVE_PORTAL,
];

impl Identity {
    /// Returns the message of an exchange that is about `offer`, which began `elapsed` hundredths of a second
    /// ago.
    pub(super) fn message(
        &self,
        exchange: &Exchange,
        elapsed: u16,
        offer: Option<&Offer>,
        now: Instant,
    ) -> Vec<u8> {
        let kind = exchange.kind;
        let mut message = begin(kind, exchange.transaction);
        put(&mut message, code::CLIENT_ID, &self.duid);
        // Others are for every server.
        let is_for_all = [MessageType::REBIND, MessageType::CONFIRM].contains(&kind);
        if let Some(offer) = offer.filter(|_| !is_for_all) {
            put(&mut message, code::SERVER_ID, &offer.server_id);
        }
        put(&mut message, code::ELAPSED_TIME, &elapsed.to_be_bytes());
        let ends_lease = [MessageType::RELEASE, MessageType::DECLINE].contains(&kind);
        if !ends_lease {
            let mut requested = Vec::new();
            for code in REQUESTED {
                requested.extend(code.to_be_bytes());
            }
            // RFC 8415 §21.23.
            if kind == MessageType::INFORMATION_REQUEST {
                requested.extend(code::INFORMATION_REFRESH_TIME.to_be_bytes());
            }
            put(&mut message, code::OPTION_REQUEST, &requested);
        }
        if kind != MessageType::INFORMATION_REQUEST {
            // T1 and T2 are left to the server.
            let mut association = [&self.iaid[..], &[0; 8]].concat();
            for given in offer.map_or_else(Vec::new, |offer| offer.addresses(now)) {
                // Lifetimes, too.
                let mut value = [0; 24];
                if let Some(address) = value.first_chunk_mut() {
                    *address = given.address.octets();
                }
                put(&mut association, code::IA_ADDRESS, &value);
            }
            put(&mut message, code::IA_NA, &association);
        }
        if !ends_lease {
            for (code, value) in &self.options {
                put(&mut message, *code, value);
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::identity::{MachineIdentity, options};

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
        let name = Some("node7.lab");
        let options = options(identify, &introduction, name, MAC, || machine);
        Identity::new(identify, &introduction, MAC, &options)
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
