//! What happens to a lease after it was granted, and what a conflict does to it before.

use super::*;

const OTHER: MacAddress = MacAddress([0x52, 0x54, 0, 9, 9, 9]);

#[test]
fn a_bound_client_confirms_its_address_when_the_link_is_back() {
    let mut t = Transcript::bound_to(ack(SERVER));
    t.client.link_up(t.now);
    let request = t.sends(MessageType::Request);
    assert_eq!(
        request.options.address(code::REQUESTED_ADDRESS),
        Some(ADDRESS)
    );
    assert_eq!(request.options.get(code::SERVER_IDENTIFIER), None);
    t.receives(ack(SERVER));
    assert_eq!((t.bound().address, t.losses.len()), (ADDRESS, 0));
}

#[test]
fn while_nobody_confirms_it_the_lease_is_ours_until_its_end_and_another_is_sought() {
    let mut t = Transcript::bound_to(ack(SERVER));
    let bound_at = t.now;
    t.client.link_up(t.now);
    for _ in 0..5 {
        t.sends_after(0..=2_400, MessageType::Request);
    }
    t.sends_after(1..=4_800, MessageType::Discover);
    assert_eq!(t.client.lease().map(|lease| lease.address), Some(ADDRESS));
    while t.losses.is_empty() {
        t.next_message();
    }
    // The next DISCOVER comes up to 16 s and a fifth after the end.
    let lasted = t.now.since(bound_at).as_secs();
    assert!((3_600..3_620).contains(&lasted), "{lasted} s");
    assert_eq!((t.loss(), t.client.lease()), (Loss::Expired, None));
}

#[test]
fn another_network_refuses_the_address_and_is_asked_at_once_for_another() {
    let mut t = Transcript::bound_to(ack(SERVER));
    t.client.link_up(t.now);
    t.sends(MessageType::Request);
    t.receives(reply(MessageType::Nak, OTHER_SERVER));
    assert!(matches!(
        t.loss(),
        Loss::Refused {
            server: OTHER_SERVER,
            reason: None
        }
    ));
    t.sends(MessageType::Discover);
}

#[test]
fn a_nak_ends_a_renewal_and_a_rebinding() {
    for renewals in [1, 2] {
        let mut t = Transcript::bound_to(lasting(3_600));
        let mut last = StateName::Bound;
        for _ in 0..renewals {
            while t.client.state() == last {
                t.next_message();
            }
            last = t.client.state();
        }
        t.receives(reply(MessageType::Nak, SERVER));
        assert!(matches!(t.loss(), Loss::Refused { .. }));
        t.sends(MessageType::Discover);
    }
}

#[test]
fn a_saved_address_is_asked_for_first_and_given_up_when_nobody_answers() {
    let mut t = Transcript::silent(plain());
    t.client.reboot(ADDRESS, t.now);
    for _ in 0..5 {
        let request = t.sends_after(0..=2_400, MessageType::Request);
        assert_eq!(request.ciaddr, Ipv4Addr::UNSPECIFIED);
    }
    let discover = t.sends_after(1..=4_800, MessageType::Discover);
    assert_eq!(discover.options.get(code::REQUESTED_ADDRESS), None);
}

#[test]
fn a_server_that_moved_extends_the_lease_and_is_asked_the_next_time() {
    let mut t = Transcript::bound_to(ack(SERVER));
    while t.client.state() != StateName::Rebinding {
        t.next_message();
    }
    t.receives(ack(OTHER_SERVER));
    assert_eq!(t.bound().server, Some(OTHER_SERVER));
    t.sends_after(1_800_000..=1_800_000, MessageType::Request);
    assert_eq!(*t.last.destination.ip(), OTHER_SERVER);
}

#[test]
fn a_lease_counts_from_the_request_and_not_from_the_answer() {
    let mut t = Transcript::in_requesting(plain());
    t.now += Duration::from_millis(300);
    t.receives(ack(SERVER));
    t.bound();
    t.sends_after(1_799_700..=1_799_700, MessageType::Request);
}

#[test]
fn a_lease_of_ten_seconds_is_renewed_at_half_its_time_again_and_again() {
    let mut t = Transcript::bound_to(lasting(10));
    for _ in 0..30 {
        t.sends_after(5_000..=5_000, MessageType::Request);
        t.receives(lasting(10));
        t.bound();
    }
    assert_eq!(t.losses, []);
}

#[test]
fn a_server_that_is_silent_at_t1_is_reported_once_with_the_time_left_and_anew_for_the_next_lease() {
    let mut t = Transcript::bound_to(lasting(3_600));
    for _ in 0..2 {
        t.sends_after(1_800_000..=1_800_000, MessageType::Request);
        // One request may still be answered.
        assert_eq!(t.silences, []);
        let (after, _) = t.next_message();
        let left = Duration::from_millis(3_600_000 - 1_800_000 - after);
        assert_eq!(std::mem::take(&mut t.silences), [left]);
        while t.client.state() != StateName::Rebinding {
            t.next_message();
        }
        t.next_message();
        assert_eq!(t.silences, []);
        t.receives(lasting(3_600));
        t.bound();
    }
    assert_eq!((t.losses.len(), t.failures.len()), (0, 0));
}

#[test]
fn a_short_or_infinite_lease_that_nobody_extends_is_reported_too() {
    for (seconds, left) in [(1, 500), (4, 1_000), (10, 3_125)] {
        let mut t = Transcript::bound_to(lasting(seconds));
        while t.losses.is_empty() {
            t.next_message();
        }
        assert_eq!(t.loss(), Loss::Expired);
        assert_eq!(t.silences, [Duration::from_millis(left)], "{seconds} s");
    }
    let mut t = Transcript::bound_to(lasting(u32::MAX));
    t.client.renew(t.now);
    t.sends(MessageType::Request);
    t.next_message();
    t.next_message();
    assert_eq!(t.silences, [Duration::MAX]);
}

#[test]
fn a_lease_that_ends_while_its_address_is_probed_is_not_used() {
    let mut t = Transcript::in_requesting(Config {
        detection: Detection::Strict,
        ..plain()
    });
    t.receives(lasting(3));
    t.sends_after(3_000..=7_000, MessageType::Discover);
    assert_eq!((t.failure(), t.bounds.len()), (Loss::Expired, 0));
}

#[test]
fn a_lease_of_a_second_is_renewed_less_than_once_a_second() {
    let mut t = Transcript::bound_to(lasting(1));
    for _ in 0..10 {
        t.sends_after(1_000..=2_000, MessageType::Request);
        t.receives(lasting(1));
        t.bound();
    }
    assert_eq!((t.losses.len(), t.silences.len()), (0, 0));
}

#[test]
fn a_lease_that_nobody_confirms_behind_a_new_carrier_is_reported_when_another_is_sought() {
    let mut t = Transcript::bound_to(ack(SERVER));
    t.client.link_up(t.now);
    while t.client.state() != StateName::Selecting {
        assert_eq!(t.silences, []);
        t.next_message();
    }
    assert_eq!(t.silences.len(), 1);
}

#[test]
fn an_infinite_lease_is_left_alone_and_renewed_only_when_told() {
    let mut t = Transcript::bound_to(lasting(u32::MAX));
    t.is_silent_for(Duration::from_secs(10 * 365 * 86_400));
    t.client.renew(t.now);
    t.sends(MessageType::Request);
    t.sends_after(60_000..=60_000, MessageType::Request);
    t.receives(lasting(u32::MAX));
    t.bound();
    t.is_silent_for(Duration::from_secs(86_400));
}

#[test]
fn a_clock_that_jumps_past_the_end_ends_the_lease_and_begins_anew() {
    let mut t = Transcript::bound_to(ack(SERVER));
    t.now += Duration::from_secs(100_000);
    t.client.handle_timeout(t.now);
    assert_eq!(t.loss(), Loss::Expired);
    t.sends(MessageType::Discover);
}

#[test]
fn a_clock_that_jumps_past_t2_has_every_server_asked() {
    let mut t = Transcript::bound_to(ack(SERVER));
    t.now += Duration::from_secs(3_200);
    t.client.handle_timeout(t.now);
    t.sends(MessageType::Request);
    assert_eq!(*t.last.destination.ip(), Ipv4Addr::BROADCAST);
    assert_eq!(
        (t.client.state(), t.losses.len()),
        (StateName::Rebinding, 0)
    );
}

#[test]
fn a_release_goes_to_the_server_and_the_client_falls_silent() {
    let mut t = Transcript::bound_to(ack(SERVER));
    t.client.release(t.now);
    let release = t.sends(MessageType::Release);
    assert_eq!(
        (release.ciaddr, *t.last.destination.ip()),
        (ADDRESS, SERVER)
    );
    t.client.link_up(t.now);
    assert_eq!(t.client.poll_timeout(), None);
}

#[test]
fn what_was_only_requested_is_given_back_by_who_withdraws_and_not_released() {
    let mut t = Transcript::in_requesting(plain());
    t.client.release(t.now);
    assert_eq!(t.client.poll_transmit(&mut Vec::new()), None);
    assert_eq!(t.client.poll_timeout(), None);
    let mut t = Transcript::in_requesting(plain());
    t.client.withdraw(t.now);
    assert_eq!(t.sends(MessageType::Release).ciaddr, ADDRESS);
}

#[test]
fn a_committed_lease_in_answer_to_the_discover_is_taken_if_it_was_asked_for() {
    let mut committed = ack(SERVER);
    committed.options.set(code::RAPID_COMMIT, []);
    let mut t = Transcript::new(plain());
    assert_eq!(t.sends(MessageType::Discover).options.get(80), None);
    committed.xid = t.client_xid();
    let unexpected = Err(Discard::Unexpected(MessageType::Ack));
    assert_eq!(t.offers_to_client(&committed, 67), unexpected);

    let rapid_commit = true;
    let mut t = Transcript::new(Config {
        rapid_commit,
        ..plain()
    });
    assert!(t.sends(MessageType::Discover).options.get(80).is_some());
    let mut plain_ack = ack(SERVER);
    plain_ack.xid = t.client_xid();
    assert_eq!(t.offers_to_client(&plain_ack, 67), unexpected);
    t.receives(committed);
    assert_eq!(t.bound().address, ADDRESS);
    let probe = arp::ArpPacket::probe(MAC, ADDRESS);
    let announcement = arp::ArpPacket::announcement(MAC, ADDRESS);
    assert_eq!(t.arp, [probe, announcement]);
}

#[test]
fn an_inform_brings_options_for_the_address_that_is_there_without_end() {
    let mut t = Transcript::silent(plain());
    t.client.inform(ADDRESS, t.now);
    let inform = t.sends(MessageType::Inform);
    assert_eq!(inform.ciaddr, ADDRESS);
    assert_eq!(*t.last.source.ip(), ADDRESS);
    let mut answer = ack(SERVER);
    answer.yiaddr = Ipv4Addr::UNSPECIFIED;
    t.receives(answer);
    let lease = t.bound();
    assert_eq!((lease.address, lease.prefix_len), (ADDRESS, 24));
    assert_eq!((lease.times, t.client.poll_timeout()), (None, None));
}

#[test]
fn an_address_of_our_own_is_informed_about_again_and_never_released() {
    let mut t = Transcript::silent(plain());
    t.client.inform(ADDRESS, t.now);
    t.sends(MessageType::Inform);
    t.receives(ack(SERVER));
    t.bound();
    for happens in [Client::link_up, Client::renew] {
        happens(&mut t.client, t.now);
        t.sends(MessageType::Inform);
        t.receives(ack(SERVER));
        t.bound();
    }
    t.client.release(t.now);
    t.drain();
    assert_eq!((t.sent.len(), t.client.state()), (0, StateName::Stopped));
}

#[test]
fn a_network_for_ipv6_is_left_alone_only_by_a_client_that_asked() {
    let mut refusing = offer(SERVER);
    refusing.options.set(108, 600_u32.to_be_bytes());
    let mut t = Transcript::new(plain());
    t.sends(MessageType::Discover);
    t.receives(refusing.clone());
    t.sends(MessageType::Request);

    let mut asking = plain();
    asking.requested.push(108);
    for (seconds, waits) in [(600_u32, 600_000), (0, 300_000)] {
        let mut t = Transcript::new(asking.clone());
        t.sends(MessageType::Discover);
        refusing.options.set(108, seconds.to_be_bytes());
        t.receives(refusing.clone());
        t.sends_after(waits..=waits, MessageType::Discover);
    }
}

#[test]
fn a_probe_goes_with_each_request_and_two_announcements_follow_the_lease() {
    let mut t = Transcript::in_requesting(plain());
    let probe = arp::ArpPacket::probe(MAC, ADDRESS);
    assert_eq!(t.arp, [probe]);
    t.sends_after(400..=600, MessageType::Request);
    assert_eq!(t.arp, [probe, probe]);
    t.arp.clear();
    t.receives(ack(SERVER));
    t.bound();
    t.is_silent_for(Duration::from_secs(100));
    assert_eq!(t.arp, [arp::ArpPacket::announcement(MAC, ADDRESS); 2]);
}

#[test]
fn an_address_that_answers_the_probe_is_declined_after_its_ack_and_never_used() {
    let mut t = Transcript::in_requesting(plain());
    t.claims_address();
    t.is_silent_for(Duration::from_millis(100));
    t.receives(ack(SERVER));
    let decline = t.sends(MessageType::Decline);
    assert_eq!(
        decline.options.address(code::REQUESTED_ADDRESS),
        Some(ADDRESS)
    );
    assert_eq!(
        decline.options.address(code::SERVER_IDENTIFIER),
        Some(SERVER)
    );
    let conflict = Loss::Conflict {
        address: ADDRESS,
        owner: OTHER,
    };
    assert_eq!((t.failure(), t.bounds.len()), (conflict, 0));
    t.sends_after(10_000..=10_000, MessageType::Discover);
}

#[test]
fn after_ten_conflicts_the_search_waits_a_minute() {
    let mut t = Transcript::new(plain());
    t.sends(MessageType::Discover);
    for conflict in 1..=11 {
        t.receives(offer(SERVER));
        t.sends(MessageType::Request);
        t.claims_address();
        t.receives(ack(SERVER));
        t.sends(MessageType::Decline);
        let pause = if conflict > 10 { 60_000 } else { 10_000 };
        t.sends_after(pause..=pause, MessageType::Discover);
    }
}

/// As a router that answers ARP for addresses of other networks does.
#[test]
fn a_host_that_claims_every_address_is_reported_and_after_two_conflicts_its_claim_is_ignored() {
    let at = |last| Ipv4Addr::new(192, 0, 2, last);
    let offered = |mut message: Message, last| {
        message.yiaddr = at(last);
        message
    };
    for (detection, last, is_taken) in [
        (Detection::Overlapped, 102, true),
        // The same address again is another host's.
        (Detection::Overlapped, 100, false),
        (Detection::Strict, 102, false),
    ] {
        for is_late in [false, true] {
            let mut t = Transcript::new(Config {
                detection,
                ..plain()
            });
            t.sends(MessageType::Discover);
            for last in [100, 101, last] {
                t.receives(offered(offer(SERVER), last));
                t.sends(MessageType::Request);
                let claim = arp::ArpPacket {
                    operation: arp::Operation::Reply,
                    tpa: Ipv4Addr::UNSPECIFIED,
                    ..arp::ArpPacket::announcement(OTHER, at(last))
                };
                if !is_late {
                    t.client.handle_arp(&claim, t.now);
                }
                t.receives(offered(ack(SERVER), last));
                t.client.handle_arp(&claim, t.now);
                if t.client.state() == StateName::Init {
                    t.sends(MessageType::Decline);
                    t.sends_after(10_000..=10_000, MessageType::Discover);
                }
            }
            t.drain();
            assert_eq!(t.client.lease().is_some(), is_taken);
            let said = t.notices.join("; ");
            assert!(said.contains("claims every address that is offered, 192.0.2.101 too"));
            assert!(said.contains("--acd off"));
            assert_eq!(said.contains("using 192.0.2.102 although"), is_taken);
            if is_taken {
                // It does not fight for it later either.
                let claim = arp::ArpPacket::announcement(OTHER, at(last));
                for _ in 0..3 {
                    t.client.handle_arp(&claim, t.now);
                }
                assert_eq!(t.client.state(), StateName::Bound);
            }
        }
    }
}

#[test]
fn two_conflicts_with_different_hosts_are_no_proxy() {
    let mut t = Transcript::new(plain());
    t.sends(MessageType::Discover);
    for last in 100..104 {
        let address = Ipv4Addr::new(192, 0, 2, last);
        let with = |mut message: Message| {
            message.yiaddr = address;
            message
        };
        t.receives(with(offer(SERVER)));
        t.sends(MessageType::Request);
        let claim = arp::ArpPacket::announcement(MacAddress([2, 0, 0, 0, 0, last]), address);
        t.client.handle_arp(&claim, t.now);
        t.receives(with(ack(SERVER)));
        t.sends(MessageType::Decline);
        t.sends_after(10_000..=10_000, MessageType::Discover);
    }
    assert_eq!(t.notices, [""; 0]);
}

#[test]
fn the_answer_to_a_probe_may_be_waited_for_a_while_after_it_was_sent() {
    let mut t = Transcript::in_requesting(plain());
    let probed_at = t.now;
    t.now += Duration::from_millis(3);
    t.receives(ack(SERVER));
    let until = Some(probed_at + Duration::from_millis(10));
    assert_eq!(t.client.probe_answered_by(), until);
    let mut off = Transcript::in_requesting(Config {
        detection: Detection::Off,
        ..plain()
    });
    off.receives(ack(SERVER));
    assert_eq!(off.client.probe_answered_by(), None);
}

#[test]
fn an_address_in_use_is_defended_once_and_given_up_at_the_second_claim() {
    let mut t = Transcript::bound_to(ack(SERVER));
    t.is_silent_for(Duration::from_secs(60));
    t.arp.clear();
    t.claims_address();
    t.drain();
    assert_eq!(t.arp, [arp::ArpPacket::announcement(MAC, ADDRESS)]);
    assert_eq!(t.client.state(), StateName::Bound);
    t.now += Duration::from_secs(9);
    t.claims_address();
    t.sends(MessageType::Decline);
    assert!(matches!(t.loss(), Loss::Conflict { owner: OTHER, .. }));
    assert_eq!(t.client.lease(), None);
}

#[test]
fn strict_detection_probes_after_the_ack_and_before_the_address_is_used() {
    let detection = Detection::Strict;
    for in_use in [false, true] {
        let mut t = Transcript::in_requesting(Config {
            detection,
            ..plain()
        });
        assert_eq!(t.arp, []);
        t.receives(ack(SERVER));
        t.is_silent_for(Duration::from_millis(3_900));
        assert_eq!(t.client.state(), StateName::Probing);
        assert!(t.arp.iter().all(|packet| packet.spa.is_unspecified()));
        if in_use {
            t.claims_address();
            t.sends(MessageType::Decline);
            assert_eq!(t.bounds, []);
        } else {
            t.is_silent_for(Duration::from_millis(3_100));
            assert_eq!(t.bound().address, ADDRESS);
            let announced = |packet: &&arp::ArpPacket| packet.spa == ADDRESS;
            assert_eq!(
                (t.arp.len(), t.arp.iter().filter(announced).count()),
                (4, 1)
            );
        }
    }
}

#[test]
fn without_detection_no_arp_is_sent_or_heard() {
    let detection = Detection::Off;
    let mut t = Transcript::in_requesting(Config {
        detection,
        ..plain()
    });
    t.claims_address();
    t.receives(ack(SERVER));
    t.bound();
    t.claims_address();
    t.is_silent_for(Duration::from_secs(100));
    assert_eq!((t.arp.len(), t.client.conflict_watch()), (0, None));
}

fn lasting(seconds: u32) -> Message {
    let mut message = ack(SERVER);
    message.options.set(code::LEASE_TIME, seconds.to_be_bytes());
    message
}

impl Transcript {
    /// A client that has done nothing yet.
    fn silent(config: Config) -> Self {
        let mut t = Self::new(config.clone());
        t.client = Client::new(config, t.now);
        t
    }

    fn bound_to(ack: Message) -> Self {
        let mut t = Self::in_requesting(plain());
        t.receives(ack);
        t.bound();
        t
    }

    /// Another host says that it has our address.
    fn claims_address(&mut self) {
        let claim = arp::ArpPacket::announcement(OTHER, ADDRESS);
        self.client.handle_arp(&claim, self.now);
    }
}
