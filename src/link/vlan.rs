//! VLAN interfaces (802.1Q), created once their parent exists.

use super::state::{open_socket, set_up};
use crate::config::{LinkConfig, Vlan};
use crate::error::Error;
use crate::sys::SyscallError;
use crate::sys::netlink::RouteSocket;
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::LinkInfo;

/// A VLAN interface that was created, and its inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CreatedVlan {
    parent: u32,
    /// Whether the parent interface was set up.
    raised: bool,
}

impl CreatedVlan {
    /// Removes the VLAN, and sets its parent down if it was set up.
    pub(super) fn undo(self, index: u32, socket: &mut RouteSocket) {
        let removed = socket.change(&NetlinkRequest::DeleteLink { index });
        let lowered = if self.raised {
            set_up(socket, self.parent, false)
        } else {
            Ok(())
        };
        for error in [removed, lowered].into_iter().filter_map(Result::err) {
            log::debug!("VLAN not removed: {}", error.chain());
        }
    }
}

/// The VLAN to boot over, if configured.
#[derive(Debug)]
pub(super) struct RequestedVlan<'a> {
    vlan: Option<&'a Vlan>,
    made: Option<CreatedVlan>,
}

impl<'a> RequestedVlan<'a> {
    pub(super) fn new(config: &'a LinkConfig) -> Self {
        let vlan = config.vlan.as_ref();
        Self {
            vlan: vlan.filter(|vlan| config.interfaces.contains(&vlan.name)),
            made: None,
        }
    }

    /// Creates it once its parent exists; an existing interface of its name is used as it is.
    ///
    /// # Errors
    /// [`Error::Configure`] with the kernel's error: EOPNOTSUPP without its module 8021q.
    pub(super) fn make<'b>(
        &mut self,
        present: impl Iterator<Item = &'b LinkInfo> + Clone,
    ) -> Result<(), Error> {
        let found = |name: &str| present.clone().find(|link| link.name == name);
        let Some(vlan) = self.vlan.filter(|vlan| found(&vlan.name).is_none()) else {
            return Ok(());
        };
        if let (Some(parent), None) = (found(&vlan.parent), self.made) {
            let made = make(vlan, parent, &mut open_socket()?);
            self.made = Some(made.map_err(|source| Error::Configure {
                interface: vlan.name.clone(),
                what: format!(
                    "up VLAN {} of {} (needs the module 8021q)",
                    vlan.id, vlan.parent
                ),
                source,
            })?);
        }
        Ok(())
    }

    /// Returns the created VLAN if `name` is its interface, whose owner undoes it.
    pub(super) fn take_created(&mut self, name: &str) -> Option<CreatedVlan> {
        self.made
            .take_if(|_| self.vlan.is_some_and(|vlan| vlan.name == name))
    }
}

fn make(
    vlan: &Vlan,
    parent: &LinkInfo,
    socket: &mut RouteSocket,
) -> Result<CreatedVlan, SyscallError> {
    let parent_index = parent.index;
    socket.change(&NetlinkRequest::AddVlan {
        name: vlan.name.clone(),
        parent: parent_index,
        id: vlan.id,
    })?;
    // vlan_dev_open returns ENETDOWN while the parent is down.
    if !parent.up {
        set_up(socket, parent_index, true)?;
    }
    Ok(CreatedVlan {
        parent: parent_index,
        raised: !parent.up,
    })
}
