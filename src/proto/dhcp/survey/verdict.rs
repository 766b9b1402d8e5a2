//! Which of the answers a boot would take, and why the others not: the choice of
//! [`super::super::offer`], made again with what was received, and explained.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::{Asked, SurveyAnswer};
use crate::dhcp::offer::{Offer, Offers, Rank, choose};
use crate::dhcp::reply::is_host;
use crate::time::{Instant, Seconds};

/// Decision of a boot about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferVerdict {
    /// It would be taken: its address, or the boot file that it adds to another's.
    pub is_chosen: bool,
    /// Why, or why not.
    pub why: String,
}

/// Judges the answers received on several interfaces, in the order of their arrival on each, as a boot
/// would that lets an offer without a boot file wait for `proxy_wait`; of equals the interface first
/// in the list is taken if the list `is_ordered`, by its user. Returns a verdict for each answer.
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
            self.decide_at.get_or_insert(answer.at + proxy_wait);
        }
        self.offers.add(offer.clone());
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
        let lacks_boot = offer.offer.rank() < Rank::BootService;
        Some(Self {
            place,
            offer,
            proxy: offers.proxy().filter(|_| lacks_boot).and_then(find),
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
            (Rank::NextServer, None) => "nobody names a boot file; this names a server".to_owned(),
            (Rank::Plain, None) => "the first; nobody names a boot file or a server".to_owned(),
        }
    }

    fn against_proxy(&self, place: usize, answer: &SurveyAnswer) -> String {
        let own = self.offer.offer.rank();
        if answer.offer.rank() < Rank::BootService {
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
