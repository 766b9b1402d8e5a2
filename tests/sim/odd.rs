//! Slow, refusing and lying servers, and how much is sent to them a minute.

use std::time::Duration;

use wireboot_proto::dhcp::Loss;
use wireboot_proto::time::Instant;

use super::client::Machine;
use super::net::Conditions;
use super::server::Service;
use super::{OTHER_SERVER, SERVER, Town};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_server_that_takes_twelve_seconds_an_answer_leases_with_few_messages() {
    for (seconds, most) in [(5, 20), (12, 24), (14, 25)] {
        let slow = Service {
            latency: Duration::from_secs(seconds),
            ..Service::dhcp(SERVER)
        };
        let mut town = Town::new(Conditions::GOOD, 2, &[slow], 3);
        town.run_until_all_are_bound(Duration::from_secs(2 * seconds + 2));
        for machine in town.machines() {
            assert!(machine.sent <= most, "{seconds}: {}", machine.sent);
            assert_eq!(machine.losses, []);
        }
    }
}

#[test]
fn a_storm_of_refusals_is_calm_after_a_minute() {
    let refuses = || Service {
        refusals: u32::MAX,
        ..Service::dhcp(SERVER)
    };
    let refuses_too = Service {
        address: OTHER_SERVER,
        latency: Duration::from_millis(20),
        ..refuses()
    };
    for services in [vec![refuses()], vec![refuses(), refuses_too]] {
        let mut town = Town::new(Conditions::GOOD, 4, &services, 2);
        let refusers = u32::try_from(services.len()).expect("few");
        let minutes = messages_a_minute(&mut town, 10);
        assert!(minutes[0] <= 40 * refusers, "{minutes:?}");
        assert!(
            minutes[2..].iter().all(|count| *count <= 12 * refusers),
            "{minutes:?}"
        );
        for machine in town.machines() {
            let refused = |loss: &Loss| matches!(loss, Loss::Refused { .. });
            assert!(machine.losses.iter().all(refused) && machine.lease.is_none());
            assert!(machine.losses.len() <= 18 * services.len());
        }
    }
}

#[test]
fn beside_a_server_that_never_grants_the_other_ones_offer_is_taken() {
    let refuses = || Service {
        refusals: u32::MAX,
        ..Service::dhcp(SERVER)
    };
    let never_confirms = Service {
        never_confirms: true,
        ..Service::dhcp(SERVER)
    };
    // Of the highest rank, too.
    let boots = Service {
        boot_file: Some("boot"),
        ..refuses()
    };
    for bad in [refuses(), never_confirms, boots] {
        for (latency, seconds) in [(0, 12), (500, 12), (4_000, 20), (12_000, 60)] {
            let good = Service {
                latency: Duration::from_millis(latency),
                ..Service::dhcp(OTHER_SERVER)
            };
            let mut town = Town::new(Conditions::GOOD, 6, &[bad.clone(), good], 2);
            town.run_until_all_are_bound(Duration::from_secs(seconds));
            for machine in town.machines() {
                let server = machine.lease.as_ref().and_then(|lease| lease.server);
                assert_eq!(server, Some(OTHER_SERVER));
                assert!(machine.sent <= 50, "{}", machine.sent);
            }
        }
    }
}

#[test]
fn leases_of_no_time_and_leases_that_are_never_renewed_are_asked_for_ever_more_seldom() {
    for (seconds, early) in [(0, 40), (1, 60)] {
        let service = Service {
            lease_time: Duration::from_secs(seconds),
            never_renews: true,
            ..Service::dhcp(SERVER)
        };
        let mut town = Town::new(Conditions::GOOD, 8, &[service], 2);
        let minutes = messages_a_minute(&mut town, 10);
        assert!(minutes[0] <= early, "{seconds}: {minutes:?}");
        assert!(
            minutes[2..].iter().all(|count| *count <= 16),
            "{seconds}: {minutes:?}"
        );
    }
}

#[test]
fn a_flood_of_bogus_boot_offers_delays_the_right_one_and_does_not_starve_it() {
    for (bogus_offers, seconds) in [(5, 10), (30, 30), (200, 600)] {
        for seed in 0..5 {
            let service = Service {
                bogus_offers,
                boot_file: Some("right"),
                ..Service::dhcp(SERVER)
            };
            let mut town = Town::new(Conditions::GOOD, seed, &[service], 2);
            town.run_until_all_are_bound(Duration::from_secs(seconds));
            for machine in town.machines() {
                let file = machine
                    .lease
                    .as_ref()
                    .and_then(|lease| lease.boot_file.as_deref());
                assert_eq!(file, Some("right"));
                let most = town.network.now.since(Instant::ZERO).as_secs() * 3 + 10;
                assert!(
                    u64::from(machine.sent) <= most,
                    "{bogus_offers}: {}",
                    machine.sent
                );
            }
        }
    }
}

/// Returns the most that a machine has sent in each minute.
fn messages_a_minute(town: &mut Town, minutes: usize) -> Vec<u32> {
    let mut before = vec![0; town.machines().count()];
    let mut counts = Vec::new();
    for _ in 0..minutes {
        town.run_for(MINUTE);
        let sent: Vec<u32> = town
            .machines()
            .map(|machine: &Machine| machine.sent)
            .collect();
        let differences = sent.iter().zip(&before).map(|(now, before)| now - before);
        counts.push(differences.max().unwrap_or_default());
        before = sent;
    }
    counts
}
