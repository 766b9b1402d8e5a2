//! The filter programs of a boot.
//!
//! The kernel has removed the outermost 802.1Q tag from the frame. A removed tag must be of VLAN 0
//! (priority only): frames of other VLANs are rejected.

use std::net::Ipv4Addr;

use super::condition::{Condition, Load, Size};
use super::program::{FilterProgram, WHOLE_FRAME, ancillary};
use wireboot_proto::packet::dhcp::{CLIENT_PORT, SERVER_PORT};
use wireboot_proto::packet::dhcpv6;
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, MacAddress,
};
use wireboot_proto::packet::icmpv6::{self, NEIGHBOR_ADVERTISEMENT, ROUTER_SOLICITATION};
use wireboot_proto::packet::ipv4::PROTOCOL_UDP;
use wireboot_proto::packet::switch_frame;

/// Where the IPv4 header begins in an untagged frame.
const IPV4: u32 = 14;
/// Where ARP begins.
const ARP: u32 = 14;
/// Where the IPv6 header begins.
const IPV6: u32 = 14;
// RFC 768, and `op` of RFC 2131 §2.
const UDP_LEN: u32 = 8;
const BOOTREQUEST: u32 = 1;
const BOOTREPLY: u32 = 2;

/// Passes DHCP and BOOTP replies: UDP to port 68 with `op` 2 and, when given, our `xid` and
/// `chaddr`.
///
/// In a rack that boots at once, a machine is woken only for its own replies. IP options are supported;
/// fragments other than the first are rejected, and so are other VLANs. User space checks all frames
/// again.
pub fn dhcp_replies(xid: Option<u32>, chaddr: Option<MacAddress>) -> FilterProgram {
    program(&is_dhcp_reply(xid, chaddr))
}

/// Passes what says why there is no reply: UDP over IPv4 that has our `xid` or `chaddr` where replies have
/// them and does not pass [`dhcp_replies`], and advertisements of IPv6 routers.
///
/// A packet to our port and hardware address that ends before `chaddr` passes too, and what has a second
/// VLAN tag. A request on its way to a server does not.
pub fn stray_replies(xid: u32, chaddr: MacAddress) -> FilterProgram {
    /// Length of a VLAN tag, and where the second of two begins, which the kernel leaves in the frame.
    const TAG: u32 = 4;
    let is_tagged = is_ethertype(ETHERTYPE_VLAN);
    let strays = is_stray(IPV4, xid, chaddr).or(is_tagged.and(is_stray(IPV4 + TAG, xid, chaddr)));
    program(&strays.or(untagged().and(is_router_advertisement())))
}

/// As [`stray_replies`], with the IPv4 header at `header`, behind its EtherType.
fn is_stray(header: u32, xid: u32, chaddr: MacAddress) -> Condition {
    let bootp = |size, offset| behind_ipv4_at(header, size, UDP_LEN + offset);
    let is_to = |port: u16| Condition::equal(behind_ipv4_at(header, Size::Half, 2), port.into());
    let op = |op| Condition::equal(bootp(Size::Byte, 0), op);
    // A load beyond the end would reject the frame, whatever else is in it.
    let has = |len| Condition::AtLeast(Load::Length, header + 20 + UDP_LEN + len);
    let has_xid = has(8).and(Condition::equal(bootp(Size::Word, 4), xid));
    let has_chaddr = || has(34).and(Condition::is_mac(bootp, 28, chaddr));
    let is_cut_off = has(34)
        .negated()
        .and(is_to(CLIENT_PORT))
        .and(Condition::is_mac(frame, 0, chaddr));
    let is_request = is_to(SERVER_PORT).and(op(BOOTREQUEST));
    let is_reply = is_to(CLIENT_PORT).and(op(BOOTREPLY)).and(has_chaddr());
    let is_reply = if header == IPV4 {
        untagged().and(is_reply)
    } else {
        Condition::Constant(false)
    };
    is_udp_with_header(header).and(
        is_cut_off.or(has_xid
            .or(has_chaddr())
            .and(is_request.or(is_reply).negated())),
    )
}

/// Passes what a client of IPv6 hears of routers, neighbours and servers: neighbour discovery, reports of
/// groups (MLD), and DHCPv6.
pub fn configuration_of_ipv6() -> FilterProgram {
    let load = |size, offset| frame(size, IPV6 + offset);
    let byte = |offset, value: u8| Condition::equal(load(Size::Byte, offset), value.into());
    let kinds = ROUTER_SOLICITATION..=NEIGHBOR_ADVERTISEMENT;
    let any = |conditions: Vec<Condition>| {
        let conditions = conditions.into_iter();
        conditions.fold(Condition::Constant(false), Condition::or)
    };
    let discovery =
        byte(6, icmpv6::NEXT_HEADER_ICMPV6).and(any(kinds.map(|kind| byte(40, kind)).collect()));
    // Behind hop-by-hop options.
    let groups = byte(6, 0).and(byte(40, icmpv6::NEXT_HEADER_ICMPV6));
    let ports = [dhcpv6::CLIENT_PORT, dhcpv6::SERVER_PORT].into_iter();
    let ports = ports.map(|port| Condition::equal(load(Size::Half, 42), port.into()));
    let servers = byte(6, PROTOCOL_UDP).and(any(ports.collect()));
    program(&is_ethertype(ETHERTYPE_IPV6).and(discovery.or(groups).or(servers)))
}

fn is_router_advertisement() -> Condition {
    let byte = |offset, value: u8| Condition::equal(frame(Size::Byte, IPV6 + offset), value.into());
    is_ethertype(ETHERTYPE_IPV6)
        .and(byte(6, icmpv6::NEXT_HEADER_ICMPV6))
        .and(byte(7, icmpv6::HOP_LIMIT))
        .and(byte(40, icmpv6::ROUTER_ADVERTISEMENT))
}

/// The condition of [`dhcp_replies`].
fn is_dhcp_reply(xid: Option<u32>, chaddr: Option<MacAddress>) -> Condition {
    let bootp = |size, offset| behind_ipv4(size, UDP_LEN + offset);
    let mut condition =
        is_udp_to(CLIENT_PORT).and(Condition::equal(bootp(Size::Byte, 0), BOOTREPLY));
    if let Some(xid) = xid {
        condition = condition.and(Condition::equal(bootp(Size::Word, 4), xid));
    }
    if let Some(chaddr) = chaddr {
        // By chaddr and not by the frame's destination: replies may be broadcast (RFC 2131 §4.1).
        condition = condition.and(Condition::is_mac(bootp, 28, chaddr));
    }
    untagged().and(condition)
}

/// Passes ARP about `address`: sent by a claimed owner, or asking for it.
pub fn arp_about(address: Ipv4Addr) -> FilterProgram {
    program(&is_arp_about(address))
}

/// Passes what [`dhcp_replies`] or [`arp_about`] passes.
pub fn dhcp_replies_and_arp_about(chaddr: MacAddress, address: Ipv4Addr) -> FilterProgram {
    program(&is_dhcp_reply(None, Some(chaddr)).or(is_arp_about(address)))
}

/// Passes ARP to the hardware address `tha`.
#[cfg(feature = "arping")]
pub fn arp_to(tha: MacAddress) -> FilterProgram {
    let is_ours = Condition::is_mac(frame, ARP + 18, tha);
    program(&untagged().and(is_ethertype(ETHERTYPE_ARP)).and(is_ours))
}

fn is_arp_about(address: Ipv4Addr) -> Condition {
    let is_it = |at| Condition::equal(frame(Size::Word, ARP + at), address.to_bits());
    untagged()
        .and(is_ethertype(ETHERTYPE_ARP))
        // Sender and target address: a probe has the address as target only (RFC 5227 §2.1.1).
        .and(is_it(14).or(is_it(24)))
}

/// Passes every frame, or only those of a spanning tree, which have no EtherType. One byte is kept.
pub fn counted(is_spanning_tree: bool) -> FilterProgram {
    // IEEE 802.1D §9.3.1: the LLC address of BPDUs stands where an EtherType's payload would begin.
    let is_bpdu = Condition::equal(frame(Size::Byte, 14), 0x42);
    let all = Condition::Constant(true);
    let kind = if is_spanning_tree { is_bpdu } else { all };
    // They are counted and never read, so that one byte is enough to accept them.
    kind.compile(1).unwrap_or_else(|_| FilterProgram::nothing())
}

/// Passes what clients broadcast to DHCP servers: only DISCOVERs, or only what is none, which is
/// REQUESTs and a rare DECLINE or INFORM. One byte is kept, for counting.
///
/// DISCOVERs are known by their message type (option 53) in front, where clients have it.
pub fn dhcp_requests(are_discovers: bool) -> FilterProgram {
    // 236 bytes of BOOTP and 4 of magic cookie (RFC 2131 §3).
    let first_option = behind_ipv4(Size::Word, UDP_LEN + 240);
    let is_discover = Condition::Equal(first_option, 0xffff_ff00, 0x3501_0100);
    let kind = if are_discovers {
        is_discover
    } else {
        is_discover.negated()
    };
    let is_broadcast = Condition::equal(frame(Size::Word, IPV4 + 16), u32::MAX);
    let is_request = Condition::equal(behind_ipv4(Size::Byte, UDP_LEN), BOOTREQUEST);
    untagged()
        .and(is_udp_to(SERVER_PORT))
        .and(is_broadcast)
        .and(is_request)
        .and(kind)
        // The frames are counted and never read, so that one byte is enough to accept them.
        .compile(1)
        .unwrap_or_else(|_| FilterProgram::nothing())
}

/// Passes frames of switches to the multicast addresses of their protocols: STP, LACP, 802.1X,
/// LLDP and PVST+.
pub fn from_switch() -> FilterProgram {
    let groups = switch_frame::GROUPS.into_iter();
    let groups = groups.map(|group| Condition::is_mac(frame, 0, group));
    let any = groups.fold(Condition::Constant(false), Condition::or);
    program(&untagged().and(any))
}

/// Passes frames with the tag of a VLAN. One byte is kept, since only the tag is read.
pub fn tagged() -> FilterProgram {
    untagged()
        .negated()
        .compile(1)
        .unwrap_or_else(|_| FilterProgram::nothing())
}

fn program(condition: &Condition) -> FilterProgram {
    condition
        .compile(WHOLE_FRAME)
        .unwrap_or_else(|_| FilterProgram::nothing())
}

const fn frame(size: Size, offset: u32) -> Load {
    Load::Frame { size, offset }
}

const fn behind_ipv4(size: Size, offset: u32) -> Load {
    behind_ipv4_at(IPV4, size, offset)
}

const fn behind_ipv4_at(header: u32, size: Size, offset: u32) -> Load {
    Load::BehindIpv4 {
        size,
        header,
        offset,
    }
}

/// The kernel took no tag out, or one of VLAN 0.
fn untagged() -> Condition {
    // Some kernels leave an old tag behind that is not present any more.
    Condition::equal(Load::Ancillary(ancillary::VLAN_TAG_PRESENT), 0).or(Condition::Equal(
        Load::Ancillary(ancillary::VLAN_TAG),
        // The VLAN identifier's twelve bits; the others are priority and drop eligibility (IEEE
        // 802.1Q).
        0x0fff,
        0,
    ))
}

fn is_ethertype(ethertype: u16) -> Condition {
    Condition::equal(frame(Size::Half, 12), ethertype.into())
}

/// IPv4 at `header` and UDP, and the frame has the UDP header: not a later fragment.
fn is_udp_with_header(header: u32) -> Condition {
    let ethertype = frame(Size::Half, header - 2);
    Condition::equal(ethertype, ETHERTYPE_IPV4.into())
        .and(Condition::equal(
            frame(Size::Byte, header + 9),
            PROTOCOL_UDP.into(),
        ))
        // The fragment offset (RFC 791 §3.1): a later fragment's first bytes are no UDP header.
        .and(Condition::AnyBit(frame(Size::Half, header + 6), 0x1fff).negated())
}

fn is_udp_to(port: u16) -> Condition {
    is_udp_with_header(IPV4).and(Condition::equal(behind_ipv4(Size::Half, 2), port.into()))
}

#[cfg(test)]
mod tests {
    use super::super::interpret::FilterInput;
    use super::*;
    use wireboot_proto::packet::ethernet::VlanTag;

    const XID: u32 = 0x1234_5678;
    const CHADDR: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);

    /// The bytes up to `chaddr` of a DHCP reply, broadcast by 192.0.2.1.
    fn reply(ip_options: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([0x52, 0x54, 0, 9, 9, 9, 0x08, 0x00]);
        let ihl = 5 + u8::try_from(ip_options.len() / 4).unwrap();
        frame.extend([0x40 | ihl, 0, 0x01, 0x2c, 0, 1, 0, 0, 64, 17, 0, 0]);
        frame.extend([192, 0, 2, 1, 255, 255, 255, 255]);
        frame.extend(ip_options);
        frame.extend([0, 67, 0, 68, 1, 8, 0, 0]);
        frame.extend([2, 1, 6, 0]);
        frame.extend(XID.to_be_bytes());
        frame.extend([0; 20]);
        frame.extend(CHADDR.0);
        frame.extend([0; 10]);
        frame
    }

    fn changed(at: usize, byte: u8) -> Vec<u8> {
        let mut frame = reply(&[]);
        frame[at] = byte;
        frame
    }

    #[test]
    fn a_reply_to_our_request_passes_with_and_without_ip_options() {
        let program = dhcp_replies(Some(XID), Some(CHADDR));
        assert_eq!(program.run(&reply(&[])), WHOLE_FRAME);
        assert_eq!(program.run(&reply(&[0x94, 4, 0, 0])), WHOLE_FRAME);
        assert_eq!(program.run(&reply(&[1; 40])), WHOLE_FRAME);
        assert_eq!(dhcp_replies(None, None).run(&reply(&[])), WHOLE_FRAME);
        // Address translation chooses the port that a server seems to answer from.
        assert_eq!(program.run(&changed(34, 0x9c)), WHOLE_FRAME);
    }

    #[test]
    fn the_first_fragment_passes_and_the_others_do_not() {
        let program = dhcp_replies(Some(XID), Some(CHADDR));
        assert_eq!(program.run(&changed(20, 0x20)), WHOLE_FRAME, "more follow");
        assert_eq!(
            program.run(&changed(20, 0x40)),
            WHOLE_FRAME,
            "unfragmentable"
        );
        assert_eq!(program.run(&changed(20, 0x01)), 0, "offset 2048");
        assert_eq!(program.run(&changed(21, 0x01)), 0, "offset 8");
    }

    #[test]
    fn what_has_our_xid_or_chaddr_and_is_no_reply_is_a_stray() {
        let program = stray_replies(XID, CHADDR);
        for (at, byte, passes, what) in [
            (42, 2, false, "a reply"),
            (42, 1, true, "op 1"),
            (42, 0, true, "op 0"),
            (37, 67, true, "to another port"),
            (46, 0, false, "another xid, which the reply's filter passes"),
            (75, 0, true, "another chaddr"),
            (
                20,
                0x20,
                false,
                "a first fragment, which the reply's filter passes",
            ),
            (21, 1, false, "a later fragment"),
            (23, 6, false, "TCP"),
        ] {
            assert_eq!(program.run(&changed(at, byte)) != 0, passes, "{what}");
        }
        let mut request = changed(37, 67);
        request[42] = 1;
        assert_eq!(program.run(&request), 0, "a request");
        let mut other = changed(46, 0);
        other[75] = 0;
        assert_eq!(program.run(&other), 0, "another xid and chaddr");
        other[37] = 67;
        assert_eq!(program.run(&other), 0, "nor to our port");
        for (tci, passes) in [(5, true), (0x6000, false)] {
            let vlan = Some(VlanTag { tpid: 0x8100, tci });
            let reply = reply(&[]);
            let packet = FilterInput {
                vlan,
                ..FilterInput::new(&reply)
            };
            assert_eq!(program.run_with(&packet) != 0, passes, "{tci:#x}");
        }
        let mut inner = reply(&[]);
        inner.splice(12..12, [0x81, 0, 0, 5]);
        assert_ne!(program.run(&inner), 0);
        inner[50] = 0;
        assert_ne!(program.run(&inner), 0, "another xid");
        inner[79] = 0;
        assert_eq!(program.run(&inner), 0, "and another chaddr");
    }

    #[test]
    fn a_reply_that_is_cut_off_is_a_stray_by_its_xid_or_destination() {
        let program = stray_replies(XID, CHADDR);
        let mut frame = reply(&[]);
        for (len, passes) in [(76, false), (75, true), (50, true), (49, false)] {
            assert_eq!(program.run(&frame[..len]) != 0, passes, "{len}");
        }
        frame[..6].copy_from_slice(&CHADDR.0);
        for (len, passes) in [(76, false), (50, true), (42, true), (37, false)] {
            assert_eq!(program.run(&frame[..len]) != 0, passes, "{len}");
        }
        frame[37] = 53;
        assert_eq!(program.run(&frame[..49]), 0);
    }

    #[test]
    fn advertisements_of_routers_pass_beside_strays() {
        let program = stray_replies(XID, CHADDR);
        let mut frame = icmpv6::router_solicitation(CHADDR);
        assert_eq!(program.run(&frame), 0, "a solicitation");
        frame[54] = icmpv6::ROUTER_ADVERTISEMENT;
        assert_ne!(program.run(&frame), 0);
        frame[21] = 64;
        assert_eq!(program.run(&frame), 0, "forwarded");
    }

    #[test]
    fn what_is_not_a_reply_to_us_does_not_pass() {
        let program = dhcp_replies(Some(XID), Some(CHADDR));
        for (at, byte, what) in [
            (12, 0x86, "not IPv4"),
            (13, 0x06, "ARP"),
            (23, 6, "TCP"),
            (37, 67, "to a server"),
            (36, 1, "port 324"),
            (42, 1, "a request"),
            (46, 0, "another xid"),
            (70, 0, "another chaddr, high part"),
            (75, 0, "another chaddr, low part"),
        ] {
            assert_eq!(program.run(&changed(at, byte)), 0, "{what}");
        }
        assert_eq!(
            dhcp_replies(None, Some(CHADDR)).run(&changed(46, 0)),
            WHOLE_FRAME
        );
        assert_eq!(
            dhcp_replies(Some(XID), None).run(&changed(75, 0)),
            WHOLE_FRAME
        );
    }

    #[test]
    fn a_frame_cut_off_before_the_last_field_that_is_looked_at_does_not_pass() {
        let program = dhcp_replies(Some(XID), Some(CHADDR));
        let frame = reply(&[]);
        for len in 0..76 {
            assert_eq!(program.run(&frame[..len]), 0, "{len}");
        }
        assert_eq!(program.run(&frame[..76]), WHOLE_FRAME);
    }

    #[test]
    fn arp_about_an_address_passes_and_other_arp_does_not() {
        use wireboot_proto::packet::arp;
        let address = Ipv4Addr::new(192, 0, 2, 100);
        let probe = arp::ArpPacket::probe(CHADDR, address).encode_frame();
        let claim = arp::ArpPacket::announcement(CHADDR, address).encode_frame();
        let other = arp::ArpPacket::announcement(CHADDR, Ipv4Addr::new(192, 0, 2, 101));
        let both = dhcp_replies_and_arp_about(CHADDR, address);
        for (program, of_reply) in [(arp_about(address), 0), (both, WHOLE_FRAME)] {
            assert_eq!(program.run(&probe), WHOLE_FRAME);
            assert_eq!(program.run(&claim), WHOLE_FRAME);
            assert_eq!(program.run(&other.encode_frame()), 0);
            assert_eq!(program.run(&reply(&[])), of_reply);
            assert_eq!(program.run(&changed(46, 0)), of_reply);
            assert_eq!(program.run(&changed(70, 0)), 0, "another chaddr");
            assert_eq!(program.run(&probe[..41]), 0);
        }
    }

    #[test]
    fn a_discover_and_a_request_are_told_apart_and_nothing_else_is_counted() {
        let programs = [dhcp_requests(true), dhcp_requests(false)];
        let passes = |frame: &[u8]| programs.each_ref().map(|program| program.run(frame));
        let mut frame = reply(&[]);
        frame.resize(14 + 20 + 8 + 300, 0);
        frame[34..38].copy_from_slice(&[0, 68, 0, 67]);
        frame[42] = 1;
        frame[282..285].copy_from_slice(&[53, 1, 1]);
        assert_eq!(passes(&frame), [1, 0]);
        frame[284] = 3;
        assert_eq!(passes(&frame), [0, 1]);
        frame[282..291].copy_from_slice(&[50, 4, 192, 0, 2, 9, 53, 1, 3]);
        assert_eq!(passes(&frame), [0, 1]);
        frame[33] = 1;
        assert_eq!(passes(&frame), [0, 0], "to one server");
        frame[33] = 255;
        frame[42] = 2;
        assert_eq!(passes(&frame), [0, 0], "a reply");
        assert_eq!(passes(&reply(&[])), [0, 0]);
    }

    #[test]
    fn a_reply_on_another_vlan_does_not_pass_and_a_priority_tag_does_not_matter() {
        let program = dhcp_replies(Some(XID), Some(CHADDR));
        let frame = reply(&[]);
        for (tci, passes) in [(0x0005, false), (0x6000, true), (0x6fff, false)] {
            let vlan = Some(VlanTag { tpid: 0x8100, tci });
            let packet = FilterInput {
                vlan,
                ..FilterInput::new(&frame)
            };
            assert_eq!(program.run_with(&packet) != 0, passes, "{tci:#x}");
        }
    }
}
