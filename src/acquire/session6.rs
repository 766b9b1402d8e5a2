//! IPv6 on one interface: the sockets and settings around a [`Ipv6Client`].

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::client_config::{holder, identity, seed};
use super::record6::{Granted6, Record6};
use super::station6::{MAX_BATCH, Station6};
use crate::config::{Config, Family, HandOver};
use crate::error::{Error, Reason};
use crate::handover::{self, EarlierFiles};
use crate::link::{self, Change, Ipv6Settings, Link, Presence};
use crate::report;
use crate::sys;
use wireboot_proto::dhcp::config::Detection;
use wireboot_proto::ipv6::client::{Config6, Ipv6Client};
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::export::Lease6Fields;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::ipv6::lease::{Given6, Lease6};
use wireboot_proto::packet::icmpv6::{HOP_LIMIT, NeighborMessage, ROUTER_ADVERTISEMENT};
use wireboot_proto::time::Instant;

/// How long an offer waits for a better one if no boot file is needed. RFC 8415 §18.2.1 has the first delay,
/// a second; other servers of a link answer within milliseconds.
const OFFER_WAIT: Duration = Duration::from_millis(250);
/// The largest message: that of a link with jumbo frames.
const MAX_MESSAGE_LEN: usize = 9216;
/// Messages that are noted in a survey; more are a flood.
const MAX_HEARD: usize = 64;

/// An interface that asks routers and servers of IPv6.
#[derive(Debug)]
pub struct Session6 {
    link: Arc<Link>,
    config: Config6,
    ignores_server_dns: bool,
    given: Given6,
    hand_over: HandOver,
    /// Once ours are written.
    earlier_files: Option<EarlierFiles>,
    record: Record6,
    /// What an earlier command was granted, which is given back, and nothing else done.
    held: Option<Granted6>,
    /// Whether the script configures the interface, and nothing else does.
    is_left: bool,
    may_enable: bool,
    settings: Ipv6Settings,
    /// From the first carrier on.
    running: Option<Box<Running>>,
    has_carrier: bool,
    /// The kernel's queues are active.
    is_running: bool,
    /// A router or server has said something since it was last asked for.
    has_news: bool,
    /// A server has, who may have renewed a lease.
    is_answered: bool,
    /// What a survey has heard.
    heard: Vec<Heard6>,
}

/// A message of a router or server.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard6 {
    /// Who sent it.
    pub source: Ipv6Addr,
    /// The message of a router from its type on, or of a server.
    pub message: Vec<u8>,
    /// Whether it is a router's.
    pub is_router: bool,
    /// How long after the carrier it came.
    pub after: Duration,
}

#[derive(Debug)]
struct Running {
    client: Ipv6Client,
    station: Station6,
    /// The link-local address is set.
    has_link_local: bool,
}

impl Session6 {
    /// Prepares an interface, which may be down.
    ///
    /// # Errors
    /// [`Reason::Configure`] with what the kernel refused.
    pub(super) fn open(link: Arc<Link>, config: &Config, purpose: Purpose) -> Result<Self, Error> {
        let dhcp = &config.dhcp;
        // Who races IPv4 leaves IPv6 off where it is.
        let may_enable = dhcp.family == Some(Family::V6);
        let mac = link.mac;
        let options = identity(mac, dhcp);
        Ok(Self {
            settings: Ipv6Settings::prepare(&link, may_enable)?,
            may_enable,
            link,
            config: Config6 {
                mac,
                identity: Identity::new(dhcp.identify, &dhcp.introduction, mac, &options),
                purpose,
                given: dhcp
                    .given
                    .ipv6
                    .lease()
                    .filter(|_| purpose == Purpose::Lease),
                // The user may have named one.
                wants_boot_file: dhcp.proxy_wait.is_some() && config.boot.file.is_none(),
                offer_wait: dhcp.proxy_wait.unwrap_or(OFFER_WAIT),
                // As for IPv4, there must be time for the REQUEST.
                boot_file_wait: dhcp.late_wait.min(dhcp.timeout / 2),
                detection: dhcp.detection,
                seed: seed(mac),
            },
            ignores_server_dns: dhcp.given.ignores_server_dns,
            given: dhcp.given.ipv6.clone(),
            hand_over: dhcp.hand_over,
            earlier_files: None,
            record: Record6::new(mac, dhcp),
            held: None,
            is_left: dhcp.script_only,
            running: None,
            has_carrier: false,
            is_running: false,
            has_news: false,
            is_answered: false,
            heard: Vec::new(),
        })
    }

    /// Prepares an interface to give back what is on record for it; none if nothing is.
    ///
    /// # Errors
    /// As [`Session6::open`].
    pub(super) fn open_held(link: Link, config: &Config) -> Result<Option<Self>, Error> {
        let Some(held) = Record6::new(link.mac, &config.dhcp).read() else {
            return Ok(None);
        };
        let mut session = Self::open(Arc::new(link), config, Purpose::Lease)?;
        session.config.identity.duid.clone_from(&held.duid);
        session.config.identity.iaid = held.iaid;
        session.config.given = None;
        session.config.detection = Detection::Off;
        session.settings.remove_addresses(&held.addresses);
        session.held = Some(held);
        Ok(Some(session))
    }

    /// Returns what a survey has heard, each message once.
    #[cfg(feature = "discover")]
    pub(super) fn take_heard(&mut self) -> Vec<Heard6> {
        std::mem::take(&mut self.heard)
    }

    /// Returns whether servers are asked for configuration alone.
    pub(super) fn wants_information(&self) -> bool {
        self.config.purpose == Purpose::Information
    }

    /// The interface.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The interface, for a user beside the session.
    pub(super) fn shared_link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// Who this client is for servers, once there was a carrier.
    pub fn identity(&self) -> Option<&Identity> {
        let client = &self.running.as_ref()?.client;
        client.is_asking().then(|| client.identity())
    }

    /// Returns the fields of its lease for programs, of an event if there is one.
    pub fn fields<'a>(&'a self, event: Option<&'a str>, lease: &'a Lease6) -> Lease6Fields<'a> {
        let link = &self.link;
        Lease6Fields::new(event, (&link.name, &link.mac), self.identity(), lease)
    }

    /// Tells others of what it has, which is new or has changed.
    pub fn report(&self, is_new: bool, lease: &Lease6) {
        let event = if is_new { "bound" } else { "renew" };
        let (name, fields) = (&self.link.name, self.fields(Some(event), lease));
        report::change6(name, is_new, self.identity(), lease, &fields);
    }

    /// Returns the paths of all files that it reads, writes or removes.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = handover::paths6(&holder(&self.link, &[]));
        paths.extend(self.settings.paths());
        paths.extend(self.record.paths());
        paths
    }

    /// Returns whether there has been a carrier.
    pub(super) const fn has_begun(&self) -> bool {
        self.running.is_some()
    }

    /// Returns since when routers and servers may be asked; none without a carrier.
    pub(super) fn began_at(&self) -> Option<Instant> {
        let running = self.running.as_ref();
        running.map(|running| running.client.began_at())
    }

    /// Handles a change of the interface.
    ///
    /// # Errors
    /// As [`Session6::handle_timeout`].
    pub(super) fn handle_link(&mut self, change: &Change, now: Instant) -> Result<(), Error> {
        match self.link.follow(change) {
            Some(Presence::Same) => {}
            Some(Presence::Removed) => {
                let name = &self.link.name;
                log::warn!("{name}: the interface has been removed; waiting for it to return");
                self.running = None;
                self.has_carrier = false;
                // There is no lease any more.
                self.has_news = true;
            }
            // The kernel has forgotten what was set.
            Some(Presence::Returned) => {
                let prepared = Ipv6Settings::prepare(&self.link, self.may_enable);
                match prepared.and_then(|new| link::raise([&*self.link]).map(|()| new)) {
                    Ok(new) => self.settings = new,
                    // It may be gone again.
                    Err(error) => log::warn!("{}", error.chain()),
                }
            }
            None => return Ok(()),
        }
        let carrier = change.link.carrier && !change.gone;
        if carrier && self.running.is_none() {
            self.running = Some(Box::new(self.begin(now)?));
            log::debug!("{}: carrier; asking for IPv6", self.link.name);
        } else if carrier && (!self.has_carrier || (change.link.running && !self.is_running)) {
            // What was sent before the kernel's queues were active is lost, and it then sets the MTU of
            // IPv6 anew (addrconf_notify).
            if let Some(running) = &mut self.running {
                if self.has_carrier {
                    running.client.handle_carrier(now);
                } else {
                    running.client.handle_return(now);
                }
            }
            self.has_news = true;
        }
        (self.has_carrier, self.is_running) = (carrier, change.link.running);
        Ok(())
    }

    fn begin(&self, now: Instant) -> Result<Running, Error> {
        let mut client = Ipv6Client::new(self.config.clone(), now);
        if let Some(held) = &self.held {
            client.give_back(held.server_id.clone(), &held.addresses, now);
        }
        let station = Station6::open(Arc::clone(&self.link), client.link_local())?;
        Ok(Running {
            client,
            station,
            has_link_local: false,
        })
    }

    /// Handles what has arrived.
    ///
    /// # Errors
    /// [`Reason::Refused`] when another host has the link-local address, [`Reason::System`] when the kernel
    /// fails to deliver.
    pub(super) fn handle_input(&mut self, now: Instant) -> Result<(), Error> {
        let name = &self.link.name;
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        running.station.record();
        let mut buf = [0; MAX_MESSAGE_LEN];
        for _ in 0..MAX_BATCH {
            let Some(input) = running.station.receive_neighbor(&mut buf)? else {
                break;
            };
            let message = buf.get(..input.len).unwrap_or_default();
            let (source, hop_limit) = (input.source, input.hop_limit);
            if input.is_fragmented {
                note_ignored(name, source, &"it came in fragments");
                continue;
            }
            let client = &mut running.client;
            if message.first() == Some(&ROUTER_ADVERTISEMENT) {
                if !client.is_asking() {
                    continue;
                }
                match client.handle_router(source, hop_limit, message, now) {
                    Ok(()) => {
                        self.has_news = true;
                        hear(&mut self.heard, client, (source, message, true), now);
                    }
                    Err(why) => note_ignored(name, source, &why),
                }
                continue;
            }
            // RFC 4861 §7.1: what is malformed or was forwarded is ignored.
            let message = NeighborMessage::decode(message).ok();
            let message = message.filter(|_| hop_limit == HOP_LIMIT);
            let conflict = message.and_then(|message| client.handle_neighbor(source, message, now));
            if let Some(conflict) = conflict {
                let what = format!("{name}: another host has {}", conflict.address);
                if conflict.is_link_local {
                    return Err(Box::new(Reason::Refused(format!(
                        "{what}, the link-local address of this interface; is its hardware address \
                         in use twice?"
                    ))));
                }
                if !client.is_asking() {
                    return Err(Box::new(Reason::Refused(format!(
                        "{what}, which was given"
                    ))));
                }
                log::warn!("{what}; it is not used");
                self.has_news = true;
            }
        }
        for _ in 0..MAX_BATCH {
            let Some((len, source)) = running.station.receive_server(&mut buf) else {
                break;
            };
            let payload = buf.get(..len).unwrap_or_default();
            let client = &mut running.client;
            match client.handle_server(source, payload, now) {
                Ok(()) => (self.has_news, self.is_answered) = (true, true),
                Err(why) => note_ignored(name, source, &why),
            }
            hear(&mut self.heard, client, (source, payload, false), now);
        }
        Ok(())
    }

    /// Drives the timers, and sends what is due.
    ///
    /// # Errors
    /// [`Reason::Configure`] when the link-local address or its socket is refused.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let (client, station) = (&mut running.client, &mut running.station);
        if !running.has_link_local && client.may_use_link_local(now) {
            self.settings
                .set_link_local(&self.link, client.link_local())?;
            running.has_link_local = true;
            if client.is_asking() {
                station.bind_client_port()?;
            }
        }
        client.handle_timeout(now);
        self.has_news |= client.take_ended();
        while let Some(transmit) = client.poll_transmit(now) {
            // It is sent again.
            if let Err(error) = station.send(&transmit) {
                log::debug!("{}: {}", self.link.name, error.chain());
            }
        }
        Ok(())
    }

    /// Returns when [`Session6::handle_timeout`] must be called.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.running.as_ref()?.client.poll_timeout(now)
    }

    /// Adds the descriptors to wait on.
    pub(super) fn add_sources<'a>(&'a self, sources: &mut Vec<BorrowedFd<'a>>) {
        if let Some(running) = &self.running {
            running.station.add_sources(sources);
        }
    }

    /// Returns whether nothing better is to be expected than the lease that there is.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.client.is_settled(now))
    }

    /// Returns whether a server has named a boot file.
    pub(super) fn has_boot_file(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.client.has_boot_file())
    }

    /// Returns until when another host may say that it has an address.
    pub(super) fn probe_answered_by(&self) -> Option<Instant> {
        self.running.as_ref()?.client.probe_answered_by()
    }

    /// Acts as if a router had said something.
    pub(super) const fn note_news(&mut self) {
        self.has_news = true;
    }

    /// Returns whether a router or server has said something since the last time.
    pub(super) const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.has_news, false)
    }

    /// Returns whether a server has said something since the last time.
    pub(super) const fn take_answered(&mut self) -> bool {
        std::mem::replace(&mut self.is_answered, false)
    }

    /// Configures the interface as routers and servers say at present, and writes the files; returns the
    /// lease.
    ///
    /// # Errors
    /// [`Reason::Configure`] with what the kernel refused.
    pub(super) fn configure(&mut self) -> Result<Lease6, Error> {
        let lease = self.lease();
        if let Some(running) = &self.running {
            self.record.save(running.client.identity(), &lease);
        }
        if self.is_left {
            return Ok(lease);
        }
        self.settings.apply(&self.link, &lease)?;
        let link = &self.link;
        let holder = holder(link, &[]);
        self.earlier_files
            .get_or_insert_with(|| handover::read6(&holder));
        handover::write6(&holder, self.identity(), &lease, self.hand_over);
        Ok(lease)
    }

    /// Returns what routers, servers and the user say at present.
    pub(super) fn lease(&self) -> Lease6 {
        let running = self.running.as_ref();
        let mut lease =
            running.map_or_else(Lease6::default, |running| running.client.lease(sys::now()));
        if self.ignores_server_dns {
            lease.dns.clear();
        }
        // Where routers and servers have given nothing, nothing is set.
        if self.has_begun() {
            self.given.amend(&mut lease);
        }
        lease
    }

    /// Renews the lease of a server now.
    pub(super) fn renew(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.client.renew(now);
        }
    }

    /// Returns why there is no lease.
    pub(super) fn explain(&self) -> String {
        let running = self.running.as_ref();
        running.map_or_else(
            || "no carrier".to_owned(),
            |running| running.client.explain(),
        )
    }

    /// Begins to give the lease of a server back; what was set is not used from then on (RFC 8415 §18.2.7).
    ///
    /// # Errors
    /// As [`Session6::handle_timeout`].
    pub(super) fn begin_release(&mut self) -> Result<(), Error> {
        self.settings.clear();
        let now = sys::now();
        if let Some(running) = &mut self.running {
            running.client.release(now);
            if running.client.is_releasing() {
                return self.handle_timeout(now);
            }
        }
        Ok(())
    }

    /// Returns whether a lease is being given back, or is to be as soon as there is a carrier.
    pub(super) fn is_releasing(&self) -> bool {
        match &self.running {
            Some(running) => running.client.is_releasing(),
            None => self.held.is_some(),
        }
    }

    /// Gives the lease of a server back, without waiting for its answer, and puts the interface back as it
    /// was found.
    pub(super) fn release(mut self) {
        self.send_release();
        self.settings.restore();
        if self.earlier_files.is_some() || self.held.is_some() {
            handover::remove6(&holder(&self.link, &[]));
        }
        if self.held.is_some() || self.record.is_written() {
            self.record.remove();
        }
        self.link.restore();
    }

    /// Leaves the addresses, which nobody renews, and gives the interface back to the kernel.
    pub(super) fn outlive(mut self) {
        self.settings.hand_back();
    }

    /// Gives the lease of a server back, and undoes what is of IPv6: the interface is somebody else's.
    pub(super) fn end_beside(mut self) {
        self.send_release();
        self.settings.restore();
    }

    fn send_release(&mut self) {
        if let Err(error) = self.begin_release() {
            log::warn!("{}: not released: {}", self.link.name, error.chain());
        }
    }

    /// Puts the interface back as it was found.
    pub(super) fn restore(mut self) {
        self.settings.restore();
        if let Some(earlier) = &self.earlier_files {
            handover::restore(earlier);
        }
        self.record.restore();
        self.link.restore();
    }
}

/// Notes a message in a survey, unless it has been noted.
fn hear(
    heard: &mut Vec<Heard6>,
    client: &Ipv6Client,
    (source, message, is_router): (Ipv6Addr, &[u8], bool),
    now: Instant,
) {
    let is_same = |known: &Heard6| {
        (known.source, known.is_router) == (source, is_router)
            // Behind the number of the exchange.
            && known.message.get(4..) == message.get(4..)
    };
    if client.purpose() == Purpose::Survey && heard.len() < MAX_HEARD && !heard.iter().any(is_same)
    {
        heard.push(Heard6 {
            source,
            message: message.to_vec(),
            is_router,
            after: now.since(client.began_at()),
        });
    }
}

fn note_ignored(name: &str, source: Ipv6Addr, why: &dyn Display) {
    log::debug!("{name}: a message of {source} is ignored: {why}");
}
