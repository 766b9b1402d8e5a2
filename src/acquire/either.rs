//! A boot over the family that has a boot file, both asked at once.

use super::beside::Beside;
use super::ipv6::{Bound6, configure};
use super::race::{accept_best, lost, open, until, won_by};
use super::session::Session;
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::link::Found;
use crate::sys;
use crate::sys::signal::Signals;
use crate::timeline::Timeline;
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::lease::Lease6;

/// Winner of a race of both families.
pub enum Winner {
    /// A session with a lease, which is not configured yet.
    V4(Box<Session>),
    /// An interface that is configured.
    V6(Box<(Bound6, Lease6)>),
}

/// As [`lease()`](super::lease()), with both families at once on all interfaces. The first with an address
/// and a boot file wins; without any boot file IPv4, or, where that has no lease in time, IPv6. If none is
/// wanted, that time is short.
///
/// # Errors
/// As [`lease()`](super::lease()), with why IPv6 has no address either.
pub fn either(
    found: Found,
    config: &Config,
    signals: &Signals,
    timeline: &Timeline,
) -> Result<Winner, Error> {
    let Found { links, mut watch } = found;
    let mut sessions = open(links, &config.dhcp)?;
    let links = sessions.iter().map(Session::shared_link);
    let mut beside = Beside::open(links, config, Purpose::Lease);
    let won = until(
        &mut sessions,
        &mut watch,
        config,
        Some(signals),
        &mut beside,
        Session::set_beside_ipv6,
        &mut |sessions, now| accept_best(sessions, config, now),
    );
    if let Ok(Some(place)) = won {
        beside.end();
        return Ok(Winner::V4(Box::new(won_by(
            sessions, place, watch, timeline,
        ))));
    }
    let now = sys::now();
    let is_interrupted = matches!(&won, Err(error) if matches!(**error, Reason::Interrupted(_)));
    let best = if is_interrupted {
        None
    } else {
        beside.take_best(now)
    };
    let explained = beside.explain();
    beside.end();
    let Some(session) = best else {
        lost(sessions, timeline);
        return Err(match won {
            Err(mut error) => {
                if let (Reason::NoOffer(text), Some(why)) = (&mut *error, explained) {
                    text.push_str("; IPv6: ");
                    text.push_str(&why);
                }
                error
            }
            // A session that has just been settled is there.
            Ok(_) => Box::new(Reason::NoOffer("no address of either family".to_owned())),
        });
    };
    for other in sessions {
        if other.link().index() == session.link().index() {
            other.withdraw();
        } else {
            other.end(true);
        }
    }
    Ok(Winner::V6(Box::new(configure(session, watch)?)))
}
