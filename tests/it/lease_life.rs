//! What a client that stays does when servers and other programs do not do their part, and a download
//! when the address changes, against real servers, each test in network namespaces of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::client::{address_changes, addresses, boot, is_as_it_was, keep, slow_kernel};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::{Far, Server};
use crate::common::servers::{DNSMASQ, dhcpd, dnsmasq, drop_acknowledgements, nginx, nginx_by_tls};
use crate::common::tftp::tftpd_hpa;
use crate::common::{in_new_namespace, ip, wait_until};
use crate::privileges::children;
use nix::sys::signal::Signal;
use wireboot_proto::packet::option::code;

const TEN_SECONDS: &str = "max-lease-time 10; min-lease-time 10;";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_falls_silent_is_told_of_once_and_again_when_it_answers() {
    for boots in [false, true] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = dhcpd(&far, TEN_SECONDS);
            let _http = nginx(&far, &slow_kernel(&far, 2_500_000));
            let client = if boots {
                boot(&["--boot-file", "http://192.0.2.1/script"])
            } else {
                keep(&[])
            };
            client.wait_for("192.0.2.100/24 from 192.0.2.1 for 10 s");
            drop(server);
            client.wait_for("near: no server extends the lease, which ends in 3 s; asking on");
            let server = dhcpd(&far, TEN_SECONDS);
            client.wait_for("near: 192.0.2.1 answers: the lease goes on");
            let granted = server.count("DHCPACK");
            wait_until("it is renewed", || server.count("DHCPACK") > granted);
            for told in ["no server extends", "answers: the lease goes on"] {
                assert_eq!(client.count(told), 1, "{told}");
            }
            assert_eq!(client.count("the lease has expired"), 0);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_a_second_is_kept_without_a_flood_whatever_its_t1_and_t2_are() {
    for (lease, t1, t2) in [(1_u32, 0_u32, 0_u32), (1, 9, 4), (4, 9, 9)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = ScriptedDhcp::start(&far, move |question| {
                let answer = grant(question).map(|mut answer| {
                    for (code, seconds) in [
                        (code::LEASE_TIME, lease),
                        (code::RENEWAL_TIME, t1),
                        (code::REBINDING_TIME, t2),
                    ] {
                        answer.options.set(code, seconds.to_be_bytes());
                    }
                    framed(&answer, 67)
                });
                answer.into_iter().collect()
            });
            let changes = address_changes();
            let client = keep(&[]);
            wait_until("it has its address", || addresses() == ["192.0.2.100"]);
            server.asked();
            std::thread::sleep(Duration::from_secs(8));
            // At half of the time.
            let asked = server.asked().len();
            assert!((2..=6).contains(&asked), "{asked} for {lease} s");
            assert_eq!(changes.count("Deleted"), 0);
            assert_eq!(client.count("expired"), 0);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_route_that_somebody_removes_is_set_again() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let words = far.write("words", "rd.route=203.0.113.0/24:192.0.2.9:near");
        let client = keep(&["--kernel-command-line", &words]);
        client.wait_for("from 192.0.2.1");
        let routes = || ip("-4 route show proto dhcp");
        wait_until("it has its routes", || routes().lines().count() == 3);
        let (all, changes) = (routes(), address_changes());
        let requests = server.count("DHCPREQUEST");
        for (route, told) in [
            (
                "default via 192.0.2.1",
                "the route to 0.0.0.0/0 via 192.0.2.1",
            ),
            (
                "198.51.100.0/24",
                "the route to 198.51.100.0/24 via 192.0.2.2",
            ),
            (
                "203.0.113.0/24",
                "the route to 203.0.113.0/24 via 192.0.2.9",
            ),
        ] {
            ip(&format!("route del {route}"));
            client.wait_for(&format!("somebody has removed {told}, which is set again"));
            wait_until("it is there again", || routes() == all);
        }
        // Nobody tells of the routes of an interface that is set down.
        client.forget();
        ip("link set near down");
        client.wait_for("the carrier is gone");
        drop(server);
        ip("link set near up");
        client.wait_for("somebody has removed");
        wait_until("they are there again", || routes() == all);
        // What others have is nothing to it.
        client.forget();
        ip("route add 198.18.0.0/24 via 192.0.2.3");
        ip("route del 198.18.0.0/24");
        ip("route add 198.18.0.0/24 via 192.0.2.3 proto dhcp");
        ip("route del 198.18.0.0/24");
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(client.count("somebody has removed"), 0);
        assert_eq!((changes.count("Deleted"), requests), (0, 1));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_route_that_is_removed_as_fast_as_it_is_set_is_not_fought_for() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            if ip("-4 route show default").contains("192.0.2.1") {
                ip("route del default");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        wait_until("it is there", || !ip("-4 route show default").is_empty());
        let count = client.count("somebody has removed the route");
        assert!((3..=7).contains(&count), "{count}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_is_ended_by_the_end_of_its_terminal_and_leaves_its_timeline_but_not_by_sigusr2() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        far.write(
            "script",
            "#!ipxe\necho begun\nsleep 1\necho waiting\nsleep 60\n",
        );
        let _http = nginx(&far, &far.folder);
        for with_lease in [true, false] {
            let mut boot = if with_lease {
                let boot = boot(&["--boot-file", "http://192.0.2.1/script"]);
                boot.wait_for("begun");
                boot
            } else {
                drop_acknowledgements(&far);
                let boot = boot(&["--boot-file", "x", "-v"]);
                boot.wait_for("REQUEST");
                boot
            };
            boot.signal(Signal::SIGUSR2);
            boot.wait_for(if with_lease {
                "waiting"
            } else {
                "near: SELECTING"
            });
            boot.signal(Signal::SIGHUP);
            assert_eq!(boot.exit_code(), Some(129));
            boot.wait_for("wireboot: interrupted");
            is_as_it_was();
            let timeline = std::fs::read_to_string("/run/wireboot/account.txt").unwrap();
            let is_end = |line: &str| line.ends_with("  interrupted");
            assert!(timeline.lines().any(is_end), "{timeline}");
            assert_eq!(timeline.contains("192.0.2.1/script: complete"), with_lease);
        }
        assert_eq!(server.count("DHCPRELEASE"), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_that_reckons_without_a_pause_is_ended_by_ctrl_c_at_once() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        // What takes longest within the budget: some half a second, and in a test ten times that.
        let long = format!("set a {}", "0".repeat(65_000));
        let words = "${a:guid}".repeat(900);
        far.write(
            "script",
            &format!("#!ipxe\necho begun\n{long}\n:l\nset b {words}\ngoto l\n"),
        );
        let ways = "a|".repeat(990);
        far.write(
            "grub.cfg",
            &format!("echo begun\nwhile true; do regexp '{ways}' x; done\n"),
        );
        let _http = nginx(&far, &far.folder);
        for (file, sandbox) in [
            ("script", "on"),
            ("script", "off"),
            ("grub.cfg", "on"),
            ("grub.cfg", "off"),
        ] {
            let url = format!("http://192.0.2.1/{file}");
            let mut boot = boot(&["--boot-file", &url, "--sandbox", sandbox]);
            boot.wait_for("begun");
            let workers = children(boot.pid());
            assert_eq!(workers.is_empty(), sandbox == "off", "{workers:?}");
            let begun_at = Instant::now();
            boot.signal(Signal::SIGINT);
            assert_eq!(boot.exit_code(), Some(130), "{file}, sandbox {sandbox}");
            assert!(begun_at.elapsed() < Duration::from_secs(10));
            boot.wait_for("wireboot: interrupted");
            is_as_it_was();
            wait_until("its workers end", || {
                let mut left = workers.iter();
                left.all(|pid| std::fs::metadata(format!("/proc/{pid}")).is_err())
            });
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_download_by_http_goes_on_from_another_address() {
    goes_on_over_http(nginx, "http://192.0.2.1/script");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_download_by_https_goes_on_from_another_address() {
    goes_on_over_http(nginx_by_tls, "https://192.0.2.1/script");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_download_by_tftp_goes_on_from_another_address() {
    let tftp = |far: &Far, folder: &Path| tftpd_hpa(far, folder.to_str().unwrap());
    goes_on_from_another_address(tftp, "tftp://192.0.2.1/script");
}

/// As [`goes_on_from_another_address`]; what has been received is not asked for again.
fn goes_on_over_http(server: fn(&Far, &Path) -> Server, url: &'static str) {
    let log = goes_on_from_another_address(server, url);
    let log = log.lines().filter(|line| line.contains("GET /kernel"));
    let log: Vec<_> = log.collect();
    assert!(log.iter().any(|line| line.contains("\" 206 ")), "{log:#?}");
}

/// Has a boot fetch `url` over a slow network, whose DHCP server is replaced meanwhile by one that
/// refuses the address and grants another; returns the server's log.
fn goes_on_from_another_address(
    server: impl FnOnce(&Far, &Path) -> Server + Send + 'static,
    url: &'static str,
) -> String {
    let (send, receive) = std::sync::mpsc::channel();
    in_new_namespace(move || {
        let far = Far::plug_in();
        let first = dhcpd(&far, "max-lease-time 6; min-lease-time 6;");
        let _files = server(&far, &slow_kernel(&far, 2_000_000));
        let certificate = far.folder.join("own.pem");
        let mut arguments = vec!["--boot-file", url];
        if certificate.exists() {
            arguments.extend(["--ca", certificate.to_str().unwrap()]);
        }
        let mut boot = boot(&arguments);
        boot.wait_for("near: 192.0.2.100/24 from 192.0.2.1 for 6 s");
        drop(first);
        let range = "--dhcp-range=192.0.2.150,192.0.2.150,255.255.255.0,1h";
        let second = far.serve(
            &format!("{DNSMASQ} --dhcp-authoritative {range}"),
            "DHCP, IP range",
        );
        second.wait_for("DHCPNAK(far) 192.0.2.100");
        boot.wait_for("near: 192.0.2.150/24 from 192.0.2.1");
        // The progress stands still meanwhile, and people are told why.
        let again = "the address has changed; asking again for the file, of which";
        if url.starts_with("tftp") {
            boot.wait_for(again);
        }
        boot.wait_for("kernel: 1953 KiB in");
        assert_eq!(addresses(), ["192.0.2.150"]);
        boot.wait_for(
            "the command line names 192.0.2.100, which is no longer this machine's address: that \
             is 192.0.2.150",
        );
        assert_eq!(boot.exit_code(), Some(0));
        let log = std::fs::read_to_string(far.folder.join("access.log"));
        send.send(log.unwrap_or_default()).unwrap();
    });
    receive.recv().unwrap()
}
