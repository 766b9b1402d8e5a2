//! ICMP, TCP, TFTP and what switches say, each in a part of a line.

use std::fmt::Write;

use wireboot_proto::packet::slow::SlowFrame;
use wireboot_proto::packet::switch_frame::{PortState, SwitchFrame};
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
/// Codes of "unreachable" over IPv4.
const UNREACHABLE: [&str; 6] = [
    "network",
    "host",
    "protocol",
    "port",
    "need to fragment",
    "source route",
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
    let known = ICMP.iter().find(|(known, _)| *known == kind);
    let _ = match known {
        Some((_, what)) => write!(text, "ICMP {what}"),
        None => write!(text, "ICMP type {kind}"),
    };
    reader.u16("checksum")?;
    match known.map(|(_, what)| *what) {
        Some("echo request" | "echo reply") => {
            let (id, number) = (reader.u16("identifier")?, reader.u16("sequence number")?);
            let _ = write!(text, ", id {id}, seq {number}");
        }
        Some("unreachable") => {
            let _ = match UNREACHABLE.get(usize::from(code)) {
                Some(what) => write!(text, " ({what})"),
                None => write!(text, " (code {code})"),
            };
        }
        _ if code != 0 => {
            let _ = write!(text, ", code {code}");
        }
        _ => {}
    }
    Ok(())
}

/// Describes a segment of TCP behind its ports, `len` bytes long.
pub(super) fn tcp(bytes: &[u8], len: usize, text: &mut String) -> Result<(), DecodeError> {
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
    let _ = write!(text, "Flags [{letters}], seq {number}");
    if flags & 0x10 != 0 {
        let _ = write!(text, ", ack {acknowledged}");
    }
    let payload = len.saturating_sub(usize::from(offset >> 4) * 4);
    let _ = write!(text, ", win {window}, {payload} bytes");
    Ok(())
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
        assert_eq!(said(icmp, &[3, 3, 0, 0]), "ICMP unreachable (port)");
        assert_eq!(said(icmp, &[3, 99, 0, 0]), "ICMP unreachable (code 99)");
        assert_eq!(said(icmp, &[77, 1, 0, 0]), "ICMP type 77, code 1");
    }

    #[test]
    fn tcp_is_described_as_tcpdump_does() {
        let describe = |bytes: &[u8], text: &mut String| tcp(bytes, 30, text);
        let mut segment = vec![
            0, 80, 0x30, 0x39, 0, 0, 0, 9, 0, 0, 0, 5, 0x50, 0x12, 0xfa, 0xf0,
        ];
        assert_eq!(
            said(describe, &segment),
            "Flags [S.], seq 9, ack 5, win 64240, 10 bytes"
        );
        segment[13] = 0;
        assert_eq!(
            said(describe, &segment),
            "Flags [none], seq 9, win 64240, 10 bytes"
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
