//! Which servers do not fit beside the others: a second server that nobody knows of is the usual
//! reason for a machine that boots on Monday and does not on Tuesday.
//!
//! Nothing in DHCP says who may serve, so this looks for contradictions. Where most servers agree,
//! those that do not stand out; where none are most, all do.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::SurveyAnswer;
use crate::packet::ipv4::{netmask, same_network};
use crate::packet::option::code;

/// Returns for each of the answers on one network what is odd about it, a sentence each.
pub fn suspicions(answers: &[&SurveyAnswer]) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new(); answers.len()];
    for (known, title) in FACTS {
        let values: Vec<_> = answers.iter().map(|answer| known(answer)).collect();
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

type Fact = fn(&SurveyAnswer) -> Option<String>;

/// What servers of one network agree about.
const FACTS: [(Fact, &str); 3] = [
    (subnet, "the subnet"),
    (router, "the router"),
    (resolvers, "the resolver"),
];

fn subnet(answer: &SurveyAnswer) -> Option<String> {
    let lease = &answer.offer.lease();
    let network = lease.address & netmask(lease.prefix_len);
    let is_granted = !answer.offer.is_proxy() && answer.asked.is_none();
    is_granted.then(|| format!("{network}/{}", lease.prefix_len))
}

fn router(answer: &SurveyAnswer) -> Option<String> {
    let routes = &answer.offer.lease().routes;
    let default = routes.iter().find(|route| route.prefix_len == 0)?;
    Some(default.gateway?.to_string())
}

fn resolvers(answer: &SurveyAnswer) -> Option<String> {
    let dns = &answer.offer.lease().dns;
    // Their order is a matter of sharing the load.
    let mut dns: Vec<_> = dns.iter().map(ToString::to_string).collect();
    dns.sort_unstable();
    (!dns.is_empty()).then(|| dns.join(" and "))
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
