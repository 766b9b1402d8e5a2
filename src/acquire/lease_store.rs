//! The lease file: what the next start asks for first (INIT-REBOOT), and what `--release` gives
//! back.
//!
//! It stands in /run, which an initramfs hands over to the system it starts, or where it outlives a
//! restart of the machine: in /var/lib, when its administrator has made a directory there for it. Its
//! name is the hardware address, which a rename of the interface does not change. It is replaced
//! whole, and read as something that anybody may have written.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys;
use crate::sys::files;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::option::known;
use wireboot_proto::time::BUILT_AT;

/// Where it lies as long as the machine runs.
// dracut and initramfs-tools move /run into the system; the rest of an initramfs is deleted.
const UNTIL_RESTART: &str = "/run/wireboot";
/// Where it lies for longer, when there is such a directory.
const LASTING: &str = "/var/lib/wireboot";
/// More than a lease takes.
const MAX_LEN: usize = 4096;

/// A lease in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedLease {
    /// Whose it is.
    pub(super) mac: MacAddress,
    /// As whom it was taken (option 61).
    pub(super) client_id: Vec<u8>,
    pub(super) address: Ipv4Addr,
    pub(super) prefix_len: u8,
    pub(super) server: Ipv4Addr,
    /// Who brought the server's last message.
    pub(super) next_hop: Option<MacAddress>,
    /// What the interface's MTU was before the lease set another, octets.
    pub(super) mtu_octets: Option<u32>,
    /// Time since 1970, in seconds; none when it has no end.
    pub(super) expires_at: Option<u64>,
}

/// The directories that leases are on file in; of two with a lease of the same interface the first
/// has the newer one.
#[derive(Debug)]
pub(super) struct LeaseStore {
    directories: Vec<PathBuf>,
    /// Of the names of its files.
    extension: &'static str,
}

impl LeaseStore {
    /// Returns the store of leases of IPv4 in the usual directories, or in `given` in place of them.
    pub(super) fn new(given: Option<&Path>) -> Self {
        Self::of("lease", given)
    }

    /// As [`LeaseStore::new`], of another kind of files.
    pub(super) fn of(extension: &'static str, given: Option<&Path>) -> Self {
        let mut directories = Vec::new();
        if let Some(directory) = given {
            directories.push(directory.to_owned());
        } else {
            directories.push(PathBuf::from(UNTIL_RESTART));
            directories.extend(Some(PathBuf::from(LASTING)).filter(|directory| directory.is_dir()));
        }
        Self {
            directories,
            extension,
        }
    }

    /// Returns where the lease of an interface may be.
    pub(super) fn paths(&self, mac: MacAddress) -> Vec<PathBuf> {
        let name = format!("{mac}.{}", self.extension);
        let directories = self.directories.iter();
        directories.map(|directory| directory.join(&name)).collect()
    }

    /// Reads the lease of an interface, when there is one.
    pub(super) fn read(&self, mac: MacAddress) -> Option<SavedLease> {
        self.read_by(mac, |text| {
            SavedLease::parse(text).filter(|saved| saved.mac == mac)
        })
    }

    /// Reads the file of an interface, when there is one that `parse` takes for a lease.
    pub(super) fn read_by<T>(
        &self,
        mac: MacAddress,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let mut lease = None;
        let mut is_lease = |text: &str| {
            lease = parse(text);
            lease.is_some()
        };
        let paths = self.paths(mac);
        paths
            .iter()
            .find(|path| has_lease(path, mac, &mut is_lease))?;
        lease
    }

    /// Puts the lease in place of the one before, where it lasts longest.
    pub(super) fn write(&self, saved: &SavedLease) {
        self.write_text(saved.mac, &saved.to_string());
    }

    /// As [`LeaseStore::write`], the text of a lease.
    pub(super) fn write_text(&self, mac: MacAddress, text: &str) {
        let paths = self.paths(mac);
        let mut paths = paths.iter();
        while let Some(path) = paths.next_back() {
            // /run is in memory, where fsync has nothing to do.
            let replace = if path.starts_with(UNTIL_RESTART) {
                files::replace_own
            } else {
                files::replace_durably
            };
            match replace(path, text.as_bytes()) {
                // What is left in front of it would be taken for newer.
                Ok(()) => return paths.for_each(|older| remove(older)),
                Err(error) => log::warn!("{} is not written: {error}", path.display()),
            }
        }
    }

    /// Removes the lease of an interface.
    pub(super) fn remove(&self, mac: MacAddress) {
        self.paths(mac).iter().for_each(|path| remove(path));
    }
}

impl SavedLease {
    /// Describes a lease that was requested `age` ago; none for one without a server, which nobody
    /// could be asked for again.
    pub(super) fn new(
        mac: MacAddress,
        client_id: Vec<u8>,
        lease: &Lease,
        age: Duration,
        next_hop: Option<MacAddress>,
        mtu_octets: Option<u32>,
    ) -> Option<Self> {
        Some(Self {
            mac,
            client_id,
            address: lease.address,
            prefix_len: lease.prefix_len,
            server: lease.server?,
            next_hop,
            mtu_octets,
            expires_at: lease
                .times
                // Wall-clock time, since the monotonic clocks begin anew with the next kernel.
                .map(|times| (sys::since_1970() + times.lease.saturating_sub(age)).as_secs()),
        })
    }

    /// Returns whether it may still be used, `now` after 1970, by who is known as `client_id`. A clock
    /// that does not know the time, now or when the lease was granted, knows nothing about its end: the
    /// server is asked then, and refuses what is over (RFC 2131 §4.3.2).
    pub(super) fn is_valid_for(&self, client_id: &[u8], now: Duration) -> bool {
        // Machines without a battery-backed clock start in 1970, or at the date of their kernel.
        let known = BUILT_AT.as_secs()..=now.as_secs();
        let is_over = self.expires_at.is_some_and(|at| known.contains(&at));
        !is_over && self.client_id == client_id
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find_map(|(name, value)| (name == key).then_some(value))
        };
        let (address, prefix_len) = value("address")?.split_once('/')?;
        let host = |text: &str| -> Option<Ipv4Addr> {
            let address = text.parse().ok()?;
            wireboot_proto::dhcp::is_host(address).then_some(address)
        };
        Some(Self {
            mac: value("mac")?.parse().ok()?,
            client_id: known::parse_hex(value("client-id")?)?,
            address: host(address)?,
            // Shifts by more than 32 bits would follow from it.
            prefix_len: prefix_len.parse().ok().filter(|len| *len <= 32)?,
            server: host(value("server")?)?,
            next_hop: match value("neighbour") {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            },
            mtu_octets: match value("mtu") {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            },
            expires_at: match value("expires")? {
                "never" => None,
                seconds => Some(seconds.parse().ok()?),
            },
        })
    }
}

impl fmt::Display for SavedLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mac={}", self.mac)?;
        writeln!(f, "client-id={}", known::hex(&self.client_id))?;
        writeln!(f, "address={}/{}", self.address, self.prefix_len)?;
        writeln!(f, "server={}", self.server)?;
        if let Some(next_hop) = self.next_hop {
            writeln!(f, "neighbour={next_hop}")?;
        }
        if let Some(mtu_octets) = self.mtu_octets {
            writeln!(f, "mtu={mtu_octets}")?;
        }
        match self.expires_at {
            Some(seconds) => writeln!(f, "expires={seconds}"),
            None => writeln!(f, "expires=never"),
        }
    }
}

/// Returns whether a file is there of which `is_lease` says that it is one.
// Not generic, and so there once.
fn has_lease(path: &Path, mac: MacAddress, is_lease: &mut dyn FnMut(&str) -> bool) -> bool {
    let is_one = match files::read(path) {
        Ok(octets) => {
            let text = octets.get(..MAX_LEN).unwrap_or(&octets);
            std::str::from_utf8(text).is_ok_and(is_lease)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        // Any other error is reported: a file that is there and cannot be read is no missing lease.
        Err(error) => {
            log::warn!("{}: {error}", path.display());
            return false;
        }
    };
    if !is_one {
        log::warn!("{}: is no lease of {mac}; ignored", path.display());
    }
    is_one
}

fn remove(path: &Path) {
    if let Err(error) = files::remove(path) {
        log::warn!("{} is not removed: {error}", path.display());
    }
}

/// Reads a lease file and, if it is one, what would be written for it.
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(saved) = SavedLease::parse(text) {
        assert!(saved.prefix_len <= 32);
        assert_eq!(SavedLease::parse(&saved.to_string()), Some(saved));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn saved() -> SavedLease {
        SavedLease {
            mac: MAC,
            client_id: vec![1, 0x52, 0x54, 0, 0x12, 0x34, 0x56],
            address: Ipv4Addr::new(192, 0, 2, 100),
            prefix_len: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            next_hop: Some(MacAddress([2; 6])),
            mtu_octets: Some(1500),
            expires_at: Some(u64::MAX),
        }
    }

    #[test]
    fn a_lease_is_read_as_it_was_written_and_any_line_less_or_changed_is_refused() {
        let without_end = SavedLease {
            next_hop: None,
            mtu_octets: None,
            expires_at: None,
            ..saved()
        };
        for saved in [saved(), without_end] {
            let text = saved.to_string();
            assert_eq!(SavedLease::parse(&text).as_ref(), Some(&saved));
            for line in text.lines() {
                let (key, _) = line.split_once('=').unwrap();
                if !["neighbour", "mtu"].contains(&key) {
                    assert_eq!(SavedLease::parse(&text.replace(line, "")), None, "{line}");
                }
                let changed = text.replace(line, &format!("{key}=-"));
                assert_eq!(SavedLease::parse(&changed), None, "{line}");
            }
        }
    }

    #[test]
    fn a_fifo_in_place_of_the_lease_is_not_waited_for() {
        use std::sync::mpsc::channel;

        let directory = std::env::temp_dir().join(format!("wireboot-{:016x}", sys::seed()));
        std::fs::create_dir(&directory).unwrap();
        let store = LeaseStore::new(Some(&directory));
        let path = store.paths(MAC).remove(0);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (done, waits) = channel();
        std::thread::spawn(move || done.send(store.read(MAC)));
        let read = waits.recv_timeout(std::time::Duration::from_secs(10));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(read, Ok(None));
    }

    #[test]
    fn addresses_that_no_host_has_are_refused() {
        for (good, bad) in [
            ("192.0.2.100/24", "0.0.0.0/24"),
            ("192.0.2.100/24", "192.0.2.100/33"),
            ("192.0.2.100/24", "127.0.0.1/8"),
            ("192.0.2.1\n", "224.0.0.1\n"),
        ] {
            assert_eq!(
                SavedLease::parse(&saved().to_string().replace(good, bad)),
                None
            );
        }
    }

    #[test]
    fn a_lease_that_is_over_or_anothers_is_not_used() {
        let valid_at = |expires_at: u64, now: u64| {
            let saved = SavedLease {
                expires_at: Some(expires_at),
                ..saved()
            };
            saved.is_valid_for(&saved.client_id, Duration::from_secs(now))
        };
        let built_at = BUILT_AT.as_secs();
        assert!(valid_at(built_at + 2, built_at + 1));
        assert!(!valid_at(built_at + 1, built_at + 1));
        assert!(!saved().is_valid_for(&[0, 1], Duration::ZERO));
        // Of a clock that starts with 1970, after the restart or before.
        assert!(valid_at(built_at + 1, 7));
        assert!(valid_at(3_600, built_at + 1));
        assert!(valid_at(3_600, 7_200));
    }

    proptest! {
        #[test]
        fn nothing_in_the_file_harms(text in "\\PC{0,40}(\n(mac|address|expires)=\\PC{0,20}){0,4}") {
            let _ = SavedLease::parse(&text);
        }
    }
}
