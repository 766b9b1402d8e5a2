//! The local address of a transfer, which may be removed and replaced meanwhile: a lease that is
//! not renewed expires, and the next one may have another address.
//!
//! Only asking the kernel shows it: when an address is removed it neither resets its TCP
//! connections nor reports an error on UDP sockets, but stops sending for them.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::sys::SyscallError;

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

/// Binds a socket to one interface (SO_BINDTODEVICE).
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
        // RFC 5737: an address that no machine has.
        for (address, gone) in [("127.0.0.1:80", false), ("192.0.2.77:80", true)] {
            assert_eq!(is_gone(address.parse().unwrap()), gone, "{address}");
        }
    }
}
