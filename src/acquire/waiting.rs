//! What is said while there is no lease yet: after 3, 10 and 30 s and each half a minute from then on,
//! and on a terminal every second, in one line that is rewritten.

use std::time::Duration;

use log::Level;

use super::diagnosis::{received_now, received_on};
use super::session::Session;
use crate::sys::messages;
use wireboot_proto::time::Instant;

/// The reports about one wait.
#[derive(Debug)]
pub(super) struct WaitingReport {
    begun_at: Instant,
    /// Seconds after which the next one is due.
    next: u64,
    is_shown: bool,
}

impl WaitingReport {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            begun_at: now,
            next: if is_rewritten() { 1 } else { 3 },
            is_shown: false,
        }
    }

    /// Reports how things stand, if it is time to; what is waited for ends at `deadline`.
    pub(super) fn handle_timeout(
        &mut self,
        sessions: &mut [Session],
        deadline: Instant,
        now: Instant,
    ) {
        if now < self.poll_timeout() {
            return;
        }
        let waited = now.since(self.begun_at).as_secs();
        let is_rewritten = is_rewritten();
        self.next = match waited {
            _ if is_rewritten => waited + 1,
            ..10 => 10,
            10..30 => 30,
            _ => waited + 30,
        };
        if !log::log_enabled!(Level::Info) {
            return;
        }
        let received = received_now();
        let mut farthest = None;
        for session in sessions {
            let count = received_on(session.link(), &received);
            let text = session.waiting(deadline.since(now), count);
            if !is_rewritten {
                log::info!("{text}");
            } else if farthest <= Some(session.progress()) {
                // There is room for one, and the others are most often cards without a cable.
                farthest = Some(session.progress());
                messages::show(&format!("wireboot: {text}"));
                self.is_shown = true;
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.begun_at + Duration::from_secs(self.next)
    }
}

/// Returns whether one line is rewritten: not on a console, for which small builds are.
fn is_rewritten() -> bool {
    cfg!(feature = "hand") && messages::is_rewritable()
}

impl Drop for WaitingReport {
    fn drop(&mut self) {
        if self.is_shown {
            messages::show("");
        }
    }
}
