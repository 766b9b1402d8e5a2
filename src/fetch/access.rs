//! How servers are reached: interface, packet size, and certificates.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Clock;
use crate::link;
use crate::sys;
use wireboot_proto::time::Seconds;

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
    /// The clock for checking the validity of certificates.
    pub clock: Clock,
}

impl ServerAccess {
    /// Returns whether the interface has an IPv4 address; true where no lease is being renewed,
    /// since waiting would not help.
    pub(super) fn has_address(&self) -> bool {
        let interface = self.interface.as_ref().filter(|_| self.renews());
        interface.is_none_or(|interface| link::has_address(interface))
    }

    /// Waits until the interface has an address, up to `address_timeout`; returns whether it has
    /// one.
    pub(super) fn await_address(&self) -> bool {
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
}
