//! What a client of DHCPv6 ignores, chooses and keeps.

use super::*;

/// The client alone.
struct Asked {
    client: Dhcp6,
    now: Instant,
}

impl Asked {
    fn new() -> Self {
        let mut client = Dhcp6::new(
            identity(),
            Purpose::Lease,
            false,
            Duration::from_millis(250),
            7,
        );
        client.solicit(ms(0));
        Self { client, now: ms(0) }
    }

    /// Lets time pass until a message is due, and returns it.
    fn next(&mut self) -> (MessageType, Vec<u8>) {
        loop {
            self.client.handle_timeout(self.now);
            if let Some(sent) = self.client.poll_transmit(self.now) {
                return sent;
            }
            self.now = self.client.poll_timeout().expect("nothing is due");
        }
    }

    fn hear(&mut self, answer: Answer) -> Result<(), Ignored> {
        self.client.handle_input(SERVER, &answer.0, self.now)
    }

    /// Returns a client with a lease.
    fn bound(times: [u32; 2], preferred: u32, valid: u32) -> Self {
        let mut asked = Self::new();
        for kind in [MessageType::ADVERTISE, MessageType::REPLY] {
            let (_, sent) = asked.next();
            let answer = Answer::new(kind, &sent)
                .with(code::PREFERENCE, &[255])
                .with_association(times, "2001:db8::7", preferred, valid);
            asked.hear(answer).unwrap();
        }
        asked
    }
}

#[test]
fn what_is_not_an_answer_is_ignored() {
    let mut asked = Asked::new();
    let (_, solicit) = asked.next();
    let offer = || Answer::new(MessageType::ADVERTISE, &solicit).with_address("2001:db8::7", 1, 2);
    let mut other = offer();
    other.0[3] ^= 1;
    assert_eq!(asked.hear(other), Err(Ignored::WrongTransaction));
    let mut other = offer();
    // The last byte of the client's identifier.
    other.0[17] ^= 1;
    assert_eq!(asked.hear(other), Err(Ignored::WrongClient));
    let mut anonymous = begin(MessageType::ADVERTISE, [solicit[1], solicit[2], solicit[3]]);
    put(&mut anonymous, 1, &identity().duid);
    assert_eq!(asked.hear(Answer(anonymous)), Err(Ignored::NoServer));
    // It does not say that it commits at once.
    let mut reply = offer();
    reply.0[0] = 7;
    assert_eq!(
        asked.hear(reply),
        Err(Ignored::Unexpected(MessageType::REPLY))
    );
    // RECONFIGURE is of no exchange.
    let mut reconfigure = offer();
    reconfigure.0[..4].copy_from_slice(&[10, 0, 0, 0]);
    assert_eq!(asked.hear(reconfigure), Err(Ignored::WrongTransaction));
    assert!(matches!(
        asked.hear(Answer(vec![2, 0])),
        Err(Ignored::Malformed(_))
    ));
    assert_eq!(asked.hear(offer()), Ok(()));
}

#[test]
fn an_invalid_address_is_none() {
    let nothing = || Err(Ignored::NoAddress(Status::SUCCESS));
    for (times, address, preferred, valid, expected) in [
        ([0, 0], "2001:db8::7", 1, 2, Ok(())),
        ([5, 9], "2001:db8::7", 1, 2, Ok(())),
        ([9, 0], "2001:db8::7", 1, 2, Ok(())),
        // T1 after T2, preferred longer than valid, over, none of a host.
        ([9, 5], "2001:db8::7", 1, 2, nothing()),
        ([0, 0], "2001:db8::7", 3, 2, nothing()),
        ([0, 0], "2001:db8::7", 0, 0, nothing()),
        ([0, 0], "ff02::1", 1, 2, nothing()),
        ([0, 0], "::", 1, 2, nothing()),
        ([0, 0], "fe80::7", 1, 2, nothing()),
        ([0, 0], "::ffff:192.0.2.7", 1, 2, nothing()),
    ] {
        let mut asked = Asked::new();
        let (_, solicit) = asked.next();
        let offer = Answer::new(MessageType::ADVERTISE, &solicit);
        let offer = offer.with_association(times, address, preferred, valid);
        assert_eq!(asked.hear(offer), expected, "{times:?} {address}");
    }
    // Of another association.
    let mut asked = Asked::new();
    let (_, solicit) = asked.next();
    let mut offer = Answer::new(MessageType::ADVERTISE, &solicit).with_address("2001:db8::7", 1, 2);
    let at = offer.0.len() - 40;
    assert_eq!(offer.0[at..at + 4], IAID);
    offer.0[at] ^= 1;
    assert_eq!(asked.hear(offer), nothing());
}

#[test]
fn the_highest_preference_of_the_first_moments_wins() {
    let mut asked = Asked::new();
    let (_, solicit) = asked.next();
    for (server, preference) in [(1, 0), (2, 9), (3, 9)] {
        let offer = Answer::from_server(MessageType::ADVERTISE, &solicit, server);
        let offer = offer.with(code::PREFERENCE, &[preference]);
        asked.hear(offer.with_address("2001:db8::7", 1, 2)).unwrap();
    }
    let (kind, request) = asked.next();
    assert_eq!(kind, MessageType::REQUEST);
    let chosen = Message::decode(&request).unwrap().options;
    assert_eq!(chosen.get(code::SERVER_ID), Some(&[0, 2, 2][..]));
    assert_eq!(asked.now, ms(250));
    // Once the first delay is over the first offer is accepted.
    let mut asked = Asked::new();
    let _ = asked.next();
    let (_, solicit) = asked.next();
    let offer = Answer::new(MessageType::ADVERTISE, &solicit);
    asked.hear(offer.with_address("2001:db8::7", 1, 2)).unwrap();
    let before = asked.now;
    assert_eq!(asked.next().0, MessageType::REQUEST);
    assert_eq!(asked.now, before);
}

#[test]
fn a_server_that_does_not_grant_its_offer_is_left() {
    let offered = |asked: &mut Asked| {
        let (_, solicit) = asked.next();
        let offer = Answer::new(MessageType::ADVERTISE, &solicit).with(code::PREFERENCE, &[255]);
        asked.hear(offer.with_address("2001:db8::7", 1, 2)).unwrap();
    };
    let mut asked = Asked::new();
    offered(&mut asked);
    let kinds: Vec<_> = (0..5).map(|_| asked.next().0).collect();
    assert_eq!(kinds[..4], [MessageType::REQUEST; 4]);
    assert_eq!(kinds[4], MessageType::SOLICIT);
    // It says that the address is of another link.
    let mut asked = Asked::new();
    offered(&mut asked);
    let (_, request) = asked.next();
    let refusal = Answer::new(MessageType::REPLY, &request).with(code::STATUS_CODE, &[0, 4]);
    let not_on_link = Err(Ignored::NoAddress(Status::NOT_ON_LINK));
    assert_eq!(asked.hear(refusal), not_on_link);
    assert_eq!(asked.next().0, MessageType::SOLICIT);
    assert_eq!(asked.now, ms(500));
}

#[test]
fn the_longest_delay_of_a_server_counts_even_without_an_address() {
    let mut asked = Asked::new();
    let (_, solicit) = asked.next();
    let none = |seconds: u32| {
        Answer::new(MessageType::ADVERTISE, &solicit)
            .with(code::STATUS_CODE, &[0, 2])
            .with(code::SOL_MAX_RT, &seconds.to_be_bytes())
    };
    // Outside of 60 to 86400 it does not.
    for seconds in [120, 59, 86_401] {
        assert!(asked.hear(none(seconds)).is_err());
    }
    let mut last = asked.now;
    let mut longest = Duration::ZERO;
    for _ in 0..14 {
        let _ = asked.next();
        longest = longest.max(asked.now.since(last));
        last = asked.now;
    }
    assert!((108..=132).contains(&longest.as_secs()), "{longest:?}");
    // For a question for configuration alone, too, by an option of its own.
    let mut asked = Asked::new();
    let (_, solicit) = asked.next();
    let none = Answer::new(MessageType::ADVERTISE, &solicit).with(code::STATUS_CODE, &[0, 2]);
    let none = none.with(code::INF_MAX_RT, &200_u32.to_be_bytes());
    assert!(asked.hear(none).is_err());
    asked.client.inform(asked.now);
    let mut sent = Vec::new();
    while sent.len() < 12 {
        let (kind, _) = asked.next();
        if kind == MessageType::INFORMATION_REQUEST {
            sent.push(asked.now);
        }
    }
    let pauses = sent.windows(2).map(|pair| pair[1].since(pair[0]).as_secs());
    let longest = pauses.max().unwrap();
    assert!((180..=220).contains(&longest), "{sent:?}");
}

#[test]
fn a_lease_is_renewed_at_half_and_rebound_at_four_fifths_of_the_preferred_time() {
    for (times, t1, t2) in [
        ([0, 0], 500, 800),
        ([100, 0], 100, 800),
        ([100, 200], 100, 200),
    ] {
        let mut asked = Asked::bound(times, 1000, 2000);
        let (kind, renew) = asked.next();
        assert_eq!((kind, asked.now), (MessageType::RENEW, ms(t1 * 1000)));
        let sent = Message::decode(&renew).unwrap().options;
        assert!(sent.get(code::SERVER_ID).is_some());
        let (mut kind, mut sent) = asked.next();
        while kind == MessageType::RENEW {
            (kind, sent) = asked.next();
        }
        assert_eq!((kind, asked.now), (MessageType::REBIND, ms(t2 * 1000)));
        assert_eq!(
            Message::decode(&sent).unwrap().options.get(code::SERVER_ID),
            None
        );
        let reply = Answer::new(MessageType::REPLY, &sent).with_address("2001:db8::7", 10, 20);
        asked.hear(reply).unwrap();
        let (kind, _) = asked.next();
        assert_eq!(
            (kind, asked.now),
            (MessageType::RENEW, ms(t2 * 1000 + 5000))
        );
    }
}

#[test]
fn of_a_renewed_lease_what_is_over_ends_and_what_is_not_named_stays() {
    let mut asked = Asked::bound([0, 0], 100, 200);
    let renew = |asked: &mut Asked, given: &[(&str, u32, u32)]| {
        let (kind, sent) = asked.next();
        assert_eq!(kind, MessageType::RENEW);
        let mut value = [&IAID[..], &[0; 8]].concat();
        for (address, preferred, valid) in given {
            let address: Ipv6Addr = address.parse().unwrap();
            let times = [preferred.to_be_bytes(), valid.to_be_bytes()].concat();
            put(
                &mut value,
                code::IA_ADDRESS,
                &[&address.octets()[..], &times].concat(),
            );
        }
        asked.hear(Answer::new(MessageType::REPLY, &sent).with(code::IA_NA, &value))
    };
    let addresses = |asked: &Asked| -> Vec<_> {
        let given = asked.client.grant().map(|grant| grant.addresses(asked.now));
        let given = given.unwrap_or_default().into_iter();
        given.map(|it| (it.address.to_string(), it.valid)).collect()
    };
    renew(&mut asked, &[("2001:db8::8", 1000, 2000)]).unwrap();
    let both = [
        ("2001:db8::8".to_owned(), 2000),
        ("2001:db8::7".to_owned(), 150),
    ];
    assert_eq!(addresses(&asked), both);
    // Another network is beside the first, which ends.
    renew(
        &mut asked,
        &[("2001:db8::7", 0, 0), ("2001:db8::8", 100, 200)],
    )
    .unwrap();
    assert_eq!(addresses(&asked), [("2001:db8::8".to_owned(), 200)]);
    // Nothing is said of it.
    assert!(renew(&mut asked, &[]).is_err());
    assert_eq!(addresses(&asked).len(), 1);
    let mut asked = Asked::bound([0, 0], 100, 200);
    renew(&mut asked, &[("2001:db8::7", 0, 0)]).unwrap();
    assert_eq!(addresses(&asked), []);
    assert_eq!(asked.next().0, MessageType::SOLICIT);
}

#[test]
fn times_of_a_server_make_neither_a_storm_nor_an_end() {
    let (renew, rebind) = (MessageType::RENEW, MessageType::REBIND);
    for (times, preferred, valid, kind, seconds) in [
        // Seconds of a lease of hours, but not those of a short one.
        ([1, 1], 1000, 2000, rebind, 10),
        ([1, 500], 1000, 2000, renew, 10),
        ([2, 5], 6, 8, renew, 2),
        ([1, 5], 6, 8, renew, 1),
        // Not preferred from the beginning: by its validity.
        ([0, 0], 0, 600, renew, 300),
        ([0, 0], 0, 1, MessageType::SOLICIT, 1),
        // After the end.
        ([5000, 9000], 500, 600, renew, 250),
        ([600, 600], 500, 600, renew, 250),
        ([100, 9000], 500, 600, renew, 100),
    ] {
        let mut asked = Asked::bound(times, preferred, valid);
        let (sent, _) = asked.next();
        assert_eq!((sent, asked.now), (kind, ms(seconds * 1000)), "{times:?}");
    }
    // Never, as the server says (RFC 8415 §21.4).
    let mut asked = Asked::bound([FOREVER, FOREVER], 6, 12);
    assert_eq!(asked.next().0, MessageType::SOLICIT);
    assert_eq!(asked.now, ms(12_000));
}

#[test]
fn time_servers_are_those_of_both_options_that_are_addresses() {
    let mut asked = Asked::new();
    let (_, solicit) = asked.next();
    let asked_for = Message::decode(&solicit).unwrap().options;
    let (codes, []) = asked_for.get(code::OPTION_REQUEST).unwrap().as_chunks() else {
        panic!("{solicit:?}");
    };
    for wanted in [23, 24, 31, 56, 59, 60, 82, 83, 103_u16] {
        assert!(codes.contains(&wanted.to_be_bytes()), "{wanted}");
    }
    let [one, other] = ["2001:db8::123", "2001:db8::124"].map(|text| text.parse().unwrap());
    let octets = |server: &Ipv6Addr| server.octets();
    // An address, a group, a name, an address cut off, and another address.
    let mut list = Vec::new();
    for (kind, value) in [
        (1, &octets(&one)[..]),
        (2, &octets(&"ff05::101".parse().unwrap())),
        (3, b"\x03ntp\x03lab\0"),
        (1, &octets(&one)[..7]),
        (1, &octets(&"ff02::1".parse().unwrap())),
    ] {
        put(&mut list, kind, value);
    }
    let offer = Answer::new(MessageType::ADVERTISE, &solicit)
        .with_address("2001:db8::7", 1, 2)
        .with(code::NTP_SERVER, &list)
        .with(code::SNTP_SERVERS, &[octets(&one), octets(&other)].concat());
    let read = Configuration::read(Message::decode(&offer.0).unwrap().options);
    assert_eq!(read.time_servers, [one, other]);
}

#[test]
fn nothing_makes_a_client_renew_but_its_times() {
    // RECONFIGURE, which is not accepted (option 20 is never sent), and a unicast address (option 12).
    let mut asked = Asked::new();
    for kind in [MessageType::ADVERTISE, MessageType::REPLY] {
        let (_, sent) = asked.next();
        let read = Message::decode(&sent).unwrap().options;
        assert_eq!(read.get(20), None);
        let answer = Answer::new(kind, &sent)
            .with(code::PREFERENCE, &[255])
            .with(12, &SERVER.octets())
            .with_address("2001:db8::7", 100, 200);
        asked.hear(answer).unwrap();
        let mut reconfigure = Answer::new(MessageType(10), &sent).with(19, &[5]);
        reconfigure.0[1..4].fill(0);
        assert_eq!(asked.hear(reconfigure), Err(Ignored::WrongTransaction));
    }
    assert_eq!(asked.next().0, MessageType::RENEW);
    assert_eq!(asked.now, ms(50_000));
}

#[test]
fn a_renewal_that_nobody_answers_is_sent_ever_more_seldom() {
    // RFC 8415 §7.6: REN_TIMEOUT 10 s, doubled to REN_MAX_RT, 600 s; each longer or shorter by a tenth.
    let mut asked = Asked::bound([1000, 9_000_000], 10_000_000, 10_000_000);
    let mut sent = Vec::new();
    while sent.len() < 10 {
        let (kind, _) = asked.next();
        assert_eq!(kind, MessageType::RENEW);
        sent.push(asked.now);
    }
    let mut delay = 10.0;
    for pair in sent.windows(2) {
        let gap = pair[1].since(pair[0]).as_secs_f64();
        assert!((delay * 0.85..=delay * 1.15).contains(&gap), "{sent:?}");
        delay = f64::min(gap * 2.0, 600.0);
    }
}

#[test]
fn an_address_that_is_given_twice_is_one() {
    let mut asked = Asked::new();
    for kind in [MessageType::ADVERTISE, MessageType::REPLY] {
        let (_, sent) = asked.next();
        let mut value = [&IAID[..], &[0; 8]].concat();
        for valid in [600_u32, 200] {
            let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
            let given = [&address.octets()[..], &[0, 0, 0, 9], &valid.to_be_bytes()].concat();
            put(&mut value, code::IA_ADDRESS, &given);
        }
        let answer = Answer::new(kind, &sent).with(code::IA_NA, &value);
        asked.hear(answer.with(code::PREFERENCE, &[255])).unwrap();
    }
    let given = asked.client.grant().unwrap().addresses(asked.now);
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].valid, 600);
}

#[test]
fn a_lease_ends_when_it_is_over_or_the_server_does_not_know_it() {
    let mut asked = Asked::bound([0, 0], 10, 20);
    while asked.next().0 != MessageType::SOLICIT {}
    assert_eq!(asked.now, ms(20_000));
    assert!(asked.client.grant().is_none());
    let mut asked = Asked::bound([0, 0], 10, 20);
    let (_, renew) = asked.next();
    let refuse = |status: u8, to: &[u8]| {
        let mut value = [&IAID[..], &[0; 8]].concat();
        put(&mut value, code::STATUS_CODE, &[0, status]);
        Answer::new(MessageType::REPLY, to).with(code::IA_NA, &value)
    };
    assert!(asked.hear(refuse(3, &renew)).is_err());
    // It is asked for what it does not know (RFC 8415 §18.2.10.1), which is used meanwhile.
    assert!(asked.client.grant().is_some());
    let (kind, request) = asked.next();
    assert_eq!(kind, MessageType::REQUEST);
    let read = Message::decode(&request).unwrap().options;
    assert!(read.get(code::SERVER_ID).is_some());
    assert_eq!(read.associations().next().unwrap().addresses().count(), 1);
    let granted = Answer::new(MessageType::REPLY, &request).with_address("2001:db8::8", 10, 20);
    asked.hear(granted).unwrap();
    let (kind, renew) = asked.next();
    assert_eq!(kind, MessageType::RENEW);
    assert!(asked.hear(refuse(3, &renew)).is_err());
    let (_, request) = asked.next();
    assert!(asked.hear(refuse(2, &request)).is_err());
    assert!(asked.client.grant().is_none());
    assert_eq!(asked.next().0, MessageType::SOLICIT);
    // Without end there is nothing to renew.
    let asked = Asked::bound([0, 0], FOREVER, FOREVER);
    assert_eq!(asked.client.poll_timeout(), None);
}

#[test]
fn a_lease_is_given_back_once() {
    let mut asked = Asked::bound([0, 0], 10, 20);
    asked.client.release(asked.now);
    assert!(asked.client.grant().is_none() && asked.client.is_releasing());
    let (_, release) = asked.next();
    let sent = Message::decode(&release).unwrap();
    assert_eq!(sent.kind, MessageType::RELEASE);
    assert!(sent.options.get(code::SERVER_ID).is_some());
    assert_eq!(sent.options.get(code::OPTION_REQUEST), None);
    // RFC 8415 §18.2.10.2: the answer ends it, whatever its status.
    let answer = Answer::new(MessageType::REPLY, &release).with(code::STATUS_CODE, &[0, 3]);
    asked.hear(answer).unwrap();
    assert!(!asked.client.is_releasing());
    asked.client.release(asked.now);
    assert_eq!(asked.client.poll_timeout(), None);
}

#[test]
fn a_release_that_nobody_answers_is_sent_four_times() {
    let asked = Asked::bound([0, 0], 10, 20);
    let server_id = asked.client.grant().unwrap().server_id.clone();
    let mut asked = Asked::new();
    let granted = ["2001:db8::7", "2001:db8::8"].map(|text| text.parse().unwrap());
    let held = Offer::held(server_id.clone(), &granted, ms(0));
    asked.client.give_back(Box::new(held), ms(0));
    let mut sent = Vec::new();
    loop {
        asked.client.handle_timeout(asked.now);
        if let Some((kind, message)) = asked.client.poll_transmit(asked.now) {
            assert_eq!(kind, MessageType::RELEASE);
            let read = Message::decode(&message).unwrap();
            assert_eq!(read.options.get(code::SERVER_ID), Some(&server_id[..]));
            let association = read.options.associations().next().unwrap();
            let addresses = association.addresses().map(|given| given.address);
            assert_eq!(addresses.collect::<Vec<_>>(), granted);
            sent.push(asked.now);
        } else if let Some(at) = asked.client.poll_timeout() {
            asked.now = at;
        } else {
            break;
        }
    }
    assert!(!asked.client.is_releasing());
    // RFC 8415 §7.6: after 1, 2 and 4 s, of which each may be a tenth longer or shorter.
    let sent: Vec<_> = sent.iter().map(|at| at.since(ms(0)).as_millis()).collect();
    let [0, second, third, fourth] = sent[..] else {
        panic!("{sent:?}");
    };
    assert!((1000..=1100).contains(&second), "{sent:?}");
    assert!((1900..=2310).contains(&(third - second)), "{sent:?}");
    assert!((3610..=4851).contains(&(fourth - third)), "{sent:?}");
}

#[test]
fn delays_stay_within_a_tenth() {
    let mut random = Random::new(3);
    let [first, longest] = [1, 4].map(Duration::from_secs);
    let pace = super::super::exchange::Pace::new(first, longest);
    for _ in 0..50 {
        let mut exchange =
            super::super::exchange::Exchange::begin(MessageType::SOLICIT, pace, ms(0), &mut random);
        let mut at = ms(0);
        for (least, most) in [(1000, 1100), (1900, 2310), (3600, 4851), (3600, 4400)] {
            let _ = exchange.handle_sent(at, &mut random);
            let gap = exchange.next_at.since(at).as_millis();
            assert!((least..=most).contains(&gap), "{gap}");
            at = exchange.next_at;
        }
    }
}

#[test]
fn a_lease_is_confirmed_when_the_link_returns() {
    // Confirmed, denied, answered with another status, and not answered at all.
    for (status, is_kept, kind) in [
        (Some(0), true, MessageType::RENEW),
        (Some(4), false, MessageType::SOLICIT),
        (Some(1), true, MessageType::CONFIRM),
        (None, true, MessageType::CONFIRM),
    ] {
        let mut asked = Asked::bound([100, 200], 1000, 2000);
        asked.now = ms(10_000);
        asked.client.confirm(asked.now);
        let (sent_kind, confirm) = asked.next();
        assert_eq!((sent_kind, asked.now), (MessageType::CONFIRM, ms(10_000)));
        let sent = Message::decode(&confirm).unwrap().options;
        assert_eq!(sent.get(code::SERVER_ID), None);
        let association = sent.associations().next().unwrap();
        let given = association.addresses().next().unwrap();
        assert_eq!(given.address.to_string(), "2001:db8::7");
        assert_eq!(
            (given.preferred, given.valid, association.times),
            (0, 0, [0, 0])
        );
        if let Some(status) = status {
            let answer = Answer::new(MessageType::REPLY, &confirm);
            let answer = asked.hear(answer.with(code::STATUS_CODE, &[0, status]));
            assert_eq!(answer.is_ok(), status != 1);
        }
        assert_eq!(asked.client.grant().is_some(), is_kept, "{status:?}");
        assert_eq!(asked.next().0, kind, "{status:?}");
        let mut confirms = u32::from(kind == MessageType::CONFIRM) + 1;
        if kind == MessageType::CONFIRM {
            while asked.next().0 == MessageType::CONFIRM {
                confirms += 1;
            }
            // It is used as it is, and renewed when that is due.
            assert_eq!((confirms, asked.now), (4, ms(100_000)));
            assert!(asked.client.grant().is_some());
        }
    }
    // Without a lease there is nothing to confirm.
    let mut asked = Asked::new();
    asked.client.confirm(asked.now);
    assert_eq!(asked.next().0, MessageType::SOLICIT);
}

#[test]
fn a_server_may_commit_at_once_where_no_boot_file_is_compared() {
    for (wants_boot_file, purpose, has_option, is_bound) in [
        (false, Purpose::Lease, true, true),
        (false, Purpose::Lease, false, false),
        (true, Purpose::Lease, true, false),
        (false, Purpose::Preview, true, false),
    ] {
        let wait = Duration::from_millis(250);
        let mut client = Dhcp6::new(identity(), purpose, wants_boot_file, wait, 7);
        client.solicit(ms(0));
        let mut asked = Asked { client, now: ms(0) };
        let (_, solicit) = asked.next();
        let asks = Message::decode(&solicit).unwrap().options;
        let is_asked = !wants_boot_file && purpose == Purpose::Lease;
        assert_eq!(asks.get(code::RAPID_COMMIT).is_some(), is_asked);
        let mut reply = Answer::new(MessageType::REPLY, &solicit);
        if has_option {
            reply = reply.with(code::RAPID_COMMIT, &[]);
        }
        let heard = asked.hear(reply.with_address("2001:db8::7", 100, 200));
        assert_eq!(heard.is_ok(), is_bound);
        assert_eq!(asked.client.grant().is_some(), is_bound);
        if is_bound {
            assert_eq!(asked.next().0, MessageType::RENEW);
        } else {
            // One that does not commit at once is not left.
            let offer = Answer::new(MessageType::ADVERTISE, &solicit);
            asked
                .hear(offer.with_address("2001:db8::7", 100, 200))
                .unwrap();
        }
    }
}
