//! VLANs that are tried where nobody answers without a tag: sessions that begin late, beside those of
//! the interfaces that carry them.

use std::sync::Arc;
use std::time::Duration;

use super::session::Session;
use crate::config::{Config, VlansToTry};
use crate::error::Error;
use crate::link;
use wireboot_proto::time::Instant;

/// How long an answer without a tag is waited for: servers answer in milliseconds, or in 1 s when they
/// send a ping first (`ping-timeout` of ISC's).
const UNTAGGED_TIME: Duration = Duration::from_secs(1);

/// VLANs that are still to be tried.
pub(super) struct Trial<'a> {
    vlans: &'a VlansToTry,
    /// Applied to their sessions.
    prepare: fn(&mut Session),
}

impl<'a> Trial<'a> {
    /// Returns the VLANs of `config`, if any.
    pub(super) fn new(config: &'a Config, prepare: fn(&mut Session)) -> Option<Self> {
        let vlans = config.link.vlans_to_try.as_ref();
        let vlans = vlans.filter(|_| cfg!(feature = "bond"))?;
        Some(Self { vlans, prepare })
    }

    /// Returns when it is due if there has been a carrier since `carrier_at`.
    pub(super) fn due_at(&self, carrier_at: Instant) -> Instant {
        carrier_at + UNTAGGED_TIME
    }

    /// Adds sessions on the VLANs of the interfaces with a carrier, unless a server has answered
    /// there. All are asked on at once: in turn, each would cost the time in which a server may answer.
    ///
    /// # Errors
    /// [`Error::Configure`] when no VLAN can be made.
    pub(super) fn begin(&self, sessions: &mut Vec<Session>, config: &Config) -> Result<(), Error> {
        if sessions.iter().any(Session::has_answer) {
            return Ok(());
        }
        let parents = sessions.iter().filter(|session| session.has_begun());
        let links = link::add_vlans(parents.map(Session::link), &self.vlans.ids)?;
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        log::info!("nobody answers without a tag; trying {}", names.join(" "));
        for link in links {
            let mut session = Session::open(Arc::new(link), &config.dhcp)?;
            session.share_switch_port();
            (self.prepare)(&mut session);
            sessions.push(session);
        }
        Ok(())
    }
}
