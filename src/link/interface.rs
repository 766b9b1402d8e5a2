//! An Ethernet interface, and what is changed on it: each change is remembered with its inverse.

use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::changes::{
    AppliedSetting, Changes, LinkSetting, To, Undo, add_route, remove, set_address, take_back,
};
use super::lease_settings::lease_settings;
use super::state::{addresses, open_socket, set_up, unreadable};
use super::watch::Watch;
use crate::error::Error;
use crate::recorder::Recorder;
use crate::sys::SyscallError;
use crate::sys::netlink::RouteSocket;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::{Address, FOREVER, LinkInfo};
use wireboot_proto::packet::ethernet::MacAddress;

/// Timeout for the carrier after an MTU change, for which some drivers reset the card.
// 1000BASE-T takes two to three seconds to negotiate anew after a reset.
const RESET_TIME: Duration = Duration::from_secs(5);

/// An Ethernet interface that the boot may use.
#[derive(Debug)]
pub struct Link {
    /// Its number, which stays when it is renamed.
    pub index: u32,
    /// Its name at the time it was found.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Where frames that cross it by a packet socket are recorded.
    pub recorder: Recorder,
    /// Whether it was switched on when it was found.
    pub(super) was_up: bool,
    changes: Mutex<Changes>,
}

impl Link {
    pub(super) fn new(info: LinkInfo, recorder: &Recorder) -> Self {
        Self {
            index: info.index,
            name: info.name,
            mac: info.mac.unwrap_or_default(),
            recorder: recorder.clone(),
            was_up: info.up,
            changes: Mutex::default(),
        }
    }

    /// Takes back everything that was set on the interface, and lowers it if it was raised here.
    ///
    /// Failures – the interface may be gone – are logged.
    pub fn restore(&self) {
        self.undo(To::Found, true);
    }

    /// Removes what was set on the interface, an address that an earlier process had set for the same
    /// lease too, since the lease is over or released; leaves the interface switched on.
    pub fn clear(&self) {
        self.undo(To::End, false);
    }

    /// As [`Link::clear`], and lowers the interface if it was raised here.
    pub fn clear_and_lower(&self) {
        self.undo(To::End, true);
    }

    /// Switches the interface off, so that the card writes to no memory that will be another
    /// kernel's. One that cannot be is logged: the card's driver is told to stop too.
    pub fn quiesce(&self) {
        let lowered = open_socket().map(|mut socket| set_up(&mut socket, self.index, false));
        match lowered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!("{}: {}", self.name, error.chain()),
            Err(error) => log::debug!("{}: not switched off: {}", self.name, error.chain()),
        }
    }

    fn undo(&self, to: To, lower: bool) {
        let mut changes = self.changes();
        if changes.is_empty() {
            return;
        }
        let mut socket = match open_socket() {
            Ok(socket) => socket,
            Err(error) => return log::warn!("{}: not restored: {}", self.name, error.chain()),
        };
        changes.undo(to, self.index, &mut socket);
        if !lower {
            return;
        }
        // Last: the kernel removes every route of an interface that goes down (fib_disable_ip).
        if std::mem::take(&mut changes.raised)
            && let Err(error) = set_up(&mut socket, self.index, false)
        {
            log::warn!("{}: {}", self.name, error.chain());
        }
        if let Some(made) = changes.made.take() {
            made.undo(self.index, &mut socket);
        }
    }

    /// Returns the changes that were made here.
    pub(super) fn changes(&self) -> MutexGuard<'_, Changes> {
        // The list is whole even when another thread panicked while it held it.
        match self.changes.lock() {
            Ok(changes) => changes,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Returns the error of a change that the kernel refused.
    pub(super) fn refused(&self, what: impl Into<String>, source: SyscallError) -> Error {
        Error::Configure {
            interface: self.name.clone(),
            what: what.into(),
            source,
        }
    }
}

impl Link {
    /// Sets address, routes and MTU of `lease`.
    ///
    /// Either all of them are in place at the end, or none that was not there before; an MTU
    /// that the driver refuses, or has no carrier with, is only logged. With another lease than
    /// the last time, what only the older one said – which is over – is removed first; with the
    /// same one, the lifetimes begin anew.
    ///
    /// # Errors
    /// [`Error::Configure`] with what the kernel refused.
    pub fn configure(&self, lease: &Lease) -> Result<(), Error> {
        self.replace(None, lease, Duration::ZERO)
    }

    /// As [`Link::configure`]; what an earlier process set for `before`, an address and the bits of
    /// its network, and what is not part of this lease, is removed first: that address and the routes
    /// of a DHCP client from it. [`Link::restore`] puts it back. The times of the lease began `age` ago.
    ///
    /// # Errors
    /// As [`Link::configure`].
    pub fn replace(
        &self,
        before: Option<(Ipv4Addr, u8)>,
        lease: &Lease,
        age: Duration,
    ) -> Result<(), Error> {
        self.apply(before, &lease_settings(self.index, lease, age))
    }

    /// Gives the interface an address without end and without a network; nothing when it has the
    /// address.
    ///
    /// # Errors
    /// [`Error::Configure`] when the kernel refuses.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<(), Error> {
        let before = self.addresses()?;
        if before.iter().any(|(there, _)| *there == address) {
            return Ok(());
        }
        let address = LinkSetting::Address(Address {
            index: self.index,
            address,
            // With /32 the kernel makes no route to a network beside the address (fib_add_ifaddr).
            prefix_len: 32,
            broadcast: None,
            preferred_seconds: FOREVER,
            valid_seconds: FOREVER,
        });
        self.apply(None, &[address])
    }

    /// Returns the interface's addresses, each with the bits of its network.
    ///
    /// # Errors
    /// [`Error::System`] without a route socket.
    pub fn addresses(&self) -> Result<Vec<(Ipv4Addr, u8)>, Error> {
        let addresses = addresses(&mut open_socket()?, self.index).map_err(unreadable)?;
        let addresses = addresses.iter();
        Ok(addresses
            .map(|there| (there.address, there.prefix_len))
            .collect())
    }

    /// Returns the address that was set here.
    pub fn configured_address(&self) -> Option<Ipv4Addr> {
        self.changes().done.iter().find_map(|done| {
            if let LinkSetting::Address(address) = done.setting {
                Some(address.address)
            } else {
                None
            }
        })
    }

    /// Returns what the MTU was, bytes, before a lease set another.
    pub fn mtu_before(&self) -> Option<u32> {
        self.changes().done.iter().find_map(|done| {
            if let Undo::Request(NetlinkRequest::SetMtu { mtu_octets, .. }) = done.undo {
                Some(mtu_octets)
            } else {
                None
            }
        })
    }

    /// Removes an address that an earlier process set, and its routes, and gives the interface the
    /// MTU that it had, bytes.
    ///
    /// # Errors
    /// [`Error::System`] without a route socket.
    pub fn take_back(
        &self,
        address: Ipv4Addr,
        prefix_len: u8,
        mtu_octets: Option<u32>,
    ) -> Result<(), Error> {
        let mut socket = open_socket()?;
        if let Some(mtu_octets) = mtu_octets {
            let index = self.index;
            let request = NetlinkRequest::SetMtu { index, mtu_octets };
            take_back(&mut socket, &LinkSetting::Mtu(mtu_octets), &request);
        }
        let (_, others) =
            remove(&mut socket, self.index, (address, prefix_len), &[]).map_err(unreadable)?;
        others.put_back(&mut socket);
        Ok(())
    }

    fn apply(&self, before: Option<(Ipv4Addr, u8)>, wanted: &[LinkSetting]) -> Result<(), Error> {
        let mut socket = open_socket()?;
        // What was set here is known better than by a file.
        let before = before.filter(|_| self.changes().done.is_empty());
        // First, since the kernel removes with an address the later ones of the same subnet.
        self.changes().undo_all_but(wanted, self.index, &mut socket);
        let (removed, others) = match before {
            Some(before) => remove(&mut socket, self.index, before, wanted).map_err(unreadable)?,
            None => Default::default(),
        };
        // As before, addresses of others stand in front, and their routes may need the new one.
        others.put_back_addresses(&mut socket);
        let set = self.set_all(wanted, &mut socket);
        others.put_back_routes(&mut socket);
        match set {
            Ok(()) => self.changes().removed.add(removed),
            Err(_) => removed.put_back(&mut socket),
        }
        set
    }

    fn set_all(&self, wanted: &[LinkSetting], socket: &mut RouteSocket) -> Result<(), Error> {
        let mut fresh = Changes::default();
        for setting in wanted {
            let applied = match setting {
                LinkSetting::Mtu(mtu_octets) => self.set_mtu(socket, *mtu_octets),
                LinkSetting::Address(address) => set_address(socket, address),
                LinkSetting::Route(route) => add_route(socket, route),
            };
            match applied {
                Ok(undo) => fresh
                    .done
                    .extend(undo.map(|undo| AppliedSetting::now(*setting, undo))),
                Err(source) if matches!(setting, LinkSetting::Mtu(_)) => {
                    log::warn!("{}", self.refused(setting.to_string(), source).chain());
                }
                Err(source) => {
                    fresh.undo(To::Found, self.index, socket);
                    return Err(self.refused(setting.to_string(), source));
                }
            }
        }
        self.changes().add(fresh);
        Ok(())
    }

    /// Sets the MTU, which the kernel refuses when it is more than the device can; returns what takes
    /// it back, or nothing when it is as it was.
    fn set_mtu(
        &self,
        socket: &mut RouteSocket,
        mtu_octets: u32,
    ) -> Result<Option<Undo>, SyscallError> {
        let is_ours = |link: &LinkInfo| link.index == self.index;
        let Some(before) = socket.links()?.into_iter().find(is_ours) else {
            return Ok(None);
        };
        let is_bad = self.changes().bad_mtu == Some(mtu_octets);
        if is_bad || before.mtu_octets == Some(mtu_octets) {
            return Ok(None);
        }
        let set = |mtu_octets| NetlinkRequest::SetMtu {
            index: self.index,
            mtu_octets,
        };
        socket.change(&set(mtu_octets))?;
        let undo = before.mtu_octets.map(set);
        if !before.carrier || self.has_carrier_again() {
            return Ok(undo.map(Undo::Request));
        }
        log::warn!(
            "{}: no carrier with the new MTU; restoring the old one",
            self.name
        );
        self.changes().bad_mtu = Some(mtu_octets);
        undo.map_or(Ok(()), |undo| socket.change(&undo))?;
        Ok(None)
    }

    /// Waits for the carrier, as long as a driver may take to reset the card.
    fn has_carrier_again(&self) -> bool {
        let watch = Watch::open();
        let carrier =
            watch.and_then(|mut watch| watch.wait_for_carrier(&[self.index], RESET_TIME, None));
        carrier.is_ok_and(|place| place.is_some())
    }
}
