//! The client itself: states, and what takes it from one to the next.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::config::Config;
use super::lease::Lease;
use super::message::{self, Exchange};
use super::offer::{self, Offer, Offers};
use super::reply::{self, Discard, Reply};
use super::resend::Resend;
use crate::time::{Instant, Random};
use crate::wire::dhcp::{CLIENT_PORT, Message, MessageType, SERVER_PORT};
use crate::wire::udp::Datagram;

/// How often a REQUEST is sent before its offer is given up: about 7.5 s.
const MAX_REQUESTS: u32 = 4;
/// How often a known address is asked for before a new one is (INIT-REBOOT): about 3.5 s.
const MAX_REBOOT_REQUESTS: u32 = 3;
/// Pause after a refusal, so that a server which refuses all is not flooded.
const RESTART_DELAY: Duration = Duration::from_millis(500);

/// A state's name in RFC 2131 Figure 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the RFC says what each is")]
pub enum StateName {
    Init,
    Selecting,
    Requesting,
    Rebooting,
    Bound,
    Renewing,
    Rebinding,
}

/// What became of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It has come to another state.
    Entered(StateName),
    /// A server offers this; ProxyDHCP servers offer no address.
    Offered(Box<Offer>),
    /// The lease is ours; for a known address, with new times and options.
    Bound(Box<Lease>),
    /// The address must not be used any longer.
    Lost(Loss),
}

/// Why a lease or an offer came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The server refused it, with its reason (option 56) if it gave one.
    Refused {
        /// Who.
        server: Ipv4Addr,
        /// Why; printable text.
        reason: Option<String>,
    },
    /// The server that offered it did not answer the REQUEST.
    Unanswered {
        /// Who.
        server: Ipv4Addr,
    },
    /// Nobody extended it in time.
    Expired,
}

/// Between whom a message goes. Without a source address it must be sent as a raw frame to every
/// station; with one, by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Sender.
    pub source: SocketAddrV4,
    /// Receiver.
    pub destination: SocketAddrV4,
    /// What the message is, for the log.
    pub message_type: MessageType,
}

#[derive(Debug, Clone)]
enum State {
    Init {
        start_at: Instant,
    },
    Selecting {
        offers: Offers,
        /// When the best offer is taken although a better one may come.
        decide_at: Option<Instant>,
        resend: Resend,
    },
    Requesting {
        offer: Box<Offer>,
        proxy: Option<Box<Offer>>,
        resend: Resend,
    },
    Rebooting {
        address: Ipv4Addr,
        resend: Resend,
    },
    Bound {
        lease: Box<Lease>,
        since: Instant,
    },
    Renewing {
        lease: Box<Lease>,
        since: Instant,
        resend: Resend,
    },
    Rebinding {
        lease: Box<Lease>,
        since: Instant,
        resend: Resend,
    },
}

impl State {
    const fn name(&self) -> StateName {
        match self {
            Self::Init { .. } => StateName::Init,
            Self::Selecting { .. } => StateName::Selecting,
            Self::Requesting { .. } => StateName::Requesting,
            Self::Rebooting { .. } => StateName::Rebooting,
            Self::Bound { .. } => StateName::Bound,
            Self::Renewing { .. } => StateName::Renewing,
            Self::Rebinding { .. } => StateName::Rebinding,
        }
    }
}

/// A DHCP client on one interface.
#[derive(Debug)]
pub struct Client {
    config: Config,
    random: Random,
    xid: u32,
    /// When the exchange began, for `secs`.
    began_at: Instant,
    now: Instant,
    state: State,
    /// Messages that are sent once and never answered: DECLINE, RELEASE.
    farewell: Option<(Transmit, Message)>,
    events: VecDeque<Event>,
}

impl Client {
    /// Begins in INIT; the first DISCOVER is due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            xid: random.next_u32(),
            random,
            config,
            began_at: now,
            now,
            state: State::Init { start_at: now },
            farewell: None,
            events: VecDeque::new(),
        }
    }

    /// Asks for an address that was ours before (INIT-REBOOT) instead of any.
    pub fn reboot(&mut self, address: Ipv4Addr, now: Instant) {
        self.begin(now);
        let resend = Resend::new(now);
        self.enter(State::Rebooting { address, resend });
    }

    /// Gives the lease back (RELEASE) and stops asking until [`Client::link_up`].
    pub fn release(&mut self, now: Instant) {
        self.now = now;
        if let Some(lease) = self.lease() {
            let (address, server) = (lease.address, lease.server);
            let message = message::release(&self.config, self.exchange(), address, server);
            let transmit = unicast(address, server, MessageType::Release);
            self.farewell = Some((transmit, message));
        }
        let start_at = Instant::from_millis(u64::MAX);
        self.enter(State::Init { start_at });
    }

    /// Refuses an address that another host uses (DECLINE) and begins anew after `pause`.
    pub fn decline(&mut self, pause: Duration, now: Instant) {
        self.now = now;
        if let Some(lease) = self.lease() {
            let (address, server) = (lease.address, lease.server);
            let message = message::decline(&self.config, self.exchange(), address, server);
            self.farewell = Some((broadcast(MessageType::Decline), message));
        }
        self.enter(State::Init {
            start_at: now + pause,
        });
    }

    /// Takes notice that the link is there again: what is being asked is asked again at once, and
    /// a bound client has its address confirmed, since the network may be another one.
    pub fn link_up(&mut self, now: Instant) {
        self.now = now;
        match &mut self.state {
            State::Init { start_at } => *start_at = now,
            State::Selecting { resend, .. }
            | State::Requesting { resend, .. }
            | State::Rebooting { resend, .. }
            | State::Renewing { resend, .. }
            | State::Rebinding { resend, .. } => resend.restart(now),
            State::Bound { lease, .. } => {
                let address = lease.address;
                self.reboot(address, now);
            }
        }
    }

    /// Takes a datagram that came to port 68.
    ///
    /// # Errors
    /// Why it was not taken; the client is as it was.
    pub fn handle_input(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Discard> {
        self.now = now;
        let reply = reply::read(&datagram, self.xid, self.config.chaddr)?;
        match reply.message_type {
            MessageType::Offer => self.handle_offer(&reply),
            MessageType::Ack => self.handle_ack(&reply),
            MessageType::Nak => self.handle_nak(&reply),
            other @ (MessageType::Discover
            | MessageType::Request
            | MessageType::Decline
            | MessageType::Release
            | MessageType::Inform) => Err(Discard::Unexpected(other)),
        }
    }

    fn handle_offer(&mut self, reply: &Reply) -> Result<(), Discard> {
        let State::Selecting {
            offers, decide_at, ..
        } = &mut self.state
        else {
            return Err(Discard::Unexpected(MessageType::Offer));
        };
        let offer = Offer::read(&reply.message, reply.server);
        if !offer.is_proxy() {
            usable(offer.lease.address)?;
            decide_at.get_or_insert(self.now + self.config.proxy_wait);
        }
        self.events
            .push_back(Event::Offered(Box::new(offer.clone())));
        offers.add(offer);
        self.decide();
        Ok(())
    }

    /// Leaves SELECTING when one of these holds: any offer is good enough, none can be better, or
    /// the wait for a better one is over.
    fn decide(&mut self) {
        let State::Selecting {
            offers, decide_at, ..
        } = &self.state
        else {
            return;
        };
        let is_over = decide_at.is_some_and(|at| self.now >= at);
        if self.config.wants_boot_file && !offers.are_complete() && !is_over {
            return;
        }
        let Some(best) = offers.best() else { return };
        let (offer, proxy) = (
            Box::new(best.clone()),
            offers.proxy().cloned().map(Box::new),
        );
        let resend = Resend::new(self.now);
        self.enter(State::Requesting {
            offer,
            proxy,
            resend,
        });
    }

    fn handle_ack(&mut self, reply: &Reply) -> Result<(), Discard> {
        let expected = match &self.state {
            State::Requesting { offer, .. } => Some(offer.lease.server),
            State::Renewing { lease, .. } => Some(lease.server),
            State::Rebooting { .. } | State::Rebinding { .. } => None,
            State::Init { .. } | State::Selecting { .. } | State::Bound { .. } => {
                return Err(Discard::Unexpected(MessageType::Ack));
            }
        };
        if expected.is_some_and(|server| server != reply.server) {
            return Err(Discard::WrongServer(reply.server));
        }
        usable(reply.message.yiaddr)?;
        let mut lease = Lease::read(&reply.message, reply.server);
        match &self.state {
            State::Requesting {
                offer: chosen,
                proxy,
                ..
            } => {
                // Some servers name the boot file in the OFFER only.
                offer::merge(&mut lease, &chosen.lease);
                if let Some(proxy) = proxy {
                    offer::merge(&mut lease, &proxy.lease);
                }
            }
            State::Renewing { lease: old, .. } | State::Rebinding { lease: old, .. }
                if old.address != lease.address =>
            {
                return Err(Discard::UnusableAddress(lease.address));
            }
            State::Init { .. }
            | State::Selecting { .. }
            | State::Rebooting { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. } => {}
        }
        let since = self.now;
        self.enter(State::Bound {
            lease: Box::new(lease.clone()),
            since,
        });
        self.events.push_back(Event::Bound(Box::new(lease)));
        Ok(())
    }

    fn handle_nak(&mut self, reply: &Reply) -> Result<(), Discard> {
        match &self.state {
            State::Requesting { offer, .. } if offer.lease.server != reply.server => {
                return Err(Discard::WrongServer(reply.server));
            }
            State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. } => {}
            State::Init { .. } | State::Selecting { .. } | State::Bound { .. } => {
                return Err(Discard::Unexpected(MessageType::Nak));
            }
        }
        let reason = reply
            .message
            .options
            .text(crate::wire::option::code::MESSAGE)
            .map(|text| text.chars().filter(|c| !c.is_control()).collect());
        self.lose(Loss::Refused {
            server: reply.server,
            reason,
        });
        Ok(())
    }

    /// Takes notice of the time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        match &mut self.state {
            State::Init { start_at } if now >= *start_at => {
                self.begin(now);
                self.enter(State::Selecting {
                    offers: Offers::default(),
                    decide_at: None,
                    resend: Resend::new(now),
                });
            }
            State::Init { .. } => {}
            State::Selecting { resend, .. } => {
                resend.handle_timeout(now);
                self.decide();
            }
            State::Requesting { offer, resend, .. } => {
                resend.handle_timeout(now);
                if now >= resend.next_at() && resend.sent() >= MAX_REQUESTS {
                    let server = offer.lease.server;
                    self.lose(Loss::Unanswered { server });
                }
            }
            State::Rebooting { resend, .. } => {
                resend.handle_timeout(now);
                if now >= resend.next_at() && resend.sent() >= MAX_REBOOT_REQUESTS {
                    self.state = State::Init { start_at: now };
                    self.handle_timeout(now);
                }
            }
            State::Bound { .. } | State::Renewing { .. } | State::Rebinding { .. } => {
                self.handle_lease_times();
            }
        }
    }

    fn handle_lease_times(&mut self) {
        let now = self.now;
        let (lease, since) = match &mut self.state {
            State::Bound { lease, since } => (lease, *since),
            State::Renewing {
                lease,
                since,
                resend,
            }
            | State::Rebinding {
                lease,
                since,
                resend,
            } => {
                resend.handle_timeout(now);
                (lease, *since)
            }
            State::Init { .. }
            | State::Selecting { .. }
            | State::Requesting { .. }
            | State::Rebooting { .. } => return,
        };
        let reached = |time: Option<Duration>| time.is_some_and(|t| now >= since + t);
        let (renew, rebind, expired) = (
            reached(lease.renewal_time),
            reached(lease.rebinding_time),
            reached(lease.lease_time),
        );
        let lease = lease.clone();
        let resend = Resend::new(now);
        match self.state.name() {
            _ if expired => self.lose(Loss::Expired),
            StateName::Bound | StateName::Renewing if rebind => {
                self.begin(now);
                self.enter(State::Rebinding {
                    lease,
                    since,
                    resend,
                });
            }
            StateName::Bound if renew => {
                self.begin(now);
                self.enter(State::Renewing {
                    lease,
                    since,
                    resend,
                });
            }
            StateName::Init
            | StateName::Selecting
            | StateName::Requesting
            | StateName::Rebooting
            | StateName::Bound
            | StateName::Renewing
            | StateName::Rebinding => {}
        }
    }

    /// Writes the next message to be sent to `buf`, in place of what it holds.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (transmit, message) = self.farewell.take().or_else(|| self.due())?;
        buf.clear();
        // Everything in the message is ours and short, so encoding it cannot fail.
        message.encode(buf).ok()?;
        Some(transmit)
    }

    fn due(&mut self) -> Option<(Transmit, Message)> {
        let (now, exchange) = (self.now, self.exchange());
        let (random, config) = (&mut self.random, &self.config);
        match &mut self.state {
            State::Init { .. } | State::Bound { .. } => None,
            State::Selecting { resend, .. } => resend.take(now, random).then(|| {
                let message = message::discover(config, exchange);
                (broadcast(MessageType::Discover), message)
            }),
            State::Requesting { offer, resend, .. } => resend.take(now, random).then(|| {
                let Lease {
                    address, server, ..
                } = offer.lease;
                let message = message::request_offered(config, exchange, address, server);
                (broadcast(MessageType::Request), message)
            }),
            State::Rebooting { address, resend } => resend.take(now, random).then(|| {
                let message = message::request_known(config, exchange, *address);
                (broadcast(MessageType::Request), message)
            }),
            State::Renewing {
                lease,
                since,
                resend,
            } => {
                let end_at = *since + lease.rebinding_time.unwrap_or_default();
                resend.take_halving(now, end_at).then(|| {
                    let message = message::request_extension(config, exchange, lease.address);
                    let transmit = unicast(lease.address, lease.server, MessageType::Request);
                    (transmit, message)
                })
            }
            State::Rebinding {
                lease,
                since,
                resend,
            } => {
                let end_at = *since + lease.lease_time.unwrap_or_default();
                resend.take_halving(now, end_at).then(|| {
                    let message = message::request_extension(config, exchange, lease.address);
                    let everyone = Ipv4Addr::BROADCAST;
                    (
                        unicast(lease.address, everyone, MessageType::Request),
                        message,
                    )
                })
            }
        }
    }

    /// Returns what has happened, one at a time.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Client::handle_timeout`] must be called; none when there is nothing to wait
    /// for but input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end = |since: Instant, time: Option<_>| time.map(|time| since + time);
        match &self.state {
            State::Init { start_at } => {
                (*start_at < Instant::from_millis(u64::MAX)).then_some(*start_at)
            }
            State::Selecting {
                decide_at, resend, ..
            } => Some(
                decide_at
                    .unwrap_or_else(|| resend.next_at())
                    .min(resend.next_at()),
            ),
            State::Requesting { resend, .. } | State::Rebooting { resend, .. } => {
                Some(resend.next_at())
            }
            State::Bound { lease, since } => end(*since, lease.renewal_time),
            State::Renewing {
                lease,
                since,
                resend,
            } => end(*since, lease.rebinding_time).map(|at| at.min(resend.next_at())),
            State::Rebinding {
                lease,
                since,
                resend,
            } => end(*since, lease.lease_time).map(|at| at.min(resend.next_at())),
        }
    }

    /// Returns the transaction number of the exchange, which replies must carry.
    pub const fn xid(&self) -> u32 {
        self.xid
    }

    /// Returns the state.
    pub const fn state(&self) -> StateName {
        self.state.name()
    }

    fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { lease, .. }
            | State::Renewing { lease, .. }
            | State::Rebinding { lease, .. } => Some(lease),
            State::Requesting { offer, .. } => Some(&offer.lease),
            State::Init { .. } | State::Selecting { .. } | State::Rebooting { .. } => None,
        }
    }

    /// Begins another exchange: a new `xid`, and `secs` from 0.
    fn begin(&mut self, now: Instant) {
        self.xid = self.random.next_u32();
        self.began_at = now;
        self.now = now;
    }

    fn exchange(&self) -> Exchange {
        Exchange {
            xid: self.xid,
            secs: u16::try_from(self.now.since(self.began_at).as_secs()).unwrap_or(u16::MAX),
        }
    }

    fn lose(&mut self, loss: Loss) {
        let start_at = match loss {
            Loss::Refused { .. } => self.now + RESTART_DELAY,
            Loss::Unanswered { .. } | Loss::Expired => self.now,
        };
        self.events.push_back(Event::Lost(loss));
        self.enter(State::Init { start_at });
        self.handle_timeout(self.now);
    }

    /// The only way from one state to another.
    fn enter(&mut self, state: State) {
        self.state = state;
        self.events.push_back(Event::Entered(self.state.name()));
    }
}

fn usable(address: Ipv4Addr) -> Result<(), Discard> {
    if reply::is_host(address) {
        Ok(())
    } else {
        Err(Discard::UnusableAddress(address))
    }
}

const fn broadcast(message_type: MessageType) -> Transmit {
    unicast(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, message_type)
}

const fn unicast(source: Ipv4Addr, destination: Ipv4Addr, message_type: MessageType) -> Transmit {
    Transmit {
        source: SocketAddrV4::new(source, CLIENT_PORT),
        destination: SocketAddrV4::new(destination, SERVER_PORT),
        message_type,
    }
}
