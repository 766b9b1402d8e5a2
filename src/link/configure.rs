//! What a lease sets on an interface: address, routes, MTU; all of it, or nothing.
//!
//! The MTU comes last and may be left out: some drivers begin anew for it, and are without a carrier
//! for a while. One with which it does not return is set back, and not set again.

use std::net::Ipv4Addr;
use std::slice;
use std::time::Duration;

use super::state::{InterfaceState, Snapshot, addresses, exists};
use super::vlan::CreatedVlan;
use super::{Link, Watch, open_socket, unreadable, wait};
use crate::error::Error;
use crate::sys::netlink::RouteSocket;
use crate::sys::{self, SyscallError};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::netlink::route::{Address, FOREVER, KernelRoute, LinkInfo, NetlinkRequest};
use wireboot_proto::packet::ipv4::{netmask, same_network};
use wireboot_proto::time::Instant;

/// Every host must take a datagram of this size (RFC 791 §3.1), and less serves no one here: a
/// server that asks for less is mistaken or hostile.
const SMALLEST_MTU: u16 = 576;

/// Timeout for the carrier after an MTU change, for which some drivers reset the card.
// 1000BASE-T takes two to three seconds to negotiate anew after a reset.
const RESET_TIME: Duration = Duration::from_secs(5);

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
        self.apply(before, &settings(self.index, lease, age))
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

    /// Waits for the carrier, as long as a driver may take to begin anew.
    fn has_carrier_again(&self) -> bool {
        let watch = Watch::open();
        watch
            .and_then(|mut watch| wait(slice::from_ref(self), &mut watch, RESET_TIME, None))
            .is_ok()
    }
}

/// Changes of an interface, each with its inverse.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// It was switched on.
    pub(super) raised: bool,
    /// It was made.
    pub(super) made: Option<CreatedVlan>,
    done: Vec<AppliedSetting>,
    /// What an earlier process had set and was removed.
    removed: InterfaceState,
    /// With which there was no carrier.
    bad_mtu: Option<u32>,
}

/// Up to where changes are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// All is as it was found.
    Found,
    /// As [`To::Found`], but that the lease is over: an address that ends by itself was of the same
    /// lease and is not left there, and what was removed for it does not return.
    End,
}

/// A setting that has been made.
#[derive(Debug)]
struct AppliedSetting {
    setting: LinkSetting,
    at: Instant,
    undo: Undo,
}

/// The inverse of a setting.
#[derive(Debug)]
enum Undo {
    Request(NetlinkRequest),
    /// The address was there and is given the lifetimes again that it had.
    Lifetimes(Snapshot<Address>),
}

impl AppliedSetting {
    fn now(setting: LinkSetting, undo: Undo) -> Self {
        let at = sys::now();
        Self { setting, at, undo }
    }

    fn undo(&self, to: To, socket: &mut RouteSocket) {
        let before = match &self.undo {
            Undo::Request(request) => return take_back(socket, &self.setting, request),
            Undo::Lifetimes(before) => before,
        };
        let LinkSetting::Address(set) = self.setting else {
            return;
        };
        let remaining = before
            .remaining()
            .filter(|left| to == To::Found || left.valid_seconds == FOREVER);
        let there = addresses(socket, set.index).unwrap_or_default();
        let there = there.into_iter().find(|there| there.is_same(&set));
        // Another client of the same lease may have renewed it meanwhile, or sets it again itself.
        let set = Snapshot {
            value: set,
            read_at: self.at,
        };
        if to == To::Found && there.is_some_and(|there| !set.is_as_set(&there)) {
            return;
        }
        let request = remaining.map_or(
            NetlinkRequest::DeleteAddress(set.value),
            NetlinkRequest::SetAddress,
        );
        take_back(socket, &self.setting, &request);
    }
}

impl Snapshot<Address> {
    /// Returns whether the lifetime of `there` is what is left of the one that was set.
    fn is_as_set(&self, there: &Address) -> bool {
        let left = self.remaining().map_or(0, |left| left.valid_seconds);
        // The kernel counts by seconds.
        left.abs_diff(there.valid_seconds) <= 1
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        !self.raised && self.made.is_none() && self.done.is_empty() && self.removed.is_empty()
    }

    /// Takes back everything that was set, the last first.
    pub(super) fn undo(&mut self, to: To, index: u32, socket: &mut RouteSocket) {
        let done = std::mem::take(&mut self.done);
        undo(done, to, index, socket);
        if to == To::Found {
            std::mem::take(&mut self.removed).put_back(socket);
        }
    }

    /// Takes back what is not among `wanted`.
    fn undo_all_but(&mut self, wanted: &[LinkSetting], index: u32, socket: &mut RouteSocket) {
        let is_wanted = |known: &LinkSetting| wanted.iter().any(|setting| setting.same(known));
        let (kept, stale) = std::mem::take(&mut self.done)
            .into_iter()
            .partition(|done| is_wanted(&done.setting));
        self.done = kept;
        undo(stale, To::End, index, socket);
    }

    /// Adds what is new. What was known already keeps its older inverse, which leads back to
    /// before the first lease.
    fn add(&mut self, fresh: Self) {
        for done in fresh.done {
            let mut known = self.done.iter_mut();
            match known.find(|known| known.setting.same(&done.setting)) {
                Some(known) => (known.setting, known.at) = (done.setting, done.at),
                None => self.done.push(done),
            }
        }
    }
}

/// Takes settings back, the last first, and nothing else of the interface with them.
fn undo(done: Vec<AppliedSetting>, to: To, index: u32, socket: &mut RouteSocket) {
    if done.is_empty() {
        return;
    }
    let before = InterfaceState::read(socket, index);
    for done in done.iter().rev() {
        done.undo(to, socket);
    }
    let (Ok(mut gone), Ok(after)) = (before, InterfaceState::read(socket, index)) else {
        return;
    };
    gone.retain_missing_in(&after);
    for done in &done {
        match done.setting {
            LinkSetting::Address(address) => drop(gone.split_off(address.address)),
            LinkSetting::Route(route) => gone.routes.retain(|(known, _)| known.route != route),
            LinkSetting::Mtu(_) => {}
        }
    }
    gone.put_back(socket);
}

/// Removes an address that is not among `wanted`, and the routes of a DHCP client from it that are
/// not; returns what is gone of it, and what the kernel removed beside.
fn remove(
    socket: &mut RouteSocket,
    index: u32,
    (address, prefix_len): (Ipv4Addr, u8),
    wanted: &[LinkSetting],
) -> Result<(InterfaceState, InterfaceState), SyscallError> {
    let is_wanted = |known: LinkSetting| wanted.iter().any(|setting| setting.same(&known));
    let mut gone = InterfaceState::read(socket, index)?;
    for (known, _) in &gone.routes {
        let setting = LinkSetting::Route(known.route);
        if known.is_of_dhcp() && known.route.source == Some(address) && !is_wanted(setting) {
            take_back(socket, &setting, &NetlinkRequest::DeleteRoute(known.route));
        }
    }
    for Snapshot { value: there, .. } in &gone.addresses {
        let setting = LinkSetting::Address(*there);
        if (there.address, there.prefix_len) == (address, prefix_len) && !is_wanted(setting) {
            take_back(socket, &setting, &NetlinkRequest::DeleteAddress(*there));
        }
    }
    gone.retain_missing_in(&InterfaceState::read(socket, index)?);
    let ours = gone.split_off(address);
    Ok((ours, gone))
}

fn take_back(socket: &mut RouteSocket, setting: &LinkSetting, undo: &NetlinkRequest) {
    // Often it is gone already: an interface that was removed takes everything with it.
    if let Err(error) = socket.change(undo) {
        log::debug!("{setting} could not be undone: {error}: {}", error.source);
    }
}

/// One setting of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkSetting {
    /// Largest packet, bytes.
    Mtu(u32),
    Address(Address),
    Route(KernelRoute),
}

impl LinkSetting {
    /// Returns whether setting one is setting the other, lifetimes aside.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(one), Self::Address(other)) => one.is_same(other),
            _ => self == other,
        }
    }
}

/// Sets an address; returns the inverse.
fn set_address(socket: &mut RouteSocket, address: &Address) -> Result<Option<Undo>, SyscallError> {
    // NLM_F_EXCL first: EEXIST tells that it was there, which NLM_F_REPLACE alone would hide.
    match socket.change(&NetlinkRequest::AddAddress(*address)) {
        Ok(()) => return Ok(Some(Undo::Request(NetlinkRequest::DeleteAddress(*address)))),
        Err(error) if !exists(&error) => return Err(error),
        Err(_) => {}
    }
    let before = addresses(socket, address.index)?;
    let before = before.into_iter().find(|there| there.is_same(address));
    let read_at = sys::now();
    socket.change(&NetlinkRequest::SetAddress(*address))?;
    Ok(Some(match before {
        Some(value) => Undo::Lifetimes(Snapshot { value, read_at }),
        // It has just ended.
        None => Undo::Request(NetlinkRequest::DeleteAddress(*address)),
    }))
}

/// Adds a route; one to the same network that somebody else set stays in front of it. Returns what
/// takes it back, or nothing when it was there already.
fn add_route(socket: &mut RouteSocket, route: &KernelRoute) -> Result<Option<Undo>, SyscallError> {
    let undo = || Some(Undo::Request(NetlinkRequest::DeleteRoute(*route)));
    match socket.change(&NetlinkRequest::AddRoute(*route)) {
        Ok(()) => return Ok(undo()),
        Err(error) if !exists(&error) => return Err(error),
        Err(_) => {}
    }
    // NLM_F_APPEND puts it behind those with the same metric, which keep the traffic
    // (fib_table_insert).
    match socket.change(&NetlinkRequest::AppendRoute(*route)) {
        Ok(()) => {
            log::warn!(
                "{} is not preferred: another route to the same network exists",
                LinkSetting::Route(*route)
            );
            Ok(undo())
        }
        Err(error) if exists(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl std::fmt::Display for LinkSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mtu(mtu_octets) => write!(f, "the MTU of {mtu_octets} bytes"),
            Self::Address(address) => {
                write!(f, "the address {}/{}", address.address, address.prefix_len)
            }
            Self::Route(route) => {
                write!(f, "the route to {}/{}", route.destination, route.prefix_len)?;
                match route.gateway {
                    Some(gateway) => write!(f, " via {gateway}"),
                    None => write!(f, " on the link"),
                }
            }
        }
    }
}

/// Returns what `lease` means for the interface `age` after its times began, in the order to be set.
fn settings(index: u32, lease: &Lease, age: Duration) -> Vec<LinkSetting> {
    let left = |time: Option<Duration>| seconds(time.map(|time| time.saturating_sub(age)));
    let mut settings = Vec::new();
    // First: fib_create_info refuses routes whose preferred source is no address of this machine.
    settings.push(LinkSetting::Address(Address {
        index,
        address: lease.address,
        prefix_len: lease.prefix_len,
        broadcast: lease.broadcast.or_else(|| broadcast(lease)),
        preferred_seconds: left(lease.times.map(|times| times.rebinding)),
        // The kernel's check_lifetime removes the address then, even when this process is gone.
        valid_seconds: left(lease.times.map(|times| times.lease)),
    }));
    for route in routes(index, lease) {
        let route = LinkSetting::Route(route);
        if !settings.contains(&route) {
            settings.push(route);
        }
    }
    match lease.mtu_octets {
        Some(mtu) if mtu < SMALLEST_MTU => log::warn!(
            "the MTU of {mtu} bytes from {} is ignored: less than {SMALLEST_MTU}",
            lease.server_text()
        ),
        Some(mtu) => settings.push(LinkSetting::Mtu(mtu.into())),
        None => {}
    }
    settings
}

/// Returns the routes: first those that are on the link, since the others may lead through them.
fn routes(index: u32, lease: &Lease) -> Vec<KernelRoute> {
    let mut on_link = Vec::new();
    let mut through = Vec::new();
    for route in &lease.routes {
        let wanted = KernelRoute {
            index,
            // Bits beyond the prefix are EINVAL for the kernel (fib_valid_key_len), and servers
            // send them.
            destination: route.destination & netmask(route.prefix_len),
            prefix_len: route.prefix_len.min(32),
            // A server that names ourselves as the router means that all is on the link, where
            // some router answers ARP for it.
            gateway: route.gateway.filter(|gateway| *gateway != lease.address),
            // The kernel removes routes with this source together with the address
            // (fib_sync_down_addr).
            source: Some(lease.address),
        };
        if wanted.gateway.is_none() {
            on_link.push(wanted);
        } else {
            through.push(wanted);
        }
    }
    for route in &through {
        let Some(gateway) = route.gateway else {
            continue;
        };
        let reaches =
            |network_of: Ipv4Addr, prefix_len: u8| same_network(gateway, network_of, prefix_len);
        let reachable = reaches(lease.address, lease.prefix_len)
            || on_link
                .iter()
                .any(|known| reaches(known.destination, known.prefix_len));
        // A cloud gives 192.0.2.10/32 with a router outside of that: only a route to the router
        // itself makes the kernel accept it.
        if !reachable {
            on_link.push(KernelRoute {
                destination: gateway,
                prefix_len: 32,
                gateway: None,
                ..*route
            });
        }
    }
    on_link.append(&mut through);
    on_link
}

fn broadcast(lease: &Lease) -> Option<Ipv4Addr> {
    // RFC 3021: a network of two has no broadcast address, nor has one of one.
    (lease.prefix_len < 31).then(|| lease.address | !netmask(lease.prefix_len))
}

/// Returns whole seconds, rounded up: the client itself ends the lease in time.
fn seconds(time: Option<Duration>) -> u32 {
    time.and_then(|time| u32::try_from(time.as_millis().div_ceil(1000)).ok())
        .unwrap_or(FOREVER)
}

#[cfg(test)]
mod tests;
