//! One request on one connection, and what its answer adds to the download.

use std::io::{ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fetch::access::CHECK_INTERVAL;
use crate::fetch::connection::{Connection, Origin};
use crate::fetch::download::{Attempt, Download, SpanId};
use crate::fetch::failure::{Failure, broken, is_timeout, other, passing, text_of};
use crate::fetch::proxy;
use crate::sys;
use wireboot_proto::http::{Config, Event, Failure as TransferFailure, Get, Proxy};
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::time::Instant;

/// The end of one request.
pub(super) enum HttpEnd {
    /// All bytes of the span have been received.
    Done,
    Redirected(Url),
    /// The server has another file than the one that was begun.
    Another,
    Failed(TransferFailure),
}

/// The download, shared by all connections.
pub(super) type SharedDownload<'a, 's> = Mutex<&'a mut Download<'s>>;

/// One connection's part in a download.
pub(super) struct SpanTransfer<'p, 'a, 's> {
    pub(super) download: &'p SharedDownload<'a, 's>,
    pub(super) span: SpanId,
    /// Where the part ends that is requested, if not where the file does: what a server sends behind that, until
    /// it notices that the connection is closed, would be sent in vain.
    pub(super) end: Option<u64>,
    /// Whether it is a further connection, which may not restart the file.
    pub(super) joined: bool,
}

impl<'a, 's> SpanTransfer<'_, 'a, 's> {
    pub(super) fn lock(&self) -> MutexGuard<'_, &'a mut Download<'s>> {
        lock(self.download)
    }
}

pub(super) fn lock<'p, 'a, 's>(
    download: &'p SharedDownload<'a, 's>,
) -> MutexGuard<'p, &'a mut Download<'s>> {
    download.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends one request and receives the answer; `progress` is called after each read.
pub(super) fn transfer(
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
