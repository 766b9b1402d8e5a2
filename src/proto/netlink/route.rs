//! rtnetlink (RFC 3549 §3): links, IPv4 addresses and IPv4 routes.
//!
//! Attributes that are not used here are skipped.

use crate::prelude::*;
use core::net::Ipv4Addr;

#[cfg(feature = "bond")]
use crate::netlink::bond;
use crate::netlink::message::AF_INET6;
use crate::netlink::message::{
    Ack, Attribute, Builder, IFA_ADDRESS, IFA_CACHEINFO, IFA_LOCAL, NLMSG_DONE, NLMSG_ERROR,
    NetlinkMessage, RT_TABLE_MAIN, RTA_DST, RTA_GATEWAY, RTA_OIF, RTA_PRIORITY, RTN_UNICAST,
    attributes,
};
use crate::netlink::route6::Address6;
use crate::packet::ethernet::MacAddress;
use crate::reader::{DecodeError, Reader};

// Types of messages (linux/rtnetlink.h).
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;

// Families (bits/socket.h).
const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;

/// Hardware type of Ethernet, in `ifi_type` as in ARP.
pub const ARPHRD_ETHER: u16 = 1;
/// Hardware type of the loopback interface.
pub const ARPHRD_LOOPBACK: u16 = 772;

// Flags of a link (linux/if.h).
pub(super) const IFF_UP: u32 = 0x1;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x10000;

// Attributes of a link, and of the description of its kind (linux/if_link.h).
const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINK: u16 = 5;
pub(super) const IFLA_MASTER: u16 = 10;
const IFLA_LINK_NETNSID: u16 = 37;
pub(super) const IFLA_LINKINFO: u16 = 18;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_STATS64: u16 = 23;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;

// Attributes and a flag of an address (linux/if_addr.h).
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
/// Since Linux 5.18.
const IFA_PROTO: u16 = 11;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

// Attributes, origins, a flag and scopes of a route (linux/rtnetlink.h).
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;

const RTPROT_KERNEL: u8 = 2;
// The protocol of routes of a lease, as set by systemd-networkd and dhcpcd.
const RTPROT_DHCP: u8 = 16;
const RTNH_F_ONLINK: u32 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;

/// A network interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Hardware type, [`ARPHRD_ETHER`] for Ethernet.
    pub hardware_type: u16,
    /// Hardware address; none if it is not six bytes long.
    pub mac: Option<MacAddress>,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it is up and has a link partner.
    pub carrier: bool,
    /// Whether the kernel's queues are active, up to a second after the carrier; packets sent before are
    /// dropped.
    pub running: bool,
    /// The MTU, in bytes.
    pub mtu_octets: Option<u32>,
    /// The bridge, bond or other interface that it belongs to.
    pub master: Option<u32>,
    /// The kind of a virtual interface: `veth`, `bridge`, `vlan` …
    pub kind: Option<String>,
    /// Index of the interface that carries this VLAN.
    pub lower: Option<u32>,
    /// For a bond that speaks LACP: whether it has found a partner.
    pub has_partner: Option<bool>,
    /// Whether it has a hardware device (reported since Linux 5.14).
    pub has_device: bool,
    /// Frames received since it was created.
    pub received: u64,
}

impl LinkInfo {
    /// Returns whether `other` is the same apart from counters.
    pub fn is_same_state(&self, other: &Self) -> bool {
        let received = other.received;
        Self {
            received,
            ..self.clone()
        } == *other
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        // struct ifinfomsg: family 1, pad 1, type 2, index 4, flags 4, change 4.
        let mut reader = Reader::new(payload);
        reader.take(2, "ifi_family")?;
        let hardware_type = u16::from_ne_bytes(reader.array("ifi_type")?);
        let index = u32::from_ne_bytes(reader.array("ifi_index")?);
        let flags = u32::from_ne_bytes(reader.array("ifi_flags")?);
        reader.take(4, "ifi_change")?;
        // IFF_RUNNING follows the carrier by up to a second; IFF_LOWER_UP does not.
        let carrier = flags & IFF_LOWER_UP != 0;
        let mut link = Self {
            index,
            name: String::new(),
            hardware_type,
            mac: None,
            up: flags & IFF_UP != 0,
            carrier,
            running: carrier && flags & IFF_RUNNING != 0,
            mtu_octets: None,
            master: None,
            kind: None,
            lower: None,
            has_partner: None,
            has_device: false,
            received: 0,
        };
        let mut is_elsewhere = false;
        for attribute in attributes(reader.rest()) {
            let attribute = attribute?;
            match attribute.kind {
                // 20 bytes on InfiniBand, which are no MAC address.
                IFLA_ADDRESS => link.mac = attribute.value.try_into().ok().map(MacAddress),
                IFLA_IFNAME => link.name = attribute.text(),
                IFLA_MTU => link.mtu_octets = Some(attribute.u32("IFLA_MTU")?),
                IFLA_MASTER => link.master = Some(attribute.u32("IFLA_MASTER")?),
                IFLA_LINK => link.lower = Some(attribute.u32("IFLA_LINK")?),
                // The index is one of another namespace.
                IFLA_LINK_NETNSID => is_elsewhere = true,
                IFLA_LINKINFO => link.decode_info(attribute.value)?,
                IFLA_PARENT_DEV_NAME => link.has_device = true,
                // struct rtnl_link_stats64 begins with rx_packets.
                IFLA_STATS64 => {
                    let mut stats = Reader::new(attribute.value);
                    link.received = u64::from_ne_bytes(stats.array("rx_packets")?);
                }
                _ => {}
            }
        }
        // One end of a veth pair has the index of the other here.
        if is_elsewhere || link.kind.as_deref() != Some("vlan") {
            link.lower = None;
        }
        Ok(link)
    }

    fn decode_info(&mut self, nest: &[u8]) -> Result<(), DecodeError> {
        for attribute in attributes(nest) {
            let attribute = attribute?;
            match attribute.kind {
                IFLA_INFO_KIND => self.kind = Some(attribute.text()),
                // The kind comes first (rtnl_link_fill).
                #[cfg(feature = "bond")]
                IFLA_INFO_DATA if self.kind.as_deref() == Some("bond") => {
                    self.has_partner = bond::has_partner(attribute.value)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// An IPv4 address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub index: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of its network, 0 to 32.
    pub prefix_len: u8,
    /// The network's broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// Seconds until the kernel prefers other addresses; [`FOREVER`] for never.
    pub preferred_seconds: u32,
    /// Seconds until the kernel removes the address; [`FOREVER`] for never.
    pub valid_seconds: u32,
    /// What else there is to an address that is put back.
    pub details: AddressDetails,
}

/// Attributes that other programs give their addresses (linux/if_addr.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressDetails {
    scope: u8,
    /// `IFA_F_NOPREFIXROUTE` alone: the kernel sets the others.
    flags: u32,
    /// The metric of the route that the kernel adds with it.
    metric: Option<u32>,
    /// Who has set it.
    protocol: Option<u8>,
}

/// An infinite lifetime.
pub const FOREVER: u32 = u32::MAX;

impl Address {
    /// Returns whether it is the same address in the same network, lifetimes aside.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.address, self.prefix_len) == (other.address, other.prefix_len)
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        // struct ifaddrmsg: family 1, prefixlen 1, flags 1, scope 1, index 4.
        let mut reader = Reader::new(payload);
        reader.take(1, "ifa_family")?;
        let prefix_len = reader.u8("ifa_prefixlen")?;
        reader.take(1, "ifa_flags")?;
        let scope = reader.u8("ifa_scope")?;
        let mut address = Self {
            index: u32::from_ne_bytes(reader.array("ifa_index")?),
            address: Ipv4Addr::UNSPECIFIED,
            prefix_len,
            broadcast: None,
            preferred_seconds: FOREVER,
            valid_seconds: FOREVER,
            details: AddressDetails {
                scope,
                ..AddressDetails::default()
            },
        };
        let details = &mut address.details;
        for attribute in attributes(reader.rest()) {
            let attribute = attribute?;
            match attribute.kind {
                // On a point-to-point link IFA_ADDRESS is the other end (linux/if_addr.h).
                IFA_LOCAL => address.address = ipv4(&attribute, "IFA_LOCAL")?,
                IFA_BROADCAST => address.broadcast = Some(ipv4(&attribute, "IFA_BROADCAST")?),
                IFA_FLAGS => {
                    details.flags = attribute.u32("IFA_FLAGS")? & IFA_F_NOPREFIXROUTE;
                }
                IFA_RT_PRIORITY => details.metric = Some(attribute.u32("IFA_RT_PRIORITY")?),
                IFA_PROTO => details.protocol = attribute.value.first().copied(),
                IFA_CACHEINFO => {
                    let mut times = Reader::new(attribute.value);
                    address.preferred_seconds = u32::from_ne_bytes(times.array("ifa_prefered")?);
                    address.valid_seconds = u32::from_ne_bytes(times.array("ifa_valid")?);
                }
                _ => {}
            }
        }
        Ok(address)
    }

    pub(super) fn encode(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let details = self.details;
        let mut fixed = vec![AF_INET, self.prefix_len, 0, details.scope];
        fixed.extend_from_slice(&self.index.to_ne_bytes());
        let mut builder = Builder::new(kind, flags, sequence, &fixed)
            .attribute(IFA_LOCAL, &self.address.octets())
            .attribute(IFA_ADDRESS, &self.address.octets());
        if kind == RTM_NEWADDR {
            if let Some(broadcast) = self.broadcast {
                builder = builder.attribute(IFA_BROADCAST, &broadcast.octets());
            }
            // struct ifa_cacheinfo: preferred, valid, and two stamps that the kernel sets.
            let mut times = [0; 16];
            let (lifetimes, _) = times.as_chunks_mut::<4>();
            for (bytes, seconds) in lifetimes
                .iter_mut()
                .zip([self.preferred_seconds, self.valid_seconds])
            {
                *bytes = seconds.to_ne_bytes();
            }
            builder = builder.attribute(IFA_CACHEINFO, &times);
            if details.flags != 0 {
                builder = builder.attribute(IFA_FLAGS, &details.flags.to_ne_bytes());
            }
            if let Some(metric) = details.metric {
                builder = builder.attribute(IFA_RT_PRIORITY, &metric.to_ne_bytes());
            }
            if let Some(protocol) = details.protocol {
                builder = builder.attribute(IFA_PROTO, &[protocol]);
            }
        }
        builder.finish()
    }
}

/// An IPv4 route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelRoute {
    /// Index of its link.
    pub index: u32,
    /// The network; its host bits are zero.
    pub destination: Ipv4Addr,
    /// Bits of the network, 0 to 32.
    pub prefix_len: u8,
    /// The router; none when the network is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The preferred source address.
    pub source: Option<Ipv4Addr>,
}

/// A route as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledRoute {
    /// Destination and router.
    pub route: KernelRoute,
    /// Its metric: of several routes to one network the lowest is preferred.
    pub metric: u32,
    /// Its origin (`rtm_protocol`).
    protocol: u8,
    /// The complete message, to restore the route from.
    payload: Vec<u8>,
}

impl InstalledRoute {
    /// Returns whether a DHCP client added it.
    pub const fn is_of_dhcp(&self) -> bool {
        self.protocol == RTPROT_DHCP
    }

    /// Returns whether the kernel added it, as for each address.
    pub const fn is_of_kernel(&self) -> bool {
        self.protocol == RTPROT_KERNEL
    }

    /// Decodes a route; none unless it is a unicast route of the main table over one link.
    fn decode(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type: 1 each;
        // flags 4.
        let mut reader = Reader::new(payload);
        let family = reader.u8("rtm_family")?;
        let prefix_len = reader.u8("rtm_dst_len")?;
        reader.take(2, "rtm_src_len")?;
        let mut table = u32::from(reader.u8("rtm_table")?);
        let protocol = reader.u8("rtm_protocol")?;
        reader.take(1, "rtm_scope")?;
        let kind = reader.u8("rtm_type")?;
        reader.take(4, "rtm_flags")?;
        let mut index = None;
        let mut metric = 0;
        let mut route = KernelRoute {
            index: 0,
            destination: Ipv4Addr::UNSPECIFIED,
            prefix_len,
            gateway: None,
            source: None,
        };
        for attribute in attributes(reader.rest()) {
            let attribute = attribute?;
            match attribute.kind {
                RTA_DST => route.destination = ipv4(&attribute, "RTA_DST")?,
                RTA_OIF => index = Some(attribute.u32("RTA_OIF")?),
                RTA_GATEWAY => route.gateway = Some(ipv4(&attribute, "RTA_GATEWAY")?),
                RTA_PRIORITY => metric = attribute.u32("RTA_PRIORITY")?,
                RTA_PREFSRC => route.source = Some(ipv4(&attribute, "RTA_PREFSRC")?),
                // `rtm_table` has 8 bits; larger tables are only in the attribute.
                RTA_TABLE => table = attribute.u32("RTA_TABLE")?,
                _ => {}
            }
        }
        let is_main = family == AF_INET && kind == RTN_UNICAST && table == u32::from(RT_TABLE_MAIN);
        Ok(index.filter(|_| is_main).map(|index| Self {
            route: KernelRoute { index, ..route },
            metric,
            protocol,
            payload: payload.to_vec(),
        }))
    }

    /// Encodes a request for the same route, with RTNH_F_ONLINK as the only flag; the others (dead, link
    /// down) are states.
    pub(super) fn encode(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let mut payload = self.payload.clone();
        if let Some(state) = payload.get_mut(8..12) {
            let known = <[u8; 4]>::try_from(&*state).map_or(0, u32::from_ne_bytes);
            // fib_create_info() refuses a route whose flags say dead or link down.
            state.copy_from_slice(&(known & RTNH_F_ONLINK).to_ne_bytes());
        }
        Builder::new(RTM_NEWROUTE, flags, sequence, &payload).finish()
    }
}

impl KernelRoute {
    pub(super) fn encode(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let scope = match self.gateway {
            Some(_) => RT_SCOPE_UNIVERSE,
            // As ip-route(8): without a gateway the destination is on the link.
            None => RT_SCOPE_LINK,
        };
        let fixed = [
            AF_INET,
            self.prefix_len,
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_DHCP,
            scope,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let mut builder = Builder::new(kind, flags, sequence, &fixed)
            .attribute(RTA_DST, &self.destination.octets())
            .attribute(RTA_OIF, &self.index.to_ne_bytes());
        if let Some(gateway) = self.gateway {
            builder = builder.attribute(RTA_GATEWAY, &gateway.octets());
        }
        if let Some(source) = self.source {
            builder = builder.attribute(RTA_PREFSRC, &source.octets());
        }
        builder.finish()
    }
}

fn ipv4(attribute: &Attribute<'_>, field: &'static str) -> Result<Ipv4Addr, DecodeError> {
    attribute.array::<4>(field).map(Ipv4Addr::from)
}

/// A decoded rtnetlink message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteMessage {
    /// A link is new or has changed.
    NewLink(LinkInfo),
    /// A link was removed.
    DelLink(LinkInfo),
    /// An address is new or has changed.
    NewAddress(Address),
    /// An address was removed.
    DelAddress(Address),
    /// A route is new or has changed.
    NewRoute(InstalledRoute),
    /// A route was removed by itself, not with its address or interface: of those the kernel says
    /// nothing.
    DelRoute(InstalledRoute),
    /// An IPv6 address is new or has changed.
    NewAddress6(Address6),
    /// The answer to a request.
    Ack(Ack),
    /// The dump is complete.
    Done,
    /// Any other message.
    Other,
}

impl RouteMessage {
    /// Decodes one message of a datagram from a route socket.
    ///
    /// # Errors
    /// [`DecodeError`] with the truncated or invalid field.
    pub fn decode(frame: &NetlinkMessage<'_>) -> Result<Self, DecodeError> {
        let family = frame.payload.first().copied();
        Ok(match frame.kind {
            NLMSG_ERROR => Self::Ack(Ack::decode(frame)?),
            NLMSG_DONE => Self::Done,
            // A bridge reports its ports in messages of the same type under its own family.
            RTM_NEWLINK if family == Some(AF_UNSPEC) => {
                Self::NewLink(LinkInfo::decode(frame.payload)?)
            }
            RTM_DELLINK if family == Some(AF_UNSPEC) => {
                Self::DelLink(LinkInfo::decode(frame.payload)?)
            }
            RTM_NEWADDR if family == Some(AF_INET) => {
                Self::NewAddress(Address::decode(frame.payload)?)
            }
            RTM_DELADDR if family == Some(AF_INET) => {
                Self::DelAddress(Address::decode(frame.payload)?)
            }
            RTM_NEWADDR if family == Some(AF_INET6) => {
                Self::NewAddress6(Address6::decode(frame.payload)?)
            }
            RTM_NEWROUTE | RTM_DELROUTE => match InstalledRoute::decode(frame.payload)? {
                None => Self::Other,
                Some(route) if frame.kind == RTM_NEWROUTE => Self::NewRoute(route),
                Some(route) => Self::DelRoute(route),
            },
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests;
