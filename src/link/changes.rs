//! Settings of an interface – address, routes, MTU – and how each is taken back.

use std::net::Ipv4Addr;

use super::state::{InterfaceState, Snapshot, addresses, exists};
use super::vlan::CreatedVlan;
use crate::sys::netlink::RouteSocket;
use crate::sys::{self, SyscallError};
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::{Address, FOREVER, KernelRoute};
use wireboot_proto::time::Instant;

/// Changes of an interface, each with its inverse.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// It was switched on.
    pub(super) raised: bool,
    /// It was made.
    pub(super) made: Option<CreatedVlan>,
    pub(super) done: Vec<AppliedSetting>,
    /// What an earlier process had set and was removed.
    pub(super) removed: InterfaceState,
    /// With which there was no carrier.
    pub(super) bad_mtu: Option<u32>,
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
pub(super) struct AppliedSetting {
    pub(super) setting: LinkSetting,
    at: Instant,
    pub(super) undo: Undo,
}

/// The inverse of a setting.
#[derive(Debug)]
pub(super) enum Undo {
    Request(NetlinkRequest),
    /// The address was there and is given the lifetimes again that it had.
    Lifetimes(Snapshot<Address>),
}

impl AppliedSetting {
    /// Returns a setting that was made just now.
    pub(super) fn now(setting: LinkSetting, undo: Undo) -> Self {
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
    pub(super) fn undo_all_but(
        &mut self,
        wanted: &[LinkSetting],
        index: u32,
        socket: &mut RouteSocket,
    ) {
        let is_wanted = |known: &LinkSetting| wanted.iter().any(|setting| setting.same(known));
        let (kept, stale) = std::mem::take(&mut self.done)
            .into_iter()
            .partition(|done| is_wanted(&done.setting));
        self.done = kept;
        undo(stale, To::End, index, socket);
    }

    /// Adds what is new. What was known already keeps its older inverse, which leads back to
    /// before the first lease.
    pub(super) fn add(&mut self, fresh: Self) {
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
pub(super) fn remove(
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

pub(super) fn take_back(socket: &mut RouteSocket, setting: &LinkSetting, undo: &NetlinkRequest) {
    // Often it is gone already: an interface that was removed takes everything with it.
    if let Err(error) = socket.change(undo) {
        log::debug!("{setting} could not be undone: {error}: {}", error.source);
    }
}

/// One setting of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkSetting {
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
pub(super) fn set_address(
    socket: &mut RouteSocket,
    address: &Address,
) -> Result<Option<Undo>, SyscallError> {
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
pub(super) fn add_route(
    socket: &mut RouteSocket,
    route: &KernelRoute,
) -> Result<Option<Undo>, SyscallError> {
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
