//! One interface with its client, from the first carrier on until the lease is given back.

mod output;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::diagnosis::Diagnosis;
use super::machine;
use super::port::Port;
use super::saved::{Saved, Shelf};
use super::station::{Heard, Station};
use crate::config::{DhcpConfig, Given, HandOver};
use crate::error::Error;
use crate::handover::{self, Holder};
use crate::link::{Change, Link, Watch};
use crate::sys;
use crate::timeline::Moment;
use output::Output;
use wireboot_proto::dhcp::config::{Config as ClientConfig, requested};
use wireboot_proto::dhcp::identity;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::dhcp::offer::{Rank, Standing};
use wireboot_proto::dhcp::{Client, StateName};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::option::code;
use wireboot_proto::switch::Statement;
use wireboot_proto::time::{Instant, Random};

/// What the interface is to be given, or no longer to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// The lease is ours, for the first time or with new times and options.
    Bound(Box<Lease>),
    /// A server refused what it was asked for; its reason, or nothing.
    Refused(String),
    /// The address must not be used any longer.
    Lost,
}

/// One interface's dealings with the DHCP servers on its network.
#[derive(Debug)]
pub struct Session {
    link: Arc<Link>,
    config: ClientConfig,
    /// What is set in place of what the server says.
    given: Given,
    hand_over: HandOver,
    shelf: Shelf,
    /// What was on file when the session began.
    saved_before: Option<Saved>,
    station: Station,
    /// Exists from the first carrier on.
    client: Option<Client>,
    begin: Begin,
    has_carrier: bool,
    carrier_at: Instant,
    /// Listened to once nobody has answered the first DISCOVER.
    port: Option<Port>,
    /// Offers are compared with those of other sessions, and one is taken when told to.
    is_held: bool,
    /// The client's state as it reported it last.
    state: StateName,
    diagnosis: Diagnosis,
    turns: VecDeque<Turn>,
    /// What happened on the way to the lease, each for the first time.
    moments: Vec<Moment>,
    /// Tells of the interface, once the lease is there.
    watch: Option<Watch>,
}

/// What the client begins with.
#[derive(Debug, Clone, Copy)]
enum Begin {
    /// Any address.
    Anew,
    /// The address from the lease file.
    Again(Ipv4Addr),
    /// The options for an address that is there.
    Inform(Ipv4Addr),
}

impl Session {
    /// Begins to listen on `link`, which may be down.
    ///
    /// # Errors
    /// [`Error::Configure`] without CAP_NET_RAW.
    pub(super) fn open(link: Link, config: &DhcpConfig) -> Result<Self, Error> {
        let station = Station::open(&link)?;
        let client = client_config(&link, config);
        // Offers cannot be compared by asking for one address.
        let is_plain = config.proxy_wait.is_none();
        let shelf = Shelf::new(config.lease_directory.as_deref());
        let saved_before = shelf.read(link.mac);
        let saved = saved_before
            .as_ref()
            .filter(|_| is_plain && config.uses_lease_file)
            .filter(|saved| saved.is_valid_for(&client_id(&client), sys::since_1970()));
        Ok(Self {
            begin: saved.map_or(Begin::Anew, |saved| Begin::Again(saved.address)),
            saved_before,
            config: client,
            given: config.given.clone(),
            hand_over: config.hand_over,
            shelf,
            station,
            client: None,
            has_carrier: false,
            carrier_at: Instant::ZERO,
            port: None,
            is_held: false,
            state: StateName::Init,
            diagnosis: Diagnosis::default(),
            turns: VecDeque::new(),
            moments: Vec::new(),
            watch: None,
            link: Arc::new(link),
        })
    }

    /// Asks only for the options of `address`, which is the interface's own.
    pub(super) fn inform(&mut self, address: Ipv4Addr) {
        self.begin = Begin::Inform(address);
        self.station.take_port();
    }

    /// Has offers be taken only by [`Session::accept`], or not any longer.
    pub(super) const fn set_held(&mut self, held: bool) {
        self.is_held = held;
        if let Some(client) = &mut self.client {
            client.set_held(held);
        }
    }

    /// Takes over what tells of the interface.
    pub(super) fn follow(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Hands on what tells of the interface.
    ///
    /// # Errors
    /// As [`Watch::open`], when there is none yet.
    pub(super) fn watch(&mut self) -> Result<Watch, Error> {
        self.watch.take().map_or_else(Watch::open, Ok)
    }

    /// Returns what the offers here are worth.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.client.as_ref().and_then(Client::standing)
    }

    /// Returns whether an offer has been taken whose lease is worth waiting for, beside an offer
    /// elsewhere of the rank `other`.
    pub(super) fn is_taking(&self, other: Option<Rank>) -> bool {
        let client = self.client.as_ref();
        client.is_some_and(|client| client.is_taking(other))
    }

    /// Has nothing be asked for but offers, which bind nobody.
    pub(super) const fn only_discover(&mut self) {
        self.begin = Begin::Anew;
        self.config.rapid_commit = false;
    }

    /// Returns the lease that would come of the best offer, as it would be configured.
    pub(super) fn preview(&self) -> Option<Lease> {
        let mut lease = self.client.as_ref()?.preview()?;
        lease.amend(&self.given);
        Some(lease)
    }

    /// Takes the best offer.
    pub(super) fn accept(&mut self, now: Instant) {
        if let Some(client) = &mut self.client {
            client.accept(now);
            self.drain();
        }
    }

    /// The interface.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What servers know the interface by (option 61).
    pub fn client_id(&self) -> Vec<u8> {
        client_id(&self.config)
    }

    /// What happened on the way to the lease.
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// The lease, when there is one.
    pub fn lease(&self) -> Option<&Lease> {
        self.client.as_ref().and_then(Client::lease)
    }

    /// Takes notice of the interface's state.
    pub(super) fn handle_link(&mut self, change: &Change, now: Instant) {
        let carrier = change.link.carrier && !change.gone;
        self.diagnosis
            .received_before
            .get_or_insert(change.link.received);
        self.station.set_running(change.link.running);
        if carrier && !self.has_carrier {
            log::debug!("{}: carrier", self.link.name);
            self.note("carrier", sys::up_time());
            self.carrier_at = now;
            self.port = None;
            match &mut self.client {
                Some(client) => client.link_up(now),
                None => {
                    let mut client = self.begin.client(self.config.clone(), now);
                    client.set_held(self.is_held);
                    self.client = Some(client);
                }
            }
        } else if !carrier && self.has_carrier {
            log::warn!("{}: the carrier is gone", self.link.name);
        }
        self.has_carrier = carrier;
    }

    /// Takes what has arrived. ARP of this machine's own interfaces does not count: two on one
    /// network answer for each other.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses to hand it over.
    pub(super) fn handle_input(&mut self, watch: &Watch, now: Instant) -> Result<(), Error> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        let name = &self.link.name;
        let discards = &mut self.diagnosis.discards;
        let mut output = Output::default();
        let received = self.station.receive(|heard| {
            let mut heard_at = None;
            match heard {
                Heard::Arp(packet) if watch.is_ours(packet.sha) => {}
                Heard::Arp(packet) => client.handle_arp(&packet, now),
                Heard::Datagram { datagram, at, .. } => {
                    heard_at = Some(at);
                    let source = *datagram.source.ip();
                    if let Err(discard) = client.handle_input(datagram, now) {
                        discards.note(name, source, discard);
                    }
                }
                Heard::Damaged { source, why } => discards.note(name, source, why.into()),
            }
            output.drain(client, heard_at);
        });
        received.map_err(|source| Error::System {
            doing: format!("cannot read from {name}"),
            source,
        })?;
        self.put_out(output);
        self.hear_switch(now);
        Ok(())
    }

    /// While the port lets nothing through, its delay is not left to grow: every word of the
    /// switch has the server asked again, and so has the moment when the port opens.
    fn hear_switch(&mut self, now: Instant) {
        let Some(port) = &mut self.port else {
            return;
        };
        let name = &self.link.name;
        port.handle_timeout(now);
        let mut ask = port.receive(name, now).unwrap_or_else(|error| {
            log::debug!("{name}: {}", error.chain());
            false
        });
        while let Some(statement) = port.poll_event() {
            log::info!("{name}: {statement}");
            ask |= statement == Statement::Forwarding;
            if !matches!(statement, Statement::Neighbour { .. }) {
                self.diagnosis.port = Some(statement.to_string());
            }
        }
        if ask
            && self.lease().is_none()
            && let Some(client) = &mut self.client
        {
            client.link_up(now);
            self.drain();
        }
    }

    /// Takes notice of the time, and sends what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.station.handle_timeout(now);
        let Some(client) = &mut self.client else {
            return;
        };
        if client.poll_timeout().is_some_and(|at| now >= at) {
            client.handle_crowd(self.station.heard(), now);
        }
        client.handle_timeout(now);
        self.drain();
    }

    /// Has the lease renewed now.
    pub(super) fn renew(&mut self, now: Instant) {
        if let Some(client) = &mut self.client {
            client.renew(now);
            self.drain();
        }
    }

    /// Releases what was granted or may have been, and removes from the interface what was set for it.
    pub fn release(mut self) {
        if let Some(client) = &mut self.client {
            if client.lease().is_some() {
                self.shelf.remove(self.link.mac);
                handover::remove(&self.link.name);
            }
            client.release(sys::now());
            self.drain();
        }
        self.link.clear_and_lower();
    }

    /// Gives the interface what its lease says, and leaves word of it to those who come later;
    /// returns the lease.
    ///
    /// # Errors
    /// [`Error::Configure`] with what the kernel refused.
    pub(super) fn configure(&self) -> Result<Lease, Error> {
        let over = || Error::NoOffer(format!("{}: the lease is over", self.link.name));
        let mut lease = self.lease().cloned().ok_or_else(over)?;
        let age = self.lease_age();
        lease.amend(&self.given);
        let before = self.shelf.read(self.link.mac);
        let before = before.map(|saved| (saved.address, saved.prefix_len));
        self.link.replace(before, &lease, age)?;
        let client_id = client_id(&self.config);
        let holder = Holder {
            interface: &self.link.name,
            mac: self.link.mac,
            client_id: &client_id,
        };
        handover::write(&holder, &lease, self.hand_over);
        if !matches!(self.begin, Begin::Inform(_)) {
            let (mac, neighbour) = (self.link.mac, self.station.neighbour());
            // An earlier command may have set it for the same lease.
            let of_file = || {
                lease.mtu_octets?;
                self.shelf.read(mac)?.mtu_octets
            };
            let mtu_octets = self.link.mtu_before().or_else(of_file);
            let saved = Saved::new(mac, client_id, &lease, age, neighbour, mtu_octets);
            self.shelf.write(&saved);
        }
        Ok(lease)
    }

    /// Takes away what [`Session::configure`] gave.
    pub(super) fn clear(&self) {
        self.link.clear();
        handover::remove(&self.link.name);
        self.shelf.remove(self.link.mac);
    }

    /// Takes port 68 in the kernel too; for a session that stays.
    pub(super) fn take_port(&mut self) {
        self.station.take_port();
    }

    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        self.turns.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let client = self.client.as_ref().and_then(Client::poll_timeout);
        let port = self.port.as_ref().and_then(Port::poll_timeout);
        let station = self.station.poll_timeout();
        [client, port, station].into_iter().flatten().min()
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let port = self.port.as_ref().map(Port::source);
        self.station.sources().chain(port)
    }

    /// Returns whether there has been a carrier.
    pub(super) const fn has_begun(&self) -> bool {
        self.client.is_some()
    }

    /// Returns whether nothing can be expected here for long.
    pub(super) const fn is_hopeless(&self) -> bool {
        self.diagnosis.ipv6_only.is_some()
    }

    /// Says why there is no lease after `waited`, `received` frames being counted now.
    pub(super) fn failure(&self, waited: Duration, received: Option<u64>) -> Error {
        self.diagnosis.failure(&self.link, waited, received)
    }

    /// Leaves the lease in force, and what is open to the end of the process: the kernel closes it
    /// then, which takes as long as closing it here and needs no threads.
    pub fn outlive(self) {
        std::mem::forget(self);
    }

    /// The interface, for somebody who uses it beside the session.
    pub(super) fn shared_link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// Puts the interface and the lease file back as they were found, and leaves the lease to its end
    /// with the server: another client may have the same one.
    pub(super) fn restore(self) {
        handover::remove(&self.link.name);
        self.link.restore();
        match &self.saved_before {
            Some(saved) => self.shelf.write(saved),
            None => self.shelf.remove(self.link.mac),
        }
    }

    /// Returns whether the interface has the address of the lease.
    pub(super) fn has_address(&self) -> bool {
        let addresses = self.link.addresses().unwrap_or_default();
        self.lease().is_some_and(|lease| {
            let mut addresses = addresses.iter();
            addresses.any(|there| *there == (lease.address, lease.prefix_len))
        })
    }

    /// Gives the interface the address of the lease again, if somebody has taken it away.
    pub(super) fn reconfigure(&self) {
        // In its last second the kernel removes it by itself.
        let ends = |time: Duration| time <= self.lease_age() + Duration::from_secs(1);
        let lease = self
            .lease()
            .filter(|lease| !lease.lease_time.is_some_and(ends));
        let Some(lease) = lease.filter(|_| !self.has_address()) else {
            return;
        };
        let (name, address) = (&self.link.name, lease.address);
        log::warn!("{name}: somebody has removed {address}, which is set again");
        if let Err(error) = self.configure() {
            log::error!("{}", error.chain());
        }
    }

    /// Returns how much of the times of the lease is over.
    fn lease_age(&self) -> Duration {
        let since = self.client.as_ref().and_then(Client::lease_since);
        since.map_or(Duration::ZERO, |since| sys::now().since(since))
    }

    /// Removes from the interface what an earlier process set for the lease on file, which is no
    /// longer ours.
    fn remove_saved(&self) {
        let Some(saved) = self.shelf.read(self.link.mac) else {
            return;
        };
        let taken = self
            .link
            .take_back(saved.address, saved.prefix_len, saved.mtu_octets);
        if let Err(error) = taken {
            log::warn!("{}", error.chain());
        }
        self.shelf.remove(self.link.mac);
    }

    fn drain(&mut self) {
        let mut output = Output::default();
        if let Some(client) = &mut self.client {
            output.drain(client, None);
        }
        self.put_out(output);
    }
}

impl Begin {
    fn client(self, config: ClientConfig, now: Instant) -> Client {
        let mut client = Client::new(config, now);
        match self {
            Self::Anew => {}
            Self::Again(address) => client.reboot(address, now),
            Self::Inform(address) => client.inform(address, now),
        }
        client
    }
}

/// Gives back the lease in the file of `link`, and takes from the interface what it was given; false
/// when there is no such lease.
///
/// # Errors
/// As [`Session::open`], and when the kernel refuses.
pub(super) fn release_saved(link: Link, config: &DhcpConfig) -> Result<bool, Error> {
    let shelf = Shelf::new(config.lease_directory.as_deref());
    let Some(saved) = shelf.read(link.mac) else {
        return Ok(false);
    };
    let mut session = Session::open(link, config)?;
    session.has_carrier = true;
    session.station.set_neighbour(saved.neighbour);
    session.station.take_port();
    let mut client = Client::new(session.config.clone(), sys::now());
    client.give_back(saved.address, saved.server, sys::now());
    session.client = Some(client);
    session.drain();
    session.shelf.remove(saved.mac);
    handover::remove(&session.link.name);
    session
        .link
        .take_back(saved.address, saved.prefix_len, saved.mtu_octets)?;
    log::info!("{}: {} is given back", session.link.name, saved.address);
    Ok(true)
}

/// How a client of `link` is configured.
pub(super) fn client_config(link: &Link, config: &DhcpConfig) -> ClientConfig {
    ClientConfig {
        identity: identity::options(
            config.identify,
            &config.introduction,
            config.given.host_name.as_deref(),
            link.mac,
            machine::read,
        ),
        requested: requested(config.identify, &config.introduction),
        wants_boot_file: config.proxy_wait.is_some(),
        proxy_wait: config.proxy_wait.unwrap_or_default(),
        rapid_commit: config.proxy_wait.is_none(),
        detection: config.detection,
        ..ClientConfig::new(link.mac, seed(link.mac))
    }
}

/// Another seed for each machine even where the kernel has not gathered any randomness yet, as in
/// a rack of equal machines that start from equal images.
fn seed(MacAddress([a, b, c, d, e, f]): MacAddress) -> u64 {
    let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    Random::new(sys::seed() ^ Random::new(mac).next_u64()).next_u64()
}

fn client_id(config: &ClientConfig) -> Vec<u8> {
    let mut options = config.identity.iter();
    let found = options.find(|(code, _)| *code == code::CLIENT_IDENTIFIER);
    found.map_or_else(Vec::new, |(_, value)| value.clone())
}
