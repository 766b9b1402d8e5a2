//! Configuration of a client.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::str::FromStr;
use core::time::Duration;

use crate::ipv6::lease::Given6;
use crate::named;
use crate::packet::ethernet::MacAddress;
use crate::packet::option::code;
use crate::packet::option::known::parse_hex;

/// The client type sent to servers (options 60, 77, 93, 94 and 97), on which their offers depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identify {
    /// PXE firmware: servers send a boot program.
    Pxe,
    /// iPXE: servers configured for it send a script.
    Ipxe,
    /// UEFI HTTP boot: servers send a URL.
    Http,
    /// No boot client.
    #[default]
    Plain,
}

named!(Identify: "pxe" => Pxe, "ipxe" => Ipxe, "http" => Http, "plain" => Plain);

/// Address conflict detection (RFC 5227).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detection {
    /// As in the RFC: 4 to 7 s of probing before the address is used.
    Strict,
    /// Probing during the REQUEST, which takes no extra time.
    #[default]
    Overlapped,
    /// None; no ARP is sent.
    Off,
}

named!(Detection: "strict" => Strict, "overlapped" => Overlapped, "off" => Off);

/// The client identifier (option 61).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientId {
    /// The hardware address, as of most clients.
    #[default]
    Mac,
    /// IAID and DUID, the same for every client program (RFC 4361).
    Duid,
    /// These bytes.
    Bytes(Vec<u8>),
}

impl FromStr for ClientId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "mac" => Ok(Self::Mac),
            "duid" => Ok(Self::Duid),
            // A type and at least one byte (RFC 2132 §9.14).
            text => match parse_hex(text) {
                Some(bytes) if (2..=255).contains(&bytes.len()) => Ok(Self::Bytes(bytes)),
                _ => Err("not mac, duid or 2 to 255 octets in hexadecimal digits"),
            },
        }
    }
}

/// Options sent to and requested from servers, besides those of [`Identify`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Introduction {
    /// The client identifier.
    pub client_id: ClientId,
    /// Option 60, in place of the default.
    pub vendor_class: Option<String>,
    /// Option 77, in place of the default.
    pub user_class: Option<String>,
    /// Additional requested options.
    pub requested: Vec<u8>,
    /// Options that are not requested.
    pub not_requested: Vec<u8>,
}

/// Static settings, beside a lease or in place of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StaticConfig {
    /// The address and its prefix length, 0 to 32; with it DHCP is not used.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The boot server, for an address without DHCP.
    pub server: Option<Ipv4Addr>,
    /// Routes: network, prefix length and router; without a router it is on the link.
    pub routes: Vec<(Ipv4Addr, u8, Option<Ipv4Addr>)>,
    /// Resolvers, asked before those of the lease.
    pub dns: Vec<Ipv4Addr>,
    /// Whether the resolvers of the lease are ignored.
    pub ignores_server_dns: bool,
    /// The host name, in place of the lease's.
    pub host_name: Option<String>,
    /// The MTU in bytes, in place of the lease's.
    pub mtu_octets: Option<u16>,
    /// What is given of IPv6.
    pub ipv6: Given6,
}

/// The requested options (option 55), in order of preference; 121 before 3 (RFC 3442).
///
/// Without IPv6-only preferred (108), which is for hosts that do not need IPv4 (RFC 8925 §3.1).
pub const REQUESTED: &[u8] = &[
    code::SUBNET_MASK,
    code::CLASSLESS_STATIC_ROUTE,
    code::MS_CLASSLESS_STATIC_ROUTE,
    code::ROUTER,
    code::DOMAIN_NAME_SERVER,
    code::HOST_NAME,
    code::DOMAIN_NAME,
    code::ROOT_PATH,
    code::INTERFACE_MTU,
    code::BROADCAST_ADDRESS,
    code::NTP_SERVERS,
    code::VENDOR_SPECIFIC,
    code::LEASE_TIME,
    code::SERVER_IDENTIFIER,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::VENDOR_CLASS,
    code::TFTP_SERVER_NAME,
    code::BOOT_FILE_NAME,
    code::DOMAIN_SEARCH,
    code::TFTP_SERVER_ADDRESS,
    code::CONFIG_FILE,
    code::PATH_PREFIX,
    code::REBOOT_TIME,
];

/// Additional options requested by PXE clients, which RFC 4578 §3 leaves to vendors.
const PXE_VENDOR: core::ops::RangeInclusive<u8> = 128..=135;

/// Returns the options requested by the client type `identify` and by the user.
pub fn requested(identify: Identify, introduction: &Introduction) -> Vec<u8> {
    let mut list = REQUESTED.to_vec();
    match identify {
        Identify::Plain | Identify::Http => {}
        Identify::Pxe => list.extend(PXE_VENDOR),
        Identify::Ipxe => {
            list.push(code::IPXE_ENCAPSULATED);
            list.extend(PXE_VENDOR);
        }
    }
    // Before the user's own are added: a code in both lists is requested.
    list.retain(|code| !introduction.not_requested.contains(code));
    for code in &introduction.requested {
        if !list.contains(code) {
            list.push(*code);
        }
    }
    list
}

/// Configuration of a client on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The hardware address of the interface.
    pub chaddr: MacAddress,
    /// Options sent with every message: client identifier, classes, architecture.
    pub identity: Vec<(u8, Vec<u8>)>,
    /// Requested options.
    pub requested: Vec<u8>,
    /// The seed of jitter and transaction identifiers, different for each machine and start.
    pub seed: u64,
    /// Whether to wait for an offer with a boot file.
    pub wants_boot_file: bool,
    /// How long an offer without a boot file waits for a better one, without a word.
    pub proxy_wait: Duration,
    /// How much longer it waits for a boot file, after [`Notice::AwaitsBootFile`](super::Notice).
    pub late_wait: Duration,
    /// Whether a server may grant a lease in answer to the DISCOVER (RFC 4039). Not for a client that
    /// compares offers: each would be committed.
    pub rapid_commit: bool,
    /// Address conflict detection.
    pub detection: Detection,
    /// Whether servers are asked to answer by broadcast (RFC 2131 §4.1) from the first message on, and not
    /// only from the third without an answer.
    pub broadcast: bool,
}

impl Config {
    /// Returns how long an offer without a boot file waits for a better one.
    pub(super) fn boot_file_wait(&self) -> Duration {
        self.proxy_wait + self.late_wait
    }

    /// Returns the configuration of a plain client, which accepts the first offer.
    pub fn new(chaddr: MacAddress, seed: u64) -> Self {
        Self {
            chaddr,
            identity: Vec::new(),
            requested: REQUESTED.to_vec(),
            seed,
            wants_boot_file: false,
            proxy_wait: Duration::from_secs(1),
            late_wait: Duration::ZERO,
            rapid_commit: false,
            detection: Detection::default(),
            broadcast: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_follows_the_identity_and_the_user() {
        let mut introduction = Introduction::default();
        let place = |list: &[u8], wanted| list.iter().position(|code| *code == wanted);
        let plain = requested(Identify::Plain, &introduction);
        assert!(place(&plain, 121) < place(&plain, 3) && place(&plain, 249) < place(&plain, 3));
        assert_eq!((place(&plain, 128), place(&plain, 175)), (None, None));
        let ipxe = requested(Identify::Ipxe, &introduction);
        assert!(ipxe.ends_with(&[175, 128, 129, 130, 131, 132, 133, 134, 135]));
        introduction.requested = vec![108, 100, 3];
        introduction.not_requested = vec![42, 15];
        let changed = requested(Identify::Ipxe, &introduction);
        assert!(changed.ends_with(&[135, 108, 100]));
        assert!(!changed.contains(&42) && !changed.contains(&15));
    }
}
