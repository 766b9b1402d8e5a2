//! The record of what a DHCPv6 server has granted, which `--release` gives back: a file beside that of a
//! lease of IPv4, read as something that anybody may have written.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::lease_store::LeaseStore;
use crate::config::DhcpConfig;
use wireboot_proto::ipv6::address;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::ipv6::lease::{Lease6, Origin};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::option::known;

/// What a server has granted, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted6 {
    pub(super) duid: Vec<u8>,
    pub(super) iaid: [u8; 4],
    pub(super) server_id: Vec<u8>,
    /// One or more.
    pub(super) addresses: Vec<Ipv6Addr>,
}

impl Granted6 {
    /// Returns what a server has granted of a lease, if one has.
    fn of(identity: &Identity, lease: &Lease6) -> Option<Self> {
        let mut addresses = Vec::new();
        for given in &lease.addresses {
            if given.origin == Origin::Server {
                addresses.push(given.address);
            }
        }
        (!addresses.is_empty()).then(|| Self {
            duid: identity.duid.clone(),
            iaid: identity.iaid,
            server_id: lease.server_id.clone(),
            addresses,
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut duid, mut iaid, mut server_id) = (Vec::new(), Vec::new(), Vec::new());
        let mut addresses = Vec::new();
        for line in text.lines() {
            let (key, value) = line.split_once('=')?;
            if key == "address" {
                let address = value.parse().ok().filter(|it| address::is_host(*it));
                addresses.push(address?);
                continue;
            }
            let bytes = known::parse_hex(value)?;
            match key {
                "duid" => duid = bytes,
                "iaid" => iaid = bytes,
                "server-id" => server_id = bytes,
                _ => return None,
            }
        }
        let is_whole = !duid.is_empty() && !server_id.is_empty() && !addresses.is_empty();
        Some(Self {
            duid,
            iaid: iaid.try_into().ok().filter(|_| is_whole)?,
            server_id,
            addresses,
        })
    }
}

impl fmt::Display for Granted6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "duid={}", known::hex(&self.duid))?;
        writeln!(f, "iaid={}", known::hex(&self.iaid))?;
        writeln!(f, "server-id={}", known::hex(&self.server_id))?;
        for address in &self.addresses {
            writeln!(f, "address={address}")?;
        }
        Ok(())
    }
}

/// The record of an interface.
#[derive(Debug)]
pub(super) struct Record6 {
    store: LeaseStore,
    mac: MacAddress,
    /// What was there before, once another is written.
    before: Option<Option<Granted6>>,
    written: Option<Granted6>,
}

impl Record6 {
    /// Returns the record of the interface `mac`.
    pub(super) fn new(mac: MacAddress, config: &DhcpConfig) -> Self {
        Self {
            store: LeaseStore::of("lease6", config.lease_directory.as_deref()),
            mac,
            before: None,
            written: None,
        }
    }

    /// Returns the paths of its file.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.store.paths(self.mac)
    }

    /// Reads it.
    pub(super) fn read(&self) -> Option<Granted6> {
        self.store.read_by(self.mac, Granted6::parse)
    }

    /// Writes what a server has granted; without that what was written is removed.
    pub(super) fn save(&mut self, identity: &Identity, lease: &Lease6) {
        let granted = Granted6::of(identity, lease);
        // Most news are of routers, and leave it as it is.
        if granted == self.written {
            return;
        }
        if self.before.is_none() {
            self.before = Some(self.read());
        }
        self.write(granted.as_ref());
        self.written = granted;
    }

    /// Returns whether it is of this process.
    pub(super) const fn is_written(&self) -> bool {
        self.written.is_some()
    }

    /// Removes it.
    pub(super) fn remove(&self) {
        self.store.remove(self.mac);
    }

    /// Puts back what was there before.
    pub(super) fn restore(&mut self) {
        if let Some(before) = self.before.take() {
            self.write(before.as_ref());
        }
    }

    fn write(&self, granted: Option<&Granted6>) {
        match granted {
            Some(granted) => self.store.write_text(self.mac, &granted.to_string()),
            None => self.remove(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_any_line_less_or_changed_is_refused() {
        let granted = Granted6 {
            duid: vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 1],
            iaid: [0, 0, 0, 1],
            server_id: vec![0, 1, 2],
            addresses: vec!["2001:db8::7".parse().unwrap()],
        };
        let text = granted.to_string();
        assert_eq!(Granted6::parse(&text), Some(granted.clone()));
        for line in text.lines() {
            let (key, _) = line.split_once('=').unwrap();
            let without = text.replace(&format!("{line}\n"), "");
            assert_eq!(Granted6::parse(&without), None, "{line}");
            for wrong in ["-", "", "::", "ff02::1", "::1"] {
                let changed = text.replace(line, &format!("{key}={wrong}"));
                assert_eq!(Granted6::parse(&changed), None, "{changed}");
            }
        }
        let two = format!("{text}address=2001:db8::8\n");
        assert_eq!(Granted6::parse(&two).unwrap().addresses.len(), 2);
    }
}
