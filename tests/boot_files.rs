//! Whole boots in an emulated machine, one for each kind of boot file: to the greeting of the
//! second kernel, with the command line that the boot file says.
//!
//! QEMU's built-in DHCP and TFTP serve a folder with a kernel, an initrd that greets, and the boot
//! file of the case. `initramfs/build` makes the images and downloads what is missing.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Seconds until a machine that has not greeted is given up.
const LIMIT: &str = "240";

#[test]
#[ignore = "needs QEMU"]
fn a_pxelinux_tree_boots() {
    let server = Server::new("pxelinux");
    server.put("pxelinux.0", "\u{1}\0PXELINUX 6.04\0");
    server.put(
        "pxelinux.cfg/default",
        "DEFAULT menu.c32\nTIMEOUT 10\nINCLUDE more.cfg\nLABEL local\nLOCALBOOT 0\n",
    );
    server.put(
        "more.cfg",
        "LABEL linux\nMENU DEFAULT\nKERNEL vmlinuz\nINITRD greeting\nAPPEND console=ttyS0 quiet panic=-1 word=pxelinux\nIPAPPEND 2\n",
    );
    server.boots_to(
        "pxelinux.0",
        "",
        "word=pxelinux BOOTIF=01-52-54-00-12-34-56",
    );
}

#[test]
#[ignore = "needs QEMU"]
fn an_ipxe_script_boots_by_its_menu_its_variables_and_its_chain() {
    let server = Server::new("ipxe");
    server.put(
        "boot.ipxe",
        "#!ipxe\nset next second.ipxe\nmenu Choose\nitem other Other\nitem good Good\n\
         choose --default good --timeout 500 pick && goto ${pick}\n:other\nexit 1\n:good\n\
         chain missing.ipxe || chain ${next} || exit 2\n",
    );
    server.put(
        "second.ipxe",
        "#!ipxe\nkernel missing || kernel vmlinuz console=ttyS0 quiet panic=-1 mac=${net0/mac:hexhyp}\n\
         initrd greeting\nboot\n",
    );
    server.boots_to("boot.ipxe", "", "panic=-1 mac=52-54-00-12-34-56");
}

#[test]
#[ignore = "needs QEMU"]
fn a_kernel_boots_with_the_initrd_that_the_command_line_names() {
    let server = Server::new("kernel");
    let own =
        "wireboot.initrd=greeting wireboot.append=\"console=ttyS0 quiet panic=-1 word=direct\"";
    server.boots_to("vmlinuz", own, "panic=-1 word=direct");
}

#[test]
#[ignore = "needs QEMU"]
fn a_unified_kernel_image_boots_with_its_own_command_line() {
    let server = Server::new("uki");
    server.put("cmdline", "console=ttyS0 quiet panic=-1 word=uki");
    let stub = script("debian_package systemd-boot-efi");
    let stub = Path::new(&stub).join("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    let file = |name: &str| server.folder.join(name).to_str().unwrap().to_owned();
    let mut objcopy = Command::new("objcopy");
    for (at, (section, name)) in (1..).zip([
        (".cmdline", "cmdline"),
        (".initrd", "greeting"),
        (".linux", "vmlinuz"),
    ]) {
        objcopy.args(["--add-section", &format!("{section}={}", file(name))]);
        let address = format!("{section}={:#x}", at * 0x1000_0000_u64);
        objcopy.args(["--change-section-vma", &address]);
    }
    let objcopy = objcopy.arg(stub).arg(file("linux.efi"));
    assert!(objcopy.status().unwrap().success());
    server.boots_to("linux.efi", "", "panic=-1 word=uki");
}

#[test]
#[ignore = "needs QEMU"]
fn a_boot_loader_entry_boots() {
    let server = Server::new("entry");
    server.put(
        "loader/entries/linux.conf",
        "title Linux\nlinux /vmlinuz\ninitrd /greeting\noptions console=ttyS0 quiet\noptions panic=-1 word=entry\n",
    );
    server.boots_to("loader/entries/linux.conf", "", "panic=-1 word=entry");
}

#[test]
#[ignore = "needs QEMU"]
fn a_grub_configuration_boots() {
    let server = Server::new("grub");
    server.put("shimx64.efi", "MZ\u{1}\0");
    server.put(
        "grub/grub.cfg",
        "set timeout=0\nset default=good\nif [ \"$grub_cpu\" = x86_64 ]; then set word=grub; fi\n\
         menuentry Bad { linux /missing }\nmenuentry Good --id good {\n\
         linux /vmlinuz console=ttyS0 quiet panic=-1 word=$word\ninitrd /greeting\n}\n",
    );
    server.boots_to("shimx64.efi", "", "panic=-1 word=grub");
}

#[test]
#[ignore = "needs QEMU"]
fn a_pxelinux_tree_boots_over_http_from_a_url_as_boot_file() {
    let server = Server::new("http");
    server.put("tree/pxelinux.0", "\u{1}\0PXELINUX 6.04\0");
    server.put(
        "tree/pxelinux.cfg/default",
        "DEFAULT linux\nLABEL linux\nKERNEL /vmlinuz\nINITRD ../greeting\n\
         APPEND console=ttyS0 quiet panic=-1 word=http\n",
    );
    let url = server.serve_http();
    server.boots_to(&format!("{url}/tree/pxelinux.0"), "", "panic=-1 word=http");
}

#[test]
#[ignore = "needs QEMU"]
fn a_kernel_with_a_wrong_hash_or_without_its_signature_is_never_started() {
    let server = Server::new("pinned");
    let wrong = "00".repeat(32);
    server.put(
        "boot.ipxe",
        &format!("#!ipxe\nkernel vmlinuz#sha256={wrong}\nboot\n"),
    );
    server.put(
        "signed.ipxe",
        "#!ipxe\nkernel vmlinuz\nimgverify vmlinuz vmlinuz.sig\nboot\n",
    );
    for boot_file in ["boot.ipxe", "signed.ipxe"] {
        let console = server.console_of(boot_file, "wireboot.on-failure=poweroff");
        assert!(!console.contains("Its command line:"), "{console}");
        assert!(!console.contains("starting tftp://"), "{console}");
        let reasons = ["sha256", "SHA-256", "hash", "signature"];
        assert!(
            reasons.iter().any(|reason| console.contains(reason)),
            "{console}"
        );
    }
}

/// A folder that is served, and goes with the test.
struct Server {
    folder: PathBuf,
}

impl Server {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("wireboot-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let server = Self { folder };
        let kernel = script("debian_kernel");
        fs::copy(
            Path::new(&kernel).join("vmlinuz"),
            server.folder.join("vmlinuz"),
        )
        .unwrap();
        let busybox = script("debian_package busybox-static");
        let built = Command::new(root().join("initramfs/build"))
            .args(["--kernel-modules", "none", "--init"])
            .arg(root().join("initramfs/greeting"))
            .args(["--add", &format!("{busybox}/bin/busybox=bin/busybox")])
            .arg("--output")
            .arg(server.folder.join("greeting"))
            .stdout(Stdio::null())
            .status();
        assert!(built.unwrap().success());
        server
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Serves the folder over HTTP too; returns the address as the machine sees it.
    fn serve_http(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = self.folder.clone();
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|stream| answer(&folder, stream));
            }
        });
        format!("http://10.0.2.2:{port}")
    }

    /// Boots with this boot file, and `own` on the first kernel's command line; the second one's
    /// must hold `expected`.
    fn boots_to(&self, boot_file: &str, own: &str, expected: &str) {
        let console = self.console_of(boot_file, own);
        let greeting = (console.lines()).find(|line| line.contains("Its command line:"));
        assert!(
            greeting.is_some_and(|line| line.contains(expected)),
            "{expected:?} is missing in {greeting:?}\n{console}"
        );
    }

    /// Boots with this boot file and returns what the console showed.
    fn console_of(&self, boot_file: &str, own: &str) -> String {
        let kernel = script("debian_kernel");
        let initramfs = initramfs();
        let folder = self.folder.to_str().unwrap();
        let output = Command::new("timeout")
            .args([LIMIT, "qemu-system-x86_64", "-accel", "tcg", "-m", "1024"])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio", "-kernel", &format!("{kernel}/vmlinuz")])
            .args(["-initrd", initramfs, "-append"])
            .arg(format!(
                "console=ttyS0 quiet panic=-1 no_timer_check ip=dhcp wireboot.on-failure=poweroff {own}"
            ))
            .args(["-device", "virtio-net-pci,netdev=net,mac=52:54:00:12:34:56"])
            .arg("-netdev")
            .arg(format!("user,id=net,tftp={folder},bootfile={boot_file}"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Answers one request for a file.
fn answer(folder: &Path, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = BufReader::new(&stream);
    let mut line = String::new();
    request.read_line(&mut line)?;
    let mut field = String::new();
    while request.read_line(&mut field)? > 2 {
        field.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match fs::read(folder.join(path.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the archive with wireboot as its init, built once.
fn initramfs() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let output = Command::new(root().join("initramfs/build"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns what a function of the scripts in `initramfs` prints.
fn script(function: &str) -> String {
    let library = root().join("initramfs/lib.sh");
    let output = Command::new("bash")
        .args(["-c", &format!(". {} && {function}", library.display())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{function}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
