//! ICMP, TCP, TFTP and what switches say, each in a part of a line.

use std::fmt::Write;
use std::net::Ipv4Addr;

use wireboot_proto::packet::switch_frame::{PortState, SlowFrame, SwitchFrame};
use wireboot_proto::packet::tftp::{TftpOptions, TftpPacket};
use wireboot_proto::reader::{DecodeError, Reader};

/// Types of ICMP (RFC 792).
const ICMP: [(u8, &str); 8] = [
    (0, "echo reply"),
    (3, "unreachable"),
    (5, "redirect"),
    (8, "echo request"),
    (9, "router advertisement"),
    (10, "router solicitation"),
    (11, "time exceeded"),
    (12, "parameter problem"),
];
/// Flags of TCP, as tcpdump writes them.
const FLAGS: [(u8, char); 8] = [
    (0x01, 'F'),
    (0x02, 'S'),
    (0x04, 'R'),
    (0x08, 'P'),
    (0x10, '.'),
    (0x20, 'U'),
    (0x40, 'E'),
    (0x80, 'W'),
];

/// Describes a message of ICMP.
pub(super) fn icmp(bytes: &[u8], text: &mut String) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    let (kind, code) = (reader.u8("ICMP type")?, reader.u8("ICMP code")?);
    reader.u16("checksum")?;
    if kind == 3
        && let Ok(what) = unreachable(code, reader.rest())
    {
        text.push_str(&what);
        return Ok(());
    }
    let known = ICMP.iter().find(|(known, _)| *known == kind);
    let _ = match known {
        Some((_, what)) => write!(text, "ICMP {what}"),
        None => write!(text, "ICMP type {kind}"),
    };
    match known.map(|(_, what)| *what) {
        Some("echo request" | "echo reply") => {
            let (id, number) = (reader.u16("identifier")?, reader.u16("sequence number")?);
            let _ = write!(text, ", id {id}, seq {number}");
        }
        Some("time exceeded") if code == 0 => text.push_str(" in-transit"),
        _ if code != 0 => {
            let _ = write!(text, ", code {code}");
        }
        _ => {}
    }
    Ok(())
}

/// Describes what cannot be reached, of which the begin is in `bytes`, as tcpdump does.
fn unreachable(code: u8, bytes: &[u8]) -> Result<String, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.take(2, "unused")?;
    let mtu = reader.u16("MTU")?;
    let header_len = usize::from(reader.u8("ihl")? & 0x0f) * 4;
    reader.take(8, "IPv4 header")?;
    let protocol = reader.u8("protocol")?;
    reader.take(6, "IPv4 header")?;
    let to = Ipv4Addr::from(reader.array("destination")?);
    reader.take(header_len.saturating_sub(20), "options")?;
    let (mut before, mut behind, mut end) = ("", String::new(), String::new());
    match (code, protocol) {
        (0, _) => before = "net ",
        (1, _) => before = "host ",
        (2, _) => behind = format!(" protocol {protocol}"),
        (3, 6 | 17) => {
            reader.take(2, "source port")?;
            let port = reader.u16("destination port")?;
            let name = if protocol == 6 { "tcp" } else { "udp" };
            behind = format!(" {name} port {port}");
        }
        (4, _) => end = format!(" - need to frag (mtu {mtu})"),
        _ => end = format!(" (code {code})"),
    }
    Ok(format!("ICMP {before}{to}{behind} unreachable{end}"))
}

/// Describes a segment of TCP, `len` bytes long, behind its ports; returns how many it carries.
pub(super) fn tcp(bytes: &[u8], len: usize, text: &mut String) -> Result<usize, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.take(4, "ports")?;
    let (number, acknowledged) = (
        reader.u32("sequence number")?,
        reader.u32("acknowledgment")?,
    );
    let (offset, flags) = (reader.u8("data offset")?, reader.u8("flags")?);
    let window = reader.u16("window")?;
    let letters: String = FLAGS
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, letter)| *letter)
        .collect();
    let letters = if letters.is_empty() { "none" } else { &letters };
    let payload = len.saturating_sub(usize::from(offset >> 4) * 4);
    let _ = write!(text, "Flags [{letters}]");
    // As tcpdump -S: without data it says something with SYN, FIN and RST alone.
    let end = number.wrapping_add(u32::try_from(payload).unwrap_or_default());
    let _ = match (payload, flags & 0x07) {
        (0, 0) => Ok(()),
        (0, _) => write!(text, ", seq {number}"),
        _ => write!(text, ", seq {number}:{end}"),
    };
    if flags & 0x10 != 0 {
        let _ = write!(text, ", ack {acknowledged}");
    }
    let _ = write!(text, ", win {window}");
    Ok(payload)
}

/// Describes a packet of TFTP.
pub(super) fn tftp(payload: &[u8], text: &mut String) -> Result<(), DecodeError> {
    let request = |what, file, mode, options, text: &mut String| {
        let _ = write!(text, "TFTP {what} \"{}\" {}", text_of(file), text_of(mode));
        append(options, text);
    };
    match TftpPacket::decode(payload)? {
        TftpPacket::ReadRequest {
            file,
            mode,
            options,
        } => request("read", file, mode, options, text),
        TftpPacket::WriteRequest {
            file,
            mode,
            options,
        } => request("write", file, mode, options, text),
        TftpPacket::Data { block, data } => {
            let _ = write!(text, "TFTP data, block {block}, {} bytes", data.len());
        }
        TftpPacket::Acknowledgment { block } => {
            let _ = write!(text, "TFTP acknowledgment, block {block}");
        }
        TftpPacket::Error { code, message } => {
            let _ = write!(text, "TFTP error {} \"{}\"", code.0, text_of(message));
        }
        TftpPacket::OptionAcknowledgment { options } => {
            text.push_str("TFTP option acknowledgment");
            append(options, text);
        }
    }
    Ok(())
}

fn append(options: TftpOptions<'_>, text: &mut String) {
    for (name, value) in options.iter() {
        let _ = write!(text, " {} {}", text_of(name), text_of(value));
    }
}

/// Describes a frame of a switch; false if it is another one.
pub(super) fn switch(frame: &[u8], text: &mut String) -> Result<bool, DecodeError> {
    let _ = match SwitchFrame::decode(frame)? {
        SwitchFrame::Bpdu {
            port,
            forward_delay,
        } => {
            let state = match port {
                Some(PortState::Discarding) => ", port discarding",
                Some(PortState::Learning) => ", port learning",
                Some(PortState::Forwarding) => ", port forwarding",
                None => "",
            };
            write!(
                text,
                "STP{state}, forward delay {} s",
                forward_delay.as_secs()
            )
        }
        SwitchFrame::Slow(SlowFrame::Lacp(actor)) => {
            let state = if actor.is_up() { "up" } else { "not up" };
            write!(text, "LACP, port {state}")
        }
        SwitchFrame::Slow(SlowFrame::Marker(_)) => write!(text, "LACP marker"),
        SwitchFrame::Authentication => write!(text, "EAPOL, identity requested"),
        SwitchFrame::Lldp { system, port, vlan } => {
            let (system, port) = (text_of(system.as_bytes()), text_of(port.as_bytes()));
            let _ = write!(text, "LLDP, switch \"{system}\", port \"{port}\"");
            vlan.map_or(Ok(()), |vlan| write!(text, ", VLAN {vlan}"))
        }
        SwitchFrame::Slow(SlowFrame::Other) | SwitchFrame::Other => return Ok(false),
    };
    Ok(true)
}

/// Returns the bytes as text without control characters.
pub(super) fn text_of(bytes: &[u8]) -> String {
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

    fn said(
        describe: impl Fn(&[u8], &mut String) -> Result<(), DecodeError>,
        bytes: &[u8],
    ) -> String {
        for len in 0..bytes.len() {
            // Cut off anywhere it is an error or less, and no panic.
            let _ = describe(&bytes[..len], &mut String::new());
        }
        let mut text = String::new();
        describe(bytes, &mut text).unwrap();
        text
    }

    #[test]
    fn icmp_is_described_by_type_and_what_goes_with_it() {
        assert_eq!(
            said(icmp, &[8, 0, 0, 0, 0, 7, 0, 1]),
            "ICMP echo request, id 7, seq 1"
        );
        assert_eq!(said(icmp, &[11, 0, 0, 0]), "ICMP time exceeded in-transit");
        assert_eq!(said(icmp, &[3, 3, 0, 0]), "ICMP unreachable, code 3");
        let refused = |code, protocol| {
            let mut bytes = vec![
                3, code, 0, 0, 0, 0, 5, 0xdc, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol,
            ];
            bytes.extend([0, 0, 192, 0, 2, 1, 192, 0, 2, 7, 0, 99, 0, 69]);
            said(icmp, &bytes)
        };
        assert_eq!(refused(0, 17), "ICMP net 192.0.2.7 unreachable");
        assert_eq!(refused(1, 17), "ICMP host 192.0.2.7 unreachable");
        assert_eq!(refused(2, 47), "ICMP 192.0.2.7 protocol 47 unreachable");
        assert_eq!(refused(3, 17), "ICMP 192.0.2.7 udp port 69 unreachable");
        let frag = "ICMP 192.0.2.7 unreachable - need to frag (mtu 1500)";
        assert_eq!(refused(4, 6), frag);
        assert_eq!(refused(13, 6), "ICMP 192.0.2.7 unreachable (code 13)");
        assert_eq!(said(icmp, &[77, 1, 0, 0]), "ICMP type 77, code 1");
    }

    #[test]
    fn tcp_is_described_as_tcpdump_does() {
        let describe = |bytes: &[u8], text: &mut String| tcp(bytes, 30, text).map(drop);
        let mut segment = vec![
            0, 80, 0x30, 0x39, 0, 0, 0, 9, 0, 0, 0, 5, 0x50, 0x12, 0xfa, 0xf0,
        ];
        assert_eq!(
            said(describe, &segment),
            "Flags [S.], seq 9:19, ack 5, win 64240"
        );
        segment[13] = 0;
        assert_eq!(
            said(describe, &segment),
            "Flags [none], seq 9:19, win 64240"
        );
    }

    #[test]
    fn tftp_is_described_with_its_options_and_blocks() {
        let text = |bytes: &[u8]| said(tftp, bytes);
        let request = b"\0\x01a\x1bb\0octet\0blksize\x001432\0tsize\x000\0";
        assert_eq!(
            text(request),
            "TFTP read \"a.b\" octet blksize 1432 tsize 0"
        );
        assert_eq!(text(b"\0\x03\0\x07xyz"), "TFTP data, block 7, 3 bytes");
        assert_eq!(text(b"\0\x04\0\x07"), "TFTP acknowledgment, block 7");
        assert_eq!(text(b"\0\x05\0\x01none\0"), "TFTP error 1 \"none\"");
        assert_eq!(
            text(b"\0\x06blksize\x001432\0"),
            "TFTP option acknowledgment blksize 1432"
        );
    }
}
