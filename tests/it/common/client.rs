//! `wireboot lease` and `wireboot boot` on `near`, and what they leave there.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use wireboot_proto::format::kernel_image::fixture::bz_image;

use super::far::{Far, Server};
use super::{ip, wait_until};

/// Starts the client on `near`.
pub fn lease(timeout: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wireboot"))
        .args(["lease", "-i", "near", "--timeout", timeout])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Makes a folder with a kernel of `len` bytes and a script that pauses once it has fetched that, and
/// a network of 1 Mbit/s.
pub fn slow_kernel(far: &Far, len: usize) -> PathBuf {
    let folder = far.folder.join("served");
    std::fs::create_dir(&folder).unwrap();
    let mut kernel = bz_image();
    kernel.resize(len, 0);
    kernel[0x1f1] = 4;
    std::fs::write(folder.join("kernel"), kernel).unwrap();
    let script = "#!ipxe\nkernel kernel ip=${ip}:::\nsleep 3\nboot\n";
    std::fs::write(folder.join("script"), script).unwrap();
    far.run("tc qdisc add dev far root tbf rate 1mbit burst 4kb latency 200ms");
    folder
}

/// Starts `wireboot boot` on `near`, up to the image.
pub fn boot(more: &[&str]) -> Server {
    Server::start(&mut boot_command(more))
}

pub fn boot_command(more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["boot", "-i", "near", "--stop-after", "image"]);
    command.args(more);
    command
}

/// Tells of every address that comes and goes from now on.
pub fn address_changes() -> Server {
    let mut command = Command::new("ip");
    let monitor = Server::start(command.args(["-o", "-4", "monitor", "address"]));
    wait_until("the monitor watches", || {
        ip("address add 127.0.0.9/32 dev lo");
        ip("address del 127.0.0.9/32 dev lo");
        monitor.count("127.0.0.9") > 0
    });
    ip("address add 127.0.0.10/32 dev lo");
    monitor.wait_for("127.0.0.10");
    monitor.forget();
    monitor
}

/// Starts a client that stays on `near`, with more arguments.
pub fn keep(more: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    Server::start(command.args(["lease", "-i", "near", "--keep"]).args(more))
}

/// Makes networkd and NetworkManager take notice of interfaces that udev has not handled, as where there is
/// none: they tell by /sys, which nobody may write then.
pub fn hide_udev() {
    let mut mount = Command::new("mount");
    let mounted = mount
        .args(["-t", "sysfs", "-o", "ro", "sysfs", "/sys"])
        .status();
    assert!(mounted.unwrap().success());
}

/// systemd-networkd in this namespace, by the files in `/run/systemd/network`.
pub fn networkd() -> Server {
    hide_udev();
    Server::start(
        Command::new("/lib/systemd/systemd-networkd")
            .env("SYSTEMD_LOG_LEVEL", "debug")
            .env("SYSTEMD_LOG_TARGET", "console"),
    )
}

/// Runs `wireboot lease -i near` with more arguments to its end; returns its exit code and what it
/// said.
pub fn wireboot(more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let output = command.args(["lease", "-i", "near"]).args(more).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

/// Runs a command to its end; returns its exit code, and what it printed on both outputs.
pub fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("it was built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Returns wireboot as a command that leaves files such as `/etc/resolv.conf`: it does so only where
/// the network is that of process 1.
pub fn at_home() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(env!("CARGO_BIN_EXE_wireboot"));
    command
}

pub fn succeeds(client: Child) {
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

pub fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or_default().to_owned()
}

/// Asserts what every server here grants, as the kernel tells it.
pub fn is_configured() {
    is_configured_as("192.0.2.100", "192.0.2.2");
}

/// Asserts that `near` has this address, an MTU of 1400 octets, and a route to 198.51.100.0/24 through
/// `router` beside the one to everywhere.
pub fn is_configured_as(address: &str, router: &str) {
    let link = &json("-j address show near")[0];
    assert_eq!(link["mtu"], 1400);
    assert_eq!(ipv4_addresses(link), [(address, 24)]);
    let routes = json("-4 -j route show");
    let mut found: Vec<_> = routes.as_array().unwrap().iter().map(route).collect();
    found.sort_unstable();
    let expected = [
        ("192.0.2.0/24", None, "near"),
        ("198.51.100.0/24", Some(router), "near"),
        ("default", Some("192.0.2.1"), "near"),
    ];
    assert_eq!(found, expected);
}

/// Asserts that `near` is down and bare, as it was before.
pub fn is_as_it_was() {
    let link = &json("-j address show near")[0];
    let flags = link["flags"].as_array().unwrap();
    assert!(!flags.iter().any(|flag| flag == "UP"), "{flags:?}");
    assert_eq!(link["mtu"], 1500);
    assert_eq!(ipv4_addresses(link), []);
    assert_eq!(json("-4 -j route show"), Value::Array(Vec::new()));
}

pub fn ipv4_addresses(link: &Value) -> Vec<(&str, i64)> {
    let addresses = link["addr_info"].as_array().unwrap().iter();
    addresses
        .filter(|address| address["family"] == "inet")
        .map(|address| {
            let local = address["local"].as_str().unwrap();
            (local, address["prefixlen"].as_i64().unwrap())
        })
        .collect()
}

/// The IPv4 addresses of `near`.
pub fn addresses() -> Vec<String> {
    let link = &json("-j address show near")[0];
    let addresses = ipv4_addresses(link).into_iter();
    addresses.map(|(address, _)| address.to_owned()).collect()
}

pub fn route(route: &Value) -> (&str, Option<&str>, &str) {
    let text = |key: &str| route[key].as_str();
    (text("dst").unwrap(), text("gateway"), text("dev").unwrap())
}

pub fn has_carrier() -> bool {
    ip("-o link show near").contains("LOWER_UP")
}

pub fn json(arguments: &str) -> Value {
    serde_json::from_str(&ip(arguments)).unwrap()
}
