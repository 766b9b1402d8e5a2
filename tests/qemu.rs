//! The whole boot: the static binary as `/init` in an emulated machine, on QEMU's built-in DHCP and
//! TFTP, until the kernel that it fetched and started greets with a word that only it was given.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long one machine may take, on a slow and busy host.
const LIMIT: Duration = Duration::from_secs(180);

const CONFIGURATION: &str = "default greeting\n\
    label greeting\n kernel vmlinuz\n initrd greeting.cpio.gz\n append console=ttyS0 quiet word=";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_pxelinux_configuration_over_tftp_leads_to_the_kernel_it_names() {
    let served = Served::new("pxelinux");
    served.write("pxelinux.cfg/default", &format!("{CONFIGURATION}plum"));
    let mut machine = Machine::boot(&served, "pxelinux.0", "wireboot.on-failure=poweroff");
    machine.says(&[
        "wireboot: eth0: 10.0.2.15/24 from 10.0.2.2",
        "pxelinux.cfg/default",
        "vmlinuz: ",
        "greeting.cpio.gz: ",
        "Greetings from the second kernel.",
        "word=plum",
        "reboot: Power down",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_pxelinux_configuration_over_http_leads_to_the_kernel_it_names() {
    let served = Served::new("http");
    served.write("pxelinux.cfg/default", &format!("{CONFIGURATION}fig"));
    // 10.0.2.2 is the host, seen from the machine.
    let boot_file = format!("http://10.0.2.2:{}/pxelinux.0", serve_http(&served.0));
    let mut machine = Machine::boot(&served, &boot_file, "wireboot.on-failure=poweroff");
    machine.says(&[
        "/pxelinux.cfg/default: ",
        "/vmlinuz: ",
        "/greeting.cpio.gz: ",
        "Greetings from the second kernel.",
        "word=fig",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_that_fails_switches_the_machine_off_when_told_so() {
    let served = Served::new("poweroff");
    let mut machine = Machine::boot(&served, "missing", "wireboot.on-failure=poweroff");
    machine.says(&[
        "wireboot: eth0: 10.0.2.15/24 from 10.0.2.2",
        "the machine could not be booted",
        "reboot: Power down",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_that_fails_restarts_the_machine_when_told_so() {
    let served = Served::new("reboot");
    let mut machine = Machine::boot(&served, "missing", "wireboot.on-failure=reboot");
    machine.says(&[
        "wireboot: eth0: 10.0.2.15/24 from 10.0.2.2",
        "the machine could not be booted",
        "reboot: Restarting system",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_that_fails_is_tried_again_until_the_server_has_what_it_needs() {
    let served = Served::new("retry");
    let mut machine = Machine::boot(&served, "pxelinux.0", "wireboot.on-failure=retry");
    machine.says(&["the machine could not be booted", "trying again in"]);
    served.write("pxelinux.cfg/default", &format!("{CONFIGURATION}pear"));
    machine.says(&["Greetings from the second kernel.", "word=pear"]);
    machine.ends();
}

#[test]
#[ignore = "needs cpio and kmod"]
fn the_same_input_gives_the_same_archive() {
    let output = std::env::temp_dir().join(format!("wireboot-again-{}", std::process::id()));
    let command = format!("\"$root/initramfs/build\" --output {}", output.display());
    shell(&command);
    let again = fs::read(&output).unwrap();
    fs::remove_file(&output).unwrap();
    assert!(fs::read(&parts().initramfs).unwrap() == again);
}

/// What every machine here is made of.
struct Parts {
    initramfs: PathBuf,
    kernel: PathBuf,
    greeting: PathBuf,
}

/// Builds the parts once.
fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let said = shell(
            "\"$root/initramfs/build\"
            echo \"$(debian_kernel)/vmlinuz\"
            greeting_initramfs \"$work/greeting.cpio.gz\"
            echo \"$work/greeting.cpio.gz\"",
        );
        let mut paths = said.lines().map(PathBuf::from);
        Parts {
            initramfs: paths.next().unwrap(),
            kernel: paths.next().unwrap(),
            greeting: paths.next().unwrap(),
        }
    })
}

/// Runs commands with what the scripts in `initramfs` share, and returns what they print.
fn shell(commands: &str) -> String {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("initramfs/lib.sh");
    let output = Command::new("bash")
        .args(["-c", &format!(". {}\n{commands}", library.display())])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{commands}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A folder that is offered by TFTP; it goes with the test.
struct Served(PathBuf);

impl Served {
    fn new(name: &str) -> Self {
        let name = format!("wireboot-qemu-{}-{name}", std::process::id());
        let parts = parts();
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        fs::create_dir(folder.join("pxelinux.cfg")).unwrap();
        fs::copy(&parts.kernel, folder.join("vmlinuz")).unwrap();
        fs::copy(&parts.greeting, folder.join("greeting.cpio.gz")).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Serves `folder` by HTTP/1.1 to this host until the test program ends; returns the port.
fn serve_http(folder: &Path) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = folder.to_owned();
    thread::spawn(move || {
        for connection in listener.incoming() {
            // A client that goes away is its own affair.
            let _ = answer(&mut connection.unwrap(), &folder);
        }
    });
    port
}

fn answer(connection: &mut TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(&*connection);
    reader.read_line(&mut request)?;
    let mut header = String::from("?");
    while !header.trim().is_empty() {
        header.clear();
        reader.read_line(&mut header)?;
    }
    let name = request.split(' ').nth(1).unwrap_or_default();
    let (status, content) = match fs::read(folder.join(name.trim_start_matches('/'))) {
        Ok(content) => ("200 OK", content),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let len = content.len();
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    )?;
    connection.write_all(&content)
}

/// An emulated machine; ends with the test.
struct Machine {
    qemu: Child,
    console: Receiver<String>,
    said: Vec<String>,
    until: Instant,
}

impl Machine {
    /// Boots wireboot; the lease names `boot_file`, and `words` are put on its command line.
    fn boot(served: &Served, boot_file: &str, words: &str) -> Self {
        let network = format!(
            "user,id=net,tftp={},bootfile={boot_file}",
            served.0.display()
        );
        let command_line = format!("console=ttyS0 quiet panic=-1 no_timer_check ip=dhcp {words}");
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-m", "1024", "-nodefaults", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .args(["-device", "virtio-net-pci,netdev=net", "-netdev", &network])
            .arg("-kernel")
            .arg(&parts().kernel)
            .arg("-initrd")
            .arg(&parts().initramfs)
            .args(["-append", &command_line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-x86_64 is installed");
        let (line, console) = channel();
        let stdout = qemu.stdout.take().unwrap();
        thread::spawn(move || {
            for octets in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&octets);
                let _ = line.send(text.trim_end().to_owned());
            }
        });
        Self {
            qemu,
            console,
            said: Vec::new(),
            until: Instant::now() + LIMIT,
        }
    }

    /// Waits until the console has said these, in this order.
    fn says(&mut self, expected: &[&str]) {
        for text in expected {
            while !self.next_line(text).contains(text) {}
        }
    }

    fn next_line(&mut self, awaited: &str) -> String {
        let left = self.until.saturating_duration_since(Instant::now());
        let line = self.console.recv_timeout(left).unwrap_or_else(|error| {
            let why = match error {
                RecvTimeoutError::Timeout => "the time is over",
                RecvTimeoutError::Disconnected => "the machine is off",
            };
            panic!("{why} without \"{awaited}\":\n{}", self.said.join("\n"));
        });
        self.said.push(line.clone());
        assert!(!line.contains("Kernel panic"), "{}", self.said.join("\n"));
        line
    }

    /// Waits until the machine is off.
    fn ends(mut self) {
        while self.qemu.try_wait().unwrap().is_none() {
            assert!(Instant::now() < self.until, "the machine stays on");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(self.qemu.wait().unwrap().success());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
