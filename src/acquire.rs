//! Drives a [`crate::dhcp::Client`] on each interface, all in parallel; the first lease wins.

#![forbid(unsafe_code)]

mod attempt;
mod listener;
mod machine;

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use crate::config::Config;
use crate::dhcp::lease::Lease;
use crate::error::Error;
use crate::link::{self, Link, Watch};
use crate::sys;
use crate::time::Instant;

use attempt::{Attempt, client_config};

/// Raises the interfaces and acquires a lease on one of them. The others are left as they were
/// found; on failure, all are.
///
/// Listening begins before the interfaces are raised, asking the moment one has a carrier.
///
/// # Errors
/// [`Error::NoCarrier`] when no interface has one in time, [`Error::NoOffer`] or
/// [`Error::Refused`] when no server grants an address in time after that.
pub fn lease(links: Vec<Link>, config: &Config) -> Result<(Link, Lease), Error> {
    match race(&links, config) {
        Ok((winner, lease)) => {
            let (won, lost): (Vec<_>, Vec<_>) =
                links.into_iter().partition(|link| link.index == winner);
            lost.iter().for_each(Link::restore);
            let link = won.into_iter().next();
            let gone = || Error::NoInterface("the one with the lease is gone".to_owned());
            Ok((link.ok_or_else(gone)?, lease))
        }
        Err(error) => {
            links.iter().for_each(Link::restore);
            Err(error)
        }
    }
}

/// Returns the index of the interface with the first lease.
fn race(links: &[Link], config: &Config) -> Result<(u32, Lease), Error> {
    let mut attempts = links
        .iter()
        .map(|link| Attempt::new(link, client_config(link, config)))
        .collect::<Result<Vec<_>, _>>()?;
    link::raise(links)?;
    let mut watch = Watch::open()?;
    let started_at = sys::now();
    let mut carrier_at = None;
    loop {
        let now = sys::now();
        while let Some(change) = watch.next_change()? {
            let link = &change.link;
            let ours = |attempt: &&mut Attempt<'_>| attempt.link.index == link.index;
            if let Some(attempt) = attempts.iter_mut().find(ours) {
                attempt.handle_carrier(link.carrier && !change.gone, link.received, now);
            }
        }
        for attempt in &mut attempts {
            if let Some(lease) = attempt.handle_input(now)? {
                return Ok((attempt.link.index, lease));
            }
            attempt.handle_timeout(now);
        }
        if carrier_at.is_none() && attempts.iter().any(Attempt::has_begun) {
            carrier_at = Some(now);
        }
        let deadline = carrier_at.map_or(started_at + config.link_timeout, |at| {
            at + config.lease_timeout
        });
        if now >= deadline {
            return Err(failure(&attempts, carrier_at, started_at));
        }
        wait(&attempts, &watch, deadline)?;
    }
}

fn wait(attempts: &[Attempt<'_>], watch: &Watch, deadline: Instant) -> Result<(), Error> {
    let next = attempts.iter().filter_map(Attempt::poll_timeout).min();
    let until = next.map_or(deadline, |next| next.min(deadline));
    let mut sources: Vec<_> = attempts.iter().filter_map(Attempt::source).collect();
    sources.push(watch.as_fd());
    sys::wait_readable(&sources, Some(until)).map_err(|source| Error::System {
        doing: "cannot wait for packets".to_owned(),
        source,
    })?;
    Ok(())
}

/// Tells of the interface that came furthest.
fn failure(attempts: &[Attempt<'_>], carrier_at: Option<Instant>, started_at: Instant) -> Error {
    let now = sys::now();
    let begun: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.has_begun())
        .collect();
    let Some(carrier_at) = carrier_at else {
        let names: Vec<_> = attempts
            .iter()
            .map(|attempt| attempt.link.name.as_str())
            .collect();
        return Error::NoCarrier {
            interface: names.join(" "),
            waited: now.since(started_at),
        };
    };
    let received = received_now();
    let mut errors: Vec<_> = begun
        .iter()
        .map(|attempt| {
            let count = received.get(&attempt.link.index).copied();
            attempt.failure(now.since(carrier_at), count)
        })
        .collect();
    errors.sort_by_key(|error| matches!(error, Error::Refused(_)));
    let last = errors.pop();
    for error in errors {
        log::error!("{}", error.chain());
    }
    last.unwrap_or_else(|| Error::NoOffer("no interface was asked on".to_owned()))
}

/// Returns how many frames each interface has received.
fn received_now() -> BTreeMap<u32, u64> {
    let mut received = BTreeMap::new();
    if let Ok(mut watch) = Watch::open() {
        while let Ok(Some(change)) = watch.next_change() {
            received.insert(change.link.index, change.link.received);
        }
    }
    received
}
