//! Drives [`wireboot_proto::http::Get`] over TCP: follows redirections, resumes, and uses several
//! connections where that is faster.

mod transfer;

use std::sync::Mutex;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use super::download::{Attempt, Download};
use super::failure::{Failure, other, text_of};
use transfer::{HttpEnd, SharedDownload, SpanTransfer, lock, transfer};
use wireboot_proto::http::Failure as TransferFailure;
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::time::Instant;

/// More redirections than this are taken for a loop; curl allows 50, browsers 20.
const MAX_REDIRECTIONS: u32 = 10;

/// Fetches the missing parts of the file.
pub(super) fn get(attempt: &Attempt<'_>, download: &mut Download<'_>) -> Result<(), Failure> {
    download.begin().map_err(other)?;
    let download = Mutex::new(download);
    let end = thread::scope(|scope| {
        let end = lead(scope, attempt, &download);
        // After a failure that may be temporary, the other connections continue.
        if !matches!(end, Err(Failure::Passing(_))) {
            lock(&download).abandon();
        }
        end
    });
    match end {
        Err(Failure::Passing(_)) if lock(&download).is_whole() => Ok(()),
        end => end,
    }
}

/// Fetches span after span until the file is complete, and starts further connections where that is
/// faster.
fn lead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    attempt: &'scope Attempt<'_>,
    download: &'scope SharedDownload<'_, '_>,
) -> Result<(), Failure> {
    let mut url = attempt.url.clone();
    let mut detours = 0;
    let mut pace = ConnectionGrowth::default();
    let mut helpers = Vec::new();
    loop {
        if url.scheme() == Scheme::Https && cfg!(not(feature = "tls")) {
            return Err(Failure::Other("this build does not support TLS".into()));
        }
        let claimed = lock(download).claim();
        let Some((span, end)) = claimed else {
            // The rest belongs to other connections, or belonged to some that have failed.
            helpers.drain(..).map(ScopedJoinHandle::join).for_each(drop);
            if lock(download).is_whole() {
                return Ok(());
            }
            continue;
        };
        let part = SpanTransfer {
            download,
            span,
            end,
            joined: false,
        };
        let end = transfer(attempt, &url, &part, &mut |now| {
            let mut download = part.lock();
            download.show(now);
            let (left, received) = (download.divisible(), download.received());
            if left.is_some_and(|left| pace.wants_more(received, left, now)) {
                let url = url.clone();
                helpers.push(scope.spawn(move || help(attempt, &url, part.download)));
            }
        });
        part.lock().release(span);
        let end = end?;
        detours += u32::from(matches!(end, HttpEnd::Redirected(_) | HttpEnd::Another));
        match end {
            HttpEnd::Done => {}
            HttpEnd::Redirected(_) | HttpEnd::Another if detours > MAX_REDIRECTIONS => {
                let why = format!("more than {MAX_REDIRECTIONS} redirections");
                return Err(Failure::Other(why.into()));
            }
            HttpEnd::Redirected(to) => {
                log::debug!("{url} is at {to}");
                attempt.allow(&to)?;
                url = to;
            }
            HttpEnd::Another => part.lock().restart().map_err(other)?,
            HttpEnd::Failed(failure @ TransferFailure::Missing(_)) => {
                return Err(Failure::Missing(text_of(&failure)));
            }
            HttpEnd::Failed(failure @ TransferFailure::NoParts) => {
                return Err(Failure::NoParts(text_of(&failure)));
            }
            // Of the registry itself alone: who it leads to has no say in where its password goes.
            #[cfg(feature = "root")]
            HttpEnd::Failed(TransferFailure::Challenge(what)) if url == *attempt.url => {
                return Err(Failure::Challenge(what));
            }
            HttpEnd::Failed(failure) if failure.is_passing() => {
                return Err(Failure::Passing(text_of(&failure)));
            }
            HttpEnd::Failed(failure) => return Err(Failure::Other(text_of(&failure))),
        }
    }
}

/// Fetches spans on a further connection, until none are left or anything unexpected happens.
fn help(attempt: &Attempt<'_>, url: &Url, download: &SharedDownload<'_, '_>) {
    loop {
        let claimed = lock(download).claim();
        let Some((span, end)) = claimed else {
            return;
        };
        let part = SpanTransfer {
            download,
            span,
            end,
            joined: true,
        };
        let end = transfer(attempt, url, &part, &mut |_| {});
        part.lock().release(span);
        let why = match end {
            Ok(HttpEnd::Done) => continue,
            Ok(HttpEnd::Redirected(to)) => format!("it is at {to} now"),
            Ok(HttpEnd::Another) => "it has another file, or does not send parts".to_owned(),
            Ok(HttpEnd::Failed(failure)) => failure.to_string(),
            Err(failure) => failure.about(url).chain(),
        };
        return log::debug!("{url}: one connection less: {why}");
    }
}

/// Connections beside the first: RFC 9112 §9.4 asks for few, and browsers use up to 6.
// 256 MiB at 20 MiB/s for each connection: 12.9 s over one, 5.5 s as it is here.
const MOST: u32 = 3;
/// How long a rate is measured: several round trips of any path, past TCP's slow start.
const WINDOW: Duration = Duration::from_secs(1);
/// A file that will be complete within this time is not worth another connection.
const SOON: Duration = Duration::from_secs(3);

/// Decides by the rate of the last second whether another connection is worth it.
#[derive(Debug, Default)]
struct ConnectionGrowth {
    /// When the measurement began, and bytes received by then.
    began: Option<(Instant, u64)>,
    /// Bytes per second before the last connection joined.
    rate: u64,
    joined: u32,
    /// No more connections: the last one was no gain, or there are enough.
    is_settled: bool,
}

impl ConnectionGrowth {
    /// Returns whether to start another connection, with `received` bytes received and `left` bytes
    /// missing.
    fn wants_more(&mut self, received: u64, left: u64, now: Instant) -> bool {
        let (since, before) = *self.began.get_or_insert((now, received));
        let time = now.since(since);
        if self.is_settled || time < WINDOW {
            return false;
        }
        self.began = Some((now, received));
        let rate = per_second(received.saturating_sub(before), time);
        // A quarter more is a gain; less may be chance.
        // One at a time, so that a line that is full has one connection too many at most.
        if self.joined > 0 && rate <= self.rate + self.rate / 4 {
            self.is_settled = true;
            return false;
        }
        if left < rate.saturating_mul(SOON.as_secs()) {
            return false;
        }
        self.rate = rate;
        self.joined += 1;
        self.is_settled = self.joined == MOST;
        true
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    // At least one: what came within a millisecond must not divide by zero.
    let milliseconds = time.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1000 / milliseconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many connections join while a file of `len` bytes comes, at the rate that this many
    /// connections have, bytes a second.
    fn joined(len: u64, rate: impl Fn(u64) -> u64) -> u64 {
        let mut pace = ConnectionGrowth::default();
        let (mut connections, mut received) = (1, 0);
        for tick in 0.. {
            if received >= len {
                break;
            }
            received += rate(connections) / 100;
            let now = Instant::from_millis(tick * 10);
            let left = len.saturating_sub(received);
            connections += u64::from(pace.wants_more(received, left, now));
        }
        connections - 1
    }

    #[test]
    fn connections_join_while_each_brings_more_and_no_more_than_three() {
        let each_has_its_own = |connections| connections * 1_000_000;
        assert_eq!(joined(100_000_000, each_has_its_own), 3);
        let two_fill_the_line = |connections: u64| connections.min(2) * 1_000_000;
        assert_eq!(joined(100_000_000, two_fill_the_line), 2);
        let one_fills_it = |_| 1_000_000;
        assert_eq!(joined(100_000_000, one_fills_it), 1);
    }

    #[test]
    fn what_comes_soon_is_left_to_one_connection() {
        assert_eq!(joined(3_900_000, |_| 1_000_000), 0);
    }

    #[test]
    fn a_silent_server_is_asked_for_more_once() {
        let mut pace = ConnectionGrowth::default();
        let asked = (0..60).filter(|second| {
            let now = Instant::from_millis(second * 1000);
            pace.wants_more(1, 1 << 30, now)
        });
        assert_eq!(asked.count(), 1);
    }
}
