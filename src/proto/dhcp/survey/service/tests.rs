//! Boot services that a test makes up, in the survey that meets their offers.

use std::net::SocketAddrV4;

use super::*;
use crate::dhcp::survey::{Survey, SurveyAnswer, verdicts};
use crate::packet::dhcp::{Message, MessageType};
use crate::packet::ethernet::MacAddress;
use crate::packet::option::{Options, code};

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const WAIT: Duration = Duration::from_secs(1);
const PLAIN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// A menu of two, Disk, which is the local one, Rescue and Install, by
/// unicast only.
const MENU: &[u8] = b"\x06\x01\x03\x09\x1b\x00\x00\x04Disk\x80\x01\x06Rescue\x80\x02\x08Install!";

#[test]
fn a_service_without_a_menu_is_asked_from_the_address_on_its_network() {
    let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
    survey.ask_services_from(vec![([10, 0, 0, 9].into(), 8), (OURS, 24)]);
    offers(&mut survey, PLAIN, &[]);
    offers_service(&mut survey, b"");
    let questions = sent(&mut survey);
    let [(xid, transmit, message)] = &questions[..] else {
        panic!("one question: {questions:?}");
    };
    assert_eq!(transmit.source, SocketAddrV4::new(OURS, 68));
    assert_eq!(transmit.destination, SocketAddrV4::new(SERVICE, PXE_PORT));
    assert_eq!(message.message_type(), Some(MessageType::Request));
    assert_eq!(message.ciaddr, OURS);
    assert_eq!(survey.next_hop(SERVICE), Some(MacAddress([3; 6])));
    answers(&mut survey, *xid, b"", "boot.0").unwrap();
    assert_eq!(
        answers(&mut survey, *xid, b"", "other.0"),
        Err(Discard::WrongXid(*xid))
    );
    let rows = rows(&mut survey);
    assert_eq!(
        rows,
        [
            (true, "", "its address, with a boot service from 192.0.2.3"),
            (true, "", "brings a boot service, which 192.0.2.1 does not"),
            (true, "boot.0", "where the boot service leads to"),
        ]
        .map(|(chosen, file, why)| (chosen, file.to_owned(), why.to_owned()))
    );
    assert_eq!(survey.end(), []);
}

#[test]
fn every_entry_of_a_menu_but_the_local_disk_is_asked_for() {
    let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
    survey.ask_services_from(vec![(OURS, 24)]);
    offers_service(&mut survey, MENU);
    let questions = sent(&mut survey);
    let kinds: Vec<_> = questions
        .iter()
        .map(|(_, _, message)| message.options.get(code::VENDOR_SPECIFIC).unwrap().to_vec())
        .collect();
    let item = |kind| BootItem { kind, layer: 0 }.encode().to_vec();
    assert_eq!(kinds, [item(0x8001), item(0x8002)]);
    answers(&mut survey, questions[1].0, &item(0x8002), "install.0").unwrap();
    let answer = survey
        .poll_event()
        .and_then(|_| survey.poll_event())
        .unwrap();
    assert_eq!(answer.offer.boot.boot_file.as_deref(), Some("install.0"));
    let entry = answer.asked.unwrap().entry.unwrap();
    assert_eq!(entry, "Install!");
    let unknown: Vec<_> = survey.end().into_iter().map(|it| it.what).collect();
    assert_eq!(unknown, ["\"Rescue\" on port 4011: no answer"]);
}

#[test]
fn two_machines_with_one_identifier_have_one_service() {
    for addresses in [vec![], vec![(OURS, 24)]] {
        let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
        let asked = addresses.len();
        survey.ask_services_from(addresses);
        for host in [3, 4] {
            let more = [(code::VENDOR_CLASS, &b"PXEClient"[..])];
            let xid = survey.xid();
            let offer = reply(xid, 2, SERVICE, Ipv4Addr::UNSPECIFIED, &more, "");
            give(&mut survey, &offer, SERVICE, 67, host).unwrap();
        }
        assert_eq!(sent(&mut survey).len(), asked);
        assert_eq!(survey.end().len(), 1);
    }
}

#[test]
fn a_menu_that_comes_with_the_answer_is_followed_once() {
    let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
    survey.ask_services_from(vec![(OURS, 24)]);
    offers_service(&mut survey, b"");
    let xid = sent(&mut survey)[0].0;
    answers(&mut survey, xid, MENU, "").unwrap();
    let questions = sent(&mut survey);
    assert_eq!(questions.len(), 2);
    answers(&mut survey, questions[0].0, MENU, "rescue.0").unwrap();
    assert_eq!(sent(&mut survey), []);
}

#[test]
fn what_is_not_asked_is_told_with_the_reason() {
    let unknown = |addresses: &[(Ipv4Addr, u8)], vendor: &[u8]| {
        let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
        survey.ask_services_from(addresses.to_vec());
        offers_service(&mut survey, vendor);
        let asked = sent(&mut survey).len();
        let unknown = survey.services.unknown.iter();
        let texts: Vec<_> = unknown.map(|it| it.what.clone()).collect();
        (asked, texts)
    };
    let ours = [(OURS, 24)];
    let why = "on port 4011: not asked: the interface has no IPv4 address".to_owned();
    assert_eq!(unknown(&[], b""), (0, vec![why.clone()]));
    assert_eq!(unknown(&[], MENU), (0, vec![why]));
    // By broadcast only, which a DHCP server would take for the renewal of a lease.
    let (asked, texts) = unknown(&ours, b"\x06\x01\x02\x09\x09\x80\x01\x06Rescue");
    assert_eq!((asked, texts.len()), (0, 1));
    assert!(texts[0].starts_with("\"Rescue\" on port 4011: not asked: DHCP servers"));
    let entries: Vec<u8> = (1..=60).flat_map(|kind| [0, kind, 1, b'x']).collect();
    let flood = [&[6, 1, 3, 9, 240], &entries[..]].concat();
    let (asked, texts) = unknown(&ours, &flood);
    assert_eq!((asked, texts.len()), (MAX_QUESTIONS, 1));
    let plain: &[(Ipv4Addr, u8)] = &[];
    let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
    survey.ask_services_from(plain.to_vec());
    offers(&mut survey, PLAIN, &[]);
    assert_eq!(survey.end(), []);
}

#[test]
fn a_late_offer_has_its_service_asked_and_a_silent_one_does_not_keep_it_waiting_for_ever() {
    for (wait, ends_at) in [(1_000, 2_999), (10_000, 10_000)] {
        silent_service(Duration::from_millis(wait), Instant::from_millis(ends_at));
    }
}

/// Has a service offer itself 999 ms after the beginning, and hear nothing.
fn silent_service(wait: Duration, ends_at: Instant) {
    let mut survey = Survey::new(Config::new(MAC, 7), wait, Instant::ZERO);
    survey.ask_services_from(vec![(OURS, 24)]);
    let offered_at = Instant::from_millis(999);
    survey.handle_timeout(offered_at);
    offers_service(&mut survey, b"");
    let mut buf = Vec::new();
    let (mut types, mut last) = (Vec::new(), offered_at);
    while let Some(at) = survey.poll_timeout() {
        survey.handle_timeout(at);
        while let Some(transmit) = survey.poll_transmit(&mut buf) {
            if at >= Instant::ZERO + WAIT {
                types.push(transmit.message_type);
            }
            let is_discover = transmit.message_type == MessageType::Discover;
            assert!(!is_discover || at < Instant::ZERO + wait);
        }
        assert!(survey.poll_timeout().is_none_or(|next| next > at));
        last = at;
    }
    assert!(survey.is_over());
    assert_eq!(last, ends_at);
    assert!(types.contains(&MessageType::Inform) && types.contains(&MessageType::Request));
    let unknown: Vec<_> = survey.end().into_iter().map(|it| it.what).collect();
    assert_eq!(unknown, ["on port 4011: no answer"]);
}

/// Returns what is to be sent to services now, with its transaction number.
fn sent(survey: &mut Survey) -> Vec<(u32, Transmit, Message)> {
    let mut buf = Vec::new();
    let mut sent = Vec::new();
    while let Some(transmit) = survey.poll_transmit(&mut buf) {
        let message = Message::decode(&buf).unwrap();
        if transmit.message_type != MessageType::Discover {
            sent.push((message.xid, transmit, message));
        }
    }
    sent
}

fn offers(survey: &mut Survey, server: Ipv4Addr, more: &[(u8, &[u8])]) {
    let [.., host] = server.octets();
    let address = if more.is_empty() {
        [192, 0, 2, 100]
    } else {
        [0; 4]
    };
    let xid = survey.xid();
    let message = reply(xid, 2, server, address.into(), more, "");
    give(survey, &message, server, 67, host).unwrap();
}

/// Has the service offer itself, with this value of option 43.
fn offers_service(survey: &mut Survey, vendor: &[u8]) {
    let more = [
        (code::VENDOR_CLASS, &b"PXEClient"[..]),
        (code::VENDOR_SPECIFIC, vendor),
    ];
    offers(survey, SERVICE, &more);
}

fn answers(survey: &mut Survey, xid: u32, vendor: &[u8], file: &str) -> Result<(), Discard> {
    let more = [
        (code::VENDOR_CLASS, &b"PXEClient"[..]),
        (code::VENDOR_SPECIFIC, vendor),
    ];
    let message = reply(xid, 5, SERVICE, Ipv4Addr::UNSPECIFIED, &more, file);
    give(survey, &message, SERVICE, PXE_PORT, 3)
}

fn reply(
    xid: u32,
    message_type: u8,
    server: Ipv4Addr,
    address: Ipv4Addr,
    more: &[(u8, &[u8])],
    file: &str,
) -> Vec<u8> {
    let mut options = Options::default();
    options.set(code::MESSAGE_TYPE, [message_type]);
    options.set(code::SERVER_IDENTIFIER, server.octets());
    for (code, value) in more {
        options.set(*code, *value);
    }
    let message = Message {
        xid,
        chaddr: MAC,
        file: file.as_bytes().to_vec(),
        ..Message::reply(address, options)
    };
    let mut octets = Vec::new();
    message.encode(&mut octets).unwrap();
    octets
}

fn give(
    survey: &mut Survey,
    payload: &[u8],
    server: Ipv4Addr,
    port: u16,
    host: u8,
) -> Result<(), Discard> {
    let datagram = Datagram {
        source: SocketAddrV4::new(server, port),
        destination: SocketAddrV4::new(OURS, 68),
        payload,
    };
    let now = Instant::from_millis(999);
    survey.handle_input(&datagram, MacAddress([host; 6]), now)
}

/// Returns for each answer whether it is chosen, its boot file, and why.
fn rows(survey: &mut Survey) -> Vec<(bool, String, String)> {
    let answers: Vec<SurveyAnswer> = std::iter::from_fn(|| survey.poll_event()).collect();
    let verdicts = verdicts(&[&answers], false, Duration::from_secs(1)).concat();
    let files = answers
        .into_iter()
        .map(|answer| answer.offer.boot.boot_file.unwrap_or_default());
    verdicts
        .into_iter()
        .zip(files)
        .map(|(verdict, file)| (verdict.is_chosen, file, verdict.why))
        .collect()
}
