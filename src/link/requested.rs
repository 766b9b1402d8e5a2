//! Interfaces that the configuration asks for and that are made on others: a bond, once its members exist,
//! and a VLAN, once its parent does.

#[cfg(feature = "bond")]
use super::bond;
use super::made::{self, MadeLink};
use super::state::open_socket;
#[cfg(feature = "bond")]
use crate::config::Bond;
use crate::config::{LinkConfig, MadeOf, Vlan};
use crate::error::Error;
use wireboot_proto::netlink::route::LinkInfo;

/// Bond and VLAN to boot over, if configured.
#[derive(Debug)]
pub(super) struct RequestedLinks<'a> {
    #[cfg(feature = "bond")]
    bond: Option<&'a Bond>,
    vlan: Option<&'a Vlan>,
    made: Vec<MadeLink>,
    of: MadeOf,
}

impl<'a> RequestedLinks<'a> {
    pub(super) fn new(config: &'a LinkConfig) -> Self {
        let is_named = |name: &String| config.interfaces.contains(name);
        let vlan = config.vlan.as_ref().filter(|vlan| is_named(&vlan.name));
        #[cfg(feature = "bond")]
        let carries = |name: &String| vlan.is_some_and(|vlan| vlan.parent == *name);
        #[cfg(feature = "bond")]
        let bond = config.bond.as_ref();
        Self {
            #[cfg(feature = "bond")]
            bond: bond.filter(|bond| is_named(&bond.name) || carries(&bond.name)),
            vlan,
            made: Vec::new(),
            of: MadeOf::default(),
        }
    }

    /// Makes what is missing and can be made: a bond of fewer members than configured only if `is_last`,
    /// when no more are waited for. Existing interfaces are used as they are. Returns whether something
    /// was made.
    ///
    /// # Errors
    /// `Reason::Configure` with the kernel's error: EOPNOTSUPP without the module.
    pub(super) fn make(&mut self, present: &[&LinkInfo], is_last: bool) -> Result<bool, Error> {
        let found = |name: &str| present.iter().find(|link| link.name == name);
        let has_made = |name: &str| self.made.iter().any(|made| made.name == name);
        #[cfg(feature = "bond")]
        if let Some(bond) = self.bond.filter(|bond| !has_made(&bond.name))
            && found(&bond.name).is_none_or(|there| bond::is_empty(there, present))
            && let Some(members) = bond::members(bond, present, is_last)
        {
            self.of.bond = Some(bond::make(bond, &members, &mut self.made)?);
            let members = members.into_iter();
            let members = members.map(|link| (link.name.clone(), link.mac.unwrap_or_default()));
            self.of.members = members.collect();
            return Ok(true);
        }
        #[cfg(not(feature = "bond"))]
        let _ = is_last;
        if let Some(vlan) = self.vlan
            && !has_made(&vlan.name)
            && found(&vlan.name).is_none()
            && let Some(parent) = found(&vlan.parent)
        {
            let mut socket = open_socket()?;
            made::make_vlan(vlan, parent.index, parent.up, &mut socket, &mut self.made)?;
            self.of.vlan = Some(vlan.clone());
            return Ok(true);
        }
        Ok(false)
    }

    /// Returns what was made if `name` is the interface on top, whose owner undoes it.
    pub(super) fn take_made(&mut self, name: &str) -> (Vec<MadeLink>, MadeOf) {
        let is_top = self.made.last().is_some_and(|made| made.name == name);
        if is_top {
            (std::mem::take(&mut self.made), std::mem::take(&mut self.of))
        } else {
            Default::default()
        }
    }
}

impl Drop for RequestedLinks<'_> {
    /// Undoes what no interface has taken over.
    fn drop(&mut self) {
        made::undo(std::mem::take(&mut self.made));
    }
}
