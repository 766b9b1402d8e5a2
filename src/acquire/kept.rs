//! What holds a lease for as long as a boot needs it, whatever family it is of.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::ipv6::Bound6;
use super::keep::Renewal;
use super::keep6::Renewal6;
use super::session::Session;
use crate::error::Error;
use crate::link::Link;

/// A configured session, which is not renewed at the moment.
#[derive(Debug)]
pub(super) enum Kept {
    /// Of DHCP.
    V4(Box<Session>),
    /// Of routers and DHCPv6.
    V6(Box<Bound6>),
}

impl Kept {
    /// The interface, for a user beside the session.
    pub(super) fn shared_link(&self) -> Arc<Link> {
        match self {
            Self::V4(session) => session.shared_link(),
            Self::V6(bound) => bound.shared_link(),
        }
    }

    /// Puts the interface back as it was found.
    pub(super) fn restore(self) {
        match self {
            Self::V4(session) => session.restore(),
            Self::V6(bound) => bound.restore(),
        }
    }
}

/// A session that is renewed.
#[derive(Debug)]
pub(super) enum KeptRenewal {
    /// Of DHCP.
    V4(Box<Renewal>),
    /// Of routers and DHCPv6.
    V6(Box<Renewal6>),
}

impl KeptRenewal {
    /// Begins to keep the lease.
    ///
    /// # Errors
    /// `Reason::System` when a call fails that every machine should allow.
    pub(super) fn begin(kept: Kept) -> Result<Self, Error> {
        Ok(match kept {
            Kept::V4(session) => Self::V4(Box::new(Renewal::begin(*session)?)),
            Kept::V6(bound) => Self::V6(Box::new(Renewal6::begin(*bound)?)),
        })
    }

    /// The interface's name.
    pub(super) fn link_name(&self) -> String {
        match self {
            Self::V4(renewal) => renewal.link_name(),
            Self::V6(renewal) => renewal.link_name(),
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// As [`keep`](super::keep::keep).
    pub(super) fn handle_events(&mut self) -> Result<(), Error> {
        match self {
            Self::V4(renewal) => renewal.handle_events(),
            Self::V6(renewal) => renewal.handle_events(),
        }
    }

    /// Waits until something is due, or one of `others`, two at most, is readable; returns which are.
    ///
    /// # Errors
    /// `Reason::System` when `poll` fails.
    pub(super) fn wait(&mut self, others: &[BorrowedFd<'_>]) -> Result<[bool; 2], Error> {
        match self {
            Self::V4(renewal) => renewal.wait(others),
            Self::V6(renewal) => renewal.wait(others),
        }
    }

    /// Ends the renewal and leaves the lease in force.
    pub(super) fn end(self) -> Kept {
        match self {
            Self::V4(renewal) => Kept::V4(Box::new(renewal.end())),
            Self::V6(renewal) => Kept::V6(Box::new(renewal.end())),
        }
    }
}
