//! Compiles filter expressions to conditions on bytes, with the same results as libpcap.
//!
//! Tests are made in libpcap's order, since a load beyond the end of the frame rejects it
//! whatever the rest of the expression says.

use std::net::{IpAddr, Ipv6Addr};

use super::relation::{Layer, Relation};
use crate::sys::filter::{
    Condition, FilterProgram, Load, ProgramError, Size, WHOLE_FRAME, ancillary,
};
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_RARP, ETHERTYPE_VLAN, MacAddress,
};

/// A parsed filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Holds for every frame.
    Everything,
    /// One test.
    Primitive(Primitive),
    /// A comparison of two values.
    Relation(Box<Relation>),
    /// Does not hold.
    Not(Box<Self>),
    /// Both hold.
    And(Box<Self>, Box<Self>),
    /// One holds.
    Or(Box<Self>, Box<Self>),
}

/// One test of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primitive {
    /// The frame has a tag, with this VLAN identifier when one is given.
    Vlan(Option<u16>),
    /// The protocol of the frame.
    EtherType(u16),
    /// A SAP of LLC, in a frame without an EtherType.
    Llc(u8),
    /// Any frame with LLC.
    AnyLlc,
    /// Sent by this machine, or else received.
    Outbound(bool),
    /// On the interface with this index.
    Interface(u32),
    /// A protocol over IPv4, over IPv6, or over any of them.
    IpProtocol(Network, u8),
    /// So many bytes at least, or else at most.
    Length(bool, u32),
    /// To all stations.
    Broadcast,
    /// To a group of stations.
    Multicast,
    /// To a group, over IPv4 or IPv6.
    IpMulticast(Network),
    /// A transport protocol, over IPv4 or IPv6.
    Transport(Transport),
    /// A hardware address.
    EtherHost(Endpoint, MacAddress),
    /// An IP address.
    Host(Network, Endpoint, IpAddr),
    /// An IPv4 network, with its mask.
    Net(Network, Endpoint, u32, u32),
    /// An IPv6 network, with the length of its prefix.
    Net6(Endpoint, Ipv6Addr, u8),
    /// Ports from the first to the last; never in a later fragment.
    Ports(Transport, Endpoint, u16, u16),
}

/// Source or destination: the direction qualifier of pcap-filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
    /// One of the two.
    Either,
    /// Both.
    Both,
}

/// The headers in which an address is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// In all of those below.
    Any,
    /// In IPv4 headers.
    Ip,
    /// In IPv6 headers.
    Ip6,
    /// In ARP.
    Arp,
    /// In reverse ARP.
    Rarp,
}

/// Which transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP, UDP or SCTP.
    Any,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Expression {
    /// Compiles for frames that contain all their tags, as they do in files.
    ///
    /// # Errors
    /// [`ProgramError::Length`] when the program is too long for the kernel.
    pub fn compile_for_files(&self) -> Result<FilterProgram, ProgramError> {
        FrameLayout::default().lower(self).compile(WHOLE_FRAME)
    }

    /// Compiles for frames from the kernel, which removes the outermost tag from received frames,
    /// but not from sent ones.
    ///
    /// # Errors
    /// As [`Expression::compile_for_files`].
    pub fn compile_for_kernel(&self) -> Result<FilterProgram, ProgramError> {
        if !self.mentions_vlan() {
            return self.compile_for_files();
        }
        let taken_out = Condition::equal(Load::Ancillary(ancillary::VLAN_TAG_PRESENT), 1);
        let mut beside = FrameLayout {
            tag_is_beside: true,
            ..FrameLayout::default()
        };
        let first = taken_out.clone().and(beside.lower(self));
        let second = taken_out.negated().and(FrameLayout::default().lower(self));
        first.or(second).compile(WHOLE_FRAME)
    }

    fn mentions_vlan(&self) -> bool {
        self.mentions(|primitive| matches!(primitive, Primitive::Vlan(_)))
    }

    /// Returns whether it asks what only the kernel knows of a frame.
    pub fn asks_kernel(&self) -> bool {
        self.mentions(|primitive| {
            matches!(primitive, Primitive::Outbound(_) | Primitive::Interface(_))
        })
    }

    fn mentions(&self, is_it: fn(&Primitive) -> bool) -> bool {
        match self {
            Self::Everything | Self::Relation(_) => false,
            Self::Primitive(primitive) => is_it(primitive),
            Self::Not(inner) => inner.mentions(is_it),
            Self::And(left, right) | Self::Or(left, right) => {
                left.mentions(is_it) || right.mentions(is_it)
            }
        }
    }
}

/// The layout of the frame, as known at one point of the expression.
#[derive(Debug, Default)]
struct FrameLayout {
    /// Bytes of the tags that earlier tests have stepped over.
    tags_len: u32,
    /// The outermost tag was removed by the kernel, and no test has used it so far.
    tag_is_beside: bool,
}

/// The largest length in place of an EtherType (`ETHERMTU` of libpcap).
const MAX_LENGTH: u32 = 1500;
/// `PACKET_OUTGOING` of linux/if_packet.h.
const OUTGOING: u32 = 4;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_FRAGMENT: u32 = 44;
const IPPROTO_ICMPV6: u32 = 58;
const IPPROTO_SCTP: u32 = 132;

impl FrameLayout {
    fn lower(&mut self, expression: &Expression) -> Condition {
        match expression {
            Expression::Everything => Condition::Constant(true),
            Expression::Primitive(primitive) => self.primitive(*primitive),
            Expression::Relation(relation) => self.relation(relation),
            Expression::Not(inner) => self.lower(inner).negated(),
            Expression::And(left, right) => {
                let left = self.lower(left);
                left.and(self.lower(right))
            }
            Expression::Or(left, right) => {
                let left = self.lower(left);
                left.or(self.lower(right))
            }
        }
    }

    fn primitive(&mut self, primitive: Primitive) -> Condition {
        match primitive {
            Primitive::Vlan(id) => self.vlan(id),
            Primitive::EtherType(ethertype) => self.ethertype(ethertype),
            // As libpcap: a length first, then the SAP.
            Primitive::Llc(sap) => self
                .has_length()
                .and(Condition::equal(octet(self.payload()), sap.into())),
            // IPX right behind the length has this in the place of both SAPs.
            Primitive::AnyLlc => self
                .has_length()
                .and(Condition::equal(half(self.payload()), 0xffff).negated()),
            Primitive::Outbound(outbound) => {
                let is_sent = Condition::equal(Load::Ancillary(ancillary::PKTTYPE), OUTGOING);
                if outbound { is_sent } else { is_sent.negated() }
            }
            Primitive::Interface(index) => {
                Condition::equal(Load::Ancillary(ancillary::IFINDEX), index)
            }
            Primitive::IpProtocol(network, number) => {
                let (ip, ip6) = (
                    self.ipv4_protocol(number.into()),
                    self.ipv6_protocol(number.into()),
                );
                match network {
                    Network::Ip => ip,
                    Network::Ip6 => ip6,
                    Network::Any | Network::Arp | Network::Rarp => ip.or(ip6),
                }
            }
            Primitive::Length(true, len) => Condition::AtLeast(Load::Length, len),
            Primitive::Length(false, len) => match len.checked_add(1) {
                Some(more) => Condition::AtLeast(Load::Length, more).negated(),
                None => Condition::Constant(true),
            },
            Primitive::Broadcast => ether_host(Endpoint::Destination, MacAddress::BROADCAST),
            Primitive::Multicast => Condition::AnyBit(octet(0), 1),
            Primitive::IpMulticast(Network::Ip6) => self
                .ethertype(ETHERTYPE_IPV6)
                .and(Condition::equal(octet(self.payload() + 24), 0xff)),
            Primitive::IpMulticast(_) => self
                .ethertype(ETHERTYPE_IPV4)
                .and(Condition::AtLeast(octet(self.payload() + 16), 224)),
            Primitive::Net(network, direction, address, mask) => {
                self.network(network, direction, address, mask)
            }
            Primitive::Net6(direction, address, prefix_len) => {
                self.network6(direction, address, prefix_len)
            }
            Primitive::Transport(transport) => any(transport
                .numbers()
                .iter()
                .map(|number| self.ipv4_protocol(*number).or(self.ipv6_protocol(*number)))),
            Primitive::EtherHost(direction, address) => ether_host(direction, address),
            Primitive::Host(network, direction, address) => self.host(network, direction, address),
            Primitive::Ports(transport, direction, first, last) => {
                self.ports(transport, direction, first, last)
            }
        }
    }

    fn vlan(&mut self, id: Option<u16>) -> Condition {
        let mut tci = Load::Ancillary(ancillary::VLAN_TAG);
        let mut condition = Condition::Constant(true);
        if !std::mem::take(&mut self.tag_is_beside) {
            // As libpcap's gen_vlan: 802.1Q, 802.1ad, and what stacked tags had before that.
            condition = any([ETHERTYPE_VLAN, 0x88a8, 0x9100].map(|tpid| self.ethertype(tpid)));
            tci = half(14 + self.tags_len);
            self.tags_len += 4;
        }
        match id {
            Some(id) => condition.and(Condition::Equal(tci, 0x0fff, id.into())),
            None => condition,
        }
    }

    /// The frame has a length in the place of an EtherType.
    fn has_length(&self) -> Condition {
        Condition::AtLeast(half(12 + self.tags_len), MAX_LENGTH + 1).negated()
    }

    fn ethertype(&self, ethertype: u16) -> Condition {
        Condition::equal(half(12 + self.tags_len), ethertype.into())
    }

    /// Where the payload of the frame begins.
    const fn payload(&self) -> u32 {
        14 + self.tags_len
    }

    fn ipv4_protocol(&self, number: u32) -> Condition {
        self.ethertype(ETHERTYPE_IPV4)
            .and(Condition::equal(octet(self.payload() + 9), number))
    }

    /// Also holds behind a fragment header.
    fn ipv6_protocol(&self, number: u32) -> Condition {
        let next_header = octet(self.payload() + 6);
        let behind_fragment = octet(self.payload() + 40);
        self.ethertype(ETHERTYPE_IPV6).and(
            Condition::equal(next_header, number).or(Condition::equal(
                next_header,
                IPPROTO_FRAGMENT,
            )
            .and(Condition::equal(behind_fragment, number))),
        )
    }

    fn host(&self, network: Network, direction: Endpoint, address: IpAddr) -> Condition {
        match address {
            IpAddr::V4(address) => self.network(network, direction, address.to_bits(), u32::MAX),
            IpAddr::V6(address) => self.network6(direction, address, 128),
        }
    }

    fn network(&self, network: Network, direction: Endpoint, address: u32, mask: u32) -> Condition {
        let at = self.payload();
        let is = |offset| Condition::Equal(word(at + offset), mask, address);
        let within = |ethertype, source, destination| {
            self.ethertype(ethertype)
                .and(direction.choose(is(source), is(destination)))
        };
        let (ip, arp, rarp) = (
            within(ETHERTYPE_IPV4, 12, 16),
            within(ETHERTYPE_ARP, 14, 24),
            within(ETHERTYPE_RARP, 14, 24),
        );
        match network {
            Network::Any => ip.or(arp).or(rarp),
            Network::Ip => ip,
            Network::Arp => arp,
            Network::Rarp => rarp,
            Network::Ip6 => Condition::Constant(false),
        }
    }

    fn network6(&self, direction: Endpoint, address: Ipv6Addr, prefix_len: u8) -> Condition {
        let at = self.payload();
        let mask = u128::MAX
            .checked_shl(128 - u32::from(prefix_len.min(128)))
            .unwrap_or(0);
        let (words, masks) = (address.octets(), mask.to_be_bytes());
        let is = |start: u32| {
            let (words, masks) = (words.as_chunks::<4>().0, masks.as_chunks::<4>().0);
            let all = (0_u32..)
                .zip(words.iter().zip(masks))
                .map(|(index, (bytes, mask))| {
                    Condition::Equal(
                        word(at + start + 4 * index),
                        u32::from_be_bytes(*mask),
                        u32::from_be_bytes(*bytes),
                    )
                });
            all.fold(Condition::Constant(true), Condition::and)
        };
        self.ethertype(ETHERTYPE_IPV6)
            .and(direction.choose(is(8), is(24)))
    }

    fn relation(&self, relation: &Relation) -> Condition {
        let (statements, test) = relation.statements(self.payload());
        let mut condition = Condition::Compare(statements, test);
        if !relation.holds {
            condition = condition.negated();
        }
        let mut layers = Vec::new();
        for side in [&relation.left, &relation.right] {
            side.layers(&mut |layer| layers.push(layer));
        }
        // In reverse, since each is put before what was there: the first is tested first.
        let all = layers.into_iter().rev();
        all.fold(condition, |condition, layer| {
            self.layer(layer).and(condition)
        })
    }

    fn layer(&self, layer: Layer) -> Condition {
        let at = self.payload();
        match layer {
            Layer::Frame => Condition::Constant(true),
            Layer::Network(ethertype) => self.ethertype(ethertype),
            Layer::Transport(number) => self
                .ipv4_protocol(number)
                .and(Condition::AnyBit(half(at + 6), 0x1fff).negated()),
            Layer::Icmp6 => self
                .ethertype(ETHERTYPE_IPV6)
                .and(Condition::equal(octet(at + 6), IPPROTO_ICMPV6)),
        }
    }

    fn ports(&self, transport: Transport, direction: Endpoint, first: u16, last: u16) -> Condition {
        let within = |load| {
            if first == last {
                Condition::equal(load, first.into())
            } else {
                Condition::AtLeast(load, first.into())
                    .and(Condition::AtLeast(load, u32::from(last) + 1).negated())
            }
        };
        let header = self.payload();
        let protocols = |at| {
            any(transport
                .numbers()
                .iter()
                .map(|number| Condition::equal(octet(at), *number)))
        };
        let behind_ipv4 = |offset| Load::BehindIpv4 {
            size: Size::Half,
            header,
            offset,
        };
        let ipv6 = self
            .ethertype(ETHERTYPE_IPV6)
            .and(protocols(header + 6))
            // Right behind the fixed header: libpcap steps over no extension headers for ports.
            .and(direction.choose(within(half(header + 40)), within(half(header + 42))));
        let ipv4 = self
            .ethertype(ETHERTYPE_IPV4)
            .and(protocols(header + 9))
            .and(Condition::AnyBit(half(header + 6), 0x1fff).negated())
            .and(direction.choose(within(behind_ipv4(0)), within(behind_ipv4(2))));
        ipv6.or(ipv4)
    }
}

impl Endpoint {
    fn choose(self, source: Condition, destination: Condition) -> Condition {
        match self {
            Self::Source => source,
            Self::Destination => destination,
            Self::Either => source.or(destination),
            Self::Both => source.and(destination),
        }
    }
}

impl Transport {
    const fn numbers(self) -> &'static [u32] {
        match self {
            // In the order in which `tcpdump -d port 53` prints them.
            Self::Any => &[IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP],
            Self::Tcp => &[IPPROTO_TCP],
            Self::Udp => &[IPPROTO_UDP],
            Self::Sctp => &[IPPROTO_SCTP],
        }
    }
}

fn ether_host(direction: Endpoint, address: MacAddress) -> Condition {
    let load = |size, offset| Load::Frame { size, offset };
    let is = |at| Condition::is_mac(load, at, address);
    direction.choose(is(6), is(0))
}

fn any(conditions: impl IntoIterator<Item = Condition>) -> Condition {
    conditions
        .into_iter()
        .reduce(Condition::or)
        .unwrap_or(Condition::Constant(false))
}

const fn octet(offset: u32) -> Load {
    let size = Size::Byte;
    Load::Frame { size, offset }
}

const fn half(offset: u32) -> Load {
    let size = Size::Half;
    Load::Frame { size, offset }
}

const fn word(offset: u32) -> Load {
    let size = Size::Word;
    Load::Frame { size, offset }
}
