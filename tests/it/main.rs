//! Every test of the whole program, a module for each subject.
//!
//! What needs root, servers or an emulator is ignored by default; `tests/run` runs it too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod common;

mod account;
mod arm64;
#[cfg(feature = "arping")]
mod arping;
#[cfg(feature = "attended")]
mod attended;
mod binary;
mod bonds;
mod boot_cases;
mod boot_files;
mod capture;
mod capture_files;
mod cards;
mod chapters;
mod conflict;
mod discover;
mod failures;
mod fetch;
mod fetch_http;
mod fetch_losses;
mod fetch_mirrors;
mod fetch_parts;
mod fetch_servers;
mod first_process;
mod given;
mod handover;
mod ipv6;
mod ipv6_boot;
mod ipv6_commands;
mod ipv6_conflict;
mod ipv6_scenes;
mod ipv6_seen;
mod ipv6_servers;
#[cfg(feature = "iso")]
mod iso;
mod keep;
mod layering;
mod lease_file;
mod lease_life;
mod link;
#[cfg(feature = "root")]
mod live_root;
mod menu;
mod messages;
mod mirrors;
mod mkinitcpio;
mod mtu;
mod names;
mod netns;
mod nfs_root;
mod odd_leases;
mod odd_servers;
mod options;
mod packages;
mod packet;
mod payload;
mod plan;
mod port;
mod privileges;
mod progress;
mod pxe;
mod qemu;
mod qemu_lease;
mod reasons;
mod recipes;
mod recipes_machines;
mod recipes_products;
mod recorder;
#[cfg(feature = "root")]
mod registry;
mod replies;
mod replug;
#[cfg(feature = "report")]
mod reports;
mod ring;
#[cfg(feature = "root")]
mod root_memory;
mod script;
mod scripts;
mod servers;
mod service;
mod settings;
mod supervision;
mod suspend;
mod trust;
#[cfg(feature = "capture")]
mod verdicts;
