//! Captures from interfaces until a limit or a signal.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use super::output::{FrameWriter, OutputFormat};
use super::rotation::{Rotation, RotationConfig};
use crate::config::SandboxConfig;
use crate::error::{Error, Reason};
use crate::sys::filter::FilterProgram;
use crate::sys::packet::{PacketType, SocketConfig, Statistics};
use crate::sys::rcu;
use crate::sys::ring::{Layout, Ring};
use crate::sys::sandbox::Calls;
use crate::sys::signal::{Signal, Signals};
use crate::sys::{SyscallError, now, since_1970, wait_readable};
use crate::worker;
use wireboot_proto::format::pcapng;
use wireboot_proto::time::Instant;

/// Configuration of a capture.
#[derive(Debug)]
pub struct CaptureConfig {
    /// Interfaces by index and name.
    pub interfaces: Vec<(u32, String)>,
    /// The filter program.
    pub program: FilterProgram,
    /// The filter as it was written.
    pub filter: String,
    /// The layout of the rings, one for each interface.
    pub layout: Layout,
    /// Whether frames for other stations are captured.
    pub promiscuous: bool,
    /// Maximum number of frames.
    pub count: Option<u64>,
    /// What is written to, for messages.
    pub target: String,
    /// The output format.
    pub format: OutputFormat,
    /// What is given up once the rings are mapped.
    pub sandbox: SandboxConfig,
    /// Most bytes of a frame that are kept.
    pub snap_len: usize,
    /// Whether each frame is written at once.
    pub is_at_once: bool,
    /// The files, and when the first one was begun; none: one file.
    pub rotation: Option<(RotationConfig, u64)>,
}

/// Frame counters of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureCounts {
    /// Frames written to the output.
    pub captured: u64,
    /// The kernel's counters.
    pub statistics: Statistics,
}

impl CaptureCounts {
    /// Frames that passed the filter and were neither captured nor dropped: they came after the last
    /// frame of `count`, or too late.
    pub const fn left(&self) -> u64 {
        self.in_ring().saturating_sub(self.captured)
    }

    /// Frames that the kernel has put into the ring so far.
    const fn in_ring(&self) -> u64 {
        self.statistics
            .packets
            .saturating_sub(self.statistics.drops)
    }
}

/// Returns the sums of the counters in tcpdump's words.
pub fn sums<'a>(all: impl Iterator<Item = &'a CaptureCounts>) -> [String; 3] {
    let mut sums = [0; 3];
    for counters in all {
        let kernel = counters.statistics;
        let counts = [counters.captured, kernel.packets, kernel.drops];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let [captured, received, dropped] = sums;
    [
        (captured, "captured"),
        (received, "received by filter"),
        (dropped, "dropped by kernel"),
    ]
    .map(|(count, what)| {
        let end = if count == 1 { "" } else { "s" };
        format!("{count} packet{end} {what}")
    })
}

/// Captures until `count` frames or one of [`Signals`]; returns the counters of each interface, in
/// their order. Frames that passed the filter before the signal are captured too.
pub fn capture(settings: &CaptureConfig, to: &mut dyn Write) -> Result<Vec<CaptureCounts>, Error> {
    // Blocked before anything is opened, so that a signal never ends the process before the output
    // is complete.
    let signals = Signals::open().map_err(|source| system("waiting for signals", source))?;
    let mut session = Capture::open(settings, to)?;
    worker::give_up(&settings.sandbox, "the capture", 0, Calls::Capture);
    let names: Vec<_> = session.sources.iter().map(|source| source.name).collect();
    // What programs that start tcpdump wait for.
    eprintln!(
        "listening on {}, link-type EN10MB (Ethernet), snapshot length {} bytes",
        names.join(", "),
        settings.snap_len.min(MAX_SNAP_LEN)
    );
    loop {
        let mut emptied = true;
        for number in 0..session.sources.len() {
            emptied &= session.read(number, u64::MAX)? < TURN;
        }
        if session.left == 0 {
            session.read_counters()?;
            break;
        }
        // Under load the rings may never be empty, and the signal must still be seen.
        let deadline = if emptied {
            session.output.flush()?;
            None
        } else {
            Some(Instant::ZERO)
        };
        if !session.wait(Some(&signals), deadline)? {
            continue;
        }
        let signal = signals.take();
        match signal.map_err(|source| system("waiting for signals", source))? {
            None => {}
            // As tcpdump does at both.
            Some(Signal::User1) => session.print_counters()?,
            Some(Signal::User2) => session.output.flush()?,
            Some(Signal::Hangup | Signal::Interrupt | Signal::Quit | Signal::End) => {
                session.drain()?;
                break;
            }
        }
    }
    session.finish()
}

/// The longest of libpcap (`MAXIMUM_SNAPLEN`).
const MAX_SNAP_LEN: usize = 262_144;

/// Frames read from one interface before the next one; a batch is read completely.
const TURN: u64 = 10_000;

/// An interface with its ring and counters.
struct CaptureSource<'a> {
    name: &'a str,
    ring: Ring,
    counters: CaptureCounts,
}

struct Capture<'a> {
    sources: Vec<CaptureSource<'a>>,
    output: FrameWriter<'a>,
    /// Frames left until the limit.
    left: u64,
    is_at_once: bool,
}

impl<'a> Capture<'a> {
    fn open(settings: &'a CaptureConfig, to: &'a mut dyn Write) -> Result<Self, Error> {
        let mut sources = Vec::new();
        let mut output = FrameWriter::begin(to, settings.format, &settings.filter)?;
        output.set_target(&settings.target);
        output.set_snap_len(settings.snap_len);
        if let Some((config, begun)) = &settings.rotation {
            output.rotate_by(Some(Rotation::start(config.clone(), *begun)?));
        }
        for (index, name) in &settings.interfaces {
            let options = SocketConfig {
                promiscuous: settings.promiscuous,
                // As tcpdump, which shows frames that the machine sends.
                ignore_outgoing: false,
                ..SocketConfig::new(*index, &settings.program)
            };
            let ring = Ring::open_with(&options, settings.layout).map_err(|source| {
                system(
                    &format!("{name}: opening a packet ring (it takes CAP_NET_RAW)"),
                    source,
                )
            })?;
            output.interface(name.clone())?;
            let counters = CaptureCounts::default();
            sources.push(CaptureSource {
                name,
                ring,
                counters,
            });
        }
        Ok(Self {
            sources,
            output,
            left: settings.count.unwrap_or(u64::MAX),
            is_at_once: settings.is_at_once,
        })
    }

    /// Reads frames from a ring, up to `limit` and those of one turn; returns how many: fewer than
    /// both if the ring has no more.
    fn read(&mut self, number: usize, limit: u64) -> Result<u64, Error> {
        let Some(source) = self.sources.get_mut(number) else {
            return Ok(0);
        };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let limit = limit.min(self.left);
        let mut count = 0;
        while count < limit.min(TURN)
            && let Some(mut batch) = source.ring.next_batch()
        {
            while count < limit
                && let Some(frame) = batch.next()
            {
                if self.output.is_rotated() && !self.output.rotate()? {
                    source.counters.captured += count;
                    self.left = 0;
                    return Ok(count);
                }
                count += 1;
                let packet = pcapng::FrameRecord {
                    interface: number,
                    timestamp: frame.timestamp(),
                    original_len: frame.original_len(),
                    tag: frame.vlan(),
                    direction: direction(frame.metadata().direction),
                };
                self.output.frame(&packet, frame.octets())?;
                if self.is_at_once {
                    self.output.flush()?;
                }
            }
        }
        self.left -= count;
        source.counters.captured += count;
        Ok(count)
    }

    /// Waits for frames or a signal; returns whether there was a signal.
    fn wait(&self, signals: Option<&Signals>, until: Option<Instant>) -> Result<bool, Error> {
        let mut watched: Vec<_> = signals.iter().map(|signals| signals.as_fd()).collect();
        watched.extend(self.sources.iter().map(|source| source.ring.as_fd()));
        let readable =
            wait_readable(&watched, until).map_err(|source| system("capturing", source))?;
        Ok(signals.is_some() && readable.first() == Some(&true))
    }

    /// Reads the kernel's counters; frames that pass the filter later are not counted.
    fn read_counters(&mut self) -> Result<(), Error> {
        for source in &mut self.sources {
            let statistics = source.ring.statistics();
            source.counters.statistics =
                statistics.map_err(|error| system("reading the counters", error))?;
        }
        Ok(())
    }

    /// Prints the sums of the counters so far.
    fn print_counters(&mut self) -> Result<(), Error> {
        self.read_counters()?;
        let all = sums(self.sources.iter().map(|source| &source.counters));
        eprintln!("wireboot: {}", all.join(", "));
        Ok(())
    }

    /// Reads the frames that have passed the filter by now: the kernel hands over a block of V3 only
    /// when it is full or its retire time is over.
    fn drain(&mut self) -> Result<(), Error> {
        self.read_counters()?;
        let until = now() + DRAIN_TIME;
        loop {
            let mut all = true;
            for number in 0..self.sources.len() {
                let left = self
                    .sources
                    .get(number)
                    .map_or(0, |source| source.counters.left());
                all &= self.read(number, left)? == left;
            }
            if all || self.left == 0 || now() >= until {
                return Ok(());
            }
            self.wait(None, Some(until))?;
        }
    }

    /// Writes the rest of the output and the counters.
    fn finish(mut self) -> Result<Vec<CaptureCounts>, Error> {
        for (number, source) in (0_u32..).zip(&mut self.sources) {
            if source.ring.damaged() > 0 {
                let (name, damaged) = (source.name, source.ring.damaged());
                log::warn!("{name}: {damaged} slots of the packet ring were damaged");
            }
            let counters = pcapng::InterfaceStatistics {
                accepted: source.counters.statistics.packets,
                lost: source.counters.statistics.drops,
                delivered: source.counters.captured,
            };
            self.output
                .counters(number, since_1970().into(), &counters)?;
        }
        self.output.flush()?;
        let counters = self.sources.iter().map(|source| source.counters).collect();
        rcu::hastened(|| drop(self.sources));
        Ok(counters)
    }
}

#[inline(always)]
const fn direction(direction: PacketType) -> pcapng::FrameDirection {
    match direction {
        PacketType::Outgoing => pcapng::FrameDirection::Outbound,
        PacketType::Host
        | PacketType::Broadcast
        | PacketType::Multicast
        | PacketType::OtherHost => pcapng::FrameDirection::Inbound,
    }
}

/// Timeout for the last frames, many times the retire time.
const DRAIN_TIME: Duration = Duration::from_secs(2);

fn system(doing: &str, source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: doing.to_owned(),
        source,
    })
}
