//! Drives [`wireboot_proto::http::Get`] over TCP: through redirections, on behind what has come before, and
//! over several connections where that is faster.

mod download;
mod pace;
mod pieces;

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::address::CHECK_INTERVAL;
use super::connection::Connection;
use super::delivery::Visit;
use super::{Failure, broken, is_timeout, other, passing, proxy, text_of};
use crate::sys;
pub(super) use download::Download;
use pace::Pace;
use pieces::Id;
use wireboot_proto::http::{Config, Event, Failure as TransferFailure, Get, Proxy};
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::time::Instant;

/// More redirections than this go round in a circle.
const MAX_REDIRECTIONS: u32 = 10;

/// Connections that have done their work and may do more, by where they lead.
#[derive(Debug, Clone, Default)]
pub struct Idle(Arc<Mutex<Vec<(Origin, Connection)>>>);

/// Where a connection leads.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
    proxy: Option<String>,
}

impl Origin {
    fn of(url: &Url, proxy: Option<&Url>) -> Self {
        Self {
            scheme: url.scheme(),
            host: url.host().to_ascii_lowercase(),
            port: url.port(),
            proxy: proxy.map(Url::to_string),
        }
    }
}

impl Idle {
    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What the server has closed meanwhile is of no use, nor what it said unasked.
        idle.retain(|(_, connection)| !connection.is_stale());
        let at = idle.iter().position(|(known, _)| known == origin)?;
        Some(idle.swap_remove(at).1)
    }

    fn put(&self, origin: Origin, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((origin, connection));
    }
}

/// How one connection ended.
enum End {
    /// All that was wanted of it has come.
    Done,
    Redirected(Url),
    /// The server has another file than the one of which something has come.
    Another,
    Failed(TransferFailure),
}

/// What all connections bring together.
type Shared<'a, 's> = Mutex<&'a mut Download<'s>>;

/// One connection's part in a download.
struct Part<'p, 'a, 's> {
    download: &'p Shared<'a, 's>,
    piece: Id,
    /// It has joined others.
    joined: bool,
}

impl<'a, 's> Part<'_, 'a, 's> {
    fn lock(&self) -> MutexGuard<'_, &'a mut Download<'s>> {
        lock(self.download)
    }
}

fn lock<'p, 'a, 's>(download: &'p Shared<'a, 's>) -> MutexGuard<'p, &'a mut Download<'s>> {
    download.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fetches what is missing of the file.
pub(super) fn get(visit: &Visit<'_>, download: &mut Download<'_>) -> Result<(), Failure> {
    download.begin().map_err(other)?;
    let download = Mutex::new(download);
    let end = thread::scope(|scope| {
        let end = lead(scope, visit, &download);
        // Where it may pass that one connection broke, others go on.
        if !matches!(end, Err(Failure::Passing(_))) {
            lock(&download).abandon();
        }
        end
    });
    match end {
        Err(Failure::Passing(_)) if lock(&download).is_whole() => Ok(()),
        end => end,
    }
}

/// Fetches piece after piece until the file is whole, and has others join where that is faster.
fn lead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    visit: &'scope Visit<'_>,
    download: &'scope Shared<'_, '_>,
) -> Result<(), Failure> {
    let mut url = visit.url.clone();
    let mut detours = 0;
    let mut pace = Pace::default();
    let mut helpers = Vec::new();
    loop {
        if url.scheme() == Scheme::Https && cfg!(not(feature = "tls")) {
            return Err(Failure::Other("this build knows no TLS".into()));
        }
        let claimed = lock(download).claim();
        let Some(piece) = claimed else {
            // What is left is with others, or was with those who have failed.
            helpers.drain(..).map(ScopedJoinHandle::join).for_each(drop);
            match lock(download).is_whole() {
                true => return Ok(()),
                false => continue,
            }
        };
        let part = Part {
            download,
            piece,
            joined: false,
        };
        let end = transfer(visit, &url, &part, &mut |now| {
            let mut download = part.lock();
            download.show(now);
            let (left, received) = (download.divisible(), download.received());
            if left.is_some_and(|left| pace.wants_more(received, left, now)) {
                let url = url.clone();
                helpers.push(scope.spawn(move || help(visit, &url, part.download)));
            }
        });
        part.lock().release(piece);
        let end = end?;
        detours += u32::from(matches!(end, End::Redirected(_) | End::Another));
        match end {
            End::Done => {}
            End::Redirected(_) | End::Another if detours > MAX_REDIRECTIONS => {
                let why = format!("more than {MAX_REDIRECTIONS} redirections");
                return Err(Failure::Other(why.into()));
            }
            End::Redirected(to) => {
                log::debug!("{url} is at {to}");
                visit.fetcher.allow(&to)?;
                url = to;
            }
            End::Another => part.lock().restart().map_err(other)?,
            End::Failed(failure @ TransferFailure::Missing(_)) => {
                return Err(Failure::Missing(text_of(&failure)));
            }
            End::Failed(failure) if failure.is_passing() => {
                return Err(Failure::Passing(text_of(&failure)));
            }
            End::Failed(failure) => return Err(Failure::Other(text_of(&failure))),
        }
    }
}

/// Fetches pieces beside others, until there are none or anything is not as it should be.
fn help(visit: &Visit<'_>, url: &Url, download: &Shared<'_, '_>) {
    loop {
        let claimed = lock(download).claim();
        let Some(piece) = claimed else {
            return;
        };
        let part = Part {
            download,
            piece,
            joined: true,
        };
        let end = transfer(visit, url, &part, &mut |_| {});
        part.lock().release(piece);
        let why = match end {
            Ok(End::Done) => continue,
            Ok(End::Redirected(to)) => format!("it is at {to} now"),
            Ok(End::Another) => "another file, or not in parts".to_owned(),
            Ok(End::Failed(failure)) => failure.to_string(),
            Err(failure) => failure.about(url).chain(),
        };
        return log::debug!("{url}: one connection less: {why}");
    }
}

/// Asks once and takes what comes on one connection; `progress` is called as it goes on.
fn transfer(
    visit: &Visit<'_>,
    url: &Url,
    part: &Part<'_, '_, '_>,
    progress: &mut dyn FnMut(Instant),
) -> Result<End, Failure> {
    let idle = &visit.fetcher.idle;
    let proxy = proxy::of(url, |name| std::env::var(name).ok())?;
    let in_the_clear = proxy.as_ref().filter(|_| url.scheme() == Scheme::Http);
    let config = Config {
        url: url.clone(),
        stall_timeout: visit.patience,
        max_len: visit.max_len,
        resume: part.lock().resume(part.piece, url, visit.may_mix),
        proxy: in_the_clear.map(|proxy| Proxy {
            credentials: proxy.credentials().map(str::to_owned),
        }),
    };
    let origin = Origin::of(url, proxy.as_ref());
    let mut idle_connection = idle.take(&origin);
    let (mut connection, mut get) = loop {
        let idle_connection = idle_connection.take();
        let is_new = idle_connection.is_none();
        let mut connection = match idle_connection {
            Some(connection) => connection,
            None => {
                let fetcher = visit.fetcher;
                let connection = Connection::open(fetcher, url, proxy.as_ref(), visit.patience)?;
                match part.joined {
                    true => connection.shared(),
                    false => connection,
                }
            }
        };
        // The time for an answer begins when there is somebody to give it.
        let get = Get::new(config.clone(), sys::now());
        let mut get = get.map_err(|failure| Failure::Other(text_of(&failure)))?;
        connection.set_deadline(get.too_slow_at());
        let request = get.poll_transmit().unwrap_or_default();
        match connection.write_all(&request) {
            Ok(()) => break (connection, get),
            Err(error) if is_new => return Err(broken(error, "sending the request")),
            Err(_) => {}
        }
    };
    let check_interval = visit.patience.min(CHECK_INTERVAL);
    connection.set_read_timeout(check_interval).map_err(other)?;
    let end = exchange(&mut get, &mut connection, url, part, progress)?;
    if matches!(end, End::Done) && get.is_reusable() {
        idle.put(origin, connection);
    }
    Ok(end)
}

fn exchange(
    get: &mut Get,
    connection: &mut Connection,
    url: &Url,
    part: &Part<'_, '_, '_>,
    progress: &mut dyn FnMut(Instant),
) -> Result<End, Failure> {
    // What the machine has not taken, because more has to come.
    let mut rest = Vec::new();
    loop {
        connection.set_deadline(get.too_slow_at());
        let came = match connection.fill() {
            Ok(octets) => {
                if octets.is_empty() {
                    get.handle_close(true);
                }
                octets
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // What TLS refuses; TCP itself never has it.
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(passing(error)),
            Err(error) => {
                if !is_timeout(&error) {
                    log::debug!("{url}: {error}");
                    get.handle_close(false);
                } else if connection.has_lost_address() {
                    log::debug!("{url}: the address that it was asked for from is gone");
                    get.handle_close(false);
                } else {
                    get.handle_timeout(sys::now());
                }
                &[]
            }
        };
        let len = came.len();
        let octets = match rest.is_empty() {
            true => came,
            false => {
                rest.extend_from_slice(came);
                &rest
            }
        };
        let (consumed, end) = hand_in(get, octets, url, part)?;
        rest = octets.get(consumed..).unwrap_or_default().to_vec();
        connection.consume(len);
        match end {
            Some(End::Done) if !rest.is_empty() && get.poll_timeout().is_none() => {
                let why = format!("it has {} octets more than the server said", rest.len());
                return Ok(End::Failed(TransferFailure::Malformed(why)));
            }
            Some(end) => return Ok(end),
            None => {}
        }
        let now = sys::now();
        // However much comes of anything else, the file may be late.
        get.handle_timeout(now);
        if let Some(end) = note_events(get, url, part)? {
            return Ok(end);
        }
        progress(now);
    }
}

/// Has the machine take what it can; returns how many octets that were, and whether it has come to
/// its end.
fn hand_in(
    get: &mut Get,
    octets: &[u8],
    url: &Url,
    part: &Part<'_, '_, '_>,
) -> Result<(usize, Option<End>), Failure> {
    let mut consumed = 0;
    loop {
        let octets = octets.get(consumed..).unwrap_or_default();
        let taken = get.handle_input(octets, sys::now());
        if !taken.body.is_empty() {
            part.lock().write(part.piece, taken.body).map_err(other)?;
        }
        let taken = taken.consumed;
        consumed += taken;
        let end = note_events(get, url, part)?;
        if end.is_some() || taken == 0 || taken == octets.len() {
            return Ok((consumed, end));
        }
    }
}

fn note_events(get: &mut Get, url: &Url, part: &Part<'_, '_, '_>) -> Result<Option<End>, Failure> {
    let mut download = part.lock();
    while let Some(event) = get.poll_event() {
        match event {
            Event::Started(start) => {
                let started = download.start(part.piece, start, url, part.joined);
                if !started.map_err(other)? {
                    return Ok(Some(End::Another));
                }
            }
            Event::Redirected(url) => return Ok(Some(End::Redirected(url))),
            Event::Done => {
                download.finish(part.piece);
                return Ok(Some(match download.wants(part.piece) {
                    false => End::Done,
                    true => {
                        let why = "it ends before the length that the server said".to_owned();
                        End::Failed(TransferFailure::Malformed(why))
                    }
                }));
            }
            // It is not longer than what has come.
            Event::Failed(TransferFailure::Refused(status))
                if status.as_u16() == 416 && download.received() > 0 =>
            {
                return Ok(Some(End::Another));
            }
            Event::Failed(failure) => return Ok(Some(End::Failed(failure))),
        }
    }
    // Others have come up to where this part ends, or have given up.
    Ok((!download.wants(part.piece)).then_some(End::Done))
}
