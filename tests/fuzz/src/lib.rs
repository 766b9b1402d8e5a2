//! What the targets share.

use std::net::SocketAddrV4;
use std::time::Duration;

use wireboot_proto::dhcp::config::Config;
use wireboot_proto::dhcp::config::Detection;
use wireboot_proto::dhcp::inquiry::{BootQuestion, Inquiry};
use wireboot_proto::dhcp::survey::{Survey, suspicions, verdicts};
use wireboot_proto::dhcp::{Client, RequestCounts};
use wireboot_proto::ipv6::client::{Config6, Ipv6Client, Transmit6};
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::packet::arp;
use wireboot_proto::packet::dhcp::MessageType;
use wireboot_proto::packet::dhcpv6::{self, MessageType as MessageType6};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::neighbor::NeighborMessage;
use wireboot_proto::packet::option::code;
use wireboot_proto::packet::pxe::BootItem;
use wireboot_proto::packet::udp::Datagram;
use wireboot_proto::time::Instant;

use wireboot_proto::boot::{Answer, Facts, Planner, Query, Step};

/// How many steps a plan may take: its own limits end it before.
const MAX_STEPS: usize = 200_000;

/// Drives a planner whose server answers with the parts of `data` between zero octets, in order
/// and round again; an empty part is a file that is missing.
pub fn plan(data: &[u8]) {
    drive("tftp://192.0.2.1/a/b", data);
}

/// Lines of GRUB configurations, for [`grub`].
const GRUB_LINES: &[&str] = &[
    "function f {\n",
    "function g { h=$1; shift; f \"$@\"; }\n",
    "menuentry \"a $1\" b \"$@\" {\n",
    "submenu $* {\n",
    "}\n",
    "for a in $@ $a b; do\n",
    "for b in \"$*\" $a$a; do\n",
    "while [ $# -gt 1 ]; do\n",
    "while true; do\n",
    "until test $n = 9; do\n",
    "done\n",
    "if ! f $1; then\n",
    "if g a \"b c\"; then\n",
    "elif [ -s /a -o \"$?\" = 0 ]; then\n",
    "else\n",
    "fi\n",
    "f a \"b c\" $a\n",
    "g $@\n",
    "shift\n",
    "shift 2\n",
    "setparams $@ x \"$*\"\n",
    "set a=\"$a $a\"\n",
    "set a=\"$a$1\"\n",
    "set n=1\n",
    "increment n\n",
    "break\n",
    "break 2\n",
    "continue 2\n",
    "return\n",
    "return 1\n",
    "eval \"$a\"\n",
    "eval 'for x in $a; do f $x; done'\n",
    "source /a\n",
    "configfile /a\n",
    "export a n\n",
    "linux /k $@\n",
    "initrd /i newc:a:/b\n",
    "multiboot2 /x\n",
    "module2 /k $a\n",
    "boot\n",
    "blscfg\n",
    "regexp --set=1:a '(.*)b(.*)' \"$a\"\n",
    "insmod $a\n",
    "frobnicate\n",
    "load_env\n",
    "set default='1>0'\n",
    "x && y\n",
    "x {\n",
];

/// Drives a planner as [`plan`] does, whose files are made of the lines of GRUB above, one for an
/// octet below 128, and of letters for the others.
pub fn grub(data: &[u8]) {
    let mut files = Vec::from(*b"set x=y\n");
    for octet in data {
        match octet {
            0 => files.push(0),
            1..128 => {
                let line = GRUB_LINES[usize::from(*octet) % GRUB_LINES.len()];
                files.extend_from_slice(line.as_bytes());
            }
            _ => files.push(octet - 96),
        }
    }
    drive("http://192.0.2.1/grub.cfg", &files);
}

fn drive(boot_file: &str, data: &[u8]) {
    let Ok(boot_file) = boot_file.parse() else {
        return;
    };
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
    let mut planner = Planner::new(Facts::new(boot_file, mac, address, server));
    let mut files = data.split(|octet| *octet == 0).cycle();
    let mut answer = Answer::Begin;
    for _ in 0..MAX_STEPS {
        answer = match planner.next(answer) {
            Step::Fetch { .. } => match files.next().unwrap_or_default() {
                [] => Answer::Missing,
                file => Answer::File {
                    head: file.to_vec(),
                    len: file.len() as u64,
                },
            },
            Step::Menu(menu) => menu.unattended(),
            Step::Prompt { .. } => Answer::Pressed,
            Step::Input { text, .. } => Answer::Text(text),
            Step::CommandLine { .. } => {
                let text = files.next().unwrap_or_default();
                Answer::Text(String::from_utf8_lossy(text).into_owned())
            }
            Step::Verify { url, .. } if url.path().len() % 2 == 0 => {
                Answer::Failed("a bad signature".to_owned())
            }
            Step::Query(Query::Address(host)) => Answer::Text(host),
            Step::Say(_)
            | Step::Sleep(_)
            | Step::Limit(_)
            | Step::Verify { .. }
            | Step::Query(_) => Answer::Done,
            Step::Done(_) | Step::Failed(_) => return,
        };
    }
    panic!("the plan does not end");
}

/// Gives a DHCP client replies, steps of the clock and the wishes of its driver: a first octet of 0
/// to 118 is a step, of 119 to 127 a wish, any other the length of the reply that follows. `xid` and
/// `chaddr` are set right, since the checks of them would let nothing else be seen.
pub fn client(mut data: &[u8]) {
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let mut now = Instant::ZERO;
    let mut config = Config::new(mac, 7);
    config.wants_boot_file = true;
    config.rapid_commit = true;
    config.requested.push(code::IPV6_ONLY_PREFERRED);
    config.detection = match data.split_off_first().unwrap_or(&0) % 3 {
        0 => Detection::Strict,
        1 => Detection::Overlapped,
        _ => Detection::Off,
    };
    let address = [192, 0, 2, 9].into();
    let claim = arp::ArpPacket::announcement(MacAddress([2; 6]), address);
    let crowd = RequestCounts {
        discovers: 1_000,
        requests: 10,
    };
    let mut client = Client::new(config, now);
    let mut buf = Vec::new();
    while let Some((first, rest)) = data.split_first() {
        data = rest;
        if *first < 119 {
            now += Duration::from_millis(1 << (first % 24));
            client.handle_timeout(now);
        } else if *first < 128 {
            match first {
                119 => client.handle_contention(crowd, now),
                120 => client.link_up(now),
                121 => client.renew(now),
                122 => client.reboot(address, now),
                123 => client.inform(address, now),
                124 => client.release(now),
                125 => client.set_defers_choice(true),
                126 => client.accept(now),
                _ => client.handle_arp(&claim, now),
            }
        } else {
            let len = (usize::from(first - 128) * 4).min(data.len());
            let (reply, rest) = data.split_at(len);
            data = rest;
            let payload = message(client.xid(), mac, reply);
            let _ = client.handle_input(datagram(&payload), now);
        }
        while client.poll_transmit(&mut buf).is_some() {}
        while client.poll_arp().is_some() {}
        while client.poll_event().is_some() {}
        if *first < 119 {
            assert!(client.poll_timeout().is_none_or(|at| at > now));
        }
    }
}

/// Gives an inquiry replies and steps of the clock, as [`client`] does.
pub fn inquiry(mut data: &[u8]) {
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let mut now = Instant::ZERO;
    let server = SocketAddrV4::new([192, 0, 2, 1].into(), 67);
    let is_item = data.split_off_first().is_some_and(|first| first % 2 == 0);
    let question = BootQuestion {
        address: [192, 0, 2, 9].into(),
        destinations: vec![server],
        believed: None,
        item: is_item.then_some(BootItem { kind: 1, layer: 0 }),
    };
    let mut inquiry = Inquiry::new(Config::new(mac, 7), question, now);
    let mut buf = Vec::new();
    while let Some((first, rest)) = data.split_first() {
        data = rest;
        if *first < 128 {
            now += Duration::from_millis(1 << (first % 24));
            inquiry.handle_timeout(now);
        } else {
            let len = (usize::from(first - 128) * 4).min(data.len());
            let (reply, rest) = data.split_at(len);
            data = rest;
            let payload = message(inquiry.xid(), mac, reply);
            let _ = inquiry.handle_input(datagram(&payload), now);
        }
        while inquiry.poll_transmit(&mut buf).is_some() {}
        while inquiry.poll_event().is_some() {}
        if *first < 128 {
            assert!(inquiry.poll_timeout().is_none_or(|at| at > now));
        }
    }
}

/// Gives a survey replies and steps of the clock, as [`client`] does, and judges what it heard.
pub fn survey(mut data: &[u8]) {
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let mut now = Instant::ZERO;
    let wait = Duration::from_secs(3);
    let mut survey = Survey::new(Config::new(mac, 7), wait, now);
    survey.ask_services_from(vec![([192, 0, 2, 9].into(), 24)]);
    let mut asked = survey.xid();
    let (mut buf, mut answers) = (Vec::new(), Vec::new());
    while let Some((first, rest)) = data.split_first() {
        data = rest;
        if *first < 120 {
            now += Duration::from_millis(1 << (first % 12));
            survey.handle_timeout(now);
        } else if *first < 128 {
            survey.link_up(now);
        } else {
            let len = (usize::from(first - 128) * 4).min(data.len());
            let (reply, rest) = data.split_at(len);
            data = rest;
            // Of every two replies one answers the last question to a boot service.
            let xid = [survey.xid(), asked][usize::from(first % 2)];
            let payload = message(xid, mac, reply);
            let sender = MacAddress([2, 0, 0, 0, 0, first % 4]);
            let _ = survey.handle_input(&datagram(&payload), sender, now);
        }
        while let Some(transmit) = survey.poll_transmit(&mut buf) {
            if transmit.message_type != MessageType::Discover {
                asked = u32::from_be_bytes(buf[4..8].try_into().expect("a message is longer"));
            }
        }
        answers.extend(std::iter::from_fn(|| survey.poll_event()));
        if *first < 120 {
            assert!(survey.poll_timeout().is_none_or(|at| at > now));
        }
    }
    let verdicts = verdicts(&[&answers], false, Duration::from_secs(1)).concat();
    assert_eq!(verdicts.len(), answers.len());
    let offers = answers.iter().zip(&verdicts);
    let chosen = offers.filter(|(answer, verdict)| answer.asked.is_none() && verdict.is_chosen);
    assert!(chosen.count() <= 2);
    let answers: Vec<_> = answers.iter().collect();
    assert_eq!(suspicions(&answers).len(), answers.len());
}

/// A reply with these options.
fn message(xid: u32, mac: MacAddress, options: &[u8]) -> Vec<u8> {
    let mut payload = [&[2, 1, 6, 0][..], &xid.to_be_bytes()].concat();
    payload.resize(28, 0);
    payload[16..20].copy_from_slice(&[192, 0, 2, 9]);
    payload.extend_from_slice(&mac.0);
    payload.resize(236, 0);
    payload.extend_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    payload.extend_from_slice(options);
    payload
}

fn datagram(payload: &[u8]) -> Datagram<'_> {
    Datagram {
        source: SocketAddrV4::new([192, 0, 2, 1].into(), 67),
        destination: SocketAddrV4::new([255; 4].into(), 68),
        payload,
    }
}

/// Drives IPv6 on an interface by what `data` has: each message behind its kind, its length and the
/// hundredths of a second since the one before. An answer of a server gets the number of the last question
/// and the client's identifier, which nothing would guess.
pub fn ipv6(data: &[u8]) {
    let mac = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    let identity = Identity {
        duid: vec![0, 3, 0, 1],
        iaid: [0; 4],
        options: Vec::new(),
    };
    let mut now = Instant::ZERO;
    let config = Config6 {
        mac,
        identity,
        purpose: Purpose::Lease,
        given: None,
        wants_boot_file: data.len().is_multiple_of(2),
        offer_wait: Duration::from_millis(250),
        boot_file_wait: Duration::from_secs(12),
        detection: Detection::Overlapped,
        seed: 7,
    };
    let mut client = Ipv6Client::new(config, now);
    let router = "fe80::1".parse().unwrap();
    let mut transaction = [0; 3];
    let mut rest = data;
    while let [kind, len, hundredths, after @ ..] = rest {
        let (message, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        now += Duration::from_millis(10 * u64::from(*hundredths));
        match kind % 8 {
            0 => {
                let _ = client.handle_router(router, 255, message, now);
            }
            1 => {
                let head = [134, 0, 0, 0, 64, kind & 0xf8, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
                let message = [&head[..], message].concat();
                let _ = client.handle_router(router, 255, &message, now);
            }
            2 => {
                let _ = client.handle_server(router, message, now);
            }
            3 => client.renew(now),
            4 => {
                if let Ok(message) = NeighborMessage::decode(message) {
                    client.handle_neighbor(router, message, now);
                }
            }
            kind => {
                let kind = if kind == 5 {
                    MessageType6::ADVERTISE
                } else {
                    MessageType6::REPLY
                };
                let mut answer = dhcpv6::begin(kind, transaction);
                dhcpv6::put(&mut answer, 1, &client.identity().duid);
                dhcpv6::put(&mut answer, 2, &[1]);
                answer.extend(message);
                let _ = client.handle_server(router, &answer, now);
            }
        }
        client.handle_timeout(now);
        while let Some(sent) = client.poll_transmit(now) {
            if let Transmit6::Dhcp(_, message) = sent
                && let Ok(message) = dhcpv6::Message::decode(&message)
            {
                transaction = message.transaction;
            }
        }
        assert!(client.poll_timeout(now).is_none_or(|at| at > now));
        let lease = client.lease(now);
        assert!(lease.routes.len() <= 64 && lease.addresses.len() <= 40);
        let _ = (client.is_settled(now), client.explain());
    }
}
