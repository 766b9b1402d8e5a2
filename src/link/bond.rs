//! Bonds: made of their members, which are put back when the bond is removed.

use super::made::{Below, MadeLink, NEEDS, index_of, refused};
use super::state::{InterfaceState, set_up};
use crate::config::Bond;
use crate::error::Error;
use crate::sys::SyscallError;
use crate::sys::netlink::RouteSocket;
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::LinkInfo;

/// Finds a member by its name, or by the hardware address of a card.
fn find_member<'a>(member: &str, among: &[&'a LinkInfo]) -> Option<&'a LinkInfo> {
    let mac = member.parse().ok();
    // A VLAN has the address of its card.
    let is_it = |link: &&&LinkInfo| {
        link.name == member || (mac.is_some() && link.mac == mac && link.kind.is_none())
    };
    among.iter().find(is_it).copied()
}

/// Returns the members of `bond` that exist: if all do, or at least one and no more are waited for.
pub(super) fn members<'a>(
    bond: &Bond,
    present: &[&'a LinkInfo],
    is_last: bool,
) -> Option<Vec<&'a LinkInfo>> {
    let wanted = bond.members.split(',');
    let members = wanted.clone().filter_map(|name| find_member(name, present));
    let members: Vec<_> = members.collect();
    let is_whole = members.len() == wanted.count();
    (is_whole || (is_last && !members.is_empty())).then_some(members)
}

/// Returns whether it is such a bond as the module makes when it is loaded without `max_bonds=0`.
pub(super) fn is_empty(link: &LinkInfo, present: &[&LinkInfo]) -> bool {
    let is_bond = link.kind.as_deref() == Some("bond") && !link.up;
    let is_member = |member: &&LinkInfo| member.master == Some(link.index);
    is_bond && !present.iter().any(is_member)
}

/// Returns the bond with those of its members that exist, by name.
fn with_names(bond: &Bond, members: &[&LinkInfo]) -> Bond {
    let mut named = bond.clone();
    // The kernel refuses a primary that does not exist.
    named.rename(&|name| find_member(name, members).map(|link| link.name.clone()));
    named
}

/// Makes a bond of its members; returns it as it was made. What was made is added to `made`, even on an
/// error.
///
/// # Errors
/// `Reason::Configure` with the kernel's error: EOPNOTSUPP without the module.
pub(super) fn make(
    bond: &Bond,
    members: &[&LinkInfo],
    made: &mut Vec<MadeLink>,
) -> Result<Bond, Error> {
    let named = with_names(bond, members);
    match make_bond(&named, members, made) {
        Ok(()) => Ok(named),
        Err(source) => {
            let what = ["up a bond of ", &named.members, NEEDS, "bonding)"].concat();
            Err(refused(&bond.name, what, source))
        }
    }
}

/// Makes a bond of its members. What was made is added to `made`, even on an error.
fn make_bond(
    bond: &Bond,
    members: &[&LinkInfo],
    made: &mut Vec<MadeLink>,
) -> Result<(), SyscallError> {
    let mut socket = RouteSocket::open()?;
    let primary = bond.options.primary();
    let primary = primary.and_then(|name| find_member(name, members));
    let primary = primary.map(|link| link.index);
    let request = NetlinkRequest::AddBond {
        name: bond.name.clone(),
        options: bond.options.clone(),
        primary,
        mtu_octets: bond.mtu_octets,
    };
    if let Err(error) = socket.change(&request) {
        // The module, which the request may just have loaded, makes an empty bond0.
        let links = socket.links()?;
        let links: Vec<_> = links.iter().collect();
        let empty = links.iter().find(|link| link.name == bond.name);
        let Some(empty) = empty.filter(|link| is_empty(link, &links)) else {
            return Err(error);
        };
        let index = empty.index;
        socket.change(&NetlinkRequest::DeleteLink { index })?;
        socket.change(&request)?;
    }
    let master = index_of(&mut socket, &bond.name)?;
    let mut link = MadeLink {
        name: bond.name.clone(),
        index: master,
        below: Vec::new(),
    };
    let mut enslave = || {
        for member in members {
            let (index, is_up) = (member.index, member.up);
            // The kernel takes no member that is up (bond_enslave), and removes its routes with that.
            let state = if is_up {
                InterfaceState::read(&mut socket, index)?
            } else {
                InterfaceState::default()
            };
            link.below.push(Below {
                index,
                was_up: is_up.then_some(true),
                state,
            });
            if is_up {
                set_up(&mut socket, index, false)?;
            }
            socket.change(&NetlinkRequest::SetMaster { index, master })?;
        }
        Ok(())
    };
    let result = enslave();
    made.push(link);
    result
}
