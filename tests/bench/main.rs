//! Measures the packet layer on a veth in a network namespace of its own:
//!
//! ```text
//! cargo test --release --test bench -- --ignored --nocapture --test-threads 1
//! ```
//!
//! Numbers are printed and not asserted: they are the machine's as much as the program's. What
//! is asserted is that nothing was measured in vain.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{in_new_namespace, ip, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wireboot::sys::filter::Program;
use wireboot::sys::packet::PacketSocket;
use wireboot::sys::ring::{Layout, Ring, Version};
use wireboot::sys::wait_readable;

const FRAMES: u32 = 1_000_000;
const ROUNDS: usize = 3;

fn pair() -> (u32, u32) {
    ip("link add near type veth peer name far");
    for name in ["near", "far"] {
        ip(&format!("link set {name} addrgenmode none"));
        ip(&format!("link set {name} up"));
    }
    let index = |name| nix::net::if_::if_nametoindex(name).unwrap();
    (index("near"), index("far"))
}

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
        let sender = PacketSocket::open(far, &Program::nothing()).unwrap();
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
        for round in 1..=ROUNDS {
            for command in [&ours[..], &theirs[..]] {
                flood(round, command, &sender);
            }
        }
    });
}

/// The binary to measure: the one that `tests/bench/run` has built, or Cargo's.
fn binary() -> String {
    std::env::var("WIREBOOT").unwrap_or_else(|_| env!("CARGO_BIN_EXE_wireboot").to_owned())
}

/// Runs `command` under the flood and prints what it used.
fn flood(round: usize, command: &[&str], sender: &PacketSocket) {
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
    let started = Instant::now();
    for _ in 0..FRAMES {
        sender.send(&frame).unwrap();
    }
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
    let cpu_per_frame = (cpu - cpu_before) / u64::from(FRAMES);
    println!(
        "round {round} {name:<9} {rate:>9.0} frames/s sent, {cpu_per_frame:>4} ns CPU a frame, {} wake-ups",
        wakes - wakes_before
    );
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        if line.contains("frames passed") || line.contains("packets") {
            println!("    {line}");
        }
    }
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
        let sender = PacketSocket::open(far, &Program::nothing()).unwrap();
        let everything = Program::everything();
        let v3 = |millis| Layout {
            version: Version::V3 {
                block_len: 4096,
                retire_time: Duration::from_millis(millis),
            },
            memory: 65_536,
        };
        let socket = PacketSocket::open(near, &everything).unwrap();
        let mut buf = [0; 2048];
        print_delay("recvfrom", &socket, &sender, || {
            socket.recv(&mut buf).unwrap().is_some()
        });
        drop(socket);
        for (name, layout) in [
            ("V2", Layout::SMALL),
            ("V3, 1 ms", v3(1)),
            ("V3, 8 ms", v3(8)),
            ("V3, 60 ms", v3(60)),
        ] {
            let ring = std::cell::RefCell::new(Ring::open(near, &everything, layout).unwrap());
            let fd = ring.borrow().as_fd().try_clone_to_owned().unwrap();
            print_delay(name, &fd, &sender, || {
                ring.borrow_mut().next_batch().is_some()
            });
        }
    });
}

/// Has another thread send frames one by one, and prints how long each takes to be read.
fn print_delay(
    name: &str,
    source: &impl AsFd,
    sender: &PacketSocket,
    mut take: impl FnMut() -> bool,
) {
    const COUNT: usize = 200;
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<Instant>();
    let mut delays = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let frame = frame();
            while asked.recv().is_ok() {
                // So that the reader sleeps in poll by the time the frame is sent.
                std::thread::sleep(Duration::from_millis(2));
                let now = Instant::now();
                sender.send(&frame).unwrap();
                tell.send(now).unwrap();
            }
        });
        for _ in 0..COUNT {
            ask.send(()).unwrap();
            while !take() {
                wait_readable(&[source.as_fd()], None).unwrap();
            }
            let seen = Instant::now();
            delays.push(seen.duration_since(told.recv().unwrap()));
        }
        drop(ask);
    });
    delays.sort();
    let at = |part: usize| delays.get(COUNT * part / 100).copied().unwrap();
    println!("{name:<10} median {:?}, 95 % {:?}", at(50), at(95));
}
