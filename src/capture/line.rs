//! One line for each frame, in the format of tcpdump.
//!
//! Payloads that are not decoded are shown with their protocol and length.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

#[cfg(feature = "ipv6")]
use super::line6;
use super::options;
use wireboot_proto::packet::dhcp::{Message, Op};
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_EAPOL, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_LLDP, ETHERTYPE_MIN,
    ETHERTYPE_SLOW, EthernetHeader,
};
#[cfg(feature = "ipv6")]
use wireboot_proto::packet::icmpv6::NEXT_HEADER_ICMPV6;
use wireboot_proto::packet::udp::Datagram;
use wireboot_proto::packet::{ipv4, option, tftp};
use wireboot_proto::reader::{DecodeError, Reader};
use wireboot_proto::time::Timestamp;

/// Returns the line for a frame of `original_len` bytes with its tags in `bytes`, and with
/// `verbose` one more line for each DHCP option.
pub fn line(timestamp: Timestamp, bytes: &[u8], original_len: u32, verbose: bool) -> String {
    let seconds = timestamp.as_secs() % 86_400;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let nanoseconds = timestamp.subsec_nanos();
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}.{nanoseconds:09} ");
    if let Err(error) = frame(bytes, verbose, &mut text) {
        let _ = write!(text, "[{error}]");
    }
    let _ = write!(text, ", length {original_len}");
    if u32::try_from(bytes.len()).is_ok_and(|len| len < original_len) {
        let _ = write!(text, " ({} captured)", bytes.len());
    }
    text
}

/// Returns the bytes in rows of sixteen, hexadecimal and as text.
pub fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, chunk) in bytes.chunks(16).enumerate() {
        // The layout of tcpdump -X, which scripts parse.
        let _ = write!(text, "\n\t0x{:04x}: ", row * 16);
        for pair in chunk.chunks(2) {
            text.push(' ');
            for byte in pair {
                let _ = write!(text, "{byte:02x}");
            }
        }
        let width = 42 - chunk.len() * 2 - chunk.len().div_ceil(2);
        let _ = write!(text, "{:width$}{}", "", text_of(chunk));
    }
    text
}

fn frame(bytes: &[u8], verbose: bool, text: &mut String) -> Result<(), DecodeError> {
    let (header, payload) = EthernetHeader::decode(bytes)?;
    if let Some(tci) = header.vlan {
        let _ = write!(text, "vlan {}, ", tci & 0x0fff);
    }
    match header.ethertype {
        ETHERTYPE_IPV4 => packet(payload, verbose, text),
        ETHERTYPE_ARP => arp(payload, text),
        ETHERTYPE_IPV6 => ipv6(payload, verbose, text),
        other => {
            let (source, destination) = (header.source, header.destination);
            let _ = match other {
                // Below 0x0600 the field is a length (IEEE 802.3 §3.2.6).
                0..ETHERTYPE_MIN => write!(text, "{source} > {destination}: 802.3"),
                ETHERTYPE_LLDP => write!(text, "{source} > {destination}: LLDP"),
                ETHERTYPE_SLOW => write!(text, "{source} > {destination}: slow protocol"),
                ETHERTYPE_EAPOL => write!(text, "{source} > {destination}: EAPOL"),
                _ => write!(text, "{source} > {destination}: ethertype {other:#06x}"),
            };
            Ok(())
        }
    }
}

fn arp(payload: &[u8], text: &mut String) -> Result<(), DecodeError> {
    let mut reader = Reader::new(payload);
    reader.take(6, "ARP header")?;
    let operation = reader.u16("operation")?;
    reader.take(6, "sender hardware address")?;
    let sender = Ipv4Addr::from(reader.array("sender protocol address")?);
    reader.take(6, "target hardware address")?;
    let target = Ipv4Addr::from(reader.array("target protocol address")?);
    let _ = match operation {
        1 => write!(text, "ARP, who has {target}, tell {sender}"),
        2 => write!(text, "ARP, reply to {target} from {sender}"),
        other => write!(text, "ARP, operation {other}, {sender} > {target}"),
    };
    Ok(())
}

#[cfg_attr(
    not(feature = "ipv6"),
    expect(unused_variables, reason = "nothing is decoded")
)]
fn ipv6(payload: &[u8], verbose: bool, text: &mut String) -> Result<(), DecodeError> {
    let mut reader = Reader::new(payload);
    reader.take(4, "IPv6 header")?;
    let len = usize::from(reader.u16("payload length")?);
    let mut next_header = reader.u8("next header")?;
    reader.take(1, "hop limit")?;
    let source = Ipv6Addr::from(reader.array::<16>("source")?);
    let destination = Ipv6Addr::from(reader.array::<16>("destination")?);
    // Behind it is padding of the frame.
    let rest = reader.rest();
    let mut reader = Reader::new(rest.get(..len).unwrap_or(rest));
    // Hop-by-hop options, routing and destination options (RFC 8200 §4).
    while matches!(next_header, 0 | 43 | 60) {
        next_header = reader.u8("next header")?;
        let len = usize::from(reader.u8("extension length")?);
        reader.take(6 + len * 8, "extension header")?;
    }
    text.push_str("IP6 ");
    if let 6 | 17 = next_header {
        let mut ports = Reader::new(reader.rest());
        let (from, to) = (ports.u16("source port")?, ports.u16("destination port")?);
        let _ = write!(text, "{source}.{from} > {destination}.{to}: ");
        if next_header == 6 {
            text.push_str("TCP");
            return Ok(());
        }
        ports.take(4, "UDP header")?;
        return match (from, to) {
            #[cfg(feature = "ipv6")]
            _ if line6::is_dhcp([from, to]) => line6::dhcp(ports.rest(), verbose, text),
            (69, _) | (_, 69) => trivial(ports.rest(), text),
            _ => {
                text.push_str("UDP");
                Ok(())
            }
        };
    }
    let _ = write!(text, "{source} > {destination}: {}", protocol(next_header));
    #[cfg(feature = "ipv6")]
    if next_header == NEXT_HEADER_ICMPV6 {
        text.push_str(", ");
        line6::icmp(reader.rest(), verbose, text)?;
    }
    Ok(())
}

fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMP6".to_owned(),
        other => format!("protocol {other}"),
    }
}

fn packet(payload: &[u8], verbose: bool, text: &mut String) -> Result<(), DecodeError> {
    text.push_str("IP ");
    let (header, bytes) = ipv4::Ipv4Header::decode(payload)?;
    let (source, destination) = (header.source, header.destination);
    match header.protocol {
        6 => {
            let mut reader = Reader::new(bytes);
            let (from, to) = (reader.u16("source port")?, reader.u16("destination port")?);
            let _ = write!(text, "{source}.{from} > {destination}.{to}: TCP");
        }
        ipv4::PROTOCOL_UDP => {
            // On the sender's side the network card often fills in the checksum later.
            let datagram = Datagram::decode(source, destination, bytes, false)?;
            let (from, to) = (datagram.source.port(), datagram.destination.port());
            let _ = write!(text, "{source}.{from} > {destination}.{to}: ");
            match (from, to) {
                (67 | 68 | 4011, _) | (_, 67 | 68 | 4011) => {
                    dhcp(datagram.payload, verbose, text)?;
                }
                (69, _) | (_, 69) => trivial(datagram.payload, text)?,
                _ => text.push_str("UDP"),
            }
        }
        other => {
            let _ = write!(text, "{source} > {destination}: {}", protocol(other));
        }
    }
    Ok(())
}

fn trivial(payload: &[u8], text: &mut String) -> Result<(), DecodeError> {
    let packet = tftp::TftpPacket::decode(payload)?;
    let (what, file) = match packet {
        tftp::TftpPacket::ReadRequest { file, .. } => ("read", file),
        tftp::TftpPacket::WriteRequest { file, .. } => ("write", file),
        tftp::TftpPacket::Data { .. }
        | tftp::TftpPacket::Acknowledgment { .. }
        | tftp::TftpPacket::Error { .. }
        | tftp::TftpPacket::OptionAcknowledgment { .. } => {
            // The opcode, which `decode` has found to be one of 3 to 6.
            let names = ["data", "acknowledgment", "error", "option acknowledgment"];
            let opcode = payload.get(1).map_or(0, |opcode| usize::from(*opcode));
            let name = opcode.checked_sub(3).and_then(|kind| names.get(kind));
            let _ = write!(text, "TFTP {}", name.unwrap_or(&"packet"));
            return Ok(());
        }
    };
    let _ = write!(text, "TFTP {what} \"{}\"", text_of(file));
    Ok(())
}

fn dhcp(payload: &[u8], verbose: bool, text: &mut String) -> Result<(), DecodeError> {
    let message = Message::decode(payload)?;
    match (message.message_type(), message.op) {
        (Some(kind), _) => {
            let _ = write!(text, "DHCP {kind}");
        }
        (None, Op::BootRequest) => text.push_str("BOOTP request"),
        (None, Op::BootReply) => text.push_str("BOOTP reply"),
    }
    let _ = write!(text, ", xid {:#010x}, {}", message.xid, message.chaddr);
    for (name, address) in [
        ("client", message.ciaddr),
        ("yours", message.yiaddr),
        ("next server", message.siaddr),
        ("relay", message.giaddr),
    ] {
        if !address.is_unspecified() {
            let _ = write!(text, ", {name} {address}");
        }
    }
    if let Some(file) = option::text(&message.file).filter(|file| !file.is_empty()) {
        let _ = write!(text, ", file \"{}\"", text_of(file.as_bytes()));
    }
    if verbose {
        options::append(&message.options, text);
        text.push_str("\n\t");
    }
    Ok(())
}

/// Returns the bytes as text without control characters.
fn text_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arp_request_is_one_line() {
        let mut frame = vec![0xff; 6];
        frame.extend([0x52, 0x54, 0, 1, 2, 3, 0x81, 0, 0, 5, 8, 6]);
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 1, 2, 3, 192, 0, 2, 1]);
        frame.extend([0, 0, 0, 0, 0, 0, 192, 0, 2, 2]);
        let time = Timestamp::new(86_400 + 3_661, 5);
        assert_eq!(
            line(time, &frame, 64, false),
            "01:01:01.000000005 vlan 5, ARP, who has 192.0.2.2, tell 192.0.2.1, length 64 \
             (46 captured)"
        );
        for len in 0..frame.len() {
            assert!(
                line(time, &frame[..len], 64, true).contains("truncated"),
                "{len}"
            );
        }
    }

    /// A frame of fe80::1 to ff02::1 with `body` behind the header of IPv6.
    #[cfg(feature = "ipv6")]
    fn frame6(next_header: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 1, 0x86, 0xdd];
        frame.extend([
            0x60,
            0,
            0,
            0,
            0,
            u8::try_from(body.len()).unwrap(),
            next_header,
            255,
        ]);
        for address in ["fe80::1", "ff02::1"] {
            frame.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        frame.extend_from_slice(body);
        frame
    }

    #[cfg(feature = "ipv6")]
    #[test]
    fn ipv6_says_what_neighbours_routers_groups_and_servers_say() {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let mut router = vec![134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        router.extend([3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 7, 8, 0, 0, 0, 0]);
        router.extend(address("2001:db8:1::"));
        router.extend([5, 1, 0, 0, 0, 0, 5, 0xdc]);
        let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address("fe80::2")].concat();
        let advertisement = [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &address("fe80::2")].concat();
        // Behind hop-by-hop options with the alert for routers.
        let mut report = vec![58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 2];
        report.extend([4, 0, 0, 0]);
        report.extend(address("ff02::1:ff00:2"));
        report.extend([3, 0, 0, 0]);
        report.extend(address("ff02::1:2"));
        let query = [&[130, 0, 0, 0, 0, 1, 0, 0][..], &[0; 16], &[0; 4]].concat();
        let mut server = vec![2, 35, 2, 34, 0, 0, 0, 0, 2, 1, 2, 3];
        server.extend([0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24]);
        server.extend(address("2001:db8::7"));
        server.extend([0, 0, 0, 50, 0, 0, 0, 60]);
        server.extend(b"\0\x3b\0\x0atftp://a\x1bb");
        let refusal = b"\x02\x23\x02\x22\0\0\0\0\x07\0\0\x01\0\x0d\0\x02\0\x02";
        let relayed = [
            &[2, 35, 2, 35, 0, 0, 0, 0, 12, 0][..],
            &address("2001:db8::1"),
            &address("fe80::9"),
            &[0, 9, 0, 4, 1, 0, 0, 2],
        ];
        for (next_header, body, expected) in [
            (
                58,
                &router[..],
                "fe80::1 > ff02::1: ICMP6, router advertisement, servers have addresses, \
                 servers have configuration, default router for 1800 s, \
                 prefix 2001:db8:1::/64 on the link for addresses for 3600 s, MTU 1500",
            ),
            (
                58,
                &[133, 0, 0, 0, 0, 0, 0, 0],
                "fe80::1 > ff02::1: ICMP6, router solicitation",
            ),
            (
                58,
                &solicitation,
                "fe80::1 > ff02::1: ICMP6, neighbor solicitation, who has fe80::2",
            ),
            (
                58,
                &advertisement,
                "fe80::1 > ff02::1: ICMP6, neighbor advertisement, target is fe80::2",
            ),
            (
                0,
                &report,
                "fe80::1 > ff02::1: ICMP6, multicast listener report v2, joins ff02::1:ff00:2, \
                 leaves ff02::1:2",
            ),
            (
                58,
                &query,
                "fe80::1 > ff02::1: ICMP6, multicast listener query",
            ),
            (
                58,
                &[200, 1, 0, 0],
                "fe80::1 > ff02::1: ICMP6, type 200, code 1",
            ),
            (
                17,
                &server,
                "fe80::1.547 > ff02::1.546: DHCPv6 ADVERTISE, xid 0x010203, address 2001:db8::7 \
                 for 60 s",
            ),
            (
                17,
                refusal,
                "fe80::1.547 > ff02::1.546: DHCPv6 REPLY, xid 0x000001, status NoAddrsAvail",
            ),
            (
                17,
                &relayed.concat(),
                "fe80::1.547 > ff02::1.547: DHCPv6 RELAY-FORW, link 2001:db8::1, peer fe80::9: \
                 SOLICIT, xid 0x000002",
            ),
            (
                17,
                b"\x10\0\0\x45\0\0\0\0\0\x01file\0octet\0",
                "fe80::1.4096 > ff02::1.69: TFTP read \"file\"",
            ),
            (6, &[0, 80, 16, 0], "fe80::1.80 > ff02::1.4096: TCP"),
            (44, &[0; 8], "fe80::1 > ff02::1: protocol 44"),
        ] {
            let bytes = frame6(next_header, body);
            let len = u32::try_from(bytes.len()).unwrap();
            let text = line(Timestamp::default(), &bytes, len, false);
            let text = text.split_once(" IP6 ").unwrap().1;
            assert_eq!(text, format!("{expected}, length {len}"));
            // No end of a frame, and no byte of it, does harm.
            for at in 0..bytes.len() {
                let _ = line(Timestamp::default(), &bytes[..at], len, true);
                let mut changed = bytes.clone();
                changed[at] ^= 0xff;
                let _ = line(Timestamp::default(), &changed, len, true);
            }
        }
        let verbose = line(Timestamp::default(), &frame6(58, &router), 118, true);
        let expected =
            "\n\tprefix 2001:db8:1::/64 on the link for addresses for 3600 s\n\tMTU 1500\n\t";
        assert!(verbose.contains(expected), "{verbose}");
    }

    #[test]
    fn nothing_from_the_network_can_steer_the_terminal() {
        assert_eq!(text_of(b"a\x1b[2J\xc3\n"), "a.[2J..");
    }

    #[test]
    fn octets_are_dumped_with_their_text() {
        assert_eq!(
            dump(b"ab\n"),
            "\n\t0x0000:  6162 0a                                  ab."
        );
    }
}
