//! Drives [`crate::http::Get`] over TCP: through redirections, on behind what has come when a
//! connection is cut, and over several connections where that is faster.

mod download;
mod pace;
mod pieces;

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use super::connection::Connection;
use super::sink::Sink;
use super::{Failure, Fetcher, other, proxy};
use crate::http::{Config, Event, Failure as TransferFailure, Get, Proxy};
use crate::plan::url::{Scheme, Url};
use crate::sys;
use crate::time::{Backoff, Instant, Random, Seconds};
use download::Download;
use pace::Pace;
use pieces::Id;

/// More redirections than this go round in a circle.
const MAX_REDIRECTIONS: u32 = 10;
/// So many connections in a row may bring nothing new.
const MAX_FRUITLESS: u32 = 4;
/// Octets of the longest head of an answer.
const MAX_HEAD_LEN: usize = 256 << 10;

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
    Failed(TransferFailure),
    /// There was no connection, or it broke while the request went out.
    Unconnected(Failure),
}

/// One connection's part in a download.
struct Part<'p, 'a, 's> {
    download: &'p Mutex<Download<'a, 's>>,
    piece: Id,
    /// It has joined others.
    joined: bool,
}

impl<'a, 's> Part<'_, 'a, 's> {
    fn lock(&self) -> MutexGuard<'_, Download<'a, 's>> {
        lock(self.download)
    }
}

fn lock<'p, 'a, 's>(download: &'p Mutex<Download<'a, 's>>) -> MutexGuard<'p, Download<'a, 's>> {
    download.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fetches the file of `url` into `sink`.
pub(super) fn get(
    fetcher: &Fetcher,
    url: &Url,
    max_len: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Failure> {
    let config = Config {
        url: url.clone(),
        stall_timeout: fetcher.stall_timeout,
        max_len,
        resume: None,
        proxy: None,
    };
    let download = Mutex::new(Download::new(sink));
    thread::scope(|scope| {
        let end = lead(scope, fetcher, config, &download);
        lock(&download).abandon();
        end
    })
}

/// Fetches piece after piece until the file is whole, and has others join where that is faster.
fn lead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    fetcher: &'scope Fetcher,
    mut config: Config,
    download: &'scope Mutex<Download<'_, '_>>,
) -> Result<(), Failure> {
    let mut random = Random::new(sys::seed());
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));
    let (mut redirections, mut fruitless) = (0, 0);
    let mut pace = Pace::default();
    let mut helpers = Vec::new();
    loop {
        if config.url.scheme() == Scheme::Https && cfg!(not(feature = "tls")) {
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
        let before = lock(download).received();
        config.resume = lock(download).resume(piece);
        let part = Part {
            download,
            piece,
            joined: false,
        };
        let end = transfer(fetcher, &config, &part, &mut |now| {
            let mut download = part.lock();
            download.show(now);
            let (left, received) = (download.divisible(), download.received());
            if left.is_some_and(|left| pace.wants_more(received, left, now)) {
                let config = config.clone();
                helpers.push(scope.spawn(move || help(fetcher, config, part.download)));
            }
        });
        part.lock().release(piece);
        let failure = match end? {
            End::Done => continue,
            End::Redirected(_) if redirections == MAX_REDIRECTIONS => {
                let why = format!("more than {MAX_REDIRECTIONS} redirections");
                return Err(Failure::Other(why.into()));
            }
            End::Redirected(url) => {
                log::debug!("{} is at {url}", config.url);
                fetcher.allow(&url)?;
                redirections += 1;
                config.url = url;
                continue;
            }
            End::Failed(failure @ TransferFailure::Missing(_)) => {
                return Err(Failure::Missing(failure.into()));
            }
            End::Failed(failure) if !failure.is_passing() => return Err(other(failure)),
            End::Failed(failure) => other(failure),
            End::Unconnected(failure) => failure,
        };
        match part.lock().received() > before {
            true => {
                fruitless = 0;
                backoff.reset();
            }
            false => fruitless += 1,
        }
        let why = match &failure {
            Failure::Other(why) if fruitless < MAX_FRUITLESS => why,
            Failure::Other(_) | Failure::Missing(_) | Failure::Verification(_) => {
                return Err(failure);
            }
        };
        let pause = backoff.next_delay(&mut random);
        log::warn!(
            "{}: {why}; asking again in {:.1} s",
            config.url,
            Seconds(pause)
        );
        thread::sleep(pause);
    }
}

/// Fetches pieces beside others, until there are none or anything is not as it should be.
fn help(fetcher: &Fetcher, mut config: Config, download: &Mutex<Download<'_, '_>>) {
    config.stall_timeout = fetcher.stall_timeout;
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
        config.resume = part.lock().resume(piece);
        let end = transfer(fetcher, &config, &part, &mut |_| {});
        part.lock().release(piece);
        let why = match end {
            Ok(End::Done) => continue,
            Ok(End::Redirected(url)) => format!("it is at {url} now"),
            Ok(End::Failed(failure)) => failure.to_string(),
            Ok(End::Unconnected(failure)) | Err(failure) => failure.about(&config.url).chain(),
        };
        return log::debug!("{}: one connection less: {why}", config.url);
    }
}

/// Asks once and takes what comes on one connection; `progress` is called as it goes on.
///
/// # Errors
/// What asking again does not help: there is no room for the file.
fn transfer(
    fetcher: &Fetcher,
    config: &Config,
    part: &Part<'_, '_, '_>,
    progress: &mut dyn FnMut(Instant),
) -> Result<End, Failure> {
    let proxy = proxy::of(&config.url, |name| std::env::var(name).ok())?;
    let mut config = config.clone();
    if let Some(proxy) = &proxy
        && config.url.scheme() == Scheme::Http
    {
        config.proxy = Some(Proxy {
            credentials: proxy.credentials().map(str::to_owned),
        });
    }
    let mut get = Get::new(config.clone(), sys::now()).map_err(other)?;
    let request = get.poll_transmit().unwrap_or_default();
    let origin = Origin::of(&config.url, proxy.as_ref());
    let sent = fetcher.idle.take(&origin).and_then(|mut connection| {
        let sent = connection.write_all(&request);
        sent.is_ok().then_some(connection)
    });
    let mut connection = match sent {
        Some(connection) => connection,
        None => match connect(fetcher, &config.url, proxy.as_ref(), &request) {
            Ok(connection) if part.joined => connection.shared(),
            Ok(connection) => connection,
            Err(failure) => return Ok(End::Unconnected(failure)),
        },
    };
    let end = exchange(&mut get, &mut connection, &config, part, progress)?;
    if matches!(end, End::Done) && get.is_reusable() {
        fetcher.idle.put(origin, connection);
    }
    Ok(end)
}

/// Opens a connection and sends the request.
fn connect(
    fetcher: &Fetcher,
    url: &Url,
    proxy: Option<&Url>,
    request: &[u8],
) -> Result<Connection, Failure> {
    let mut connection = Connection::open(fetcher, url, proxy)?;
    let stall_timeout = fetcher.stall_timeout.max(Duration::from_millis(1));
    connection.set_read_timeout(stall_timeout).map_err(other)?;
    connection.write_all(request).map_err(other)?;
    Ok(connection)
}

fn exchange(
    get: &mut Get,
    connection: &mut Connection,
    config: &Config,
    part: &Part<'_, '_, '_>,
    progress: &mut dyn FnMut(Instant),
) -> Result<End, Failure> {
    // What the machine has not taken, because more has to come.
    let mut rest = Vec::new();
    loop {
        let came = match connection.fill() {
            Ok(octets) => {
                if octets.is_empty() {
                    get.handle_close(true);
                }
                octets
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                match is_timeout(&error) {
                    true => get.handle_timeout(sys::now()),
                    false => {
                        log::debug!("{}: {error}", config.url);
                        get.handle_close(false);
                    }
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
        let (consumed, end) = hand_in(get, octets, part)?;
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
        if rest.len() > MAX_HEAD_LEN {
            let why = format!("a head of more than {MAX_HEAD_LEN} octets");
            return Ok(End::Failed(TransferFailure::Malformed(why)));
        }
        progress(sys::now());
    }
}

/// Has the machine take what it can; returns how many octets that were, and whether it has come to
/// its end.
fn hand_in(
    get: &mut Get,
    octets: &[u8],
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
        let end = note_events(get, part)?;
        if end.is_some() || taken == 0 || taken == octets.len() {
            return Ok((consumed, end));
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn note_events(get: &mut Get, part: &Part<'_, '_, '_>) -> Result<Option<End>, Failure> {
    let mut download = part.lock();
    while let Some(event) = get.poll_event() {
        match event {
            Event::Started(start) => {
                if !download
                    .start(part.piece, start, part.joined)
                    .map_err(other)?
                {
                    let why = "another file, or not in parts".to_owned();
                    return Ok(Some(End::Failed(TransferFailure::Malformed(why))));
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
            Event::Failed(failure) => return Ok(Some(End::Failed(failure))),
        }
    }
    // Others have come up to where this part ends, or have given up.
    Ok((!download.wants(part.piece)).then_some(End::Done))
}
