//! The first process of a machine that boots from an initramfs with nothing else in it.
//!
//! It never exits, since the kernel panics when process 1 does: the boot runs in a child. This process
//! supervises it, reaps, acts on `wireboot.on-failure` and `wireboot.on-localboot`, and obeys signals
//! at any time.

#![forbid(unsafe_code)]

#[cfg(feature = "attended")]
mod consoles;
#[cfg(feature = "firmware")]
mod kernel_log;
mod modules;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use log::LevelFilter;

use crate::config::{Config, OnFailure, OnLocalBoot};
use crate::error;
use crate::link;
#[cfg(feature = "root")]
use crate::root;
use crate::settings::cmdline::{self, KERNEL_COMMAND_LINE};
use crate::sys::exec::Program;
use crate::sys::machine::{self, PowerAction};
use crate::sys::process::{self, Children};
use crate::sys::signal::{Order, Signals};
use crate::sys::{self, SyscallError, messages};
use crate::timeline::{BEFORE, Timeline};
#[cfg(feature = "attended")]
use consoles::Consoles;
use wireboot_proto::time::{Backoff, Instant, Random, Seconds};

#[cfg(fuzzing)]
pub use modules::fuzz as fuzz_modules;
pub(crate) use modules::{load_requested, requested};

// The pause between attempts doubles from the one to the other (`Backoff`).
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// File systems to mount first: type, target, options.
const MOUNTS: [(&str, &str, &str); 4] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    // CONFIG_DEVTMPFS_MOUNT does not hold for an initramfs.
    ("devtmpfs", "/dev", "mode=0755"),
    // The root of a tmpfs is 1777 otherwise.
    ("tmpfs", "/run", "mode=0755"),
];

/// Boots the machine; retries until it succeeds.
pub fn run() -> ! {
    let timeline = Timeline::default();
    timeline.note("process 1 begins");
    // First, since devtmpfs has /dev/console; failures are logged once it is open.
    let mounted = mount_all();
    // The kernel's log, and its settings, are there from now on.
    messages::start(LevelFilter::Info, true);
    if let Err(error) = machine::open_console() {
        log::error!("{}", error.chain());
    }
    for error in mounted {
        log::error!("{error}");
    }
    // Before any other thread is started: each has its own signal mask.
    let supervisor = Supervisor::begin();
    #[cfg(feature = "attended")]
    let mut consoles = Consoles::join().unwrap_or_else(|error| {
        log::warn!("not all consoles are used: {}", error.chain());
        None
    });
    let config = config();
    if let Err(error) = link::raise_loopback() {
        log::warn!("{}", error.chain());
    }
    #[cfg(feature = "firmware")]
    std::thread::spawn(kernel_log::follow);
    modules::load_and_follow(
        &timeline,
        #[cfg(feature = "root")]
        &root::modules(&config.root),
        #[cfg(not(feature = "root"))]
        &[],
    );
    let mut random = Random::new(sys::seed());
    let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let pause = pauses.next_delay(&mut random);
        let part = || {
            #[cfg(feature = "attended")]
            consoles.take().into_iter().for_each(Consoles::part);
        };
        if let Err(end) = attempt(&supervisor, &timeline, &config, pause, part) {
            // Returns only if the kernel refuses.
            log::error!("{}", supervisor.end(end).chain());
            sleep(pause);
        }
    }
}

/// Boots once, acts on a failure, and pauses; `part_consoles` before another program becomes process 1.
///
/// # Errors
/// How the machine ends, by a signal or `wireboot.on-failure`.
fn attempt(
    supervisor: &Supervisor,
    timeline: &Timeline,
    config: &Config,
    pause: Duration,
    part_consoles: impl FnOnce(),
) -> Result<(), PowerAction> {
    let mut then = config.boot.on_failure;
    let why = supervisor.run(&boot().variable(BEFORE, &timeline.lines()))?;
    match why
        .strip_prefix("exit code ")
        .and_then(|code| code.parse().ok())
    {
        Some(0) => log::info!("stopped as wireboot.stop-after says"),
        Some(error::REBOOT) => return Err(PowerAction::Restart),
        Some(error::POWER_OFF) => return Err(PowerAction::PowerOff),
        Some(error::LOCAL_BOOT) => match config.boot.on_local_boot {
            Some(OnLocalBoot::Reboot) => return Err(PowerAction::Restart),
            Some(OnLocalBoot::PowerOff) => return Err(PowerAction::PowerOff),
            Some(OnLocalBoot::Exit) => {
                part_consoles();
                std::process::exit(error::LOCAL_BOOT.into())
            }
            Some(OnLocalBoot::Shell) => then = OnFailure::Shell,
            None => log::warn!("this machine cannot go on to its disk: see wireboot.on-localboot"),
        },
        #[cfg(feature = "root")]
        Some(error::SWITCH_ROOT) => {
            part_consoles();
            let Err(error) = root::switch();
            log::error!("{}", error.chain());
        }
        Some(1..) | None => log::error!("boot failed: {why}"),
    }
    #[cfg(feature = "root")]
    root::clean_up();
    match then {
        OnFailure::Retry => {}
        OnFailure::Shell => shell(supervisor)?,
        OnFailure::Reboot => return Err(PowerAction::Restart),
        OnFailure::PowerOff => return Err(PowerAction::PowerOff),
    }
    log::info!("retrying in {:.0} s", Seconds(pause));
    supervisor.pause(pause)
}

/// Reads the configuration from the kernel's command line; the child reads it too and logs its
/// faults.
fn config() -> Config {
    let mut config = Config::for_boot();
    // Unreadable only where /proc could not be mounted, which has been logged.
    let text = cmdline::read(KERNEL_COMMAND_LINE).unwrap_or_default();
    cmdline::apply(&text, &mut config);
    config
}

/// Mounts the file systems; returns an error message for each failure.
fn mount_all() -> Vec<String> {
    let mut errors = Vec::new();
    for (kind, target, options) in MOUNTS {
        let made = fs::create_dir_all(target);
        if is_mount_point(target) {
            continue;
        }
        if let Err(error) = machine::mount(kind, target, options) {
            let made = made.map_or_else(|error| format!(" ({error})"), |()| String::new());
            errors.push(format!("cannot mount {target}{made}: {}", error.source));
        }
    }
    errors
}

/// Returns whether something is mounted there: a container may have it all, and newer kernels than 6.1
/// mount it once more in place of EBUSY.
fn is_mount_point(target: &str) -> bool {
    let device = |path| fs::metadata(path).map(|found: fs::Metadata| found.dev());
    matches!((device(target), device("/")), (Ok(here), Ok(root)) if here != root)
}

/// Returns the program that boots, in a process of its own.
fn boot() -> Program {
    // The program may have any name in the archive.
    Program::new(Path::new("/proc/self/exe"), "wireboot")
        .argument("boot")
        .argument("--kernel-command-line")
        .argument(KERNEL_COMMAND_LINE)
        .own_variables()
}

/// The name of the shell that is started. busybox selects it by the name, since another shell would take
/// an argument for a script.
const SHELL: &str = "sh";

/// Starts a shell on the console and waits for its exit.
///
/// # Errors
/// How the machine ends, if a signal requests that.
fn shell(supervisor: &Supervisor) -> Result<(), PowerAction> {
    let path = ["/bin/sh", "/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(path) = path else {
        log::error!("no /bin/sh to start");
        return Ok(());
    };
    log::info!("starting {path}; exit it to retry the boot");
    let end = supervisor.run(&Program::new(Path::new(path), SHELL).own_variables())?;
    log::info!("{path}: {end}");
    Ok(())
}

/// Time between SIGTERM and SIGKILL for all other processes.
// As busybox's init waits between the two signals.
const TIME_TO_END: Duration = Duration::from_secs(1);
/// Interval of polling for children where there is no signalfd.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Process 1 as the parent of all others.
#[derive(Debug)]
struct Supervisor {
    /// None on a kernel without signalfd.
    signals: Option<Signals<Order>>,
}

impl Supervisor {
    /// Begins to receive signals, that of Ctrl-Alt-Del among them. Must be called before any thread is
    /// started, since each has a signal mask of its own.
    fn begin() -> Self {
        let signals = Signals::of_first_process();
        let claimed = machine::claim_ctrl_alt_del();
        let errors = [signals.as_ref().err(), claimed.as_ref().err()];
        for error in errors.into_iter().flatten() {
            log::warn!("{}", error.chain());
        }
        Self {
            signals: signals.ok(),
        }
    }

    /// Runs a program until it exits; returns its exit status as text.
    ///
    /// # Errors
    /// How the machine ends, if a signal requests that; the program is still running then.
    fn run(&self, program: &Program) -> Result<String, PowerAction> {
        let child = match program.start() {
            Ok(child) => child.release(),
            Err(error) => return Ok(error.chain()),
        };
        loop {
            match process::reap() {
                Children::Ended { pid, end } if Some(pid) == child => return Ok(end),
                // One SIGCHLD may be for several children (signal(7)): all are reaped before the
                // next wait.
                Children::Ended { .. } => {}
                Children::Running => self.wait(None)?,
                Children::None => return Ok("exit status unknown".to_owned()),
            }
        }
    }

    /// Waits for `time`.
    ///
    /// # Errors
    /// How the machine ends, if a signal requests that.
    fn pause(&self, time: Duration) -> Result<(), PowerAction> {
        let until = sys::now() + time;
        while sys::now() < until {
            match process::reap() {
                Children::Ended { .. } => {}
                Children::Running | Children::None => self.wait(Some(until))?,
            }
        }
        Ok(())
    }

    /// Ends the machine after all other processes have exited or a timeout; returns only if the kernel
    /// refuses, with its error.
    fn end(&self, how: PowerAction) -> SyscallError {
        log::info!("{how}");
        process::terminate_all();
        let until = sys::now() + TIME_TO_END;
        while sys::now() < until {
            match process::reap() {
                Children::Ended { .. } => {}
                // A second signal changes nothing.
                Children::Running => drop(self.wait(Some(until))),
                Children::None => break,
            }
        }
        // A process that ignores SIGTERM would write during the last sync.
        process::kill_all();
        match machine::end(how) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Waits until a child ends, or until `until`.
    fn wait(&self, until: Option<Instant>) -> Result<(), PowerAction> {
        let Some(signals) = &self.signals else {
            // Without the descriptor of signals there is only time to wait for.
            sleep(POLL_INTERVAL);
            return Ok(());
        };
        let order = sys::wait_readable(&[signals.as_fd()], until).and_then(|_| signals.take());
        match order {
            Ok(Some(Order::End(end))) => {
                log::info!("received a signal to end the machine");
                Err(end)
            }
            Ok(Some(Order::Reap) | None) => Ok(()),
            Err(error) => {
                log::warn!("{}", error.chain());
                // Or the same error would be logged without a pause.
                sleep(POLL_INTERVAL);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_shell_and_busybox_read_commands_and_no_script() {
        let paths = ["/bin/sh", "/bin/busybox"];
        for path in paths.into_iter().filter(|path| Path::new(path).exists()) {
            let mut command = Command::new(path);
            command.arg0(SHELL);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            input.write_all(b"echo here\n").unwrap();
            drop(input);
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.stdout, b"here\n", "{path}");
        }
    }
}
