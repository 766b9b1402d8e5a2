//! Resolves names by the C library: `/etc/hosts`, then the servers in
//! `/etc/resolv.conf`.
//!
//! One family at a time. The standard library asks for both at once, and musl then fails as a whole
//! when either answer is SERVFAIL, REFUSED or missing (`name_from_dns` in musl 1.2.5).

#![allow(
    unsafe_code,
    reason = "getaddrinfo, to which the standard library gives no family"
)]

use std::ffi::CString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ptr;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, records of type A.
    V4,
    /// IPv6, records of type AAAA.
    V6,
}

/// Returns the addresses of `host` in one family, with `port`.
///
/// # Errors
/// The message of `gai_strerror`: no address, or no server reached.
pub fn lookup(host: &str, port: u16, family: Family) -> io::Result<Vec<SocketAddr>> {
    let name = CString::new(host)?;
    let hints = libc::addrinfo {
        ai_flags: 0,
        ai_family: match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        },
        // With any type, each address would be returned once per socket type.
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    };
    let mut list = List(ptr::null_mut());
    // SAFETY: the name ends in a NUL and lives, as do the hints and the place of the result.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &hints, &mut list.0) };
    if code != 0 {
        return Err(failure(host, code));
    }
    let mut addresses = Vec::new();
    let mut next = list.0;
    // SAFETY: it is null or an entry of the list, which lives until the end of this function.
    while let Some(entry) = unsafe { next.as_ref() } {
        addresses.extend(address(entry, port));
        next = entry.ai_next;
    }
    Ok(addresses)
}

/// The result of `getaddrinfo`.
///
/// INVARIANT: null, or a list of its making that nobody else frees.
struct List(*mut libc::addrinfo);

impl Drop for List {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: by the invariant of the type.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
}

fn address(entry: &libc::addrinfo, port: u16) -> Option<SocketAddr> {
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: an entry of this family has an address of this type, or null.
            let found = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().as_ref() }?;
            let ip = Ipv4Addr::from(found.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::from((ip, port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let found = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().as_ref() }?;
            let ip = Ipv6Addr::from(found.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, port, 0, found.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn failure(host: &str, code: libc::c_int) -> io::Error {
    let why = match code {
        libc::EAI_SYSTEM => return io::Error::last_os_error(),
        // The C library asks this machine then, in vain.
        _ if !has_name_server(&fs::read_to_string(RESOLV_CONF).unwrap_or_default()) => {
            "no name server is known (/etc/resolv.conf has none, from a lease by option 6) to ask about"
        }
        libc::EAI_AGAIN => "the name servers in /etc/resolv.conf do not answer about",
        libc::EAI_NONAME | libc::EAI_NODATA => "no address is known for",
        _ => "the name servers in /etc/resolv.conf refuse to answer about",
    };
    io::Error::other(format!("{why} {host}"))
}

fn has_name_server(text: &str) -> bool {
    let mut lines = text.lines();
    lines.any(|line| line.split_whitespace().next() == Some("nameserver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_has_a_line_of_its_own() {
        assert!(has_name_server("search a\nnameserver 192.0.2.1\n"));
        for none in ["", "# nameserver 192.0.2.1", "search nameserver\noptions"] {
            assert!(!has_name_server(none), "{none}");
        }
    }

    #[test]
    fn only_addresses_of_the_family_are_returned() {
        for (host, family, expected) in [
            ("192.0.2.1", Family::V4, Some("192.0.2.1:69")),
            ("192.0.2.1", Family::V6, None),
            ("2001:db8::1", Family::V6, Some("[2001:db8::1]:69")),
            ("2001:db8::1", Family::V4, None),
            ("a\0b", Family::V4, None),
        ] {
            let found = lookup(host, 69, family).ok().map(|found| {
                let addresses = found.iter().map(SocketAddr::to_string);
                addresses.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{host} {family:?}");
        }
    }
}
