//! Clients and modelled servers on a simulated link, with the clock in the test's hand.
//!
//! The figures of racks that boot together, a line each:
//!
//! ```text
//! cargo test --release --test sim -- --ignored --nocapture
//! ```

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking, and is not used from outside"
)]

mod client;
mod either;
mod life;
mod net;
mod odd;
mod rack;
mod server;
mod town;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use client::Machine;
use net::Conditions;
use rack::Rack;
use server::Service;
use town::{OTHER_SERVER, SERVER, Town};
use wireboot_proto::dhcp::Loss;
use wireboot_proto::time::{Instant, Random};

#[test]
fn every_machine_gets_an_address_of_its_own_whatever_the_link_does_to_frames() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut below = |limit: u64| random.next_u64() % limit;
        let conditions = Conditions {
            loss: below(31),
            duplicates: below(21),
            damage: below(6),
            delay: (Duration::ZERO, Duration::from_millis(below(300))),
            mtu: if below(2) == 0 { 576 } else { 1500 },
        };
        let machines = u32::try_from(below(12) + 1).expect("a few");
        let services = [Service::dhcp(SERVER), Service::dhcp(OTHER_SERVER)];
        let mut town = Town::new(conditions, seed, &services, machines);
        town.run_until_all_are_bound(Duration::from_secs(300));
        let addresses: BTreeSet<_> = town.machines().map(Machine::address).collect();
        assert_eq!(addresses.len(), machines as usize, "seed {seed}");
        let most = town.machines().map(|machine| machine.sent).max();
        assert!(most < Some(60), "seed {seed}: {most:?} packets");
    }
}

#[test]
fn a_run_is_repeated_exactly_by_its_seed() {
    let transcript = |seed| {
        let conditions = Conditions {
            loss: 20,
            duplicates: 20,
            damage: 10,
            delay: (Duration::ZERO, Duration::from_millis(80)),
            ..Conditions::GOOD
        };
        let mut town = Town::new(conditions, seed, &[Service::dhcp(SERVER)], 5);
        town.run_for(Duration::from_secs(60));
        town.transcript
    };
    assert!(transcript(1).len() > 20);
    assert_eq!(transcript(1), transcript(1));
    assert_ne!(transcript(1), transcript(2));
}

#[test]
fn the_boot_file_is_found_however_the_answers_are_ordered() {
    let conditions = Conditions {
        delay: (Duration::ZERO, Duration::from_millis(400)),
        ..Conditions::GOOD
    };
    let plain = || Service::dhcp(SERVER);
    let boots = Service {
        boot_file: Some("other"),
        ..Service::dhcp(OTHER_SERVER)
    };
    let proxy = Service::proxy(OTHER_SERVER, "proxied");
    for (services, file) in [([plain(), boots], "other"), ([plain(), proxy], "proxied")] {
        for seed in 0..50 {
            let mut town = Town::new(conditions, seed, &services, 1);
            town.run_until_all_are_bound(Duration::from_secs(30));
            let lease = town.machines().next().and_then(|m| m.lease.as_ref());
            let found = lease.and_then(|lease| lease.boot_file.as_deref());
            assert_eq!(found, Some(file), "seed {seed}");
        }
    }
}

#[test]
fn without_a_server_machines_ask_for_ever_but_seldom() {
    for machines in [1, 40] {
        let mut town = Town::new(Conditions::GOOD, 7, &[], machines);
        town.run_for(Duration::from_secs(3600));
        for machine in town.machines() {
            // Every 16 s and a fifth sooner at the soonest, and a few sooner than that.
            let range = 20..3600 * 10 / 128 + 8;
            assert!(
                range.contains(&machine.sent),
                "{machines}: {}",
                machine.sent
            );
        }
    }
}

#[test]
fn a_server_that_comes_late_serves_all_within_seconds() {
    let runs = Instant::from_millis(60_000)..Instant::from_millis(u64::MAX);
    for machines in [1, 300] {
        let service = Service {
            runs: runs.clone(),
            boot_file: Some("boot"),
            answers_per_second: 200,
            ..Service::dhcp(SERVER)
        };
        let mut town = Town::new(Conditions::GOOD, 3, &[service], machines);
        town.run_until_all_are_bound(Duration::from_secs(100));
    }
}

#[test]
fn a_lease_is_kept_for_a_day_over_a_link_that_loses_a_fifth() {
    let conditions = Conditions {
        loss: 20,
        ..Conditions::GOOD
    };
    let service = Service {
        lease_time: Duration::from_secs(600),
        ..Service::dhcp(SERVER)
    };
    let mut town = Town::new(conditions, 11, &[service], 3);
    town.run_for(Duration::from_secs(86_400));
    for machine in town.machines() {
        assert!(machine.lease.is_some() && machine.losses.is_empty());
        // Each 300 s a REQUEST, and some of them twice.
        assert!((288..600).contains(&machine.sent), "{}", machine.sent);
    }
}

#[test]
fn a_refused_machine_begins_anew_and_a_dead_servers_lease_ends_when_it_is_over() {
    let service = Service {
        refusals: 1,
        lease_time: Duration::from_secs(60),
        runs: Instant::ZERO..Instant::from_millis(100_000),
        ..Service::dhcp(SERVER)
    };
    let mut town = Town::new(Conditions::GOOD, 5, &[service], 1);
    town.run_for(Duration::from_secs(100));
    let machine = town.machines().next().expect("one");
    assert!(machine.lease.is_some());
    assert!(matches!(machine.losses[..], [Loss::Refused { .. }]));
    town.run_for(Duration::from_secs(61));
    let machine = town.machines().next().expect("one");
    assert!(machine.lease.is_none());
    assert!(matches!(machine.losses[..], [_, Loss::Expired]));
}

#[test]
fn ten_thousand_machines_at_once_are_leased_by_a_thousand_answers_a_second() {
    let outcome = Rack::TEN_THOUSAND.run(Duration::from_secs(60));
    println!("{outcome}");
    assert_eq!(outcome.leased, 10_000);
    assert!(outcome.peak_ratio() < 2.0 && outcome.time_ratio() < 1.5);
}

#[test]
fn a_rack_that_hears_a_part_of_the_others_is_soon_leased_by_servers_of_any_speed() {
    for (answers_per_second, wires) in [(50, 1), (200, 5), (1_000, 2)] {
        let rack = Rack {
            machines: 1_000,
            answers_per_second,
            wires,
            ..Rack::TEN_THOUSAND
        };
        let outcome = rack.run(Duration::from_secs(200));
        println!("{outcome}");
        assert_eq!(outcome.leased, 1_000);
        assert!(outcome.last_at < outcome.ideal() * 3 / 2 + Duration::from_secs(3));
        assert!(outcome.most_sent < 20);
    }
}

#[test]
#[ignore = "prints figures; wants optimised code"]
fn figures_of_racks() {
    let base = Rack::TEN_THOUSAND;
    let lossy = Conditions {
        loss: 10,
        ..Conditions::GOOD
    };
    let within = |millis| Rack {
        within: Duration::from_millis(millis),
        ..base
    };
    let speed = |answers_per_second| Rack {
        answers_per_second,
        ..base
    };
    let wires = |wires| Rack { wires, ..base };
    let size = |machines, answers_per_second| Rack {
        machines,
        answers_per_second,
        ..base
    };
    for rack in [
        base,
        within(0),
        within(10_000),
        speed(100),
        speed(300),
        speed(3_000),
        speed(10_000),
        wires(10),
        wires(100),
        size(30, 50),
        size(1_000, 100),
        size(100_000, 1_000),
        size(100_000, 5_000),
        Rack {
            conditions: lossy,
            ..base
        },
    ] {
        let outcome = rack.run(Duration::from_secs(3600));
        println!("{outcome}");
        assert_eq!(outcome.leased, rack.machines);
    }
}
