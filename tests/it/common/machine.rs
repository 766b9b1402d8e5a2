//! An emulated machine: Debian's kernel with the static binary as `/init`, and the files that its
//! servers offer. QEMU has DHCP and TFTP of its own; on a TAP it meets real servers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::ip;

/// How long one machine may take, on a slow and busy host.
const LIMIT: Duration = Duration::from_secs(600);

/// QEMU for machines like this one.
pub const EMULATOR: &str = "qemu-system-x86_64";

/// The card's hardware address.
pub const MAC: &str = "52:54:00:12:34:56";

/// The card, to be put on the network `net`.
pub const CARD: &str = "virtio-net-pci,id=card,netdev=net,mac=52:54:00:12:34:56";

/// The arguments that QEMU gets for a machine of this processor.
const X86_64: &[&str] = &[EMULATOR];
const ARM64: &[&str] = &["qemu-system-aarch64", "-cpu", "cortex-a57"];

/// A machine that is not on yet; without a network to begin with.
pub struct Setup {
    emulator: &'static [&'static str],
    kernel: PathBuf,
    /// None where it is in the kernel.
    initramfs: Option<PathBuf>,
    words: String,
    arguments: Vec<String>,
}

impl Setup {
    /// A machine whose kernel gets `words` on its command line.
    pub fn new(words: &str) -> Self {
        // The kernel's test of its timer takes an emulator that was held up for a broken one.
        let words = format!("console=ttyS0 no_timer_check {words}");
        Self::of(X86_64, parts(), words)
    }

    /// The same with a processor of the type arm64; which board it is on, `with` says.
    pub fn arm64(words: &str) -> Self {
        Self::of(ARM64, arm64_parts(), format!("console=ttyAMA0 {words}"))
    }

    fn of(emulator: &'static [&'static str], parts: &Parts, words: String) -> Self {
        Self {
            emulator,
            kernel: parts.kernel.clone(),
            initramfs: Some(parts.initramfs.clone()),
            words: format!("quiet panic=-1 {words}"),
            arguments: Vec::new(),
        }
    }

    /// Takes another archive than the one that `initramfs/build` makes.
    pub fn initramfs(mut self, path: &Path) -> Self {
        self.initramfs = Some(path.to_owned());
        self
    }

    /// A machine with this kernel, which has its own initramfs.
    pub fn of_kernel(path: &Path) -> Self {
        Self {
            emulator: X86_64,
            kernel: path.to_owned(),
            initramfs: None,
            words: "no_timer_check panic=-1".to_owned(),
            arguments: Vec::new(),
        }
    }

    /// Takes another kernel than Debian's for virtual machines.
    pub fn kernel(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.kernel);
        self
    }

    /// Adds words to the command line.
    pub fn words(mut self, words: &str) -> Self {
        self.words = format!("{} {words}", self.words);
        self
    }

    /// Adds arguments of QEMU, separated by spaces.
    pub fn with(mut self, arguments: &str) -> Self {
        let words = arguments.split_whitespace().map(str::to_owned);
        self.arguments.extend(words);
        self
    }

    /// Puts the machine on QEMU's own network, whose server names `boot_file` and has the folder.
    pub fn on_own_network(self, served: &Served, boot_file: &str) -> Self {
        let folder = served.folder.display();
        self.with(&format!(
            "-netdev user,id=net,tftp={folder},bootfile={boot_file} -device {CARD}"
        ))
    }

    /// Puts the machine on a TAP, and that on a bridge with the near ends of these cables in the
    /// calling thread's namespace: it meets the servers at their far ends.
    pub fn on_tap(self, near: &[&str]) -> Self {
        ip("link add bridge0 type bridge");
        ip("tuntap add tap0 mode tap");
        for port in [&["tap0"], near].concat() {
            ip(&format!("link set {port} master bridge0 up"));
        }
        ip("link set bridge0 up");
        self.on_tap_again()
    }

    /// Puts the machine on the TAP of an earlier one, which is off.
    pub fn on_tap_again(self) -> Self {
        self.with(&format!(
            "-netdev tap,id=net,ifname=tap0,script=no,downscript=no -device {CARD}"
        ))
    }

    /// Switches the machine on.
    pub fn start(self) -> Machine {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let monitor = format!("wireboot-monitor-{}-{number}", std::process::id());
        let monitor = std::env::temp_dir().join(monitor);
        // `timeout` ends the machine when the test has died and cannot.
        let mut qemu = Command::new("timeout")
            .args(["-k", "1", &LIMIT.as_secs().to_string()])
            .args(self.emulator)
            .args(["-accel", "tcg", "-m", "1024"])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio", "-monitor"])
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .args([Path::new("-kernel"), &self.kernel])
            .args(
                self.initramfs
                    .iter()
                    .flat_map(|path| [Path::new("-initrd"), path]),
            )
            .args(["-append", &self.words])
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("timeout is installed");
        let (line, console) = channel();
        let stdout = qemu.stdout.take().unwrap();
        thread::spawn(move || {
            for octets in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&octets);
                let _ = line.send(text.trim_end().to_owned());
            }
        });
        Machine {
            keyboard: qemu.stdin.take().unwrap(),
            qemu,
            console,
            said: Vec::new(),
            until: Instant::now() + LIMIT,
            monitor,
        }
    }
}

/// A machine that is on; ends with the test.
pub struct Machine {
    qemu: Child,
    keyboard: ChildStdin,
    console: Receiver<String>,
    said: Vec<String>,
    until: Instant,
    monitor: PathBuf,
}

impl Machine {
    /// Waits until the console has said these, in this order.
    pub fn says(&mut self, expected: &[&str]) {
        for text in expected {
            while !self.next_line(text).contains(text) {}
        }
    }

    /// Waits for the next line of the console, which has this.
    pub fn says_next(&mut self, expected: &str) {
        let line = self.next_line(expected);
        assert!(line.contains(expected), "{}", self.text());
    }

    /// Types at the console.
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives QEMU a command and waits until it has taken it.
    pub fn monitor(&self, command: &str) {
        const PROMPT: &[u8] = b"(qemu) ";
        let connected = || UnixStream::connect(&self.monitor);
        super::wait_until("QEMU's monitor", || connected().is_ok());
        let mut socket = connected().unwrap();
        let limit = Some(Duration::from_secs(30));
        socket.set_read_timeout(limit).unwrap();
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

    /// Waits until the machine is off, and returns what its console has said.
    pub fn ends(mut self) -> String {
        while self.line("the end").is_some() {}
        assert!(self.qemu.wait().unwrap().success(), "{}", self.text());
        self.text()
    }

    fn next_line(&mut self, awaited: &str) -> String {
        let line = self.line(awaited);
        line.unwrap_or_else(|| panic!("the machine is off without \"{awaited}\":\n{}", self.text()))
    }

    /// Returns the next line of the console; none when the machine is off.
    fn line(&mut self, awaited: &str) -> Option<String> {
        let left = self.until.saturating_duration_since(Instant::now());
        let line = match self.console.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("the time is over without \"{awaited}\":\n{}", self.text())
            }
        };
        self.said.push(line.clone());
        assert!(!line.contains("Kernel panic"), "{}", self.text());
        Some(line)
    }

    pub fn text(&self) -> String {
        self.said.join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The signal goes to `timeout`, which hands it on to QEMU.
        let pid = nix::unistd::Pid::from_raw(self.qemu.id().try_into().unwrap());
        let is_over = self.qemu.try_wait().is_ok_and(|status| status.is_some());
        if !is_over {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.qemu.wait();
        let _ = fs::remove_file(&self.monitor);
    }
}

/// A folder that servers offer, with a kernel, `vmlinuz`, and a system that greets and says its
/// command line, `greeting`; goes with the test.
pub struct Served {
    pub folder: PathBuf,
}

impl Served {
    pub fn new(name: &str) -> Self {
        Self::of(name, parts())
    }

    /// The same for machines of the type arm64.
    pub fn arm64(name: &str) -> Self {
        Self::of(name, arm64_parts())
    }

    fn of(name: &str, parts: &Parts) -> Self {
        let served = Self::empty(name);
        fs::copy(&parts.kernel, served.folder.join("vmlinuz")).unwrap();
        fs::copy(&parts.greeting, served.folder.join("greeting")).unwrap();
        served
    }

    /// A folder with nothing in it.
    pub fn empty(name: &str) -> Self {
        let name = format!("wireboot-served-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Packs an initramfs with a shell for whoever is there when the boot fails; `flags` are those of
    /// `initramfs/build`.
    pub fn archive_with_shell(&self, flags: &str) -> PathBuf {
        let archive = self.folder.join("initramfs");
        shell(&format!(
            "\"$root/initramfs/build\" {flags} --output {} \\
             --add \"$(debian_package busybox-static)/bin/busybox=bin/busybox\"",
            archive.display()
        ));
        archive
    }

    /// Serves the folder by HTTP/1.1 to this host until the test program ends; returns the
    /// address as a machine on QEMU's own network sees it.
    pub fn over_http(&self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = self.folder.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                // A client that goes away is its own affair.
                let _ = connection.and_then(|mut connection| answer(&mut connection, &folder));
            }
        });
        format!("http://10.0.2.2:{port}")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Answers one request for a file; of one whose name ends in `.cut` only the half is sent.
fn answer(connection: &mut TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(Read::by_ref(connection));
    reader.read_line(&mut request)?;
    let mut field = String::new();
    while reader.read_line(&mut field)? > 2 {
        field.clear();
    }
    let name = request.split(' ').nth(1).unwrap_or_default();
    let (status, content) = match fs::read(folder.join(name.trim_start_matches('/'))) {
        Ok(content) => ("200 OK", content),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let len = content.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    connection.write_all(head.as_bytes())?;
    let sent = match name.ends_with(".cut") {
        true => len / 2,
        false => len,
    };
    connection.write_all(content.get(..sent).unwrap_or_default())
}

/// What every machine is made of.
pub struct Parts {
    pub initramfs: PathBuf,
    pub kernel: PathBuf,
    pub greeting: PathBuf,
}

/// Builds the parts, once for each test program.
pub fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| parts_for("x86_64"))
}

fn arm64_parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| parts_for("aarch64"))
}

fn parts_for(arch: &str) -> Parts {
    let said = shell(&format!(
        "arch={arch}
        \"$root/initramfs/build\" --arch $arch
        echo \"$(debian_kernel)/vmlinuz\"
        greeting_initramfs \"$work/greeting$(other).cpio.gz\"
        echo \"$work/greeting$(other).cpio.gz\""
    ));
    let mut paths = said.lines().map(PathBuf::from);
    Parts {
        initramfs: paths.next().unwrap(),
        kernel: paths.next().unwrap(),
        greeting: paths.next().unwrap(),
    }
}

/// Runs commands with what the scripts in `initramfs` share, and returns what they print.
pub fn shell(commands: &str) -> String {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("initramfs/lib.sh");
    let output = Command::new("bash")
        .args(["-c", &format!(". {}\n{commands}", library.display())])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{commands}: {}", output.status);
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// Compiles a program of `tests/bench`, and returns its path.
pub fn compiled(name: &str) -> String {
    shell(&format!(
        "musl-gcc -static -Os -idirafter /usr/include -idirafter \"/usr/include/$(uname -m)-linux-gnu\" \\
            -o \"$work/{name}\" \"$root/tests/bench/{name}.c\"
        echo \"$work/{name}\""
    ))
}

/// Mounts a package of Debian that is unpacked in this folder over `/usr`, in a namespace of mounts.
pub fn mount_over_usr(package: &str) {
    let folders = format!("lowerdir={package}/usr:/usr");
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "overlay", "-o", &folders, "/usr"]);
    assert!(mount.status().unwrap().success());
}
