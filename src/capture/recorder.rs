//! The flight recorder: the last frames sent and received, for when a boot fails.
//!
//! The driver feeds it every frame that it reads or sends ([`Recorder::push`]) and writes
//! [`Recorder::pcapng`] to a file when asked to, or on failure. It holds a bounded number of
//! octets; the oldest frames go first, and how many went is part of the file.

use std::collections::VecDeque;
use std::time::Duration;

use crate::wire::ethernet::VlanTag;
use crate::wire::pcapng::{self, Direction, Interface, Packet};

/// The last frames of a boot.
#[derive(Debug, Default)]
pub struct Recorder {
    interfaces: Vec<(String, Counters)>,
    frames: VecDeque<(Packet, Vec<u8>)>,
    octets: usize,
}

#[derive(Debug, Default)]
struct Counters {
    pushed: u64,
    forgotten: u64,
}

impl Recorder {
    /// Octets of frames that are kept: a few hundred DHCP messages.
    pub const CAPACITY: usize = 128 * 1024;

    /// Keeps a frame that crossed `interface` (a name) at `timestamp` (since 1970).
    ///
    /// `vlan` is the tag that the kernel took out of `octets`; it is put back.
    pub fn push(
        &mut self,
        interface: &str,
        direction: Direction,
        timestamp: Duration,
        vlan: Option<VlanTag>,
        octets: &[u8],
    ) {
        let index = match self
            .interfaces
            .iter()
            .position(|(name, _)| name == interface)
        {
            Some(index) => index,
            None => {
                self.interfaces
                    .push((interface.to_owned(), Counters::default()));
                self.interfaces.len() - 1
            }
        };
        if let Some((_, counters)) = self.interfaces.get_mut(index) {
            counters.pushed += 1;
        }
        let octets = with_tag(octets, vlan);
        let packet = Packet {
            interface: u32::try_from(index).unwrap_or(u32::MAX),
            timestamp,
            original_len: u32::try_from(octets.len()).unwrap_or(u32::MAX),
            direction,
        };
        self.octets += octets.len();
        self.frames.push_back((packet, octets));
        while self.octets > Self::CAPACITY
            && let Some((packet, octets)) = self.frames.pop_front()
        {
            self.octets -= octets.len();
            let index = usize::try_from(packet.interface).unwrap_or(usize::MAX);
            if let Some((_, counters)) = self.interfaces.get_mut(index) {
                counters.forgotten += 1;
            }
        }
    }

    /// Returns whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the frames as the content of a pcapng file; `now` is the time since 1970.
    pub fn pcapng(&self, now: Duration) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.octets + 48 * self.frames.len() + 512);
        pcapng::begin("wireboot", &mut file);
        for (name, _) in &self.interfaces {
            let interface = Interface {
                name,
                filter: "",
                snap_len: 0,
            };
            pcapng::interface(&interface, &mut file);
        }
        for (packet, octets) in &self.frames {
            pcapng::packet(packet, octets, &mut file);
        }
        for (index, (_, counters)) in (0..).zip(&self.interfaces) {
            pcapng::statistics(index, now, counters.pushed, counters.forgotten, &mut file);
        }
        file
    }
}

/// Returns the frame as it was on the wire, with the tag back in its place.
pub fn with_tag(octets: &[u8], vlan: Option<VlanTag>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(octets.len() + 4);
    match (vlan, octets.split_at_checked(12)) {
        (Some(tag), Some((addresses, rest))) => {
            frame.extend_from_slice(addresses);
            frame.extend_from_slice(&tag.tpid.to_be_bytes());
            frame.extend_from_slice(&tag.tci.to_be_bytes());
            frame.extend_from_slice(rest);
        }
        _ => frame.extend_from_slice(octets),
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frames_are_kept_and_the_memory_is_bounded() {
        let mut recorder = Recorder::default();
        assert!(recorder.is_empty());
        for number in 0..1_000_u32 {
            let name = if number % 2 == 0 { "eth0" } else { "eth1" };
            let time = Duration::from_secs(number.into());
            recorder.push(name, Direction::Inbound, time, None, &[7; 1_000]);
        }
        assert_eq!(recorder.frames.len(), Recorder::CAPACITY / 1_000);
        let last = recorder.frames.back().unwrap();
        assert_eq!((last.0.interface, last.0.timestamp.as_secs()), (1, 999));
        let forgotten: u64 = recorder.interfaces.iter().map(|(_, c)| c.forgotten).sum();
        assert_eq!(forgotten, 1_000 - 131);
        assert!(recorder.pcapng(Duration::ZERO).len() < Recorder::CAPACITY + 16_384);
    }

    #[test]
    fn a_tag_is_put_back_where_it_was() {
        let tag = VlanTag {
            tpid: 0x8100,
            tci: 5,
        };
        let frame: Vec<u8> = (0..20).collect();
        let tagged = with_tag(&frame, Some(tag));
        assert_eq!(tagged[12..18], [0x81, 0, 0, 5, 12, 13]);
        assert_eq!(with_tag(&frame[..5], Some(tag)), frame[..5]);
    }
}
