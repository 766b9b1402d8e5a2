//! Slow servers, and servers that offer and do not grant.

use super::*;

const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);

#[test]
fn a_server_that_takes_twelve_seconds_an_answer_grants_a_lease_in_one_exchange() {
    for (offer_after, ack_after) in [(12, 12), (1, 20), (25, 25), (0, 14)] {
        let mut t = Transcript::new(plain());
        let xid = t.sends(MessageType::Discover).xid;
        let discovers = t.asks_for(Duration::from_secs(offer_after));
        assert!(discovers.iter().all(|it| it.xid == xid));
        t.receives(offer(SERVER));
        assert_eq!(t.sends(MessageType::Request).xid, xid);
        let sent = t.asks_for(Duration::from_secs(ack_after));
        // Before twice the time of the OFFER is over, nothing else is asked for.
        let is_discover = |it: &&Message| it.message_type() == Some(MessageType::Discover);
        let given_up = sent.iter().filter(is_discover).count();
        assert_eq!(given_up > 0, ack_after == 20, "{ack_after}");
        assert!(sent.iter().all(|it| it.xid == xid));
        t.receives(ack(SERVER));
        assert_eq!(t.bound().address, ADDRESS);
    }
}

#[test]
fn a_late_lease_ends_its_time_after_the_request_and_only_the_one_asked_for_counts() {
    let mut t = Transcript::in_requesting(plain());
    t.asks_for(Duration::from_secs(30));
    assert_eq!(t.client.state(), StateName::Selecting);
    let xid = t.client_xid();
    let unexpected = Err(Discard::Unexpected(MessageType::Ack));
    for stray in [
        ack(OTHER_SERVER),
        Message {
            yiaddr: OTHER_ADDRESS,
            ..ack(SERVER)
        },
    ] {
        assert_eq!(
            t.offers_to_client(&Message { xid, ..stray }, 67),
            unexpected
        );
    }
    let mut nameless = ack(SERVER);
    nameless.options.remove(code::SERVER_IDENTIFIER);
    t.receives(nameless);
    let lease = t.bound();
    assert_eq!((lease.address, lease.server), (ADDRESS, Some(SERVER)));
    let since = t.client.lease_since().unwrap();
    assert!(t.now.since(since) > Duration::from_secs(10));
}

#[test]
fn a_saved_address_is_granted_by_a_slow_server_too() {
    let mut t = Transcript::new(plain());
    t.client.reboot(ADDRESS, t.now);
    t.asks_for(Duration::from_secs(12));
    assert_eq!(t.client.state(), StateName::Selecting);
    t.receives(ack(SERVER));
    assert_eq!(t.bound().address, ADDRESS);
}

#[test]
fn an_offer_that_comes_during_the_request_is_taken_at_once_after_a_refusal() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(other_offer());
    t.is_silent_for(Duration::from_millis(300));
    t.receives(reply(MessageType::Nak, SERVER));
    let request = t.sends(MessageType::Request);
    assert_eq!(
        request.options.address(code::SERVER_IDENTIFIER),
        Some(OTHER_SERVER)
    );
    assert_eq!(
        t.notices,
        [
            "offers of 192.0.2.1 are passed over for 1 s",
            "requesting 192.0.2.101 of 192.0.2.2 instead of the offer of 192.0.2.1"
        ]
    );
    t.receives(Message {
        yiaddr: OTHER_ADDRESS,
        ..ack(OTHER_SERVER)
    });
    assert_eq!(t.bound().server, Some(OTHER_SERVER));
}

#[test]
fn an_offer_that_comes_in_the_pause_after_a_refusal_is_taken_at_once() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(reply(MessageType::Nak, SERVER));
    t.is_silent_for(Duration::from_millis(300));
    t.receives(other_offer());
    assert_eq!(t.requested_from(), OTHER_SERVER);
}

#[test]
fn an_offer_whose_time_came_during_another_request_leaves_no_deadline_in_the_past() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(reply(MessageType::Nak, SERVER));
    t.is_silent_for(Duration::from_millis(300));
    // This one waits, and its time comes during the request for the next.
    t.receives(offer(SERVER));
    t.receives(other_offer());
    assert_eq!(t.requested_from(), OTHER_SERVER);
    t.now += Duration::from_secs(60);
    t.client.handle_timeout(t.now);
    t.drain();
    assert!(t.client.poll_timeout().is_none_or(|at| at > t.now));
}

#[test]
fn who_does_not_confirm_is_left_for_an_offer_that_is_as_good_sooner_than_for_a_worse_one() {
    let mut boots = offer(SERVER);
    boots.file = b"pxelinux.0".to_vec();
    for (first, seconds) in [(offer(SERVER), 1..4), (boots, 7..11)] {
        let mut t = Transcript::new(booting());
        t.sends(MessageType::Discover);
        t.receives(first);
        while t.client.state() == StateName::Selecting {
            t.next_message();
        }
        let begun_at = t.now;
        t.receives(other_offer());
        while t.requested_from() == SERVER {}
        let waited = t.now.since(begun_at).as_secs();
        assert!(seconds.contains(&waited), "{waited} s");
        assert_eq!(t.failure(), Loss::Unanswered { server: SERVER });
    }
}

#[test]
fn a_quick_server_that_always_refuses_is_passed_over_until_a_slow_one_has_offered() {
    let mut t = Transcript::new(plain());
    let (begun_at, mut requests) = (t.now, 0);
    // The other server takes 12 s for an answer.
    while t.now.since(begun_at) < Duration::from_secs(12) {
        let message = t.next_message().1;
        let answer = match message.message_type() {
            Some(MessageType::Discover) => offer(SERVER),
            _ => reply(MessageType::Nak, SERVER),
        };
        requests += u32::from(answer.message_type() == Some(MessageType::Nak));
        t.receives(answer);
        t.failures.clear();
    }
    assert!((3..=5).contains(&requests), "{requests}");
    t.receives(other_offer());
    while t.requested_from() == SERVER {}
    t.receives(Message {
        yiaddr: OTHER_ADDRESS,
        ..ack(OTHER_SERVER)
    });
    assert_eq!(t.bound().address, OTHER_ADDRESS);
}

#[test]
fn the_pauses_after_refusals_and_leases_of_no_time_grow_to_a_minute() {
    let mut of_no_time = ack(SERVER);
    of_no_time.options.set(code::LEASE_TIME, [0; 4]);
    let mut short = ack(SERVER);
    short.options.set(code::LEASE_TIME, 1_u32.to_be_bytes());
    for (answer, is_lease) in [
        (reply(MessageType::Nak, SERVER), false),
        (of_no_time, false),
        // Granted, and never extended.
        (short, true),
    ] {
        let mut t = Transcript::new(plain());
        let mut requested_at = Vec::new();
        let mut last_minute = Vec::new();
        while t.now.as_millis() < 600_000 {
            let message = t.next_message().1;
            last_minute.push(t.now);
            last_minute.retain(|at| t.now.since(*at) < Duration::from_secs(60));
            if t.now.as_millis() > 130_000 {
                assert!(last_minute.len() <= 20, "{}", last_minute.len());
            }
            match message.message_type() {
                Some(MessageType::Discover) => t.receives(offer(SERVER)),
                // A renewal is not answered.
                Some(MessageType::Request) if message.ciaddr.is_unspecified() => {
                    requested_at.push(t.now);
                    t.receives(answer.clone());
                    assert_eq!(t.client.lease().is_some(), is_lease);
                }
                _ => {}
            }
        }
        let pauses = requested_at
            .windows(2)
            .map(|at| at[1].since(at[0]).as_secs());
        let pauses: Vec<_> = pauses.collect();
        for (place, expected) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            let pause = pauses[place];
            assert!((expected..=expected + 5).contains(&pause), "{pauses:?}");
        }
    }
}

#[test]
fn another_network_is_not_judged_by_the_servers_of_the_last() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(reply(MessageType::Nak, SERVER));
    t.client.link_up(t.now);
    t.sends(MessageType::Discover);
    t.receives(offer(SERVER));
    t.sends(MessageType::Request);
}

#[test]
fn a_flood_of_offers_that_nobody_stands_behind_does_not_keep_a_good_one_out() {
    for seed in 0..20 {
        let mut t = Transcript::new(Config { seed, ..booting() });
        let (begun_at, mut sent, mut number) = (t.now, 0, 0_u32);
        let lease = loop {
            let message = t.next_message().1;
            sent += 1;
            let xid = message.xid;
            if message.message_type() == Some(MessageType::Discover) {
                // Always others, always before the good one, and with what it lacks.
                for _ in 0..100 {
                    number += 1;
                    let mut bogus = offer(Ipv4Addr::from(0x0a00_0000 + number));
                    bogus.file = b"evil".to_vec();
                    let _ = t.offers_to_client(&Message { xid, ..bogus }, 67);
                }
                let _ = t.offers_to_client(
                    &Message {
                        xid,
                        ..other_offer()
                    },
                    67,
                );
            } else if message.options.address(code::SERVER_IDENTIFIER) == Some(OTHER_SERVER) {
                t.receives(Message {
                    yiaddr: OTHER_ADDRESS,
                    ..ack(OTHER_SERVER)
                });
                break t.bound();
            }
        };
        assert_eq!(lease.address, OTHER_ADDRESS);
        let waited = t.now.since(begun_at).as_secs();
        assert!(waited < 90, "{seed}: {waited} s");
        assert!(sent <= 10 + 2 * waited, "{seed}: {sent} in {waited} s");
    }
}

#[test]
fn where_nothing_boots_a_late_proxy_is_waited_for_and_a_line_says_so() {
    let late = || Config {
        late_wait: Duration::from_secs(11),
        ..booting()
    };
    for (after, is_in_time) in [(2, true), (5, true), (11, true), (13, false)] {
        let mut t = Transcript::new(late());
        t.sends(MessageType::Discover);
        t.receives(offer(SERVER));
        let sent = t.asks_for(Duration::from_secs(after));
        let request = sent
            .iter()
            .find(|it| it.message_type() == Some(MessageType::Request));
        assert_eq!(request.is_none(), is_in_time);
        assert!(sent.len() <= 12);
        assert_eq!(
            t.notices,
            ["no boot file has been offered; waiting 11 s more for one, as PXE firmware does"]
        );
        if is_in_time {
            t.receives(proxy(Some("late"), &[]));
            t.sends(MessageType::Request);
            t.receives(ack(SERVER));
            assert_eq!(t.bound().boot_file.as_deref(), Some("late"));
        }
    }
    let mut t = Transcript::new(late());
    t.sends(MessageType::Discover);
    t.receives(offer(SERVER));
    t.receives(proxy(Some("soon"), &[]));
    t.sends(MessageType::Request);
    assert_eq!(t.notices, [""; 0]);
}

/// As dnsmasq's `pxe-service=0,"Raspberry Pi Boot"` sends it, which its firmware looks for.
#[test]
fn a_menu_with_only_the_local_disk_is_worth_less_than_any_boot_file() {
    const DISK: &[u8] = b"\x06\x01\x03\x09\x14\x00\x00\x11Raspberry Pi Boot";
    let with_disk = |mut message: Message| {
        message.options.set(code::VENDOR_CLASS, *b"PXEClient");
        message.options.set(code::VENDOR_SPECIFIC, DISK);
        message
    };
    let booted = |offers: &[Message], granted: Message| {
        let mut t = Transcript::new(booting());
        t.sends(MessageType::Discover);
        let begun_at = t.now;
        offers.iter().for_each(|offer| t.receives(offer.clone()));
        t.requested_from();
        t.receives(granted);
        let lease = t.bound();
        let is_local = matches!(lease.next_boot_step(), boot_service::Next::Choose(_));
        (t.now.since(begun_at).as_millis(), is_local, lease.boot_file)
    };
    let right = || {
        let mut message = proxy(Some("right"), &[]);
        message.options.set(code::SERVER_IDENTIFIER, [192, 0, 2, 3]);
        message
    };
    let found = (0, false, Some("right".to_owned()));
    let pi = || proxy(None, DISK);
    let named = |mut message: Message| {
        message.file = b"right".to_vec();
        message
    };
    assert_eq!(booted(&[offer(SERVER), pi(), right()], ack(SERVER)), found);
    assert_eq!(booted(&[offer(SERVER), right(), pi()], ack(SERVER)), found);
    assert_eq!(
        booted(&[pi(), named(offer(SERVER))], named(ack(SERVER))),
        found
    );
    let itself = [with_disk(offer(SERVER)), right()];
    assert_eq!(booted(&itself, with_disk(ack(SERVER))), found);
    let both = || named(with_disk(offer(SERVER)));
    assert_eq!(booted(&[both()], named(with_disk(ack(SERVER)))), found);
    // After the wait it is what there is.
    assert_eq!(
        booted(&[offer(SERVER), pi()], ack(SERVER)),
        (1_000, true, None)
    );
}

#[test]
fn a_second_server_that_contradicts_the_chosen_one_is_reported_once() {
    let with = |mut message: Message, router: [u8; 4]| {
        message.options.set(code::ROUTER, router);
        message
    };
    let mut elsewhere = other_offer();
    elsewhere.yiaddr = Ipv4Addr::new(10, 0, 0, 5);
    for (other, said) in [
        (with(other_offer(), [192, 0, 2, 1]), None),
        (
            with(other_offer(), [192, 0, 2, 9]),
            Some("the router is 192.0.2.9; 192.0.2.1 says 192.0.2.1"),
        ),
        (
            elsewhere,
            Some("the subnet is 10.0.0.0/24; 192.0.2.1 says 192.0.2.0/24"),
        ),
    ] {
        for is_bound in [false, true] {
            let mut t = Transcript::new(plain());
            t.sends(MessageType::Discover);
            t.receives(with(offer(SERVER), [192, 0, 2, 1]));
            t.sends(MessageType::Request);
            if is_bound {
                t.receives(with(ack(SERVER), [192, 0, 2, 1]));
            }
            for _ in 0..2 {
                let xid = t.client_xid();
                let _ = t.offers_to_client(
                    &Message {
                        xid,
                        ..other.clone()
                    },
                    67,
                );
            }
            t.drain();
            assert_eq!(
                t.notices.len(),
                usize::from(said.is_some()),
                "{:?}",
                t.notices
            );
            let said = said.map(|said| format!("a second server, 192.0.2.2, says {said}"));
            assert!(said.is_none_or(|said| t.notices[0].contains(&said)));
        }
    }
}

#[test]
fn services_of_other_offers_come_with_the_lease_for_when_the_chosen_one_is_silent() {
    let mut t = Transcript::new(Config {
        proxy_wait: Duration::from_secs(1),
        ..booting()
    });
    t.sends(MessageType::Discover);
    let by = |last| {
        let mut message = proxy(None, &[]);
        message
            .options
            .set(code::SERVER_IDENTIFIER, [192, 0, 2, last]);
        message
    };
    t.receives(by(66));
    t.receives(by(2));
    t.receives(offer(SERVER));
    t.sends(MessageType::Request);
    t.receives(by(3));
    t.receives(ack(SERVER));
    let lease = t.bound();
    assert_eq!(
        lease.boot_service.unwrap().server,
        Ipv4Addr::new(192, 0, 2, 66)
    );
    let others = lease.other_services.iter().map(|it| it.server.octets()[3]);
    assert_eq!(others.collect::<Vec<_>>(), [2, 3]);
}

/// The offer of a ProxyDHCP server.
fn proxy(file: Option<&str>, vendor: &[u8]) -> Message {
    let mut message = offer(OTHER_SERVER);
    message.yiaddr = Ipv4Addr::UNSPECIFIED;
    message.options.set(code::VENDOR_CLASS, *b"PXEClient");
    message.options.set(code::VENDOR_SPECIFIC, vendor);
    message.file = file.unwrap_or_default().into();
    message
}

fn other_offer() -> Message {
    Message {
        yiaddr: OTHER_ADDRESS,
        ..offer(OTHER_SERVER)
    }
}

impl Transcript {
    /// Lets the time pass without an answer; returns what is sent.
    fn asks_for(&mut self, time: Duration) -> Vec<Message> {
        let end = self.now + time;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.client.handle_timeout(at);
            self.drain();
        }
        self.now = end;
        self.client.handle_timeout(end);
        self.drain();
        std::mem::take(&mut self.sent)
    }

    /// The server whose offer is requested next.
    fn requested_from(&mut self) -> Ipv4Addr {
        loop {
            let message = self.next_message().1;
            if message.message_type() == Some(MessageType::Request) {
                return message.options.address(code::SERVER_IDENTIFIER).unwrap();
            }
        }
    }
}
