//! Measures what the sandbox costs: the same commands with it and with `--sandbox off`, in turn in each
//! round, from dnsmasq and nginx over a veth:
//!
//! ```text
//! tests/bench/run sandbox
//! ```
//!
//! `WIREBOOT_BENCH_ROUNDS` says how many rounds. What is printed are medians of the time to the exit and
//! of the CPU time with all children, and the median of the differences of each round.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::servers::{dnsmasq, nginx};
use crate::figures::{binary, median, rounds};

const ROUNDS: usize = 41;
const LONG: u64 = 256 << 20;

/// What is measured: a name, and arguments.
const COMMANDS: [(&str, &str); 5] = [
    ("lease", "lease -i near"),
    (
        "fetch of 1 KiB",
        "fetch -q -o /dev/shm/OUT http://192.0.2.1/short",
    ),
    (
        "fetch of 256 MiB",
        "fetch -q -o /dev/shm/OUT http://192.0.2.1/long",
    ),
    (
        "boot, to the plan",
        "boot -q -i near --boot-file http://192.0.2.1/plan --stop-after plan",
    ),
    (
        "boot of 64 MiB, to the image",
        "boot -q -i near --boot-file http://192.0.2.1/plan --stop-after image",
    ),
];

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN and servers"]
fn commands_with_the_sandbox_and_without() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let served = far.folder.join("served");
        fs::create_dir(&served).unwrap();
        let file = |name: &str, content: &[u8], len: u64| {
            fs::write(served.join(name), content).unwrap();
            File::options()
                .write(true)
                .open(served.join(name))
                .and_then(|file| file.set_len(len))
                .unwrap();
        };
        let plan = b"#!ipxe\nkernel /kernel quiet\ninitrd /initrd\nboot\n";
        file("plan", plan, plan.len() as u64);
        let kernel = wireboot_proto::format::kernel_image::fixture::bz_image();
        file("kernel", &kernel, kernel.len() as u64);
        file("initrd", b"", 64 << 20);
        file("short", b"", 1024);
        file("long", b"", LONG);
        let (_dnsmasq, _nginx) = (dnsmasq(&far, ""), nginx(&far, &served));
        let rounds = rounds(ROUNDS);
        println!(
            "{:<32}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "milliseconds", "with", "without", "more", "CPU with", "without", "more"
        );
        for (name, arguments) in COMMANDS {
            let runs: Vec<_> = (0..rounds)
                .map(|round| {
                    // Who is first changes, since the second finds what the first has warmed.
                    let is_first = round % 2 == 0;
                    let first = run(arguments, is_first);
                    let second = run(arguments, !is_first);
                    if is_first {
                        [first, second]
                    } else {
                        [second, first]
                    }
                })
                .collect();
            let of = |what: usize| {
                let with = median(runs.iter().map(|[with, _]| with[what]));
                let without = median(runs.iter().map(|[_, without]| without[what]));
                let more = median(runs.iter().map(|[with, off]| with[what] - off[what]));
                format!("{with:>9.2}{without:>9.2}{more:>9.2}")
            };
            println!("{name:<32}{}{}", of(0), of(1));
        }
        let _ = fs::remove_file(format!("/dev/shm/{}", output()));
    });
}

/// Runs a command to its end; returns milliseconds, and those of CPU.
fn run(arguments: &str, is_confined: bool) -> [f64; 2] {
    let arguments = arguments.replace("OUT", &output());
    let mut command = Command::new(binary());
    command.args(arguments.split(' '));
    if !is_confined {
        command.args(["--sandbox", "off"]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let used = || {
        let used = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let time = used.user_time() + used.system_time();
        time.num_microseconds() as f64 / 1e3
    };
    let (begun, used_before) = (Instant::now(), used());
    let status = command.status().unwrap();
    let taken = begun.elapsed().as_secs_f64() * 1e3;
    assert!(status.success(), "{arguments}: {status}");
    [taken, used() - used_before]
}

fn output() -> String {
    format!("wireboot-bench-{}", std::process::id())
}
