//! Drives [`wireboot_proto::http::Get`] over TCP: follows redirections, resumes, and uses several
//! connections where that is faster; each request on one of them adds to the download.

use std::io::{ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use super::access::CHECK_INTERVAL;
use super::connection::{Connection, Origin};
use super::download::{Attempt, Download, SpanId};
use super::failure::{Failure, broken, is_timeout, other, passing, text_of};
use super::proxy;
use crate::sys;
use wireboot_proto::http::{Config, Event, Failure as TransferFailure, Get, Proxy};
use wireboot_proto::text::safe::Safe;
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::time::Instant;

/// More redirections than this are taken for a loop; curl allows 50, browsers 20.
const MAX_REDIRECTIONS: u32 = 10;

/// Fetches the missing parts of the file.
pub(super) fn get(attempt: &Attempt<'_>, download: &mut Download<'_>) -> Result<(), Failure> {
    download.begin().map_err(other)?;
    let download = Mutex::new(download);
    let end = thread::scope(|scope| {
        let end = lead(scope, attempt, &download);
        // After a failure that may be temporary, the other connections continue.
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

/// Fetches the file from where its address leads to, which a failure names if it is elsewhere.
fn lead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    attempt: &'scope Attempt<'_>,
    download: &'scope SharedDownload<'_, '_>,
) -> Result<(), Failure> {
    let mut url = attempt.url.clone();
    let end = follow(scope, attempt, download, &mut url);
    end.map_err(|failure| {
        if url == *attempt.url {
            failure
        } else {
            failure.beside(&format!(", at {}", Safe::name(&url)))
        }
    })
}

/// Fetches span after span until the file is complete, and starts further connections where that is
/// faster. `url` is where redirections have led.
fn follow<'scope>(
    scope: &'scope Scope<'scope, '_>,
    attempt: &'scope Attempt<'_>,
    download: &'scope SharedDownload<'_, '_>,
    url: &mut Url,
) -> Result<(), Failure> {
    let mut detours = 0;
    let mut pace = ConnectionGrowth::default();
    let mut helpers = Vec::new();
    loop {
        if url.scheme() == Scheme::Https && cfg!(not(feature = "tls")) {
            return Err(Failure::Other("this build does not support TLS".into()));
        }
        let claimed = lock(download).claim();
        let Some((span, end)) = claimed else {
            // The rest belongs to other connections, or belonged to some that have failed.
            helpers.drain(..).map(ScopedJoinHandle::join).for_each(drop);
            if lock(download).is_whole() {
                return Ok(());
            }
            continue;
        };
        let part = SpanTransfer {
            download,
            span,
            end,
            joined: false,
        };
        let end = transfer(attempt, url, &part, &mut |now| {
            let mut download = part.lock();
            download.show(now);
            let (left, received) = (download.divisible(), download.received());
            if left.is_some_and(|left| pace.wants_more(received, left, now)) {
                let url = url.clone();
                helpers.push(scope.spawn(move || help(attempt, &url, part.download)));
            }
        });
        part.lock().release(span);
        let end = end?;
        detours += u32::from(matches!(end, HttpEnd::Redirected(_) | HttpEnd::Another));
        match end {
            HttpEnd::Done => {}
            HttpEnd::Redirected(_) | HttpEnd::Another if detours > MAX_REDIRECTIONS => {
                let why = format!("more than {MAX_REDIRECTIONS} redirections");
                return Err(Failure::Other(why.into()));
            }
            HttpEnd::Redirected(to) => {
                log::debug!("{url} is at {to}");
                attempt.allow(&to)?;
                *url = to;
            }
            HttpEnd::Another => part.lock().restart().map_err(other)?,
            HttpEnd::Failed(failure @ TransferFailure::Missing(_)) => {
                return Err(Failure::Missing(text_of(&failure)));
            }
            HttpEnd::Failed(failure @ TransferFailure::NoParts) => {
                return Err(Failure::NoParts(text_of(&failure)));
            }
            // Of the registry itself alone: who it leads to has no say in where its password goes.
            #[cfg(feature = "root")]
            HttpEnd::Failed(TransferFailure::Challenge(what)) if *url == *attempt.url => {
                return Err(Failure::Challenge(what));
            }
            HttpEnd::Failed(failure) if failure.is_passing() => {
                return Err(Failure::Passing(text_of(&failure)));
            }
            HttpEnd::Failed(failure) => return Err(Failure::Other(text_of(&failure))),
        }
    }
}

/// Fetches spans on a further connection, until none are left or anything unexpected happens.
fn help(attempt: &Attempt<'_>, url: &Url, download: &SharedDownload<'_, '_>) {
    loop {
        let claimed = lock(download).claim();
        let Some((span, end)) = claimed else {
            return;
        };
        let part = SpanTransfer {
            download,
            span,
            end,
            joined: true,
        };
        let end = transfer(attempt, url, &part, &mut |_| {});
        part.lock().release(span);
        let why = match end {
            Ok(HttpEnd::Done) => continue,
            Ok(HttpEnd::Redirected(to)) => format!("it is at {to} now"),
            Ok(HttpEnd::Another) => "it has another file, or does not send parts".to_owned(),
            Ok(HttpEnd::Failed(failure)) => failure.to_string(),
            Err(failure) => failure.about(url).chain(),
        };
        return log::debug!("{url}: one connection less: {why}");
    }
}

/// Connections beside the first: RFC 9112 §9.4 asks for few, and browsers use up to 6.
// 256 MiB at 20 MiB/s for each connection: 12.9 s over one, 5.5 s as it is here.
const MOST: u32 = 3;
/// How long a rate is measured: several round trips of any path, past TCP's slow start.
const WINDOW: Duration = Duration::from_secs(1);
/// A file that will be complete within this time is not worth another connection.
const SOON: Duration = Duration::from_secs(3);

/// Decides by the rate of the last second whether another connection is worth it.
#[derive(Debug, Default)]
struct ConnectionGrowth {
    /// When the measurement began, and bytes received by then.
    began: Option<(Instant, u64)>,
    /// Bytes per second before the last connection joined.
    rate: u64,
    joined: u32,
    /// No more connections: the last one was no gain, or there are enough.
    is_settled: bool,
}

impl ConnectionGrowth {
    /// Returns whether to start another connection, with `received` bytes received and `left` bytes
    /// missing.
    fn wants_more(&mut self, received: u64, left: u64, now: Instant) -> bool {
        let (since, before) = *self.began.get_or_insert((now, received));
        let time = now.since(since);
        if self.is_settled || time < WINDOW {
            return false;
        }
        self.began = Some((now, received));
        let rate = per_second(received.saturating_sub(before), time);
        // A quarter more is a gain; less may be chance. As they are added one at a time, a line that is full
        // has one connection too many at most.
        if self.joined > 0 && rate <= self.rate + self.rate / 4 {
            self.is_settled = true;
            return false;
        }
        if left < rate.saturating_mul(SOON.as_secs()) {
            return false;
        }
        self.rate = rate;
        self.joined += 1;
        self.is_settled = self.joined == MOST;
        true
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    // At least one: what came within a millisecond must not divide by zero.
    let milliseconds = time.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1000 / milliseconds).unwrap_or(u64::MAX)
}

/// The end of one request.
enum HttpEnd {
    /// All bytes of the span have been received.
    Done,
    Redirected(Url),
    /// The server has another file than the one that was begun.
    Another,
    Failed(TransferFailure),
}

/// The download, shared by all connections.
type SharedDownload<'a, 's> = Mutex<&'a mut Download<'s>>;

/// One connection's part in a download.
struct SpanTransfer<'p, 'a, 's> {
    download: &'p SharedDownload<'a, 's>,
    span: SpanId,
    /// Where the part ends that is requested, if not where the file does: what a server sends behind that, until
    /// it notices that the connection is closed, would be sent in vain.
    end: Option<u64>,
    /// Whether it is a further connection, which may not restart the file.
    joined: bool,
}

impl<'a, 's> SpanTransfer<'_, 'a, 's> {
    fn lock(&self) -> MutexGuard<'_, &'a mut Download<'s>> {
        lock(self.download)
    }
}

fn lock<'p, 'a, 's>(download: &'p SharedDownload<'a, 's>) -> MutexGuard<'p, &'a mut Download<'s>> {
    download.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends one request and receives the answer; `progress` is called after each read.
fn transfer(
    attempt: &Attempt<'_>,
    url: &Url,
    part: &SpanTransfer<'_, '_, '_>,
    progress: &mut dyn FnMut(Instant),
) -> Result<HttpEnd, Failure> {
    let idle = &attempt.idle;
    let proxy = proxy::of(url, |name| std::env::var(name).ok())?;
    // A proxy takes the whole URL for http (RFC 9112 §3.2.2), and a tunnel for https.
    let in_the_clear = proxy.as_ref().filter(|_| url.scheme() == Scheme::Http);
    let config = Config {
        url: url.clone(),
        stall_timeout: attempt.patience,
        speed: attempt.speed,
        max_len: attempt.max_len,
        resume: (part.lock()).resume((part.span, part.end), url, attempt.may_mix),
        window: attempt.window.clone(),
        proxy: in_the_clear.map(|proxy| Proxy {
            credentials: proxy.credentials().map(str::to_owned),
        }),
    };
    let origin = Origin::of(url, proxy.as_ref());
    let mut idle_connection = idle.reuse(&origin);
    let (mut connection, mut get) = loop {
        let idle_connection = idle_connection.take();
        let is_new = idle_connection.is_none();
        let mut connection = match idle_connection {
            Some(connection) => connection,
            None => {
                let access = attempt.access;
                let connection = Connection::open(access, url, proxy.as_ref(), attempt.patience)?;
                if part.joined {
                    connection.shared()
                } else {
                    connection
                }
            }
        };
        // The time limit for the answer begins once the connection exists.
        let get = Get::new(config.clone(), sys::now());
        let mut get = get.map_err(|failure| Failure::Other(text_of(&failure)))?;
        connection.set_deadline(get.too_slow_at());
        let request = get.poll_transmit().unwrap_or_default();
        match connection.write_all(&request) {
            Ok(()) => break (connection, get),
            Err(error) if is_new => return Err(broken(error, "sending the request")),
            // A server may close an idle connection at any time, and GET may be repeated (RFC 9112
            // §9.3.1).
            Err(_) => {}
        }
    };
    let check_interval = attempt.patience.min(CHECK_INTERVAL);
    connection.set_read_timeout(check_interval).map_err(other)?;
    let end = exchange(&mut get, &mut connection, url, part, progress)?;
    if matches!(end, HttpEnd::Done) && get.is_reusable() {
        idle.put(origin, connection);
    }
    Ok(end)
}

fn exchange(
    get: &mut Get,
    connection: &mut Connection,
    url: &Url,
    part: &SpanTransfer<'_, '_, '_>,
    progress: &mut dyn FnMut(Instant),
) -> Result<HttpEnd, Failure> {
    // Bytes that the machine has not consumed, since it needs more behind them.
    let mut rest = Vec::new();
    loop {
        connection.set_deadline(get.too_slow_at());
        let received = match connection.fill() {
            Ok(bytes) => {
                if bytes.is_empty() {
                    get.handle_close(true);
                }
                bytes
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // rustls reports this for a broken record; TCP itself never does.
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(passing(error)),
            Err(error) => {
                if !is_timeout(&error) {
                    log::debug!("{url}: {error}");
                    get.handle_close(false);
                } else if connection.has_lost_address() {
                    log::debug!("{url}: the local address is gone");
                    get.handle_close(false);
                } else {
                    get.handle_timeout(sys::now());
                }
                &[]
            }
        };
        let len = received.len();
        let bytes = if rest.is_empty() {
            received
        } else {
            rest.extend_from_slice(received);
            &rest
        };
        let (consumed, end) = hand_in(get, bytes, url, part)?;
        rest = bytes.get(consumed..).unwrap_or_default().to_vec();
        connection.consume(len);
        match end {
            // Length or body is wrong then, and nothing tells which.
            Some(HttpEnd::Done) if !rest.is_empty() && get.poll_timeout().is_none() => {
                let why = format!(
                    "the answer is {} bytes longer than its Content-Length",
                    rest.len()
                );
                return Ok(HttpEnd::Failed(TransferFailure::Malformed(why)));
            }
            Some(end) => return Ok(end),
            None => {}
        }
        let now = sys::now();
        // Also after a read: headers and empty chunks may arrive while the file does not.
        get.handle_timeout(now);
        if let Some(end) = note_events(get, url, part)? {
            return Ok(end);
        }
        progress(now);
    }
}

/// Hands received bytes to the machine; returns how many it has consumed, and its end if it has
/// ended.
fn hand_in(
    get: &mut Get,
    bytes: &[u8],
    url: &Url,
    part: &SpanTransfer<'_, '_, '_>,
) -> Result<(usize, Option<HttpEnd>), Failure> {
    let mut consumed = 0;
    loop {
        let bytes = bytes.get(consumed..).unwrap_or_default();
        let taken = get.handle_input(bytes, sys::now());
        if !taken.body.is_empty() {
            part.lock().write(part.span, taken.body).map_err(other)?;
        }
        let taken = taken.consumed;
        consumed += taken;
        let end = note_events(get, url, part)?;
        if end.is_some() || taken == 0 || taken == bytes.len() {
            return Ok((consumed, end));
        }
    }
}

fn note_events(
    get: &mut Get,
    url: &Url,
    part: &SpanTransfer<'_, '_, '_>,
) -> Result<Option<HttpEnd>, Failure> {
    let mut download = part.lock();
    while let Some(event) = get.poll_event() {
        match event {
            Event::Started(start) => {
                let started = download.start(part.span, start, url, part.joined);
                if !started.map_err(other)? {
                    return Ok(Some(HttpEnd::Another));
                }
            }
            Event::Redirected(url) => return Ok(Some(HttpEnd::Redirected(url))),
            Event::Done => {
                download.finish(part.span);
                return Ok(Some(if download.lacks(part.span, part.end) {
                    let why = "the answer is shorter than the announced length".to_owned();
                    HttpEnd::Failed(TransferFailure::Malformed(why))
                } else {
                    HttpEnd::Done
                }));
            }
            // 416: the file is not longer than what has been received.
            Event::Failed(TransferFailure::Refused(status))
                if status.as_u16() == 416 && download.received() > 0 =>
            {
                return Ok(Some(HttpEnd::Another));
            }
            Event::Failed(failure) => return Ok(Some(HttpEnd::Failed(failure))),
        }
    }
    // Other connections have fetched the rest of this span, or all have been stopped.
    Ok((!download.wants(part.span)).then_some(HttpEnd::Done))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many connections join while a file of `len` bytes comes, at the rate that this many
    /// connections have, bytes a second.
    fn joined(len: u64, rate: impl Fn(u64) -> u64) -> u64 {
        let mut pace = ConnectionGrowth::default();
        let (mut connections, mut received) = (1, 0);
        for tick in 0.. {
            if received >= len {
                break;
            }
            received += rate(connections) / 100;
            let now = Instant::from_millis(tick * 10);
            let left = len.saturating_sub(received);
            connections += u64::from(pace.wants_more(received, left, now));
        }
        connections - 1
    }

    #[test]
    fn connections_join_while_each_brings_more_and_no_more_than_three() {
        let each_has_its_own = |connections| connections * 1_000_000;
        assert_eq!(joined(100_000_000, each_has_its_own), 3);
        let two_fill_the_line = |connections: u64| connections.min(2) * 1_000_000;
        assert_eq!(joined(100_000_000, two_fill_the_line), 2);
        let one_fills_it = |_| 1_000_000;
        assert_eq!(joined(100_000_000, one_fills_it), 1);
    }

    #[test]
    fn what_comes_soon_is_left_to_one_connection() {
        assert_eq!(joined(3_900_000, |_| 1_000_000), 0);
    }

    #[test]
    fn a_silent_server_is_asked_for_more_once() {
        let mut pace = ConnectionGrowth::default();
        let asked = (0..60).filter(|second| {
            let now = Instant::from_millis(second * 1000);
            pace.wants_more(1, 1 << 30, now)
        });
        assert_eq!(asked.count(), 1);
    }
}
