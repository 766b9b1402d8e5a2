//! Measures the packet layer on a veth in a network namespace of its own; `tests/bench/run` runs
//! it with the static binary.
//!
//! Numbers are printed and not asserted: they are the machine's as much as the program's. What
//! is asserted is that nothing was measured in vain.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;
use wireboot::sys::ring::{Layout, Ring, TransmitRing, Version};
use wireboot::sys::wait_readable;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::Datagram;

use crate::common::{in_new_namespace, ip, pair, wait_until};
use crate::figures::binary;

const FRAMES: u32 = 1_000_000;
const ROUNDS: usize = 5;
/// How often each way of reading has its turn, and with how many frames.
const DELAY_ROUNDS: usize = 15;
const DELAYS_A_ROUND: usize = 40;
/// How long foreign frames are sent while a lease is waited for.
const FLOOD_TIME: Duration = Duration::from_secs(5);

fn frame() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x52, 0x54, 0, 1, 2, 3, 0x88, 0xb5]);
    frame.resize(60, 0);
    frame
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN and tcpdump"]
fn capture_against_tcpdump_under_a_flood_of_small_frames() {
    in_new_namespace(|| {
        let (_, far) = pair();
        let wireboot = &binary();
        let ours = [wireboot, "capture", "-i", "near", "-w", "/dev/null"];
        // The same ring memory: 2 MiB.
        let theirs = [
            "tcpdump",
            "-Z",
            "root",
            "-n",
            "-B",
            "2048",
            "-i",
            "near",
            "-w",
            "/dev/null",
        ];
        let mut results: [Vec<Cost>; 2] = Default::default();
        for round in 1..=ROUNDS {
            for (command, results) in [&ours[..], &theirs[..]].iter().zip(&mut results) {
                results.push(flood(round, command, far));
            }
        }
        let [ours, theirs] = results.map(|mut costs| {
            costs.sort_by_key(|cost| cost.cpu);
            costs.swap_remove(ROUNDS / 2)
        });
        println!(
            "medians: {} and {} ns CPU a frame, {:.2} of tcpdump's; {} and {} wake-ups; \
             {} and {} frames lost",
            ours.cpu,
            theirs.cpu,
            ours.cpu as f64 / theirs.cpu as f64,
            ours.wakes,
            theirs.wakes,
            ours.lost,
            theirs.lost
        );
    });
}

/// What a program used in a round.
struct Cost {
    /// Nanoseconds of CPU a frame.
    cpu: u64,
    wakes: u64,
    lost: u64,
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN"]
fn a_lease_that_is_waited_for_under_a_flood_of_foreign_broadcasts() {
    in_new_namespace(|| {
        let (_, far) = pair();
        let child = Command::new(binary())
            .args(["lease", "-i", "near", "--timeout", "60", "--quiet"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        wait_until("it waits for an offer", || usage(pid).1 > 3);
        // A DHCP reply for another machine: all but its hardware address is what is waited for.
        let payload = {
            let mut message = vec![2, 1, 6, 0];
            message.resize(28, 0);
            message.extend([2, 0, 0, 0, 0, 9]);
            message.resize(236, 0);
            message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 2, 255]);
            message
        };
        let datagram = Datagram {
            source: SocketAddrV4::new([192, 0, 2, 1].into(), 67),
            destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
            payload: &payload,
        };
        let foreign = MacAddress([2, 0, 0, 0, 0, 9]);
        let frame = datagram
            .encode_frame(foreign, MacAddress::BROADCAST)
            .unwrap();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let (cpu, wakes) = usage(pid);
        let started = Instant::now();
        let mut sent = 0_u32;
        while started.elapsed() < FLOOD_TIME {
            // No faster than 100,000 frames a second.
            if f64::from(sent) < started.elapsed().as_secs_f64() * 100_000.0 {
                sender.send(&frame).unwrap();
                sent += 1;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let (cpu_now, wakes_now) = usage(pid);
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).unwrap();
        let _ = child.wait_with_output();
        println!(
            "lease under {:.0} foreign broadcasts/s: {} wake-ups and {:.3} % of a core in {seconds:.0} s",
            f64::from(sent) / seconds,
            wakes_now - wakes,
            (cpu_now - cpu) as f64 / 1e7 / seconds,
        );
        assert!(
            wakes_now - wakes < 1_000,
            "the kernel's filter lets them through"
        );
    });
}

/// Runs `command` under a flood that is sent to interface number `far`, and prints what it used.
fn flood(round: usize, command: &[&str], far: u32) -> Cost {
    let (program, arguments) = command.split_first().unwrap();
    let child = Command::new(program)
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .expect("installed");
    wait_until("it listens", || {
        ip("-d link show near").contains("promiscuity 1")
    });
    let pid = child.id();
    let (cpu_before, wakes_before) = usage(pid);
    let frame = frame();
    let mut sender = TransmitRing::open(far, 96, 1 << 16).unwrap();
    let mut unsent = 0;
    let started = Instant::now();
    for _ in 0..FRAMES {
        while !sender.put(&frame).unwrap() {
            unsent += sender.flush().unwrap();
        }
    }
    unsent += sender.flush().unwrap();
    assert_eq!(unsent, 0, "the queue of far is full");
    let rate = f64::from(FRAMES) / started.elapsed().as_secs_f64();
    // It has caught up when it uses no more CPU.
    let mut last = usage(pid).0;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = usage(pid).0;
        if now.saturating_sub(last) < 1_000_000 {
            break;
        }
        last = now;
    }
    let (cpu, wakes) = usage(pid);
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && cpu > cpu_before);
    let name = program.rsplit('/').next().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let captured = said.lines().find_map(|line| {
        let words = [" frames captured", " packets captured"];
        let before = words.iter().find_map(|words| line.split_once(words))?.0;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    let cost = Cost {
        cpu: (cpu - cpu_before) / u64::from(FRAMES),
        wakes: wakes - wakes_before,
        lost: u64::from(FRAMES).saturating_sub(captured.expect("it counts")),
    };
    println!(
        "round {round} {name:<9} {rate:>9.0} frames/s sent, {:>4} ns CPU a frame, {} wake-ups, {} lost",
        cost.cpu, cost.wakes, cost.lost
    );
    cost
}

/// Returns nanoseconds of CPU and voluntary context switches of a process.
fn usage(pid: u32) -> (u64, u64) {
    let first = |text: String| text.split_whitespace().next()?.parse().ok();
    let cpu = first(fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap()).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let switches = status
        .lines()
        .find_map(|line| first(line.strip_prefix("voluntary_ctxt_switches:")?.to_owned()));
    (cpu, switches.unwrap())
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN"]
fn the_delay_from_send_to_wake_up() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let everything = FilterProgram::everything();
        let v3 = |millis| Layout {
            version: Version::V3 {
                block_len: 4096,
                retire_time: Duration::from_millis(millis),
            },
            memory: 65_536,
        };
        let ways = [
            ("recvfrom", None),
            ("V2", Some(Layout::SMALL)),
            ("V3, 1 ms", Some(v3(1))),
            ("V3, 8 ms", Some(v3(8))),
            ("V3, 60 ms", Some(v3(60))),
        ];
        let mut delays = ways.map(|_| Vec::new());
        // In turns, so that what else the machine does meets all of them.
        for _ in 0..DELAY_ROUNDS {
            for ((_, layout), delays) in ways.iter().zip(&mut delays) {
                if let Some(layout) = layout {
                    let ring = Ring::open(near, &everything, *layout).unwrap();
                    let ring = std::cell::RefCell::new(ring);
                    let fd = ring.borrow().as_fd().try_clone_to_owned().unwrap();
                    measure(delays, &fd, &sender, || {
                        ring.borrow_mut().next_batch().is_some()
                    });
                } else {
                    let socket = PacketSocket::open(near, &everything).unwrap();
                    let mut buf = [0; 2048];
                    measure(delays, &socket, &sender, || {
                        socket.recv(&mut buf).unwrap().is_some()
                    });
                }
            }
        }
        let medians = delays.map(|mut delays| {
            delays.sort();
            let at = |part| delays.get(delays.len() * part / 100).copied().unwrap();
            (at(50), at(95))
        });
        let (base, _) = medians[0];
        for ((name, _), (median, most)) in ways.iter().zip(medians) {
            let ratio = median.as_secs_f64() / base.as_secs_f64();
            println!("{name:<10} median {median:?}, 95 % {most:?}; {ratio:.2} of recvfrom");
        }
    });
}

/// Has another thread send frames one by one, and notes how long each takes to be read.
fn measure(
    delays: &mut Vec<Duration>,
    source: &impl AsFd,
    sender: &PacketSocket,
    mut take: impl FnMut() -> bool,
) {
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<Instant>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            stay_on(1);
            let frame = frame();
            while asked.recv().is_ok() {
                // So that the reader sleeps in poll by the time the frame is sent.
                std::thread::sleep(Duration::from_millis(2));
                let now = Instant::now();
                sender.send(&frame).unwrap();
                tell.send(now).unwrap();
            }
        });
        stay_on(0);
        for _ in 0..DELAYS_A_ROUND {
            ask.send(()).unwrap();
            while !take() {
                wait_readable(&[source.as_fd()], None).unwrap();
            }
            let seen = Instant::now();
            delays.push(seen.duration_since(told.recv().unwrap()));
        }
        drop(ask);
    });
}

/// Binds this thread to a processor, if there is such a one: migrations are not measured.
fn stay_on(processor: usize) {
    let mut set = nix::sched::CpuSet::new();
    set.set(processor).unwrap();
    let _ = nix::sched::sched_setaffinity(Pid::from_raw(0), &set);
}
