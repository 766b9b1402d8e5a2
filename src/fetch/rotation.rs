//! The order in which servers and mirrors are asked for a file, with pauses and time limits.
//!
//! All are asked in rounds. While there is more than one, the time limit is short in the first
//! round and longer in each further one, so that a dead server costs seconds and a slow one gets
//! another chance. Pauses are between rounds, longer each time; there is none between servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, Reason};
use wireboot_proto::dhcp::boot_service;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::text::url::{Url, UrlError};
use wireboot_proto::time::{Backoff, Random};

/// Rounds without progress before giving up: with their pauses of 0.5, 1 and 2 s, a restarting
/// server has time to return.
pub(super) const ROUNDS: u32 = 4;
/// The time limit of the first round, while there is another server.
// With the full limit a silent first server cost 43 s before a mirror was asked.
pub(super) const FIRST_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct ServerRotation {
    /// Indices of the servers that may still have the file, in the order in which they are asked.
    servers: Vec<usize>,
    /// The position in that list.
    place: usize,
    /// Rounds in a row without progress.
    fruitless: u32,
    /// How many of them are made.
    pub(super) rounds: u32,
    stall_timeout: Duration,
    backoff: Backoff,
    random: Random,
}

/// The next server to ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NextServer {
    /// Its index.
    pub(super) server: usize,
    /// How long to wait before asking it.
    pub(super) pause: Duration,
    /// How long it may be silent.
    pub(super) patience: Duration,
}

/// The end of an attempt that did not complete the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum AttemptEnd {
    /// The server does not have the file.
    Hopeless,
    /// Nothing new was received, but another attempt may help.
    Fruitless,
    /// More was received than before, and any server can continue.
    Shared,
    /// More was received than before, and only this server can continue.
    Own,
}

impl ServerRotation {
    /// Begins with `servers` servers; one alone may be silent for `stall_timeout`.
    pub(super) fn new(servers: usize, stall_timeout: Duration, seed: u64) -> Self {
        Self {
            servers: (0..servers).collect(),
            place: 0,
            fruitless: 0,
            rounds: ROUNDS,
            // Zero would give a server up before it can answer.
            stall_timeout: stall_timeout.max(Duration::from_millis(1)),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(4)),
            random: Random::new(seed),
        }
    }

    /// Returns the first server; none when there is none.
    pub(super) fn first(&self) -> Option<NextServer> {
        self.turn(Duration::ZERO)
    }

    /// Returns the next server after an attempt that ended so; none when it is time to give up.
    pub(super) fn after(&mut self, ending: AttemptEnd) -> Option<NextServer> {
        let is_fruitful = match ending {
            AttemptEnd::Hopeless => {
                if self.place < self.servers.len() {
                    self.servers.remove(self.place);
                }
                false
            }
            AttemptEnd::Fruitless => {
                self.place += 1;
                false
            }
            AttemptEnd::Shared => {
                self.place += 1;
                true
            }
            AttemptEnd::Own => true,
        };
        if is_fruitful {
            self.fruitless = 0;
            self.backoff.reset();
        }
        let is_over = self.place >= self.servers.len();
        if is_over {
            self.place = 0;
            self.fruitless += u32::from(!is_fruitful);
        }
        let pauses = is_over || matches!(ending, AttemptEnd::Own);
        let pause = if pauses {
            self.backoff.next_delay(&mut self.random)
        } else {
            Duration::ZERO
        };
        self.turn(pause).filter(|_| self.fruitless < self.rounds)
    }

    fn turn(&self, pause: Duration) -> Option<NextServer> {
        let patience = match self.servers.len() {
            0 | 1 => self.stall_timeout,
            _ => self
                .stall_timeout
                // Doubled in each round, up to what a server alone has.
                .min(FIRST_PATIENCE * (1 << self.fruitless.min(ROUNDS))),
        };
        Some(NextServer {
            server: *self.servers.get(self.place)?,
            pause,
            patience,
        })
    }
}

/// Base URLs of mirrors, below which each file has the same path as on its own server.
#[derive(Debug, Clone, Default)]
pub struct Mirrors {
    folders: Vec<Url>,
    /// Another server that the lease names for what is on this one.
    stand_in: Option<(Url, Url)>,
    /// Which server is asked first; 0 is the file's own. After one wait for a dead server the next
    /// file begins with one that works.
    first: Arc<AtomicUsize>,
}

impl Mirrors {
    /// Returns these mirrors, to be asked after each file's own server.
    ///
    /// # Errors
    /// [`Reason::Usage`] when one is not a URL.
    pub fn of(folders: &[String]) -> Result<Self, Error> {
        let folders = folders.iter().map(|folder| folder.parse());
        let folders: Result<_, UrlError> = folders.collect();
        Ok(Self {
            folders: folders
                .map_err(|error| Box::new(Reason::Usage(format!("bad mirror: {error}"))))?,
            stand_in: None,
            first: Arc::default(),
        })
    }

    /// Returns these mirrors and, for files on the first server of `lease` for boot files, the second one.
    pub(super) fn and_servers_of(self, lease: &Lease) -> Self {
        let servers = lease.file_servers();
        let stand_in = match servers.as_slice() {
            [first, second, ..] => {
                let root = |server| boot_service::url_of("/", server).ok();
                root(first).zip(root(second))
            }
            _ => None,
        };
        Self { stand_in, ..self }
    }

    /// Returns all addresses of a file, in the order in which to try them.
    pub(super) fn addresses(&self, url: &Url) -> Vec<Url> {
        let mut all = vec![url.clone()];
        let place = |url: &Url| (url.scheme(), url.port(), url.host().to_owned());
        let stand_in = self.stand_in.iter();
        let stand_in = stand_in.filter(|(own, _)| place(own) == place(url));
        for folder in self.folders.iter().chain(stand_in.map(|(_, other)| other)) {
            match url.below(folder) {
                Ok(mirrored) => all.push(mirrored),
                Err(error) => log::warn!("{url} cannot be on the mirror {folder}: {error}"),
            }
        }
        // Relaxed: it says only who is asked first.
        let first = self.first.load(Ordering::Relaxed);
        let len = all.len();
        all.rotate_left(first % len);
        all
    }

    /// Makes the server that was tried `after` this number of others the first from now on.
    pub(super) fn prefer(&self, after: usize) {
        let len = 1 + self.folders.len() + usize::from(self.stand_in.is_some());
        if after > 0 {
            let first = self.first.load(Ordering::Relaxed) + after;
            let first = first % len;
            self.first.store(first, Ordering::Relaxed);
        }
    }
}

/// Ends the attempts as `data` says, and with failures once it is over: attempts without progress end.
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    let servers = data.first().map_or(0, |first| usize::from(first % 6));
    let mut turns = ServerRotation::new(servers, Duration::from_secs(15), 7);
    let mut endings = data.iter().skip(1);
    let (mut next, mut left) = (turns.first(), 4 * 6 * 2);
    while let Some(turn) = next {
        assert!(turn.server < servers);
        next = turns.after(match endings.next().map(|ending| ending % 4) {
            Some(0) => AttemptEnd::Shared,
            Some(1) => AttemptEnd::Own,
            Some(2) => AttemptEnd::Hopeless,
            Some(_) => AttemptEnd::Fruitless,
            None => {
                left -= 1;
                assert!(left > 0, "attempts without progress do not end");
                AttemptEnd::Fruitless
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL_TIMEOUT: Duration = Duration::from_secs(15);

    #[test]
    fn all_are_asked_in_rounds_that_become_more_patient_with_pauses_between() {
        let turns = play(2, |_| AttemptEnd::Fruitless);
        let servers: Vec<_> = turns.iter().map(|turn| turn.server).collect();
        assert_eq!(servers, [0, 1, 0, 1, 0, 1, 0, 1]);
        let patience: Vec<_> = turns.iter().map(|turn| turn.patience.as_secs()).collect();
        assert_eq!(patience, [5, 5, 10, 10, 15, 15, 15, 15]);
        for (turn, expected) in turns.iter().zip([0, 0, 500, 0, 1_000, 0, 2_000, 0]) {
            let pause = turn.pause.as_millis();
            assert!((expected * 8 / 10..=expected * 12 / 10).contains(&pause));
        }
    }

    #[test]
    fn one_alone_is_waited_for_and_asked_four_times() {
        let turns = play(1, |_| AttemptEnd::Fruitless);
        assert_eq!(turns.len(), 4);
        assert!(turns.iter().all(|turn| turn.patience == STALL_TIMEOUT));
        assert_eq!(play(1, |_| AttemptEnd::Hopeless).len(), 1);
        assert_eq!(ServerRotation::new(0, STALL_TIMEOUT, 1).first(), None);
    }

    #[test]
    fn one_without_the_file_is_not_asked_again_and_the_last_one_left_is_waited_for() {
        let turns = play(3, |turn| match turn.server {
            0 | 2 => AttemptEnd::Hopeless,
            _ => AttemptEnd::Fruitless,
        });
        let servers: Vec<_> = turns.iter().map(|turn| turn.server).collect();
        assert_eq!(servers, [0, 1, 2, 1, 1, 1]);
        assert!(turns[3..].iter().all(|turn| turn.patience == STALL_TIMEOUT));
    }

    #[test]
    fn one_that_broke_off_goes_on_itself_where_no_other_can() {
        let mut turns = ServerRotation::new(2, STALL_TIMEOUT, 1);
        let turn = turns.after(AttemptEnd::Own).unwrap();
        assert_eq!(turn.server, 0);
        assert!(turn.pause >= Duration::from_millis(400));
        assert_eq!(turns.after(AttemptEnd::Fruitless).unwrap().server, 1);
        let turn = turns.after(AttemptEnd::Shared).unwrap();
        assert_eq!((turn.server, turn.patience), (0, FIRST_PATIENCE));
    }

    #[test]
    fn what_comes_bit_by_bit_is_not_given_up() {
        for ending in [AttemptEnd::Own, AttemptEnd::Shared] {
            let mut turns = ServerRotation::new(2, STALL_TIMEOUT, 1);
            for _ in 0..100 {
                assert!(turns.after(ending).is_some());
                assert!(turns.after(AttemptEnd::Fruitless).is_some());
            }
        }
    }

    /// Returns all turns of a fetch in which each ends as `ending` says.
    fn play(servers: usize, ending: impl Fn(&NextServer) -> AttemptEnd) -> Vec<NextServer> {
        let mut turns = ServerRotation::new(servers, STALL_TIMEOUT, 1);
        let mut all = Vec::new();
        let mut next = turns.first();
        while let Some(turn) = next {
            next = turns.after(ending(&turn));
            all.push(turn);
        }
        all
    }

    #[test]
    fn the_server_that_gave_a_file_is_asked_first_from_then_on() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let mirrors = ["http://b/x/", "http://c/"].map(str::to_owned);
        let mirrors = Mirrors::of(&mirrors).unwrap();
        let order = |path: &str| {
            let addresses = mirrors.addresses(&url(path));
            addresses.iter().map(Url::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            order("http://a/d/f?q"),
            ["http://a/d/f?q", "http://b/x/d/f?q", "http://c/d/f?q"]
        );
        mirrors.prefer(0);
        mirrors.prefer(1);
        mirrors.clone().prefer(1);
        assert_eq!(
            order("tftp://a/f"),
            ["http://c/f", "tftp://a/f", "http://b/x/f"]
        );
        mirrors.prefer(1);
        assert_eq!(
            order("tftp://a/f"),
            ["tftp://a/f", "http://b/x/f", "http://c/f"]
        );
        assert_eq!(Mirrors::default().addresses(&url("http://a/")).len(), 1);
    }

    #[test]
    fn the_other_server_that_a_lease_names_is_asked_for_what_is_on_the_first_alone() {
        let mut lease = Lease::fixed([192, 0, 2, 9].into(), 24);
        lease.next_server = Some([192, 0, 2, 1].into());
        let order = |mirrors: &Mirrors, file: &str| {
            let addresses = mirrors.addresses(&file.parse().unwrap());
            addresses.iter().map(Url::to_string).collect::<Vec<_>>()
        };
        for (name, file, expected) in [
            (
                "192.0.2.2",
                "tftp://192.0.2.1/a/b",
                Some("tftp://192.0.2.2/a/b"),
            ),
            ("boot", "tftp://192.0.2.1//a/b", Some("tftp://boot//a/b")),
            (
                "boot:1069",
                "tftp://192.0.2.1/b",
                Some("tftp://boot:1069/b"),
            ),
            ("http://boot", "tftp://192.0.2.1/b", Some("http://boot/b")),
            ("192.0.2.2", "tftp://192.0.2.3/b", None),
            ("192.0.2.2", "http://192.0.2.1/b", None),
            ("192.0.2.1", "tftp://192.0.2.1/b", None),
        ] {
            lease.server_name = Some(name.to_owned());
            let mirrors = Mirrors::default().and_servers_of(&lease);
            let expected = std::iter::once(file).chain(expected);
            assert_eq!(
                order(&mirrors, file),
                expected.collect::<Vec<_>>(),
                "{name}"
            );
        }
        lease.server_name = Some("boot".to_owned());
        let mirrors = Mirrors::of(&["http://m/".to_owned()]).unwrap();
        let mirrors = mirrors.and_servers_of(&lease);
        mirrors.prefer(2);
        let expected = ["tftp://boot/b", "tftp://192.0.2.1/b", "http://m/b"];
        assert_eq!(order(&mirrors, "tftp://192.0.2.1/b"), expected);
        assert_eq!(order(&mirrors, "http://x/b"), ["http://x/b", "http://m/b"]);
    }
}
