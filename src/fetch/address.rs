//! The address that files are fetched from, which may be lost and replaced while they are on their
//! way: a lease that nobody renews ends, and the next one may bring another address.
//!
//! Asked is the kernel and nobody else: it neither resets a TCP connection from an address that it has
//! removed nor says so of a UDP socket, but sends nothing for them any more.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::sys::SyscallError;

/// How long a server may be silent before it is asked whether the address is still there.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Returns whether this machine no longer has the address of `local`.
pub(super) fn is_gone(local: SocketAddr) -> bool {
    let any_port = |mut local: SocketAddr| {
        local.set_port(0);
        local
    };
    // As bind(2) has it, EADDRNOTAVAIL; any other failure tells nothing about the address.
    UdpSocket::bind(any_port(local)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// Lets all packets of a socket go through one interface.
pub(super) fn bind_to(socket: &impl AsFd, interface: Option<&str>) -> Result<(), SyscallError> {
    let Some(interface) = interface else {
        return Ok(());
    };
    setsockopt(socket, sockopt::BindToDevice, &interface.into())
        .map_err(|errno| SyscallError::new("setsockopt(SO_BINDTODEVICE)", errno))
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
}
