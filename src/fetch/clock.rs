//! What time it is, for judging certificates. A machine that has just been switched on may have no
//! idea of that: the servers of the lease are asked, and no clock reads earlier than the build of
//! this program.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::bind_to;
use crate::sntp::{Config, Event, Query};
use crate::sys;
use crate::time::{BUILT_AT, Instant};

/// A clock that is set by the first of its servers that answers, when it is first read.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    servers: Vec<IpAddr>,
    told: Arc<OnceLock<Option<Told>>>,
}

/// What a server said, and when.
#[derive(Debug, Clone)]
struct Told {
    server: IpAddr,
    since_1970: Duration,
    at: Instant,
}

/// What a clock shows.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) since_1970: Duration,
    source: Source,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Machine,
    Server(IpAddr),
    Build,
}

impl Clock {
    /// Returns a clock that asks these servers (option 42 of a lease).
    pub fn of(servers: Vec<IpAddr>) -> Self {
        Self {
            servers,
            told: Arc::default(),
        }
    }

    pub(super) fn read(&self, interface: Option<&str>) -> Reading {
        let told = self.told.get_or_init(|| ask(&self.servers, interface));
        let (since_1970, source) = match told {
            Some(told) => {
                let passed = sys::now().since(told.at);
                (told.since_1970 + passed, Source::Server(told.server))
            }
            None => (sys::since_1970(), Source::Machine),
        };
        match since_1970 < BUILT_AT {
            true => Reading {
                since_1970: BUILT_AT,
                source: Source::Build,
            },
            false => Reading { since_1970, source },
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.since_1970.as_secs() / 86_400);
        let minutes = self.since_1970.as_secs() / 60;
        let (hour, minute) = (minutes / 60 % 24, minutes % 60);
        let time = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC");
        match self.source {
            Source::Machine => write!(f, "it is {time} by the machine's clock"),
            Source::Server(server) => write!(f, "it is {time} by the time server {server}"),
            Source::Build => write!(
                f,
                "it is taken to be {time}, when this program was built, since the clock is behind"
            ),
        }
    }
}

fn ask(servers: &[IpAddr], interface: Option<&str>) -> Option<Told> {
    if servers.is_empty() {
        return None;
    }
    // One socket for both families.
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        .or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .inspect_err(|error| log::warn!("cannot ask for the time: {error}"))
        .ok()?;
    bind_to(&socket, interface)
        .inspect_err(|error| log::warn!("cannot ask for the time: {error}"))
        .ok()?;
    let is_v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
    let config = Config {
        servers: servers.to_vec(),
        seed: sys::seed(),
    };
    let mut query = Query::new(config, sys::now());
    let (mut outgoing, mut incoming) = (Vec::new(), [0; 512]);
    loop {
        while let Some(transmit) = query.poll_transmit(&mut outgoing) {
            let mut to = transmit.destination;
            if let (true, IpAddr::V4(ip)) = (is_v6, to.ip()) {
                to.set_ip(ip.to_ipv6_mapped().into());
            }
            if let Err(error) = socket.send_to(&outgoing, to) {
                log::debug!("asking {to} for the time: {error}");
            }
        }
        match query.poll_event() {
            Some(Event::Time { server, since_1970 }) => {
                return Some(Told {
                    server,
                    since_1970,
                    at: sys::now(),
                });
            }
            Some(Event::Failed) => {
                let names: Vec<_> = servers.iter().map(ToString::to_string).collect();
                log::warn!("none of the time servers {} answered", names.join(", "));
                return None;
            }
            None => {}
        }
        match socket.recv_from(&mut incoming) {
            Ok((len, mut source)) => {
                source.set_ip(source.ip().to_canonical());
                let payload = incoming.get(..len).unwrap_or_default();
                if let Err(discard) = query.handle_input(source, payload, sys::now()) {
                    log::debug!("{source}: {discard}");
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

/// Returns year, month and day of so many days after the first of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from the first of March of the year 0, leap days come last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn a_clock_without_servers_is_the_machines_and_never_before_the_build() {
        let reading = Clock::default().read(None);
        assert!(reading.since_1970 >= BUILT_AT);
        let text = reading.to_string();
        assert!(
            text.starts_with("it is ") && text.contains(" UTC"),
            "{text}"
        );
    }
}
