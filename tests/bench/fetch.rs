//! Measures fetching against other clients, from the same servers over a veth, one after the other in
//! each round:
//!
//! ```text
//! tests/bench/run fetch           # or a part of it: fetch http
//! ```
//!
//! `WIREBOOT_BENCH_MIB` says the sizes, such as `"64 1024"`, and `WIREBOOT_BENCH_LOST` how many of 1000
//! packets are lost, such as `0` (`"0 10"`). What is printed are medians: rate, CPU time for a GiB, the
//! largest memory of the process (the file itself is in the page cache, or in a memory file where it
//! goes to standard output), and the rate as a multiple of the best other client's. Needs curl, wget,
//! busybox, and the clients of the packages atftp and tftp-hpa. All are asked for blocks that fill the
//! frames where they can be. Of the clients atftp alone can be asked for windows, and is compared both
//! without and with them: the goal is five times the best of the others without.

mod ceiling;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use runs::{Run, measure, print_table};
use wireboot_proto::time::Random;

use crate::common::far::{Far, Server};
use crate::common::{in_new_namespace, ip, wait_until};

const ROUNDS: usize = 3;
/// TCP takes now 0.1 s and now 0.5 s for 64 MiB over losses, so that there have to be as many rounds as
/// bring so much together, MiB.
const LOSSY_MIB_BY_TCP: usize = 41 * 64;
/// A client that has not finished by then has not.
const LIMIT_SECONDS: u32 = 60;

/// What is compared.
struct Race<'a> {
    name: &'a str,
    /// The sizes of the file, MiB.
    sizes: &'a str,
    limit_seconds: u32,
    /// Over losses there are as many more rounds as bring so much together, MiB.
    lossy_mib: usize,
}

impl<'a> Race<'a> {
    const fn new(name: &'a str, sizes: &'a str) -> Self {
        Self {
            name,
            sizes,
            limit_seconds: LIMIT_SECONDS,
            lossy_mib: 0,
        }
    }
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN, servers and clients"]
fn tftp_against_other_clients() {
    in_new_namespace(|| {
        let lan = Lan::new();
        for server in TFTP_SERVERS {
            let race = Race::new(server.name, "64");
            lan.compare(&race, tftp_clients(server, 1468));
            println!(
                "  the server sends {:.1} MiB/s at most, to a receiver that only counts",
                ceiling::of_server(server.host, server.knows_windows) / f64::from(1 << 20)
            );
        }
    });
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN, servers and clients"]
fn tftp_in_jumbo_frames_against_other_clients() {
    in_new_namespace(|| {
        let lan = Lan::new();
        ip("link set near mtu 9000");
        lan.far.run("ip link set far mtu 9000");
        for server in TFTP_SERVERS {
            let name = format!("frames of 9000 octets: {}", server.name);
            lan.compare(&Race::new(&name, "64"), tftp_clients(server, 8968));
        }
    });
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN, servers and clients"]
fn tftp_over_a_path_of_a_millisecond_against_other_clients() {
    in_new_namespace(|| {
        let lan = Lan::new();
        let _cable = lan.over_a_long_cable();
        for server in TFTP_SERVERS {
            let name = format!("1 ms away: {}", server.name);
            // Without windows that is 3 s, and 9 s in blocks of 512 octets.
            let race = Race {
                limit_seconds: 20,
                ..Race::new(&name, "4")
            };
            lan.compare(&race, tftp_clients(server, 1468));
        }
    });
}

#[derive(Clone, Copy)]
struct TftpServer {
    name: &'static str,
    host: &'static str,
    knows_windows: bool,
}

const TFTP_SERVERS: [TftpServer; 3] = [
    TftpServer {
        name: "atftpd, windows",
        host: "192.0.2.3",
        knows_windows: true,
    },
    TftpServer {
        name: "dnsmasq, no windows",
        host: "192.0.2.1",
        knows_windows: false,
    },
    TftpServer {
        name: "tftpd-hpa, no windows",
        host: "192.0.2.2",
        knows_windows: false,
    },
];

/// Says of a client that it does what it only does when asked; it is compared apart.
const ASKED: &str = "windows";
/// Our own, another way.
const IN_MEMORY: &str = "in memory";

fn tftp_clients(
    server: TftpServer,
    block_len: u32,
) -> impl Fn(&str, &str) -> Vec<(&'static str, String)> {
    move |file, out| {
        let host = server.host;
        let url = format!("tftp://{host}/{file}");
        let atftp =
            format!("$time atftp --option blksize\\ {block_len} -g -r {file} -l {out} {host}");
        let mut clients = vec![
            ("wireboot", wireboot(&url, out, "")),
            (IN_MEMORY, in_memory(&url, out, "")),
            (
                "curl",
                format!("$time curl -s --tftp-blksize {block_len} -o {out} {url}"),
            ),
            ("atftp", atftp.clone()),
            (
                "tftp-hpa, 512",
                format!("$time $(command -v tftp) -m binary {host} -c get {file} {out}"),
            ),
            (
                "busybox",
                format!("$time busybox tftp -b {block_len} -g -r {file} -l {out} {host}"),
            ),
        ];
        if server.knows_windows {
            let with_windows = format!("{atftp} --option windowsize\\ 64");
            clients.push(("atftp, windows", with_windows));
        }
        clients
    }
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN, servers and clients"]
fn http_against_other_clients() {
    in_new_namespace(|| {
        let lan = Lan::new();
        let _nginx = lan.nginx();
        let race = |name| Race {
            lossy_mib: LOSSY_MIB_BY_TCP,
            ..Race::new(name, "64")
        };
        lan.compare(&race("nginx, http"), |file, out| {
            let url = format!("http://192.0.2.1/{file}");
            // By its name alone, busybox runs its own.
            vec![
                ("wireboot", wireboot(&url, out, "")),
                (IN_MEMORY, in_memory(&url, out, "")),
                ("curl", format!("$time curl -s -o {out} {url}")),
                (
                    "wget",
                    format!("$time $(command -v wget) -q -O {out} {url}"),
                ),
                ("busybox", format!("$time busybox wget -q -O {out} {url}")),
            ]
        });
        lan.compare(&race("nginx, https"), |file, out| {
            let url = format!("https://192.0.2.1/{file}");
            let ca = lan.far.folder.join("cert.pem");
            let ca = ca.display();
            let own = format!("--ca {ca}");
            vec![
                ("wireboot", wireboot(&url, out, &own)),
                (IN_MEMORY, in_memory(&url, out, &own)),
                (
                    "curl",
                    format!("$time curl -s --cacert {ca} -o {out} {url}"),
                ),
            ]
        });
    });
}

/// Returns the command of the binary that `tests/bench/run` has built, or Cargo's.
fn wireboot(url: &str, out: &str, more: &str) -> String {
    let own = env!("CARGO_BIN_EXE_wireboot");
    format!("$time ${{WIREBOOT-{own}}} fetch -q {more} -o {out} {url}")
}

/// As it fetches what it boots: into a memory file, which is then copied here.
fn in_memory(url: &str, out: &str, more: &str) -> String {
    format!("{} > {out}", wireboot(url, "-", more))
}

struct Lan {
    far: Far,
    served: PathBuf,
    /// Held in memory, so that no disk is measured.
    out: PathBuf,
    servers: Vec<Server>,
}

impl Drop for Lan {
    fn drop(&mut self) {
        for folder in [&self.served, &self.out] {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Lan {
    fn new() -> Self {
        let far = Far::plug_in();
        ip("address add 192.0.2.9/24 dev near");
        ip("link set near up");
        let name = far.folder.file_name().unwrap().to_str().unwrap().to_owned();
        let folder = |kind: &str| {
            let path = Path::new("/dev/shm").join(format!("{name}-{kind}"));
            fs::create_dir(&path).unwrap();
            path
        };
        let (served, out) = (folder("served"), folder("out"));
        let mut lan = Self {
            far,
            served,
            out,
            servers: Vec::new(),
        };
        lan.serve_tftp();
        lan
    }

    fn serve_tftp(&mut self) {
        for host in 2..4 {
            self.far
                .run(&format!("ip address add 192.0.2.{host}/24 dev far"));
        }
        let served = self.served.display();
        let script = ". initramfs/lib.sh; debian_package atftpd";
        let output = Command::new("bash").args(["-c", script]).output().unwrap();
        let atftpd = String::from_utf8(output.stdout).unwrap();
        let commands = [
            format!(
                "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file=
                --listen-address=192.0.2.1 --bind-interfaces --enable-tftp --tftp-root={served}"
            ),
            format!("in.tftpd -L -u root --address 192.0.2.2:69 -s {served}"),
            format!(
                "{}/usr/sbin/atftpd --daemon --no-fork --bind-address 192.0.2.3 --user root
                --group root --logfile - {served}",
                atftpd.trim()
            ),
        ];
        self.servers = commands
            .iter()
            .map(|command| self.far.start(command))
            .collect();
    }

    /// Leads the way to the servers over a cable of half a millisecond in each direction.
    fn over_a_long_cable(&self) -> Server {
        let delay = self.far.folder.join("delay");
        let compiled = Command::new("cc")
            .args(["-O2", "-o"])
            .args([&delay, Path::new("tests/bench/delay.c")])
            .status()
            .unwrap();
        assert!(compiled.success());
        let mut command = Command::new(delay);
        command.args(["near1", &self.far.namespace(), "far1", "500"]);
        let cable = Server::start(&mut command);
        cable.wait_for("ready");
        ip("address add 198.51.100.9/24 dev near1");
        ip("link set near1 up");
        self.far.run("ip address add 198.51.100.1/24 dev far1");
        self.far.run("ip link set far1 up");
        for server in TFTP_SERVERS {
            ip(&format!("route add {}/32 via 198.51.100.1", server.host));
        }
        cable
    }

    fn nginx(&self) -> Server {
        let folder = self.far.folder.display();
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-subj",
                "/CN=192.0.2.1",
                "-addext",
                "subjectAltName=IP:192.0.2.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &format!("{folder}/key.pem")])
            .args(["-out", &format!("{folder}/cert.pem")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let config = format!(
            "daemon off; master_process off; user root; pid {folder}/pid; error_log {folder}/errors;
            events {{}}
            http {{
                access_log off; sendfile on;
                client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
                uwsgi_temp_path {folder}; scgi_temp_path {folder};
                ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
                server {{ listen 192.0.2.1:80; listen 192.0.2.1:443 ssl; root {}; }}
            }}",
            self.served.display()
        );
        let path = self.far.write("nginx.conf", &config);
        let server = self.far.start(&format!("nginx -p {folder} -c {path}"));
        wait_until("nginx listens", || {
            std::net::TcpStream::connect("192.0.2.1:80").is_ok()
        });
        server
    }

    /// Has all clients fetch the same files in turn, with and without losses.
    fn compare(
        &self,
        race: &Race<'_>,
        clients: impl Fn(&str, &str) -> Vec<(&'static str, String)>,
    ) {
        let said = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let lost = said("WIREBOOT_BENCH_LOST", "0 10");
        for mib in said("WIREBOOT_BENCH_MIB", race.sizes).split_whitespace() {
            let mib: usize = mib.parse().unwrap();
            let len = mib << 20;
            let file = self.served.join("file");
            let mut random = Random::new(1);
            let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
            fs::write(&file, words.take(len / 8).flatten().collect::<Vec<u8>>()).unwrap();
            let out = self.out.join("file");
            let clients = clients("file", out.to_str().unwrap());
            for permille in lost.split_whitespace() {
                self.lose(permille);
                let rounds = match permille {
                    "0" => ROUNDS,
                    _ => (race.lossy_mib / mib).max(ROUNDS),
                };
                let mut runs: Vec<Vec<Run>> = vec![Vec::new(); clients.len()];
                for _ in 0..rounds {
                    for ((_, command), runs) in clients.iter().zip(&mut runs) {
                        // A client that was too slow once is not waited for again.
                        if runs.iter().all(Run::is_whole) {
                            runs.push(measure(command, race.limit_seconds, &file, &out));
                        }
                    }
                }
                let name = race.name;
                println!("\n{name}, {mib} MiB, {permille} of 1000 packets lost, {rounds} rounds");
                print_table(&clients, &runs, len);
            }
            self.lose("0");
        }
    }

    fn lose(&self, permille: &str) {
        let rules = format!(
            "flush ruleset\ntable inet loss {{\n chain input {{\n  type filter hook input priority 0;
  numgen random mod 1000 < {permille} drop\n }}\n}}\n"
        );
        let path = self.far.write("rules", &rules);
        self.far.run(&format!("nft -f {path}"));
        assert!(
            Command::new("nft")
                .args(["-f", &path])
                .status()
                .unwrap()
                .success()
        );
    }
}
