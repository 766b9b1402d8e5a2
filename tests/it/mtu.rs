//! An MTU with which a driver begins anew: one whose carrier returns, and one whose carrier does
//! not. The other end of the cable stands in for the driver, and goes down the moment that the MTU is
//! set.

use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::client::{addresses, is_configured, json, keep};
use crate::common::far::{Far, Server};
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, wait_until};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, gettid};
use wireboot::sys;
use wireboot::sys::netlink::{LinkSubscription, Notifications, RouteSocket};
use wireboot_proto::netlink::request::NetlinkRequest;
use wireboot_proto::netlink::route::RouteMessage;

/// What every server here sets.
const LEASED: u32 = 1400;
const BEFORE: u32 = 1500;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_mtu_with_which_the_carrier_does_not_return_is_set_back_and_the_lease_goes_on() {
    in_new_namespace(|| {
        use_one_processor();
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let driver = drop_carrier(&far, |news| wait_for_mtu(news, BEFORE));
        let client = keep(&[]);
        client.wait_for("near: no carrier with the new MTU; restoring the old one");
        driver.join().unwrap();
        assert_eq!(addresses(), ["192.0.2.100"]);
        // The link returned, so the address is confirmed, and with it comes the MTU again.
        wait_until("it is confirmed", || asked(&server)[1] >= 2);
        let [discovers, acks] = asked(&server);
        client.signal(Signal::SIGHUP);
        wait_until("it is renewed", || asked(&server)[1] > acks);
        client.wait_for("192.0.2.100/24 from 192.0.2.1");
        assert_eq!(asked(&server)[0], discovers);
        assert_eq!(addresses(), ["192.0.2.100"]);
        assert_eq!(mtu(), BEFORE);
        assert_eq!(client.count("restoring the old one"), 1);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_mtu_with_which_the_carrier_returns_in_time_stays() {
    in_new_namespace(|| {
        use_one_processor();
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let (gone, is_gone) = channel();
        let (give, is_given) = channel();
        let driver = drop_carrier(&far, move |_| {
            gone.send(()).unwrap();
            is_given.recv().unwrap();
        });
        let client = keep(&[]);
        is_gone.recv().unwrap();
        wait_until("the client waits for the carrier", || is_waiting(&client));
        give.send(()).unwrap();
        driver.join().unwrap();
        client.wait_for("192.0.2.100/24 from 192.0.2.1");
        is_configured();
        assert_eq!(client.count("restoring the old one"), 0);
    });
}

/// Takes the carrier of `near` away the moment that it has the leased MTU, and gives it back when
/// `wait` returns.
///
/// The client looks for the carrier a few microseconds after it has set the MTU. Between these two, the
/// kernel wakes this thread, which goes before the client on their only processor.
fn drop_carrier(
    far: &Far,
    wait: impl FnOnce(&mut LinkSubscription) + Send + 'static,
) -> JoinHandle<()> {
    let mut news = LinkSubscription::open().unwrap();
    let (ready, is_ready) = channel();
    let driver = far.enter(move || {
        let mut socket = RouteSocket::open().unwrap();
        let links = socket.links().unwrap();
        let index = links.iter().find(|link| link.name == "far").unwrap().index;
        let mut set = |up| socket.change(&NetlinkRequest::SetUp { index, up }).unwrap();
        go_first();
        ready.send(()).unwrap();
        wait_for_mtu(&mut news, LEASED);
        set(false);
        wait(&mut news);
        set(true);
    });
    is_ready.recv().unwrap();
    driver
}

/// Waits until the kernel tells that `near` has an MTU.
fn wait_for_mtu(news: &mut LinkSubscription, mtu_octets: u32) {
    let deadline = sys::now() + Duration::from_secs(30);
    loop {
        sys::wait_readable(&[news.as_fd()], Some(deadline)).unwrap();
        assert!(sys::now() < deadline, "never: an MTU of {mtu_octets}");
        let Notifications::Changes(messages) = news.take().unwrap() else {
            continue;
        };
        let is_there = |message: &RouteMessage| {
            matches!(message, RouteMessage::NewLink(link)
                if link.name == "near" && link.mtu_octets == Some(mtu_octets))
        };
        if messages.iter().any(is_there) {
            return;
        }
    }
}

/// Keeps this thread, and what it starts from now on, on one processor.
fn use_one_processor() {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut processors = 0..CpuSet::count();
    let first = processors.find(|place| allowed.is_set(*place).unwrap());
    let mut one = CpuSet::new();
    one.set(first.expect("we run on one")).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

/// Has this thread run whenever it can, before those that have no such priority.
fn go_first() {
    let thread = gettid().to_string();
    let status = Command::new("chrt")
        .args(["-f", "-p", "1", &thread])
        .status();
    assert!(status.unwrap().success(), "CAP_SYS_NICE");
}

/// Returns whether the client sleeps while it listens to changes of links a second time.
fn is_waiting(client: &Server) -> bool {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let group = |line: &&str| line.split_whitespace().nth(3) == Some("00000001");
    // One of the three is the driver's.
    let listens = sockets.lines().filter(group).count() == 3;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", client.pid())).unwrap();
    listens && stat.contains(") S ")
}

/// Returns how many DISCOVERs the server has logged, and how many ACKs.
fn asked(server: &Server) -> [usize; 2] {
    ["DHCPDISCOVER", "DHCPACK"].map(|name| server.count(name))
}

fn mtu() -> u32 {
    let mtu = json("-j link show near")[0]["mtu"].as_u64();
    mtu.and_then(|mtu| u32::try_from(mtu).ok()).unwrap()
}
