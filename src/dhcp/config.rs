//! What the client is told before it begins.

use std::time::Duration;

use crate::config::{Detection, Identify, Introduction};
use crate::wire::ethernet::MacAddress;
use crate::wire::option::code;

/// The options asked for (option 55), in order of preference; 121 stands before 3 (RFC 3442).
///
/// Not IPv6-only preferred (108): who asks for it can do without IPv4 (RFC 8925 §3.1), and a boot by
/// this program cannot.
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

/// What PXE clients ask for besides: numbers that RFC 4578 §3 leaves to vendors.
const PXE_VENDOR: std::ops::RangeInclusive<u8> = 128..=135;

/// Returns the options asked for by a machine that presents itself as `identify`, with the wishes
/// of its user.
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
    list.retain(|code| !introduction.not_requested.contains(code));
    for code in &introduction.requested {
        if !list.contains(code) {
            list.push(*code);
        }
    }
    list
}

/// The client's part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Our hardware address.
    pub chaddr: MacAddress,
    /// Options sent with every message: client identifier, classes, architecture.
    pub identity: Vec<(u8, Vec<u8>)>,
    /// Options asked for.
    pub requested: Vec<u8>,
    /// Where jitter and transaction numbers come from: another one for each machine and start.
    pub seed: u64,
    /// Whether an offer with a boot file is worth waiting for.
    pub wants_boot_file: bool,
    /// How long an offer without a boot file waits for a better one.
    pub proxy_wait: Duration,
    /// Whether a server may commit a lease in answer to the DISCOVER (RFC 4039), so that half of
    /// the exchange is enough. Not for a client that compares offers: each would be committed.
    pub rapid_commit: bool,
    /// How thoroughly it is made sure that no other host has the address.
    pub detection: Detection,
}

impl Config {
    /// Returns the configuration of a plain client: the first offer is taken.
    pub fn new(chaddr: MacAddress, seed: u64) -> Self {
        Self {
            chaddr,
            identity: Vec::new(),
            requested: REQUESTED.to_vec(),
            seed,
            wants_boot_file: false,
            proxy_wait: Duration::from_secs(1),
            rapid_commit: false,
            detection: Detection::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::parse::word;

    #[test]
    fn what_is_asked_for_follows_the_identity_and_the_user() {
        let mut config = crate::config::Config::default();
        let list =
            |config: &crate::config::DhcpConfig| requested(config.identify, &config.introduction);
        let place = |list: &[u8], wanted| list.iter().position(|code| *code == wanted);
        let plain = list(&config.dhcp);
        assert!(place(&plain, 121) < place(&plain, 3) && place(&plain, 249) < place(&plain, 3));
        assert_eq!((place(&plain, 128), place(&plain, 175)), (None, None));
        config.dhcp.identify = Identify::Ipxe;
        assert!(list(&config.dhcp).ends_with(&[175, 128, 129, 130, 131, 132, 133, 134, 135]));
        for (name, value) in [
            ("request", "108,tz-posix,3"),
            ("no-request", "ntp_servers,15"),
        ] {
            word(&mut config, name, Some(value), |_| false).unwrap();
        }
        let changed = list(&config.dhcp);
        assert!(changed.ends_with(&[135, 108, 100]));
        assert!(!changed.contains(&42) && !changed.contains(&15));
        let wrong = word(&mut config, "request", Some("3,routerz"), |_| false);
        assert!(wrong.unwrap_err().contains("routerz"));
    }
}
