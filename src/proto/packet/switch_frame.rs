//! Frames with which a switch reports the state of its port, and the answers: BPDUs of the spanning tree
//! (IEEE 802.1D-2004 §9.3; Cisco's PVST+ has the same), EAPOL (IEEE 802.1X §11.3), LLDP (IEEE 802.1AB §8),
//! and of the slow protocols (IEEE 802.3 Annex 57A) LACP (IEEE 802.1AX §6.4.2) and its markers (§6.5.3).
//!
//! ```text
//! BPDU   | 42 42 03 | protocol 2 | version 1 | type 1 | flags 1 | root 8 | cost 4 | bridge 8 |
//!        | port 2 | age 2 | max age 2 | hello 2 | forward delay 2 |   times in 1/256 s
//! EAPOL  | version 1 | type 1 | length 2 | EAP code 1 | …
//! LLDP   { type 7 bits | length 9 bits | value }
//! LACPDU | subtype 1 | version 1 | 01 14 | actor 15 | 0 3 | 02 14 | partner 15 | 0 3 |
//!        | 03 10 | max delay 2 | 0 12 | 00 00 | 0 50 |
//! actor  | system priority 2 | system 6 | key 2 | port priority 2 | port 2 | state 1 |
//! marker | subtype 2 | version 1 | 01 10 | port 2 | system 6 | transaction 4 | 0 2 | 00 00 | 0 90 |
//! ```

use crate::prelude::*;
use core::time::Duration;

use super::ethernet::{
    ETHERTYPE_EAPOL, ETHERTYPE_LLDP, ETHERTYPE_MIN, ETHERTYPE_SLOW, EthernetHeader, MacAddress,
};
use crate::reader::{DecodeError, Reader};
use crate::text::safe;

/// Multicast addresses that switches send to: STP, slow protocols (LACP), EAPOL, LLDP, PVST+.
pub const GROUPS: [MacAddress; 5] = [
    MacAddress([0x01, 0x80, 0xc2, 0, 0, 0]),
    SLOW_GROUP,
    MacAddress([0x01, 0x80, 0xc2, 0, 0, 3]),
    MacAddress([0x01, 0x80, 0xc2, 0, 0, 0x0e]),
    MacAddress([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd]),
];

/// A frame from a switch, with the fields that a boot needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchFrame {
    /// The port runs the spanning tree protocol.
    Bpdu {
        /// State of the port; none from an 802.1D-1998 bridge, whose BPDUs lack it.
        port: Option<PortState>,
        /// Duration of listening, and again of learning, before the port forwards.
        forward_delay: Duration,
    },
    /// The port is a member of a link aggregation group, if it sends LACPDUs.
    Slow(SlowFrame),
    /// The port requests 802.1X authentication.
    Authentication,
    /// Names of switch and port, empty where not given.
    Lldp {
        /// System name.
        system: String,
        /// Port identifier or description.
        port: String,
        /// The VLAN of frames without a tag (IEEE 802.1Q §D.2.1).
        vlan: Option<u16>,
    },
    /// Any other frame.
    Other,
}

/// A port's state (IEEE 802.1D-2004 §17.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// Drops all frames.
    Discarding,
    /// Learns source addresses, and drops all frames.
    Learning,
    /// Forwards frames.
    Forwarding,
}

impl SwitchFrame {
    /// Decodes a frame to one of [`GROUPS`].
    ///
    /// # Errors
    /// [`DecodeError`] for a truncated frame or an unknown protocol.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (header, payload) = EthernetHeader::decode(frame)?;
        let mut reader = Reader::new(payload);
        match header.ethertype {
            // An 802.3 length: LLC follows, with the spanning tree's SAP (0x42) or PVST+ in SNAP.
            0..ETHERTYPE_MIN => match reader.take(3, "LLC header")? {
                [0x42, 0x42, 3] => bpdu(&mut reader),
                [0xaa, 0xaa, 3] if reader.take(5, "SNAP header")? == [0, 0, 0x0c, 1, 0x0b] => {
                    bpdu(&mut reader)
                }
                _ => Ok(Self::Other),
            },
            ETHERTYPE_SLOW => SlowFrame::decode(&mut reader).map(Self::Slow),
            ETHERTYPE_EAPOL => eapol(&mut reader),
            ETHERTYPE_LLDP => lldp(&mut reader),
            other => Err(crate::reader::invalid("ethertype", other)),
        }
    }
}

fn bpdu(reader: &mut Reader<'_>) -> Result<SwitchFrame, DecodeError> {
    reader.take(2, "protocol identifier")?;
    let version = reader.u8("protocol version")?;
    // Configuration BPDUs (0) and RST BPDUs (2); 0x80 notifies of topology changes elsewhere.
    if ![0, 2].contains(&reader.u8("BPDU type")?) {
        return Ok(SwitchFrame::Other);
    }
    let flags = reader.u8("flags")?;
    reader.take(8 + 4 + 8 + 2 + 2 + 2 + 2, "identifiers and times")?;
    let forward_delay = u64::from(reader.u16("forward delay")?) * 1_000 / 256;
    let port = (version >= 2).then_some(match (flags & 0x20 != 0, flags & 0x10 != 0) {
        (true, _) => PortState::Forwarding,
        (false, true) => PortState::Learning,
        (false, false) => PortState::Discarding,
    });
    // The standard's own limits are 4 to 30 s.
    let forward_delay = Duration::from_millis(forward_delay.clamp(4_000, 30_000));
    Ok(SwitchFrame::Bpdu {
        port,
        forward_delay,
    })
}

fn eapol(reader: &mut Reader<'_>) -> Result<SwitchFrame, DecodeError> {
    // The packet type of IEEE 802.1X §11.3, and the code of RFC 3748 §4.
    const EAP_PACKET: u8 = 0;
    const EAP_REQUEST: u8 = 1;
    reader.take(1, "version")?;
    let kind = reader.u8("packet type")?;
    reader.take(2, "body length")?;
    if kind == EAP_PACKET && reader.u8("EAP code")? == EAP_REQUEST {
        return Ok(SwitchFrame::Authentication);
    }
    Ok(SwitchFrame::Other)
}

fn lldp(reader: &mut Reader<'_>) -> Result<SwitchFrame, DecodeError> {
    let (mut system, mut port, mut vlan) = (String::new(), String::new(), None);
    while !reader.is_empty() {
        let head = reader.u16("TLV header")?;
        let value = reader.take(usize::from(head & 0x1ff), "TLV value")?;
        match (head >> 9, value) {
            (0, _) => break,
            // Subtype 3 is a MAC address and not a name.
            (2, [subtype, name @ ..]) if *subtype != 3 && port.is_empty() => {
                port = safe::text_of(name)
            }
            (4, name) => port = safe::text_of(name),
            (5, name) => system = safe::text_of(name),
            // Of IEEE 802.1, subtype 1; 0 says that there is none.
            (127, [0, 0x80, 0xc2, 1, high, low]) => {
                vlan = Some(u16::from_be_bytes([*high, *low])).filter(|id| *id != 0);
            }
            _ => {}
        }
    }
    Ok(SwitchFrame::Lldp { system, port, vlan })
}

/// The multicast address of slow protocols.
pub const SLOW_GROUP: MacAddress = MacAddress([0x01, 0x80, 0xc2, 0, 0, 2]);

// Subtypes (IEEE 802.3 Annex 57A), and the version of both.
const LACP: u8 = 1;
const MARKER: u8 = 2;
const VERSION: u8 = 1;
/// Bytes behind the Ethernet header, of LACPDUs and markers alike.
const PDU_LEN: usize = 110;

// Bits of the state (IEEE 802.1AX §6.4.2.3 m).
const ACTIVITY: u8 = 0x01;
const SHORT_TIMEOUT: u8 = 0x02;
const AGGREGATION: u8 = 0x04;
const SYNCHRONIZATION: u8 = 0x08;
const COLLECTING: u8 = 0x10;
const DISTRIBUTING: u8 = 0x20;

/// A frame of a slow protocol.
///
/// What is made here are frames of a station that is the only port of its own system. It needs no timers:
/// each LACPDU has the partner's state, and is answered with the same timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowFrame {
    /// An LACPDU, with what it says of its sender.
    Lacp(LacpActor),
    /// A request to say when all frames before it have arrived: port, system and transaction.
    Marker([u8; 12]),
    /// Any other.
    Other,
}

/// A port that speaks LACP, as it describes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LacpActor {
    /// System priority, system, key, port priority and port.
    identity: [u8; 14],
    state: u8,
}

impl LacpActor {
    /// Returns the system that the port belongs to.
    pub const fn system(&self) -> MacAddress {
        let [_, _, a, b, c, d, e, f, ..] = self.identity;
        MacAddress([a, b, c, d, e, f])
    }

    /// Returns whether the port forwards frames from and to its partner.
    pub const fn is_up(&self) -> bool {
        let needed = SYNCHRONIZATION | COLLECTING | DISTRIBUTING;
        self.state & needed == needed
    }

    /// Encodes the frame that answers it, from the interface with this hardware address and number.
    pub fn encode_answer(&self, mac: MacAddress, port: u16) -> Vec<u8> {
        // The timeout is the partner's: each of its LACPDUs has an answer in time then. A port that is
        // passive sends some to an active partner only.
        let state = AGGREGATION
            | SYNCHRONIZATION
            | COLLECTING
            | DISTRIBUTING
            | (self.state & SHORT_TIMEOUT)
            | (!self.state & ACTIVITY);
        self.encode(mac, port, state)
    }

    fn encode(&self, mac: MacAddress, port: u16, state: u8) -> Vec<u8> {
        // 0 is no port number (§6.3.4).
        let number = port.max(1).to_be_bytes();
        let mut frame = header(mac, LACP);
        // The lowest priorities, so that the switch's own apply.
        frame.extend([1, 20, 0xff, 0xff]);
        frame.extend(mac.0);
        frame.extend(number);
        frame.extend([0x00, 0xff]);
        frame.extend(number);
        frame.extend([state, 0, 0, 0]);
        frame.extend([2, 20]);
        frame.extend(self.identity);
        frame.extend([self.state, 0, 0, 0]);
        frame.extend([3, 16]);
        pad(frame)
    }
}

impl SlowFrame {
    /// Decodes what follows the Ethernet header.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let subtype = reader.u8("subtype")?;
        // Later versions add to the end only (§6.4.2.3 b).
        reader.take(1, "version")?;
        if ![LACP, MARKER].contains(&subtype) {
            return Ok(Self::Other);
        }
        let kind = reader.u8("TLV type")?;
        let len = reader.u8("TLV length")?;
        let expected = if subtype == LACP { 20 } else { 16 };
        if kind != 1 {
            // Type 2 of a marker is an answer, and LACP's actor is always first.
            return Ok(Self::Other);
        }
        if len != expected {
            return Err(crate::reader::invalid("TLV length", len));
        }
        if subtype == MARKER {
            return reader.array("marker").map(Self::Marker);
        }
        let identity = reader.array("actor")?;
        let state = reader.u8("actor state")?;
        Ok(Self::Lacp(LacpActor { identity, state }))
    }
}

/// Encodes a frame of a station that knows no partner, to which a port that speaks LACP answers.
pub fn encode_solicitation(mac: MacAddress, port: u16) -> Vec<u8> {
    let nobody = LacpActor {
        identity: [0; 14],
        state: 0,
    };
    nobody.encode(mac, port, ACTIVITY | SHORT_TIMEOUT | AGGREGATION)
}

/// Encodes the frame that answers a marker.
pub fn encode_marker_answer(marker: [u8; 12], mac: MacAddress) -> Vec<u8> {
    let mut frame = header(mac, MARKER);
    frame.extend([2, 16]);
    frame.extend(marker);
    pad(frame)
}

fn header(source: MacAddress, subtype: u8) -> Vec<u8> {
    let mut frame = SLOW_GROUP.0.to_vec();
    frame.extend(source.0);
    frame.extend(ETHERTYPE_SLOW.to_be_bytes());
    frame.extend([subtype, VERSION]);
    frame
}

fn pad(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(14 + PDU_LEN, 0);
    frame
}

/// The LACPDU of port 3 of a switch, behind the Ethernet header.
#[cfg(test)]
pub(crate) fn lacpdu(state: u8) -> Vec<u8> {
    let mut pdu = vec![LACP, VERSION, 1, 20, 0x80, 0x00, 2, 0, 0, 0, 0, 9];
    pdu.extend([0, 7, 0x80, 0x01, 0, 3, state, 0, 0, 0]);
    pdu.resize(PDU_LEN, 0);
    pdu
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = GROUPS[0].0.to_vec();
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(ethertype.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    fn bpdu(version: u8, flags: u8) -> Vec<u8> {
        let mut payload = vec![0x42, 0x42, 3, 0, 0, version, version, flags];
        payload.resize(8 + 26, 0);
        payload.extend([20, 0, 2, 0, 15, 0]);
        // The message age precedes the times above.
        payload.drain(8..10);
        frame(39, &payload)
    }

    #[test]
    fn the_state_of_a_port_and_its_delay_are_read() {
        let forward_delay = Duration::from_secs(15);
        for (version, flags, port) in [
            (0, 0, None),
            (2, 0x0c, Some(PortState::Discarding)),
            (2, 0x1c, Some(PortState::Learning)),
            (2, 0x3c, Some(PortState::Forwarding)),
        ] {
            let expected = SwitchFrame::Bpdu {
                port,
                forward_delay,
            };
            let bytes = bpdu(version, flags);
            assert_eq!(SwitchFrame::decode(&bytes), Ok(expected));
            for len in 0..bytes.len() {
                assert!(SwitchFrame::decode(&bytes[..len]).is_err(), "{len}");
            }
        }
    }

    #[test]
    fn lacp_eapol_and_lldp_are_read() {
        for (state, is_up) in [(0x3d, true), (0x0d, false), (0x1d, false), (0x35, false)] {
            let frame = SwitchFrame::decode(&frame(0x8809, &lacpdu(state)));
            let Ok(SwitchFrame::Slow(SlowFrame::Lacp(actor))) = frame else {
                panic!("{frame:?}");
            };
            assert_eq!(actor.is_up(), is_up);
        }
        let request = [1, 0, 0, 5, 1, 1, 0, 5, 1];
        assert_eq!(
            SwitchFrame::decode(&frame(0x888e, &request)),
            Ok(SwitchFrame::Authentication)
        );
        let lldp = b"\x02\x07\x04\x02\0\0\0\0\x01\x04\x04\x05Gi3\x0a\x04sw\x1b1\xfe\x06\0\x80\xc2\x01\0\x07\0\0";
        let expected = SwitchFrame::Lldp {
            system: "sw\\u{1b}1".to_owned(),
            port: "Gi3".to_owned(),
            vlan: Some(7),
        };
        assert_eq!(SwitchFrame::decode(&frame(0x88cc, lldp)), Ok(expected));
        assert!(SwitchFrame::decode(&frame(0x0800, &[])).is_err());
    }

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn decode_slow(pdu: &[u8]) -> Result<SlowFrame, DecodeError> {
        SlowFrame::decode(&mut Reader::new(pdu))
    }

    #[test]
    fn an_answer_has_the_partner_as_it_described_itself_and_its_timeout() {
        for (state, ours) in [(0x47, 0x3e), (0x45, 0x3c), (0x3f, 0x3e), (0x46, 0x3f)] {
            let Ok(SlowFrame::Lacp(actor)) = decode_slow(&lacpdu(state)) else {
                panic!("an LACPDU");
            };
            assert_eq!(actor.system(), MacAddress([2, 0, 0, 0, 0, 9]));
            assert_eq!(actor.is_up(), state == 0x3f);
            let frame = actor.encode_answer(MAC, 2);
            let mut expected = vec![0x01, 0x80, 0xc2, 0, 0, 2];
            expected.extend(MAC.0);
            expected.extend([0x88, 0x09, 1, 1, 1, 20, 0xff, 0xff]);
            expected.extend(MAC.0);
            expected.extend([0, 2, 0x00, 0xff, 0, 2, ours, 0, 0, 0, 2, 20]);
            expected.extend_from_slice(&lacpdu(state)[4..22]);
            expected.extend([3, 16]);
            expected.resize(124, 0);
            assert_eq!(frame, expected);
            // It is what a partner would read.
            assert!(matches!(decode_slow(&frame[14..]), Ok(SlowFrame::Lacp(ours)) if ours.is_up()));
        }
    }

    #[test]
    fn a_solicitation_is_of_a_port_that_waits_for_its_partner() {
        let frame = encode_solicitation(MAC, 2);
        let Ok(SlowFrame::Lacp(ours)) = decode_slow(&frame[14..]) else {
            panic!("an LACPDU");
        };
        assert_eq!((ours.system(), ours.is_up(), ours.state), (MAC, false, 7));
        assert_eq!(frame[36..38], [2, 20]);
        assert_eq!(frame[38..53], [0; 15]);
    }

    #[test]
    fn no_number_of_an_interface_becomes_port_0() {
        let Ok(SlowFrame::Lacp(actor)) = decode_slow(&lacpdu(0x05)) else {
            panic!("an LACPDU");
        };
        assert_eq!(actor.encode_answer(MAC, 0)[26..28], [0, 1]);
    }

    #[test]
    fn a_marker_is_answered_with_what_it_has_and_an_answer_is_not() {
        let mut pdu = vec![MARKER, VERSION, 1, 16, 0, 3, 2, 0, 0, 0, 0, 9, 1, 2, 3, 4];
        pdu.resize(PDU_LEN, 0);
        let Ok(SlowFrame::Marker(marker)) = decode_slow(&pdu) else {
            panic!("a marker");
        };
        let frame = encode_marker_answer(marker, MAC);
        pdu[2] = 2;
        assert_eq!(frame[14..], pdu);
        assert_eq!(decode_slow(&frame[14..]), Ok(SlowFrame::Other));
    }

    #[test]
    fn what_is_cut_short_or_has_wrong_lengths_is_an_error() {
        let pdu = lacpdu(0x3d);
        for len in 0..19 {
            assert!(decode_slow(&pdu[..len]).is_err(), "{len}");
        }
        for wrong in [0, 19, 21, 255] {
            let mut pdu = pdu.clone();
            pdu[3] = wrong;
            assert!(decode_slow(&pdu).is_err(), "{wrong}");
        }
        assert_eq!(decode_slow(&[3, 1]), Ok(SlowFrame::Other));
    }
}
