//! States of the client, and the events that it reports.

use crate::prelude::*;
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use crate::dhcp::boot_service::BootSource;
use crate::dhcp::lease::{Lease, LeaseTimes};
use crate::dhcp::offer::{Offer, Offers};
use crate::dhcp::resend::Resend;
use crate::packet::dhcp::{CLIENT_PORT, MessageType, SERVER_PORT};
use crate::packet::ethernet::MacAddress;
use crate::time::{Instant, Seconds};

/// A state's name in RFC 2131 Figure 5, and those that the figure leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the RFC says what each is")]
pub enum StateName {
    Init,
    Selecting,
    Requesting,
    Rebooting,
    /// The lease is granted; it is made sure that nobody else has the address (RFC 5227 §2.1).
    Probing,
    Bound,
    Renewing,
    Rebinding,
    /// The address is known; only the options that go with it are asked for (RFC 2131 §3.4).
    Informing,
    /// The lease has been given back.
    Stopped,
}

impl fmt::Display for StateName {
    /// Writes the name as the RFC has it, and what it means where that is not plain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // In capitals what RFC 2131 has in figure 5; it has no state for probing and INFORM.
            Self::Init => "INIT",
            Self::Selecting => "SELECTING, waiting for offers",
            Self::Requesting => "REQUESTING the address offered",
            Self::Rebooting => "REBOOTING, asking for the address of the last time",
            Self::Probing => "looking for another host with the address",
            Self::Bound => "BOUND",
            Self::Renewing => "renewing the lease (RENEWING)",
            Self::Rebinding => "asking every server for the lease (REBINDING)",
            Self::Informing => "asking for options (INFORM)",
            Self::Stopped => "stopped",
        })
    }
}

/// Change of the client that its program may have to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It has entered another state.
    Entered(StateName),
    /// A server offers this; ProxyDHCP servers offer no address.
    Offered(Box<Offer>),
    /// The lease is ours; for a known address, with new times and options. It takes the place of
    /// the one before.
    Bound(Box<Lease>),
    /// A server grants another address than it was asked for; that is taken.
    OtherAddress {
        /// Who.
        server: Ipv4Addr,
        /// What was asked for.
        asked: Ipv4Addr,
        /// What was granted.
        granted: Ipv4Addr,
    },
    /// What was offered or requested was not granted; an earlier lease is still ours.
    Failed(Loss),
    /// The lease is over: its address must not be used any longer.
    Lost(Loss),
    /// No server has answered the request to extend the lease, which is repeated; once for each
    /// lease.
    Unanswered {
        /// Time until the end of the lease; none if it is infinite.
        left: Option<Duration>,
    },
    /// Something else that a person may want to know.
    Notice(Notice),
    /// A server says that this network is for IPv6 (RFC 8925); it is not asked again before `wait`
    /// is over or the link has changed.
    Ipv6Only {
        /// Who.
        server: Ipv4Addr,
        /// How long.
        wait: Duration,
    },
}

impl Event {
    /// Returns the reason of the server that refused, empty if it gave none; none when it is no
    /// refusal.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Failed(Loss::Refused { reason, .. })
            | Self::Lost(Loss::Refused { reason, .. }) => Some(reason.as_deref().unwrap_or("")),
            Self::Entered(_)
            | Self::Offered(_)
            | Self::Bound(_)
            | Self::OtherAddress { .. }
            | Self::Failed(_)
            | Self::Lost(_)
            | Self::Unanswered { .. }
            | Self::Notice(_)
            | Self::Ipv6Only { .. } => None,
        }
    }
}

/// Facts about servers and other hosts that a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Nobody has offered a boot file.
    AwaitsBootFile {
        /// How much longer the best offer waits for one.
        time: Duration,
    },
    /// One host has claimed every address that was offered: it answers ARP for others.
    ProxyArp {
        /// The host.
        owner: MacAddress,
        /// The last address.
        address: Ipv4Addr,
        /// It is used all the same.
        is_taken: bool,
    },
    /// A server offers what does not fit what the chosen one says.
    Contradiction {
        /// Who.
        server: Ipv4Addr,
        /// What it is about.
        title: &'static str,
        /// What it says.
        says: String,
        /// Who was chosen.
        chosen: Ipv4Addr,
        /// What that one says.
        instead_of: String,
    },
    /// The next offers of a server that did not grant one are passed over.
    PassedOver {
        /// Who.
        server: Ipv4Addr,
        /// How long.
        time: Duration,
    },
    /// The offer of one server is requested, since another has not granted its own.
    Instead {
        /// Whose offer is requested.
        server: Ipv4Addr,
        /// The address that it offers.
        address: Ipv4Addr,
        /// Who has failed.
        of: Ipv4Addr,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitsBootFile { time } => write!(
                f,
                "no boot file has been offered; waiting {:.0} s more for one, as PXE firmware does",
                Seconds(*time)
            ),
            Self::ProxyArp {
                owner,
                address,
                is_taken: false,
            } => write!(
                f,
                "{owner} claims every address that is offered, {address} too, as a router with proxy \
                 ARP does; --acd off takes addresses without a probe"
            ),
            Self::ProxyArp { owner, address, .. } => write!(
                f,
                "using {address} although {owner} claims it, as it does every address (proxy ARP)"
            ),
            Self::Contradiction {
                server,
                title,
                says,
                chosen,
                instead_of,
            } => write!(
                f,
                "a second server, {server}, says {title} is {says}; {chosen} says {instead_of}; \
                 'wireboot discover' shows both"
            ),
            Self::PassedOver { server, time } => {
                write!(
                    f,
                    "offers of {server} are passed over for {} s",
                    Seconds(*time)
                )
            }
            Self::Instead {
                server,
                address,
                of,
            } => write!(
                f,
                "requesting {address} of {server} instead of the offer of {of}"
            ),
        }
    }
}

/// Reason why a lease was lost, or an offer not granted.
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
    /// Another host has the address; the server has been sent a DECLINE.
    Conflict {
        /// The address.
        address: Ipv4Addr,
        /// Who has it.
        owner: MacAddress,
    },
}

/// Addresses of a message to be sent. Without a source address it must be sent as a raw frame to every
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

impl Transmit {
    /// From no address to every station.
    pub(crate) const fn broadcast(message_type: MessageType) -> Self {
        Self::unicast(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, message_type)
    }

    /// From one address to another, client to server.
    pub(super) const fn unicast(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        message_type: MessageType,
    ) -> Self {
        Self {
            source: SocketAddrV4::new(source, CLIENT_PORT),
            destination: SocketAddrV4::new(destination, SERVER_PORT),
            message_type,
        }
    }
}

/// A lease and when it was asked for, which its times count from (RFC 2131 §4.4.5).
#[derive(Debug, Clone)]
pub(super) struct ActiveLease {
    pub(super) lease: Box<Lease>,
    pub(super) since: Instant,
    pub(super) server: Ipv4Addr,
    /// Source address of the ACK.
    pub(super) source: Ipv4Addr,
    /// Nobody granted the address, only what goes with it (INFORM).
    pub(super) is_own: bool,
}

impl ActiveLease {
    /// Returns the address and the server that granted it.
    pub(super) fn granted(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        // Nobody granted an own address, so nobody is to take it back.
        (!self.is_own).then_some((self.lease.address, self.server))
    }

    /// T1; none for a lease without end.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.after(|times| times.renewal)
    }

    /// T2; none for a lease without end.
    pub(super) fn rebind_at(&self) -> Option<Instant> {
        self.after(|times| times.rebinding)
    }

    /// When it is over; none for a lease without end.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.after(|times| times.lease)
    }

    fn after(&self, time: fn(LeaseTimes) -> Duration) -> Option<Instant> {
        self.lease.times.map(|times| self.since + time(times))
    }
}

/// An address that was asked for and not granted in time, which a slow server may grant yet.
#[derive(Debug, Clone)]
pub(super) struct Requested {
    pub(super) address: Ipv4Addr,
    /// Who was asked; everybody in INIT-REBOOT.
    pub(super) server: Option<Ipv4Addr>,
    pub(super) boots: Vec<BootSource>,
    pub(super) sent_at: Instant,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    Init {
        start_at: Instant,
    },
    Selecting {
        offers: Offers,
        /// When the best offer is requested although a better one may follow.
        decide_at: Option<Instant>,
        resend: Resend,
    },
    Requesting {
        offer: Box<Offer>,
        proxy: Option<Box<Offer>>,
        /// The other offers.
        offers: Offers,
        decide_at: Option<Instant>,
        requested_at: Instant,
        resend: Resend,
    },
    Rebooting {
        address: Ipv4Addr,
        resend: Resend,
    },
    Probing {
        active: ActiveLease,
    },
    Bound {
        active: ActiveLease,
    },
    Renewing {
        active: ActiveLease,
        resend: Resend,
    },
    Rebinding {
        active: ActiveLease,
        resend: Resend,
    },
    Informing {
        address: Ipv4Addr,
        resend: Resend,
    },
    Stopped,
}

impl State {
    pub(super) const fn name(&self) -> StateName {
        match self {
            Self::Init { .. } => StateName::Init,
            Self::Selecting { .. } => StateName::Selecting,
            Self::Requesting { .. } => StateName::Requesting,
            Self::Rebooting { .. } => StateName::Rebooting,
            Self::Probing { .. } => StateName::Probing,
            Self::Bound { .. } => StateName::Bound,
            Self::Renewing { .. } => StateName::Renewing,
            Self::Rebinding { .. } => StateName::Rebinding,
            Self::Informing { .. } => StateName::Informing,
            Self::Stopped => StateName::Stopped,
        }
    }

    /// Returns the lease in use.
    pub(super) const fn active(&self) -> Option<&ActiveLease> {
        match self {
            Self::Bound { active }
            | Self::Renewing { active, .. }
            | Self::Rebinding { active, .. } => Some(active),
            Self::Init { .. }
            | Self::Selecting { .. }
            | Self::Requesting { .. }
            | Self::Rebooting { .. }
            | Self::Probing { .. }
            | Self::Informing { .. }
            | Self::Stopped => None,
        }
    }

    /// Returns the address that is not ours yet and has been asked for.
    pub(super) const fn asked_for(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Requesting { offer, .. } => Some(offer.address),
            Self::Rebooting { address, .. } => Some(*address),
            Self::Init { .. }
            | Self::Selecting { .. }
            | Self::Probing { .. }
            | Self::Bound { .. }
            | Self::Renewing { .. }
            | Self::Rebinding { .. }
            | Self::Informing { .. }
            | Self::Stopped => None,
        }
    }

    /// Returns the address that a server has reserved for us by a lease, or by an offer that has been
    /// requested, and the server.
    pub(super) fn granted(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match self {
            // The ACK may be under way.
            Self::Requesting { offer, .. } => Some((offer.address, offer.server)),
            Self::Probing { active }
            | Self::Bound { active }
            | Self::Renewing { active, .. }
            | Self::Rebinding { active, .. } => active.granted(),
            Self::Init { .. }
            | Self::Selecting { .. }
            | Self::Rebooting { .. }
            | Self::Informing { .. }
            | Self::Stopped => None,
        }
    }

    /// Returns what is being sent until it is answered.
    pub(super) const fn resend(&mut self) -> Option<&mut Resend> {
        match self {
            Self::Selecting { resend, .. }
            | Self::Requesting { resend, .. }
            | Self::Rebooting { resend, .. }
            | Self::Renewing { resend, .. }
            | Self::Rebinding { resend, .. }
            | Self::Informing { resend, .. } => Some(resend),
            Self::Init { .. } | Self::Probing { .. } | Self::Bound { .. } | Self::Stopped => None,
        }
    }
}
