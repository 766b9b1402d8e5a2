//! How servers are reached: over which interface, in which packets, and with which certificates.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Clock;
use crate::link;
use crate::sys;
use wireboot_proto::time::Seconds;

/// How often it is looked whether there is an address again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How servers are reached.
#[derive(Debug, Clone, Default)]
pub struct ServerAccess {
    /// The interface that all traffic goes through; any when none.
    pub interface: Option<String>,
    /// How long the interface may be without an address, where somebody renews the lease and would
    /// get another one; zero where nobody does.
    pub address_timeout: Duration,
    /// The largest packet that the path carries, bytes; what the route to the server says when none.
    pub path_mtu: Option<u16>,
    /// The certificates of those whose word on an https server counts, in PEM; the system's list
    /// when none.
    pub ca: Option<PathBuf>,
    /// The certificate that this machine shows to https servers, with its key, in PEM.
    pub client_certificate: Option<PathBuf>,
    /// The clock by which certificates are judged.
    pub clock: Clock,
}

impl ServerAccess {
    /// Returns whether the interface has an IPv4 address; true where none could come back.
    pub(super) fn has_address(&self) -> bool {
        let interface = self.interface.as_ref().filter(|_| self.renews());
        interface.is_none_or(|interface| link::has_address(interface))
    }

    /// Waits until the interface has an address, for as long as somebody may get it another one.
    pub(super) fn await_address(&self) -> bool {
        if self.has_address() {
            return true;
        }
        let seconds = Seconds(self.address_timeout);
        log::warn!("there is no address to fetch from; waiting up to {seconds:.0} s for one");
        let deadline = sys::now() + self.address_timeout;
        while sys::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
            if self.has_address() {
                return true;
            }
        }
        false
    }

    /// Returns whether somebody renews the lease beside the fetch.
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
