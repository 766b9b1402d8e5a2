//! Requests of rtnetlink.

#[cfg(feature = "bond")]
use crate::netlink::bond::BondOptions;
use crate::netlink::message::AF_INET6;
use crate::netlink::message::{
    Builder, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, nested,
};
#[cfg(feature = "bond")]
use crate::netlink::route::IFLA_MASTER;
use crate::netlink::route::{
    AF_INET, Address, IFF_UP, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK,
    IFLA_LINKINFO, IFLA_MTU, InstalledRoute, KernelRoute, RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE,
    RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE,
};
use crate::netlink::route6::{Address6, KernelRoute6};
use crate::prelude::*;

// linux/if_link.h.
const IFLA_VLAN_ID: u16 = 1;

/// A request to rtnetlink: a change, or a dump of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetlinkRequest {
    /// List all links.
    Links,
    /// Describe the link of this name, or of this alternative name.
    Link(String),
    /// List all IPv4 addresses.
    Addresses,
    /// List all IPv4 routes.
    Routes,
    /// Set a link up or down.
    SetUp {
        /// The link's index.
        index: u32,
        /// Up or down.
        up: bool,
    },
    /// Set the MTU of a link.
    SetMtu {
        /// The link's index.
        index: u32,
        /// The MTU, in bytes.
        mtu_octets: u32,
    },
    /// Create a VLAN link.
    AddVlan {
        /// Its name.
        name: String,
        /// Index of the parent link.
        parent: u32,
        /// VLAN identifier, 1 to 4094.
        id: u16,
    },
    /// Create a bond without members.
    #[cfg(feature = "bond")]
    AddBond {
        /// Its name.
        name: String,
        /// Its options.
        options: BondOptions,
        /// Index of the link that the option `primary` names.
        primary: Option<u32>,
        /// Its MTU, in bytes, which its members get too.
        mtu_octets: Option<u32>,
    },
    /// Make a link a member of a bond or bridge.
    #[cfg(feature = "bond")]
    SetMaster {
        /// The link's index.
        index: u32,
        /// Index of the bond or bridge.
        master: u32,
    },
    /// Delete a link.
    DeleteLink {
        /// The link's index.
        index: u32,
    },
    /// Add an address; fails if the link has it.
    AddAddress(Address),
    /// Add an address, or set the lifetimes of one that the link has.
    SetAddress(Address),
    /// Delete an address.
    DeleteAddress(Address),
    /// Add a route; fails if there is one to the same network.
    AddRoute(KernelRoute),
    /// Append a route after others to the same network; fails if it exists.
    AppendRoute(KernelRoute),
    /// Restore a route, before or after others to the same network; fails if it exists.
    RestoreRoute {
        /// The route as the kernel described it.
        route: InstalledRoute,
        /// Whether it goes before the others.
        in_front: bool,
    },
    /// Delete a route.
    DeleteRoute(KernelRoute),
    /// List all IPv6 addresses.
    Addresses6,
    /// Add, set or delete an IPv6 address.
    Address6(AddressOperation, Address6),
    /// Add, set or delete an IPv6 route.
    Route6(AddressOperation, KernelRoute6),
}

/// What is done with an IPv6 address or route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOperation {
    /// Add it; fails if it exists.
    Add,
    /// Add it, or set the lifetime of the same one; of a route the kernel then says that it exists.
    Set,
    /// Delete it.
    Delete,
}

impl AddressOperation {
    /// Chooses the type of the message, and its flags.
    const fn choose(self, new: u16, delete: u16) -> (u16, u16) {
        // Acknowledged, so that a success is heard of as well.
        const DO: u16 = NLM_F_REQUEST | NLM_F_ACK;
        match self {
            Self::Add => (new, DO | NLM_F_CREATE | NLM_F_EXCL),
            Self::Set => (new, DO | NLM_F_CREATE),
            Self::Delete => (delete, DO),
        }
    }
}

impl NetlinkRequest {
    /// Returns the message's name, with the attribute that it is for.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Links | Self::Link(_) => "netlink(RTM_GETLINK)",
            Self::Addresses => "netlink(RTM_GETADDR)",
            Self::Routes => "netlink(RTM_GETROUTE)",
            Self::SetUp { up: true, .. } => "netlink(RTM_NEWLINK, up)",
            Self::SetUp { up: false, .. } => "netlink(RTM_NEWLINK, down)",
            Self::SetMtu { .. } => "netlink(RTM_NEWLINK, IFLA_MTU)",
            Self::AddVlan { .. } => "netlink(RTM_NEWLINK, vlan)",
            #[cfg(feature = "bond")]
            Self::AddBond { .. } => "netlink(RTM_NEWLINK, bond)",
            #[cfg(feature = "bond")]
            Self::SetMaster { .. } => "netlink(RTM_NEWLINK, IFLA_MASTER)",
            Self::DeleteLink { .. } => "netlink(RTM_DELLINK)",
            Self::AddAddress(_) | Self::SetAddress(_) => "netlink(RTM_NEWADDR)",
            Self::DeleteAddress(_) => "netlink(RTM_DELADDR)",
            Self::AddRoute(_) | Self::AppendRoute(_) | Self::RestoreRoute { .. } => {
                "netlink(RTM_NEWROUTE)"
            }
            Self::DeleteRoute(_) => "netlink(RTM_DELROUTE)",
            Self::Addresses6 => "netlink(RTM_GETADDR, IPv6)",
            Self::Address6(..) => "netlink(address, IPv6)",
            Self::Route6(..) => "netlink(route, IPv6)",
        }
    }

    /// Encodes the request under a number that its answers will carry.
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        // Changes are acknowledged; a dump ends with NLMSG_DONE by itself.
        const DO: u16 = NLM_F_REQUEST | NLM_F_ACK;
        const DUMP: u16 = NLM_F_REQUEST | NLM_F_DUMP;
        match self {
            // struct ifinfomsg, all zero: AF_UNSPEC, links of every kind.
            Self::Links => Builder::new(RTM_GETLINK, DUMP, sequence, &[0; 16]).finish(),
            Self::Link(name) => {
                // The answer is the end of it, and needs no acknowledgement.
                Builder::new(RTM_GETLINK, NLM_F_REQUEST, sequence, &[0; 16])
                    .attribute(IFLA_IFNAME, format!("{name}\0").as_bytes())
                    .finish()
            }
            Self::Addresses => {
                Builder::new(RTM_GETADDR, DUMP, sequence, &[AF_INET, 0, 0, 0, 0, 0, 0, 0]).finish()
            }
            Self::Routes => {
                let mut fixed = [0; 12];
                if let Some(family) = fixed.first_mut() {
                    *family = AF_INET;
                }
                Builder::new(RTM_GETROUTE, DUMP, sequence, &fixed).finish()
            }
            Self::SetUp { index, up } => {
                let flags = if *up { IFF_UP } else { 0 };
                // ifi_change has only this flag, so that all others stay as they are.
                let fixed = link_part(*index, flags, IFF_UP);
                Builder::new(RTM_NEWLINK, DO, sequence, &fixed).finish()
            }
            Self::SetMtu { index, mtu_octets } => {
                Builder::new(RTM_NEWLINK, DO, sequence, &link_part(*index, 0, 0))
                    .attribute(IFLA_MTU, &mtu_octets.to_ne_bytes())
                    .finish()
            }
            Self::AddVlan { name, parent, id } => {
                let data = nested(IFLA_VLAN_ID, &id.to_ne_bytes());
                new_link(sequence, name, Some((IFLA_LINK, *parent)), b"vlan\0", &data)
            }
            #[cfg(feature = "bond")]
            Self::AddBond {
                name,
                options,
                primary,
                mtu_octets,
            } => {
                let data = options.encode(*primary);
                let mtu = mtu_octets.map(|mtu_octets| (IFLA_MTU, mtu_octets));
                new_link(sequence, name, mtu, b"bond\0", &data)
            }
            #[cfg(feature = "bond")]
            Self::SetMaster { index, master } => {
                Builder::new(RTM_NEWLINK, DO, sequence, &link_part(*index, 0, 0))
                    .attribute(IFLA_MASTER, &master.to_ne_bytes())
                    .finish()
            }
            Self::DeleteLink { index } => {
                Builder::new(RTM_DELLINK, DO, sequence, &link_part(*index, 0, 0)).finish()
            }
            Self::AddAddress(address) => {
                address.encode(RTM_NEWADDR, DO | NLM_F_CREATE | NLM_F_EXCL, sequence)
            }
            Self::SetAddress(address) => {
                address.encode(RTM_NEWADDR, DO | NLM_F_CREATE | NLM_F_REPLACE, sequence)
            }
            Self::DeleteAddress(address) => address.encode(RTM_DELADDR, DO, sequence),
            Self::AddRoute(route) => {
                route.encode(RTM_NEWROUTE, DO | NLM_F_CREATE | NLM_F_EXCL, sequence)
            }
            Self::AppendRoute(route) => {
                route.encode(RTM_NEWROUTE, DO | NLM_F_CREATE | NLM_F_APPEND, sequence)
            }
            Self::RestoreRoute { route, in_front } => {
                // NLM_F_CREATE alone adds the route before others, as `ip route prepend`.
                let place = if *in_front { 0 } else { NLM_F_APPEND };
                route.encode(DO | NLM_F_CREATE | place, sequence)
            }
            Self::DeleteRoute(route) => route.encode(RTM_DELROUTE, DO, sequence),
            Self::Addresses6 => {
                let fixed = [AF_INET6, 0, 0, 0, 0, 0, 0, 0];
                Builder::new(RTM_GETADDR, DUMP, sequence, &fixed).finish()
            }
            Self::Address6(operation, address) => {
                let (kind, mut flags) = operation.choose(RTM_NEWADDR, RTM_DELADDR);
                if *operation == AddressOperation::Set {
                    flags |= NLM_F_REPLACE;
                }
                address.encode(kind, flags, sequence)
            }
            Self::Route6(operation, route) => {
                let (kind, flags) = operation.choose(RTM_NEWROUTE, RTM_DELROUTE);
                route.encode(kind, flags, sequence)
            }
        }
    }
}

/// Encodes the request for a new link of a kind, with one attribute more and the data of its kind.
fn new_link(
    sequence: u32,
    name: &str,
    more: Option<(u16, u32)>,
    kind: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut info = nested(IFLA_INFO_KIND, kind);
    info.extend(nested(IFLA_INFO_DATA, data));
    // With EXCL, so that an existing link of that name is not changed.
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let mut builder = Builder::new(RTM_NEWLINK, flags, sequence, &link_part(0, 0, 0))
        .attribute(IFLA_IFNAME, format!("{name}\0").as_bytes());
    if let Some((attribute, number)) = more {
        builder = builder.attribute(attribute, &number.to_ne_bytes());
    }
    builder.attribute(IFLA_LINKINFO, &info).finish()
}

/// Encodes `struct ifinfomsg`.
fn link_part(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut fixed = vec![0; 4];
    for number in [index, flags, change] {
        fixed.extend_from_slice(&number.to_ne_bytes());
    }
    fixed
}
