//! What a boot tells others of itself: its account a web server, its messages a log server.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use wireboot_proto::format::kernel_image::fixture::bz_image;

use crate::common::client::{boot_command, output};
use crate::common::far::{Far, Server};
use crate::common::scripted::head;
use crate::common::servers::{dnsmasq, nginx_with};
use crate::common::{in_new_namespace, wait_until};

/// What a server of the far end has received.
const LIMIT: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn each_step_and_a_failure_are_reported_with_the_account_and_the_last_frames() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let reports = web_server(&far, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let _server = boot_server(&far);
        let (code, _, said) = boot("kernel", &["--report", URL]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(
            steps(&reports, 3),
            ["lease", "plan", "image"].map(str::to_owned)
        );
        let (code, _, said) = boot("missing", &["--report", URL]);
        assert_eq!(code, Some(6), "{said}");
        let mut last = Value::Null;
        while last["step"] != "failed" {
            last = reports.recv_timeout(LIMIT).unwrap();
        }
        let error = last["error"].as_str().unwrap();
        assert!(
            error.contains("192.0.2.1/missing: the server has no such file"),
            "{error}"
        );
        assert!(last["mac"].as_str().unwrap().len() == 17 && last["interface"] == "near");
        assert_eq!(last["address"], "192.0.2.100");
        assert_eq!(last["steps"][0]["step"], "lease");
        // The magic of pcapng, 0a 0d 0d 0a.
        assert!(
            last["frames"].as_str().unwrap().starts_with("Cg0NC"),
            "{last}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn a_server_of_reports_that_is_dead_costs_no_time_and_one_that_refuses_is_asked_once() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = boot_server(&far);
        let (plain, _) = timed(&[]);
        for command in [
            "nft add table ip filter",
            "nft add chain ip filter in { type filter hook input priority 0 ; }",
            "nft add rule ip filter in tcp dport 8000 drop",
            "nft add rule ip filter in udp dport 514 drop",
        ] {
            far.run(command);
        }
        let (dead, said) = timed(&["--report", URL, "--syslog", "192.0.2.1"]);
        assert!(
            dead < plain + Duration::from_secs(2),
            "{dead:?} {plain:?}: {said}"
        );
        far.run("nft flush ruleset");
        let reports = web_server(&far, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        let (_, said) = timed(&["--report", URL]);
        assert!(
            said.contains("warning: no more reports: http://192.0.2.1:8000/boots"),
            "{said}"
        );
        assert_eq!(steps(&reports, 1), ["lease"]);
        assert!(reports.recv_timeout(Duration::from_millis(500)).is_err());
        let (code, _, said) = boot("kernel", &["--report", "tftp://192.0.2.1/r"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("--report takes an http:// or https:// URL"),
            "{said}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn messages_go_to_the_log_server_of_the_lease_or_to_the_one_that_is_named() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let [named, of_lease] = [5514, 514].map(|port| log_server(&far, port));
        let _server = boot_server(&far);
        let (code, _, said) = boot("missing", &[]);
        assert_eq!(code, Some(6), "{said}");
        let mut log = Vec::new();
        while !log
            .last()
            .is_some_and(|line: &String| line.contains("error: "))
        {
            log.push(of_lease.recv_timeout(LIMIT).unwrap());
        }
        // From before there was an address.
        assert!(log[0].contains("near: carrier"), "{log:?}");
        for (line, severity) in [(&log[0], 6), (log.last().unwrap(), 3)] {
            // RFC 5424 §6: facility 3, version, no time, host, program, process.
            let begin = format!("<{}>1 - 192.0.2.100 wireboot ", 24 + severity);
            assert!(line.starts_with(&begin), "{line}");
            let rest = line
                .strip_prefix(&begin)
                .unwrap()
                .split_once(" - - ")
                .unwrap();
            assert!(rest.0.parse::<u32>().is_ok(), "{line}");
        }
        let last = log.last().unwrap();
        assert!(
            last.contains("missing: the server has no such file"),
            "{last}"
        );
        let (code, _, said) = boot("kernel", &["--no-request", "7"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(of_lease.try_recv().is_err());
        let (code, _, said) = boot("kernel", &["--syslog", "192.0.2.1:5514"]);
        assert_eq!(code, Some(0), "{said}");
        let line = named.recv_timeout(LIMIT).unwrap();
        assert!(line.contains("near: carrier"), "{line}");
        assert!(of_lease.try_recv().is_err());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and nginx"]
fn nginx_takes_reports_and_one_that_refuses_them_costs_no_time() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = boot_server(&far);
        let log = far.folder.join("access.log");
        let directives = "listen 192.0.2.1:8000;
            location /boots { return 204; }
            location /broken { return 500; }";
        let _web = nginx_with(&far, &far.folder, directives);
        let begun = Instant::now();
        let (code, _, said) = boot("kernel", &["--report", URL]);
        let accepted = begun.elapsed();
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains("no more reports"), "{said}");
        let posts = |path: &str| {
            let log = std::fs::read_to_string(&log).unwrap();
            log.matches(&format!("\"POST {path} HTTP/1.1\"")).count()
        };
        wait_until("all reports are in the log", || posts("/boots") == 3);
        for (path, why) in [("/access.log", "405"), ("/broken", "500")] {
            let url = format!("http://192.0.2.1:8000{path}");
            let begun = Instant::now();
            let (code, _, said) = boot("kernel", &["--report", &url]);
            assert_eq!(code, Some(0), "{said}");
            assert!(
                begun.elapsed() < accepted + Duration::from_secs(2),
                "{path}: {said}"
            );
            let warnings: Vec<_> = said
                .lines()
                .filter(|line| line.contains("no more reports: "))
                .collect();
            assert_eq!(warnings.len(), 1, "{said}");
            let expected = format!("warning: no more reports: {url}: the server answers {why}");
            assert!(warnings[0].contains(&expected), "{said}");
            assert_eq!(posts(path), 1, "{path}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and rsyslog"]
fn rsyslog_gets_every_message_by_udp_and_by_tcp() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = boot_server(&far);
        let log = far.folder.join("log");
        let config = format!(
            "module(load=\"imudp\")
            module(load=\"imtcp\")
            input(type=\"imudp\" port=\"5514\")
            input(type=\"imtcp\" port=\"5514\")
            template(name=\"t\" type=\"string\"
                string=\"%inputname% %hostname% %app-name% %syslogfacility-text% %syslogseverity-text%:%msg%\\n\")
            action(type=\"omfile\" file=\"{}\" template=\"t\")",
            log.display()
        );
        let config = far.write("rsyslog.conf", &config);
        let pid = far.folder.join("rsyslog.pid");
        let _rsyslog = far.start(&format!("rsyslogd -n -f {config} -i {}", pid.display()));
        wait_until("rsyslog listens", || {
            let sockets = far.output("ss --listening --tcp --udp --numeric");
            sockets.matches(":5514").count() >= 2
        });
        for (transport, server) in [
            ("imudp", "192.0.2.1:5514"),
            ("imtcp", "tcp://192.0.2.1:5514"),
        ] {
            let (code, _, said) = boot("missing", &["--syslog", server]);
            assert_eq!(code, Some(6), "{said}");
            let begin = format!("{transport} 192.0.2.100 wireboot daemon ");
            let logged = || std::fs::read_to_string(&log).unwrap_or_default();
            wait_until("the error is in the log", || {
                logged().contains(&format!("{begin}err:error: "))
            });
            let lines = logged();
            let lines = lines.lines().filter(|line| line.starts_with(&begin));
            let texts: Vec<_> = lines
                .map(|line| line.split_once("info:").map_or(line, |(_, text)| text))
                .collect();
            // From before there was an address, and each message in a line of its own.
            assert!(texts[0].contains("near: carrier"), "{texts:?}");
            // The last one is behind the report of the error.
            let is_sent =
                |line: &&str| line.starts_with("wireboot: ") && !line.contains("failure.pcapng");
            let shown = said.lines().filter(is_sent);
            assert_eq!(texts.len(), shown.count(), "{texts:?}\n{said}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn a_log_server_by_tcp_that_is_dead_or_refuses_costs_no_time() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = boot_server(&far);
        let (plain, _) = timed(&[]);
        let (refused, _) = timed(&["--syslog", "tcp://192.0.2.1:601"]);
        for command in [
            "nft add table ip filter",
            "nft add chain ip filter in { type filter hook input priority 0 ; }",
            "nft add rule ip filter in tcp dport 514 drop",
        ] {
            far.run(command);
        }
        let (dead, _) = timed(&["--syslog", "tcp://192.0.2.1"]);
        let limit = plain + Duration::from_secs(2);
        assert!(
            refused < limit && dead < limit,
            "{plain:?} {refused:?} {dead:?}"
        );
        let (code, _, said) = boot("kernel", &["--syslog", "tcp://boot.example"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("not an address, ADDRESS:PORT or tcp://"),
            "{said}"
        );
    });
}

const URL: &str = "http://192.0.2.1:8000/boots";

/// Boots from this file of the server, up to the image.
fn boot(file: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let url = format!("tftp://192.0.2.1/{file}");
    let mut command = boot_command(&["--unattended", "--family", "4", "--boot-file", &url]);
    output(command.args(more))
}

fn boot_server(far: &Far) -> Server {
    let folder = far.folder.join("served");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("kernel"), bz_image()).unwrap();
    let folder = folder.display();
    let more = format!("--enable-tftp --tftp-root={folder} --dhcp-option=7,192.0.2.1");
    dnsmasq(far, &more)
}

fn steps(reports: &Receiver<Value>, count: usize) -> Vec<String> {
    let step = |_| reports.recv_timeout(LIMIT).expect("a report")["step"].clone();
    let steps = (0..count).map(step);
    steps
        .map(|step| step.as_str().unwrap().to_owned())
        .collect()
}

/// Starts a web server at the far end that gives this answer; returns what is posted.
fn web_server(far: &Far, answer: &'static str) -> Receiver<Value> {
    let (post, posts) = channel();
    let (ready, listening) = channel();
    far.enter(move || {
        let listener = TcpListener::bind("192.0.2.1:8000").unwrap();
        ready.send(()).unwrap();
        for mut stream in listener.incoming().map_while(Result::ok) {
            while let Some(request) = head(&mut stream) {
                assert!(request.starts_with("POST /boots HTTP/1.1\r\n"), "{request}");
                let field = |name: &str| {
                    let mut lines = request.lines();
                    lines.find_map(|line| line.strip_prefix(name).map(str::to_owned))
                };
                assert_eq!(field("Content-Type: ").unwrap(), "application/json");
                let len = field("Content-Length: ").unwrap().parse().unwrap();
                let mut body = vec![0; len];
                stream.read_exact(&mut body).unwrap();
                if post.send(serde_json::from_slice(&body).unwrap()).is_err() {
                    return;
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    listening.recv().unwrap();
    posts
}

/// Starts a log server at the far end; returns what is logged.
fn log_server(far: &Far, port: u16) -> Receiver<String> {
    let (line, lines) = channel();
    let (ready, listening) = channel();
    far.enter(move || {
        let socket = UdpSocket::bind(("192.0.2.1", port)).unwrap();
        ready.send(()).unwrap();
        let mut buf = [0; 2048];
        while let Ok(len) = socket.recv(&mut buf) {
            if line
                .send(String::from_utf8(buf[..len].to_vec()).unwrap())
                .is_err()
            {
                return;
            }
        }
    });
    listening.recv().unwrap();
    lines
}

/// Boots, and returns how long that took and what it said.
fn timed(more: &[&str]) -> (Duration, String) {
    let begun = Instant::now();
    let (code, _, said) = boot("kernel", more);
    assert_eq!(code, Some(0), "{said}");
    (begun.elapsed(), said)
}
