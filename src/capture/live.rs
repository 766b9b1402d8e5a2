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
use crate::sys::ring::{Layout, Ring};
use crate::sys::{SyscallError, wait_readable};
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

/// Captures until `count` frames, SIGINT or SIGTERM; returns the counters of each interface, in
/// their order.
///
/// # Errors
/// What the kernel says, also to writing.
pub fn capture<W: Write>(
    settings: &Settings,
    output: &mut Output<W>,
) -> Result<Vec<Statistics>, Error> {
    // Blocked before anything is opened, so that a signal never ends us in the middle.
    let signals = signals().map_err(|source| system("waiting for signals", source))?;
    let mut rings = Vec::new();
    for (index, name) in &settings.interfaces {
        let options = Options {
            promiscuous: settings.promiscuous,
            ignore_outgoing: false,
            ..Options::new(*index, &settings.program)
        };
        let ring = Ring::open_with(&options, settings.layout)
            .map_err(|source| system(&format!("{name}: opening a packet ring"), source))?;
        rings.push(ring);
    }
    let mut buf = Vec::with_capacity(BUFFER_LEN);
    if let Output::File(_) = output {
        begin(settings, &mut buf);
    }
    let mut left = settings.count.unwrap_or(u64::MAX);
    'capture: while left > 0 {
        let mut idle = true;
        for (number, ring) in (0_u32..).zip(&mut rings) {
            while let Some(frame) = ring.next() {
                idle = false;
                let metadata = frame.metadata();
                let tagged;
                let octets = match metadata.vlan {
                    None => frame.octets(),
                    vlan => {
                        tagged = with_tag(frame.octets(), vlan);
                        &tagged
                    }
                };
                let tag_len = u32::from(metadata.vlan.is_some()) * 4;
                let original_len = metadata.original_len.saturating_add(tag_len);
                match output {
                    Output::File(_) => {
                        let packet = pcapng::Packet {
                            interface: number,
                            timestamp: metadata.timestamp,
                            original_len,
                            direction: match metadata.direction {
                                Direction::Outgoing => pcapng::Direction::Outbound,
                                Direction::Host
                                | Direction::Broadcast
                                | Direction::Multicast
                                | Direction::OtherHost => pcapng::Direction::Inbound,
                            },
                        };
                        pcapng::packet(&packet, octets, &mut buf);
                    }
                    Output::Lines(_) => {
                        let several = settings.interfaces.len() > 1;
                        let name = usize::try_from(number)
                            .ok()
                            .and_then(|number| settings.interfaces.get(number))
                            .filter(|_| several);
                        if let Some((_, name)) = name {
                            buf.extend_from_slice(format!("{name} ").as_bytes());
                        }
                        let time = metadata.timestamp;
                        let line = line::line(time, octets, original_len, settings.verbose);
                        buf.extend_from_slice(line.as_bytes());
                        if settings.octets {
                            buf.extend_from_slice(line::dump(octets).as_bytes());
                        }
                        buf.push(b'\n');
                    }
                }
                drop(frame);
                if buf.len() >= BUFFER_LEN {
                    write(output, &mut buf)?;
                }
                left -= 1;
                if left == 0 {
                    break 'capture;
                }
            }
        }
        if idle {
            write(output, &mut buf)?;
        }
        let mut sources = vec![signals.as_fd()];
        sources.extend(rings.iter().map(AsFd::as_fd));
        // Under load the rings are never idle, and the signal must be seen nevertheless.
        let deadline = if idle {
            None
        } else {
            Some(crate::time::Instant::ZERO)
        };
        let readable =
            wait_readable(&sources, deadline).map_err(|source| system("capturing", source))?;
        if readable.first() == Some(&true) {
            break;
        }
    }
    let mut counters = Vec::new();
    for (number, ring) in (0_u32..).zip(&mut rings) {
        let statistics = ring
            .statistics()
            .map_err(|source| system("reading the counters", source))?;
        counters.push(statistics);
        if ring.damaged() > 0 {
            log::warn!("{} slots of the packet ring were damaged", ring.damaged());
        }
        if let Output::File(_) = output {
            let (received, lost) = (statistics.packets, statistics.drops);
            pcapng::statistics(number, since_1970(), received, lost, &mut buf);
        }
    }
    write(output, &mut buf)?;
    Ok(counters)
}

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
