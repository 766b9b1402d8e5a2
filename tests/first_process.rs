//! The first process of an emulated machine, by Debian's own kernel: which cards it finds, and
//! when. The servers are QEMU's built-in ones.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const LEASE: &str = "10.0.2.15/24 from 10.0.2.2";
const NETWORK: &str = "-netdev user,id=net";
const CARD: &str = "virtio-net-pci,id=card,netdev=net,mac=52:54:00:12:34:56";

#[test]
#[ignore = "needs QEMU"]
fn a_card_that_is_plugged_in_late_gets_its_driver_and_a_lease() {
    let mut machine = Machine::start("late", NETWORK, "ip=dhcp");
    machine.prints("waiting up to 30 s for a network interface to appear");
    machine.monitor(&format!("device_add {CARD}"));
    machine.prints(LEASE);
    machine.prints("Power down");
}

#[test]
#[ignore = "needs QEMU"]
fn a_carrier_that_comes_late_is_waited_for() {
    let devices = format!("{NETWORK} -device {CARD} -S");
    let mut machine = Machine::start("carrier", &devices, "ip=dhcp");
    machine.monitor("set_link card off");
    machine.monitor("cont");
    machine.prints("eth0: raised");
    machine.monitor("set_link card on");
    machine.prints(LEASE);
    machine.prints("Power down");
}

#[test]
#[ignore = "needs QEMU"]
fn of_two_cards_the_one_with_an_answer_wins() {
    let devices = format!(
        "-netdev hubport,id=silent,hubid=7 -device virtio-net-pci,netdev=silent \
         {NETWORK} -device {CARD}"
    );
    let mut machine = Machine::start("two", &devices, "ip=dhcp");
    machine.prints(&format!("eth1: {LEASE}"));
    machine.prints("Power down");
}

#[test]
#[ignore = "needs QEMU"]
fn the_card_of_bootif_is_the_one_that_is_used() {
    let devices = format!(
        "-netdev user,id=other -device virtio-net-pci,netdev=other {NETWORK} -device {CARD}"
    );
    let words = "BOOTIF=01-52-54-00-12-34-56 wireboot.typo=1";
    let mut machine = Machine::start("bootif", &devices, words);
    machine.prints("\"wireboot.typo=1\" on the kernel command line is not followed");
    machine.prints(&format!("eth1: {LEASE}"));
    machine.prints("Power down");
}

#[test]
#[ignore = "needs QEMU"]
fn without_any_card_the_end_says_so_and_the_first_process_lives_on() {
    let mut machine = Machine::start("none", "", "wireboot.link-timeout=1");
    machine.prints("no usable network interface: none appeared within 1.0 s; found lo");
    machine.prints("the machine could not be booted");
    machine.prints("Power down");
}

/// An emulated machine that ends with the test.
struct Machine {
    qemu: Child,
    console: BufReader<ChildStdout>,
    seen: String,
    socket: PathBuf,
}

impl Machine {
    /// Starts a machine with the QEMU arguments `devices`, which stops after the lease.
    fn start(name: &str, devices: &str, words: &str) -> Self {
        let (kernel, initramfs) = images();
        let socket = std::env::temp_dir().join(format!("wireboot-{name}-{}", std::process::id()));
        let monitor = format!("unix:{},server=on,wait=off", socket.display());
        // The kernel's test of its timer takes an emulator that was held up for a broken machine.
        let command_line = format!(
            "console=ttyS0 quiet panic=-1 no_timer_check {words} wireboot.stop-after=lease \
             wireboot.on-failure=poweroff WIREBOOT_LOG=debug"
        );
        // Ends a machine that hangs, so that reading its console ends too.
        let mut qemu = Command::new("timeout")
            .args(["-k", "1", "120", "qemu-system-x86_64", "-accel", "tcg"])
            .args(["-m", "512", "-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio", "-monitor", &monitor, "-kernel"])
            .args([kernel, Path::new("-initrd"), initramfs])
            .args(["-append", &command_line])
            .args(devices.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let console = BufReader::new(qemu.stdout.take().unwrap());
        Self {
            qemu,
            console,
            seen: String::new(),
            socket,
        }
    }

    /// Reads the console until a line contains `part`.
    fn prints(&mut self, part: &str) {
        loop {
            let mut line = Vec::new();
            let len = self.console.read_until(b'\n', &mut line).unwrap();
            let line = String::from_utf8_lossy(&line);
            self.seen.push_str(&line);
            if line.contains(part) {
                return;
            }
            let is_over = len == 0 || line.contains("Kernel panic");
            assert!(!is_over, "no \"{part}\" in:\n{}", self.seen);
        }
    }

    /// Gives QEMU a command and waits until it has taken it.
    fn monitor(&self, command: &str) {
        const PROMPT: &[u8] = b"(qemu) ";
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        let mut socket = loop {
            match UnixStream::connect(&self.socket) {
                Ok(socket) => break socket,
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut answers = BufReader::new(socket.try_clone().unwrap());
        let mut until_prompt = || {
            let mut text = Vec::new();
            while !text.ends_with(PROMPT) {
                assert_ne!(answers.read_until(b' ', &mut text).unwrap(), 0);
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        until_prompt();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let answer = until_prompt();
        assert!(!answer.contains("rror"), "{command}: {answer}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The signal goes to `timeout`, which hands it on to QEMU.
        let pid = nix::unistd::Pid::from_raw(self.qemu.id().try_into().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.qemu.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Returns Debian's kernel and an initramfs for it, made once.
fn images() -> (&'static Path, &'static Path) {
    static IMAGES: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let (kernel, initramfs) = IMAGES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("initramfs");
        let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("first_process.cpio.gz");
        let script = ". \"$0\"; \"$1\" --output \"$2\" >&2; echo \"$(debian_kernel)/vmlinuz\"";
        let made = Command::new("bash")
            .args(["-c", script])
            .args([folder.join("lib.sh"), folder.join("build"), output.clone()])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(made.status.success());
        let kernel = String::from_utf8(made.stdout).unwrap();
        (PathBuf::from(kernel.trim()), output)
    });
    (kernel, initramfs)
}
