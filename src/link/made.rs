//! Interfaces that were made on others, such as VLANs (802.1Q). What was made is undone by the owner of the
//! interface on top.

use super::state::{InterfaceState, open_socket, set_up};
use crate::config::Vlan;
use crate::error::{Error, Reason};
use crate::sys::SyscallError;
use crate::sys::netlink::RouteSocket;
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::RouteMessage;

/// An interface that was made, with what it takes to undo that.
#[derive(Debug)]
pub(super) struct MadeLink {
    pub(super) name: String,
    pub(super) index: u32,
    /// The interfaces below, and how they were before.
    pub(super) below: Vec<Below>,
}

#[derive(Debug)]
pub(super) struct Below {
    pub(super) index: u32,
    /// The flag IFF_UP to be set again, if it was changed.
    pub(super) was_up: Option<bool>,
    /// Routes that the kernel has removed when it was set down.
    pub(super) state: InterfaceState,
}

impl MadeLink {
    /// Returns the interfaces below it.
    pub(super) fn below(&self) -> impl Iterator<Item = u32> {
        self.below.iter().map(|below| below.index)
    }

    /// Removes the interface, and sets those below up or down as they were.
    fn undo(self, socket: &mut RouteSocket) {
        let index = self.index;
        // Its members are set down and have their own MTU and address again (__bond_release_one).
        let mut results = vec![socket.change(&NetlinkRequest::DeleteLink { index })];
        for below in self.below {
            if let Some(was_up) = below.was_up {
                results.push(set_up(socket, below.index, was_up));
            }
            below.state.put_back_routes(socket);
        }
        for error in results.into_iter().filter_map(Result::err) {
            log::debug!("{} not removed: {}", self.name, error.chain());
        }
    }
}

/// Undoes what was made, the last one first.
pub(super) fn undo(made: Vec<MadeLink>) {
    if made.is_empty() {
        return;
    }
    match open_socket() {
        Ok(mut socket) => made
            .into_iter()
            .rev()
            .for_each(|link| link.undo(&mut socket)),
        Err(error) => log::warn!("{}", error.chain()),
    }
}

/// Makes the last of `made` responsible for setting its parent down again.
pub(super) fn lower_parent(made: &mut [MadeLink], parent: u32) {
    let below = made.iter_mut().flat_map(|made| &mut made.below);
    for below in below.filter(|below| below.index == parent) {
        below.was_up = Some(false);
    }
}

/// Makes a VLAN interface. What was made is added to `made`, even on an error.
///
/// # Errors
/// [`Reason::Configure`] with the kernel's error: EOPNOTSUPP without the module.
pub(super) fn make_vlan(
    vlan: &Vlan,
    parent: u32,
    is_up: bool,
    socket: &mut RouteSocket,
    made: &mut Vec<MadeLink>,
) -> Result<(), Error> {
    let mut make = || {
        socket.change(&NetlinkRequest::AddVlan {
            name: vlan.name.clone(),
            parent,
            id: vlan.id,
        })?;
        let index = index_of(socket, &vlan.name)?;
        let below = Below {
            index: parent,
            was_up: (!is_up).then_some(false),
            state: InterfaceState::default(),
        };
        made.push(MadeLink {
            name: vlan.name.clone(),
            index,
            below: vec![below],
        });
        // vlan_dev_open returns ENETDOWN while the parent is down.
        if is_up {
            Ok(())
        } else {
            set_up(socket, parent, true)
        }
    };
    make().map_err(|source| {
        let what = ["up a VLAN on ", &vlan.parent, NEEDS, "8021q)"].concat();
        refused(&vlan.name, what, source)
    })
}

/// Stands before the name of a module.
pub(super) const NEEDS: &str = " (needs the module ";

pub(super) fn index_of(socket: &mut RouteSocket, name: &str) -> Result<u32, SyscallError> {
    let answers = socket.dump(&NetlinkRequest::Link(name.to_owned()))?;
    let mut indices = answers.into_iter().filter_map(|message| {
        if let RouteMessage::NewLink(link) = message {
            return Some(link.index);
        }
        None
    });
    indices
        .next()
        .ok_or_else(|| SyscallError::new("netlink(RTM_GETLINK)", nix::errno::Errno::ENODEV))
}

pub(super) fn refused(interface: &str, what: String, source: SyscallError) -> Error {
    Box::new(Reason::Configure {
        interface: interface.to_owned(),
        what,
        source,
    })
}
