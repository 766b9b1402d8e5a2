//! One line for each frame, in the format of tcpdump.
//!
//! Payloads that are not decoded are shown with their protocol and length.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::options;
use wireboot_proto::packet::dhcp::{Message, Op};
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_EAPOL, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_LLDP, ETHERTYPE_MIN,
    ETHERTYPE_SLOW, EthernetHeader,
};
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
        ETHERTYPE_IPV6 => ipv6(payload, text),
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

fn ipv6(payload: &[u8], text: &mut String) -> Result<(), DecodeError> {
    let mut reader = Reader::new(payload);
    reader.take(6, "IPv6 header")?;
    let next_header = reader.u8("next header")?;
    reader.take(1, "hop limit")?;
    let source = Ipv6Addr::from(reader.array::<16>("source")?);
    let destination = Ipv6Addr::from(reader.array::<16>("destination")?);
    let _ = write!(
        text,
        "IP6 {source} > {destination}: {}",
        protocol(next_header)
    );
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
