//! IPv6 addresses and routes of rtnetlink.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::message::{
    AF_INET6, Builder, IFA_ADDRESS, IFA_CACHEINFO, IFA_LOCAL, RT_TABLE_MAIN, RTA_DST, RTA_GATEWAY,
    RTA_OIF, RTA_PRIORITY, RTN_UNICAST, attributes,
};
use crate::packet::icmpv6::Preference;
use crate::reader::{DecodeError, Reader};

/// Flags of an address, 32 bits (linux/if_addr.h).
const IFA_FLAGS: u16 = 8;
/// The kernel does not probe for the address.
const IFA_F_NODAD: u32 = 0x02;
/// Another host has it.
const IFA_F_DADFAILED: u32 = 0x08;
/// It is being probed.
const IFA_F_TENTATIVE: u32 = 0x40;
/// The kernel adds no route to the prefix.
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
// RFC 4191's preference, and the seconds until the kernel removes a route (linux/rtnetlink.h).
const RTA_PREF: u16 = 20;
const RTA_EXPIRES: u16 = 23;
/// Of a router advertisement, as systemd-networkd has it.
const RTPROT_RA: u8 = 9;

/// An IPv6 address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address6 {
    /// The link's index.
    pub index: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// Bits of its network, 0 to 128.
    pub prefix_len: u8,
    /// Seconds until the kernel prefers other addresses; `u32::MAX` for never.
    pub preferred_seconds: u32,
    /// Seconds until the kernel removes the address; `u32::MAX` for never.
    pub valid_seconds: u32,
    /// It cannot be used: it is being probed, or another host has it.
    pub is_unusable: bool,
}

impl Address6 {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        // struct ifaddrmsg: family 1, prefixlen 1, flags 1, scope 1, index 4.
        let mut reader = Reader::new(payload);
        reader.take(1, "ifa_family")?;
        let prefix_len = reader.u8("ifa_prefixlen")?;
        let mut flags = u32::from(reader.u8("ifa_flags")?);
        reader.take(1, "ifa_scope")?;
        let mut address = Self {
            index: u32::from_ne_bytes(reader.array("ifa_index")?),
            address: Ipv6Addr::UNSPECIFIED,
            prefix_len,
            preferred_seconds: u32::MAX,
            valid_seconds: u32::MAX,
            is_unusable: false,
        };
        let mut is_local = false;
        for attribute in attributes(reader.rest()) {
            let attribute = attribute?;
            match attribute.kind {
                IFA_LOCAL => {
                    is_local = true;
                    address.address = attribute.array::<16>("IFA_LOCAL")?.into();
                }
                // The other end of a point-to-point link, where there is IFA_LOCAL beside it.
                IFA_ADDRESS if !is_local => {
                    address.address = attribute.array::<16>("IFA_ADDRESS")?.into();
                }
                IFA_FLAGS => flags = attribute.u32("IFA_FLAGS")?,
                IFA_CACHEINFO => {
                    let mut times = Reader::new(attribute.value);
                    address.preferred_seconds = u32::from_ne_bytes(times.array("ifa_prefered")?);
                    address.valid_seconds = u32::from_ne_bytes(times.array("ifa_valid")?);
                }
                _ => {}
            }
        }
        address.is_unusable = flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) != 0;
        Ok(address)
    }

    /// Encodes the address as one that is used at once, without a route to its prefix but on the link.
    pub(super) fn encode(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let mut fixed = vec![AF_INET6, self.prefix_len, 0, 0];
        fixed.extend(self.index.to_ne_bytes());
        let mut times = Vec::new();
        times.extend(self.preferred_seconds.to_ne_bytes());
        times.extend(self.valid_seconds.to_ne_bytes());
        times.extend([0; 8]);
        // Nothing else says that neighbours are reached by their link-local addresses.
        let no_route = if self.address.is_unicast_link_local() {
            0
        } else {
            IFA_F_NOPREFIXROUTE
        };
        let address_flags = IFA_F_NODAD | no_route;
        Builder::new(kind, flags, sequence, &fixed)
            .attribute(IFA_LOCAL, &self.address.octets())
            .attribute(IFA_ADDRESS, &self.address.octets())
            .attribute(IFA_FLAGS, &address_flags.to_ne_bytes())
            .attribute(IFA_CACHEINFO, &times)
            .finish()
    }
}

/// An IPv6 route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelRoute6 {
    /// Index of its link.
    pub index: u32,
    /// The network; its host bits are zero.
    pub destination: Ipv6Addr,
    /// Bits of the network, 0 to 128.
    pub prefix_len: u8,
    /// The router; none when the network is on the link.
    pub gateway: Option<Ipv6Addr>,
    /// Which of several routers is used.
    pub preference: Preference,
    /// Seconds until the kernel removes it; `u32::MAX` for never.
    pub seconds: u32,
}

impl KernelRoute6 {
    /// Returns whether it is the same route, lifetimes aside.
    pub fn is_same(&self, other: &Self) -> bool {
        let seconds = other.seconds;
        Self { seconds, ..*self } == *other
    }

    pub(super) fn encode(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        // Of routes with one metric the kernel makes one with several next hops, whatever their
        // preferences are (rt6_qualify_for_ecmp). The metrics are those of systemd-networkd, but for the
        // kernel's own of 1024: it ignores a router to which another has set that route (EEXIST in
        // rt6_add_dflt_router), prefixes included.
        let (preference, metric) = match self.preference {
            Preference::High => (1_u8, 512_u32),
            Preference::Medium => (0, 1023),
            Preference::Low => (3, 2048),
        };
        let fixed = [
            AF_INET6,
            self.prefix_len,
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_RA,
            0,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let mut builder = Builder::new(kind, flags, sequence, &fixed)
            .attribute(RTA_DST, &self.destination.octets())
            .attribute(RTA_OIF, &self.index.to_ne_bytes())
            .attribute(RTA_PRIORITY, &metric.to_ne_bytes())
            .attribute(RTA_PREF, &[preference]);
        if let Some(gateway) = self.gateway {
            builder = builder.attribute(RTA_GATEWAY, &gateway.octets());
        }
        if self.seconds < u32::MAX {
            builder = builder.attribute(RTA_EXPIRES, &self.seconds.to_ne_bytes());
        }
        builder.finish()
    }
}
