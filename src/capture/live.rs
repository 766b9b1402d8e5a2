//! Capturing from interfaces until told to stop.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::line;
use super::recorder::with_tag;
use crate::error::Error;
use crate::sys::filter::Program;
use crate::sys::packet::{Direction, Options, Statistics};
use crate::sys::ring::{Frame, Layout, Ring};
use crate::sys::{SyscallError, now, wait_readable};
use crate::time::Instant;
use crate::wire::pcapng;

/// What to capture, and what to do with it.
#[derive(Debug)]
pub struct Settings {
    /// Interfaces by index and name.
    pub interfaces: Vec<(u32, String)>,
    /// Which frames.
    pub program: Program,
    /// The filter as it was written.
    pub filter: String,
    /// The rings, one for each interface.
    pub layout: Layout,
    /// Frames for other stations too.
    pub promiscuous: bool,
    /// Ends after so many frames.
    pub count: Option<u64>,
    /// Prints DHCP options too.
    pub verbose: bool,
    /// Prints the octets too.
    pub octets: bool,
}

/// Where frames go.
#[derive(Debug)]
pub enum Output<W> {
    /// One line each.
    Lines(W),
    /// A pcapng file.
    File(W),
}

/// What became of the frames that passed the filter on one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Frames that are in the output.
    pub captured: u64,
    /// The kernel's counters.
    pub statistics: Statistics,
}

impl Counters {
    /// Frames that passed the filter and were neither captured nor lost for want of room: they
    /// came behind the last frame of `count`, or were not handed over in time.
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

/// Captures until `count` frames, SIGINT or SIGTERM; returns the counters of each interface, in
/// their order. What had passed the filter when the signal came is captured too.
///
/// # Errors
/// What the kernel says, also to writing.
pub fn capture<W: Write>(
    settings: &Settings,
    output: &mut Output<W>,
) -> Result<Vec<Counters>, Error> {
    // Blocked before anything is opened, so that a signal never ends us in the middle.
    let signals = signals().map_err(|source| system("waiting for signals", source))?;
    let mut session = Session::open(settings, output)?;
    loop {
        let mut idle = true;
        for number in 0..session.sources.len() {
            idle &= session.take(number, TURN)? == 0;
        }
        if session.left == 0 {
            session.count()?;
            break;
        }
        if idle {
            session.flush()?;
        }
        // Under load the rings are never idle, and the signal must be seen nevertheless.
        let deadline = if idle { None } else { Some(Instant::ZERO) };
        if session.wait(Some(&signals), deadline)? {
            session.drain()?;
            break;
        }
    }
    session.finish()
}

/// Frames that are taken from one interface before the others have their turn.
const TURN: u64 = 10_000;

/// An interface that is captured from.
struct Source<'a> {
    name: &'a str,
    ring: Ring,
    counters: Counters,
}

struct Session<'a, W> {
    settings: &'a Settings,
    sources: Vec<Source<'a>>,
    output: &'a mut Output<W>,
    /// What is not written yet.
    buf: Vec<u8>,
    /// Frames to go.
    left: u64,
}

impl<'a, W: Write> Session<'a, W> {
    fn open(settings: &'a Settings, output: &'a mut Output<W>) -> Result<Self, Error> {
        let mut sources = Vec::new();
        for (index, name) in &settings.interfaces {
            let options = Options {
                promiscuous: settings.promiscuous,
                ignore_outgoing: false,
                ..Options::new(*index, &settings.program)
            };
            let ring = Ring::open_with(&options, settings.layout)
                .map_err(|source| system(&format!("{name}: opening a packet ring"), source))?;
            let counters = Counters::default();
            sources.push(Source {
                name,
                ring,
                counters,
            });
        }
        let mut buf = Vec::with_capacity(BUFFER_LEN);
        if let Output::File(_) = output {
            begin(settings, &mut buf);
        }
        Ok(Self {
            settings,
            sources,
            output,
            buf,
            left: settings.count.unwrap_or(u64::MAX),
        })
    }

    /// Takes the frames that are there, `at_most` of them, and returns how many it were.
    fn take(&mut self, number: usize, at_most: u64) -> Result<u64, Error> {
        let several = self.sources.len() > 1;
        let Some(source) = self.sources.get_mut(number) else {
            return Ok(0);
        };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let mut taken = 0;
        while taken < at_most.min(self.left)
            && let Some(frame) = source.ring.next()
        {
            match self.output {
                Output::File(_) => append_block(number, &frame, &mut self.buf),
                Output::Lines(_) => {
                    if several {
                        self.buf.extend_from_slice(source.name.as_bytes());
                        self.buf.push(b' ');
                    }
                    append_line(self.settings, &frame, &mut self.buf);
                }
            }
            drop(frame);
            taken += 1;
            if self.buf.len() >= BUFFER_LEN {
                write(self.output, &mut self.buf)?;
            }
        }
        self.left -= taken;
        source.counters.captured += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), Error> {
        write(self.output, &mut self.buf)
    }

    /// Waits for frames or a signal; returns whether there was a signal.
    fn wait(&self, signals: Option<&SignalFd>, until: Option<Instant>) -> Result<bool, Error> {
        let mut watched: Vec<_> = signals.iter().map(|signals| signals.as_fd()).collect();
        watched.extend(self.sources.iter().map(|source| source.ring.as_fd()));
        let readable =
            wait_readable(&watched, until).map_err(|source| system("capturing", source))?;
        Ok(signals.is_some() && readable.first() == Some(&true))
    }

    /// Reads the kernel's counters; what passes the filter from now on does not count.
    fn count(&mut self) -> Result<(), Error> {
        for source in &mut self.sources {
            let statistics = source.ring.statistics();
            source.counters.statistics =
                statistics.map_err(|error| system("reading the counters", error))?;
        }
        Ok(())
    }

    /// Takes what has passed the filter by now: the kernel keeps a block of V3 to itself until
    /// its retire time is over.
    fn drain(&mut self) -> Result<(), Error> {
        self.count()?;
        let until = now() + DRAIN_TIME;
        loop {
            let mut all = true;
            for number in 0..self.sources.len() {
                let left = self
                    .sources
                    .get(number)
                    .map_or(0, |source| source.counters.left());
                all &= self.take(number, left)? == left;
            }
            if all || self.left == 0 || now() >= until {
                return Ok(());
            }
            self.wait(None, Some(until))?;
        }
    }

    /// Writes what is gathered and the counters.
    fn finish(mut self) -> Result<Vec<Counters>, Error> {
        for (number, source) in (0_u32..).zip(&mut self.sources) {
            if source.ring.damaged() > 0 {
                let (name, damaged) = (source.name, source.ring.damaged());
                log::warn!("{name}: {damaged} slots of the packet ring were damaged");
            }
            if let Output::File(_) = self.output {
                let statistics = source.counters.statistics;
                let (received, lost) = (statistics.packets, statistics.drops);
                pcapng::statistics(number, since_1970(), received, lost, &mut self.buf);
            }
        }
        self.flush()?;
        Ok(self.sources.iter().map(|source| source.counters).collect())
    }
}

fn append_block(interface: u32, frame: &Frame<'_>, buf: &mut Vec<u8>) {
    with_tag_back(frame, |octets, original_len| {
        let packet = pcapng::Packet {
            interface,
            timestamp: frame.timestamp(),
            original_len,
            direction: match frame.metadata().direction {
                Direction::Outgoing => pcapng::Direction::Outbound,
                Direction::Host
                | Direction::Broadcast
                | Direction::Multicast
                | Direction::OtherHost => pcapng::Direction::Inbound,
            },
        };
        pcapng::packet(&packet, octets, buf);
    });
}

fn append_line(settings: &Settings, frame: &Frame<'_>, buf: &mut Vec<u8>) {
    with_tag_back(frame, |octets, original_len| {
        let line = line::line(frame.timestamp(), octets, original_len, settings.verbose);
        buf.extend_from_slice(line.as_bytes());
        if settings.octets {
            buf.extend_from_slice(line::dump(octets).as_bytes());
        }
        buf.push(b'\n');
    });
}

/// Hands out the octets and the length of a frame as it was on the wire.
fn with_tag_back(frame: &Frame<'_>, take: impl FnOnce(&[u8], u32)) {
    match frame.vlan() {
        None => take(frame.octets(), frame.original_len()),
        vlan => take(
            &with_tag(frame.octets(), vlan),
            frame.original_len().saturating_add(4),
        ),
    }
}

/// How long the last frames are waited for, many times the retire time.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Octets that are gathered before they are written.
const BUFFER_LEN: usize = 64 * 1024;

fn begin(settings: &Settings, buf: &mut Vec<u8>) {
    pcapng::begin(concat!("wireboot ", env!("CARGO_PKG_VERSION")), buf);
    for (_, name) in &settings.interfaces {
        let interface = pcapng::Interface {
            name,
            filter: &settings.filter,
            snap_len: 0,
        };
        pcapng::interface(&interface, buf);
    }
}

fn write<W: Write>(output: &mut Output<W>, buf: &mut Vec<u8>) -> Result<(), Error> {
    let (Output::Lines(to) | Output::File(to)) = output;
    let written = to.write_all(buf).and_then(|()| to.flush());
    buf.clear();
    written.map_err(|source| {
        let call = "write";
        system("writing what was captured", SyscallError { call, source })
    })
}

fn signals() -> Result<SignalFd, SyscallError> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()
        .map_err(|errno| SyscallError::new("sigprocmask", errno))?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|errno| SyscallError::new("signalfd", errno))
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn system(doing: &str, source: SyscallError) -> Error {
    Error::System {
        doing: doing.to_owned(),
        source,
    }
}
