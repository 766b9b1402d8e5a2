//! The answers to a survey, and the verdict on each: whether a boot would use it, by the same choice
//! as in [`crate::dhcp::offer`], and what looks wrong about it.
//!
//! A second server that nobody knows of is the usual reason for a machine that boots on Monday and
//! does not on Tuesday. Nothing in DHCP says who may serve, so the search is for contradictions. Where
//! most servers agree, those that do not stand out; without a majority all do.

use crate::prelude::*;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use super::service::Asked;
use crate::dhcp::offer::{FACTS, Offer, Offers, Rank, SUBNET, choose};
use crate::dhcp::reply::is_host;
use crate::packet::ethernet::MacAddress;
use crate::packet::ipv4::same_network;
use crate::packet::option::code;
use crate::time::{Instant, Random, Seconds};

/// The answer of a server to a DISCOVER, or to a query for a boot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyAnswer {
    /// The offer; without an address from a boot server.
    pub offer: Offer,
    /// The query, if that was no DISCOVER.
    pub asked: Option<Asked>,
    /// Where the datagram came from.
    pub source: SocketAddrV4,
    /// Sender of the frame: the server itself, or the router or relay before it.
    pub sender: MacAddress,
    /// The relay that it went through (`giaddr`).
    pub relay: Option<Ipv4Addr>,
    /// Time of arrival.
    pub at: Instant,
    /// How long after the first DISCOVER.
    pub after: Duration,
}

/// Decision of a boot about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferVerdict {
    /// Whether a boot would use its address, or its boot file with another's address.
    pub is_chosen: bool,
    /// The reason.
    pub why: String,
}

/// Returns the verdicts of a boot on the answers of each interface, in the order of arrival. Offers
/// without a boot file wait for `proxy_wait`; if `is_ordered` by the user, the first interface in the
/// list wins among equals.
pub fn verdicts(
    interfaces: &[&[SurveyAnswer]],
    is_ordered: bool,
    proxy_wait: Duration,
) -> Vec<Vec<OfferVerdict>> {
    let choice = BootChoice::make(interfaces, is_ordered, proxy_wait);
    let interfaces = interfaces.iter().enumerate();
    interfaces
        .map(|(place, answers)| {
            let answers = answers.iter();
            answers
                .map(|answer| match &choice {
                    Some(choice) => choice.verdict(place, answer),
                    None => OfferVerdict::against(unusable(answer)),
                })
                .collect()
        })
        .collect()
}

impl OfferVerdict {
    fn against(why: impl Into<String>) -> Self {
        Self {
            is_chosen: false,
            why: why.into(),
        }
    }
}

/// Offers received on one interface so far.
#[derive(Default)]
struct InterfaceOffers {
    offers: Offers,
    decide_at: Option<Instant>,
}

impl InterfaceOffers {
    fn add(&mut self, answer: &SurveyAnswer, proxy_wait: Duration) {
        let offer = &answer.offer;
        if !offer.is_proxy() {
            if !is_host(offer.address) {
                return;
            }
            // The first offer starts the wait, as in the client.
            self.decide_at.get_or_insert(answer.at + proxy_wait);
        }
        // One seed for all, so that the same answers always get the same verdict.
        self.offers.add(offer.clone(), &mut Random::new(0));
    }
}

/// The choice, and what it was made between.
struct BootChoice<'a> {
    place: usize,
    offer: &'a SurveyAnswer,
    /// Brings the boot that the offer lacks.
    proxy: Option<&'a SurveyAnswer>,
    made_at: Instant,
    is_ordered: bool,
}

impl<'a> BootChoice<'a> {
    /// Makes the choice; none when nobody offers an address.
    fn make(
        interfaces: &[&'a [SurveyAnswer]],
        is_ordered: bool,
        proxy_wait: Duration,
    ) -> Option<Self> {
        let mut heard: Vec<_> = interfaces
            .iter()
            .map(|_| InterfaceOffers::default())
            .collect();
        let is_offer = |answer: &&SurveyAnswer| answer.asked.is_none();
        let mut queues: Vec<_> = interfaces
            .iter()
            .map(|answers| answers.iter().filter(is_offer).peekable())
            .collect();
        let arrivals = core::iter::from_fn(|| {
            let queues = queues.iter_mut().enumerate();
            let next = queues.filter_map(|(place, queue)| Some((queue.peek()?.at, place, queue)));
            // Two interfaces may hear at one instant: then their order decides.
            let (_, place, queue) = next.min_by_key(|(at, place, _)| (*at, *place))?;
            Some((place, queue.next()?))
        });
        let choose = |heard: &[InterfaceOffers], now| {
            let standings: Vec<_> = heard
                .iter()
                .map(|heard| heard.offers.standing(true, heard.decide_at))
                .collect();
            Some((choose(&standings, is_ordered, now)?, now))
        };
        let over_at =
            |heard: &[InterfaceOffers]| heard.iter().filter_map(|heard| heard.decide_at).min();
        let mut made = None;
        for (place, answer) in arrivals {
            made = over_at(&heard)
                .filter(|at| *at < answer.at)
                .and_then(|at| choose(&heard, at));
            if made.is_some() {
                break;
            }
            heard.get_mut(place)?.add(answer, proxy_wait);
            made = choose(&heard, answer.at);
            if made.is_some() {
                break;
            }
        }
        let (place, made_at) = made.or_else(|| choose(&heard, over_at(&heard)?))?;
        let offers = &heard.get(place)?.offers;
        let answers = interfaces.get(place)?;
        let find = |offer: &Offer| {
            let who = |offer: &Offer| (offer.server, offer.address, offer.is_proxy());
            let mut answers = answers.iter().filter(is_offer);
            // The last one, which is what `Offers::add` keeps of a server that repeats itself.
            answers.rfind(|answer| answer.at <= made_at && who(&answer.offer) == who(offer))
        };
        let offer = find(offers.best()?)?;
        let own = offer.offer.rank();
        let adds_boot = |proxy: &&Offer| own < Rank::BootService && proxy.rank() > own;
        Some(Self {
            place,
            offer,
            proxy: offers.proxy().filter(adds_boot).and_then(find),
            made_at,
            is_ordered,
        })
    }

    fn verdict(&self, place: usize, answer: &SurveyAnswer) -> OfferVerdict {
        let is = |chosen: &SurveyAnswer| core::ptr::eq(chosen, answer);
        let praise = |why| OfferVerdict {
            is_chosen: true,
            why,
        };
        if let Some(asked) = &answer.asked {
            self.on_service(place, asked)
        } else if is(self.offer) {
            praise(self.praise())
        } else if self.proxy.is_some_and(is) {
            let (rank, server) = (answer.offer.rank(), server(self.offer));
            praise(format!("brings {rank}, which {server} does not"))
        } else if answer.offer.is_proxy() {
            OfferVerdict::against(self.against_proxy(place, answer))
        } else if is_host(answer.offer.address) {
            OfferVerdict::against(self.against_offer(place, answer))
        } else {
            OfferVerdict::against(unusable(answer))
        }
    }

    /// Judges what a boot service leads to.
    fn on_service(&self, place: usize, asked: &Asked) -> OfferVerdict {
        let leads = server(self.proxy.unwrap_or(self.offer)) == asked.service;
        let is_taken = leads && place == self.place;
        let why = match (is_taken, asked.is_first) {
            (false, _) => "its service is not taken",
            (true, true) => "where the boot service leads to",
            (true, false) => "if it is chosen from the menu",
        };
        OfferVerdict {
            is_chosen: is_taken && asked.is_first,
            why: why.to_owned(),
        }
    }

    fn praise(&self) -> String {
        match (self.offer.offer.rank(), self.proxy) {
            (_, Some(proxy)) => {
                let (rank, server) = (proxy.offer.rank(), server(proxy));
                format!("its address, with {rank} from {server}")
            }
            (rank @ (Rank::BootFile | Rank::BootService), None) => {
                format!("the first with {rank}")
            }
            (Rank::LocalBoot, None) => {
                "nobody names a boot file; this has a menu with the local disk".to_owned()
            }
            (Rank::NextServer, None) => "nobody names a boot file; this names a server".to_owned(),
            (Rank::Plain, None) => "the first; nobody names a boot file or a server".to_owned(),
        }
    }

    fn against_proxy(&self, place: usize, answer: &SurveyAnswer) -> String {
        let own = self.offer.offer.rank();
        if answer.offer.rank() < Rank::LocalBoot {
            "names no boot file".to_owned()
        } else if place != self.place {
            format!("of no use to {}, on another interface", server(self.offer))
        } else if own >= Rank::BootService {
            format!("not needed: {} brings {own}", server(self.offer))
        } else {
            self.against(place, answer, self.proxy.unwrap_or(self.offer))
        }
    }

    fn against_offer(&self, place: usize, answer: &SurveyAnswer) -> String {
        // On the same interface a proxy would have served either.
        let rival = self.proxy.filter(|_| place != self.place);
        self.against(place, answer, rival.unwrap_or(self.offer))
    }

    fn against(&self, place: usize, answer: &SurveyAnswer, rival: &SurveyAnswer) -> String {
        let (rank, better, name) = (answer.offer.rank(), rival.offer.rank(), server(rival));
        if rank < better {
            return format!("{rank}; {name} brings {better}");
        }
        if answer.at > self.made_at && rank > better {
            let late = Seconds(answer.at.since(self.made_at));
            return format!("{late:.1} s too late: {name} had been chosen");
        }
        if self.is_ordered && place > self.place {
            return format!("as good as {name}, but its interface was named later");
        }
        format!("as good as {name}, but later")
    }
}

fn unusable(answer: &SurveyAnswer) -> String {
    if answer.offer.is_proxy() || answer.asked.is_some() {
        "nobody offers an address to boot with".to_owned()
    } else {
        format!("{} is not a host's address", answer.offer.address)
    }
}

const fn server(answer: &SurveyAnswer) -> Ipv4Addr {
    answer.offer.server
}

/// Returns the suspicions about each of the answers on one network, a sentence each.
pub fn suspicions(answers: &[&SurveyAnswer]) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new(); answers.len()];
    for (known, title) in FACTS {
        let values: Vec<_> = answers
            .iter()
            .map(|answer| {
                let is_granted = !answer.offer.is_proxy() && answer.asked.is_none();
                let is_known = is_granted || title != SUBNET;
                is_known.then(|| known(&answer.offer.lease()))?
            })
            .collect();
        for (suspicions, value) in found.iter_mut().zip(&values) {
            if let Some(value) = value
                && let Some(others) = contradiction(value, &values)
            {
                suspicions.push(format!("says {title} is {value}; {others}"));
            }
        }
    }
    for (suspicions, answer) in found.iter_mut().zip(answers) {
        suspicions.extend(twin(answer, answers));
        suspicions.extend(proxied_source(answer));
        suspicions.extend(unreachable_router(answer));
    }
    found
}

/// Returns what the others say when they say something else, and this is not what most say.
fn contradiction(value: &str, values: &[Option<String>]) -> Option<String> {
    let said = || values.iter().flatten();
    let count = |value: &str| said().filter(|other| *other == value).count();
    let other = said()
        .filter(|other| *other != value)
        .max_by_key(|other| count(other))?;
    if count(value) * 2 > said().count() {
        return None;
    }
    Some(match count(other) {
        1 => format!("another server says {other}"),
        count => format!("{count} other servers say {other}"),
    })
}

/// Two machines that take themselves for one server. Through relays one server has many.
fn twin(answer: &SurveyAnswer, answers: &[&SurveyAnswer]) -> Option<String> {
    let server = |answer: &SurveyAnswer| (answer.offer.server, answer.relay);
    let twin = answers.iter().find(|other| {
        // A relay's hardware address is that of the router, whichever server has answered.
        answer.relay.is_none() && server(other) == server(answer) && other.sender != answer.sender
    })?;
    let (server, sender) = (answer.offer.server, twin.sender);
    Some(format!("{sender} answers as server {server} too"))
}

fn proxied_source(answer: &SurveyAnswer) -> Option<String> {
    let (source, server) = (*answer.source.ip(), answer.offer.server);
    let is_other = answer.relay.is_none() && source != server;
    is_other.then(|| format!("answers as server {server} from {source}"))
}

fn unreachable_router(answer: &SurveyAnswer) -> Option<String> {
    let lease = &answer.offer.lease();
    let is_outside = |router: &Ipv4Addr| !same_network(*router, lease.address, lease.prefix_len);
    let routers = lease.routes.iter().filter_map(|route| route.gateway);
    let on_link = |router: &Ipv4Addr| {
        let mut routes = lease.routes.iter().filter(|route| route.gateway.is_none());
        routes.any(|route| same_network(*router, route.destination, route.prefix_len))
    };
    let router = routers
        .filter(is_outside)
        // Clouds such as Google's lease /32 addresses, whose router is in no subnet.
        .find(|router| !on_link(router) && lease.prefix_len < 32)?;
    let option = match lease.options.classless_routes() {
        Some(_) => code::CLASSLESS_STATIC_ROUTE,
        None => code::ROUTER,
    };
    Some(format!(
        "its router {router} (option {option}) is outside its subnet"
    ))
}
