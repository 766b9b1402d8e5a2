//! rtnetlink (RFC 3549 §3): links, IPv4 addresses and IPv4 routes.
//!
//! Of the many attributes only those are decoded that decide something here; the others are
//! passed over, as the protocol wants it. IPv6 is left out.

use std::net::Ipv4Addr;

use super::ethernet::MacAddress;
use super::netlink::{
    Ack, Attribute, Builder, Frame, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
    NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, attributes, nested,
};
use super::{DecodeError, Reader};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;

/// Hardware type of Ethernet, in `ifi_type` as in ARP.
pub const ARPHRD_ETHER: u16 = 1;

const IFF_UP: u32 = 0x1;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x10000;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_STATS64: u16 = 23;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_DHCP: u8 = 16;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;

/// A network interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Hardware type, [`ARPHRD_ETHER`] for Ethernet.
    pub hardware_type: u16,
    /// Hardware address; none when it is not six octets long.
    pub mac: Option<MacAddress>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is up and something is on the other end.
    pub carrier: bool,
    /// Whether the kernel's queues have taken notice of the carrier, up to a second later; what is
    /// handed to them before is lost in silence.
    pub running: bool,
    /// Largest packet, octets.
    pub mtu_octets: Option<u32>,
    /// The bridge, bond or other interface that it belongs to.
    pub master: Option<u32>,
    /// What a virtual interface is: `veth`, `bridge`, `vlan` …
    pub kind: Option<String>,
    /// Whether a device is behind it (kernels since 5.14 say so here).
    pub has_device: bool,
    /// Frames received since it was made.
    pub received: u64,
}

impl LinkInfo {
    /// Returns whether `other` tells the same but for what counts on by itself.
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
            has_device: false,
            received: 0,
        };
        for attribute in attributes(reader.rest()) {
            let attribute = attribute?;
            match attribute.kind {
                IFLA_ADDRESS => link.mac = attribute.value.try_into().ok().map(MacAddress),
                IFLA_IFNAME => link.name = attribute.text(),
                IFLA_MTU => link.mtu_octets = Some(attribute.u32("IFLA_MTU")?),
                IFLA_MASTER => link.master = Some(attribute.u32("IFLA_MASTER")?),
                IFLA_LINKINFO => link.kind = info_kind(attribute.value)?,
                IFLA_PARENT_DEV_NAME => link.has_device = true,
                // struct rtnl_link_stats64 begins with rx_packets.
                IFLA_STATS64 => {
                    let mut stats = Reader::new(attribute.value);
                    link.received = u64::from_ne_bytes(stats.array("rx_packets")?);
                }
                _ => {}
            }
        }
        Ok(link)
    }
}

fn info_kind(nest: &[u8]) -> Result<Option<String>, DecodeError> {
    let mut kind = None;
    for attribute in attributes(nest) {
        let attribute = attribute?;
        if attribute.kind == IFLA_INFO_KIND {
            kind = Some(attribute.text());
        }
    }
    Ok(kind)
}

/// An IPv4 address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
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
}

/// A lifetime that does not end.
pub const FOREVER: u32 = u32::MAX;

impl Address {
    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        // struct ifaddrmsg: family 1, prefixlen 1, flags 1, scope 1, index 4.
        let mut reader = Reader::new(payload);
        reader.take(1, "ifa_family")?;
        let prefix_len = reader.u8("ifa_prefixlen")?;
        reader.take(2, "ifa_flags")?;
        let mut address = Self {
            index: u32::from_ne_bytes(reader.array("ifa_index")?),
            address: Ipv4Addr::UNSPECIFIED,
            prefix_len,
            broadcast: None,
            preferred_seconds: FOREVER,
            valid_seconds: FOREVER,
        };
        for attribute in attributes(reader.rest()) {
            let attribute = attribute?;
            match attribute.kind {
                IFA_LOCAL => address.address = ipv4(&attribute, "IFA_LOCAL")?,
                IFA_BROADCAST => address.broadcast = Some(ipv4(&attribute, "IFA_BROADCAST")?),
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

    fn encode(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let mut fixed = vec![AF_INET, self.prefix_len, 0, RT_SCOPE_UNIVERSE];
        fixed.extend_from_slice(&self.index.to_ne_bytes());
        let mut builder = Builder::new(kind, flags, sequence, &fixed)
            .attribute(IFA_LOCAL, &self.address.octets())
            .attribute(IFA_ADDRESS, &self.address.octets());
        if kind == RTM_NEWADDR {
            if let Some(broadcast) = self.broadcast {
                builder = builder.attribute(IFA_BROADCAST, &broadcast.octets());
            }
            let mut times = [0; 16];
            let (lifetimes, _) = times.as_chunks_mut::<4>();
            for (octets, seconds) in lifetimes
                .iter_mut()
                .zip([self.preferred_seconds, self.valid_seconds])
            {
                *octets = seconds.to_ne_bytes();
            }
            builder = builder.attribute(IFA_CACHEINFO, &times);
        }
        builder.finish()
    }
}

/// An IPv4 route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Number of the link that it leads out of.
    pub index: u32,
    /// The network; its host bits are zero.
    pub destination: Ipv4Addr,
    /// Bits of the network, 0 to 32.
    pub prefix_len: u8,
    /// The router; none when the network is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The address that our packets carry.
    pub source: Option<Ipv4Addr>,
}

impl Route {
    /// Decodes a route; none when it is not a unicast route of the main table over one link.
    fn decode(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type: 1 each;
        // flags 4.
        let mut reader = Reader::new(payload);
        let family = reader.u8("rtm_family")?;
        let prefix_len = reader.u8("rtm_dst_len")?;
        reader.take(2, "rtm_src_len")?;
        let mut table = u32::from(reader.u8("rtm_table")?);
        reader.take(2, "rtm_protocol")?;
        let kind = reader.u8("rtm_type")?;
        reader.take(4, "rtm_flags")?;
        let mut index = None;
        let mut route = Self {
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
                RTA_PREFSRC => route.source = Some(ipv4(&attribute, "RTA_PREFSRC")?),
                RTA_TABLE => table = attribute.u32("RTA_TABLE")?,
                _ => {}
            }
        }
        let ours = family == AF_INET && kind == RTN_UNICAST && table == u32::from(RT_TABLE_MAIN);
        Ok(index.filter(|_| ours).map(|index| Self { index, ..route }))
    }

    fn encode(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let scope = match self.gateway {
            Some(_) => RT_SCOPE_UNIVERSE,
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

/// What the kernel is asked to do or to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Describe every link.
    Links,
    /// Describe every IPv4 address.
    Addresses,
    /// Describe every IPv4 route.
    Routes,
    /// Switch a link on or off.
    SetUp {
        /// The link's number.
        index: u32,
        /// On, or off.
        up: bool,
    },
    /// Set the largest packet of a link.
    SetMtu {
        /// The link's number.
        index: u32,
        /// The size, octets.
        mtu_octets: u32,
    },
    /// Make a link that carries the frames of one VLAN of another.
    AddVlan {
        /// Its name.
        name: String,
        /// Number of the link below.
        parent: u32,
        /// VLAN identifier, 1 to 4094.
        id: u16,
    },
    /// Remove a link that was made.
    DeleteLink {
        /// The link's number.
        index: u32,
    },
    /// Give a link an address; fails when it has it.
    AddAddress(Address),
    /// Give a link an address, or an address that it has new lifetimes.
    SetAddress(Address),
    /// Take an address from a link.
    DeleteAddress(Address),
    /// Make a route; fails when there is one to the same network.
    AddRoute(Route),
    /// Make a route behind those that there are to the same network; fails when it is there.
    AppendRoute(Route),
    /// Remove a route.
    DeleteRoute(Route),
}

impl Request {
    /// Returns the message's name, with the attribute that it is for.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Links => "netlink(RTM_GETLINK)",
            Self::Addresses => "netlink(RTM_GETADDR)",
            Self::Routes => "netlink(RTM_GETROUTE)",
            Self::SetUp { up: true, .. } => "netlink(RTM_NEWLINK, up)",
            Self::SetUp { up: false, .. } => "netlink(RTM_NEWLINK, down)",
            Self::SetMtu { .. } => "netlink(RTM_NEWLINK, IFLA_MTU)",
            Self::AddVlan { .. } => "netlink(RTM_NEWLINK, vlan)",
            Self::DeleteLink { .. } => "netlink(RTM_DELLINK)",
            Self::AddAddress(_) | Self::SetAddress(_) => "netlink(RTM_NEWADDR)",
            Self::DeleteAddress(_) => "netlink(RTM_DELADDR)",
            Self::AddRoute(_) | Self::AppendRoute(_) => "netlink(RTM_NEWROUTE)",
            Self::DeleteRoute(_) => "netlink(RTM_DELROUTE)",
        }
    }

    /// Encodes the request under a number that its answers will carry.
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        const DO: u16 = NLM_F_REQUEST | NLM_F_ACK;
        const DUMP: u16 = NLM_F_REQUEST | NLM_F_DUMP;
        match self {
            Self::Links => Builder::new(RTM_GETLINK, DUMP, sequence, &[0; 16]).finish(),
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
                let mut info = nested(IFLA_INFO_KIND, b"vlan\0");
                info.extend(nested(IFLA_INFO_DATA, &data));
                let flags = DO | NLM_F_CREATE | NLM_F_EXCL;
                Builder::new(RTM_NEWLINK, flags, sequence, &link_part(0, 0, 0))
                    .attribute(IFLA_IFNAME, format!("{name}\0").as_bytes())
                    .attribute(IFLA_LINK, &parent.to_ne_bytes())
                    .attribute(IFLA_LINKINFO, &info)
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
            Self::DeleteRoute(route) => route.encode(RTM_DELROUTE, DO, sequence),
        }
    }
}

/// Encodes `struct ifinfomsg`.
fn link_part(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut fixed = vec![0; 4];
    for number in [index, flags, change] {
        fixed.extend_from_slice(&number.to_ne_bytes());
    }
    fixed
}

/// What the kernel tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A link is there, or has changed.
    NewLink(LinkInfo),
    /// A link is gone.
    DelLink(LinkInfo),
    /// An address is there, or has changed.
    NewAddress(Address),
    /// A route is there, or has changed.
    NewRoute(Route),
    /// The request has been done, or refused.
    Ack(Ack),
    /// The dump is complete.
    Done,
    /// Something else.
    Other,
}

impl Message {
    /// Decodes one message of a datagram from a route socket.
    ///
    /// # Errors
    /// [`DecodeError`] naming the field that is cut off or lies about its length.
    pub fn decode(frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let family = frame.payload.first().copied();
        Ok(match frame.kind {
            NLMSG_ERROR => Self::Ack(Ack::decode(frame)?),
            NLMSG_DONE => Self::Done,
            // A bridge tells of its ports in the same words under its own family.
            RTM_NEWLINK if family == Some(AF_UNSPEC) => {
                Self::NewLink(LinkInfo::decode(frame.payload)?)
            }
            RTM_DELLINK if family == Some(AF_UNSPEC) => {
                Self::DelLink(LinkInfo::decode(frame.payload)?)
            }
            RTM_NEWADDR if family == Some(AF_INET) => {
                Self::NewAddress(Address::decode(frame.payload)?)
            }
            RTM_NEWROUTE => Route::decode(frame.payload)?.map_or(Self::Other, Self::NewRoute),
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests;
