//! The machine against a model of a server, on a link that loses, with the clock in the
//! test's hand.

mod model;

use core::time::Duration;

use super::*;
use crate::packet::tftp::{BLKSIZE, TIMEOUT, TSIZE, WINDOWSIZE};
use crate::time::{Random, SpeedLimit};

use model::{Link, Path};

const REQUESTS_TO: &str = "192.0.2.1:69";
const TRANSFER: &str = "192.0.2.1:40000";

#[test]
fn files_around_the_block_length_arrive_whole() {
    for len in [0, 1, 511, 512, 513, 1467, 1468, 1469, 64 * 1468, 200_000] {
        let mut link = Link::new(len);
        assert_eq!(link.run(), Ok(()), "{len}");
        assert!(link.received == link.server.file, "{len}");
    }
}

#[test]
fn every_server_is_understood_whatever_options_it_knows() {
    for knows in [
        &[][..],
        &[TSIZE],
        &[BLKSIZE],
        &[BLKSIZE, WINDOWSIZE],
        &[WINDOWSIZE, TIMEOUT],
    ] {
        let mut link = Link::new(100_000);
        link.server.knows = knows;
        assert_eq!(link.run(), Ok(()), "{knows:?}");
        assert!(link.received == link.server.file, "{knows:?}");
    }
}

#[test]
fn a_lossy_link_costs_time_and_never_an_octet() {
    for (seed, loss_percent) in [(1, 1), (2, 10), (3, 30), (4, 10), (5, 1)] {
        for window in [1, 4, 64, 256] {
            let mut link = Link::new(300_000);
            link.random = Random::new(seed);
            link.loss_percent = loss_percent;
            link.terms.window = window;
            loop {
                match link.run() {
                    Ok(()) => assert!(link.received == link.server.file),
                    Err(Failure::Holes { .. } | Failure::Silent { .. }) => continue,
                    Err(failure) => assert_eq!(failure, Failure::Lossy, "{loss_percent} {window}"),
                }
                break;
            }
        }
    }
}

#[test]
fn block_numbers_go_round_both_ways_with_and_without_windows() {
    for (after_65535, window, loss_percent) in [
        (0, 1, 0),
        (1, 1, 0),
        (0, 16, 0),
        (1, 16, 0),
        (0, 16, 2),
        (1, 16, 2),
        (0, 1, 2),
        (1, 1, 2),
    ] {
        let mut link = Link::new(65_600 * 8 + 3);
        link.server.after_65535 = after_65535;
        link.loss_percent = loss_percent;
        link.terms = Terms {
            block_len: 8,
            window,
            options: true,
        };
        assert_eq!(link.run(), Ok(()), "{after_65535} {window}");
        assert!(link.received == link.server.file, "{after_65535} {window}");
    }
}

#[test]
fn a_silent_server_is_asked_with_doubled_delay_and_given_up_after_the_stall_time() {
    let mut link = Link::new(10);
    link.loss_percent = 100;
    let Err(Failure::NoAnswer { requests }) = link.run() else {
        panic!("an answer from nowhere");
    };
    assert_eq!(requests, 6, "0.5 s, 1, 2, 4, 4 apart within 15 s");
    assert_eq!(link.now, Instant::from_millis(15_000));
}

#[test]
fn a_server_that_dies_is_noticed_within_the_stall_time_and_nothing_is_done_thereafter() {
    let mut link = Link::new(1_000_000);
    link.server.dies_after = Some(100);
    let received = 100 * 1468;
    assert_eq!(link.run(), Err(Failure::Silent { received }));
    assert_eq!(link.get.as_ref().unwrap().poll_timeout(), None);
    assert!(link.now <= Instant::from_millis(3_100));
    link.loss_percent = 100;
    assert_eq!(link.run(), Err(Failure::Stalled { received }));
    assert!(link.now <= Instant::from_millis(15_100));
    assert_eq!(link.get.as_ref().unwrap().poll_timeout(), None);
}

#[test]
fn the_servers_text_comes_with_the_error() {
    let (mut get, now) = fresh();
    let _ = get.poll_transmit(&mut Vec::new());
    let error = b"\x00\x05\x00\x01File <x> \x1bnot found\0";
    assert_eq!(
        get.handle_input(address(TRANSFER), error, now),
        Ok(FileChunk::NONE)
    );
    let Some(Event::Failed(failure)) = get.poll_event() else {
        panic!();
    };
    let expected = r#"the server says: file not found ("File <x> \u{1b}not found")"#;
    assert_eq!(failure.to_string(), expected);
}

#[test]
fn an_option_nobody_asked_for_ends_the_transfer_and_the_server_is_told() {
    for oack in [
        &b"\x00\x06blksize\x001469\0"[..],
        b"\x00\x06blksize\x007\0",
        b"\x00\x06blksize\x00x\0",
        b"\x00\x06windowsize\x00257\0",
        b"\x00\x06windowsize\x000\0",
        b"\x00\x06multicast\x00\0",
    ] {
        let (mut get, now) = fresh();
        let mut packet = Vec::new();
        let _ = get.poll_transmit(&mut packet);
        assert_eq!(
            get.handle_input(address(TRANSFER), oack, now),
            Ok(FileChunk::NONE)
        );
        assert!(matches!(
            get.poll_event(),
            Some(Event::Failed(Failure::BadOptions(_)))
        ));
        get.poll_transmit(&mut packet).unwrap();
        assert_eq!(packet[..4], [0, 5, 0, 8]);
    }
}

#[test]
fn a_packet_from_another_port_is_refused_without_harm() {
    let (mut get, now) = fresh();
    let mut packet = Vec::new();
    let _ = get.poll_transmit(&mut packet);
    get.handle_input(address(TRANSFER), b"\x00\x06tsize\x001\0", now)
        .unwrap();
    assert!(get.poll_transmit(&mut packet).is_some());
    let stranger = address("192.0.2.1:40001");
    let data = b"\x00\x03\x00\x01x";
    assert_eq!(
        get.handle_input(stranger, data, now),
        Err(Discard::UnknownTransfer)
    );
    assert_eq!(
        get.poll_transmit(&mut packet).unwrap().destination,
        stranger
    );
    assert_eq!(packet[..4], [0, 5, 0, 5]);
    let other = address("192.0.2.2:40000");
    assert_eq!(
        get.handle_input(other, data, now),
        Err(Discard::WrongServer)
    );
    assert_eq!(
        get.handle_input(address(TRANSFER), data, now),
        Ok(FileChunk { at: 0, bytes: b"x" })
    );
}

#[test]
fn a_duplicate_of_data_is_not_acknowledged_twice() {
    let (mut get, mut now) = fresh();
    let mut packet = Vec::new();
    let _ = get.poll_transmit(&mut packet);
    let block = [&b"\x00\x03\x00\x01"[..], &[7; 512]].concat();
    assert_eq!(
        get.handle_input(address(TRANSFER), &block, now)
            .unwrap()
            .bytes
            .len(),
        512
    );
    assert!(get.poll_transmit(&mut packet).is_some());
    let duplicate = get.handle_input(address(TRANSFER), &block, now);
    assert_eq!(duplicate, Err(Discard::Duplicate));
    assert_eq!(get.poll_transmit(&mut packet), None);
    now += Duration::from_millis(600);
    let _ = get.handle_input(address(TRANSFER), &block, now);
    assert!(
        get.poll_transmit(&mut packet).is_some(),
        "now it must have been lost"
    );
}

#[test]
fn a_window_that_comes_twice_after_a_hasty_acknowledgment_is_waited_for_longer_the_next_time() {
    let (mut get, mut now) = fresh();
    let mut packet = Vec::new();
    let _ = get.poll_transmit(&mut packet);
    let oack = b"\x00\x06windowsize\x002\0blksize\x008\0";
    get.handle_input(address(TRANSFER), oack, now).unwrap();
    let data = |block: u8| [0, 3, 0, block, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut timeouts = Vec::new();
    for first in [1, 3] {
        let until = get.poll_timeout().unwrap();
        timeouts.push(until.since(now));
        now = until;
        get.handle_timeout(now);
        for block in [first, first + 1, first, first + 1] {
            let _ = get.handle_input(address(TRANSFER), &data(block), now);
        }
    }
    timeouts.push(get.poll_timeout().unwrap().since(now));
    assert!(timeouts[2] > timeouts[1], "{timeouts:?}");
}

#[test]
fn a_second_gap_in_a_row_is_acknowledged_without_waiting_for_the_timer() {
    let (mut get, now) = fresh();
    let mut packet = Vec::new();
    let _ = get.poll_transmit(&mut packet);
    let oack = b"\x00\x06windowsize\x004\0blksize\x008\0";
    get.handle_input(address(TRANSFER), oack, now).unwrap();
    assert!(get.poll_transmit(&mut packet).is_some());
    let data = |block: u8| [0, 3, 0, block, 1, 2, 3, 4, 5, 6, 7, 8];
    get.handle_input(address(TRANSFER), &data(1), now).unwrap();
    for round in 0..3 {
        for (block, answered) in [(3, true), (4, false)] {
            let data = data(block);
            let gap = get.handle_input(address(TRANSFER), &data, now);
            assert_eq!(gap, Err(Discard::Gap));
            assert_eq!(
                get.poll_transmit(&mut packet).is_some(),
                answered,
                "{round} {block}"
            );
            if answered {
                assert_eq!(packet, [0, 4, 0, 1]);
            }
        }
    }
}

#[test]
fn a_file_of_another_length_than_announced_is_refused() {
    for announced in [3, 5, 1000] {
        let (mut get, now) = fresh();
        let _ = get.poll_transmit(&mut Vec::new());
        let oack = format!("\0\x06tsize\0{announced}\0");
        get.handle_input(address(TRANSFER), oack.as_bytes(), now)
            .unwrap();
        let bytes = get.handle_input(address(TRANSFER), b"\x00\x03\x00\x01abcd", now);
        assert_eq!(bytes, Ok(FileChunk::NONE));
        let started = get.poll_event();
        assert!(matches!(started, Some(Event::Started { .. })));
        let failure = Failure::WrongLen {
            announced,
            received: 4,
        };
        assert_eq!(get.poll_event(), Some(Event::Failed(failure)));
    }
}

#[test]
fn a_file_over_the_limit_is_refused_before_or_while_it_comes() {
    for knows in [&[TSIZE, BLKSIZE][..], &[]] {
        let mut link = Link::new(5000);
        link.server.knows = knows;
        link.max_len = 4999;
        assert_eq!(link.run(), Err(Failure::TooLarge { limit: 4999 }));
    }
}

#[test]
fn what_has_come_before_is_not_handed_out_again() {
    for had in [0, 1, 1468, 1469, 99_999, 100_000] {
        let mut link = Link::new(100_000);
        link.have.insert(0..had);
        link.received = vec![0; 100_000];
        assert_eq!(link.run(), Ok(()));
        let whole_blocks = usize::try_from(had / 1468 * 1468).unwrap();
        let whole_blocks = if had == 100_000 {
            100_000
        } else {
            whole_blocks
        };
        assert!(
            link.received[..whole_blocks]
                .iter()
                .all(|octet| *octet == 0)
        );
        assert!(link.received[whole_blocks..] == link.server.file[whole_blocks..]);
    }
}

#[test]
fn blocks_that_the_server_is_slow_to_repeat_are_fetched_in_another_pass() {
    let mut link = Link::new(3_000_000);
    link.server.knows = &[TSIZE, BLKSIZE];
    link.server.repeats_after = Some(Duration::from_secs(2));
    link.loss_percent = 10;
    let mut passes = 0;
    while let Err(failure) = link.run() {
        // The last block is never skipped, and may be lost twice in a row.
        let is_usual = matches!(failure, Failure::Holes { .. } | Failure::Silent { .. });
        assert!(is_usual, "{failure}");
        passes += 1;
    }
    assert!(link.received == link.server.file);
    assert!((1..8).contains(&passes), "{passes}");
    // 2,044 blocks take 2 s and another 0.4 s for 200 that are lost, not 400 s.
    assert!(link.now < Instant::from_millis(100_000), "{:?}", link.now);
}

#[test]
fn what_has_come_is_not_waited_for_in_another_pass() {
    let mut link = Link::new(3_000_000);
    link.server.knows = &[TSIZE, BLKSIZE];
    link.server.repeats_after = Some(Duration::from_secs(2));
    link.have.insert(0..1_468_000);
    link.have.insert(1_469_468..3_000_000);
    link.received = link.server.file.clone();
    link.received[1_468_000..1_469_468].fill(0);
    assert_eq!(link.run(), Ok(()));
    assert!(link.received == link.server.file);
    // 2,044 blocks are a millisecond apart when each is waited for.
    assert!(link.now < Instant::from_millis(200), "{:?}", link.now);
}

#[test]
fn a_server_that_goes_on_whatever_is_acknowledged_and_forgets_is_asked_again() {
    for (seed, len) in [
        (1, 1),
        (2, 200_000),
        (3, 200_000),
        (4, 512),
        (5, 66_000 * 8),
    ] {
        let mut link = Link::new(len);
        link.random = Random::new(seed);
        link.terms.block_len = if len > 500_000 { 8 } else { 512 };
        link.server.knows = &[TSIZE, BLKSIZE];
        link.server.goes_on = true;
        link.loss_percent = 10;
        while let Err(failure) = link.run() {
            let goes_on = link.terms.after(&failure) == Some(link.terms);
            assert!(goes_on, "{failure}");
        }
        assert!(link.received == link.server.file);
    }
}

#[test]
fn blocks_that_are_too_large_for_a_later_link_are_asked_for_smaller() {
    for (longest, block_len) in [(1470, 1428), (1400, 1024), (600, 512)] {
        let mut link = Link::new(3_000_000);
        link.terms = Terms::best(9000, &address(REQUESTS_TO));
        link.server.longest = longest;
        while let Err(failure) = link.run() {
            assert_eq!(failure, Failure::Silent { received: 0 });
            link.terms = link.terms.after(&failure).unwrap();
        }
        assert_eq!(link.terms.block_len, block_len);
        // Three seconds for each refusal by silence, and one for each thousand windows.
        assert!(link.now < Instant::from_millis(16_000), "{:?}", link.now);
        assert!(link.received == link.server.file);
    }
}

#[test]
fn a_block_lost_on_a_slow_path_is_waited_for() {
    for lost in [100, 700, 1_300] {
        for before in [0, 800_000] {
            let mut link = Link::new(2_000_000);
            link.server.knows = &[TSIZE, BLKSIZE];
            link.server.repeats_after = Some(Duration::from_secs(1));
            link.server.loses_once = Some(lost);
            link.path = Some(Path::new(Duration::from_millis(12), 19, 2));
            link.have.insert(0..before);
            link.received = link.server.file.clone();
            assert_eq!(link.run(), Ok(()), "{lost} {before}");
            // A second longer than 1,363 packets take.
            assert!(link.now < Instant::from_millis(18_500), "{:?}", link.now);
        }
    }
}

#[test]
fn a_single_lost_block_is_waited_for_when_that_is_cheaper_than_another_pass() {
    let mut link = Link::new(10_000_000);
    link.server.knows = &[TSIZE, BLKSIZE];
    link.server.repeats_after = Some(Duration::from_secs(2));
    link.server.loses_once = Some(3000);
    assert_eq!(link.run(), Ok(()));
    assert!(link.received == link.server.file);
}

#[test]
fn a_block_that_was_given_up_and_only_late_is_taken() {
    let (mut get, mut now) = fresh();
    let mut packet = Vec::new();
    let _ = get.poll_transmit(&mut packet);
    let oack = b"\x00\x06tsize\x0080\0blksize\x008\0";
    get.handle_input(address(TRANSFER), oack, now).unwrap();
    let data = |block: u8| [0, 3, 0, block, 1, 2, 3, 4, 5, 6, 7, 8];
    for block in 1..=3 {
        now += Duration::from_millis(1);
        get.handle_input(address(TRANSFER), &data(block), now)
            .unwrap();
    }
    let mut acknowledged = Vec::new();
    while !acknowledged.contains(&4) {
        while get.poll_transmit(&mut packet).is_some() {
            acknowledged.push(packet[3]);
        }
        now = get.poll_timeout().unwrap();
        get.handle_timeout(now);
    }
    for (block, at) in [(4, 24), (5, 32)] {
        let data = data(block);
        let piece = get.handle_input(address(TRANSFER), &data, now).unwrap();
        assert_eq!((piece.at, piece.bytes.len()), (at, 8));
    }
}

#[test]
fn a_window_that_is_mostly_lost_is_given_up_for_a_smaller_one() {
    let mut link = Link::new(10_000_000);
    link.server.queue_len = Some(8);
    for smaller in [64, 16] {
        assert_eq!(link.run(), Err(Failure::Lossy));
        assert!(link.received.len() < 1_000_000);
        link.terms = link.terms.after(&Failure::Lossy).unwrap();
        assert_eq!(link.terms.window, smaller);
    }
    assert_eq!(link.run(), Ok(()));
    assert!(link.received == link.server.file);
}

#[test]
fn where_the_rate_is_the_limit_little_is_repeated_and_no_queue_overflows() {
    let cases = [
        // Microseconds for a packet, packets that the path holds, and that pass at once.
        (120, 32, 2),
        (1_200, 8, 2),
        (12_000, 6, 0),
        (12_000, 19, 2),
        (12_000, 19, 20),
        (100_000, 19, 0),
    ];
    for (per_packet, queue_len, bucket) in cases {
        for before in [0, 1_000_000, 1_999_000] {
            let mut link = Link::new(2_000_000);
            link.server.knows = &[TSIZE, BLKSIZE];
            link.server.repeats_after = Some(Duration::from_secs(1));
            link.path = Some(Path::new(
                Duration::from_micros(per_packet),
                queue_len,
                bucket,
            ));
            link.have.insert(0..before);
            link.received = link.server.file.clone();
            link.received[usize::try_from(before).unwrap()..].fill(0);
            let case = format!("{per_packet} {queue_len} {bucket} {before}");
            assert_eq!(link.run(), Ok(()), "{case}");
            assert!(link.received == link.server.file, "{case}");
            // Of 1,363 blocks; before the path is known each is asked for a few times.
            assert!(
                link.acknowledgments < 1_480,
                "{case}: {}",
                link.acknowledgments
            );
            assert_eq!(link.path.as_ref().unwrap().overflowed, 0, "{case}");
            let least = Duration::from_micros(per_packet * 1_363);
            let most = least + Duration::from_millis(1_500 + per_packet * 3 / 2);
            let took = link.now.since(Instant::ZERO);
            assert!(took < most, "{case}: {took:?}");
        }
    }
}

#[test]
fn a_server_that_sends_block_by_block_for_ever_is_too_slow() {
    for (seconds, block_len, expected) in [(2, 64, false), (2, 1_468, true)] {
        let (mut get, _) = fresh();
        let transfer = address(TRANSFER);
        let mut options = Vec::new();
        let text = format!("blksize\0{block_len}\0");
        options.extend_from_slice(&[0, 6]);
        options.extend_from_slice(text.as_bytes());
        get.handle_input(transfer, &options, Instant::ZERO).unwrap();
        let (mut buf, mut number) = (Vec::new(), 0_u16);
        let mut failure = None;
        while number < 100 && failure.is_none() {
            number += 1;
            let now = Instant::from_millis(u64::from(number) * seconds * 1_000);
            let mut block = vec![7; block_len + 4];
            block[..2].copy_from_slice(&[0, 3]);
            block[2..4].copy_from_slice(&number.to_be_bytes());
            get.handle_input(transfer, &block, now).unwrap();
            while get.poll_transmit(&mut buf).is_some() {}
            get.handle_timeout(now);
            while get.poll_transmit(&mut buf).is_some() {}
            while let Some(event) = get.poll_event() {
                if let Event::Failed(why) = event {
                    failure = Some(why);
                }
            }
        }
        let received = 15 * block_len as u64;
        let too_slow = Failure::TooSlow { received };
        assert_eq!(failure, (!expected).then_some(too_slow), "{block_len}");
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn fresh() -> (Get, Instant) {
    let config = Config {
        server: address(REQUESTS_TO),
        file: "file".to_owned(),
        terms: Terms::best(1500, &address(REQUESTS_TO)),
        stall_timeout: Duration::from_secs(15),
        speed: SpeedLimit::default(),
        max_len: u64::MAX,
        received: ByteRanges::default(),
        expected_len: None,
        last_received_at: None,
        rate: None,
    };
    (Get::new(config, Instant::ZERO), Instant::ZERO)
}
