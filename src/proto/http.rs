//! HTTP GET as a state machine, on `ureq-proto`: RFC 9110, 9112.
//!
//! A body is complete only when its length or its last chunk says so; one that ends with the
//! connection is accepted, since its length is unknown. Redirects are events, because they may lead
//! to another server; one from https to http is refused. Content codings are neither requested nor
//! decoded. A download is resumed with Range and If-Range (RFC 9110 §13.1.5), or with Range alone
//! where the caller checks the complete file.
//!
//! Bytes that are not consumed must be handed in again, together with those that follow.

#![forbid(unsafe_code)]

mod framing;

use crate::prelude::*;
use core::ops::Range;
use core::time::Duration;

use base64::Engine;
use ureq_proto::BodyMode;
use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, MAX_RESPONSE_HEADERS, RecvResponseResult, SendRequestResult};
#[cfg(feature = "root")]
use ureq_proto::http::header::WWW_AUTHENTICATE;
use ureq_proto::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_RANGE, ETAG, HOST, HeaderName, IF_RANGE,
    LAST_MODIFIED, LOCATION, PROXY_AUTHORIZATION, RANGE, USER_AGENT,
};
use ureq_proto::http::{Request, Response, StatusCode, Version};

use crate::text::safe::Safe;
use crate::text::url::{Scheme, Url};
use crate::time::{Instant, LeastRate, SpeedLimit};

use framing::Chunks;

/// Configuration of a transfer.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub url: Url,
    /// The transfer fails after this time without a byte.
    pub stall_timeout: Duration,
    /// The least speed of the body. The head has as much time as the server may be silent.
    pub speed: SpeedLimit,
    /// The longest that the file may be, in bytes.
    pub max_len: u64,
    /// The part of the file that is already there.
    pub resume: Option<Resume>,
    /// The bytes of the file that are wanted, as if they were the whole file; all when none. It is
    /// not empty.
    pub window: Option<Range<u64>>,
    /// The proxy that the request is sent to, where it is not a tunnel.
    pub proxy: Option<Proxy>,
}

/// A proxy that gets the absolute URL in the request line (RFC 9112 §3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `user:password`.
    pub credentials: Option<String>,
}

/// The part of a file that is already there, to resume behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Its length in bytes, 1 or more.
    pub len: u64,
    /// Where the bytes end that are wanted, if that is not the end of the file: more than `len`.
    pub end: Option<u64>,
    /// The entity tag or date of that file; without it the server continues with whatever file it
    /// has now.
    pub validator: Option<String>,
}

/// Progress of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The body begins.
    Started(BodyStart),
    /// The server redirects to another URL.
    Redirected(Url),
    /// The file is complete.
    Done,
    /// The transfer has failed.
    Failed(Failure),
}

/// The head of an answer, about the bytes that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyStart {
    /// Their position in the file: 0, or the length to resume at.
    pub from: u64,
    /// The length of the whole file, when the server says so.
    pub len: Option<u64>,
    /// The entity tag or date for resuming this file.
    pub validator: Option<String>,
}

/// The reason why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server has no such file.
    #[error("the server answers {0}")]
    Missing(StatusCode),
    /// The server refuses for another reason.
    #[error("the server answers {0}")]
    Refused(StatusCode),
    /// The registry wants a token or credentials, as this challenge says (RFC 6750 §3, RFC 7617).
    #[cfg(feature = "root")]
    #[error("the registry answers 401 Unauthorized and asks for {}", Safe::name(.0))]
    Challenge(String),
    /// The answer is not HTTP.
    #[error("the server's answer cannot be read: {0}")]
    Malformed(String),
    /// The redirection cannot be followed.
    #[error("the redirection to \"{}\" cannot be followed", Safe::name(.0))]
    BadRedirect(String),
    /// The server sends the whole file where a part was asked for.
    #[error("the server does not send parts of the file")]
    NoParts,
    /// The connection ended before the file.
    #[error("the connection ended after {received} bytes")]
    Truncated {
        /// Bytes of the file received on this connection.
        received: u64,
    },
    /// The head of the answer was begun and not completed in time.
    #[error("the head of the answer is incomplete after the time that a server may be silent")]
    SlowHead,
    /// No byte was received for the stall timeout.
    #[error("nothing more was received after {received} bytes")]
    Stalled {
        /// Bytes of the file received on this connection.
        received: u64,
    },
    /// The server sends less than the least useful rate.
    #[error("the server is too slow: {received} bytes received, the last below the speed limit")]
    TooSlow {
        /// Bytes of the file received on this connection.
        received: u64,
    },
    /// The file is larger than allowed.
    #[error("the file has more than the allowed {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

impl Failure {
    /// Returns whether another request may help.
    pub const fn is_passing(&self) -> bool {
        match self {
            #[cfg(feature = "root")]
            Self::Challenge(_) => false,
            Self::Truncated { .. }
            | Self::SlowHead
            | Self::Stalled { .. }
            | Self::TooSlow { .. } => true,
            // RFC 9110 §15.5.9 and §15.6, and 429 of RFC 6585 §4: the same request may succeed
            // later.
            Self::Refused(status) => matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
            Self::Missing(_)
            | Self::NoParts
            | Self::Malformed(_)
            | Self::BadRedirect(_)
            | Self::TooLarge { .. } => false,
        }
    }
}

/// State machine of one GET on one connection; the caller owns the socket and the clock.
///
/// ```
/// use std::time::Duration;
/// use wireboot_proto::http::{Config, Event, Get};
/// use wireboot_proto::time::{Instant, SpeedLimit};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config {
///     url: "http://192.0.2.1/vmlinuz".parse()?,
///     stall_timeout: Duration::from_secs(15),
///     speed: SpeedLimit::default(),
///     max_len: 1 << 30,
///     resume: None,
///     window: None,
///     proxy: None,
/// };
/// let now = Instant::ZERO;
/// let mut get = Get::new(config, now)?;
/// let request = get.poll_transmit().unwrap_or_default();
/// assert!(request.starts_with(b"GET /vmlinuz HTTP/1.1\r\n"));
///
/// // Stands for the connection, on which the answer arrives in two reads.
/// let reads = [&b"HTTP/1.1 200 OK\r\nContent-Le"[..], b"ngth: 5\r\n\r\nhello"];
/// let (mut buffer, mut file) = (Vec::new(), Vec::new());
/// for read in reads {
///     buffer.extend_from_slice(read);
///     // What is not consumed needs more bytes behind it, and is handed in again with them.
///     loop {
///         let taken = get.handle_input(&buffer, now);
///         file.extend_from_slice(taken.body);
///         let consumed = taken.consumed;
///         buffer.drain(..consumed);
///         if consumed == 0 || buffer.is_empty() {
///             break;
///         }
///     }
/// }
/// assert_eq!(file, b"hello");
/// assert!(matches!(get.poll_event(), Some(Event::Started(start)) if start.len == Some(5)));
/// assert_eq!(get.poll_event(), Some(Event::Done));
/// assert_eq!(get.poll_timeout(), None);
/// assert!(get.is_reusable());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Get {
    config: Config,
    request: Option<Vec<u8>>,
    state: State,
    /// Bytes of the body received on this connection.
    received: u64,
    give_up_at: Instant,
    /// The least rate of the body.
    rate: LeastRate,
    /// Whether any of the answer has been received.
    has_begun: bool,
    /// Bytes of heads and trailers consumed.
    overhead: usize,
    /// Informational responses (1xx) received.
    informational: u32,
    /// Whether the server allows reuse of the connection.
    keeps_alive: bool,
    events: Vec<Event>,
}

#[derive(Debug)]
enum State {
    Head(Box<Call<RecvResponse>>),
    /// A body of known length, of which `left` bytes are missing.
    Sized {
        left: u64,
    },
    Chunked {
        chunks: Chunks,
        from: u64,
    },
    UntilClose {
        from: u64,
    },
    Ended,
}

/// The result of [`Get::handle_input`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumed<'a> {
    /// How many bytes were consumed and must not be handed in again; at 0, more are needed.
    pub consumed: usize,
    /// The next bytes of the file.
    pub body: &'a [u8],
}

/// The most bytes of all heads and trailers of an answer; curl accepts 300 KiB.
const MAX_OVERHEAD: usize = 256 << 10;
/// The most informational responses (1xx) before the answer: RFC 8297 lets a server send several.
// A server that sent them without end once held a fetch for ever.
const MAX_INFORMATIONAL: u32 = 10;

impl Get {
    /// Starts with the request due at once.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the URL cannot be written as a request.
    pub fn new(config: Config, now: Instant) -> Result<Self, Failure> {
        let (request, call) = ask(&config)?;
        Ok(Self {
            give_up_at: now + config.stall_timeout,
            rate: LeastRate::new(config.speed, now),
            has_begun: false,
            overhead: 0,
            informational: 0,
            config,
            request: Some(request),
            state: State::Head(Box::new(call)),
            received: 0,
            keeps_alive: false,
            events: Vec::new(),
        })
    }

    /// Handles bytes received from the server.
    pub fn handle_input<'a>(&'a mut self, bytes: &'a [u8], now: Instant) -> Consumed<'a> {
        self.has_begun |= !bytes.is_empty();
        // A head is a few hundred bytes: in drips it may take no longer than silence.
        if !bytes.is_empty() && !self.is_in_head() {
            self.give_up_at = now + self.config.stall_timeout;
        }
        let mut taken = Consumed {
            consumed: 0,
            body: &[],
        };
        match &mut self.state {
            State::Head(_) => taken.consumed = self.handle_head(bytes, now),
            State::Sized { left } => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                taken.body = bytes.get(..len).unwrap_or_default();
                taken.consumed = len;
                *left -= len as u64;
                self.received += len as u64;
                if *left == 0 {
                    self.end(Event::Done);
                }
            }
            State::Chunked { chunks, from } => {
                let from = *from;
                let in_trailers = chunks.is_in_trailers();
                let part = match chunks.read(bytes) {
                    Ok(part) => part,
                    Err(why) => {
                        self.fail(Failure::Malformed(why.to_owned()));
                        return taken;
                    }
                };
                let is_complete = chunks.is_at_end();
                self.received += part.body.len() as u64;
                // Chunks announce no length of the whole, so it is counted as it comes.
                if from.saturating_add(self.received) > self.config.max_len {
                    self.fail(self.too_large());
                    return taken;
                }
                if is_complete {
                    self.end(Event::Done);
                // Trailers have no length of their own in RFC 9112 §7.1.2.
                } else if in_trailers || part.consumed == 0 {
                    self.count_overhead(bytes.len(), part.consumed);
                }
                taken.consumed = part.consumed;
                taken.body = part.body;
            }
            State::UntilClose { from } => {
                let from = *from;
                self.received += bytes.len() as u64;
                if from.saturating_add(self.received) > self.config.max_len {
                    self.fail(self.too_large());
                    return taken;
                }
                taken.consumed = bytes.len();
                taken.body = bytes;
            }
            State::Ended => {}
        }
        // Bytes of the file alone count, or a server could go on for ever with chunk extensions.
        self.rate.count(taken.body.len(), now);
        taken
    }

    /// Handles the end of the connection; `orderly` when the server has closed it, rather than an
    /// error.
    pub fn handle_close(&mut self, orderly: bool) {
        match &self.state {
            // RFC 9112 §6.3: without length and chunks, the body ends with the connection.
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

    /// Ends the transfer when a timeout has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| now >= at) {
            let received = self.received;
            self.fail(if self.is_in_head() && self.has_begun {
                Failure::SlowHead
            } else if now >= self.give_up_at {
                Failure::Stalled { received }
            } else {
                Failure::TooSlow { received }
            });
        }
    }

    /// Returns when the transfer is too slow unless the head is complete, or more of the file is
    /// received. The connection needs it as a deadline: TLS may receive bytes for a long time before
    /// it returns any.
    pub const fn too_slow_at(&self) -> Instant {
        if self.is_in_head() {
            self.give_up_at
        } else {
            self.rate.due_at()
        }
    }

    const fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Returns whether the connection can be used for another request, after the file was received
    /// completely.
    pub const fn is_reusable(&self) -> bool {
        self.keeps_alive && matches!(self.state, State::Ended)
    }

    /// Returns the next bytes to send.
    pub const fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.request.take()
    }

    /// Returns the next event.
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

    fn handle_head(&mut self, bytes: &[u8], now: Instant) -> usize {
        let State::Head(call) = &mut self.state else {
            return 0;
        };
        let (consumed, response) = match call.try_response(bytes, false) {
            Ok(read) => read,
            // RFC 9110 §15.2 allows headers in every 1xx, the library in all but this one.
            Err(ureq_proto::Error::HeadersWith100) => (head_len(bytes), None),
            Err(error) => {
                self.fail(Failure::Malformed(unread(error)));
                return 0;
            }
        };
        // Bytes that are consumed without a response are a 1xx.
        self.informational += u32::from(consumed > 0 && response.is_none());
        self.count_overhead(bytes.len(), consumed);
        let (Some(response), true) = (response, self.is_in_head()) else {
            return consumed;
        };
        self.give_up_at = now + self.config.stall_timeout;
        self.rate = LeastRate::new(self.config.speed, now);
        match self.judge(&response) {
            Err(failure) => self.fail(failure),
            Ok(HeadOutcome::Redirect(url)) => self.end(Event::Redirected(url)),
            Ok(HeadOutcome::Body { from, len }) => {
                if let Err(failure) = self.begin_body(&response, from, len) {
                    self.fail(failure);
                }
            }
        }
        consumed
    }

    /// Counts consumed bytes that are not part of the file, and checks them and the bytes waiting
    /// against the limits.
    fn count_overhead(&mut self, len: usize, consumed: usize) {
        self.overhead += consumed;
        let waiting = if consumed == 0 { len } else { 0 };
        if self.overhead + waiting > MAX_OVERHEAD {
            let why = format!("heads and trailers of more than {MAX_OVERHEAD} bytes");
            self.fail(Failure::Malformed(why));
        } else if self.informational > MAX_INFORMATIONAL {
            let why = format!("more than {MAX_INFORMATIONAL} informational responses");
            self.fail(Failure::Malformed(why));
        }
    }

    /// Decides by status and headers how to continue.
    fn judge(&self, response: &Response<()>) -> Result<HeadOutcome, Failure> {
        let status = response.status();
        match status.as_u16() {
            200 if self.config.window.is_some() => Err(Failure::NoParts),
            200 => Ok(HeadOutcome::Body { from: 0, len: None }),
            // What is posted may be answered by any success (RFC 9110 §9.3.3), such as 201 and 204.
            201..=205 if self.config.url.form().is_some() => {
                Ok(HeadOutcome::Body { from: 0, len: None })
            }
            206 => {
                let range = header(response, CONTENT_RANGE).and_then(parse_content_range);
                let resumed = self.config.resume.as_ref().map(|resume| resume.len);
                match (range, &self.config.window) {
                    (Some((from, len)), None) if Some(from) == resumed => {
                        Ok(HeadOutcome::Body { from, len })
                    }
                    // From here on the window is the whole file, as far as the file reaches.
                    (Some((from, len)), Some(window))
                        if from == window.start + resumed.unwrap_or(0) =>
                    {
                        let end = len.map_or(window.end, |len| len.min(window.end));
                        Ok(HeadOutcome::Body {
                            from: from - window.start,
                            len: Some(end.saturating_sub(window.start)),
                        })
                    }
                    // RFC 9110 §15.3.7: a client must check which range it received.
                    _ => Err(Failure::Malformed("not the requested range".to_owned())),
                }
            }
            // 300 offers a choice, 304 is about a cache, and 305 is deprecated (RFC 9110 §15.4).
            301 | 302 | 303 | 307 | 308 => {
                let location = header(response, LOCATION).unwrap_or_default();
                let bad = || Failure::BadRedirect(location.to_owned());
                // RFC 9110 §10.2.2: the address may be relative to that of the request, which is that
                // of the image for a file inside of one.
                let image = self.config.url.image();
                let base = image.as_ref().unwrap_or(&self.config.url);
                // What would be relative has no colon in its first segment (RFC 3986 §4.2).
                let first = location.split(['/', '?', '#']).next();
                let is_elsewhere = first.is_some_and(|first| first.contains(':'));
                if is_elsewhere && !Url::has_scheme(location) {
                    return Err(bad());
                }
                let url = base.join(location).map_err(|_| bad())?;
                let allowed = match (self.config.url.scheme(), url.scheme()) {
                    (Scheme::Https, scheme) => scheme == Scheme::Https,
                    (_, scheme) => scheme != Scheme::Tftp,
                };
                if allowed && !location.is_empty() {
                    Ok(HeadOutcome::Redirect(url))
                } else {
                    Err(bad())
                }
            }
            // Told apart: a search for a configuration goes on with the next name.
            404 | 410 => Err(Failure::Missing(status)),
            #[cfg(feature = "root")]
            401 => Err(match challenge(response, &self.config.url) {
                Some(challenge) => Failure::Challenge(challenge),
                None => Failure::Refused(status),
            }),
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
        let has_chunks = framing::has_chunks(response, self.config.url.path());
        let has_chunks = has_chunks.map_err(Failure::Malformed)?;
        let mut len = whole_len;
        self.state = match call.proceed() {
            _ if has_chunks => State::Chunked {
                chunks: Chunks::new(),
                from,
            },
            Some(RecvResponseResult::RecvBody(call)) => match call.body_mode() {
                BodyMode::LengthDelimited(left) => {
                    let end = from.saturating_add(left);
                    let part_end = part_end(&self.config).filter(|_| from > 0);
                    if whole_len.is_some_and(|len| len != end) && part_end != Some(end) {
                        return Err(Failure::Malformed("range and length differ".to_owned()));
                    }
                    if end > self.config.max_len {
                        return Err(self.too_large());
                    }
                    if part_end.is_none() {
                        len = Some(end);
                    }
                    let connection = header(response, CONNECTION).unwrap_or_default();
                    // RFC 9112 §9.3: 1.1 keeps the connection by default, 1.0 only by an extension.
                    self.keeps_alive = response.version() == Version::HTTP_11
                        && !connection.to_ascii_lowercase().contains("close");
                    State::Sized { left }
                }
                BodyMode::Chunked | BodyMode::CloseDelimited => State::UntilClose { from },
                BodyMode::NoBody => State::Sized { left: 0 },
            },
            Some(RecvResponseResult::Redirect(_) | RecvResponseResult::Cleanup(_)) | None => {
                State::Sized { left: 0 }
            }
        };
        let validator = header(response, ETAG)
            // RFC 9110 §13.1.5: a weak validator must not be sent in If-Range.
            .filter(|tag| !tag.starts_with("W/"))
            .or_else(|| header(response, LAST_MODIFIED))
            .filter(|validator| validator.len() <= MAX_VALIDATOR_LEN);
        self.events.push(Event::Started(BodyStart {
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

/// The longest validator in bytes; those of servers have some 40. A longer one would leave no room for the
/// rest of the request.
const MAX_VALIDATOR_LEN: usize = 1_000;
/// The longest request in bytes: a URL of 8 KiB, a validator and credentials.
const MAX_REQUEST_LEN: usize = 16 << 10;

/// Returns where a part ends that is requested alone.
fn part_end(config: &Config) -> Option<u64> {
    let resume = config.resume.as_ref()?;
    resume.end.filter(|end| *end > resume.len)
}

/// Returns the bytes of the request, and the parser of its answer.
fn ask(config: &Config) -> Result<(Vec<u8>, Call<RecvResponse>), Failure> {
    let url = &config.url;
    let mut request = Request::get(url.to_string())
        .header(HOST, url.authority())
        .header(USER_AGENT, concat!("wireboot/", env!("CARGO_PKG_VERSION")))
        // Without this header any coding is acceptable (RFC 9110 §12.5.3), and pins are of the
        // plain file.
        .header(ACCEPT_ENCODING, "identity");
    if let Some(credentials) = url.credentials() {
        request = request.header(AUTHORIZATION, basic(credentials));
    }
    if let Some(credentials) = config
        .proxy
        .as_ref()
        .and_then(|proxy| proxy.credentials.as_deref())
    {
        request = request.header(PROXY_AUTHORIZATION, basic(credentials));
    }
    let resumed = config.resume.as_ref().map_or(0, |resume| resume.len);
    if let Some(window) = &config.window {
        // The last byte is named too (RFC 9110 §14.1.2).
        let (first, last) = (window.start + resumed, window.end.saturating_sub(1));
        let last = part_end(config).map_or(last, |end| last.min(window.start + end - 1));
        request = request.header(RANGE, format!("bytes={first}-{last}"));
    } else if config.resume.is_some() {
        let last = part_end(config).map_or_else(String::new, |end| (end - 1).to_string());
        request = request.header(RANGE, format!("bytes={resumed}-{last}"));
    }
    let validator = config.resume.as_ref();
    if let Some(validator) = validator.and_then(|resume| resume.validator.as_ref()) {
        request = request.header(IF_RANGE, validator);
    }
    let malformed = |error: &dyn core::fmt::Display| Failure::Malformed(error.to_string());
    let request = request.body(()).map_err(|error| malformed(&error))?;
    let call = Call::new(request).map_err(|error| malformed(&error))?;
    let mut call = call.proceed();
    let mut bytes = vec![0; MAX_REQUEST_LEN];
    let mut len = 0;
    while !call.can_proceed() {
        let rest = bytes.get_mut(len..).unwrap_or_default();
        len += call.write(rest).map_err(|error| malformed(&error))?;
    }
    bytes.truncate(len);
    // `ureq-proto` writes the origin form; a proxy needs the absolute form (RFC 9112 §3.2.2).
    if config.proxy.is_some() && bytes.starts_with(b"GET /") {
        let server = format!("http://{}", url.authority());
        bytes.splice(4..4, server.into_bytes());
    }
    if let Some(form) = url.form() {
        form.apply_to(&mut bytes);
    }
    match call.proceed().map_err(|error| malformed(&error))? {
        Some(SendRequestResult::RecvResponse(call)) => Ok((bytes, call)),
        Some(SendRequestResult::Await100(_) | SendRequestResult::SendBody(_)) | None => {
            Err(Failure::Malformed("the request has a body".to_owned()))
        }
    }
}

/// Returns the length of the head at the beginning, up to and with its empty line.
fn head_len(bytes: &[u8]) -> usize {
    let end = |end: &[u8]| {
        let at = bytes.windows(end.len()).position(|part| part == end);
        at.map_or(bytes.len(), |at| at + end.len())
    };
    end(b"\n\r\n").min(end(b"\n\n"))
}

/// Returns why a head cannot be read, without the words in which the library speaks of itself.
fn unread(error: ureq_proto::Error) -> String {
    if let ureq_proto::Error::HttpParseFail(what) = error {
        what
    } else if matches!(error, ureq_proto::Error::HttpParseTooManyHeaders) {
        format!("more than {MAX_RESPONSE_HEADERS} headers")
    } else {
        error.to_string()
    }
}

/// Returns the value of an Authorization header for `user:password` (RFC 7617).
pub fn basic(credentials: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Basic {encoded}")
}

enum HeadOutcome {
    Body { from: u64, len: Option<u64> },
    Redirect(Url),
}

/// Returns what a registry asks for, of several schemes the one that gives the least away.
#[cfg(feature = "root")]
fn challenge(response: &Response<()>, url: &Url) -> Option<String> {
    crate::oci::repository_of(url)?;
    let all = response.headers().get_all(WWW_AUTHENTICATE);
    let of = |scheme: &str| {
        let mut texts = all.iter().filter_map(|value| value.to_str().ok());
        texts.find(|text| {
            let start = text.get(..scheme.len()).unwrap_or_default();
            start.eq_ignore_ascii_case(scheme)
        })
    };
    of("Bearer ").or_else(|| of("Basic ")).map(str::to_owned)
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
