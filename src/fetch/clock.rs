//! The time for checking certificates: the machine's clock, unless it is behind the build of this
//! program.
//!
//! The clock of a machine that was just switched on may be wrong, but SNTP is not authenticated:
//! the first answer is believed. So the time servers of the network are queried only when the
//! machine's clock is behind the build, or a certificate is not valid yet; and they can only move
//! the time forward, as far as the policy has it. The clock of the machine is not set.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::sys;
use wireboot_proto::sntp::{Config, Discard, Event, Query};
use wireboot_proto::time::{BUILT_AT, Date, Instant};
use wireboot_proto::trust::policy::{CLOCK_AHEAD, Policy};

/// The machine's clock or, where that cannot be right, the first time server that answers.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    servers: Vec<IpAddr>,
    /// How far the servers may move the time forwards; by [`CLOCK_AHEAD`] if none.
    most_ahead: Option<Duration>,
    /// Filled by the one query; none when no server answered.
    answer: Arc<OnceLock<Option<ServerTime>>>,
    /// The clock named in the last log line.
    logged: Arc<Mutex<Option<ClockSource>>>,
}

/// The time reported by a server, and when it arrived.
#[derive(Debug, Clone)]
struct ServerTime {
    server: IpAddr,
    since_1970: Duration,
    at: Instant,
}

/// The time according to one of the clocks.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) since_1970: Duration,
    source: ClockSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClockSource {
    Machine,
    Server(IpAddr),
    Build,
}

impl Clock {
    /// Returns a clock that may query these servers (option 42 of a lease).
    pub fn of(servers: Vec<IpAddr>) -> Self {
        Self {
            servers,
            ..Self::default()
        }
    }

    /// Returns a clock that follows the policy about the servers of a lease.
    pub fn by_policy(servers: Vec<IpAddr>, policy: &Policy) -> Self {
        let servers = if policy.by_own_clock {
            Vec::new()
        } else {
            servers
        };
        Self {
            most_ahead: policy.clock_ahead,
            ..Self::of(servers)
        }
    }

    /// Returns the time for the first check of a certificate.
    pub(super) fn read(&self, interface: Option<&str>) -> Reading {
        self.read_at(sys::since_1970(), interface)
    }

    /// Returns the time of a server if it is later than `reading`, for a certificate that is not
    /// valid yet.
    pub(super) fn later_than(&self, reading: &Reading, interface: Option<&str>) -> Option<Reading> {
        let later = self.by_server(interface)?;
        (later.since_1970 > reading.since_1970).then_some(later)
    }

    /// Logs which clock a certificate was checked by, unless it is the same as the last time.
    pub(super) fn log(&self, reading: &Reading) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.replace(reading.source) != Some(reading.source) {
            log::info!("certificates: {reading}");
        }
    }

    fn read_at(&self, machine: Duration, interface: Option<&str>) -> Reading {
        if machine >= BUILT_AT {
            return Reading {
                since_1970: machine,
                source: ClockSource::Machine,
            };
        }
        self.by_server(interface).unwrap_or(Reading {
            since_1970: BUILT_AT,
            source: ClockSource::Build,
        })
    }

    fn by_server(&self, interface: Option<&str>) -> Option<Reading> {
        let answer = self.answer.get_or_init(|| {
            let most_ahead = self.most_ahead.unwrap_or(CLOCK_AHEAD);
            let not_after = sys::since_1970().max(BUILT_AT) + most_ahead;
            ask(&self.servers, not_after, interface)
        });
        answer.as_ref().map(|answer| Reading {
            since_1970: answer.since_1970 + sys::now().since(answer.at),
            source: ClockSource::Server(answer.server),
        })
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Utc(self.since_1970);
        match self.source {
            ClockSource::Machine => write!(f, "{time} by the machine's clock"),
            ClockSource::Server(server) => write!(f, "{time} by the time server {server}"),
            ClockSource::Build => write!(
                f,
                "{time}, the build of this program, since the machine's clock \
                 is behind"
            ),
        }
    }
}

/// A time since 1970, shown as date and minute.
pub(super) struct Utc(pub(super) Duration);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.as_secs() / 60;
        let (hour, minute) = (minutes / 60 % 24, minutes % 60);
        write!(f, "{} {hour:02}:{minute:02} UTC", Date::at(self.0))
    }
}

fn ask(servers: &[IpAddr], not_after: Duration, interface: Option<&str>) -> Option<ServerTime> {
    if servers.is_empty() {
        return None;
    }
    // One socket serves both families, IPv4 in mapped addresses.
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        .or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .inspect_err(|error| log::warn!("cannot query the time: {error}"))
        .ok()?;
    sys::udp::bind_to(&socket, interface)
        .inspect_err(|error| log::warn!("cannot query the time: {error}"))
        .ok()?;
    let is_v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
    let config = Config {
        servers: servers.to_vec(),
        not_before: BUILT_AT,
        not_after,
        seed: sys::seed(),
    };
    let mut query = Query::new(config, sys::now());
    // An answer has 48 bytes (RFC 5905 §7.3), and more only with extensions that are not asked for.
    let (mut outgoing, mut incoming) = (Vec::new(), [0; 512]);
    loop {
        while let Some(transmit) = query.poll_transmit(&mut outgoing) {
            let mut to = transmit.destination;
            if let (true, IpAddr::V4(ip)) = (is_v6, to.ip()) {
                to.set_ip(ip.to_ipv6_mapped().into());
            }
            if let Err(error) = socket.send_to(&outgoing, to) {
                log::debug!("cannot query {to} for the time: {error}");
            }
        }
        match query.poll_event() {
            Some(Event::Time { server, since_1970 }) => {
                return Some(ServerTime {
                    server,
                    since_1970,
                    at: sys::now(),
                });
            }
            Some(Event::Failed) => {
                let servers: Vec<_> = servers.iter().map(IpAddr::to_string).collect();
                log::warn!(
                    "no usable answer from the time servers {}",
                    servers.join(", ")
                );
                return None;
            }
            None => {}
        }
        match socket.recv_from(&mut incoming) {
            Ok((len, mut source)) => {
                source.set_ip(source.ip().to_canonical());
                let payload = incoming.get(..len).unwrap_or_default();
                match query.handle_input(source, payload, sys::now()) {
                    Ok(()) => {}
                    Err(discard @ Discard::Ahead) => {
                        let limit = Utc(not_after);
                        log::warn!("{source}: {discard}: after {limit}; its answer is not used");
                    }
                    Err(discard) => log::debug!("{source}: {discard}"),
                }
            }
            Err(_) => {
                let waited = sys::wait_readable(&[socket.as_fd()], query.poll_timeout());
                if let Err(error) = waited {
                    log::warn!("cannot wait for the time: {error}");
                    return None;
                }
                query.handle_timeout(sys::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_without_servers_is_the_machines_and_never_before_the_build() {
        let clock = Clock::default();
        let by_machine = clock.read_at(BUILT_AT, None);
        assert_eq!(
            (by_machine.since_1970, by_machine.source),
            (BUILT_AT, ClockSource::Machine)
        );
        let by_build = clock.read_at(Duration::from_secs(5), None);
        assert_eq!(
            (by_build.since_1970, by_build.source),
            (BUILT_AT, ClockSource::Build)
        );
        assert!(clock.later_than(&by_build, None).is_none());
        let text = by_build.to_string();
        assert!(
            text.starts_with("20")
                && text.contains("the build of this program")
                && text.contains(" UTC"),
            "{text}"
        );
    }

    #[test]
    fn a_time_server_is_for_a_clock_that_is_behind_and_moves_forwards_only() {
        let year = Duration::from_secs(365 * 86_400);
        let by = |since_1970: Duration| {
            let clock = Clock::of(Vec::new());
            let answer = ServerTime {
                server: IpAddr::from([192, 0, 2, 1]),
                since_1970,
                at: sys::now(),
            };
            clock.answer.set(Some(answer)).unwrap();
            clock
        };
        let ahead = by(BUILT_AT + 9 * year);
        let behind_build = ahead.read_at(Duration::ZERO, None);
        assert!(behind_build.since_1970 >= BUILT_AT + 9 * year);
        assert!(
            behind_build
                .to_string()
                .contains("by the time server 192.0.2.1")
        );
        let right = ahead.read_at(BUILT_AT + year, None);
        assert_eq!(right.source, ClockSource::Machine);
        let later = ahead.later_than(&right, None).unwrap();
        assert!(later.since_1970 >= BUILT_AT + 9 * year);
        let behind = by(BUILT_AT);
        assert!(behind.later_than(&right, None).is_none());
    }
}
