//! The addresses and routes of an interface at one time, to find out what the kernel removed with a
//! change, and to restore that.
//!
//! With an address the kernel removes the routes from it, with the first address of a subnet the later
//! ones of it (unless `promote_secondaries` is set), and with the last address of an interface all
//! routes over it (`fib_disable_ip`).

use std::net::Ipv4Addr;

use crate::error::{Error, Reason};
use crate::sys::netlink::RouteSocket;
use crate::sys::{self, SyscallError};
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::{Address, FOREVER, InstalledRoute, KernelRoute, RouteMessage};
use wireboot_proto::time::Instant;

#[derive(Debug, Default)]
pub(super) struct InterfaceState {
    pub(super) addresses: Vec<Snapshot<Address>>,
    /// Each route, and whether it is the first to its network with its metric.
    pub(super) routes: Vec<(InstalledRoute, bool)>,
}

/// An object read from the kernel, with the time of reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot<T> {
    pub(super) value: T,
    pub(super) read_at: Instant,
}

impl InterfaceState {
    /// Reads the state of an interface.
    pub(super) fn read(socket: &mut RouteSocket, index: u32) -> Result<Self, SyscallError> {
        let read_at = sys::now();
        let known = |value| Snapshot { value, read_at };
        // The kernel lists routes to one network in a row (`fn_trie_dump_leaf`).
        let mut last = None;
        let mut state = Self {
            addresses: addresses(socket, index)?.into_iter().map(known).collect(),
            routes: Vec::new(),
        };
        for message in socket.dump(&NetlinkRequest::Routes)? {
            let RouteMessage::NewRoute(route) = message else {
                continue;
            };
            let InstalledRoute {
                route: KernelRoute { index: over, .. },
                metric,
                ..
            } = route;
            let network = (route.route.destination, route.route.prefix_len, metric);
            let is_first = last.replace(network) != Some(network);
            if over == index {
                state.routes.push((route, is_first));
            }
        }
        Ok(state)
    }

    /// Retains what `later` lacks. Both are in the same order, since a router may have a million routes;
    /// routes added in between may leave more than that.
    pub(super) fn retain_missing_in(&mut self, later: &Self) {
        self.addresses.retain(|known| {
            let mut there = later.addresses.iter();
            !there.any(|there| known.value.is_same(&there.value))
        });
        let mut there = later.routes.iter().map(|(route, _)| route).peekable();
        self.routes
            .retain(|(route, _)| there.next_if(|there| *there == route).is_none());
    }

    /// Splits off an address and all routes from it.
    pub(super) fn split_off(&mut self, address: Ipv4Addr) -> Self {
        let (addresses, routes) = (&mut self.addresses, &mut self.routes);
        Self {
            addresses: addresses
                .extract_if(.., |known| known.value.address == address)
                .collect(),
            routes: routes
                .extract_if(.., |(known, _)| known.route.source == Some(address))
                .collect(),
        }
    }

    /// Restores addresses and routes.
    pub(super) fn put_back(&self, socket: &mut RouteSocket) {
        self.put_back_addresses(socket);
        self.put_back_routes(socket);
    }

    /// Restores the addresses with their remaining lifetimes.
    pub(super) fn put_back_addresses(&self, socket: &mut RouteSocket) {
        for address in self.addresses.iter().filter_map(Snapshot::remaining) {
            put_back(socket, &NetlinkRequest::AddAddress(address));
        }
    }

    /// Restores the routes, without those that the kernel adds with each address.
    pub(super) fn put_back_routes(&self, socket: &mut RouteSocket) {
        let routes = self.routes.iter();
        for (route, in_front) in routes.filter(|(route, _)| !route.is_of_kernel()) {
            let request = NetlinkRequest::RestoreRoute {
                route: route.clone(),
                in_front: *in_front,
            };
            put_back(socket, &request);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.routes.is_empty()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.addresses.extend(other.addresses);
        self.routes.extend(other.routes);
    }
}

impl Snapshot<Address> {
    /// Returns the address with its remaining lifetimes; none if it has expired.
    pub(super) fn remaining(&self) -> Option<Address> {
        let elapsed = sys::now().since(self.read_at).as_secs();
        let elapsed = u32::try_from(elapsed).unwrap_or(FOREVER);
        let left = |seconds| match seconds {
            // INFINITY_LIFE_TIME does not count down.
            FOREVER => FOREVER,
            seconds => seconds.saturating_sub(elapsed),
        };
        let address = Address {
            preferred_seconds: left(self.value.preferred_seconds),
            valid_seconds: left(self.value.valid_seconds),
            ..self.value
        };
        (address.valid_seconds > 0).then_some(address)
    }
}

/// Returns the addresses of an interface.
pub(super) fn addresses(
    socket: &mut RouteSocket,
    index: u32,
) -> Result<Vec<Address>, SyscallError> {
    let mut addresses = all_addresses(socket)?;
    addresses.retain(|address| address.index == index);
    Ok(addresses)
}

/// Returns the addresses of all interfaces.
///
/// # Errors
/// Those of `dump`.
pub fn all_addresses(socket: &mut RouteSocket) -> Result<Vec<Address>, SyscallError> {
    let mut addresses = Vec::new();
    for message in socket.dump(&NetlinkRequest::Addresses)? {
        if let RouteMessage::NewAddress(address) = message {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn put_back(socket: &mut RouteSocket, request: &NetlinkRequest) {
    if let Err(error) = socket.change(request)
        // Another program was faster.
        && !exists(&error)
    {
        log::warn!("previous address or route not restored: {}", error.chain());
    }
}

pub(super) fn exists(error: &SyscallError) -> bool {
    error.source.kind() == std::io::ErrorKind::AlreadyExists
}

/// Sets an interface up or down.
pub(super) fn set_up(socket: &mut RouteSocket, index: u32, up: bool) -> Result<(), SyscallError> {
    socket.change(&NetlinkRequest::SetUp { index, up })
}

/// Opens a socket for requests to rtnetlink.
pub(super) fn open_socket() -> Result<RouteSocket, Error> {
    RouteSocket::open().map_err(|source| {
        Box::new(Reason::System {
            doing: "cannot open a route socket".to_owned(),
            source,
        })
    })
}

/// Returns the error of a failed dump.
pub(super) fn unreadable(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot list the network interfaces".to_owned(),
        source,
    })
}
