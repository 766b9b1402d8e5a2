//! A lease: the address and configuration that a server granted, by name.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::dhcp::config::StaticConfig;
use crate::ipv6::lease::Lease6;
use crate::packet::dhcp::Message;
use crate::packet::option::{Options, code};
use crate::text::names;

use super::boot_service::{
    self, BootService, BootSource, IgnoredOptions, Next, Rank, checked_text,
};
use super::network;
pub use super::network::StaticRoute;

/// Lease time when an ACK names none, which RFC 2131 does not allow but servers do.
// udhcpc of busybox takes an hour, too.
const DEFAULT_LEASE_TIME: Duration = Duration::from_secs(3600);
/// Shortest lease that is kept to: a request after half of it can be repeated twice, a second apart.
// Who grants 0 s grants nothing (the client). busybox's udhcpc takes less than 16 s for 16 s, dhcpcd less
// than 20 s for 20 s.
const MIN_LEASE_TIME: Duration = Duration::from_secs(3);
// RFC 2131 §3.3: this time stands for infinity.
const INFINITE: u32 = u32::MAX;

/// Times of a lease, counted from when it was requested; renewal < rebinding < lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// End of the lease (option 51).
    pub lease: Duration,
    /// T1 (option 58): the server is asked to renew.
    pub renewal: Duration,
    /// T2 (option 59): any server is asked.
    pub rebinding: Duration,
}

/// Address with the configuration that was granted with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Our address (`yiaddr`).
    pub address: Ipv4Addr,
    /// Prefix of the address, 0 to 32 bits (option 1, or by class when absent).
    pub prefix_len: u8,
    /// Server that granted it (option 54); of a configured address the boot server, if one is
    /// configured.
    pub server: Option<Ipv4Addr>,
    /// Routes in the order to be set; option 121 rules out option 3 (RFC 3442).
    pub routes: Vec<StaticRoute>,
    /// Broadcast address (option 28).
    pub broadcast: Option<Ipv4Addr>,
    /// Largest datagram, 68 bytes or more (option 26).
    pub mtu_octets: Option<u16>,
    /// Resolvers (option 6).
    pub dns: Vec<Ipv4Addr>,
    /// Domain (the first name in option 15), checked against its grammar.
    pub domain: Option<String>,
    /// Domains that names are looked up in (option 119, or 15 with several names), checked against their
    /// grammar.
    pub search: Vec<String>,
    /// Our host name (option 12), checked against its grammar.
    pub host_name: Option<String>,
    /// Where the boot file is (`siaddr`, or option 150 where no other server is named).
    pub next_server: Option<Ipv4Addr>,
    /// Name of the boot server (option 66, or `sname`), with a port, scheme or folder if it has one.
    pub server_name: Option<String>,
    /// The boot file (option 67, or `file`): a path or a URL.
    pub boot_file: Option<String>,
    /// The boot service, of a PXE server (options 60 and 43).
    pub boot_service: Option<BootService>,
    /// Boot services of other offers, for when that one does not answer.
    pub other_services: Vec<BootService>,
    /// Times of the lease; none if it is infinite.
    pub times: Option<LeaseTimes>,
    /// All options as received.
    pub options: Options,
    /// Ignored options, with the reason.
    pub ignored: IgnoredOptions,
    /// What IPv6 has given, of a lease without an address of IPv4 (which is then unspecified).
    pub ipv6: Option<Box<Lease6>>,
}

impl Lease {
    /// Returns an infinite lease of an address without a server or options.
    pub fn fixed(address: Ipv4Addr, prefix_len: u8) -> Self {
        Self {
            address,
            prefix_len,
            server: None,
            routes: Vec::new(),
            broadcast: None,
            mtu_octets: None,
            dns: Vec::new(),
            domain: None,
            search: Vec::new(),
            host_name: None,
            next_server: None,
            server_name: None,
            boot_file: None,
            boot_service: None,
            other_services: Vec::new(),
            times: None,
            options: Options::default(),
            ignored: Vec::new(),
            ipv6: None,
        }
    }

    /// Returns a lease of IPv6 alone, with its boot file and the configuration that goes with it as DHCP's
    /// options have them.
    pub fn of_ipv6(lease: Lease6) -> Self {
        let mut whole = Self::fixed(Ipv4Addr::UNSPECIFIED, 0);
        whole.boot_file.clone_from(&lease.boot_file);
        if let Some(path) = lease.configuration_file() {
            whole.options.set(code::CONFIG_FILE, path.as_bytes());
        }
        whole.search.clone_from(&lease.search);
        whole.ipv6 = Some(Box::new(lease));
        whole
    }

    /// Reads the lease in `message`; `server` is its option 54.
    ///
    /// Invalid values are left out and listed in [`Lease::ignored`].
    pub fn read(message: &Message, server: Ipv4Addr) -> Self {
        let options = &message.options;
        let mut ignored = Vec::new();
        network::note_wrong_lengths(options, &mut ignored);
        network::note_missing_server(options, &mut ignored);
        let boot = BootSource::read(message, server, &mut ignored);
        let (domain, search) = network::domains(options, &mut ignored);
        let prefix_len = network::prefix_len(message.yiaddr, options, &mut ignored);
        let own = (message.yiaddr, prefix_len);
        Self {
            address: message.yiaddr,
            prefix_len,
            server: Some(server),
            routes: network::routes(options, own, &mut ignored),
            broadcast: network::broadcast(options, own, &mut ignored),
            mtu_octets: network::mtu(options, &mut ignored),
            dns: network::hosts(options, code::DOMAIN_NAME_SERVER, own, &mut ignored),
            domain,
            search,
            host_name: checked_text(options, code::HOST_NAME, names::is_host_name, &mut ignored),
            next_server: boot.next_server,
            server_name: boot.server_name,
            boot_file: boot.boot_file,
            boot_service: boot.boot_service,
            other_services: Vec::new(),
            times: LeaseTimes::read(options),
            options: options.clone(),
            ignored,
            ipv6: None,
        }
    }
}

impl Lease {
    /// Returns the lease that `server` grants by `ack`. If that has no boot file, the first in
    /// `offered` is used: some servers send the file in the OFFER only, and a ProxyDHCP server sends only
    /// offers.
    pub fn granted<'a>(
        ack: &Message,
        server: Ipv4Addr,
        offered: impl IntoIterator<Item = &'a BootSource>,
    ) -> Self {
        let mut lease = Self::read(ack, server);
        for boot in offered {
            let is_better = match &lease.boot_service {
                _ if lease.boot_file.is_some() => false,
                Some(service) => service.has_only_the_disk() && boot.rank() > Rank::LocalBoot,
                None => boot.rank() >= Rank::LocalBoot,
            };
            if is_better {
                lease.adopt_boot(boot);
            }
        }
        lease
    }

    /// Replaces the boot information by that of another server.
    pub fn adopt_boot(&mut self, boot: &BootSource) {
        self.boot_file.clone_from(&boot.boot_file);
        self.boot_service.clone_from(&boot.boot_service);
        self.server_name.clone_from(&boot.server_name);
        // Without a next server the server itself has the file.
        self.next_server = boot.next_server.or(Some(boot.server));
        for (code, value) in &boot.options {
            self.options.set(*code, value.as_slice());
        }
    }

    /// Returns the servers that may have the boot file, in the order to be asked: `siaddr` and another one
    /// that is named, or else the DHCP server. [`url_of`](super::boot_service::url_of) takes them.
    pub fn file_servers(&self) -> Vec<String> {
        if let Some(lease) = &self.ipv6 {
            let server = lease.server.or_else(|| lease.gateway());
            return server
                .map(|server| format!("[{server}]"))
                .into_iter()
                .collect();
        }
        let next_server = self.next_server.filter(|server| !server.is_unspecified());
        let next_server = next_server.map(|server| server.to_string());
        let mut servers: Vec<_> = next_server.into_iter().collect();
        servers.extend(self.server_name.clone());
        // Of at most two, so that equal ones are neighbours.
        servers.dedup();
        if servers.is_empty() {
            let server = self.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
            servers.push(server.to_string());
        }
        servers
    }

    /// Returns the next step towards the boot file.
    pub fn next_boot_step(&self) -> Next<'_> {
        boot_service::next(self.boot_file.as_deref(), self.boot_service.as_ref())
    }

    /// Returns the lease of a static address; none if none is configured.
    pub fn without_dhcp(given: &StaticConfig) -> Option<Self> {
        let (address, prefix_len) = given.address?;
        let mut lease = Self {
            server: given.server,
            next_server: given.server,
            ..Self::fixed(address, prefix_len)
        };
        lease.amend(given);
        Some(lease)
    }

    /// Applies static settings to a lease of a server.
    pub fn amend(&mut self, given: &StaticConfig) {
        if given.ignores_server_dns {
            self.dns.clear();
        }
        // A resolver that is listed twice would be asked twice before the next one.
        self.dns.retain(|server| !given.dns.contains(server));
        self.dns.splice(0..0, given.dns.iter().copied());
        for (destination, prefix_len, gateway) in given.routes.iter().copied() {
            let same = |route: &StaticRoute| {
                (route.destination, route.prefix_len) == (destination, prefix_len)
            };
            // The kernel refuses a second route to the same network with the same metric (EEXIST).
            self.routes.retain(|route| !same(route));
            self.routes.push(StaticRoute {
                destination,
                prefix_len,
                gateway,
            });
        }
        if given.host_name.is_some() {
            self.host_name.clone_from(&given.host_name);
        }
        self.mtu_octets = given.mtu_octets.or(self.mtu_octets);
    }

    /// Returns the server for a message to people.
    pub fn server_text(&self) -> String {
        self.server
            .map_or_else(|| "no server".to_owned(), |server| server.to_string())
    }

    /// Returns whether it was not granted by a server.
    pub fn is_without_dhcp(&self) -> bool {
        self.options.iter().next().is_none()
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, prefix_len) = (self.address, self.prefix_len);
        let Some(server) = self.server.filter(|_| !self.is_without_dhcp()) else {
            return write!(f, "{address}/{prefix_len} as given");
        };
        write!(f, "{address}/{prefix_len} from {server}")?;
        match self.times {
            Some(times) => write!(f, " for {} s", times.lease.as_secs()),
            None => write!(f, " for ever"),
        }
    }
}

impl LeaseTimes {
    /// Reads the times; none for an infinite lease (RFC 2132 §9.2).
    ///
    /// Missing or unordered times are replaced by ½ and ⅞ of the lease time (RFC 2131 §4.4.5).
    fn read(options: &Options) -> Option<Self> {
        let lease = match options.u32(code::LEASE_TIME) {
            Some(INFINITE) => return None,
            Some(seconds) => Duration::from_secs(seconds.into()).max(MIN_LEASE_TIME),
            None => DEFAULT_LEASE_TIME,
        };
        let seconds = |code| Some(Duration::from_secs(u64::from(options.u32(code)?)));
        let rebinding = seconds(code::REBINDING_TIME)
            // RFC 2131 §4.4.5: T1 must be before T2, and T2 before the end.
            .filter(|time| !time.is_zero() && *time < lease)
            .unwrap_or(lease / 8 * 7);
        let renewal = seconds(code::RENEWAL_TIME)
            .filter(|time| !time.is_zero() && *time < rebinding)
            // Half of the lease, unless the server's T2 comes before that.
            .unwrap_or((lease / 2).min(rebinding / 8 * 7));
        Some(Self {
            lease,
            renewal,
            rebinding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::dhcp::Op;
    use crate::packet::ethernet::MacAddress;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn read(set: &[(u8, &[u8])]) -> Lease {
        let mut options = Options::default();
        options.set(code::SERVER_IDENTIFIER, SERVER.octets());
        for (code, value) in set {
            options.set(*code, *value);
        }
        let message = Message {
            op: Op::BootReply,
            xid: 1,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::new(192, 0, 2, 100),
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: MacAddress::default(),
            sname: b"boot.example".to_vec(),
            file: b"pxelinux.0".to_vec(),
            options,
        };
        Lease::read(&message, SERVER)
    }

    #[test]
    fn times_are_ordered_whatever_the_server_says() {
        let times = |lease: u32, t1: u32, t2: u32| {
            let lease = read(&[
                (51, &lease.to_be_bytes()),
                (58, &t1.to_be_bytes()),
                (59, &t2.to_be_bytes()),
            ]);
            let times = lease.times.unwrap();
            assert!(times.renewal < times.rebinding && times.rebinding < times.lease);
            (times.renewal.as_secs(), times.rebinding.as_secs())
        };
        assert_eq!(times(3600, 1000, 2000), (1000, 2000));
        assert_eq!(times(3600, 0, 0), (1800, 3150));
        assert_eq!(times(3600, 3000, 2000), (1750, 2000));
        assert_eq!(times(3600, 9000, 9000), (1800, 3150));
        assert_eq!(times(3600, 1, 3599), (1, 3599));
        assert_eq!(times(3600, u32::MAX, u32::MAX), (1800, 3150));
        assert_eq!(times(u32::MAX - 1, 2, 1), (0, 1));
        for (t1, t2) in [
            (0, 0),
            (1, 1),
            (2, 1),
            (1, 2),
            (2, 3),
            (9, 9),
            (u32::MAX, 1),
        ] {
            (0..9).for_each(|lease| {
                times(lease, t1, t2);
            });
        }
    }

    #[test]
    fn an_infinite_lease_has_no_times_and_a_missing_one_is_an_hour() {
        let lease = read(&[(51, &[255; 4]), (58, &[0, 0, 0, 9])]);
        assert_eq!(lease.times, None);
        assert_eq!(read(&[]).times.unwrap().lease.as_secs(), 3600);
    }

    #[test]
    fn a_lease_of_a_second_lasts_long_enough_to_be_extended() {
        for (granted, kept) in [(1, 3), (2, 3), (3, 3), (4, 4)] {
            let lease = read(&[(51, &u32::to_be_bytes(granted))]);
            let times = lease.times.unwrap();
            assert_eq!(times.lease.as_secs(), kept);
            assert!(times.lease >= times.renewal + Duration::from_secs(1));
        }
    }

    #[test]
    fn options_66_and_67_go_before_the_fields() {
        let lease = read(&[]);
        assert_eq!(lease.boot_file.as_deref(), Some("pxelinux.0"));
        assert_eq!(lease.server_name.as_deref(), Some("boot.example"));
        let lease = read(&[(66, b"192.0.2.7\0"), (67, b"/grub/a b")]);
        assert_eq!(lease.boot_file.as_deref(), Some("/grub/a b"));
        assert_eq!(lease.server_name.as_deref(), Some("192.0.2.7"));
    }

    #[test]
    fn option_150_names_the_next_server_when_nothing_else_does() {
        let listed = (150, &[192, 0, 2, 7, 192, 0, 2, 8][..]);
        let read = |name: &[u8], siaddr: [u8; 4]| {
            let mut options = Options::default();
            options.set(listed.0, listed.1);
            let message = Message {
                siaddr: siaddr.into(),
                sname: name.to_vec(),
                ..Message::reply([192, 0, 2, 100].into(), options)
            };
            Lease::read(&message, SERVER).next_server
        };
        assert_eq!(read(b"", [0; 4]), Some([192, 0, 2, 7].into()));
        assert_eq!(read(b"boot.example", [0; 4]), None);
        assert_eq!(read(b"", [192, 0, 2, 9]), Some([192, 0, 2, 9].into()));
    }

    #[test]
    fn text_that_no_shell_should_see_is_dropped_and_listed() {
        let lease = read(&[
            (12, b"a;reboot"),
            (15, b"$(x).example"),
            (67, b"a\nb"),
            (26, &[0, 60]),
        ]);
        assert_eq!(
            (lease.host_name, lease.domain, lease.mtu_octets),
            (None, None, None)
        );
        assert_eq!(lease.boot_file.as_deref(), Some("pxelinux.0"));
        let mut codes: Vec<u8> = lease.ignored.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [12, 15, 26, 67]);
    }
}
