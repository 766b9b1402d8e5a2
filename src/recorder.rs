//! The flight recorder: the last frames that were sent and received for a lease, for when it fails.
//!
//! There is one in a process, as there is one log: whoever reads or sends a frame by a packet
//! socket tells [`received`] or [`sent`], and the command writes a file in the end ([`save_after`]).
//! It holds a bounded number of octets; the oldest frames go first, and how many there were is part
//! of the file. A renewal, which the kernel's own socket carries, is kept as the frame that it makes;
//! files that are fetched are left out.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::sys;
use crate::sys::file::{self, EVERYBODY, Target};
use crate::sys::packet::Metadata;
use wireboot_proto::format::pcapng::{self, FrameDirection, FrameRecord, InterfaceStatistics};
use wireboot_proto::packet::ethernet::VlanTag;
use wireboot_proto::time::Timestamp;

/// Where frames are written to when a command fails and was not told where to.
pub const DEFAULT_FILE: &str = "/run/wireboot/failure.pcapng";

static RECORDER: Mutex<Recorder> = Mutex::new(Recorder::new());

/// Keeps a frame that `interface` has received.
pub fn received(interface: &str, octets: &[u8], metadata: &Metadata) {
    let (time, tag) = (metadata.timestamp, metadata.vlan);
    with(|recorder| recorder.push(interface, FrameDirection::Inbound, time, tag, octets));
}

/// Keeps a frame that `interface` sends.
pub fn sent(interface: &str, octets: &[u8]) {
    with(|recorder| recorder.push(interface, FrameDirection::Outbound, now(), None, octets));
}

/// Writes the frames to `file`; without one, to [`DEFAULT_FILE`] if `result` is a failure.
/// Returns `result`: a file that cannot be written is warned of.
///
/// # Errors
/// As `result`.
pub fn save_after<T>(file: Option<&str>, result: Result<T, Error>) -> Result<T, Error> {
    let path = match (file, &result) {
        (Some(path), _) => path,
        (None, Err(_)) if with(|recorder| !recorder.is_empty()) => DEFAULT_FILE,
        (None, _) => return result,
    };
    match save(Path::new(path)) {
        Ok(count) => log::info!("the last {count} frames are in {path}"),
        Err(error) => log::warn!("the last frames cannot be written to {path}: {error}"),
    }
    result
}

/// Returns how many frames were written.
fn save(path: &Path) -> io::Result<usize> {
    let (octets, count) = with(|recorder| (recorder.pcapng(now()), recorder.frames.len()));
    match Target::find(path)? {
        Target::Name { path, .. } => file::replace(&path, &octets, EVERYBODY)?,
        Target::Open(target) => file::pour(&mut &octets[..], &target)?,
    }
    Ok(count)
}

fn with<T>(take: impl FnOnce(&mut Recorder) -> T) -> T {
    // Frames are whole whatever happened to another thread.
    take(&mut RECORDER.lock().unwrap_or_else(PoisonError::into_inner))
}

fn now() -> Timestamp {
    sys::since_1970().into()
}

/// The last frames of a boot.
#[derive(Debug)]
struct Recorder {
    interfaces: Vec<(String, InterfaceStatistics)>,
    frames: VecDeque<(FrameRecord, Vec<u8>)>,
    octets: usize,
}

impl Recorder {
    /// Octets of frames that are kept: a few hundred DHCP messages.
    const CAPACITY: usize = 128 * 1024;

    const fn new() -> Self {
        Self {
            interfaces: Vec::new(),
            frames: VecDeque::new(),
            octets: 0,
        }
    }

    /// Keeps a frame that crossed `interface` (a name) at `timestamp`.
    ///
    /// `tag` is the one that the kernel took out of `octets`; it is put back.
    fn push(
        &mut self,
        interface: &str,
        direction: FrameDirection,
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
                    .push((interface.to_owned(), InterfaceStatistics::default()));
                self.interfaces.len() - 1
            }
        };
        if let Some((_, counters)) = self.interfaces.get_mut(index) {
            counters.accepted += 1;
            counters.delivered += 1;
        }
        let packet = FrameRecord {
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

    fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the frames as the content of a pcapng file; `now` is the time of its end.
    fn pcapng(&self, now: Timestamp) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.octets + 48 * self.frames.len() + 512);
        pcapng::begin("wireboot", &mut file);
        for (name, _) in &self.interfaces {
            pcapng::interface(name, "", &mut file);
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
        let mut recorder = Recorder::new();
        assert!(recorder.is_empty());
        for number in 0..1_000_u32 {
            let name = if number % 2 == 0 { "eth0" } else { "eth1" };
            let time = Timestamp::new(number.into(), 0);
            recorder.push(name, FrameDirection::Inbound, time, None, &[7; 1_000]);
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
