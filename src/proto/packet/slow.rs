//! Slow protocols (IEEE 802.3 Annex 57A): LACP (IEEE 802.1AX §6.4.2) and its markers (§6.5.3).
//!
//! ```text
//! LACPDU | subtype 1 | version 1 | 01 14 | actor 15 | 0 3 | 02 14 | partner 15 | 0 3 |
//!        | 03 10 | max delay 2 | 0 12 | 00 00 | 0 50 |
//! actor  | system priority 2 | system 6 | key 2 | port priority 2 | port 2 | state 1 |
//! marker | subtype 2 | version 1 | 01 10 | port 2 | system 6 | transaction 4 | 0 2 | 00 00 | 0 90 |
//! ```
//!
//! What is made here are frames of a station that is the only port of its own system. It needs no timers:
//! each LACPDU has the partner's state, and is answered with the same timeout.

use crate::prelude::*;

use super::ethernet::{ETHERTYPE_SLOW, MacAddress};
use crate::reader::{DecodeError, Reader};

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
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    /// The LACPDU of port 3 of a switch, behind the Ethernet header.
    pub(crate) fn lacpdu(state: u8) -> Vec<u8> {
        let mut pdu = vec![LACP, VERSION, 1, 20, 0x80, 0x00, 2, 0, 0, 0, 0, 9];
        pdu.extend([0, 7, 0x80, 0x01, 0, 3, state, 0, 0, 0]);
        pdu.resize(PDU_LEN, 0);
        pdu
    }

    fn decode(pdu: &[u8]) -> Result<SlowFrame, DecodeError> {
        SlowFrame::decode(&mut Reader::new(pdu))
    }

    #[test]
    fn an_answer_has_the_partner_as_it_described_itself_and_its_timeout() {
        for (state, ours) in [(0x47, 0x3e), (0x45, 0x3c), (0x3f, 0x3e), (0x46, 0x3f)] {
            let Ok(SlowFrame::Lacp(actor)) = decode(&lacpdu(state)) else {
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
            assert!(matches!(decode(&frame[14..]), Ok(SlowFrame::Lacp(ours)) if ours.is_up()));
        }
    }

    #[test]
    fn a_solicitation_is_of_a_port_that_waits_for_its_partner() {
        let frame = encode_solicitation(MAC, 2);
        let Ok(SlowFrame::Lacp(ours)) = decode(&frame[14..]) else {
            panic!("an LACPDU");
        };
        assert_eq!((ours.system(), ours.is_up(), ours.state), (MAC, false, 7));
        assert_eq!(frame[36..38], [2, 20]);
        assert_eq!(frame[38..53], [0; 15]);
    }

    #[test]
    fn no_number_of_an_interface_becomes_port_0() {
        let Ok(SlowFrame::Lacp(actor)) = decode(&lacpdu(0x05)) else {
            panic!("an LACPDU");
        };
        assert_eq!(actor.encode_answer(MAC, 0)[26..28], [0, 1]);
    }

    #[test]
    fn a_marker_is_answered_with_what_it_has_and_an_answer_is_not() {
        let mut pdu = vec![MARKER, VERSION, 1, 16, 0, 3, 2, 0, 0, 0, 0, 9, 1, 2, 3, 4];
        pdu.resize(PDU_LEN, 0);
        let Ok(SlowFrame::Marker(marker)) = decode(&pdu) else {
            panic!("a marker");
        };
        let frame = encode_marker_answer(marker, MAC);
        pdu[2] = 2;
        assert_eq!(frame[14..], pdu);
        assert_eq!(decode(&frame[14..]), Ok(SlowFrame::Other));
    }

    #[test]
    fn what_is_cut_short_or_has_wrong_lengths_is_an_error() {
        let pdu = lacpdu(0x3d);
        for len in 0..19 {
            assert!(decode(&pdu[..len]).is_err(), "{len}");
        }
        for wrong in [0, 19, 21, 255] {
            let mut pdu = pdu.clone();
            pdu[3] = wrong;
            assert!(decode(&pdu).is_err(), "{wrong}");
        }
        assert_eq!(decode(&[3, 1]), Ok(SlowFrame::Other));
    }
}
