//! How servers are reached: interface, local address, packet size, and certificates.
//!
//! The local address may be removed and replaced during a transfer: a lease that is not renewed expires,
//! and the next one may have another address. Only asking the kernel shows it: when an address is
//! removed it neither resets its TCP connections nor reports an error on UDP sockets, but stops sending
//! for them.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::names::Names;
use crate::error::Cause;
use crate::link;
use crate::sys;
use crate::worker::Peer;
use wireboot_proto::text::url::Url;
use wireboot_proto::time::Seconds;
use wireboot_proto::trust::policy::HostPin;
use wireboot_proto::worker::Message;

/// Interval between looks for a new address: short against the seconds that a lease takes.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The interface, packet size and certificates for reaching servers.
#[derive(Debug, Clone, Default)]
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "certificates and their clock are for https alone")
)]
pub struct ServerAccess {
    /// The interface that all traffic goes through; any when none.
    pub interface: Option<String>,
    /// What names are resolved by.
    pub names: Arc<Names>,
    /// How long to wait for an address when the interface has lost its own, where a lease is being
    /// renewed; zero where none is.
    pub address_timeout: Duration,
    /// The largest packet that the path carries, in bytes; the MTU of the route to the server when
    /// none.
    pub path_mtu: Option<u16>,
    /// The certificate authorities trusted for https, in PEM; the system's list when none.
    pub ca: Option<PathBuf>,
    /// The client certificate for https servers, with its key, in PEM.
    pub client_certificate: Option<PathBuf>,
    /// The public keys that servers must have, where the policy pins them.
    pub pins: Vec<HostPin>,
    /// The clock for checking the validity of certificates.
    pub clock: Clock,
    /// Who looks after the address, where this process may not.
    pub parent: Option<Arc<Peer>>,
}

impl ServerAccess {
    /// Returns the addresses of the server of `url`, within `patience` at the latest.
    pub(super) fn resolve(&self, url: &Url, patience: Duration) -> Result<Vec<SocketAddr>, Cause> {
        self.names.resolve(url, self.interface.as_deref(), patience)
    }

    /// Returns whether the interface has an IPv4 address; true where no lease is being renewed,
    /// since waiting would not help.
    pub(super) fn has_address(&self) -> bool {
        let is_asked = self.renews() && self.parent.is_none();
        let interface = self.interface.as_ref().filter(|_| is_asked);
        interface.is_none_or(|interface| link::has_address(interface))
    }

    /// Waits until the interface has an address, up to `address_timeout`; returns whether it has
    /// one.
    pub(super) fn await_address(&self) -> bool {
        if let Some(parent) = &self.parent {
            let answer = || parent.ask(&Message::NeedsAddress).0;
            return !self.renews() || answer() == Message::Go;
        }
        if self.has_address() {
            return true;
        }
        let seconds = Seconds(self.address_timeout);
        log::warn!("no IPv4 address left to fetch from; waiting up to {seconds:.0} s for one");
        let deadline = sys::now() + self.address_timeout;
        // Asked of the kernel again and again, so that a fetch needs no link to who renews the
        // lease.
        while sys::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
            if self.has_address() {
                return true;
            }
        }
        false
    }

    /// Returns whether the lease is renewed while files are fetched.
    const fn renews(&self) -> bool {
        !self.address_timeout.is_zero()
    }
}

/// How long a server may be silent before the address is checked: one bind(2) a second costs
/// nothing.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Returns whether this machine no longer has the address of `local`.
pub(super) fn is_gone(local: SocketAddr) -> bool {
    let any_port = |mut local: SocketAddr| {
        local.set_port(0);
        local
    };
    // bind(2) fails with EADDRNOTAVAIL then; any other failure says nothing about the address.
    UdpSocket::bind(any_port(local)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_get_another_address_waits_for_it() {
        let access = |interface: &str, address_timeout| ServerAccess {
            interface: Some(interface.to_owned()),
            address_timeout,
            ..ServerAccess::default()
        };
        assert!(access("nowhere0", Duration::ZERO).has_address());
        assert!(access("lo", Duration::from_millis(1)).has_address());
        assert!(!access("nowhere0", Duration::from_millis(1)).await_address());
    }

    #[test]
    fn an_address_is_gone_that_no_interface_has() {
        // RFC 5737: an address that no machine has.
        for (address, gone) in [("127.0.0.1:80", false), ("192.0.2.77:80", true)] {
            assert_eq!(is_gone(address.parse().unwrap()), gone, "{address}");
        }
    }
}
