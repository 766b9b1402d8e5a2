//! The lease file: what the next start asks for first (INIT-REBOOT), and what `--release` gives
//! back.
//!
//! It stands in /run, which an initramfs hands over to the system it starts, under the hardware
//! address, which a rename of the interface does not change. It is replaced whole, and read as
//! something that anybody may have written.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::dhcp::lease::Lease;
use crate::sys;
use crate::sys::file::{self, EVERYBODY};
use crate::wire::ethernet::MacAddress;
use crate::wire::option::known;

const DIRECTORY: &str = "/run/wireboot";
/// More than a lease takes.
const MAX_LEN: u64 = 4096;

/// A lease in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    /// Whose it is.
    pub(super) mac: MacAddress,
    /// As whom it was taken (option 61).
    pub(super) client_id: Vec<u8>,
    pub(super) address: Ipv4Addr,
    pub(super) prefix_len: u8,
    pub(super) server: Ipv4Addr,
    /// Who brought the server's last message.
    pub(super) neighbour: Option<MacAddress>,
    /// What the interface's MTU was before the lease set another, octets.
    pub(super) mtu_octets: Option<u32>,
    /// Time since 1970, in seconds; none when it has no end.
    pub(super) expires_at: Option<u64>,
}

impl Saved {
    /// Describes a lease that was granted just now.
    pub(super) fn new(
        mac: MacAddress,
        client_id: Vec<u8>,
        lease: &Lease,
        neighbour: Option<MacAddress>,
        mtu_octets: Option<u32>,
    ) -> Self {
        Self {
            mac,
            client_id,
            address: lease.address,
            prefix_len: lease.prefix_len,
            server: lease.server,
            neighbour,
            mtu_octets,
            expires_at: lease.lease_time.map(|time| seconds_now() + time.as_secs()),
        }
    }

    /// Reads the lease of an interface, when there is one.
    pub(super) fn read(mac: MacAddress) -> Option<Self> {
        let path = path(mac);
        let mut text = String::new();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            file => file,
        };
        let read = file.and_then(|file| file.take(MAX_LEN).read_to_string(&mut text));
        let saved = match read {
            Ok(_) => Self::parse(&text).filter(|saved| saved.mac == mac),
            Err(error) => {
                log::warn!("{}: {error}", path.display());
                return None;
            }
        };
        if saved.is_none() {
            log::warn!("{}: is no lease of {mac}; ignored", path.display());
        }
        saved
    }

    /// Puts the lease in place of the one before.
    pub(super) fn write(&self) {
        let path = path(self.mac);
        if let Err(error) = file::replace(&path, self.to_string().as_bytes(), EVERYBODY) {
            log::warn!("{} is not written: {error}", path.display());
        }
    }

    /// Returns whether it may still be used by who is known as `client_id`.
    pub(super) fn is_valid_for(&self, client_id: &[u8]) -> bool {
        let is_over = self.expires_at.is_some_and(|at| at <= seconds_now());
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
            crate::dhcp::is_host(address).then_some(address)
        };
        Some(Self {
            mac: value("mac")?.parse().ok()?,
            client_id: known::parse_hex(value("client-id")?)?,
            address: host(address)?,
            prefix_len: prefix_len.parse().ok().filter(|len| *len <= 32)?,
            server: host(value("server")?)?,
            neighbour: match value("neighbour") {
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

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mac={}", self.mac)?;
        writeln!(f, "client-id={}", known::hex(&self.client_id))?;
        writeln!(f, "address={}/{}", self.address, self.prefix_len)?;
        writeln!(f, "server={}", self.server)?;
        if let Some(neighbour) = self.neighbour {
            writeln!(f, "neighbour={neighbour}")?;
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

/// Removes the lease of an interface.
pub(super) fn remove(mac: MacAddress) {
    let path = path(mac);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("{} is not removed: {error}", path.display());
    }
}

fn path(mac: MacAddress) -> PathBuf {
    PathBuf::from(DIRECTORY).join(format!("{mac}.lease"))
}

fn seconds_now() -> u64 {
    sys::since_1970().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn saved() -> Saved {
        Saved {
            mac: MAC,
            client_id: vec![1, 0x52, 0x54, 0, 0x12, 0x34, 0x56],
            address: Ipv4Addr::new(192, 0, 2, 100),
            prefix_len: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            neighbour: Some(MacAddress([2; 6])),
            mtu_octets: Some(1500),
            expires_at: Some(u64::MAX),
        }
    }

    #[test]
    fn a_lease_is_read_as_it_was_written_and_any_line_less_or_changed_is_refused() {
        let without_end = Saved {
            neighbour: None,
            mtu_octets: None,
            expires_at: None,
            ..saved()
        };
        for saved in [saved(), without_end] {
            let text = saved.to_string();
            assert_eq!(Saved::parse(&text).as_ref(), Some(&saved));
            for line in text.lines() {
                let (key, _) = line.split_once('=').unwrap();
                if !["neighbour", "mtu"].contains(&key) {
                    assert_eq!(Saved::parse(&text.replace(line, "")), None, "{line}");
                }
                let changed = text.replace(line, &format!("{key}=-"));
                assert_eq!(Saved::parse(&changed), None, "{line}");
            }
        }
    }

    #[test]
    fn addresses_that_no_host_has_are_refused() {
        for (good, bad) in [
            ("192.0.2.100/24", "0.0.0.0/24"),
            ("192.0.2.100/24", "192.0.2.100/33"),
            ("192.0.2.100/24", "127.0.0.1/8"),
            ("192.0.2.1\n", "224.0.0.1\n"),
        ] {
            assert_eq!(Saved::parse(&saved().to_string().replace(good, bad)), None);
        }
    }

    #[test]
    fn a_lease_that_is_over_or_anothers_is_not_used() {
        let over = Saved {
            expires_at: Some(1),
            ..saved()
        };
        assert!(saved().is_valid_for(&saved().client_id));
        assert!(!over.is_valid_for(&over.client_id));
        assert!(!saved().is_valid_for(&[0, 1]));
    }

    proptest! {
        #[test]
        fn nothing_in_the_file_harms(text in "\\PC{0,40}(\n(mac|address|expires)=\\PC{0,20}){0,4}") {
            let _ = Saved::parse(&text);
        }
    }
}
