//! What IPv6 sets on an interface: addresses and routes with their lifetimes, and the kernel's own ways of
//! setting them switched off. Everything is stored with its inverse.

use std::fs;
use std::io;
use std::net::Ipv6Addr;

use super::interface::Link;
use super::state::{exists, open_socket, unreadable};
use crate::error::Error;
use crate::sys::SyscallError;
use crate::sys::netlink::RouteSocket;
use wireboot_proto::ipv6::lease::{FOREVER, Lease6};
use wireboot_proto::netlink::request::{NetlinkRequest, Operation};
use wireboot_proto::netlink::route::RouteMessage;
use wireboot_proto::netlink::route6::{Address6, KernelRoute6};

/// Settings of one interface by this process.
#[derive(Debug)]
pub struct Ipv6Settings {
    index: u32,
    name: String,
    /// Files below /proc/sys with what they had.
    files: Vec<(String, String)>,
    /// Addresses, and those that were the same before.
    addresses: Vec<(Address6, Option<Address6>)>,
    routes: Vec<KernelRoute6>,
    /// The link-local address, if it was set here.
    link_local: Option<Address6>,
}

impl Ipv6Settings {
    /// Prepares an interface, best before it is set up: the kernel neither sets a link-local address, which
    /// it would probe for a second or two, nor acts on router advertisements. Where IPv6 is switched off it
    /// is switched on if `enables` says so.
    ///
    /// # Errors
    /// [`Error::Configure`] when the kernel has no IPv6, it stays off, or /proc/sys cannot be written.
    pub fn prepare(link: &Link, enables: bool) -> Result<Self, Error> {
        let mut settings = Self {
            index: link.index(),
            name: link.name.clone(),
            files: Vec::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            link_local: None,
        };
        // 1 is "none" (linux/if_link.h, in6_addr_gen_mode).
        let files = [
            ("addr_gen_mode", "1"),
            ("accept_ra", "0"),
            ("disable_ipv6", "0"),
        ];
        let is_off = fs::read_to_string(settings.path("disable_ipv6"));
        let stays_off = !enables && is_off.is_ok_and(|text| text.trim() != "0");
        for (file, value) in files {
            let set = if stays_off {
                Err(io::Error::other("IPv6 is switched off (disable_ipv6)"))
            } else {
                settings.set_file(file, value)
            };
            if let Err(source) = set {
                settings.restore();
                return Err(link.refused(
                    format!("{file} of IPv6 in /proc/sys/net (has the kernel IPv6?)"),
                    SyscallError {
                        call: "write",
                        source,
                    },
                ));
            }
        }
        Ok(settings)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/sys/net/ipv6/conf/{}/{file}", self.name)
    }

    fn set_file(&mut self, file: &str, value: &str) -> io::Result<()> {
        let path = self.path(file);
        let before = fs::read_to_string(&path)?;
        if before.trim() != value {
            fs::write(&path, value)?;
            if !self.files.iter().any(|(known, _)| *known == path) {
                self.files.push((path, before));
            }
        }
        Ok(())
    }

    /// Sets the link-local address for use at once. One that is there and has been probed is left.
    ///
    /// # Errors
    /// [`Error::Configure`] when the kernel refuses it, [`Error::System`] without a route socket.
    pub fn set_link_local(&mut self, link: &Link, address: Ipv6Addr) -> Result<(), Error> {
        self.index = link.index();
        let mut socket = open_socket()?;
        let known = self.find(&mut socket, address)?;
        let wanted = Address6 {
            index: self.index,
            address,
            prefix_len: 64,
            preferred_seconds: FOREVER,
            valid_seconds: FOREVER,
            is_unusable: false,
        };
        match known {
            Some(known) if !known.is_unusable => return Ok(()),
            // The kernel does not end its own probe for an address that is changed.
            Some(known) => change(
                &mut socket,
                &NetlinkRequest::Address6(Operation::Delete, known),
            ),
            None => {}
        }
        let request = NetlinkRequest::Address6(Operation::Add, wanted);
        match socket.change(&request) {
            Err(error) if !exists(&error) => {
                return Err(link.refused(format!("the address {address}"), error));
            }
            _ => {}
        }
        self.link_local = Some(wanted).filter(|_| known.is_none());
        Ok(())
    }

    fn find(&self, socket: &mut RouteSocket, address: Ipv6Addr) -> Result<Option<Address6>, Error> {
        let messages = socket
            .dump(&NetlinkRequest::Addresses6)
            .map_err(unreadable)?;
        let addresses = messages.into_iter().filter_map(|message| {
            if let RouteMessage::NewAddress6(known) = message {
                Some(known)
            } else {
                None
            }
        });
        let mut addresses = addresses.filter(|known| known.index == self.index);
        Ok(addresses.find(|known| known.address == address))
    }

    /// Sets what `lease` has, removes what an earlier one had and this one has not, and gives the rest
    /// its new lifetimes. A route that the kernel refuses is only logged.
    ///
    /// # Errors
    /// [`Error::Configure`] with the address that the kernel refused; addresses that this call has added
    /// are removed again.
    pub fn apply(&mut self, link: &Link, lease: &Lease6) -> Result<(), Error> {
        let mut socket = open_socket()?;
        let wanted = lease.addresses.iter().map(|given| Address6 {
            index: self.index,
            address: given.address,
            prefix_len: given.prefix_len(),
            preferred_seconds: given.preferred,
            valid_seconds: given.valid,
            is_unusable: false,
        });
        let wanted: Vec<_> = wanted.collect();
        let is_same = |one: &Address6, other: &Address6| one.address == other.address;
        let stale = |(known, _): &mut (Address6, _)| !wanted.iter().any(|new| is_same(new, known));
        for gone in self.addresses.extract_if(.., stale) {
            undo_address(&mut socket, &gone);
        }
        let known_before = self.addresses.len();
        for address in &wanted {
            if let Err(source) = self.set_address(&mut socket, address) {
                for added in self.addresses.drain(known_before..).rev() {
                    undo_address(&mut socket, &added);
                }
                return Err(link.refused(format!("the address {}", address.address), source));
            }
        }
        let routes = lease.routes.iter().map(|route| KernelRoute6 {
            index: self.index,
            destination: route.destination,
            prefix_len: route.prefix_len,
            gateway: route.gateway,
            preference: route.preference,
            seconds: route.lifetime,
        });
        let routes: Vec<_> = routes.collect();
        let stale = |known: &mut KernelRoute6| !routes.iter().any(|new| new.is_same(known));
        for gone in self.routes.extract_if(.., stale) {
            change(
                &mut socket,
                &NetlinkRequest::Route6(Operation::Delete, gone),
            );
        }
        for (route, given) in routes.iter().zip(&lease.routes) {
            let known = self.routes.iter().any(|known| known.is_same(route));
            match socket.change(&NetlinkRequest::Route6(Operation::Set, *route)) {
                Ok(()) if !known => self.routes.push(*route),
                Ok(()) => {}
                // The kernel has given it its new lifetime (fib6_add_rt2node).
                Err(error) if exists(&error) => {}
                Err(source) => {
                    let error = link.refused(format!("the {given}"), source);
                    log::warn!("{}; left out", error.chain());
                }
            }
        }
        if let Some(mtu) = lease.mtu_octets
            && let Err(error) = self.set_file("mtu", &mtu.to_string())
        {
            // The kernel refuses more than the link's.
            log::warn!(
                "{}: the routers' MTU of {mtu} bytes is not set: {error}",
                self.name
            );
        }
        Ok(())
    }

    fn set_address(
        &mut self,
        socket: &mut RouteSocket,
        address: &Address6,
    ) -> Result<(), SyscallError> {
        let before = match socket.change(&NetlinkRequest::Address6(Operation::Add, *address)) {
            Ok(()) => None,
            Err(error) if exists(&error) => {
                let before = self.find(socket, address.address).ok().flatten();
                socket.change(&NetlinkRequest::Address6(Operation::Set, *address))?;
                before
            }
            Err(error) => return Err(error),
        };
        let mut known = self.addresses.iter();
        if !known.any(|(known, _)| known.address == address.address) {
            self.addresses.push((*address, before));
        }
        Ok(())
    }

    /// Puts everything back as it was; failures, as of an interface that is gone, are logged.
    pub fn restore(&mut self) {
        if let Ok(mut socket) = open_socket() {
            for route in self.routes.drain(..) {
                change(
                    &mut socket,
                    &NetlinkRequest::Route6(Operation::Delete, route),
                );
            }
            for address in self.addresses.drain(..).rev() {
                undo_address(&mut socket, &address);
            }
            if let Some(address) = self.link_local.take() {
                change(
                    &mut socket,
                    &NetlinkRequest::Address6(Operation::Delete, address),
                );
            }
        }
        for (path, before) in self.files.drain(..).rev() {
            if let Err(error) = fs::write(&path, before.trim()) {
                log::debug!("{path} is not put back: {error}");
            }
        }
    }
}

/// Removes an address, or gives it the lifetimes that it had.
fn undo_address(socket: &mut RouteSocket, (address, before): &(Address6, Option<Address6>)) {
    let request = match before {
        None => NetlinkRequest::Address6(Operation::Delete, *address),
        Some(before) => NetlinkRequest::Address6(Operation::Set, *before),
    };
    change(socket, &request);
}

fn change(socket: &mut RouteSocket, request: &NetlinkRequest) {
    if let Err(error) = socket.change(request) {
        // It may have ended with its lifetime.
        log::debug!("{}", error.chain());
    }
}
