//! The flight recorder: the last frames sent and received for a lease, to be saved if it fails.
//!
//! Each user of a packet socket has a handle and calls [`Recorder::received`] and
//! [`Recorder::sent`]; the command writes a file at its end ([`Recorder::save_after`]). The memory is
//! bounded: the oldest frames are dropped first, and the file has their number. Renewals, which use a UDP
//! socket, are recorded as the resulting frame; fetched files are not recorded.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "report")]
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::sys;
use crate::sys::files;
use crate::sys::packet::Metadata;
use wireboot_proto::format::pcapng::{self, FrameDirection, FrameRecord, InterfaceStatistics};
use wireboot_proto::packet::ethernet::VlanTag;
use wireboot_proto::time::Timestamp;

/// File for the frames of a command that fails without `--record`.
pub const DEFAULT_FILE: &str = "/run/wireboot/failure.pcapng";

/// So many frames back one is looked for that another socket has received, too.
const LAST: usize = 8;

/// A handle of the recorder; its clones record into the same memory.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<RecordedFrames>>);

impl Recorder {
    /// Records a frame that `interface` has received.
    pub fn received(&self, interface: &str, bytes: &[u8], metadata: &Metadata) {
        let (time, tag) = (metadata.timestamp, metadata.vlan);
        self.with(|frames| frames.push(interface, FrameDirection::Inbound, time, tag, bytes));
    }

    /// Records a frame that `interface` sends.
    pub fn sent(&self, interface: &str, bytes: &[u8]) {
        self.with(|frames| frames.push(interface, FrameDirection::Outbound, now(), None, bytes));
    }

    /// Returns where the frames of a failure go.
    pub fn file(given: Option<&str>) -> &str {
        given.unwrap_or(DEFAULT_FILE)
    }

    /// Writes the frames to `file`; without one, to [`DEFAULT_FILE`] if `result` is a failure.
    /// Returns `result`; a file that cannot be written is only a warning.
    pub fn save_after<T, E>(&self, file: Option<&str>, result: Result<T, E>) -> Result<T, E> {
        let path = match (file, &result) {
            (Some(path), _) => path,
            (None, Err(_)) if self.with(|frames| !frames.is_empty()) => DEFAULT_FILE,
            (None, _) => return result,
        };
        match self.save(Path::new(path)) {
            Ok(count) => log::info!("the last {count} frames are in {path}"),
            Err(error) => log::warn!("cannot write the last frames to {path}: {error}"),
        }
        result
    }

    /// Returns the frames as pcapng in Base64; none where there are none.
    #[cfg(feature = "report")]
    pub fn base64(&self) -> Option<String> {
        let pcapng = |frames: &mut RecordedFrames| {
            (!frames.is_empty()).then(|| STANDARD.encode(frames.pcapng(now())))
        };
        self.with(pcapng)
    }

    /// Returns the number of frames written.
    fn save(&self, path: &Path) -> io::Result<usize> {
        let (bytes, count) = self.with(|frames| (frames.pcapng(now()), frames.packets.len()));
        files::output(path, &bytes)?;
        Ok(count)
    }

    fn with<T>(&self, act: impl FnOnce(&mut RecordedFrames) -> T) -> T {
        // No thread leaves half a frame, so that a poisoned lock is no fault.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn now() -> Timestamp {
    sys::since_1970().into()
}

/// The last frames of a boot.
#[derive(Debug, Default)]
struct RecordedFrames {
    interfaces: Vec<(String, InterfaceStatistics)>,
    packets: VecDeque<(FrameRecord, Vec<u8>)>,
    bytes: usize,
}

impl RecordedFrames {
    /// Bytes of frames: enough for a few hundred DHCP messages.
    const CAPACITY: usize = 128 * 1024;

    /// Adds a frame sent or received by `interface` (a name) at `timestamp`.
    ///
    /// `tag` is the VLAN tag that the kernel moved from the frame to its metadata; the file has it in
    /// the frame.
    fn push(
        &mut self,
        interface: &str,
        direction: FrameDirection,
        timestamp: Timestamp,
        tag: Option<VlanTag>,
        bytes: &[u8],
    ) {
        let index = match self
            .interfaces
            .iter()
            .position(|(name, _)| name == interface)
        {
            Some(index) => index,
            None => {
                self.interfaces
                    .push((interface.to_owned(), InterfaceStatistics::default()));
                self.interfaces.len() - 1
            }
        };
        let packet = FrameRecord {
            interface: u32::try_from(index).unwrap_or(u32::MAX),
            timestamp,
            original_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            tag,
            direction,
        };
        // Two sockets, one for each family, may receive a frame, at the same time of the kernel.
        let last = self.packets.iter().rev().take(LAST);
        if last
            .into_iter()
            .any(|(known, frame)| *known == packet && frame == bytes)
        {
            return;
        }
        if let Some((_, counters)) = self.interfaces.get_mut(index) {
            counters.accepted += 1;
            counters.delivered += 1;
        }
        self.bytes += bytes.len();
        self.packets.push_back((packet, bytes.to_vec()));
        while self.bytes > Self::CAPACITY
            && let Some((packet, bytes)) = self.packets.pop_front()
        {
            self.bytes -= bytes.len();
            let index = usize::try_from(packet.interface).unwrap_or(usize::MAX);
            if let Some((_, counters)) = self.interfaces.get_mut(index) {
                counters.delivered -= 1;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns the frames as the content of a pcapng file; `now` is the time of its end.
    fn pcapng(&self, now: Timestamp) -> Vec<u8> {
        // An enhanced packet block has 32 bytes beside its frame, options and padding.
        let mut file = Vec::with_capacity(self.bytes + 48 * self.packets.len() + 512);
        pcapng::begin("wireboot", &mut file);
        for (name, _) in &self.interfaces {
            pcapng::interface(name, "", &mut file);
        }
        for (packet, bytes) in &self.packets {
            let start = file.len();
            file.resize(start + pcapng::packet_len(packet, bytes), 0);
            let space = file.get_mut(start..).unwrap_or_default();
            pcapng::packet(packet, bytes, space);
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
    fn a_frame_that_two_sockets_have_received_is_kept_once() {
        let mut frames = RecordedFrames::default();
        let time = Timestamp::new(7, 1);
        for (name, time, octets) in [
            ("eth0", time, [1]),
            ("eth0", time, [2]),
            ("eth0", time, [1]),
            ("eth1", time, [1]),
            ("eth0", Timestamp::new(7, 2), [1]),
        ] {
            frames.push(name, FrameDirection::Inbound, time, None, &octets);
        }
        assert_eq!(frames.packets.len(), 4);
        assert_eq!(frames.interfaces[0].1.accepted, 3);
    }

    #[test]
    fn the_last_frames_are_kept_and_the_memory_is_bounded() {
        let mut frames = RecordedFrames::default();
        assert!(frames.is_empty());
        for number in 0..1_000_u32 {
            let name = if number % 2 == 0 { "eth0" } else { "eth1" };
            let time = Timestamp::new(number.into(), 0);
            frames.push(name, FrameDirection::Inbound, time, None, &[7; 1_000]);
        }
        assert_eq!(frames.packets.len(), RecordedFrames::CAPACITY / 1_000);
        let last = frames.packets.back().unwrap();
        assert_eq!((last.0.interface, last.0.timestamp.as_secs()), (1, 999));
        let kept: u64 = frames.interfaces.iter().map(|(_, c)| c.delivered).sum();
        let seen: u64 = frames.interfaces.iter().map(|(_, c)| c.accepted).sum();
        assert_eq!((kept, seen), (131, 1_000));
        assert!(frames.pcapng(Timestamp::default()).len() < RecordedFrames::CAPACITY + 16_384);
    }
}
