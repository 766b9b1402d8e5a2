//! `wireboot fetch` from servers that have names, by the name servers of a lease and by scripted ones.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::client::at_home;
use crate::common::far::{Far, Server};
use crate::common::folder::Folder;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip};

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and python3"]
fn a_name_is_looked_up_where_the_lease_says_and_each_of_its_addresses_is_tried() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        far.run("ip address add fd00::1/64 dev far nodad");
        let folder = Folder::new();
        folder.offer("file", 100_000);
        let options = "--dhcp-option=6,192.0.2.1 --dhcp-option=15,boot.example";
        let _leases = dnsmasq(&far, options);
        let _names = far.serve(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --pid-file= --no-resolv --no-hosts
             --local=/boot.example/
             --host-record=four.boot.example,192.0.2.1
             --host-record=six.boot.example,fd00::1
             --host-record=both.boot.example,192.0.2.1,fd00::1
             --host-record=dead.boot.example,192.0.2.77,fd00::1
             --host-record=gone.boot.example,fd00::77,192.0.2.1
             --host-record=many.boot.example,192.0.2.77
             --host-record=many.boot.example,192.0.2.1
             --cname=alias.boot.example,four.boot.example",
            "started",
        );
        let _web = far.serve_web(&folder.served());
        let client = at_home().args(["lease", "-i", "near"]).output().unwrap();
        assert!(client.status.success(), "{client:?}");
        ip("address add fd00::9/64 dev near nodad");

        let fetch = |host: &str| {
            let url = format!("http://{host}/file");
            let target = folder.path("come");
            fetch_as(&["-o", target.to_str().unwrap(), &url])
        };
        for host in [
            "four.boot.example",
            "six.boot.example",
            "both.boot.example",
            "dead.boot.example",
            "gone.boot.example",
            "many.boot.example",
            "alias.boot.example",
            // By the domain of the lease, and without it.
            "four",
            "four.boot.example.",
        ] {
            let output = fetch(host);
            assert!(output.status.success(), "{host}: {output:?}");
            folder.is_whole("come", "file");
            std::fs::remove_file(folder.path("come")).unwrap();
        }
        let output = fetch("nobody.boot.example");
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        let expected = "http://nobody.boot.example/file: name nobody.boot.example: no such name (said \
                        by 192.0.2.1)";
        assert!(said(&output).contains(expected), "{output:?}");
    });
}

/// Answers questions for A with 192.0.2.1 and those for AAAA as the first label of the name says:
/// by a code, by nothing, or by fd00::1 where the name has no A. Prints all questions.
const NAME_SERVER: &str = r#"
import socket, struct
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("192.0.2.1", 53))
print("ready", flush=True)
while True:
    question, client = server.recvfrom(512)
    at, labels = 12, []
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind, = struct.unpack(">H", question[at + 1:at + 3])
    print({1: "A", 28: "AAAA"}.get(kind, "other"), labels[0], flush=True)
    def answer(code, address=None):
        head = struct.pack(">HHHHHH", *struct.unpack(">H", question[:2]), 0x8180 | code, 1,
                           int(address is not None), 0, 0)
        record = b""
        if address is not None:
            record = struct.pack(">HHHIH", 0xc00c, kind, 1, 60, len(address)) + address
        server.sendto(head + question[12:at + 5] + record, client)
    behaviour = labels[0]
    if kind == 1 and behaviour not in ("only6", "broken4"):
        answer(0, bytes([192, 0, 2, 1]))
    elif kind == 1:
        answer(0 if behaviour == "only6" else 2)
    elif behaviour in ("only6", "broken4"):
        answer(0, socket.inet_pton(socket.AF_INET6, "fd00::1"))
    elif behaviour != "silent":
        answer({"servfail": 2, "nxdomain": 3, "refused": 5, "notimp": 4}[behaviour])
"#;

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and python3"]
fn a_script_asks_the_network_before_it_decides() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let folder = Folder::new();
        let options = "--dhcp-option=6,192.0.2.1 --dhcp-boot=http://192.0.2.1/boot.ipxe";
        let _leases = dnsmasq(&far, options);
        let _names = far.serve_names();
        let _web = far.serve_web(&folder.served());
        let _silent = far.serve_silence();
        fs::write(
            folder.served().join("boot.ipxe"),
            "#!ipxe\n\
             chain --timeout 500 http://192.0.2.1:81/version.ipxe || set version none\n\
             nslookup files files.boot.example || set files none\n\
             nslookup other gone.boot.example || set other none\n\
             ping --count 1 ${files} && set near yes || set near no\n\
             ping --count 2 --timeout 100 192.0.2.77 && set far yes || set far no\n\
             kernel vmlinuz ${version} ${files} ${other} ${near} ${far}\n\
             boot\n",
        )
        .unwrap();
        let mut kernel = vec![0; 0x400];
        kernel[0x1fe..0x206].copy_from_slice(b"\x55\xaa\xeb\x66HdrS");
        kernel[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        kernel[0x236] = 3;
        fs::write(folder.served().join("vmlinuz"), kernel).unwrap();
        let begun = Instant::now();
        let words = ["boot", "-i", "near", "--unattended", "--stop-after", "plan"];
        let output = at_home().args(words).output().unwrap();
        let plan = String::from_utf8_lossy(&output.stdout);
        let expected = "command line  none 192.0.2.1 none yes no\n";
        assert!(plan.ends_with(expected), "{plan}{output:?}");
        // Four attempts of 15 s each would be made without a limit.
        assert!(begun.elapsed() < Duration::from_secs(40), "{output:?}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn a_server_that_does_not_answer_for_one_family_does_not_spoil_the_other() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        far.run("ip address add fd00::1/64 dev far nodad");
        ip("link set near up");
        ip("address add 192.0.2.9/24 dev near");
        let folder = Folder::new();
        folder.offer("file", 100_000);
        fs::write("/etc/resolv.conf", "nameserver 192.0.2.1\n").unwrap();
        let script = far.write("names.py", NAME_SERVER);
        let names = far.serve(&format!("python3 {script}"), "ready");
        let _web = far.serve_web(&folder.served());
        let comes = |host: &str| {
            let begun = Instant::now();
            let url = format!("http://{host}.boot.example/file");
            let target = folder.path("come");
            let output = fetch_as(&["-o", target.to_str().unwrap(), &url]);
            assert!(output.status.success(), "{host}: {output:?}");
            folder.is_whole("come", "file");
            fs::remove_file(folder.path("come")).unwrap();
            begun.elapsed()
        };
        let all_come = || {
            for host in ["refused", "servfail", "silent", "notimp", "nxdomain"] {
                let passed = comes(host);
                // The C libraries wait for 5 s and more before they give up.
                assert!(passed < Duration::from_millis(4500), "{host}: {passed:?}");
            }
        };
        all_come();
        names.wait_for("A nxdomain");
        assert_eq!(names.count("AAAA"), 0);
        ip("address add fd00::9/64 dev near nodad");
        all_come();
        comes("only6");
        comes("broken4");
        names.wait_for("AAAA silent");
        // Without an address of IPv4 nothing of it is asked for.
        names.forget();
        ip("address del 192.0.2.9/24 dev near");
        far.run("ip address add fd00::53/64 dev far nodad");
        let script = NAME_SERVER.replace("AF_INET,", "AF_INET6,");
        let script = far.write(
            "names6.py",
            &script.replace("192.0.2.1\", 53", "fd00::53\", 53"),
        );
        let names = far.serve(&format!("python3 {script}"), "ready");
        fs::write("/etc/resolv.conf", "nameserver fd00::53\n").unwrap();
        comes("only6");
        names.wait_for("AAAA only6");
        assert_eq!(names.count("A only6"), names.count("AAAA only6"));
    });
}

/// Two name servers, 192.0.2.1 and 192.0.2.2, and as many of IPv6, which do with questions for A what the
/// first label of the name says, word by word for each of them.
const TWO_SERVERS: &str = r#"
import socket, struct, threading
HOME = bytes([192, 0, 2, 1])
def serve(number, address, family, stream):
    server = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    if stream:
        server.listen()
    while True:
        if stream:
            client, _ = server.accept()
            client.settimeout(5)
            question = client.recv(2 + 512)[2:]
            # In two pieces, the first of which ends within the length.
            def send(message):
                message = struct.pack(">H", len(message)) + message
                client.sendall(message[:1])
                client.sendall(message[1:])
        else:
            question, client = server.recvfrom(512)
            send = lambda message: server.sendto(message, client)
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind, = struct.unpack(">H", question[at + 1:at + 3])
        name = ".".join(labels)
        print(number, "tcp" if stream else "udp", {1: "A", 28: "AAAA"}[kind], name, flush=True)
        def head(flags, count=0, add=0):
            id = (struct.unpack(">H", question[:2])[0] + add) % 65536
            return struct.pack(">HHHHHH", id, flags, 1, count, 0, 0) + question[12:at + 5]
        def record(owner, kind, data):
            return owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
        def a(*addresses):
            return b"".join(record(b"\xc0\x0c", 1, address) for address in addresses)
        words = labels[0].split("-")
        word = words[number - 1] if number <= len(words) else words[-1]
        if kind == 28:
            send(head(0x8180))
        elif word == "ok":
            send(head(0x8180, 1) + a(HOME))
        elif word == "tc" and not stream:
            send(head(0x8380))
        elif word == "tc":
            # More than a datagram carries.
            send(head(0x8180, 40) + a(*[HOME] * 40))
        elif word == "half":
            # Truncated, and no TCP.
            send(head(0x8380, 1) + a(HOME)) if not stream else client.close()
        elif word == "plain":
            # Older than EDNS: additional records are too much for it.
            send(head(0x8180, 1) + a(HOME)) if question[11] == 0 else send(question[:2] + b"\x81\x81" + bytes(8))
        elif word == "forged":
            other = bytes([192, 0, 2, 66])
            send(head(0x8180, 1, add=1) + a(other))
            send((head(0x8180, 1) + a(other)).replace(labels[0].encode(), b"F" * len(labels[0])))
            send(head(0x0100, 1) + a(other))
            send(b"x" * 5)
            send(head(0x8180, 1) + a(HOME))
        elif word == "loop":
            send(head(0x8180, 1) + record(b"\xc0" + bytes([at + 5]), 1, HOME))
        elif word == "alias":
            send(head(0x8180, 1) + record(b"\xc0\x0c", 5, b"\x02ok\xc0" + bytes([13 + len(labels[0])])))
        elif word == "circle":
            send(head(0x8180, 1) + record(b"\xc0\x0c", 5, b"\xc0\x0c"))
        elif word == "dead":
            send(head(0x8180, 48) + a(*[bytes([192, 0, 2, 100 + n]) for n in range(48)])) if stream else send(head(0x8380))
        elif word == "last":
            send(head(0x8180, 48) + a(*[bytes([192, 0, 2, 100 + n]) for n in range(47)], HOME)) if stream else send(head(0x8380))
        elif word != "silent":
            send(head(0x8180 | {"servfail": 2, "none": 3, "notimp": 4, "refused": 5, "empty": 0}[word]))
        if stream:
            client.close()
for number in 1, 2:
    for family, address in (socket.AF_INET, f"192.0.2.{number}"), (socket.AF_INET6, f"fe80::{number}"):
        for stream in False, True:
            place = socket.getaddrinfo(f"{address}%far" if ":" in address else address, 53)[0][4]
            threading.Thread(target=serve, args=(number, place, family, stream)).start()
print("ready", flush=True)
"#;

/// A cable with the two servers at its other end, which also offer `file` by HTTP.
fn two_servers() -> (Far, Folder, Vec<Server>) {
    let far = Far::plug_in();
    far.run("ip address add 192.0.2.2/24 dev far");
    for address in ["fe80::1/64", "fe80::2/64"] {
        far.run(&format!("ip address add {address} dev far nodad"));
    }
    ip("link set near up");
    ip("address add 192.0.2.9/24 dev near");
    ip("address add fe80::9/64 dev near nodad");
    let folder = Folder::new();
    folder.offer("file", 100_000);
    let script = far.write("two.py", TWO_SERVERS);
    let names = far.serve(&format!("python3 {script}"), "ready");
    let web = far.serve_web(&folder.served());
    (far, folder, vec![names, web])
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn servers_of_all_kinds_lead_to_the_address_or_to_the_reason_why_not() {
    in_new_namespace(|| {
        let (_far, folder, servers) = two_servers();
        let target = folder.path("come");
        let fetch = |host: &str| {
            let url = format!("http://{host}/file");
            fetch_as(&["-i", "near", "-o", target.to_str().unwrap(), &url])
        };
        let resolv_conf = |text: &str| fs::write("/etc/resolv.conf", text).unwrap();
        let both = "nameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        let by_link = "nameserver fe80::1%near\nnameserver fe80::2%near\n";
        for servers in [both, by_link] {
            resolv_conf(&format!("{servers}search a.example boot.example\n"));
            for host in [
                "ok",
                "silent-ok.boot.example",
                "servfail-ok.boot.example",
                "refused-ok.boot.example",
                "notimp-ok.boot.example",
                "loop-ok.boot.example",
                "circle-ok.boot.example",
                "tc.boot.example",
                "half.boot.example",
                "plain.boot.example",
                "forged.boot.example",
                "alias.boot.example.",
                "last.boot.example",
            ] {
                let begun = Instant::now();
                let output = fetch(host);
                assert!(output.status.success(), "{servers}{host}: {output:?}");
                folder.is_whole("come", "file");
                fs::remove_file(&target).unwrap();
                // Longer than the limit of one lookup means that a second one was needed.
                assert!(begun.elapsed() < Duration::from_secs(9), "{servers}{host}");
            }
        }
        resolv_conf(both);
        for (host, expected) in [
            ("none.example", "no such name (said by 192.0.2.1)"),
            ("empty.example", "it has no address (said by 192.0.2.1)"),
            ("refused-none.example", "no such name (said by 192.0.2.2)"),
            (
                "servfail-refused.example",
                "no server has an answer (192.0.2.1 says SERVFAIL, 192.0.2.2 says REFUSED)",
            ),
        ] {
            let output = fetch(host);
            assert_eq!(output.status.code(), Some(7), "{output:?}");
            let expected = format!("file: name {host}: {expected} (wireboot-");
            assert!(said(&output).contains(&expected), "{expected}{output:?}");
        }
        // Nobody listens there: the kernel of the other side says so.
        resolv_conf("nameserver 192.0.2.9\nnameserver 192.0.2.1\n");
        assert!(fetch("ok.example").status.success());
        resolv_conf("");
        let expected =
            "name ok.example: there is no name server: /etc/resolv.conf has none (wireboot-";
        let output = fetch("ok.example");
        assert!(said(&output).contains(expected), "{output:?}");
        // What needs no server.
        fs::write("/etc/hosts", "192.0.2.1 ok.example\n").unwrap();
        assert!(fetch("OK.example.").status.success());
        assert!(fetch("192.0.2.1").status.success());
        drop(servers);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn silent_servers_and_dead_addresses_hold_a_fetch_for_a_limited_time() {
    in_new_namespace(|| {
        let (_far, folder, _servers) = two_servers();
        let target = folder.path("come");
        let target = target.to_str().unwrap();
        let fetch = |servers: &str, words: &[&str]| {
            fs::write("/etc/resolv.conf", servers).unwrap();
            let begun = Instant::now();
            let output = fetch_as(&[&["-i", "near", "-o", target], words].concat());
            (output, begun.elapsed().as_secs())
        };
        let both = "nameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        // Four attempts of 10 s each, with pauses.
        let (output, seconds) = fetch(both, &["http://silent.example/file"]);
        let expected = "name silent.example: no server answered (192.0.2.1, 192.0.2.2) (wireboot-";
        assert!(said(&output).contains(expected), "{output:?}");
        assert!(seconds < 55, "{seconds}");
        // Then the next mirror: after 5 s by TCP, and after 30 s for all addresses by TFTP.
        for (mirror, limit) in [
            ("http://silent.example/file", 20),
            ("http://dead.example/file", 20),
            ("tftp://dead.example/file", 45),
        ] {
            let words = ["--mirrors", mirror, "http://192.0.2.1/file"];
            let (output, seconds) = fetch(both, &words);
            assert!(output.status.success(), "{mirror}: {output:?}");
            assert!(seconds < limit, "{mirror}: {seconds}");
        }
        // Servers at which nobody is: each is waited for, the last one answers.
        let dead: String = (70..76)
            .map(|host| format!("nameserver 192.0.2.{host}\n"))
            .collect();
        let (output, _) = fetch(&format!("{dead}{both}"), &["http://ok.example/file"]);
        assert!(output.status.success(), "{output:?}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and python3"]
fn a_boot_asks_the_servers_of_its_lease_alone_and_says_where_it_has_none() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let name = "--dhcp-boot=http://files.boot.example/boot.ipxe";
        let without = format!("--dhcp-option=6 {name}");
        fs::write("/etc/resolv.conf", "").unwrap();
        let boot = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command.args(["boot", "-i", "near", "--unattended", "--stop-after", "plan"]);
            command.output().unwrap()
        };
        let server = dnsmasq(&far, &without);
        let output = boot();
        let expected =
            "name files.boot.example: there is no name server: the lease has none (wireboot-";
        assert!(said(&output).contains(expected), "{output:?}");
        drop(server);
        // Not in the network namespace of process 1, so that /etc/resolv.conf stays as it is.
        let _leases = dnsmasq(&far, &format!("--dhcp-option=6,192.0.2.1 {name}"));
        let folder = Folder::new();
        fs::write(folder.served().join("boot.ipxe"), "#!ipxe\nexit\n").unwrap();
        let _names = far.serve_names();
        let _web = far.serve_web(&folder.served());
        assert_eq!(boot().status.code(), Some(10));
    });
}

/// Runs `wireboot fetch` with these arguments.
fn fetch_as(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.arg("fetch").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
