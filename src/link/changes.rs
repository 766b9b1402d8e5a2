//! Settings of an interface – address, routes, MTU: those that a lease means, in the order in which they
//! are set, and how each is undone.
//!
//! The MTU comes last and may fail: some drivers reset the card for it, which has no carrier for a
//! while.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::made::MadeLink;
use super::state::{InterfaceState, Snapshot, addresses, exists};
use crate::sys::netlink::RouteSocket;
use crate::sys::{self, SyscallError};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::{Address, AddressDetails, FOREVER, KernelRoute};
use wireboot_proto::packet::ipv4::{netmask, same_network};
use wireboot_proto::time::Instant;

/// Changes of an interface, each with its inverse.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// It was set up.
    pub(super) raised: bool,
    /// It and those below it, as far as they were made.
    pub(super) made: Vec<MadeLink>,
    pub(super) done: Vec<AppliedSetting>,
    /// Addresses and routes of an earlier process that were removed.
    pub(super) removed: InterfaceState,
    /// The MTU of an earlier process that was removed, in bytes.
    pub(super) removed_mtu: Option<u32>,
    /// The MTU with which there was no carrier.
    pub(super) bad_mtu: Option<u32>,
}

/// State up to which changes are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// To the state in which the interface was found.
    Found,
    /// To the state without the lease: an address with a lifetime belonged to the same lease and is
    /// removed too, and addresses that were removed for it are not restored.
    End,
}

/// A setting that has been applied.
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
    /// The address existed, and gets its previous lifetimes.
    Lifetimes(Snapshot<Address>),
}

impl AppliedSetting {
    /// Returns a setting that is applied now.
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
        // Another client of the same lease may have renewed it.
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
    /// Returns whether the lifetime of `current` is the rest of the one that was set.
    fn is_as_set(&self, current: &Address) -> bool {
        let left = self.remaining().map_or(0, |left| left.valid_seconds);
        // The kernel counts seconds.
        left.abs_diff(current.valid_seconds) <= 1
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        let is_removed = !self.removed.is_empty() || self.removed_mtu.is_some();
        !self.raised && self.made.is_empty() && self.done.is_empty() && !is_removed
    }

    /// Undoes all settings, the last one first.
    pub(super) fn undo(&mut self, to: To, index: u32, socket: &mut RouteSocket) {
        let done = std::mem::take(&mut self.done);
        undo(done, to, index, socket);
        if to == To::Found {
            std::mem::take(&mut self.removed).put_back(socket);
            if let Some(mtu_octets) = self.removed_mtu.take() {
                put_mtu_back(socket, index, mtu_octets);
            }
        }
    }

    /// Undoes the settings that are not among `wanted`.
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

    /// Adds new settings. Those that are known keep their older inverse, which leads back to before
    /// the first lease.
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

impl InterfaceState {
    /// Returns whether an address or route is among these; true for an MTU.
    pub(super) fn has(&self, setting: &LinkSetting) -> bool {
        match setting {
            LinkSetting::Mtu(_) => true,
            LinkSetting::Address(wanted) => {
                let mut addresses = self.addresses.iter();
                addresses.any(|known| known.value.is_same(wanted))
            }
            LinkSetting::Route(wanted) => {
                let mut routes = self.routes.iter();
                routes.any(|(known, _)| known.route == *wanted)
            }
        }
    }
}

/// Undoes settings, the last one first, and restores what the kernel removes with them.
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

/// Removes an address and the routes of a DHCP client from it unless they are among `wanted`; returns
/// what was removed of it, and what the kernel removed with it.
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
    // Often it no longer exists, as after the removal of the interface.
    if let Err(error) = socket.change(undo) {
        log::debug!("{setting} could not be undone: {error}: {}", error.source);
    }
}

/// Sets an MTU from before, in bytes.
pub(super) fn put_mtu_back(socket: &mut RouteSocket, index: u32, mtu_octets: u32) {
    let request = NetlinkRequest::SetMtu { index, mtu_octets };
    take_back(socket, &LinkSetting::Mtu(mtu_octets), &request);
}

/// One setting of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkSetting {
    /// The MTU, in bytes.
    Mtu(u32),
    Address(Address),
    Route(KernelRoute),
}

impl LinkSetting {
    /// Returns whether both are the same setting, lifetimes aside.
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
    // NLM_F_EXCL first: EEXIST shows that it existed, which NLM_F_REPLACE alone would hide.
    match socket.change(&NetlinkRequest::AddAddress(*address)) {
        Ok(()) => return Ok(Some(Undo::Request(NetlinkRequest::DeleteAddress(*address)))),
        Err(error) if !exists(&error) => return Err(error),
        Err(_) => {}
    }
    let before = addresses(socket, address.index)?;
    let before = before.into_iter().find(|there| there.is_same(address));
    let read_at = sys::now();
    // Else the kernel takes their absence for a change too (inet_rtm_newaddr).
    let details = before.map_or(address.details, |before| before.details);
    socket.change(&NetlinkRequest::SetAddress(Address {
        details,
        ..*address
    }))?;
    Ok(Some(match before {
        Some(value) => Undo::Lifetimes(Snapshot { value, read_at }),
        // It has just expired.
        None => Undo::Request(NetlinkRequest::DeleteAddress(*address)),
    }))
}

/// Adds a route, after others to the same network; returns the inverse, or nothing if it existed.
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
    // NLM_F_APPEND adds it after those with the same metric, which stay in use (fib_table_insert).
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

/// Every host must accept a datagram of this size (RFC 791 §3.1): a server that sets a smaller MTU is
/// mistaken or hostile.
const SMALLEST_MTU: u16 = 576;

/// Returns the settings of a lease that was granted `age` ago, in the order to be applied.
pub(super) fn lease_settings(index: u32, lease: &Lease, age: Duration) -> Vec<LinkSetting> {
    let left = |time: Option<Duration>| seconds(time.map(|time| time.saturating_sub(age)));
    let mut settings = Vec::new();
    // First: fib_create_info refuses routes whose preferred source is no local address.
    settings.push(LinkSetting::Address(Address {
        index,
        address: lease.address,
        prefix_len: lease.prefix_len,
        broadcast: lease.broadcast.or_else(|| broadcast(lease)),
        preferred_seconds: left(lease.times.map(|times| times.rebinding)),
        // The kernel removes the address then (check_lifetime), even without this process.
        valid_seconds: left(lease.times.map(|times| times.lease)),
        details: AddressDetails::default(),
    }));
    for route in routes(index, lease) {
        let route = LinkSetting::Route(route);
        if !settings.contains(&route) {
            settings.push(route);
        }
    }
    match lease.mtu_octets {
        Some(mtu) if mtu < SMALLEST_MTU => log::warn!(
            "the MTU of {mtu} bytes from {} (option 26) is ignored: less than {SMALLEST_MTU}",
            lease.server_text()
        ),
        Some(mtu) => settings.push(LinkSetting::Mtu(mtu.into())),
        None => {}
    }
    settings
}

/// Returns the routes: first those on the link, which the routers of the others may need.
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
            // The client's own address as the router means that the network is on the link, where some
            // router answers ARP for it.
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
        // Clouds lease 192.0.2.10/32 with a router outside of it: the kernel accepts that only with a
        // route to the router.
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
    // RFC 3021: /31 has no broadcast address, nor has /32.
    (lease.prefix_len < 31).then(|| lease.address | !netmask(lease.prefix_len))
}

/// Returns whole seconds, rounded up: the client itself ends the lease in time.
fn seconds(time: Option<Duration>) -> u32 {
    // The kernel refuses an address of 0 s (inet_rtm_newaddr), as of a lease that ends just now.
    let seconds = |time: Duration| u32::try_from(time.as_millis().div_ceil(1000).max(1));
    // What 32 bits do not hold, 136 years, is as good as for ever.
    time.and_then(|time| seconds(time).ok()).unwrap_or(FOREVER)
}

#[cfg(test)]
mod tests;
