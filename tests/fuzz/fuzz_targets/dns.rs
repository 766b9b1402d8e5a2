#![no_main]
use std::time::Duration;

use wireboot_fuzz::budget;
use wireboot_proto::dns::{Config, Lookup, MAX_TIME, NameConfig, QueryTransport};
use wireboot_proto::packet::dns::AddressType;
use wireboot_proto::time::Instant;

/// Lookups and their messages: more would be a loop.
const MAX_QUERIES: usize = 1000;

// The first byte is the number of servers and the types of query; a line of resolv.conf(5) follows, and
// then messages of the servers, each behind its length, the time since the one before and what is put
// into it: the number and the question of a query, and the flags of a response.
libfuzzer_sys::fuzz_target!(|data: &[u8]| budget::linear(data.len(), 4096, || look_up(data)));

fn look_up(data: &[u8]) {
    let (setup, rest) = data.split_first().unwrap_or((&0, &[]));
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut rest = rest.get(line.len() + 1..).unwrap_or_default();
    let mut names = NameConfig::default();
    names.read(&String::from_utf8_lossy(line), &|name| {
        name.len().try_into().ok()
    });
    names.hosts = String::from_utf8_lossy(line).into_owned();
    names.known("a.example");
    for host in 0..setup & 3 {
        names.add_server(([192, 0, 2, host], 53).into());
    }
    let mut now = Instant::ZERO;
    let config = Config {
        servers: names.servers.clone(),
        names: names.candidates("a.example"),
        types: match setup >> 2 & 3 {
            0 => vec![AddressType::A],
            1 => vec![AddressType::Aaaa],
            _ => vec![AddressType::A, AddressType::Aaaa],
        },
        max_time: MAX_TIME,
        first: usize::from(setup >> 4),
        seed: 1,
    };
    let mut lookup = Lookup::new(config, now);
    let mut sent = Vec::new();
    let mut query = Vec::new();
    loop {
        while let Some(transmit) = lookup.poll_transmit(&mut query) {
            sent.push((transmit, query.clone()));
        }
        assert!(sent.len() <= MAX_QUERIES);
        let until = lookup.poll_timeout();
        if lookup.poll_event().is_some() {
            assert_eq!(until, None);
            // Whatever comes, and when: what is too late by the clock itself ends it as well.
            assert!(now <= Instant::ZERO + MAX_TIME + Duration::from_millis(255 * 4));
            return;
        }
        let until = until.expect("a lookup that waits for nothing has ended");
        assert!(until > now);
        let [len, millis, which, after @ ..] = rest else {
            now = until;
            lookup.handle_timeout(now);
            continue;
        };
        now += Duration::from_millis(u64::from(*millis) * 4);
        let (message, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        let (transmit, query) = &sent[usize::from(which >> 3) % sent.len()];
        let mut message = message.to_vec();
        if which & 1 == 0 {
            let end = query.len() - if query[11] == 0 { 0 } else { 11 };
            message.splice(0..0, query[..end].iter().copied());
            message[2..4].copy_from_slice(&[0x81 | which & 2, 0x80]);
            message[10..12].fill(0);
            message[7] = message.get(end).copied().unwrap_or(0);
            message[9] = message.get(end + 1).copied().unwrap_or(0);
            message.drain(end..(end + 2).min(message.len()));
        }
        match which & 6 {
            6 => lookup.handle_failure(*transmit, now),
            4 => {
                drop(lookup.handle_input(transmit.destination, QueryTransport::Tcp, &message, now))
            }
            _ => drop(lookup.handle_input(transmit.destination, transmit.transport, &message, now)),
        }
        if lookup.poll_timeout().is_some_and(|at| now >= at) {
            lookup.handle_timeout(now);
        }
    }
}
