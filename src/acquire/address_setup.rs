//! What a lease sets outside this process: addresses and routes of the interface, the files for the
//! programs that come later, and the lease file.

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::client_config::holder;
use super::lease_store::{LeaseStore, SavedLease};
use crate::config::{DhcpConfig, HandOver, StaticConfig};
use crate::error::Error;
use crate::handover::{self, EarlierFiles};
use crate::link::{EarlierLease, Link};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::ethernet::MacAddress;

/// Setter of what the leases of one interface say.
#[derive(Debug)]
pub(super) struct AddressSetup {
    link: Arc<Link>,
    /// Takes precedence over what the server says.
    static_config: StaticConfig,
    hand_over: HandOver,
    /// Somebody else sets what a lease says.
    is_left: bool,
    lease_store: LeaseStore,
    /// The lease on file when the session began.
    saved_before: Option<SavedLease>,
    /// Another one may be on file since.
    has_saved: Cell<bool>,
    /// The files for other programs as they were, once they have been written.
    earlier_files: OnceCell<EarlierFiles>,
}

impl AddressSetup {
    pub(super) fn new(link: Arc<Link>, config: &DhcpConfig) -> Self {
        let lease_store = LeaseStore::new(config.lease_directory.as_deref());
        Self {
            saved_before: lease_store.read(link.mac),
            link,
            static_config: config.given.clone(),
            hand_over: config.hand_over,
            is_left: config.script_only,
            lease_store,
            has_saved: Cell::new(false),
            earlier_files: OnceCell::new(),
        }
    }

    /// Returns the lease that was on file at first.
    pub(super) const fn saved_before(&self) -> Option<&SavedLease> {
        self.saved_before.as_ref()
    }

    /// Returns the paths of the lease file and of the files for other programs.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = self.lease_store.paths(self.link.mac);
        paths.extend(handover::paths(&holder(&self.link, &[])));
        paths
    }

    /// Changes a lease to what is set for it.
    pub(super) fn amend(&self, lease: &mut Lease) {
        lease.amend(&self.static_config);
    }

    /// Sets what `lease` says, `age` after it was requested, and writes the files of `client_id`.
    ///
    /// # Errors
    /// `Reason::Configure` with what the kernel refused.
    pub(super) fn configure(
        &self,
        lease: &Lease,
        age: Duration,
        client_id: &[u8],
    ) -> Result<(), Error> {
        if self.is_left {
            return Ok(());
        }
        let before = if self.has_saved.get() {
            self.lease_store.read(self.link.mac)
        } else {
            self.saved_before.clone()
        };
        let before = before.as_ref().map(on_interface);
        // A renewal must not take the address away first: its connections would end with it.
        self.link.replace(before, lease, age)?;
        let holder = holder(&self.link, client_id);
        self.earlier_files.get_or_init(|| handover::read(&holder));
        handover::write(&holder, lease, self.hand_over);
        Ok(())
    }

    /// Writes the lease file; the server's messages arrive from `next_hop`.
    pub(super) fn save(
        &self,
        lease: &Lease,
        age: Duration,
        client_id: Vec<u8>,
        next_hop: Option<MacAddress>,
    ) {
        let mac = self.link.mac;
        // An earlier command may have set the MTU for the same lease.
        let mtu_on_file = || {
            lease.mtu_octets?;
            self.lease_store.read(mac)?.mtu_octets
        };
        let mtu_octets = self.link.mtu_before().or_else(mtu_on_file);
        let saved = SavedLease::new(mac, client_id, lease, age, next_hop, mtu_octets);
        if let Some(saved) = saved {
            self.lease_store.write(&saved);
            self.has_saved.set(true);
        }
    }

    /// Removes what [`AddressSetup::configure`] set, and the lease file.
    pub(super) fn clear(&self) {
        self.link.clear();
        self.remove_files();
    }

    /// Removes the files, once the interface does not have the address any more; those that were
    /// there before are put back if they are about an address that it still has.
    pub(super) fn remove_files(&self) {
        // What cannot be read counts as gone, so that nothing of ours is left.
        let addresses = self.link.addresses().unwrap_or_default();
        let is_there = |address| addresses.iter().any(|(there, _)| *there == address);
        let earlier = self.earlier_files.get();
        match earlier.filter(|earlier| earlier.address().is_none_or(is_there)) {
            Some(earlier) => handover::restore(earlier),
            None => handover::remove(&holder(&self.link, &[])),
        }
        self.lease_store.remove(self.link.mac);
    }

    /// Puts the interface and the lease file back as they were at first.
    pub(super) fn restore(&self) {
        if let Some(earlier) = self.earlier_files.get() {
            handover::restore(earlier);
        }
        self.link.restore();
        // One that a server refused meanwhile is gone for good.
        match &self.saved_before {
            _ if !self.has_saved.get() => {}
            Some(saved) => self.lease_store.write(saved),
            None => self.lease_store.remove(self.link.mac),
        }
    }

    /// Removes the lease file, the files for other programs and what an earlier process set on the
    /// interface for it; false without such a file.
    ///
    /// # Errors
    /// `Reason::Configure` with what the kernel refused; the file is removed all the same.
    pub(super) fn remove_saved(&self) -> Result<bool, Error> {
        let Some(saved) = self.lease_store.read(self.link.mac) else {
            return Ok(false);
        };
        let removed = self.link.take_back(on_interface(&saved));
        // Another client may have written its own since.
        let holder = holder(&self.link, &[]);
        if handover::read(&holder).address() == Some(saved.address) {
            handover::remove(&holder);
        }
        self.lease_store.remove(self.link.mac);
        removed.map(|()| true)
    }

    /// Returns whether the interface has the address of `lease`.
    pub(super) fn has_address(&self, lease: &Lease) -> bool {
        let addresses = self.link.addresses().unwrap_or_default();
        let mut addresses = addresses.iter();
        addresses.any(|there| *there == (lease.address, lease.prefix_len))
    }

    /// Returns the address or route that the interface should have for `lease`, as amended, and does
    /// not have, `age` after it was requested.
    pub(super) fn missing(&self, lease: &Lease, age: Duration) -> Option<String> {
        if self.is_left {
            return None;
        }
        // In the last second the kernel removes the address by itself.
        let ends = |time: Duration| time <= age + Duration::from_secs(1);
        if lease.times.is_some_and(|times| ends(times.lease)) {
            return None;
        }
        self.link.missing(lease, age).unwrap_or_else(|error| {
            log::warn!("{}", error.chain());
            None
        })
    }
}

/// Returns what was set for a lease on file.
const fn on_interface(saved: &SavedLease) -> EarlierLease {
    EarlierLease {
        address: saved.address,
        prefix_len: saved.prefix_len,
        mtu_before: saved.mtu_octets,
    }
}
