//! What a server offers beside an address: a way to a boot file (PXE 2.1 §2.2).
//!
//! A server that says it is PXEClient (option 60) and names no boot file knows one: it is asked
//! for it on port 4011. When it sends a menu, an entry is chosen first, and then a boot server of
//! that type is asked, wherever option 43 allows it to be looked for.

use crate::prelude::*;
use core::net::{Ipv4Addr, SocketAddrV4};

use super::lease::Lease;
use crate::packet::dhcp::SERVER_PORT;
use crate::packet::option::{Options, code};
use crate::packet::pxe::Pxe;

/// The port on which servers are asked for boot files.
pub const PXE_PORT: u16 = 4011;

/// How the class of a server that boots begins (option 60).
pub(super) const PXE_CLIENT: &[u8] = b"PXEClient";

/// A server's way to a boot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootService {
    /// Who offers it.
    pub server: Ipv4Addr,
    /// How.
    pub pxe: Pxe,
}

/// What is to be done before the boot file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// Nothing: it is known, or nobody offers one.
    Nothing,
    /// The service is asked for it.
    Ask(&'a BootService),
    /// Somebody chooses from the menu of the service.
    Choose(&'a BootService),
}

impl BootService {
    /// Reads what the options of `server` offer; none when it does not say that it boots.
    pub fn read(options: &Options, server: Ipv4Addr) -> Option<Self> {
        let class = options.get(code::VENDOR_CLASS)?;
        class.starts_with(PXE_CLIENT).then(|| Self {
            server,
            pxe: Pxe::read(options.get(code::VENDOR_SPECIFIC).unwrap_or_default()),
        })
    }

    /// Returns where boot servers of type `kind` are asked, all at once: the group, everybody and
    /// the listed ones, as far as the service allows it.
    pub fn destinations(&self, kind: u16) -> Vec<SocketAddrV4> {
        let control = self.pxe.discovery_control.unwrap_or_default();
        let listed = self.pxe.servers(kind).unwrap_or_default();
        let group = self.pxe.discovery_group;
        let mut destinations: Vec<_> = group
            .filter(|_| control.allows_multicast())
            .into_iter()
            .chain(listed.iter().copied())
            .map(|address| SocketAddrV4::new(address, PXE_PORT))
            .collect();
        if control.allows_broadcast() {
            destinations.push(SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT));
        }
        if destinations.is_empty() {
            destinations.push(self.address());
        }
        destinations
    }

    /// Returns the only servers whose answers count for type `kind`; none when all do.
    pub fn believed(&self, kind: u16) -> Option<&[Ipv4Addr]> {
        let control = self.pxe.discovery_control?;
        let servers = self.pxe.servers(kind).unwrap_or_default();
        (control.only_listed() && !servers.is_empty()).then_some(servers)
    }

    /// Returns where the service itself is asked.
    pub const fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.server, PXE_PORT)
    }
}

/// Returns what is to be done before the boot file of `lease` is known.
pub fn next(lease: &Lease) -> Next<'_> {
    let Some(service) = &lease.boot_service else {
        return Next::Nothing;
    };
    let has_file = lease.boot_file.is_some();
    let control = service.pxe.discovery_control.unwrap_or_default();
    if has_file && control.takes_offered_file() {
        Next::Nothing
    } else if !service.pxe.menu.is_empty() {
        Next::Choose(service)
    } else if has_file {
        Next::Nothing
    } else {
        Next::Ask(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    const EVERYBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);

    fn service(vendor: &[u8]) -> BootService {
        let mut options = Options::default();
        options.set(code::VENDOR_CLASS, *b"PXEClient");
        options.set(code::VENDOR_SPECIFIC, vendor);
        BootService::read(&options, SERVER).unwrap()
    }

    #[test]
    fn only_a_server_that_says_so_boots() {
        let mut options = Options::default();
        assert_eq!(BootService::read(&options, SERVER), None);
        options.set(code::VENDOR_CLASS, *b"MSFT 5.0");
        assert_eq!(BootService::read(&options, SERVER), None);
        options.set(code::VENDOR_CLASS, *b"PXEClient:Arch:00000");
        assert!(BootService::read(&options, SERVER).is_some());
    }

    #[test]
    fn boot_servers_are_looked_for_where_it_is_allowed() {
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 1, 2), PXE_PORT);
        let at = |address| SocketAddrV4::new(address, PXE_PORT);
        let list = [7, 4, 239, 255, 1, 2, 8, 7, 0x80, 0, 1, 192, 0, 2, 2];
        let everywhere = service(&list);
        let expected = [group, at(OTHER), EVERYBODY];
        assert_eq!(everywhere.destinations(0x8000), expected);
        assert_eq!(everywhere.destinations(1), [group, EVERYBODY]);
        assert_eq!(everywhere.believed(0x8000), None);
        let listed_only = service(&[&list[..], &[6, 1, 7]].concat());
        assert_eq!(listed_only.destinations(0x8000), [at(OTHER)]);
        assert_eq!(listed_only.believed(0x8000), Some(&[OTHER][..]));
        assert_eq!(listed_only.destinations(1), [at(SERVER)]);
        assert_eq!(listed_only.believed(1), None);
    }

    #[test]
    fn a_menu_goes_before_a_file_unless_the_service_says_not_to() {
        const MENU: [u8; 7] = [9, 5, 0, 1, 2, b'L', b'x'];
        let with = |vendor: &[u8], boot_file: Option<&str>| Lease {
            boot_file: boot_file.map(str::to_owned),
            boot_service: Some(service(vendor)),
            ..Lease::fixed([192, 0, 2, 9].into(), 24)
        };
        let chooses = |lease: &Lease| matches!(next(lease), Next::Choose(_));
        assert!(chooses(&with(&MENU, None)));
        assert!(chooses(&with(&MENU, Some("x"))));
        let direct = [&MENU[..], &[6, 1, 8]].concat();
        assert_eq!(next(&with(&direct, Some("x"))), Next::Nothing);
        assert!(chooses(&with(&direct, None)));
        assert_eq!(next(&with(&[], Some("x"))), Next::Nothing);
        assert!(matches!(next(&with(&[], None)), Next::Ask(_)));
        let plain = Lease::fixed([192, 0, 2, 9].into(), 24);
        assert_eq!(next(&plain), Next::Nothing);
    }
}
