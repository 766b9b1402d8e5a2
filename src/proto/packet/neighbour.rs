//! What a switch says about the port that we are plugged into, as far as a boot has to know it:
//! bridge protocol data units of the spanning tree (IEEE 802.1D-2004 §9.3; Cisco's PVST+ carries
//! the same), LACP (IEEE 802.1AX §6.4.2), EAPOL (IEEE 802.1X §11.3) and LLDP (IEEE 802.1AB §8).
//!
//! ```text
//! BPDU   | 42 42 03 | protocol 2 | version 1 | type 1 | flags 1 | root 8 | cost 4 | bridge 8 |
//!        | port 2 | age 2 | max age 2 | hello 2 | forward delay 2 |   times in 1/256 s
//! LACP   | subtype 1 | version 1 | 01 14 | system 8 | key 2 | port 4 | state 1 | …
//! EAPOL  | version 1 | type 1 | length 2 | EAP code 1 | …
//! LLDP   { type 7 bits | length 9 bits | value }
//! ```

use crate::prelude::*;
use core::time::Duration;

use super::ethernet::{
    ETHERTYPE_EAPOL, ETHERTYPE_LLDP, ETHERTYPE_MIN, ETHERTYPE_SLOW, Header, MacAddress,
};
use crate::reader::{DecodeError, Reader};
use crate::text::safe;

/// Groups that switches speak to.
pub const GROUPS: [MacAddress; 5] = [
    MacAddress([0x01, 0x80, 0xc2, 0, 0, 0]),
    MacAddress([0x01, 0x80, 0xc2, 0, 0, 2]),
    MacAddress([0x01, 0x80, 0xc2, 0, 0, 3]),
    MacAddress([0x01, 0x80, 0xc2, 0, 0, 0x0e]),
    MacAddress([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd]),
];

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchFrame {
    /// The spanning tree is alive on the port.
    Bpdu {
        /// Whether the port forwards; none from a bridge that does not tell (802.1D-1998).
        port: Option<PortState>,
        /// How long a port listens, and then learns.
        forward_delay: Duration,
    },
    /// The port is one of a bundle.
    Lacp {
        /// The switch forwards what comes from us.
        is_up: bool,
    },
    /// The port wants to know who we are.
    Authentication,
    /// The names of the switch and the port, as far as given.
    Lldp {
        /// System name.
        system: String,
        /// Port identifier or description.
        port: String,
    },
    /// Nothing that matters.
    Other,
}

/// What a port does with frames (IEEE 802.1D-2004 §17.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// It takes none.
    Discarding,
    /// It looks at their senders.
    Learning,
    /// It forwards them.
    Forwarding,
}

impl SwitchFrame {
    /// Reads a frame to one of [`GROUPS`].
    ///
    /// # Errors
    /// [`DecodeError`] for a frame that is cut off or of no known protocol.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (header, payload) = Header::decode(frame)?;
        let mut reader = Reader::new(payload);
        match header.ethertype {
            // A length: LLC follows, with the spanning tree's own access point or with SNAP.
            0..ETHERTYPE_MIN => match reader.take(3, "LLC header")? {
                [0x42, 0x42, 3] => bpdu(&mut reader),
                [0xaa, 0xaa, 3] if reader.take(5, "SNAP header")? == [0, 0, 0x0c, 1, 0x0b] => {
                    bpdu(&mut reader)
                }
                _ => Ok(Self::Other),
            },
            ETHERTYPE_SLOW => lacp(&mut reader),
            ETHERTYPE_EAPOL => eapol(&mut reader),
            ETHERTYPE_LLDP => lldp(&mut reader),
            other => Err(DecodeError::invalid("ethertype", other)),
        }
    }
}

fn bpdu(reader: &mut Reader<'_>) -> Result<SwitchFrame, DecodeError> {
    reader.take(2, "protocol identifier")?;
    let version = reader.u8("protocol version")?;
    // Configuration, and what 802.1D-2004 made of it; the other kind tells of changes elsewhere.
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

fn lacp(reader: &mut Reader<'_>) -> Result<SwitchFrame, DecodeError> {
    if reader.u8("subtype")? != 1 {
        return Ok(SwitchFrame::Other);
    }
    reader.take(1, "version")?;
    reader.take(2 + 2 + 6 + 2 + 2 + 2, "actor")?;
    let state = reader.u8("actor state")?;
    let (collecting, distributing) = (state & 0x10 != 0, state & 0x20 != 0);
    Ok(SwitchFrame::Lacp {
        is_up: collecting && distributing,
    })
}

fn eapol(reader: &mut Reader<'_>) -> Result<SwitchFrame, DecodeError> {
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
    let (mut system, mut port) = (String::new(), String::new());
    while !reader.is_empty() {
        let head = reader.u16("TLV header")?;
        let value = reader.take(usize::from(head & 0x1ff), "TLV value")?;
        match (head >> 9, value) {
            (0, _) => break,
            // By MAC address the port is not named.
            (2, [subtype, name @ ..]) if *subtype != 3 && port.is_empty() => {
                port = safe::text_of(name)
            }
            (4, name) => port = safe::text_of(name),
            (5, name) => system = safe::text_of(name),
            _ => {}
        }
    }
    Ok(SwitchFrame::Lldp { system, port })
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
        // Age stands in front of the times above.
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
            let octets = bpdu(version, flags);
            assert_eq!(SwitchFrame::decode(&octets), Ok(expected));
            for len in 0..octets.len() {
                assert!(SwitchFrame::decode(&octets[..len]).is_err(), "{len}");
            }
        }
    }

    #[test]
    fn lacp_eapol_and_lldp_are_read() {
        let mut actor = vec![1, 1, 1, 20];
        actor.resize(4 + 14, 0);
        for (state, is_up) in [(0x3d, true), (0x0d, false), (0x1d, false)] {
            let payload = [&actor[..], &[state]].concat();
            assert_eq!(
                SwitchFrame::decode(&frame(0x8809, &payload)),
                Ok(SwitchFrame::Lacp { is_up })
            );
        }
        let request = [1, 0, 0, 5, 1, 1, 0, 5, 1];
        assert_eq!(
            SwitchFrame::decode(&frame(0x888e, &request)),
            Ok(SwitchFrame::Authentication)
        );
        let lldp = b"\x02\x07\x04\x02\0\0\0\0\x01\x04\x04\x05Gi3\x0a\x04sw\x1b1\0\0";
        let expected = SwitchFrame::Lldp {
            system: "sw\\u{1b}1".to_owned(),
            port: "Gi3".to_owned(),
        };
        assert_eq!(SwitchFrame::decode(&frame(0x88cc, lldp)), Ok(expected));
        assert!(SwitchFrame::decode(&frame(0x0800, &[])).is_err());
    }
}
