//! What IPv6 sets on an interface: addresses and routes with their lifetimes, and the kernel's own ways of
//! setting them switched off. Everything is stored with its inverse.

use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use super::interface::Link;
use super::state::{exists, open_socket, unreadable};
use crate::error::Error;
use crate::sys::netlink::RouteSocket;
use crate::sys::{SyscallError, files};
use wireboot_proto::ipv6::lease::{FOREVER, Lease6};
use wireboot_proto::netlink::request::{AddressOperation, NetlinkRequest};
use wireboot_proto::netlink::route::RouteMessage;
use wireboot_proto::netlink::route6::{Address6, KernelRoute6};

/// The kernel's own ways, switched off; an address generation of 1 is "none" (linux/if_link.h,
/// in6_addr_gen_mode).
const PREPARED: [(&str, &str); 3] = [("addr_gen_mode", "1"), ("accept_ra", "0"), (DISABLE, "0")];
// Files below /proc/sys/net/ipv6/conf/NAME, as those above (ip-sysctl.rst).
const DISABLE: &str = "disable_ipv6";
const MTU: &str = "mtu";

/// Settings of one interface by this process.
#[derive(Debug)]
pub struct Ipv6Settings {
    index: u32,
    name: String,
    /// Files below /proc/sys with what they had.
    files: Vec<(String, String)>,
    /// Addresses, and those that were the same before.
    addresses: Vec<(Address6, Option<Address6>)>,
    routes: Vec<SetRoute>,
    /// The link-local address, if it was set here.
    link_local: Option<Address6>,
    /// What the routers have said of it last.
    mtu_octets: Option<u32>,
}

/// A route that was set here.
#[derive(Debug)]
struct SetRoute {
    route: KernelRoute6,
    /// It is part of the lease that was applied last.
    is_wanted: bool,
}

impl Ipv6Settings {
    /// Prepares an interface, best before it is set up: the kernel neither sets a link-local address, which
    /// it would probe for a second or two, nor acts on router advertisements. Where IPv6 is switched off it
    /// is switched on if `enables` says so.
    ///
    /// # Errors
    /// `Reason::Configure` when the kernel has no IPv6, it stays off, or /proc/sys cannot be written.
    pub fn prepare(link: &Link, enables: bool) -> Result<Self, Error> {
        let mut settings = Self {
            index: link.index(),
            name: link.name.clone(),
            files: Vec::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            link_local: None,
            mtu_octets: None,
        };
        let is_off = read(&settings.path(DISABLE));
        let stays_off = !enables && is_off.is_ok_and(|text| text != "0");
        for (file, value) in PREPARED {
            let set = if stays_off {
                Err(io::Error::other("IPv6 is switched off (disable_ipv6)"))
            } else {
                settings.set_file(file, value)
            };
            if let Err(source) = set {
                settings.restore();
                return Err(link.refused(
                    format!("{file} of IPv6 in /proc/sys/net (has the kernel IPv6?)"),
                    SyscallError::of("write", source),
                ));
            }
        }
        Ok(settings)
    }

    /// Returns the paths of the files that may be written.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.path(MTU).into()];
        for (file, _) in PREPARED {
            paths.push(self.path(file).into());
        }
        paths
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/sys/net/ipv6/conf/{}/{file}", self.name)
    }

    fn set_file(&mut self, file: &str, value: &str) -> io::Result<()> {
        let path = self.path(file);
        let before = read(&path)?;
        if before != value {
            files::overwrite(Path::new(&path), value.as_bytes())?;
            if !self.files.iter().any(|(known, _)| *known == path) {
                self.files.push((path, before));
            }
        }
        Ok(())
    }

    /// Sets the link-local address for use at once. One that is there and has been probed is left.
    ///
    /// # Errors
    /// `Reason::Configure` when the kernel refuses it, `Reason::System` without a route socket.
    pub fn set_link_local(&mut self, link: &Link, address: Ipv6Addr) -> Result<(), Error> {
        self.index = link.index();
        let mut socket = open_socket()?;
        let known = self.find(&mut socket, address).map_err(unreadable)?;
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
            Some(known) => note(change_address(&mut socket, AddressOperation::Delete, known)),
            None => {}
        }
        if let Err(error) = change_address(&mut socket, AddressOperation::Add, wanted)
            && !exists(&error)
        {
            return Err(link.refused(format!("the address {address}"), error));
        }
        self.link_local = Some(wanted).filter(|_| known.is_none());
        Ok(())
    }

    fn find(
        &self,
        socket: &mut RouteSocket,
        address: Ipv6Addr,
    ) -> Result<Option<Address6>, SyscallError> {
        for message in socket.dump(&NetlinkRequest::Addresses6)? {
            if let RouteMessage::NewAddress6(known) = message
                && known.index == self.index
                && known.address == address
            {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Sets what `lease` has, removes what an earlier one had and this one has not, and gives the rest
    /// its new lifetimes. A route that the kernel refuses is only logged.
    ///
    /// # Errors
    /// `Reason::Configure` with the address that the kernel refused; addresses that this call has added
    /// are removed again.
    pub fn apply(&mut self, link: &Link, lease: &Lease6) -> Result<(), Error> {
        let mut socket = open_socket()?;
        self.addresses.retain(|known| {
            let mut wanted = lease.addresses.iter();
            let stays = wanted.any(|given| given.address == known.0.address);
            if !stays {
                undo_address(&mut socket, known);
            }
            stays
        });
        let known_before = self.addresses.len();
        for given in &lease.addresses {
            let address = Address6 {
                index: self.index,
                address: given.address,
                prefix_len: given.prefix_len(),
                preferred_seconds: given.preferred,
                valid_seconds: given.valid,
                is_unusable: false,
            };
            if let Err(source) = self.set_address(&mut socket, address) {
                for added in self.addresses.drain(known_before..).rev() {
                    undo_address(&mut socket, &added);
                }
                return Err(link.refused(format!("the address {}", given.address), source));
            }
        }
        for known in &mut self.routes {
            known.is_wanted = false;
        }
        for given in &lease.routes {
            let route = KernelRoute6 {
                index: self.index,
                destination: given.destination,
                prefix_len: given.prefix_len,
                gateway: given.gateway,
                preference: given.preference,
                seconds: given.lifetime,
            };
            let mut known = self.routes.iter_mut();
            let known = known.find(|known| known.route.is_same(&route));
            let is_new = known.map(|known| known.is_wanted = true).is_none();
            match change_route(&mut socket, AddressOperation::Set, route) {
                Ok(()) if is_new => self.routes.push(SetRoute {
                    route,
                    is_wanted: true,
                }),
                Ok(()) => {}
                // The kernel has given it its new lifetime (fib6_add_rt2node).
                Err(error) if exists(&error) => {}
                Err(source) => {
                    let error = link.refused(format!("the {given}"), source);
                    log::warn!("{}; left out", error.chain());
                }
            }
        }
        self.routes.retain(|known| {
            if !known.is_wanted {
                note(change_route(
                    &mut socket,
                    AddressOperation::Delete,
                    known.route,
                ));
            }
            known.is_wanted
        });
        let mtu_before = std::mem::replace(&mut self.mtu_octets, lease.mtu_octets);
        if let Some(mtu) = lease.mtu_octets
            && let Err(error) = self.set_file(MTU, &mtu.to_string())
            && mtu_before != lease.mtu_octets
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
        address: Address6,
    ) -> Result<(), SyscallError> {
        let mut before = None;
        if let Err(error) = change_address(socket, AddressOperation::Add, address) {
            if !exists(&error) {
                return Err(error);
            }
            // Without what it was, it is removed in the end.
            before = self.find(socket, address.address).ok().flatten();
            change_address(socket, AddressOperation::Set, address)?;
        }
        let mut known = self.addresses.iter();
        if !known.any(|(known, _)| known.address == address.address) {
            self.addresses.push((address, before));
        }
        Ok(())
    }

    /// Puts everything back as it was; failures, as of an interface that is gone, are logged.
    pub fn restore(&mut self) {
        self.clear();
        if let Some(address) = self.link_local.take()
            && let Ok(mut socket) = open_socket()
        {
            undo_address(&mut socket, &(address, None));
        }
        self.restore_files(&[]);
    }

    /// Removes the addresses and routes, but for the link-local address.
    pub fn clear(&mut self) {
        let Ok(mut socket) = open_socket() else {
            return;
        };
        for known in self.routes.drain(..) {
            note(change_route(
                &mut socket,
                AddressOperation::Delete,
                known.route,
            ));
        }
        for address in self.addresses.drain(..).rev() {
            undo_address(&mut socket, &address);
        }
    }

    /// Removes what an earlier process has set for a lease of a server.
    pub fn remove_addresses(&mut self, addresses: &[Ipv6Addr]) {
        for address in addresses {
            let address = Address6 {
                index: self.index,
                address: *address,
                prefix_len: 128,
                preferred_seconds: 0,
                valid_seconds: 0,
                is_unusable: false,
            };
            self.addresses.push((address, None));
        }
        self.clear();
    }

    /// Leaves addresses, routes and MTU, which nobody renews from now on, and gives their upkeep back to the
    /// kernel if it had that: it prolongs addresses by later advertisements (addrconf_prefix_rcv), and has
    /// routes of its own.
    pub fn hand_back(&mut self) {
        self.restore_files(&[self.path(DISABLE), self.path(MTU)]);
    }

    fn restore_files(&mut self, but: &[String]) {
        // The last one first: IPv6 is off again before the kernel may act by itself.
        for (path, before) in self.files.drain(..).rev() {
            if !but.contains(&path)
                && let Err(error) = files::overwrite(Path::new(&path), before.as_bytes())
            {
                log::debug!("{path} is not put back: {error}");
            }
        }
    }
}

fn read(path: &str) -> io::Result<String> {
    let text = files::read(Path::new(path))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Removes an address, or gives it the lifetimes that it had.
fn undo_address(socket: &mut RouteSocket, (address, before): &(Address6, Option<Address6>)) {
    let undone = match before {
        None => change_address(socket, AddressOperation::Delete, *address),
        Some(before) => change_address(socket, AddressOperation::Set, *before),
    };
    note(undone);
}

fn change_address(
    socket: &mut RouteSocket,
    operation: AddressOperation,
    address: Address6,
) -> Result<(), SyscallError> {
    socket.change(&NetlinkRequest::Address6(operation, address))
}

fn change_route(
    socket: &mut RouteSocket,
    operation: AddressOperation,
    route: KernelRoute6,
) -> Result<(), SyscallError> {
    socket.change(&NetlinkRequest::Route6(operation, route))
}

fn note(changed: Result<(), SyscallError>) {
    if let Err(error) = changed {
        // It may have ended with its lifetime.
        log::debug!("{}", error.chain());
    }
}
