//! `wireboot fetch` from servers that have names, by the resolvers of a lease: with the C library of
//! the machine, and with the one in the static binary.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::client::at_home;
use crate::common::far::Far;
use crate::common::folder::Folder;
use crate::common::machine::shell;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip};

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and python3"]
fn a_name_is_looked_up_where_the_lease_says_and_each_of_its_addresses_is_tried() {
    let programs = programs();
    in_new_namespace(move || {
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
        let served = folder.served();
        let _web = far.serve(
            &format!("python3 -u -m http.server -b :: -d {} 80", served.display()),
            "Serving HTTP",
        );
        let client = at_home().args(["lease", "-i", "near"]).output().unwrap();
        assert!(client.status.success(), "{client:?}");
        ip("address add fd00::9/64 dev near nodad");

        for program in &programs {
            let fetch = |host: &str| {
                let mut command = Command::new(program);
                let url = format!("http://{host}/file");
                command.args(["fetch", "-o"]).arg(folder.path("come"));
                command.arg(url).output().unwrap()
            };
            for host in [
                "four.boot.example",
                "six.boot.example",
                "both.boot.example",
                "dead.boot.example",
                "gone.boot.example",
                "many.boot.example",
                "alias.boot.example",
                // By the domain of the lease.
                "four",
            ] {
                let output = fetch(host);
                assert!(output.status.success(), "{program} {host}: {output:?}");
                folder.is_whole("come", "file");
                std::fs::remove_file(folder.path("come")).unwrap();
            }
            let output = fetch("nobody.boot.example");
            assert_eq!(output.status.code(), Some(7), "{output:?}");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains("http://nobody.boot.example/file: "), "{text}");
        }
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
        let _names = far.serve(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --pid-file= --no-resolv --no-hosts
             --local=/boot.example/ --host-record=files.boot.example,192.0.2.1",
            "started",
        );
        let served = folder.served();
        let _web = far.serve(
            &format!("python3 -u -m http.server -d {} 80", served.display()),
            "Serving HTTP",
        );
        // It accepts connections, and says nothing.
        let silent = far.write(
            "silent.py",
            "import socket, time\n\
             server = socket.create_server((\"192.0.2.1\", 81))\n\
             print(\"ready\", flush=True)\n\
             time.sleep(300)\n",
        );
        let _silent = far.serve(&format!("python3 {silent}"), "ready");
        fs::write(
            served.join("boot.ipxe"),
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
        fs::write(served.join("vmlinuz"), kernel).unwrap();
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
    let programs = programs();
    in_new_namespace(move || {
        let far = Far::plug_in();
        far.run("ip address add fd00::1/64 dev far nodad");
        ip("link set near up");
        ip("address add 192.0.2.9/24 dev near");
        let folder = Folder::new();
        folder.offer("file", 100_000);
        fs::write("/etc/resolv.conf", "nameserver 192.0.2.1\n").unwrap();
        let script = far.write("names.py", NAME_SERVER);
        let names = far.serve(&format!("python3 {script}"), "ready");
        let served = folder.served();
        let _web = far.serve(
            &format!("python3 -u -m http.server -b :: -d {} 80", served.display()),
            "Serving HTTP",
        );
        let comes = |program: &str, host: &str| {
            let begun = Instant::now();
            let mut command = Command::new(program);
            command.args(["fetch", "-o"]).arg(folder.path("come"));
            let url = format!("http://{host}.boot.example/file");
            let output = command.arg(url).output().unwrap();
            assert!(output.status.success(), "{program} {host}: {output:?}");
            folder.is_whole("come", "file");
            fs::remove_file(folder.path("come")).unwrap();
            begun.elapsed()
        };
        let all_come = |program: &str| {
            for host in ["refused", "servfail", "silent", "notimp", "nxdomain"] {
                let passed = comes(program, host);
                // The C libraries wait for 5 s and more before they give up.
                assert!(passed < Duration::from_millis(4500), "{host}: {passed:?}");
            }
        };
        for program in &programs {
            names.forget();
            all_come(program);
            names.wait_for("A nxdomain");
            assert_eq!(names.count("AAAA"), 0, "{program}");
        }
        ip("address add fd00::9/64 dev near nodad");
        for program in &programs {
            names.forget();
            all_come(program);
            comes(program, "only6");
            comes(program, "broken4");
            names.wait_for("AAAA silent");
        }
    });
}

/// The program with glibc's resolver, and the static one with musl's.
fn programs() -> [String; 2] {
    [
        env!("CARGO_BIN_EXE_wireboot").to_owned(),
        shell("static_binary --no-default-features"),
    ]
}
