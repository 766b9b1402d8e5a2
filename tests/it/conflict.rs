//! Another host has the address (RFC 5227): found while the server is asked, declined, and later
//! defended once; against real servers in network namespaces.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::client::{
    addresses, is_as_it_was, is_configured, json, keep, last_line, lease, wireboot,
};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::{Far, Server};
use crate::common::servers::{dhcpd, dnsmasq, kea_at_once};
use crate::common::{in_new_namespace, ip, wait_until};
use wireboot::sys::filter::ready::arp_about;
use wireboot::sys::packet::PacketSocket;
use wireboot_proto::packet::arp::{ArpPacket, Operation};
use wireboot_proto::packet::ethernet::MacAddress;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_that_another_host_has_is_declined_and_another_one_taken() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        far.run("ip address add 192.0.2.100/32 dev far");
        let mac = json("-j link show near")[0]["address"].clone();
        // By unicast the server would speak to the other host, with which it shares its kernel.
        let more = format!(
            "--dhcp-broadcast --dhcp-host={},192.0.2.100
            --dhcp-range=192.0.2.101,192.0.2.101,255.255.255.0,1h",
            mac.as_str().unwrap()
        );
        let server = dnsmasq(&far, &more);
        let client = keep(&[]);
        server.wait_for("DHCPDECLINE(far) 192.0.2.100");
        client.wait_for("192.0.2.100 was granted, but");
        assert_eq!(addresses(), Vec::<String>::new());
        wait_until("it has another", || addresses() == ["192.0.2.101"]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_conflict_is_in_the_log_of_isc_dhcpd_and_ends_with_its_own_exit_code() {
    declines(|far| dhcpd(far, ""), "DHCPDECLINE of 192.0.2.100");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_conflict_is_in_the_log_of_kea_and_ends_with_its_own_exit_code() {
    declines(kea_at_once, "DHCP4_DECLINE_LEASE ");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_that_is_claimed_later_is_defended_once_and_then_declined() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let client = keep(&["-v"]);
        client.wait_for("from 192.0.2.1");
        // Both announcements have been sent.
        wait_until("it is announced", || {
            client.count("ARP about 192.0.2.100") == 3
        });
        far.run("ip address add 192.0.2.100/32 dev far");
        let claim = "busybox arping -U -c 1 -w 1 -I far 192.0.2.100";
        far.output(claim);
        wait_until("it is defended", || {
            client.count("ARP about 192.0.2.100") == 4
        });
        assert_eq!(addresses(), ["192.0.2.100"]);
        far.output(claim);
        server.wait_for("DHCPDECLINE(far) 192.0.2.100");
        wait_until("the address is gone", || addresses().is_empty());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn strict_detection_takes_seconds_and_finds_the_same_conflict() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "");
        let begun_at = Instant::now();
        assert_eq!(wireboot(&["--acd", "strict"]).0, Some(0));
        assert!(begun_at.elapsed() >= Duration::from_secs(4));
        is_configured();
        ip("address flush dev near");
        far.run("ip address add 192.0.2.100/32 dev far");
        let (code, text) = wireboot(&["--acd", "strict", "--timeout", "5"]);
        assert_eq!(code, Some(4), "{text}");
        server.wait_for("DHCPDECLINE of 192.0.2.100");
    });
}

/// Whose answer to the probe comes after the address was set.
#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_neighbour_that_answers_after_two_milliseconds_is_noticed_each_time() {
    // Where a busy machine makes the neighbour late, it is no such neighbour.
    let late = Arc::new(AtomicUsize::new(0));
    let mut rounds = 0;
    while rounds < 5 + late.load(Ordering::Relaxed).min(20) {
        rounds += 1;
        let late = Arc::clone(&late);
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = ScriptedDhcp::start(&far, |question| {
                let answer = grant(question);
                let frame = answer.map(|answer| framed(&answer, 67));
                frame.into_iter().collect()
            });
            let neighbour = Neighbour::start(&far, Duration::from_millis(2));
            let (code, said) = wireboot(&["--timeout", "3"]);
            if neighbour.may_be_later_than(Duration::from_millis(6)) {
                late.fetch_add(1, Ordering::Relaxed);
                return;
            }
            assert_eq!(code, Some(4), "{said}");
            assert!(said.contains("192.0.2.100 was granted, but"), "{said}");
            is_as_it_was();
            let (code, said) = wireboot(&["--acd", "off"]);
            assert_eq!(code, Some(0), "{said}");
        });
    }
    assert!(
        rounds - late.load(Ordering::Relaxed) >= 5,
        "late in {rounds} rounds"
    );
}

/// Claims each address that is asked about, as another host each time, once the server has granted it.
const CLAIMS: &str = "
import os, socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806))
s.bind(('far', 0x806))
while True:
    frame = s.recv(100)
    if frame[20:22] != b'\\0\\1' or frame[38:42] == b'\\xc0\\0\\2\\1': continue
    own = b'\\x02\\0\\0' + os.urandom(3)
    time.sleep(0.002)
    head = b'\\xff' * 6 + own + b'\\x08\\x06' + b'\\0\\1\\x08\\0\\6\\4\\0\\2'
    s.send(head + own + frame[38:42] + frame[22:32])
";

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn a_lease_is_not_waited_for_without_end_where_each_address_is_claimed() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let script = far.write("claims.py", CLAIMS);
        let _claims = far.start(&format!("python3 {script}"));
        let more = "--dhcp-range=192.0.2.101,192.0.2.199,255.255.255.0,1h";
        let _server = dnsmasq(&far, more);
        let begun_at = Instant::now();
        // Longer than the ten seconds between a DECLINE and the next DISCOVER.
        let (code, said) = wireboot(&["--timeout", "12"]);
        assert!(begun_at.elapsed() < Duration::from_secs(60), "{said}");
        // A claim that comes too late is not noticed.
        assert!(matches!(code, Some(0 | 4)), "{code:?}: {said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_client_that_stays_and_a_boot_notice_a_neighbour_that_takes_longer() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = ScriptedDhcp::start(&far, |question| {
            let answer = grant(question);
            let frame = answer.map(|answer| framed(&answer, 67));
            frame.into_iter().collect()
        });
        let _neighbour = Neighbour::start(&far, Duration::from_millis(200));
        let client = keep(&[]);
        client.wait_for("192.0.2.100 was granted, but");
        wait_until("the address is gone", || addresses().is_empty());
        drop(client);
        let program = env!("CARGO_BIN_EXE_wireboot");
        let mut command = Command::new(program);
        // Nobody serves that file, so that the boot lasts for a while.
        let boot = ["boot", "-i", "near", "--boot-file", "http://192.0.2.1/file"];
        let boot = Server::start(command.args(boot));
        boot.wait_for("192.0.2.100 was granted, but");
        wait_until("the address is gone", || addresses().is_empty());
    });
}

/// A host on `far` that has 192.0.2.100 and answers ARP after a while.
struct Neighbour {
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    /// The longest that an answer may have taken, in microseconds.
    slowest: Arc<AtomicUsize>,
}

impl Neighbour {
    fn start(far: &Far, delay: Duration) -> Self {
        const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
        let mac = MacAddress([2, 0, 0, 0, 0, 9]);
        let (stop, stopped) = mpsc::channel();
        let (listens, listening) = mpsc::channel();
        let slowest = Arc::new(AtomicUsize::new(0));
        let slowest_here = Arc::clone(&slowest);
        let thread = far.enter(move || {
            let index = nix::net::if_::if_nametoindex("far").unwrap();
            let socket = PacketSocket::open(index, &arp_about(ADDRESS)).unwrap();
            listens.send(()).unwrap();
            let mut buf = [0; 128];
            let mut nothing_at = Instant::now();
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let looked_at = Instant::now();
                let Ok(Some(received)) = socket.recv(&mut buf) else {
                    nothing_at = looked_at;
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                };
                let asked = ArpPacket::decode_frame(&buf[..received.len]);
                let Some(asked) = asked.ok().filter(|asked| asked.spa.is_unspecified()) else {
                    continue;
                };
                std::thread::sleep(delay);
                let answer = ArpPacket {
                    operation: Operation::Reply,
                    sha: mac,
                    spa: ADDRESS,
                    tha: asked.sha,
                    tpa: asked.spa,
                };
                let _ = socket.send(&answer.encode_frame());
                let took = nothing_at.elapsed().as_micros().try_into().unwrap();
                slowest_here.fetch_max(took, Ordering::Relaxed);
            }
        });
        listening.recv().unwrap();
        Self {
            thread: Some((stop, thread)),
            slowest,
        }
    }

    fn may_be_later_than(&self, time: Duration) -> bool {
        Duration::from_micros(self.slowest.load(Ordering::Relaxed) as u64) > time
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Is granted an address that another host has.
fn declines(server: impl FnOnce(&Far) -> Server + Send + 'static, logged: &'static str) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        far.run("ip address add 192.0.2.100/32 dev far");
        let server = server(&far);
        let output = lease("3").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(last_line(&output).contains("192.0.2.100 was granted, but"));
        server.wait_for(logged);
        is_as_it_was();
    });
}
