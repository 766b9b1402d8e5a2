//! The reason why there is no lease, as the last line says it: each situation has its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::Far;
use crate::common::servers::DNSMASQ;
use crate::common::{in_new_namespace, ip};
use wireboot_proto::packet::dhcp::{Message, MessageType};
use wireboot_proto::packet::icmpv6::router_solicitation;
use wireboot_proto::packet::ipv4::checksum;
use wireboot_proto::packet::option::code;

/// Where an answer has its UDP header and its payload.
const UDP: usize = 14 + 20;
const BOOTP: usize = UDP + 8;

/// Frames for a message of the client.
type Answering = fn(&Message) -> Vec<Vec<u8>>;

/// A situation: how a server on `far` answers, and what the last line has.
const ANSWERS: [(Answering, &str); 21] = [
    (
        |_| Vec::new(),
        "frames seen on the wire but no offer among them; does a DHCP server",
    ),
    (
        |_| vec![advertisement(0x80)],
        "no DHCPv4 server answered; routers of IPv6 are here: fe80::1 (managed)",
    ),
    (
        |question| altered(question, |answer| answer.options.remove(code::MESSAGE_TYPE)),
        "192.0.2.1 were discarded: no DHCP message type: a BOOTP server answered, which knows no \
         leases",
    ),
    (
        |question| {
            altered(question, |answer| {
                answer.options.set(code::MESSAGE_TYPE, [13])
            })
        },
        "192.0.2.1 were discarded: its DHCP message type (option 53) is unknown",
    ),
    (
        |question| nameless(question),
        "0.0.0.0 were discarded: no server identifier",
    ),
    (
        |question| {
            altered(question, |answer| {
                answer.yiaddr = Ipv4Addr::new(127, 0, 0, 1)
            })
        },
        "192.0.2.1 were discarded: 127.0.0.1 is not a host's address",
    ),
    (
        |question| altered(question, |answer| answer.xid ^= 1),
        "192.0.2.1 were discarded: xid 0x",
    ),
    (
        |question| altered(question, |answer| answer.chaddr.0[5] ^= 1),
        "192.0.2.1 were discarded: chaddr ",
    ),
    (
        |question| {
            altered(question, |answer| {
                answer.options.set(code::CLIENT_IDENTIFIER, [1, 2, 3]);
            })
        },
        "192.0.2.1 were discarded: its client identifier is not ours",
    ),
    (
        |question| spoilt(question, |frame| frame[BOOTP] = 1),
        "192.0.2.1 were discarded: it is marked as a request (op 1)",
    ),
    (
        |question| spoilt(question, |frame| frame[BOOTP] = 7),
        "192.0.2.1 were discarded: invalid op 7",
    ),
    (
        |question| spoilt(question, |frame| frame[BOOTP + 1] = 6),
        "192.0.2.1 were discarded: invalid htype 6",
    ),
    (
        |question| {
            spoilt(question, |frame| {
                frame[BOOTP + 2] = 16;
                frame[BOOTP + 28..BOOTP + 34].fill(0);
            })
        },
        "192.0.2.1 were discarded: invalid hlen 16",
    ),
    (
        |question| spoilt(question, |frame| frame[UDP + 3] = 67),
        "192.0.2.1 were discarded: it was sent to UDP port 67 instead of 68",
    ),
    (
        |question| {
            spoilt(question, |frame| {
                drop(frame.splice(12..12, [0x81, 0, 0, 7]))
            })
        },
        "192.0.2.1 were discarded: it is tagged for VLAN 7, not this port's",
    ),
    (
        |question| {
            spoilt(question, |frame| {
                drop(frame.splice(12..12, [0x88, 0xa8, 0, 0, 0x81, 0, 0, 9]));
            })
        },
        "192.0.2.1 were discarded: it is tagged for VLAN 9, not this port's",
    ),
    (
        |question| {
            spoilt(question, |frame| {
                frame[UDP + 6..UDP + 8].copy_from_slice(&[1, 1])
            })
        },
        "192.0.2.1 were discarded: the checksum of UDP is wrong",
    ),
    (
        |question| spoilt(question, |frame| frame[24] ^= 1),
        "192.0.2.1 were discarded: the checksum of IPv4 header is wrong",
    ),
    (
        |question| {
            spoilt(question, |frame| {
                // More fragments follow.
                frame[20] = 0x20;
                frame[24..26].fill(0);
                let sum = checksum(&[&frame[14..UDP]]).to_be_bytes();
                frame[24..26].copy_from_slice(&sum);
            })
        },
        "192.0.2.1 were discarded: the packet is a fragment, and reassembly is not supported",
    ),
    (
        |question| spoilt(question, |frame| frame.truncate(BOOTP + 20)),
        "192.0.2.1 were discarded: payload is truncated",
    ),
    (
        |question| {
            altered(question, |answer| {
                answer.yiaddr = Ipv4Addr::UNSPECIFIED;
                answer.options.set(code::VENDOR_CLASS, *b"PXEClient");
            })
        },
        "only the ProxyDHCP server 192.0.2.1 answered, which gives no addresses",
    ),
];

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn each_way_of_answering_without_a_grant_has_a_last_line_of_its_own() {
    let mut lines = BTreeMap::new();
    for (answering, reason) in ANSWERS {
        for command in COMMANDS {
            // `discover` shows both as answers.
            let is_shown = reason.contains("a host's address") || reason.contains("ProxyDHCP");
            if command.starts_with("discover") && is_shown {
                continue;
            }
            let said = in_situation(command, move |far| ScriptedDhcp::start(far, answering));
            assert!(said.contains(reason), "{command}: {said} is not: {reason}");
            is_new(&mut lines, command, &said);
        }
    }
}

/// Commands that end without a lease, and look for one long enough that servers are asked twice.
const COMMANDS: [&str; 3] = [
    "lease -i near --timeout 1.2",
    "boot -i near --timeout 1.2 --proxy-wait 0",
    "discover -i near --wait 1.2",
];

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn each_way_to_have_no_answer_or_only_half_of_one_has_a_last_line_of_its_own() {
    let mut lines = BTreeMap::new();
    for command in COMMANDS {
        let mut says = |expected: &str, said: String| {
            assert!(
                said.contains(expected),
                "{command}: {said} is not: {expected}"
            );
            is_new(&mut lines, command, &said);
        };
        let waiting = command.replace("near", "near --link-timeout 0.3");
        let said = in_situation(&waiting, |far| far.run("ip link set far down"));
        says("near: no carrier after 0.3 s; is the cable in", said);
        let said = in_situation(command, |far| {
            far.run("sysctl -q -w net.ipv6.conf.far.disable_ipv6=1");
        });
        says(
            "not one frame of any kind seen on the wire; is this the right port",
            said,
        );
        let said = in_situation(command, |far| {
            ScriptedDhcp::start(far, |_| {
                ip("link set far down");
                Vec::new()
            })
        });
        says("the carrier was lost", said);
        if command.starts_with("discover") {
            continue;
        }
        let half: Answering = |question| match question.message_type() {
            Some(MessageType::Discover) => altered(question, |_| ()),
            _ => Vec::new(),
        };
        let said = in_situation(command, move |far| ScriptedDhcp::start(far, half));
        says(
            "; 192.0.2.1 offered 192.0.2.100 and did not confirm it; is it still running?",
            said,
        );
        let said = in_situation(command, |far| {
            ScriptedDhcp::start(far, |question| match question.message_type() {
                Some(MessageType::Discover) => altered(question, |_| ()),
                _ => spoilt(question, |frame| {
                    frame[UDP + 6..UDP + 8].copy_from_slice(&[1, 1])
                }),
            })
        });
        says("did not confirm it; ", said.clone());
        assert!(
            said.contains("192.0.2.1 was discarded: the checksum of UDP")
                || said.contains("192.0.2.1 were discarded: the checksum of UDP"),
            "{said}"
        );
        let said = in_situation(
            &format!(
                "{} --proxy-wait 5",
                command.trim_end_matches(" --proxy-wait 0")
            ),
            move |far| ScriptedDhcp::start(far, half),
        );
        says(
            "192.0.2.1 offered 192.0.2.100, and a better offer was waited for",
            said,
        );
        let said = in_situation(&format!("{command} --request 108"), |far| {
            ScriptedDhcp::start(far, |question| {
                altered(question, |answer| answer.options.set(108, [0, 0, 1, 44]))
            })
        });
        says("192.0.2.1 says that this network is for IPv6", said);
        let said = in_situation(command, |far| {
            ScriptedDhcp::start(far, |question| {
                altered(question, |answer| {
                    if answer.message_type() == Some(MessageType::Ack) {
                        answer.options.set(code::MESSAGE_TYPE, [6]);
                    }
                })
            })
        });
        says("192.0.2.1 refused the address: without a reason", said);
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_ipv6_router_and_a_proxy_of_dnsmasq_alone_are_named() {
    // dnsmasq advertises itself from fd00::1 for as long as its link-local address is tentative.
    let expected = "no DHCPv4 server answered; routers of IPv6 are here: f";
    for command in COMMANDS {
        let said = in_situation(command, |far| {
            // Nobody but wireboot asks for advertisements.
            let sysctl = "net.ipv6.conf.near.disable_ipv6=1";
            let set = Command::new("sysctl").args(["-q", "-w", sysctl]).status();
            assert!(set.expect("sysctl is installed").success());
            far.run("ip address add fd00::1/64 dev far nodad");
            let range = "--enable-ra --dhcp-range=fd00::10,fd00::99,64,1h";
            far.serve(
                &format!("{DNSMASQ} {range}"),
                "router advertisement on fd00::",
            )
        });
        assert!(said.contains(expected), "{command}: {said}");
        assert!(said.contains(" (managed)"), "{command}: {said}");
    }
    let command = format!("{} --identify pxe", COMMANDS[1]);
    let said = in_situation(&command, |far| {
        let proxy = "--dhcp-range=192.0.2.0,proxy,255.255.255.0 --dhcp-boot=boot/kernel
            --pxe-service=0,net,boot/kernel --pxe-service=X86-64_EFI,net,boot/kernel";
        far.serve(&format!("{DNSMASQ} {proxy}"), "DHCP, proxy")
    });
    let expected = "only the ProxyDHCP server 192.0.2.1 answered, which gives no addresses";
    assert!(said.contains(expected), "{said}");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_interface_that_cannot_be_asked_on_is_not_waited_for() {
    for command in COMMANDS {
        let begun = Instant::now();
        let says = |command: &str, expected: &str, prepare: &[&'static str]| {
            let prepare = prepare.to_vec();
            let said = in_situation(command, move |_| {
                prepare.iter().for_each(|arguments| drop(ip(arguments)));
            });
            assert_eq!(
                said,
                format!(
                    "wireboot: error: no usable network interface: {expected} \
                     (wireboot-troubleshooting(7): no-interface)"
                )
            );
        };
        let port = "near is a port of br0; ask on br0";
        let prepare = ["link add br0 type bridge", "link set near master br0"];
        says(command, port, &prepare);
        for (name, kind, prepare) in [
            ("lo", "loopback", &[][..]),
            ("tun0", "tun", &["tuntap add tun0 mode tun"]),
        ] {
            let expected = format!("{name} is not Ethernet ({kind}); ask on an Ethernet interface");
            says(&command.replace("near", name), &expected, prepare);
        }
        let only_virtual = "found lo (not Ethernet), near (virtual: name it to use it)";
        says(&command.replace("-i near ", ""), only_virtual, &[]);
        // Each would be waited for for half a minute.
        assert!(begun.elapsed() < Duration::from_secs(25), "{command}");
        let wrong = command.replace("near", "naer --link-timeout 0.3");
        says(
            &wrong,
            "naer did not appear within 0.3 s; found lo, near",
            &[],
        );
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn answers_that_are_discarded_beside_good_ones_are_reported() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = ScriptedDhcp::start(&far, |question| {
            let mut frames = nameless(question);
            frames.extend(altered(question, |_| ()));
            frames
        });
        let (code, said) = run("discover -i near --wait 1");
        assert_eq!(code, Some(0), "{said}");
        let expected = "discarded: no server identifier";
        assert!(said.contains(expected), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn of_several_servers_and_faults_the_three_most_frequent_are_named_in_order() {
    let said = in_situation(COMMANDS[0], |far| {
        ScriptedDhcp::start(far, |question| {
            let frames = (1..=4_u8).flat_map(|server| {
                let frames = spoilt(question, |frame| {
                    frame[BOOTP + 1] = server + 1;
                    frame[29] = server;
                    frame[24..26].fill(0);
                    let sum = checksum(&[&frame[14..UDP]]).to_be_bytes();
                    frame[24..26].copy_from_slice(&sum);
                });
                // As many of each as its number.
                frames.into_iter().cycle().take(server.into())
            });
            frames.collect()
        })
    });
    let (_, reasons) = said.split_once(" sent; ").expect(&said);
    let servers: Vec<_> = reasons
        .split("; ")
        .filter(|reason| reason.contains("discarded"))
        .map(|reason| reason.split(' ').nth(3))
        .collect();
    let expected = ["192.0.2.4", "192.0.2.3", "192.0.2.2"].map(Some);
    assert_eq!(servers, expected, "{said}");
}

/// Runs a command with a far end that `prepare` has made ready, and returns its last line.
fn in_situation<T>(command: &str, prepare: impl FnOnce(&Far) -> T + Send + 'static) -> String {
    let (line, lines) = std::sync::mpsc::channel();
    let command = command.to_owned();
    in_new_namespace(move || {
        let far = Far::plug_in();
        let _prepared = prepare(&far);
        let (code, said) = run(&command);
        assert!(matches!(code, Some(2..=4)), "{command}: {code:?} {said}");
        line.send(said.lines().last().unwrap_or_default().to_owned())
            .unwrap();
    });
    lines.recv().unwrap()
}

/// Runs wireboot to its end and returns its exit code and what it printed on standard error.
fn run(arguments: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let output = command.args(arguments.split_whitespace()).output();
    let output = output.expect("it was built");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

/// Asserts that no other situation of `command` ends with the same line, numbers aside.
fn is_new(lines: &mut BTreeMap<String, String>, command: &str, said: &str) {
    let program = command.split(' ').next().unwrap_or_default();
    let reason = said.split_once("sent").map_or(said, |(_, reason)| reason);
    let known = lines.insert(format!("{program} {reason}"), said.to_owned());
    assert_eq!(known, None, "{command}");
}

/// Returns a granting answer that `alter` has changed.
fn altered(question: &Message, alter: impl FnOnce(&mut Message)) -> Vec<Vec<u8>> {
    let Some(mut answer) = grant(question) else {
        return Vec::new();
    };
    alter(&mut answer);
    vec![framed(&answer, 67)]
}

/// Returns a granting answer that names its server nowhere, neither in option 54 nor as the source.
fn nameless(question: &Message) -> Vec<Vec<u8>> {
    let mut frames = altered(question, |answer| {
        answer.options.remove(code::SERVER_IDENTIFIER);
    });
    for frame in &mut frames {
        frame[26..30].fill(0);
        frame[UDP + 6..UDP + 8].fill(0);
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[14..UDP]]).to_be_bytes();
        frame[24..26].copy_from_slice(&sum);
    }
    frames
}

/// Returns a granting answer whose frame `spoil` has changed, without a UDP checksum but where it sets
/// one.
fn spoilt(question: &Message, spoil: impl FnOnce(&mut Vec<u8>)) -> Vec<Vec<u8>> {
    let mut frames = altered(question, |_| ());
    for frame in &mut frames {
        frame[UDP + 6..UDP + 8].fill(0);
    }
    if let Some(frame) = frames.first_mut() {
        spoil(frame);
    }
    frames
}

/// Returns the frame of a router advertisement of fe80::1 with these flags.
fn advertisement(flags: u8) -> Vec<u8> {
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
    let mut frame = router_solicitation(wireboot_proto::packet::ethernet::MacAddress([2; 6]));
    // To all nodes, ff02::1.
    frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    frame[53] = 1;
    frame[22..38].copy_from_slice(&router);
    frame.truncate(54);
    frame[18..20].copy_from_slice(&[0, 16]);
    let mut message = [134, 0, 0, 0, 64, flags, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let pseudo = [0, 0, 0, 16, 0, 0, 0, 58];
    let sum = checksum(&[&frame[22..54], &pseudo, &message]).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    frame.extend(message);
    frame
}
