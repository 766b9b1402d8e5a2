//! What the targets share.

pub mod budget;

use std::net::SocketAddrV4;
use std::time::Duration;

use wireboot_proto::dhcp::config::Config;
use wireboot_proto::dhcp::config::Detection;
use wireboot_proto::dhcp::inquiry::{BootQuestion, Inquiry};
use wireboot_proto::dhcp::survey::{Survey, suspicions, verdicts};
use wireboot_proto::dhcp::{Client, RequestCounts};
use wireboot_proto::ipv6::client::{Config6, Ipv6Client, Transmit6};
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::facts;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::packet::arp;
use wireboot_proto::packet::dhcp::MessageType;
use wireboot_proto::packet::dhcpv6::{self, MessageType as MessageType6};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::icmpv6::{Advertisement, NeighborMessage};
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::packet::option::code;
use wireboot_proto::packet::pxe::BootItem;
use wireboot_proto::time::Instant;

use wireboot_proto::boot::{Answer, Facts, Planner, Query, Step};

/// How many steps a plan may take: its own limits end it before.
const MAX_STEPS: usize = 200_000;
/// The most that a plan may allocate, in bytes: 100,000 steps and 16 MiB of text, the planner's own
/// limits, with what each of them copies.
const MAX_WORK: u64 = 4 << 30;
/// What IPv6 may allocate for an octet of its input, in bytes: a message may have three, and after each one the
/// whole lease is read, with as many addresses, routes and names as are kept.
const MESSAGE_WORK: u64 = 8 << 10;
/// The longest text that a plan may produce, in bytes; what it has read as files is counted in it too.
const MAX_TEXT_LEN: usize = 16 << 20;

/// Drives a planner whose server answers with the parts of `data` between zero octets, in order
/// and round again; an empty part is a file that is missing.
pub fn plan(data: &[u8]) {
    drive("tftp://192.0.2.1/a/b", data);
}

/// Drives a planner as [`plan`] does, by configurations of pxelinux made of these lines.
pub fn pxelinux(data: &[u8]) {
    let files = files_of(PXELINUX_LINES, b"", data);
    drive("tftp://192.0.2.1/pxelinux.0", &files);
}

/// As [`pxelinux`], by scripts of iPXE.
pub fn ipxe(data: &[u8]) {
    let files = files_of(IPXE_LINES, b"#!ipxe\n", data);
    drive("http://192.0.2.1/boot.ipxe", &files);
}

/// As [`pxelinux`], by boot loader entries.
pub fn bls(data: &[u8]) {
    let files = files_of(BLS_LINES, b"title x\nlinux /k\n", data);
    drive("http://192.0.2.1/loader/entries/a.conf", &files);
}

/// Returns files that begin with `first`: a line for an octet below 128, the end of a file for 0, and
/// letters for the others.
fn files_of(lines: &[&str], first: &[u8], data: &[u8]) -> Vec<u8> {
    let mut files = Vec::from(first);
    for octet in data {
        match octet {
            0 => {
                files.push(0);
                files.extend_from_slice(first);
            }
            1..128 => {
                let line = lines[usize::from(*octet) % lines.len()];
                files.extend_from_slice(line.as_bytes());
            }
            _ => files.push(octet - 96),
        }
    }
    files
}

const PXELINUX_LINES: &[&str] = &[
    "default a\n",
    "label a\n",
    "label b\n",
    " kernel /k x y\n",
    " append a=b initrd=/i,/j\n",
    " append - \n",
    " initrd /i\n",
    " kernel http://192.0.2.1/x.c32\n",
    " com32 menu.c32\n append pxelinux.cfg/a\n",
    " com32 ifcpu64.c32\n append a -- b\n",
    " localboot 0\n",
    " config /a\n",
    " ipappend 3\n",
    "include a b\n",
    "include a\n",
    "menu include a\n",
    "menu begin a\n",
    "menu end\n",
    "menu goto a\n",
    "menu exit\n",
    "menu label ^a\n",
    "menu hide\n",
    "menu default\n",
    "menu master passwd a\n",
    "text help\n",
    "endtext\n",
    "f1 a\n",
    "display a\n",
    "say a\n",
    "ontimeout a x\n",
    "onerror a\n",
    "prompt 1\n",
    "timeout 1\n",
    "totaltimeout 1\n",
    "allowoptions 0\n",
    "noescape 1\n",
    "implicit 0\n",
    "serial 0 115200\n",
    " linux /k\n fdt /d\n fdtdir /e\n",
    "a x=y\n",
];

const IPXE_LINES: &[&str] = &[
    "set a ${a}${a}\n",
    "set a ${a}b${net0/mac:hexhyp}\n",
    "set b ${a:uristring}${a:hexraw}${a:base64}\n",
    "set ${a} ${b:string}\n",
    "set a a:hex\n",
    "inc n\n",
    "inc n 0x7fffffff\n",
    "clear a\n",
    "isset ${a} && goto l || goto m\n",
    "iseq ${a} ${b} || goto l\n",
    ":l\n",
    ":m\n",
    "goto l\n",
    "goto ${a}\n",
    "chain a\n",
    "chain --replace --autofree http://192.0.2.1/${a}\n",
    "imgexec a\n",
    "imgfetch --name a /a ${a}\n",
    "imgargs a ${a} ${a}\n",
    "imgfree\n",
    "imgstat\n",
    "imgverify a /a.sig\n",
    "imgextract a\n",
    "kernel /k ${a}\n",
    "initrd --name x /i newc ${a}\n",
    "module /i ${a}\n",
    "boot\n",
    "boot a ${a}\n",
    "echo ${a}\n",
    "echo -n ${a} ${b}\n",
    "menu ${a}\n",
    "item --gap ${a}\n",
    "item --key a a ${a}\n",
    "choose --default a --timeout 1 a\n",
    "choose a && goto ${a}\n",
    "prompt --timeout 1 ${a}\n",
    "read a\n",
    "login\n",
    "sleep 1\n",
    "ping -c 1 ${a}\n",
    "nslookup a h\n",
    "show a\n",
    "config\n",
    "exit\n",
    "exit 1\n",
    "param a ${a}\n",
    "params\n",
    "form\n",
    "present\n",
    "shell\n",
    "frobnicate || ",
    "set c ${a:",
    "${",
    "}",
    "\\\n",
    " && ",
    " || ",
    "set x ${${a}}\n",
    "set x ${net0.dhcp/1:ipv4}${smbios/1.4.0:uuid}\n",
];

const BLS_LINES: &[&str] = &[
    "title a\n",
    "version 1.2~a\n",
    "linux /k\n",
    "linux a\n",
    "initrd /i\n",
    "initrd /i /j\n",
    "options $a ${a} x\n",
    "options a b c d\n",
    "devicetree /d\n",
    "devicetree-overlay /d /e /f\n",
    "efi /e.efi\n",
    "uki /u.efi\n",
    "architecture x64\n",
    "machine-id 1\n",
    "sort-key a\n",
    "grub_users $a\n",
    "# a\n",
    "a.conf\nb.conf\n",
    "default a*\n",
    "timeout 1\n",
    "profile 1\n",
];

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
    let files = files_of(GRUB_LINES, b"set x=y\n", data);
    drive("http://192.0.2.1/grub.cfg", &files);
}

/// Drives a planner within its budget of work.
fn drive(boot_file: &str, data: &[u8]) {
    budget::within(MAX_WORK, || follow(boot_file, data));
}

fn follow(boot_file: &str, data: &[u8]) {
    let Ok(boot_file) = boot_file.parse() else {
        return;
    };
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
    let mut planner = Planner::new(Facts::new(boot_file, mac, address, server));
    let mut files = data.split(|octet| *octet == 0).cycle();
    let mut answer = Answer::Begin;
    let mut text_len = 0;
    for _ in 0..MAX_STEPS {
        answer = match planner.next(answer) {
            Step::Fetch { .. } => match files.next().unwrap_or_default() {
                [] => Answer::Missing,
                file => Answer::File {
                    head: file.to_vec(),
                    len: file.len() as u64,
                },
            },
            Step::Menu(menu) => {
                let text = menu.entries.iter().map(|entry| entry.text.len()).sum();
                produced(&mut text_len, text);
                menu.unattended()
            }
            Step::Prompt { .. } => Answer::Pressed,
            Step::Input { text, .. } => {
                produced(&mut text_len, text.len());
                Answer::Text(text)
            }
            Step::CommandLine { .. } => {
                let text = files.next().unwrap_or_default();
                Answer::Text(String::from_utf8_lossy(text).into_owned())
            }
            Step::Verify { url, .. } if url.path().len() % 2 == 0 => {
                Answer::Failed("a bad signature".to_owned())
            }
            Step::Query(Query::Address(host)) => Answer::Text(host),
            Step::Say(text) => {
                produced(&mut text_len, text.len());
                Answer::Done
            }
            Step::Sleep(_) | Step::Limit(_) | Step::Verify { .. } | Step::Query(_) => Answer::Done,
            Step::Done(plan) => {
                produced(&mut text_len, plan.command_line.len());
                return;
            }
            Step::Failed(_) => return,
        };
    }
    panic!("the plan does not end");
}

/// Counts text that a plan has produced.
fn produced(text_len: &mut usize, len: usize) {
    *text_len += len;
    assert!(*text_len <= MAX_TEXT_LEN, "{text_len} bytes of text");
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

/// Drives IPv6 on an interface by what `data` has: each message behind its kind, its length (from 250 on in
/// steps of 250, to 1,500) and the hundredths of a second since the one before. An answer of a server gets
/// the number of the last question and the client's identifier, which nothing would guess.
pub fn ipv6(data: &[u8]) {
    budget::linear(data.len(), MESSAGE_WORK, || follow_ipv6(data));
}

fn follow_ipv6(data: &[u8]) {
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
        let len = match usize::from(*len) {
            len @ 0..250 => len,
            len => (len - 249) * 250,
        };
        let (message, after) = after.split_at(len.min(after.len()));
        rest = after;
        now += Duration::from_millis(10 * u64::from(*hundredths));
        match kind % 8 {
            0 => {
                show(message);
                let _ = client.handle_router(router, 255, message, now);
            }
            1 => {
                let head = [134, 0, 0, 0, 64, kind & 0xf8, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
                let message = [&head[..], message].concat();
                show(&message);
                let _ = client.handle_router(router, 255, &message, now);
            }
            2 => {
                show(message);
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
                show(&answer);
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

/// Reads what a message of a router or server says for people, who must be able to see it.
fn show(message: &[u8]) {
    let router = Advertisement::decode(message).map(|read| facts::of_router(&read));
    let server = dhcpv6::Message::decode(message).map(|read| facts::of_dhcp(read.options));
    for fact in router.into_iter().chain(server).flatten() {
        assert!(!fact.value.contains(char::is_control), "{fact:?}");
    }
}
