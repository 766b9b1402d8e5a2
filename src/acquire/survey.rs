//! Asks all servers and routers on all interfaces in parallel, by a [`Survey`] and sessions of IPv6, takes
//! nothing, and leaves the interfaces as they were found.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::beside::Beside;
use super::client_config::client_config;
use super::diagnosis::{Diagnosis, Furthest, received_now, received_on};
use super::ipv6::{open, settle};
use super::session6::{Heard6, Session6};
use super::station::{Reception, Station};
use super::switch_port::{SwitchPort, TaggedFrames};
use crate::config::{Config, DhcpConfig, Family, LinkConfig};
use crate::error::{Error, Reason};
use crate::link::{self, Change, Found, Link, Presence, Watch};
use crate::sys::signal::Signals;
use crate::sys::{self, SyscallError};
use wireboot_proto::dhcp::survey::{Survey, SurveyAnswer, Unknown};
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::switch::SwitchEvent;
use wireboot_proto::time::{Instant, earliest};

/// Result of the survey on one interface.
#[derive(Debug)]
pub struct Surveyed {
    /// The interface, as it was found.
    pub link: Arc<Link>,
    /// Whether it had a carrier, without which nobody was asked.
    pub had_carrier: bool,
    /// What was answered, in the order of arrival.
    pub answers: Vec<SurveyAnswer>,
    /// What is not known of the boot services that are offered.
    pub unknown: Vec<Unknown>,
    /// What routers and servers of IPv6 have said, if both families are asked.
    pub heard6: Vec<Heard6>,
    asker: SurveySession,
}

/// Asks on all of `links` for `wait` from the carrier on, and returns what was answered; takes
/// nothing. With `--family either` routers and servers of IPv6 are asked beside. A signal ends it
/// early. Where an interface has an address, the boot services that are offered are asked too.
///
/// It ends when each interface with a carrier has been asked on, however many have none.
///
/// # Errors
/// [`Reason::NoCarrier`] when no interface has one in time.
pub fn survey(
    found: Found,
    config: &Config,
    wait: Duration,
    signals: &Signals,
) -> Result<Vec<Surveyed>, Error> {
    let Found { mut links, watch } = found;
    if let (Some(vlans), true) = (&config.link.vlans_to_try, cfg!(feature = "bond")) {
        let made = link::raise(&links).and_then(|()| link::add_vlans(&links, &vlans.ids));
        links.extend(made.inspect_err(|_| links.iter().for_each(Link::restore))?);
    }
    let opened: Result<Vec<_>, _> = links.iter().map(SurveySession::open).collect();
    let mut surveyed: Vec<_> = links
        .into_iter()
        .zip(opened?)
        .map(|(link, asker)| Surveyed {
            link: Arc::new(link),
            had_carrier: false,
            answers: Vec::new(),
            unknown: Vec::new(),
            heard6: Vec::new(),
            asker,
        })
        .collect();
    let mut beside = Beside::default();
    if config.dhcp.family == Some(Family::Either) {
        let links = surveyed.iter().map(|one| Arc::clone(&one.link));
        beside = Beside::open(links, config, Purpose::Survey);
    }
    let result = ask(&mut surveyed, &mut beside, watch, config, wait, signals);
    for session in beside.take_all() {
        end_beside(session, &mut surveyed);
    }
    surveyed.iter().for_each(|one| one.link.restore());
    result.map(|()| surveyed)
}

/// Notes what a session of IPv6 has heard, and ends it.
fn end_beside(mut session: Session6, surveyed: &mut [Surveyed]) {
    for one in surveyed {
        if one.link.index() == session.link().index() {
            one.heard6 = session.take_heard();
        }
    }
    session.end_beside();
}

/// Returns why there may be no answer within `wait` on the interface that got furthest; logs it for the
/// others.
pub fn unanswered(surveyed: &[Surveyed], wait: Duration) -> Error {
    let mut errors = Furthest::default();
    for one in surveyed.iter().filter(|one| one.had_carrier) {
        errors.add(one.asker.diagnosis.progress(), one.failure(wait));
    }
    errors.end("no interface has a carrier")
}

impl Surveyed {
    /// Says what may be the reason that nobody has answered in `wait`.
    fn failure(&self, wait: Duration) -> Error {
        let received = self.asker.received_last;
        let diagnosis = &self.asker.diagnosis;
        diagnosis.nobody(&self.link, "offer", wait, received)
    }

    /// Returns the VLANs whose tags were seen on the wire.
    pub fn vlans(&self) -> &[u16] {
        &self.asker.diagnosis.vlans
    }

    /// Returns the switch and port that the interface is plugged into, as the switch has said.
    pub const fn neighbour(&self) -> Option<&SwitchEvent> {
        self.asker.diagnosis.neighbour.as_ref()
    }

    /// Says which answers were discarded, and why; empty when none was.
    pub fn discarded(&self) -> String {
        self.asker.diagnosis.discards.to_string()
    }

    fn handle_link(&mut self, change: &Change, config: &DhcpConfig, wait: Duration, now: Instant) {
        let Some(presence) = self.link.follow(change) else {
            return;
        };
        let carrier = change.link.carrier && !change.gone;
        let asker = &mut self.asker;
        asker.station.follow(&self.link, presence);
        asker.station.set_running(change.link.running);
        asker.diagnosis.note_link(change, presence);
        if presence != Presence::Same {
            asker.has_carrier = false;
        }
        asker.received_last = Some(change.link.received);
        if carrier && !asker.has_carrier {
            log::debug!("{}: carrier", self.link.name);
            match &mut asker.survey {
                Some(survey) => survey.link_up(now),
                None => {
                    let config = client_config(&self.link, config);
                    let mut survey = Survey::new(config, wait, now);
                    match self.link.addresses() {
                        Ok(addresses) if addresses.is_empty() => {}
                        Ok(addresses) => {
                            asker.station.bind_client_port();
                            survey.ask_services_from(addresses);
                        }
                        Err(error) => log::warn!("{}: {}", self.link.name, error.chain()),
                    }
                    asker.survey = Some(survey);
                    let port = SwitchPort::open(&self.link, now);
                    asker.switch_port = port.inspect_err(|error| log::debug!("{error}")).ok();
                    if cfg!(feature = "bond") {
                        let tagged = TaggedFrames::open(&self.link);
                        asker.tagged = tagged.inspect_err(|error| log::debug!("{error}")).ok();
                    }
                }
            }
        }
        asker.has_carrier = carrier;
        self.had_carrier |= carrier;
    }
}

/// State of the survey on one interface.
#[derive(Debug)]
struct SurveySession {
    station: Station,
    /// Exists from the first carrier on.
    survey: Option<Survey>,
    has_carrier: bool,
    diagnosis: Diagnosis,
    /// Frames that had been counted when they were counted last.
    received_last: Option<u64>,
    tagged: Option<TaggedFrames>,
    switch_port: Option<SwitchPort>,
}

impl SurveySession {
    fn open(link: &Link) -> Result<Self, Error> {
        Ok(Self {
            station: Station::open(link)?,
            survey: None,
            has_carrier: false,
            diagnosis: Diagnosis::default(),
            received_last: None,
            tagged: None,
            switch_port: None,
        })
    }

    fn handle_input(&mut self, name: &str, now: Instant) -> Result<(), Error> {
        let Some(survey) = &mut self.survey else {
            return Ok(());
        };
        let diagnosis = &mut self.diagnosis;
        let received = self.station.receive(&mut |heard| match heard {
            Reception::Arp(_) => {}
            Reception::Discarded { source, why } => diagnosis.discards.note(name, source, why),
            Reception::Router(router) => diagnosis.note_router(name, router),
            Reception::Datagram {
                sender, datagram, ..
            } => {
                if let Err(discard) = survey.handle_input(&datagram, sender, now) {
                    let source = *datagram.source.ip();
                    diagnosis.discards.note(name, source, discard);
                }
            }
        });
        received.map_err(|source| {
            Box::new(Reason::System {
                doing: format!("cannot read from {name}"),
                source,
            })
        })
    }

    /// Reads what the switch says.
    fn handle_switch(&mut self, name: &str, now: Instant) {
        let Some(port) = &mut self.switch_port else {
            return;
        };
        port.handle_timeout(name, now);
        if let Err(error) = port.receive(name, now) {
            log::debug!("{name}: {}", error.chain());
        }
        while let Some(event) = port.poll_event() {
            log::debug!("{name}: {event}");
            self.diagnosis.note_switch(event);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let xid = self.survey.as_ref().map(Survey::xid);
        self.station.handle_timeout(xid, now);
        let Some(survey) = &mut self.survey else {
            return;
        };
        survey.handle_timeout(now);
        let mut payload = Vec::new();
        while let Some(transmit) = survey.poll_transmit(&mut payload) {
            if self.has_carrier {
                self.diagnosis.count(transmit.message_type);
                // Where the kernel cannot send it, a frame goes to who brought the offer.
                let next_hop = survey.next_hop(*transmit.destination.ip());
                self.station.set_next_hop(next_hop);
                self.station.send(transmit, &payload);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let survey = self.survey.as_ref().and_then(Survey::poll_timeout);
        let port = self.switch_port.as_ref();
        earliest(&[
            survey,
            self.station.poll_timeout(),
            port.and_then(SwitchPort::poll_timeout),
        ])
    }

    fn is_over(&self) -> bool {
        self.survey.as_ref().is_some_and(Survey::is_over)
    }
}

fn ask(
    surveyed: &mut [Surveyed],
    beside: &mut Beside,
    mut watch: Watch,
    config: &Config,
    wait: Duration,
    signals: &Signals,
) -> Result<(), Error> {
    link::raise(surveyed.iter().map(|one| &*one.link))?;
    let started_at = sys::now();
    loop {
        let now = sys::now();
        while let Some(change) = watch.next_change()? {
            for one in surveyed.iter_mut() {
                one.handle_link(&change, &config.dhcp, wait, now);
            }
            beside.handle_link(&change, now);
        }
        beside.drive(now);
        for one in surveyed.iter_mut() {
            one.asker.handle_input(&one.link.name, now)?;
            one.asker.handle_switch(&one.link.name, now);
            one.asker.handle_timeout(now);
            if let Some(survey) = &mut one.asker.survey {
                one.answers
                    .extend(std::iter::from_fn(|| survey.poll_event()));
            }
        }
        let begun = || surveyed.iter().filter(|one| one.had_carrier);
        let has_begun = begun().next().is_some();
        if has_begun && begun().all(|one| one.asker.is_over()) {
            return end(surveyed);
        }
        let link_deadline = started_at + config.link.timeout;
        if !has_begun && now >= link_deadline {
            let names: Vec<_> = surveyed.iter().map(|one| one.link.name.as_str()).collect();
            return Err(Box::new(Reason::NoCarrier {
                interface: names.join(" "),
                waited: now.since(started_at),
            }));
        }
        let timeouts = begun().filter_map(|one| one.asker.poll_timeout());
        let timeouts = timeouts.chain(beside.poll_timeout(now));
        let until = timeouts.min().unwrap_or(link_deadline);
        let mut sources: Vec<_> = begun()
            .flat_map(|one| one.asker.station.sources())
            .collect();
        sources.extend(begun().filter_map(|one| Some(one.asker.switch_port.as_ref()?.source())));
        beside.add_sources(&mut sources);
        sources.push(watch.as_fd());
        sources.push(signals.as_fd());
        // Interfaces without a carrier are left out: their timers have not begun.
        sys::wait_readable(&sources, Some(until)).map_err(cannot_wait)?;
        watch.set_readable();
        if let Some(signal) = signals.take().map_err(cannot_wait)? {
            let mut answers = surveyed.iter().map(|one| one.answers.len());
            if config.dhcp.family != Some(Family::Either) && answers.all(|count| count == 0) {
                return Err(Box::new(Reason::Interrupted(signal)));
            }
            return end(surveyed);
        }
    }
}

/// Counts the frames that the interfaces have received, and says what is not known.
fn end(surveyed: &mut [Surveyed]) -> Result<(), Error> {
    let received = received_now();
    for one in surveyed {
        let survey = one.asker.survey.as_mut();
        one.unknown = survey.map_or_else(Vec::new, Survey::end);
        one.asker.received_last = received_on(&one.link, &received);
        let vlans = one.asker.tagged.as_mut().map(TaggedFrames::read);
        one.asker.diagnosis.vlans = vlans.unwrap_or_default().to_vec();
    }
    Ok(())
}

fn cannot_wait(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot wait for offers".to_owned(),
        source,
    })
}

/// What was heard of IPv6 on an interface.
#[derive(Debug)]
pub struct Surveyed6 {
    /// Its name.
    pub interface: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Whether it had a carrier, without which nobody was asked.
    pub had_carrier: bool,
    /// In the order of arrival.
    pub heard: Vec<Heard6>,
}

/// Asks for `wait` from the first carrier on, and leaves the interfaces as they were found. A signal ends
/// it early.
///
/// # Errors
/// [`Reason::NoCarrier`] when no interface has one in time, and as [`lease`](super::ipv6::lease).
pub fn survey6(
    found: Found,
    config: &Config,
    wait: Duration,
    signals: &Signals,
) -> Result<Vec<Surveyed6>, Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, config, Purpose::Survey)?;
    let times = Config {
        link: LinkConfig {
            timeout: config.link.timeout,
            ..LinkConfig::default()
        },
        dhcp: DhcpConfig {
            timeout: wait,
            ..DhcpConfig::default()
        },
        ..Config::default()
    };
    // It is settled by its end alone.
    let ended = settle(&mut sessions, &mut watch, &times, Some(signals));
    let mut surveyed = Vec::new();
    for mut session in sessions {
        surveyed.push(Surveyed6 {
            interface: session.link().name.clone(),
            mac: session.link().mac,
            had_carrier: session.has_begun(),
            heard: session.take_heard(),
        });
        session.restore();
    }
    if let Err(error) = ended {
        // What was heard before is shown.
        let is_shown = matches!(*error, Reason::Interrupted(_))
            && surveyed.iter().any(|one| !one.heard.is_empty());
        if !is_shown && !matches!(*error, Reason::NoOffer(_)) {
            return Err(error);
        }
    }
    Ok(surveyed)
}

/// Returns what was heard of IPv6 in a survey of both families.
pub fn surveyed6(surveyed: &mut [Surveyed]) -> Vec<Surveyed6> {
    let surveyed = surveyed.iter_mut();
    let surveyed = surveyed.map(|one| Surveyed6 {
        interface: one.link.name.clone(),
        mac: one.link.mac,
        had_carrier: one.had_carrier,
        heard: std::mem::take(&mut one.heard6),
    });
    surveyed.collect()
}
