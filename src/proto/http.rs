//! One GET as a state machine, on `ureq-proto`: RFC 9110, 9112.
//!
//! A body is complete only when its length or its last chunk says so; one that ends with the
//! connection is taken as it is, since nothing tells its length. Redirects are events, because
//! another server may be meant; one from https to http is refused. Content codings are not asked
//! for and not undone. A download is resumed with Range and If-Range (RFC 9110 §13.1.5), or with
//! Range alone by who can tell in the end whether it is one file.
//!
//! Octets that are not consumed are handed in again together with those that follow.

#![forbid(unsafe_code)]

mod request;

use crate::prelude::*;
use core::time::Duration;

use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvResponseResult};
use ureq_proto::http::header::{
    CONNECTION, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED, LOCATION,
};
use ureq_proto::http::{Response, StatusCode, Version};

use crate::text::safe::Safe;
use crate::text::url::{Scheme, Url};
use crate::time::{Instant, LeastRate};

use request::ask;
pub use request::basic;

/// What to fetch, and within which limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub url: Url,
    /// The transfer has failed when no octet has come for so long.
    pub stall_timeout: Duration,
    /// The most octets that the file may have.
    pub max_len: u64,
    /// What has come of it already.
    pub resume: Option<Resume>,
    /// Who is asked in place of the server, in the clear.
    pub proxy: Option<Proxy>,
}

/// A proxy that is told the whole address (RFC 9112 §3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `user:password`.
    pub credentials: Option<String>,
}

/// What has come of a file, to go on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Octets, 1 or more.
    pub len: u64,
    /// The entity tag or date of what has come; without, whatever file the server has now goes on.
    pub validator: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The file begins to come.
    Started(Start),
    /// The file is elsewhere.
    Redirected(Url),
    /// The last octet has come.
    Done,
    /// The transfer has ended without the file.
    Failed(Failure),
}

/// What the head of an answer says of the octets that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Their place in the file: 0, or the length to resume at.
    pub from: u64,
    /// The length of the whole file, when the server says so.
    pub len: Option<u64>,
    /// By what to resume this very file.
    pub validator: Option<String>,
}

/// Why a transfer ended without the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server has no such file.
    #[error("the server answers {0}")]
    Missing(StatusCode),
    /// The server refuses for another reason.
    #[error("the server answers {0}")]
    Refused(StatusCode),
    /// What came is not HTTP.
    #[error("the server's answer cannot be read: {0}")]
    Malformed(String),
    /// The redirection leads nowhere.
    #[error("the redirection to \"{}\" cannot be followed", Safe::name(.0))]
    BadRedirect(String),
    /// The connection ended before the file.
    #[error("the connection ended after {received} octets")]
    Truncated {
        /// Octets of the file that this connection brought.
        received: u64,
    },
    /// No octet came for the stall timeout.
    #[error("nothing more came after {received} octets")]
    Stalled {
        /// Octets of the file that this connection brought.
        received: u64,
    },
    /// Less came than a server must send that is of use.
    #[error(
        "the server is too slow: {received} bytes received, the last at less than 512 a second"
    )]
    TooSlow {
        /// Octets of the file that this connection brought.
        received: u64,
    },
    /// The file is larger than allowed.
    #[error("the file has more than the allowed {limit} octets")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

impl Failure {
    /// Returns whether asking again may help.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Truncated { .. } | Self::Stalled { .. } | Self::TooSlow { .. } => true,
            Self::Refused(status) => matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
            Self::Missing(_)
            | Self::Malformed(_)
            | Self::BadRedirect(_)
            | Self::TooLarge { .. } => false,
        }
    }
}

/// The transfer.
#[derive(Debug)]
pub struct Get {
    config: Config,
    request: Option<Vec<u8>>,
    state: State,
    /// Octets of the body that came on this connection.
    received: u64,
    give_up_at: Instant,
    /// Of the body; before that, it is the time for the head.
    rate: LeastRate,
    /// Octets of heads and trailers that have been consumed.
    overhead: usize,
    /// Informational responses that have come.
    informational: u32,
    /// Whether the server lets the connection be used again.
    keeps_alive: bool,
    chunk: Vec<u8>,
    events: Vec<Event>,
}

#[derive(Debug)]
enum State {
    Head(Box<Call<RecvResponse>>),
    /// So many octets are still to come, of a body that begins at `from`.
    Sized {
        left: u64,
    },
    Chunked {
        call: Box<Call<RecvBody>>,
        from: u64,
    },
    UntilClose {
        from: u64,
    },
    Ended,
}

/// What a call of [`Get::handle_input`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<'a> {
    /// Octets that must not be handed in again; with 0, more are needed.
    pub consumed: usize,
    /// Octets of the file that come next.
    pub body: &'a [u8],
}

/// Octets of chunks that are taken out of their frames at a time.
const CHUNK_BUFFER_LEN: usize = 64 << 10;
/// The most octets of all heads and trailers of an answer; curl takes 300 KiB of them.
const MAX_OVERHEAD: usize = 256 << 10;
/// The most informational responses (1xx) before the answer: RFC 8297 lets a server send several.
const MAX_INFORMATIONAL: u32 = 10;

impl Get {
    /// Starts with the request due at once.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the address makes no request.
    pub fn new(config: Config, now: Instant) -> Result<Self, Failure> {
        let (request, call) = ask(&config)?;
        Ok(Self {
            give_up_at: now + config.stall_timeout,
            rate: LeastRate::new(config.stall_timeout, now),
            overhead: 0,
            informational: 0,
            config,
            request: Some(request),
            state: State::Head(Box::new(call)),
            received: 0,
            keeps_alive: false,
            chunk: Vec::new(),
            events: Vec::new(),
        })
    }

    /// Takes what came from the server.
    pub fn handle_input<'a>(&'a mut self, octets: &'a [u8], now: Instant) -> Taken<'a> {
        if !octets.is_empty() {
            self.give_up_at = now + self.config.stall_timeout;
        }
        let mut taken = Taken {
            consumed: 0,
            body: &[],
        };
        match &mut self.state {
            State::Head(_) => taken.consumed = self.handle_head(octets, now),
            State::Sized { left } => {
                let len =
                    usize::try_from(*left).map_or(octets.len(), |left| left.min(octets.len()));
                taken.body = octets.get(..len).unwrap_or_default();
                taken.consumed = len;
                *left -= len as u64;
                self.received += len as u64;
                if *left == 0 {
                    self.end(Event::Done);
                }
            }
            State::Chunked { call, from } => {
                let from = *from;
                let in_trailers = call.is_ended_chunked();
                self.chunk.resize(CHUNK_BUFFER_LEN, 0);
                let (consumed, len) = match call.read(octets, &mut self.chunk) {
                    Ok(read) => read,
                    Err(error) => {
                        self.fail(Failure::Malformed(error.to_string()));
                        return taken;
                    }
                };
                let is_complete = call.can_proceed();
                self.received += len as u64;
                if from.saturating_add(self.received) > self.config.max_len {
                    self.fail(self.too_large());
                    return taken;
                }
                if is_complete {
                    self.end(Event::Done);
                } else if in_trailers || consumed == 0 {
                    self.count_overhead(octets.len(), consumed);
                }
                taken.consumed = consumed;
                taken.body = self.chunk.get(..len).unwrap_or_default();
            }
            State::UntilClose { from } => {
                let from = *from;
                self.received += octets.len() as u64;
                if from.saturating_add(self.received) > self.config.max_len {
                    self.fail(self.too_large());
                    return taken;
                }
                taken.consumed = octets.len();
                taken.body = octets;
            }
            State::Ended => {}
        }
        self.rate.count(taken.body.len(), now);
        taken
    }

    /// Takes notice that the server has closed the connection; `orderly` when nothing can have
    /// been cut off unseen.
    pub fn handle_close(&mut self, orderly: bool) {
        match &self.state {
            State::UntilClose { .. } if orderly => self.end(Event::Done),
            State::Head(_)
            | State::Sized { .. }
            | State::Chunked { .. }
            | State::UntilClose { .. } => {
                self.fail(Failure::Truncated {
                    received: self.received,
                });
            }
            State::Ended => {}
        }
    }

    /// Gives up when the time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| now >= at) {
            let received = self.received;
            self.fail(if now >= self.give_up_at {
                Failure::Stalled { received }
            } else {
                Failure::TooSlow { received }
            });
        }
    }

    /// Returns when the transfer is too slow, unless more of the file comes: what is below this
    /// machine, such as TLS, may bring nothing of it for longer than the server is silent.
    pub const fn too_slow_at(&self) -> Instant {
        self.rate.due_at()
    }

    /// Returns whether another request may go out on the connection, once the file has come whole
    /// and nothing but the file.
    pub const fn is_reusable(&self) -> bool {
        self.keeps_alive && matches!(self.state, State::Ended)
    }

    /// Returns the next octets for the server.
    pub const fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.request.take()
    }

    /// Returns what happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    /// Returns when [`Get::handle_timeout`] is to be called; none when the transfer has ended.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Head(_)
            | State::Sized { .. }
            | State::Chunked { .. }
            | State::UntilClose { .. } => Some(self.give_up_at.min(self.too_slow_at())),
            State::Ended => None,
        }
    }

    fn handle_head(&mut self, octets: &[u8], now: Instant) -> usize {
        let State::Head(call) = &mut self.state else {
            return 0;
        };
        let (consumed, response) = match call.try_response(octets, false) {
            Ok(read) => read,
            Err(error) => {
                self.fail(Failure::Malformed(error.to_string()));
                return 0;
            }
        };
        let Some(response) = response else {
            self.informational += u32::from(consumed > 0);
            self.count_overhead(octets.len(), consumed);
            return consumed;
        };
        self.overhead += consumed;
        self.rate = LeastRate::new(self.config.stall_timeout, now);
        match self.judge(&response) {
            Err(failure) => self.fail(failure),
            Ok(Verdict::Redirect(url)) => self.end(Event::Redirected(url)),
            Ok(Verdict::Body { from, len }) => {
                if let Err(failure) = self.begin_body(&response, from, len) {
                    self.fail(failure);
                }
            }
        }
        consumed
    }

    /// Counts what has been consumed that is not of the file; what has not is the beginning of more.
    fn count_overhead(&mut self, len: usize, consumed: usize) {
        self.overhead += consumed;
        let waiting = if consumed == 0 { len } else { 0 };
        if self.overhead + waiting > MAX_OVERHEAD {
            let why = format!("heads and trailers of more than {MAX_OVERHEAD} octets");
            self.fail(Failure::Malformed(why));
        } else if self.informational > MAX_INFORMATIONAL {
            let why = format!("more than {MAX_INFORMATIONAL} informational responses");
            self.fail(Failure::Malformed(why));
        }
    }

    /// Decides by status and headers what follows.
    fn judge(&self, response: &Response<()>) -> Result<Verdict, Failure> {
        let status = response.status();
        match status.as_u16() {
            200 => Ok(Verdict::Body { from: 0, len: None }),
            206 => {
                let range = header(response, CONTENT_RANGE).and_then(parse_content_range);
                let asked = self.config.resume.as_ref().map(|resume| resume.len);
                match range {
                    Some((from, len)) if Some(from) == asked => Ok(Verdict::Body { from, len }),
                    _ => Err(Failure::Malformed(
                        "another range than asked for".to_owned(),
                    )),
                }
            }
            301 | 302 | 303 | 307 | 308 => {
                let location = header(response, LOCATION).unwrap_or_default();
                let bad = || Failure::BadRedirect(location.to_owned());
                let url = self.config.url.join(location).map_err(|_| bad())?;
                let allowed = match (self.config.url.scheme(), url.scheme()) {
                    (Scheme::Https, scheme) => scheme == Scheme::Https,
                    (_, scheme) => scheme != Scheme::Tftp,
                };
                match allowed && !location.is_empty() {
                    true => Ok(Verdict::Redirect(url)),
                    false => Err(bad()),
                }
            }
            404 | 410 => Err(Failure::Missing(status)),
            _ => Err(Failure::Refused(status)),
        }
    }

    fn begin_body(
        &mut self,
        response: &Response<()>,
        from: u64,
        whole_len: Option<u64>,
    ) -> Result<(), Failure> {
        let State::Head(call) = core::mem::replace(&mut self.state, State::Ended) else {
            return Ok(());
        };
        let mut len = whole_len;
        self.state = match call.proceed() {
            Some(RecvResponseResult::RecvBody(call)) => match call.body_mode() {
                BodyMode::LengthDelimited(left) => {
                    let end = from.saturating_add(left);
                    if whole_len.is_some_and(|len| len != end) || end > self.config.max_len {
                        return Err(match whole_len.is_some_and(|len| len != end) {
                            true => Failure::Malformed("range and length differ".to_owned()),
                            false => self.too_large(),
                        });
                    }
                    len = Some(end);
                    let connection = header(response, CONNECTION).unwrap_or_default();
                    self.keeps_alive = response.version() == Version::HTTP_11
                        && !connection.to_ascii_lowercase().contains("close");
                    State::Sized { left }
                }
                BodyMode::Chunked => State::Chunked {
                    call: Box::new(call),
                    from,
                },
                BodyMode::CloseDelimited => State::UntilClose { from },
                BodyMode::NoBody => State::Sized { left: 0 },
            },
            Some(RecvResponseResult::Redirect(_) | RecvResponseResult::Cleanup(_)) | None => {
                State::Sized { left: 0 }
            }
        };
        let validator = header(response, ETAG)
            .filter(|tag| !tag.starts_with("W/"))
            .or_else(|| header(response, LAST_MODIFIED));
        self.events.push(Event::Started(Start {
            from,
            len,
            validator: validator.map(str::to_owned),
        }));
        if matches!(self.state, State::Sized { left: 0 }) {
            self.end(Event::Done);
        }
        Ok(())
    }

    const fn too_large(&self) -> Failure {
        Failure::TooLarge {
            limit: self.config.max_len,
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.keeps_alive = false;
        self.end(Event::Failed(failure));
    }

    fn end(&mut self, event: Event) {
        self.state = State::Ended;
        self.events.push(event);
    }
}

enum Verdict {
    Body { from: u64, len: Option<u64> },
    Redirect(Url),
}

fn header(response: &Response<()>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Reads `bytes FIRST-LAST/LEN` (RFC 9110 §14.4); the length may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, len) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let len = match len {
        "*" => None,
        len => Some(len.parse().ok()?),
    };
    (first <= last).then_some((first, len))
}

#[cfg(test)]
mod tests;
