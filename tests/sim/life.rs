//! A boot that takes longer than its lease, while servers are replaced and fall silent: what becomes
//! of the lease, and how much is sent for it.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::client::Machine;
use super::net::Conditions;
use super::server::Service;
use super::town::{OTHER_SERVER, SERVER, Town};
use wireboot_proto::dhcp::Loss;
use wireboot_proto::time::Instant;

/// The lease of most scenes: T1 at 30 s, T2 at 52.5 s.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_boot_of_half_an_hour_keeps_a_lease_of_any_length_by_one_request_in_half_of_it() {
    for (lease, period) in [(1, 1.5), (4, 2.0), (10, 5.0), (60, 30.0), (600, 300.0)] {
        let service = Service {
            lease_time: Duration::from_secs(lease),
            ..Service::dhcp(SERVER)
        };
        let mut town = Town::new(Conditions::GOOD, lease, &[service], 1);
        town.run_for(Duration::from_secs(1800));
        let machine = only(&town);
        assert!(machine.lease.is_some() && machine.losses.is_empty());
        assert_eq!(machine.silences, 0);
        let expected = 1800.0 / period;
        let sent = f64::from(machine.sent);
        assert!(
            (expected * 0.9..expected + 4.0).contains(&sent),
            "{lease} s: {sent}"
        );
    }
}

#[test]
fn a_boot_keeps_a_short_lease_over_a_link_that_loses_a_tenth() {
    let conditions = Conditions {
        loss: 10,
        ..Conditions::GOOD
    };
    for seed in 0..20 {
        let mut town = Town::new(conditions, seed, &[minutes(SERVER)], 1);
        town.run_for(Duration::from_secs(1800));
        let machine = only(&town);
        assert!(
            machine.lease.is_some() && machine.losses.is_empty(),
            "{seed}"
        );
        // Sixty without a loss, and a fifth of the exchanges twice.
        assert!((60..95).contains(&machine.sent), "{seed}: {}", machine.sent);
    }
}

#[test]
fn another_server_with_the_same_leases_extends_them_when_all_are_asked() {
    let second = Service {
        first_address: Service::dhcp(SERVER).first_address,
        ..minutes(OTHER_SERVER)
    };
    let mut town = replaced_by(second);
    let before = only(&town).address();
    town.run_for(Duration::from_secs(600));
    let machine = only(&town);
    assert_eq!((machine.address(), machine.losses.len()), (before, 0));
    assert_eq!(server_of(machine), Some(OTHER_SERVER));
    assert_eq!(machine.silences, 1);
    // One each 30 s, and six in vain between T1 and T2, always half of the time that is left apart.
    assert!((28..=33).contains(&machine.sent), "{}", machine.sent);
}

#[test]
fn another_server_with_other_addresses_refuses_the_lease_and_grants_one_of_its_own_at_once() {
    let mut town = replaced_by(minutes(OTHER_SERVER));
    let before = only(&town).address();
    // The last renewal before the change was at 90 s, up to two seconds later: T2 is at 142.5 s, and a
    // second later an offer without a boot file is taken.
    town.run_for(Duration::from_secs(47));
    let machine = only(&town);
    assert!(matches!(
        machine.losses[..],
        [Loss::Refused {
            server: OTHER_SERVER,
            ..
        }]
    ));
    assert_eq!(server_of(machine), Some(OTHER_SERVER));
    assert!(machine.lease.is_some() && machine.address() != before);
    let sent = machine.sent;
    town.run_for(Duration::from_secs(600));
    let machine = only(&town);
    assert_eq!(machine.losses.len(), 1);
    assert!(
        (18..=22).contains(&(machine.sent - sent)),
        "{}",
        machine.sent
    );
}

#[test]
fn a_server_that_is_silent_at_t1_and_back_before_the_end_extends_the_lease() {
    // T1 is at 120 s, T2 at 142.5 s, the end at 150 s, or a second later each.
    for back_at in [125, 135, 145, 148] {
        let mut town = silent(100, back_at);
        let machine = only(&town);
        let (before, sent) = (machine.address(), machine.sent);
        town.run_for(Duration::from_secs(53));
        let machine = only(&town);
        assert_eq!(
            (machine.address(), machine.losses.len()),
            (before, 0),
            "{back_at}"
        );
        assert_eq!(machine.silences, 1, "{back_at}");
        // At 120 s, half of the time to T2 later and so on, no two within a second.
        let sent = machine.sent - sent;
        assert!((2..=12).contains(&sent), "{back_at}: {sent}");
    }
}

#[test]
fn a_server_that_is_back_after_the_end_grants_the_address_anew() {
    for silent_for in [60, 300, 3_600] {
        let mut town = silent(100, 100 + silent_for);
        let machine = only(&town);
        let (before, sent) = (machine.address(), machine.sent);
        town.run_for(Duration::from_secs(silent_for));
        let machine = only(&town);
        assert!(machine.lease.is_none() && machine.losses == [Loss::Expired]);
        // A dozen for the lease, then DISCOVERs every 16 s, and a fifth sooner at the soonest, and some
        // sooner than that at first.
        let sent = u64::from(machine.sent - sent);
        assert!(
            sent < 12 + 18 + silent_for * 10 / 128,
            "{silent_for}: {sent}"
        );
        town.run_for(Duration::from_secs(20));
        let machine = only(&town);
        assert_eq!((machine.address(), machine.losses.len()), (before, 1));
    }
}

#[test]
fn a_rack_that_lost_its_leases_to_a_silent_server_is_leased_again_without_a_storm() {
    let service = Service {
        answers_per_second: 200,
        ..with_silence(100, 400)
    };
    let mut town = Town::new(Conditions::GOOD, 9, &[service], 200);
    town.run_for(Duration::from_secs(400));
    assert!(
        town.machines()
            .all(|machine| machine.losses == [Loss::Expired])
    );
    // Machines that hear each other in vain wait up to two minutes.
    town.run_until_all_are_bound(Duration::from_secs(150));
    let most = town.machines().map(|machine| machine.sent).max();
    assert!(most < Some(50), "{most:?}");
}

/// A server at `address` that grants a minute at a time.
fn minutes(address: Ipv4Addr) -> Service {
    Service {
        lease_time: MINUTE,
        ..Service::dhcp(address)
    }
}

/// A server that is silent from one second to the other.
fn with_silence(from: u64, to: u64) -> Service {
    let [from, to] = [from, to].map(|seconds| Instant::from_millis(seconds * 1000));
    Service {
        is_silent: from..to,
        ..minutes(SERVER)
    }
}

/// A machine that has had its lease for 100 s when its server ends and `second` begins.
fn replaced_by(second: Service) -> Town {
    let change_at = Instant::from_millis(100_000);
    let first = Service {
        runs: Instant::ZERO..change_at,
        ..minutes(SERVER)
    };
    let second = Service {
        runs: change_at..Instant::from_millis(u64::MAX),
        ..second
    };
    let mut town = Town::new(Conditions::GOOD, 5, &[first, second], 1);
    town.run_for(Duration::from_secs(100));
    assert!(only(&town).lease.is_some());
    town
}

/// A machine that has had its lease for 100 s when its server falls silent.
fn silent(from: u64, to: u64) -> Town {
    let mut town = Town::new(Conditions::GOOD, 5, &[with_silence(from, to)], 1);
    town.run_for(Duration::from_secs(100));
    assert!(only(&town).lease.is_some());
    town
}

fn only(town: &Town) -> &Machine {
    let mut machines = town.machines();
    machines.next().expect("one machine")
}

fn server_of(machine: &Machine) -> Option<Ipv4Addr> {
    machine.lease.as_ref().and_then(|lease| lease.server)
}
