//! One line for each frame, in the format of tcpdump.
//!
//! Payloads that are not decoded are shown with their protocol and length.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::line6;
use super::protocols::{dhcp_options, icmp, switch, tcp, text_of, tftp};
use wireboot_proto::packet::dhcp::{Message, Op};
use wireboot_proto::packet::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_EAPOL, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_LLDP, ETHERTYPE_MIN,
    ETHERTYPE_SLOW, EthernetHeader, MacAddress,
};
use wireboot_proto::packet::icmpv6::NEXT_HEADER_ICMPV6;
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::packet::{ipv4, option};
use wireboot_proto::reader::{DecodeError, Reader};
use wireboot_proto::time::{Date, Timestamp};

/// How lines are written: the flags of tcpdump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineStyle {
    /// With a line for each DHCP option (`-v`).
    pub verbose: bool,
    /// With protocols and lengths alone (`-q`).
    pub quiet: bool,
    /// With the header of Ethernet (`-e`).
    pub ethernet: bool,
    /// How often `-t` was given.
    pub time: usize,
    /// With microseconds in place of nanoseconds (`--micro`).
    pub micro: bool,
    /// With the number of each frame (`-#`).
    pub numbered: bool,
    /// How often `-x` was given, and `-X`.
    pub hex: [usize; 2],
    /// With the bytes as text (`-A`).
    pub ascii: bool,
}

/// Writer of lines.
#[derive(Debug, Default)]
pub struct Lines {
    style: LineStyle,
    /// Number of frames.
    count: u64,
    /// Bytes of what the present frame carries, where that is known.
    payload_len: Option<usize>,
    /// When the first frame was received, and the last.
    times: Option<(Timestamp, Timestamp)>,
    /// Clients of TFTP, whose transfers are between other ports than 69.
    clients: Vec<SocketAddr>,
}

/// As many clients are known.
const MAX_CLIENTS: usize = 64;

/// Returns the line for a frame of `original_len` bytes with its tags in `bytes`, and with
/// `verbose` one more line for each DHCP option.
pub fn line(timestamp: Timestamp, bytes: &[u8], original_len: u32, verbose: bool) -> String {
    let style = LineStyle {
        verbose,
        ..LineStyle::default()
    };
    Lines::new(style).line(timestamp, bytes, original_len)
}

impl Lines {
    /// Begins with the first frame.
    pub fn new(style: LineStyle) -> Self {
        Self {
            style,
            ..Self::default()
        }
    }

    /// Returns the line for the next frame, of `original_len` bytes, with its tags in `bytes`.
    pub fn line(&mut self, timestamp: Timestamp, bytes: &[u8], original_len: u32) -> String {
        self.count += 1;
        let mut text = if self.style.numbered {
            format!("{:5}  ", self.count)
        } else {
            String::new()
        };
        text.push_str(&self.time(timestamp));
        if self.style.ethernet {
            ethernet(bytes, original_len, &mut text);
        }
        self.payload_len = None;
        if let Err(error) = self.frame(bytes, original_len, &mut text) {
            // Writing to a string does not fail, here and below.
            let _ = write!(text, "[{error}]");
        }
        // As tcpdump has it: of what the last protocol carries, and of the frame if that is not known.
        let _ = match self.payload_len {
            Some(len) => write!(text, ", length {len}"),
            None => write!(text, ", length {original_len}"),
        };
        if u32::try_from(bytes.len()).is_ok_and(|len| len < original_len) {
            let _ = write!(text, " ({} captured)", bytes.len());
        }
        self.append_bytes(bytes, &mut text);
        text
    }

    /// Returns when the frame was received, as `-t` says.
    fn time(&mut self, timestamp: Timestamp) -> String {
        let (first, last) = self.times.unwrap_or((timestamp, timestamp));
        self.times = Some((first, timestamp));
        let since = |before: Timestamp| {
            let time = timestamp.as_nanos().saturating_sub(before.as_nanos());
            Timestamp::from_nanos(time)
        };
        let shown = match self.style.time {
            3 => since(last),
            5.. => since(first),
            0..=2 | 4 => timestamp,
        };
        let (seconds, nanoseconds) = (shown.as_secs(), shown.subsec_nanos());
        let day = seconds % 86_400;
        let (hours, minutes, second) = (day / 3_600, day / 60 % 60, day % 60);
        let (fraction, digits) = if self.style.micro {
            (nanoseconds / 1_000, 6)
        } else {
            (nanoseconds, 9)
        };
        let clock = format!("{hours:02}:{minutes:02}:{second:02}.{fraction:0digits$} ");
        match self.style.time {
            1 => String::new(),
            2 => format!("{seconds}.{fraction:0digits$} "),
            4 => format!("{} {clock}", Date::at(Duration::from_secs(seconds))),
            0 => clock,
            3 | 5.. => format!(" {clock}"),
        }
    }

    fn append_bytes(&self, bytes: &[u8], text: &mut String) {
        let payload = EthernetHeader::decode(bytes).map_or(bytes, |(_, payload)| payload);
        let [hex, both] = self.style.hex;
        // Twice is with the header of the link, as tcpdump has it.
        let of = |count: usize| if count > 1 { bytes } else { payload };
        if both > 0 {
            text.push_str(&dump(of(both), true));
        } else if hex > 0 {
            text.push_str(&dump(of(hex), false));
        } else if self.style.ascii {
            text.push('\n');
            let lines: Vec<_> = payload.split(|byte| *byte == b'\n').map(text_of).collect();
            text.push_str(&lines.join("\n"));
        }
    }

    fn frame(
        &mut self,
        bytes: &[u8],
        original_len: u32,
        text: &mut String,
    ) -> Result<(), DecodeError> {
        let (header, payload) = EthernetHeader::decode(bytes)?;
        if let Some(tci) = header.vlan {
            let _ = write!(text, "vlan {}, ", tci & 0x0fff);
        }
        // The header of Ethernet says it already.
        let is_named = !self.style.ethernet;
        match header.ethertype {
            ETHERTYPE_IPV4 => {
                text.push_str(if is_named { "IP " } else { "" });
                self.packet(payload, text)
            }
            ETHERTYPE_ARP => {
                text.push_str(if is_named { "ARP, " } else { "" });
                let before = bytes.len() - payload.len();
                let len = usize::try_from(original_len).unwrap_or_default();
                self.payload_len = len.checked_sub(before);
                arp(payload, text)
            }
            ETHERTYPE_IPV6 => {
                text.push_str(if is_named { "IP6 " } else { "" });
                self.packet6(payload, text)
            }
            other => {
                let (source, destination) = (header.source, header.destination);
                let _ = write!(text, "{source} > {destination}: ");
                if matches!(switch(bytes, text), Ok(true)) {
                    return Ok(());
                }
                let _ = match other {
                    // Below 0x0600 the field is a length (IEEE 802.3 §3.2.6).
                    0..ETHERTYPE_MIN => write!(text, "802.3"),
                    ETHERTYPE_LLDP => write!(text, "LLDP"),
                    ETHERTYPE_SLOW => write!(text, "slow protocol"),
                    ETHERTYPE_EAPOL => write!(text, "EAPOL"),
                    _ => write!(text, "ethertype {other:#06x}"),
                };
                Ok(())
            }
        }
    }

    fn packet(&mut self, payload: &[u8], text: &mut String) -> Result<(), DecodeError> {
        let (header, bytes) = ipv4::Ipv4Header::decode(payload)?;
        self.payload_len = Some(bytes.len());
        let (source, destination) = (header.source, header.destination);
        match header.protocol {
            6 => {
                let mut reader = Reader::new(bytes);
                let (from, to) = (reader.u16("source port")?, reader.u16("destination port")?);
                let _ = write!(text, "{source}.{from} > {destination}.{to}: ");
                if self.style.quiet {
                    text.push_str("TCP");
                    return Ok(());
                }
                self.payload_len = Some(tcp(bytes, bytes.len(), text)?);
                return Ok(());
            }
            1 => {
                let _ = write!(text, "{source} > {destination}: ");
                return icmp(bytes, text);
            }
            ipv4::PROTOCOL_UDP => {
                // On the sender's side the network card often fills in the checksum later.
                let datagram = Datagram::decode(source, destination, bytes, false)?;
                self.payload_len = Some(datagram.payload.len());
                let (from, to) = (datagram.source.port(), datagram.destination.port());
                let _ = write!(text, "{source}.{from} > {destination}.{to}: ");
                match (from, to) {
                    _ if self.style.quiet => text.push_str("UDP"),
                    (67 | 68 | 4011, _) | (_, 67 | 68 | 4011) => {
                        dhcp(datagram.payload, self.style.verbose, text)?;
                    }
                    _ => {
                        let ends = [datagram.source, datagram.destination].map(SocketAddr::V4);
                        self.datagram(ends, datagram.payload, text)?;
                    }
                }
            }
            other => {
                let _ = write!(text, "{source} > {destination}: {}", protocol(other));
            }
        }
        Ok(())
    }

    fn packet6(&mut self, payload: &[u8], text: &mut String) -> Result<(), DecodeError> {
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
        let bytes = reader.rest();
        self.payload_len = Some(bytes.len());
        if let 6 | 17 = next_header {
            let (from, to) = (reader.u16("source port")?, reader.u16("destination port")?);
            let _ = write!(text, "{source}.{from} > {destination}.{to}: ");
            if next_header == 6 && !self.style.quiet {
                self.payload_len = Some(tcp(bytes, bytes.len(), text)?);
                return Ok(());
            }
            reader.take(4, "UDP header")?;
            self.payload_len = Some(reader.rest().len());
            match (from, to) {
                _ if self.style.quiet => text.push_str(&protocol(next_header)),
                _ if line6::is_dhcp([from, to]) => {
                    line6::dhcp(reader.rest(), self.style.verbose, text)?;
                }
                _ => {
                    let ends = [(source, from), (destination, to)];
                    let ends = ends.map(|(address, port)| SocketAddr::from((address, port)));
                    self.datagram(ends, reader.rest(), text)?;
                }
            }
            return Ok(());
        }
        let _ = write!(text, "{source} > {destination}: {}", protocol(next_header));
        if next_header == NEXT_HEADER_ICMPV6 {
            text.push_str(", ");
            line6::icmp(reader.rest(), self.style.verbose, text)?;
        }
        Ok(())
    }

    /// Describes a datagram that is one of TFTP or of no protocol that is known.
    fn datagram(
        &mut self,
        ends: [SocketAddr; 2],
        payload: &[u8],
        text: &mut String,
    ) -> Result<(), DecodeError> {
        let [source, destination] = ends;
        if destination.port() == 69
            && self.clients.len() < MAX_CLIENTS
            && !self.clients.contains(&source)
        {
            self.clients.push(source);
        }
        let is_known = ends
            .iter()
            .any(|end| end.port() == 69 || self.clients.contains(end));
        if is_known {
            return tftp(payload, text);
        }
        text.push_str("UDP");
        Ok(())
    }
}

/// Writes the header of Ethernet, as `tcpdump -e` does.
fn ethernet(bytes: &[u8], original_len: u32, text: &mut String) {
    let Ok((header, _)) = EthernetHeader::decode(bytes) else {
        return;
    };
    let (source, destination) = (header.source, header.destination);
    let _ = write!(text, "{source} > {destination}, ");
    let _ = match header.ethertype {
        0..ETHERTYPE_MIN => write!(text, "802.3"),
        ETHERTYPE_IPV4 => write!(text, "ethertype IPv4 (0x0800)"),
        ETHERTYPE_ARP => write!(text, "ethertype ARP (0x0806)"),
        ETHERTYPE_IPV6 => write!(text, "ethertype IPv6 (0x86dd)"),
        other => write!(text, "ethertype Unknown ({other:#06x})"),
    };
    let _ = write!(text, ", length {original_len}: ");
}

/// Returns the bytes in rows of sixteen, hexadecimal and on request as text.
pub fn dump(bytes: &[u8], has_text: bool) -> String {
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
        if has_text {
            // Two columns behind a full row, which has 32 digits and 8 blanks.
            let width = 42 - chunk.len() * 2 - chunk.len().div_ceil(2);
            // A space would look like the end of the bytes.
            let shown = text_of(chunk).replace(' ', ".");
            let _ = write!(text, "{:width$}{shown}", "");
        }
    }
    text
}

fn arp(payload: &[u8], text: &mut String) -> Result<(), DecodeError> {
    let mut reader = Reader::new(payload);
    reader.take(6, "ARP header")?;
    let operation = reader.u16("operation")?;
    let from = MacAddress(reader.array("sender hardware address")?);
    let sender = Ipv4Addr::from(reader.array("sender protocol address")?);
    let known = MacAddress(reader.array("target hardware address")?);
    let target = Ipv4Addr::from(reader.array("target protocol address")?);
    // The words of tcpdump, which scripts look for.
    let _ = match operation {
        1 if known.0 != [0; 6] => write!(text, "Request who-has {target} ({known}) tell {sender}"),
        1 => write!(text, "Request who-has {target} tell {sender}"),
        2 => write!(text, "Reply {sender} is-at {from}"),
        other => write!(text, "operation {other}, {sender} > {target}"),
    };
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
        dhcp_options(&message.options, text);
        text.push_str("\n\t");
    }
    Ok(())
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
            "01:01:01.000000005 vlan 5, ARP, Request who-has 192.0.2.2 tell 192.0.2.1, length 46 \
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
                "fe80::1.4096 > ff02::1.69: TFTP read \"file\" octet",
            ),
            (
                6,
                &[0, 80, 16, 0, 0, 0, 0, 9, 0, 0, 0, 5, 0x50, 0x12, 0xfa, 0xf0],
                "fe80::1.80 > ff02::1.4096: Flags [S.], seq 9, ack 5, win 64240",
            ),
            (44, &[0; 8], "fe80::1 > ff02::1: protocol 44"),
        ] {
            let bytes = frame6(next_header, body);
            let len = u32::try_from(bytes.len()).unwrap();
            let text = line(Timestamp::default(), &bytes, len, false);
            let text = text.split_once(" IP6 ").unwrap().1;
            let (said, payload_len) = text.rsplit_once(", length ").unwrap();
            assert_eq!(said, expected);
            // Behind 40 bytes of IPv6 come extension headers, those of UDP and TCP, and the rest.
            let headers = match next_header {
                0 => 8,
                17 => 8,
                6 => 16,
                _ => 0,
            };
            let shown = payload_len.parse::<u32>().unwrap();
            assert_eq!(shown, len - 14 - 40 - headers, "{expected}");
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
            dump(b"ab\n", true),
            "\n\t0x0000:  6162 0a                                  ab."
        );
        assert_eq!(dump(b"ab\n", false), "\n\t0x0000:  6162 0a");
    }

    #[test]
    fn times_are_written_as_each_t_of_tcpdump_has_them() {
        let at = |seconds| Timestamp::new(seconds, 5);
        let written = |time| {
            let style = LineStyle {
                time,
                ..LineStyle::default()
            };
            let mut lines = Lines::new(style);
            [at(951_782_400), at(951_782_401), at(951_782_403)].map(|at| {
                let line = lines.line(at, &[0; 14], 14);
                line.split("00:00:00:00")
                    .next()
                    .unwrap()
                    .trim_end()
                    .to_owned()
            })
        };
        assert_eq!(written(1)[0], "");
        assert_eq!(written(2)[1], "951782401.000000005");
        assert_eq!(written(3)[2], " 00:00:02.000000000");
        assert_eq!(written(4)[0], "2000-02-29 00:00:00.000000005");
        assert_eq!(written(5)[2], " 00:00:03.000000000");
        for (day, expected) in [
            (0, "1970-01-01"),
            (19_723, "2024-01-01"),
            (20_819, "2027-01-01"),
        ] {
            let date = Date::at(Duration::from_secs(day * 86_400));
            assert_eq!(date.to_string(), expected);
        }
    }

    #[test]
    fn blocks_of_a_transfer_are_known_by_the_client_that_asked() {
        let mut lines = Lines::new(LineStyle::default());
        let near = std::net::SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 2000);
        let far = |port| std::net::SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), port);
        let mut line = |source, destination, payload: &[u8]| {
            let datagram = Datagram {
                source,
                destination,
                payload,
            };
            let mac = wireboot_proto::packet::ethernet::MacAddress([2, 0, 0, 0, 0, 1]);
            let frame = datagram.encode_frame(mac, mac).unwrap();
            lines.line(Timestamp::new(0, 0), &frame, 60)
        };
        assert!(line(far(3000), near, b"\0\x03\0\x01x").contains(": UDP"));
        let request = line(near, far(69), b"\0\x01a\0octet\0");
        assert!(
            request.contains(": TFTP read \"a\" octet, length 10"),
            "{request}"
        );
        let block = line(far(3000), near, b"\0\x03\0\x01x");
        assert!(
            block.contains(": TFTP data, block 1, 1 bytes, length 5"),
            "{block}"
        );
    }
}
