//! An Ethernet interface and its configuration; each change is stored with its inverse.

use std::io::Read;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::changes::{
    AppliedSetting, Changes, LinkSetting, To, Undo, add_route, lease_settings, put_mtu_back,
    remove, set_address,
};
use super::made::{self, MadeLink};
use super::state::{InterfaceState, addresses, open_socket, set_up, unreadable};
use super::watch::{Change, Watch};
use crate::config::MadeOf;
use crate::error::{Error, Reason};
use crate::recorder::Recorder;
use crate::sys::SyscallError;
use crate::sys::file;
use crate::sys::netlink::RouteSocket;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::{Address, AddressDetails, FOREVER, LinkInfo};
use wireboot_proto::packet::ethernet::MacAddress;

/// Timeout for the carrier after an MTU change, for which some drivers reset the card.
// 1000BASE-T takes two to three seconds to renegotiate after a reset.
const RESET_TIME: Duration = Duration::from_secs(5);

/// Errors for a route that are about the interface or the process, and not about the route.
const LINK_ERRORS: [Errno; 3] = [Errno::ENODEV, Errno::ENETDOWN, Errno::EPERM];

/// An Ethernet interface that the boot may use.
#[derive(Debug)]
pub struct Link {
    /// Its index, which a rename does not change, and a card that is plugged in again does; 0 while it
    /// does not exist.
    index: AtomicU32,
    /// Its name when it was found.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Index of the interface that carries this VLAN; 0 for any other.
    lower: AtomicU32,
    /// Whether that may be a bond.
    pub may_be_bond: bool,
    /// What it was made of.
    pub made_of: MadeOf,
    /// The recorder of frames of packet sockets.
    pub recorder: Recorder,
    /// Whether it was up when it was found.
    was_up: AtomicBool,
    changes: Mutex<Changes>,
}

/// Meaning of a change of an interface for a [`Link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there as before.
    Same,
    /// It does not exist any more, nor what was set on it.
    Removed,
    /// It is there again under another index, as it came up.
    Returned,
}

impl Link {
    pub(super) fn new(info: LinkInfo, recorder: &Recorder) -> Self {
        Self {
            index: info.index.into(),
            name: info.name,
            // Ethernet interfaces have one, and no others come here.
            mac: info.mac.unwrap_or_default(),
            lower: info.lower.unwrap_or_default().into(),
            may_be_bond: info.lower.is_some() || info.kind.as_deref() == Some("bond"),
            made_of: MadeOf::default(),
            recorder: recorder.clone(),
            was_up: info.up.into(),
            changes: Mutex::default(),
        }
    }

    /// Returns its index, 0 while it does not exist.
    pub fn index(&self) -> u32 {
        // Relaxed, as all of these: each is a number by itself.
        self.index.load(Ordering::Relaxed)
    }

    /// Returns the index of the interface whose switch port it shares: that below a VLAN, or its own.
    pub fn port(&self) -> u32 {
        match self.lower.load(Ordering::Relaxed) {
            0 => self.index(),
            lower => lower,
        }
    }

    /// Returns its speed, for behind its carrier in a message; nothing where the driver knows none.
    pub fn speed(&self) -> String {
        let path = format!("/sys/class/net/{}/speed", self.name);
        let mut text = [0; 16];
        // A value of sysfs is there with the first read (sysfs_kf_seq_show). EINVAL where the driver knows
        // none (`speed_show`).
        let read = file::open(Path::new(&path), OFlag::O_RDONLY)
            .and_then(|mut file| file.read(&mut text))
            .unwrap_or(0);
        let speed = text.get(..read).unwrap_or_default();
        match str::from_utf8(speed).unwrap_or_default().trim() {
            // -1 for an unknown one (`speed_show`).
            "" | "-1" => String::new(),
            speed => format!(", {speed} Mb/s"),
        }
    }

    /// Returns whether it was up when it was found.
    pub(super) fn was_up(&self) -> bool {
        self.was_up.load(Ordering::Relaxed)
    }

    /// Follows a change of this interface; none if it is one of another. A card that was removed is
    /// known again by name and hardware address.
    pub fn follow(&self, change: &Change) -> Option<Presence> {
        let info = &change.link;
        if info.index == self.index() {
            if !change.gone {
                return Some(Presence::Same);
            }
            self.begin_anew(0, 0, false);
            return Some(Presence::Removed);
        }
        // The removal may be reported later, when notifications were lost, but no two interfaces have
        // one name.
        if change.gone || info.name != self.name || info.mac != Some(self.mac) {
            return None;
        }
        self.begin_anew(info.index, info.lower.unwrap_or_default(), info.up);
        Some(Presence::Returned)
    }

    fn begin_anew(&self, index: u32, lower: u32, is_up: bool) {
        self.index.store(index, Ordering::Relaxed);
        self.lower.store(lower, Ordering::Relaxed);
        self.was_up.store(is_up, Ordering::Relaxed);
        let mut changes = self.changes();
        *changes = Changes {
            // What is below it may still be there.
            made: std::mem::take(&mut changes.made),
            ..Changes::default()
        };
    }

    /// Undoes all changes, and sets the interface down if it was set up here.
    ///
    /// Failures – the interface may be gone – are logged.
    pub fn restore(&self) {
        self.undo(To::Found, true);
    }

    /// Undoes the changes for a lease that is over or released, with an address that an earlier process
    /// had set for it; the interface stays up.
    pub fn clear(&self) {
        self.undo(To::End, false);
    }

    /// As [`Link::clear`], and sets the interface down if it was set up here.
    pub fn clear_and_lower(&self) {
        self.undo(To::End, true);
    }

    /// Sets the interface down, so that the card does not write to the next kernel's memory. A failure
    /// is only logged: kexec stops the card's driver too.
    pub fn quiesce(&self) {
        let mut socket = match open_socket() {
            Ok(socket) => socket,
            Err(error) => return log::debug!("{}: not set down: {}", self.name, error.chain()),
        };
        let changes = self.changes();
        let below = changes.made.iter().rev().flat_map(MadeLink::below);
        for index in std::iter::once(self.index()).chain(below) {
            if let Err(error) = set_up(&mut socket, index, false) {
                log::debug!("{}: {}", self.name, error.chain());
            }
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
        changes.undo(to, self.index(), &mut socket);
        if !lower {
            return;
        }
        // Last: the kernel removes every route of an interface that goes down (fib_disable_ip).
        if std::mem::take(&mut changes.raised)
            && let Err(error) = set_up(&mut socket, self.index(), false)
        {
            log::warn!("{}: {}", self.name, error.chain());
        }
        made::undo(std::mem::take(&mut changes.made));
    }

    /// Takes over what was made and raised for `parent`, on which this VLAN is: to be undone with it.
    pub fn take_over(&self, parent: &Self) {
        let mut below = parent.changes();
        let mut ours = self.changes();
        if std::mem::take(&mut below.raised) {
            made::lower_parent(&mut ours.made, parent.index());
        }
        let mut made = std::mem::take(&mut below.made);
        made.append(&mut ours.made);
        ours.made = made;
    }

    /// Returns the changes made by this process.
    pub(super) fn changes(&self) -> MutexGuard<'_, Changes> {
        // The list is consistent even if another thread panicked while it held the lock.
        match self.changes.lock() {
            Ok(changes) => changes,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Returns the error of a change that the kernel refused.
    pub(super) fn refused(&self, what: impl Into<String>, source: SyscallError) -> Error {
        Box::new(Reason::Configure {
            interface: self.name.clone(),
            what: what.into(),
            source,
        })
    }
}

/// Settings of an interface that an earlier process made for its lease.
#[derive(Debug, Clone, Copy)]
pub struct EarlierLease {
    /// Its address.
    pub address: Ipv4Addr,
    /// Bits of its network, 0 to 32.
    pub prefix_len: u8,
    /// The MTU before it, in bytes; none if the lease left it as it was.
    pub mtu_before: Option<u32>,
}

impl Link {
    /// Sets address, routes and MTU of `lease`.
    ///
    /// A route that the kernel refuses, and an MTU that the driver refuses or has no carrier with, is
    /// only logged; without the address nothing is set. Settings of the previous lease that are not part of
    /// this one are removed first; for the others the lifetimes are renewed.
    ///
    /// # Errors
    /// [`Reason::Configure`] with what the kernel refused.
    pub fn configure(&self, lease: &Lease) -> Result<(), Error> {
        self.replace(None, lease, Duration::ZERO)
    }

    /// As [`Link::configure`]; what is `before` of an earlier process – its address, the routes of a
    /// DHCP client from that, its MTU – is removed first unless it is part of this lease;
    /// [`Link::restore`] restores it. The lease was granted `age` ago.
    ///
    /// # Errors
    /// As [`Link::configure`].
    pub fn replace(
        &self,
        before: Option<EarlierLease>,
        lease: &Lease,
        age: Duration,
    ) -> Result<(), Error> {
        self.apply(before, &lease_settings(self.index(), lease, age))
    }

    /// Adds an address with an infinite lifetime and without a network; does nothing if the interface
    /// has it.
    ///
    /// # Errors
    /// [`Reason::Configure`] with the kernel's error.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<(), Error> {
        let before = self.addresses()?;
        if before.iter().any(|(there, _)| *there == address) {
            return Ok(());
        }
        let address = LinkSetting::Address(Address {
            index: self.index(),
            address,
            // With /32 the kernel adds no route to a network (fib_add_ifaddr).
            prefix_len: 32,
            broadcast: None,
            preferred_seconds: FOREVER,
            valid_seconds: FOREVER,
            details: AddressDetails::default(),
        });
        self.apply(None, &[address])
    }

    /// Returns the interface's addresses, each with its prefix length.
    ///
    /// # Errors
    /// [`Reason::System`] without a route socket.
    pub fn addresses(&self) -> Result<Vec<(Ipv4Addr, u8)>, Error> {
        let addresses = addresses(&mut open_socket()?, self.index()).map_err(unreadable)?;
        let addresses = addresses.iter();
        Ok(addresses
            .map(|there| (there.address, there.prefix_len))
            .collect())
    }

    /// Returns the address or route of `lease`, which was granted `age` ago, that the interface does
    /// not have, for a log line; none if it has all of them.
    ///
    /// # Errors
    /// [`Reason::System`] without a route socket.
    pub fn missing(&self, lease: &Lease, age: Duration) -> Result<Option<String>, Error> {
        let mut socket = open_socket()?;
        let current = InterfaceState::read(&mut socket, self.index()).map_err(unreadable)?;
        let settings = lease_settings(self.index(), lease, age);
        let missing = settings.iter().find(|setting| !current.has(setting));
        Ok(missing.map(LinkSetting::to_string))
    }

    /// Returns the address set by this process.
    pub fn configured_address(&self) -> Option<Ipv4Addr> {
        self.changes().done.iter().find_map(|done| {
            if let LinkSetting::Address(address) = done.setting {
                Some(address.address)
            } else {
                None
            }
        })
    }

    /// Returns the MTU before a lease changed it, in bytes.
    pub fn mtu_before(&self) -> Option<u32> {
        self.changes().done.iter().find_map(|done| {
            if let Undo::Request(NetlinkRequest::SetMtu { mtu_octets, .. }) = done.undo {
                Some(mtu_octets)
            } else {
                None
            }
        })
    }

    /// Removes what an earlier process set.
    ///
    /// # Errors
    /// [`Reason::System`] without a route socket.
    pub fn take_back(&self, earlier: EarlierLease) -> Result<(), Error> {
        let mut socket = open_socket()?;
        if let Some(mtu_octets) = earlier.mtu_before {
            put_mtu_back(&mut socket, self.index(), mtu_octets);
        }
        let address = (earlier.address, earlier.prefix_len);
        let (_, others) = remove(&mut socket, self.index(), address, &[]).map_err(unreadable)?;
        others.put_back(&mut socket);
        Ok(())
    }

    fn apply(&self, before: Option<EarlierLease>, wanted: &[LinkSetting]) -> Result<(), Error> {
        let mut socket = open_socket()?;
        // The changes of this process are more accurate than a file.
        let before = before.filter(|_| self.changes().done.is_empty());
        // First, since the kernel removes later addresses of the same subnet with the first one.
        self.changes()
            .undo_all_but(wanted, self.index(), &mut socket);
        let (removed, others) = match before {
            Some(before) => {
                let address = (before.address, before.prefix_len);
                let removed = remove(&mut socket, self.index(), address, wanted);
                removed.map_err(unreadable)?
            }
            None => Default::default(),
        };
        // Addresses of others come first again; their routes may need the new address.
        others.put_back_addresses(&mut socket);
        let earlier_mtu = before.and_then(|before| self.remove_mtu(before, wanted, &mut socket));
        let set = self.set_all(wanted, &mut socket);
        others.put_back_routes(&mut socket);
        match set {
            Ok(()) => {
                let mut changes = self.changes();
                changes.removed.add(removed);
                changes.removed_mtu = changes.removed_mtu.or(earlier_mtu);
            }
            Err(_) => {
                removed.put_back(&mut socket);
                if let Some(mtu_octets) = earlier_mtu {
                    put_mtu_back(&mut socket, self.index(), mtu_octets);
                }
            }
        }
        set
    }

    /// Removes the MTU of an earlier lease unless it is the wanted one; returns it.
    fn remove_mtu(
        &self,
        before: EarlierLease,
        wanted: &[LinkSetting],
        socket: &mut RouteSocket,
    ) -> Option<u32> {
        let mtu_before = before.mtu_before?;
        let (mtu_octets, _) = self.mtu_and_carrier(socket).ok()??;
        if mtu_octets == mtu_before || wanted.contains(&LinkSetting::Mtu(mtu_octets)) {
            return None;
        }
        put_mtu_back(socket, self.index(), mtu_before);
        Some(mtu_octets)
    }

    /// Returns the current MTU in bytes, and whether there is a carrier; none if the interface is gone.
    fn mtu_and_carrier(
        &self,
        socket: &mut RouteSocket,
    ) -> Result<Option<(u32, bool)>, SyscallError> {
        let links = socket.links()?;
        let link = links.iter().find(|link| link.index == self.index());
        Ok(link.and_then(|link| Some((link.mtu_octets?, link.carrier))))
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
                Err(source) => {
                    // Without the interface itself nothing of the lease is of use.
                    let has_link = !LINK_ERRORS.iter().any(|errno| source.is(*errno));
                    let error = self.refused(setting.to_string(), source);
                    let option = match setting {
                        LinkSetting::Route(_) if has_link => "3, 121 or 249",
                        LinkSetting::Mtu(_) => "26",
                        LinkSetting::Route(_) | LinkSetting::Address(_) => {
                            fresh.undo(To::Found, self.index(), socket);
                            return Err(error);
                        }
                    };
                    let error = error.chain();
                    log::warn!("{error}; left out (from option {option}, or configured)");
                }
            }
        }
        self.changes().add(fresh);
        Ok(())
    }

    /// Sets the MTU, which the kernel refuses if the device does not support it; returns the inverse, or
    /// nothing if the MTU did not change.
    fn set_mtu(
        &self,
        socket: &mut RouteSocket,
        mtu_octets: u32,
    ) -> Result<Option<Undo>, SyscallError> {
        let Some((before, has_carrier)) = self.mtu_and_carrier(socket)? else {
            return Ok(None);
        };
        let is_bad = self.changes().bad_mtu == Some(mtu_octets);
        if is_bad || before == mtu_octets {
            return Ok(None);
        }
        let set = |mtu_octets| NetlinkRequest::SetMtu {
            index: self.index(),
            mtu_octets,
        };
        socket.change(&set(mtu_octets))?;
        if !has_carrier || self.has_carrier_again() {
            return Ok(Some(Undo::Request(set(before))));
        }
        log::warn!(
            "{}: no carrier with the new MTU; restoring the old one",
            self.name
        );
        self.changes().bad_mtu = Some(mtu_octets);
        socket.change(&set(before))?;
        Ok(None)
    }

    /// Waits for the carrier, as long as a driver may take to reset the card.
    fn has_carrier_again(&self) -> bool {
        let watch = Watch::open();
        let carrier =
            watch.and_then(|mut watch| watch.wait_for_carrier(&[self.index()], RESET_TIME, None));
        carrier.is_ok_and(|place| place.is_some())
    }
}
