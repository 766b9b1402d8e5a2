//! Frames with which a switch reports the state of its port: BPDUs of the spanning tree (IEEE
//! 802.1D-2004 §9.3; Cisco's PVST+ has the same), LACP ([`super::slow`]), EAPOL (IEEE 802.1X §11.3)
//! and LLDP (IEEE 802.1AB §8).
//!
//! ```text
//! BPDU   | 42 42 03 | protocol 2 | version 1 | type 1 | flags 1 | root 8 | cost 4 | bridge 8 |
//!        | port 2 | age 2 | max age 2 | hello 2 | forward delay 2 |   times in 1/256 s
//! EAPOL  | version 1 | type 1 | length 2 | EAP code 1 | …
//! LLDP   { type 7 bits | length 9 bits | value }
//! ```

use crate::prelude::*;
use core::time::Duration;

use super::ethernet::{
    ETHERTYPE_EAPOL, ETHERTYPE_LLDP, ETHERTYPE_MIN, ETHERTYPE_SLOW, EthernetHeader, MacAddress,
};
use super::slow::{SLOW_GROUP, SlowFrame};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::slow::tests::lacpdu;

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
}
