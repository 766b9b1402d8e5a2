//! What a server granted, under names of meaning.

use std::net::Ipv4Addr;
use std::time::Duration;

/// A route, from option 121 (RFC 3442) or 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network.
    pub destination: Ipv4Addr,
    /// Its prefix, 0 to 32 bits.
    pub prefix_len: u8,
    /// The router; none when the network is on the link (0.0.0.0 in option 121).
    pub gateway: Option<Ipv4Addr>,
}

/// An address with everything that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Our address (`yiaddr`).
    pub address: Ipv4Addr,
    /// Prefix of the address, 0 to 32 bits (option 1, or by class when absent).
    pub prefix_len: u8,
    /// The server that granted it (option 54).
    pub server: Ipv4Addr,
    /// Routes in the order to be set; option 121 rules out option 3 (RFC 3442).
    pub routes: Vec<Route>,
    /// Broadcast address (option 28).
    pub broadcast: Option<Ipv4Addr>,
    /// Largest datagram, 68 octets or more (option 26).
    pub mtu_octets: Option<u16>,
    /// Resolvers (option 6).
    pub dns: Vec<Ipv4Addr>,
    /// Domain (option 15), checked against its grammar.
    pub domain: Option<String>,
    /// Our host name (option 12), checked against its grammar.
    pub host_name: Option<String>,
    /// Where the boot file is (`siaddr`).
    pub next_server: Option<Ipv4Addr>,
    /// Name of the boot server (option 66, or `sname`).
    pub server_name: Option<String>,
    /// The boot file (option 67, or `file`): a path or a URL.
    pub boot_file: Option<String>,
    /// How long the address is ours; none means for ever (option 51).
    pub lease_time: Option<Duration>,
    /// After this long the server is asked to renew (T1, option 58).
    pub renewal_time: Option<Duration>,
    /// After this long any server is asked (T2, option 59).
    pub rebinding_time: Option<Duration>,
}
