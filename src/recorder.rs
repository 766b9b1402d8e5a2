//! The flight recorder: the last frames sent and received, for when a boot fails.
//!
//! The driver feeds it every frame that it reads or sends ([`Recorder::push`]) and writes
//! [`Recorder::pcapng`] to a file when asked to, or on failure. It holds a bounded number of
//! octets; the oldest frames go first, and how many went is part of the file.

use std::collections::VecDeque;

use crate::time::Timestamp;
use crate::wire::ethernet::VlanTag;
use crate::wire::pcapng::{self, Counters, Direction, Interface, Packet};

/// The last frames of a boot.
#[derive(Debug, Default)]
pub struct Recorder {
    interfaces: Vec<(String, Counters)>,
    frames: VecDeque<(Packet, Vec<u8>)>,
    octets: usize,
}

impl Recorder {
    /// Octets of frames that are kept: a few hundred DHCP messages.
    pub const CAPACITY: usize = 128 * 1024;

    /// Keeps a frame that crossed `interface` (a name) at `timestamp`.
    ///
    /// `tag` is the one that the kernel took out of `octets`; it is put back.
    pub fn push(
        &mut self,
        interface: &str,
        direction: Direction,
        timestamp: Timestamp,
        tag: Option<VlanTag>,
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
            counters.accepted += 1;
            counters.delivered += 1;
        }
        let packet = Packet {
            interface: u32::try_from(index).unwrap_or(u32::MAX),
            timestamp,
            original_len: u32::try_from(octets.len()).unwrap_or(u32::MAX),
            tag,
            direction,
        };
        self.octets += octets.len();
        self.frames.push_back((packet, octets.to_vec()));
        while self.octets > Self::CAPACITY
            && let Some((packet, octets)) = self.frames.pop_front()
        {
            self.octets -= octets.len();
            let index = usize::try_from(packet.interface).unwrap_or(usize::MAX);
            if let Some((_, counters)) = self.interfaces.get_mut(index) {
                counters.delivered -= 1;
            }
        }
    }

    /// Returns whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the frames as the content of a pcapng file; `now` is the time of its end.
    pub fn pcapng(&self, now: Timestamp) -> Vec<u8> {
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
            let start = file.len();
            file.resize(start + pcapng::packet_len(packet, octets), 0);
            let space = file.get_mut(start..).unwrap_or_default();
            pcapng::packet(packet, octets, space);
        }
        for (index, (_, counters)) in (0..).zip(&self.interfaces) {
            pcapng::statistics(index, now, counters, &mut file);
        }
        file
    }
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
            let time = Timestamp::new(number.into(), 0);
            recorder.push(name, Direction::Inbound, time, None, &[7; 1_000]);
        }
        assert_eq!(recorder.frames.len(), Recorder::CAPACITY / 1_000);
        let last = recorder.frames.back().unwrap();
        assert_eq!((last.0.interface, last.0.timestamp.as_secs()), (1, 999));
        let kept: u64 = recorder.interfaces.iter().map(|(_, c)| c.delivered).sum();
        let seen: u64 = recorder.interfaces.iter().map(|(_, c)| c.accepted).sum();
        assert_eq!((kept, seen), (131, 1_000));
        assert!(recorder.pcapng(Timestamp::default()).len() < Recorder::CAPACITY + 16_384);
    }
}
