//! The address that files are fetched from, which may be lost and replaced while they are on their
//! way: a lease that nobody renews ends, and the next one may bring another address.
//!
//! Asked is the kernel and nobody else: it neither resets a TCP connection from an address that it has
//! removed nor says so of a UDP socket, but sends nothing for them any more.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::Fetcher;
use crate::link;
use crate::sys;
use wireboot_proto::time::Seconds;

/// How long a server may be silent before it is asked whether the address is still there.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether there is an address again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Returns whether this machine no longer has the address of `local`.
pub(super) fn is_gone(local: SocketAddr) -> bool {
    let any_port = |mut local: SocketAddr| {
        local.set_port(0);
        local
    };
    // As bind(2) has it, EADDRNOTAVAIL; any other failure tells nothing about the address.
    UdpSocket::bind(any_port(local)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

impl Fetcher {
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
    fn an_address_is_gone_that_no_interface_has() {
        // RFC 5737: nobody's.
        for (address, gone) in [("127.0.0.1:80", false), ("192.0.2.77:80", true)] {
            assert_eq!(is_gone(address.parse().unwrap()), gone, "{address}");
        }
    }

    #[test]
    fn only_who_may_get_another_address_waits_for_it() {
        let fetcher = |interface: &str, address_timeout| Fetcher {
            interface: Some(interface.to_owned()),
            address_timeout,
            ..Fetcher::default()
        };
        assert!(fetcher("nowhere0", Duration::ZERO).has_address());
        assert!(fetcher("lo", Duration::from_millis(1)).has_address());
        assert!(!fetcher("nowhere0", Duration::from_millis(1)).await_address());
    }
}
