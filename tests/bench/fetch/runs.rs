//! Runs of clients: each measured, and together in a table.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{ASKED, IN_MEMORY};

/// Runs its arguments; prints seconds, seconds of CPU, and whether it went well.
///
/// The memory is told by a smaller program, since a process begins with as much as its parent had.
const MEASURE: &str = "
import os,sys,time
begin=time.monotonic(); pid=os.posix_spawnp(sys.argv[1],sys.argv[1:],os.environ,
    file_actions=[(os.POSIX_SPAWN_OPEN,n,'/dev/null',os.O_RDWR,0) for n in (0,1,2)])
_,status,used=os.wait4(pid,0)
print(time.monotonic()-begin,used.ru_utime+used.ru_stime,status)";

/// What one run of a client took.
#[derive(Clone, Copy)]
pub(super) struct Run {
    seconds: f64,
    cpu: f64,
    /// None when the file did not come.
    kib: Option<f64>,
}

impl Run {
    pub(super) const fn is_whole(&self) -> bool {
        self.kib.is_some()
    }
}

/// Runs a command until it has brought the file that was `sent`, or the time is over.
pub(super) fn measure(command: &str, limit_seconds: u32, sent: &Path, come: &Path) -> Run {
    let _ = fs::remove_file(come);
    let memory = come.with_extension("kib");
    let output = Command::new("python3")
        .args(["-c", MEASURE, "timeout", &limit_seconds.to_string()])
        .args(["bash", "-c", command])
        .env(
            "time",
            format!("busybox time -f %M -o {}", memory.display()),
        )
        .output()
        .expect("python3 is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text
        .split_whitespace()
        .map(|word| word.parse::<f64>().unwrap());
    let mut next = || numbers.next().expect("three numbers");
    let (seconds, cpu, status) = (next(), next(), next());
    let is_whole = status == 0.0 && fs::read(sent).ok() == fs::read(come).ok();
    let kib = is_whole.then(|| {
        let pages = fs::read_to_string(memory).unwrap();
        // It takes the kernel's KiB for pages and makes KiB of them again.
        pages.trim().parse::<f64>().unwrap() / 4.0
    });
    Run { seconds, cpu, kib }
}

/// Prints what the runs of each client took in the middle; the first client is ours.
pub(super) fn print_table(clients: &[(&str, String)], runs: &[Vec<Run>], len: usize) {
    let gib = len as f64 / f64::from(1 << 30);
    let medians: Vec<_> = runs.iter().map(|runs| median(runs)).collect();
    let own = medians.first().filter(|own| own.kib.is_some());
    // The rate of ours as a multiple of the best of these others, and the CPU time beside its.
    let ratio = |what: &str, is_one: &dyn Fn(&str) -> bool| {
        let runs = clients.iter().zip(&medians).skip(1);
        let others =
            runs.filter(|((name, _), run)| *name != IN_MEMORY && is_one(name) && run.kib.is_some());
        let best = others.min_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds));
        match (own, best) {
            (Some(own), Some((_, best))) => format!(
                ", {:.2} times the best {what} rate for {:.2} of its CPU time",
                best.seconds / own.seconds,
                own.cpu / best.cpu
            ),
            _ => String::new(),
        }
    };
    for (index, ((name, _), (median, runs))) in
        clients.iter().zip(medians.iter().zip(runs)).enumerate()
    {
        let Run { seconds, cpu, kib } = median;
        let Some(kib) = kib else {
            println!("  {name:<14} had not brought the file when it ended after {seconds:.1} s");
            continue;
        };
        let ratios = match index {
            0 => [
                ratio("other's", &|name| !name.contains(ASKED)),
                ratio("asked for windows'", &|name| name.contains(ASKED)),
            ]
            .concat(),
            _ => String::new(),
        };
        let rate = |seconds: f64| gib * 1024.0 / seconds;
        let (slow, fast) = middle_half(runs);
        println!(
            "  {name:<14} {:>7.1} MiB/s (half from {:.1} to {:.1}), {:>6.2} s CPU/GiB, {kib:>6.0} KiB{ratios}",
            rate(*seconds),
            rate(slow),
            rate(fast),
            cpu / gib
        );
    }
}

/// Returns the run in the middle, or the one that did not bring the file.
fn median(runs: &[Run]) -> Run {
    let failed = runs.iter().find(|run| run.kib.is_none());
    *failed.unwrap_or(&sorted(runs)[runs.len() / 2])
}

/// Returns the seconds between which half of the runs took, the slow ones first.
fn middle_half(runs: &[Run]) -> (f64, f64) {
    let sorted = sorted(runs);
    let quarter = runs.len() / 4;
    (
        sorted[runs.len() - 1 - quarter].seconds,
        sorted[quarter].seconds,
    )
}

fn sorted(runs: &[Run]) -> Vec<Run> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    sorted
}
